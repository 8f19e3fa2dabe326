#include "base/time.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

namespace wfo {
namespace {

using namespace std::chrono_literals;

std::string read(std::string_view text) {
  const auto time = parse_timestamp(text);
  return time ? format_timestamp(*time) : "nothing";
}

TEST(Timestamp, IsReadFromAnyRfc3339DateTime) {
  const struct {
    std::string text;
    std::string time;
  } cases[] = {
      // The examples of RFC 3339 §5.8.
      {"1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"},
      {"1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000Z"},
      {"1990-12-31T23:59:60Z", "1990-12-31T23:59:59.000Z"},
      {"1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59.000Z"},
      {"1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z"},
      // Either case, offsets, fractions.
      {"2026-03-01t09:30:00z", "2026-03-01T09:30:00.000Z"},
      {"2026-03-01T09:30:00+00:00", "2026-03-01T09:30:00.000Z"},
      {"2026-03-01T09:30:00-00:00", "2026-03-01T09:30:00.000Z"},
      {"2026-03-01T00:15:00+23:59", "2026-02-28T00:16:00.000Z"},
      {"2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00.000Z"},
      {"2026-03-01T09:30:00.1Z", "2026-03-01T09:30:00.100Z"},
      {"2026-03-01T09:30:00.001Z", "2026-03-01T09:30:00.001Z"},
      {"2026-03-01T09:30:00.123999999999999999999999Z", "2026-03-01T09:30:00.123Z"},
      // The calendar.
      {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
      {"2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"},
      {"0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"},
      {"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
      {"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
      // Leap seconds, at the end of a UTC day.
      {"2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.500Z"},
      {"2017-01-01T01:29:60+01:30", "2016-12-31T23:59:59.000Z"},
  };
  for (const auto& one : cases) EXPECT_EQ(read(one.text), one.time) << one.text;
}

TEST(Timestamp, IsNothingElse) {
  for (const std::string_view text : {"",
                                      "2026-03-01",
                                      "2026-03-01T09:30:00",
                                      "2026-03-01T09:30Z",
                                      "2026-03-01 09:30:00Z",
                                      "2026-03-01T9:30:00Z",
                                      "2026-3-1T09:30:00Z",
                                      "26-03-01T09:30:00Z",
                                      "+2026-03-01T09:30:00Z",
                                      "12026-03-01T09:30:00Z",
                                      "2026-13-01T09:30:00Z",
                                      "2026-00-01T09:30:00Z",
                                      "2026-04-31T09:30:00Z",
                                      "2026-02-29T09:30:00Z",
                                      "2100-02-29T09:30:00Z",
                                      "2026-03-00T09:30:00Z",
                                      "2026-03-01T24:00:00Z",
                                      "2026-03-01T09:60:00Z",
                                      "2026-03-01T09:30:61Z",
                                      "2026-03-01T09:30:60Z",
                                      "2016-12-31T23:59:60+01:00",
                                      "2026-03-01T09:30:00.Z",
                                      "2026-03-01T09:30:00,5Z",
                                      "2026-03-01T09:30:00+01",
                                      "2026-03-01T09:30:00+0100",
                                      "2026-03-01T09:30:00+24:00",
                                      "2026-03-01T09:30:00+01:60",
                                      "2026-03-01T09:30:00 01:00",
                                      "2026-03-01T09:30:00ZZ",
                                      "2026-03-01T09:30:00Z ",
                                      " 2026-03-01T09:30:00Z",
                                      "2026-03-01T09:30:00UTC",
                                      "2026/03/01T09:30:00Z",
                                      "2026-03-01T09-30-00Z",
                                      "2026-03-01T-9:30:00Z",
                                      "1772357400000",
                                      "2026-W09-7T09:30:00Z",
                                      "٢٠٢٦-03-01T09:30:00Z"}) {
    EXPECT_EQ(read(text), "nothing") << text;
  }
}

RC_GTEST_PROP(AnyTimestamp, ReadsBackAsItWasWritten, ()) {
  const auto count = *rc::gen::inRange<std::int64_t>(-62'167'219'200'000, 253'402'300'800'000);  // years 0 to 9999
  const Timestamp time{milliseconds(count)};
  RC_ASSERT(parse_timestamp(format_timestamp(time)) == time);
  std::string text = "at ";
  append_timestamp(text, time);
  RC_ASSERT(text == "at " + format_timestamp(time));
  // The same moment as somebody in another zone writes it.
  const int offset = *rc::gen::inRange(-23 * 60 - 59, 23 * 60 + 60);
  const Timestamp there = time + std::chrono::minutes(offset);
  if (there.time_since_epoch().count() < -62'167'219'200'000) return;
  if (there.time_since_epoch().count() >= 253'402'300'800'000) return;
  std::string local = format_timestamp(there);
  local.back() = offset < 0 ? '-' : '+';
  local += fmt::format("{:02}:{:02}", std::abs(offset) / 60, std::abs(offset) % 60);
  RC_ASSERT(parse_timestamp(local) == time);
}

RC_GTEST_PROP(AnyTimestamp, ComparesLikeItsText, ()) {
  const auto any = [] {
    return Timestamp{milliseconds(*rc::gen::inRange<std::int64_t>(-62'167'219'200'000, 253'402'300'800'000))};
  };
  const Timestamp a = any();
  const Timestamp b = any();
  RC_ASSERT((a < b) == (format_timestamp(a) < format_timestamp(b)));
}

TEST(Date, IsReadAndWritten) {
  EXPECT_EQ(format_date(parse_date("2026-03-01").value()), "2026-03-01");
  EXPECT_EQ(format_date(parse_date("0001-12-31").value()), "0001-12-31");
  EXPECT_EQ(parse_date("1970-01-02"), Date(std::chrono::days(1)));
  for (const std::string_view text :
       {"", "2026-02-29", "2026-3-01", "2026-03-01T", "2026-03-01 ", "20260301", "2026-03"}) {
    EXPECT_FALSE(parse_date(text)) << text;
  }
}

TEST(Duration, IsReadInUnitsAlsoSeveralInARow) {
  const struct {
    std::string text;
    milliseconds duration;
  } cases[] = {{"0s", 0ms},  {"250ms", 250ms}, {"30s", 30s},     {"5m", 5min},        {"24h", 24h},
               {"7d", 168h}, {"1h30m", 90min}, {"30m1h", 90min}, {"1s500ms", 1500ms}, {"1d1h1m1s1ms", 25h + 61s + 1ms},
               {"0007s", 7s}};
  for (const auto& one : cases) EXPECT_EQ(parse_duration(one.text), one.duration) << one.text;
}

TEST(Duration, IsNothingElse) {
  for (const std::string_view text :
       {"", "5", "s", "-5s", "+5s", "1.5s", "5 s", " 5s", "5s ", "5S", "5min", "5w", "1h30", "1h-30m", "5us", "1e3s",
        "99999999999999999999s", "106751991168d", "1000000000001ms"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Duration, IsNothingWhenItsPartsAddUpToMoreThanATimeCanHold) {
  std::string text;
  for (int i = 0; i < 10; ++i) text += "20000000000d";
  EXPECT_FALSE(parse_duration(text));
}

TEST(Duration, IsWrittenInItsLargestUnits) {
  EXPECT_EQ(format_duration(0ms), "0ms");
  EXPECT_EQ(format_duration(250ms), "250ms");
  EXPECT_EQ(format_duration(30s), "30s");
  EXPECT_EQ(format_duration(5min), "5m");
  EXPECT_EQ(format_duration(90min), "1h30m");
  EXPECT_EQ(format_duration(24h), "1d");
  EXPECT_EQ(format_duration(25h + 61s + 1ms), "1d1h1m1s1ms");
}

RC_GTEST_PROP(AnyDuration, ReadsBackAsItWasWritten, ()) {
  const milliseconds duration{*rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << *rc::gen::inRange(1, 50))};
  RC_ASSERT(parse_duration(format_duration(duration)) == duration);
}

TEST(ManualClock, MovesOnlyByHand) {
  ManualClock clock{Timestamp(5s)};
  EXPECT_EQ(clock.now(), Timestamp(5s));
  EXPECT_EQ(clock.now(), Timestamp(5s));
  clock.advance(1500ms);
  EXPECT_EQ(clock.now(), Timestamp(6500ms));
  clock.advance(-2s);
  EXPECT_EQ(clock.now(), Timestamp(4500ms));
  clock.set(Timestamp(1h));
  EXPECT_EQ(clock.now(), Timestamp(1h));
}

TEST(SystemClock, ShowsTheTimeOfTheMachine) {
  const SystemClock clock;
  const Timestamp before = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
  const Timestamp now = clock.now();
  EXPECT_GE(now, before);
  EXPECT_LE(now, before + 1min);
}

}  // namespace
}  // namespace wfo
