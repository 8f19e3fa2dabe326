#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <thread>

#include "delivery/tests/leases.h"
#include "orchestrator/tests/world.h"
#include "support/eventually.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using workflow::RunStatus;

/// Does to the file what no program of ours does.
void tamper(World& world, const std::string& sql) {
  sqlite3* file = nullptr;
  ASSERT_EQ(sqlite3_open((world.folder.path() / "wfo.db").c_str(), &file), SQLITE_OK);
  sqlite3_busy_timeout(file, 10'000);
  char* message = nullptr;
  const int code = sqlite3_exec(file, sql.c_str(), nullptr, nullptr, &message);
  EXPECT_EQ(code, SQLITE_OK) << (message != nullptr ? message : "");
  EXPECT_GT(sqlite3_total_changes(file), 0) << sql;
  sqlite3_free(message);
  sqlite3_close(file);
}

TEST(Cancel, EndsTheRun) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const WorkflowId id = world.runs()[0].id;
  const auto run = World::must(world.orchestrator->cancel(kAcme, id, "asked twice", "ann"));
  EXPECT_EQ(run.status, RunStatus::cancelled);
  EXPECT_EQ(run, world.run(id));
  const auto end = world.log().back();
  EXPECT_EQ(end->type(), events::kAnalysisFailed);
  EXPECT_EQ(World::text(*end, "error"), "cancelled: asked twice");
  EXPECT_EQ(World::metadata(*end, "userId"), "ann");
  EXPECT_EQ(world.counted("workflows_failed_total", {{"cause", "cancelled"}}), 1);
}

TEST(Cancel, RefusesWhatItCannotEnd) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const WorkflowId id = world.runs()[0].id;
  EXPECT_EQ(world.orchestrator->cancel(kOther, id, "not mine").error().code, ErrorCode::not_found);
  EXPECT_EQ(world.orchestrator->cancel(kAcme, WorkflowId(world.ids.next()), "").error().code, ErrorCode::not_found);
  World::must(world.orchestrator->cancel(kAcme, id, "asked twice"));
  const auto again = world.orchestrator->cancel(kAcme, id, "asked thrice");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("cancelled: asked twice"));
  EXPECT_EQ(world.log_of(events::kAnalysisFailed).size(), 1U);
}

TEST(Retry, GoesOnWithARunThatWasCancelled) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const WorkflowId id = world.runs()[0].id;
  World::must(world.orchestrator->cancel(kAcme, id, "later"));
  World::must(world.orchestrator->retry(kAcme, id));
  const auto requests = world.requests();
  ASSERT_EQ(requests.size(), 8U);
  std::vector<events::EventPtr> answers;
  for (std::size_t i = 4; i < 8; ++i) answers.push_back(world.completed(*requests[i]));
  World::must(world.deliver(answers));
  EXPECT_EQ(world.run(id).status, RunStatus::completed);
  EXPECT_EQ(world.log().back()->type(), events::kAnalysisCompleted);
}

TEST(Retry, RefusesWhatCannotGoOn) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const WorkflowId id = world.runs()[0].id;
  const auto running = world.orchestrator->retry(kAcme, id);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, ErrorCode::conflict);
  EXPECT_THAT(running.error().message, HasSubstr("running"));
  EXPECT_EQ(world.orchestrator->retry(kOther, id).error().code, ErrorCode::not_found);

  World::must(world.orchestrator->cancel(kAcme, id, "later"));
  World::must(world.deliver({world.updated("006-A")}));
  const auto taken = world.orchestrator->retry(kAcme, id);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::conflict);
  EXPECT_THAT(taken.error().message, HasSubstr(world.runs()[0].id.to_string()));
}

TEST(Timers, FindAStepThatIsNotAnswered) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  world.clock.advance(5min - 1ms);
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 0U);
  world.restart();  // wake-ups lie in the store
  world.clock.advance(1ms);
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 1U);
  EXPECT_EQ(world.requests().size(), 4U);
  world.clock.advance(1201ms);
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 1U);
  EXPECT_EQ(world.requests().size(), 8U);
}

TEST(Timers, EndARunAtItsDeadline) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const auto request = world.requests()[0];
  world.clock.advance(30min);
  World::must(world.deliver({world.completed(*request)}));  // counts: the deadline has passed, but nobody has said so
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 1U);
  const auto end = world.log().back();
  EXPECT_EQ(end->type(), events::kAnalysisFailed);
  EXPECT_EQ(World::text(*end, "error"), "run deadline of 30m passed");
  EXPECT_FALSE(end->data().find("failedStep"));
  EXPECT_EQ(world.counted("workflows_failed_total", {{"cause", "deadline"}}), 1);
}

TEST(Timers, WakeAtMostAsManyAsWanted) {
  World world;
  std::vector<events::EventPtr> batch;
  for (int i = 0; i < 25; ++i) batch.push_back(world.updated(fmt::format("006-{}", i)));
  World::must(world.deliver(batch));
  world.clock.advance(30min);
  EXPECT_EQ(World::must(world.orchestrator->wake_due(10)), 10U);
  EXPECT_EQ(World::must(world.orchestrator->wake_due(10)), 10U);
  EXPECT_EQ(World::must(world.orchestrator->wake_due(10)), 5U);
  EXPECT_EQ(World::must(world.orchestrator->wake_due(10)), 0U);
  EXPECT_EQ(world.log_of(events::kAnalysisFailed).size(), 25U);
}

TEST(Timers, ByThemselvesWakeWhatBecomesDue) {
  World world;
  {
    const std::jthread timers([&](const std::stop_token& stop) { world.orchestrator->run_timers(1h, stop); });
    World::must(world.deliver({world.updated("006-A")}));
    const store::Sequence before = world.store->last();
    world.clock.advance(30min);
    world.store->wait_beyond(before, 60s, {});
  }
  EXPECT_EQ(world.log().back()->type(), events::kAnalysisFailed);
}

TEST(Timers, EndWhenTheyAreToldTo) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  std::jthread timers([&](const std::stop_token& stop) { world.orchestrator->run_timers(1h, stop); });
  timers.request_stop();
  timers.join();  // or the test run's time limit says that it did not
  EXPECT_EQ(world.log().size(), 5U);
}

/// Timers of several processes.
class SharedTimers : public ::testing::Test {
 protected:
  delivery::LeaseKeeper keeper(std::string holder, milliseconds length) {
    return {lease_, std::move(holder), Logger::silent(), world_.metrics, length, delivery::fakes::steady(world_.clock)};
  }
  /// The timers' thread comes by once more.
  void next_pass() {
    const int before = lease_.requests;
    world_.clock.advance(1s);
    EXPECT_TRUE(test::eventually([&] { return lease_.requests > before; }));
  }

  World world_;
  delivery::fakes::FakeLease lease_{world_.clock};
};

TEST_F(SharedTimers, LeaveAllToTheHolderAndTakeOverWhenItIsGone) {
  auto other = keeper("other", 24h);
  ASSERT_EQ(other.hold(), 1);
  World::must(world_.deliver({world_.updated("006-A")}));
  const store::Sequence before = world_.store->last();
  auto mine = keeper("mine", 3s);
  const std::jthread timers([&](const std::stop_token& stop) { world_.orchestrator->run_timers(1h, stop, &mine); });
  world_.clock.advance(30min);
  next_pass();
  next_pass();
  EXPECT_EQ(world_.store->last(), before) << "not its business";
  World::must(other.release());
  world_.clock.advance(delivery::kStandbyWait);
  world_.store->wait_beyond(before, 60s, {});
  EXPECT_EQ(world_.log().back()->type(), events::kAnalysisFailed);
}

TEST_F(SharedTimers, NoticeWithinASecondWhatOtherProcessesSet) {
  auto mine = keeper("mine", 3s);
  const auto replica = world_.another();
  const std::jthread timers([&](const std::stop_token& stop) { world_.orchestrator->run_timers(1h, stop, &mine); });
  EXPECT_TRUE(test::eventually([&] { return lease_.requests > 0; }));
  World::must(world_.deliver({world_.updated("006-A")}, replica.get()));
  const auto due = *workflow::next_wake_up(world_.runs()[0]);
  world_.clock.set(due - 3s);
  next_pass();
  next_pass();
  const store::Sequence before = world_.store->last();
  world_.clock.set(due);
  EXPECT_TRUE(test::eventually([&] {
    // The last look may have been less than a second ago.
    if (world_.clock.now() < due + 1'100ms) world_.clock.advance(1ms);
    return workflow::next_wake_up(world_.runs()[0]) > due;
  }));
  EXPECT_EQ(world_.store->last(), before) << "the steps back off";
}

TEST(SelfCheck, FindsNothingWhereAllIsWell) {
  World world;
  World::must(world.deliver({world.updated("006-A"), world.updated("006-A")}));
  EXPECT_EQ(World::must(world.orchestrator->self_check()), Orchestrator::SelfCheck{});
}

TEST(SelfCheck, MendsARunThatNothingWouldHaveWoken) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  tamper(world, "UPDATE runs SET wake_up_at = NULL");
  world.restart();
  world.clock.advance(31min);
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 0U);
  EXPECT_EQ(World::must(world.orchestrator->self_check()), (Orchestrator::SelfCheck{1, 0, 0}));
  EXPECT_EQ(World::must(world.orchestrator->wake_due()), 1U);
  EXPECT_EQ(World::must(world.orchestrator->self_check()), Orchestrator::SelfCheck{});
  EXPECT_EQ(world.counted("workflow_self_check_findings_total", {{"what", "without_wake_up"}}), 1);
}

TEST(SelfCheck, StartsAFollowUpThatIsMissing) {
  World world;
  World::must(world.deliver({world.updated("006-A")}));
  const auto absorbed = world.updated("006-A");
  World::must(world.deliver({absorbed}));
  const WorkflowId absorber = world.runs()[0].id;
  World::must(world.orchestrator->cancel(kAcme, absorber, "later"));
  ASSERT_EQ(world.runs().size(), 2U);
  World::must(world.orchestrator->cancel(kAcme, world.runs()[0].id, "later"));
  tamper(world, "UPDATE triggers SET follow_up = NULL WHERE outcome = 1");
  EXPECT_EQ(World::must(world.orchestrator->self_check()), (Orchestrator::SelfCheck{0, 1, 0}));
  ASSERT_EQ(world.runs().size(), 3U);
  EXPECT_EQ(world.runs()[0].status, RunStatus::running);
  EXPECT_EQ(world.trigger(absorbed->id())->follow_up, world.runs()[0].id);
  EXPECT_EQ(World::must(world.orchestrator->self_check()), Orchestrator::SelfCheck{});
}

TEST(Bindings, AreTheTriggersAndTheAnswersOfAllDefinitions) {
  World world;
  EXPECT_THAT(world.orchestrator->bindings(),
              UnorderedElementsAre(events::kOpportunityUpdated, events::kShardUpdated, events::kRiskEvaluationCompleted,
                                   events::kRiskEvaluationFailed, events::kRiskScoringCompleted,
                                   events::kRiskScoringFailed, events::kForecastCompleted, events::kForecastFailed,
                                   events::kRecommendationCompleted, events::kRecommendationFailed));
  auto next = world.shipped();
  next.version = "2.0.0";
  next.triggers = {std::string(events::kShardUpdated)};
  next.steps.resize(1);
  world.use({next});
  EXPECT_EQ(world.orchestrator->bindings().size(), 9U);  // runs of the old version still wait for their answers
}

}  // namespace
}  // namespace wfo::orchestrator
