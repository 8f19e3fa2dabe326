#pragma once

#include <span>
#include <vector>

#include "store/risk_snapshot_store.h"

namespace wfo::store {

/// Of a batch those that can stay: for each tenant, opportunity and day the one with the greatest (evaluated_at,
/// event), the first of equal ones. Ordered by tenant, opportunity and day, so that writers of the same rows come to
/// them in the same order. They are borrowed.
[[nodiscard]] std::vector<const RiskSnapshot*> newest_of_each_day(std::span<const RiskSnapshot> snapshots);

}  // namespace wfo::store
