#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::OverlapPolicy;

/// Two processes with clocks that are two seconds apart.
class Replicas : public ::testing::Test {
 protected:
  Replicas() : ahead_(kStart + 2s), ahead_ids_(ahead_), other_(world_.another(ahead_, ahead_ids_, {.batch_max = 7})) {
    world_.use({.batch_max = 7});
  }
  void set(Timestamp now) {
    world_.clock.set(now);
    ahead_.set(now + 2s);
  }
  [[nodiscard]] bool is_due() {
    std::optional<Timestamp> next;
    World::must(world_.store.read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(next, transaction.schedules().next_wake_up());
      return {};
    }));
    return next && *next <= world_.clock.now();
  }
  /// That each expected fire up to `end` has one row, one run and one trigger.
  void expect_one_trigger_a_fire(const std::string& name, Timestamp end) {
    const auto fires = world_.fires(name);
    std::set<Timestamp> expected;
    for (Timestamp at = kStart + 10min; at <= end; at += 10min) expected.insert(at);
    std::multiset<Timestamp> recorded;
    std::set<JobRunId> runs;
    for (const auto& record : fires) {
      EXPECT_EQ(record.fire.count, 1);
      recorded.insert(record.fire.first);
      ASSERT_TRUE(record.run);
      runs.insert(*record.run);
    }
    EXPECT_EQ(recorded, std::multiset<Timestamp>(expected.begin(), expected.end())) << name;
    EXPECT_EQ(runs.size(), expected.size());
    EXPECT_EQ(world_.runs({.schedule = name}).size(), expected.size());
  }

  World world_;
  ManualClock ahead_;
  SystemIdSource ahead_ids_;
  std::unique_ptr<Scheduler> other_;
};

TEST_F(Replicas, ThatAttendInTurnTriggerEachFireOnce) {
  world_.put(World::ten_minutely());
  for (int i = 1; i <= 20; ++i) {
    for (const milliseconds off : {-2000ms, -1000ms, 0ms, 1000ms}) {
      set(kStart + i * 10min + off);
      Scheduler& first = i % 2 == 0 ? *world_.scheduler : *other_;
      Scheduler& second = i % 2 == 0 ? *other_ : *world_.scheduler;
      World::must(first.run_once());
      World::must(second.run_once());
    }
  }
  expect_one_trigger_a_fire("often", kStart + 200min);
}

TEST_F(Replicas, ThatAttendAtTheSameTimeTriggerEachFireOnce) {
  constexpr int kSchedules = 30;
  for (int i = 0; i < kSchedules; ++i) world_.put(World::ten_minutely(OverlapPolicy::allow_all, fmt::format("s{}", i)));
  std::jthread ours([&](std::stop_token stop) {
    while (!stop.stop_requested()) World::must(world_.scheduler->run_once());
  });
  std::jthread theirs([&](std::stop_token stop) {
    while (!stop.stop_requested()) World::must(other_->run_once());
  });
  for (int i = 0; i <= 100; ++i) {
    set(kStart + i * 1min);
    while (is_due()) std::this_thread::yield();
  }
  ours.request_stop();
  theirs.request_stop();
  ours.join();
  theirs.join();
  while (World::must(world_.scheduler->run_once()).more) {
  }
  for (int i = 0; i < kSchedules; ++i) expect_one_trigger_a_fire(fmt::format("s{}", i), kStart + 100min);
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 10U * kSchedules);
}

TEST_F(Replicas, ThatConfigureAtTheSameTimeMakeEachScheduleOnce) {
  std::vector<schedule::Schedule> schedules;
  for (int i = 0; i < 20; ++i) schedules.push_back(World::ten_minutely(OverlapPolicy::skip, fmt::format("s{}", i)));
  std::jthread theirs([&] { World::must(other_->configure(schedules)); });
  World::must(world_.scheduler->configure(schedules));
  theirs.join();
  for (const auto& one : schedules) EXPECT_EQ(world_.find(one.name)->version, 1);
}

TEST_F(Replicas, DoNotFireAgainWhatOneWithAClockAheadHasTriggeredWhenTheTimesChange) {
  world_.put(World::ten_minutely());
  set(kStart + 10min - 1s);
  World::must(other_->run_once());
  ASSERT_EQ(world_.told(), "09:10 triggered due");
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"*/5 * * * *"};
  EXPECT_EQ(world_.put(schedule).next_at, kStart + 15min);
}

/// Writes a schedule's or a run's row just before somebody else does, as another replica would.
class Meddling final : public store::Store {
 public:
  explicit Meddling(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    if (before_transaction) std::exchange(before_transaction, nullptr)();
    return store_.transact(body);
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override { return store_.read(body); }
  Result<void> admission() override { return {}; }

  std::function<void()> before_transaction;

 private:
  store::Store& store_;
};

TEST_F(Replicas, ThatComeLateFindNothingToDo) {
  world_.put(World::ten_minutely());
  Meddling store(world_.store);
  Scheduler late(store, bus::samples::contracts(), World::catalog(), World::check_metadata, world_.ids, world_.clock,
                 world_.waiter, Logger::silent(), world_.metrics);
  set(kStart + 10min);
  store.before_transaction = [&] { World::must(other_->run_once()); };
  EXPECT_EQ(World::must(late.run_once()), Scheduler::Round{});
  EXPECT_EQ(world_.told(), "09:10 triggered due");

  world_.clock.advance(1h + kStartGrace);
  ahead_.advance(1h + kStartGrace);
  store.before_transaction = [&] { World::must(other_->run_once()); };
  EXPECT_EQ(World::must(late.run_once()).closed, 0U);
  EXPECT_EQ(world_.log_of(events::kJobFailed).size(), 1U);

  store.before_transaction = [&] { World::must(other_->remove("often")); };
  const auto resumed = late.pause("often", "");
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().code, ErrorCode::not_found);
}

// Whatever dies when, and whoever looks next: every fire leads to one trigger.
RC_GTEST_PROP(AnyReplicas, TriggerEachFireOnceThoughTheyDie, ()) {
  World world;
  ManualClock ahead(kStart + 2s);
  SystemIdSource ahead_ids(ahead);
  auto other = world.another(ahead, ahead_ids);
  world.put(World::ten_minutely());
  const int steps = *rc::gen::inRange(1, 12);
  for (int i = 0; i < steps; ++i) {
    world.clock.advance(milliseconds(*rc::gen::inRange(0, 900'000)));
    ahead.set(world.clock.now() + 2s);
    world.store.deaths = *rc::gen::weightedElement<int>({{2, 0}, {1, 1}});
    const bool ours = *rc::gen::arbitrary<bool>();
    (void)(ours ? *world.scheduler : *other).run_once();
    world.store.deaths = 0;
    if (*rc::gen::arbitrary<bool>()) (void)(ours ? *other : *world.scheduler).run_once();
  }
  world.attend();
  const std::string wrong = world.audit(World::ten_minutely());
  if (!wrong.empty()) RC_FAIL(wrong);
  RC_ASSERT(world.log_of(events::kJobTrigger).size() == world.runs().size());
}

TEST(ManySchedules, ThatFireInOneSecondAreTriggeredInBatches) {
  World world;
  constexpr std::size_t kSchedules = 10'000;
  std::vector<schedule::Schedule> schedules;
  for (std::size_t i = 0; i < kSchedules; ++i) {
    schedules.push_back(World::ten_minutely(OverlapPolicy::skip, fmt::format("schedule-{:05}", i)));
  }
  World::must(world.scheduler->configure(schedules));
  world.clock.set(kStart + 10min);
  std::size_t triggered = 0;
  int rounds = 0;
  for (bool more = true; more; ++rounds) {
    const auto round = World::must(world.scheduler->run_once());
    EXPECT_LE(round.schedules, 500U);
    triggered += round.triggered;
    more = round.more;
  }
  EXPECT_EQ(triggered, kSchedules);
  EXPECT_LE(rounds, 21);
  EXPECT_EQ(world.open_runs().size(), kSchedules);
}

}  // namespace
}  // namespace wfo::scheduler
