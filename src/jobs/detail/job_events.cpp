#include "jobs/detail/job_events.h"

#include "delivery/consumer_loop.h"
#include "events/types.h"
#include "store/text.h"

namespace wfo::jobs {

using schedule::JobRunStatus;

std::string error_text(std::string_view message) { return delivery::bounded_reason(store::as_text(message)); }

Result<events::EventPtr> end_event(const events::EventFactory& factory, const schedule::JobRun& run) {
  INVARIANT(run.status == JobRunStatus::completed || run.status == JobRunStatus::failed);
  INVARIANT(run.ended_at.has_value());
  const bool completed = run.status == JobRunStatus::completed;
  events::Envelope envelope{.type = completed ? events::kJobCompleted : events::kJobFailed,
                            .tenant = system_tenant(),
                            .correlation_id = run.correlation_id,
                            .causation_id = run.trigger};
  return factory.make(std::move(envelope), [&](json::Writer& data) {
    data.begin_object().key("job").string(run.job).key("runId").uuid(run.id);
    if (completed) {
      data.key("status").string(schedule::name(run.status)).key("completedAt").timestamp(*run.ended_at);
    } else {
      data.key("error").string(run.error).key("failedAt").timestamp(*run.ended_at);
    }
    if (run.started_at) data.key("startedAt").timestamp(*run.started_at);
    data.key("counts").begin_object();
    for (const auto& [what, count] : run.counts) data.key(what).number(count);
    data.end_object().end_object();
  });
}

}  // namespace wfo::jobs
