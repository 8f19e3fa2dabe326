#include "analysis/profile.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "analysis/estimates.h"
#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::closed_deal;
using testing::day;
using testing::deal;
using testing::good_deal;
using testing::history;

TEST(Quantile, IsLinearBetweenItsNeighbours) {
  const std::vector<double> values{10, 20, 40};
  EXPECT_EQ(quantile_of(values, 0), 10);
  EXPECT_EQ(quantile_of(values, 0.25), 15);
  EXPECT_EQ(quantile_of(values, 0.5), 20);
  EXPECT_EQ(quantile_of(values, 0.75), 30);
  EXPECT_EQ(quantile_of(values, 1), 40);
  EXPECT_EQ(quantile_of(std::vector<double>{7}, 0.3), 7);
}

TEST(Profile, WithoutDealsSaysThePrior) {
  const auto profile = build_profile({}, std::nullopt);
  EXPECT_DOUBLE_EQ(profile.rates.overall_rate(), kPriorWinRate);
  EXPECT_DOUBLE_EQ(profile.rates.rate(profile.rates.products, "Desk"), kPriorWinRate);
  EXPECT_EQ(profile.won_cycles.quantile(0.5), std::nullopt);
  EXPECT_EQ(profile.median_won_amount, std::nullopt);
}

TEST(Profile, CountsWinsAndLosses) {
  std::vector<store::Opportunity> deals;
  for (int i = 0; i < 60; ++i) deals.push_back(closed_deal(i, i % 3 != 0, 30));
  const auto profile = build_profile(deals, std::nullopt);
  EXPECT_EQ(profile.rates.overall, (Rate{40, 60}));
  EXPECT_DOUBLE_EQ(profile.rates.overall_rate(), (40 + kPriorDeals * kPriorWinRate) / (60 + kPriorDeals));
  EXPECT_EQ(profile.rates.products.at("Desk"), (Rate{40, 60}));
  EXPECT_EQ(profile.won_cycles.deals, 40);
  EXPECT_EQ(profile.won_cycles.quantile(0.5), 30);
}

TEST(Profile, DrawsTheRateOfAFewDealsTowardsTheOverallRate) {
  auto deals = history(200, 0.5, 0.5, 1);
  auto lucky = closed_deal(999, true, 20);
  lucky.product = "Lamp";
  deals.push_back(lucky);
  const auto profile = build_profile(deals, std::nullopt);
  const double rate = profile.rates.rate(profile.rates.products, "Lamp");
  EXPECT_GT(rate, profile.rates.overall_rate());
  EXPECT_LT(rate, profile.rates.overall_rate() + 0.1) << "one won deal does not make a rate of 100 %";
}

TEST(Profile, PassesOverWhatClosedLaterAndWhatIsOpen) {
  std::vector<store::Opportunity> deals{closed_deal(0, true, 30), closed_deal(1, true, 30), good_deal()};
  deals[1].close_on = day("2027-01-01");
  EXPECT_EQ(build_profile(deals, day("2026-01-01")).rates.overall, (Rate{1, 1}));
}

TEST(Profile, KnowsWhatAProductBrings) {
  std::vector<store::Opportunity> deals;
  for (const double amount : {100.0, 200.0, 900.0}) {
    deals.push_back(closed_deal(static_cast<int>(amount), true, 30, amount));
  }
  deals.push_back(closed_deal(1, false, 30));
  deals.back().amount = 5'000;
  const auto profile = build_profile(deals, std::nullopt);
  EXPECT_EQ(profile.products.at("Desk").median_won, 200);
  EXPECT_EQ(profile.median_won_amount, 200) << "what a lost deal would have brought does not count";
  EXPECT_EQ(profile.spread.deals, 3);
  EXPECT_LT(profile.spread.p10, profile.spread.p50);
  EXPECT_LT(profile.spread.p50, profile.spread.p90);
}

TEST(Profile, DoesNotDependOnTheOrderOfTheDeals) {
  auto deals = history(300, 0.6, 0.4, 3);
  const auto profile = build_profile(deals, day("2026-06-01"));
  std::ranges::reverse(deals);
  EXPECT_EQ(build_profile(deals, day("2026-06-01")), profile);
}

TEST(Profile, ComesBackFromItsJsonAsItWas) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    testing::Random random(seed);
    std::vector<store::Opportunity> deals;
    for (std::size_t i = 0; i < random.below(40); ++i) deals.push_back(testing::any_deal(random));
    const auto profile = build_profile(deals, random.below(2) == 0 ? std::nullopt : std::optional(day("2026-06-01")));
    const auto read = parse_profile(to_json(profile));
    ASSERT_TRUE(read) << "seed " << seed << ": " << read.error().message;
    ASSERT_EQ(*read, profile) << "seed " << seed;
  }
}

TEST(Profile, OfWhichSomebodyChangedANumberIsRefused) {
  std::string text = to_json(build_profile(history(50, 0.6, 0.4, 1), std::nullopt));
  const auto at = text.find("\"overall\":[") + 11;
  text[at] = text[at] == '9' ? '8' : '9';
  const auto read = parse_profile(text);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::corruption);
}

TEST(Profile, OfBrokenJsonIsRefused) {
  for (const std::string_view text : {"", "{}", "[]", "{\"overall\":[1,2]}", "{\"overall\":[1]}"}) {
    EXPECT_FALSE(parse_profile(text)) << text;
  }
}

TEST(CycleTimes, SayHowManyDealsTookLonger) {
  std::vector<store::Opportunity> deals;
  for (int i = 0; i < 101; ++i) deals.push_back(closed_deal(i, true, i));
  const auto cycles = build_profile(deals, std::nullopt).won_cycles;
  EXPECT_NEAR(cycles.share_longer(50), 0.5, 0.02);
  EXPECT_NEAR(cycles.share_longer(90), 0.1, 0.02);
  EXPECT_GT(cycles.share_longer(10'000), 0);
  EXPECT_LE(cycles.share_longer(-1), 1);
  double before = 1;
  for (int age = 0; age < 200; ++age) {
    EXPECT_LE(cycles.share_longer(age), before) << age;
    before = cycles.share_longer(age);
  }
}

// --- Amounts ---

TEST(Amount, IsTheCrmsIfItSaysOne) {
  EXPECT_EQ(estimate_amount(good_deal(), {}), (AmountEstimate{1'000, AmountSource::crm}));
}

TEST(Amount, ThatIsMissingIsTheListPrice) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price = 1'200;
  EXPECT_EQ(estimate_amount(open, {}), (AmountEstimate{1'200, AmountSource::price_list}));
}

TEST(Amount, OfZeroIsMissing) {
  auto open = good_deal();
  open.amount = 0;
  open.list_price = 1'200;
  EXPECT_EQ(estimate_amount(open, {}).source, AmountSource::price_list);
}

TEST(Amount, WithoutAPriceListIsTheMedianOfTheProductsWonDeals) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price.reset();
  const auto profile = build_profile(std::vector{closed_deal(1, true, 30, 700)}, std::nullopt);
  EXPECT_EQ(estimate_amount(open, profile), (AmountEstimate{700, AmountSource::product_median}));
}

TEST(Amount, OfAnUnknownProductIsTheMedianOfAllWonDeals) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price.reset();
  open.product = "Lamp";
  const auto profile = build_profile(std::vector{closed_deal(1, true, 30, 700)}, std::nullopt);
  EXPECT_EQ(estimate_amount(open, profile), (AmountEstimate{700, AmountSource::overall_median}));
}

TEST(Amount, OfWhichNothingIsKnownSaysSo) {
  auto open = good_deal();
  open.amount.reset();
  open.list_price.reset();
  EXPECT_EQ(estimate_amount(open, {}).source, AmountSource::unknown);
}

// --- Odds ---

TEST(Odds, AreProbabilitiesForAnything) {
  const auto profile = build_profile(history(200, 0.8, 0.3, 5), std::nullopt);
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    testing::Random random(seed);
    const auto open = testing::any_deal(random);
    const auto odds = estimate_odds(open, profile, nullptr, day("2026-03-01"));
    ASSERT_GT(odds.win_if_closed, 0) << "seed " << seed;
    ASSERT_LT(odds.win_if_closed, 1) << "seed " << seed;
    ASSERT_GT(odds.closes, 0) << "seed " << seed;
    ASSERT_LE(odds.closes, 1) << "seed " << seed;
  }
}

TEST(Odds, OfEverBeingClosedFallWithAge) {
  const auto profile = build_profile(history(300, 0.6, 0.6, 2), std::nullopt);
  auto open = good_deal();
  double before = 1;
  for (int age = 0; age < 400; age += 5) {
    open.created_on = day("2026-03-01") - std::chrono::days{age};
    const double closes = estimate_odds(open, profile, nullptr, day("2026-03-01")).closes;
    EXPECT_LE(closes, before) << age;
    before = closes;
  }
  EXPECT_LT(before, 0.1);
}

TEST(RoundTo, KeepsDigitsBehindThePoint) {
  EXPECT_EQ(round_to(1.23456, 2), 1.23);
  EXPECT_EQ(round_to(-1.235, 1), -1.2);
  EXPECT_EQ(round_to(1e300, 4), 1e300);
}

}  // namespace
}  // namespace wfo::analysis
