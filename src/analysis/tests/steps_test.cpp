#include "analysis/steps.h"

#include <gtest/gtest.h>

#include "analysis/step_worker.h"
#include "analysis/tests/deals.h"
#include "bus/tests/samples.h"
#include "events/types.h"

namespace wfo::analysis {
namespace {

using testing::day;
using testing::good_deal;
using testing::history;

const WorkflowId kWorkflow = *WorkflowId::parse("01890a5d-ac96-774b-bcce-b302099a8058");
const Timestamp kNow = *parse_timestamp("2026-03-01T09:30:00Z");

const Analysis& built_in() {
  static const auto kAnalysis = Analysis::load({});
  EXPECT_TRUE(kAnalysis) << kAnalysis.error().message;
  return *kAnalysis;
}

std::string run(const StepFunction& steps, const StepInput& input) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  const auto ran = steps.run_step(input, writer);
  EXPECT_TRUE(ran) << ran.error().message;
  writer.end_object();
  return text;
}

StepInput input_of(std::string_view step, const store::Opportunity& opportunity, const TenantProfile& profile,
                   const Model* model = nullptr) {
  return {.step_type = step,
          .workflow = kWorkflow,
          .opportunity = &opportunity,
          .profile = &profile,
          .model = model,
          .now = kNow};
}

std::vector<StepEvents> all_steps() {
  std::vector<StepEvents> out;
  for (const StepRole& role : step_roles()) out.insert(out.end(), role.steps.begin(), role.steps.end());
  return out;
}

// The whole event against its contract, as it would be published.
void expect_valid(const StepEvents& step, const std::string& members, std::uint64_t seed) {
  ManualClock clock(kNow);
  SystemIdSource ids(clock);
  const events::EventFactory factory(bus::samples::contracts(), ids, clock, "tests");
  const auto document = json::Document::parse(members);
  ASSERT_TRUE(document) << "seed " << seed << ": " << document.error().message;
  const auto event = factory.make(step.completed, testing::kTenant, nullptr, [&](json::Writer& data) {
    data.begin_object().key("workflowId").uuid(kWorkflow);
    data.key("opportunityId").uuid(good_deal().id);
    for (const json::Member member : document->root().members()) {
      data.key(*member.key.string()).raw(member.value.raw());
    }
    data.end_object();
  });
  ASSERT_TRUE(event) << "seed " << seed << ": " << event.error().message << "\n" << members;
}

TEST(Steps, OfAnythingSatisfyTheirContracts) {
  const auto deals = history(200, 0.8, 0.3, 5);
  const auto profile = build_profile(deals, day("2026-03-01"));
  const auto model = train_model(deals, day("2026-03-01"), 1);
  ASSERT_TRUE(model);
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    testing::Random random(seed);
    const auto opportunity = testing::any_deal(random);
    const TenantProfile empty;
    for (const StepEvents& step : all_steps()) {
      expect_valid(step, run(built_in(), input_of(step.step_type, opportunity, profile, &*model)), seed);
      expect_valid(step, run(built_in(), input_of(step.step_type, opportunity, empty)), seed);
    }
  }
}

TEST(Steps, GiveTheSameBytesForTheSameInput) {
  const auto deals = history(200, 0.8, 0.3, 5);
  const auto again = history(200, 0.8, 0.3, 5);
  const auto profile = build_profile(deals, day("2026-03-01"));
  const auto model = train_model(deals, day("2026-03-01"), 1);
  const auto same_profile = build_profile(again, day("2026-03-01"));
  const auto same_model = train_model(again, day("2026-03-01"), 1);
  const auto other = Analysis::load({});
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    testing::Random random(seed);
    auto opportunity = testing::any_deal(random);
    opportunity.as_of = day("2026-03-01");
    for (const StepEvents& step : all_steps()) {
      auto later = input_of(step.step_type, opportunity, same_profile, &*same_model);
      later.now += std::chrono::days{100};
      EXPECT_EQ(run(built_in(), input_of(step.step_type, opportunity, profile, &*model)), run(*other, later));
    }
  }
}

TEST(Steps, OfAnotherDayGiveAnotherResult) {
  const auto profile = build_profile(history(200, 0.8, 0.3, 5), day("2026-03-01"));
  auto opportunity = good_deal();
  const std::string before = run(built_in(), input_of(kRiskAnalysisStep, opportunity, profile));
  opportunity.as_of = day("2026-09-01");
  EXPECT_NE(run(built_in(), input_of(kRiskAnalysisStep, opportunity, profile)), before);
}

TEST(Steps, SayWhereAMissingAmountComesFrom) {
  auto opportunity = good_deal();
  opportunity.amount.reset();
  const auto text = run(built_in(), input_of(kRiskAnalysisStep, opportunity, {}));
  const auto document = json::Document::parse(text);
  ASSERT_TRUE(document);
  EXPECT_EQ(document->root().find("dataQuality", "amountSource")->string(), "price_list");
  EXPECT_EQ(document->root().find("dataQuality", "amount")->number(), 1'000);
  opportunity.list_price.reset();
  const auto nothing = json::Document::parse(run(built_in(), input_of(kRiskAnalysisStep, opportunity, {})));
  EXPECT_EQ(nothing->root().find("dataQuality", "amount")->kind(), json::Kind::null) << "not known is not 0";
  EXPECT_FALSE(nothing->root().find("revenueAtRisk"));
}

TEST(Steps, RefuseAStepThatIsNotTheirs) {
  const auto opportunity = good_deal();
  const TenantProfile profile;
  std::string text;
  json::Writer writer(text);
  const NoWork nothing;
  for (const StepFunction* steps : std::initializer_list<const StepFunction*>{&built_in(), &nothing}) {
    const auto ran = steps->run_step(input_of("brewing", opportunity, profile), writer);
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().message,
              "'brewing' is no built-in step; allowed: risk_analysis, risk_scoring, forecast, recommendation");
  }
}

TEST(NoWork, SatisfiesTheContracts) {
  for (const StepEvents& step : all_steps()) {
    expect_valid(step, run(NoWork(), {.step_type = step.step_type, .workflow = kWorkflow, .now = kNow}), 0);
  }
}

TEST(AnalysisOptions, TakeFilesInThePlaceOfTheBuiltInOnes) {
  const ConfigFile rules{"mine.yaml",
                         "version: 9\nrules:\n  - {id: lonely, category: data, severity: 0.5, when: {kind: missing, "
                         "of: competitor}, message: nobody else wants it}\n"};
  const ConfigFile playbook{
      "play.yaml",
      "version: 9\nactions:\n  - {id: ask, risks: [lonely], title: Ask, description: Ask., effect: 0.5}\n"};
  const auto mine = Analysis::load({.risk_rules = rules, .playbook = playbook});
  ASSERT_TRUE(mine) << mine.error().message;
  const auto opportunity = good_deal();
  EXPECT_NE(run(*mine, input_of(kRiskAnalysisStep, opportunity, {})).find("nobody else wants it"), std::string::npos);
}

TEST(AnalysisOptions, NameFileAndLineOfWhatIsWrong) {
  const auto broken = Analysis::load({.risk_rules = ConfigFile{"mine.yaml", "version: 1\nrule: []\n"}, .playbook = {}});
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message.find("mine.yaml:2: a rule catalogue has no key 'rule'"), std::string::npos);
  const auto orphan = Analysis::load(
      {.risk_rules = ConfigFile{"mine.yaml",
                                "version: 1\nrules:\n  - {id: a, category: b, severity: 0.5, when: {kind: "
                                "stage_regressed}, message: m}\n"},
       .playbook = {}});
  ASSERT_FALSE(orphan) << "the built-in playbook names rules that this catalogue does not have";
}

}  // namespace
}  // namespace wfo::analysis
