#pragma once

#include <optional>
#include <string>

#include "events/contracts.h"
#include "schedule/job_run.h"

namespace wfo::scheduler {

/// Who asked, if it was somebody.
struct Asked {
  std::string user_id = {};
  std::string traceparent = {};
};

/// The `workflow.job.trigger` of a run. Errors: as `EventFactory::make`.
[[nodiscard]] Result<events::EventPtr> make_trigger(const events::EventFactory& factory, const schedule::JobRun& run,
                                                    Timestamp now, const Asked& asked = {});
/// The `workflow.job.failed` of a run that was closed. Errors: as `EventFactory::make`.
[[nodiscard]] Result<events::EventPtr> make_failed(const events::EventFactory& factory, const schedule::JobRun& run);

/// What a `workflow.job.completed` or `.failed` says.
struct Answer {
  bool completed = false;
  std::optional<JobRunId> run;   // that it names
  std::optional<EventId> cause;  // the trigger, if it says so
  std::string job;
  std::string error;  // bounded, never empty if it failed
  schedule::JobCounts counts;
};
[[nodiscard]] Answer read_answer(const events::Event& event);

}  // namespace wfo::scheduler
