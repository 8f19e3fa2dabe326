#include <gtest/gtest.h>

#include <chrono>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::JobRunStatus;
using schedule::OverlapPolicy;
using ::testing::HasSubstr;

template <class T>
void expect_refused(const Result<T>& result, std::string_view text) {
  ASSERT_FALSE(result);
  EXPECT_EQ(name(result.error().code), name(ErrorCode::invalid_argument)) << result.error().message;
  EXPECT_THAT(result.error().message, HasSubstr(std::string(text)));
}

/// A schedule whose trigger cannot be made, as no event can hold its metadata.
class Untriggerable : public ::testing::Test {
 protected:
  Untriggerable() : small_(World::must(events::Contracts::load(1'024))) {}

  /// A replica that was started with a small `event_bytes_max`.
  std::unique_ptr<Scheduler> with_small_events(Logger& log = Logger::silent()) {
    return std::make_unique<Scheduler>(world_.store, *small_, World::catalog(), World::check_metadata, world_.ids,
                                       world_.clock, world_.waiter, log, world_.metrics);
  }
  /// `often`, which cannot be triggered since the limit was lowered, and `other`, which can.
  static void put_two(World& world, OverlapPolicy overlap = OverlapPolicy::allow_all) {
    schedule::Schedule schedule = World::ten_minutely(overlap);
    schedule.metadata = kTooLong;
    world.put(schedule);
    world.put(World::ten_minutely(overlap, "other"));
  }
  void two(OverlapPolicy overlap = OverlapPolicy::allow_all) {
    put_two(world_, overlap);
    world_.scheduler = with_small_events();
  }

  static inline const std::string kTooDeep = World::nested(127);
  static inline const std::string kTooLong = R"({"a":")" + std::string(1'000, 'x') + R"("})";
  std::unique_ptr<const events::Contracts> small_;
  World world_;
};

TEST_F(Untriggerable, IsRefusedWhenItIsMade) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.metadata = kTooDeep;
  expect_refused(world_.scheduler->put(schedule), "schedule 'often': metadata: ");
  expect_refused(world_.scheduler->configure({&schedule, 1}), "schedule 'often': metadata: ");
  schedule.metadata = kTooLong;
  expect_refused(with_small_events()->put(schedule), "schedule 'often': metadata: a trigger cannot hold it");
  expect_refused(with_small_events()->put(schedule), "event_bytes_max is 1024");
  EXPECT_FALSE(world_.find());
  schedule.metadata = World::nested(30);
  world_.put(schedule);
  EXPECT_EQ(world_.attend_at(kStart + 10min), 1U);
}

TEST_F(Untriggerable, JobIsRefusedByHand) {
  expect_refused(world_.scheduler->trigger({.job = "report", .metadata = kTooDeep}), "metadata: ");
  expect_refused(with_small_events()->trigger({.job = "report", .metadata = kTooLong}),
                 "metadata: a trigger cannot hold it");
  EXPECT_TRUE(world_.runs().empty());
}

TEST_F(Untriggerable, WaitsWithoutHoldingUpOthers) {
  two();
  EXPECT_EQ(world_.attend_at(kStart + 10min), 1U);
  EXPECT_EQ(world_.told("other"), "09:10 triggered due");
  EXPECT_EQ(world_.told(), "");
  EXPECT_EQ(world_.find()->next_at, kStart + 10min);
  EXPECT_EQ(world_.find()->wake_up_at, kStart + 11min);
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 1U);
}

TEST_F(Untriggerable, SinceTheLimitWasLoweredComesWhenItIsRaisedAgain) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.metadata = kTooLong;
  world_.put(schedule);
  world_.clock.set(kStart + 10min);
  EXPECT_EQ(World::must(with_small_events()->run_once()).triggered, 0U);
  EXPECT_EQ(world_.attend_at(kStart + 11min), 1U);
  EXPECT_EQ(world_.told(), "09:10 triggered due");
}

TEST_F(Untriggerable, IsSaidOnceForEachDefinition) {
  two();
  World::must(world_.scheduler->remove("other"));
  ::testing::internal::CaptureStderr();
  {
    Logger log(LogLevel::warn);
    const auto scheduler = with_small_events(log);
    for (int i = 10; i < 15; ++i) {
      world_.clock.set(kStart + i * 1min);
      EXPECT_EQ(World::must(scheduler->run_once()).schedules, 1U);
    }
    auto row = world_.find().value();
    row.definition = "{}";
    World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY(transaction.schedules().update({&row, 1}));
      return {};
    }));
    world_.clock.set(kStart + 15min);
    World::must(scheduler->run_once());
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(log, '\n'), 2) << log;
  EXPECT_THAT(log, HasSubstr("schedule 'often' cannot be triggered: "));
  EXPECT_THAT(log, HasSubstr("its fires wait, it is looked at again every 1m"));
  EXPECT_THAT(log, HasSubstr("the definition of schedule 'often' cannot be read"));
}

TEST_F(Untriggerable, CanBePausedResumedAndRemoved) {
  two();
  world_.clock.set(kStart + 10min + 1s);
  EXPECT_TRUE(World::must(world_.scheduler->pause("often", "mended tomorrow")).paused);
  world_.attend_at(kStart + 20min);
  EXPECT_EQ(world_.told(), "09:10..09:20 2 skipped paused");
  EXPECT_FALSE(World::must(world_.scheduler->resume("often")).paused);
  world_.attend_at(kStart + 30min);
  EXPECT_EQ(world_.told(), "09:10..09:20 2 skipped paused");
  World::must(world_.scheduler->remove("often"));
  EXPECT_FALSE(world_.find());
  EXPECT_EQ(world_.told(), "09:10..09:30 3 skipped paused") << "what cannot be triggered is accounted for all the same";
}

TEST_F(Untriggerable, IsMendedByAnotherDefinitionAndLosesNoFire) {
  two();
  world_.attend_at(kStart + 20min);
  world_.put(World::ten_minutely());
  EXPECT_EQ(world_.told(), "09:10 triggered catch_up, 09:20 triggered due");

  schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::allow_all, "another");
  schedule.metadata = kTooLong;
  world_.scheduler = world_.another(world_.clock, world_.ids);
  world_.put(schedule);
  world_.scheduler = with_small_events();
  world_.attend_at(kStart + 40min);
  schedule.metadata = "{}";
  schedule.cron = {"*/20 * * * *"};
  world_.put(schedule);
  EXPECT_EQ(world_.told("another"), "09:40 triggered due") << "the new definition accounts for what is due";
}

TEST_F(Untriggerable, IsToldWhenItIsBackfilled) {
  two();
  expect_refused(world_.scheduler->backfill("often", kStart - 1h, kStart, OverlapPolicy::allow_all),
                 "schedule 'often' cannot be triggered");
  EXPECT_TRUE(world_.runs({.schedule = "often"}).empty());
}

TEST_F(Untriggerable, DoesNotHoldUpAnswersOfTheSameBatch) {
  put_two(world_, OverlapPolicy::buffer_one);
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  world_.scheduler = with_small_events();
  std::vector<events::EventPtr> batch;
  for (const auto& run : world_.open_runs()) batch.push_back(world_.completed(run));
  ASSERT_EQ(batch.size(), 2U);
  World::must(world_.deliver(batch));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 buffered overlap");
  EXPECT_EQ(world_.told("other"), "09:10 triggered due, 09:20 triggered released");
}

TEST_F(Untriggerable, EndOfARunIsToldInFewWordsIfAnEventMayHoldNoMore) {
  const JobRunId id = World::must(world_.scheduler->trigger({.job = "report"})).run;
  const std::string reason(1'000, 'x');
  World::must(with_small_events()->cancel(id, reason));
  EXPECT_THAT(world_.run(id).error, HasSubstr(reason));
  const auto ends = world_.log_of(events::kJobFailed);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_THAT(World::text(*ends[0], "error"), HasSubstr("longer than an event may be"));
}

}  // namespace
}  // namespace wfo::scheduler
