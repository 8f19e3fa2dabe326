#include <gtest/gtest.h>

#include <chrono>

#include "schedule/cron.h"

namespace wfo::schedule {
namespace {

using namespace std::chrono;

Timestamp at(std::string_view text) { return parse_timestamp(text).value(); }

CronExpression cron(std::string_view text) {
  auto parsed = CronExpression::parse(text);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed.value_or(CronExpression::parse("@daily").value());
}

/// The fires after a time on the wall (`2026-03-08 00:00 -05:00` as RFC 3339), as the wall clock shows them.
struct Case {
  std::string_view name;
  std::string_view expression;
  std::string_view zone;
  std::string_view after;
  std::vector<std::string> fires;  // `2026-03-08 03:00:00 -04:00 EDT`, and the rule if it is not `regular`
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class CronNext : public testing::TestWithParam<Case> {};

TEST_P(CronNext, IsThis) {
  const Case& c = GetParam();
  const auto zone = Zone::find(c.zone);
  ASSERT_TRUE(zone) << zone.error().message;
  Timestamp after = at(c.after);
  const CronExpression expression = cron(c.expression);
  std::vector<std::string> fires;
  while (fires.size() < c.fires.size()) {
    const auto fire = next_fire(expression, *zone, after);
    ASSERT_TRUE(fire) << "none after " << format_timestamp(after);
    fires.push_back(zone->format(fire->at) +
                    (fire->rule == FireRule::regular ? "" : " " + std::string(name(fire->rule))));
    after = fire->at;
  }
  EXPECT_EQ(fires, c.fires);
}

std::string name_of(const testing::TestParamInfo<Case>& info) { return std::string(info.param.name); }

/// Days in UTC at midnight, so that the tables are about days alone.
Case days(std::string_view name, std::string_view expression, std::string_view after, std::vector<std::string> dates) {
  for (std::string& date : dates) date += " 00:00:00 +00:00 UTC";
  return {name, expression, "UTC", after, std::move(dates)};
}

INSTANTIATE_TEST_SUITE_P(
    Times, CronNext,
    testing::Values(
        Case{"EveryMinute",
             "* * * * *",
             "UTC",
             "2026-01-31T23:58:00Z",
             {"2026-01-31 23:59:00 +00:00 UTC", "2026-02-01 00:00:00 +00:00 UTC"}},
        Case{"EverySecond",
             "* * * * * *",
             "UTC",
             "2026-12-31T23:59:58Z",
             {"2026-12-31 23:59:59 +00:00 UTC", "2027-01-01 00:00:00 +00:00 UTC"}},
        Case{"Seconds",
             "10,50 */30 7 * * *",
             "UTC",
             "2026-01-01T07:00:10Z",
             {"2026-01-01 07:00:50 +00:00 UTC", "2026-01-01 07:30:10 +00:00 UTC", "2026-01-01 07:30:50 +00:00 UTC",
              "2026-01-02 07:00:10 +00:00 UTC"}},
        Case{"RangeWithStep",
             "10-50/20 9 * * *",
             "UTC",
             "2026-01-01T00:00:00Z",
             {"2026-01-01 09:10:00 +00:00 UTC", "2026-01-01 09:30:00 +00:00 UTC", "2026-01-01 09:50:00 +00:00 UTC",
              "2026-01-02 09:10:00 +00:00 UTC"}},
        Case{"OpenStep",
             "5/25 9 * * *",
             "UTC",
             "2026-01-01T00:00:00Z",
             {"2026-01-01 09:05:00 +00:00 UTC", "2026-01-01 09:30:00 +00:00 UTC", "2026-01-01 09:55:00 +00:00 UTC",
              "2026-01-02 09:05:00 +00:00 UTC"}},
        Case{"ListOfEverything",
             "7,0-4/2,50/9 9 * * *",
             "UTC",
             "2026-01-01T00:00:00Z",
             {"2026-01-01 09:00:00 +00:00 UTC", "2026-01-01 09:02:00 +00:00 UTC", "2026-01-01 09:04:00 +00:00 UTC",
              "2026-01-01 09:07:00 +00:00 UTC", "2026-01-01 09:50:00 +00:00 UTC", "2026-01-01 09:59:00 +00:00 UTC"}},
        Case{"BetweenSeconds", "0 0 * * *", "UTC", "2025-12-31T23:59:59.999Z", {"2026-01-01 00:00:00 +00:00 UTC"}},
        Case{"NotTheSameAgain", "0 0 * * *", "UTC", "2026-01-01T00:00:00.000Z", {"2026-01-02 00:00:00 +00:00 UTC"}},
        Case{"NotTheSameAgainABitLater",
             "0 0 * * *",
             "UTC",
             "2026-01-01T00:00:00.001Z",
             {"2026-01-02 00:00:00 +00:00 UTC"}},
        Case{"Hourly", "@hourly", "UTC", "2026-01-01T00:00:00Z", {"2026-01-01 01:00:00 +00:00 UTC"}},
        Case{"HourlyInAnyCase", " @Hourly ", "UTC", "2026-01-01T00:00:00Z", {"2026-01-01 01:00:00 +00:00 UTC"}},
        Case{"InAZone",
             "30 9 * * *",
             "Asia/Kathmandu",
             "2026-01-01T00:00:00Z",
             {"2026-01-01 09:30:00 +05:45", "2026-01-02 09:30:00 +05:45"}},
        Case{"Before1970", "0 12 * * *", "UTC", "1901-02-28T12:00:00.500Z", {"1901-03-01 12:00:00 +00:00 UTC"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Days, CronNext,
    testing::Values(
        days("Yearly", "@yearly", "2026-01-01T00:00:00Z", {"2027-01-01", "2028-01-01"}),
        days("Annually", "@annually", "2026-01-01T00:00:00Z", {"2027-01-01"}),
        days("Monthly", "@monthly", "2026-01-01T00:00:00Z", {"2026-02-01", "2026-03-01"}),
        days("Weekly", "@weekly", "2026-01-01T00:00:00Z", {"2026-01-04", "2026-01-11"}),
        days("Daily", "@daily", "2026-02-27T00:00:00Z", {"2026-02-28", "2026-03-01"}),
        days("Midnight", "@midnight", "2026-01-01T00:00:00Z", {"2026-01-02"}),
        days("The31st", "0 0 31 * *", "2026-01-01T00:00:00Z", {"2026-01-31", "2026-03-31", "2026-05-31"}),
        days("LeapDay", "0 0 29 2 *", "2096-02-29T00:00:00Z", {"2104-02-29", "2108-02-29"}),
        days("LeapDayOnASunday", "0 0 29 2 */7", "2088-02-29T00:00:00Z", {"2128-02-29"}),
        days("Months", "0 0 1 mar-MAY,11 *", "2026-01-01T00:00:00Z",
             {"2026-03-01", "2026-04-01", "2026-05-01", "2026-11-01", "2027-03-01"}),
        days("OpenStepOfMonths", "0 0 1 JUL/3 *", "2026-01-01T00:00:00Z", {"2026-07-01", "2026-10-01", "2027-07-01"}),
        days("Weekdays", "0 0 * * MON-FRI", "2026-01-01T00:00:00Z",
             {"2026-01-02", "2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08", "2026-01-09", "2026-01-12"}),
        days("Sunday0", "0 0 * * 0", "2026-01-01T00:00:00Z", {"2026-01-04", "2026-01-11"}),
        days("Sunday7", "0 0 * * 7", "2026-01-01T00:00:00Z", {"2026-01-04", "2026-01-11"}),
        days("SundayFirst", "0 0 * * SUN-TUE", "2026-01-01T00:00:00Z",
             {"2026-01-04", "2026-01-05", "2026-01-06", "2026-01-11"}),
        days("SundayLast", "0 0 * * 5-7", "2026-01-01T00:00:00Z",
             {"2026-01-02", "2026-01-03", "2026-01-04", "2026-01-09"}),
        days("SundayLastByName", "0 0 * * fri-sun", "2026-01-01T00:00:00Z",
             {"2026-01-02", "2026-01-03", "2026-01-04", "2026-01-09"}),
        days("WeekdaysByTwos", "0 0 * * */2", "2026-01-01T00:00:00Z",
             {"2026-01-03", "2026-01-04", "2026-01-06", "2026-01-08", "2026-01-10"}),
        days("OpenStepOfWeekdaysEndsOnSaturday", "0 0 * * 1/2", "2026-01-03T00:00:00Z",
             {"2026-01-05", "2026-01-07", "2026-01-09", "2026-01-12"}),
        days("L", "0 0 L * *", "2028-01-01T00:00:00Z", {"2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"}),
        days("LMinus", "0 0 L-3 * *", "2026-01-01T00:00:00Z", {"2026-01-28", "2026-02-25", "2026-03-28"}),
        days("LMinus30IsTheFirstOfLongMonths", "0 0 l-30 * *", "2026-01-01T00:00:00Z", {"2026-03-01", "2026-05-01"}),
        days("LW", "0 0 LW * *", "2026-01-01T00:00:00Z",
             {"2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"}),
        days("W", "0 0 15W * *", "2026-01-01T00:00:00Z",
             {"2026-01-15", "2026-02-16", "2026-03-16", "2026-04-15", "2026-05-15", "2026-06-15", "2026-07-15",
              "2026-08-14"}),
        days("WOfTheFirstStaysInTheMonth", "0 0 1w * *", "2026-07-02T00:00:00Z", {"2026-08-03", "2026-09-01"}),
        days("WOfTheLastStaysInTheMonth", "0 0 31W * *", "2026-05-01T00:00:00Z", {"2026-05-29", "2026-07-31"}),
        days("WInAList", "0 0 1W,15W,20 8 *", "2026-01-01T00:00:00Z",
             {"2026-08-03", "2026-08-14", "2026-08-20", "2027-08-02"}),
        days("LastFriday", "0 0 * * 5L", "2026-01-01T00:00:00Z", {"2026-01-30", "2026-02-27", "2026-03-27"}),
        days("LastSundayAs7", "0 0 * * 7L", "2026-01-01T00:00:00Z", {"2026-01-25", "2026-02-22"}),
        days("LastFridayByName", "0 0 * * friL", "2026-01-01T00:00:00Z", {"2026-01-30", "2026-02-27"}),
        days("ThirdFriday", "0 0 * * 5#3", "2026-01-01T00:00:00Z", {"2026-01-16", "2026-02-20"}),
        days("FifthFriday", "0 0 * * FRI#5", "2026-01-01T00:00:00Z", {"2026-01-30", "2026-05-29"}),
        days("FirstSundayAs7", "0 0 * * 7#1", "2026-01-01T00:00:00Z", {"2026-01-04", "2026-02-01"}),
        days("ListOfWeekdayForms", "0 0 ? 1 2,5L,1#1", "2026-01-05T00:00:00Z",
             {"2026-01-06", "2026-01-13", "2026-01-20", "2026-01-27", "2026-01-30", "2027-01-04"})),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    CombinationOfDays, CronNext,
    testing::Values(
        days("EitherIsEnough", "0 0 13 * FRI", "2026-02-01T00:00:00Z",
             {"2026-02-06", "2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06", "2026-03-13"}),
        days("StarRestrictsNothing", "0 0 13 * *", "2026-01-01T00:00:00Z", {"2026-01-13", "2026-02-13"}),
        days("QuestionMarkRestrictsNothing", "0 0 13 * ?", "2026-01-01T00:00:00Z", {"2026-01-13", "2026-02-13"}),
        days("QuestionMarkInFront", "0 0 ? * 5", "2026-01-01T00:00:00Z", {"2026-01-02", "2026-01-09"}),
        days("BothStarWithStepAndWeekdayAreWanted", "0 0 */2 * MON", "2026-01-01T00:00:00Z",
             {"2026-01-05", "2026-01-19", "2026-02-09", "2026-02-23"}),
        days("BothDayAndStarWithStepAreWanted", "0 0 13 * */5", "2026-01-01T00:00:00Z",
             {"2026-02-13", "2026-03-13", "2026-09-13"}),
        days("RangeOfAllIsARestriction", "0 0 1-31 * MON", "2026-01-01T00:00:00Z", {"2026-01-02", "2026-01-03"}),
        days("FridayThe13th", "0 0 13 * */5,5", "2026-03-01T00:00:00Z", {"2026-03-13", "2026-09-13", "2026-11-13"})),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    RepeatedHour, CronNext,
    testing::Values(Case{"PlainHourFiresOnTheFirstPass",
                         "30 1 * * *",
                         "America/New_York",
                         "2026-10-31T12:00:00-04:00",
                         {"2026-11-01 01:30:00 -04:00 EDT first_pass", "2026-11-02 01:30:00 -05:00 EST"}},
                    Case{"ListOfPlainHours",
                         "30 0,1,2 * * *",
                         "America/New_York",
                         "2026-10-31T12:00:00-04:00",
                         {"2026-11-01 00:30:00 -04:00 EDT", "2026-11-01 01:30:00 -04:00 EDT first_pass",
                          "2026-11-01 02:30:00 -05:00 EST", "2026-11-02 00:30:00 -05:00 EST"}},
                    Case{"MinutesOfAPlainHour",
                         "*/20 1 * * *",
                         "America/New_York",
                         "2026-11-01T01:20:00-04:00",
                         {"2026-11-01 01:40:00 -04:00 EDT first_pass", "2026-11-02 01:00:00 -05:00 EST"}},
                    Case{"AskedBetweenThePasses",
                         "30 1 * * *",
                         "America/New_York",
                         "2026-11-01T01:10:00-05:00",
                         {"2026-11-02 01:30:00 -05:00 EST"}},
                    Case{"StarFiresOnBoth",
                         "30 * * * *",
                         "America/New_York",
                         "2026-11-01T00:00:00-04:00",
                         {"2026-11-01 00:30:00 -04:00 EDT", "2026-11-01 01:30:00 -04:00 EDT every_pass",
                          "2026-11-01 01:30:00 -05:00 EST every_pass", "2026-11-01 02:30:00 -05:00 EST"}},
                    Case{"RangeFiresOnBoth",
                         "0 1-2 * * *",
                         "America/New_York",
                         "2026-11-01T00:00:00-04:00",
                         {"2026-11-01 01:00:00 -04:00 EDT every_pass", "2026-11-01 01:00:00 -05:00 EST every_pass",
                          "2026-11-01 02:00:00 -05:00 EST"}},
                    Case{"StepFiresOnBoth",
                         "0 1/12 * * *",
                         "America/New_York",
                         "2026-11-01T00:00:00-04:00",
                         {"2026-11-01 01:00:00 -04:00 EDT every_pass", "2026-11-01 01:00:00 -05:00 EST every_pass",
                          "2026-11-01 13:00:00 -05:00 EST"}},
                    Case{"RangeInAListFiresOnBoth",
                         "0 1,5-6 * * *",
                         "America/New_York",
                         "2026-11-01T00:00:00-04:00",
                         {"2026-11-01 01:00:00 -04:00 EDT every_pass", "2026-11-01 01:00:00 -05:00 EST every_pass",
                          "2026-11-01 05:00:00 -05:00 EST"}},
                    Case{"HalfAnHour",
                         "*/15 1 * * *",
                         "Australia/Lord_Howe",
                         "2026-04-05T00:00:00+11:00",
                         {"2026-04-05 01:00:00 +11:00", "2026-04-05 01:15:00 +11:00",
                          "2026-04-05 01:30:00 +11:00 first_pass", "2026-04-05 01:45:00 +11:00 first_pass",
                          "2026-04-06 01:00:00 +10:30"}},
                    Case{"HalfAnHourTwice",
                         "*/15 1-1 * * *",
                         "Australia/Lord_Howe",
                         "2026-04-05T01:15:00+11:00",
                         {"2026-04-05 01:30:00 +11:00 every_pass", "2026-04-05 01:45:00 +11:00 every_pass",
                          "2026-04-05 01:30:00 +10:30 every_pass", "2026-04-05 01:45:00 +10:30 every_pass",
                          "2026-04-06 01:00:00 +10:30"}},
                    Case{"TwoHours",
                         "0 1,2 * * *",
                         "Antarctica/Troll",
                         "2025-10-26T00:00:00+02:00",
                         {"2025-10-26 01:00:00 +02:00 first_pass", "2025-10-26 02:00:00 +02:00 first_pass",
                          "2025-10-27 01:00:00 +00:00"}},
                    Case{"AcrossMidnight",
                         "30 23 * * *",
                         "America/Havana",
                         "2024-11-02T12:00:00-04:00",
                         {"2024-11-02 23:30:00 -04:00 CDT", "2024-11-03 23:30:00 -05:00 CST"}},
                    Case{"MidnightTwice",
                         "@daily",
                         "America/Havana",
                         "2024-11-02T12:00:00-04:00",
                         {"2024-11-03 00:00:00 -04:00 CDT first_pass", "2024-11-04 00:00:00 -05:00 CST"}},
                    Case{"BeyondTheFile",
                         "30 1 * * *",
                         "America/New_York",
                         "2060-11-06T12:00:00-04:00",
                         {"2060-11-07 01:30:00 -04:00 EDT first_pass", "2060-11-08 01:30:00 -05:00 EST"}}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Gap, CronNext,
    testing::Values(
        Case{"PlainHourMovesBehindIt",
             "30 2 * * *",
             "America/New_York",
             "2026-03-07T12:00:00-05:00",
             {"2026-03-08 03:00:00 -04:00 EDT after_gap", "2026-03-09 02:30:00 -04:00 EDT"}},
        Case{"AllTimesInItMergeIntoOne",
             "*/10 2 * * *",
             "America/New_York",
             "2026-03-07T12:00:00-05:00",
             {"2026-03-08 03:00:00 -04:00 EDT after_gap", "2026-03-09 02:00:00 -04:00 EDT"}},
        Case{"AFireThatIsThereAnywayIsTheOne",
             "0,30 2,3 * * *",
             "America/New_York",
             "2026-03-07T12:00:00-05:00",
             {"2026-03-08 03:00:00 -04:00 EDT", "2026-03-08 03:30:00 -04:00 EDT", "2026-03-09 02:00:00 -04:00 EDT"}},
        Case{"AFireSoonAfterIsAnother",
             "15 2,3 * * *",
             "America/New_York",
             "2026-03-07T12:00:00-05:00",
             {"2026-03-08 03:00:00 -04:00 EDT after_gap", "2026-03-08 03:15:00 -04:00 EDT",
              "2026-03-09 02:15:00 -04:00 EDT"}},
        Case{"NotAgainAfterIt",
             "30 2 * * *",
             "America/New_York",
             "2026-03-08T03:00:00-04:00",
             {"2026-03-09 02:30:00 -04:00 EDT"}},
        Case{"AskedTheSecondBefore",
             "30 2 * * *",
             "America/New_York",
             "2026-03-08T01:59:59-05:00",
             {"2026-03-08 03:00:00 -04:00 EDT after_gap"}},
        Case{"StarHasNoneInIt",
             "30 * * * *",
             "America/New_York",
             "2026-03-08T01:00:00-05:00",
             {"2026-03-08 01:30:00 -05:00 EST", "2026-03-08 03:30:00 -04:00 EDT"}},
        Case{"RangeHasNoneInIt",
             "30 2-2 * * *",
             "America/New_York",
             "2026-03-07T12:00:00-05:00",
             {"2026-03-09 02:30:00 -04:00 EDT"}},
        Case{"StepHasNoneInIt",
             "30 2/12 * * *",
             "America/New_York",
             "2026-03-07T22:00:00-05:00",
             {"2026-03-08 14:30:00 -04:00 EDT", "2026-03-09 02:30:00 -04:00 EDT"}},
        Case{"HalfAnHour",
             "15 2 * * *",
             "Australia/Lord_Howe",
             "2026-10-03T12:00:00+10:30",
             {"2026-10-04 02:30:00 +11:00 after_gap", "2026-10-05 02:15:00 +11:00"}},
        Case{"AfterHalfAnHour",
             "45 2 * * *",
             "Australia/Lord_Howe",
             "2026-10-03T12:00:00+10:30",
             {"2026-10-04 02:45:00 +11:00"}},
        Case{"AtMidnight",
             "@daily",
             "America/Santiago",
             "2026-09-05T12:00:00-04:00",
             {"2026-09-06 01:00:00 -03:00 after_gap", "2026-09-07 00:00:00 -03:00"}},
        Case{"AtMidnightOfTheFirst",
             "@monthly",
             "Asia/Amman",
             "2022-03-01T12:00:00+02:00",
             {"2022-04-01 00:00:00 +03:00 EEST"}},
        Case{"AtMidnightOnAWeekday",
             "0 0 * * FRI",
             "Asia/Amman",
             "2022-02-24T12:00:00+02:00",
             {"2022-02-25 01:00:00 +03:00 EEST after_gap", "2022-03-04 00:00:00 +03:00 EEST"}},
        Case{"AtMidnightOnAnotherWeekday",
             "0 0 * * SAT",
             "Asia/Amman",
             "2022-02-24T12:00:00+02:00",
             {"2022-02-26 00:00:00 +03:00 EEST"}},
        Case{"AWholeDay",
             "0 9,15 * * *",
             "Pacific/Apia",
             "2011-12-29T12:00:00-10:00",
             {"2011-12-29 15:00:00 -10:00", "2011-12-31 00:00:00 +14:00 after_gap", "2011-12-31 09:00:00 +14:00"}},
        Case{"AWholeDayThatTheDaysWant",
             "0 9 30 12 ?",
             "Pacific/Apia",
             "2011-01-01T00:00:00Z",
             {"2011-12-31 00:00:00 +14:00 after_gap", "2012-12-30 09:00:00 +14:00"}},
        Case{"AWholeDayThatTheDaysDoNotWant",
             "0 9 29 12 ?",
             "Pacific/Apia",
             "2011-12-29T12:00:00-10:00",
             {"2012-12-29 09:00:00 +14:00"}},
        Case{"AWholeDayAndAFireAtItsEnd",
             "0 0 * * *",
             "Pacific/Apia",
             "2011-12-29T12:00:00-10:00",
             {"2011-12-31 00:00:00 +14:00", "2012-01-01 00:00:00 +14:00"}},
        Case{"AWholeDayWithStars",
             "0 * * * *",
             "Pacific/Apia",
             "2011-12-29T22:30:00-10:00",
             {"2011-12-29 23:00:00 -10:00", "2011-12-31 00:00:00 +14:00"}},
        Case{"OnlyTheGapOfThatYear",
             "30 2 29 3 *",
             "Europe/Berlin",
             "2026-01-01T00:00:00Z",
             {"2026-03-29 03:00:00 +02:00 CEST after_gap", "2027-03-29 02:30:00 +02:00 CEST"}},
        Case{"WithSeconds",
             "59 59 2 * * *",
             "Europe/Berlin",
             "2026-03-28T12:00:00Z",
             {"2026-03-29 03:00:00 +02:00 CEST after_gap", "2026-03-30 02:59:59 +02:00 CEST"}},
        Case{"BeyondTheFile",
             "30 2 * * *",
             "America/New_York",
             "2060-03-13T12:00:00-05:00",
             {"2060-03-14 03:00:00 -04:00 EDT after_gap", "2060-03-15 02:30:00 -04:00 EDT"}}),
    name_of);

TEST(CronNextFire, IsNoneWhereTheCalendarEnds) {
  EXPECT_EQ(cron("@daily").next(Zone::utc(), at("9999-12-31T00:00:00Z")), std::nullopt);
  EXPECT_EQ(cron("@daily").next(Zone::utc(), Timestamp::max()), std::nullopt);
  EXPECT_TRUE(cron("@daily").next(Zone::utc(), Timestamp::min()));
}

TEST(CronNextFire, IsTheSameOfACopy) {
  const CronExpression first = cron("30 9 * * MON");
  const CronExpression second = first;
  EXPECT_EQ(first.next(Zone::utc(), at("2026-01-01T00:00:00Z")), second.next(Zone::utc(), at("2026-01-01T00:00:00Z")));
}

}  // namespace
}  // namespace wfo::schedule
