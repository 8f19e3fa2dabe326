#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "analysis/forecast.h"
#include "analysis/model.h"
#include "analysis/profile.h"
#include "analysis/recommendation.h"
#include "analysis/risk_rules.h"

namespace wfo::analysis {

inline constexpr std::string_view kRiskAnalysisStep = "risk_analysis";
inline constexpr std::string_view kRiskScoringStep = "risk_scoring";
inline constexpr std::string_view kForecastStep = "forecast";
inline constexpr std::string_view kRecommendationStep = "recommendation";

/// One request for a step, with all that it may look at.
struct StepInput {
  std::string_view step_type;
  WorkflowId workflow;
  const store::Opportunity* opportunity = nullptr;  // these three: null if `reads_opportunity` is false
  const TenantProfile* profile = nullptr;
  const Model* model = nullptr;  // also null if the tenant has none
  Timestamp now;                 // matters for an opportunity without `as_of` only
};

/// What answers the requests for steps. Any thread.
class StepFunction {
 public:
  virtual ~StepFunction() = default;
  /// Whether `run_step` looks at the opportunity; if not, nothing is read for it.
  [[nodiscard]] virtual bool reads_opportunity() const = 0;
  /// Writes the members of `data` that the completion of the step needs beside workflowId, opportunityId, stepId and
  /// attempt, which the caller writes. Errors: the step fails with the message; `unavailable` and `internal` may be
  /// tried again, all else is not worth it.
  [[nodiscard]] virtual Result<void> run_step(const StepInput& input, json::Writer& members) const = 0;
};

/// The smallest valid answers, without reading anything: what is left then is the cost of everything else (`wfo bench
/// --work opp4`).
class NoWork final : public StepFunction {
 public:
  [[nodiscard]] bool reads_opportunity() const override { return false; }
  [[nodiscard]] Result<void> run_step(const StepInput& input, json::Writer& members) const override;
};

/// A file's content that takes the place of a built-in one.
struct ConfigFile {
  std::string name;  // as it is to stand in errors
  std::string text;
};

struct AnalysisOptions {
  std::optional<ConfigFile> risk_rules;  // else the built-in config/risk-rules.yaml
  std::optional<ConfigFile> playbook;    // else the built-in config/playbook.yaml
};

/// The four built-in steps. Immutable. The same input gives the same bytes.
class Analysis final : public StepFunction {
 public:
  /// Errors: `invalid_argument` with file and line of everything that is wrong in the files.
  [[nodiscard]] static Result<Analysis> load(const AnalysisOptions& options);

  [[nodiscard]] bool reads_opportunity() const override { return true; }
  /// Errors: `invalid_argument` a step type that is none of the four.
  [[nodiscard]] Result<void> run_step(const StepInput& input, json::Writer& members) const override;

  [[nodiscard]] const RiskRules& rules() const { return rules_; }
  [[nodiscard]] const Playbook& playbook() const { return playbook_; }

 private:
  Analysis(RiskRules rules, Playbook playbook) : rules_(std::move(rules)), playbook_(std::move(playbook)) {}
  RiskRules rules_;
  Playbook playbook_;
};

}  // namespace wfo::analysis
