#include "analysis/model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using testing::day;
using testing::history;

const Date kDay = day("2026-06-01");

TEST(AreaUnderCurve, IsTheShareOfPairsInTheRightOrder) {
  EXPECT_EQ(area_under_curve(std::vector{0.1, 0.4, 0.35, 0.8}, {false, false, true, true}), 0.75);
  EXPECT_EQ(area_under_curve(std::vector{0.1, 0.9}, {false, true}), 1);
  EXPECT_EQ(area_under_curve(std::vector{0.9, 0.1}, {false, true}), 0);
}

TEST(AreaUnderCurve, CountsTiesHalf) {
  EXPECT_EQ(area_under_curve(std::vector{0.5, 0.5, 0.5}, {false, true, true}), 0.5);
}

TEST(AreaUnderCurve, OfOneClassIsACoins) { EXPECT_EQ(area_under_curve(std::vector{0.1, 0.9}, {true, true}), 0.5); }

TEST(Model, LearnsWhoWins) {
  const auto deals = history(800, 0.85, 0.25, 11);
  const auto model = train_model(deals, kDay, 1);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_GT(model->by_time.auc, 0.7);
  EXPECT_GT(model->random.auc, 0.7);
  EXPECT_LT(model->random.brier, model->random.brier_of_rate);
  EXPECT_GT(model->by_time.rows, 100);
  const auto rates = build_profile(deals, kDay).rates;
  auto ada = testing::good_deal();
  auto bob = ada;
  bob.owner = "Bob";
  EXPECT_GT(win_probability(*model, ada, rates, kDay), win_probability(*model, bob, rates, kDay) + 0.2);
}

TEST(Model, IsCalibratedWhereThereIsSomethingToLearn) {
  const auto deals = history(4'000, 0.8, 0.3, 5);
  const auto model = train_model(deals, kDay, 1);
  ASSERT_TRUE(model);
  const auto rates = build_profile(deals, kDay).rates;
  auto open = testing::good_deal();
  EXPECT_NEAR(win_probability(*model, open, rates, kDay), 0.8, 0.1);
  open.owner = "Bob";
  EXPECT_NEAR(win_probability(*model, open, rates, kDay), 0.3, 0.1);
}

TEST(Model, IsNoBetterThanACoinWhereThereIsNothingToLearn) {
  const auto model = train_model(history(2'000, 0.5, 0.5, 12), kDay, 1);
  ASSERT_TRUE(model);
  EXPECT_NEAR(model->random.auc, 0.5, 0.06);
  EXPECT_NEAR(model->random.brier, model->random.brier_of_rate, 0.01);
}

TEST(Model, IsTheSameForTheSameDealsInAnyOrder) {
  auto deals = history(300, 0.7, 0.4, 7);
  const auto model = train_model(deals, kDay, 1);
  std::ranges::reverse(deals);
  EXPECT_EQ(train_model(deals, kDay, 1), model);
}

TEST(Model, OfAnotherSeedDrawsOtherDealsToTryItOn) {
  const auto deals = history(300, 0.7, 0.4, 7);
  const auto one = train_model(deals, kDay, 1);
  const auto two = train_model(deals, kDay, 2);
  ASSERT_TRUE(one && two);
  EXPECT_NE(one->model_id, two->model_id);
  EXPECT_EQ(one->features, two->features) << "what is handed out is trained on all deals";
}

TEST(Model, DoesNotSeeWhatIsKnownOfAClosedDealOnly) {
  auto deals = history(300, 0.7, 0.4, 7);
  const auto model = train_model(deals, kDay, 1);
  for (auto& deal : deals) {
    deal.amount = deal.amount ? 5 * *deal.amount : 1;
    deal.stage = "whatever";
    deal.crm_probability = deal.state == store::StageState::won ? 1.0 : 0.0;
  }
  EXPECT_EQ(train_model(deals, kDay, 1), model);
}

TEST(Model, PassesOverWhatClosedLater) {
  const auto deals = history(300, 0.7, 0.4, 7);
  const auto early = train_model(deals, day("2025-08-01"), 1);
  ASSERT_TRUE(early) << early.error().message;
  EXPECT_LT(early->deals, 300);
  EXPECT_EQ(early->deals + early->skipped, 300);
}

TEST(Model, NeedsEnoughDealsOfBothKinds) {
  for (const auto& deals : {history(kTrainingDealsMin - 1, 0.5, 0.5, 1), history(100, 1, 1, 1), history(100, 0, 0, 1),
                            history(0, 0, 0, 1)}) {
    const auto model = train_model(deals, kDay, 1);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(model.error().message.find("needed: 50"), std::string::npos) << model.error().message;
  }
}

TEST(Model, ComesBackFromItsJsonAsItWas) {
  const auto model = train_model(history(300, 0.7, 0.4, 7), kDay, 18'446'744'073'709'551'615ULL);
  ASSERT_TRUE(model);
  const auto read = parse_model(to_json(*model));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, *model);
}

TEST(Model, ThatSomebodyChangedIsRefused) {
  const auto model = train_model(history(300, 0.7, 0.4, 7), kDay, 1);
  std::string text = to_json(*model);
  text.replace(text.find("\"deals\":300"), 11, "\"deals\":301");
  const auto read = parse_model(text);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::corruption);
  for (const std::string_view broken : {"", "{}", "[1]", "{\"asOf\":\"2026-01-01\"}"}) {
    EXPECT_FALSE(parse_model(broken)) << broken;
  }
}

TEST(Model, GivesAProbabilityForAnything) {
  const auto deals = history(300, 0.7, 0.4, 7);
  const auto model = train_model(deals, kDay, 1);
  const auto rates = build_profile(deals, kDay).rates;
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    testing::Random random(seed);
    const double p = win_probability(*model, testing::any_deal(random), rates, kDay);
    ASSERT_TRUE(p > 0 && p < 1) << "seed " << seed << ": " << p;
  }
}

}  // namespace
}  // namespace wfo::analysis
