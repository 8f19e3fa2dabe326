#include <map>

#include "store/checks.h"
#include "store/postgres/detail/tables.h"

namespace wfo::store::postgres {
namespace {

#define WFO_TRIGGER_COLUMNS                                                                                   \
  "t.tenant, t.id, t.outcome, t.workflow, t.follow_up, t.received_at, t.opportunity, t.type, t.external_id, " \
  "t.definition_name, t.correlation_id, t.reason"
constexpr int kTriggerColumns = 12;

Trigger read_row(const Row& row) {
  Trigger trigger;
  trigger.tenant = row.id<TenantId>(0);
  trigger.id = row.id<EventId>(1);
  trigger.outcome = static_cast<TriggerOutcome>(row.integer(2));
  trigger.workflow = row.optional_id<WorkflowId>(3);
  trigger.follow_up = row.optional_id<WorkflowId>(4);
  trigger.received_at = row.timestamp(5);
  trigger.opportunity = row.id<OpportunityId>(6);
  trigger.type = row.text(7);
  trigger.external_id = row.text(8);
  trigger.definition_name = row.text(9);
  trigger.correlation_id = row.text(10);
  trigger.reason = row.text(11);
  return trigger;
}

}  // namespace

Result<std::vector<std::optional<Trigger>>> TriggersTable::find(std::span<const TriggerKey> keys) const {
  std::vector<std::optional<Trigger>> found(keys.size());
  if (keys.empty()) return found;
  Array tenants(Type::uuid);
  Array ids(Type::uuid);
  for (const TriggerKey& key : keys) {
    tenants.add(key.tenant);
    ids.add(key.id);
  }
  // Lateral and limited, so that it is no join that could begin with the table.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("SELECT t.*, k.place FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS k (tenant, id, "
                      "place) CROSS JOIN LATERAL (SELECT " WFO_TRIGGER_COLUMNS
                      " FROM triggers t WHERE t.tenant = k.tenant AND t.id = k.id LIMIT 1) AS t",
                      Params().add(tenants).add(ids)));
  for (const Row row : rows) found[static_cast<std::size_t>(row.integer(kTriggerColumns) - 1)] = read_row(row);
  return found;
}

Result<std::vector<bool>> TriggersTable::insert(std::span<const Trigger> triggers) {
  for (const Trigger& trigger : triggers) TRY(check_texts(trigger));
  std::vector<bool> written(triggers.size(), false);
  if (triggers.empty()) return written;
  Array tenants(Type::uuid);
  Array ids(Type::uuid);
  Array outcomes(Type::bigint);
  Array workflows(Type::uuid);
  Array follow_ups(Type::uuid);
  Array received_ats(Type::bigint);
  Array opportunities(Type::uuid);
  Array types(Type::text);
  Array external_ids(Type::text);
  Array definition_names(Type::text);
  Array correlation_ids(Type::text);
  Array reasons(Type::text);
  for (const Trigger& trigger : triggers) {
    tenants.add(trigger.tenant);
    ids.add(trigger.id);
    outcomes.add(static_cast<std::int64_t>(trigger.outcome));
    workflows.add(trigger.workflow);
    follow_ups.add(trigger.follow_up);
    received_ats.add(trigger.received_at);
    opportunities.add(trigger.opportunity);
    types.add_text(trigger.type);
    external_ids.add_text(trigger.external_id);
    definition_names.add_text(trigger.definition_name);
    correlation_ids.add_text(trigger.correlation_id);
    reasons.add_text(trigger.reason);
  }
  Params params;
  params.add(tenants).add(ids).add(outcomes).add(workflows).add(follow_ups).add(received_ats).add(opportunities);
  params.add(types).add(external_ids).add(definition_names).add(correlation_ids).add(reasons);
  // Numbered in the order of the batch, inserted in the order of keys, so that no two batches wait for each other.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("INSERT INTO triggers (noted, tenant, id, outcome, workflow, follow_up, received_at, "
                      "opportunity, type, external_id, definition_name, correlation_id, reason) "
                      "OVERRIDING SYSTEM VALUE "
                      "SELECT noted, tenant, id, outcome, workflow, follow_up, received_at, opportunity, type, "
                      "external_id, definition_name, correlation_id, reason "
                      "FROM (SELECT nextval('triggers_noted_seq') AS noted, g.* "
                      "FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bigint[], "
                      "$7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]) WITH ORDINALITY AS g "
                      "(tenant, id, outcome, workflow, follow_up, received_at, opportunity, type, external_id, "
                      "definition_name, correlation_id, reason, place) ORDER BY place) AS numbered "
                      "ORDER BY tenant, id, place ON CONFLICT (tenant, id) DO NOTHING RETURNING tenant, id",
                      params));
  // Of several under one key the first was taken.
  std::map<TriggerKey, std::size_t> first;
  for (std::size_t i = 0; i < triggers.size(); ++i) first.try_emplace({triggers[i].tenant, triggers[i].id}, i);
  for (const Row row : rows) written[first.at({row.id<TenantId>(0), row.id<EventId>(1)})] = true;
  return written;
}

Result<std::vector<Trigger>> TriggersTable::absorbed_by(std::span<const WorkflowId> workflows) const {
  std::vector<Trigger> triggers;
  if (workflows.empty()) return triggers;
  Array ids(Type::uuid);
  for (const WorkflowId& workflow : workflows) ids.add(workflow);
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT t.* FROM unnest($1::uuid[]) WITH ORDINALITY AS k (workflow, place) "
                             "CROSS JOIN LATERAL (SELECT " WFO_TRIGGER_COLUMNS
                             ", t.noted FROM triggers t WHERE t.workflow = k.workflow AND t.outcome = 1 AND "
                             "t.follow_up IS NULL OFFSET 0) AS t ORDER BY k.place, t.noted",
                             Params().add(ids)));
  triggers.reserve(rows.size());
  for (const Row row : rows) triggers.push_back(read_row(row));
  return triggers;
}

Result<std::vector<WorkflowId>> TriggersTable::without_follow_up(std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT DISTINCT t.workflow FROM triggers t WHERE t.outcome = 1 AND t.follow_up IS NULL "
                             "AND (SELECT r.status FROM runs r WHERE r.id = t.workflow) IS DISTINCT FROM 0 LIMIT $1",
                             Params().add(count_max)));
  std::vector<WorkflowId> absorbers;
  absorbers.reserve(rows.size());
  for (const Row row : rows) absorbers.push_back(row.id<WorkflowId>(0));
  return absorbers;
}

Result<void> TriggersTable::set_follow_up(const WorkflowId& absorber, const WorkflowId& follow_up) {
  TRY(connection_.run("UPDATE triggers SET follow_up = $1 WHERE workflow = $2 AND outcome = 1 AND follow_up IS NULL",
                      Params().add(follow_up).add(absorber)));
  return {};
}

Result<std::size_t> TriggersTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(const Rows rows,
             connection_.run("DELETE FROM triggers WHERE ctid = ANY (ARRAY(SELECT ctid FROM triggers WHERE "
                             "(outcome <> 1 OR follow_up IS NOT NULL) AND received_at < $1 "
                             "ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                             Params().add(before).add(count_max)));
  return rows.changed();
}

}  // namespace wfo::store::postgres
