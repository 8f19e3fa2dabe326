#pragma once

#include <compare>

#include "base/uuid.h"

namespace wfo::store {

struct OpportunityKey {
  TenantId tenant;
  OpportunityId opportunity;
  friend auto operator<=>(const OpportunityKey&, const OpportunityKey&) = default;
};

}  // namespace wfo::store
