#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "schedule/cron.h"
#include "schedule/detail/zone_periods.h"
#include "schedule/tests/cron_oracle.h"

namespace wfo::schedule {
namespace {

using namespace std::chrono;
using detail::SysSeconds;
using detail::ZonePeriod;
using detail::ZonePeriods;
using detail::ZoneRule;

constexpr SysSeconds start_of(int year) { return sys_days(std::chrono::year(year) / January / 1); }

Timestamp at(std::string_view text) { return parse_timestamp(text).value(); }

Zone zone(std::string_view name) {
  const auto found = Zone::find(name);
  EXPECT_TRUE(found) << found.error().message;
  return found.value_or(Zone::utc());
}

std::string error_of(std::string_view name) {
  const auto found = Zone::find(name);
  if (found) return "found";
  EXPECT_EQ(found.error().code, ErrorCode::invalid_argument);
  return found.error().message;
}

TEST(Zone, IsFoundByItsNameAndByTheNamesThatLinkToIt) {
  EXPECT_EQ(zone("America/New_York").name(), "America/New_York");
  EXPECT_EQ(zone("US/Eastern").name(), "US/Eastern");
  EXPECT_EQ(zone("US/Eastern").offset(at("2026-07-01T00:00:00Z")), hours(-4));
  EXPECT_EQ(zone("Asia/Katmandu").offset(at("2026-07-01T00:00:00Z")), minutes(5 * 60 + 45));
  EXPECT_EQ(zone("Etc/UTC").offset(at("2026-07-01T00:00:00Z")), seconds(0));
  EXPECT_EQ(zone("UTC").name(), "UTC");
  EXPECT_EQ(Zone::utc().name(), "UTC");
}

TEST(Zone, ThatIsNotKnownIsAnErrorThatNamesSimilarOnes) {
  EXPECT_EQ(error_of("Europe/Berln"), "time zone 'Europe/Berln' is not known; similar: Europe/Berlin");
  EXPECT_EQ(error_of("europe/berlin"), "time zone 'europe/berlin' is not known; similar: Europe/Berlin");
  EXPECT_EQ(error_of("New York"), "time zone 'New York' is not known; similar: America/New_York");
  EXPECT_EQ(error_of("utc").substr(0, 39), "time zone 'utc' is not known; similar: ");
  constexpr std::string_view kNoneSimilar =
      " is not known; allowed: a name of the IANA time zone database, as Europe/Berlin or UTC";
  EXPECT_EQ(error_of("Nowhere/Atlantis"), "time zone 'Nowhere/Atlantis'" + std::string(kNoneSimilar));
  EXPECT_EQ(error_of(""), "time zone ''" + std::string(kNoneSimilar));
  EXPECT_EQ(error_of("../../../etc/passwd"), "time zone '../../../etc/passwd'" + std::string(kNoneSimilar));
  EXPECT_EQ(error_of("a\n\x80"), "time zone 'a\\x0a\\x80'" + std::string(kNoneSimilar));
  EXPECT_EQ(error_of(std::string(500, 'x')), "time zone '" + std::string(100, 'x') + "…'" + std::string(kNoneSimilar));
}

TEST(Zone, ThatDependsOnTheMachineOrCountsLeapSecondsIsNotOne) {
  for (const char* name :
       {"localtime", "right/Europe/Berlin", "posix/Europe/Berlin", "posixrules", "Factory", "tzdata.zi"}) {
    EXPECT_NE(error_of(name), "found") << name;
  }
}

TEST(Zone, WritesTheTimeOnTheWallWithOffsetAndLetters) {
  EXPECT_EQ(zone("Europe/Berlin").format(at("2026-03-29T01:00:00Z")), "2026-03-29 03:00:00 +02:00 CEST");
  EXPECT_EQ(zone("America/New_York").format(at("2026-01-01T04:59:59.999Z")), "2025-12-31 23:59:59 -05:00 EST");
  EXPECT_EQ(zone("America/St_Johns").format(at("2026-01-01T00:00:00Z")), "2025-12-31 20:30:00 -03:30 NST");
  EXPECT_EQ(Zone::utc().format(at("2026-01-01T00:00:00Z")), "2026-01-01 00:00:00 +00:00 UTC");
}

TEST(Zone, LeavesOutLettersThatOnlyRepeatTheOffset) {
  EXPECT_EQ(zone("Australia/Lord_Howe").format(at("2026-07-01T00:00:00Z")), "2026-07-01 10:30:00 +10:30");
}

TEST(Zone, KeepsTheSecondsOfOffsetsBeforeStandardTime) {
  EXPECT_EQ(zone("Africa/Monrovia").format(at("1971-01-01T00:00:00Z")), "1970-12-31 23:15:30 -00:44:30 MMT");
}

TEST(Zone, GoesOnChangingAfterTheLastYearThatItsFileLists) {
  EXPECT_EQ(zone("Europe/Berlin").format(at("2060-07-01T00:00:00Z")), "2060-07-01 02:00:00 +02:00 CEST");
  EXPECT_EQ(zone("Europe/Berlin").format(at("2060-12-01T00:00:00Z")), "2060-12-01 01:00:00 +01:00 CET");
  EXPECT_EQ(zone("Europe/Berlin").format(at("9060-07-01T00:00:00Z")), "9060-07-01 02:00:00 +02:00 CEST");
  EXPECT_EQ(zone("Australia/Lord_Howe").format(at("2099-12-31T23:00:00Z")), "2100-01-01 10:00:00 +11:00");
}

// The rule is written for the C library, which reads the same files with code of its own.
TEST(ZonePeriods, AreTheCLibrarysInEveryZoneOfTheSystem) {
  const auto names = detail::zone_names();
  ASSERT_TRUE(names) << names.error().message;
  ASSERT_GT(names->size(), 400U);
  std::mt19937_64 random(20'260'101);
  std::uniform_int_distribution<std::int64_t> any_second(start_of(1970).time_since_epoch().count(),
                                                         start_of(2700).time_since_epoch().count());
  for (const std::string& name : *names) {
    const auto periods = ZonePeriods::load(name);
    ASSERT_TRUE(periods) << periods.error().message;
    tests::set_libc_zone(name);
    const auto expect_same = [&](SysSeconds time) {
      const ZonePeriod period = periods->at(time);
      ASSERT_LE(period.begin, time);
      ASSERT_GT(period.end, time);
      const tests::LibcTime libc = tests::libc_time(time.time_since_epoch().count());
      ASSERT_EQ(period.offset.count(), libc.offset) << name << ' ' << format_timestamp(time);
      ASSERT_EQ(period.abbreviation, libc.abbreviation) << name << ' ' << format_timestamp(time);
    };
    for (SysSeconds time = periods->at(start_of(1970)).end; time < start_of(2110); time = periods->at(time).end) {
      ASSERT_NO_FATAL_FAILURE(expect_same(time - seconds(1)));
      ASSERT_NO_FATAL_FAILURE(expect_same(time));
    }
    for (int i = 0; i < 200; ++i) ASSERT_NO_FATAL_FAILURE(expect_same(SysSeconds(seconds(any_second(random)))));
  }
}

// CronExpression::next looks no further than to the period before and after.
TEST(ZonePeriods, AreLongerThanTheClockJumpsAtEitherEnd) {
  const auto names = detail::zone_names();
  ASSERT_TRUE(names) << names.error().message;
  for (const std::string& name : *names) {
    const auto periods = ZonePeriods::load(name);
    ASSERT_TRUE(periods) << periods.error().message;
    for (SysSeconds time = start_of(1800); time < start_of(2600); time = periods->at(time).end) {
      const ZonePeriod period = periods->at(time);
      const seconds jumps = abs(period.offset - period.offset_before) + abs(period.offset_after - period.offset);
      EXPECT_GT(period.end - period.begin, jumps) << name << ' ' << format_timestamp(period.begin);
    }
  }
}

TEST(ZonePeriods, HoldTogether) {
  const auto periods = ZonePeriods::load("Europe/Berlin");
  ASSERT_TRUE(periods) << periods.error().message;
  int count = 0;
  for (ZonePeriod period = periods->at(start_of(1800)); period.begin < start_of(3'000); ++count) {
    const ZonePeriod next = periods->at(period.end);
    ASSERT_EQ(next.begin, period.end);
    ASSERT_EQ(next.offset_before, period.offset) << format_timestamp(next.begin);
    ASSERT_EQ(next.offset, period.offset_after) << format_timestamp(next.begin);
    ASSERT_EQ(periods->at(next.begin - seconds(1)).begin, period.begin);
    period = next;
  }
  EXPECT_GT(count, 2 * 1'000);
}

TEST(ZoneRule, SaysWhenAYearsChangesAre) {
  struct Case {
    const char* rule;
    const char* begin;  // on the wall
    const char* end;
  };
  const Case cases[] = {
      {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T02:00:00", "2026-11-01T02:00:00"},
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T02:00:00", "2026-10-25T03:00:00"},
      {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-10-04T02:00:00", "2026-04-05T02:00:00"},
      {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-10-25T02:00:00", "2026-03-29T01:00:00"},
      {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-28T23:00:00", "2026-10-25T00:00:00"},
      {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-28T02:00:00", "2026-10-24T02:00:00"},
      {"A1B,J60/0:30:15,J300", "2026-03-01T00:30:15", "2026-10-27T02:00:00"},
      {"A1B,59/-167,300/+167", "2026-02-22T01:00:00", "2026-11-03T23:00:00"},
  };
  for (const Case& c : cases) {
    const auto rule = ZoneRule::parse(c.rule);
    ASSERT_TRUE(rule && rule->summer) << c.rule;
    const auto wall = [](std::chrono::local_seconds time) {
      return format_timestamp(Timestamp(time.time_since_epoch())).substr(0, 19);
    };
    EXPECT_EQ(wall(rule->summer->begin.in(2026y)), c.begin) << c.rule;
    EXPECT_EQ(wall(rule->summer->end.in(2026y)), c.end) << c.rule;
  }
  EXPECT_EQ(std::get<0>(ZoneRule::parse("A1B,M1.1.0,M2.1.0")->summer->begin.day).month, 1U);
  const auto leap = ZoneRule::parse("A1B,J60,59");
  EXPECT_EQ(leap->summer->begin.in(2024y), local_days(2024y / March / 1) + hours(2));
  EXPECT_EQ(leap->summer->end.in(2024y), local_days(2024y / February / 29) + hours(2));
}

TEST(ZoneRule, WithoutSummerIsAnOffset) {
  const auto rule = ZoneRule::parse("<+0545>-5:45");
  ASSERT_TRUE(rule);
  EXPECT_FALSE(rule->summer);
  EXPECT_EQ(rule->standard.ahead_of_utc, minutes(5 * 60 + 45));
  EXPECT_EQ(rule->standard.abbreviation, "+0545");
}

TEST(ZoneRule, IsNothingElse) {
  for (const char* text :
       {"", "EST", "5", "EST5EDT", "EST5EDT,M3.2.0", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,M3.2.0,M11.1.0x", "EST5EDT,M3,M11.1.0", "<+05-5", "EST25", "EST5EDT,J0,J1",
        "EST5EDT,366,1", "EST5EDT,1/168,1", "EST5:60"}) {
    EXPECT_FALSE(ZoneRule::parse(text)) << text;
  }
}

}  // namespace
}  // namespace wfo::schedule
