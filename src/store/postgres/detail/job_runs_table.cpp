#include <algorithm>
#include <map>
#include <set>

#include "store/checks.h"
#include "store/job_run_codec.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

using schedule::JobRun;
using schedule::JobRunStatus;
using schedule::TriggeredBy;

#define WFO_JOB_RUN_COLUMNS                                                                                        \
  "r.id, r.job, r.status, r.triggered_by, r.schedule, r.scheduled_for, r.trigger_id, r.due_at, r.deadline, "       \
  "r.version, r.created_at, r.started_at, r.ended_at, r.attempt, r.takeovers, r.progress_done, r.progress_total, " \
  "r.progress_note, r.correlation_id, r.holder, r.metadata, r.checkpoint, r.counts, r.error"

std::int64_t column(auto enumerator) { return static_cast<std::int64_t>(enumerator); }

Result<StoredJobRun> read_row(const Row& row) {
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

std::vector<JobRunId> read_ids(const Rows& rows) {
  std::vector<JobRunId> ids;
  ids.reserve(rows.size());
  for (const Row row : rows) ids.push_back(row.id<JobRunId>(0));
  return ids;
}

}  // namespace

Result<std::vector<std::optional<StoredJobRun>>> JobRunsTable::find(std::span<const JobRunId> ids) const {
  std::vector<std::optional<StoredJobRun>> found(ids.size());
  if (ids.empty()) return found;
  Array keys(Type::uuid);
  for (const JobRunId& id : ids) keys.add(id);
  // Lateral and limited, so that it is no join that could begin with the table.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT " WFO_JOB_RUN_COLUMNS
                             ", k.place FROM unnest($1::uuid[]) WITH ORDINALITY AS k (id, place) CROSS JOIN LATERAL "
                             "(SELECT r.* FROM job_runs r WHERE r.id = k.id LIMIT 1) AS r",
                             Params().add(keys)));
  constexpr int kPlace = 24;
  for (const Row row : rows) {
    TRY_ASSIGN(found[static_cast<std::size_t>(row.integer(kPlace) - 1)], read_row(row));
  }
  return found;
}

Result<std::vector<std::optional<JobRunId>>> JobRunsTable::find_by_trigger(std::span<const EventId> triggers) const {
  std::vector<std::optional<JobRunId>> found(triggers.size());
  if (triggers.empty()) return found;
  Array keys(Type::uuid);
  for (const EventId& trigger : triggers) keys.add(trigger);
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT r.id, k.place FROM unnest($1::uuid[]) WITH ORDINALITY AS k (id, place) CROSS JOIN "
                             "LATERAL (SELECT r.id FROM job_runs r WHERE r.trigger_id = k.id LIMIT 1) AS r",
                             Params().add(keys)));
  for (const Row row : rows) found[static_cast<std::size_t>(row.integer(1) - 1)] = row.id<JobRunId>(0);
  return found;
}

Result<std::vector<JobRunId>> JobRunsTable::oldest_pending(std::string_view job, std::size_t count_max) const {
  if (!is_text(job)) return std::vector<JobRunId>();
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT id FROM job_runs WHERE job = $1 AND status = 0 ORDER BY created_at, id LIMIT $2",
                             Params().add_text(job).add(count_max)));
  return read_ids(rows);
}

Result<std::vector<OpenRuns>> JobRunsTable::open_of(std::span<const std::string> schedules,
                                                    std::size_t count_max) const {
  std::vector<OpenRuns> open(schedules.size());
  if (schedules.empty()) return open;
  Array keys(Type::text);
  for (const std::string& schedule : schedules) keys.add_text(as_text(schedule));
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("SELECT k.place, r.id FROM unnest($1::text[]) WITH ORDINALITY AS k (schedule, place) CROSS "
                      "JOIN LATERAL (SELECT r.id FROM job_runs r WHERE r.schedule = k.schedule AND r.status <= "
                      "2 ORDER BY r.schedule, r.id LIMIT $2) AS r ORDER BY k.place, r.id",
                      Params().add(keys).add(count_max)));
  for (const Row row : rows) open[static_cast<std::size_t>(row.integer(0) - 1)].ids.push_back(row.id<JobRunId>(1));
  return open;
}

Result<std::vector<JobRunId>> JobRunsTable::due(JobRunStatus status, Timestamp now, std::size_t count_max) const {
  // That open runs are meant is said so that the planner sees that the index has them all.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT id FROM job_runs WHERE status = $1::smallint AND status <= 2 AND due_at <= $2 "
                             "ORDER BY status, due_at LIMIT $3",
                             Params().add(column(status)).add(now).add(count_max)));
  return read_ids(rows);
}

Result<std::vector<JobRunId>> JobRunsTable::past_deadline(Timestamp now, std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT id FROM job_runs WHERE status <= 2 AND deadline IS NOT NULL AND "
                                              "deadline <= $1 ORDER BY deadline LIMIT $2",
                                              Params().add(now).add(count_max)));
  return read_ids(rows);
}

Result<std::vector<JobRun>> JobRunsTable::list(const JobRunQuery& query) const {
  std::vector<JobRun> runs;
  if (!is_text(query.job) || !is_text(query.schedule)) return runs;
    // One statement per index. Completed runs are the many, so those of a job, of a schedule or of all are gone
    // through; the few that are open, and those that failed, are found by their status. There is no uuid behind the
    // last one.
#define WFO_LIST(conditions, order)                                                                             \
  "SELECT " WFO_JOB_RUN_COLUMNS                                                                                 \
  " FROM job_runs r WHERE r.id < coalesce($1, "                                                                 \
  "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid) AND ($3 = '' OR r.job = $3) AND ($4 = '' OR r.schedule = $4) " \
  "AND ($5 < 0 OR r.status = $5::smallint)" conditions " ORDER BY " order "r.id DESC LIMIT $2"
  const char* select = WFO_LIST("", "");
  const auto status = query.status;
  if (status && is_open(*status)) {
    select = WFO_LIST(" AND r.status = $5::smallint AND r.status <= 2", "");
  } else if (status && *status != JobRunStatus::completed) {
    select = WFO_LIST(" AND r.status = $5::smallint AND r.status > 3", "r.status DESC, ");
  } else if (!query.schedule.empty()) {
    select = WFO_LIST(" AND r.schedule = $4", "r.schedule DESC, ");
  } else if (!query.job.empty()) {
    select = WFO_LIST(" AND r.job = $3", "r.job DESC, ");
  }
#undef WFO_LIST
  Params params;
  params.add(query.before).add(query.limit).add_text(query.job).add_text(query.schedule);
  params.add(status ? column(*status) : std::int64_t{-1});
  TRY_ASSIGN(const Rows rows, connection_.run(select, params));
  runs.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(auto stored, read_row(row));
    runs.push_back(std::move(stored.run));
  }
  return runs;
}

Result<std::optional<Timestamp>> JobRunsTable::last_completed_at(std::string_view job) const {
  if (!is_text(job)) return std::nullopt;
  // The last one that is not behind the job's end, of whatever job: asked for one job only, the planner may go back in
  // time through all that ended, until it meets that job.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT l.ended_at FROM (SELECT job, ended_at FROM job_runs WHERE status = 3 AND (job, "
                             "ended_at) <= ($1, 9223372036854775807) ORDER BY job DESC, ended_at DESC LIMIT 1) AS l "
                             "WHERE l.job = $1",
                             Params().add_text(job)));
  return rows.empty() ? std::nullopt : rows[0].optional_timestamp(0);
}

Result<std::optional<Timestamp>> JobRunsTable::oldest_running() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT min(started_at) FROM job_runs WHERE status = 2 AND status <= 2"));
  return rows.empty() ? std::nullopt : rows[0].optional_timestamp(0);
}

Result<std::vector<bool>> JobRunsTable::insert(std::span<const JobRun> runs) {
  for (const JobRun& run : runs) TRY(check_texts(run));
  std::vector<bool> written(runs.size(), false);
  if (runs.empty()) return written;
  // Of several under one id or of one trigger the first counts; in the order of ids, so that no two batches wait for
  // each other.
  std::map<JobRunId, std::size_t> first;
  std::set<EventId> triggers;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!first.contains(runs[i].id) && triggers.insert(runs[i].trigger).second) first.emplace(runs[i].id, i);
  }
  Array ids(Type::uuid), jobs(Type::text), statuses(Type::bigint), triggered_bys(Type::bigint);
  Array schedules(Type::text), scheduled_fors(Type::bigint), trigger_ids(Type::uuid), due_ats(Type::bigint);
  Array deadlines(Type::bigint), created_ats(Type::bigint), started_ats(Type::bigint), ended_ats(Type::bigint);
  Array attempts(Type::bigint), takeovers(Type::bigint), dones(Type::bigint), totals(Type::bigint), notes(Type::text);
  Array correlation_ids(Type::text), holders(Type::text), metadatas(Type::text), checkpoints(Type::text);
  Array counts(Type::text), errors(Type::text);
  for (const auto& [id, place] : first) {
    const JobRun& run = runs[place];
    ids.add(id);
    jobs.add_text(run.job);
    statuses.add(column(run.status));
    triggered_bys.add(column(run.triggered_by));
    schedules.add_text(run.schedule);
    scheduled_fors.add(run.scheduled_for);
    trigger_ids.add(run.trigger);
    due_ats.add(run.due_at);
    deadlines.add(run.deadline);
    created_ats.add(run.created_at);
    started_ats.add(run.started_at);
    ended_ats.add(run.ended_at);
    attempts.add(run.attempt);
    takeovers.add(run.takeovers);
    dones.add(run.progress.done);
    totals.add(run.progress.total);
    notes.add_text(run.progress.note);
    correlation_ids.add_text(run.correlation_id);
    holders.add_text(run.holder);
    metadatas.add_text(run.metadata);
    checkpoints.add_text(run.checkpoint);
    counts.add_text(encode_counts(run.counts));
    errors.add_text(run.error);
  }
  Params params;
  params.add(ids).add(jobs).add(statuses).add(triggered_bys).add(schedules).add(scheduled_fors).add(trigger_ids);
  params.add(due_ats).add(deadlines).add(created_ats).add(started_ats).add(ended_ats).add(attempts).add(takeovers);
  params.add(dones).add(totals).add(notes).add(correlation_ids).add(holders).add(metadatas).add(checkpoints);
  params.add(counts).add(errors);
  TRY_ASSIGN(const Rows rows,
             connection_.run(
                 "INSERT INTO job_runs (id, job, status, triggered_by, schedule, scheduled_for, trigger_id, due_at, "
                 "deadline, created_at, started_at, ended_at, attempt, takeovers, progress_done, progress_total, "
                 "progress_note, correlation_id, holder, metadata, checkpoint, counts, error, version) SELECT g.*, "
                 "1 FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], "
                 "$7::uuid[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], "
                 "$13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::text[], "
                 "$19::text[], $20::text[], $21::text[], $22::text[], $23::text[]) AS g ON CONFLICT DO NOTHING "
                 "RETURNING id",
                 params));
  for (const Row row : rows) written[first.at(row.id<JobRunId>(0))] = true;
  return written;
}

Result<std::vector<bool>> JobRunsTable::update(std::span<const StoredJobRun> runs) {
  for (const StoredJobRun& stored : runs) TRY(check_texts(stored.run));
  std::vector<bool> written(runs.size(), false);
  if (runs.empty()) return written;
  // Of several under one id the first can be written only; in the order of ids, in which the rows are locked, too.
  std::map<JobRunId, std::size_t> first;
  for (std::size_t i = 0; i < runs.size(); ++i) first.try_emplace(runs[i].run.id, i);
  Array ids(Type::uuid), versions(Type::bigint), statuses(Type::bigint), due_ats(Type::bigint);
  Array deadlines(Type::bigint), started_ats(Type::bigint), ended_ats(Type::bigint), attempts(Type::bigint);
  Array takeovers(Type::bigint), dones(Type::bigint), totals(Type::bigint), notes(Type::text), holders(Type::text);
  Array checkpoints(Type::text), counts(Type::text), errors(Type::text);
  for (const auto& [id, place] : first) {
    const auto& [run, version] = runs[place];
    ids.add(id);
    versions.add(version);
    statuses.add(column(run.status));
    due_ats.add(run.due_at);
    deadlines.add(run.deadline);
    started_ats.add(run.started_at);
    ended_ats.add(run.ended_at);
    attempts.add(run.attempt);
    takeovers.add(run.takeovers);
    dones.add(run.progress.done);
    totals.add(run.progress.total);
    notes.add_text(run.progress.note);
    holders.add_text(run.holder);
    checkpoints.add_text(run.checkpoint);
    counts.add_text(encode_counts(run.counts));
    errors.add_text(run.error);
  }
  Params params;
  params.add(ids).add(versions).add(statuses).add(due_ats).add(deadlines).add(started_ats).add(ended_ats);
  params.add(attempts).add(takeovers).add(dones).add(totals).add(notes).add(holders).add(checkpoints).add(counts);
  params.add(errors);
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("WITH g AS MATERIALIZED (SELECT g.*, (SELECT r.ctid FROM job_runs r WHERE r.id = g.id AND "
                      "r.version = g.version FOR NO KEY UPDATE) AS row FROM unnest($1::uuid[], $2::bigint[], "
                      "$3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], "
                      "$9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], "
                      "$16::text[]) AS g (id, version, status, due_at, deadline, started_at, ended_at, attempt, "
                      "takeovers, progress_done, progress_total, progress_note, holder, checkpoint, counts, error)) "
                      "UPDATE job_runs r SET status = g.status, due_at = g.due_at, deadline = g.deadline, version = "
                      "g.version + 1, started_at = g.started_at, ended_at = g.ended_at, attempt = g.attempt, takeovers "
                      "= g.takeovers, progress_done = g.progress_done, progress_total = g.progress_total, "
                      "progress_note = g.progress_note, holder = g.holder, checkpoint = g.checkpoint, counts = "
                      "g.counts, error = g.error FROM g WHERE r.id = g.id AND r.version = g.version AND g.row IS NOT "
                      "NULL RETURNING r.id",
                      params));
  for (const Row row : rows) written[first.at(row.id<JobRunId>(0))] = true;
  return written;
}

Result<std::vector<JobRunId>> JobRunsTable::heartbeat(std::span<const JobRunId> ids, std::string_view holder,
                                                      Timestamp due_at) {
  if (ids.empty() || !is_text(holder)) return std::vector<JobRunId>();
  std::vector<JobRunId> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  Array keys(Type::uuid);
  for (const JobRunId& id : sorted) keys.add(id);
  // `status + 0`: no index of open runs, which would be gone through for each id.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("WITH g AS MATERIALIZED (SELECT k.id, (SELECT r.ctid FROM job_runs r WHERE r.id = k.id AND "
                      "r.status + 0 = 2 AND r.holder = $2 FOR NO KEY UPDATE) AS row FROM unnest($1::uuid[]) AS k "
                      "(id)) UPDATE job_runs r SET due_at = $3 FROM g WHERE r.id = g.id AND r.status + 0 = 2 AND "
                      "r.holder = $2 AND g.row IS NOT NULL RETURNING r.id",
                      Params().add(keys).add_text(holder).add(due_at)));
  auto held = read_ids(rows);
  std::vector<JobRunId> in_order;
  for (const JobRunId& id : ids) {
    if (std::ranges::find(held, id) != held.end()) in_order.push_back(id);
  }
  return in_order;
}

Result<std::size_t> JobRunsTable::purge(Timestamp before, std::size_t count_max) {
  // From each job on to the one before it, along the index, for the newest of each.
  TRY_ASSIGN(const Rows rows,
             connection_.run("WITH RECURSIVE newest AS ((SELECT job, id FROM job_runs WHERE status = 3 "
                             "ORDER BY job DESC, ended_at DESC LIMIT 1) UNION ALL SELECT b.job, "
                             "b.id FROM newest n CROSS JOIN LATERAL (SELECT job, id FROM job_runs WHERE status = 3 AND "
                             "job < n.job ORDER BY job DESC, ended_at DESC LIMIT 1) AS b) "
                             "DELETE FROM job_runs WHERE ctid = ANY (ARRAY(SELECT ctid FROM job_runs WHERE status > 2 "
                             "AND ended_at < $1 AND id <> ALL (ARRAY(SELECT id FROM newest)) ORDER BY ended_at LIMIT "
                             "$2 FOR UPDATE SKIP LOCKED))",
                             Params().add(before).add(count_max)));
  return rows.changed();
}

}  // namespace wfo::store::postgres
