#include "jobs/batch_job_worker.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "base/thread.h"
#include "events/types.h"
#include "jobs/detail/job_table.h"
#include "jobs/detail/run_worker.h"
#include "jobs/detail/trigger_intake.h"

namespace wfo::jobs {

namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr milliseconds kPauseAfterError{1'000};
constexpr int kHeartbeatsPerTimeout = 3;

}  // namespace

struct BatchJobWorker::State {
  State(store::Store& store, const events::Contracts& contracts, schedule::JobCatalog catalog,
        std::vector<std::unique_ptr<Job>> builtin, std::string holder, IdSource& ids, const Clock& clock,
        delivery::Waiter& waiting, Logger& logger, Metrics& metrics, BatchJobConfig wanted)
      : config(wanted),
        waiter(waiting),
        log(logger),
        jobs(std::move(catalog), std::move(builtin)),
        factory(contracts, ids, clock, events::kRiskAnalyticsRole),
        intake(store, jobs, factory, clock, logger, metrics),
        worker(store, jobs, factory, std::move(holder), clock, waiting, logger, metrics, wanted) {
    INVARIANT(config.workers >= 1 && config.workers <= 64);
    INVARIANT(config.heartbeat_timeout >= seconds(1) && config.heartbeat_timeout <= hours(1));
    INVARIANT(config.takeovers_max >= 0 && config.takeovers_max <= 1000);
    INVARIANT(config.idle_wait > milliseconds(0));
  }

  /// Says what is wrong when that changes, not each time, and when nothing is any more. `mine`: whether the calling
  /// thread was told so last.
  void report(const Result<void>& result, bool& mine) {
    const std::scoped_lock lock(mutex);
    if (result) {
      if (mine && --in_trouble == 0) {
        log.info("batch jobs: work goes on");
        trouble.clear();
      }
    } else {
      if (!mine) ++in_trouble;
      if (trouble != result.error().message) log.error("batch jobs: {}; tried again", result.error().message);
      trouble = result.error().message;
    }
    mine = !result;
  }

  void work(std::stop_token stop) {
    name_this_thread("job-worker");
    bool in_trouble_here = false;
    while (!stop.stop_requested()) {
      const auto worked = worker.work_once(stop);
      report(worked ? Result<void>() : std::unexpected(worked.error()), in_trouble_here);
      if (worked && *worked) continue;
      waiter.wait(worked ? config.idle_wait : std::max(config.idle_wait, kPauseAfterError), stop);
    }
  }

  void beat(std::stop_token stop) {
    name_this_thread("job-heartbeat");
    bool in_trouble_here = false;
    do {
      report(worker.keep_alive(), in_trouble_here);
    } while (waiter.wait(config.heartbeat_timeout / kHeartbeatsPerTimeout, stop));
  }

  const BatchJobConfig config;
  delivery::Waiter& waiter;
  Logger& log;
  const JobTable jobs;
  const events::EventFactory factory;
  TriggerIntake intake;
  RunWorker worker;
  std::mutex mutex;  // guards what follows
  std::string trouble;
  int in_trouble = 0;  // threads
};

BatchJobWorker::BatchJobWorker(store::Store& store, const events::Contracts& contracts, schedule::JobCatalog catalog,
                               std::vector<std::unique_ptr<Job>> jobs, std::string holder, IdSource& ids,
                               const Clock& clock, delivery::Waiter& waiter, Logger& log, Metrics& metrics,
                               BatchJobConfig config)
    : state_(std::make_unique<State>(store, contracts, std::move(catalog), std::move(jobs), std::move(holder), ids,
                                     clock, waiter, log, metrics, config)) {}

BatchJobWorker::~BatchJobWorker() = default;

std::vector<std::string> BatchJobWorker::bindings() { return {std::string(events::kJobTrigger)}; }

Result<delivery::Handler::Apply> BatchJobWorker::prepare(std::span<const bus::Delivery> batch) {
  return state_->intake.prepare(batch);
}

void BatchJobWorker::committed() { state_->intake.committed(); }

Result<void> BatchJobWorker::check(std::string_view job, json::Value metadata) const {
  const auto known = state_->jobs.find(job);
  return known.job ? known.job->check(metadata) : Result<void>();
}

Result<bool> BatchJobWorker::work_once(std::stop_token stop) { return state_->worker.work_once(std::move(stop)); }

Result<void> BatchJobWorker::keep_alive() { return state_->worker.keep_alive(); }

void BatchJobWorker::run(std::stop_token stop) {
  // The heartbeat outlives the workers, who may still have a slice to finish.
  const std::jthread heartbeat([this](std::stop_token end) { state_->beat(std::move(end)); });
  std::vector<std::jthread> workers;
  for (int i = 0; i < state_->config.workers; ++i) workers.emplace_back([this, stop] { state_->work(stop); });
}

}  // namespace wfo::jobs
