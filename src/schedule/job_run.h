#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "base/uuid.h"
#include "schedule/job_spec.h"

namespace wfo::schedule {

enum class JobRunStatus {
  pending,  // triggered; nobody has taken it. An external job's stays so until its worker says that it ended
  queued,   // recorded by the BatchJobWorker; waits for a thread, or for its next attempt
  running,  // somebody works on it, and shows it by heartbeats
  completed,
  failed,     // for good; `error` says why
  cancelled,  // by an operator or by the overlap policy; `error` says by whom and why
};
[[nodiscard]] std::string_view name(JobRunStatus status);
[[nodiscard]] std::optional<JobRunStatus> parse_job_run_status(std::string_view text);
[[nodiscard]] inline bool is_open(JobRunStatus status) { return status <= JobRunStatus::running; }

enum class TriggeredBy { scheduler, manual };
[[nodiscard]] std::string_view name(TriggeredBy who);
[[nodiscard]] std::optional<TriggeredBy> parse_triggered_by(std::string_view text);

struct JobProgress {
  std::int64_t done = 0;
  std::optional<std::int64_t> total;  // nothing: not known yet
  std::string note;
  friend bool operator==(const JobProgress&, const JobProgress&) = default;
};

using JobCounts = std::map<std::string, std::int64_t>;  // each >= 0

/// One run of a job, from its trigger to its end. Times are of the process that wrote them.
struct JobRun {
  JobRunId id;
  std::string job;
  JobRunStatus status = JobRunStatus::pending;
  TriggeredBy triggered_by = TriggeredBy::manual;
  std::string schedule;                    // "" if triggered by hand or from outside
  std::optional<Timestamp> scheduled_for;  // the fire
  EventId trigger;                         // the `workflow.job.trigger`
  std::string correlation_id;
  std::string metadata = "{}";  // a JSON object
  Timestamp created_at;
  std::optional<Timestamp> started_at;  // first
  std::optional<Timestamp> ended_at;
  /// When somebody has to look if nothing happens before. pending: the end of `start_timeout`; queued: from when on a
  /// worker may take it; running: the end of the heartbeat's lease, after which another worker takes it over; ended:
  /// nothing.
  std::optional<Timestamp> due_at;
  /// When it is closed as failed if it is still open. running: the end of `timeout`, of which no time is used up in
  /// which it waits for a worker; queued: `start_timeout`, and what is left of `timeout`, after `due_at`; pending:
  /// nothing, since `due_at` is the end already.
  std::optional<Timestamp> deadline;
  std::string holder;  // who works on it; "" nobody
  int attempt = 0;     // the one at work, or done last: 1, 2, …; 0 before the first
  int takeovers = 0;   // how often it was taken over from a worker that fell silent
  JobProgress progress;
  std::string checkpoint;  // the job's own, where to go on; "" the beginning
  JobCounts counts;
  std::string error;  // of the last attempt that failed, or why it was closed
  friend bool operator==(const JobRun&, const JobRun&) = default;
};

// How a run goes on: the run afterwards. The caller has looked that it is in a state that allows it.

/// A run that was triggered at `now`; `id`, `job`, `trigger` and what else is known are set by the caller.
[[nodiscard]] JobRun triggered(JobRun run, const JobSpec& spec, Timestamp now);
/// pending → queued: the BatchJobWorker has recorded it.
[[nodiscard]] JobRun recorded(JobRun run, const JobSpec& spec, Timestamp now);
/// queued or (after its lease) running → running. Taking over a running one counts a takeover and keeps attempt and
/// deadline; else it is the next attempt, and what was left of `timeout` begins to run.
[[nodiscard]] JobRun claimed(JobRun run, const JobSpec& spec, std::string_view holder, Timestamp now,
                             milliseconds heartbeat_timeout);
/// running → queued: its worker stops, and another one may go on at once, in the same attempt. Without a checkpoint it
/// is as if it had never been started.
[[nodiscard]] JobRun given_back(JobRun run, const JobSpec& spec, Timestamp now);
/// A failed attempt: → queued for `now` + the policy's delay (of which `timeout` is used up), or, if it was the last or
/// is not to be retried, failed.
[[nodiscard]] JobRun attempt_failed(JobRun run, const JobSpec& spec, std::string_view error, bool retryable,
                                    Timestamp now);
/// Ends it: `status` is completed, failed or cancelled; `error` is "" if completed.
[[nodiscard]] JobRun ended(JobRun run, JobRunStatus status, std::string_view error, Timestamp now);

}  // namespace wfo::schedule
