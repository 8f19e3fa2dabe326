#include "store/checks.h"
#include "store/postgres/detail/tables.h"
#include "store/risk_snapshot_batch.h"

namespace wfo::store::postgres {
namespace {

std::int64_t days(Date date) { return date.time_since_epoch().count(); }

}  // namespace

Result<std::size_t> RiskSnapshotsTable::upsert(std::span<const RiskSnapshot> snapshots) {
  for (const RiskSnapshot& snapshot : snapshots) TRY(check_texts(snapshot));
  if (snapshots.empty()) return 0;
  Array tenants(Type::uuid);
  Array opportunities(Type::uuid);
  Array snapshot_days(Type::bigint);
  Array evaluated_ats(Type::bigint);
  Array events(Type::uuid);
  Array workflows(Type::uuid);
  Array fields(Type::text);
  for (const RiskSnapshot* const snapshot : newest_of_each_day(snapshots)) {
    tenants.add(snapshot->tenant);
    opportunities.add(snapshot->opportunity);
    snapshot_days.add(days(snapshot->day));
    evaluated_ats.add(snapshot->evaluated_at);
    events.add(snapshot->event);
    workflows.add(snapshot->workflow);
    fields.add_text(snapshot->fields);
  }
  Params params;
  params.add(tenants).add(opportunities).add(snapshot_days).add(evaluated_ats).add(events).add(workflows).add(fields);
  TRY_ASSIGN(const Rows rows,
             connection_.run(
                 "INSERT INTO risk_snapshots AS s (tenant, opportunity, day, evaluated_at, event, workflow, fields) "
                 "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], "
                 "$6::uuid[], $7::text[]) ON CONFLICT (tenant, opportunity, day) DO UPDATE SET evaluated_at = "
                 "excluded.evaluated_at, event = excluded.event, workflow = excluded.workflow, fields = "
                 "excluded.fields WHERE (excluded.evaluated_at, excluded.event) > (s.evaluated_at, s.event)",
                 params));
  return rows.changed();
}

Result<std::vector<RiskSnapshot>> RiskSnapshotsTable::list(const TenantId& tenant, const OpportunityId& opportunity,
                                                           Date from, Date to, std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT day, evaluated_at, event, workflow, fields FROM risk_snapshots WHERE tenant = $1 "
                             "AND opportunity = $2 AND day >= $3::integer AND day < $4::integer ORDER BY tenant, "
                             "opportunity, day LIMIT $5",
                             Params().add(tenant).add(opportunity).add(days(from)).add(days(to)).add(count_max)));
  std::vector<RiskSnapshot> snapshots;
  snapshots.reserve(rows.size());
  for (const Row row : rows) {
    snapshots.push_back({.tenant = tenant,
                         .opportunity = opportunity,
                         .day = Date(std::chrono::days(row.integer(0))),
                         .evaluated_at = row.timestamp(1),
                         .event = row.id<EventId>(2),
                         .workflow = row.id<WorkflowId>(3),
                         .fields = row.text(4)});
  }
  return snapshots;
}

}  // namespace wfo::store::postgres
