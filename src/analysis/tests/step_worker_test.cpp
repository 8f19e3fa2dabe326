#include "analysis/step_worker.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "analysis/tests/deals.h"
#include "base/metrics.h"
#include "bus/embedded/embedded_bus.h"
#include "bus/tests/samples.h"
#include "delivery/tests/sqlite.h"
#include "events/types.h"

namespace wfo::analysis {
namespace {

using store::StageState;
using testing::day;
using testing::good_deal;
using testing::history;
using testing::kOtherTenant;
using testing::kTenant;

const Timestamp kNow = *parse_timestamp("2026-03-01T09:30:00Z");

/// A store that can be away, and counts how often it is asked.
class WatchedStore final : public store::Store {
 public:
  explicit WatchedStore(store::Store& inner) : inner_(inner) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    ++writes;
    if (away) return fail(ErrorCode::unavailable, "the store is away");
    return inner_.transact(body);
  }
  Result<void> admission() override { return inner_.admission(); }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override {
    ++reads;
    if (away) return fail(ErrorCode::unavailable, "the store is away");
    return inner_.read(body);
  }
  bool away = false;
  int reads = 0;
  int writes = 0;

 private:
  store::Store& inner_;
};

/// Steps that fail as the test says.
class FailingSteps final : public StepFunction {
 public:
  explicit FailingSteps(Error error) : error_(std::move(error)) {}
  bool reads_opportunity() const override { return false; }
  Result<void> run_step(const StepInput&, json::Writer&) const override { return std::unexpected(error_); }

 private:
  Error error_;
};

/// Steps whose result breaks its contract.
class BrokenSteps final : public StepFunction {
 public:
  bool reads_opportunity() const override { return false; }
  Result<void> run_step(const StepInput&, json::Writer& members) const override {
    members.key("evaluationId").string("x").key("riskScore").number(std::int64_t{7});
    return {};
  }
};

class StepWorkerTest : public ::testing::Test {
 protected:
  StepWorkerTest() : store(fixture.store()), analysis(*Analysis::load({})) {}

  void put(const std::vector<store::Opportunity>& opportunities) {
    const auto written = fixture.store().transact(
        [&](store::Transaction& transaction) { return transaction.opportunities().upsert(opportunities); });
    ASSERT_TRUE(written) << written.error().message;
  }
  void put_document(std::string_view name, std::string_view text) {
    const auto written = fixture.store().transact(
        [&](store::Transaction& transaction) { return transaction.opportunities().put_document(kTenant, name, text); });
    ASSERT_TRUE(written) << written.error().message;
  }
  std::optional<std::string> document(std::string_view name) {
    std::optional<std::string> out;
    EXPECT_TRUE(fixture.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(out, transaction.opportunities().document(kTenant, name));
      return {};
    }));
    return out;
  }

  bus::Delivery request(std::string_view type, std::string_view external_id, int n, const TenantId& tenant = kTenant) {
    bus::Delivery out;
    out.event = bus::samples::event(
        type, n,
        fmt::format(R"({{"workflowId":"{}","opportunityId":"{}","stepId":"{}","attempt":2,"externalId":"{}"}})",
                    workflow(n).to_string(), opportunity_id(tenant, external_id).to_string(), step(n).to_string(),
                    external_id),
        tenant);
    return out;
  }
  static Uuid workflow(int n) { return Uuid::v5(kTenant.value(), fmt::format("workflow {}", n)); }
  static Uuid step(int n) { return Uuid::v5(kTenant.value(), fmt::format("step {}", n)); }

  std::unique_ptr<StepWorker> worker(std::string_view role, const StepFunction* steps = nullptr,
                                     StepWorkerConfig config = {}) {
    const StepRole* found = find_step_role(role);
    EXPECT_NE(found, nullptr);
    return std::make_unique<StepWorker>(*found, steps != nullptr ? *steps : analysis, store, bus::samples::contracts(),
                                        ids, clock, Logger::silent(), config);
  }

  /// What the batch leads to, after its transaction.
  std::vector<events::EventPtr> handle(StepWorker& of, const std::vector<bus::Delivery>& batch) {
    const auto before = fixture.published().size();
    auto apply = of.prepare(batch);
    EXPECT_TRUE(apply) << apply.error().message;
    if (!apply) return {};
    const auto written =
        fixture.store().transact([&](store::Transaction& transaction) { return (*apply)(transaction); });
    EXPECT_TRUE(written) << written.error().message;
    auto all = fixture.published();
    return {all.begin() + static_cast<std::ptrdiff_t>(before), all.end()};
  }

  ManualClock clock{kNow};
  SystemIdSource ids{clock};
  delivery::sqlite::Fixture fixture{clock};
  WatchedStore store;
  Analysis analysis;
};

std::string text_of(const events::EventPtr& event, std::string_view key) {
  const auto value = event->data().find(key);
  return value ? std::string(value->string().value_or(std::string(value->raw()))) : "";
}

TEST(StepRoles, CoverEveryRequestOnce) {
  std::vector<std::string> bindings;
  for (const StepRole& role : step_roles()) {
    const auto options = role.consumer_options();
    EXPECT_EQ(options.queue, role.queue);
    bindings.insert(bindings.end(), options.bindings.begin(), options.bindings.end());
  }
  EXPECT_EQ(bindings, (std::vector<std::string>{"workflow.risk.analysis.requested", "workflow.risk.scoring.requested",
                                                "workflow.forecast.requested", "workflow.recommendation.requested"}));
  EXPECT_EQ(find_step_role("logging"), nullptr);
}

TEST_F(StepWorkerTest, AnswersARequestAndEchoesWhatItsStepIsFoundBy) {
  put({good_deal()});
  const auto asked = request(events::kForecastRequested, "good", 1);
  const auto answers = handle(*worker(events::kForecastingRole), {asked});
  ASSERT_EQ(answers.size(), 1U);
  const auto& answer = answers[0];
  EXPECT_EQ(answer->type(), "forecast.completed");
  EXPECT_EQ(answer->source(), "forecasting");
  EXPECT_EQ(answer->tenant(), kTenant);
  EXPECT_EQ(text_of(answer, "workflowId"), workflow(1).to_string());
  EXPECT_EQ(text_of(answer, "opportunityId"), good_deal().id.to_string());
  EXPECT_EQ(text_of(answer, "stepId"), step(1).to_string());
  EXPECT_EQ(text_of(answer, "attempt"), "2");
  EXPECT_EQ(answer->correlation_id(), asked.event->correlation_id());
  EXPECT_EQ(answer->root().find("metadata", "causationId")->uuid(), asked.event->id().value());
  EXPECT_GT(answer->data().find("revenueForecast")->number().value_or(0), 0);
}

TEST_F(StepWorkerTest, OfRiskAnalyticsWorksBothOfItsStepsAndAnnouncesTheRisk) {
  put({good_deal()});
  const auto answers = handle(*worker(events::kRiskAnalyticsRole), {request(events::kRiskAnalysisRequested, "good", 1),
                                                                    request(events::kRiskScoringRequested, "good", 2)});
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0]->type(), "risk.evaluation.completed");
  EXPECT_EQ(answers[1]->type(), "risk.evaluated");
  EXPECT_EQ(answers[2]->type(), "risk.scoring.completed");
  for (const std::string_view key : {"riskScore", "evaluationId", "topDrivers", "workflowId", "opportunityId"}) {
    EXPECT_EQ(text_of(answers[0], key), text_of(answers[1], key)) << key;
  }
  EXPECT_EQ(answers[1]->root().find("metadata", "causationId")->uuid(), answers[0]->id().value());
}

TEST_F(StepWorkerTest, OfOnlyAnEvaluationThatFailedAnnouncesNothing) {
  const auto answers =
      handle(*worker(events::kRiskAnalyticsRole), {request(events::kRiskAnalysisRequested, "unknown", 1)});
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0]->type(), "risk.evaluation.failed");
}

TEST_F(StepWorkerTest, SaysOfAnUnknownOpportunityWhichOneAndThatTryingAgainIsNoUse) {
  put({good_deal()});
  const auto answers =
      handle(*worker(events::kRecommendationsRole), {request(events::kRecommendationRequested, "good", 1),
                                                     request(events::kRecommendationRequested, "006X", 2),
                                                     request(events::kRecommendationRequested, "good", 3)});
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0]->type(), "recommendation.generation.completed");
  EXPECT_EQ(answers[1]->type(), "recommendation.generation.failed");
  EXPECT_EQ(answers[2]->type(), "recommendation.generation.completed");
  EXPECT_EQ(answers[1]->data().find("retryable")->boolean(), false);
  EXPECT_EQ(text_of(answers[1], "stepId"), step(2).to_string());
  EXPECT_EQ(text_of(answers[1], "error"),
            fmt::format("opportunity 006X ({}) is not known to recommendations: import it, or send its fields in the "
                        "changes of integration.opportunity.updated",
                        opportunity_id(kTenant, "006X").to_string()));
}

TEST_F(StepWorkerTest, ReadsABatchInOneSnapshot) {
  put({good_deal()});
  auto forecasting = worker(events::kForecastingRole);
  handle(*forecasting, {request(events::kForecastRequested, "good", 1)});
  store.reads = store.writes = 0;
  std::vector<bus::Delivery> batch;
  for (int i = 0; i < 100; ++i) batch.push_back(request(events::kForecastRequested, "good", 10 + i));
  EXPECT_EQ(handle(*forecasting, batch).size(), 100U);
  EXPECT_EQ(store.reads, 1);
  EXPECT_EQ(store.writes, 0);
}

TEST_F(StepWorkerTest, KeepsTenantsApart) {
  put({good_deal()});
  auto other = good_deal();
  other.tenant = kOtherTenant;
  other.id = opportunity_id(kOtherTenant, "good");
  other.amount = 5;
  put({other});
  const auto answers = handle(
      *worker(events::kForecastingRole),
      {request(events::kForecastRequested, "good", 1), request(events::kForecastRequested, "good", 2, kOtherTenant)});
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(text_of(answers[0], "amount"), "1000");
  EXPECT_EQ(answers[0]->tenant(), kTenant);
  EXPECT_EQ(text_of(answers[1], "amount"), "5");
  EXPECT_EQ(answers[1]->tenant(), kOtherTenant);
}

TEST_F(StepWorkerTest, KeepsTheBatchForLaterWhileTheStoreIsAway) {
  store.away = true;
  const auto prepared =
      worker(events::kForecastingRole)->prepare(std::vector{request(events::kForecastRequested, "good", 1)});
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, ErrorCode::unavailable);
}

TEST_F(StepWorkerTest, PublishesTheFailureOfAStep) {
  const FailingSteps for_good({ErrorCode::invalid_argument, "no"});
  const FailingSteps for_now({ErrorCode::unavailable, "later"});
  const auto asked = request(events::kRiskScoringRequested, "good", 1);
  const auto hopeless = handle(*worker(events::kRiskAnalyticsRole, &for_good), {asked});
  ASSERT_EQ(hopeless.size(), 1U);
  EXPECT_EQ(hopeless[0]->type(), "risk.scoring.failed");
  EXPECT_EQ(text_of(hopeless[0], "error"), "no");
  EXPECT_EQ(hopeless[0]->data().find("retryable")->boolean(), false);
  const auto hopeful = handle(*worker(events::kRiskAnalyticsRole, &for_now), {asked});
  EXPECT_EQ(hopeful[0]->data().find("retryable")->boolean(), true);
}

TEST_F(StepWorkerTest, PublishesAFailureInTheSteadOfAResultThatBreaksItsContract) {
  const BrokenSteps broken;
  const auto answers =
      handle(*worker(events::kRiskAnalyticsRole, &broken), {request(events::kRiskAnalysisRequested, "good", 1)});
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0]->type(), "risk.evaluation.failed");
  EXPECT_EQ(answers[0]->data().find("retryable")->boolean(), false);
  EXPECT_NE(text_of(answers[0], "error").find("riskScore"), std::string::npos) << text_of(answers[0], "error");
}

TEST_F(StepWorkerTest, RefusesWhatIsNoRequestOfItsRole) {
  const auto prepared =
      worker(events::kForecastingRole)->prepare(std::vector{request(events::kRiskScoringRequested, "good", 1)});
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, ErrorCode::invalid_argument);
}

TEST_F(StepWorkerTest, OfNoWorkReadsNothing) {
  const NoWork nothing;
  std::vector<bus::Delivery> batch{request(events::kRiskAnalysisRequested, "unknown", 1)};
  EXPECT_EQ(handle(*worker(events::kRiskAnalyticsRole, &nothing), batch).size(), 2U);
  EXPECT_EQ(store.reads, 0);
}

TEST_F(StepWorkerTest, AnswersWhatComesOverTheBus) {
  put({good_deal()});
  bus::EmbeddedBus embedded(fixture.store(), fixture.log());
  const StepRole& role = *find_step_role(events::kForecastingRole);
  auto consumer = embedded.consume(role.consumer_options());
  ASSERT_TRUE(consumer) << consumer.error().message;
  const auto forecasting = worker(events::kForecastingRole);
  delivery::StoreSink sink(fixture.store(), *forecasting, ids, clock);
  delivery::SystemWaiter waiter;
  Metrics metrics;
  delivery::ConsumerLoop loop(*std::move(consumer), sink, {}, clock, waiter, Logger::silent(), metrics);
  const std::vector<events::EventPtr> asked{request(events::kForecastRequested, "good", 1).event,
                                            request(events::kRiskScoringRequested, "good", 2).event};
  ASSERT_TRUE(
      fixture.store().transact([&](store::Transaction& transaction) { return transaction.log().append(asked); }));
  const auto settled = loop.run_once(milliseconds(0));
  ASSERT_TRUE(settled) << settled.error().message;
  EXPECT_EQ(*settled, 1U);
  ASSERT_EQ(fixture.published().size(), 3U);
  EXPECT_EQ(fixture.published().back()->type(), "forecast.completed");
}

// --- What is known of a tenant ---

std::string profile_id_of(const events::EventPtr& evaluation) {
  return evaluation->data().find("dataQuality", "profileId")->string().value_or("");
}

TEST_F(StepWorkerTest, BuildsAProfileThatIsMissingAsOfTheOpportunitysDay) {
  auto deals = history(100, 0.6, 0.6, 1);
  put(deals);
  put({good_deal()});
  const auto answers =
      handle(*worker(events::kRiskAnalyticsRole), {request(events::kRiskAnalysisRequested, "good", 1)});
  EXPECT_EQ(profile_id_of(answers[0]), build_profile(deals, good_deal().as_of).profile_id);
  ASSERT_TRUE(document(kProfileDocument));
}

TEST_F(StepWorkerTest, BuildsAProfileAnewOnceItIsTooOld) {
  put(history(100, 0.6, 0.6, 1));
  put({good_deal()});
  auto analytics = worker(events::kRiskAnalyticsRole, nullptr, {.profile_age_max = std::chrono::minutes(10)});
  const auto ask = [&](int n) {
    return profile_id_of(handle(*analytics, {request(events::kRiskAnalysisRequested, "good", n)}).front());
  };
  const std::string first = ask(1);
  put({testing::closed_deal(5'000, true, 20)});
  clock.advance(std::chrono::minutes(9));
  EXPECT_EQ(ask(2), first);
  clock.advance(std::chrono::minutes(1));
  EXPECT_NE(ask(3), first);
}

TEST_F(StepWorkerTest, SeesAProfileThatSomebodyElseBuilt) {
  put(history(100, 0.6, 0.6, 1));
  put({good_deal()});
  auto analytics = worker(events::kRiskAnalyticsRole);
  handle(*analytics, {request(events::kRiskAnalysisRequested, "good", 1)});
  put({testing::closed_deal(5'000, true, 20)});
  const auto built = rebuild_profile(fixture.store(), clock, kTenant, day("2026-03-01"));
  ASSERT_TRUE(built);
  EXPECT_EQ(profile_id_of(handle(*analytics, {request(events::kRiskAnalysisRequested, "good", 2)}).front()),
            built->profile_id);
}

TEST_F(StepWorkerTest, ScoresWithTheModelAsSoonAsThereIsOne) {
  put(history(200, 0.8, 0.3, 1));
  put({good_deal()});
  auto analytics = worker(events::kRiskAnalyticsRole);
  const auto model_of = [&](int n) {
    return text_of(handle(*analytics, {request(events::kRiskScoringRequested, "good", n)}).front(), "modelId");
  };
  EXPECT_EQ(model_of(1), "prior-win-rate");
  const auto model = train_and_store_model(fixture.store(), kTenant, day("2026-03-01"));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model_of(2), model->model_id);
  EXPECT_EQ(*load_model(fixture.store(), kTenant), *model);
}

TEST_F(StepWorkerTest, GoesOnWithoutDocumentsThatAreBroken) {
  put(history(200, 0.8, 0.3, 1));
  put({good_deal()});
  put_document(kProfileDocument, "{\"builtAt\":\"2026-03-01T09:29:00Z\",\"profile\":{}}");
  put_document(kModelDocument, "{\"modelId\":\"x\"}");
  const auto answers = handle(*worker(events::kRiskAnalyticsRole), {request(events::kRiskScoringRequested, "good", 1)});
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(text_of(answers[0], "modelId"), "prior-win-rate");
  EXPECT_EQ(load_model(fixture.store(), kTenant).error().code, ErrorCode::corruption);
}

TEST_F(StepWorkerTest, TrainsNoModelOnTooFewDealsAndKeepsTheOneBefore) {
  put(history(200, 0.8, 0.3, 1));
  const auto model = train_and_store_model(fixture.store(), kTenant, std::nullopt);
  ASSERT_TRUE(model);
  const auto refused = train_and_store_model(fixture.store(), kTenant, day("2025-01-20"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(*load_model(fixture.store(), kTenant), *model);
}

TEST(KnowledgeCache, ParsesOnlyWhatHasChangedAndKeepsNoMoreThanItMay) {
  KnowledgeCache cache(2);
  KnowledgeTexts texts;
  const auto tenant = [](int n) { return TenantId(Uuid::v5(kTenant.value(), fmt::format("{}", n))); };
  const auto first = cache.take(tenant(1), texts, Logger::silent());
  EXPECT_EQ(cache.take(tenant(1), texts, Logger::silent()), first);
  texts.model = "{}";
  EXPECT_NE(cache.take(tenant(1), texts, Logger::silent()), first);
  static_cast<void>(cache.take(tenant(2), texts, Logger::silent()));
  const auto kept = cache.take(tenant(1), texts, Logger::silent());
  static_cast<void>(cache.take(tenant(3), texts, Logger::silent()));
  EXPECT_EQ(cache.size(), 2U);
  EXPECT_EQ(cache.take(tenant(1), texts, Logger::silent()), kept) << "tenant 2 was not asked for the longest";
}

}  // namespace
}  // namespace wfo::analysis
