#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"
#include "events/types.h"
#include "jobs/batch_job_worker.h"

/// An installation for tests of jobs: the real store in a folder of its own, a clock moved by hand, and the triggers
/// that the scheduler would send.
namespace wfo::jobs::testing {

using namespace std::chrono_literals;
using schedule::JobRun;
using schedule::JobRunStatus;

inline const Timestamp kStart{std::chrono::sys_days{std::chrono::March / 8 / 2026} + 1h};
inline const TenantId kAcme = *TenantId::parse("aaaaaaaa-0000-4000-8000-000000000001");
inline const TenantId kOther = *TenantId::parse("bbbbbbbb-0000-4000-8000-000000000002");

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}
inline void must(const Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

/// A job that does what a test wants: `slices` times one step, each of which leaves a mark (an outcome) in the store.
class ScriptedJob final : public Job {
 public:
  explicit ScriptedJob(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  Result<void> check(json::Value metadata) const override {
    if (!metadata.find("bad")) return {};
    return fail(ErrorCode::invalid_argument, "metadata.bad is {}; allowed: nothing", metadata.find("bad")->raw());
  }
  Result<Slice> next(const JobRun& run, std::stop_token stop) override {
    ++calls;
    const int done = run.checkpoint.empty() ? 0 : std::stoi(run.checkpoint);
    if (before) {
      if (auto result = before(run, done, stop); !result) return std::unexpected(result.error());
    }
    Slice slice;
    slice.checkpoint = std::to_string(done + 1);
    slice.progress = {.done = done + 1, .total = slices, .note = fmt::format("step {}", done + 1)};
    slice.is_last = done + 1 >= slices;
    slice.effects = [this, done, id = run.id](store::Transaction& transaction,
                                              schedule::JobCounts& counts) -> Result<void> {
      ++applied;
      if (in_effects) {
        if (auto result = in_effects(done); !result) return result;
      }
      const store::RecordedOutcome mark{
          .tenant = kAcme,
          .opportunity = opportunity_id(kAcme, fmt::format("{} step {}", id.to_string(), done)),
          .close_on = Date(std::chrono::days(1)),
          .event = {},
          .recorded_at = {}};
      const auto fresh = transaction.outcomes().insert({&mark, 1});
      if (!fresh) return std::unexpected(fresh.error());
      counts[fresh->front() ? "fresh" : "repeated"] += 1;
      return {};
    };
    return slice;
  }

  int slices = 3;
  std::function<Result<void>(const JobRun&, int done, std::stop_token)> before;
  std::function<Result<void>(int done)> in_effects;
  int calls = 0;
  int applied = 0;

 private:
  const std::string name_;
};

/// Loses the answers of commits that took effect, or refuses them, as a test says.
class UnsureStore final : public store::Store {
 public:
  explicit UnsureStore(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    if (takes && *takes == 0) return fail(ErrorCode::unavailable, "the process is dead");
    if (takes) --*takes;
    if (refuse > 0) {
      --refuse;
      return fail(ErrorCode::unavailable, "the database is away");
    }
    auto done = store_.transact(body);
    if (done && lose > 0 && --lose == 0) return fail(ErrorCode::unavailable, "the connection was lost");
    return done;
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override { return store_.read(body); }
  Result<void> admission() override { return store_.admission(); }

  std::optional<int> takes;  // so many transactions more, and none after them
  int refuse = 0;            // so many of the next transactions
  int lose = 0;              // the answer of the n-th transaction from now that took effect
  void heal() {
    takes.reset();
    refuse = 0;
    lose = 0;
  }

 private:
  store::Store& store_;
};

/// The process that works.
struct Worker {
  ScriptedJob* job = nullptr;
  std::unique_ptr<BatchJobWorker> worker;
  BatchJobWorker* operator->() const { return worker.get(); }
};

class World {
 public:
  World() : clock(kStart), waiter(clock), ids(clock), database(clock) {}

  static constexpr milliseconds kHeartbeat = 30s;

  [[nodiscard]] static schedule::JobCatalog catalog() {
    return schedule::JobCatalog({{.name = "elsewhere", .kind = schedule::JobKind::external},
                                 {.name = "steps",
                                  .kind = schedule::JobKind::builtin,
                                  .timeout = 1h,
                                  .attempts_max = 3,
                                  .retry_first = 10s,
                                  .retry_max = 15s}});
  }
  /// A process with the job `steps`.
  [[nodiscard]] Worker worker(std::string holder = "one", store::Store* on = nullptr, BatchJobConfig config = {}) {
    Worker made;
    auto job = std::make_unique<ScriptedJob>("steps");
    made.job = job.get();
    std::vector<std::unique_ptr<Job>> jobs;
    jobs.push_back(std::move(job));
    config.heartbeat_timeout = kHeartbeat;
    made.worker = std::make_unique<BatchJobWorker>(on ? *on : database.store(), bus::samples::contracts(), catalog(),
                                                   std::move(jobs), std::move(holder), ids, clock, waiter,
                                                   Logger::silent(), metrics, config);
    return made;
  }

  /// A `workflow.job.trigger`; `more` is more members of its data.
  [[nodiscard]] events::EventPtr trigger(std::string_view job, std::string_view metadata = "{}",
                                         std::string_view more = "", std::string_view by = "manual") {
    return must(bus::samples::contracts().read(
        fmt::format(R"({{"id":"{}","type":"workflow.job.trigger","version":"1.0.0","timestamp":"{}","tenantId":"{}",)"
                    R"("source":"workflow-orchestrator","data":{{"job":"{}","metadata":{},"triggeredBy":"{}",)"
                    R"("timestamp":"{}"{}}},"metadata":{{"correlationId":"why"}}}})",
                    ids.next().to_string(), format_timestamp(clock.now()), system_tenant().to_string(), job, metadata,
                    by, format_timestamp(clock.now()), more),
        clock.now()));
  }
  /// A trigger of the scheduler: the run is in the store already, and the trigger names it.
  [[nodiscard]] std::pair<events::EventPtr, JobRunId> scheduled(std::string_view job,
                                                                std::string_view metadata = "{}") {
    const JobRunId id(ids.next());
    auto event = trigger(job, metadata, fmt::format(R"(,"runId":"{}")", id.to_string()), "scheduler");
    JobRun run;
    run.id = id;
    run.job = job;
    run.triggered_by = schedule::TriggeredBy::scheduler;
    run.schedule = "nightly";
    run.scheduled_for = clock.now();
    run.trigger = event->id();
    run.correlation_id = "why";
    run.metadata = metadata;
    const auto known = catalog();
    const auto* spec = known.find(job);
    insert(schedule::triggered(run, spec ? *spec : schedule::JobSpec{.name = std::string(job)}, clock.now()));
    return {std::move(event), id};
  }

  /// As the consumer loop does.
  static Result<void> hand(delivery::Handler& handler, store::Store& store,
                           const std::vector<events::EventPtr>& batch) {
    std::vector<bus::Delivery> deliveries;
    for (const auto& event : batch) deliveries.emplace_back().event = event;
    for (int tries = 0;; ++tries) {
      TRY_ASSIGN(auto apply, handler.prepare(deliveries));
      const auto done = store.transact([&](store::Transaction& transaction) { return apply(transaction); });
      if (!done && done.error().code == ErrorCode::conflict && tries < 10) continue;
      if (done) handler.committed();
      return done;
    }
  }
  Result<void> hand(const Worker& to, const std::vector<events::EventPtr>& batch) {
    return hand(*to.worker, database.store(), batch);
  }
  /// A run of `steps` that waits for a worker.
  [[nodiscard]] JobRunId queued(const Worker& by) {
    const auto [event, id] = scheduled("steps");
    must(hand(by, {event}));
    return id;
  }

  [[nodiscard]] std::optional<store::StoredJobRun> find(const JobRunId& id) {
    std::optional<store::StoredJobRun> found;
    must(database.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(found, transaction.job_runs().find(id));
      return {};
    }));
    return found;
  }
  [[nodiscard]] JobRun run(const JobRunId& id) {
    auto found = find(id);
    if (!found) throw std::runtime_error("no run " + id.to_string());
    return found->run;
  }
  void insert(const JobRun& run) {
    must(database.store().transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(const auto inserted, transaction.job_runs().insert({&run, 1}));
      EXPECT_TRUE(inserted.front());
      return {};
    }));
  }
  /// As the scheduler cancels, or as a new process finds it.
  void change(const JobRunId& id, const std::function<void(JobRun&)>& how) {
    must(database.store().transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(auto found, std::as_const(transaction).job_runs().find(id));
      how(found->run);
      TRY_ASSIGN(const auto updated, transaction.job_runs().update({&*found, 1}));
      EXPECT_TRUE(updated.front());
      return {};
    }));
  }
  void cancel(const JobRunId& id) {
    change(id, [&](JobRun& run) { run = schedule::ended(run, JobRunStatus::cancelled, "by hand", clock.now()); });
  }

  [[nodiscard]] std::vector<events::EventPtr> published(std::string_view type) {
    auto all = database.published();
    std::erase_if(all, [&](const auto& event) { return event->type() != type; });
    return all;
  }
  [[nodiscard]] static std::string text(const events::Event& event, std::string_view key) {
    const auto value = event.data().find(key);
    return value ? value->string().value_or(std::string(value->raw())) : "";
  }
  [[nodiscard]] double metric(std::string_view line) const {
    const std::string all = metrics.text();
    const auto at = all.find("\n" + std::string(line) + " ");
    return at == std::string::npos ? -1 : std::stod(all.substr(at + line.size() + 2));
  }

  ManualClock clock;
  delivery::fakes::ManualWaiter waiter;
  SystemIdSource ids;
  Metrics metrics;
  delivery::sqlite::Fixture database;
};

}  // namespace wfo::jobs::testing
