#include "store/risk_snapshot_batch.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <tuple>

namespace wfo::store {
namespace {

template <class T>
T id(std::uint8_t n) {
  Uuid uuid;
  uuid.bytes[0] = n;
  return T(uuid);
}

RiskSnapshot snapshot(int tenant, int opportunity, int day, int evaluated_at, int event) {
  return {.tenant = id<TenantId>(static_cast<std::uint8_t>(tenant)),
          .opportunity = id<OpportunityId>(static_cast<std::uint8_t>(opportunity)),
          .day = Date(std::chrono::days(day)),
          .evaluated_at = Timestamp(milliseconds(evaluated_at)),
          .event = id<EventId>(static_cast<std::uint8_t>(event)),
          .workflow = {},
          .fields = "{}"};
}

TEST(NewestOfEachDay, IsTheFirstOfEqualOnes) {
  std::vector<RiskSnapshot> batch(3, snapshot(1, 1, 1, 5, 5));
  batch.insert(batch.begin(), snapshot(1, 1, 1, 5, 4));
  EXPECT_EQ(newest_of_each_day(batch), std::vector<const RiskSnapshot*>{&batch[1]});
  EXPECT_TRUE(newest_of_each_day({}).empty());
}

RC_GTEST_PROP(NewestOfEachDay, IsOrderedAndLeavesOutNothingButWhatIsOlder, ()) {
  const auto small = rc::gen::inRange(0, 3);
  const auto batch =
      *rc::gen::container<std::vector<RiskSnapshot>>(rc::gen::apply(snapshot, small, small, small, small, small));
  using Key = std::tuple<TenantId, OpportunityId, Date>;
  std::map<Key, std::pair<Timestamp, EventId>> expected;
  for (const RiskSnapshot& one : batch) {
    auto& newest = expected[Key(one.tenant, one.opportunity, one.day)];
    newest = std::max(newest, std::pair(one.evaluated_at, one.event));
  }
  std::vector<std::pair<Key, std::pair<Timestamp, EventId>>> found;
  for (const RiskSnapshot* one : newest_of_each_day(batch)) {
    found.emplace_back(Key(one->tenant, one->opportunity, one->day), std::pair(one->evaluated_at, one->event));
  }
  const decltype(found) in_order(expected.begin(), expected.end());
  RC_ASSERT(found.size() == in_order.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    RC_ASSERT(found[i].first == in_order[i].first);
    RC_ASSERT(found[i].second == in_order[i].second);
  }
}

}  // namespace
}  // namespace wfo::store
