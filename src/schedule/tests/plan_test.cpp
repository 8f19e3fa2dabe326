#include "schedule/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace wfo::schedule {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const Timestamp kMidnight{std::chrono::sys_days{std::chrono::March / 1 / 2026}};

Schedule minutely(OverlapPolicy overlap) {
  Schedule schedule;
  schedule.name = "nightly";
  schedule.job = "outcome-sync";
  schedule.cron = {"* * * * *"};
  schedule.overlap = overlap;
  return schedule;
}

Timetable timetable(const Schedule& schedule) {
  auto made = Timetable::make(schedule);
  EXPECT_TRUE(made) << made.error().message;
  return *std::move(made);
}

Plan plan(const Schedule& schedule, const Situation& situation) {
  return plan_fires(schedule, timetable(schedule), situation);
}

/// `40 skipped outside_window, 1 triggered catch_up`: rows alike that follow each other are one term.
std::string told(const std::vector<PlannedFire>& fires) {
  std::string text;
  for (std::size_t i = 0; i < fires.size();) {
    const PlannedFire& first = fires[i];
    std::int64_t count = 0;
    for (; i < fires.size() && fires[i].outcome == first.outcome && fires[i].cause == first.cause; ++i) {
      count += fires[i].count;
    }
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", count, name(first.outcome), name(first.cause));
  }
  return text;
}

PlannedFire fire(Timestamp at, FireOutcome outcome, FireCause cause) {
  return {at, at, 1, outcome, cause, FireRule::regular};
}

// A process comes back 30 s after the last of `missed` expected fires, one a minute.
struct Outage {
  OverlapPolicy overlap;
  int missed;
  milliseconds window;
  std::size_t open_runs;
  std::string expected;
};

class AfterAnOutage : public ::testing::TestWithParam<Outage> {};

TEST_P(AfterAnOutage, EveryFireIsAccountedForAsThePolicySays) {
  const Outage& outage = GetParam();
  Schedule schedule = minutely(outage.overlap);
  schedule.catch_up_window = outage.window;
  const Timestamp back = kMidnight + outage.missed * 1min + 30s;
  const Plan planned = plan(schedule, {.now = back, .next_at = kMidnight + 1min, .open_runs = outage.open_runs});
  EXPECT_EQ(told(planned.fires), outage.expected);
  EXPECT_EQ(planned.next_at, kMidnight + (outage.missed + 1) * 1min);
  EXPECT_EQ(planned.wake_up_at, planned.next_at);
  EXPECT_EQ(planned.cancel_open,
            outage.overlap == OverlapPolicy::cancel_other && outage.open_runs > 0 && planned.fires.size() > 1U);
  EXPECT_FALSE(planned.release);
}

using enum OverlapPolicy;
INSTANTIATE_TEST_SUITE_P(
    Plans, AfterAnOutage,
    ::testing::Values(
        Outage{skip, 0, 24h, 0, ""}, Outage{buffer_one, 0, 24h, 0, ""}, Outage{buffer_all, 0, 24h, 0, ""},
        Outage{cancel_other, 0, 24h, 0, ""}, Outage{allow_all, 0, 24h, 0, ""},
        // One fire, half a minute late: due where the window allows it.
        Outage{skip, 1, 24h, 0, "1 triggered due"}, Outage{buffer_one, 1, 24h, 0, "1 triggered due"},
        Outage{buffer_all, 1, 24h, 0, "1 triggered due"}, Outage{cancel_other, 1, 24h, 0, "1 triggered due"},
        Outage{allow_all, 1, 24h, 0, "1 triggered due"}, Outage{skip, 1, 0h, 0, "1 skipped outside_window"},
        Outage{buffer_one, 1, 0h, 0, "1 skipped outside_window"},
        Outage{buffer_all, 1, 0h, 0, "1 skipped outside_window"},
        Outage{cancel_other, 1, 0h, 0, "1 skipped outside_window"},
        Outage{allow_all, 1, 0h, 0, "1 skipped outside_window"}, Outage{skip, 1, 24h, 1, "1 skipped overlap"},
        Outage{buffer_one, 1, 24h, 1, "1 buffered overlap"}, Outage{buffer_all, 1, 24h, 1, "1 buffered overlap"},
        Outage{allow_all, 1, 24h, 1, "1 triggered due"},
        // Fifty, the window longer than the outage.
        Outage{skip, 50, 24h, 0, "1 triggered catch_up, 49 skipped overlap"},
        Outage{buffer_one, 50, 24h, 0, "1 triggered catch_up, 1 buffered overlap, 48 skipped overlap"},
        Outage{buffer_all, 50, 24h, 0, "1 triggered catch_up, 49 buffered overlap"},
        Outage{cancel_other, 50, 24h, 0, "49 skipped superseded, 1 triggered due"},
        Outage{cancel_other, 50, 24h, 2, "49 skipped superseded, 1 triggered due"},
        Outage{allow_all, 50, 24h, 0, "49 triggered catch_up, 1 triggered due"},
        Outage{skip, 50, 24h, 1, "50 skipped overlap"},
        Outage{buffer_one, 50, 24h, 1, "1 buffered overlap, 49 skipped overlap"},
        Outage{buffer_all, 50, 24h, 1, "50 buffered overlap"},
        // Fifty, the window shorter.
        Outage{skip, 50, 10min, 0, "40 skipped outside_window, 1 triggered catch_up, 9 skipped overlap"},
        Outage{buffer_one, 50, 10min, 0,
               "40 skipped outside_window, 1 triggered catch_up, 1 buffered overlap, 8 skipped overlap"},
        Outage{buffer_all, 50, 10min, 0, "40 skipped outside_window, 1 triggered catch_up, 9 buffered overlap"},
        Outage{cancel_other, 50, 10min, 1, "40 skipped outside_window, 9 skipped superseded, 1 triggered due"},
        Outage{allow_all, 50, 10min, 0, "40 skipped outside_window, 9 triggered catch_up, 1 triggered due"}));

TEST(PlanFires, GoesOnFromTheFirstFireThatIsNotAccountedFor) {
  const Plan planned = plan(minutely(skip), {.now = kMidnight + 2min, .next_at = kMidnight + 2min});
  EXPECT_EQ(planned.fires, (std::vector{fire(kMidnight + 2min, FireOutcome::triggered, FireCause::due)}));
  EXPECT_EQ(planned.next_at, kMidnight + 3min);
  EXPECT_EQ(planned.wake_up_at, kMidnight + 3min);
}

TEST(PlanFires, DoesNothingAgainAfterTheClockWasSetBack) {
  const Plan planned = plan(minutely(skip), {.now = kMidnight - 1h, .next_at = kMidnight + 1min});
  EXPECT_EQ(planned, (Plan{.next_at = kMidnight + 1min, .wake_up_at = kMidnight + 1min}));
}

TEST(PlanFires, HasNothingToDoWithoutAnExpectedFire) { EXPECT_EQ(plan(minutely(skip), {.now = kMidnight}), Plan{}); }

TEST(PlanFires, GoesOnWithWhatTheTimetableSaysNowIfNextAtIsNoFireOfItAnyMore) {
  const Plan planned = plan(minutely(skip), {.now = kMidnight + 1min, .next_at = kMidnight + 30s});
  EXPECT_EQ(planned.fires, (std::vector{fire(kMidnight + 1min, FireOutcome::triggered, FireCause::due)}));
}

TEST(PlanFires, SkipsInOneRowWhatFallsIntoAPause) {
  const Plan planned =
      plan(minutely(skip), {.now = kMidnight + 5min + 1s, .next_at = kMidnight + 1min, .paused = true});
  EXPECT_EQ(planned.fires, (std::vector<PlannedFire>{{kMidnight + 1min, kMidnight + 5min, 5, FireOutcome::skipped,
                                                      FireCause::paused, FireRule::regular}}));
}

TEST(PlanFires, TriggersOnTimeEvenWithoutAWindow) {
  Schedule schedule = minutely(skip);
  schedule.catch_up_window = 0ms;
  EXPECT_EQ(told(plan(schedule, {.now = kMidnight + kPunctual, .next_at = kMidnight}).fires), "1 triggered due");
  EXPECT_EQ(told(plan(schedule, {.now = kMidnight + kPunctual + 1ms, .next_at = kMidnight}).fires),
            "1 skipped outside_window");
}

TEST(PlanFires, CountsTheWindowToTheMillisecond) {
  Schedule schedule = minutely(skip);
  schedule.cron = {"0 * * * *"};
  schedule.catch_up_window = 10min;
  EXPECT_EQ(told(plan(schedule, {.now = kMidnight + 10min, .next_at = kMidnight}).fires), "1 triggered catch_up");
  EXPECT_EQ(told(plan(schedule, {.now = kMidnight + 10min + 1ms, .next_at = kMidnight}).fires),
            "1 skipped outside_window");
}

TEST(PlanFires, CallsItCatchUpWhenNobodyLookedForAMinute) {
  EXPECT_EQ(told(plan(minutely(skip), {.now = kMidnight + kLate, .next_at = kMidnight}).fires),
            "1 triggered due, 1 skipped overlap");
  EXPECT_EQ(told(plan(minutely(skip), {.now = kMidnight + kLate + 1ms, .next_at = kMidnight}).fires),
            "1 triggered catch_up, 1 skipped overlap");
}

TEST(PlanFires, WaitsAsLongAsTheJitterSaysAndDoesNotCallThatLate) {
  Schedule schedule = minutely(skip);
  schedule.cron = {"0 * * * *"};
  schedule.jitter = 10min;
  schedule.catch_up_window = 10min;
  const Timetable times = timetable(schedule);
  const Timestamp due_at = times.due_at(kMidnight);
  ASSERT_GT(due_at, kMidnight + kLate) << "the name should give a fire of another moment";
  const Plan before = plan_fires(schedule, times, {.now = due_at - 1ms, .next_at = kMidnight});
  EXPECT_EQ(before, (Plan{.next_at = kMidnight, .wake_up_at = due_at}));
  const Plan then = plan_fires(schedule, times, {.now = due_at, .next_at = kMidnight});
  EXPECT_EQ(told(then.fires), "1 triggered due");
  EXPECT_EQ(then.wake_up_at, times.due_at(kMidnight + 1h));
}

TEST(PlanFires, ReleasesTheFireThatWaitsBeforeANewOneThatThenFindsARunOpen) {
  Situation situation{.now = kMidnight + 1min, .next_at = kMidnight + 1min, .buffered = 1};
  Plan planned = plan(minutely(buffer_one), situation);
  EXPECT_TRUE(planned.release);
  EXPECT_EQ(told(planned.fires), "1 buffered overlap") << "the place is free again";
  planned = plan(minutely(skip), situation);
  EXPECT_TRUE(planned.release);
  EXPECT_EQ(told(planned.fires), "1 skipped overlap");
}

TEST(PlanFires, ReleasesNothingWhileARunIsOpen) {
  EXPECT_FALSE(plan(minutely(buffer_all), {.now = kMidnight, .open_runs = 1, .buffered = 3}).release);
}

TEST(PlanFires, HoldsWhatWaitsWhilePausedUnlessItWasAskedFor) {
  Situation situation{.now = kMidnight, .paused = true, .buffered = 3};
  EXPECT_FALSE(plan(minutely(buffer_all), situation).release);
  situation.asked_for_waits = true;
  EXPECT_EQ(plan(minutely(buffer_all), situation).release, Waiting::oldest_asked_for) << "whatever waits before it";
  situation.open_runs = 1;
  EXPECT_FALSE(plan(minutely(buffer_all), situation).release);
  situation = {.now = kMidnight, .buffered = 3, .asked_for_waits = true};
  EXPECT_EQ(plan(minutely(buffer_all), situation).release, Waiting::oldest);
}

TEST(PlanFires, ReleasesOneAtATimeBesideTheRunsThatDisturbNobody) {
  Situation situation{.now = kMidnight, .open_runs = 3, .buffered = 2};
  EXPECT_EQ(plan(minutely(allow_all), situation).release, Waiting::oldest);
  situation.turn_taken = true;
  EXPECT_FALSE(plan(minutely(allow_all), situation).release);
  situation = {.now = kMidnight, .paused = true, .open_runs = 3, .buffered = 2, .asked_for_waits = true};
  EXPECT_EQ(plan(minutely(allow_all), situation).release, Waiting::oldest_asked_for);
}

TEST(PlanFires, DoesNotReleaseWhatItWouldHaveToCancelAtOnce) {
  const Situation situation{.now = kMidnight, .next_at = kMidnight, .buffered = 1};
  const Plan planned = plan(minutely(cancel_other), situation);
  EXPECT_FALSE(planned.release);
  EXPECT_FALSE(planned.cancel_open);
  EXPECT_EQ(told(planned.fires), "1 triggered due");
  EXPECT_TRUE(planned.give_up_waiting) << "the new one would cancel it at once whenever it is released";
  const Plan before = plan(minutely(cancel_other), {.now = kMidnight - 1s, .next_at = kMidnight, .buffered = 1});
  EXPECT_TRUE(before.release);
  EXPECT_FALSE(before.give_up_waiting);
}

TEST(PlanFires, LetsNoMoreWaitThanMay) {
  const Situation situation{
      .now = kMidnight + 2min, .next_at = kMidnight, .open_runs = 1, .buffered = kBufferedMax - 1};
  EXPECT_EQ(told(plan(minutely(buffer_all), situation).fires), "1 buffered overlap, 2 skipped buffer_full");
}

TEST(PlanFires, TriggersABoundedNumberAtOnceAndTheRestRightAfter) {
  const Schedule schedule = minutely(allow_all);
  const Timestamp now = kMidnight + 150min;
  const Plan first = plan(schedule, {.now = now, .next_at = kMidnight});
  EXPECT_EQ(told(first.fires), "100 triggered catch_up");
  EXPECT_EQ(first.next_at, kMidnight + 100min);
  EXPECT_EQ(first.wake_up_at, kMidnight + 100min) << "and not what a clock says that may be wrong";
  const Plan second = plan(schedule, {.now = now, .next_at = first.next_at});
  EXPECT_EQ(told(second.fires), "49 triggered catch_up, 2 triggered due");
  EXPECT_EQ(second.wake_up_at, kMidnight + 151min);
}

TEST(PlanFires, PlansABoundedNumberAtOnceAndTheLastOfAllCounts) {
  Schedule schedule = minutely(cancel_other);
  schedule.cron = {"* * * * * *"};
  const Timestamp now = kMidnight + 3h;  // 10,801 fires
  const Plan first = plan(schedule, {.now = now, .next_at = kMidnight, .open_runs = 1});
  EXPECT_EQ(told(first.fires), "10000 skipped superseded");
  EXPECT_FALSE(first.cancel_open);
  EXPECT_EQ(first.next_at, kMidnight + 10'000s);
  EXPECT_EQ(first.wake_up_at, first.next_at);
  const Plan second = plan(schedule, {.now = now, .next_at = first.next_at, .open_runs = 1});
  EXPECT_EQ(told(second.fires), "800 skipped superseded, 1 triggered due");
  EXPECT_TRUE(second.cancel_open);
}

TEST(PlanFires, KeepsARowForEachRule) {
  Schedule schedule = minutely(skip);
  schedule.cron = {"30 2 * * *"};  // does not exist on 29 March in Berlin
  schedule.time_zone = "Europe/Berlin";
  const Timestamp start{std::chrono::sys_days{std::chrono::March / 28 / 2026}};
  const Plan planned = plan(schedule, {.now = start + 72h, .next_at = start, .paused = true});
  ASSERT_EQ(planned.fires.size(), 3U);
  EXPECT_EQ(planned.fires[0].rule, FireRule::regular);
  EXPECT_EQ(planned.fires[1].rule, FireRule::after_gap);
  EXPECT_EQ(planned.fires[1].first, Timestamp{std::chrono::sys_days{std::chrono::March / 29 / 2026}} + 1h);
  EXPECT_EQ(planned.fires[2].rule, FireRule::regular);
}

std::string backfilled(OverlapPolicy policy, const Situation& situation, milliseconds length = 5min,
                       OverlapPolicy own = skip) {
  const Schedule schedule = minutely(own);
  const auto fires = plan_backfill(schedule, timetable(schedule), kMidnight, kMidnight + length, policy, situation);
  return fires ? told(*fires) : fires.error().message;
}

TEST(PlanBackfill, TriggersWhatWasAskedForAsThePolicySays) {
  const Situation idle{.now = kMidnight + 24h, .paused = true};
  EXPECT_EQ(backfilled(skip, idle), "1 triggered backfill, 4 skipped backfill");
  EXPECT_EQ(backfilled(buffer_one, idle), "1 triggered backfill, 1 buffered backfill, 3 skipped backfill");
  EXPECT_EQ(backfilled(buffer_all, idle), "1 triggered backfill, 4 buffered backfill");
  EXPECT_EQ(backfilled(cancel_other, idle), "4 skipped backfill, 1 triggered backfill");
  EXPECT_EQ(backfilled(allow_all, idle), "5 triggered backfill");
  const Situation busy{.now = kMidnight + 24h, .open_runs = 1, .buffered = kBufferedMax - 2};
  EXPECT_EQ(backfilled(skip, busy), "5 skipped backfill");
  EXPECT_EQ(backfilled(buffer_all, busy), "2 buffered backfill, 3 skipped backfill");
}

TEST(PlanBackfill, GoesBehindWhatWaitsButForWhatThePauseHolds) {
  Situation situation{.now = kMidnight + 24h, .buffered = 1};
  EXPECT_EQ(backfilled(buffer_all, situation), "5 buffered backfill");
  EXPECT_EQ(backfilled(buffer_one, situation), "5 skipped backfill") << "one waits already";
  EXPECT_EQ(backfilled(skip, situation), "1 triggered backfill, 4 skipped backfill") << "none of them would wait";
  situation.paused = true;
  EXPECT_EQ(backfilled(buffer_all, situation), "1 triggered backfill, 4 buffered backfill");
  situation.asked_for_waits = true;
  EXPECT_EQ(backfilled(buffer_all, situation), "5 buffered backfill");
}

TEST(PlanBackfill, DoesNotWaitForRunsThatDisturbNobody) {
  Situation situation{.now = kMidnight + 24h, .open_runs = 7};
  EXPECT_EQ(backfilled(buffer_all, situation, 5min, allow_all), "1 triggered backfill, 4 buffered backfill");
  situation.turn_taken = true;
  EXPECT_EQ(backfilled(buffer_all, situation, 5min, allow_all), "5 buffered backfill");
  EXPECT_EQ(backfilled(allow_all, situation, 5min, allow_all), "5 triggered backfill");
  EXPECT_EQ(backfilled(skip, situation, 5min, allow_all), "5 skipped backfill");
}

TEST(PlanBackfill, LetsNothingWaitForAScheduleThatWouldCancelIt) {
  const Situation situation{.now = kMidnight + 24h};
  EXPECT_THAT(backfilled(buffer_all, situation, 5min, cancel_other),
              HasSubstr("overlap is buffer_all; allowed: skip, cancel_other, allow_all, since"));
  EXPECT_THAT(backfilled(buffer_one, situation, 5min, cancel_other), HasSubstr("schedule 'nightly'"));
  EXPECT_EQ(backfilled(cancel_other, situation, 5min, cancel_other), "4 skipped backfill, 1 triggered backfill");
}

TEST(PlanBackfill, TakesTheFirstMomentAndLeavesTheLast) {
  const auto fires = plan_backfill(minutely(skip), timetable(minutely(skip)), kMidnight, kMidnight + 2min, allow_all,
                                   {.now = kMidnight + 2min});
  ASSERT_TRUE(fires);
  EXPECT_EQ(*fires, (std::vector{fire(kMidnight, FireOutcome::triggered, FireCause::backfill),
                                 fire(kMidnight + 1min, FireOutcome::triggered, FireCause::backfill)}));
}

TEST(PlanBackfill, RefusesWhatItCannotDo) {
  const Situation situation{.now = kMidnight + 24h};
  EXPECT_THAT(backfilled(skip, situation, 0ms), HasSubstr("from must be before to"));
  EXPECT_THAT(backfilled(skip, situation, 24h + 1ms), HasSubstr("up to now, which is 2026-03-02T00:00:00.000Z"));
  EXPECT_THAT(backfilled(skip, situation, 1000min), HasSubstr("1 triggered"));
  EXPECT_THAT(backfilled(skip, situation, 1001min), HasSubstr("more than 1000 fires"));
  EXPECT_THAT(backfilled(skip, situation, 1ms), HasSubstr("1 triggered"));
  const auto none =
      plan_backfill(minutely(skip), timetable(minutely(skip)), kMidnight + 1ms, kMidnight + 1min, skip, situation);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(none.error().message, HasSubstr("no fire between"));
}

TEST(FireNames, ReadBackAsTheyAreWritten) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(parse_fire_outcome(name(FireOutcome(i))), FireOutcome(i));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(parse_fire_cause(name(FireCause(i))), FireCause(i));
  EXPECT_EQ(parse_fire_cause("buffered"), std::nullopt);
  EXPECT_EQ(name(FireCause::superseded), "superseded");
}

}  // namespace
}  // namespace wfo::schedule
