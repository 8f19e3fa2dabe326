#include "analysis/step_worker.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "events/types.h"

namespace wfo::analysis {

struct StepWorker::Request {
  const events::Event* event = nullptr;
  const StepEvents* step = nullptr;
  WorkflowId workflow;
  OpportunityId opportunity;
  std::optional<StepId> step_id;
  std::optional<std::int64_t> attempt;
  std::string external_id;                   // "" if the request does not say it
  std::optional<store::Opportunity> loaded;  // nothing: not known, or not asked for
  std::shared_ptr<const TenantKnowledge> knowledge;

  // What every answer begins with, so that it finds its step.
  void write_echo(json::Writer& data) const {
    data.key("workflowId").uuid(workflow).key("opportunityId").uuid(opportunity);
    if (step_id) data.key("stepId").uuid(*step_id);
    if (attempt) data.key("attempt").number(*attempt);
  }
  [[nodiscard]] std::string name() const {
    const std::string id = opportunity.to_string();
    const std::string& known = loaded ? loaded->external_id : external_id;
    return known.empty() || known == id ? id : fmt::format("{} ({})", known, id);
  }
};

bus::ConsumerOptions StepRole::consumer_options() const {
  bus::ConsumerOptions out;
  out.queue = queue;
  for (const StepEvents& step : steps) out.bindings.emplace_back(step.request);
  return out;
}

const std::vector<StepRole>& step_roles() {
  static const std::vector<StepRole> kRoles{
      {.name = events::kRiskAnalyticsRole,
       .queue = "risk_analytics_service",
       .steps = {{kRiskAnalysisStep, events::kRiskAnalysisRequested, events::kRiskEvaluationCompleted,
                  events::kRiskEvaluationFailed},
                 {kRiskScoringStep, events::kRiskScoringRequested, events::kRiskScoringCompleted,
                  events::kRiskScoringFailed}}},
      {.name = events::kForecastingRole,
       .queue = "forecasting_service",
       .steps = {{kForecastStep, events::kForecastRequested, events::kForecastCompleted, events::kForecastFailed}}},
      {.name = events::kRecommendationsRole,
       .queue = "recommendations_service",
       .steps = {{kRecommendationStep, events::kRecommendationRequested, events::kRecommendationCompleted,
                  events::kRecommendationFailed}}},
  };
  return kRoles;
}

const StepRole* find_step_role(std::string_view name) {
  const auto& roles = step_roles();
  const auto found = std::ranges::find(roles, name, &StepRole::name);
  return found == roles.end() ? nullptr : &*found;
}

StepWorker::StepWorker(const StepRole& role, const StepFunction& steps, store::Store& store,
                       const events::Contracts& contracts, IdSource& ids, const Clock& clock, Logger& log,
                       StepWorkerConfig config)
    : role_(role),
      steps_(steps),
      store_(store),
      factory_(contracts, ids, clock, role.name),
      clock_(clock),
      log_(log),
      config_(config),
      knowledge_(config.tenants_cached_max) {
  INVARIANT(config_.profile_age_max >= std::chrono::seconds(1) && config_.tenants_cached_max > 0);
}

Result<delivery::Handler::Apply> StepWorker::prepare(std::span<const bus::Delivery> batch) {
  const Timestamp now = clock_.now();
  std::vector<Request> requests;
  requests.reserve(batch.size());
  for (const bus::Delivery& delivery : batch) {
    TRY_ASSIGN(Request request, read_request(delivery.event));
    requests.push_back(std::move(request));
  }
  if (steps_.reads_opportunity()) TRY(load(requests, now));
  std::vector<events::EventPtr> answers;
  answers.reserve(requests.size() * 2);
  for (const Request& request : requests) TRY(answer(request, now, answers));
  return [answers = std::move(answers)](store::Transaction& transaction) { return transaction.log().append(answers); };
}

Result<StepWorker::Request> StepWorker::read_request(const events::EventPtr& event) const {
  Request out{.event = event.get(),
              .step = nullptr,
              .workflow = {},
              .opportunity = {},
              .step_id = {},
              .attempt = {},
              .external_id = {},
              .loaded = {},
              .knowledge = {}};
  const auto step = std::ranges::find(role_.steps, event->type(), &StepEvents::request);
  if (step == role_.steps.end()) {
    return fail(ErrorCode::invalid_argument, "{} is no request for a step of {}", event->type(), role_.name);
  }
  out.step = &*step;
  const json::Value data = event->data();
  const auto uuid = [&](std::string_view key) {
    const auto value = data.find(key);
    return value ? value->uuid() : std::nullopt;
  };
  const auto workflow = uuid("workflowId");
  const auto opportunity = uuid("opportunityId");
  if (!workflow || !opportunity) {
    return fail(ErrorCode::invalid_argument, "{} {} names no workflow or no opportunity", event->type(),
                event->id().to_string());
  }
  out.workflow = WorkflowId(*workflow);
  out.opportunity = OpportunityId(*opportunity);
  if (const auto id = uuid("stepId")) out.step_id = StepId(*id);
  if (const auto attempt = data.find("attempt")) out.attempt = attempt->integer();
  if (const auto external_id = data.find("externalId")) out.external_id = external_id->string().value_or("");
  return out;
}

Result<void> StepWorker::load(std::vector<Request>& requests, Timestamp now) {
  std::map<TenantId, std::vector<Request*>> by_tenant;
  for (Request& request : requests) by_tenant[request.event->tenant()].push_back(&request);
  std::vector<store::OpportunityKey> keys;
  keys.reserve(requests.size());
  for (const Request& request : requests) keys.push_back({request.event->tenant(), request.opportunity});
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto loaded, transaction.opportunities().load(keys));
    for (std::size_t i = 0; i < requests.size(); ++i) requests[i].loaded = std::move(loaded[i]);
    for (const auto& [tenant, of_tenant] : by_tenant) {
      TRY_ASSIGN(auto texts, read_knowledge(transaction, tenant));
      const auto knowledge = knowledge_.take(tenant, std::move(texts), log_);
      for (Request* request : of_tenant) request->knowledge = knowledge;
    }
    return {};
  }));
  for (const auto& [tenant, of_tenant] : by_tenant) TRY(refresh_profile(of_tenant, now));
  return {};
}

// Of a profile without opportunities nothing is lost if it is not there, so an unknown opportunity alone builds none.
Result<void> StepWorker::refresh_profile(std::span<Request* const> requests, Timestamp now) {
  const TenantKnowledge& old = *requests.front()->knowledge;
  if (old.profile_built_at && now - *old.profile_built_at < config_.profile_age_max) return {};
  const Date today = std::chrono::floor<std::chrono::days>(now);
  std::optional<Date> as_of;
  for (const Request* request : requests) {
    if (request->loaded) as_of = std::max(as_of.value_or(Date::min()), analysis_date(*request->loaded, today));
  }
  if (!as_of) return {};
  auto fresh = std::make_shared<TenantKnowledge>();
  TRY_ASSIGN(fresh->profile, rebuild_profile(store_, clock_, requests.front()->event->tenant(), as_of));
  fresh->profile_built_at = now;
  fresh->model = old.model;
  for (Request* request : requests) request->knowledge = fresh;
  return {};
}

Result<void> StepWorker::answer(const Request& request, Timestamp now, std::vector<events::EventPtr>& out) const {
  auto completed = complete(request, now);
  if (completed) {
    out.push_back(*completed);
    if (request.step->completed != events::kRiskEvaluationCompleted) return {};
    TRY_ASSIGN(auto announced, announce_risk(request, **completed));
    out.push_back(std::move(announced));
    return {};
  }
  TRY_ASSIGN(auto failed, give_up(request, completed.error()));
  out.push_back(std::move(failed));
  return {};
}

Result<events::EventPtr> StepWorker::complete(const Request& request, Timestamp now) const {
  const bool reads = steps_.reads_opportunity();
  if (reads && !request.loaded) {
    return fail(ErrorCode::not_found,
                "opportunity {} is not known to {}: import it, or send its fields in the changes of {}", request.name(),
                role_.name, events::kOpportunityUpdated);
  }
  StepInput input{.step_type = request.step->step_type, .workflow = request.workflow, .now = now};
  if (reads) {
    input.opportunity = &*request.loaded;
    input.profile = &request.knowledge->profile;
    input.model = request.knowledge->model ? &*request.knowledge->model : nullptr;
  }
  Result<void> ran;
  auto event = factory_.make(request.step->completed, request.event->tenant(), request.event, [&](json::Writer& data) {
    data.begin_object();
    request.write_echo(data);
    ran = steps_.run_step(input, data);
    data.end_object();
  });
  if (!ran) return std::unexpected(std::move(ran).error());
  return event;
}

Result<events::EventPtr> StepWorker::give_up(const Request& request, const Error& error) const {
  const bool retryable = error.code == ErrorCode::unavailable || error.code == ErrorCode::internal;
  log_.debug("{}: {} of workflow {} failed: {}", role_.name, request.step->step_type, request.workflow.to_string(),
             error.message);
  return factory_.make(request.step->failed, request.event->tenant(), request.event, [&](json::Writer& data) {
    data.begin_object();
    request.write_echo(data);
    data.key("error").string(delivery::bounded_reason(error.message)).key("retryable").boolean(retryable);
    data.end_object();
  });
}

// Taken from the completion, so that the two can never say different things.
Result<events::EventPtr> StepWorker::announce_risk(const Request& request, const events::Event& completed) const {
  return factory_.make(events::kRiskEvaluated, completed.tenant(), &completed, [&](json::Writer& data) {
    data.begin_object().key("opportunityId").uuid(request.opportunity).key("workflowId").uuid(request.workflow);
    for (const std::string_view key : {"evaluationId", "riskScore", "categoryScores", "topDrivers", "revenueAtRisk"}) {
      if (const auto value = completed.data().find(key)) data.key(key).raw(value->raw());
    }
    data.end_object();
  });
}

}  // namespace wfo::analysis
