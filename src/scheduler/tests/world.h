#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"
#include "events/types.h"
#include "scheduler/scheduler.h"

/// The role on a real store in a folder of its own, with a clock moved by hand.
namespace wfo::scheduler::testing {

using namespace std::chrono_literals;

inline const Timestamp kStart{std::chrono::sys_days{std::chrono::March / 1 / 2026} + 9h};

/// Another store, whose transactions are given up after all was written, as if the process had died before the commit.
class DyingStore final : public store::Store {
 public:
  explicit DyingStore(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    bool dies = ++transactions == dies_at;
    for (int left = deaths; left > 0 && !dies;) dies = deaths.compare_exchange_weak(left, left - 1);
    return store_.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY(body(transaction));
      if (dies) return fail(ErrorCode::unavailable, "died");
      return {};
    });
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override {
    if (away) return fail(ErrorCode::unavailable, "the store is away");
    return store_.read(body);
  }
  Result<void> admission() override {
    if (full) return fail(ErrorCode::unavailable, "the disk is nearly full");
    return store_.admission();
  }

  std::atomic<int> deaths = 0;  // of the next transactions
  std::atomic<int> transactions = 0;
  std::atomic<int> dies_at = 0;  // this one of them; 0 none
  bool away = false;
  bool full = false;

 private:
  store::Store& store_;
};

/// Where a world's store lies.
class Place {
 public:
  virtual ~Place() = default;
  virtual store::Store& store() = 0;
  virtual store::LogReader& log() = 0;
};
class SqlitePlace final : public Place {
 public:
  explicit SqlitePlace(const Clock& clock) : fixture_(clock) {}
  store::Store& store() override { return fixture_.store(); }
  store::LogReader& log() override { return fixture_.log(); }

 private:
  delivery::sqlite::Fixture fixture_;
};

class World {
 public:
  using MakePlace = std::function<std::unique_ptr<Place>(const Clock&, Metrics&)>;
  /// `make_place`: null is SQLite in a folder of its own.
  explicit World(const MakePlace& make_place = {})
      : clock(kStart),
        waiter(clock),
        place(make_place ? make_place(clock, metrics) : std::make_unique<SqlitePlace>(clock)),
        store(place->store()),
        ids(clock) {
    scheduler = another(clock, ids);
  }

  [[nodiscard]] static schedule::JobCatalog catalog() {
    schedule::JobSpec sync{.name = "outcome-sync"};
    sync.kind = schedule::JobKind::builtin;
    schedule::JobSpec report{.name = "report"};
    report.start_timeout = 2h;
    return schedule::JobCatalog({sync, report});
  }
  [[nodiscard]] static Result<void> check_metadata(std::string_view job, json::Value metadata) {
    if (job == "outcome-sync" && metadata.find("surprise")) {
      return fail(ErrorCode::invalid_argument, "metadata.surprise is unknown; allowed: nothing");
    }
    return {};
  }
  /// A replica, whose clock may be another.
  [[nodiscard]] std::unique_ptr<Scheduler> another(const Clock& its_clock, IdSource& its_ids,
                                                   SchedulerConfig config = {}) {
    return std::make_unique<Scheduler>(store, bus::samples::contracts(), catalog(), check_metadata, its_ids, its_clock,
                                       waiter, Logger::silent(), metrics, config);
  }
  void use(SchedulerConfig config) { scheduler = another(clock, ids, config); }

  template <class T>
  static T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message);
    return *std::move(result);
  }
  static void must(Result<void> result) {
    if (!result) throw std::runtime_error(result.error().message);
  }

  /// Every ten minutes.
  [[nodiscard]] static schedule::Schedule ten_minutely(
      schedule::OverlapPolicy overlap = schedule::OverlapPolicy::allow_all, std::string name = "often") {
    schedule::Schedule schedule;
    schedule.name = std::move(name);
    schedule.job = "outcome-sync";
    schedule.cron = {"*/10 * * * *"};
    schedule.overlap = overlap;
    return schedule;
  }
  /// Objects in each other.
  [[nodiscard]] static std::string nested(int levels) {
    std::string text = "{}";
    for (int i = 1; i < levels; ++i) text = R"({"a":)" + text + "}";
    return text;
  }
  store::StoredSchedule put(const schedule::Schedule& schedule) { return must(scheduler->put(schedule)); }
  /// Rounds until nothing is due.
  std::size_t attend() {
    std::size_t triggered = 0;
    for (int rounds = 0; rounds < 10'000; ++rounds) {
      const auto round = must(scheduler->run_once());
      triggered += round.triggered;
      if (!round.more) return triggered;
    }
    throw std::runtime_error("the scheduler does not come to an end");
  }
  std::size_t attend_at(Timestamp now) {
    clock.set(now);
    return attend();
  }

  // What a worker says.

  [[nodiscard]] events::EventPtr event(std::string_view type, std::string_view data, std::string_view cause = "",
                                       const TenantId& tenant = system_tenant()) {
    std::string text = fmt::format(
        R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"{}","tenantId":"{}","source":"a worker","data":{})",
        ids.next().to_string(), type, format_timestamp(clock.now()), tenant.to_string(), data);
    if (!cause.empty()) text += fmt::format(R"(,"metadata":{{"causationId":"{}"}})", cause);
    return must(bus::samples::contracts().read(text + "}", clock.now()));
  }
  [[nodiscard]] events::EventPtr completed(const schedule::JobRun& run) {
    return event(events::kJobCompleted, fmt::format(R"({{"job":"{}","status":"done","completedAt":"{}","runId":"{}"}})",
                                                    run.job, format_timestamp(clock.now()), run.id.to_string()));
  }
  [[nodiscard]] events::EventPtr failed(const schedule::JobRun& run, std::string_view error = "no luck") {
    return event(events::kJobFailed, fmt::format(R"({{"job":"{}","error":"{}","failedAt":"{}","runId":"{}"}})", run.job,
                                                 error, format_timestamp(clock.now()), run.id.to_string()));
  }
  /// One batch, one transaction.
  Result<void> deliver(const std::vector<events::EventPtr>& batch, Scheduler* to = nullptr) {
    Scheduler& handler = to ? *to : *scheduler;
    std::vector<bus::Delivery> deliveries;
    for (const auto& one : batch) deliveries.emplace_back().event = one;
    TRY_ASSIGN(auto apply, handler.prepare(deliveries));
    TRY(store.transact([&](store::Transaction& transaction) { return apply(transaction); }));
    handler.committed();
    return {};
  }
  /// What the log holds of the end of runs and was not delivered yet, as the embedded bus does.
  void deliver_own() {
    for (const auto& entry : entries()) {
      if (entry.sequence <= delivered_) continue;
      delivered_ = entry.sequence;
      const std::string& type = entry.event->type();
      if (type == events::kJobCompleted || type == events::kJobFailed) must(deliver({entry.event}));
    }
  }

  // What an outsider sees.

  [[nodiscard]] std::vector<store::LogEntry> entries() {
    return must(place->log().read(0, delivery::sqlite::AllTypes(), 1'000'000, std::size_t{1} << 30)).entries;
  }
  [[nodiscard]] std::vector<events::EventPtr> published() {
    std::vector<events::EventPtr> all;
    for (const auto& entry : entries()) all.push_back(entry.event);
    return all;
  }
  [[nodiscard]] std::vector<events::EventPtr> log_of(std::string_view type) {
    auto all = published();
    std::erase_if(all, [&](const events::EventPtr& one) { return one->type() != type; });
    return all;
  }
  /// The oldest first.
  [[nodiscard]] std::vector<schedule::JobRun> runs(const store::JobRunQuery& query = {}) {
    std::vector<schedule::JobRun> all;
    store::JobRunQuery page = query;
    page.limit = 1'000;
    must(store.read([&](const store::Transaction& transaction) -> Result<void> {
      for (;;) {
        TRY_ASSIGN(auto found, transaction.job_runs().list(page));
        const bool last = found.size() < page.limit;
        if (!last) page.before = found.back().id;
        std::ranges::move(found, std::back_inserter(all));
        if (last) return {};
      }
    }));
    std::ranges::reverse(all);
    return all;
  }
  [[nodiscard]] std::vector<schedule::JobRun> open_runs() {
    auto all = runs();
    std::erase_if(all, [](const schedule::JobRun& run) { return !is_open(run.status); });
    return all;
  }
  [[nodiscard]] schedule::JobRun run(const JobRunId& id) {
    std::optional<store::StoredJobRun> found;
    must(store.read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(found, transaction.job_runs().find(id));
      return {};
    }));
    return found.value().run;
  }
  /// The oldest decision first.
  [[nodiscard]] std::vector<store::FireRecord> fires(const std::string& schedule = "") {
    std::vector<store::FireRecord> all;
    store::FireQuery page{.schedule = schedule, .limit = 1'000};
    must(store.read([&](const store::Transaction& transaction) -> Result<void> {
      for (;;) {
        TRY_ASSIGN(auto found, transaction.fires().list(page));
        const bool last = found.size() < page.limit;
        if (!last) page.before = found.back().id;
        std::ranges::move(found, std::back_inserter(all));
        if (last) return {};
      }
    }));
    std::ranges::reverse(all);
    return all;
  }
  /// `09:10 triggered due, 09:20..09:40 3 skipped overlap`.
  [[nodiscard]] std::string told(const std::string& schedule = "often") {
    std::string text;
    for (const auto& record : fires(schedule)) {
      const schedule::PlannedFire& fire = record.fire;
      EXPECT_EQ(record.run.has_value(), fire.outcome == schedule::FireOutcome::triggered);
      text += fmt::format("{}{}", text.empty() ? "" : ", ", format_timestamp(fire.first).substr(11, 5));
      if (fire.count > 1) text += fmt::format("..{} {}", format_timestamp(fire.last).substr(11, 5), fire.count);
      text += fmt::format(" {} {}", name(fire.outcome), name(fire.cause));
    }
    return text;
  }
  [[nodiscard]] std::optional<store::StoredSchedule> find(const std::string& name = "often") {
    std::optional<store::StoredSchedule> found;
    must(store.read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(found, transaction.schedules().find(name));
      return {};
    }));
    return found;
  }
  /// What is not as it must be with a schedule whose definition never changed and that began at kStart: each expected
  /// fire is accounted for once, in order of time, and each that was triggered has one run and one trigger. "": all is.
  [[nodiscard]] std::string audit(const schedule::Schedule& of) {
    const auto expected = must(schedule::Timetable::make(of));
    std::vector<store::FireRecord> rows = fires(of.name);
    std::ranges::sort(rows, {}, [](const store::FireRecord& one) { return one.fire.first; });
    Timestamp last = kStart;
    std::size_t triggered = 0;
    for (const auto& record : rows) {
      const schedule::PlannedFire& fire = record.fire;
      for (std::int64_t i = 0; i < fire.count; ++i) {
        const Timestamp at = expected.next(last)->at;
        if ((i == 0 && fire.first != at) || (i + 1 == fire.count && fire.last != at)) {
          return fmt::format("{}: a row of {} fires from {} to {}, but {} was expected", of.name, fire.count,
                             format_timestamp(fire.first), format_timestamp(fire.last), format_timestamp(at));
        }
        last = at;
      }
      if (fire.outcome != schedule::FireOutcome::triggered) continue;
      ++triggered;
      if (run(record.run.value()).scheduled_for != fire.first) return fmt::format("{}: a run of another fire", of.name);
    }
    if (expected.next(last)->at != find(of.name)->next_at) return fmt::format("{}: next_at is another", of.name);
    const auto its_runs = runs({.schedule = of.name});
    if (its_runs.size() != triggered) return fmt::format("{}: {} runs, {} fires", of.name, its_runs.size(), triggered);
    std::vector<EventId> triggers;
    for (const auto& event : log_of(events::kJobTrigger)) triggers.push_back(event->id());
    for (const auto& one : its_runs) {
      if (std::ranges::count(triggers, one.trigger) != 1) return fmt::format("{}: no one trigger of a run", of.name);
    }
    return "";
  }
  [[nodiscard]] double counted(std::string_view name, const Labels& labels) {
    return metrics.counter(name, "", labels).value();
  }
  [[nodiscard]] static std::string text(const events::Event& of, std::string_view key) {
    const auto value = of.data().find(key);
    return value ? value->string().value_or("") : "";
  }
  [[nodiscard]] static std::string metadata(const events::Event& of, std::string_view key) {
    const auto value = of.root().find("metadata", key);
    return value ? value->string().value_or("") : "";
  }

  ManualClock clock;
  delivery::fakes::ManualWaiter waiter;
  Metrics metrics;
  std::unique_ptr<Place> place;
  DyingStore store;
  SystemIdSource ids;
  std::unique_ptr<Scheduler> scheduler;

 private:
  store::Sequence delivered_ = 0;
};

}  // namespace wfo::scheduler::testing
