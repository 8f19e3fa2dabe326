#include "orchestrator/detail/numbers.h"

#include <chrono>

namespace wfo::orchestrator {

namespace {

constexpr std::string_view kFailed = "workflows_failed_total";
constexpr std::string_view kFailedHelp = "Runs that ended without being completed, by cause";

}  // namespace

std::string_view name(Reason reason) {
  static constexpr std::array<std::string_view, kReasonCount> kNames{
      "unknown_step", "already_completed", "not_requested",    "stale_attempt",  "run_ended",
      "not_due",      "still_active",      "unknown_workflow", "foreign_tenant", "repeated_trigger",
      "other_shard",  "outdated_change",   "not_consumed"};
  return kNames[static_cast<std::size_t>(reason)];
}

Reason reason_of(workflow::Ignored ignored) {
  switch (ignored) {
    case workflow::Ignored::unknown_step:
      return Reason::unknown_step;
    case workflow::Ignored::already_completed:
      return Reason::already_completed;
    case workflow::Ignored::not_requested:
      return Reason::not_requested;
    case workflow::Ignored::stale_attempt:
      return Reason::stale_attempt;
    case workflow::Ignored::run_ended:
      return Reason::run_ended;
    case workflow::Ignored::not_due:
      return Reason::not_due;
    case workflow::Ignored::still_active:
      return Reason::still_active;
  }
  return Reason::unknown_step;
}

void Tally::add(const Tally& other) {
  for (std::size_t i = 0; i < kReasonCount; ++i) ignored[i] += other.ignored[i];
  started += other.started;
  retried += other.retried;
  completed += other.completed;
  failed_by_step += other.failed_by_step;
  failed_by_deadline += other.failed_by_deadline;
  cancelled += other.cancelled;
  absorbed += other.absorbed;
  refused += other.refused;
  step_durations.insert(step_durations.end(), other.step_durations.begin(), other.step_durations.end());
}

Numbers::Numbers(Metrics& metrics)
    : metrics_(metrics),
      started_(metrics.counter("workflows_started_total", "Runs that were started")),
      retried_(metrics.counter("workflows_retried_total", "Runs that an operator set going again")),
      completed_(metrics.counter("workflows_completed_total", "Runs that completed all their steps")),
      failed_by_step_(metrics.counter(kFailed, kFailedHelp, {{"cause", "step"}})),
      failed_by_deadline_(metrics.counter(kFailed, kFailedHelp, {{"cause", "deadline"}})),
      cancelled_(metrics.counter(kFailed, kFailedHelp, {{"cause", "cancelled"}})),
      absorbed_(metrics.counter("workflow_triggers_absorbed_total", "Triggers that an active run absorbed")),
      refused_(metrics.counter("workflow_triggers_refused_total", "Triggers that could start nothing")),
      active_gauge_(metrics.gauge("workflows_active", "Runs that have not ended")) {
  for (std::size_t i = 0; i < kReasonCount; ++i) {
    ignored_[i] = &metrics.counter("workflow_inputs_ignored_total", "Inputs that changed nothing, by reason",
                                   {{"reason", std::string(name(static_cast<Reason>(i)))}});
  }
}

void Numbers::count(const Tally& tally) {
  const auto add = [](Counter& counter, std::uint32_t amount) {
    if (amount > 0) counter.add(amount);
  };
  for (std::size_t i = 0; i < kReasonCount; ++i) add(*ignored_[i], tally.ignored[i]);
  add(started_, tally.started);
  add(retried_, tally.retried);
  add(completed_, tally.completed);
  add(failed_by_step_, tally.failed_by_step);
  add(failed_by_deadline_, tally.failed_by_deadline);
  add(cancelled_, tally.cancelled);
  add(absorbed_, tally.absorbed);
  add(refused_, tally.refused);
  for (const auto& [step_type, duration] : tally.step_durations) {
    duration_of(step_type).observe(std::chrono::duration<double>(duration).count());
  }
  const std::int64_t begun = std::int64_t{tally.started} + tally.retried;
  const std::int64_t ended =
      std::int64_t{tally.completed} + tally.failed_by_step + tally.failed_by_deadline + tally.cancelled;
  if (begun != ended) {
    active_gauge_.set(static_cast<double>(active_.fetch_add(begun - ended, std::memory_order_relaxed) + begun - ended));
  }
}

void Numbers::set_active(std::int64_t count) {
  active_.store(count, std::memory_order_relaxed);
  active_gauge_.set(static_cast<double>(count));
}

void Numbers::count_mended(std::string_view what, std::size_t amount) {
  metrics_
      .counter("workflow_self_check_findings_total", "What the self-check found that must not be",
               {{"what", std::string(what)}})
      .add(static_cast<double>(amount));
}

Histogram& Numbers::duration_of(const std::string& step_type) {
  const std::scoped_lock lock(mutex_);
  Histogram*& histogram = durations_[step_type];
  if (histogram == nullptr) {
    histogram = &metrics_.histogram("workflow_step_duration_seconds", "From a step's first request to its completion",
                                    {{"step", step_type}});
  }
  return *histogram;
}

}  // namespace wfo::orchestrator
