#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace wfo {

using std::chrono::milliseconds;

/// A moment on the wall clock, UTC, to the millisecond.
using Timestamp = std::chrono::sys_time<milliseconds>;
/// A calendar day, UTC.
using Date = std::chrono::sys_days;

/// RFC 3339 in UTC with milliseconds: `2026-03-01T09:30:00.000Z`.
[[nodiscard]] std::string format_timestamp(Timestamp time);
void append_timestamp(std::string& out, Timestamp time);
/// Any RFC 3339 `date-time` (offset or `Z`, any number of second fractions, of which milliseconds are kept,
/// leap seconds only where one can be), else nothing. What draft-07's format `date-time` accepts.
[[nodiscard]] std::optional<Timestamp> parse_timestamp(std::string_view text);
/// `2026-03-01`.
[[nodiscard]] std::string format_date(Date date);
/// RFC 3339 `full-date`, else nothing.
[[nodiscard]] std::optional<Date> parse_date(std::string_view text);
/// `250ms`, `30s`, `5m`, `24h`, `7d`, or several in a row (`1h30m`); not negative. Nothing for anything else.
[[nodiscard]] std::optional<milliseconds> parse_duration(std::string_view text);
/// In the largest units, as `parse_duration` reads it: `1h30m`. Nothing negative.
[[nodiscard]] std::string format_duration(milliseconds duration);

/// The wall clock, as a value that is handed in. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Timestamp now() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] Timestamp now() const override;
};

/// A clock that tests move by hand.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp start) : now_(start) {}
  [[nodiscard]] Timestamp now() const override;
  void advance(milliseconds step);
  void set(Timestamp now);

 private:
  mutable std::mutex mutex_;  // guards now_
  Timestamp now_;
};

}  // namespace wfo
