#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "base/log.h"
#include "base/metrics.h"
#include "delivery/waiter.h"
#include "events/contracts.h"
#include "jobs/batch_job_worker.h"
#include "jobs/detail/job_table.h"
#include "store/store.h"

namespace wfo::jobs {

/// Claims runs, works them slice by slice, says how they ended: the other half of the BatchJobWorker. Any thread.
class RunWorker {
 public:
  RunWorker(store::Store& store, const JobTable& jobs, const events::EventFactory& factory, std::string holder,
            const Clock& clock, delivery::Waiter& waiter, Logger& log, Metrics& metrics, BatchJobConfig config);
  /// As `BatchJobWorker`'s.
  [[nodiscard]] Result<bool> work_once(std::stop_token stop);
  [[nodiscard]] Result<void> keep_alive();

 private:
  /// A run at work in this process.
  struct AtWork {
    JobRunId id;
    std::optional<Timestamp> deadline;
    std::stop_source stop;          // ends the slice that is being computed
    std::atomic<bool> lost{false};  // somebody else closed it or took it over
  };
  struct Numbers {
    Histogram& duration;
    Counter& attempts_failed;
  };
  using Change = FunctionRef<Result<bool>(store::Transaction&, store::StoredJobRun&)>;

  Result<std::vector<store::StoredJobRun>> candidates(Timestamp now);
  Result<bool> take(store::StoredJobRun held, Timestamp now, std::stop_token stop);
  Result<void> work(store::StoredJobRun held, const JobTable::Entry& job, std::stop_token stop);
  Result<void> give_back(store::StoredJobRun& held, const JobTable::Entry& job, std::stop_token stop);
  Result<void> end(store::StoredJobRun& held, std::string_view error, std::stop_token stop);
  Result<void> attempt_failed(store::StoredJobRun& held, const JobTable::Entry& job, const Error& error,
                              std::stop_token stop);

  Result<bool> write(store::StoredJobRun& held, const schedule::JobRun& next, std::stop_token stop);
  Result<bool> write_slice(store::StoredJobRun& held, Slice& slice, std::stop_token stop);
  Result<bool> commit(store::StoredJobRun& held, Change change, std::stop_token stop);
  Result<bool> is_written(store::StoredJobRun& held, const std::optional<store::StoredJobRun>& attempted);

  std::shared_ptr<AtWork> begin(const schedule::JobRun& run);
  void leave(const std::shared_ptr<AtWork>& entry);
  milliseconds count_duration(const schedule::JobRun& run);
  void say_ended(const schedule::JobRun& run);
  void say_lost(const schedule::JobRun& run);

  store::Store& store_;
  const JobTable& jobs_;
  const events::EventFactory& factory_;
  const std::string holder_;
  const Clock& clock_;
  delivery::Waiter& waiter_;
  Logger& log_;
  const BatchJobConfig config_;
  std::map<std::string, Numbers, std::less<>> numbers_;  // by builtin job
  Counter& takeovers_;
  Gauge& oldest_running_;
  std::mutex mutex_;  // guards at_work_
  std::vector<std::shared_ptr<AtWork>> at_work_;
};

}  // namespace wfo::jobs
