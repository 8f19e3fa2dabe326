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
  std::map<OpportunityKey, Opportunity> known;
  for (const OpportunityChange& change : changes) known.try_emplace({change.tenant, change.id});
  std::vector<OpportunityKey> keys;
  keys.reserve(known.size());
  for (const auto& [key, opportunity] : known) keys.push_back(key);
  TRY_ASSIGN(auto loaded, opportunities.load(keys));
  std::size_t i = 0;
  for (auto& [key, opportunity] : known) {
    if (auto& one = loaded[i++]) opportunity = *std::move(one);
  }
  std::vector<bool> written;
  std::set<OpportunityKey> changed;
  for (const OpportunityChange& change : changes) {
    const OpportunityKey key{change.tenant, change.id};
    Opportunity& opportunity = known.at(key);
    const bool is_later = !opportunity.changed_at || change.changed_at >= *opportunity.changed_at;
    written.push_back(is_later);
    if (!is_later) continue;
    opportunity.tenant = change.tenant;
    opportunity.id = change.id;
    TRY(apply_changes(change.changes, opportunity));
    if (!change.external_id.empty()) opportunity.external_id = change.external_id;
    opportunity.changed_at = change.changed_at;
    changed.insert(key);
  }
  std::vector<Opportunity> batch;
  batch.reserve(changed.size());
  for (const OpportunityKey& key : changed) batch.push_back(std::move(known.at(key)));
  if (!batch.empty()) TRY(opportunities.upsert(batch));
  return written;
}

}  // namespace wfo::store
