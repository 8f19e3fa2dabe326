#pragma once

#include <map>
#include <span>
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
/// changes them.
[[nodiscard]] Result<void> account_before(Core& core, std::span<const std::string> names);

/// A new schedule's row: it begins now.
[[nodiscard]] store::StoredSchedule new_row(const Wanted& wanted, store::ScheduleOrigin origin, Timestamp now);
/// Gives the row another definition, after what was due by the old one. What the old one has accounted for does not
/// fire once more, also if the clock was set back.
[[nodiscard]] Result<void> redefine(Work& work, store::StoredSchedule& row, const Wanted& wanted);

/// Makes those of the configuration what is wanted. Errors: `conflict` names those that belong to the API.
[[nodiscard]] Result<void> configure(Core& core, const std::map<std::string, Wanted>& wanted);

}  // namespace wfo::scheduler
