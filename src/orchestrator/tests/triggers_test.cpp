#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/tests/world.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;
using store::TriggerOutcome;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using workflow::RunStatus;

StartRequest request(World& world, std::string_view external_id, const TenantId& tenant = kAcme) {
  StartRequest out;
  out.tenant = tenant;
  out.trigger_id = EventId(world.ids.next());
  out.trigger_type = "api";
  out.opportunity = opportunity_id(tenant, external_id);
  out.external_id = external_id;
  return out;
}

StartAnswer start(World& world, const StartRequest& wanted) {
  return World::must(world.orchestrator->start({&wanted, 1})).front();
}

void complete_all(World& world, const WorkflowId& id) {
  std::vector<events::EventPtr> answers;
  for (const auto& one : world.requests()) {
    if (World::workflow_of(*one) == id) answers.push_back(world.completed(*one));
  }
  World::must(world.deliver(answers));
}

TEST(Trigger, StartsARunAndAsksForAllItsSteps) {
  World world;
  const auto trigger = world.event(events::kOpportunityUpdated, kAcme, R"({"opportunityId":"006-A"})",
                                   R"({"correlationId":"import 7","userId":"ann","traceparent":"00-ab-cd-01"})");
  World::must(world.deliver({trigger}));

  EXPECT_THAT(world.types_in_log(),
              ElementsAre(events::kAnalysisStarted, events::kRiskAnalysisRequested, events::kRiskScoringRequested,
                          events::kForecastRequested, events::kRecommendationRequested));
  const auto log = world.log();
  const workflow::Run run = world.runs().at(0);
  EXPECT_EQ(log[0]->data().raw(),
            fmt::format(R"({{"workflowId":"{}","opportunityId":"{}",)"
                        R"("trigger":{{"type":"integration.opportunity.updated","id":"{}"}},"attempt":1,)"
                        R"("definition":{{"name":"opportunity-analysis","version":"1.0.0"}},"externalId":"006-A"}})",
                        run.id.to_string(), opportunity_id(kAcme, "006-A").to_string(), trigger->id().to_string()));
  EXPECT_EQ(log[1]->data().raw(),
            fmt::format(R"({{"workflowId":"{}","opportunityId":"{}","stepId":"{}","attempt":1,"externalId":"006-A"}})",
                        run.id.to_string(), run.opportunity.to_string(), run.steps[0].id.to_string()));
  for (const auto& one : log) {
    EXPECT_EQ(one->tenant(), kAcme);
    EXPECT_EQ(one->source(), events::kOrchestratorRole);
    EXPECT_EQ(one->correlation_id(), "import 7");
    EXPECT_EQ(World::metadata(*one, "causationId"), trigger->id().to_string());
    EXPECT_EQ(World::metadata(*one, "userId"), "ann");
    EXPECT_EQ(one->traceparent(), "00-ab-cd-01");
  }
  EXPECT_EQ(run.status, RunStatus::running);
  EXPECT_EQ(run.external_id, "006-A");
  EXPECT_EQ(run.trigger_id, trigger->id());
  const auto noted = world.trigger(trigger->id());
  ASSERT_TRUE(noted);
  EXPECT_EQ(noted->outcome, TriggerOutcome::started);
  EXPECT_EQ(noted->workflow, run.id);
  EXPECT_EQ(world.counted("workflows_started_total"), 1);
}

TEST(Trigger, WithoutACorrelationIsItsOwn) {
  World world;
  const auto trigger = world.updated("006-A");
  World::must(world.deliver({trigger}));
  EXPECT_EQ(world.log().back()->correlation_id(), trigger->id().to_string());
}

TEST(Trigger, KeepsAnIdThatIsAUuidInLowerCase) {
  World world;
  World::must(world.deliver({world.updated("0F8FAD5B-D9CB-469F-A165-70867728950E")}));
  const workflow::Run run = world.runs().at(0);
  EXPECT_EQ(run.opportunity.to_string(), "0f8fad5b-d9cb-469f-a165-70867728950e");
  EXPECT_EQ(run.external_id, "");
  EXPECT_FALSE(world.log()[0]->data().find("externalId"));
}

TEST(Trigger, OfAShardStartsARunForOpportunitiesOnly) {
  World world;
  World::must(world.deliver({
      world.event(events::kShardUpdated, kAcme, R"({"shardId":"s-1","shardType":"opportunity"})"),
      world.event(events::kShardUpdated, kAcme, R"({"id":"s-2","shardTypeName":"opportunity"})"),
      world.event(events::kShardUpdated, kAcme, R"({"shardId":"s-3","shardType":"contact"})"),
  }));
  const auto runs = world.runs();
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].external_id, "s-2");
  EXPECT_EQ(runs[1].external_id, "s-1");
  EXPECT_EQ(world.ignored("other_shard"), 1);
}

TEST(Trigger, StoresTheChangesItBrings) {
  World world;
  World::must(world.deliver({
      world.event(events::kOpportunityUpdated, kAcme,
                  R"({"opportunityId":"006-A","changes":{"name":"Big deal","amount":1200.5,"unheard":1},)"
                  R"("timestamp":"2026-02-28T12:00:00Z"})"),
      world.event(events::kShardUpdated, kAcme,
                  R"({"shardId":"006-B","shardType":"opportunity","structuredData":{"stage":"Won","state":"won"}})"),
  }));
  const auto a = world.opportunity(opportunity_id(kAcme, "006-A"));
  ASSERT_TRUE(a);
  EXPECT_EQ(a->name, "Big deal");
  EXPECT_EQ(a->amount, 1200.5);
  EXPECT_EQ(a->external_id, "006-A");
  EXPECT_EQ(a->changed_at, parse_timestamp("2026-02-28T12:00:00Z"));
  const auto b = world.opportunity(opportunity_id(kAcme, "006-B"));
  ASSERT_TRUE(b);
  EXPECT_EQ(b->state, store::StageState::won);
  EXPECT_EQ(b->changed_at, kStart);
  EXPECT_FALSE(world.opportunity(opportunity_id(kAcme, "006-A"), kOther));
}

TEST(Trigger, DoesNotOverwriteNewerChangesWithOlderOnes) {
  World world;
  const auto change = [&](std::string_view name, std::string_view at) {
    return world.event(
        events::kOpportunityUpdated, kAcme,
        fmt::format(R"({{"opportunityId":"006-A","changes":{{"name":"{}"}},"timestamp":"{}"}})", name, at));
  };
  World::must(world.deliver({change("second", "2026-02-02T00:00:00Z"), change("first", "2026-02-01T00:00:00Z")}));
  EXPECT_EQ(world.opportunity(opportunity_id(kAcme, "006-A"))->name, "second");
  EXPECT_EQ(world.ignored("outdated_change"), 1);
  World::must(world.deliver({change("third", "2026-02-03T00:00:00Z")}));
  EXPECT_EQ(world.opportunity(opportunity_id(kAcme, "006-A"))->name, "third");
  EXPECT_EQ(world.runs().size(), 1U);  // all of them are triggers, the later ones absorbed
}

TEST(Trigger, WithoutChangesInventsNoOpportunity) {
  World world;
  World::must(world.deliver({
      world.updated("006-A"),
      world.event(events::kOpportunityUpdated, kAcme, R"({"opportunityId":"006-B","changes":null})"),
      world.event(events::kOpportunityUpdated, kAcme, R"({"opportunityId":"006-C","changes":{}})"),
  }));
  for (const auto* id : {"006-A", "006-B", "006-C"}) EXPECT_FALSE(world.opportunity(opportunity_id(kAcme, id))) << id;
  EXPECT_EQ(world.runs().size(), 3U);
}

TEST(Trigger, WithABadChangeIsAtFaultAndLeavesNothing) {
  World world;
  for (const auto& [changes, named] : std::vector<std::pair<std::string, std::string>>{
           {R"({"amount":"a lot"})", "amount"}, {R"([1])", "[1]"}, {R"({"state":"maybe"})", "state"}}) {
    const auto delivered = world.deliver(
        {world.updated("006-B"), world.event(events::kOpportunityUpdated, kAcme,
                                             fmt::format(R"({{"opportunityId":"006-A","changes":{}}})", changes))});
    ASSERT_FALSE(delivered);
    EXPECT_EQ(delivered.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(delivered.error().message, HasSubstr(named));
  }
  EXPECT_TRUE(world.log().empty());
  EXPECT_TRUE(world.runs().empty());
}

TEST(Trigger, ThatWasSeenBeforeStartsNothing) {
  World world;
  const auto trigger = world.updated("006-A");
  World::must(world.deliver({trigger, trigger}));
  EXPECT_EQ(world.runs().size(), 1U);
  EXPECT_EQ(world.ignored("repeated_trigger"), 1);
  complete_all(world, world.runs()[0].id);
  world.restart();
  World::must(world.deliver({trigger}));
  EXPECT_EQ(world.runs().size(), 1U);
  EXPECT_EQ(world.ignored("repeated_trigger"), 2);
}

TEST(Trigger, OfAnotherTenantUnderTheSameIdIsAnotherTrigger) {
  World world;
  const EventId id(world.ids.next());
  const auto make = [&](const TenantId& tenant) {
    return world.event(events::kOpportunityUpdated, tenant, R"({"opportunityId":"006-A"})", "", id);
  };
  World::must(world.deliver({make(kAcme), make(kOther)}));
  ASSERT_EQ(world.runs(kAcme).size(), 1U);
  ASSERT_EQ(world.runs(kOther).size(), 1U);
  EXPECT_NE(world.runs(kAcme)[0].opportunity, world.runs(kOther)[0].opportunity);
}

TEST(TriggerWhileActive, IsAbsorbedAndLeadsToOneFollowUp) {
  World world;
  const auto first = world.updated("006-A");
  World::must(world.deliver({first}));
  const WorkflowId active = world.runs()[0].id;
  const auto second = world.updated("006-A");
  const auto third = world.event(events::kOpportunityUpdated, kAcme, R"({"opportunityId":"006-A"})",
                                 R"({"correlationId":"the newest"})");
  World::must(world.deliver({second}));
  World::must(world.deliver({third}));
  ASSERT_EQ(world.runs().size(), 1U);
  EXPECT_EQ(world.counted("workflow_triggers_absorbed_total"), 2);
  EXPECT_EQ(world.trigger(third->id())->outcome, TriggerOutcome::absorbed);
  EXPECT_EQ(world.trigger(third->id())->workflow, active);

  complete_all(world, active);
  const auto runs = world.runs();
  ASSERT_EQ(runs.size(), 2U);
  const workflow::Run& next = runs[0];
  EXPECT_EQ(next.status, RunStatus::running);
  EXPECT_EQ(next.trigger_id, third->id());
  EXPECT_EQ(next.correlation_id, "the newest");
  EXPECT_EQ(next.external_id, "006-A");
  EXPECT_EQ(world.trigger(second->id())->follow_up, next.id);
  EXPECT_EQ(world.trigger(third->id())->follow_up, next.id);
  const auto started = world.log_of(events::kAnalysisStarted).back();
  EXPECT_EQ(World::workflow_of(*started), next.id);
  EXPECT_EQ(World::metadata(*started, "causationId"), third->id().to_string());

  complete_all(world, next.id);
  EXPECT_EQ(world.runs().size(), 2U);
  EXPECT_EQ(world.log_of(events::kAnalysisCompleted).size(), 2U);
}

TEST(TriggerWhileActive, LeadsToAFollowUpHoweverTheRunEnds) {
  World world;
  for (const bool cancel : {false, true}) {
    const std::string id = cancel ? "006-A" : "006-B";
    World::must(world.deliver({world.updated(id)}));
    const WorkflowId active = world.runs()[0].id;
    const auto request = world.requests().back();
    World::must(world.deliver({world.updated(id)}));
    const std::size_t before = world.runs().size();
    if (cancel) {
      World::must(world.orchestrator->cancel(kAcme, active, "no use"));
    } else {
      World::must(world.deliver({world.failed(*request, "no such opportunity", false)}));
    }
    ASSERT_EQ(world.runs().size(), before + 1);
    EXPECT_NE(world.run(active).status, RunStatus::running);
    EXPECT_EQ(world.runs()[0].status, RunStatus::running);
  }
}

TEST(TriggerWhileActive, OfAnApiCallFollowsFromTheEndOfTheRunBefore) {
  World world;
  const auto first = start(world, request(world, "006-A"));
  const auto second = start(world, request(world, "006-A"));
  EXPECT_EQ(second.outcome, TriggerOutcome::absorbed);
  EXPECT_EQ(second.workflow, first.workflow);
  complete_all(world, *first.workflow);
  const auto end = world.log_of(events::kAnalysisCompleted).back();
  EXPECT_EQ(World::metadata(*world.log_of(events::kAnalysisStarted).back(), "causationId"), end->id().to_string());
}

TEST(TriggerWhileActive, InTheBatchThatEndsTheRunIsNotLost) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  std::vector<events::EventPtr> batch;
  for (const auto& one : world.requests()) batch.push_back(world.completed(*one));
  batch.insert(batch.begin() + 2, world.updated("006-A"));
  World::must(world.deliver(batch));
  ASSERT_EQ(world.runs().size(), 2U);
  EXPECT_EQ(world.runs()[0].status, RunStatus::running);
  EXPECT_EQ(world.runs()[1].status, RunStatus::completed);
}

TEST(TriggerWhileActive, RunsBesideItIfTheDefinitionSaysSo) {
  World world;
  auto definition = world.shipped();
  definition.version = "2.0.0";
  definition.on_active = workflow::OnActive::start_new;
  world.use({definition});
  World::must(world.deliver({world.updated("006-A"), world.updated("006-A")}));
  World::must(world.deliver({world.updated("006-A")}));
  const auto runs = world.runs();
  ASSERT_EQ(runs.size(), 3U);
  for (const auto& run : runs) EXPECT_EQ(run.status, RunStatus::running);
  for (const auto& run : runs) complete_all(world, run.id);
  EXPECT_EQ(world.runs().size(), 3U);
  EXPECT_EQ(world.log_of(events::kAnalysisCompleted).size(), 3U);
}

TEST(TriggerWhileActive, TakesItsPlaceIfTheDefinitionSaysSo) {
  World world;
  const auto old_trigger = world.updated("006-A");
  World::must(world.deliver({old_trigger}));
  const auto absorbed = world.updated("006-A");
  World::must(world.deliver({absorbed}));
  auto definition = world.shipped();
  definition.version = "2.0.0";
  definition.on_active = workflow::OnActive::cancel_active;
  world.use({definition});
  const auto newer = world.updated("006-A");
  World::must(world.deliver({newer}));

  const auto runs = world.runs();
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].status, RunStatus::running);
  EXPECT_EQ(runs[0].definition_version, "2.0.0");
  EXPECT_EQ(runs[1].status, RunStatus::cancelled);
  EXPECT_EQ(world.trigger(absorbed->id())->follow_up, runs[0].id);
  const auto ended = world.log_of(events::kAnalysisFailed);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_THAT(World::text(*ended[0], "error"),
              HasSubstr("cancelled: superseded by trigger " + newer->id().to_string()));
  EXPECT_EQ(World::metadata(*ended[0], "causationId"), newer->id().to_string());
}

TEST(Start, AnswersEachRequestInOrder) {
  World world;
  StartRequest unknown = request(world, "006-C");
  unknown.definition = "payroll";
  const std::vector<StartRequest> wanted{request(world, "006-A"), request(world, "006-A"), unknown,
                                         request(world, "006-B")};
  const auto answers = World::must(world.orchestrator->start(wanted));
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(answers[0].outcome, TriggerOutcome::started);
  EXPECT_EQ(answers[1].outcome, TriggerOutcome::absorbed);
  EXPECT_EQ(answers[1].workflow, answers[0].workflow);
  EXPECT_EQ(answers[2].outcome, TriggerOutcome::refused);
  EXPECT_FALSE(answers[2].workflow);
  EXPECT_THAT(answers[2].reason, HasSubstr("'payroll'"));
  EXPECT_THAT(answers[2].reason, HasSubstr("opportunity-analysis"));
  EXPECT_EQ(answers[3].outcome, TriggerOutcome::started);
  EXPECT_NE(answers[3].workflow, answers[0].workflow);
  for (const auto& answer : answers) EXPECT_FALSE(answer.repeated);
  EXPECT_EQ(world.trigger(unknown.trigger_id)->reason, answers[2].reason);
  EXPECT_EQ(world.trigger(unknown.trigger_id)->definition_name, "payroll");
}

TEST(Start, GivesTheOldAnswerToATriggerThatWasSeen) {
  World world;
  StartRequest unknown = request(world, "006-C");
  unknown.definition = "payroll";
  const std::vector<StartRequest> wanted{request(world, "006-A"), request(world, "006-A"), unknown};
  const auto first = World::must(world.orchestrator->start(wanted));
  complete_all(world, *first[0].workflow);
  world.restart();
  const auto again = World::must(world.orchestrator->start(wanted));
  ASSERT_EQ(again.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(again[i].repeated);
    EXPECT_EQ(again[i].outcome, first[i].outcome);
    EXPECT_EQ(again[i].workflow, first[i].workflow);
    EXPECT_EQ(again[i].reason, first[i].reason);
  }
}

TEST(Start, TakesATriggerThatStandsTwiceInOneCallOnce) {
  World world;
  const StartRequest one = request(world, "006-A");
  const std::vector<StartRequest> wanted{one, one};
  const auto answers = World::must(world.orchestrator->start(wanted));
  EXPECT_FALSE(answers[0].repeated);
  EXPECT_TRUE(answers[1].repeated);
  EXPECT_EQ(answers[1].outcome, TriggerOutcome::started);
  EXPECT_EQ(answers[1].workflow, answers[0].workflow);
}

TEST(Start, RefusesACorrelationThatNoEventCanCarry) {
  World world;
  StartRequest wanted = request(world, "006-A");
  wanted.correlation_id = std::string(256, 'x');
  const auto answer = start(world, wanted);
  EXPECT_EQ(answer.outcome, TriggerOutcome::refused);
  EXPECT_THAT(answer.reason, HasSubstr("256"));
  EXPECT_TRUE(world.log().empty());
}

TEST(Start, StartsNothingWhenTheDiskIsNearlyFull) {
  WorldOptions options;
  options.disk_free_min_bytes = 1'000'000;
  World world(options);
  world.disk_free = 999;
  world.clock.advance(1h);  // the store may remember what it saw for a while
  const StartRequest wanted = request(world, "006-A");
  const auto answers = world.orchestrator->start({&wanted, 1});
  ASSERT_FALSE(answers);
  EXPECT_EQ(answers.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(world.runs().empty());
  EXPECT_FALSE(world.trigger(wanted.trigger_id));
}

TEST(Start, TellsWhatLedToIt) {
  World world;
  StartRequest wanted = request(world, "006-A");
  wanted.correlation_id = "batch 9";
  wanted.user_id = "ann";
  wanted.traceparent = "00-ab-cd-01";
  start(world, wanted);
  const auto log = world.log();
  EXPECT_EQ(World::metadata(*log[0], "causationId"), "");
  EXPECT_EQ(World::metadata(*log[0], "userId"), "ann");
  EXPECT_EQ(log[0]->correlation_id(), "batch 9");
  EXPECT_EQ(World::metadata(*log[1], "causationId"), log[0]->id().to_string());  // nothing else can have caused it
  EXPECT_EQ(log[1]->traceparent(), "00-ab-cd-01");
}

}  // namespace
}  // namespace wfo::orchestrator
