#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "schedule/schedule.h"

namespace wfo::schedule {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

Timestamp at(std::string_view text) {
  const auto time = parse_timestamp(text);
  INVARIANT(time.has_value());
  return *time;
}

Timetable timetable(std::vector<std::string> cron, std::string zone = "UTC", milliseconds jitter = milliseconds(0),
                    std::string name = "nightly") {
  Schedule schedule;
  schedule.name = std::move(name);
  schedule.job = "outcome-sync";
  schedule.cron = std::move(cron);
  schedule.time_zone = std::move(zone);
  schedule.jitter = jitter;
  auto made = Timetable::make(schedule);
  INVARIANT(made.has_value());
  return *std::move(made);
}

std::vector<Fire> fires(const Timetable& timetable, Timestamp after, std::size_t count) {
  std::vector<Fire> out;
  for (auto fire = timetable.next(after); fire && out.size() < count; fire = timetable.next(fire->at)) {
    out.push_back(*fire);
  }
  return out;
}

TEST(Timetable, FiresWhenAnyOfItsExpressionsDoes) {
  EXPECT_THAT(fires(timetable({"0 6 * * *", "30 */8 * * *"}), at("2026-03-01T05:00:00Z"), 5),
              testing::ElementsAre(Fire{at("2026-03-01T06:00:00Z"), FireRule::regular},
                                   Fire{at("2026-03-01T08:30:00Z"), FireRule::regular},
                                   Fire{at("2026-03-01T16:30:00Z"), FireRule::regular},
                                   Fire{at("2026-03-02T00:30:00Z"), FireRule::regular},
                                   Fire{at("2026-03-02T06:00:00Z"), FireRule::regular}));
}

TEST(Timetable, FiresOnceWhereSeveralExpressionsMeet) {
  EXPECT_THAT(fires(timetable({"0 * * * *", "*/30 12 * * *", "0 0 12 * * *"}), at("2026-03-01T11:00:00Z"), 3),
              testing::ElementsAre(Fire{at("2026-03-01T12:00:00Z"), FireRule::regular},
                                   Fire{at("2026-03-01T12:30:00Z"), FireRule::regular},
                                   Fire{at("2026-03-01T13:00:00Z"), FireRule::regular}));
}

TEST(Timetable, LetsARegularFireWinOverOneThatWasMovedToItsInstant) {
  const Timestamp gap_end = at("2026-03-29T01:00:00Z");  // 02:00 becomes 03:00
  const Timestamp before = at("2026-03-29T00:00:00Z");
  EXPECT_EQ(timetable({"30 2 * * *"}, "Europe/Berlin").next(before), (Fire{gap_end, FireRule::after_gap}));
  EXPECT_EQ(timetable({"30 2 * * *", "0 3 * * *"}, "Europe/Berlin").next(before), (Fire{gap_end, FireRule::regular}));
  EXPECT_EQ(timetable({"0 3 * * *", "30 2 * * *"}, "Europe/Berlin").next(before), (Fire{gap_end, FireRule::regular}));
}

TEST(Timetable, FiresOnBothPassesIfOneOfItsExpressionsDoes) {
  EXPECT_THAT(fires(timetable({"30 2 * * *", "30 * * * *"}, "Europe/Berlin"), at("2026-10-25T00:00:00Z"), 3),
              testing::ElementsAre(Fire{at("2026-10-25T00:30:00Z"), FireRule::every_pass},
                                   Fire{at("2026-10-25T01:30:00Z"), FireRule::every_pass},
                                   Fire{at("2026-10-25T02:30:00Z"), FireRule::regular}));
}

TEST(Timetable, TellsAllThatIsWrongWithExpressionsAndZone) {
  Schedule schedule;
  schedule.name = "nightly";
  schedule.cron = {"0 1 * * *", "0 25 * * *", "x", "0 1 * * *"};
  schedule.time_zone = "Europe/Berln";
  const auto made = Timetable::make(schedule);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(made.error().message, "cron[1]: " + CronExpression::parse("0 25 * * *").error().message +
                                      "\ncron[2]: " + CronExpression::parse("x").error().message +
                                      "\ncron[3]: '0 1 * * *' stands there twice; allowed: each expression once" +
                                      "\ntimeZone: " + Zone::find("Europe/Berln").error().message);
}

TEST(Timetable, NeedsAnExpression) {
  const auto made = Timetable::make(Schedule{});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().message, "cron: 0 expressions; allowed: 1 to 20");
}

TEST(Timetable, IsDueAtTheFireItselfWithoutJitter) {
  const Timestamp fire = at("2026-03-01T01:00:00Z");
  EXPECT_EQ(timetable({"0 1 * * *"}).due_at(fire), fire);
}

// Replicas of different versions must agree while one is replaced by the other.
TEST(Timetable, IsDueAtTheSameTimeInEveryVersionOfThisProgram) {
  const Timestamp fire = at("2026-03-01T01:00:00Z");
  EXPECT_EQ(format_timestamp(timetable({"0 1 * * *"}, "UTC", minutes(5)).due_at(fire)), "2026-03-01T01:02:21.718Z");
}

TEST(Timetable, SpreadsSchedulesOverTheJitter) {
  const Timestamp fire = at("2026-03-01T01:00:00Z");
  std::vector<int> per_second(10);
  for (int i = 0; i < 1000; ++i) {
    const auto one = timetable({"0 1 * * *"}, "UTC", seconds(10), "schedule-" + std::to_string(i));
    ++per_second.at(static_cast<std::size_t>((one.due_at(fire) - fire) / seconds(1)));
  }
  EXPECT_GT(*std::ranges::min_element(per_second), 60);  // of 100 on average
  EXPECT_LT(*std::ranges::max_element(per_second), 140);
}

TEST(Timetable, SpreadsTheFiresOfOneSchedule) {
  const auto one = timetable({"* * * * *"}, "UTC", minutes(1));
  std::set<milliseconds> delays;
  for (const Fire& fire : fires(one, at("2026-03-01T00:00:00Z"), 100)) delays.insert(one.due_at(fire.at) - fire.at);
  EXPECT_GT(delays.size(), 90u);
}

RC_GTEST_PROP(TimetableProperty, IsDueWithinTheJitterAndAlwaysAtTheSameTime, ()) {
  const milliseconds jitter{*rc::gen::inRange<std::int64_t>(0, kJitterMax.count() + 1)};
  const Timestamp fire{seconds(*rc::gen::inRange<std::int64_t>(0, 4'000'000'000))};
  const Timestamp due = timetable({"0 1 * * *"}, "UTC", jitter).due_at(fire);
  RC_ASSERT(due >= fire);
  RC_ASSERT(due < fire + std::max(jitter, milliseconds(1)));
  // Neither expressions nor zone matter: a schedule that is changed meanwhile is due when it was.
  RC_ASSERT(timetable({"* * * * *"}, "Asia/Kathmandu", jitter).due_at(fire) == due);
}

RC_GTEST_PROP(TimetableProperty, FiresExactlyWhenOneOfItsExpressionsDoes, ()) {
  const auto chosen = *rc::gen::nonEmpty(rc::gen::unique<std::vector<std::string>>(rc::gen::element<std::string>(
      "0 2 * * *", "30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 3 * * 0", "@hourly", "10,50 0,1,2,3 * * *")));
  const auto zone = *rc::gen::element<std::string>("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC");
  const auto around =
      *rc::gen::element<std::string>("2026-03-28T00:00:00Z", "2026-03-07T12:00:00Z", "2026-10-24T12:00:00Z",
                                     "2026-10-31T12:00:00Z", "2026-04-04T00:00:00Z", "2026-10-03T00:00:00Z");
  const Timestamp begin = at(around);
  const Timestamp end = begin + std::chrono::days(2);

  std::set<Timestamp> expected;
  std::set<Timestamp> regular;
  for (const std::string& expression : chosen) {
    for (const Fire& fire : fires(timetable({expression}, zone), begin, 1000)) {
      if (fire.at > end) break;
      expected.insert(fire.at);
      if (fire.rule == FireRule::regular) regular.insert(fire.at);
    }
  }
  std::set<Timestamp> got;
  Timestamp last = begin;
  const Timetable all = timetable(chosen, zone);
  for (auto fire = all.next(begin); fire && fire->at <= end; fire = all.next(fire->at)) {
    RC_ASSERT(fire->at > last);
    last = fire->at;
    got.insert(last);
    RC_ASSERT((fire->rule == FireRule::regular) == regular.contains(last));
  }
  RC_ASSERT(got == expected);
}

}  // namespace
}  // namespace wfo::schedule
