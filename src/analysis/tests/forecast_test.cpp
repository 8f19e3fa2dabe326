#include "analysis/forecast.h"

#include <gtest/gtest.h>

#include "analysis/risk_scoring.h"
#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::day;
using testing::good_deal;
using testing::history;

const Date kDay = day("2026-03-01");

const TenantProfile& usual_profile() {
  static const TenantProfile kProfile = build_profile(history(400, 0.6, 0.6, 9), kDay);
  return kProfile;
}
const Model& usual_model() {
  static const auto kModel = train_model(history(400, 0.6, 0.6, 9), kDay, 1);
  EXPECT_TRUE(kModel);
  return *kModel;
}

TEST(Forecast, IsTheAmountTimesTheProbabilityToWin) {
  const auto forecast = forecast_revenue(good_deal(), usual_profile(), nullptr, kDay);
  const auto odds = estimate_odds(good_deal(), usual_profile(), nullptr, kDay);
  EXPECT_DOUBLE_EQ(forecast.win_probability, odds.win());
  EXPECT_DOUBLE_EQ(forecast.revenue, 1'000 * odds.win());
}

TEST(Forecast, OfAClosedDealIsCertain) {
  auto closed = good_deal();
  closed.state = StageState::won;
  const auto won = forecast_revenue(closed, usual_profile(), nullptr, kDay);
  EXPECT_EQ(won.revenue, 1'000);
  EXPECT_EQ(won.p10, 1'000);
  EXPECT_EQ(won.p90, 1'000);
  EXPECT_EQ(won.confidence, 1);
  EXPECT_EQ(won.standard_deviation, 0);
  EXPECT_EQ(won.expected_close, closed.close_on);
  closed.state = StageState::lost;
  const auto lost = forecast_revenue(closed, usual_profile(), nullptr, kDay);
  EXPECT_EQ(lost.revenue, 0);
  EXPECT_EQ(lost.p90, 0);
  EXPECT_EQ(lost.confidence, 1);
}

TEST(Forecast, WithoutAnyAmountIsZeroWithoutConfidence) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price.reset();
  const auto forecast = forecast_revenue(open, {}, nullptr, kDay);
  EXPECT_EQ(forecast.revenue, 0);
  EXPECT_EQ(forecast.confidence, 0);
  EXPECT_EQ(forecast.amount.source, AmountSource::unknown);
}

TEST(Forecast, TrustsAnEstimatedAmountLess) {
  auto open = good_deal();
  const double sure = forecast_revenue(open, usual_profile(), nullptr, kDay).confidence;
  open.amount.reset();
  const double listed = forecast_revenue(open, usual_profile(), nullptr, kDay).confidence;
  open.list_price.reset();
  const double usual = forecast_revenue(open, usual_profile(), nullptr, kDay).confidence;
  EXPECT_GT(sure, listed);
  EXPECT_GT(listed, usual);
  EXPECT_GT(usual, 0);
}

TEST(Forecast, ExpectsTheCloseAfterWhatIsLeftOfTheUsualCycle) {
  auto open = good_deal();
  open.created_on = kDay;
  const auto fresh = forecast_revenue(open, usual_profile(), nullptr, kDay).expected_close;
  ASSERT_TRUE(fresh);
  EXPECT_NEAR(static_cast<double>((*fresh - kDay).count()), *usual_profile().won_cycles.quantile(0.5), 2);
  open.created_on = kDay - std::chrono::days{10'000};
  EXPECT_GT(*forecast_revenue(open, usual_profile(), nullptr, kDay).expected_close, kDay);
}

TEST(Forecast, WithoutHistoryKeepsTheDateThatTheCrmExpects) {
  EXPECT_EQ(forecast_revenue(good_deal(), {}, nullptr, kDay).expected_close, good_deal().close_on);
  auto open = good_deal();
  open.close_on.reset();
  EXPECT_EQ(forecast_revenue(open, {}, nullptr, kDay).expected_close, kDay + std::chrono::days{90});
}

// An interval of one deal is that of a bet: nothing with 1 - p, else about its amount.
TEST(Forecast, IntervalHoldsForSimulatedDeals) {
  auto open = good_deal();
  open.amount.reset();
  const auto& profile = usual_profile();
  const auto forecast = forecast_revenue(open, profile, nullptr, kDay);
  testing::Random random(20260301);
  int below_p90 = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    double revenue = 0;
    if (random.uniform() < forecast.win_probability) {
      const double share = random.uniform();
      const double ratio =
          share < 0.1   ? profile.spread.p10
          : share < 0.5 ? profile.spread.p10 + (profile.spread.p50 - profile.spread.p10) * (share - 0.1) / 0.4
          : share < 0.9 ? profile.spread.p50 + (profile.spread.p90 - profile.spread.p50) * (share - 0.5) / 0.4
                        : profile.spread.p90;
      revenue = 1'000 * ratio;
    }
    below_p90 += revenue < forecast.p90 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(below_p90) / kDraws, 0.9, 0.01);
}

TEST(Forecast, OfAnythingIsInOrder) {
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    testing::Random random(seed);
    const auto open = testing::any_deal(random);
    for (const Model* model : {static_cast<const Model*>(nullptr), &usual_model()}) {
      const auto forecast = forecast_revenue(open, usual_profile(), model, kDay);
      ASSERT_TRUE(forecast.p10 >= 0 && forecast.p10 <= forecast.p50 && forecast.p50 <= forecast.p90) << "seed " << seed;
      ASSERT_TRUE(forecast.revenue >= 0 && forecast.revenue <= forecast.amount.amount * (1 + 1e-12)) << "seed " << seed;
      ASSERT_TRUE(forecast.confidence >= 0 && forecast.confidence <= 1) << "seed " << seed;
      ASSERT_TRUE(forecast.standard_deviation >= 0) << "seed " << seed;
    }
  }
}

TEST(RiskScore, OfAClosedDealIsItsOutcome) {
  auto closed = good_deal();
  closed.state = StageState::won;
  const auto won = score_risk(closed, usual_profile(), &usual_model(), kDay);
  EXPECT_EQ(won.risk, 0);
  EXPECT_EQ(won.model_id, "outcome");
  EXPECT_EQ(won.confidence, 1);
  closed.state = StageState::lost;
  EXPECT_EQ(score_risk(closed, usual_profile(), nullptr, kDay).risk, 1);
}

TEST(RiskScore, WithoutAModelIsThePriorWithLowConfidence) {
  const auto score = score_risk(good_deal(), usual_profile(), nullptr, kDay);
  EXPECT_EQ(score.model_id, "prior-win-rate");
  EXPECT_LE(score.confidence, 0.3);
  EXPECT_GT(score.confidence, 0);
  EXPECT_EQ(score_risk(good_deal(), {}, nullptr, kDay).confidence, 0);
}

TEST(RiskScore, OfAModelNamesIt) {
  const auto score = score_risk(good_deal(), usual_profile(), &usual_model(), kDay);
  EXPECT_EQ(score.model_id, usual_model().model_id);
  EXPECT_NEAR(score.risk, 1 - score.odds.win_if_closed * score.odds.closes, 1e-12);
}

TEST(RiskScore, OfASkilfulModelIsMoreConfident) {
  const auto good = train_model(history(400, 0.95, 0.1, 3), kDay, 1);
  ASSERT_TRUE(good);
  EXPECT_GT(score_risk(good_deal(), usual_profile(), &*good, kDay).confidence,
            score_risk(good_deal(), usual_profile(), &usual_model(), kDay).confidence);
}

}  // namespace
}  // namespace wfo::analysis
