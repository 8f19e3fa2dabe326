#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schedule/schedule.h"

namespace wfo::schedule {

enum class FireOutcome {
  triggered,  // there is a run
  buffered,   // waits until no run of the schedule is open
  skipped,
};
[[nodiscard]] std::string_view name(FireOutcome outcome);
[[nodiscard]] std::optional<FireOutcome> parse_fire_outcome(std::string_view text);

/// Why.
enum class FireCause {
  due,             // its time had come
  catch_up,        // its time had passed while nobody looked, within the window
  released,        // triggered after it was buffered
  backfill,        // somebody asked for it
  overlap,         // skipped or buffered: a run was open
  buffer_full,     // skipped: as many wait as may
  outside_window,  // skipped: later than the catch-up window
  paused,          // skipped
  superseded,      // skipped: a later fire was due at once, and the policy lets the later one count
};
[[nodiscard]] std::string_view name(FireCause cause);
[[nodiscard]] std::optional<FireCause> parse_fire_cause(std::string_view text);

/// Consecutive expected fires with one outcome, cause and rule; one alone where it was triggered or buffered.
struct PlannedFire {
  Timestamp first;
  Timestamp last;
  std::int64_t count = 1;
  FireOutcome outcome = FireOutcome::skipped;
  FireCause cause = FireCause::due;
  FireRule rule = FireRule::regular;
  friend bool operator==(const PlannedFire&, const PlannedFire&) = default;
};

/// What is known of a schedule when its time has come.
struct Situation {
  Timestamp now;
  std::optional<Timestamp> next_at = {};  // the first expected fire that is not accounted for
  bool paused = false;
  std::size_t open_runs = 0;  // of this schedule
  std::size_t buffered = 0;   // fires that wait
  /// One of them was asked for (`FireCause::backfill`): being paused does not hold it.
  bool asked_for_waits = false;
  /// An open run is that of a fire that waited or was asked for. Asked about only under `allow_all`.
  bool turn_taken = false;
};

/// Of the fires that wait.
enum class Waiting {
  oldest,
  oldest_asked_for,  // of those with the cause `backfill`
};

struct Plan {
  std::vector<PlannedFire> fires = {};  // in order
  bool cancel_open = false;             // close the open runs first
  std::optional<Waiting> release = {};  // trigger this one first, before any of `fires`
  bool give_up_waiting = false;         // one of `fires` takes the place of all that wait: they are `superseded`
  std::optional<Timestamp> next_at = {};
  /// When `next_at` is due, jitter included: in the past if there is more to do at once. Never what the clock says: of
  /// one that is wrong the rest would have to wait for its time.
  std::optional<Timestamp> wake_up_at = {};
  friend bool operator==(const Plan&, const Plan&) = default;
};

/// A fire is due when `Timetable::due_at` has passed; `catch_up` if that is longer ago than `kLate`.
inline constexpr milliseconds kLate{60'000};
/// A fire that is no later than this is never outside of the catch-up window, however short that is: nobody looks at
/// the very instant, and a schedule with a window of 0 is to fire all the same. Jitter is no lateness either.
inline constexpr milliseconds kPunctual{10'000};
inline constexpr std::size_t kFiresMax = 10'000;  // expected fires of one plan; the rest follows at once
inline constexpr std::size_t kTriggersMax = 100;  // triggers of one plan

/// What waits is released when no run of the schedule is open, one at a time. Under `allow_all` the runs of regular
/// fires do not count, as they may never all have ended: then it waits only for one that waited or was asked for
/// itself. Under `cancel_other` (where fires wait if the policy was another before) the next regular fire takes the
/// place of all that wait. Paused, only what was asked for is released.
///
/// Accounts for every fire that is due, in order; none is left out, none comes twice whatever the clock did: it goes on
/// from `next_at`, never from the clock. Of several that are due at once under `cancel_other` only the last counts. A
/// fire waits for those before it, also where jitter makes it due earlier than they are.
[[nodiscard]] Plan plan_fires(const Schedule& schedule, const Timetable& timetable, const Situation& situation);

/// The same for fires in the past that somebody asks for: every one in [from, to), under `overlap`, whether paused or
/// not. All of them have the cause `backfill`, also those that are skipped since a run is open, as many wait as may, or
/// a later one counts. Under `buffer_one` and `buffer_all` none is triggered before one that waits already and is not
/// held by the pause: all queue up, and what waits is released by its time. Where one is triggered under
/// `cancel_other`, the caller closes the open runs. Errors: `invalid_argument` `from` is not before `to`, `to` is after
/// `now`, more than `kBufferedMax` fires (says how many are allowed), or there are none; one is to wait (`buffer_one`,
/// `buffer_all`) for a schedule that is `cancel_other`, whose next fire would cancel it.
[[nodiscard]] Result<std::vector<PlannedFire>> plan_backfill(const Schedule& schedule, const Timetable& timetable,
                                                             Timestamp from, Timestamp to, OverlapPolicy overlap,
                                                             const Situation& situation);

}  // namespace wfo::schedule
