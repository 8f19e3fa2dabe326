#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "events/types.h"
#include "workflow/decide.h"
#include "workflow/definition.h"
#include "workflow/run.h"

/// Definitions and runs that the tests of this module share.
namespace wfo::workflow::samples {

using namespace std::chrono_literals;

inline const Timestamp kStart{std::chrono::sys_days{std::chrono::March / 1 / 2026} + 9h};

/// The types of events that workflows may name.
inline const std::vector<std::string>& contracts() {
  using namespace events;
  static const std::vector<std::string> types = [] {
    std::vector<std::string> out;
    for (const std::string_view type :
         {kAnalysisStarted, kAnalysisCompleted, kAnalysisFailed, kStepCompleted, kRiskAnalysisRequested,
          kRiskScoringRequested, kForecastRequested, kRecommendationRequested, kRiskEvaluationCompleted,
          kRiskEvaluationFailed, kRiskScoringCompleted, kRiskScoringFailed, kForecastCompleted, kForecastFailed,
          kRecommendationCompleted, kRecommendationFailed, kOpportunityUpdated, kShardUpdated}) {
      out.emplace_back(type);
    }
    return out;
  }();
  return types;
}

inline std::string shipped_text() {
  std::ifstream file(WFO_SOURCE_DIR "/workflows/opportunity-analysis.yaml");
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Definition shipped() {
  return parse_definition(shipped_text(), "opportunity-analysis.yaml", contracts()).value();
}

inline StepDefinition step(std::string type, std::vector<std::string> depends_on = {}) {
  StepDefinition out;
  out.request_event = type + ".requested";
  out.completed_event = type + ".completed";
  out.failed_event = type + ".failed";
  out.result_key = type;
  out.depends_on = std::move(depends_on);
  out.type = std::move(type);
  return out;
}

inline Definition definition(std::vector<StepDefinition> steps) {
  Definition out;
  out.name = "sample";
  out.version = "1.0.0";
  out.steps = std::move(steps);
  return out;
}

inline Definition single() { return definition({step("a")}); }
inline Definition chain() { return definition({step("a"), step("b", {"a"}), step("c", {"b"})}); }
inline Definition diamond() {
  return definition({step("a"), step("b", {"a"}), step("c", {"a"}), step("d", {"b", "c"})});
}
/// The shape of the shipped workflow.
inline Definition parallel() {
  return definition({step("risk_analysis"), step("risk_scoring"), step("forecast"), step("recommendation")});
}

/// A definition that nobody has thought of: 1 to 8 steps, any dependencies without a cycle, in any order, with short
/// and uneven times, so that much falls due together. The same `seed` gives the same.
inline Definition random_definition(std::uint64_t seed) {
  std::mt19937_64 dice(seed);
  const auto pick = [&](std::uint64_t below) { return dice() % below; };
  const std::size_t count = 1 + pick(8);
  const std::uint64_t density = pick(4);  // of 4: from all parallel to many dependencies
  std::vector<StepDefinition> steps;
  for (std::size_t i = 0; i < count; ++i) {
    StepDefinition& one = steps.emplace_back(step(fmt::format("s{}", i)));
    for (std::size_t j = 0; j < i; ++j) {
      if (pick(4) < density) one.depends_on.push_back(fmt::format("s{}", j));
    }
    one.timeout = milliseconds(1 + pick(pick(2) == 0 ? 5 : 100));
    one.retry.attempts_max = static_cast<int>(1 + pick(4));
    one.retry.delay_first = milliseconds(1 + pick(5));
    one.retry.factor = 1.0 + static_cast<double>(pick(8)) / 4;
    one.retry.delay_max = one.retry.delay_first + milliseconds(pick(20));
    one.retry.jitter = static_cast<double>(pick(5)) / 4;
  }
  std::ranges::shuffle(steps, dice);
  Definition out = definition(std::move(steps));
  out.run_deadline = milliseconds(1 + pick(pick(2) == 0 ? 30 : 2000));
  return out;
}

inline StepId step_id(std::size_t index) {
  Uuid id;
  id.bytes[0] = 0x57;
  id.bytes[15] = static_cast<std::uint8_t>(index);
  return StepId(id);
}

/// A run as a caller hands it to `start`.
inline Run new_run(const Definition& definition) {
  Run run;
  run.id = WorkflowId(*Uuid::parse("0195aaaa-0000-7000-8000-000000000001"));
  run.tenant = TenantId(*Uuid::parse("11111111-1111-4111-8111-111111111111"));
  run.opportunity = OpportunityId(*Uuid::parse("22222222-2222-4222-8222-222222222222"));
  run.external_id = "OPP-1";
  run.correlation_id = "c-1";
  run.trigger_type = "integration.opportunity.updated";
  run.trigger_id = EventId(*Uuid::parse("0195aaaa-0000-7000-8000-000000000002"));
  run.steps.resize(definition.steps.size());
  for (std::size_t i = 0; i < run.steps.size(); ++i) run.steps[i].id = step_id(i);
  return run;
}

inline std::string show(const Effect& effect) {
  struct Show {
    std::string operator()(const PublishStarted&) const { return "started"; }
    std::string operator()(const RequestStep& e) const { return fmt::format("request {}", e.step); }
    std::string operator()(const PublishStepCompleted& e) const {
      return fmt::format("step {} completed after {}", e.step, format_duration(e.duration));
    }
    std::string operator()(const PublishCompleted&) const { return "completed"; }
    std::string operator()(const PublishFailed&) const { return "failed"; }
  };
  return std::visit(Show{}, effect);
}

inline std::string show(const std::vector<Effect>& effects) {
  std::string text;
  for (const Effect& effect : effects) text += (text.empty() ? "" : ", ") + show(effect);
  return text;
}

/// The states of all steps: `requested completed`.
inline std::string states(const Run& run) {
  std::string text;
  for (const Step& step : run.steps) text += fmt::format("{}{}", text.empty() ? "" : " ", name(step.state));
  return text;
}

}  // namespace wfo::workflow::samples
