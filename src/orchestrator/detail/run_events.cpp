#include "orchestrator/detail/run_events.h"

#include "events/types.h"

namespace wfo::orchestrator {

namespace {

using namespace workflow;

// Writes the data of each kind of event.
struct WriteData {
  json::Writer& out;
  const Run& run;
  const Definition& definition;

  void ids() const { out.key("workflowId").uuid(run.id).key("opportunityId").uuid(run.opportunity); }
  void external_id() const {
    if (!run.external_id.empty()) out.key("externalId").string(run.external_id);
  }

  void operator()(const PublishStarted&) const {
    ids();
    out.key("trigger").begin_object();
    out.key("type").string(run.trigger_type).key("id").uuid(run.trigger_id).end_object();
    out.key("attempt").number(std::int64_t{run.attempt});
    out.key("definition").begin_object();
    out.key("name").string(run.definition_name).key("version").string(run.definition_version).end_object();
    external_id();
  }
  void operator()(const RequestStep& effect) const {
    const Step& step = run.steps[effect.step];
    ids();
    out.key("stepId").uuid(step.id).key("attempt").number(std::int64_t{step.attempt});
    external_id();
  }
  void operator()(const PublishStepCompleted& effect) const {
    const Step& step = run.steps[effect.step];
    ids();
    out.key("stepId").uuid(step.id).key("stepType").string(step.type);
    out.key("attempt").number(std::int64_t{step.attempt});
    out.key("durationMs").number(std::int64_t{effect.duration.count()});
    out.key("result").raw(std::get<Completed>(step.state).result);
  }
  void operator()(const PublishCompleted&) const {
    ids();
    out.key("results").begin_object();
    for (std::size_t i = 0; i < run.steps.size(); ++i) {
      out.key(definition.steps[i].result_key).raw(std::get<Completed>(run.steps[i].state).result);
    }
    out.end_object();
  }
  void operator()(const PublishFailed&) const {
    ids();
    out.key("error").string(run.error);
    if (!run.failed_step.empty()) out.key("failedStep").string(run.failed_step);
  }
};

struct TypeOf {
  const Definition& definition;
  std::string_view operator()(const PublishStarted&) const { return events::kAnalysisStarted; }
  std::string_view operator()(const RequestStep& effect) const { return definition.steps[effect.step].request_event; }
  std::string_view operator()(const PublishStepCompleted&) const { return events::kStepCompleted; }
  std::string_view operator()(const PublishCompleted&) const { return events::kAnalysisCompleted; }
  std::string_view operator()(const PublishFailed&) const { return events::kAnalysisFailed; }
};

}  // namespace

Result<events::EventPtr> make_event(const events::EventFactory& factory, const Run& run, const Definition& definition,
                                    const Effect& effect, const Cause& cause) {
  events::Envelope envelope;
  envelope.type = std::visit(TypeOf{definition}, effect);
  envelope.tenant = run.tenant;
  envelope.correlation_id = run.correlation_id;
  envelope.causation_id = cause.event;
  envelope.user_id = cause.user_id;
  envelope.traceparent = cause.traceparent;
  return factory.make(std::move(envelope), [&](json::Writer& out) {
    out.begin_object();
    std::visit(WriteData{out, run, definition}, effect);
    out.end_object();
  });
}

void write_result(std::string& out, json::Value data) {
  out.clear();
  out.reserve(data.raw().size());
  out += '{';
  for (const json::Member member : data.members()) {
    if (member.key.equals("workflowId") || member.key.equals("stepId") || member.key.equals("attempt")) continue;
    if (out.size() > 1) out += ',';
    out.append(member.key.raw()).append(1, ':').append(member.value.raw());
  }
  out += '}';
}

}  // namespace wfo::orchestrator
