#include "delivery/lease_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "delivery/tests/leases.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::FakeLease;
using fakes::steady;
using testing::HasSubstr;

class LeaseKeeperTest : public testing::Test {
 protected:
  LeaseKeeper keeper(LeaseSource& source, std::string holder = "one") {
    return {source, std::move(holder), Logger::silent(), metrics_, 3s, steady(clock_)};
  }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  Metrics metrics_;
  FakeLease lease_{clock_};
};

TEST_F(LeaseKeeperTest, TakesALeaseThatNobodyHas) {
  auto keeper = this->keeper(lease_);
  EXPECT_FALSE(keeper.is_held());
  EXPECT_EQ(keeper.hold(), 1);
  EXPECT_TRUE(keeper.is_held());
  EXPECT_THAT(metrics_.text(), HasSubstr("lease_held{lease=\"test\"} 1"));
}

TEST_F(LeaseKeeperTest, AsksAgainOnlyWhenAThirdOfTheLengthIsOver) {
  auto keeper = this->keeper(lease_);
  EXPECT_EQ(keeper.hold(), 1);
  clock_.advance(999ms);
  EXPECT_EQ(keeper.hold(), 1);
  EXPECT_EQ(lease_.requests, 1);
  clock_.advance(1ms);
  EXPECT_EQ(keeper.hold(), 1);
  EXPECT_EQ(lease_.requests, 2);
  clock_.advance(2'999ms);
  EXPECT_TRUE(keeper.is_held());
  clock_.advance(1ms);
  EXPECT_FALSE(keeper.is_held());
}

TEST_F(LeaseKeeperTest, SaysNothingWhileAnotherHasTheLeaseAndGetsItWhenThatOneEnds) {
  auto first = keeper(lease_, "one");
  auto second = keeper(lease_, "two");
  EXPECT_EQ(first.hold(), 1);
  EXPECT_EQ(second.hold(), std::nullopt);
  clock_.advance(2'999ms);
  EXPECT_EQ(second.hold(), std::nullopt);
  clock_.advance(1ms);
  EXPECT_EQ(second.hold(), 2);
  EXPECT_EQ(first.hold(), std::nullopt);
  EXPECT_FALSE(first.is_held());
}

TEST_F(LeaseKeeperTest, CountsFromBeforeItAsked) {
  auto keeper = this->keeper(lease_);
  lease_.answer_takes = 1s;
  EXPECT_EQ(keeper.hold(), 1);
  clock_.advance(1'999ms);
  EXPECT_TRUE(keeper.is_held());
  clock_.advance(1ms);
  EXPECT_FALSE(keeper.is_held()) << "the database may have begun to count when the request was sent";
}

TEST_F(LeaseKeeperTest, DoesNotTrustAnAnswerThatTookLongerThanTheLeaseLasts) {
  auto keeper = this->keeper(lease_);
  lease_.answer_takes = 3s;
  const auto held = keeper.hold();
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, ErrorCode::unavailable);
  EXPECT_FALSE(keeper.is_held());
  lease_.answer_takes = 0s;
  EXPECT_EQ(keeper.hold(), 1);
}

TEST_F(LeaseKeeperTest, KeepsTheLeaseThroughAnErrorAsLongAsItLasts) {
  auto keeper = this->keeper(lease_);
  EXPECT_EQ(keeper.hold(), 1);
  clock_.advance(1s);
  lease_.error = Error{ErrorCode::unavailable, "the database is away"};
  EXPECT_EQ(keeper.hold().error().message, "the database is away");
  EXPECT_TRUE(keeper.is_held());
  lease_.error.reset();
  EXPECT_EQ(keeper.hold(), 1);
}

TEST_F(LeaseKeeperTest, ProlongsOnlyWhatIsHeld) {
  auto keeper = this->keeper(lease_);
  EXPECT_TRUE(keeper.prolong());
  EXPECT_EQ(lease_.requests, 0);
  EXPECT_EQ(keeper.hold(), 1);
  clock_.advance(2s);
  EXPECT_TRUE(keeper.prolong());
  clock_.advance(2s);
  EXPECT_TRUE(keeper.is_held());
}

TEST_F(LeaseKeeperTest, ForgetsALeaseThatWasTakenOverButNotTheOneItTookSince) {
  auto keeper = this->keeper(lease_);
  EXPECT_EQ(keeper.hold(), 1);
  clock_.advance(4s);
  auto other = this->keeper(lease_, "two");
  EXPECT_EQ(other.hold(), 2);
  keeper.lost(1);
  EXPECT_FALSE(keeper.is_held());
  EXPECT_TRUE(other.release());
  EXPECT_EQ(keeper.hold(), 3);
  keeper.lost(1);
  EXPECT_TRUE(keeper.is_held());
}

TEST_F(LeaseKeeperTest, GivesTheLeaseBackWhenItEnds) {
  auto other = keeper(lease_, "two");
  {
    auto keeper = this->keeper(lease_);
    EXPECT_EQ(keeper.hold(), 1);
    EXPECT_EQ(other.hold(), std::nullopt);
  }
  EXPECT_EQ(other.hold(), 2);
}

TEST_F(LeaseKeeperTest, KeepsALeaseOfTheStore) {
  sqlite::Fixture fixture(clock_);
  StoreLease source(fixture.store(), kRelayLease);
  auto first = keeper(source, "one");
  auto second = keeper(source, "two");
  EXPECT_EQ(first.hold(), 1);
  EXPECT_EQ(second.hold(), std::nullopt);
  clock_.advance(3s);
  EXPECT_EQ(second.hold(), 2);
  EXPECT_TRUE(second.release());
  EXPECT_EQ(first.hold(), 3);
}

TEST(HolderName, NamesTheProcessAndIsNeverTheSame) {
  const SystemClock clock;
  SystemIdSource ids(clock);
  const auto name = holder_name(ids);
  EXPECT_THAT(name, HasSubstr(fmt::format(":{}:", getpid())));
  EXPECT_NE(name, holder_name(ids));
}

}  // namespace
}  // namespace wfo::delivery
