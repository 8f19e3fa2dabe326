// The whole installation on a disk that forgets: what was not synced is gone when the power goes, wherever it goes. A
// killed process does not show that, since the kernel keeps what it wrote (tests/end_to_end/crash_test.py does that).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "analysis/steps.h"
#include "app/runtime.h"
#include "events/types.h"
#include "store/sqlite/data_directory.h"
#include "support/eventually.h"
#include "support/temporary_directory.h"
#include "support/unsynced_vfs.h"

namespace wfo {
namespace {

using test::Loss;
using test::Moment;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::int64_t kStride = 9;  // each cut costs a second there
#else
constexpr std::int64_t kStride = 1;
#endif

const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");

/// Every type of event that one run leads to, and how often.
const std::map<std::string, int, std::less<>> kEventsOfARun = {
    {std::string(events::kAnalysisStarted), 1},         {std::string(events::kRiskAnalysisRequested), 1},
    {std::string(events::kRiskScoringRequested), 1},    {std::string(events::kForecastRequested), 1},
    {std::string(events::kRecommendationRequested), 1}, {std::string(events::kRiskEvaluationCompleted), 1},
    {std::string(events::kRiskScoringCompleted), 1},    {std::string(events::kForecastCompleted), 1},
    {std::string(events::kRecommendationCompleted), 1}, {std::string(events::kRiskEvaluated), 1},
    {std::string(events::kStepCompleted), 4},           {std::string(events::kAnalysisCompleted), 1}};
constexpr std::size_t kEntriesOfARun = 6;  // in the ledger: started, four steps, completed

/// Work that can be handed in again and again: each trigger has its id for good.
struct Work {
  std::vector<orchestrator::StartRequest> starts;
  EventId event;  // one more comes as an event from outside
  static constexpr std::size_t kRuns = 3;

  Work() {
    SystemClock clock;
    SystemIdSource ids(clock);
    for (std::size_t i = 1; i < kRuns; ++i) {
      orchestrator::StartRequest start;
      start.tenant = kTenant;
      start.trigger_id = EventId(ids.next());
      start.trigger_type = "api";
      start.external_id = fmt::format("OPP-{}", i);
      start.opportunity = opportunity_id(kTenant, start.external_id);
      starts.push_back(std::move(start));
    }
    event = EventId(ids.next());
  }
  [[nodiscard]] std::string event_bytes() const {
    return fmt::format(
        R"({{"id":"{}","type":"integration.opportunity.updated","version":"1.0.0","timestamp":"2026-03-01T09:30:00.000Z",)"
        R"("tenantId":"{}","source":"crm","data":{{"opportunityId":"OPP-{}","changes":{{"amount":5}}}}}})",
        event.to_string(), kTenant.to_string(), kRuns);
  }
};

/// What somebody who handed work in was told.
struct Acknowledged {
  std::map<std::string, WorkflowId> runs;  // by trigger
  bool event = false;
  [[nodiscard]] bool all(const Work& work) const { return runs.size() == work.starts.size() && event; }
};

struct EveryType final : store::TypeFilter {
  bool wants(std::string_view) const override { return true; }
};

std::string member(json::Value data, std::string_view key) {
  const auto found = data.find(key);
  return found ? found->string().value_or("") : "";
}

std::string integrity(const std::filesystem::path& file) {
  sqlite3* database = nullptr;
  std::string answer = "cannot be opened";
  if (sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK) {
    char* message = nullptr;
    const auto take = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) = values[0];
      return 0;
    };
    sqlite3_exec(database, "PRAGMA integrity_check(1)", take, &answer, &message);
    if (message) answer = message;
    sqlite3_free(message);
  }
  sqlite3_close(database);
  return answer;
}

class PowerCut : public testing::Test {
 protected:
  PowerCut() {
    config_.store.vfs = vfs_.name();
    config_.ledger.vfs = vfs_.name();
    // As often as can be, so that the power goes in the middle of that, too.
    config_.store.checkpoint_pages = 16;
    config_.ledger.checkpoint_pages = 16;
    config_.store.disk_free_min_bytes = 0;
    config_.delivery.batch_max = 1;  // more commits, more places to cut
    config_.delivery.retry_first = milliseconds(1);
    config_.delivery.retry_max = milliseconds(4);
    config_.delivery.idle_wait = milliseconds(20);
    config_.retention.log = std::chrono::days(3650);  // the log is what the ledger is compared with
  }

  Result<std::unique_ptr<app::Runtime>> open(const std::filesystem::path& folder) {
    config_.data_dir = folder;
    app::RuntimeOptions options;
    options.steps = &no_work_;
    return app::Runtime::open(config_, Logger::silent(), std::move(options));
  }

  /// Hands everything in that was not acknowledged before. What is refused is refused as `unavailable`.
  static void hand_in(app::Runtime& runtime, const Work& work, Acknowledged& acknowledged) {
    for (const auto& start : work.starts) {
      const auto answer = runtime.orchestrator().start({&start, 1});
      if (!answer) {
        EXPECT_EQ(answer.error().code, ErrorCode::unavailable) << answer.error().message;
        continue;
      }
      ASSERT_EQ(answer->size(), 1U);
      ASSERT_EQ(answer->front().outcome, store::TriggerOutcome::started) << answer->front().reason;
      const auto [known, fresh] = acknowledged.runs.emplace(start.trigger_id.to_string(), *answer->front().workflow);
      if (!fresh) {
        EXPECT_TRUE(answer->front().repeated) << "a start that was acknowledged is not known any more";
        EXPECT_EQ(known->second, *answer->front().workflow);
      }
    }
    api::Request request{.method = api::Method::post, .target = "/api/v1/events", .body = work.event_bytes()};
    request.headers = {{"Content-Type", "application/json"}, {"X-Tenant-Id", kTenant.to_string()}};
    const auto response = runtime.router().handle(request);
    if (response.status == 503) return;
    EXPECT_TRUE(response.status == 200 || response.status == 202) << response.status << response.body;
    if (acknowledged.event) {
      EXPECT_THAT(response.body, testing::HasSubstr("duplicate")) << "an acknowledged event is not known any more";
    }
    acknowledged.event = true;
  }

  static std::vector<store::LedgerEntry> ledger_of(app::Runtime& runtime) {
    store::LedgerQuery query;
    query.tenant = kTenant;
    query.limit = 10'000;
    auto entries = runtime.ledger().search(query);
    return entries ? *std::move(entries) : std::vector<store::LedgerEntry>();
  }
  static bool ledger_holds(app::Runtime& runtime, std::size_t runs) {
    const auto size = runtime.ledger().size(kTenant);
    return size && *size >= static_cast<store::LedgerIndex>(runs * kEntriesOfARun);
  }
  static bool is_done(app::Runtime& runtime) { return ledger_holds(runtime, Work::kRuns); }
  static std::vector<store::LogEntry> log_of(app::Runtime& runtime) {
    auto page = runtime.log().read(0, EveryType(), 100'000, std::size_t{1} << 30);
    EXPECT_TRUE(page) << page.error().message;
    return page ? std::move(page->entries) : std::vector<store::LogEntry>();
  }

  /// Works until the power goes or everything is done; closes all, whatever happened.
  void work_until_cut(const std::filesystem::path& folder, const Work& work, Acknowledged& acknowledged) {
    const auto runtime = open(folder);
    if (!runtime) {
      EXPECT_TRUE(vfs_.is_cut());
      EXPECT_EQ(runtime.error().code, ErrorCode::unavailable) << runtime.error().message;
      return;
    }
    (*runtime)->start();
    hand_in(**runtime, work, acknowledged);
    EXPECT_TRUE(test::eventually([&] { return vfs_.is_cut() || is_done(**runtime); }));
    if (vfs_.is_cut()) {
      const auto refused = (*runtime)->orchestrator().start({&work.starts.front(), 1});
      // A trigger that is known is answered as long as that needs no disk.
      if (!refused) {
        EXPECT_EQ(refused.error().code, ErrorCode::unavailable) << refused.error().message;
      }
    }
    (*runtime)->stop();
  }

  /// The power is back: hands the same work in again, and everything ends as if nothing had happened.
  void finish_and_check(const std::filesystem::path& folder, const Work& work, Acknowledged& acknowledged) {
    auto opened = open(folder);
    ASSERT_TRUE(opened) << opened.error().message;
    auto runtime = *std::move(opened);
    runtime->start();
    hand_in(*runtime, work, acknowledged);
    ASSERT_TRUE(acknowledged.all(work));
    ASSERT_TRUE(test::eventually([&] { return is_done(*runtime); })) << testing::PrintToString(runtime->not_ready());
    EXPECT_THAT(runtime->not_ready(), testing::IsEmpty());
    runtime->stop();
    check_store(*runtime, work, acknowledged);
    check_events(*runtime);
    runtime.reset();
    EXPECT_EQ(integrity(folder / store::sqlite::kStoreFile), "ok");
    EXPECT_EQ(integrity(folder / store::sqlite::kLedgerFile), "ok");
  }

  /// Each trigger has exactly one run, completed, and nothing is left over.
  static void check_store(app::Runtime& runtime, const Work& work, const Acknowledged& acknowledged) {
    const auto read = runtime.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(const auto runs, transaction.runs().list({.tenant = kTenant, .limit = 1000}));
      EXPECT_EQ(runs.size(), Work::kRuns);
      std::set<std::string> opportunities;
      std::set<WorkflowId> ids;
      for (const auto& run : runs) {
        EXPECT_EQ(run.status, workflow::RunStatus::completed) << run.external_id;
        EXPECT_EQ(run.attempt, 1);
        opportunities.insert(run.external_id);
        ids.insert(run.id);
      }
      EXPECT_THAT(opportunities, testing::ElementsAre("OPP-1", "OPP-2", "OPP-3"));
      for (const auto& [trigger, run] : acknowledged.runs) EXPECT_TRUE(ids.contains(run)) << trigger;
      std::vector<EventId> triggers{work.event};
      for (const auto& start : work.starts) triggers.push_back(start.trigger_id);
      for (const auto& id : triggers) {
        TRY_ASSIGN(const auto trigger, transaction.triggers().find(kTenant, id));
        EXPECT_TRUE(trigger && trigger->outcome == store::TriggerOutcome::started) << id.to_string();
      }
      TRY_ASSIGN(const auto active, transaction.runs().count_active());
      EXPECT_EQ(active, 0);
      TRY_ASSIGN(const auto letters, transaction.dead_letters().list({.tenant = kTenant}));
      EXPECT_TRUE(letters.empty());
      return {};
    });
    EXPECT_TRUE(read) << read.error().message;
    const auto self_check = runtime.orchestrator().self_check();
    ASSERT_TRUE(self_check) << self_check.error().message;
    EXPECT_EQ(*self_check, orchestrator::Orchestrator::SelfCheck{});
  }

  /// The log holds each event of each run once; the ledger holds what it is to hold of that, as it stands there and in
  /// that order, and nothing else; nobody's position is ahead of it or behind what it has done.
  static void check_events(app::Runtime& runtime) {
    const auto log = log_of(runtime);
    std::map<std::string, std::map<std::string, int, std::less<>>> types_of_run;
    std::map<std::string, store::LogEntry> by_id;
    store::Sequence previous = 0;
    int from_outside = 0;
    store::Sequence last_completion = 0;
    std::vector<std::string> wanted;
    const auto bindings = ledger::default_bindings();
    for (const auto& entry : log) {
      EXPECT_EQ(entry.sequence, previous + 1);
      previous = entry.sequence;
      const auto& event = *entry.event;
      EXPECT_TRUE(by_id.emplace(event.id().to_string(), entry).second) << "twice: " << event.id().to_string();
      if (event.type() == events::kOpportunityUpdated) {
        ++from_outside;
        continue;
      }
      ++types_of_run[member(event.data(), "workflowId")][event.type()];
      if (event.type() == events::kRecommendationCompleted) last_completion = entry.sequence;
      if (std::ranges::find(bindings, event.type()) != bindings.end()) wanted.push_back(event.id().to_string());
    }
    EXPECT_EQ(from_outside, 1);
    EXPECT_EQ(types_of_run.size(), Work::kRuns);
    for (const auto& [run, types] : types_of_run) EXPECT_EQ(types, kEventsOfARun) << run;
    EXPECT_EQ(runtime.log().last(), previous);

    std::map<std::string, std::vector<std::string>> types_in_ledger;
    std::map<std::string, std::set<std::string>> steps;
    std::vector<std::string> recorded;
    store::LedgerIndex index = 0;
    for (const auto& entry : ledger_of(runtime)) {
      EXPECT_EQ(entry.index, index++);
      const auto id = entry.event_id.to_string();
      const auto found = by_id.find(id);
      if (found == by_id.end()) {
        ADD_FAILURE() << "the ledger holds an event that nobody published: " << entry.bytes;
        continue;
      }
      EXPECT_EQ(entry.bytes, found->second.event->bytes());
      recorded.push_back(id);
      const auto run = member(found->second.event->data(), "workflowId");
      types_in_ledger[run].push_back(entry.type);
      if (entry.type == events::kStepCompleted) {
        steps[run].insert(member(found->second.event->data(), "stepType"));
      }
    }
    EXPECT_EQ(recorded, wanted);
    const std::string step(events::kStepCompleted);
    for (const auto& [run, types] : types_in_ledger) {
      EXPECT_THAT(types,
                  testing::ElementsAre(events::kAnalysisStarted, step, step, step, step, events::kAnalysisCompleted));
      EXPECT_EQ(steps[run].size(), 4U) << run;
    }
    const auto quarantined = runtime.ledger().quarantined(std::nullopt, 0, 10);
    ASSERT_TRUE(quarantined);
    EXPECT_TRUE(quarantined->empty());

    const auto position = runtime.ledger().position(ledger::kQueue);
    ASSERT_TRUE(position);
    EXPECT_LE(*position, previous);
    ASSERT_FALSE(wanted.empty());
    EXPECT_GE(*position, by_id.at(wanted.back()).sequence);
    const auto read = runtime.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(const auto positions, transaction.positions().all());
      EXPECT_EQ(positions.size(), 4U) << "the orchestrator and three roles that work steps";
      for (const auto& [queue, at] : positions) EXPECT_LE(at, previous) << queue;
      TRY_ASSIGN(const auto orchestrator, transaction.positions().get(orchestrator::Orchestrator::kQueue));
      EXPECT_GE(orchestrator, last_completion);
      return {};
    });
    EXPECT_TRUE(read) << read.error().message;
  }

  /// How many syncs or writes the whole work takes, by `count`.
  template <class Count>
  std::int64_t measure(const Count& count) {
    const test::TemporaryDirectory folder;
    Acknowledged acknowledged;
    work_until_cut(folder.path(), Work(), acknowledged);
    const auto counted = count();
    vfs_.power_on();
    return counted;
  }

  test::UnsyncedVfs vfs_{"unsynced"};
  const analysis::NoWork no_work_;
  app::Config config_;
};

struct Cut {
  const char* name;
  Moment moment;
  Loss loss;
  std::uint64_t seed = 0;  // of what is torn
};

class EveryPowerCut : public PowerCut, public testing::WithParamInterface<Cut> {};

INSTANTIATE_TEST_SUITE_P(Each, EveryPowerCut,
                         testing::Values(Cut{"BeforeTheSync", Moment::before, Loss::all},
                                         Cut{"AfterTheSync", Moment::after, Loss::all},
                                         Cut{"InTornSectors", Moment::before, Loss::torn, 1},
                                         Cut{"InOtherTornSectors", Moment::before, Loss::torn, 1'000'000}),
                         [](const auto& each) { return each.param.name; });

TEST_P(EveryPowerCut, LosesNothingThatWasAcknowledgedAndDoublesNothing) {
  const auto syncs = measure([&] { return vfs_.syncs(); });
  ASSERT_GT(syncs, 20);
  std::int64_t cuts = 0;
  std::int64_t tried = 0;
  for (std::int64_t n = 1; n <= syncs && !HasFailure(); n += kStride, ++tried) {
    SCOPED_TRACE(fmt::format("power cut at sync {} of {}", n, syncs));
    const test::TemporaryDirectory folder;
    const Work work;
    Acknowledged acknowledged;
    vfs_.cut_at_sync(n, GetParam().moment, GetParam().loss, GetParam().seed + static_cast<std::uint64_t>(n));
    work_until_cut(folder.path(), work, acknowledged);
    cuts += vfs_.is_cut();
    vfs_.power_on();
    finish_and_check(folder.path(), work, acknowledged);
    vfs_.power_on();
  }
  // Threads decide what is committed together, so the last ones may come to nothing.
  EXPECT_GE(cuts, tried * 3 / 4) << "of " << tried;
  RecordProperty("cuts", std::to_string(cuts));
}

TEST_F(PowerCut, AgainAndAgainOnTheSameFilesLosesAndDoublesNothing) {
  for (const auto loss : {Loss::all, Loss::torn}) {
    const test::TemporaryDirectory folder;
    const Work work;
    Acknowledged acknowledged;
    // Each life is one sync longer than the one before, so that recovery itself is cut at each of its places, too.
    std::int64_t life = 0;
    do {
      ++life;
      SCOPED_TRACE(fmt::format("life {}", life));
      vfs_.cut_at_sync(life, life % 2 == 0 ? Moment::after : Moment::before, loss, static_cast<std::uint64_t>(life));
      work_until_cut(folder.path(), work, acknowledged);
      const bool cut = vfs_.is_cut();
      vfs_.power_on();
      if (!cut) break;
    } while (life < 500 && !HasFailure());
    EXPECT_GT(life, 5);
    EXPECT_LT(life, 500) << "it never came to an end";
    finish_and_check(folder.path(), work, acknowledged);
    vfs_.power_on();
  }
}

struct Trouble {
  const char* name;
  void (*begin)(test::UnsyncedVfs&, std::int64_t n);
  const char* said;  // in the reasons why it is not ready
  bool in_syncs;     // n counts syncs, not writes
};

class DiskTrouble : public PowerCut, public testing::WithParamInterface<Trouble> {};

INSTANTIATE_TEST_SUITE_P(
    Each, DiskTrouble,
    testing::Values(
        Trouble{"Full", [](test::UnsyncedVfs& vfs, std::int64_t n) { vfs.fail_writes_after(n, SQLITE_FULL); }, "full",
                false},
        Trouble{"WritesFail",
                [](test::UnsyncedVfs& vfs, std::int64_t n) { vfs.fail_writes_after(n, SQLITE_IOERR_WRITE); },
                "disk I/O error", false},
        Trouble{"SyncsFail", [](test::UnsyncedVfs& vfs, std::int64_t n) { vfs.fail_syncs_after(n); }, "disk I/O error",
                true}),
    [](const auto& each) { return each.param.name; });

TEST_P(DiskTrouble, IsSaidAndPassesByItself) {
  const Trouble& trouble = GetParam();
  // From when the files are there and the roles work: what comes before is no more than `open` failing.
  std::int64_t opened = 0;
  std::int64_t done = 0;
  {
    const test::TemporaryDirectory folder;
    const auto count = [&] { return trouble.in_syncs ? vfs_.syncs() : vfs_.writes(); };
    const auto runtime = open(folder.path());
    ASSERT_TRUE(runtime) << runtime.error().message;
    opened = count();
    (*runtime)->start();
    Acknowledged acknowledged;
    hand_in(**runtime, Work(), acknowledged);
    ASSERT_TRUE(test::eventually([&] { return is_done(**runtime); }));
    done = count();
  }
  vfs_.power_on();
  const std::int64_t stride = std::max<std::int64_t>(1, (done - opened) / 40) * kStride;
  int said = 0;
  for (std::int64_t n = 0; n < done - opened && !HasFailure(); n += stride) {
    SCOPED_TRACE(fmt::format("{} of {}", n, done - opened));
    const test::TemporaryDirectory folder;
    const Work work;
    Acknowledged acknowledged;
    auto runtime = open(folder.path());
    ASSERT_TRUE(runtime) << runtime.error().message;
    trouble.begin(vfs_, n);
    (*runtime)->start();
    hand_in(**runtime, work, acknowledged);
    // Whoever has work in hand says why it does not go on; without any, nobody has tried.
    const auto accepted = acknowledged.runs.size() + (acknowledged.event ? 1 : 0);
    ASSERT_TRUE(
        test::eventually([&] { return !(*runtime)->not_ready().empty() || ledger_holds(**runtime, accepted); }));
    api::Request ready{.method = api::Method::get, .target = "/ready"};
    const auto reasons = (*runtime)->not_ready();
    const auto response = (*runtime)->router().handle(ready);
    if (!reasons.empty()) {
      ++said;
      EXPECT_THAT(reasons, testing::Each(testing::HasSubstr(trouble.said)));
      EXPECT_EQ(response.status, 503);
      EXPECT_THAT(response.body, testing::HasSubstr(trouble.said));
      EXPECT_THAT(response.body, testing::HasSubstr(".db"));
    }
    orchestrator::StartRequest more = work.starts.front();
    SystemClock clock;
    SystemIdSource ids(clock);
    more.trigger_id = EventId(ids.next());
    more.external_id = "OPP-9";
    more.opportunity = opportunity_id(kTenant, more.external_id);
    if (!(*runtime)->not_ready().empty()) {
      const auto refused = (*runtime)->orchestrator().start({&more, 1});
      ASSERT_FALSE(refused) << "taken although it cannot be kept";
      EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
      EXPECT_THAT(refused.error().message, testing::HasSubstr(trouble.said));
      EXPECT_THAT(refused.error().message, testing::HasSubstr(folder.path().string()));
    }
    vfs_.heal();
    // What was taken before is finished without anybody's doing.
    ASSERT_TRUE(test::eventually([&] {
      std::int64_t active = -1;
      const auto read = (*runtime)->store().read([&](const store::Transaction& transaction) -> Result<void> {
        TRY_ASSIGN(active, transaction.runs().count_active());
        return {};
      });
      return read && active == 0 && (*runtime)->not_ready().empty();
    })) << testing::PrintToString((*runtime)->not_ready());
    hand_in(**runtime, work, acknowledged);
    ASSERT_TRUE(acknowledged.all(work));
    ASSERT_TRUE(test::eventually([&] { return is_done(**runtime); }));
    (*runtime)->stop();
    check_store(**runtime, work, acknowledged);
    check_events(**runtime);
    // And nothing of it is only in memory.
    runtime->reset();
    vfs_.lose_unsynced();
    vfs_.power_on();
    finish_and_check(folder.path(), work, acknowledged);
    vfs_.power_on();
  }
  EXPECT_GT(said, 0);
}

}  // namespace
}  // namespace wfo
