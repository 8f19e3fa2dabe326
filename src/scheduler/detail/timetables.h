#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "schedule/schedule.h"
#include "store/schedule_store.h"

namespace wfo::scheduler {

/// A stored definition, ready to be asked.
struct Parsed {
  schedule::Schedule schedule;
  schedule::Timetable timetable;
};
using ParsedPtr = std::shared_ptr<const Parsed>;

/// Errors: `corruption` the definition cannot be read (any more: a zone may be gone from the system's data). That its
/// job is not in the catalogue is none: the trigger is published, and whoever works jobs says that it knows none.
[[nodiscard]] Result<ParsedPtr> parse_stored(const store::StoredSchedule& schedule);

/// Definitions that were read lately, since reading one costs more than planning its next fire. Any thread.
class Timetables {
 public:
  static constexpr std::size_t kEntriesMax = 50'000;  // about a kilobyte each

  explicit Timetables(std::size_t entries_max = kEntriesMax) : entries_max_(entries_max) {}
  /// Errors: as `parse_stored`.
  [[nodiscard]] Result<ParsedPtr> of(const store::StoredSchedule& schedule);
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    std::string definition;
    ParsedPtr parsed;
  };
  const std::size_t entries_max_;
  mutable std::mutex mutex_;                        // guards entries_
  std::unordered_map<std::string, Entry> entries_;  // by name
};

}  // namespace wfo::scheduler
