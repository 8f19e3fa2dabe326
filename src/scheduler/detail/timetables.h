#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/digest.h"
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
  /// As `bytes_of` reckons: some 50,000 schedules of one expression and little metadata.
  static constexpr std::size_t kBytesMax = std::size_t{96} << 20;

  explicit Timetables(std::size_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}
  /// Errors: as `parse_stored`.
  [[nodiscard]] Result<ParsedPtr> of(const store::StoredSchedule& schedule);
  [[nodiscard]] std::size_t size() const;
  /// What an entry takes, about: its metadata and expressions as text, and what they were parsed to.
  [[nodiscard]] static std::size_t bytes_of(const store::StoredSchedule& schedule, const Parsed& parsed);

 private:
  struct Entry {
    Sha256 definition;
    std::size_t bytes;
    ParsedPtr parsed;
  };
  using Entries = std::unordered_map<std::string, Entry>;  // by name
  void forget(Entries::iterator entry);

  const std::size_t bytes_max_;
  mutable std::mutex mutex_;  // guards entries_, bytes_
  Entries entries_;
  std::size_t bytes_ = 0;  // of all entries
};

}  // namespace wfo::scheduler
