#pragma once

#include <string_view>

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

}  // namespace wfo::store
