#include "store/checks.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

using workflow::Completed;
using workflow::Run;
using workflow::RunStatus;

// No blob of 16 bytes comes behind this one.
constexpr std::string_view kBehindAllIds("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17);
constexpr std::int64_t kStepsMax = 64;  // results.key = run * kStepsMax + step

#define WFO_RUN_COLUMNS                                                                                     \
  "run, id, tenant, opportunity, status, version, attempt, created_at, updated_at, deadline, external_id, " \
  "definition_name, definition_version, correlation_id, trigger_type, trigger_id, error, failed_step, steps"

std::int64_t status_column(RunStatus status) { return static_cast<std::int64_t>(status); }

const Completed* completed(const Run& run, std::size_t step) {
  return step < run.steps.size() ? std::get_if<Completed>(&run.steps[step].state) : nullptr;
}

}  // namespace

Result<StoredRun> RunsTable::read_row(Statement& row) const {
  StoredRun stored;
  Run& run = stored.run;
  run.id = row.id<WorkflowId>(1);
  run.tenant = row.id<TenantId>(2);
  run.opportunity = row.id<OpportunityId>(3);
  const auto status = row.integer(4);
  if (status < 0 || status > status_column(RunStatus::cancelled)) {
    return fail(ErrorCode::corruption, "run {}: status {}", run.id.to_string(), status);
  }
  run.status = static_cast<RunStatus>(status);
  stored.version = row.integer(5);
  run.attempt = static_cast<int>(row.integer(6));
  run.created_at = row.timestamp(7);
  run.updated_at = row.timestamp(8);
  run.deadline = row.timestamp(9);
  run.external_id = row.text(10);
  run.definition_name = row.text(11);
  run.definition_version = row.text(12);
  run.correlation_id = row.text(13);
  run.trigger_type = row.text(14);
  run.trigger_id = row.id<EventId>(15);
  run.error = row.text(16);
  run.failed_step = row.text(17);
  TRY_ASSIGN(run.steps, workflow::decode_steps(row.text(18)));

  return stored;
}

Result<void> RunsTable::read_results(std::int64_t key, Run& run) const {
  bool any = false;
  for (std::size_t i = 0; i < run.steps.size(); ++i) any = any || completed(run, i);
  if (!any) return {};
  TRY_ASSIGN(Statement* const results,
             connection_.statement("SELECT key, result FROM results WHERE key >= ? AND key < ?"));
  results->bind(key * kStepsMax).bind((key + 1) * kStepsMax);
  for (;;) {
    TRY_ASSIGN(const bool more, results->step());
    if (!more) return {};
    const auto step = static_cast<std::size_t>(results->integer(0) - key * kStepsMax);
    if (step >= run.steps.size()) continue;
    if (auto* state = std::get_if<Completed>(&run.steps[step].state)) state->result = results->text(1);
  }
}

Result<std::vector<std::optional<StoredRun>>> RunsTable::load(std::span<const WorkflowId> ids) const {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT " WFO_RUN_COLUMNS " FROM runs WHERE id = ?"));
  std::vector<std::optional<StoredRun>> runs;
  runs.reserve(ids.size());
  for (const WorkflowId& id : ids) {
    TRY_ASSIGN(const bool row, select->bind(id).step());
    if (!row) {
      runs.emplace_back();
      continue;
    }
    const auto key = select->integer(0);
    auto stored = read_row(*select);
    select->reset();
    if (!stored) return std::unexpected(std::move(stored).error());
    TRY(read_results(key, stored->run));
    runs.emplace_back(*std::move(stored));
  }
  return runs;
}

Result<std::vector<std::optional<WorkflowId>>> RunsTable::active_runs(
    std::span<const OpportunityKey> opportunities) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement(
                 "SELECT id FROM runs WHERE tenant = ? AND opportunity = ? AND status = 0 AND exclusive = 1"));
  std::vector<std::optional<WorkflowId>> runs;
  runs.reserve(opportunities.size());
  for (const auto& [tenant, opportunity] : opportunities) {
    TRY_ASSIGN(const bool row, select->bind(tenant).bind(opportunity).step());
    runs.push_back(row ? std::optional(select->id<WorkflowId>(0)) : std::nullopt);
    if (row) select->reset();
  }
  return runs;
}

Result<std::vector<Run>> RunsTable::list(const RunQuery& query) const {
  Statement* select = nullptr;
  // One statement per shape, so that each goes along its index.
#define WFO_LIST(conditions)                                                                            \
  connection_.statement("SELECT " WFO_RUN_COLUMNS " FROM runs WHERE tenant = ?1 AND id < ?2" conditions \
                        " ORDER BY id DESC LIMIT ?3")
  if (query.opportunity && query.status) {
    TRY_ASSIGN(select, WFO_LIST(" AND opportunity = ?4 AND status = ?5"));
  } else if (query.opportunity) {
    TRY_ASSIGN(select, WFO_LIST(" AND opportunity = ?4"));
  } else if (query.status == RunStatus::completed) {
    TRY_ASSIGN(select, WFO_LIST(" AND +status = 1"));
  } else if (query.status) {
    TRY_ASSIGN(select, WFO_LIST(" AND status = ?4 AND status <> 1"));
  } else {
    TRY_ASSIGN(select, WFO_LIST(""));
  }
#undef WFO_LIST
  select->bind(query.tenant);
  if (query.before) {
    select->bind(*query.before);
  } else {
    select->bind_blob(kBehindAllIds);
  }
  select->bind(static_cast<std::int64_t>(query.limit));
  if (query.opportunity) select->bind(*query.opportunity);
  if (query.status && (query.opportunity || query.status != RunStatus::completed)) {
    select->bind(status_column(*query.status));
  }
  std::vector<Run> runs;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return runs;
    auto stored = read_row(*select);
    if (!stored) {
      select->reset();
      return std::unexpected(std::move(stored).error());
    }
    runs.push_back(std::move(stored->run));
  }
}

Result<std::vector<WorkflowId>> RunsTable::due(Timestamp now, std::size_t count_max) const {
  TRY_ASSIGN(
      Statement* const select,
      connection_.statement("SELECT id FROM runs WHERE status = 0 AND wake_up_at <= ? ORDER BY wake_up_at LIMIT ?"));
  select->bind(now).bind(static_cast<std::int64_t>(count_max));
  std::vector<WorkflowId> ids;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return ids;
    ids.push_back(select->id<WorkflowId>(0));
  }
}

Result<std::optional<Timestamp>> RunsTable::next_wake_up() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT wake_up_at FROM runs WHERE status = 0 AND wake_up_at IS NOT NULL "
                                   "ORDER BY wake_up_at LIMIT 1"));
  TRY_ASSIGN(const bool row, select->step());
  if (!row) return std::nullopt;
  const auto time = select->timestamp(0);
  select->reset();
  return time;
}

Result<std::vector<WorkflowId>> RunsTable::without_wake_up(std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT id FROM runs WHERE status = 0 AND wake_up_at IS NULL LIMIT ?"));
  select->bind(static_cast<std::int64_t>(count_max));
  std::vector<WorkflowId> ids;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return ids;
    ids.push_back(select->id<WorkflowId>(0));
  }
}

Result<std::int64_t> RunsTable::count_active() const { return active_.load() + active_change_; }

Result<std::vector<ActiveDefinition>> RunsTable::active_definitions() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT definition_name, definition_version, count(*) FROM runs WHERE status = 0 "
                                   "GROUP BY 1, 2 ORDER BY 1, 2"));
  std::vector<ActiveDefinition> definitions;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return definitions;
    definitions.push_back({select->text(0), select->text(1), select->integer(2)});
  }
}

Result<std::int64_t> RunsTable::count_active_rows() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT count(*) FROM runs INDEXED BY runs_by_wake_up WHERE status = 0"));
  TRY_ASSIGN(const bool row, select->step());
  INVARIANT(row);
  const auto count = select->integer(0);
  select->reset();
  return count;
}

Result<void> RunsTable::write_results(std::int64_t row, const Run* before, const Run& after) {
  for (std::size_t i = 0; i < after.steps.size(); ++i) {
    const Completed* state = completed(after, i);
    if (!state || (before && completed(*before, i))) continue;
    TRY_ASSIGN(Statement* const insert, connection_.statement("INSERT INTO results (key, result) VALUES (?, ?)"));
    TRY(insert->bind(row * kStepsMax + static_cast<std::int64_t>(i)).bind_blob(state->result).run());
  }
  return {};
}

Result<std::vector<bool>> RunsTable::insert(std::span<const NewRun> runs) {
  std::vector<std::string> steps;
  steps.reserve(runs.size());
  for (const NewRun& one : runs) {
    steps.push_back(workflow::encode_steps(one.run->steps));
    TRY(check_texts(*one.run, steps.back()));
  }
  std::vector<bool> written;
  written.reserve(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    TRY_ASSIGN(const bool done, insert_one(*runs[i].run, runs[i].exclusive, steps[i]));
    written.push_back(done);
  }
  return written;
}

Result<std::vector<bool>> RunsTable::update(std::span<const RunUpdate> runs) {
  std::vector<std::string> steps;
  steps.reserve(runs.size());
  for (const RunUpdate& one : runs) {
    steps.push_back(workflow::encode_steps(one.after->steps));
    TRY(check_texts(*one.after, steps.back()));
  }
  std::vector<bool> written;
  written.reserve(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    TRY_ASSIGN(const bool done, update_one(*runs[i].before, *runs[i].after, steps[i]));
    written.push_back(done);
  }
  return written;
}

Result<bool> RunsTable::insert_one(const Run& run, bool exclusive, std::string_view steps) {
  INVARIANT(run.steps.size() <= static_cast<std::size_t>(kStepsMax));
  TRY_ASSIGN(
      Statement* const insert,
      connection_.statement(
          "INSERT INTO runs (id, tenant, opportunity, status, exclusive, wake_up_at, version, attempt, created_at, "
          "updated_at, deadline, external_id, definition_name, definition_version, correlation_id, trigger_type, "
          "trigger_id, error, failed_step, steps) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
          "?)"));
  insert->bind(run.id).bind(run.tenant).bind(run.opportunity).bind(status_column(run.status));
  insert->bind(std::int64_t{exclusive}).bind(workflow::next_wake_up(run));
  insert->bind(std::int64_t{run.attempt}).bind(run.created_at).bind(run.updated_at).bind(run.deadline);
  insert->bind_text(run.external_id).bind_text(run.definition_name).bind_text(run.definition_version);
  insert->bind_text(run.correlation_id).bind_text(run.trigger_type).bind(run.trigger_id);
  insert->bind_text(run.error).bind_text(run.failed_step).bind_text(steps);
  if (auto done = insert->run(); !done) {
    if (done.error().code == ErrorCode::conflict) return false;  // its id or its place is taken
    return std::unexpected(std::move(done).error());
  }
  TRY(write_results(sqlite3_last_insert_rowid(connection_.database().handle()), nullptr, run));
  active_change_ += is_active(run);
  return true;
}

Result<bool> RunsTable::update_one(const StoredRun& before, const Run& after, std::string_view steps) {
  const auto wake_up = workflow::next_wake_up(after);
  // SQLite writes an index anew when one of its columns is named, changed or not, so name only what changes. But who
  // writes a run as it is wants the row mended.
#define WFO_UPDATE(columns)                                                                            \
  connection_.statement("UPDATE runs SET version = ?, steps = ?, updated_at = ?, deadline = ?" columns \
                        " WHERE id = ? AND version = ? RETURNING run")
  Statement* update = nullptr;
  const bool only_steps = after.status == before.run.status && after.attempt == before.run.attempt &&
                          after.error == before.run.error && after.failed_step == before.run.failed_step &&
                          after != before.run;
  const bool same_wake_up = wake_up == workflow::next_wake_up(before.run);
  if (only_steps && same_wake_up) {
    TRY_ASSIGN(update, WFO_UPDATE(""));
  } else if (only_steps) {
    TRY_ASSIGN(update, WFO_UPDATE(", wake_up_at = ?"));
  } else {
    TRY_ASSIGN(update, WFO_UPDATE(", wake_up_at = ?, status = ?, attempt = ?, error = ?, failed_step = ?"));
  }
#undef WFO_UPDATE
  update->bind(before.version + 1).bind_text(steps).bind(after.updated_at).bind(after.deadline);
  if (!only_steps || !same_wake_up) update->bind(wake_up);
  if (!only_steps) {
    update->bind(status_column(after.status)).bind(std::int64_t{after.attempt});
    update->bind_text(after.error).bind_text(after.failed_step);
  }
  update->bind(after.id).bind(before.version);
  auto row = update->step();
  if (!row) {
    if (row.error().code == ErrorCode::conflict) return false;  // its place is taken
    return std::unexpected(std::move(row).error());
  }
  if (!*row) return false;  // somebody else wrote it
  const auto key = update->integer(0);
  update->reset();
  TRY(write_results(key, &before.run, after));
  active_change_ += is_active(after) - is_active(before.run);
  return true;
}

Result<std::size_t> RunsTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(
      Statement* const select,
      connection_.statement("SELECT run FROM runs WHERE status <> 0 AND updated_at < ? ORDER BY updated_at LIMIT ?"));
  select->bind(before).bind(static_cast<std::int64_t>(count_max));
  std::vector<std::int64_t> keys;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) break;
    keys.push_back(select->integer(0));
  }
  TRY_ASSIGN(Statement* const results, connection_.statement("DELETE FROM results WHERE key >= ? AND key < ?"));
  TRY_ASSIGN(Statement* const run, connection_.statement("DELETE FROM runs WHERE run = ?"));
  for (const auto key : keys) {
    TRY(results->bind(key * kStepsMax).bind((key + 1) * kStepsMax).run());
    TRY(run->bind(key).run());
  }
  return keys.size();
}

}  // namespace wfo::store::sqlite
