#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jobs/tests/world.h"

namespace wfo::jobs::testing {

/// Works runs of one built-in job, in processes that may end at any slice.
class BuiltinWorld : public World {
 public:
  using MakeJob = std::function<std::unique_ptr<Job>()>;
  explicit BuiltinWorld(std::string name) : name_(std::move(name)) {}

  [[nodiscard]] schedule::JobCatalog builtin_catalog() const {
    return schedule::JobCatalog({{.name = name_, .kind = schedule::JobKind::builtin}});
  }
  [[nodiscard]] std::unique_ptr<BatchJobWorker> process(const MakeJob& make, store::Store& on, std::string holder) {
    std::vector<std::unique_ptr<Job>> jobs;
    jobs.push_back(make());
    return std::make_unique<BatchJobWorker>(on, bus::samples::contracts(), builtin_catalog(), std::move(jobs),
                                            std::move(holder), ids, clock, waiter, Logger::silent(), metrics,
                                            BatchJobConfig{.heartbeat_timeout = kHeartbeat, .takeovers_max = 1'000});
  }
  /// A run that waits. `scheduled_for`: of its fire.
  [[nodiscard]] JobRunId triggered_run(BatchJobWorker& by, std::string_view metadata = "{}",
                                       std::optional<Timestamp> scheduled_for = {}) {
    const auto more =
        scheduled_for ? fmt::format(R"(,"scheduledFor":"{}")", format_timestamp(*scheduled_for)) : std::string();
    const auto event = trigger(name_, metadata, more);
    must(hand(by, database.store(), {event}));
    return JobRunId(event->id().value());
  }
  /// A run from its trigger to its end, undisturbed.
  [[nodiscard]] JobRun work(const MakeJob& make, std::string_view metadata = "{}",
                            std::optional<Timestamp> scheduled_for = {}) {
    const auto worker = process(make, database.store(), "undisturbed");
    const JobRunId id = triggered_run(*worker, metadata, scheduled_for);
    must(worker->work_once());
    return run(id);
  }
  /// The same, but each process dies after `slices` commits of slices (and its claim). Returns the run and how many
  /// processes it took.
  [[nodiscard]] std::pair<JobRun, int> work_with_crashes(const MakeJob& make, int slices,
                                                         std::string_view metadata = "{}") {
    UnsureStore store(database.store());
    auto worker = process(make, store, "process 1");
    const JobRunId id = triggered_run(*worker, metadata);
    for (int processes = 1;; ++processes) {
      store.takes = slices + 1;
      const auto worked = worker->work_once();
      worker = process(make, store, fmt::format("process {}", processes + 1));
      if (!schedule::is_open(run(id).status)) return {run(id), processes};
      EXPECT_FALSE(worked) << "it did not die";
      clock.advance(kHeartbeat);
    }
  }

 private:
  const std::string name_;
};

}  // namespace wfo::jobs::testing
