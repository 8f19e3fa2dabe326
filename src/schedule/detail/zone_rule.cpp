#include "schedule/detail/zone_rule.h"

#include <charconv>

namespace wfo::schedule::detail {
namespace {

using namespace std::chrono;

// Reads from the front of `rest`, or sets `failed`, after which nothing that it returns counts.
struct Reader {
  std::string_view rest;
  bool failed = false;

  bool take(char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }
  int number(int min, int max) {
    int value = 0;
    const bool digit = !rest.empty() && rest.front() >= '0' && rest.front() <= '9';
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (!digit || error != std::errc{} || value < min || value > max) {
      failed = true;
      return min;
    }
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return value;
  }
  std::string abbreviation() {
    const bool quoted = take('<');
    constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const std::size_t end = std::min(quoted ? rest.find('>') : rest.find_first_not_of(kLetters), rest.size());
    std::string name(rest.substr(0, end));
    rest.remove_prefix(end);
    if (name.empty() || (quoted && !take('>'))) failed = true;
    return name;
  }
  seconds time(int hours_max) {
    const bool negative = take('-');
    if (!negative) take('+');
    seconds time = hours(number(0, hours_max));
    if (take(':')) time += minutes(number(0, 59));
    if (take(':')) time += seconds(number(0, 59));
    return negative ? -time : time;
  }
  YearlyChange change() {
    YearlyChange change{};
    if (!take(',')) failed = true;
    if (take('M')) {
      YearlyChange::MonthDay day{};
      day.month = static_cast<unsigned>(number(1, 12));
      failed |= !take('.');
      day.week = static_cast<unsigned>(number(1, 5));
      failed |= !take('.');
      day.weekday = static_cast<unsigned>(number(0, 6));
      change.day = day;
    } else if (take('J')) {
      change.day = YearlyChange::JulianDay{number(1, 365)};
    } else {
      change.day = YearlyChange::DayOfYear{number(0, 365)};
    }
    change.time = take('/') ? time(167) : hours(2);
    return change;
  }
};

struct DayIn {
  std::chrono::year year;

  local_days operator()(const YearlyChange::MonthDay& day) const {
    const auto month = year / static_cast<int>(day.month);
    const weekday wanted(day.weekday);
    return day.week == 5 ? local_days(month / wanted[last]) : local_days(month / wanted[day.week]);
  }
  local_days operator()(const YearlyChange::JulianDay& day) const {
    return local_days(year / January / 1) + days(day.day - 1 + (year.is_leap() && day.day > 59 ? 1 : 0));
  }
  local_days operator()(const YearlyChange::DayOfYear& day) const {
    return local_days(year / January / 1) + days(day.day);
  }
};

}  // namespace

local_seconds YearlyChange::in(std::chrono::year year) const { return std::visit(DayIn{year}, day) + time; }

std::optional<ZoneRule> ZoneRule::parse(std::string_view text) {
  Reader reader{text};
  ZoneRule rule;
  rule.standard.abbreviation = reader.abbreviation();
  rule.standard.ahead_of_utc = -reader.time(24);  // POSIX counts west of Greenwich
  if (!reader.failed && !reader.rest.empty()) {
    Summer summer;
    summer.offset.abbreviation = reader.abbreviation();
    const bool own_offset = !reader.rest.empty() && reader.rest.front() != ',';
    summer.offset.ahead_of_utc = own_offset ? -reader.time(24) : rule.standard.ahead_of_utc + hours(1);
    summer.begin = reader.change();
    summer.end = reader.change();
    rule.summer = std::move(summer);
  }
  if (reader.failed || !reader.rest.empty()) return std::nullopt;
  return rule;
}

}  // namespace wfo::schedule::detail
