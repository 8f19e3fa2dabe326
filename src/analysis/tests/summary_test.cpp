#include "analysis/summary.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "analysis/detail/text.h"
#include "analysis/tests/deals.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::day;

store::Opportunity open_deal(const std::string& external_id, const std::string& currency = "EUR",
                             const std::string& stage = "Proposal") {
  auto out = testing::deal(external_id, StageState::open);
  out.stage = stage;
  out.currency = currency;
  out.account = "Acme";
  out.owner = "Ada";
  out.as_of = day("2026-03-01");
  return out;
}

std::string results(double amount, double score, double revenue, double deviation) {
  return fmt::format(
      R"({{"risk":{{"riskScore":{},"revenueAtRisk":{},"detectedRisks":[{{"id":"a","message":"old"}},{{"id":"b","message":"idle"}},{{"id":"c","message":"alone"}},{{"id":"d","message":"fourth"}}],)"
      R"("dataQuality":{{"amount":{},"amountSource":"price_list","missing":["amount"]}}}},"scoring":{{"mlRiskScore":0.7,"modelId":"m-1"}},)"
      R"("forecast":{{"revenueForecast":{},"standardDeviation":{}}},"recommendations":{{"recommendations":[{{"title":"call"}},{{"title":"write"}},{{"title":"third"}}]}}}})",
      score, score * amount, amount, revenue, deviation);
}

void add(SummaryBuilder& builder, const store::Opportunity& opportunity, const std::string& json) {
  const auto document = json::Document::parse(json);
  ASSERT_TRUE(document) << document.error().message;
  builder.add_completed(opportunity, document->root());
}

TEST(Summary, AddsUpRunsAndOutcomes) {
  SummaryBuilder builder;
  add(builder, open_deal("o"), results(100, 0.5, 40, 10));
  auto won = open_deal("w");
  won.state = StageState::won;
  won.amount = 70;
  add(builder, won, "{}");
  auto lost = open_deal("l");
  lost.state = StageState::lost;
  add(builder, lost, "{}");
  builder.add_failed("opportunity x is not known");
  builder.add_failed("opportunity x is not known");
  const Summary& summary = builder.summary();
  EXPECT_EQ(summary.runs, 5U);
  EXPECT_EQ(summary.completed, 3U);
  EXPECT_EQ(summary.failed, 2U);
  EXPECT_EQ(summary.open, 1U);
  EXPECT_EQ(summary.failures.at("opportunity x is not known"), 2U);
  const auto& currency = summary.by_currency.at("EUR");
  EXPECT_EQ(currency.won, (ClosedTotal{1, 70}));
  EXPECT_EQ(currency.lost, (ClosedTotal{1, 0}));
  EXPECT_EQ(currency.open.at_risk, 50);
  EXPECT_EQ(summary.open_by_risk, (std::array<std::size_t, 3>{0, 1, 0}));
  EXPECT_EQ(summary.as_of, day("2026-03-01"));
}

TEST(Summary, AddsWhatDealsDoByThemselvesAndWhatTheyHaveInCommon) {
  SummaryBuilder builder;
  for (int i = 0; i < 100; ++i) add(builder, open_deal(fmt::format("o{}", i)), results(100, 0.5, 40, 49));
  const auto& sum = builder.summary().by_currency.at("EUR").open;
  EXPECT_EQ(sum.revenue, 4'000);
  const double deviation = std::sqrt(100.0 * 49 * 49 + 1'000.0 * 1'000.0);  // 25 % of 4,000 in common
  EXPECT_NEAR(sum.p90() - sum.revenue, 1.2816 * deviation, 1e-6);
  EXPECT_NEAR(sum.revenue - sum.p10(), 1.2816 * deviation, 1e-6);
}

// The method against a simulation of what it stands for: deals that are won or not, each by itself, in years that are
// better or worse for all of them.
TEST(Summary, IntervalHoldsForSimulatedSalesTeams) {
  constexpr int kDeals = 60;
  constexpr int kDraws = 4'000;
  SummaryBuilder builder;
  testing::Random random(7);
  std::vector<std::pair<double, double>> deals;  // amount, probability
  for (int i = 0; i < kDeals; ++i) {
    const double amount = 1'000 + 9'000 * random.uniform();
    const double win = 0.1 + 0.8 * random.uniform();
    deals.emplace_back(amount, win);
    add(builder, open_deal(fmt::format("o{}", i)),
        results(amount, 0.5, amount * win, amount * std::sqrt(win * (1 - win))));
  }
  const auto& sum = builder.summary().by_currency.at("EUR").open;
  int below_p10 = 0;
  int above_p90 = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    double revenue = 0;
    for (const auto& [amount, win] : deals) revenue += random.uniform() < win ? amount : 0;
    double normal = -6;  // the sum of twelve uniform numbers, near enough
    for (int i = 0; i < 12; ++i) normal += random.uniform();
    revenue *= 1 + kCommonError * normal;
    below_p10 += revenue < sum.p10() ? 1 : 0;
    above_p90 += revenue > sum.p90() ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(below_p10) / kDraws, 0.1, 0.02);
  EXPECT_NEAR(static_cast<double>(above_p90) / kDraws, 0.1, 0.02);
}

TEST(Summary, NeverAddsCurrencies) {
  SummaryBuilder builder;
  add(builder, open_deal("e", "EUR"), results(100, 0.5, 40, 10));
  add(builder, open_deal("d", "USD"), results(200, 0.5, 80, 10));
  EXPECT_EQ(builder.summary().by_currency.at("EUR").open.amount, 100);
  EXPECT_EQ(builder.summary().by_currency.at("USD").open.amount, 200);
}

TEST(Summary, NamesTheTenMostEndangeredWhateverTheOrder) {
  SummaryBuilder up;
  SummaryBuilder down;
  for (int i = 0; i < 30; ++i) {
    add(up, open_deal(fmt::format("o{:02}", i)), results(100.0 * (i / 2), 0.5, 40, 10));
    const int j = 29 - i;
    add(down, open_deal(fmt::format("o{:02}", j)), results(100.0 * (j / 2), 0.5, 40, 10));
  }
  const auto& worst = up.summary().by_currency.at("EUR").endangered;
  ASSERT_EQ(worst.size(), kEndangeredMax);
  EXPECT_EQ(worst[0].external_id, "o28") << "of two that are alike the one with the smaller id comes first";
  EXPECT_EQ(worst[1].external_id, "o29");
  EXPECT_EQ(worst[0].reasons, (std::vector<std::string>{"old", "idle", "alone"}));
  EXPECT_EQ(worst[0].actions, (std::vector<std::string>{"call", "write"}));
  EXPECT_EQ(worst[0].amount_source, "price_list");
  EXPECT_EQ(down.summary().by_currency.at("EUR").endangered, worst);
}

TEST(Summary, NamesOneReasonOfACategory) {
  SummaryBuilder builder;
  add(builder, open_deal("o"),
      R"({"risk":{"riskScore":0.4,"revenueAtRisk":5,"detectedRisks":[{"category":"velocity","message":"very old"},)"
      R"({"category":"velocity","message":"old"},{"category":"data","message":"no owner"}]}})");
  EXPECT_EQ(builder.summary().by_currency.at("EUR").endangered.at(0).reasons,
            (std::vector<std::string>{"very old", "no owner"}));
}

TEST(Summary, OfOtherPeoplesWorkersTakesWhatTheyGive) {
  SummaryBuilder builder;
  auto open = open_deal("o");
  open.amount = 500;
  add(builder, open,
      R"({"risk":{"riskScore":0.4},"forecast":{"revenueForecast":100,"p10":0,"p90":256.32},"recommendations":{"recommendations":{}}})");
  const auto& sum = builder.summary().by_currency.at("EUR").open;
  EXPECT_EQ(sum.amount, 500);
  EXPECT_EQ(sum.revenue, 100);
  EXPECT_NEAR(std::sqrt(sum.variance), 100, 1e-9);
  EXPECT_TRUE(builder.summary().by_currency.at("EUR").endangered.empty());
}

TEST(Summary, KeepsAnythingWithinItsBounds) {
  SummaryBuilder builder;
  for (int i = 0; i < 500; ++i) {
    add(builder, open_deal(fmt::format("o{}", i), fmt::format("C{:03}", i), "s"), results(1, 0.5, 1, 1));
    add(builder, open_deal(fmt::format("p{}", i), "EUR", fmt::format("stage {}", i)), results(1, 0.5, 1, 1));
    builder.add_failed(fmt::format("reason {}", i));
  }
  const Summary& summary = builder.summary();
  EXPECT_LE(summary.by_currency.size(), kCurrenciesMax + 1);
  EXPECT_LE(summary.by_currency.at("EUR").by_stage.size(), kStagesMax + 1);
  EXPECT_LE(summary.failures.size(), 21U);
  EXPECT_EQ(summary.failed, 500U);
}

TEST(SummaryJson, SaysAllOfIt) {
  SummaryBuilder builder;
  add(builder, open_deal("o"), results(100, 0.5, 40, 10));
  builder.add_failed("x");
  const auto document = json::Document::parse(to_json(builder.summary()));
  ASSERT_TRUE(document) << document.error().message;
  const auto root = document->root();
  EXPECT_EQ(root.find("runs", "total")->integer(), 2);
  EXPECT_EQ(root.find("runs", "failed")->integer(), 1);
  EXPECT_EQ(root.find("asOf")->string(), "2026-03-01");
  EXPECT_EQ(root.find("dataQuality", "openMissing", "amount")->integer(), 1);
  const auto currency = *root.find("currencies")->elements().begin();
  EXPECT_EQ(currency.find("open", "revenueAtRisk")->number(), 50);
  EXPECT_EQ(currency.find("open", "forecast", "revenue")->number(), 40);
  const auto worst = *currency.find("endangered")->elements().begin();
  EXPECT_EQ(worst.find("externalId")->string(), "o");
  EXPECT_EQ(worst.find("amountSource")->string(), "price_list");
  EXPECT_EQ(worst.find("actions")->size(), 2U);
}

TEST(SummaryText, IsForPeople) {
  SummaryBuilder builder;
  add(builder, open_deal("o"), results(1'234'567, 0.9, 40, 10));
  const std::string text = to_text(builder.summary(), {.width = 80, .color = false});
  for (const std::string_view part :
       {"1 runs: 1 completed, 0 failed; as of 2026-03-01", "1 high (60 % and more)", "Proposal", "1,234,567",
        "  1. o  Acme", "(list price)", "- old", "> call", "1 without amount"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nnot in:\n" << text;
  }
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(to_text(builder.summary(), {.width = 80, .color = true}).find("\x1b[1m"), std::string::npos);
}

TEST(SummaryText, StaysWithinItsWidth) {
  SummaryBuilder builder;
  auto open = open_deal("o");
  open.account = std::string(300, 'x');
  open.stage = std::string(300, 'y');
  add(builder, open, results(1'234'567, 0.9, 40, 10));
  for (const std::size_t width : {60, 80, 120}) {
    std::string line;
    for (const char c : to_text(builder.summary(), {.width = width, .color = false})) {
      if (c != '\n') {
        line += c;
        continue;
      }
      const bool one_long_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
      EXPECT_TRUE(detail::columns(line) <= width || one_long_word) << line;
      line.clear();
    }
  }
}

TEST(SummaryText, LetsNobodyControlTheTerminal) {
  SummaryBuilder builder;
  auto open = open_deal("o\x1b[2J");
  open.account =
      "A\x07\xC2\x9B"
      "cme\n";
  open.stage = "\x1b]0;title\x07";
  add(builder, open, results(100, 0.9, 40, 10));
  builder.add_failed("bad\x1b[31m");
  const std::string text = to_text(builder.summary(), {});
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << static_cast<int>(c);
  EXPECT_EQ(text.find("\xC2\x9B"), std::string::npos);
}

TEST(PrintableText, IsCutBetweenCharacters) {
  EXPECT_EQ(detail::printable("Müller & Söhne", 100), "Müller & Söhne");
  EXPECT_EQ(detail::printable("Müller & Söhne", 4), "Mül…");
  EXPECT_EQ(detail::columns("Mül…"), 4U);
  EXPECT_EQ(detail::printable("abc", 3), "abc");
}

TEST(GroupedNumber, HasCommas) {
  EXPECT_EQ(detail::grouped(0), "0");
  EXPECT_EQ(detail::grouped(999.6), "1,000");
  EXPECT_EQ(detail::grouped(1'234'567), "1,234,567");
  EXPECT_EQ(detail::grouped(-1'234), "-1,234");
  EXPECT_EQ(detail::grouped(-123), "-123");
}

}  // namespace
}  // namespace wfo::analysis
