#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "events/event.h"

namespace wfo::store {

/// The place of an event in the log: 1, 2, 3, … in the order of commits, never used twice.
using Sequence = std::int64_t;

struct LogEntry {
  Sequence sequence = 0;
  events::EventPtr event;
};

/// The log of all events of the installation (the outbox; on the embedded bus it is the bus itself). Events stand in
/// it if and only if the state change behind them is committed.
class EventLog {
 public:
  virtual ~EventLog() = default;
  /// Appends in this order. An `Event` exists only if it was checked against its contract.
  [[nodiscard]] virtual Result<void> append(std::span<const events::EventPtr> batch) = 0;
  /// Deletes at most `count_max` entries with sequence <= `through` that were committed before `before`, oldest
  /// first, and none that awaits publication (`Outbox`) nor any behind it. Returns how many.
  [[nodiscard]] virtual Result<std::size_t> trim(Sequence through, Timestamp before, std::size_t count_max) = 0;
};

/// Chooses entries by type; asked for each entry that is passed, so it must be cheap.
class TypeFilter {
 public:
  virtual ~TypeFilter() = default;
  [[nodiscard]] virtual bool wants(std::string_view event_type) const = 0;
};

struct LogPage {
  std::vector<LogEntry> entries;  // those that the filter wants, ascending
  Sequence read_through = 0;      // everything up to here has been looked at
};

/// Reads the committed log, outside of any transaction. Any thread.
class LogReader {
 public:
  virtual ~LogReader() = default;
  /// At most `count_max` wanted entries and about `bytes_max` of their bytes with sequence > `after`.
  [[nodiscard]] virtual Result<LogPage> read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                             std::size_t bytes_max) = 0;
  /// Returns when an entry with sequence > `after` is committed, after `wait`, or on `stop`.
  virtual void wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) = 0;
  /// Everything up to here has been trimmed; 0 before the first time.
  [[nodiscard]] virtual Sequence trimmed_through() = 0;
  /// The sequence of the newest committed entry (0 before the first); trimmed ones count.
  [[nodiscard]] virtual Sequence last() = 0;
};

/// How far each consumer of the embedded bus has come. Lies in the file that holds the consumer's effects.
class Positions {
 public:
  virtual ~Positions() = default;
  /// 0 for a consumer that has not been seen.
  [[nodiscard]] virtual Result<Sequence> get(std::string_view consumer) const = 0;
  [[nodiscard]] virtual Result<void> set(std::string_view consumer, Sequence position) = 0;
  /// Of every consumer that has been seen, by name.
  [[nodiscard]] virtual Result<std::vector<std::pair<std::string, Sequence>>> all() const = 0;
};

}  // namespace wfo::store
