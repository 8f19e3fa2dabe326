#include "schedule/job_run.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/result.h"

namespace wfo::schedule {

namespace {

constexpr std::array kStatuses{JobRunStatus::pending,   JobRunStatus::queued, JobRunStatus::running,
                               JobRunStatus::completed, JobRunStatus::failed, JobRunStatus::cancelled};
constexpr std::array kTriggers{TriggeredBy::scheduler, TriggeredBy::manual};

template <class T, std::size_t n>
std::optional<T> find_named(const std::array<T, n>& values, std::string_view text) {
  const auto found = std::ranges::find_if(values, [&](T value) { return name(value) == text; });
  return found == values.end() ? std::nullopt : std::optional(*found);
}

// Before the attempt that follows attempt `failed`. Doubled step by step, as a power of two would overflow.
milliseconds retry_delay(const JobSpec& spec, int failed) {
  milliseconds delay = std::min(spec.retry_first, spec.retry_max);
  for (int attempt = 1; attempt < failed && delay < spec.retry_max; ++attempt) {
    delay = delay > spec.retry_max / 2 ? spec.retry_max : delay * 2;
  }
  return delay;
}

// A queued run waits for whoever takes it, at most so long beyond what it may still last: there is an end though nobody
// comes, and the wait costs nothing if somebody does.
JobRun wait_until(JobRun run, const JobSpec& spec, Timestamp due_at, milliseconds left) {
  run.status = JobRunStatus::queued;
  run.holder.clear();
  run.due_at = due_at;
  run.deadline = due_at + spec.start_timeout + left;
  return run;
}

// What a queued run may still last. Limits may have been changed since it was queued.
milliseconds time_left(const JobRun& run, const JobSpec& spec, Timestamp now) {
  if (!run.deadline) return spec.timeout;
  const Timestamp due_at = run.due_at.value_or(now);
  return std::clamp(*run.deadline - due_at - spec.start_timeout, milliseconds(0), spec.timeout);
}

}  // namespace

std::string_view name(JobRunStatus status) {
  switch (status) {
    case JobRunStatus::pending:
      return "pending";
    case JobRunStatus::queued:
      return "queued";
    case JobRunStatus::running:
      return "running";
    case JobRunStatus::completed:
      return "completed";
    case JobRunStatus::failed:
      return "failed";
    case JobRunStatus::cancelled:
      return "cancelled";
  }
  INVARIANT(false);
}

std::optional<JobRunStatus> parse_job_run_status(std::string_view text) { return find_named(kStatuses, text); }

std::string_view name(TriggeredBy who) {
  switch (who) {
    case TriggeredBy::scheduler:
      return "scheduler";
    case TriggeredBy::manual:
      return "manual";
  }
  INVARIANT(false);
}

std::optional<TriggeredBy> parse_triggered_by(std::string_view text) { return find_named(kTriggers, text); }

JobRun triggered(JobRun run, const JobSpec& spec, Timestamp now) {
  run.status = JobRunStatus::pending;
  run.created_at = now;
  run.due_at = now + spec.start_timeout;
  return run;
}

JobRun recorded(JobRun run, const JobSpec& spec, Timestamp now) {
  INVARIANT(run.status == JobRunStatus::pending);
  return wait_until(std::move(run), spec, now, spec.timeout);
}

JobRun claimed(JobRun run, const JobSpec& spec, std::string_view holder, Timestamp now,
               milliseconds heartbeat_timeout) {
  INVARIANT(run.status == JobRunStatus::queued || run.status == JobRunStatus::running);
  if (run.status == JobRunStatus::running) {
    ++run.takeovers;
  } else {
    ++run.attempt;
    run.deadline = now + time_left(run, spec, now);
  }
  run.status = JobRunStatus::running;
  run.holder = holder;
  run.due_at = now + heartbeat_timeout;
  if (!run.started_at) run.started_at = now;
  if (!run.deadline) run.deadline = now + spec.timeout;
  return run;
}

JobRun given_back(JobRun run, const JobSpec& spec, Timestamp now) {
  INVARIANT(run.status == JobRunStatus::running);
  --run.attempt;
  milliseconds left = run.deadline ? std::max(*run.deadline - now, milliseconds(0)) : spec.timeout;
  if (run.checkpoint.empty()) {
    run.started_at.reset();
    left = spec.timeout;
  }
  return wait_until(std::move(run), spec, now, left);
}

JobRun attempt_failed(JobRun run, const JobSpec& spec, std::string_view error, bool retryable, Timestamp now) {
  INVARIANT(run.status == JobRunStatus::running);
  if (!retryable || run.attempt >= spec.attempts_max) return ended(std::move(run), JobRunStatus::failed, error, now);
  run.error = error;
  const Timestamp due_at = now + retry_delay(spec, run.attempt);
  const milliseconds left = run.deadline ? std::max(*run.deadline - due_at, milliseconds(0)) : spec.timeout;
  return wait_until(std::move(run), spec, due_at, left);
}

JobRun ended(JobRun run, JobRunStatus status, std::string_view error, Timestamp now) {
  INVARIANT(is_open(run.status) && !is_open(status));
  run.status = status;
  run.ended_at = now;
  run.due_at.reset();
  run.holder.clear();
  run.error = error;
  return run;
}

}  // namespace wfo::schedule
