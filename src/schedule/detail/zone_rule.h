#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

/// How a zone goes on after the last change that its file lists: the file's last line, `EST5EDT,M3.2.0,M11.1.0`
/// (RFC 8536 section 3.3, POSIX `TZ`). The library does not read it, and its zones stand still from 2037 on.
namespace wfo::schedule::detail {

/// When in a year the clock changes.
struct YearlyChange {
  struct MonthDay {  // M3.2.0: the second Sunday of March; week 5 is the last
    unsigned month;
    unsigned week;
    unsigned weekday;
  };
  struct JulianDay {  // J60 is the 1st of March, always
    int day;
  };
  struct DayOfYear {  // 0 is the 1st of January
    int day;
  };
  std::variant<MonthDay, JulianDay, DayOfYear> day;
  std::chrono::seconds time;  // on the clock before the change; -167 h .. 167 h

  [[nodiscard]] std::chrono::local_seconds in(std::chrono::year year) const;
};

struct ZoneRule {
  struct Offset {
    std::string abbreviation;
    std::chrono::seconds ahead_of_utc;
  };
  struct Summer {
    Offset offset;
    YearlyChange begin;
    YearlyChange end;
  };
  Offset standard;
  std::optional<Summer> summer;

  /// Nothing for what is not such a rule.
  [[nodiscard]] static std::optional<ZoneRule> parse(std::string_view text);
};

}  // namespace wfo::schedule::detail
