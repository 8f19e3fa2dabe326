#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "store/opportunity_store.h"

namespace wfo::store {

/// Lays `changes` (see `apply_changes`) over what is stored of an opportunity, known or not, and notes `changed_at`,
/// when they happened. False, and nothing is written, if a later change was applied before. `external_id`: the id by
/// which the opportunity was named, which no change renames; "" if it was named by its uuid. Inside a transaction.
/// Errors: `invalid_argument` as `apply_changes`; else as the store.
[[nodiscard]] Result<bool> change_opportunity(OpportunityStore& opportunities, const TenantId& tenant,
                                              const OpportunityId& id, std::string_view external_id,
                                              json::Value changes, Timestamp changed_at);

/// A change as above. Borrowed for the length of the call.
struct OpportunityChange {
  TenantId tenant;
  OpportunityId id;
  std::string_view external_id;
  json::Value changes;
  Timestamp changed_at;
};

/// The same for many, in their order, also several of one opportunity; reads and writes in sets. One answer per change.
/// After an error nothing is written.
[[nodiscard]] Result<std::vector<bool>> change_opportunities(OpportunityStore& opportunities,
                                                             std::span<const OpportunityChange> changes);

}  // namespace wfo::store
