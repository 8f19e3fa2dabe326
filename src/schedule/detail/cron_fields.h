#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

/// What a cron expression says, on the wall clock alone: no zones here.
namespace wfo::schedule::detail {

using LocalSeconds = std::chrono::local_seconds;
using LocalDays = std::chrono::local_days;

inline constexpr std::size_t kExpressionBytesMax = 256;

struct DaysOfMonth {
  std::uint32_t days = 0;             // bits 1..31
  std::uint32_t before_last = 0;      // bits 0..30: so many days before the last (L, L-3)
  std::uint32_t nearest_working = 0;  // bits 1..31: 15W
  bool last_working = false;          // LW
  bool starts_with_star = false;      // or is `?`
};
struct DaysOfWeek {
  std::uint8_t days = 0;              // bits 0..6, Sunday first
  std::uint8_t last = 0;              // 5L
  std::array<std::uint8_t, 5> nth{};  // 5#1 .. 5#5
  bool starts_with_star = false;
};

struct CronFields {
  std::uint64_t seconds = 1;  // bits 0..59
  std::uint64_t minutes = 0;  // bits 0..59
  std::uint32_t hours = 0;    // bits 0..23
  std::uint32_t months = 0;   // bits 1..12
  DaysOfMonth days_of_month;
  DaysOfWeek days_of_week;
  /// The hour field is numbers alone: neither a star, nor a range, nor a step.
  bool plain_hours = false;

  /// Bits 1..31: the days of that month.
  [[nodiscard]] std::uint32_t days(std::chrono::year_month month) const;
  [[nodiscard]] std::optional<LocalDays> first_day(LocalDays from, LocalDays limit) const;
  /// The first wall-clock time of the expression in [from, limit).
  [[nodiscard]] std::optional<LocalSeconds> first_time(LocalSeconds from, LocalSeconds limit) const;
  [[nodiscard]] bool matches(LocalSeconds time) const;
};

/// Errors: as CronExpression::parse.
[[nodiscard]] Result<CronFields> parse_cron(std::string_view text);

}  // namespace wfo::schedule::detail
