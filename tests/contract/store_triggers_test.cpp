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

TEST_P(TriggerContract, InsertsManyAtOnceButEachOnce) {
  insert(trigger(2, TriggerOutcome::started, 5));
  Trigger of_other = trigger(3);
  of_other.tenant = kOtherTenant;
  const std::vector batch{trigger(3), trigger(2, TriggerOutcome::refused), trigger(1),
                          trigger(3, TriggerOutcome::refused), of_other};
  EXPECT_EQ(value(write([&](Transaction& t) { return t.triggers().insert(batch); })),
            (std::vector{true, false, true, false, true}));
  EXPECT_EQ(find(1), trigger(1));
  EXPECT_EQ(find(2), trigger(2, TriggerOutcome::started, 5));
  EXPECT_EQ(find(3), trigger(3)) << "of two in one batch the first";
  EXPECT_EQ(find(3, kOtherTenant), of_other);
  EXPECT_TRUE(value(write([](Transaction& t) { return t.triggers().insert(std::span<const Trigger>()); })).empty());
}

TEST_P(TriggerContract, FindsManyInTheOrderAskedFor) {
  for (std::uint32_t n = 1; n <= 3; ++n) insert(trigger(n));
  const std::vector<store::TriggerKey> keys{{kTenant, id<EventId>(3)},
                                            {kOtherTenant, id<EventId>(1)},
                                            {kTenant, id<EventId>(1)},
                                            {kTenant, id<EventId>(9)},
                                            {kTenant, id<EventId>(3)}};
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.triggers().find(keys); })),
            (std::vector<std::optional<Trigger>>{trigger(3), std::nullopt, trigger(1), std::nullopt, trigger(3)}));
  EXPECT_TRUE(value(read([](const Transaction& t) {
                return t.triggers().find(std::span<const store::TriggerKey>());
              })).empty());
}

TEST_P(TriggerContract, KnowsWhatSeveralRunsAbsorbed) {
  std::vector<Trigger> batch;
  for (const std::uint32_t n : {5, 2, 4, 1, 3}) batch.push_back(trigger(n, TriggerOutcome::absorbed, 50 + n % 2));
  EXPECT_EQ(value(write([&](Transaction& t) { return t.triggers().insert(batch); })), std::vector<bool>(5, true));
  const std::vector runs{id<WorkflowId>(51), id<WorkflowId>(60), id<WorkflowId>(50)};
  std::vector<EventId> of_51;
  std::vector<EventId> of_50;
  for (const Trigger& one : value(read([&](const Transaction& t) { return t.triggers().absorbed_by(runs); }))) {
    (one.workflow == runs[0] ? of_51 : of_50).push_back(one.id);
  }
  EXPECT_EQ(of_51, (std::vector{id<EventId>(5), id<EventId>(1), id<EventId>(3)})) << "the order of the batch";
  EXPECT_EQ(of_50, (std::vector{id<EventId>(2), id<EventId>(4)}));
}

TEST_P(TriggerContract, WritesNothingOfABatchWithTextThatNotEveryStoreCanHold) {
  Trigger odd = trigger(2);
  odd.reason = "\xff";
  const std::vector batch{trigger(1), odd};
  EXPECT_ERROR(invalid_argument, write([&](Transaction& t) { return t.triggers().insert(batch); }));
  EXPECT_EQ(find(1), std::nullopt);
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

TEST_P(InboxContract, TellsEachOfManyInTheirOrder) {
  record("a", {key(2, 7), key(4)});
  EXPECT_EQ(record("a", {key(5), key(4), key(3), key(2, 8), key(5), key(2, 7), key(3, 9), key(1)}),
            (Verdicts{kFresh, kRepeated, kFresh, kForged, kRepeated, kRepeated, kForged, kFresh}));
  EXPECT_EQ(record("a", {}), Verdicts{});
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
