#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "scheduler/detail/core.h"
#include "scheduler/detail/job_events.h"

namespace wfo::scheduler {

// Bounds of one transaction; what is left follows in the next one.
inline constexpr std::size_t kFiresAtOnce = 2 * schedule::kFiresMax;  // planned, of all schedules
inline constexpr std::size_t kTriggersAtOnce = 2'000;
inline constexpr std::size_t kCancelsAtOnce = 100;  // runs of one schedule that are read and closed in one step
/// When a schedule is looked at again whose definition cannot be read, or whose trigger cannot be made.
inline constexpr milliseconds kLookAgain{60'000};

enum class Jitter { waited_for, ignored };
/// What becomes of fires that are late by more than `schedule::kLate`. Skipped: as if the schedule had been paused
/// then, and what is not late, too, if it cannot be triggered.
enum class Late { caught_up, skipped };
struct How {
  Jitter jitter = Jitter::waited_for;
  Late late = Late::caught_up;
};

/// What an operator stops is not caught up with first.
inline constexpr How kPaused{.late = Late::skipped};
inline constexpr How kGivenUp{.jitter = Jitter::ignored, .late = Late::skipped};

/// How a run is closed by us.
struct Ending {
  schedule::JobRunStatus status;
  std::string error;
  ClosedBy why;
};

/// A run that is to be inserted, and the event that triggers it.
struct Triggering {
  schedule::JobRun run;
  events::EventPtr event;
};

/// The run of a schedule's fire, as it is handed to `prepare_run`.
[[nodiscard]] schedule::JobRun run_of(const schedule::Schedule& schedule, Timestamp fire);
/// Gives the run an id, and makes its trigger. Errors: `invalid_argument` what of it no event can hold.
[[nodiscard]] Result<Triggering> prepare_run(const Core& core, schedule::JobRun run, Timestamp now,
                                             const Asked& asked = {});

/// What is done within one transaction. Lives as long as the transaction. In PostgreSQL schedules are locked first, by
/// name, then runs, by id: whoever calls has loaded the schedules in this transaction.
class Work {
 public:
  Work(Core& core, store::Transaction& transaction, Tally& tally)
      : core_(core), transaction_(transaction), tally_(tally), now_(core.clock.now()) {}

  struct Attended {
    std::size_t schedules = 0;
    std::size_t triggered = 0;
    bool more = false;  // one is due still, or was left for the next transaction
    std::string lost;   // one that somebody else wrote meanwhile; "" none
  };
  /// Does for each schedule what `plan_fires` says. One whose definition cannot be read, or whose trigger cannot be
  /// made, is put off by `kLookAgain` and holds up no other. The rows, loaded in this transaction, are afterwards as
  /// they were written; one that somebody else wrote meanwhile stays as it is, and nothing is done for it.
  Result<Attended> attend(std::span<store::StoredSchedule> rows, How how = {});
  /// `attend` until nothing of it is due any more, or it was put off.
  Result<void> account(std::span<store::StoredSchedule> rows, How how = {});
  Result<void> account(store::StoredSchedule& row, How how = {}) { return account({&row, 1}, how); }
  /// Writes the rows. Errors: `conflict` somebody else was faster.
  Result<void> write(std::span<store::StoredSchedule> rows);
  Result<void> write(store::StoredSchedule& row) { return write({&row, 1}); }

  /// Triggers fires that somebody asked for.
  Result<std::vector<schedule::PlannedFire>> backfill(store::StoredSchedule& row, Timestamp from, Timestamp to,
                                                      schedule::OverlapPolicy overlap);
  /// Triggers a job, and returns the run.
  Result<schedule::JobRun> trigger(schedule::JobRun run, const Asked& asked);
  /// Gives schedules up: what was due is accounted for as `kGivenUp` says, what waits is skipped.
  Result<void> remove(std::span<store::StoredSchedule> rows);

  /// Asks `decide` about each of the runs that is open, and closes it as it says (nothing: leaves it open), with a
  /// `workflow.job.failed`. Returns those that were closed. Errors: `conflict` somebody else is faster each time.
  Result<std::vector<schedule::JobRun>> close(std::vector<JobRunId> ids,
                                              FunctionRef<std::optional<Ending>(const schedule::JobRun&)> decide);
  /// The same for any change, without an event. Returns all of the runs that there are, as they stand then.
  Result<std::vector<schedule::JobRun>> change(
      std::vector<JobRunId> ids, FunctionRef<std::optional<schedule::JobRun>(const schedule::JobRun&)> decide);

  /// Appends the events of all that was done.
  Result<void> finish();

  /// The error of a transaction that must be given up and done again, since somebody else was faster.
  std::unexpected<Error> lose(std::string_view what);
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] Timestamp now() const { return now_; }
  [[nodiscard]] store::Transaction& transaction() { return transaction_; }
  [[nodiscard]] Tally& tally() { return tally_; }
  [[nodiscard]] Core& core() { return core_; }

 private:
  struct Attending;
  /// Those of the fires that are triggered, in order.
  Result<std::vector<Triggering>> prepare_fires(const schedule::Schedule& schedule,
                                                std::span<const schedule::PlannedFire> fires) const;
  JobRunId add(Triggering triggering);
  /// `triggerings`: what `prepare_fires` returned.
  void add_fires(const Parsed& parsed, std::span<const schedule::PlannedFire> fires,
                 std::vector<Triggering> triggerings);
  /// Closes the open runs of these schedules; `places`: of each, the fire that takes their place.
  Result<void> cancel_open(std::span<const std::string> schedules, std::span<const Timestamp> places);
  Result<void> flush();

  Core& core_;
  store::Transaction& transaction_;
  Tally& tally_;
  const Timestamp now_;
  bool lost_ = false;
  // Collected, to be written in one call each.
  std::vector<store::FireRecord> fires_;
  std::vector<schedule::JobRun> runs_;
  std::vector<events::EventPtr> events_;
};

/// Runs `body` in a transaction, again if somebody else was faster, and counts what was committed. Errors: those of
/// `body`, which must have no effect but through its argument; `unavailable` others are faster each time; as the
/// store.
[[nodiscard]] Result<void> commit(Core& core, FunctionRef<Result<void>(Work&)> body);

}  // namespace wfo::scheduler
