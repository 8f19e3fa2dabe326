#pragma once

#include <vector>

#include "scheduler/detail/work.h"

namespace wfo::scheduler {

/// A batch of events about the end of runs: closes the runs that are open still, and does what follows from the end of
/// each for its schedule: what waited is triggered, a failure pauses it if that is wanted. What follows depends on what
/// the store says then and not on the event, so the same event twice does no harm.
[[nodiscard]] Result<void> apply_answers(Work& work, const std::vector<Answer>& answers);

}  // namespace wfo::scheduler
