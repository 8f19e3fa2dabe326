#include <atomic>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::RecordedOutcome;
using store::Transaction;

RecordedOutcome outcome(std::uint32_t opportunity, int day = 0, std::uint32_t event = 1) {
  return {.tenant = kTenant,
          .opportunity = id<OpportunityId>(opportunity),
          .close_on = *parse_date("2017-03-01") + std::chrono::days(day),
          .event = id<EventId>(event),
          .recorded_at = kStart};
}

class OutcomeContract : public StoreContract {
 protected:
  std::vector<bool> insert(std::vector<RecordedOutcome> outcomes) {
    return value(write([&](Transaction& t) { return t.outcomes().insert(outcomes); }));
  }
};

TEST_P(OutcomeContract, TakesOneOutcomeForEachOpportunityAndDay) {
  EXPECT_EQ(insert({outcome(1)}), std::vector{true});
  harness_->restart();
  EXPECT_EQ(insert({outcome(1)}), std::vector{false});
  EXPECT_EQ(insert({outcome(1, 0, 2)}), std::vector{false}) << "also with another event";
  EXPECT_EQ(insert({outcome(1, 1)}), std::vector{true}) << "opened again, and closed on another day";
  EXPECT_EQ(insert({outcome(1, -30'000)}), std::vector{true});
  RecordedOutcome of_other = outcome(1);
  of_other.tenant = kOtherTenant;
  EXPECT_EQ(insert({of_other}), std::vector{true});
}

TEST_P(OutcomeContract, TellsEachOfManyInTheirOrder) {
  insert({outcome(2), outcome(4)});
  EXPECT_EQ(insert({outcome(5), outcome(4), outcome(3), outcome(5), outcome(2), outcome(1), outcome(3, 1)}),
            (std::vector{true, false, true, false, false, true, true}));
  EXPECT_TRUE(insert({}).empty());
}

TEST_P(OutcomeContract, TakesEachFromOneOfManyWritersAtOnce) {
  std::atomic<std::size_t> taken = 0;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < 4; ++writer) {
      threads.emplace_back([&, writer] {
        std::vector<RecordedOutcome> batch;
        for (std::uint32_t n = 0; n < 50; ++n) batch.push_back(outcome(writer % 2 == 0 ? n : 49 - n));
        for (const bool mine : insert(batch)) taken += mine;
      });
    }
  }
  EXPECT_EQ(taken, 50U);
}

TEST_P(OutcomeContract, TakesBackWhatATransactionWroteThatFailed) {
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 const auto one = outcome(1);
                 TRY(t.outcomes().insert({&one, 1}));
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(insert({outcome(1)}), std::vector{true});
}

INSTANTIATE_TEST_SUITE_P(EveryStore, OutcomeContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
