#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/tests/world.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using workflow::RunStatus;

/// Others act between the moment at which a batch was prepared and its transaction.
class Conflict : public ::testing::Test {
 protected:
  void begin(WorldOptions options = {}) {
    world_ = std::make_unique<World>(options);
    replica_ = world_->another();
    World::must(world_->deliver({world_->updated("006-A")}));
    id_ = world_->runs()[0].id;
    requests_ = world_->requests();
  }
  void prepare(const std::vector<events::EventPtr>& batch) {
    batch_.clear();
    for (const auto& one : batch) batch_.emplace_back().event = one;
    apply_ = World::must(world_->orchestrator->prepare(batch_));
  }
  Result<void> apply() {
    auto applied =
        world_->store->transact([&](store::Transaction& transaction) -> Result<void> { return apply_(transaction); });
    if (applied) world_->orchestrator->committed();
    return applied;
  }
  [[nodiscard]] workflow::Run run() const { return world_->run(id_); }

  std::unique_ptr<World> world_;
  std::unique_ptr<Orchestrator> replica_;
  WorkflowId id_;
  std::vector<events::EventPtr> requests_;
  std::vector<bus::Delivery> batch_;
  delivery::Handler::Apply apply_;
};

TEST_F(Conflict, WithAnotherAnswerIsDecidedAgain) {
  begin();
  prepare({world_->completed(*requests_[0]), world_->completed(*requests_[1])});
  World::must(world_->deliver({world_->completed(*requests_[1]), world_->completed(*requests_[2])}, replica_.get()));
  World::must(apply());
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 3U);
  EXPECT_EQ(world_->ignored("already_completed"), 1);
  World::must(world_->deliver({world_->completed(*requests_[3])}));
  EXPECT_EQ(run().status, RunStatus::completed);
}

TEST_F(Conflict, WithTheEndOfTheRunKeepsTheAnswerForARetry) {
  begin();
  prepare({world_->completed(*requests_[0])});
  World::must(replica_->cancel(kAcme, id_, "no use"));
  const auto log_before = world_->log().size();
  World::must(apply());
  EXPECT_EQ(world_->log().size(), log_before);
  EXPECT_EQ(run().status, RunStatus::cancelled);
  EXPECT_EQ(workflow::name(run().steps[0].state), "completed");
}

TEST_F(Conflict, ThatMakesAResultTooLargeFailsItsStep) {
  WorldOptions options;
  options.event_bytes_max = 3'000;
  begin(options);
  const std::string note = fmt::format(R"("note":"{}")", std::string(1'000, 'x'));
  prepare({world_->completed(*requests_[3], note)});
  World::must(world_->deliver({world_->completed(*requests_[0], note), world_->completed(*requests_[1], note),
                               world_->completed(*requests_[2])},
                              replica_.get()));
  World::must(apply());
  EXPECT_EQ(run().status, RunStatus::failed);
  EXPECT_EQ(run().failed_step, "recommendation");
  EXPECT_EQ(world_->log().back()->type(), events::kAnalysisFailed);
}

TEST_F(Conflict, WithAWakeUpIsDecidedAgain) {
  begin();
  world_->clock.advance(5min);
  const auto other = world_->another();
  prepare({world_->completed(*requests_[0])});
  EXPECT_EQ(World::must(other->wake_due()), 1U);  // all four have timed out
  World::must(apply());
  EXPECT_EQ(workflow::name(run().steps[0].state), "completed");
  EXPECT_EQ(workflow::name(run().steps[1].state), "backing_off");
}

TEST_F(Conflict, WithARunOfTheSameOpportunityAbsorbsTheTrigger) {
  begin();
  const auto trigger = world_->updated("006-B");
  prepare({trigger});
  World::must(world_->deliver({world_->updated("006-B")}, replica_.get()));
  const auto log_before = world_->log().size();
  World::must(apply());
  EXPECT_EQ(world_->log().size(), log_before);
  EXPECT_EQ(world_->trigger(trigger->id())->outcome, store::TriggerOutcome::absorbed);
  EXPECT_EQ(world_->trigger(trigger->id())->workflow, world_->runs()[0].id);
}

TEST_F(Conflict, WithTheEndOfTheRunThatWouldAbsorbItStartsTheTrigger) {
  begin();
  const auto trigger = world_->updated("006-A");
  prepare({trigger});
  World::must(replica_->cancel(kAcme, id_, "no use"));
  World::must(apply());
  EXPECT_EQ(world_->trigger(trigger->id())->outcome, store::TriggerOutcome::started);
  EXPECT_EQ(world_->runs().size(), 2U);
}

TEST_F(Conflict, AboutTheSameTriggerLeavesNothingAndIsThenARepeat) {
  begin();
  const auto trigger = world_->updated("006-B");
  prepare({world_->completed(*requests_[0]), trigger});
  World::must(world_->deliver({trigger}, replica_.get()));
  World::must(replica_->cancel(kAcme, world_->runs()[0].id, "so that the place is free again"));
  const auto log_before = world_->log().size();
  const auto applied = apply();
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, ErrorCode::conflict);
  EXPECT_EQ(world_->log().size(), log_before);
  EXPECT_EQ(world_->runs().size(), 2U);
  World::must(world_->deliver({world_->completed(*requests_[0]), trigger}));
  EXPECT_EQ(world_->runs().size(), 2U);
  EXPECT_EQ(world_->ignored("repeated_trigger"), 1);
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 1U);
}

TEST_F(Conflict, OfTheDatabaseLetsTheTransactionRunAgain) {
  begin();
  World::must(world_->deliver({world_->updated("006-A")}));  // absorbed: the end has a follow-up
  std::vector<events::EventPtr> batch{world_->updated("006-B"), world_->updated("006-B")};
  for (const auto& request : requests_) batch.push_back(world_->completed(*request));
  prepare(batch);
  const auto given_up = world_->store->transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(apply_(transaction));
    return fail(ErrorCode::unavailable, "cannot serialize");
  });
  EXPECT_FALSE(given_up);
  World::must(apply());
  EXPECT_EQ(world_->log_of(events::kStepCompleted).size(), 4U);
  EXPECT_EQ(world_->log_of(events::kAnalysisCompleted).size(), 1U);
  EXPECT_EQ(world_->runs().size(), 3U);
  EXPECT_EQ(world_->counted("workflows_completed_total"), 1);
  EXPECT_EQ(world_->counted("workflows_started_total"), 3);
  EXPECT_EQ(world_->counted("workflow_triggers_absorbed_total"), 2);
}

}  // namespace
}  // namespace wfo::orchestrator
