#include "scheduler/detail/job_events.h"

#include "delivery/consumer_loop.h"
#include "events/types.h"

namespace wfo::scheduler {
namespace {

constexpr std::size_t kCountsMax = 100;  // of what a worker elsewhere counted

}  // namespace

Result<events::EventPtr> make_trigger(const events::EventFactory& factory, const schedule::JobRun& run, Timestamp now,
                                      const Asked& asked) {
  events::Envelope envelope{.type = events::kJobTrigger, .tenant = system_tenant()};
  envelope.correlation_id = run.correlation_id;
  envelope.user_id = asked.user_id;
  envelope.traceparent = asked.traceparent;
  return factory.make(std::move(envelope), [&](json::Writer& out) {
    out.begin_object();
    out.key("job").string(run.job).key("metadata").raw(run.metadata);
    out.key("triggeredBy").string(name(run.triggered_by)).key("timestamp").timestamp(now);
    out.key("runId").uuid(run.id);
    if (run.scheduled_for) out.key("scheduledFor").timestamp(*run.scheduled_for);
    out.end_object();
  });
}

Result<events::EventPtr> make_failed(const events::EventFactory& factory, const schedule::JobRun& run) {
  INVARIANT(run.ended_at);
  const auto make = [&](std::string_view error, bool with_counts) {
    events::Envelope envelope{.type = events::kJobFailed, .tenant = system_tenant()};
    envelope.correlation_id = run.correlation_id;
    envelope.causation_id = run.trigger;
    return factory.make(std::move(envelope), [&](json::Writer& out) {
      out.begin_object();
      out.key("job").string(run.job).key("error").string(error).key("failedAt").timestamp(*run.ended_at);
      out.key("runId").uuid(run.id);
      if (run.started_at) out.key("startedAt").timestamp(*run.started_at);
      if (with_counts && !run.counts.empty()) {
        out.key("counts").begin_object();
        for (const auto& [what, count] : run.counts) out.key(what).number(count);
        out.end_object();
      }
      out.end_object();
    });
  };
  // A run must come to its end though an event may hold little: the run's row has all of it.
  if (auto whole = make(run.error, true)) return whole;
  return make("its error is longer than an event may be; the run has it", false);
}

Answer read_answer(const events::Event& event) {
  const json::Value data = event.data();
  Answer answer;
  answer.completed = event.type() == events::kJobCompleted;
  // A run's id that is no uuid is a worker's own; then the trigger tells.
  if (const auto run = data.find("runId")) {
    if (const auto id = run->uuid()) answer.run = JobRunId(*id);
  }
  if (const auto cause = event.root().find("metadata", "causationId")) {
    if (const auto id = cause->uuid()) answer.cause = EventId(*id);
  }
  if (const auto job = data.find("job")) answer.job = job->string().value_or("");
  if (const auto counts = data.find("counts")) {
    for (const auto& [key, value] : counts->members()) {
      const auto count = value.integer();
      if (count && *count >= 0 && answer.counts.size() < kCountsMax) answer.counts[key.string().value_or("")] = *count;
    }
  }
  if (!answer.completed) {
    const auto error = data.find("error");
    answer.error = delivery::bounded_reason(error ? error->string().value_or("") : "");
    if (answer.error.empty()) answer.error = "its worker gave no reason";
  }
  return answer;
}

}  // namespace wfo::scheduler
