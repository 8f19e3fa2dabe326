#include "store/checks.h"
#include "store/risk_snapshot_batch.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

std::int64_t days(Date date) { return date.time_since_epoch().count(); }

}  // namespace

Result<std::size_t> RiskSnapshotsTable::upsert(std::span<const RiskSnapshot> snapshots) {
  for (const RiskSnapshot& snapshot : snapshots) TRY(check_texts(snapshot));
  TRY_ASSIGN(Statement* const upsert,
             connection_.statement(
                 "INSERT INTO risk_snapshots (tenant, opportunity, day, evaluated_at, event, workflow, fields) VALUES "
                 "(?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, opportunity, day) DO UPDATE SET evaluated_at = "
                 "excluded.evaluated_at, event = excluded.event, workflow = excluded.workflow, fields = "
                 "excluded.fields WHERE (excluded.evaluated_at, excluded.event) > (evaluated_at, event)"));
  std::size_t written = 0;
  for (const RiskSnapshot* const snapshot : newest_of_each_day(snapshots)) {
    upsert->bind(snapshot->tenant).bind(snapshot->opportunity).bind(days(snapshot->day)).bind(snapshot->evaluated_at);
    TRY(upsert->bind(snapshot->event).bind(snapshot->workflow).bind_text(snapshot->fields).run());
    written += static_cast<std::size_t>(connection_.database().changes());
  }
  return written;
}

Result<std::vector<RiskSnapshot>> RiskSnapshotsTable::list(const TenantId& tenant, const OpportunityId& opportunity,
                                                           Date from, Date to, std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT day, evaluated_at, event, workflow, fields FROM risk_snapshots WHERE "
                                   "tenant = ? AND opportunity = ? AND day >= ? AND day < ? ORDER BY day LIMIT ?"));
  select->bind(tenant).bind(opportunity).bind(days(from)).bind(days(to)).bind(static_cast<std::int64_t>(count_max));
  std::vector<RiskSnapshot> snapshots;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return snapshots;
    snapshots.push_back({.tenant = tenant,
                         .opportunity = opportunity,
                         .day = Date(std::chrono::days(select->integer(0))),
                         .evaluated_at = select->timestamp(1),
                         .event = select->id<EventId>(2),
                         .workflow = select->id<WorkflowId>(3),
                         .fields = select->text(4)});
  }
}

}  // namespace wfo::store::sqlite
