#include "store/checks.h"
#include "store/job_run_codec.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

using schedule::JobRun;
using schedule::JobRunStatus;
using schedule::TriggeredBy;

// No blob of 16 bytes comes behind this one.
constexpr std::string_view kBehindAllIds("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17);

#define WFO_JOB_RUN_COLUMNS                                                                                          \
  "id, job, status, triggered_by, schedule, scheduled_for, trigger_id, due_at, deadline, version, created_at, "      \
  "started_at, ended_at, attempt, takeovers, progress_done, progress_total, progress_note, correlation_id, holder, " \
  "metadata, checkpoint, counts, error"

std::int64_t column(auto enumerator) { return static_cast<std::int64_t>(enumerator); }

Result<StoredJobRun> read_row(const Statement& row) {
  StoredJobRun stored;
  JobRun& run = stored.run;
  run.id = row.id<JobRunId>(0);
  run.job = row.text(1);
  const auto thing = fmt::format("job run {}", run.id.to_string());
  TRY_ASSIGN(run.status, decode_enumerator(row.integer(2), JobRunStatus::cancelled, thing, "status"));
  TRY_ASSIGN(run.triggered_by, decode_enumerator(row.integer(3), TriggeredBy::manual, thing, "triggered_by"));
  run.schedule = row.text(4);
  run.scheduled_for = row.optional_timestamp(5);
  run.trigger = row.id<EventId>(6);
  run.due_at = row.optional_timestamp(7);
  run.deadline = row.optional_timestamp(8);
  stored.version = row.integer(9);
  run.created_at = row.timestamp(10);
  run.started_at = row.optional_timestamp(11);
  run.ended_at = row.optional_timestamp(12);
  run.attempt = static_cast<int>(row.integer(13));
  run.takeovers = static_cast<int>(row.integer(14));
  run.progress.done = row.integer(15);
  if (!row.is_null(16)) run.progress.total = row.integer(16);
  run.progress.note = row.text(17);
  run.correlation_id = row.text(18);
  run.holder = row.text(19);
  run.metadata = row.text(20);
  run.checkpoint = row.text(21);
  TRY_ASSIGN(run.counts, decode_counts(row.text_view(22)));
  run.error = row.text(23);
  return stored;
}

Result<std::vector<StoredJobRun>> read_rows(Statement& select) {
  std::vector<StoredJobRun> runs;
  for (;;) {
    TRY_ASSIGN(const bool more, select.step());
    if (!more) return runs;
    auto stored = read_row(select);
    if (!stored) {
      select.reset();
      return std::unexpected(std::move(stored).error());
    }
    runs.push_back(*std::move(stored));
  }
}

Result<std::vector<JobRunId>> read_ids(Statement& select) {
  std::vector<JobRunId> ids;
  for (;;) {
    TRY_ASSIGN(const bool more, select.step());
    if (!more) return ids;
    ids.push_back(select.id<JobRunId>(0));
  }
}

/// The first row's first column.
Result<std::optional<Timestamp>> read_time(Statement& select) {
  TRY_ASSIGN(const bool row, select.step());
  if (!row) return std::nullopt;
  const auto time = select.optional_timestamp(0);
  select.reset();
  return time;
}

}  // namespace

Result<std::vector<std::optional<StoredJobRun>>> JobRunsTable::find(std::span<const JobRunId> ids) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_JOB_RUN_COLUMNS " FROM job_runs WHERE id = ?"));
  std::vector<std::optional<StoredJobRun>> found;
  found.reserve(ids.size());
  for (const JobRunId& id : ids) {
    TRY_ASSIGN(auto rows, read_rows(select->bind(id)));
    found.push_back(rows.empty() ? std::nullopt : std::optional(std::move(rows.front())));
  }
  return found;
}

Result<std::vector<std::optional<JobRunId>>> JobRunsTable::find_by_trigger(std::span<const EventId> triggers) const {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT id FROM job_runs WHERE trigger_id = ?"));
  std::vector<std::optional<JobRunId>> found;
  found.reserve(triggers.size());
  for (const EventId& trigger : triggers) {
    TRY_ASSIGN(const auto ids, read_ids(select->bind(trigger)));
    found.push_back(ids.empty() ? std::nullopt : std::optional(ids.front()));
  }
  return found;
}

Result<std::vector<JobRunId>> JobRunsTable::oldest_pending(std::string_view job, std::size_t count_max) const {
  TRY_ASSIGN(
      Statement* const select,
      connection_.statement("SELECT id FROM job_runs WHERE job = ? AND status = 0 ORDER BY created_at, id LIMIT ?"));
  return read_ids(select->bind_text(job).bind(static_cast<std::int64_t>(count_max)));
}

Result<std::vector<OpenRuns>> JobRunsTable::open_of(std::span<const std::string> schedules,
                                                    std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT id FROM job_runs WHERE schedule = ? AND status <= 2 ORDER BY id LIMIT ?"));
  std::vector<OpenRuns> open;
  open.reserve(schedules.size());
  for (const std::string& schedule : schedules) {
    TRY_ASSIGN(auto ids, read_ids(select->bind_text(schedule).bind(static_cast<std::int64_t>(count_max))));
    open.push_back({std::move(ids)});
  }
  return open;
}

Result<std::vector<JobRunId>> JobRunsTable::due(JobRunStatus status, Timestamp now, std::size_t count_max) const {
  // That open runs are meant is said so that SQLite sees that the index has them all.
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT id FROM job_runs WHERE status = ? AND status <= 2 AND due_at <= ? "
                                   "ORDER BY due_at LIMIT ?"));
  return read_ids(select->bind(column(status)).bind(now).bind(static_cast<std::int64_t>(count_max)));
}

Result<std::vector<JobRunId>> JobRunsTable::past_deadline(Timestamp now, std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT id FROM job_runs WHERE status <= 2 AND deadline IS NOT NULL AND "
                                   "deadline <= ? ORDER BY deadline LIMIT ?"));
  return read_ids(select->bind(now).bind(static_cast<std::int64_t>(count_max)));
}

Result<std::vector<JobRun>> JobRunsTable::list(const JobRunQuery& query) const {
  // One statement per index. Completed runs are the many, so those of a job, of a schedule or of all are gone through;
  // the few that are open, and those that failed, are found by their status.
#define WFO_LIST(index, conditions)                                                                          \
  connection_.statement("SELECT " WFO_JOB_RUN_COLUMNS " FROM job_runs INDEXED BY " index                     \
                        " WHERE id < ?1 AND (?3 = '' OR job = ?3) AND (?4 = '' OR schedule = ?4)" conditions \
                        " ORDER BY id DESC LIMIT ?2")
  Statement* select = nullptr;
  const auto status = query.status;
  if (status && is_open(*status)) {
    TRY_ASSIGN(select, WFO_LIST("job_runs_due", " AND status = ?5 AND status <= 2"));
  } else if (status && *status != JobRunStatus::completed) {
    TRY_ASSIGN(select, WFO_LIST("job_runs_by_status", " AND status = ?5 AND status > 3"));
  } else if (!query.schedule.empty()) {
    TRY_ASSIGN(select, WFO_LIST("job_runs_by_schedule", " AND schedule = ?4 AND (?5 IS NULL OR status = ?5)"));
  } else if (!query.job.empty()) {
    TRY_ASSIGN(select, WFO_LIST("job_runs_by_job", " AND job = ?3 AND (?5 IS NULL OR status = ?5)"));
  } else {
    TRY_ASSIGN(select, WFO_LIST("job_runs_by_id", " AND (?5 IS NULL OR status = ?5)"));
  }
#undef WFO_LIST
  if (query.before) {
    select->bind(*query.before);
  } else {
    select->bind_blob(kBehindAllIds);
  }
  select->bind(static_cast<std::int64_t>(query.limit)).bind_text(query.job).bind_text(query.schedule);
  if (status) {
    select->bind(column(*status));
  } else {
    select->bind_null();
  }
  TRY_ASSIGN(auto stored, read_rows(*select));
  std::vector<JobRun> runs;
  runs.reserve(stored.size());
  for (StoredJobRun& one : stored) runs.push_back(std::move(one.run));
  return runs;
}

Result<std::optional<Timestamp>> JobRunsTable::last_completed_at(std::string_view job) const {
  TRY_ASSIGN(
      Statement* const select,
      connection_.statement("SELECT ended_at FROM job_runs WHERE job = ? AND status = 3 ORDER BY ended_at DESC LIMIT "
                            "1"));
  return read_time(select->bind_text(job));
}

Result<std::optional<Timestamp>> JobRunsTable::oldest_running() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT min(started_at) FROM job_runs WHERE status = 2 AND status <= 2"));
  return read_time(*select);
}

Result<std::vector<bool>> JobRunsTable::insert(std::span<const JobRun> runs) {
  for (const JobRun& run : runs) TRY(check_texts(run));
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO job_runs (" WFO_JOB_RUN_COLUMNS
                                   ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                                   "ON CONFLICT DO NOTHING"));
  std::vector<bool> written;
  written.reserve(runs.size());
  for (const JobRun& run : runs) {
    const std::string counts = encode_counts(run.counts);
    insert->bind(run.id).bind_text(run.job).bind(column(run.status)).bind(column(run.triggered_by));
    insert->bind_text(run.schedule).bind(run.scheduled_for).bind(run.trigger).bind(run.due_at).bind(run.deadline);
    insert->bind(run.created_at).bind(run.started_at).bind(run.ended_at);
    insert->bind(std::int64_t{run.attempt}).bind(std::int64_t{run.takeovers});
    insert->bind(run.progress.done).bind(run.progress.total).bind_text(run.progress.note);
    insert->bind_text(run.correlation_id).bind_text(run.holder).bind_text(run.metadata).bind_text(run.checkpoint);
    TRY(insert->bind_text(counts).bind_text(run.error).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

Result<std::vector<bool>> JobRunsTable::update(std::span<const StoredJobRun> runs) {
  for (const StoredJobRun& stored : runs) TRY(check_texts(stored.run));
  // What a run was triggered as is not named: SQLite would write its indexes anew.
  TRY_ASSIGN(
      Statement* const update,
      connection_.statement("UPDATE job_runs SET status = ?, due_at = ?, deadline = ?, version = version + 1, "
                            "started_at = ?, ended_at = ?, attempt = ?, takeovers = ?, progress_done = ?, "
                            "progress_total = ?, progress_note = ?, holder = ?, checkpoint = ?, counts = ?, error = ? "
                            "WHERE id = ? AND version = ?"));
  std::vector<bool> written;
  written.reserve(runs.size());
  for (const auto& [run, version] : runs) {
    const std::string counts = encode_counts(run.counts);
    update->bind(column(run.status)).bind(run.due_at).bind(run.deadline).bind(run.started_at).bind(run.ended_at);
    update->bind(std::int64_t{run.attempt}).bind(std::int64_t{run.takeovers});
    update->bind(run.progress.done).bind(run.progress.total).bind_text(run.progress.note);
    update->bind_text(run.holder).bind_text(run.checkpoint).bind_text(counts).bind_text(run.error);
    TRY(update->bind(run.id).bind(version).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

Result<std::vector<JobRunId>> JobRunsTable::heartbeat(std::span<const JobRunId> ids, std::string_view holder,
                                                      Timestamp due_at) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE job_runs SET due_at = ? WHERE id = ? AND status = 2 AND holder = ?"));
  std::vector<JobRunId> held;
  for (const JobRunId& id : ids) {
    TRY(update->bind(due_at).bind(id).bind_text(holder).run());
    if (connection_.database().changes() == 1) held.push_back(id);
  }
  return held;
}

Result<std::size_t> JobRunsTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(Statement* const remove,
             connection_.statement("DELETE FROM job_runs WHERE run IN (SELECT o.run FROM job_runs o INDEXED BY "
                                   "job_runs_ended WHERE o.status > 2 AND o.ended_at < ? AND (o.status <> 3 OR EXISTS "
                                   "(SELECT 1 FROM job_runs n INDEXED BY job_runs_completed WHERE n.job = o.job AND "
                                   "n.status = 3 AND (n.ended_at, n.run) > (o.ended_at, o.run))) ORDER BY o.ended_at "
                                   "LIMIT ?)"));
  TRY(remove->bind(before).bind(static_cast<std::int64_t>(count_max)).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

}  // namespace wfo::store::sqlite
