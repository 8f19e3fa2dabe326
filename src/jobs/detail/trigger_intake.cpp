#include "jobs/detail/trigger_intake.h"

#include <algorithm>
#include <utility>

#include "events/types.h"
#include "jobs/detail/job_events.h"
#include "schedule/schedule.h"

namespace wfo::jobs {

using schedule::JobRun;
using schedule::JobRunStatus;

namespace {

constexpr std::string_view kCounterName = "batch_job_triggers_total";
constexpr std::string_view kCounterHelp = "Triggers of batch jobs that were recorded";
constexpr std::size_t kJobBytesMax = 100;  // as long as a name of the catalogue can be

}  // namespace

struct TriggerIntake::Trigger {
  JobRunId run;
  EventId event;
  std::string job;
  json::Value metadata;  // of the event
  schedule::TriggeredBy triggered_by;
  std::optional<Timestamp> scheduled_for;
  std::string correlation_id;
};

/// What becomes of one run.
struct TriggerIntake::Plan {
  store::StoredJobRun stored;
  bool is_known = false;
  bool is_changed = false;
};

TriggerIntake::TriggerIntake(store::Store& store, const JobTable& jobs, const events::EventFactory& factory,
                             const Clock& clock, Logger& log, Metrics& metrics)
    : store_(store),
      jobs_(jobs),
      factory_(factory),
      clock_(clock),
      log_(log),
      unknown_(metrics.counter(kCounterName, kCounterHelp, {{"batch_job", "unknown"}})) {
  for (const schedule::JobSpec& spec : jobs.catalog().all()) {
    counters_.emplace(spec.name, &metrics.counter(kCounterName, kCounterHelp, {{"batch_job", spec.name}}));
  }
}

Result<TriggerIntake::Trigger> TriggerIntake::read(const events::Event& event) {
  const std::string id = event.id().to_string();
  if (event.type() != events::kJobTrigger) {
    return fail(ErrorCode::invalid_argument, "{} {}: only {} can be taken here", event.type(), id, events::kJobTrigger);
  }
  // Jobs are of no tenant: none may trigger one.
  if (event.tenant() != system_tenant()) {
    return fail(ErrorCode::invalid_argument, "{} {}: tenantId is {}; allowed: the platform's own, {}", event.type(), id,
                event.tenant().to_string(), system_tenant().to_string());
  }
  const json::Value data = event.data();
  const auto job = data.find("job");
  const auto metadata = data.find("metadata");
  const auto by = data.find("triggeredBy");
  const auto triggered_by = by ? schedule::parse_triggered_by(by->string().value_or("")) : std::nullopt;
  // The contract demands all three; who hands over an event that was not checked is told so.
  if (!job || !job->is_string() || !metadata || !metadata->is_object() || !triggered_by) {
    return fail(ErrorCode::invalid_argument,
                "{} {}: data needs job, metadata (an object) and triggeredBy (scheduler or manual)", event.type(), id);
  }
  // A run that fails would keep them all the same, and answers that show it could not be read.
  if (const auto shape = schedule::check_metadata_shape(*metadata); !shape) {
    return std::unexpected(with_context(shape.error(), fmt::format("{} {}: data.metadata", event.type(), id)));
  }
  Trigger trigger{.run = JobRunId(event.id().value()),
                  .event = event.id(),
                  .job = *job->string(),
                  .metadata = *metadata,
                  .triggered_by = *triggered_by,
                  .scheduled_for = {},
                  .correlation_id = event.correlation_id()};
  if (trigger.job.empty() || trigger.job.size() > kJobBytesMax) {
    return fail(ErrorCode::invalid_argument, "{} {}: data.job has {} bytes; 1 to {} are allowed", event.type(), id,
                trigger.job.size(), kJobBytesMax);
  }
  if (const auto run = data.find("runId"); run && run->uuid()) trigger.run = JobRunId(*run->uuid());
  if (const auto fire = data.find("scheduledFor")) trigger.scheduled_for = fire->timestamp();
  return trigger;
}

JobRun TriggerIntake::run_of(const Trigger& trigger, Timestamp now) const {
  JobRun run;
  run.id = trigger.run;
  run.job = trigger.job;
  run.triggered_by = trigger.triggered_by;
  run.scheduled_for = trigger.scheduled_for;
  run.trigger = trigger.event;
  run.correlation_id = trigger.correlation_id;
  run.metadata = trigger.metadata.raw();
  const auto [spec, job] = jobs_.find(trigger.job);
  return schedule::triggered(std::move(run), spec ? *spec : schedule::JobSpec{.name = trigger.job}, now);
}

/// Whether the trigger did something, or is one that an external job's worker will see.
Result<bool> TriggerIntake::record(Plan& plan, const Trigger& trigger, Timestamp now) const {
  JobRun& run = plan.stored.run;
  if (run.job != trigger.job) {
    return fail(ErrorCode::invalid_argument, "trigger {}: run {} is of job {}, not of '{}'", trigger.event.to_string(),
                run.id.to_string(), run.job, trigger.job);
  }
  if (run.status != JobRunStatus::pending) return false;
  const auto [spec, job] = jobs_.find(run.job);
  if (spec && !job) return true;
  // Judged by what the run was made with, which is what its job will get.
  std::string error;
  if (!spec) {
    error = jobs_.unknown(run.job);
  } else if (const auto metadata = json::Document::parse(run.metadata); !metadata) {
    error = fmt::format("metadata: {}", metadata.error().message);
  } else if (const auto checked = job->check(metadata->root()); !checked) {
    error = checked.error().message;
  }
  if (error.empty()) {
    run = schedule::recorded(std::move(run), *spec, now);
  } else {
    log_.warn("job {}: run {} fails: {}", run.job, run.id.to_string(), error);
    run = schedule::ended(std::move(run), JobRunStatus::failed, error_text(error), now);
  }
  plan.is_changed = true;
  return true;
}

Result<delivery::Handler::Apply> TriggerIntake::prepare(std::span<const bus::Delivery> batch) {
  counted_.clear();
  const Timestamp now = clock_.now();
  std::vector<Trigger> triggers;
  triggers.reserve(batch.size());
  for (const bus::Delivery& delivery : batch) {
    TRY_ASSIGN(Trigger trigger, read(*delivery.event));
    triggers.push_back(std::move(trigger));
  }
  std::map<JobRunId, Plan> plans;
  for (const Trigger& trigger : triggers) plans.try_emplace(trigger.run);
  std::vector<JobRunId> ids;
  ids.reserve(plans.size());
  for (const auto& [id, plan] : plans) ids.push_back(id);
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto found, transaction.job_runs().find(ids));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (found[i]) plans[ids[i]] = {.stored = *std::move(found[i]), .is_known = true};
    }
    return {};
  }));

  for (const Trigger& trigger : triggers) {
    Plan& plan = plans[trigger.run];
    if (!plan.is_known && plan.stored.run.job.empty()) plan = {.stored = {run_of(trigger, now)}, .is_changed = true};
    TRY_ASSIGN(const bool counts, record(plan, trigger, now));
    if (!counts) continue;
    const auto counter = counters_.find(trigger.job);
    counted_.push_back(counter == counters_.end() ? &unknown_ : counter->second);
  }

  std::vector<JobRun> inserts;
  std::vector<store::StoredJobRun> updates;
  std::vector<events::EventPtr> ends;
  for (auto& [id, plan] : plans) {
    if (!plan.is_changed) continue;
    if (plan.stored.run.status == JobRunStatus::failed) {
      TRY_ASSIGN(auto event, end_event(factory_, plan.stored.run));
      ends.push_back(std::move(event));
    }
    if (plan.is_known) {
      updates.push_back(std::move(plan.stored));
    } else {
      inserts.push_back(std::move(plan.stored.run));
    }
  }
  return [inserts = std::move(inserts), updates = std::move(updates),
          ends = std::move(ends)](store::Transaction& transaction) -> Result<void> {
    const auto all = [](const std::vector<bool>& done) -> Result<void> {
      if (std::ranges::all_of(done, std::identity())) return {};
      return fail(ErrorCode::conflict, "a triggered run was written by somebody else meanwhile");
    };
    if (!inserts.empty()) {
      TRY_ASSIGN(const auto inserted, transaction.job_runs().insert(inserts));
      TRY(all(inserted));
    }
    if (!updates.empty()) {
      TRY_ASSIGN(const auto updated, transaction.job_runs().update(updates));
      TRY(all(updated));
    }
    return ends.empty() ? Result<void>() : transaction.log().append(ends);
  };
}

void TriggerIntake::committed() {
  for (Counter* counter : counted_) counter->add();
  counted_.clear();
}

}  // namespace wfo::jobs
