#include "base/time.h"

#include <fmt/format.h>

#include <array>

namespace wfo {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::year_month_day;

/// Reads exactly `digits` digits at `position` and moves behind them; -1 if they are not there.
int read_digits(std::string_view text, std::size_t& position, int digits) {
  int value = 0;
  for (int i = 0; i < digits; ++i) {
    if (position >= text.size() || text[position] < '0' || text[position] > '9') return -1;
    value = value * 10 + (text[position++] - '0');
  }
  return value;
}

bool read_char(std::string_view text, std::size_t& position, char wanted) {
  if (position >= text.size() || text[position] != wanted) return false;
  ++position;
  return true;
}

std::optional<Date> read_date(std::string_view text, std::size_t& position) {
  const int year = read_digits(text, position, 4);
  if (year < 0 || !read_char(text, position, '-')) return std::nullopt;
  const int month = read_digits(text, position, 2);
  if (month < 0 || !read_char(text, position, '-')) return std::nullopt;
  const int day = read_digits(text, position, 2);
  if (day < 0) return std::nullopt;
  const year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                            std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return std::nullopt;
  return Date(date);
}

void write_digits(char* to, int value, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    to[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

struct Unit {
  std::string_view name;
  milliseconds length;
};
constexpr std::array kUnits = {Unit{"d", hours(24)}, Unit{"h", hours(1)}, Unit{"m", minutes(1)}, Unit{"s", seconds(1)},
                               Unit{"ms", milliseconds(1)}};

}  // namespace

void append_timestamp(std::string& out, Timestamp time) {
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const auto in_day = static_cast<int>((time - day).count());
  char text[] = "0000-00-00T00:00:00.000Z";
  write_digits(text, static_cast<int>(date.year()), 4);
  write_digits(text + 5, static_cast<int>(static_cast<unsigned>(date.month())), 2);
  write_digits(text + 8, static_cast<int>(static_cast<unsigned>(date.day())), 2);
  write_digits(text + 11, in_day / 3'600'000, 2);
  write_digits(text + 14, in_day / 60'000 % 60, 2);
  write_digits(text + 17, in_day / 1000 % 60, 2);
  write_digits(text + 20, in_day % 1000, 3);
  out.append(text, sizeof text - 1);
}

std::string format_timestamp(Timestamp time) {
  std::string text;
  append_timestamp(text, time);
  return text;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  std::size_t at = 0;
  const auto date = read_date(text, at);
  if (!date || at >= text.size() || (text[at] != 'T' && text[at] != 't')) return std::nullopt;
  ++at;
  const int hour = read_digits(text, at, 2);
  if (hour < 0 || hour > 23 || !read_char(text, at, ':')) return std::nullopt;
  const int minute = read_digits(text, at, 2);
  if (minute < 0 || minute > 59 || !read_char(text, at, ':')) return std::nullopt;
  const int second = read_digits(text, at, 2);
  if (second < 0 || second > 60) return std::nullopt;
  int millis = 0;
  if (read_char(text, at, '.')) {
    int digits = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++digits) {
      if (digits < 3) millis = millis * 10 + (text[at] - '0');
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 3; ++digits) millis *= 10;
  }
  if (at >= text.size()) return std::nullopt;
  minutes offset{0};
  if (text[at] == 'Z' || text[at] == 'z') {
    ++at;
  } else if (text[at] == '+' || text[at] == '-') {
    const int sign = text[at] == '-' ? -1 : 1;
    ++at;
    const int offset_hours = read_digits(text, at, 2);
    if (offset_hours < 0 || offset_hours > 23 || !read_char(text, at, ':')) return std::nullopt;
    const int offset_minutes = read_digits(text, at, 2);
    if (offset_minutes < 0 || offset_minutes > 59) return std::nullopt;
    offset = sign * (hours(offset_hours) + minutes(offset_minutes));
  } else {
    return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  const auto in_day = hours(hour) + minutes(minute) + seconds(second == 60 ? 59 : second) + milliseconds(millis);
  const Timestamp time = *date + in_day - offset;
  if (second == 60) {  // leap seconds are inserted at the end of a UTC day only; they read as its last second
    const auto minute_of_day = floor<minutes>(time - floor<days>(time));
    if (minute_of_day != hours(23) + minutes(59)) return std::nullopt;
  }
  return time;
}

std::string format_date(Date date) {
  char text[] = "0000-00-00";
  const year_month_day parts{date};
  write_digits(text, static_cast<int>(parts.year()), 4);
  write_digits(text + 5, static_cast<int>(static_cast<unsigned>(parts.month())), 2);
  write_digits(text + 8, static_cast<int>(static_cast<unsigned>(parts.day())), 2);
  return text;
}

std::optional<Date> parse_date(std::string_view text) {
  std::size_t at = 0;
  const auto date = read_date(text, at);
  return at == text.size() ? date : std::nullopt;
}

std::optional<milliseconds> parse_duration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  milliseconds total{0};
  std::size_t at = 0;
  while (at < text.size()) {
    std::int64_t value = 0;
    const std::size_t start = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      value = value * 10 + (text[at] - '0');
      if (value > 1'000'000'000'000) return std::nullopt;
    }
    if (at == start) return std::nullopt;
    const std::size_t unit_start = at;
    while (at < text.size() && text[at] >= 'a' && text[at] <= 'z') ++at;
    const auto unit_name = text.substr(unit_start, at - unit_start);
    bool known = false;
    for (const Unit& unit : kUnits) {
      if (unit.name != unit_name) continue;
      if (value > (milliseconds::max() - total) / unit.length) return std::nullopt;
      total += value * unit.length;
      known = true;
    }
    if (!known) return std::nullopt;
  }
  return total;
}

std::string format_duration(milliseconds duration) {
  std::string text;
  for (const Unit& unit : kUnits) {
    if (const auto count = duration / unit.length; count > 0) {
      text += fmt::format("{}{}", count, unit.name);
      duration -= count * unit.length;
    }
  }
  return text.empty() ? "0ms" : text;
}

Timestamp SystemClock::now() const { return floor<milliseconds>(std::chrono::system_clock::now()); }

Timestamp ManualClock::now() const {
  const std::scoped_lock lock(mutex_);
  return now_;
}

void ManualClock::advance(milliseconds step) {
  const std::scoped_lock lock(mutex_);
  now_ += step;
}

void ManualClock::set(Timestamp now) {
  const std::scoped_lock lock(mutex_);
  now_ = now;
}

}  // namespace wfo
