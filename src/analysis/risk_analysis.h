#pragma once

#include <map>
#include <string>
#include <vector>

#include "analysis/estimates.h"
#include "analysis/risk_rules.h"

namespace wfo::analysis {

struct DetectedRisk {
  std::string id;
  std::string category;
  double severity = 0;  // 0..1: the rule's, times how far the condition went
  std::string message;
  friend bool operator==(const DetectedRisk&, const DetectedRisk&) = default;
};

/// How much of an opportunity is known, and what was put in place of the rest.
struct DataQuality {
  double completeness = 0;           // 0..1: filled fields of those that matter
  std::vector<std::string> missing;  // names of those that are not: `amount`, `account`, …
  AmountEstimate amount;
  Date as_of{};
  friend bool operator==(const DataQuality&, const DataQuality&) = default;
};

struct RiskEvaluation {
  double score = 0;                               // 0..1
  std::vector<DetectedRisk> risks;                // gravest first
  std::map<std::string, double> category_scores;  // of the categories in which something was found
  std::optional<double> revenue_at_risk;          // score × amount; nothing if there is no amount at all
  DataQuality quality;
  friend bool operator==(const RiskEvaluation&, const RiskEvaluation&) = default;
};

/// 1 - Π(1 - severity): several risks add up, never beyond 1; none gives 0.
[[nodiscard]] double noisy_or(std::span<const double> severities);

/// What the rules find. A closed opportunity has no risk left, only an outcome: won 0, lost 1, no revenue at risk.
[[nodiscard]] RiskEvaluation evaluate_risk(const store::Opportunity& opportunity, const TenantProfile& profile,
                                           const RiskRules& rules, Date today);

/// The members of `data` of `risk.evaluation.completed` that hold the evaluation.
void write_members(json::Writer& writer, const RiskEvaluation& evaluation, const store::Opportunity& opportunity,
                   const TenantProfile& profile);

}  // namespace wfo::analysis
