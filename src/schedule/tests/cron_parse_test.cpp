#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "schedule/cron.h"

namespace wfo::schedule {
namespace {

constexpr std::string_view kCommon = "ranges (1-5), steps (*/2, 1-5/2, 1/2), lists (1,3)";
constexpr std::string_view kForms =
    "5 fields (minute, hour, day of month, month, day of week), 6 with the second in front, or @daily and its kin";
constexpr std::string_view kNicknames =
    "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, or five or six fields";

std::string error_of(std::string_view expression) {
  const auto parsed = CronExpression::parse(expression);
  if (parsed) return "parsed";
  EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
  return parsed.error().message;
}

struct Bad {
  std::string_view name;
  std::string_view expression;
  std::string_view error;  // without what is allowed
};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }

std::string name_of(const testing::TestParamInfo<Bad>& info) { return std::string(info.param.name); }

class CronParseError : public testing::TestWithParam<Bad> {};

TEST_P(CronParseError, NamesTheFieldTheColumnAndTheText) {
  const std::string message = error_of(GetParam().expression);
  const auto allowed = message.find("; allowed: ");
  ASSERT_NE(allowed, std::string::npos) << message;
  EXPECT_EQ(message.substr(0, allowed), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    Each, CronParseError,
    testing::Values(
        Bad{"Minute60", "60 * * * *", "cron expression '60 * * * *': minute, column 1: '60' is no value in 0..59"},
        Bad{"Hour24", "0 24 * * *", "cron expression '0 24 * * *': hour, column 3: '24' is no value in 0..23"},
        Bad{"Day0", "0 0 0 * *", "cron expression '0 0 0 * *': day of month, column 5: '0' is no value in 1..31"},
        Bad{"Day32", "0 0 32 * *", "cron expression '0 0 32 * *': day of month, column 5: '32' is no value in 1..31"},
        Bad{"Month13", "0 0 * 13 *", "cron expression '0 0 * 13 *': month, column 7: '13' is no value in 1..12"},
        Bad{"Weekday8", "0 0 * * 8", "cron expression '0 0 * * 8': day of week, column 9: '8' is no value in 0..7"},
        Bad{"Second60", "60 * * * * *", "cron expression '60 * * * * *': second, column 1: '60' is no value in 0..59"},
        Bad{"LongNumber", "99999999999999999999 * * * *",
            "cron expression '99999999999999999999 * * * *': minute, column 1: '99999999999999999999' is no value in "
            "0..59"},
        Bad{"InAList", "0 1,2,99 * * *", "cron expression '0 1,2,99 * * *': hour, column 7: '99' is no value in 0..23"},
        Bad{"EndOfARange", "0 1-99 * * *", "cron expression '0 1-99 * * *': hour, column 5: '99' is no value in 0..23"},
        Bad{"AfterBlanks", "  0\t 99 * * *",
            "cron expression '  0\\x09 99 * * *': hour, column 6: '99' is no value in 0..23"},
        Bad{"UnknownMonth", "0 0 * foo *",
            "cron expression '0 0 * foo *': month, column 7: 'foo' is neither a number nor a name"},
        Bad{"LongName", "0 0 * * MONDAY",
            "cron expression '0 0 * * MONDAY': day of week, column 9: 'MONDAY' is neither a number nor a name"},
        Bad{"DayNameAsMonth", "0 0 * MON *",
            "cron expression '0 0 * MON *': month, column 7: 'MON' is neither a number nor a name"},
        Bad{"NameWithoutNames", "0 ONE * * *", "cron expression '0 ONE * * *': hour, column 3: 'ONE' is not a number"},
        Bad{"Backwards", "0 22-2 * * *",
            "cron expression '0 22-2 * * *': hour, column 3: '22-2' runs backwards; write two ranges, or the smaller "
            "value first"},
        Bad{"BackwardsNames", "0 0 * * SAT-MON",
            "cron expression '0 0 * * SAT-MON': day of week, column 9: 'SAT-MON' runs backwards; write two ranges, or "
            "the smaller value first"},
        Bad{"Step0", "*/0 * * * *", "cron expression '*/0 * * * *': minute, column 3: '0' is no step in 1..59"},
        Bad{"StepTooLong", "*/90 * * * *",
            "cron expression '*/90 * * * *': minute, column 3: '90' is no step in 1..59"},
        Bad{"StepEmpty", "*/ * * * *", "cron expression '*/ * * * *': minute, column 3: '' is not a number"},
        Bad{"StepNegative", "*/-5 * * * *", "cron expression '*/-5 * * * *': minute, column 3: '-5' is not a number"},
        Bad{"TwoSteps", "*/2/3 * * * *", "cron expression '*/2/3 * * * *': minute, column 3: '2/3' is not a number"},
        Bad{"Negative", "-5 * * * *",
            "cron expression '-5 * * * *': minute, column 1: '' stands where a value is wanted"},
        Bad{"OpenRange", "5- * * * *",
            "cron expression '5- * * * *': minute, column 3: '' stands where a value is wanted"},
        Bad{"TwoDashes", "1-2-3 * * * *", "cron expression '1-2-3 * * * *': minute, column 3: '2-3' is not a number"},
        Bad{"StarInARange", "*-3 * * * *",
            "cron expression '*-3 * * * *': minute, column 1: '*' is wanted alone, with a step, or in a list"},
        Bad{"NumberAfterStar", "*5 * * * *", "cron expression '*5 * * * *': minute, column 1: '*5' is not a number"},
        Bad{"Plus", "+5 * * * *", "cron expression '+5 * * * *': minute, column 1: '+5' is not a number"},
        Bad{"Fraction", "1.5 * * * *", "cron expression '1.5 * * * *': minute, column 1: '1.5' is not a number"},
        Bad{"EmptyInAList", "1,,2 * * * *",
            "cron expression '1,,2 * * * *': minute, column 3: ',' stands where a list wants a value"},
        Bad{"CommaFirst", ",2 * * * *",
            "cron expression ',2 * * * *': minute, column 1: ',' stands where a list wants a value"},
        Bad{"CommaLast", "2, * * * *",
            "cron expression '2, * * * *': minute, column 3: '' stands where a list wants a value"},
        Bad{"QuestionMarkAsMinute", "? * * * *",
            "cron expression '? * * * *': minute, column 1: '?' is for the days of month and of week only"},
        Bad{"QuestionMarkAsMonth", "0 0 1 ? *",
            "cron expression '0 0 1 ? *': month, column 7: '?' is for the days of month and of week only"},
        Bad{"QuestionMarkInAList", "0 0 1,? * *",
            "cron expression '0 0 1,? * *': day of month, column 7: '?' must stand alone"},
        Bad{"QuestionMarkWithAStep", "0 0 ?/2 * *",
            "cron expression '0 0 ?/2 * *': day of month, column 5: '?' must stand alone"},
        Bad{"LAsHour", "0 L * * *",
            "cron expression '0 L * * *': hour, column 3: 'L' holds L, which is for the days of month and of week"},
        Bad{"LAloneAsWeekday", "0 0 * * L",
            "cron expression '0 0 * * L': day of week, column 9: 'L' wants a day in front of it (5L: the last Friday)"},
        Bad{"LWithNumberAsDay", "0 0 5L * *",
            "cron expression '0 0 5L * *': day of month, column 5: '5L' is not a number"},
        Bad{"LMinus0", "0 0 L-0 * *",
            "cron expression '0 0 L-0 * *': day of month, column 7: '0' is no value in 1..30"},
        Bad{"LMinus31", "0 0 L-31 * *",
            "cron expression '0 0 L-31 * *': day of month, column 7: '31' is no value in 1..30"},
        Bad{"LMinusNothing", "0 0 L- * *", "cron expression '0 0 L- * *': day of month, column 7: '' is not a number"},
        Bad{"WAsHour", "0 5W * * *",
            "cron expression '0 5W * * *': hour, column 3: '5W' holds W, which is for the day of month"},
        Bad{"WAsWeekday", "0 0 * * 5W",
            "cron expression '0 0 * * 5W': day of week, column 9: '5W' holds W, which is for the day of month"},
        Bad{"WAlone", "0 0 W * *", "cron expression '0 0 W * *': day of month, column 5: 'W' is not a number"},
        Bad{"W32", "0 0 32W * *", "cron expression '0 0 32W * *': day of month, column 5: '32' is no value in 1..31"},
        Bad{"WOfARange", "0 0 1-5W * *",
            "cron expression '0 0 1-5W * *': day of month, column 5: '1-5' is not a number"},
        Bad{"SharpAsDay", "0 0 5#1 * *",
            "cron expression '0 0 5#1 * *': day of month, column 5: '5#1' holds #, which is for the day of week"},
        Bad{"Sharp6", "0 0 * * 5#6", "cron expression '0 0 * * 5#6': day of week, column 11: '6' is no value in 1..5"},
        Bad{"Sharp0", "0 0 * * 5#0", "cron expression '0 0 * * 5#0': day of week, column 11: '0' is no value in 1..5"},
        Bad{"SharpOfARange", "0 0 * * 1-5#2",
            "cron expression '0 0 * * 1-5#2': day of week, column 9: '1-5' is not a number"},
        Bad{"Missing", "* * * *",
            "cron expression '* * * *': column 8: the field for day of week is missing, there are 4 of 5"},
        Bad{"MissingAll", "5", "cron expression '5': column 2: the field for hour is missing, there are 1 of 5"},
        Bad{"TooMany", "0 0 0 * * * 2026",
            "cron expression '0 0 0 * * * 2026': column 13: '2026' is one field too many"},
        Bad{"Garbage", "0 0 * * * echo",
            "cron expression '0 0 * * * echo': day of week, column 11: 'echo' is neither a number nor a name"},
        Bad{"Empty", "", "cron expression '' is empty"}, Bad{"Blank", "  \t ", "cron expression '' is empty"},
        Bad{"ControlCharacter", "0 0 *\n* *",
            "cron expression '0 0 *\\x0a* *': field 3, column 6: '\\x0a' is not allowed"},
        Bad{"ControlCharacterInAField", "0 0 *\x01 * *",
            "cron expression '0 0 *\\x01 * *': day of month, column 6: '\\x01' is not allowed"},
        Bad{"Zero", std::string_view("0 0 * * *\0", 10),
            "cron expression '0 0 * * *\\x00': day of week, column 10: '\\x00' is not allowed"},
        Bad{"NotAscii", "0 0 * m\xc3\xa4r *",
            "cron expression '0 0 * m\\xc3\\xa4r *': month, column 8: '\\xc3' is not allowed"},
        Bad{"Reboot", "@reboot",
            "cron expression '@reboot': column 1: '@reboot' names no time, and schedules do not depend on restarts"},
        Bad{"UnknownNickname", "@fortnightly", "cron expression '@fortnightly': column 1: '@fortnightly' is not known"},
        Bad{"Every", "@every 5m", "cron expression '@every 5m': column 1: '@every' is not known"},
        Bad{"AfterANickname", "@daily 5", "cron expression '@daily 5': column 8: '5' after @daily"},
        Bad{"February30", "0 0 30 2 *",
            "cron expression '0 0 30 2 *': day of month, column 5: '30' with month '2' and day of week '*' is no day "
            "that "
            "ever comes"},
        Bad{"April31", "0 0 31 4,6,SEP,11 ?",
            "cron expression '0 0 31 4,6,SEP,11 ?': day of month, column 5: '31' with month '4,6,SEP,11' and day of "
            "week "
            "'?' is no day that ever comes"},
        Bad{"February30W", "0 0 30W 2 *",
            "cron expression '0 0 30W 2 *': day of month, column 5: '30W' with month '2' and day of week '*' is no day "
            "that ever comes"},
        Bad{"February29Minus29", "0 0 L-29 2 *",
            "cron expression '0 0 L-29 2 *': day of month, column 5: 'L-29' with month '2' and day of week '*' is no "
            "day "
            "that ever comes"}),
    name_of);

TEST(CronParse, SaysWhatEachFieldAllows) {
  const auto allowed = [](std::string_view expression) {
    const std::string message = error_of(expression);
    return message.substr(message.find("; allowed: ") + 11);
  };
  const std::string common(kCommon);
  EXPECT_EQ(allowed("x * * * * *"), "0..59, *, " + common);
  EXPECT_EQ(allowed("x * * * *"), "0..59, *, " + common);
  EXPECT_EQ(allowed("* x * * *"), "0..23, *, " + common);
  EXPECT_EQ(allowed("* * x * *"), "1..31, *, ?, L, L-1..L-30, LW, 1W..31W, " + common);
  EXPECT_EQ(allowed("* * * x *"), "1..12, JAN..DEC, *, " + common);
  EXPECT_EQ(allowed("* * * * x"),
            "0..7 (0 and 7 are Sunday), SUN..SAT, *, ?, 5L (the last Friday), 5#1..5#5, " + common);
  EXPECT_EQ(allowed(""), kForms);
  EXPECT_EQ(allowed("* * * *"), kForms);
  EXPECT_EQ(allowed("* * * * * * *"), kForms);
  EXPECT_EQ(allowed("@reboot"), kNicknames);
  EXPECT_EQ(allowed("@x"), kNicknames);
  EXPECT_EQ(allowed("\x01"), "printable ASCII characters");
}

TEST(CronParse, RefusesMoreThan256Bytes) {
  std::string expression = "0 0 * * 1";
  while (expression.size() < 256) expression += ",1";
  EXPECT_EQ(expression.size(), 257U);
  EXPECT_EQ(error_of(expression),
            "cron expression '" + expression.substr(0, 40) + "…' has 257 bytes; allowed: at most 256");
  EXPECT_EQ(error_of("@daily" + std::string(250, ' ')), "parsed");
  EXPECT_LT(error_of(std::string(10'000'000, '*')).size(), 200U);
}

TEST(CronParse, TakesADayThatIsRareButComes) {
  for (const char* expression : {"0 0 29 2 *", "0 0 29 2 */7", "0 0 31 * *", "0 0 L-30 * *", "0 0 */28 2 0#5",
                                 "0 0 30 2 1", "0 0 31W 4,5 *", "0 0 L-28 2 *"}) {
    EXPECT_EQ(error_of(expression), "parsed") << expression;
  }
}

TEST(CronParse, KeepsTheTextAsItWasGiven) {
  const auto parsed = CronExpression::parse("  0\t0 * * mon-FRI ");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->text(), "  0\t0 * * mon-FRI ");
}

TEST(CronParse, AnswersAnyText) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  constexpr std::string_view kLetters = "0123456789**//--,,LW#?     @monMONjan\t\x01\xff";
  int parsed = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::string text = random() % 2 == 0 ? "* * * * *" : "0 0 1 1 1";
    for (std::uint64_t n = random() % 6; n > 0; --n) {
      const std::size_t place = random() % text.size();
      const char letter = kLetters[random() % kLetters.size()];
      if (random() % 2 == 0) {
        text[place] = letter;
      } else {
        text.insert(place, 1, letter);
      }
    }
    const auto expression = CronExpression::parse(text);
    if (expression) {
      ++parsed;
      EXPECT_TRUE(expression->next(Zone::utc(), Timestamp())) << text;
    } else {
      EXPECT_NE(expression.error().message.find("; allowed: "), std::string::npos) << expression.error().message;
      EXPECT_TRUE(std::ranges::all_of(expression.error().message, [](char c) { return c >= ' ' && c <= '~'; }));
    }
  }
  EXPECT_GT(parsed, 5'000) << "too few for a test";
}

TEST(FireRule, IsReadAsItIsWritten) {
  for (const FireRule rule : {FireRule::regular, FireRule::every_pass, FireRule::first_pass, FireRule::after_gap}) {
    EXPECT_EQ(parse_fire_rule(name(rule)), rule);
  }
  EXPECT_EQ(name(FireRule::after_gap), "after_gap");
  EXPECT_EQ(parse_fire_rule("Regular"), std::nullopt);
}

}  // namespace
}  // namespace wfo::schedule
