#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "schedule/cron.h"
#include "schedule/tests/cron_oracle.h"

// Random expressions, zones and years, against looking at every single minute: cron_oracle.h.

namespace wfo::schedule::tests {
namespace {

using namespace std::chrono;

struct Place {
  const char* zone;
  std::vector<int> years;  // with something to see in them, mostly
};
const std::vector<Place> kPlaces = {
    {"America/New_York", {1974, 2007, 2026, 2041}},     // 2041: beyond what the zone's file lists
    {"Europe/London", {1947, 1968, 2026, 2037, 2038}},  // 1947: summer time twice over
    {"Asia/Kathmandu", {1985, 1986, 2026}},             // 1986: a quarter of an hour
    {"Australia/Lord_Howe", {1985, 2008, 2026, 2040}},  // half an hour
    {"Pacific/Apia", {2010, 2011, 2012, 2021}},         // 2011: a day that is not
    {"UTC", {2024, 2026}},
    {"America/Santiago", {2015, 2019, 2026}},  // the gap is at midnight
    {"America/Sao_Paulo", {2018, 2019}},       // the same
    {"America/Havana", {2026}},
    {"Africa/Casablanca", {2012, 2014, 2019, 2024}},  // four changes in a year
    {"Asia/Tehran", {2005, 2022}},
    {"Europe/Dublin", {1971, 2026}},  // winter time is the exception
    {"Antarctica/Troll", {2025}},     // two hours
    {"America/Caracas", {2007, 2016}},
    {"Asia/Pyongyang", {2015, 2018}},
    {"Pacific/Kwajalein", {1993}},  // a day that is not
    {"Asia/Gaza", {2024, 2039}},
    {"America/Nuuk", {2023, 2024, 2044}},  // before midnight
};

constexpr seconds kMargin = days(2);

std::int64_t start_of(int year) {
  return seconds(sys_days(std::chrono::year(year) / January / 1).time_since_epoch()).count();
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  int number(int min, int max) { return std::uniform_int_distribution(min, max)(engine_); }
  bool one_in(int n) { return number(1, n) == 1; }
  template <class T>
  const T& of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(number(0, static_cast<int>(values.size()) - 1))];
  }

 private:
  std::mt19937_64 engine_;
};

// A number, a range, a step, or a list of them; near `likely` more often than not.
std::string field(Random& random, int min, int max, int likely, bool open_steps = true) {
  const auto near = [&] {
    if (random.one_in(3)) return random.number(min, max);
    return std::clamp(likely + random.number(-2, 2), min, max);
  };
  const auto element = [&]() -> std::string {
    const int a = near();
    switch (random.number(0, 7)) {
      case 0:
        return std::to_string(a) + "-" + std::to_string(random.number(a, max));
      case 1:
        return std::to_string(a) + "-" + std::to_string(random.number(a, max)) + "/" +
               std::to_string(random.number(1, std::max(2, max / 3)));
      case 2:
        return "*/" + std::to_string(random.number(1, std::max(2, max / 2)));
      case 3:
        if (open_steps) return std::to_string(a) + "/" + std::to_string(random.number(1, std::max(2, max / 2)));
        [[fallthrough]];
      default:
        return std::to_string(a);
    }
  };
  std::string text = element();
  while (random.one_in(3)) text += "," + element();
  return text;
}

std::string days_of_month(Random& random, int likely) {
  if (!random.one_in(3)) return random.one_in(8) ? "?" : "*";
  switch (random.number(0, 6)) {
    case 0:
      return "L";
    case 1:
      return "L-" + std::to_string(random.number(1, 30));
    case 2:
      return "LW";
    case 3:
      return std::to_string(random.number(1, 31)) + "W";
    case 4:
      return std::to_string(likely) + ",LW," + std::to_string(random.number(1, 31)) + "W";
    default:
      return field(random, 1, 31, likely);
  }
}

std::string days_of_week(Random& random) {
  if (!random.one_in(3)) return random.one_in(8) ? "?" : "*";
  switch (random.number(0, 5)) {
    case 0:
      return std::to_string(random.number(0, 7)) + "L";
    case 1:
      return std::to_string(random.number(0, 7)) + "#" + std::to_string(random.number(1, 5));
    case 2:
      return "MON-fri";
    case 3:
      return "sun,2#1,5L";
    case 4:
      return std::to_string(random.number(0, 5)) + "-7";
    default:
      return field(random, 0, 7, 0);
  }
}

// Biased towards the hours around the moment of a change, `wall` in seconds on the wall.
std::string expression(Random& random, std::int64_t wall, bool with_seconds) {
  const sys_seconds time{seconds(wall)};
  const year_month_day date(floor<days>(time));
  const auto hour = static_cast<int>(duration_cast<hours>(time - floor<days>(time)).count());
  std::string text;
  if (with_seconds) text += field(random, 0, 59, 0) + " ";
  text += (random.one_in(6) ? "*" : field(random, 0, 59, random.one_in(2) ? 0 : 30)) + " ";
  const bool plain = !random.one_in(3);
  if (plain) {
    text += std::to_string(std::clamp(hour + random.number(-2, 2), 0, 23));
    while (random.one_in(2)) text += "," + std::to_string(std::clamp(hour + random.number(-3, 3), 0, 23));
    text += " ";
  } else {
    text += (random.one_in(4) ? "*" : field(random, 0, 23, hour)) + " ";
  }
  text += days_of_month(random, static_cast<int>(static_cast<unsigned>(date.day()))) + " ";
  text += (random.one_in(5) ? field(random, 1, 12, static_cast<int>(static_cast<unsigned>(date.month()))) : "*") + " ";
  return text + days_of_week(random);
}

std::string describe(const std::vector<Fire>& fires, const std::vector<Fire>& others, const Zone& zone) {
  const auto at = std::ranges::mismatch(fires, others);
  const auto show = [&](auto place, const std::vector<Fire>& of) {
    if (place == of.end()) return std::string("none");
    return format_timestamp(place->at) + " " + zone.format(place->at) + " " + std::string(name(place->rule));
  };
  return "first difference: " + show(at.in1, fires) + "; by the oracle: " + show(at.in2, others);
}

std::vector<Fire> all_fires(const CronExpression& cron, const Zone& zone, Timestamp begin, Timestamp end) {
  std::vector<Fire> fires;
  for (Timestamp after = begin - milliseconds(1);;) {
    const auto fire = cron.next(zone, after);
    if (!fire || fire->at >= end) return fires;
    EXPECT_GT(fire->at, after) << "not after";
    if (fire->at <= after) return fires;
    fires.push_back(*fire);
    after = fire->at;
  }
}

// Asked from anywhere in between, `next` gives the same.
void expect_same_from_anywhere(const CronExpression& cron, const Zone& zone, const std::vector<Fire>& fires,
                               Random& random) {
  for (int i = 0; i < 20 && !fires.empty(); ++i) {
    const auto index = static_cast<std::size_t>(random.number(0, static_cast<int>(fires.size()) - 1));
    const Fire& fire = fires[index];
    EXPECT_EQ(cron.next(zone, fire.at - seconds(1)), fire) << zone.format(fire.at);
    EXPECT_EQ(cron.next(zone, fire.at - milliseconds(1)), fire) << zone.format(fire.at);
    if (index == 0) continue;
    const auto between = duration_cast<seconds>(fire.at - fires[index - 1].at).count();
    const auto back = seconds(random.number(1, static_cast<int>(between)));
    EXPECT_EQ(cron.next(zone, fire.at - back), fire) << zone.format(fire.at - back);
  }
}

struct Counts {
  std::map<FireRule, std::size_t> fires;
  std::size_t cases = 0;
};

void expect_agreement(const std::string& text, const std::string& zone_name, const Span& span, Random& random,
                      Counts& counts) {
  SCOPED_TRACE("'" + text + "' " + zone_name);
  const auto cron = CronExpression::parse(text);
  if (!cron) {  // the generator makes days that never come, too, and nothing else that is refused
    EXPECT_NE(cron.error().message.find("no day that ever comes"), std::string::npos) << cron.error().message;
    EXPECT_TRUE(OracleExpression(text).fires(span).empty());
    return;
  }
  const auto zone = Zone::find(zone_name);
  ASSERT_TRUE(zone) << zone.error().message;
  const Timestamp begin = Timestamp(seconds(span.begin * span.step)) + kMargin;
  const Timestamp end = begin + seconds(static_cast<std::int64_t>(span.wall.size()) * span.step) - 2 * kMargin;
  const std::vector<Fire> fires = all_fires(*cron, *zone, begin, end);
  const std::vector<Fire> expected = OracleExpression(text).fires(span);
  ASSERT_TRUE(fires == expected) << describe(fires, expected, *zone);
  expect_same_from_anywhere(*cron, *zone, fires, random);
  for (const Fire& fire : fires) ++counts.fires[fire.rule];
  ++counts.cases;
}

void expect_all_rules_seen(const Counts& counts, std::size_t times) {
  for (const FireRule rule : {FireRule::regular, FireRule::every_pass, FireRule::first_pass, FireRule::after_gap}) {
    EXPECT_GE(counts.fires.contains(rule) ? counts.fires.at(rule) : 0, times) << name(rule) << ": too few for a test";
  }
}

TEST(CronProperties, AThousandRandomCasesFireAsLookingAtEveryMinuteSays) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  std::map<std::pair<std::string, int>, Span> spans;
  Counts counts;
  while (counts.cases < 1'000 && !testing::Test::HasFatalFailure()) {
    const Place& place = random.of(kPlaces);
    const int year = random.of(place.years);
    auto& span = spans[{place.zone, year}];
    if (span.wall.empty()) {
      span = Span::make(place.zone, start_of(year) - kMargin.count(), start_of(year + 1) + kMargin.count(), 60);
    }
    const std::size_t jump = span.jumps.empty() ? span.wall.size() / 2 : random.of(span.jumps);
    const std::string text = expression(random, span.wall[jump] * 60, false);
    expect_agreement(text, place.zone, span, random, counts);
    ASSERT_FALSE(HasFailure());
  }
  expect_all_rules_seen(counts, 40);
}

TEST(CronProperties, ExpressionsWithSecondsFireAsLookingAtEverySecondAroundAChangeSays) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  struct Change {
    const char* zone;
    std::int64_t at;
  };
  const std::vector<Change> changes = {
      {"America/New_York", 1'772'953'200},     // 2026-03-08
      {"America/New_York", 1'793'512'800},     // 2026-11-01
      {"Australia/Lord_Howe", 1'775'314'800},  // 2026-04-04
      {"Australia/Lord_Howe", 1'791'041'400},  // 2026-10-03
      {"Africa/Monrovia", 63'593'070},         // 1972-01-07, by 44 minutes and 30 seconds
      {"Pacific/Apia", 1'325'239'200},         // 2011-12-30
      {"Europe/Amsterdam", -1'017'796'772},    // 1937-07-01: by some seconds, in data that still has Amsterdam's own
  };
  std::map<std::int64_t, Span> spans;
  Counts counts;
  while (counts.cases < 500 && !testing::Test::HasFatalFailure()) {
    const Change& change = random.of(changes);
    auto& span = spans[change.at];
    if (span.wall.empty()) {
      const seconds half = kMargin + hours(30);
      span = Span::make(change.zone, change.at - half.count(), change.at + half.count(), 1);
    }
    const std::size_t jump = span.jumps.empty() ? span.wall.size() / 2 : random.of(span.jumps);
    expect_agreement(expression(random, span.wall[jump], true), change.zone, span, random, counts);
    ASSERT_FALSE(HasFailure());
  }
  expect_all_rules_seen(counts, 1);
}

}  // namespace
}  // namespace wfo::schedule::tests
