#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "schedule/plan.h"

namespace wfo::schedule {
namespace {

using namespace std::chrono_literals;

// Two days before daylight saving begins in New York and Berlin, roughly; a case may run into it.
const Timestamp kStart{std::chrono::sys_days{std::chrono::March / 7 / 2026} + 9h};

Schedule any_schedule() {
  Schedule schedule;
  schedule.name = *rc::gen::element<std::string>("a", "b", "c", "d");
  schedule.cron = {*rc::gen::element<std::string>("* * * * *", "*/7 * * * *", "*/20 * * * * *", "30 1,2 * * *",
                                                  "15 */3 * * *", "5 4 * * 0")};
  if (*rc::gen::arbitrary<bool>()) schedule.cron.push_back("0 2 * * *");
  schedule.time_zone = *rc::gen::element<std::string>("UTC", "America/New_York", "Australia/Lord_Howe");
  schedule.overlap = static_cast<OverlapPolicy>(*rc::gen::inRange(0, 5));
  schedule.catch_up_window = *rc::gen::element<milliseconds>(0ms, 30s, 10min, 2h, 24h, 24h * 365);
  if (schedule.catch_up_window >= 10min) schedule.jitter = *rc::gen::element<milliseconds>(0ms, 90s, 10min);
  return schedule;
}

/// What stands in the fire ledger, against what the timetable says without any plan.
class Account {
 public:
  Account(const Timetable& timetable, Timestamp after) : timetable_(timetable), expected_(timetable.next(after)) {}

  void take(const PlannedFire& row) {
    RC_ASSERT(row.count >= 1);
    RC_ASSERT((row.count == 1) == (row.first == row.last));
    RC_ASSERT(row.count == 1 || row.outcome == FireOutcome::skipped);
    for (std::int64_t i = 0; i < row.count; ++i) {
      RC_ASSERT(expected_.has_value());
      if (i == 0) RC_ASSERT(expected_->at == row.first);
      if (i + 1 == row.count) RC_ASSERT(expected_->at == row.last);
      RC_ASSERT(expected_->rule == row.rule);
      expected_ = timetable_.next(expected_->at);
    }
  }
  [[nodiscard]] const std::optional<Fire>& expected() const { return expected_; }

 private:
  const Timetable& timetable_;
  std::optional<Fire> expected_;  // the first that is not accounted for
};

RC_GTEST_PROP(AnySequenceOfPlans, AccountsForEveryExpectedFireOnceAndInOrder, ()) {
  const Schedule schedule = any_schedule();
  const auto timetable = Timetable::make(schedule);
  RC_ASSERT(timetable.has_value());
  Account account(*timetable, kStart);
  Situation situation{.now = kStart, .next_at = timetable->next(kStart)->at};
  const bool alone = schedule.overlap != OverlapPolicy::allow_all;

  const int rounds = *rc::gen::inRange(1, 25);
  for (int round = 0; round < rounds; ++round) {
    situation.now += *rc::gen::weightedOneOf<milliseconds>(
        {{8, rc::gen::map(rc::gen::inRange<std::int64_t>(0, 4'000'000), [](auto ms) { return milliseconds(ms); })},
         {2, rc::gen::just<milliseconds>(-1h)},
         {1, rc::gen::just<milliseconds>(24h)}});
    situation.paused = *rc::gen::weightedElement<bool>({{4, false}, {1, true}});
    if (*rc::gen::arbitrary<bool>()) situation.open_runs = 0;  // they have ended

    for (int steps = 0;; ++steps) {
      RC_ASSERT(steps < 1'000);  // each of them gets further
      const Plan planned = plan_fires(schedule, *timetable, situation);
      if (planned.release) {
        RC_ASSERT(!alone || situation.open_runs == 0U);
        RC_ASSERT(situation.buffered > 0U);
        RC_ASSERT(!situation.paused);
        --situation.buffered;
        ++situation.open_runs;
      }
      if (planned.cancel_open) {
        RC_ASSERT(schedule.overlap == OverlapPolicy::cancel_other);
        RC_ASSERT(situation.open_runs > 0U);
        situation.open_runs = 0;
      }
      std::size_t triggers = 0;
      for (const PlannedFire& row : planned.fires) {
        account.take(row);
        RC_ASSERT(timetable->due_at(row.last) <= situation.now);
        if (row.outcome == FireOutcome::buffered) ++situation.buffered;
        if (row.outcome != FireOutcome::triggered) continue;
        ++triggers;
        RC_ASSERT(!situation.paused);
        RC_ASSERT(row.cause == FireCause::due || row.cause == FireCause::catch_up);
        RC_ASSERT(situation.now - row.first <= std::max(schedule.catch_up_window, kPunctual) + schedule.jitter);
        ++situation.open_runs;
        if (alone) RC_ASSERT(situation.open_runs == 1U);
      }
      RC_ASSERT(triggers <= kTriggersMax);
      RC_ASSERT(situation.buffered <= kBufferedMax);
      if (schedule.overlap == OverlapPolicy::buffer_one) RC_ASSERT(situation.buffered <= 1U);

      RC_ASSERT(planned.next_at == account.expected().transform([](const Fire& fire) { return fire.at; }));
      situation.next_at = planned.next_at;
      if (!planned.wake_up_at || *planned.wake_up_at > situation.now) {
        RC_ASSERT(!planned.next_at || timetable->due_at(*planned.next_at) == *planned.wake_up_at);
        break;
      }
      RC_ASSERT(!planned.fires.empty());
      RC_ASSERT(timetable->due_at(*planned.next_at) == *planned.wake_up_at);
    }
  }
}

RC_GTEST_PROP(AnyBackfill, AccountsForEveryFireThatWasAskedForOnce, ()) {
  const Schedule schedule = any_schedule();
  const auto timetable = Timetable::make(schedule);
  RC_ASSERT(timetable.has_value());
  const Timestamp from = kStart + milliseconds(*rc::gen::inRange(0, 100'000'000));
  const Timestamp to = from + milliseconds(*rc::gen::inRange(1, 10'000'000));
  Situation situation{.now = to};
  situation.open_runs = *rc::gen::inRange<std::size_t>(0, 2);
  situation.buffered = *rc::gen::inRange<std::size_t>(0, 3);
  const auto policy = static_cast<OverlapPolicy>(*rc::gen::inRange(0, 5));
  const auto fires = plan_backfill(schedule, *timetable, from, to, policy, situation);

  Account account(*timetable, from - 1ms);
  if (!fires) {
    RC_ASSERT(fires.error().code == ErrorCode::invalid_argument);
    const bool may_wait = policy == OverlapPolicy::buffer_one || policy == OverlapPolicy::buffer_all;
    const bool would_be_cancelled = may_wait && schedule.overlap == OverlapPolicy::cancel_other;
    RC_ASSERT(would_be_cancelled || account.expected()->at >= to);
    return;
  }
  std::size_t triggered = 0;
  for (const PlannedFire& row : *fires) {
    account.take(row);
    RC_ASSERT(row.cause == FireCause::backfill);
    if (row.outcome == FireOutcome::triggered) ++triggered;
  }
  RC_ASSERT(account.expected()->at >= to);
  if (policy != OverlapPolicy::allow_all) RC_ASSERT(triggered <= 1U);
}

}  // namespace
}  // namespace wfo::schedule
