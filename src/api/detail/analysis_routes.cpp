#include "api/detail/arguments.h"
#include "api/detail/routes.h"
#include "api/detail/run_json.h"

/// How `wfo analyze` works through an installation, whether its process is this one or another: many opportunities a
/// request, each with a trigger of its own. For this machine only: the caller chooses trigger ids.
namespace wfo::api::detail {
namespace {

constexpr std::size_t kAnalysesMax = 1000;  // of one request
constexpr std::string_view kTriggerType = "analyze";

Result<EventId> need_trigger(std::optional<json::Value> value) {
  const auto id = value ? value->uuid() : std::nullopt;
  if (!id)
    return fail(ErrorCode::invalid_argument, "a trigger is {}; allowed: a uuid", value ? value->raw() : "missing");
  return EventId(*id);
}

Answer start(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto body, read_object(request, {"analyses"}));
  TRY_ASSIGN(const json::Value analyses, need_array(body.root(), "analyses", kAnalysesMax));
  std::vector<orchestrator::StartRequest> wishes;
  wishes.reserve(analyses.size());
  for (const json::Value analysis : analyses.elements()) {
    orchestrator::StartRequest wish;
    wish.tenant = tenant;
    TRY_ASSIGN(wish.trigger_id, need_trigger(analysis.find("triggerId")));
    TRY_ASSIGN(wish.external_id, need_text(analysis, "externalId", kExternalIdMax));
    wish.trigger_type = kTriggerType;
    wish.opportunity = opportunity_id(tenant, wish.external_id);
    wishes.push_back(std::move(wish));
  }
  TRY_ASSIGN(const auto answers, services.orchestrator.start(wishes));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("answers").begin_array();
  for (const auto& answer : answers) {
    out.begin_object().key("outcome").string(name(answer.outcome)).key("repeated").boolean(answer.repeated);
    if (!answer.reason.empty()) out.key("reason").string(answer.reason);
    out.end_object();
  }
  out.end_array().end_object();
  return json_response(200, std::move(text));
}

/// The run that a trigger led to in the end: its own, or for an absorbed one the follow-up, once there is one.
std::optional<WorkflowId> run_of(const store::Trigger& trigger) {
  return trigger.outcome == store::TriggerOutcome::absorbed ? trigger.follow_up : trigger.workflow;
}

void write_state(json::Writer& out, const std::optional<store::Trigger>& trigger,
                 const std::optional<store::StoredRun>& run) {
  out.begin_object().key("status");
  if (!trigger) {
    out.string("unknown");
  } else if (trigger->outcome == store::TriggerOutcome::refused) {
    out.string("refused").key("reason").string(trigger->reason);
  } else if (!run_of(*trigger)) {
    out.string("waiting");  // for the run that absorbed it to end
  } else if (!run) {
    out.string("forgotten");  // ended so long ago that retention took it
  } else {
    out.string(name(run->run.status));
    if (!is_active(run->run)) {
      out.key("run");
      write_run(out, run->run, Results::included);
    }
  }
  out.end_object();
}

Answer states(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto body, read_object(request, {"triggers"}));
  TRY_ASSIGN(const json::Value ids, need_array(body.root(), "triggers", kAnalysesMax));
  std::string text;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    text.clear();
    json::Writer out(text);
    out.begin_object().key("states").begin_array();
    for (const json::Value element : ids.elements()) {
      TRY_ASSIGN(const EventId id, need_trigger(element));
      TRY_ASSIGN(const auto trigger, transaction.triggers().find(tenant, id));
      std::optional<store::StoredRun> run;
      if (const auto workflow = trigger ? run_of(*trigger) : std::nullopt) {
        TRY_ASSIGN(auto found, transaction.runs().load({&*workflow, 1}));
        run = std::move(found.front());
      }
      write_state(out, trigger, run);
    }
    out.end_array().end_object();
    return {};
  }));
  return json_response(200, std::move(text));
}

}  // namespace

void add_analysis_routes(Router& router, const Services& services) {
  add_route(router, Method::post, "/local/analyses", services, start, {.local_only = true});
  add_route(router, Method::post, "/local/analyses/states", services, states, {.local_only = true});
}

}  // namespace wfo::api::detail
