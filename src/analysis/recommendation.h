#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analysis/risk_analysis.h"

namespace wfo::analysis {

/// Something a salesperson can do about a risk.
struct PlaybookAction {
  std::string id;
  std::vector<std::string> risks;  // ids of the rules it is for
  std::string title;
  std::string description;
  double effect = 0;  // 0..1: the share of those risks' severity that it is expected to take away
  friend bool operator==(const PlaybookAction&, const PlaybookAction&) = default;
};

/// What config/playbook.yaml holds.
struct Playbook {
  std::string version;
  std::vector<PlaybookAction> actions;  // in the order of the file
  friend bool operator==(const Playbook&, const Playbook&) = default;
};

/// `rules` are those that the actions may name. Errors: `invalid_argument`, all that is wrong, each on a line
/// `file:line: message`.
[[nodiscard]] Result<Playbook> parse_playbook(std::string_view yaml, std::string_view file, const RiskRules& rules);

struct Recommendation {
  std::string action_id;
  std::string title;
  std::string description;
  std::vector<std::string> risks;  // the detected ones that it is for
  double risk_reduction = 0;       // how much the risk score would fall, 0..1
  double revenue_protected = 0;    // that, times the amount
  friend bool operator==(const Recommendation&, const Recommendation&) = default;
};

inline constexpr std::size_t kRecommendationsMax = 5;

/// The actions for the risks found, best first, at most kRecommendationsMax; none for a closed opportunity.
[[nodiscard]] std::vector<Recommendation> recommend(const RiskEvaluation& evaluation, const Playbook& playbook);

/// The members of `data` of `recommendation.generation.completed` that hold the recommendations.
void write_members(json::Writer& writer, std::span<const Recommendation> recommendations);

}  // namespace wfo::analysis
