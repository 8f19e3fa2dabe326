#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "events/contracts.h"
#include "schedule/job_run.h"

namespace wfo::jobs {

/// An error as it is kept with a run and published: a text of the stores, cut to `delivery::kReasonBytesMax`.
[[nodiscard]] std::string error_text(std::string_view message);

/// `workflow.job.completed` or `.failed` of a run that has ended as completed or failed.
[[nodiscard]] Result<events::EventPtr> end_event(const events::EventFactory& factory, const schedule::JobRun& run);

}  // namespace wfo::jobs
