#include <algorithm>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::RiskSnapshot;
using store::Transaction;

const Date kDay = std::chrono::floor<std::chrono::days>(kStart);

RiskSnapshot snapshot(int day, int evaluated_at = 0, std::uint32_t event = 1, std::uint32_t opportunity = 1) {
  return {.tenant = kTenant,
          .opportunity = id<OpportunityId>(opportunity),
          .day = kDay + std::chrono::days(day),
          .evaluated_at = at(evaluated_at),
          .event = id<EventId>(event),
          .workflow = id<WorkflowId>(100 + event),
          .fields = fmt::format(R"({{"riskScore":0.{},"note":"é {}"}})", event, evaluated_at)};
}

class RiskSnapshotContract : public StoreContract {
 protected:
  Result<std::size_t> try_upsert(std::vector<RiskSnapshot> snapshots) {
    return write([&](Transaction& t) { return t.risk_snapshots().upsert(snapshots); });
  }
  std::size_t upsert(std::vector<RiskSnapshot> snapshots) { return value(try_upsert(std::move(snapshots))); }
  std::vector<RiskSnapshot> list(int from = -100'000, int to = 100'000, std::size_t count_max = 1000,
                                 std::uint32_t opportunity = 1, const TenantId& tenant = kTenant) {
    return value(read([&](const Transaction& t) {
      return t.risk_snapshots().list(tenant, id<OpportunityId>(opportunity), kDay + std::chrono::days(from),
                                     kDay + std::chrono::days(to), count_max);
    }));
  }
};

TEST_P(RiskSnapshotContract, ListsSnapshotsAsTheyWereWrittenByDay) {
  EXPECT_EQ(upsert({snapshot(3), snapshot(-40'000), snapshot(1)}), 3U);
  harness_->restart();
  EXPECT_EQ(list(), (std::vector{snapshot(-40'000), snapshot(1), snapshot(3)}));
  EXPECT_EQ(upsert({}), 0U);
}

TEST_P(RiskSnapshotContract, ListsTheDaysAskedFor) {
  upsert({snapshot(1), snapshot(2), snapshot(3), snapshot(4)});
  EXPECT_EQ(list(2, 4), (std::vector{snapshot(2), snapshot(3)})) << "from the first to before the last";
  EXPECT_EQ(list(1, 9, 2), (std::vector{snapshot(1), snapshot(2)}));
  EXPECT_TRUE(list(2, 2).empty());
  EXPECT_TRUE(list(3, 2).empty());
  EXPECT_TRUE(list(5, 9).empty());
}

TEST_P(RiskSnapshotContract, KeepsTenantsAndOpportunitiesApart) {
  RiskSnapshot of_other = snapshot(1, 5, 5);
  of_other.tenant = kOtherTenant;
  EXPECT_EQ(upsert({snapshot(1), of_other, snapshot(1, 0, 1, 2)}), 3U);
  EXPECT_EQ(list(), std::vector{snapshot(1)});
  EXPECT_EQ(list(0, 9, 10, 2), (std::vector{snapshot(1, 0, 1, 2)}));
  EXPECT_EQ(list(0, 9, 10, 1, kOtherTenant), std::vector{of_other});
  EXPECT_TRUE(list(0, 9, 10, 2, kOtherTenant).empty());
}

TEST_P(RiskSnapshotContract, ReplacesASnapshotOnlyByANewerOne) {
  EXPECT_EQ(upsert({snapshot(1, 10, 5)}), 1U);
  EXPECT_EQ(upsert({snapshot(1, 10, 5)}), 0U) << "the same again changes nothing";
  EXPECT_EQ(upsert({snapshot(1, 9, 6)}), 0U);
  EXPECT_EQ(upsert({snapshot(1, 10, 4)}), 0U) << "of one moment the greater event is newer";
  EXPECT_EQ(list(), (std::vector{snapshot(1, 10, 5)}));
  EXPECT_EQ(upsert({snapshot(1, 10, 6)}), 1U);
  EXPECT_EQ(list(), (std::vector{snapshot(1, 10, 6)}));
  EXPECT_EQ(upsert({snapshot(1, 11, 2)}), 1U);
  EXPECT_EQ(list(), (std::vector{snapshot(1, 11, 2)}));
  RiskSnapshot other_fields = snapshot(1, 11, 2);
  other_fields.fields = "{}";
  EXPECT_EQ(upsert({other_fields}), 0U) << "an event says one thing";
  EXPECT_EQ(list(), (std::vector{snapshot(1, 11, 2)}));
}

TEST_P(RiskSnapshotContract, KeepsTheNewestInWhateverOrderTheyCome) {
  std::vector<int> order{0, 1, 2, 3};
  const std::vector candidates{snapshot(1, 1, 9), snapshot(1, 2, 1), snapshot(1, 2, 3), snapshot(1, 2, 2)};
  std::uint32_t opportunity = 0;
  do {
    ++opportunity;
    std::vector<RiskSnapshot> batch;
    for (const int i : order) {
      batch.push_back(candidates[static_cast<std::size_t>(i)]);
      batch.back().opportunity = id<OpportunityId>(opportunity);
    }
    RiskSnapshot newest = candidates[2];
    newest.opportunity = id<OpportunityId>(opportunity);
    if (opportunity % 2 == 0) {
      EXPECT_EQ(upsert(batch), 1U) << "a row that a batch has several times counts once";
    } else {
      for (const RiskSnapshot& one : batch) upsert({one});
    }
    EXPECT_EQ(list(0, 9, 10, opportunity), std::vector{newest}) << testing::PrintToString(order);
    EXPECT_EQ(upsert(batch), 0U);
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(opportunity, 24U);
}

TEST_P(RiskSnapshotContract, CountsWhatABatchInsertedOrReplaced) {
  upsert({snapshot(1, 10), snapshot(2, 10)});
  EXPECT_EQ(upsert({snapshot(1, 11), snapshot(2, 9), snapshot(3, 0), snapshot(3, 1), snapshot(2, 10)}), 2U);
  EXPECT_EQ(list(), (std::vector{snapshot(1, 11), snapshot(2, 10), snapshot(3, 1)}));
}

TEST_P(RiskSnapshotContract, AgreesOnTheNewestAmongWritersAtOnce) {
  constexpr int kWriters = 4;
  constexpr int kDays = 50;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
      threads.emplace_back([&, writer] {
        for (int round = 0; round < 5; ++round) {
          std::vector<RiskSnapshot> batch;
          for (int day = 0; day < kDays; ++day) {
            batch.push_back(snapshot(day, (day + 7 * writer + round) % 20, static_cast<std::uint32_t>(writer)));
          }
          if (writer % 2 == 1) std::ranges::reverse(batch);  // in circles they must not wait
          upsert(batch);
        }
      });
    }
  }
  std::vector<RiskSnapshot> expected;
  for (int day = 0; day < kDays; ++day) {
    std::pair<int, int> newest{-1, 0};
    for (int writer = 0; writer < kWriters; ++writer) {
      for (int round = 0; round < 5; ++round) {
        newest = std::max(newest, std::pair((day + 7 * writer + round) % 20, writer));
      }
    }
    expected.push_back(snapshot(day, newest.first, static_cast<std::uint32_t>(newest.second)));
  }
  EXPECT_EQ(list(), expected);
}

TEST_P(RiskSnapshotContract, WritesNothingOfABatchWithTextThatNotEveryStoreCanHold) {
  RiskSnapshot odd = snapshot(2);
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xff")}) {
    odd.fields = text;
    EXPECT_ERROR(invalid_argument, try_upsert({snapshot(1), odd}));
  }
  EXPECT_TRUE(list().empty());
}

TEST_P(RiskSnapshotContract, TakesBackWhatATransactionWroteThatFailed) {
  upsert({snapshot(1)});
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 const std::vector batch{snapshot(1, 9), snapshot(2)};
                 TRY(t.risk_snapshots().upsert(batch));
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(list(), std::vector{snapshot(1)});
}

INSTANTIATE_TEST_SUITE_P(EveryStore, RiskSnapshotContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
