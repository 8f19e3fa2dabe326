#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "schedule/plan.h"

namespace wfo::store {

using FireId = std::int64_t;  // given by the store, ascending in the order of decisions of a schedule

/// Expected fires of a schedule and what became of them: one, or consecutive ones with one outcome, cause and rule.
struct FireRecord {
  FireId id = 0;
  std::string schedule;
  schedule::PlannedFire fire;
  Timestamp decided_at;         // the last time
  std::optional<JobRunId> run;  // of a triggered one
  friend bool operator==(const FireRecord&, const FireRecord&) = default;
};

struct FireQuery {
  std::string schedule = {};          // "": of all
  std::size_t limit = 50;             // 1..1000
  std::optional<FireId> before = {};  // the page's cursor
};

/// A fire that waited, and the run that it has now.
struct ReleasedFire {
  FireId id = 0;
  JobRunId run;
};

/// The fires of one schedule that wait.
struct BufferedFires {
  std::size_t count = 0;
  std::optional<FireRecord> oldest;            // by `fire.first`
  std::optional<FireRecord> oldest_asked_for;  // of those with the cause `backfill`
};

/// What became of every expected fire.
class FireStore {
 public:
  virtual ~FireStore() = default;
  /// In order; ids are given. A skipped one joins the newest row of its schedule (`last`, `count`, `decided_at`) if
  /// that is skipped with the same cause and rule and ended before it begins; so do skipped ones of one call that
  /// follow each other. Errors: `invalid_argument` a text that `check_text` refuses; then nothing is written.
  [[nodiscard]] virtual Result<void> record(std::span<const FireRecord> fires) = 0;
  /// One place per schedule, in order.
  [[nodiscard]] virtual Result<std::vector<BufferedFires>> buffered(std::span<const std::string> schedules) const = 0;
  /// Whether a run is open of a fire that waited or was asked for: one that is triggered with the cause `released` or
  /// `backfill`. One place per schedule, in order.
  [[nodiscard]] virtual Result<std::vector<bool>> turns_taken(std::span<const std::string> schedules) const = 0;
  /// Buffered ones have their runs now: outcome triggered, cause released. Errors: `not_found` one of the ids, which is
  /// named, does not wait (any more, if it is there twice); the transaction is to be given up.
  [[nodiscard]] virtual Result<void> release(std::span<const ReleasedFire> fires, Timestamp now) = 0;
  /// The buffered ones of a schedule that is removed: outcome skipped, cause as given. Returns how many.
  [[nodiscard]] virtual Result<std::size_t> give_up_buffered(std::string_view schedule, schedule::FireCause cause,
                                                             Timestamp now) = 0;
  /// The newest first.
  [[nodiscard]] virtual Result<std::vector<FireRecord>> list(const FireQuery& query) const = 0;
  /// Deletes at most `count_max` rows decided before `before`, the oldest first; buffered ones are never deleted.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
