#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schedule/detail/zone_rule.h"

namespace wfo::schedule::detail {

using SysSeconds = std::chrono::sys_seconds;

/// Between two changes of a zone's clock.
struct ZonePeriod {
  SysSeconds begin;                    // included
  SysSeconds end;                      // not included
  std::chrono::seconds offset;         // ahead of UTC
  std::chrono::seconds offset_before;  // of the period before; the same as `offset` in the very first
  std::chrono::seconds offset_after;
  std::string_view abbreviation;
};

/// A zone as a table, for good: no lock and no file once it is made. Any thread.
class ZonePeriods {
 public:
  /// UTC, which needs no file.
  ZonePeriods();
  /// By the system's data, of a zone in `zone_names`. Errors: `unavailable` its file cannot be read, or is not one.
  [[nodiscard]] static Result<ZonePeriods> load(const std::string& name);

  [[nodiscard]] ZonePeriod at(SysSeconds time) const;

 private:
  struct Change {
    SysSeconds at;
    std::chrono::seconds offset;
    std::size_t abbreviation;
  };
  void add(SysSeconds at, std::chrono::seconds offset, const std::string& abbreviation);
  void add_years_of(const ZoneRule& rule);

  std::vector<Change> changes_;  // by time; the first one is at the beginning of time
  std::vector<std::string> abbreviations_;
};

/// All names of the system's zones, sorted. Errors: `unavailable` there is no zone data.
[[nodiscard]] Result<std::vector<std::string>> zone_names();

/// Up to three of `names` that somebody may have meant who wrote `wrong`, best first.
[[nodiscard]] std::vector<std::string> similar_names(const std::vector<std::string>& names, std::string_view wrong);

}  // namespace wfo::schedule::detail
