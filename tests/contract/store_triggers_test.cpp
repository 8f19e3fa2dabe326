#include <algorithm>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::InboxKey;
using store::InboxVerdict;
using store::Transaction;
using store::Trigger;
using store::TriggerOutcome;

Trigger trigger(std::uint32_t n, TriggerOutcome outcome = TriggerOutcome::started, std::uint32_t workflow = 0) {
  Trigger made;
  made.tenant = kTenant;
  made.id = id<EventId>(n);
  made.type = "integration.opportunity.updated";
  made.opportunity = id<OpportunityId>(n);
  made.external_id = "006-é";
  made.definition_name = "opportunity-analysis";
  made.correlation_id = "correlation";
  made.received_at = at(static_cast<int>(n));
  made.outcome = outcome;
  if (workflow != 0) made.workflow = id<WorkflowId>(workflow);
  made.reason = outcome == TriggerOutcome::refused ? "no such definition" : "";
  return made;
}

class TriggerContract : public StoreContract {
 protected:
  Result<bool> try_insert(const Trigger& trigger) {
    return write([&](Transaction& t) { return t.triggers().insert(trigger); });
  }
  bool insert(const Trigger& trigger) { return value(try_insert(trigger)); }
  std::optional<Trigger> find(std::uint32_t n, const TenantId& tenant = kTenant) {
    return value(read([&](const Transaction& t) { return t.triggers().find(tenant, id<EventId>(n)); }));
  }
  std::vector<Trigger> absorbed_by(std::uint32_t workflow) {
    return value(read([&](const Transaction& t) { return t.triggers().absorbed_by(id<WorkflowId>(workflow)); }));
  }
  std::vector<WorkflowId> without_follow_up(std::size_t count_max = 100) {
    return value(read([&](const Transaction& t) { return t.triggers().without_follow_up(count_max); }));
  }
  void insert_run(std::uint32_t n, workflow::RunStatus status) {
    workflow::Run run;
    run.id = id<WorkflowId>(n);
    run.tenant = kTenant;
    run.opportunity = id<OpportunityId>(n);
    run.status = status;
    run.deadline = at(60);
    EXPECT_OK(write([&](Transaction& t) { return t.runs().insert(run, true); }));
  }
};

TEST_P(TriggerContract, FindsATriggerAsItWasInserted) {
  const Trigger started = trigger(1, TriggerOutcome::started, 5);
  const Trigger refused = trigger(2, TriggerOutcome::refused);
  EXPECT_TRUE(insert(started));
  EXPECT_TRUE(insert(refused));
  harness_->restart();
  EXPECT_EQ(find(1), started);
  EXPECT_EQ(find(2), refused);
  EXPECT_EQ(find(3), std::nullopt);
  EXPECT_EQ(find(1, kOtherTenant), std::nullopt);
}

TEST_P(TriggerContract, KeepsWhatItKnowsWhenATriggerComesAgain) {
  EXPECT_TRUE(insert(trigger(1, TriggerOutcome::started, 5)));
  EXPECT_FALSE(insert(trigger(1, TriggerOutcome::refused)));
  EXPECT_EQ(find(1), trigger(1, TriggerOutcome::started, 5));
  Trigger of_other = trigger(1, TriggerOutcome::refused);
  of_other.tenant = kOtherTenant;
  EXPECT_TRUE(insert(of_other)) << "ids of one tenant are nothing to another";
  EXPECT_EQ(find(1, kOtherTenant), of_other);
}

TEST_P(TriggerContract, KnowsWhatARunAbsorbedUntilItsFollowUpStarts) {
  insert(trigger(1, TriggerOutcome::started, 50));
  insert(trigger(3, TriggerOutcome::absorbed, 50));
  insert(trigger(2, TriggerOutcome::absorbed, 50));
  insert(trigger(4, TriggerOutcome::absorbed, 51));
  const auto absorbed = absorbed_by(50);
  ASSERT_EQ(absorbed.size(), 2U);
  EXPECT_EQ(absorbed[0].id, id<EventId>(3)) << "the order in which they were taken";
  EXPECT_EQ(absorbed[1].id, id<EventId>(2));

  EXPECT_OK(write([&](Transaction& t) { return t.triggers().set_follow_up(id<WorkflowId>(50), id<WorkflowId>(60)); }));
  EXPECT_TRUE(absorbed_by(50).empty());
  EXPECT_EQ(find(2)->follow_up, id<WorkflowId>(60));
  EXPECT_EQ(find(3)->follow_up, id<WorkflowId>(60));
  EXPECT_EQ(find(1)->follow_up, std::nullopt);
  EXPECT_EQ(find(4)->follow_up, std::nullopt);
}

TEST_P(TriggerContract, FindsRunsThatEndedAndLeftWhatTheyAbsorbedWithoutFollowUp) {
  insert_run(50, workflow::RunStatus::running);
  insert_run(51, workflow::RunStatus::completed);
  for (std::uint32_t n = 1; n <= 3; ++n) insert(trigger(n, TriggerOutcome::absorbed, 49 + n));  // there is no run 52
  insert(trigger(4, TriggerOutcome::absorbed, 51));
  auto found = without_follow_up();
  std::ranges::sort(found);
  EXPECT_EQ(found, (std::vector{id<WorkflowId>(51), id<WorkflowId>(52)}));
  EXPECT_EQ(without_follow_up(1).size(), 1U);
}

TEST_P(TriggerContract, PurgesOldTriggersInStepsButNoneThatStillWaits) {
  insert(trigger(1, TriggerOutcome::absorbed, 50));
  for (std::uint32_t n = 2; n <= 5; ++n) insert(trigger(n));
  const auto purge = [&](Timestamp before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.triggers().purge(before, count_max); }));
  };
  EXPECT_EQ(purge(at(5), 2), 2U);
  EXPECT_EQ(find(2), std::nullopt);
  EXPECT_EQ(find(3), std::nullopt);
  EXPECT_EQ(purge(at(5), 2), 1U);
  EXPECT_EQ(purge(at(5), 2), 0U);
  EXPECT_TRUE(find(1));
  EXPECT_TRUE(find(5)) << "received at the bound, not before it";
}

TEST_P(TriggerContract, RefusesTextThatNotEveryStoreCanHold) {
  Trigger odd = trigger(1);
  odd.external_id = std::string("\0", 1);
  EXPECT_ERROR(invalid_argument, try_insert(odd));
  odd.external_id = "\xc0\xaf";
  EXPECT_ERROR(invalid_argument, try_insert(odd));
  EXPECT_EQ(find(1), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(EveryStore, TriggerContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

class InboxContract : public StoreContract {
 protected:
  std::vector<InboxVerdict> record(std::string_view consumer, std::vector<InboxKey> keys, Timestamp now = kStart) {
    return value(write([&](Transaction& t) { return t.inbox().record(consumer, keys, now); }));
  }
  static InboxKey key(std::uint32_t n, std::uint64_t digest = 1, const TenantId& tenant = kTenant) {
    return {tenant, id<EventId>(n), digest};
  }
  using Verdicts = std::vector<InboxVerdict>;
  static constexpr auto kFresh = InboxVerdict::fresh;
  static constexpr auto kRepeated = InboxVerdict::repeated;
  static constexpr auto kForged = InboxVerdict::forged;
};

TEST_P(InboxContract, TellsFreshFromRepeatedFromForged) {
  EXPECT_EQ(record("a", {key(1), key(2)}), (Verdicts{kFresh, kFresh}));
  harness_->restart();
  EXPECT_EQ(record("a", {key(2), key(3), key(1, 9)}), (Verdicts{kRepeated, kFresh, kForged}));
}

TEST_P(InboxContract, TellsDigestsOfAllSizesApart) {
  constexpr std::uint64_t kGreatest = ~std::uint64_t{0};
  EXPECT_EQ(record("a", {key(1, kGreatest), key(1, kGreatest), key(1, kGreatest - 1)}),
            (Verdicts{kFresh, kRepeated, kForged}));
}

TEST_P(InboxContract, TakesAKeyThatStandsTwiceOnce) {
  EXPECT_EQ(record("a", {key(1), key(1), key(1, 2)}), (Verdicts{kFresh, kRepeated, kForged}));
}

TEST_P(InboxContract, KeepsConsumersAndTenantsApart) {
  EXPECT_EQ(record("a", {key(1)}), Verdicts{kFresh});
  EXPECT_EQ(record("b", {key(1, 2)}), Verdicts{kFresh});
  EXPECT_EQ(record("a", {key(1, 3, kOtherTenant)}), Verdicts{kFresh});
  EXPECT_EQ(record("a", {key(1)}), Verdicts{kRepeated});
}

TEST_P(InboxContract, ForgetsWhatIsOldInSteps) {
  for (std::uint32_t n = 1; n <= 4; ++n) record("a", {key(n)}, at(static_cast<int>(n)));
  const auto purge = [&](Timestamp before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.inbox().purge(before, count_max); }));
  };
  EXPECT_EQ(purge(at(4), 2), 2U);
  EXPECT_EQ(purge(at(4), 2), 1U);
  EXPECT_EQ(purge(at(4), 2), 0U);
  EXPECT_EQ(record("a", {key(1), key(4)}), (Verdicts{kFresh, kRepeated}));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, InboxContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
