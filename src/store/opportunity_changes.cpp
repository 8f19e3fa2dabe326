#include "store/opportunity_changes.h"

#include <map>
#include <set>
#include <utility>

#include "store/opportunity_codec.h"

namespace wfo::store {

Result<bool> change_opportunity(OpportunityStore& opportunities, const TenantId& tenant, const OpportunityId& id,
                                std::string_view external_id, json::Value changes, Timestamp changed_at) {
  const OpportunityChange change{tenant, id, external_id, changes, changed_at};
  TRY_ASSIGN(const auto written, change_opportunities(opportunities, {&change, 1}));
  return static_cast<bool>(written.front());
}

Result<std::vector<bool>> change_opportunities(OpportunityStore& opportunities,
                                               std::span<const OpportunityChange> changes) {
  std::map<TenantId, std::map<OpportunityId, Opportunity>> known;  // in the order of keys, as locks should be taken
  for (const OpportunityChange& change : changes) known[change.tenant].try_emplace(change.id);
  for (auto& [tenant, of_tenant] : known) {
    std::vector<OpportunityId> ids;
    ids.reserve(of_tenant.size());
    for (const auto& [id, opportunity] : of_tenant) ids.push_back(id);
    TRY_ASSIGN(auto loaded, opportunities.load(tenant, ids));
    std::size_t i = 0;
    for (auto& [id, opportunity] : of_tenant) {
      if (auto& one = loaded[i++]) opportunity = *std::move(one);
    }
  }
  std::vector<bool> written;
  std::set<std::pair<TenantId, OpportunityId>> changed;
  for (const OpportunityChange& change : changes) {
    Opportunity& opportunity = known[change.tenant][change.id];
    const bool is_later = !opportunity.changed_at || change.changed_at >= *opportunity.changed_at;
    written.push_back(is_later);
    if (!is_later) continue;
    opportunity.tenant = change.tenant;
    opportunity.id = change.id;
    TRY(apply_changes(change.changes, opportunity));
    if (!change.external_id.empty()) opportunity.external_id = change.external_id;
    opportunity.changed_at = change.changed_at;
    changed.emplace(change.tenant, change.id);
  }
  std::vector<Opportunity> batch;
  batch.reserve(changed.size());
  for (const auto& [tenant, id] : changed) batch.push_back(std::move(known[tenant][id]));
  if (!batch.empty()) TRY(opportunities.upsert(batch));
  return written;
}

}  // namespace wfo::store
