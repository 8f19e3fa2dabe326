#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "analysis/recommendation.h"
#include "analysis/risk_analysis.h"
#include "analysis/risk_rules.h"
#include "analysis/steps.h"
#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::day;
using testing::good_deal;
using testing::history;

const Date kDay = day("2026-03-01");

const Analysis& built_in() {
  static const auto kAnalysis = Analysis::load({});
  EXPECT_TRUE(kAnalysis) << kAnalysis.error().message;
  return *kAnalysis;
}

const TenantProfile& usual_profile() {
  static const TenantProfile kProfile = build_profile(history(400, 0.6, 0.6, 9), kDay);
  return kProfile;
}

RiskEvaluation evaluate(const store::Opportunity& opportunity) {
  return evaluate_risk(opportunity, usual_profile(), built_in().rules(), kDay);
}

std::vector<std::string> ids(const RiskEvaluation& evaluation) {
  std::vector<std::string> out;
  for (const DetectedRisk& risk : evaluation.risks) out.push_back(risk.id);
  return out;
}
bool has(const RiskEvaluation& evaluation, std::string_view id) {
  return std::ranges::find(evaluation.risks, id, &DetectedRisk::id) != evaluation.risks.end();
}

// --- The catalogue's language ---

std::string rules_error(std::string_view yaml) {
  const auto rules = parse_risk_rules(yaml, "r.yaml");
  return rules ? "" : rules.error().message;
}

TEST(RiskRules, TellAllThatIsWrongWithItsLine) {
  const std::string error = rules_error(R"(version: 1
rules:
  - {id: a, category: x, severity: 2, when: {kind: idle, from: 1, full: 2}, message: m}
  - {id: a, category: x, severity: 0.5, when: {kind: idle, from: 5, full: 2}, message: m}
  - {id: b, category: x, severity: 0.5, when: {kind: guess}, message: m}
  - {id: c, category: x, severity: 0.5, when: {kind: missing, of: mood}, message: "{who}"}
  - {id: D, category: x, severity: 0.5, when: {kind: price_ratio, from: 0.5, full: 0.9}, message: m}
  - {id: e, severity: 0.5, when: {kind: stage_regressed, from: 1}, message: m}
)");
  for (const std::string_view part :
       {"r.yaml:3: severity is '2'; allowed: a number from 0.01 to 0.99", "r.yaml:4: a rule 'a' stands above already",
        "r.yaml:4: from is 5 and full is 2; for idle full must be above from",
        "r.yaml:5: kind is 'guess'; allowed: missing, present,", "r.yaml:6: of is 'mood'; allowed: amount, account",
        "r.yaml:6: the message '{who}' has a brace that is none of {value}, {limit}, {subject}",
        "r.yaml:7: 'D' is no name", "r.yaml:7: from is 0.5 and full is 0.9; for price_ratio full must be below from",
        "r.yaml:8: a rule needs the key 'category'", "r.yaml:8: the condition stage_regressed has no key 'from'"}) {
    EXPECT_NE(error.find(part), std::string::npos) << part << "\nnot in:\n" << error;
  }
}

TEST(RiskRules, NeedVersionAndRules) {
  EXPECT_NE(rules_error("version: 1\n").find("needs the key 'rules'"), std::string::npos);
  EXPECT_NE(rules_error("version: 1\nrules: []\n").find("at least 1"), std::string::npos);
  EXPECT_NE(rules_error("- 1\n").find("must be a mapping"), std::string::npos);
}

// --- What they find ---

TEST(RiskAnalysis, FindsNothingInADealOfWhichAllIsWell) {
  const auto evaluation = evaluate(good_deal());
  EXPECT_EQ(ids(evaluation), std::vector<std::string>{});
  EXPECT_EQ(evaluation.score, 0);
  EXPECT_EQ(evaluation.revenue_at_risk, 0);
  EXPECT_EQ(evaluation.quality.completeness, 1);
}

struct RiskCase {
  std::string name;
  std::string id;
  std::function<void(store::Opportunity&)> spoil;
};
class Spoilt : public ::testing::TestWithParam<RiskCase> {};
TEST_P(Spoilt, IsFoundAndSaid) {
  auto open = good_deal();
  GetParam().spoil(open);
  const auto evaluation = evaluate(open);
  const auto risk = std::ranges::find(evaluation.risks, GetParam().id, &DetectedRisk::id);
  ASSERT_NE(risk, evaluation.risks.end());
  EXPECT_GT(risk->severity, 0);
  EXPECT_FALSE(risk->message.empty());
  EXPECT_EQ(risk->message.find('{'), std::string::npos) << risk->message;
  EXPECT_GT(evaluation.score, 0);
  EXPECT_GE(evaluation.category_scores.at(risk->category), risk->severity - 1e-12);
}
INSTANTIATE_TEST_SUITE_P(
    Deals, Spoilt,
    ::testing::Values(
        RiskCase{"very_old", "stale_deal", [](auto& open) { open.created_on = day("2025-03-01"); }},
        RiskCase{"old", "slow_deal", [](auto& open) { open.created_on = day("2025-03-01"); }},
        RiskCase{"long_in_its_stage", "stale_stage", [](auto& open) { open.stage_entered_on = day("2025-06-01"); }},
        RiskCase{"overdue", "close_date_overdue", [](auto& open) { open.close_on = day("2026-02-01"); }},
        RiskCase{"no_close_date", "close_date_missing", [](auto& open) { open.close_on.reset(); }},
        RiskCase{"closes_at_once", "close_date_optimistic",
                 [](auto& open) {
                   open.created_on = day("2026-02-27");
                   open.close_on = day("2026-03-02");
                 }},
        RiskCase{"idle", "no_recent_activity", [](auto& open) { open.last_activity_on = day("2026-01-01"); }},
        RiskCase{"went_back", "stage_regressed", [](auto& open) { open.stage_regressed = true; }},
        RiskCase{"improbable", "low_crm_probability", [](auto& open) { open.crm_probability = 0.1; }},
        RiskCase{"competitor", "competitor_present", [](auto& open) { open.competitor_id = "Globex"; }},
        RiskCase{"enormous", "amount_unusual",
                 [](auto& open) {
                   open.amount = 50'000;
                   open.list_price = 50'000;
                 }},
        RiskCase{"cheap", "deep_discount", [](auto& open) { open.amount = 600; }},
        RiskCase{"nobody_owns_it", "owner_missing", [](auto& open) { open.owner.clear(); }},
        RiskCase{"no_account", "account_missing", [](auto& open) { open.account.clear(); }},
        RiskCase{"no_amount", "amount_missing", [](auto& open) { open.amount.reset(); }},
        RiskCase{"not_begun", "not_started", [](auto& open) { open.created_on.reset(); }},
        RiskCase{"no_product", "product_missing", [](auto& open) { open.product.clear(); }}),
    [](const auto& tested) { return tested.param.name; });

TEST(RiskAnalysis, KnowsWhoAndWhatSeldomWins) {
  auto deals = history(400, 0.9, 0.2, 4);
  for (auto& one : deals) one.account_sector = one.owner == "Ada" ? "retail" : "medical";
  for (auto& one : deals) one.product = one.owner == "Ada" ? "Desk" : "Lamp";
  const auto profile = build_profile(deals, kDay);
  auto open = good_deal();
  open.owner = "Bob";
  open.product = "Lamp";
  open.account_sector = "medical";
  const auto evaluation = evaluate_risk(open, profile, built_in().rules(), kDay);
  EXPECT_TRUE(has(evaluation, "owner_win_rate_low"));
  EXPECT_TRUE(has(evaluation, "product_win_rate_low"));
  EXPECT_TRUE(has(evaluation, "sector_win_rate_low"));
}

TEST(RiskAnalysis, DoesNotJudgeByAHandfulOfDeals) {
  auto deals = history(300, 0.6, 0.6, 4);
  for (int i = 0; i < 5; ++i) {
    deals.push_back(testing::closed_deal(1'000 + i, false, 20));
    deals.back().owner = "Newcomer";
  }
  auto open = good_deal();
  open.owner = "Newcomer";
  EXPECT_FALSE(has(evaluate_risk(open, build_profile(deals, kDay), built_in().rules(), kDay), "owner_win_rate_low"));
}

TEST(RiskAnalysis, SaysNumbersThatAPersonCanCheck) {
  auto open = good_deal();
  open.close_on = day("2026-02-01");
  const auto evaluation = evaluate(open);
  const auto risk = std::ranges::find(evaluation.risks, "close_date_overdue", &DetectedRisk::id);
  ASSERT_NE(risk, evaluation.risks.end());
  EXPECT_EQ(risk->message, "the expected close date 2026-02-01 passed 28 days ago");
  EXPECT_NEAR(risk->severity, 0.5 * 28 / 60, 1e-12);
}

TEST(RiskAnalysis, OfAnEstimatedAmountSaysWhereItComesFrom) {
  auto open = good_deal();
  open.amount.reset();
  open.close_on.reset();
  const auto evaluation = evaluate(open);
  EXPECT_EQ(evaluation.quality.amount, (AmountEstimate{1'000, AmountSource::price_list}));
  EXPECT_EQ(evaluation.quality.missing, (std::vector<std::string>{"amount", "close_date"}));
  EXPECT_NEAR(evaluation.quality.completeness, 4.0 / 6.0, 1e-12);
  EXPECT_NEAR(*evaluation.revenue_at_risk, evaluation.score * 1'000, 1e-9);
}

TEST(RiskAnalysis, WithoutAnyAmountNamesNoRevenueAtRisk) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price.reset();
  const auto evaluation = evaluate_risk(open, {}, built_in().rules(), kDay);
  EXPECT_EQ(evaluation.revenue_at_risk, std::nullopt);
  EXPECT_EQ(evaluation.quality.amount.source, AmountSource::unknown);
}

TEST(RiskAnalysis, OfAClosedDealIsItsOutcome) {
  for (const auto& [state, score] : {std::pair{StageState::won, 0.0}, std::pair{StageState::lost, 1.0}}) {
    auto closed = good_deal();
    closed.state = state;
    closed.created_on = day("2020-01-01");
    const auto evaluation = evaluate(closed);
    EXPECT_EQ(evaluation.score, score);
    EXPECT_TRUE(evaluation.risks.empty());
    EXPECT_EQ(evaluation.revenue_at_risk, 0);
  }
}

TEST(RiskAnalysis, StandsAtTheOpportunitysDay) {
  auto open = good_deal();
  open.as_of = day("2025-01-01");
  open.close_on = day("2025-01-15");
  open.created_on = day("2024-12-20");
  open.last_activity_on = day("2024-12-31");
  EXPECT_FALSE(has(evaluate(open), "close_date_overdue"));
  open.as_of.reset();
  EXPECT_TRUE(has(evaluate(open), "close_date_overdue"));
}

// --- Properties ---

TEST(NoisyOr, AddsUpAndNeverLeavesItsRange) {
  EXPECT_EQ(noisy_or({}), 0);
  EXPECT_DOUBLE_EQ(noisy_or(std::vector{0.5, 0.5}), 0.75);
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    testing::Random random(seed);
    std::vector<double> severities;
    double before = 0;
    for (std::size_t i = 0; i < 10; ++i) {
      severities.push_back(random.uniform());
      const double now = noisy_or(severities);
      ASSERT_GE(now, before) << "seed " << seed;
      ASSERT_LE(now, 1) << "seed " << seed;
      before = now;
    }
  }
}

TEST(RiskAnalysis, OfAnythingGivesScoresInTheirRange) {
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    testing::Random random(seed);
    const auto evaluation = evaluate(testing::any_deal(random));
    ASSERT_TRUE(evaluation.score >= 0 && evaluation.score <= 1) << "seed " << seed;
    ASSERT_TRUE(std::ranges::is_sorted(evaluation.risks, std::ranges::greater{}, &DetectedRisk::severity));
    for (const DetectedRisk& risk : evaluation.risks) {
      ASSERT_TRUE(risk.severity > 0 && risk.severity < 1) << "seed " << seed << ": " << risk.id;
    }
    for (const auto& [category, score] : evaluation.category_scores) {
      ASSERT_TRUE(score > 0 && score <= evaluation.score + 1e-12) << "seed " << seed << ": " << category;
    }
    ASSERT_TRUE(evaluation.quality.completeness >= 0 && evaluation.quality.completeness <= 1) << "seed " << seed;
  }
}

struct WorseCase {
  std::string name;
  std::function<void(store::Opportunity&, int step)> worsen;  // step 0, 1, 2, …
};
class GettingWorse : public ::testing::TestWithParam<WorseCase> {};
TEST_P(GettingWorse, NeverLowersTheScore) {
  double before = 0;
  for (int step = 0; step < 60; ++step) {
    auto open = good_deal();
    GetParam().worsen(open, step);
    const double score = evaluate(open).score;
    EXPECT_GE(score, before) << "step " << step;
    before = score;
  }
  EXPECT_GT(before, 0);
}
INSTANTIATE_TEST_SUITE_P(
    Rules, GettingWorse,
    ::testing::Values(
        WorseCase{"older",
                  [](auto& open, int step) { open.created_on = day("2026-02-20") - std::chrono::days{step * 10}; }},
        WorseCase{"more_overdue",
                  [](auto& open, int step) { open.close_on = day("2026-04-20") - std::chrono::days{step * 3}; }},
        WorseCase{
            "longer_idle",
            [](auto& open, int step) { open.last_activity_on = day("2026-03-01") - std::chrono::days{step * 2}; }},
        WorseCase{
            "longer_in_stage",
            [](auto& open, int step) { open.stage_entered_on = day("2026-03-01") - std::chrono::days{step * 5}; }},
        WorseCase{"less_probable", [](auto& open, int step) { open.crm_probability = 1.0 - step / 60.0; }},
        WorseCase{"cheaper", [](auto& open, int step) { open.amount = 1'000.0 - 15 * step; }}),
    [](const auto& tested) { return tested.param.name; });

// --- What to do ---

TEST(Playbook, HelpsAgainstEveryRiskOfTheCatalogue) {
  for (const RiskRule& rule : built_in().rules().rules) {
    const auto& actions = built_in().playbook().actions;
    EXPECT_TRUE(std::ranges::any_of(actions, [&](const PlaybookAction& action) {
      return std::ranges::find(action.risks, rule.id) != action.risks.end();
    })) << rule.id;
  }
}

TEST(Playbook, RefusesRisksThatNoRuleFinds) {
  const auto playbook =
      parse_playbook("version: 1\nactions:\n  - {id: a, risks: [mood], title: t, description: d, effect: 0.5}\n",
                     "p.yaml", built_in().rules());
  ASSERT_FALSE(playbook);
  EXPECT_EQ(playbook.error().message, "p.yaml:3: 'mood' is no rule of the catalogue");
}

TEST(Recommendations, AreRankedByTheRevenueTheyProtect) {
  auto open = good_deal();
  open.close_on = day("2025-12-01");
  open.competitor_id = "Globex";
  open.owner.clear();
  const auto evaluation = evaluate(open);
  const auto found = recommend(evaluation, built_in().playbook());
  ASSERT_GE(found.size(), 3U);
  EXPECT_EQ(found[0].action_id, "agree_close_plan");
  for (std::size_t i = 1; i < found.size(); ++i) {
    EXPECT_GE(found[i - 1].revenue_protected, found[i].revenue_protected);
  }
  // By hand: without 60 % of the severity of the two risks that it is for, the score falls by that much.
  std::vector<double> severities;
  for (const DetectedRisk& risk : evaluation.risks) {
    severities.push_back(risk.category == "schedule" ? risk.severity * 0.4 : risk.severity);
  }
  EXPECT_NEAR(found[0].risk_reduction, evaluation.score - noisy_or(severities), 1e-12);
  EXPECT_NEAR(found[0].revenue_protected, found[0].risk_reduction * 1'000, 1e-9);
}

TEST(Recommendations, NeverPromiseMoreThanTheRisk) {
  for (std::uint64_t seed = 1; seed <= 1'000; ++seed) {
    testing::Random random(seed);
    const auto evaluation = evaluate(testing::any_deal(random));
    const auto found = recommend(evaluation, built_in().playbook());
    ASSERT_LE(found.size(), kRecommendationsMax);
    for (const Recommendation& one : found) {
      ASSERT_GT(one.risk_reduction, 0) << "seed " << seed << ": " << one.action_id;
      ASSERT_LE(one.risk_reduction, evaluation.score + 1e-12) << "seed " << seed << ": " << one.action_id;
    }
  }
}

TEST(Recommendations, AreNoneForAClosedDeal) {
  auto closed = good_deal();
  closed.state = StageState::lost;
  EXPECT_TRUE(recommend(evaluate(closed), built_in().playbook()).empty());
}

}  // namespace
}  // namespace wfo::analysis
