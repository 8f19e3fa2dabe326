#include "api/detail/run_json.h"

namespace wfo::api::detail {
namespace {

void write_text(json::Writer& out, std::string_view key, std::string_view text) {
  if (!text.empty()) out.key(key).string(text);
}

struct StateWriter {
  json::Writer& out;
  Results results;

  void operator()(const workflow::Waiting&) const {}
  void operator()(const workflow::Requested& state) const {
    out.key("requestedAt").timestamp(state.requested_at).key("deadline").timestamp(state.deadline);
  }
  void operator()(const workflow::BackingOff& state) const {
    out.key("retryAt").timestamp(state.retry_at).key("error").string(state.error);
  }
  void operator()(const workflow::Completed& state) const {
    out.key("completedAt").timestamp(state.completed_at);
    if (results == Results::included && !state.result.empty()) out.key("result").raw(state.result);
  }
  void operator()(const workflow::Failed& state) const { out.key("error").string(state.error); }
};

}  // namespace

void write_run(json::Writer& out, const workflow::Run& run, Results results) {
  out.begin_object();
  out.key("workflowId").uuid(run.id).key("opportunityId").uuid(run.opportunity);
  write_text(out, "externalId", run.external_id);
  out.key("status").string(name(run.status)).key("attempt").number(static_cast<std::int64_t>(run.attempt));
  out.key("definition").begin_object();
  out.key("name").string(run.definition_name).key("version").string(run.definition_version).end_object();
  out.key("trigger").begin_object();
  out.key("type").string(run.trigger_type).key("id").uuid(run.trigger_id).end_object();
  write_text(out, "correlationId", run.correlation_id);
  out.key("createdAt").timestamp(run.created_at).key("updatedAt").timestamp(run.updated_at);
  out.key("deadline").timestamp(run.deadline);
  write_text(out, "error", run.error);
  write_text(out, "failedStep", run.failed_step);
  out.key("steps").begin_array();
  for (const auto& step : run.steps) {
    out.begin_object().key("stepId").uuid(step.id).key("type").string(step.type);
    out.key("state").string(name(step.state)).key("attempt").number(static_cast<std::int64_t>(step.attempt));
    std::visit(StateWriter{out, results}, step.state);
    out.end_object();
  }
  out.end_array().end_object();
}

std::size_t result_bytes(const workflow::Run& run) {
  std::size_t bytes = 0;
  for (const auto& step : run.steps) {
    if (const auto* completed = std::get_if<workflow::Completed>(&step.state)) bytes += completed->result.size();
  }
  return bytes;
}

}  // namespace wfo::api::detail
