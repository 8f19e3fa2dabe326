#include <atomic>
#include <future>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using std::chrono::seconds;
using store::Epoch;
using store::Lease;
using store::Transaction;

class LeaseContract : public StoreContract {
 protected:
  std::optional<Lease> acquire(std::string_view holder, milliseconds length = seconds(3),
                               std::string_view lease = "relay") {
    return value(write([&](Transaction& t) { return t.leases().acquire(lease, holder, length); }));
  }
  Result<void> check(Epoch epoch, std::string_view lease = "relay") {
    return write([&](Transaction& t) { return t.leases().check(lease, epoch); });
  }
  void release(Epoch epoch, std::string_view lease = "relay") {
    EXPECT_OK(write([&](Transaction& t) { return t.leases().release(lease, epoch); }));
  }
  std::optional<Lease> find(std::string_view lease = "relay") {
    return value(read([&](const Transaction& t) { return t.leases().find(lease); }));
  }
};

TEST_P(LeaseContract, GivesALeaseThatNobodyHolds) {
  EXPECT_EQ(find(), std::nullopt);
  const Lease expected{"relay", "a", 1, kStart + seconds(3)};
  EXPECT_EQ(acquire("a"), expected);
  EXPECT_EQ(find(), expected);
  EXPECT_OK(check(1));
}

TEST_P(LeaseContract, TakesProlongsAndGivesBackALeaseByItself) {
  const auto acquire_alone = [&](std::string_view holder) {
    return value(store().acquire_lease("relay", holder, seconds(3)));
  };
  const Lease expected{"relay", "a", 1, kStart + seconds(3)};
  EXPECT_EQ(acquire_alone("a"), expected);
  EXPECT_EQ(find(), expected);
  EXPECT_EQ(acquire_alone("b"), std::nullopt);
  EXPECT_EQ(acquire_alone("a")->epoch, 1);
  EXPECT_OK(store().release_lease("relay", 1));
  EXPECT_ERROR(conflict, check(1));
  EXPECT_EQ(acquire_alone("b")->epoch, 2);
  EXPECT_ERROR(invalid_argument, store().acquire_lease("relay", "\xff", seconds(3)));
}

TEST_P(LeaseContract, RefusesAnotherHolderUntilTheLeaseHasExpired) {
  EXPECT_TRUE(acquire("a"));
  clock_.advance(milliseconds(2'999));
  EXPECT_EQ(acquire("b"), std::nullopt);
  EXPECT_EQ(find()->holder, "a");
  clock_.advance(milliseconds(1));
  EXPECT_EQ(acquire("b"), (Lease{"relay", "b", 2, kStart + seconds(6)}));
  EXPECT_EQ(acquire("a"), std::nullopt);
}

TEST_P(LeaseContract, ProlongsALeaseWithTheSameEpoch) {
  EXPECT_TRUE(acquire("a"));
  clock_.advance(seconds(2));
  EXPECT_EQ(acquire("a"), (Lease{"relay", "a", 1, kStart + seconds(5)}));
  clock_.advance(seconds(2));
  EXPECT_EQ(acquire("b"), std::nullopt);
  // Also one that has expired, as long as nobody took it.
  clock_.advance(seconds(60));
  EXPECT_OK(check(1));
  EXPECT_EQ(acquire("a"), (Lease{"relay", "a", 1, kStart + seconds(67)}));
}

TEST_P(LeaseContract, RefusesTheEpochOfAHolderWhoseLeaseWasTakenOver) {
  EXPECT_TRUE(acquire("a"));
  clock_.advance(seconds(3));
  EXPECT_TRUE(acquire("b"));
  EXPECT_ERROR(conflict, check(1));
  EXPECT_OK(check(2));
  EXPECT_ERROR(conflict, check(3));
  // What the old holder would write in that transaction is not written.
  EXPECT_ERROR(conflict, write([&](Transaction& t) -> Result<void> {
                 TRY(t.positions().set("old holder", 1));
                 return t.leases().check("relay", 1);
               }));
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.positions().get("old holder"); })), 0);
}

TEST_P(LeaseContract, GivesALeaseBackSoThatOthersNeedNotWait) {
  EXPECT_TRUE(acquire("a"));
  release(1);
  EXPECT_EQ(find()->holder, "");
  EXPECT_ERROR(conflict, check(1));
  EXPECT_EQ(acquire("b"), (Lease{"relay", "b", 2, kStart + seconds(3)}));
  release(2);
  EXPECT_EQ(acquire("b")->epoch, 3) << "given back is given back, whoever comes next";
}

TEST_P(LeaseContract, LeavesALeaseAloneThatIsGivenBackByItsOldHolder) {
  EXPECT_TRUE(acquire("a"));
  clock_.advance(seconds(3));
  const auto taken = acquire("b");
  release(1);
  release(9);
  release(1, "another");
  EXPECT_EQ(find(), taken);
  EXPECT_OK(check(2));
}

TEST_P(LeaseContract, KnowsEachLeaseByItsName) {
  EXPECT_EQ(acquire("a", seconds(3), "relay")->epoch, 1);
  EXPECT_EQ(acquire("b", seconds(3), "timers")->epoch, 1);
  release(1, "relay");
  EXPECT_OK(check(1, "timers"));
  EXPECT_ERROR(conflict, check(1, "retention"));
}

TEST_P(LeaseContract, RemembersLeasesWhenAProcessStartsAgain) {
  const auto held = acquire("a");
  harness_->restart();
  EXPECT_EQ(find(), held);
  EXPECT_EQ(acquire("a, started again"), std::nullopt);
  EXPECT_OK(check(1));
}

TEST_P(LeaseContract, TakesBackALeaseWhoseTransactionFailed) {
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 TRY_ASSIGN(const auto taken, t.leases().acquire("relay", "a", seconds(3)));
                 EXPECT_TRUE(taken);
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(find(), std::nullopt);
  EXPECT_EQ(acquire("b")->epoch, 1);
}

TEST_P(LeaseContract, RefusesTextThatNotEveryStoreCanHold) {
  const auto try_acquire = [&](std::string_view name, std::string_view holder) {
    return write([&](Transaction& t) { return t.leases().acquire(name, holder, seconds(3)); });
  };
  EXPECT_ERROR(invalid_argument, try_acquire("\xff", "a"));
  EXPECT_ERROR(invalid_argument, try_acquire("relay", std::string_view("a\0b", 3)));
  EXPECT_EQ(find(), std::nullopt);
}

TEST_P(LeaseContract, GivesALeaseToOneOfManyWhoWantItAtOnce) {
  for (int round = 1; round <= 5; ++round) {
    std::atomic<int> winners = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] { winners += acquire(fmt::format("{}-{}", round, i)).has_value(); });
      }
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(find()->epoch, round);
    clock_.advance(seconds(3));
  }
}

TEST_P(LeaseContract, LetsNobodyTakeALeaseOverBeforeTheTransactionEndsThatCheckedIt) {
  EXPECT_TRUE(acquire("a"));
  std::future<store::Sequence> seen_by_successor;
  EXPECT_OK(write([&](Transaction& t) -> Result<void> {
    TRY(t.leases().check("relay", 1));
    clock_.advance(seconds(3));  // as if this process had been paused here
    seen_by_successor = std::async(std::launch::async, [&] {
      return value(write([&](Transaction& theirs) -> Result<store::Sequence> {
        TRY_ASSIGN(const auto taken, theirs.leases().acquire("relay", "b", seconds(3)));
        EXPECT_TRUE(taken);
        return theirs.positions().get("written under the lease");
      }));
    });
    EXPECT_EQ(seen_by_successor.wait_for(milliseconds(50)), std::future_status::timeout);
    return t.positions().set("written under the lease", 7);
  }));
  EXPECT_EQ(seen_by_successor.get(), 7);
}

INSTANTIATE_TEST_SUITE_P(EveryStore, LeaseContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
