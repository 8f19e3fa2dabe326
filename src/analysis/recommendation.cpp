#include "analysis/recommendation.h"

#include <algorithm>

#include "analysis/detail/yaml.h"

namespace wfo::analysis {

Result<Playbook> parse_playbook(std::string_view yaml, std::string_view file, const RiskRules& rules) {
  detail::YamlReader reader(yaml, file);
  Playbook out;
  if (reader.mapping(reader.root(), "a playbook", {{"version", true}, {"actions", true}})) {
    out.version = reader.text(reader.root(), "version");
    for (const YAML::Node& node : reader.list(reader.root(), "actions", 1)) {
      if (!reader.mapping(node, "an action",
                          {{"id", true}, {"risks", true}, {"title", true}, {"description", true}, {"effect", true}})) {
        continue;
      }
      PlaybookAction action{.id = reader.text(node, "id"),
                            .risks = reader.texts(node, "risks"),
                            .title = reader.text(node, "title"),
                            .description = reader.text(node, "description"),
                            .effect = reader.number(node, "effect", 0.01, 1.0, 0.1)};
      if (!action.id.empty() && !detail::is_identifier(action.id)) {
        reader.error(node, "{} is no name; allowed: up to 64 of a-z, 0-9 and '_', a letter first",
                     detail::quoted(action.id));
      }
      if (std::ranges::find(out.actions, action.id, &PlaybookAction::id) != out.actions.end()) {
        reader.error(node, "an action {} stands above already", detail::quoted(action.id));
      }
      for (const std::string& risk : action.risks) {
        if (std::ranges::find(rules.rules, risk, &RiskRule::id) == rules.rules.end()) {
          reader.error(*reader.find(node, "risks"), "{} is no rule of the catalogue", detail::quoted(risk));
        }
      }
      out.actions.push_back(std::move(action));
    }
  }
  TRY(reader.finish());
  return out;
}

std::vector<Recommendation> recommend(const RiskEvaluation& evaluation, const Playbook& playbook) {
  std::vector<Recommendation> out;
  for (const PlaybookAction& action : playbook.actions) {
    std::vector<double> severities;
    std::vector<std::string> helped;
    for (const DetectedRisk& risk : evaluation.risks) {
      const bool helps = std::ranges::find(action.risks, risk.id) != action.risks.end();
      severities.push_back(helps ? risk.severity * (1.0 - action.effect) : risk.severity);
      if (helps) helped.push_back(risk.id);
    }
    if (helped.empty()) continue;
    const double reduction = evaluation.score - noisy_or(severities);
    out.push_back({.action_id = action.id,
                   .title = action.title,
                   .description = action.description,
                   .risks = std::move(helped),
                   .risk_reduction = reduction,
                   .revenue_protected = reduction * evaluation.quality.amount.amount});
  }
  // By risk, not by revenue: within one opportunity that is the same order, and it holds without an amount, too.
  std::ranges::stable_sort(out, std::ranges::greater{}, &Recommendation::risk_reduction);
  if (out.size() > kRecommendationsMax) out.resize(kRecommendationsMax);
  return out;
}

void write_members(json::Writer& writer, std::span<const Recommendation> recommendations) {
  writer.key("recommendations").begin_array();
  for (const Recommendation& recommendation : recommendations) {
    writer.begin_object().key("actionId").string(recommendation.action_id);
    writer.key("title").string(recommendation.title).key("description").string(recommendation.description);
    writer.key("risks").begin_array();
    for (const std::string& risk : recommendation.risks) writer.string(risk);
    writer.end_array().key("riskReduction").number(round_to(recommendation.risk_reduction, 4));
    writer.key("revenueProtected").number(round_to(recommendation.revenue_protected, 2)).end_object();
  }
  writer.end_array().key("count").number(static_cast<std::int64_t>(recommendations.size()));
}

}  // namespace wfo::analysis
