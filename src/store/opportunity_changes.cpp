#include "store/opportunity_changes.h"

#include <utility>

#include "store/opportunity_codec.h"

namespace wfo::store {

Result<bool> change_opportunity(OpportunityStore& opportunities, const TenantId& tenant, const OpportunityId& id,
                                std::string_view external_id, json::Value changes, Timestamp changed_at) {
  TRY_ASSIGN(auto known, opportunities.load(tenant, {&id, 1}));
  Opportunity opportunity = std::move(known.front()).value_or(Opportunity());
  if (opportunity.changed_at && changed_at < *opportunity.changed_at) return false;
  opportunity.tenant = tenant;
  opportunity.id = id;
  TRY(apply_changes(changes, opportunity));
  if (!external_id.empty()) opportunity.external_id = external_id;
  opportunity.changed_at = changed_at;
  TRY(opportunities.upsert({&opportunity, 1}));
  return true;
}

}  // namespace wfo::store
