#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using schedule::JobRunStatus;
using schedule::OverlapPolicy;
using ::testing::HasSubstr;
using testing::kStart;
using testing::World;
using namespace std::chrono_literals;

/// Fires that somebody asks for, beside those that come by themselves.
class Backfill : public ::testing::Test {
 protected:
  Result<std::vector<schedule::PlannedFire>> ask(Timestamp from, Timestamp to,
                                                 OverlapPolicy overlap = OverlapPolicy::buffer_all) {
    return world_.scheduler->backfill("often", from, to, overlap);
  }
  /// The run of the fire at that time ends well.
  void complete(Timestamp fire) {
    for (const schedule::JobRun& run : world_.open_runs()) {
      if (run.scheduled_for == fire) return World::must(world_.deliver({world_.completed(run)}));
    }
    ADD_FAILURE() << "no open run of the fire at " << format_timestamp(fire);
  }
  World world_;
};

TEST_F(Backfill, GoesOnWhilePausedThoughAnOlderFireWaits) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 20min);
  EXPECT_EQ(world_.told(), "09:10 triggered catch_up, 09:20 buffered overlap");
  World::must(world_.scheduler->pause("often", ""));
  complete(kStart + 10min);
  world_.attend_at(kStart + 1h);
  World::must(ask(kStart + 30min, kStart + 1h));
  EXPECT_EQ(world_.told(),
            "09:10 triggered catch_up, 09:20 buffered overlap, 09:30..10:00 4 skipped paused, 09:30 triggered "
            "backfill, 09:40 buffered backfill, 09:50 buffered backfill");
  complete(kStart + 30min);
  complete(kStart + 40min);
  complete(kStart + 50min);
  EXPECT_EQ(world_.told(),
            "09:10 triggered catch_up, 09:20 buffered overlap, 09:30..10:00 4 skipped paused, 09:30 triggered "
            "backfill, 09:40 triggered released, 09:50 triggered released");
  World::must(world_.scheduler->resume("often"));
  ASSERT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.open_runs()[0].scheduled_for, kStart + 20min) << "what the pause held";
}

TEST_F(Backfill, DoesNotOvertakeWhatWaitsWhenTheOpenRunHasJustEnded) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 20min);
  World::must(world_.scheduler->cancel(world_.open_runs()[0].id, ""));  // nobody has heard of it yet
  World::must(ask(kStart + 10min, kStart + 20min));
  EXPECT_EQ(world_.told(), "09:10 triggered catch_up, 09:20 buffered overlap, 09:10 triggered released")
      << "what waits is released by its time";
  World::must(world_.scheduler->cancel(world_.open_runs()[0].id, ""));
  world_.attend_at(kStart + 29min);
  World::must(ask(kStart + 21min - 1min, kStart + 21min));
  EXPECT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.open_runs()[0].scheduled_for, kStart + 20min);
  EXPECT_EQ(world_.told(),
            "09:10 triggered catch_up, 09:20 triggered released, 09:10 triggered released, 09:20 buffered backfill");
}

TEST_F(Backfill, OfAScheduleWhoseRunsNeverAllEndRunsOneAfterTheOther) {
  world_.put(World::ten_minutely(OverlapPolicy::allow_all));
  world_.attend_at(kStart + 10min);
  World::must(ask(kStart - 30min, kStart));
  EXPECT_EQ(world_.told(),
            "09:10 triggered due, 08:30 triggered backfill, 08:40 buffered backfill, 08:50 buffered backfill");
  world_.attend_at(kStart + 20min);
  complete(kStart + 10min);
  EXPECT_EQ(world_.open_runs().size(), 2U) << "one of them at a time";
  World::must(ask(kStart - 40min, kStart - 30min));
  complete(kStart - 30min);
  EXPECT_EQ(world_.open_runs().back().scheduled_for, kStart - 40min) << "by its time";
  complete(kStart - 40min);
  world_.attend_at(kStart + 30min);
  complete(kStart - 20min);
  complete(kStart - 10min);
  EXPECT_EQ(world_.told(),
            "09:10 triggered due, 08:30 triggered backfill, 08:40 triggered released, 08:50 triggered released, 09:20 "
            "triggered due, 08:20 triggered released, 09:30 triggered due");
  EXPECT_EQ(world_.open_runs().size(), 2U) << "those of the regular fires, which it never waited for";
}

TEST_F(Backfill, OfAScheduleWhoseNextFireWouldCancelItDoesNotWait) {
  world_.put(World::ten_minutely(OverlapPolicy::cancel_other));
  const auto refused = ask(kStart - 30min, kStart);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("overlap is buffer_all; allowed: skip, cancel_other, allow_all"));
  EXPECT_TRUE(world_.fires().empty());
  EXPECT_TRUE(ask(kStart - 30min, kStart, OverlapPolicy::cancel_other));
}

TEST_F(Backfill, ThatWaitsWhenItsScheduleIsChangedToAllowAllGoesOnBesideOpenRuns) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 10min);
  World::must(ask(kStart - 20min, kStart));
  world_.put(World::ten_minutely(OverlapPolicy::allow_all));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 08:40 triggered released, 08:50 buffered backfill");
}

TEST_F(Backfill, ThatWaitsWhenItsScheduleIsChangedToCancelOtherGivesItsPlaceToTheNextFire) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 10min);
  World::must(ask(kStart - 20min, kStart));
  world_.put(World::ten_minutely(OverlapPolicy::cancel_other));
  world_.attend_at(kStart + 20min);
  EXPECT_EQ(world_.told(),
            "09:10 triggered due, 08:40 skipped superseded, 08:50 skipped superseded, 09:20 triggered due");
  EXPECT_EQ(world_.open_runs().size(), 1U);
}

}  // namespace
}  // namespace wfo::scheduler
