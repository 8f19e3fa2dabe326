#pragma once

#include <time.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "schedule/cron.h"

/// When a cron expression fires, by definition: looks at every single minute (or second) of a span, asks the C library
/// what the clock on the wall shows, and reads the text of the expression as a person would. Slow, and shares no code
/// and no reading of zone files with cron.cpp. Good expressions only.
namespace wfo::schedule::tests {

/// The seconds that the wall clock is ahead of UTC, and the letters for it, by the C library. One thread.
struct LibcTime {
  long offset;
  std::string abbreviation;
};
inline void set_libc_zone(const std::string& zone) {
  setenv("TZ", (":" + zone).c_str(), 1);
  tzset();
}
inline LibcTime libc_time(std::int64_t at) {
  const time_t time = at;
  tm local{};
  localtime_r(&time, &local);
  return {local.tm_gmtoff, local.tm_zone};
}

/// A span of time in steps of a minute or a second, and what the wall clock shows at each.
struct Span {
  std::int64_t begin;                 // UTC, in steps since 1970
  std::int64_t step;                  // seconds
  std::vector<std::int64_t> wall;     // in steps since 1970-01-01 00:00 on the wall
  std::vector<std::uint8_t> passes;   // how often the span has that wall-clock time
  std::vector<std::uint8_t> earlier;  // of these, how many before
  std::vector<std::size_t> jumps;     // where the wall clock does not just go on

  static Span make(const std::string& zone, std::int64_t begin_s, std::int64_t end_s, std::int64_t step) {
    set_libc_zone(zone);
    Span span{begin_s / step, step, {}, {}, {}, {}};
    std::int64_t min = INT64_MAX;
    std::int64_t max = INT64_MIN;
    for (std::int64_t at = span.begin; at < end_s / step; ++at) {
      const time_t time = at * step;
      tm local{};
      localtime_r(&time, &local);
      const std::int64_t wall = (time + local.tm_gmtoff) / step;
      if (!span.wall.empty() && wall != span.wall.back() + 1) span.jumps.push_back(span.wall.size());
      span.wall.push_back(wall);
      min = std::min(min, wall);
      max = std::max(max, wall);
    }
    std::vector<std::uint8_t> count(static_cast<std::size_t>(max - min + 1));
    for (const std::int64_t wall : span.wall) span.earlier.push_back(count[static_cast<std::size_t>(wall - min)]++);
    for (const std::int64_t wall : span.wall) span.passes.push_back(count[static_cast<std::size_t>(wall - min)]);
    return span;
  }
};

class OracleExpression {
 public:
  explicit OracleExpression(const std::string& text) {
    std::istringstream stream(text);
    for (std::string word; stream >> word;) words_.push_back(word);
    if (words_.size() == 5) words_.insert(words_.begin(), "0");
    for (int i = 0; i < 60; ++i) {
      second_[i] = in_list(words_[0], i, 0, 59);
      minute_[i] = in_list(words_[1], i, 0, 59);
    }
    for (int i = 0; i < 24; ++i) hour_[i] = in_list(words_[2], i, 0, 23);
    every_pass_ = words_[2].find_first_of("*-/") != std::string::npos;
  }

  [[nodiscard]] bool every_pass() const { return every_pass_; }

  /// `wall`: seconds since 1970-01-01 00:00 on the wall.
  [[nodiscard]] bool matches(std::int64_t wall) {
    const std::int64_t day = (wall >= 0 ? wall : wall - 86'399) / 86'400;
    const auto second = static_cast<int>(wall - day * 86'400);
    return second_[second % 60] && minute_[second / 60 % 60] && hour_[second / 3'600] && day_matches(day);
  }

  /// All fires in the span, its first and last two days excluded.
  [[nodiscard]] std::vector<Fire> fires(const Span& span) {
    std::vector<Fire> fires;
    std::size_t jump = 0;
    const auto margin = static_cast<std::size_t>(2 * 86'400 / span.step);
    for (std::size_t i = 0; i < span.wall.size(); ++i) {
      const bool jumped = jump < span.jumps.size() && span.jumps[jump] == i;
      if (jumped) ++jump;
      if (i < margin || i + margin >= span.wall.size()) continue;
      const Timestamp at(std::chrono::seconds((span.begin + static_cast<std::int64_t>(i)) * span.step));
      if (matches(span.wall[i] * span.step) && (every_pass_ || span.earlier[i] == 0)) {
        fires.push_back({at, span.passes[i] == 1 ? FireRule::regular
                             : every_pass_       ? FireRule::every_pass
                                                 : FireRule::first_pass});
      } else if (jumped && !every_pass_) {
        bool missed = false;
        for (std::int64_t wall = span.wall[i - 1] + 1; wall < span.wall[i]; ++wall) missed |= matches(wall * span.step);
        if (missed) fires.push_back({at, FireRule::after_gap});
      }
    }
    return fires;
  }

 private:
  static std::vector<std::string> split(const std::string& text, char by) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, by);) parts.push_back(part);
    return parts;
  }
  static int number(std::string text) {
    static const std::map<std::string, int> names = {{"sun", 0}, {"mon", 1},  {"tue", 2},  {"wed", 3}, {"thu", 4},
                                                     {"fri", 5}, {"sat", 6},  {"jan", 1},  {"feb", 2}, {"mar", 3},
                                                     {"apr", 4}, {"may", 5},  {"jun", 6},  {"jul", 7}, {"aug", 8},
                                                     {"sep", 9}, {"oct", 10}, {"nov", 11}, {"dec", 12}};
    for (char& c : text) c = static_cast<char>(std::tolower(c));
    const auto name = names.find(text);
    return name != names.end() ? name->second : std::stoi(text);
  }
  static bool in_range(const std::string& text, int value, int min, int max) {
    const auto halves = split(text, '/');
    const int step = halves.size() > 1 ? std::stoi(halves[1]) : 1;
    int first = min;
    int last = max;
    if (halves[0] != "*" && halves[0] != "?") {
      const auto ends = split(halves[0], '-');
      first = number(ends[0]);
      if (ends.size() > 1) {
        last = number(ends[1]);
      } else if (halves.size() == 1) {
        last = first;
      }
    }
    return value >= first && value <= last && (value - first) % step == 0;
  }
  static bool in_list(const std::string& text, int value, int min, int max) {
    for (const std::string& part : split(text, ',')) {
      if (in_range(part, value, min, max)) return true;
    }
    return false;
  }

  struct Day {
    int year, month, day, weekday, length;
  };
  static Day civil(std::int64_t day) {
    const time_t time = day * 86'400;
    tm utc{};
    gmtime_r(&time, &utc);
    int length = 28;
    for (int more = 1; more <= 3; ++more) {  // how many of the 29th, 30th and 31st are still in this month
      const time_t other_time = (day - utc.tm_mday + 28 + more) * 86'400;
      tm other{};
      gmtime_r(&other_time, &other);
      if (other.tm_mon == utc.tm_mon) length = 28 + more;
    }
    return {utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_wday, length};
  }

  static bool working(int weekday) { return weekday >= 1 && weekday <= 5; }
  static bool day_of_month_matches(const std::string& part, const Day& day) {
    const auto weekday_of = [&](int other) { return ((day.weekday + other - day.day) % 7 + 7) % 7; };
    if (part == "L") return day.day == day.length;
    if (part.starts_with("L-")) return day.day == day.length - std::stoi(part.substr(2));
    if (part == "LW") {
      int last = day.length;
      while (!working(weekday_of(last))) --last;
      return day.day == last;
    }
    if (part.ends_with("W")) {
      const int wanted = std::stoi(part);
      if (wanted > day.length) return false;
      for (const int away : {0, -1, 1, -2, 2}) {  // the nearest first
        const int other = wanted + away;
        if (other >= 1 && other <= day.length && working(weekday_of(other))) return day.day == other;
      }
      return false;
    }
    return in_range(part, day.day, 1, 31);
  }
  static bool day_of_week_matches(const std::string& part, const Day& day) {
    if (part.ends_with("L")) {
      return number(part.substr(0, part.size() - 1)) % 7 == day.weekday && day.day + 7 > day.length;
    }
    if (const auto sharp = part.find('#'); sharp != std::string::npos) {
      return number(part.substr(0, sharp)) % 7 == day.weekday &&
             (day.day - 1) / 7 + 1 == std::stoi(part.substr(sharp + 1));
    }
    return in_range(part, day.weekday, 0, 6) || (day.weekday == 0 && part.front() != '*' && part.front() != '?' &&
                                                 part.find('7') != std::string::npos && in_range(part, 7, 0, 7));
  }

  bool day_matches(std::int64_t number_of_day) {
    if (number_of_day == day_asked_) return day_answer_;
    const Day day = civil(number_of_day);
    bool of_month = false;
    for (const auto& part : split(words_[3], ',')) of_month |= day_of_month_matches(part, day);
    bool of_week = false;
    for (const auto& part : split(words_[5], ',')) of_week |= day_of_week_matches(part, day);
    const bool star =
        words_[3].front() == '*' || words_[3].front() == '?' || words_[5].front() == '*' || words_[5].front() == '?';
    day_asked_ = number_of_day;
    day_answer_ = in_list(words_[4], day.month, 1, 12) && (star ? of_month && of_week : of_month || of_week);
    return day_answer_;
  }

  std::vector<std::string> words_;  // six
  std::array<bool, 60> second_{};
  std::array<bool, 60> minute_{};
  std::array<bool, 24> hour_{};
  bool every_pass_ = false;
  std::int64_t day_asked_ = INT64_MIN;
  bool day_answer_ = false;
};

}  // namespace wfo::schedule::tests
