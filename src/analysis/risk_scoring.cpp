#include "analysis/risk_scoring.h"

#include <algorithm>

namespace wfo::analysis {
namespace {

constexpr double kPriorConfidenceMax = 0.3;
constexpr double kDealsHalf = 200.0;  // so many deals give half of the confidence that more deals could give

double confidence_of(const TenantProfile& profile, const Model* model) {
  if (model == nullptr) {
    const double closed = profile.rates.overall.closed;
    return kPriorConfidenceMax * closed / (closed + kDealsHalf);
  }
  // How far the model is from a coin on deals that it had not seen, and how many deals say so.
  const double skill = std::clamp(2.0 * (model->by_time.auc - 0.5), 0.0, 1.0);
  return std::max(skill, kPriorConfidenceMax) * model->deals / (model->deals + kDealsHalf);
}

}  // namespace

RiskScore score_risk(const store::Opportunity& opportunity, const TenantProfile& profile, const Model* model,
                     Date today) {
  if (opportunity.state != store::StageState::open) {
    const bool won = opportunity.state == store::StageState::won;
    return {.risk = won ? 0.0 : 1.0, .model_id = "outcome", .confidence = 1.0, .odds = {won ? 1.0 : 0.0, 1.0}};
  }
  const Odds odds = estimate_odds(opportunity, profile, model, analysis_date(opportunity, today));
  return {.risk = 1.0 - odds.win(),
          .model_id = model != nullptr ? model->model_id : "prior-win-rate",
          .confidence = confidence_of(profile, model),
          .odds = odds};
}

void write_members(json::Writer& writer, const RiskScore& score) {
  writer.key("mlRiskScore").number(round_to(score.risk, 4)).key("modelId").string(score.model_id);
  writer.key("confidence").number(round_to(score.confidence, 4));
  writer.key("winIfClosed").number(round_to(score.odds.win_if_closed, 4));
  writer.key("closes").number(round_to(score.odds.closes, 4));
}

}  // namespace wfo::analysis
