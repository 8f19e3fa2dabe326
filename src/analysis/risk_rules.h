#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace wfo::analysis {

/// What a rule looks at. Most kinds give a number that `from` (not yet a risk) and `full` (as bad as it gets) turn into
/// an intensity of 0..1; `from` may be above `full` where small is bad.
enum class ConditionKind {
  missing,            // a field is empty
  present,            // a field is filled
  stage_regressed,    // it stood in a later stage before
  age_ratio,          // days open / days after which the share `quantile` of the won deals was closed
  stage_age_ratio,    // the same for days in the present stage
  close_overdue,      // days since the expected close date
  close_too_soon,     // planned days from creation to close / the won deals' days at `quantile`
  idle,               // days since the last activity
  win_rate_ratio,     // win rate of this product, owner or sector / overall; from `closed_min` closed deals on
  amount_ratio,       // amount / median amount of the won deals
  price_ratio,        // amount / list price
  probability_below,  // the CRM's own probability
};
[[nodiscard]] std::string_view name(ConditionKind kind);

struct RiskRule {
  std::string id;        // unique: `stale_deal`
  std::string category;  // `velocity`
  double severity = 0;   // 0..1 exclusive: how much of the win is at stake at full intensity
  ConditionKind kind = ConditionKind::missing;
  std::string of = {};  // missing, present: the field; win_rate_ratio: product, owner or sector
  double quantile = 0.5;
  double from = 0;
  double full = 1;
  int closed_min = 20;
  std::string message;  // `{value}`, `{limit}` and `{subject}` are filled in
  friend bool operator==(const RiskRule&, const RiskRule&) = default;
};

/// The catalogue of config/risk-rules.yaml.
struct RiskRules {
  std::string version;
  std::vector<RiskRule> rules;  // in the order of the file
  friend bool operator==(const RiskRules&, const RiskRules&) = default;
};

/// Errors: `invalid_argument`, all that is wrong, each on a line `file:line: message`.
[[nodiscard]] Result<RiskRules> parse_risk_rules(std::string_view yaml, std::string_view file);

/// The names that `of` may have for `missing` and `present`.
[[nodiscard]] std::vector<std::string_view> rule_fields();

}  // namespace wfo::analysis
