#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "schedule/job_run.h"

namespace wfo::store {

struct StoredJobRun {
  schedule::JobRun run;
  std::int64_t version = 0;  // counts updates; the store's
};

struct JobRunQuery {
  std::string job = {};       // "": all
  std::string schedule = {};  // "": all
  std::optional<schedule::JobRunStatus> status = {};
  std::size_t limit = 50;               // 1..1000
  std::optional<JobRunId> before = {};  // the page's cursor
};

/// The open runs of one schedule.
struct OpenRuns {
  std::vector<JobRunId> ids;  // ascending; at most `count_max`
};

/// Every run of a job: of no tenant.
class JobRunStore {
 public:
  virtual ~JobRunStore() = default;
  /// One place per id, in order; nothing where there is none.
  [[nodiscard]] virtual Result<std::vector<std::optional<StoredJobRun>>> find(std::span<const JobRunId> ids) const = 0;
  [[nodiscard]] Result<std::optional<StoredJobRun>> find(const JobRunId& id) const {
    TRY_ASSIGN(auto found, find({&id, 1}));
    return std::move(found.front());
  }
  /// The run that this `workflow.job.trigger` caused; one place per trigger, in order.
  [[nodiscard]] virtual Result<std::vector<std::optional<JobRunId>>> find_by_trigger(
      std::span<const EventId> triggers) const = 0;
  /// Pending runs of the job, at most `count_max`, those first that were created first.
  [[nodiscard]] virtual Result<std::vector<JobRunId>> oldest_pending(std::string_view job,
                                                                     std::size_t count_max) const = 0;
  /// One place per schedule, in order.
  [[nodiscard]] virtual Result<std::vector<OpenRuns>> open_of(std::span<const std::string> schedules,
                                                              std::size_t count_max) const = 0;
  /// Ids of runs in one of these states with due_at <= now, the most overdue first.
  [[nodiscard]] virtual Result<std::vector<JobRunId>> due(schedule::JobRunStatus status, Timestamp now,
                                                          std::size_t count_max) const = 0;
  /// Ids of open runs with deadline <= now.
  [[nodiscard]] virtual Result<std::vector<JobRunId>> past_deadline(Timestamp now, std::size_t count_max) const = 0;
  /// The newest first, by id.
  [[nodiscard]] virtual Result<std::vector<schedule::JobRun>> list(const JobRunQuery& query) const = 0;
  /// When the newest completed run of the job ended; nothing: there is none.
  [[nodiscard]] virtual Result<std::optional<Timestamp>> last_completed_at(std::string_view job) const = 0;
  /// When the run began that has been running longest; nothing: none runs.
  [[nodiscard]] virtual Result<std::optional<Timestamp>> oldest_running() const = 0;

  /// One place per run, in order: false, and it is not written, if its id or its trigger is known. Its version becomes
  /// 1. Errors: `invalid_argument` a text that `check_text` refuses; then nothing is written.
  [[nodiscard]] virtual Result<std::vector<bool>> insert(std::span<const schedule::JobRun> runs) = 0;
  /// Replaces what stands under the id if its version is still the one given, and counts that up. One place per run, in
  /// order: false, and it is not written, if not. So who has lost a run to somebody else cannot write any more. What it
  /// was triggered as stays as it was inserted: job, triggered_by, schedule, scheduled_for, trigger, correlation_id,
  /// metadata, created_at. Errors: as `insert`.
  [[nodiscard]] virtual Result<std::vector<bool>> update(std::span<const StoredJobRun> runs) = 0;
  /// Of running runs that `holder` has: their lease goes on to `due_at`, without a new version. Returns which of them
  /// it still has.
  [[nodiscard]] virtual Result<std::vector<JobRunId>> heartbeat(std::span<const JobRunId> ids, std::string_view holder,
                                                                Timestamp due_at) = 0;
  /// Deletes at most `count_max` runs that ended before `before`, the oldest first. Open ones are never deleted, nor is
  /// the run of each job that completed last, which `last_completed_at` tells of.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
