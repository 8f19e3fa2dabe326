#pragma once

#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "scheduler/detail/work.h"

namespace wfo::scheduler {

/// A schedule that was checked, as it is stored.
struct Wanted {
  ParsedPtr parsed;
  std::string definition;
};

/// Errors: `invalid_argument`: what `parse_schedule` and the job's worker say, all of it.
[[nodiscard]] Result<Wanted> check_schedule(const Core& core, const schedule::Schedule& schedule);

/// Accounts for what is due of these schedules in transactions of bounded size, so that little is left for one that
/// changes them. Errors: `unavailable` it was stopped: what was accounted for is; as the store.
[[nodiscard]] Result<void> account_before(Core& core, std::span<const std::string> names, How how = {},
                                          const std::stop_token& stop = {});

/// A new schedule's row: it begins now.
[[nodiscard]] store::StoredSchedule new_row(const Wanted& wanted, store::ScheduleOrigin origin, Timestamp now);
/// A row, and what is to stand in it.
struct Change {
  store::StoredSchedule row;
  const Wanted* wanted;
};
/// Gives rows other definitions, after what was due by the old ones. What an old one has accounted for does not fire
/// once more, also if the clock was set back.
[[nodiscard]] Result<void> redefine(Work& work, std::span<Change> changes);

/// Makes those of the configuration what is wanted, `batch_max` in a transaction. Errors: `conflict` names those that
/// belong to the API; `unavailable` it was stopped.
[[nodiscard]] Result<void> configure(Core& core, const std::map<std::string, Wanted>& wanted,
                                     const std::stop_token& stop);

}  // namespace wfo::scheduler
