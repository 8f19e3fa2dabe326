#pragma once

#include <string>

#include "analysis/estimates.h"
#include "analysis/model.h"

namespace wfo::analysis {

struct RiskScore {
  double risk = 0;        // 0..1: the probability that it is not won
  std::string model_id;   // the model's; `prior-win-rate` without one; `outcome` for a closed opportunity
  double confidence = 0;  // 0..1
  Odds odds;
  friend bool operator==(const RiskScore& a, const RiskScore& b) {
    return a.risk == b.risk && a.model_id == b.model_id && a.confidence == b.confidence;
  }
};

/// `model` may be null: then the win rate of the product, drawn towards a documented prior, with low confidence.
[[nodiscard]] RiskScore score_risk(const store::Opportunity& opportunity, const TenantProfile& profile,
                                   const Model* model, Date today);

/// The members of `data` of `risk.scoring.completed` that hold the score.
void write_members(json::Writer& writer, const RiskScore& score);

}  // namespace wfo::analysis
