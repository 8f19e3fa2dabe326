#include "store/risk_snapshot_batch.h"

#include <algorithm>
#include <tuple>

namespace wfo::store {
namespace {

auto key(const RiskSnapshot& snapshot) { return std::tie(snapshot.tenant, snapshot.opportunity, snapshot.day); }
auto age(const RiskSnapshot& snapshot) { return std::tie(snapshot.evaluated_at, snapshot.event); }

}  // namespace

std::vector<const RiskSnapshot*> newest_of_each_day(std::span<const RiskSnapshot> snapshots) {
  std::vector<const RiskSnapshot*> newest;
  newest.reserve(snapshots.size());
  for (const RiskSnapshot& snapshot : snapshots) newest.push_back(&snapshot);
  std::ranges::stable_sort(newest, [](const RiskSnapshot* a, const RiskSnapshot* b) {
    const auto order = key(*a) <=> key(*b);
    return order != 0 ? order < 0 : age(*a) > age(*b);
  });
  const auto rest = std::ranges::unique(newest, {}, [](const RiskSnapshot* one) { return key(*one); });
  newest.erase(rest.begin(), rest.end());
  return newest;
}

}  // namespace wfo::store
