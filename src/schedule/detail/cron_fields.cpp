#include "schedule/detail/cron_fields.h"

#include <bit>

namespace wfo::schedule::detail {
namespace {

using namespace std::chrono;

template <class Mask>
int next_bit(Mask mask, int from) {  // -1: none
  if (from >= static_cast<int>(sizeof(Mask) * 8)) return -1;
  mask &= ~Mask{0} << from;
  return mask == 0 ? -1 : std::countr_zero(mask);
}

// The first second of the day at or after `from`, or -1.
int first_of_day(const CronFields& fields, int from) {
  int hour = from / 3600;
  int minute = from / 60 % 60;
  int second = next_bit(fields.seconds, from % 60);
  if (second < 0) {
    second = std::countr_zero(fields.seconds);
    ++minute;
  }
  const int wanted_minute = next_bit(fields.minutes, minute);
  if (wanted_minute != minute) second = std::countr_zero(fields.seconds);
  minute = wanted_minute;
  if (minute < 0) {
    minute = std::countr_zero(fields.minutes);
    ++hour;
  }
  const int wanted_hour = next_bit(fields.hours, hour);
  if (wanted_hour < 0) return -1;
  if (wanted_hour != hour) {
    minute = std::countr_zero(fields.minutes);
    second = std::countr_zero(fields.seconds);
  }
  return wanted_hour * 3600 + minute * 60 + second;
}

struct Month {
  int length;
  int weekday_of_first;  // 0: Sunday

  explicit Month(year_month month)
      : length(static_cast<int>(static_cast<unsigned>((month / last).day()))),
        weekday_of_first(static_cast<int>(weekday(LocalDays(month / 1)).c_encoding())) {}

  [[nodiscard]] int weekday_of(int day) const { return (weekday_of_first + day - 1) % 7; }
  [[nodiscard]] int first(int weekday) const { return 1 + (weekday - weekday_of_first + 7) % 7; }
  [[nodiscard]] int last_of(int weekday) const {
    const int day = first(weekday) + 28;
    return day <= length ? day : day - 7;
  }
  // Monday to Friday, at most two days away, in this month.
  [[nodiscard]] int nearest_working(int day) const {
    switch (weekday_of(day)) {
      case 6:
        return day > 1 ? day - 1 : day + 2;
      case 0:
        return day < length ? day + 1 : day - 2;
      default:
        return day;
    }
  }
  [[nodiscard]] int last_working() const {
    const int weekday = weekday_of(length);
    return weekday == 6 ? length - 1 : weekday == 0 ? length - 2 : length;
  }
};

std::uint32_t by_day_of_month(const DaysOfMonth& rule, const Month& month) {
  std::uint32_t days = rule.days;
  for (int back = next_bit(rule.before_last, 0); back >= 0; back = next_bit(rule.before_last, back + 1)) {
    if (back < month.length) days |= 1U << (month.length - back);
  }
  for (int day = next_bit(rule.nearest_working, 1); day >= 0; day = next_bit(rule.nearest_working, day + 1)) {
    if (day <= month.length) days |= 1U << month.nearest_working(day);
  }
  if (rule.last_working) days |= 1U << month.last_working();
  return days;
}

std::uint32_t by_day_of_week(const DaysOfWeek& rule, const Month& month) {
  if (rule.days == 0x7F) return ~std::uint32_t{0};
  constexpr std::uint32_t kEverySeventh = 1U | 1U << 7 | 1U << 14 | 1U << 21 | 1U << 28;
  std::uint32_t days = 0;
  for (int weekday = 0; weekday < 7; ++weekday) {
    const auto bit = 1U << weekday;
    if (rule.days & bit) days |= kEverySeventh << month.first(weekday);
    if (rule.last & bit) days |= 1U << month.last_of(weekday);
    for (int n = 0; n < 5; ++n) {
      const int day = month.first(weekday) + 7 * n;
      if ((rule.nth[n] & bit) && day <= month.length) days |= 1U << day;
    }
  }
  return days;
}

}  // namespace

std::uint32_t CronFields::days(year_month which) const {
  const Month month(which);
  const auto exist = static_cast<std::uint32_t>((std::uint64_t{2} << month.length) - 2);
  const std::uint32_t of_month = by_day_of_month(days_of_month, month);
  const std::uint32_t of_week = by_day_of_week(days_of_week, month);
  // As Vixie cron has it, by the first character: `*/2` restricts, and yet counts as a star here.
  const bool either = !days_of_month.starts_with_star && !days_of_week.starts_with_star;
  return exist & (either ? of_month | of_week : of_month & of_week);
}

std::optional<LocalDays> CronFields::first_day(LocalDays from, LocalDays limit) const {
  const year_month_day start(from);
  int day_min = static_cast<int>(static_cast<unsigned>(start.day()));
  for (year_month month = start.year() / start.month(); LocalDays(month / 1) < limit; month += std::chrono::months(1)) {
    if (months >> static_cast<unsigned>(month.month()) & 1U) {
      const int day = next_bit(days(month), day_min);
      if (day >= 0) {
        const LocalDays found(month / day);
        if (found < limit) return found;
        return std::nullopt;
      }
    }
    day_min = 1;
  }
  return std::nullopt;
}

std::optional<LocalSeconds> CronFields::first_time(LocalSeconds from, LocalSeconds limit) const {
  if (from >= limit) return std::nullopt;
  const LocalDays today = floor<std::chrono::days>(from);
  const LocalDays limit_day = ceil<std::chrono::days>(limit);
  auto day = first_day(today, limit_day);
  int second = -1;
  if (day == today) {
    second = first_of_day(*this, static_cast<int>((from - today).count()));
    if (second < 0) day = first_day(today + std::chrono::days(1), limit_day);
  }
  if (!day) return std::nullopt;
  const LocalSeconds found = *day + std::chrono::seconds(second >= 0 ? second : first_of_day(*this, 0));
  if (found >= limit) return std::nullopt;
  return found;
}

bool CronFields::matches(LocalSeconds time) const { return first_time(time, time + std::chrono::seconds(1)) == time; }

}  // namespace wfo::schedule::detail
