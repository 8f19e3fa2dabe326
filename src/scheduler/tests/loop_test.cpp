#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using ::testing::Each;
using ::testing::HasSubstr;

class Loop : public ::testing::Test {
 protected:
  /// Runs until `done` says so, or for `waits_max` waits.
  void run(std::function<bool()> done, std::size_t waits_max = 10'000) {
    std::stop_source stop;
    world_.waiter.waits.clear();
    world_.waiter.at_wait = [&, stop]() mutable {
      if (done() || world_.waiter.waits.size() >= waits_max) stop.request_stop();
    };
    world_.scheduler->run(stop.get_token());
    world_.waiter.at_wait = nullptr;
    EXPECT_TRUE(done());
  }
  World world_;
};

TEST_F(Loop, TriggersEachFireAtItsMoment) {
  world_.put(World::ten_minutely());
  world_.clock.advance(10min - 1s - 100ms);
  run([&] { return world_.runs().size() == 2; });
  EXPECT_EQ(world_.runs()[0].created_at, kStart + 10min) << "the last wait is as long as it must be";
  EXPECT_EQ(world_.runs()[1].created_at, kStart + 20min);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "due"}}), 2);
}

TEST_F(Loop, LooksAgainAfterTheIdleWaitWhileNothingIsDue) {
  run([&] { return world_.waiter.waits.size() == 5; });
  EXPECT_THAT(world_.waiter.waits, Each(250ms));
}

TEST_F(Loop, DoesNotWaitWhileMoreIsDue) {
  world_.put(World::ten_minutely());
  world_.clock.advance(24h * 2);  // 288 fires, of which 100 come at once
  run([&] { return !world_.waiter.waits.empty(); });
  EXPECT_EQ(world_.waiter.waits.size(), 1U);
  std::int64_t count = 0;
  for (const auto& record : world_.fires()) count += record.fire.count;
  EXPECT_EQ(count, 288);
}

TEST_F(Loop, GoesOnWhenTheStoreComesBack) {
  world_.put(World::ten_minutely());
  world_.clock.advance(10min);
  world_.store.away = true;
  run([&] { return world_.waiter.waits.size() == 3; });
  EXPECT_THAT(world_.waiter.waits, Each(1s));
  world_.store.away = false;
  world_.store.deaths = 1;
  run([&] { return world_.runs().size() == 1; });
  EXPECT_EQ(world_.told(), "09:10 triggered due");
}

TEST_F(Loop, EndsAtOnceWhenItIsStopped) {
  std::stop_source stop;
  stop.request_stop();
  world_.scheduler->run(stop.get_token());
  EXPECT_TRUE(world_.waiter.waits.empty());
}

std::string log_of(World& world, const std::function<void(Scheduler&)>& body) {
  ::testing::internal::CaptureStderr();
  {
    Logger log(LogLevel::warn);
    Scheduler scheduler(world.store, bus::samples::contracts(), World::catalog(), World::check_metadata, world.ids,
                        world.clock, world.waiter, log, world.metrics);
    body(scheduler);
  }
  return ::testing::internal::GetCapturedStderr();
}

std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST_F(Loop, SaysOnceThatTheClockWasSetBack) {
  const std::string log = log_of(world_, [&](Scheduler& scheduler) {
    World::must(scheduler.run_once());
    world_.clock.advance(-900ms);  // as clocks do
    World::must(scheduler.run_once());
    world_.clock.advance(-1h);
    World::must(scheduler.run_once());
    World::must(scheduler.run_once());
  });
  EXPECT_EQ(count_of(log, "the clock was set back by 1h"), 1U) << log;
  EXPECT_EQ(count_of(log, "set back"), 1U) << log;
}

TEST_F(Loop, SaysOnceThatTheStoreIsAway) {
  world_.store.away = true;
  std::stop_source stop;
  world_.waiter.at_wait = [&] {
    if (world_.waiter.waits.size() == 5) stop.request_stop();
  };
  const std::string log = log_of(world_, [&](Scheduler& scheduler) { scheduler.run(stop.get_token()); });
  EXPECT_EQ(count_of(log, "schedules: the store is away; trying again"), 1U) << log;
}

TEST_F(Loop, SaysWhichScheduleItPausedAndWhichRunItClosed) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.pause_on_failure = true;
  world_.put(schedule);
  world_.attend_at(kStart + 10min);
  world_.clock.advance(1h);
  const std::string log = log_of(world_, [&](Scheduler& scheduler) {
    World::must(scheduler.run_once());
    world_.clock.advance(kStartGrace);
    World::must(scheduler.run_once());
    std::vector<bus::Delivery> batch(1);
    batch[0].event = world_.log_of(events::kJobFailed).at(0);
    auto apply = World::must(scheduler.prepare(batch));
    World::must(world_.store.transact([&](store::Transaction& transaction) { return apply(transaction); }));
    scheduler.committed();
  });
  EXPECT_THAT(log, HasSubstr("of 'outcome-sync' is closed: nobody took it within 1h"));
  EXPECT_THAT(log, HasSubstr("schedule 'often' is paused: run "));
}

}  // namespace
}  // namespace wfo::scheduler
