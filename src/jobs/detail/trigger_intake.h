#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "delivery/consumer_loop.h"
#include "events/contracts.h"
#include "jobs/detail/job_table.h"
#include "store/store.h"

namespace wfo::jobs {

/// From `workflow.job.trigger` to a recorded run: the handler's half of the BatchJobWorker. One thread.
class TriggerIntake {
 public:
  TriggerIntake(store::Store& store, const JobTable& jobs, const events::EventFactory& factory, const Clock& clock,
                Logger& log, Metrics& metrics);
  /// As `delivery::Handler::prepare`.
  [[nodiscard]] Result<delivery::Handler::Apply> prepare(std::span<const bus::Delivery> batch);
  void committed();

 private:
  struct Trigger;
  struct Plan;
  [[nodiscard]] static Result<Trigger> read(const events::Event& event);
  [[nodiscard]] schedule::JobRun run_of(const Trigger& trigger, Timestamp now) const;
  Result<bool> record(Plan& plan, const Trigger& trigger, Timestamp now) const;

  store::Store& store_;
  const JobTable& jobs_;
  const events::EventFactory& factory_;
  const Clock& clock_;
  Logger& log_;
  std::map<std::string, Counter*, std::less<>> counters_;  // by job of the catalogue
  Counter& unknown_;
  std::vector<Counter*> counted_;  // one place per trigger of the batch in hand
};

}  // namespace wfo::jobs
