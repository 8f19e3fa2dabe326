#include "analysis/steps.h"

#include <algorithm>

#include "analysis/risk_analysis.h"
#include "analysis/risk_scoring.h"
#include "embedded/analysis_config.h"

namespace wfo::analysis {
namespace {

ConfigFile built_in(std::string_view name) {
  const auto files = embedded::analysis_config();
  const auto file = std::ranges::find(files, name, &embedded::File::name);
  INVARIANT(file != files.end());
  return {.name = std::string(name), .text = std::string(file->text)};
}

std::unexpected<Error> not_built_in(std::string_view step_type) {
  return fail(ErrorCode::invalid_argument, "'{}' is no built-in step; allowed: {}, {}, {}, {}", step_type,
              kRiskAnalysisStep, kRiskScoringStep, kForecastStep, kRecommendationStep);
}

}  // namespace

Result<Analysis> Analysis::load(const AnalysisOptions& options) {
  const ConfigFile rules_file = options.risk_rules ? *options.risk_rules : built_in("risk-rules.yaml");
  const ConfigFile playbook_file = options.playbook ? *options.playbook : built_in("playbook.yaml");
  TRY_ASSIGN(RiskRules rules, parse_risk_rules(rules_file.text, rules_file.name));
  TRY_ASSIGN(Playbook playbook, parse_playbook(playbook_file.text, playbook_file.name, rules));
  return Analysis(std::move(rules), std::move(playbook));
}

Result<void> Analysis::run_step(const StepInput& input, json::Writer& members) const {
  INVARIANT(input.opportunity != nullptr && input.profile != nullptr);
  const store::Opportunity& opportunity = *input.opportunity;
  const TenantProfile& profile = *input.profile;
  const Date today = std::chrono::floor<std::chrono::days>(input.now);
  const Uuid id = Uuid::v5(input.workflow.value(), input.step_type);  // the same when a step is tried again
  if (input.step_type == kRiskAnalysisStep) {
    members.key("evaluationId").uuid(id);
    write_members(members, evaluate_risk(opportunity, profile, rules_, today), opportunity, profile);
  } else if (input.step_type == kRiskScoringStep) {
    members.key("scoringId").uuid(id);
    write_members(members, score_risk(opportunity, profile, input.model, today));
  } else if (input.step_type == kForecastStep) {
    members.key("forecastId").uuid(id);
    write_members(members, forecast_revenue(opportunity, profile, input.model, today), opportunity);
  } else if (input.step_type == kRecommendationStep) {
    // It runs beside the risk analysis, not after it, so it finds the risks itself, by the same function.
    members.key("recommendationId").uuid(id);
    write_members(members, recommend(evaluate_risk(opportunity, profile, rules_, today), playbook_));
  } else {
    return not_built_in(input.step_type);
  }
  return {};
}

Result<void> NoWork::run_step(const StepInput& input, json::Writer& members) const {
  const Uuid& id = input.workflow.value();
  if (input.step_type == kRiskAnalysisStep) {
    members.key("evaluationId").uuid(id).key("riskScore").number(std::int64_t{0});
  } else if (input.step_type == kRiskScoringStep) {
    members.key("scoringId").uuid(id).key("mlRiskScore").number(std::int64_t{0});
    members.key("modelId").string("none").key("confidence").number(std::int64_t{0});
  } else if (input.step_type == kForecastStep) {
    members.key("forecastId").uuid(id).key("revenueForecast").number(std::int64_t{0});
    members.key("confidence").number(std::int64_t{0});
  } else if (input.step_type == kRecommendationStep) {
    members.key("recommendationId").uuid(id).key("recommendations").begin_array().end_array();
  } else {
    return not_built_in(input.step_type);
  }
  return {};
}

}  // namespace wfo::analysis
