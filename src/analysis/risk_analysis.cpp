#include "analysis/risk_analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "analysis/detail/text.h"

namespace wfo::analysis {
namespace {

using store::Opportunity;
using store::StageState;

constexpr std::size_t kTopDrivers = 3;

// What a condition measured; the texts are for the rule's message.
struct Finding {
  double measure = 0;
  std::string value;
  std::string limit;
  std::string subject;
};

double days_between(Date from, Date to) { return static_cast<double>((to - from).count()); }
std::string whole(double number) { return fmt::format("{:.0f}", number); }
std::string percent(double share) { return fmt::format("{:.0f} %", share * 100); }

bool has_amount(const Opportunity& opportunity) { return opportunity.amount && *opportunity.amount > 0; }

std::optional<std::string> field_text(const Opportunity& opportunity, std::string_view field) {
  const auto filled = [](const std::string& text) { return text.empty() ? std::nullopt : std::optional(text); };
  const auto date = [](std::optional<Date> day) { return day ? std::optional(format_date(*day)) : std::nullopt; };
  if (field == "amount")
    return has_amount(opportunity) ? std::optional(detail::grouped(*opportunity.amount)) : std::nullopt;
  if (field == "account") return filled(opportunity.account);
  if (field == "owner") return filled(opportunity.owner);
  if (field == "product") return filled(opportunity.product);
  if (field == "created_date") return date(opportunity.created_on);
  if (field == "close_date") return date(opportunity.close_on);
  if (field == "currency") return filled(opportunity.currency);
  return filled(opportunity.competitor_id);
}

std::optional<Finding> cycle_finding(const RiskRule& rule, const TenantProfile& profile, std::optional<double> days) {
  const auto usual = profile.won_cycles.quantile(rule.quantile);
  if (!days || !usual) return std::nullopt;
  const double limit = std::max(*usual, 1.0);
  return Finding{*days / limit, whole(*days), whole(limit), percent(rule.quantile)};
}

std::optional<Finding> win_rate_finding(const RiskRule& rule, const Opportunity& opportunity, const WinRates& rates) {
  const bool by_product = rule.of == "product";
  const bool by_owner = rule.of == "owner";
  const auto& group = by_product ? rates.products : by_owner ? rates.owners : rates.sectors;
  const auto& subject = by_product ? opportunity.product : by_owner ? opportunity.owner : opportunity.account_sector;
  const auto found = group.find(subject);
  if (found == group.end() || found->second.closed < rule.closed_min) return std::nullopt;
  const double own = rates.rate(group, subject);
  return Finding{own / rates.overall_rate(), percent(own), percent(rates.overall_rate()), subject};
}

// Nothing if what the condition looks at is not known: a rule never guesses.
std::optional<Finding> measure(const RiskRule& rule, const Opportunity& opportunity, const TenantProfile& profile,
                               Date as_of) {
  switch (rule.kind) {
    case ConditionKind::missing:
      return field_text(opportunity, rule.of) ? std::nullopt : std::optional(Finding{1, "", "", rule.of});
    case ConditionKind::present: {
      const auto text = field_text(opportunity, rule.of);
      return text ? std::optional(Finding{1, *text, "", *text}) : std::nullopt;
    }
    case ConditionKind::stage_regressed:
      return opportunity.stage_regressed ? std::optional(Finding{1, "", "", opportunity.stage}) : std::nullopt;
    case ConditionKind::age_ratio:
      return cycle_finding(rule, profile, age_days(opportunity, as_of));
    case ConditionKind::stage_age_ratio:
      if (!opportunity.stage_entered_on) return std::nullopt;
      return cycle_finding(rule, profile, days_between(*opportunity.stage_entered_on, as_of));
    case ConditionKind::close_too_soon:
      // Also once that day has passed: else a plan that was too short would look better on the day it fails.
      if (!opportunity.created_on || !opportunity.close_on) return std::nullopt;
      return cycle_finding(rule, profile, std::max(0.0, days_between(*opportunity.created_on, *opportunity.close_on)));
    case ConditionKind::close_overdue: {
      if (!opportunity.close_on) return std::nullopt;
      const double days = days_between(*opportunity.close_on, as_of);
      return Finding{days, whole(days), "", format_date(*opportunity.close_on)};
    }
    case ConditionKind::idle: {
      if (!opportunity.last_activity_on) return std::nullopt;
      const double days = days_between(*opportunity.last_activity_on, as_of);
      return Finding{days, whole(days), "", format_date(*opportunity.last_activity_on)};
    }
    case ConditionKind::win_rate_ratio:
      return win_rate_finding(rule, opportunity, profile.rates);
    case ConditionKind::amount_ratio: {
      if (!has_amount(opportunity) || profile.median_won_amount.value_or(0) <= 0) return std::nullopt;
      const double usual = *profile.median_won_amount;
      return Finding{*opportunity.amount / usual, detail::grouped(*opportunity.amount), detail::grouped(usual),
                     opportunity.product};
    }
    case ConditionKind::price_ratio: {
      if (!has_amount(opportunity) || opportunity.list_price.value_or(0) <= 0) return std::nullopt;
      const double ratio = *opportunity.amount / *opportunity.list_price;
      return Finding{ratio, detail::grouped(*opportunity.amount), detail::grouped(*opportunity.list_price),
                     opportunity.product};
    }
    case ConditionKind::probability_below:
      if (!opportunity.crm_probability) return std::nullopt;
      return Finding{*opportunity.crm_probability, percent(*opportunity.crm_probability), "", opportunity.stage};
  }
  return std::nullopt;
}

bool has_ramp(ConditionKind kind) {
  return kind != ConditionKind::missing && kind != ConditionKind::present && kind != ConditionKind::stage_regressed;
}

double intensity(const RiskRule& rule, double measured) {
  if (!has_ramp(rule.kind)) return 1.0;
  return std::clamp((measured - rule.from) / (rule.full - rule.from), 0.0, 1.0);
}

std::string fill(std::string_view message, const Finding& finding) {
  std::string out;
  for (std::size_t at = 0; at < message.size();) {
    const auto rest = message.substr(at);
    if (rest.starts_with("{value}")) {
      out += finding.value;
      at += 7;
    } else if (rest.starts_with("{limit}")) {
      out += finding.limit;
      at += 7;
    } else if (rest.starts_with("{subject}")) {
      out += finding.subject;
      at += 9;
    } else {
      out += message[at++];
    }
  }
  return out;
}

DataQuality assess(const Opportunity& opportunity, const TenantProfile& profile, Date as_of) {
  constexpr std::array<std::string_view, 6> kWanted{"amount",  "account",      "owner",
                                                    "product", "created_date", "close_date"};
  DataQuality out{.completeness = 0, .missing = {}, .amount = estimate_amount(opportunity, profile), .as_of = as_of};
  for (const std::string_view field : kWanted) {
    if (!field_text(opportunity, field)) out.missing.emplace_back(field);
  }
  out.completeness = 1.0 - static_cast<double>(out.missing.size()) / kWanted.size();
  return out;
}

}  // namespace

double noisy_or(std::span<const double> severities) {
  double kept = 1.0;
  for (const double severity : severities) kept *= 1.0 - severity;
  return 1.0 - kept;
}

RiskEvaluation evaluate_risk(const Opportunity& opportunity, const TenantProfile& profile, const RiskRules& rules,
                             Date today) {
  const Date as_of = analysis_date(opportunity, today);
  RiskEvaluation out{.score = 0,
                     .risks = {},
                     .category_scores = {},
                     .revenue_at_risk = 0.0,
                     .quality = assess(opportunity, profile, as_of)};
  if (opportunity.state != StageState::open) {
    out.score = opportunity.state == StageState::won ? 0.0 : 1.0;
    return out;
  }
  std::vector<double> severities;
  std::map<std::string, std::vector<double>> by_category;
  for (const RiskRule& rule : rules.rules) {
    const auto finding = measure(rule, opportunity, profile, as_of);
    const double severity = finding ? rule.severity * intensity(rule, finding->measure) : 0.0;
    if (severity <= 0) continue;
    severities.push_back(severity);
    by_category[rule.category].push_back(severity);
    out.risks.push_back({rule.id, rule.category, severity, fill(rule.message, *finding)});
  }
  std::ranges::stable_sort(out.risks, std::ranges::greater{}, &DetectedRisk::severity);
  out.score = noisy_or(severities);
  for (const auto& [category, found] : by_category) out.category_scores[category] = noisy_or(found);
  out.revenue_at_risk = out.quality.amount.source == AmountSource::unknown
                            ? std::nullopt
                            : std::optional(out.score * out.quality.amount.amount);
  return out;
}

void write_members(json::Writer& writer, const RiskEvaluation& evaluation, const Opportunity& opportunity,
                   const TenantProfile& profile) {
  writer.key("riskScore").number(round_to(evaluation.score, 4));
  writer.key("detectedRisks").begin_array();
  for (const DetectedRisk& risk : evaluation.risks) {
    writer.begin_object().key("id").string(risk.id).key("category").string(risk.category);
    writer.key("severity").number(round_to(risk.severity, 4)).key("message").string(risk.message).end_object();
  }
  writer.end_array().key("categoryScores").begin_object();
  for (const auto& [category, score] : evaluation.category_scores) writer.key(category).number(round_to(score, 4));
  // A driver's contribution is its share of what all risks together took from the odds, on the scale on which risks
  // add up: -log(1 - severity).
  double all = 0;
  for (const DetectedRisk& risk : evaluation.risks) all -= std::log1p(-risk.severity);
  writer.end_object().key("topDrivers").begin_array();
  for (std::size_t i = 0; i < std::min(kTopDrivers, evaluation.risks.size()); ++i) {
    const DetectedRisk& risk = evaluation.risks[i];
    writer.begin_object().key("id").string(risk.id);
    writer.key("contribution").number(round_to(-std::log1p(-risk.severity) / all, 4)).end_object();
  }
  writer.end_array();
  if (evaluation.revenue_at_risk) writer.key("revenueAtRisk").number(round_to(*evaluation.revenue_at_risk, 2));
  if (!opportunity.currency.empty()) writer.key("currency").string(opportunity.currency);

  const DataQuality& quality = evaluation.quality;
  writer.key("dataQuality").begin_object().key("completeness").number(round_to(quality.completeness, 4));
  writer.key("missing").begin_array();
  for (const std::string& field : quality.missing) writer.string(field);
  writer.end_array().key("amount");
  quality.amount.source == AmountSource::unknown ? writer.null() : writer.number(round_to(quality.amount.amount, 2));
  writer.key("amountSource").string(name(quality.amount.source)).key("asOf").string(format_date(quality.as_of));
  writer.key("state").string(store::name(opportunity.state));
  writer.key("profileId").string(profile.profile_id);
  writer.key("closedDeals").number(std::int64_t{profile.rates.overall.closed}).end_object();
}

}  // namespace wfo::analysis
