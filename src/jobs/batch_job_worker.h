#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "delivery/consumer_loop.h"
#include "delivery/waiter.h"
#include "events/contracts.h"
#include "jobs/job.h"
#include "schedule/job_spec.h"

namespace wfo::jobs {

struct BatchJobConfig {
  int workers = 2;                                           // 1..64 runs at work at once in this process
  milliseconds heartbeat_timeout{std::chrono::seconds(30)};  // 1s..1h of silence, then another worker takes a run over
  int takeovers_max = 20;                                    // 0..1000; a run that is taken over more often fails
  milliseconds idle_wait{250};                               // > 0: between two looks for work
  /// No other process works on the same store at the same time: whoever else holds a run is dead, and nobody waits for
  /// the end of his lease.
  bool is_alone = false;
};

/// The consumer of `bi_batch_jobs` (role `risk-analytics`). A trigger is recorded and acknowledged, never held during
/// work; then this process's workers, or another's, claim the run, work it slice by slice and say how it ended
/// (`workflow.job.completed` with counts, `workflow.job.failed` with the error). External jobs are only recorded;
/// unknown ones fail.
class BatchJobWorker final : public delivery::Handler {
 public:
  static constexpr std::string_view kQueue = "bi_batch_jobs";

  /// `jobs`: those of `catalog` that are builtin, all of them. `holder`: this process's name among workers.
  BatchJobWorker(store::Store& store, const events::Contracts& contracts, schedule::JobCatalog catalog,
                 std::vector<std::unique_ptr<Job>> jobs, std::string holder, IdSource& ids, const Clock& clock,
                 delivery::Waiter& waiter, Logger& log, Metrics& metrics, BatchJobConfig config = {});
  ~BatchJobWorker() override;

  /// `workflow.job.trigger`.
  [[nodiscard]] static std::vector<std::string> bindings();
  [[nodiscard]] Result<Apply> prepare(std::span<const bus::Delivery> batch) override;
  void committed() override;

  /// Whether that job could use the metadata; of a job that is not built in nobody knows, so yes. Errors:
  /// `invalid_argument`, as `Job::check`. Any thread.
  [[nodiscard]] Result<void> check(std::string_view job, json::Value metadata) const;

  /// Claims one run that may be worked on and works it until it ends, its attempt fails, it is closed by somebody else,
  /// or `stop` (then it is given back, and another worker goes on at once). False: there was none. Errors: as the
  /// store.
  [[nodiscard]] Result<bool> work_once(std::stop_token stop = {});
  /// Prolongs the leases of the runs at work in this process. Called by `run` in time; by tests.
  [[nodiscard]] Result<void> keep_alive();
  /// Works with `workers` threads until `stop`.
  void run(std::stop_token stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wfo::jobs
