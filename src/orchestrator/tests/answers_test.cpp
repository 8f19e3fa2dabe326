#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/tests/world.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using workflow::RunStatus;

/// A run that has asked for its four steps.
class Answers : public ::testing::Test {
 protected:
  void begin(WorldOptions options = {}) {
    world_ = std::make_unique<World>(options);
    World::must(world_->deliver({world_->updated("006-A")}));
    id_ = world_->runs().at(0).id;
    requests_ = world_->requests();
  }
  [[nodiscard]] events::EventPtr request(std::string_view type) const {
    return *std::ranges::find_if(requests_, [&](const auto& one) { return one->type() == type; });
  }
  [[nodiscard]] workflow::Run run() const { return world_->run(id_); }
  [[nodiscard]] std::vector<events::EventPtr> completions() const {
    std::vector<events::EventPtr> out;
    for (const auto& one : requests_) out.push_back(world_->completed(*one));
    return out;
  }

  std::unique_ptr<World> world_;
  WorkflowId id_;
  std::vector<events::EventPtr> requests_;
};

TEST_F(Answers, OfAllStepsCompleteTheRun) {
  begin();
  world_->clock.advance(1500ms);
  const auto answers = completions();
  World::must(world_->deliver({answers[0], answers[1]}));
  World::must(world_->deliver({answers[2]}));
  EXPECT_EQ(run().status, RunStatus::running);
  World::must(world_->deliver({answers[3]}));
  EXPECT_EQ(run().status, RunStatus::completed);

  const auto log = world_->log();
  ASSERT_EQ(log.size(), 10U);
  for (std::size_t i = 5; i < 9; ++i) {
    EXPECT_EQ(log[i]->type(), events::kStepCompleted);
    EXPECT_EQ(World::metadata(*log[i], "causationId"), answers[i - 5]->id().to_string());
    EXPECT_EQ(log[i]->correlation_id(), log[0]->correlation_id());
  }
  EXPECT_EQ(
      log[6]->data().raw(),
      fmt::format(R"({{"workflowId":"{}","opportunityId":"{}","stepId":"{}","stepType":"risk_scoring","attempt":1,)"
                  R"("durationMs":1500,)"
                  R"("result":{{"scoringId":"s1","mlRiskScore":0.25,"modelId":"m1","confidence":1e0}}}})",
                  id_.to_string(), run().opportunity.to_string(), run().steps[1].id.to_string()));
  EXPECT_EQ(log[9]->type(), events::kAnalysisCompleted);
  EXPECT_EQ(log[9]->data().raw(),
            fmt::format(R"({{"workflowId":"{}","opportunityId":"{}","results":{{)"
                        R"("risk":{{"opportunityId":"{}","evaluationId":"e1","riskScore":0.50}},)"
                        R"("scoring":{{"scoringId":"s1","mlRiskScore":0.25,"modelId":"m1","confidence":1e0}},)"
                        R"("forecast":{{"forecastId":"f1","revenueForecast":1200.10,"confidence":0.9}},)"
                        R"("recommendations":{{"recommendationId":"r1","recommendations":["call"]}}}}}})",
                        id_.to_string(), run().opportunity.to_string(), run().opportunity.to_string()));
  EXPECT_EQ(World::metadata(*log[9], "causationId"), answers[3]->id().to_string());
  EXPECT_EQ(world_->counted("workflows_completed_total"), 1);
  EXPECT_THAT(world_->metrics.text(), HasSubstr("workflow_step_duration_seconds_count{step=\"risk_scoring\"} 1"));
  EXPECT_THAT(world_->metrics.text(), HasSubstr("workflows_active 0"));
}

TEST_F(Answers, InOneBatchAreTakenInTheirOrder) {
  begin();
  auto answers = completions();
  std::ranges::reverse(answers);
  World::must(world_->deliver(answers));
  const auto completed = world_->log_of(events::kStepCompleted);
  ASSERT_EQ(completed.size(), 4U);
  EXPECT_EQ(World::text(*completed[0], "stepType"), "recommendation");
  EXPECT_EQ(World::text(*completed[3], "stepType"), "risk_analysis");
  EXPECT_EQ(world_->log().back()->type(), events::kAnalysisCompleted);
}

TEST_F(Answers, AreFoundWithoutMemory) {
  begin();
  for (const auto& answer : completions()) {
    world_->restart();
    World::must(world_->deliver({answer}));
  }
  EXPECT_EQ(run().status, RunStatus::completed);
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 4U);
}

TEST_F(Answers, WithoutStepIdAreKnownByTheirType) {
  begin();
  World::must(world_->deliver({world_->event(
      events::kForecastCompleted, kAcme,
      fmt::format(R"({{"workflowId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})", id_.to_string()))}));
  EXPECT_EQ(World::text(*world_->log().back(), "stepType"), "forecast");
}

TEST_F(Answers, ThatChangeNothingAreCounted) {
  begin();
  const auto first = request(events::kForecastRequested);
  const auto taken = world_->completed(*first);
  World::must(world_->deliver({taken}));
  const auto log_before = world_->log().size();
  const auto run_before = run();

  const auto stranger = world_->event(
      events::kForecastCompleted, kAcme,
      fmt::format(R"({{"workflowId":"{}","stepId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})",
                  id_.to_string(), StepId(world_->ids.next()).to_string()));
  const auto nobody =
      world_->event(events::kForecastCompleted, kAcme,
                    fmt::format(R"({{"workflowId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})",
                                WorkflowId(world_->ids.next()).to_string()));
  const auto foreign = world_->completed(*request(events::kRiskScoringRequested), "", kOther);
  World::must(
      world_->deliver({world_->completed(*first), taken, stranger, nobody, foreign, world_->failed(*first, "late"),
                       world_->event("risk.evaluated", kAcme,
                                     fmt::format(R"({{"opportunityId":"{}","riskScore":0}})", id_.to_string()))}));
  EXPECT_EQ(world_->ignored("already_completed"), 3);
  EXPECT_EQ(world_->ignored("unknown_step"), 1);
  EXPECT_EQ(world_->ignored("unknown_workflow"), 1);
  EXPECT_EQ(world_->ignored("foreign_tenant"), 1);
  EXPECT_EQ(world_->ignored("not_consumed"), 1);
  EXPECT_EQ(world_->log().size(), log_before);
  EXPECT_EQ(run(), run_before);
}

TEST_F(Answers, RefuseATypeThatNobodyKnowsSoThatItIsSetAside) {
  begin();
  const auto refused = world_->deliver({world_->event("weather.changed", kAcme, R"({"workflowId":"x"})")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("weather.changed"));
}

TEST_F(Answers, ThatFailAreRetriedWithBackoff) {
  begin();
  const auto forecast = request(events::kForecastRequested);
  World::must(world_->deliver({world_->failed(*forecast, "busy")}));
  EXPECT_EQ(world_->requests().size(), 4U);
  EXPECT_EQ(World::must(world_->orchestrator->wake_due()), 0U);
  world_->clock.advance(1201ms);  // 1 s, and up to 20 % more
  EXPECT_EQ(World::must(world_->orchestrator->wake_due()), 1U);
  const auto again = world_->requests();
  ASSERT_EQ(again.size(), 5U);
  EXPECT_EQ(again[4]->type(), events::kForecastRequested);
  EXPECT_EQ(again[4]->data().find("attempt")->integer(), 2);
  EXPECT_EQ(World::text(*again[4], "stepId"), World::text(*forecast, "stepId"));

  World::must(world_->deliver({world_->failed(*forecast, "the first once more")}));
  EXPECT_EQ(world_->ignored("stale_attempt"), 1);
  World::must(world_->deliver({world_->failed(*again[4], "busy")}));
  world_->clock.advance(2401ms);
  EXPECT_EQ(World::must(world_->orchestrator->wake_due()), 1U);
  const auto last = world_->requests().back();
  EXPECT_EQ(last->data().find("attempt")->integer(), 3);
  const auto final_failure = world_->failed(*last, "still busy");
  World::must(world_->deliver({final_failure}));
  EXPECT_EQ(run().status, RunStatus::failed);
  const auto end = world_->log().back();
  EXPECT_EQ(end->data().raw(), fmt::format(R"({{"workflowId":"{}","opportunityId":"{}","error":"forecast: still busy",)"
                                           R"("failedStep":"forecast"}})",
                                           id_.to_string(), run().opportunity.to_string()));
  EXPECT_EQ(World::metadata(*end, "causationId"), final_failure->id().to_string());
  EXPECT_EQ(world_->counted("workflows_failed_total", {{"cause", "step"}}), 1);
}

TEST_F(Answers, ThatFailForGoodEndTheRun) {
  begin();
  World::must(world_->deliver({world_->failed(*request(events::kForecastRequested), "no such opportunity", false)}));
  EXPECT_EQ(run().status, RunStatus::failed);
  EXPECT_EQ(world_->log().back()->type(), events::kAnalysisFailed);
}

TEST_F(Answers, AfterTheEndAreKeptForARetryByAnOperator) {
  begin();
  World::must(world_->deliver({world_->failed(*request(events::kForecastRequested), "no", false)}));
  const auto log_before = world_->log().size();
  World::must(world_->deliver({world_->completed(*request(events::kRiskScoringRequested))}));
  EXPECT_EQ(world_->log().size(), log_before);
  EXPECT_EQ(run().status, RunStatus::failed);

  world_->restart();
  const auto going = World::must(world_->orchestrator->retry(kAcme, id_, "ann"));
  EXPECT_EQ(going.attempt, 2);
  const auto log = world_->log();
  std::vector<std::string> types;
  for (std::size_t i = log_before; i < log.size(); ++i) types.push_back(log[i]->type());
  EXPECT_THAT(types, ElementsAre(events::kAnalysisStarted, events::kStepCompleted, events::kRiskAnalysisRequested,
                                 events::kForecastRequested, events::kRecommendationRequested));
  EXPECT_EQ(log[log_before]->data().find("attempt")->integer(), 2);
  EXPECT_EQ(World::metadata(*log[log_before], "userId"), "ann");
  EXPECT_EQ(log.back()->data().find("attempt")->integer(), 2);
  EXPECT_EQ(world_->counted("workflows_retried_total"), 1);
}

TEST_F(Answers, TooLargeFailTheirStepAndNameTheLimit) {
  WorldOptions options;
  options.config.step_result_bytes_max = 1'000;
  begin(options);
  const std::string note = fmt::format(R"("note":"{}")", std::string(2'000, 'x'));
  World::must(world_->deliver({world_->completed(*request(events::kForecastRequested), note)}));
  EXPECT_EQ(run().status, RunStatus::failed);
  EXPECT_EQ(run().failed_step, "forecast");
  EXPECT_THAT(run().error, HasSubstr("allowed: up to 1000 (step_result_bytes_max)"));
}

TEST_F(Answers, TooLargeTogetherFailTheLastStepAndNameTheLimit) {
  WorldOptions options;
  options.config.run_results_bytes_max = 3'000;
  begin(options);
  const std::string note = fmt::format(R"("note":"{}")", std::string(1'000, 'x'));
  std::vector<events::EventPtr> answers;
  for (const auto& one : requests_) answers.push_back(world_->completed(*one, note));
  World::must(world_->deliver(answers));
  EXPECT_EQ(run().status, RunStatus::failed);
  EXPECT_EQ(run().failed_step, "forecast");
  EXPECT_THAT(run().error, HasSubstr("allowed: up to 3000 (run_results_bytes_max)"));
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 2U);
}

TEST_F(Answers, ThatWouldMakeOurOwnEventInvalidFailTheirStep) {
  WorldOptions options;
  options.event_bytes_max = 3'000;
  begin(options);
  // Each fits into an event of its own; all together do not.
  const std::string note = fmt::format(R"("note":"{}")", std::string(1'000, 'x'));
  std::vector<events::EventPtr> answers;
  for (const auto& one : requests_) answers.push_back(world_->completed(*one, note));
  World::must(world_->deliver(answers));
  EXPECT_EQ(run().status, RunStatus::failed);
  EXPECT_EQ(run().failed_step, "recommendation");
  EXPECT_THAT(run().error, HasSubstr("cannot be published"));
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 3U);
  EXPECT_EQ(world_->log().back()->type(), events::kAnalysisFailed);
}

TEST_F(Answers, AfterTheEndThatCouldNeverBePublishedAreNotKept) {
  WorldOptions options;
  options.event_bytes_max = 3'000;
  begin(options);
  World::must(world_->orchestrator->cancel(kAcme, id_, "later"));
  const std::string large = fmt::format(R"("note":"{}")", std::string(2'500, 'x'));
  World::must(world_->deliver({world_->completed(*requests_[0], large)}));
  EXPECT_EQ(workflow::name(run().steps[0].state), "requested");
  // Each could be published, all together could not.
  const std::string some = fmt::format(R"("note":"{}")", std::string(1'000, 'x'));
  for (const auto& one : requests_) World::must(world_->deliver({world_->completed(*one, some)}));
  EXPECT_EQ(workflow::name(run().steps[2].state), "completed");
  EXPECT_EQ(workflow::name(run().steps[3].state), "requested");
  EXPECT_EQ(world_->ignored("run_ended"), 2);

  World::must(world_->orchestrator->retry(kAcme, id_));
  World::must(world_->deliver({world_->completed(*world_->requests().back())}));
  EXPECT_EQ(run().status, RunStatus::failed) << "too large with the others, whatever it holds";
  EXPECT_EQ(run().failed_step, "recommendation");
}

TEST_F(Answers, OfARunWhoseDefinitionNobodyHasAreSetAside) {
  begin();
  // As if a newer process had started the run: its definition is not among ours.
  const auto answer = world_->completed(*requests_[0]);
  World other;
  World::must(other.deliver({other.updated("006-A")}));
  workflow::Run stranger = other.runs()[0];
  stranger.definition_version = "9.9.9";
  stranger.id = WorkflowId(world_->ids.next());
  stranger.opportunity = opportunity_id(kAcme, "006-Z");
  World::must(world_->store->transact(
      [&](store::Transaction& transaction) { return transaction.runs().insert(stranger, true); }));
  const auto for_stranger =
      world_->event(events::kForecastCompleted, kAcme,
                    fmt::format(R"({{"workflowId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})",
                                stranger.id.to_string()));
  const auto delivered = world_->deliver({answer, for_stranger});
  ASSERT_FALSE(delivered);
  EXPECT_EQ(delivered.error().code, ErrorCode::not_found);
  EXPECT_THAT(delivered.error().message, HasSubstr("9.9.9"));
  World::must(world_->deliver({answer}));

  // Another tenant's answer is foreign before all else: it must not learn that there is such a run.
  const auto foreign =
      world_->event(events::kForecastCompleted, kOther,
                    fmt::format(R"({{"workflowId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})",
                                stranger.id.to_string()));
  World::must(world_->deliver({foreign}));
  EXPECT_EQ(world_->ignored("foreign_tenant"), 1);

  world_->clock.advance(24h);
  EXPECT_EQ(World::must(world_->orchestrator->wake_due(1)), 1U);  // the stranger does not stand in the way
  EXPECT_EQ(World::must(world_->orchestrator->wake_due(1)), 0U);
  EXPECT_EQ(World::must(world_->orchestrator->self_check()), (Orchestrator::SelfCheck{0, 0, 1}));
}

TEST_F(Answers, OfARunThatANewerProcessStartedAreTaken) {
  begin();
  auto newer = world_->shipped();
  newer.version = "2.0.0";
  Orchestrator replica(*world_->store, *world_->contracts, World::must(Definitions::load(*world_->store, {newer})),
                       world_->ids, world_->clock, Logger::silent(), world_->metrics);
  World::must(world_->deliver({world_->updated("006-B")}, &replica));
  const auto theirs = world_->runs()[0];
  ASSERT_EQ(theirs.definition_version, "2.0.0");
  World::must(world_->deliver({world_->completed(*world_->requests().back())}));
  EXPECT_EQ(World::workflow_of(*world_->log().back()), theirs.id);
  EXPECT_EQ(world_->log().back()->type(), events::kStepCompleted);
}

TEST_F(Answers, AreNotBelievedBeforeTheyAreCommitted) {
  begin();
  const auto answers = completions();
  EXPECT_FALSE(world_->deliver_in_vain({answers[0], answers[1]}));
  EXPECT_EQ(world_->log().size(), 5U);
  World::must(world_->deliver({answers[0], answers[1]}));
  EXPECT_EQ(world_->ignored("already_completed"), 0);
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 2U);
  EXPECT_FALSE(world_->deliver_in_vain({answers[2], answers[3]}));
  World::must(world_->deliver({answers[2], answers[3]}));
  EXPECT_EQ(run().status, RunStatus::completed);
  EXPECT_EQ(world_->log_of(events::kAnalysisCompleted).size(), 1U);
}

TEST_F(Answers, ThatAReplicaTookAreSeen) {
  begin();
  const auto replica = world_->another();
  const auto answers = completions();
  World::must(world_->deliver({answers[0]}));  // ours is in our cache
  World::must(world_->deliver({answers[1]}, replica.get()));
  World::must(world_->deliver({answers[1], answers[2]}));  // from an outdated memory
  World::must(world_->deliver({answers[2], answers[3]}, replica.get()));
  EXPECT_EQ(run().status, RunStatus::completed);
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 4U);
  EXPECT_EQ(world_->log_of(events::kAnalysisCompleted).size(), 1U);
}

TEST_F(Answers, ToARequestThatAReplicaMadeAreNotIgnored) {
  begin();
  const auto replica = world_->another();
  const auto forecast = request(events::kForecastRequested);
  World::must(world_->deliver({world_->completed(*request(events::kRiskScoringRequested))}));  // we remember the run
  World::must(world_->deliver({world_->failed(*forecast, "busy")}, replica.get()));
  world_->clock.advance(2s);
  EXPECT_EQ(World::must(replica->wake_due()), 1U);
  World::must(world_->deliver({world_->failed(*world_->requests().back(), "no", false)}));
  EXPECT_EQ(run().status, RunStatus::failed);
}

TEST(Steps, WaitForWhatTheyDependOn) {
  World world;
  auto definition = world.shipped();
  definition.version = "2.0.0";
  definition.steps[3].depends_on = {"risk_analysis", "forecast"};
  world.use({definition});
  World::must(world.deliver({world.updated("006-A")}));
  const auto first = world.requests();
  ASSERT_EQ(first.size(), 3U);
  const auto early = world.event(events::kRecommendationCompleted, kAcme,
                                 fmt::format(R"({{"workflowId":"{}","recommendationId":"r","recommendations":[]}})",
                                             World::workflow_of(*first[0]).to_string()));
  World::must(world.deliver({early, world.completed(*first[0]), world.completed(*first[2])}));
  EXPECT_EQ(world.ignored("not_requested"), 1);
  ASSERT_EQ(world.requests().size(), 4U);
  EXPECT_EQ(world.requests()[3]->type(), events::kRecommendationRequested);
}

}  // namespace
}  // namespace wfo::orchestrator
