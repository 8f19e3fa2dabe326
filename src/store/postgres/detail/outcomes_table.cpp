#include <map>
#include <tuple>

#include "store/postgres/detail/tables.h"

namespace wfo::store::postgres {

Result<std::vector<bool>> OutcomesTable::insert(std::span<const RecordedOutcome> outcomes) {
  std::vector<bool> written(outcomes.size(), false);
  if (outcomes.empty()) return written;
  // Of several of one day the first counts; in the order of keys, so that no two batches wait for each other.
  using Key = std::tuple<TenantId, OpportunityId, std::int64_t>;
  std::map<Key, std::size_t> first;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const RecordedOutcome& outcome = outcomes[i];
    first.try_emplace({outcome.tenant, outcome.opportunity, outcome.close_on.time_since_epoch().count()}, i);
  }
  Array tenants(Type::uuid);
  Array opportunities(Type::uuid);
  Array days(Type::bigint);
  Array events(Type::uuid);
  Array recorded_ats(Type::bigint);
  for (const auto& [key, place] : first) {
    tenants.add(std::get<0>(key));
    opportunities.add(std::get<1>(key));
    days.add(std::get<2>(key));
    events.add(outcomes[place].event);
    recorded_ats.add(outcomes[place].recorded_at);
  }
  TRY_ASSIGN(const Rows rows,
             connection_.run("INSERT INTO outcomes (tenant, opportunity, close_on, event, recorded_at) SELECT * FROM "
                             "unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[]) ON CONFLICT "
                             "(tenant, opportunity, close_on) DO NOTHING RETURNING tenant, opportunity, close_on",
                             Params().add(tenants).add(opportunities).add(days).add(events).add(recorded_ats)));
  for (const Row row : rows) {
    written[first.at({row.id<TenantId>(0), row.id<OpportunityId>(1), row.integer(2)})] = true;
  }
  return written;
}

}  // namespace wfo::store::postgres
