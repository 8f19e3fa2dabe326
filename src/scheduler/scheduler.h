#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "delivery/consumer_loop.h"
#include "delivery/waiter.h"
#include "events/contracts.h"
#include "schedule/schedule.h"
#include "store/store.h"

namespace wfo::scheduler {

/// A run that nobody took is closed when this scheduler has looked for answers for so long since the run's
/// `start_timeout` was over (or for `start_timeout`, if that is shorter): what came while the process was down, or had
/// no store, may still wait in the queue.
inline constexpr milliseconds kStartGrace{60'000};

struct SchedulerConfig {
  std::size_t batch_max = 500;  // 1..10000 schedules a transaction
  milliseconds idle_wait{250};  // > 0: between two looks while nothing is due
  /// False: nobody here calls `run`, and what follows from the end of a run is left to who does; he looks at once.
  bool attends = true;
};

/// Says whether the job's worker could use the metadata; `invalid_argument` names the member (`metadata.from`) and what
/// is allowed.
using MetadataCheck = std::function<Result<void>(std::string_view job, json::Value metadata)>;

struct TriggerRequest {
  std::string job;
  std::string metadata = "{}";  // a JSON object
  std::string user_id = {};
  std::string traceparent = {};
};

struct TriggerAnswer {
  JobRunId run;
  EventId trigger;
};

/// The part of `workflow-orchestrator` that triggers jobs: watches schedules, keeps the fire ledger, follows job runs
/// to their end. A fire's row, its trigger, its run and the schedule's move are one transaction, guarded by the
/// schedule's version: any number of replicas may do the same at once. Any thread; `prepare` one consumer loop.
class Scheduler final : public delivery::Handler {
 public:
  Scheduler(store::Store& store, const events::Contracts& contracts, schedule::JobCatalog catalog,
            MetadataCheck check_metadata, IdSource& ids, const Clock& clock, delivery::Waiter& waiter, Logger& log,
            Metrics& metrics, SchedulerConfig config = {});
  ~Scheduler() override;

  /// `workflow.job.completed`, `workflow.job.failed`.
  [[nodiscard]] static std::vector<std::string> bindings();
  /// Closes the runs that these events are about (matched by `runId`, else `causationId`, else, if they name neither,
  /// the oldest pending run of that job), triggers what waited for it, pauses the schedule whose run failed if it wants
  /// that. An event about a run that is closed leads to no more than that follow-up; one about none, about one that the
  /// BatchJobWorker has in hand, of another job, or of another tenant than the system's, changes nothing.
  [[nodiscard]] Result<Apply> prepare(std::span<const bus::Delivery> batch) override;
  void committed() override;

  /// Makes the schedules of the configuration (origin `configuration`) those of the store: new ones begin now; changed
  /// ones are first accounted for up to now as they were; those that are not among them any more are removed as by
  /// `remove`. Paused and note stay as an operator left them. `batch_max` of them are one transaction. Errors:
  /// `invalid_argument` a schedule that is not valid, `conflict` a name that is taken by the API: then nothing is
  /// changed (but if the API takes the name at this very moment); `unavailable` it was stopped, or as the store: what
  /// was changed is, and the same again does the rest.
  [[nodiscard]] Result<void> configure(std::span<const schedule::Schedule> schedules, const std::stop_token& stop = {});

  struct Round {
    std::size_t schedules = 0;  // attended to
    std::size_t triggered = 0;
    std::size_t closed = 0;  // runs whose `start_timeout` or `timeout` was over
    bool more = false;       // something else is due already
    friend bool operator==(const Round&, const Round&) = default;
  };
  /// One transaction's worth of what is due at `clock.now()`. After an error, and after the clock was set back, all
  /// runs have `kStartGrace` anew. Errors: as the store.
  [[nodiscard]] Result<Round> run_once();
  /// Until `stop`. The store being away is logged and tried again.
  void run(std::stop_token stop);

  // What operators do. All of it durable when it returns. Errors besides those named: `unavailable`, as the store.

  /// Triggers a job by hand (`triggeredBy: manual`). Errors: `not_found` no such job, names those that there are;
  /// `invalid_argument` metadata that is not an object, or that the job cannot use.
  [[nodiscard]] Result<TriggerAnswer> trigger(const TriggerRequest& request);
  /// Makes or changes a schedule of the API. Errors: `invalid_argument`; `conflict` it belongs to the configuration.
  [[nodiscard]] Result<store::StoredSchedule> put(const schedule::Schedule& schedule);
  /// What is late (`schedule::kLate`) and was not triggered yet is skipped, cause `paused`; what is due just now is
  /// triggered. Errors: `not_found`; `conflict` it belongs to the configuration.
  [[nodiscard]] Result<void> remove(const std::string& name);
  /// What is late (`schedule::kLate`) and was not triggered yet is skipped at once: nothing is caught up with first.
  /// What is due just now is triggered. Again: only the note changes. Errors: `not_found`; `invalid_argument` a note
  /// that is longer than `kPauseNoteBytesMax`, or no text.
  [[nodiscard]] Result<store::StoredSchedule> pause(const std::string& name, std::string_view note);
  /// What was due meanwhile is accounted for as skipped. Errors: `not_found`; `conflict` it is not paused.
  [[nodiscard]] Result<store::StoredSchedule> resume(const std::string& name);
  /// Triggers the fires of [from, to) explicitly, whatever became of them then, also if it is paused; `overlap` is how
  /// they meet open runs and each other. Returns their rows. Errors: `not_found`; `invalid_argument` as
  /// `plan_backfill`.
  [[nodiscard]] Result<std::vector<schedule::PlannedFire>> backfill(const std::string& name, Timestamp from,
                                                                    Timestamp to, schedule::OverlapPolicy overlap);
  /// Closes the run, and says so by `workflow.job.failed`; nothing that its worker still does takes effect. A worker
  /// elsewhere does not hear of it. Errors: `not_found`; `conflict` it has ended, says how.
  [[nodiscard]] Result<schedule::JobRun> cancel(const JobRunId& id, std::string_view reason);

  [[nodiscard]] const schedule::JobCatalog& catalog() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wfo::scheduler
