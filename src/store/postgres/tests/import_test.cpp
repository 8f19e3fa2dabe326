#include "store/postgres/import.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <thread>

#include "base/digest.h"
#include "store/postgres/tests/fixtures.h"
#include "store/sqlite/data_directory.h"
#include "store/sqlite/export.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"

namespace wfo::store::postgres {
namespace {

using sqlite::DataDirectory;
using sqlite::SqliteExport;

const TenantId kOtherTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a02");
constexpr std::string_view kLedgerQueue = "logging_service";
constexpr int kEvents = 40;

events::EventPtr event_of(std::int64_t n, std::string_view type, const TenantId& tenant = kTenant) {
  return contracts()
      .read(fmt::format(R"({{"id":"{}","type":"{}","tenantId":"{}","data":{{"n":{},"workflowId":"{}"}}}})",
                        id<EventId>(n).to_string(), type, tenant.to_string(), n, id<WorkflowId>(n / 4).to_string()),
            kStart)
      .value();
}
/// Two types by turns; every seventh event came with a transport's id.
events::EventPtr logged(std::int64_t n) {
  const std::string_view type = n % 2 == 0 ? "test.even" : "test.odd";
  if (n % 7 != 0) return event_of(n, type);
  return contracts()
      .read(fmt::format(R"({{"type":"{}","tenantId":"{}","data":{{"n":{}}}}})", type, kTenant.to_string(), n), kStart,
            id<EventId>(n))
      .value();
}

/// A data directory with something in every table.
class Source {
 public:
  explicit Source(bool broker = false) : broker_(broker) { fill(); }

  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }
  Result<std::unique_ptr<sqlite::SqliteStore>> open_store() {
    sqlite::SqliteStoreConfig config;
    config.directory = path();
    config.disk_free_min_bytes = 0;
    config.outbox = broker_;
    return sqlite::SqliteStore::open(config, contracts(), clock_, Logger::silent(), metrics_);
  }
  std::unique_ptr<sqlite::SqliteLedger> open_ledger() {
    return sqlite::SqliteLedger::open({.directory = path()}, clock_, Logger::silent(), metrics_).value();
  }
  std::vector<LedgerEntry> ledger_entries(const TenantId& tenant) {
    return open_ledger()->search({.tenant = tenant, .limit = 10'000}).value();
  }

  [[nodiscard]] static workflow::Run completed_run(std::int64_t n) {
    auto made = run(n);
    made.status = n % 2 == 0 ? workflow::RunStatus::completed : workflow::RunStatus::failed;
    made.external_id = fmt::format("006-é-{}", n);
    made.error = n % 2 == 0 ? "" : "no such thing";
    made.steps[2].state = workflow::Completed{kStart, true, std::string("{\"odd bytes\":\"\xff\0\"}", 18)};
    return made;
  }
  [[nodiscard]] static Trigger trigger(std::int64_t n) {
    Trigger made;
    made.tenant = n % 2 == 0 ? kTenant : kOtherTenant;
    made.id = id<EventId>(n);
    made.type = "api";
    made.opportunity = id<OpportunityId>(n);
    made.received_at = kStart + milliseconds(n);
    made.outcome = n % 3 == 0 ? TriggerOutcome::absorbed : TriggerOutcome::started;
    made.workflow = id<WorkflowId>(n % 3 == 0 ? 1 : n);
    return made;
  }
  [[nodiscard]] static DeadLetter letter(std::int64_t n) {
    DeadLetter made;
    made.id = id<DeadLetterId>(n);
    made.tenant = kTenant;
    made.queue = "queue";
    made.headers = "{}";
    made.bytes = std::string("\0\xff not JSON", 11);
    made.reason = "not JSON";
    made.created_at = kStart;
    if (n == 1) {
      made.status = DeadLetterStatus::replayed;
      made.replayed_as = id<EventId>(900);
    }
    return made;
  }
  [[nodiscard]] static Opportunity opportunity(std::int64_t n) {
    Opportunity made;
    made.tenant = kTenant;
    made.id = id<OpportunityId>(n);
    made.name = fmt::format("Opportunity {} “é”", n);
    made.stage = "Won";
    made.state = n % 2 == 0 ? StageState::won : StageState::open;
    made.amount = 0.1 * static_cast<double>(n);
    return made;
  }
  [[nodiscard]] static StoredSchedule schedule(std::int64_t n) {
    StoredSchedule made;
    made.name = fmt::format("täglich {}", n);
    made.origin = n % 2 == 0 ? ScheduleOrigin::api : ScheduleOrigin::configuration;
    made.definition = R"({"é":1})";
    made.paused = n % 2 == 0;
    made.pause_note = n % 2 == 0 ? "wegen Umzugs" : "";
    if (n % 2 == 1) made.next_at = made.wake_up_at = kStart + milliseconds(n);
    made.created_at = kStart;
    made.updated_at = kStart + milliseconds(n);
    return made;
  }
  /// Of each outcome one; `id` as the source gives it.
  [[nodiscard]] static FireRecord fire(FireId n) {
    FireRecord made;
    made.id = n;
    made.schedule = "täglich 1";
    made.fire.first = kStart + milliseconds(10 * n);
    made.fire.last = kStart + milliseconds(10 * n + 5);
    made.fire.count = 6;
    made.fire.outcome = static_cast<schedule::FireOutcome>((n - 1) % 3);
    made.fire.cause = schedule::FireCause::overlap;
    made.fire.rule = schedule::FireRule::every_pass;
    made.decided_at = kStart + milliseconds(10 * n + 9);
    if (made.fire.outcome == schedule::FireOutcome::triggered) made.run = id<JobRunId>(n);
    return made;
  }
  [[nodiscard]] static schedule::JobRun job_run(std::int64_t n) {
    schedule::JobRun made;
    made.id = id<JobRunId>(n);
    made.job = "outcome-sync";
    made.trigger = id<EventId>(n);
    made.created_at = kStart;
    if (n % 2 == 0) {  // as little as there can be
      made.due_at = kStart;
      return made;
    }
    made.status = schedule::JobRunStatus::running;
    made.triggered_by = schedule::TriggeredBy::scheduler;
    made.schedule = "täglich 1";
    made.scheduled_for = kStart;
    made.correlation_id = "é";
    made.metadata = R"({"from":"2026-01-01"})";
    made.started_at = made.ended_at = made.due_at = kStart + milliseconds(n);
    made.deadline = kStart + std::chrono::hours(1);
    made.holder = "host/1";
    made.attempt = 2;
    made.takeovers = 1;
    made.progress = {.done = 1'000'000'000'000, .total = 2'000'000'000'000, .note = "é"};
    made.checkpoint = "behind x";
    made.counts = {{"read", 7}};
    made.error = "again";
    return made;
  }
  [[nodiscard]] static RiskSnapshot snapshot(int n) {
    return {.tenant = kTenant,
            .opportunity = id<OpportunityId>(1),
            .day = Date(std::chrono::days(20'000 + n)),
            .evaluated_at = kStart + milliseconds(n),
            .event = id<EventId>(n),
            .workflow = id<WorkflowId>(n),
            .fields = R"({"riskScore":0.5})"};
  }
  [[nodiscard]] static RecordedOutcome outcome(int n) {
    return {.tenant = kTenant,
            .opportunity = id<OpportunityId>(n),
            .close_on = Date(std::chrono::days(n - 3)),
            .event = id<EventId>(n),
            .recorded_at = kStart};
  }

 private:
  void fill() {
    const auto directory = DataDirectory::open(path()).value();
    const auto store = open_store().value();
    const auto filled = store->transact([&](Transaction& t) -> Result<void> {
      TRY(t.definitions().put("b", "2", "text of b"));
      TRY(t.definitions().put("a", "1", "text of a"));
      for (int n = 1; n <= 5; ++n) {
        const Opportunity one = opportunity(n);
        TRY(t.opportunities().upsert({&one, 1}));
        TRY(t.runs().insert(run(n, 100 + n), true));
        TRY(t.runs().insert(completed_run(10 + n), true));
        TRY(t.triggers().insert(trigger(n)));
        TRY(t.dead_letters().insert(letter(n)));
        const StoredSchedule daily = schedule(n);
        TRY(t.schedules().insert({&daily, 1}));
        const FireRecord decided = fire(n);
        TRY(t.fires().record({&decided, 1}));
        const schedule::JobRun of_job = job_run(n);
        TRY(t.job_runs().insert({&of_job, 1}));
        const RiskSnapshot of_day = snapshot(n);
        TRY(t.risk_snapshots().upsert({&of_day, 1}));
        const RecordedOutcome published = outcome(n);
        TRY(t.outcomes().insert({&published, 1}));
      }
      const StoredSchedule again = schedule(2);  // version 2
      TRY(t.schedules().update({&again, 1}));
      TRY(t.opportunities().put_document(kTenant, "profile", R"({"é":1})"));
      const InboxKey posted{kTenant, id<EventId>(1'000), ~std::uint64_t{0}};
      TRY(t.inbox().record("api", {&posted, 1}, kStart));
      std::vector<events::EventPtr> batch;
      for (int n = 1; n <= kEvents; ++n) batch.push_back(logged(n));
      TRY(t.log().append(batch));
      return {};
    });
    ASSERT_TRUE(filled) << error_of(filled);
    clock_.advance(std::chrono::hours(1));
    const auto moved_on = store->transact([&](Transaction& t) -> Result<void> {
      if (broker_) {
        std::vector<Sequence> published;
        for (Sequence sequence = 1; sequence <= 30; ++sequence) published.push_back(sequence);
        TRY(t.outbox().mark_published(published));
        const Sequence returned = 33;
        TRY(t.outbox().park({&returned, 1}, kStart));
      } else {
        TRY(t.positions().set("fast", kEvents));
        TRY(t.positions().set("slow", 30));
      }
      TRY(t.log().trim(10, clock_.now(), 100));
      return {};
    });
    ASSERT_TRUE(moved_on) << error_of(moved_on);

    const auto ledger = open_ledger();
    for (int batch = 0; batch < 3; ++batch) {
      std::vector<LedgerRecord> records;
      for (int i = 0; i < 600; ++i) {
        const int n = batch * 600 + i;
        LedgerRecord record;
        record.event = event_of(n, n % 300 == 7 ? "test.rare" : "test.often", n % 5 == 0 ? kOtherTenant : kTenant);
        record.workflow = id<WorkflowId>(n / 8);
        if (n % 2 == 0) record.opportunity = id<OpportunityId>(n / 8);
        record.received_at = kStart + milliseconds(n);
        records.push_back(std::move(record));
      }
      QuarantinedMessage odd;
      odd.reason = fmt::format("not JSON {}", batch);
      odd.bytes = std::string("\0\xff", 2);
      ASSERT_TRUE(ledger->append(records, {&odd, 1}, kLedgerQueue, 35));
    }
  }

  bool broker_;
  test::TemporaryDirectory folder_;
  ManualClock clock_{kStart};
  Metrics metrics_;
};

/// A source that does something of its own before (or instead of) being marked.
class Marking final : public TransferSource {
 public:
  Marking(TransferSource& source, std::function<Result<void>(std::string_view target)> mark)
      : source_(source), mark_(std::move(mark)) {}
  std::string description() const override { return source_.description(); }
  Result<std::int64_t> count(TransferTable table) override { return source_.count(table); }
  Result<void> read(TransferTable table, FunctionRef<Result<void>(const TransferRow&)> take) override {
    return source_.read(table, take);
  }
  Result<Log> log() override { return source_.log(); }
  Result<std::vector<std::pair<std::string, Sequence>>> positions() override { return source_.positions(); }
  Result<std::optional<std::string>> moved_to() override { return source_.moved_to(); }
  Result<void> mark_moved(std::string_view target) override { return mark_(target); }

 private:
  TransferSource& source_;
  std::function<Result<void>(std::string_view)> mark_;
};

class ImportTest : public PostgresTest {
 protected:
  ImportTest() : ledger_schema_(server_.url()), moving_(server_.url()) {}
  ~ImportTest() override {
    for (const auto& schema : {schema_.name(), ledger_schema_.name()}) {
      for (const auto& url : {server_.url(), server_.ledger_url()}) {
        test::PostgresSession(url).execute(
            fmt::format("DROP SCHEMA IF EXISTS {0} CASCADE; DROP SCHEMA IF EXISTS "
                        "{0}_moving CASCADE",
                        schema));
      }
    }
  }

  [[nodiscard]] ImportConfig import_config() const {
    ImportConfig made;
    made.store = config();
    made.ledger.url = server_.url();
    made.ledger.schema = ledger_schema_.name();
    made.queues = {{"fast", {"test.#"}}, {"slow", {"test.even"}}, {std::string(kLedgerQueue), {"#"}, false}};
    return made;
  }
  Result<ImportReport> import(TransferSource& source, const ImportConfig& config, const ImportProgress& progress = {},
                              std::stop_token stop = {}) {
    return import_installation(source, config, contracts(), clock_, Logger::silent(), progress, std::move(stop));
  }
  Result<ImportReport> import(Source& source) {
    const auto directory = DataDirectory::open(source.path()).value();
    return import(*SqliteExport::open(directory).value(), import_config());
  }
  std::unique_ptr<PostgresLedger> open_ledger(const std::string& url = "") {
    return PostgresLedger::open({.url = url.empty() ? server_.url() : url, .schema = ledger_schema_.name()},
                                Logger::silent(), metrics_)
        .value();
  }
  Result<std::unique_ptr<PostgresLedger>> try_open_ledger() {
    return PostgresLedger::open({.url = server_.url(), .schema = ledger_schema_.name()}, Logger::silent(), metrics_);
  }
  /// The connection that fills the store's schema is gone on return.
  void end_import() const {
    as_superuser(
        fmt::format("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_locks WHERE locktype = "
                    "'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = "
                    "current_database()) AND ((classid::bigint << 32) | objid::bigint) = "
                    "hashtextextended('wfo move to {}', 0)",
                    schema_.name()));
  }
  /// Changes the source's store as no program of ours would.
  static void edit(const Source& source, std::string_view file, const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((source.path() / file).c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
    sqlite3_close(database);
  }
  bool exists(const std::string& schema) {
    return as_superuser(fmt::format("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", schema)) == "1";
  }
  static std::map<std::string, std::int64_t> rows_of(const ImportReport& report) {
    std::map<std::string, std::int64_t> rows;
    for (const auto& table : report.tables) rows[table.name] = table.rows;
    return rows;
  }
  /// `body`'s value, out of a transaction on the store.
  template <class Body>
  auto in(Store& store, Body body) {
    using Value = typename std::invoke_result_t<Body, Transaction&>::value_type;
    std::optional<Value> value;
    const auto done = store.transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(value, body(t));
      return {};
    });
    EXPECT_TRUE(done) << error_of(done);
    return *std::move(value);
  }
  /// That the target is what the source was, by what their interfaces say.
  void expect_moved(Source& source, const std::string& ledger_url = "") {
    const auto store = open();
    for (int n = 1; n <= 5; ++n) {
      EXPECT_EQ(in(*store, [&](auto& t) { return t.triggers().find(Source::trigger(n).tenant, id<EventId>(n)); }),
                Source::trigger(n));
      EXPECT_EQ(in(*store, [&](auto& t) { return t.dead_letters().find(id<DeadLetterId>(n)); }), Source::letter(n));
      const auto wanted = id<OpportunityId>(n);
      EXPECT_EQ(in(*store,
                   [&](auto& t) {
                     return t.opportunities().load(kTenant, {&wanted, 1});
                   })
                    .front(),
                Source::opportunity(n));
      const std::vector ids{id<WorkflowId>(n), id<WorkflowId>(10 + n)};
      const auto runs = in(*store, [&](auto& t) { return t.runs().load(ids); });
      ASSERT_TRUE(runs[0] && runs[1]);
      EXPECT_EQ(runs[0]->run, run(n, 100 + n));
      EXPECT_EQ(runs[1]->run, Source::completed_run(10 + n));
      EXPECT_EQ(in(*store, [&](auto& t) { return t.runs().active_run(kTenant, id<OpportunityId>(100 + n)); }),
                id<WorkflowId>(n));
    }
    EXPECT_EQ(in(*store, [](auto& t) { return t.runs().next_wake_up(); }), kStart + std::chrono::hours(1));
    EXPECT_EQ(in(*store, [](auto& t) { return t.opportunities().document(kTenant, "profile"); }), R"({"é":1})");
    EXPECT_EQ(in(*store, [](auto& t) { return t.definitions().all(); }),
              (std::vector<StoredDefinition>{{"b", "2", "text of b"}, {"a", "1", "text of a"}}));

    EXPECT_EQ(in(*store, [](auto& t) { return t.opportunities().closed_after(std::nullopt, 10); }).size(), 2U);
    expect_jobs_moved(*store);

    EXPECT_EQ(store->trimmed_through(), 10);
    const auto page = store->read(0, AllTypes(), 1'000, std::size_t{1} << 30).value();
    ASSERT_EQ(page.entries.size(), static_cast<std::size_t>(kEvents - 10));
    for (const LogEntry& entry : page.entries) {
      EXPECT_EQ(entry.event->bytes(), logged(entry.sequence)->bytes());
      EXPECT_EQ(entry.event->id(), id<EventId>(entry.sequence));
    }
    EXPECT_EQ(store->last(), kEvents);

    const auto ledger = open_ledger(ledger_url);
    for (const TenantId& tenant : {kTenant, kOtherTenant}) {
      const auto expected = source.ledger_entries(tenant);
      const auto found = ledger->search({.tenant = tenant, .limit = 10'000}).value();
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].index, expected[i].index);
        EXPECT_EQ(found[i].event_id, expected[i].event_id);
        EXPECT_EQ(found[i].type, expected[i].type);
        EXPECT_EQ(found[i].received_at, expected[i].received_at);
        EXPECT_EQ(found[i].workflow, expected[i].workflow);
        EXPECT_EQ(found[i].opportunity, expected[i].opportunity);
        EXPECT_EQ(found[i].bytes, expected[i].bytes);
      }
    }
    EXPECT_EQ(ledger->search({.tenant = kTenant, .type = "test.rare"}).value().size(), 6U);
    EXPECT_EQ(ledger->quarantined(std::nullopt, 0, 10).value().size(), 3U);
  }

  void expect_jobs_moved(Store& store) {
    const auto fires = in(store, [](auto& t) { return t.fires().list({}); });
    ASSERT_EQ(fires.size(), 5U);
    const auto snapshots = in(store, [](auto& t) {
      return t.risk_snapshots().list(kTenant, id<OpportunityId>(1), Date(), Date(std::chrono::days(30'000)), 10);
    });
    ASSERT_EQ(snapshots.size(), 5U);
    for (int n = 1; n <= 5; ++n) {
      StoredSchedule schedule = Source::schedule(n);
      schedule.version = n == 2 ? 2 : 1;
      EXPECT_EQ(in(store, [&](auto& t) { return t.schedules().find(schedule.name); }), schedule);
      EXPECT_EQ(fires[static_cast<std::size_t>(5 - n)], Source::fire(n));
      const auto run = in(store, [&](auto& t) { return t.job_runs().find(id<JobRunId>(n)); });
      ASSERT_TRUE(run);
      EXPECT_EQ(run->run, Source::job_run(n));
      EXPECT_EQ(run->version, 1);
      EXPECT_EQ(snapshots[static_cast<std::size_t>(n - 1)], Source::snapshot(n));
      const RecordedOutcome outcome = Source::outcome(n);
      EXPECT_EQ(in(store, [&](auto& t) { return t.outcomes().insert({&outcome, 1}); }), std::vector{false});
    }
  }

  test::PostgresSchema ledger_schema_;
  test::PostgresSchema moving_;
};

TEST_F(ImportTest, MovesEverythingAndSaysWhatItWas) {
  Source source;
  const auto report = import(source);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_FALSE(report->was_there);
  auto rows = rows_of(*report);
  EXPECT_EQ(rows["runs"], 10);
  EXPECT_EQ(rows["results"], 15);
  EXPECT_EQ(rows["triggers"], 5);
  EXPECT_EQ(rows["log"], kEvents - 10);
  for (const char* const table : {"schedules", "fires", "job_runs", "risk_snapshots", "outcomes"}) {
    EXPECT_EQ(rows[table], 5) << table;
  }
  EXPECT_EQ(rows["ledger entries"], 1'800);
  EXPECT_EQ(rows["ledger quarantine"], 3);
  EXPECT_NE(report->target.find(schema_.name()), std::string::npos) << report->target;
  EXPECT_EQ(report->target.find(password_of(server_.url())), std::string::npos);
  expect_moved(source);
  EXPECT_FALSE(exists(schema_.name() + "_moving"));
  EXPECT_FALSE(exists(ledger_schema_.name() + "_moving"));
}

TEST_F(ImportTest, GoesOnWhereTheSourceEnded) {
  Source source;
  ASSERT_TRUE(import(source));
  const auto store = open();
  ASSERT_TRUE(append(*store, {event(5'000)}));
  EXPECT_EQ(store->last(), kEvents + 1);
  Trigger next = Source::trigger(6);
  next.outcome = TriggerOutcome::absorbed;
  next.workflow = id<WorkflowId>(1);
  EXPECT_TRUE(in(*store, [&](auto& t) { return t.triggers().insert(next); }));
  const auto absorbed = in(*store, [](auto& t) { return t.triggers().absorbed_by(id<WorkflowId>(1)); });
  ASSERT_EQ(absorbed.size(), 2U);
  EXPECT_EQ(absorbed.back().id, next.id) << "the order in which they came goes on";
  ASSERT_TRUE(store->transact([](Transaction& t) { return t.definitions().put("c", "3", "text of c"); }));
  EXPECT_EQ(in(*store, [](auto& t) { return t.definitions().all(); }).back().name, "c");
  const FireRecord fire = Source::fire(9);
  ASSERT_TRUE(store->transact([&](Transaction& t) { return t.fires().record({&fire, 1}); }));
  EXPECT_EQ(in(*store, [](auto& t) { return t.fires().list({}); }).front().id, 6);

  const auto ledger = open_ledger();
  LedgerRecord record;
  record.event = event_of(1, "test.often");
  LedgerRecord fresh;
  fresh.event = event_of(9'999, "test.new");
  const QuarantinedMessage odd;
  EXPECT_EQ(ledger->append(std::vector{record, fresh}, {&odd, 1}, kLedgerQueue, 0),
            (std::vector{LedgerOutcome::repeated, LedgerOutcome::appended}));
  EXPECT_EQ(ledger->size(kTenant), 1'441);
  EXPECT_EQ(ledger->search({.tenant = kTenant, .type = "test.new"}).value().size(), 1U);
  EXPECT_EQ(ledger->quarantined(std::nullopt, 3, 10).value().size(), 1U);
}

TEST_F(ImportTest, LetsEachEntryTakeEffectOnceInEveryQueue) {
  Source source;
  const auto report = import(source);
  ASSERT_TRUE(report) << error_of(report);
  // `slow` is at 30 and wants the even ones, the ledger at 35 and wants all; `fast` has had everything.
  const std::vector<Sequence> expected{32, 34, 36, 37, 38, 39, 40};
  EXPECT_EQ(report->awaiting_publication, 7);
  EXPECT_EQ(report->noted_in_inbox, 7);
  const auto store = open();
  std::vector<Sequence> waiting;
  for (const auto& entry :
       in(*store, [](auto& t) { return t.outbox().unpublished(kStart, 1'000, std::size_t{1} << 30); })) {
    waiting.push_back(entry.sequence);
  }
  EXPECT_EQ(waiting, expected);
  for (std::int64_t n = 1; n <= kEvents; ++n) {
    const InboxKey key{kTenant, id<EventId>(n), short_digest(logged(n)->bytes())};
    const auto verdict = [&](std::string_view queue) {
      return in(*store, [&](auto& t) { return t.inbox().record(queue, {&key, 1}, kStart); }).front();
    };
    const bool comes_again = std::ranges::find(expected, n) != expected.end();
    EXPECT_EQ(verdict("fast"), comes_again ? InboxVerdict::repeated : InboxVerdict::fresh) << n;
    EXPECT_EQ(verdict("slow"), InboxVerdict::fresh) << n;
  }
  const InboxKey posted{kTenant, id<EventId>(1'000), ~std::uint64_t{0}};
  EXPECT_EQ(in(*store,
               [&](auto& t) {
                 return t.inbox().record("api", {&posted, 1}, kStart);
               })
                .front(),
            InboxVerdict::repeated);
  EXPECT_TRUE(in(*store, [](auto& t) { return t.positions().all(); }).empty());
}

TEST_F(ImportTest, LetsEachTriggerOfAJobReachItsWorkerOnce) {
  const auto trigger = [](std::int64_t n) {
    return contracts()
        .read(fmt::format(R"({{"id":"{}","type":"workflow.job.trigger","version":"1.0.0","timestamp":"{}",)"
                          R"("tenantId":"{}","source":"workflow-orchestrator","data":{{"job":"outcome-sync",)"
                          R"("metadata":{{}},"triggeredBy":"manual","timestamp":"{}"}}}})",
                          id<EventId>(n).to_string(), format_timestamp(kStart), system_tenant().to_string(),
                          format_timestamp(kStart)),
              kStart)
        .value();
  };
  constexpr std::string_view kQueue = "bi_batch_jobs";
  Source source;
  {
    const auto directory = DataDirectory::open(source.path()).value();
    const auto store = source.open_store().value();
    ASSERT_TRUE(store->transact([&](Transaction& t) -> Result<void> {
      TRY(t.log().append(std::vector{trigger(41), trigger(42), trigger(43)}));
      return t.positions().set(kQueue, kEvents + 1);
    }));
  }
  const auto directory = DataDirectory::open(source.path()).value();
  ImportConfig more = import_config();
  more.queues.push_back({std::string(kQueue), {"workflow.job.trigger"}});
  const auto report = import(*SqliteExport::open(directory).value(), more);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_EQ(report->awaiting_publication, 7 + 3) << "the ledger has had none of the three";
  EXPECT_EQ(report->noted_in_inbox, 7 + 1);
  const auto store = open();
  EXPECT_TRUE(in(*store, [](auto& t) { return t.positions().all(); }).empty());
  for (std::int64_t n = 41; n <= 43; ++n) {
    const InboxKey key{system_tenant(), id<EventId>(n), short_digest(trigger(n)->bytes())};
    EXPECT_EQ(in(*store,
                 [&](auto& t) {
                   return t.inbox().record(kQueue, {&key, 1}, kStart);
                 })
                  .front(),
              n == 41 ? InboxVerdict::repeated : InboxVerdict::fresh)
        << n;
  }
}

TEST_F(ImportTest, NotesOnlyWhatAQueueWants) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  ImportConfig narrow = import_config();
  narrow.queues[0].bindings = {"test.odd"};
  const auto report = import(*SqliteExport::open(directory).value(), narrow);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_EQ(report->awaiting_publication, 7);
  EXPECT_EQ(report->noted_in_inbox, 2) << "37 and 39";
}

TEST_F(ImportTest, PublishesAllThatIsThereForAQueueThatNeverCame) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  ImportConfig more = import_config();
  more.queues.push_back({"new", {"#"}});
  const auto report = import(*SqliteExport::open(directory).value(), more);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_EQ(report->awaiting_publication, kEvents - 10);
  // `fast` has had all thirty, `slow` the even ones up to 30.
  EXPECT_EQ(report->noted_in_inbox, 30 + 10);
}

TEST_F(ImportTest, KeepsTheOutboxOfASourceThatUsedABroker) {
  Source source(true);
  const auto report = import(source);
  ASSERT_TRUE(report) << error_of(report);
  const auto store = open();
  const auto counts = in(*store, [](auto& t) { return t.outbox().counts(); });
  EXPECT_EQ(counts.waiting, kEvents - 30);
  EXPECT_EQ(counts.parked, 1);
  EXPECT_EQ(report->awaiting_publication, kEvents - 30);
  EXPECT_EQ(report->noted_in_inbox, 0);
}

TEST_F(ImportTest, LetsNobodyServeTheSourceAnyMore) {
  Source source;
  ASSERT_TRUE(import(source));
  const auto refused = source.open_store();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find(schema_.name()), std::string::npos) << refused.error().message;
  EXPECT_EQ(refused.error().message.find(password_of(server_.url())), std::string::npos);
}

TEST_F(ImportTest, DoesNothingWhenAllIsThere) {
  Source source;
  const auto first = import(source);
  ASSERT_TRUE(first) << error_of(first);
  ASSERT_TRUE(append(*open(), {event(5'000)})) << "the target is in use";
  const auto again = import(source);
  ASSERT_TRUE(again) << error_of(again);
  EXPECT_TRUE(again->was_there);
  EXPECT_EQ(rows_of(*again), rows_of(*first));
  for (std::size_t i = 0; i < first->tables.size(); ++i) {
    EXPECT_EQ(again->tables[i].digest, first->tables[i].digest) << first->tables[i].name;
  }
  EXPECT_EQ(open()->last(), kEvents + 1);
}

TEST_F(ImportTest, BeginsAnewAfterAnyInterruption) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  int steps = 0;
  for (int at = 1;; at += 3) {
    steps = 0;
    std::stop_source stop;
    const auto report = import(
        *exported, import_config(),
        [&](auto, auto, auto, auto) {
          if (++steps == at) stop.request_stop();
        },
        stop.get_token());
    if (report) break;
    EXPECT_EQ(report.error().code, ErrorCode::unavailable) << report.error().message;
    EXPECT_EQ(exported->moved_to().value(), std::nullopt);
    EXPECT_FALSE(exists(schema_.name()));
    EXPECT_FALSE(exists(ledger_schema_.name()));
    ASSERT_LT(at, 1'000);
  }
  EXPECT_GT(steps, 20);
  expect_moved(source);
}

TEST_F(ImportTest, SaysThatTheServerWentAwayAndBeginsAnew) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  for (const std::string_view at : {"copy", "verify"}) {
    bool ended = false;
    const auto report = import(*exported, import_config(), [&](auto step, auto table, auto, auto) {
      if (ended || step != at || table != "triggers") return;
      ended = true;
      end_import();
    });
    ASSERT_FALSE(report) << at;
    EXPECT_EQ(report.error().code, ErrorCode::unavailable) << report.error().message;
  }
  const auto report = import(*exported, import_config());
  ASSERT_TRUE(report) << error_of(report);
  expect_moved(source);
}

TEST_F(ImportTest, EndsWhatACrashLeftBetweenTheMarkAndTheNames) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  Marking crashing(*exported, [&](std::string_view target) -> Result<void> {
    TRY(exported->mark_moved(target));
    return fail(ErrorCode::unavailable, "killed");
  });
  ASSERT_FALSE(import(crashing, import_config()));
  EXPECT_FALSE(exists(schema_.name()));
  // Nobody begins an empty installation where everything is about to be.
  const auto store = try_open(config());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::conflict);
  EXPECT_NE(store.error().message.find("a move into it has not ended"), std::string::npos) << store.error().message;
  const auto ledger = try_open_ledger();
  ASSERT_FALSE(ledger);
  EXPECT_EQ(ledger.error().code, ErrorCode::conflict) << ledger.error().message;
  const auto served = source.open_store();
  ASSERT_FALSE(served);
  EXPECT_NE(served.error().message.find("run `wfo migrate` again"), std::string::npos) << served.error().message;
  const auto report = import(*exported, import_config());
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_FALSE(report->was_there);
  expect_moved(source);
}

TEST_F(ImportTest, EndsWhatACrashLeftBetweenTheTwoDatabases) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  ImportConfig apart = import_config();
  apart.ledger.url = server_.ledger_url();
  Marking dying(*exported, [&](std::string_view target) -> Result<void> {
    TRY(exported->mark_moved(target));
    end_import();  // only the ledger gets its name
    return {};
  });
  const auto died = import(dying, apart);
  ASSERT_FALSE(died);
  EXPECT_EQ(died.error().code, ErrorCode::unavailable);
  EXPECT_NE(died.error().message.find("run the same wfo migrate again before serving anything"), std::string::npos)
      << died.error().message;
  open_ledger(server_.ledger_url());
  const auto store = try_open(config());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::conflict) << store.error().message;
  const auto report = import(*exported, apart);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_FALSE(report->was_there);
  EXPECT_EQ(rows_of(*report)["ledger entries"], 1'800);
  expect_moved(source, server_.ledger_url());
}

TEST_F(ImportTest, LetsNobodyServeTheTargetBeforeItIsThere) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  int refused = 0;
  const auto report = import(*exported, import_config(), [&](auto, auto table, auto, auto) {
    if (table != "triggers") return;
    const auto store = try_open(config());
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, ErrorCode::conflict) << store.error().message;
    ++refused;
  });
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_GE(refused, 2);
  expect_moved(source);
}

TEST_F(ImportTest, GivesWhoComesAtTheLastMomentWhatWasMoved) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  std::future<Result<std::unique_ptr<PostgresStore>>> opening;
  Marking last_moment(*exported, [&](std::string_view target) -> Result<void> {
    opening = std::async(std::launch::async, [this] { return try_open(config()); });
    const auto waits = [&] {
      return as_superuser(
                 fmt::format("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND "
                             "((classid::bigint << 32) | objid::bigint) = hashtextextended('wfo migrations of {}', 0)",
                             schema_.name())) == "1";
    };
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!waits() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(waits());
    return exported->mark_moved(target);
  });
  const auto report = import(last_moment, import_config());
  ASSERT_TRUE(report) << error_of(report);
  const auto opened = opening.get();
  ASSERT_TRUE(opened) << error_of(opened);
  EXPECT_EQ((*opened)->last(), kEvents);
  expect_moved(source);
}

TEST_F(ImportTest, LeavesTheSourceUnmarkedWhenSomebodyTookTheNameMeanwhile) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  bool taken = false;
  const auto refused = import(*exported, import_config(), [&](auto step, auto, auto, auto) {
    if (step != "verify" || std::exchange(taken, true)) return;
    test::PostgresSession(server_.url())
        .execute(fmt::format("CREATE SCHEMA {0}; CREATE TABLE {0}.something ()", schema_.name()));
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict) << refused.error().message;
  EXPECT_EQ(exported->moved_to().value(), std::nullopt);
  EXPECT_FALSE(exists(ledger_schema_.name()));
  test::PostgresSession(server_.url()).execute(fmt::format("DROP SCHEMA {} CASCADE", schema_.name()));
  const auto report = import(*exported, import_config());
  ASSERT_TRUE(report) << error_of(report);
  expect_moved(source);
}

TEST_F(ImportTest, RefusesAnEmptySchemaOfAnotherRoleBeforeItCopies) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  as_superuser("CREATE SCHEMA " + ledger_schema_.name());
  const auto refused = import(*exported, import_config(), [](auto, auto, auto, auto) { ADD_FAILURE() << "copies"; });
  as_superuser("DROP SCHEMA " + ledger_schema_.name());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << refused.error().message;
  EXPECT_NE(refused.error().message.find("belongs to the role"), std::string::npos) << refused.error().message;
  EXPECT_EQ(exported->moved_to().value(), std::nullopt);
}

TEST_F(ImportTest, KnowsTheTargetByAnotherAddress) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  Marking elsewhere(*exported, [&](std::string_view target) -> Result<void> {
    const auto number = target.find(" (move ");
    TRY(exported->mark_moved("PostgreSQL at db.example:5432" + std::string(target.substr(number))));
    return fail(ErrorCode::unavailable, "killed");
  });
  ASSERT_FALSE(import(elsewhere, import_config()));
  const auto ended = import(*exported, import_config());
  ASSERT_TRUE(ended) << error_of(ended);
  EXPECT_FALSE(ended->was_there);
  const auto again = import(*exported, import_config());
  ASSERT_TRUE(again) << error_of(again);
  EXPECT_TRUE(again->was_there);
  expect_moved(source);
}

TEST_F(ImportTest, RefusesASourceOfWhichNotEveryRowCanBeRead) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  edit(source, sqlite::kStoreFile, "DELETE FROM runs WHERE run = (SELECT max(key >> 6) FROM results)");
  const auto exported = SqliteExport::open(directory).value();
  const auto refused = import(*exported, import_config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::corruption);
  EXPECT_TRUE(refused.error().message.starts_with("results: ")) << refused.error().message;
  EXPECT_EQ(exported->moved_to().value(), std::nullopt);
}

TEST_F(ImportTest, RefusesALedgerThatMissedWhatIsDeletedFromTheLog) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  edit(source, sqlite::kLedgerFile, "UPDATE positions SET position = 4");
  const auto exported = SqliteExport::open(directory).value();
  const auto refused = import(*exported, import_config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find("entries 5 to 10"), std::string::npos) << refused.error().message;
}

TEST_F(ImportTest, NotesAnEventOnceThatIsInTheLogTwice) {
  Source source;
  {
    const auto directory = DataDirectory::open(source.path()).value();
    const auto store = source.open_store().value();
    ASSERT_TRUE(store->transact([](Transaction& t) -> Result<void> {
      TRY(t.log().append(std::vector{logged(37), logged(37)}));
      TRY(t.positions().set("fast", kEvents + 2));
      const InboxKey known{kTenant, id<EventId>(39), short_digest(logged(39)->bytes())};
      TRY(t.inbox().record("fast", {&known, 1}, kStart));
      return {};
    }));
  }
  const auto report = import(source);
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_EQ(report->awaiting_publication, 9);
  EXPECT_EQ(report->noted_in_inbox, 6) << "32, 34, 36, 37, 38 and 40";
}

TEST_F(ImportTest, GoesOnWithoutVacuum) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  ImportConfig hasty = import_config();
  hasty.store.url += (hasty.store.url.find('?') == std::string::npos ? "?" : "&");
  hasty.store.url += "options=-c%20lock_timeout%3D100";
  test::PostgresSession other(server_.url());
  bool locked = false;
  const auto report = import(*exported, hasty, [&](auto step, auto, auto, auto) {
    if (step != "verify" || std::exchange(locked, true)) return;
    other.execute(fmt::format("BEGIN; LOCK TABLE {}_moving.runs IN SHARE UPDATE EXCLUSIVE MODE", schema_.name()));
  });
  const auto counted =
      other.execute(fmt::format("SELECT reltuples FROM pg_class WHERE oid = to_regclass('{}.runs')", schema_.name()));
  other.execute("COMMIT");
  ASSERT_TRUE(report) << error_of(report);
  EXPECT_EQ(counted, "-1") << "no VACUUM came through";
  expect_moved(source);
}

TEST_F(ImportTest, RefusesATargetThatIsInUse) {
  Source source;
  ASSERT_TRUE(append(*open(), {event(1)}));
  const auto refused = import(source);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find(schema_.name()), std::string::npos) << refused.error().message;
  EXPECT_TRUE(source.open_store()) << "it can still be served";
}

TEST_F(ImportTest, TakesASchemaThatWasMadeForItAndIsEmpty) {
  Source source;
  test::PostgresSession(server_.url()).execute("CREATE SCHEMA " + schema_.name());
  const auto report = import(source);
  ASSERT_TRUE(report) << error_of(report);
  expect_moved(source);
}

TEST_F(ImportTest, RefusesToMoveTwiceToDifferentTargets) {
  Source source;
  ASSERT_TRUE(import(source));
  const auto directory = DataDirectory::open(source.path()).value();
  ImportConfig other = import_config();
  other.store.schema = moving_.name();
  const auto refused = import(*SqliteExport::open(directory).value(), other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find(schema_.name()), std::string::npos) << refused.error().message;
  EXPECT_FALSE(exists(moving_.name()));
}

TEST_F(ImportTest, RefusesToTakeWhatAnotherSourceLeftForItsOwn) {
  Source first;
  Source second;
  {
    const auto directory = DataDirectory::open(second.path()).value();
    const auto store = second.open_store().value();
    ASSERT_TRUE(store->transact([](Transaction& t) { return t.definitions().put("only here", "1", "text"); }));
  }
  ASSERT_TRUE(import(first));
  const auto directory_of_first = DataDirectory::open(first.path()).value();
  const auto mark = SqliteExport::open(directory_of_first).value()->moved_to().value();
  const auto directory = DataDirectory::open(second.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  for (const std::string& said : {std::string("postgresql://db.example"), *mark}) {
    ASSERT_TRUE(exported->mark_moved(said));
    const auto refused = import(*exported, import_config());
    ASSERT_FALSE(refused) << said;
    EXPECT_EQ(refused.error().code, ErrorCode::conflict) << refused.error().message;
  }
}

TEST_F(ImportTest, FindsOutWhatIsNotAsItWas) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  for (const auto& [table, change] : std::vector<std::pair<std::string, std::string>>{
           {"results", "UPDATE results SET result = result || '\\x20' WHERE step = 2"},
           {"triggers", "DELETE FROM triggers WHERE received_at = (SELECT min(received_at) FROM triggers)"},
           {"inbox", "UPDATE inbox SET digest = digest + 1"},
           {"schedules", "UPDATE schedules SET paused = NOT paused WHERE name = 'täglich 3'"},
           {"fires", "UPDATE fires SET run = NULL WHERE outcome = 0"},
           {"job_runs", "UPDATE job_runs SET progress_total = 0 WHERE progress_total IS NULL"},
           {"risk_snapshots", "DELETE FROM risk_snapshots WHERE day = 20001"},
           {"outcomes", "UPDATE outcomes SET close_on = close_on + 100"}}) {
    bool changed = false;
    const auto report = import(*exported, import_config(), [&](auto step, auto, auto, auto) {
      if (changed || step != "verify") return;
      changed = true;
      const std::string schema = schema_.name() + "_moving";
      test::PostgresSession(server_.url()).execute(fmt::format("SET search_path = {}; {}", schema, change));
    });
    ASSERT_FALSE(report) << table;
    EXPECT_EQ(report.error().code, ErrorCode::corruption) << report.error().message;
    EXPECT_TRUE(report.error().message.starts_with(table)) << report.error().message;
    EXPECT_EQ(exported->moved_to().value(), std::nullopt);
  }
}

TEST_F(ImportTest, LeavesASchemaAloneThatIsNotItsOwn) {
  Source source;
  test::PostgresSession(server_.url())
      .execute(fmt::format("CREATE SCHEMA {0}_moving; CREATE TABLE {0}_moving.mine ()", schema_.name()));
  const auto refused = import(source);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find(schema_.name() + "_moving"), std::string::npos) << refused.error().message;
}

TEST_F(ImportTest, LetsOnlyOneWorkOnATarget) {
  Source source;
  Source other;
  const auto directory = DataDirectory::open(source.path()).value();
  const auto exported = SqliteExport::open(directory).value();
  std::optional<Error> refused;
  const auto report = import(*exported, import_config(), [&](auto, auto, auto, auto) {
    if (refused) return;
    const auto second = import(other);
    refused = second ? Error{} : second.error();
  });
  ASSERT_TRUE(report) << error_of(report);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code, ErrorCode::conflict) << refused->message;
  EXPECT_TRUE(other.open_store());
  expect_moved(source);
}

TEST_F(ImportTest, TellsADirectoryWithoutInstallation) {
  const test::TemporaryDirectory folder;
  const auto directory = DataDirectory::open(folder.path()).value();
  EXPECT_FALSE(SqliteExport::exists(folder.path()));
  const auto opened = SqliteExport::open(directory);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::not_found);
}

TEST_F(ImportTest, TellsAnInstallationThatLostItsLedger) {
  Source source;
  const auto directory = DataDirectory::open(source.path()).value();
  std::filesystem::remove(source.path() / sqlite::kLedgerFile);
  const auto opened = SqliteExport::open(directory);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::not_found);
  EXPECT_NE(opened.error().message.find("ledger.db"), std::string::npos) << opened.error().message;
  EXPECT_FALSE(std::filesystem::exists(source.path() / sqlite::kLedgerFile));
}

}  // namespace
}  // namespace wfo::store::postgres
