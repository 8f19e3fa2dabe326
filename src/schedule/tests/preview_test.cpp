#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "schedule/schedule.h"

namespace wfo::schedule {
namespace {

struct Row {
  std::string local;
  std::string note;
  friend bool operator==(const Row&, const Row&) = default;
  friend void PrintTo(const Row& row, std::ostream* out) { *out << row.local << " | " << row.note; }
};

struct Case {
  const char* what;
  std::vector<std::string> cron;
  std::string zone;
  std::string after;
  std::vector<Row> rows;
};

Result<std::vector<PreviewRow>> rows_of(const Case& of, std::size_t count) {
  Schedule schedule;
  schedule.cron = of.cron;
  schedule.time_zone = of.zone;
  TRY_ASSIGN(const Timetable timetable, Timetable::make(schedule));
  return preview(timetable, parse_timestamp(of.after).value(), count);
}

class Preview : public testing::TestWithParam<Case> {};

TEST_P(Preview, ShowsWhatTheClockDoesToAFire) {
  const auto rows = rows_of(GetParam(), GetParam().rows.size());
  ASSERT_TRUE(rows.has_value()) << rows.error().message;
  std::vector<Row> got;
  for (const PreviewRow& row : *rows) got.push_back({row.local, row.note});
  EXPECT_EQ(got, GetParam().rows);
}

INSTANTIATE_TEST_SUITE_P(
    All, Preview,
    testing::Values(
        Case{"UtcNeverMoves",
             {"30 2 * * *"},
             "UTC",
             "2026-03-28T12:00:00Z",
             {{"2026-03-29 02:30:00 +00:00 UTC", ""}, {"2026-03-30 02:30:00 +00:00 UTC", ""}}},
        Case{"MovedBehindTheGap",
             {"30 2 * * *"},
             "Europe/Berlin",
             "2026-03-28T00:00:00Z",
             {{"2026-03-28 02:30:00 +01:00 CET", ""},
              {"2026-03-29 03:00:00 +02:00 CEST", "02:30 does not exist: moved to 03:00"},
              {"2026-03-30 02:30:00 +02:00 CEST", ""}}},
        Case{"SeveralMergedIntoOne",
             {"0,30 2 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:00 and 02:30 do not exist: moved to 03:00"},
              {"2026-03-30 02:00:00 +02:00 CEST", ""}}},
        Case{"AllOfFourAreNamed",
             {"*/15 2 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:00, 02:15, 02:30 and 02:45 do not exist: moved to 03:00"}}},
        Case{"ManyAreCounted",
             {"*/10 2 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:00, 02:10, 02:20 and 3 more do not exist: moved to 03:00"}}},
        Case{"VeryManyAreNotCounted",
             {"* * 2 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST",
               "02:00, 02:00:01, 02:00:02 and many more do not exist: moved to 03:00"}}},
        Case{"OfSeveralExpressions",
             {"30 2 * * *", "45 2 * * *", "0 6 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:30 and 02:45 do not exist: moved to 03:00"},
              {"2026-03-29 06:00:00 +02:00 CEST", ""}}},
        Case{"MovedToWhereAnotherFiresAnyway",
             {"30 2 * * *", "0 3 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:30 does not exist: moved to 03:00"},
              {"2026-03-30 02:30:00 +02:00 CEST", ""}}},
        Case{"MergedIntoItsOwnRegularFire",
             {"0 2,3 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", "02:00 does not exist"}, {"2026-03-30 02:00:00 +02:00 CEST", ""}}},
        Case{"LeftOutByAWildcard",
             {"0 * * * *"},
             "America/New_York",
             "2026-03-08T06:00:00Z",
             {{"2026-03-08 03:00:00 -04:00 EDT", "02:00 does not exist"}, {"2026-03-08 04:00:00 -04:00 EDT", ""}}},
        Case{"NothingLeftOut",
             {"0 3 * * *"},
             "Europe/Berlin",
             "2026-03-29T00:00:00Z",
             {{"2026-03-29 03:00:00 +02:00 CEST", ""}}},
        Case{"OnlyTheFirstPass",
             {"30 1 * * *"},
             "America/New_York",
             "2026-11-01T00:00:00Z",
             {{"2026-11-01 01:30:00 -04:00 EDT", "01:30 comes twice: only the first fires"},
              {"2026-11-02 01:30:00 -05:00 EST", ""}}},
        Case{"BothPasses",
             {"30 * * * *"},
             "America/New_York",
             "2026-11-01T05:00:00Z",
             {{"2026-11-01 01:30:00 -04:00 EDT", "01:30 comes twice: this is the first"},
              {"2026-11-01 01:30:00 -05:00 EST", "01:30 comes twice: this is the second"},
              {"2026-11-01 02:30:00 -05:00 EST", ""}}},
        Case{"BothPassesOfOneOfTheExpressions",
             {"30 1 * * *", "30 * * * *"},
             "America/New_York",
             "2026-11-01T05:00:00Z",
             {{"2026-11-01 01:30:00 -04:00 EDT", "01:30 comes twice: this is the first"},
              {"2026-11-01 01:30:00 -05:00 EST", "01:30 comes twice: this is the second"}}},
        Case{"WithItsSeconds",
             {"15 30 1 * * *"},
             "America/New_York",
             "2026-11-01T00:00:00Z",
             {{"2026-11-01 01:30:15 -04:00 EDT", "01:30:15 comes twice: only the first fires"}}},
        Case{"HalfAnHourForward",
             {"15 2 * * *"},
             "Australia/Lord_Howe",
             "2026-10-03T10:00:00Z",
             {{"2026-10-04 02:30:00 +11:00", "02:15 does not exist: moved to 02:30"}}},
        Case{"HalfAnHourBack",
             {"*/30 * * * *"},
             "Australia/Lord_Howe",
             "2026-04-04T14:00:00Z",
             {{"2026-04-05 01:30:00 +11:00", "01:30 comes twice: this is the first"},
              {"2026-04-05 01:30:00 +10:30", "01:30 comes twice: this is the second"},
              {"2026-04-05 02:00:00 +10:30", ""}}},
        Case{"AWholeDayLeftOut",
             {"30 12 * * *"},
             "Pacific/Apia",
             "2011-12-29T12:00:00Z",
             {{"2011-12-29 12:30:00 -10:00", ""},
              {"2011-12-31 00:00:00 +14:00", "2011-12-30 12:30 does not exist: moved to 00:00"},
              {"2011-12-31 12:30:00 +14:00", ""}}},
        Case{"AlmostAWholeDayTwice",
             {"30 12 * * *"},
             "Pacific/Kwajalein",
             "1969-09-30T00:00:00Z",
             {{"1969-09-30 12:30:00 +11:00", "12:30 comes twice: only the first fires"},
              {"1969-10-01 12:30:00 -12:00", ""}}}),
    [](const auto& row) { return row.param.what; });

TEST(PreviewOfNothing, IsEmpty) {
  EXPECT_EQ(rows_of({"", {"0 0 1 1 *"}, "UTC", "2026-01-01T00:00:00Z", {}}, 0)->size(), 0u);
}

TEST(PreviewRule, StandsBesideTheNote) {
  const auto rows = rows_of({"", {"30 2 * * *"}, "Europe/Berlin", "2026-03-29T00:00:00Z", {}}, 1);
  ASSERT_TRUE(rows.has_value());
  EXPECT_EQ(rows->front().fire, (Fire{*parse_timestamp("2026-03-29T01:00:00Z"), FireRule::after_gap}));
}

}  // namespace
}  // namespace wfo::schedule
