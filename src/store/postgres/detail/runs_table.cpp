#include <algorithm>
#include <unordered_map>

#include "store/checks.h"
#include "store/postgres/detail/tables.h"

namespace wfo::store::postgres {
namespace {

using workflow::Completed;
using workflow::Run;
using workflow::RunStatus;

#define WFO_RUN_COLUMNS                                                                                \
  "id, tenant, opportunity, status, version, attempt, created_at, updated_at, deadline, external_id, " \
  "definition_name, definition_version, correlation_id, trigger_type, trigger_id, error, failed_step, steps "

std::int64_t status_column(RunStatus status) { return static_cast<std::int64_t>(status); }

const Completed* completed(const Run& run, std::size_t step) {
  return step < run.steps.size() ? std::get_if<Completed>(&run.steps[step].state) : nullptr;
}

Result<StoredRun> read_row(const Row& row) {
  StoredRun stored;
  Run& run = stored.run;
  run.id = row.id<WorkflowId>(0);
  run.tenant = row.id<TenantId>(1);
  run.opportunity = row.id<OpportunityId>(2);
  const auto status = row.integer(3);
  if (status < 0 || status > status_column(RunStatus::cancelled)) {
    return fail(ErrorCode::corruption, "run {}: status {}", run.id.to_string(), status);
  }
  run.status = static_cast<RunStatus>(status);
  stored.version = row.integer(4);
  run.attempt = static_cast<int>(row.integer(5));
  run.created_at = row.timestamp(6);
  run.updated_at = row.timestamp(7);
  run.deadline = row.timestamp(8);
  run.external_id = row.text(9);
  run.definition_name = row.text(10);
  run.definition_version = row.text(11);
  run.correlation_id = row.text(12);
  run.trigger_type = row.text(13);
  run.trigger_id = row.id<EventId>(14);
  run.error = row.text(15);
  run.failed_step = row.text(16);
  TRY_ASSIGN(run.steps, workflow::decode_steps(row.text_view(17)));
  return stored;
}

/// The results of steps that are to be written, as three columns.
struct NewResults {
  Array runs{Type::uuid};
  Array steps{Type::bigint};
  Array results{Type::bytea};

  void add(const Run* before, const Run& after) {
    for (std::size_t i = 0; i < after.steps.size(); ++i) {
      const Completed* const state = completed(after, i);
      if (!state || (before && completed(*before, i))) continue;
      runs.add(after.id);
      steps.add(i);
      results.add_bytes(state->result);
    }
  }
};

std::vector<WorkflowId> ids_of(const Rows& rows) {
  std::vector<WorkflowId> ids;
  ids.reserve(rows.size());
  for (const Row row : rows) ids.push_back(row.id<WorkflowId>(0));
  return ids;
}

// The results of those runs that were written. IS TRUE keeps the planner from making a join of it, which would have to
// be a nested loop.
#define WFO_RESULTS_OF_WRITTEN(runs, steps, results)                                                    \
  ", also AS (INSERT INTO results (run, step, result) SELECT n.run, n.step, n.result FROM unnest(" runs \
  "::uuid[], " steps "::bigint[], " results                                                             \
  "::bytea[]) AS n(run, step, result) WHERE (n.run IN (SELECT id FROM "                                 \
  "written)) IS TRUE) SELECT id FROM written"

// Of two transactions that want the same places both take them in one order, so neither waits for the other in a ring.
constexpr const char* kInsert =
    "WITH written AS (INSERT INTO runs (id, tenant, opportunity, trigger_id, wake_up_at, version, created_at, "
    "updated_at, deadline, attempt, status, exclusive, external_id, definition_name, definition_version, "
    "correlation_id, trigger_type, error, failed_step, steps) SELECT id, tenant, opportunity, trigger_id, wake_up_at, "
    "1, created_at, updated_at, deadline, attempt, status, exclusive, external_id, definition_name, "
    "definition_version, correlation_id, trigger_type, error, failed_step, steps FROM unnest($1::uuid[], $2::uuid[], "
    "$3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], "
    "$11::boolean[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], "
    "$19::text[]) WITH ORDINALITY AS n(id, tenant, opportunity, trigger_id, wake_up_at, created_at, updated_at, "
    "deadline, attempt, status, exclusive, external_id, definition_name, definition_version, correlation_id, "
    "trigger_type, error, failed_step, steps, place) ORDER BY tenant, opportunity, place ON CONFLICT DO NOTHING "
    "RETURNING id)" WFO_RESULTS_OF_WRITTEN("$20", "$21", "$22");

constexpr const char* kLock =
    "SELECT count(*) FROM (SELECT id FROM runs WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE) AS locked";

constexpr const char* kUpdate =
    "WITH written AS (UPDATE runs r SET version = n.version + 1, steps = n.steps, updated_at = n.updated_at, deadline "
    "= n.deadline, wake_up_at = n.wake_up_at, status = n.status, attempt = n.attempt, error = n.error, failed_step = "
    "n.failed_step FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], "
    "$7::bigint[], $8::bigint[], $9::text[], $10::text[]) AS n(id, version, steps, updated_at, deadline, wake_up_at, "
    "status, attempt, error, failed_step) WHERE r.id = n.id AND r.version = n.version RETURNING r.id)"  //
    WFO_RESULTS_OF_WRITTEN("$11", "$12", "$13");

Params inserting(std::span<const NewRun* const> runs, std::span<const std::string* const> steps) {
  Array ids(Type::uuid), tenants(Type::uuid), opportunities(Type::uuid), triggers(Type::uuid);
  Array wake_ups(Type::bigint), created(Type::bigint), updated(Type::bigint), deadlines(Type::bigint);
  Array attempts(Type::bigint), statuses(Type::bigint), exclusive(Type::boolean);
  Array external_ids(Type::text), names(Type::text), versions(Type::text), correlations(Type::text);
  Array trigger_types(Type::text), errors(Type::text), failed_steps(Type::text), encoded(Type::text);
  NewResults results;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = *runs[i]->run;
    ids.add(run.id);
    tenants.add(run.tenant);
    opportunities.add(run.opportunity);
    triggers.add(run.trigger_id);
    wake_ups.add(workflow::next_wake_up(run));
    created.add(run.created_at);
    updated.add(run.updated_at);
    deadlines.add(run.deadline);
    attempts.add(run.attempt);
    statuses.add(status_column(run.status));
    exclusive.add(runs[i]->exclusive);
    external_ids.add_text(run.external_id);
    names.add_text(run.definition_name);
    versions.add_text(run.definition_version);
    correlations.add_text(run.correlation_id);
    trigger_types.add_text(run.trigger_type);
    errors.add_text(run.error);
    failed_steps.add_text(run.failed_step);
    encoded.add_text(*steps[i]);
    results.add(nullptr, run);
  }
  Params params;
  for (const Array* const column : {&ids,     &tenants,      &opportunities, &triggers,       &wake_ups,  &created,
                                    &updated, &deadlines,    &attempts,      &statuses,       &exclusive, &external_ids,
                                    &names,   &versions,     &correlations,  &trigger_types,  &errors,    &failed_steps,
                                    &encoded, &results.runs, &results.steps, &results.results}) {
    params.add(*column);
  }
  return params;
}

/// What locks and what writes these runs.
struct Updating {
  explicit Updating(std::span<const RunUpdate* const> runs, std::span<const std::string* const> steps) {
    Array ids(Type::uuid), versions(Type::bigint), encoded(Type::text), updated(Type::bigint), deadlines(Type::bigint);
    Array wake_ups(Type::bigint), statuses(Type::bigint), attempts(Type::bigint);
    Array errors(Type::text), failed_steps(Type::text);
    NewResults results;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const Run& run = *runs[i]->after;
      ids.add(run.id);
      versions.add(runs[i]->before->version);
      encoded.add_text(*steps[i]);
      updated.add(run.updated_at);
      deadlines.add(run.deadline);
      wake_ups.add(workflow::next_wake_up(run));
      statuses.add(status_column(run.status));
      attempts.add(run.attempt);
      errors.add_text(run.error);
      failed_steps.add_text(run.failed_step);
      results.add(&runs[i]->before->run, run);
    }
    lock.params.add(ids);
    for (const Array* const column : {&ids, &versions, &encoded, &updated, &deadlines, &wake_ups, &statuses, &attempts,
                                      &errors, &failed_steps, &results.runs, &results.steps, &results.results}) {
      write.params.add(*column);
    }
  }
  Call lock{kLock};
  Call write{kUpdate};
};

Params ids_param(std::span<const WorkflowId> ids) {
  Array array(Type::uuid);
  for (const WorkflowId& id : ids) array.add(id);
  return Params().add(array);
}

}  // namespace

Result<std::vector<std::optional<StoredRun>>> RunsTable::load(std::span<const WorkflowId> ids) const {
  std::vector<std::optional<StoredRun>> runs(ids.size());
  if (ids.empty()) return runs;
  const Params params = ids_param(ids);
  // The results are read when the runs are locked, so both are of one state.
  TRY_ASSIGN(
      const auto rows,
      connection_.run_all({{mode_ == Connection::Mode::write
                                ? "SELECT " WFO_RUN_COLUMNS "FROM runs WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
                                : "SELECT " WFO_RUN_COLUMNS "FROM runs WHERE id = ANY ($1)",
                            params},
                           {"SELECT run, step, result FROM results WHERE run = ANY ($1)", params}}));
  std::unordered_map<WorkflowId, StoredRun> found;
  for (const Row row : rows[0]) {
    TRY_ASSIGN(StoredRun stored, read_row(row));
    const WorkflowId id = stored.run.id;
    found.emplace(id, std::move(stored));
  }
  for (const Row row : rows[1]) {
    const auto run = found.find(row.id<WorkflowId>(0));
    const auto step = static_cast<std::size_t>(row.integer(1));
    if (run == found.end() || step >= run->second.run.steps.size()) continue;
    if (auto* state = std::get_if<Completed>(&run->second.run.steps[step].state)) state->result = row.text(2);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (const auto run = found.find(ids[i]); run != found.end()) runs[i] = run->second;
  }
  return runs;
}

Result<std::vector<std::optional<WorkflowId>>> RunsTable::active_runs(
    std::span<const OpportunityKey> opportunities) const {
  std::vector<std::optional<WorkflowId>> active(opportunities.size());
  if (opportunities.empty()) return active;
  Array tenants(Type::uuid);
  Array ids(Type::uuid);
  for (const OpportunityKey& key : opportunities) {
    tenants.add(key.tenant);
    ids.add(key.opportunity);
  }
  // A subquery and no join, which could begin with all active runs as long as there are few.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT (SELECT id FROM runs r WHERE r.tenant = k.tenant AND r.opportunity = "
                             "k.opportunity AND r.status = 0 AND r.exclusive) FROM unnest($1::uuid[], $2::uuid[]) WITH "
                             "ORDINALITY AS k(tenant, opportunity, place) ORDER BY place",
                             Params().add(tenants).add(ids)));
  for (std::size_t i = 0; i < active.size(); ++i) active[i] = rows[i].optional_id<WorkflowId>(0);
  return active;
}

Result<std::vector<Run>> RunsTable::list(const RunQuery& query) const {
  // One statement per shape, so that each goes along its index.
#define WFO_LIST(conditions) \
  "SELECT " WFO_RUN_COLUMNS "FROM runs WHERE tenant = $1 AND id < $2 AND " conditions "ORDER BY id DESC LIMIT $3"
  Uuid behind_all;
  behind_all.bytes.fill(0xff);
  Params params;
  params.add(query.tenant).add(query.before ? query.before->value() : behind_all).add(query.limit);
  const char* sql = nullptr;
  if (query.opportunity && query.status) {
    sql = WFO_LIST("opportunity = $4 AND status = $5 ");
    params.add(*query.opportunity).add(status_column(*query.status));
  } else if (query.opportunity) {
    sql = WFO_LIST("opportunity = $4 ");
    params.add(*query.opportunity);
  } else if (query.status == RunStatus::completed) {
    sql = WFO_LIST("status + 0 = 1 ");
  } else if (query.status) {
    sql = WFO_LIST("status = $4 AND status <> 1 ");
    params.add(status_column(*query.status));
  } else {
    sql = WFO_LIST("true ");
  }
#undef WFO_LIST
  TRY_ASSIGN(const Rows rows, connection_.run(sql, params));
  std::vector<Run> runs;
  runs.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(StoredRun stored, read_row(row));
    runs.push_back(std::move(stored.run));
  }
  return runs;
}

Result<std::vector<WorkflowId>> RunsTable::due(Timestamp now, std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT id FROM runs WHERE status = 0 AND wake_up_at <= $1 ORDER BY "
                                              "wake_up_at LIMIT $2",
                                              Params().add(now).add(count_max)));
  return ids_of(rows);
}

Result<std::optional<Timestamp>> RunsTable::next_wake_up() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT wake_up_at FROM runs WHERE status = 0 AND wake_up_at IS NOT NULL "
                                              "ORDER BY wake_up_at LIMIT 1"));
  return rows.empty() ? std::nullopt : std::optional(rows[0].timestamp(0));
}

Result<std::vector<WorkflowId>> RunsTable::without_wake_up(std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT id FROM runs WHERE status = 0 AND wake_up_at IS NULL ORDER BY "
                                              "wake_up_at LIMIT $1",
                                              Params().add(count_max)));
  return ids_of(rows);
}

Result<std::int64_t> RunsTable::count_active() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT count(*) FROM runs WHERE status = 0"));
  return rows[0].integer(0);
}

Result<std::vector<ActiveDefinition>> RunsTable::active_definitions() const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT definition_name, definition_version, count(*) FROM runs WHERE status = 0 GROUP BY "
                             "1, 2 ORDER BY 1, 2"));
  std::vector<ActiveDefinition> definitions;
  for (const Row row : rows) definitions.push_back({row.text(0), row.text(1), row.integer(2)});
  return definitions;
}

Result<std::vector<bool>> RunsTable::insert(std::span<const NewRun> runs) {
  std::vector<std::string> steps;
  steps.reserve(runs.size());
  for (const NewRun& one : runs) {
    steps.push_back(workflow::encode_steps(one.run->steps));
    TRY(check_texts(*one.run, steps.back()));
  }
  std::vector<bool> written(runs.size());
  std::vector<std::size_t> places(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) places[i] = i;
  // What a statement gives are the ids that it wrote, so an id can stand in it once; it never stands twice but by a bug
  // of whoever made it.
  while (!places.empty()) {
    std::unordered_map<WorkflowId, std::size_t> place_of;
    std::vector<const NewRun*> batch;
    std::vector<const std::string*> batch_steps;
    std::vector<std::size_t> later;
    for (const std::size_t i : places) {
      if (!place_of.emplace(runs[i].run->id, i).second) {
        later.push_back(i);
        continue;
      }
      batch.push_back(&runs[i]);
      batch_steps.push_back(&steps[i]);
    }
    TRY_ASSIGN(const Rows rows, connection_.run(kInsert, inserting(batch, batch_steps)));
    for (const Row row : rows) written[place_of.at(row.id<WorkflowId>(0))] = true;
    places = std::move(later);
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
  std::vector<bool> written(runs.size());
  std::unordered_map<WorkflowId, std::size_t> place_of;
  std::vector<const RunUpdate*> batch;
  std::vector<const std::string*> batch_steps;
  std::vector<std::size_t> reviving;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (is_active(*runs[i].after) && !is_active(runs[i].before->run)) {
      reviving.push_back(i);
      continue;
    }
    INVARIANT(place_of.emplace(runs[i].after->id, i).second);
    batch.push_back(&runs[i]);
    batch_steps.push_back(&steps[i]);
  }
  if (!batch.empty()) {
    const Updating updating(batch, batch_steps);
    TRY_ASSIGN(const auto rows, connection_.run_all({updating.lock, updating.write}));
    for (const Row row : rows[1]) written[place_of.at(row.id<WorkflowId>(0))] = true;
  }
  // Only a run that is active again can find its place taken, and that is an error, which must not spoil the rest. It
  // is rare: an operator's retry.
  for (const std::size_t i : reviving) {
    const RunUpdate* const one = &runs[i];
    const std::string* const text = &steps[i];
    const Updating updating({&one, 1}, {&text, 1});
    auto rows = connection_.run_all({{"SAVEPOINT reviving"}, updating.lock, updating.write, {"RELEASE reviving"}});
    if (rows) {
      written[i] = !(*rows)[2].empty();
    } else if (rows.error().code == ErrorCode::conflict) {
      TRY(connection_.run_all({{"ROLLBACK TO reviving"}, {"RELEASE reviving"}}));
    } else {
      return std::unexpected(std::move(rows).error());
    }
  }
  return written;
}

Result<std::size_t> RunsTable::purge(Timestamp before, std::size_t count_max) {
  // The rows are locked before they are deleted, so none of them is revived by an operator meanwhile.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("WITH gone AS (DELETE FROM runs WHERE ctid = ANY (ARRAY(SELECT ctid FROM runs WHERE status "
                      "<> 0 AND updated_at < $1 ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)) RETURNING "
                      "id), also AS (DELETE FROM results WHERE run = ANY (ARRAY(SELECT id FROM gone))) SELECT "
                      "count(*) FROM gone",
                      Params().add(before).add(count_max)));
  return static_cast<std::size_t>(rows[0].integer(0));
}

}  // namespace wfo::store::postgres
