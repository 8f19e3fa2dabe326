#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

/// Cron expressions and time zones: when something is to fire. Pure: no clock, and no I/O but reading the system's zone
/// data, once (docs/adr/0012-schedules.md).
namespace wfo::schedule {

/// How daylight saving acted on a fire (design section 9, as Vixie cron means it).
enum class FireRule {
  regular,     // its wall-clock time exists once
  every_pass,  // the hour field is a wildcard, a range or a step: it fires on both passes of a repeated hour
  first_pass,  // plain hour numbers: the first pass of a repeated hour fires, the second does not
  after_gap,   // plain hour numbers whose times do not exist that day: merged into the first instant after the gap
};
[[nodiscard]] std::string_view name(FireRule rule);
[[nodiscard]] std::optional<FireRule> parse_fire_rule(std::string_view text);

struct Fire {
  Timestamp at;  // whole seconds
  FireRule rule = FireRule::regular;
  friend bool operator==(const Fire&, const Fire&) = default;
};

/// An IANA time zone of the system's data. Cheap to copy; lives as long as the program.
class Zone {
 public:
  /// Errors: `invalid_argument` names the zone, and those with a similar name if there are any.
  [[nodiscard]] static Result<Zone> find(std::string_view name);
  [[nodiscard]] static Zone utc();
  [[nodiscard]] const std::string& name() const;
  /// How much the wall clock there is ahead of UTC at that moment.
  [[nodiscard]] std::chrono::seconds offset(Timestamp at) const;
  /// `2026-03-29 03:00:00 +02:00 CEST`.
  [[nodiscard]] std::string format(Timestamp at) const;

 private:
  friend class CronExpression;
  struct Data;
  explicit Zone(const Data* data) : data_(data) {}
  const Data* data_;
};

/// A parsed expression: five fields (minute, hour, day of month, month, day of week), or six with the second in front;
/// or `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`. In a field: `*`, `?` (days
/// only), numbers, ranges (`1-5`), steps (`*/15`, `10-50/10`, `5/15`), lists, names of months and days (three letters,
/// any case), day of month `L` (the last), `L-3`, `LW`, `15W` (the working day nearest to it, of the same month), day
/// of week `5L` (the last Friday), `5#3` (the third), 0 and 7 are Sunday. Where both kinds of day are restricted,
/// either one is enough, as Vixie cron has it; a field that begins with `*` restricts nothing for that rule. Immutable.
class CronExpression {
 public:
  /// Errors: `invalid_argument` names the field, the column (from 1) and what is allowed; also for what no day can ever
  /// be (`0 0 30 2 *`).
  [[nodiscard]] static Result<CronExpression> parse(std::string_view text);

  [[nodiscard]] const std::string& text() const { return text_; }
  /// The first fire after `after`, strictly; nothing if there is none within some 50 years.
  [[nodiscard]] std::optional<Fire> next(const Zone& zone, Timestamp after) const;

 private:
  struct Fields;
  CronExpression() = default;
  std::string text_;
  std::shared_ptr<const Fields> fields_;
};

/// The same as one function.
[[nodiscard]] inline std::optional<Fire> next_fire(const CronExpression& expression, const Zone& zone,
                                                   Timestamp after) {
  return expression.next(zone, after);
}

}  // namespace wfo::schedule
