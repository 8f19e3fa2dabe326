#include "scheduler/detail/work.h"
#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using schedule::OverlapPolicy;
using testing::kStart;
using testing::World;
using namespace std::chrono_literals;

/// Schedules of which more is due than one transaction does.
class Backlog : public ::testing::Test {
 protected:
  void put_minutely(const std::string& name) {
    schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::allow_all, name);
    schedule.cron = {"* * * * *"};
    world_.put(schedule);
  }
  World world_;
};

TEST_F(Backlog, IsLeftByAReplicaWhoseClockIsAheadToTheOthersAtOnce) {
  put_minutely("often");
  ManualClock ahead(kStart + 150min + 1h);
  SystemIdSource ids(ahead);
  const auto replica = world_.another(ahead, ids);
  EXPECT_EQ(World::must(replica->run_once()).triggered, schedule::kTriggersMax);  // and dies
  EXPECT_EQ(world_.attend_at(kStart + 150min), 50U);
  EXPECT_EQ(world_.find()->next_at, kStart + 151min);
}

TEST_F(Backlog, OfManyKeepsNoOtherWaiting) {
  constexpr std::size_t kMany = kTriggersAtOnce / schedule::kTriggersMax + 5;
  for (std::size_t i = 0; i < kMany; ++i) put_minutely(fmt::format("many-{}", i));
  world_.clock.set(kStart + 500min);
  world_.put(World::ten_minutely(OverlapPolicy::skip, "punctual"));
  world_.clock.set(kStart + 510min);
  EXPECT_TRUE(World::must(world_.scheduler->run_once()).more);
  EXPECT_EQ(world_.told("punctual"), "17:30 triggered due");
  world_.attend();
  for (std::size_t i = 0; i < kMany; ++i) EXPECT_EQ(world_.fires(fmt::format("many-{}", i)).size(), 510U);
}

}  // namespace
}  // namespace wfo::scheduler
