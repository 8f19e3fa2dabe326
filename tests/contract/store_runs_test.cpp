#include <algorithm>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::RunQuery;
using store::StoredRun;
using store::Transaction;
using WorkflowRun = workflow::Run;
using workflow::RunStatus;

/// A run with a step in each state.
WorkflowRun run(std::uint32_t n, std::uint32_t opportunity = 0, const TenantId& tenant = kTenant) {
  WorkflowRun made;
  made.id = id<WorkflowId>(n);
  made.tenant = tenant;
  made.opportunity = id<OpportunityId>(opportunity == 0 ? n : opportunity);
  made.external_id = "006-ähnlich-" + std::to_string(n);
  made.definition_name = "opportunity-analysis";
  made.definition_version = "1.2.0";
  made.attempt = 2;
  made.created_at = at(1);
  made.updated_at = at(2);
  made.deadline = at(1'800);
  made.correlation_id = "correlation";
  made.trigger_type = "integration.opportunity.updated";
  made.trigger_id = id<EventId>(n);
  const auto step = [&](std::uint32_t k, std::string type, workflow::StepState state) {
    workflow::Step one;
    one.id = id<StepId>(n * 10 + k);
    one.type = std::move(type);
    one.state = std::move(state);
    one.attempt = 3;
    one.attempts_before = 1;
    one.first_requested_at = at(1);
    return one;
  };
  made.steps = {
      step(0, "risk_analysis", workflow::Requested{at(2), at(300 + static_cast<int>(n))}),
      step(1, "risk_scoring", workflow::Completed{at(3), true, R"({"riskScore":0.10,"text":"é"})"}),
      step(2, "forecast", workflow::BackingOff{at(400), "the model \"x\" is away\n"}),
      step(3, "recommendation", workflow::Waiting{}),
  };
  return made;
}

WorkflowRun completed(WorkflowRun run, Timestamp when) {
  for (auto& step : run.steps) step.state = workflow::Completed{when, true, "{}"};
  run.status = RunStatus::completed;
  run.updated_at = when;
  return run;
}
WorkflowRun failed(WorkflowRun run, Timestamp when) {
  run.status = RunStatus::failed;
  run.error = "forecast: no amount";
  run.failed_step = "forecast";
  run.updated_at = when;
  return run;
}

class RunContract : public StoreContract {
 protected:
  Result<void> try_insert(const WorkflowRun& run, bool exclusive = true) {
    return write([&](Transaction& transaction) { return transaction.runs().insert(run, exclusive); });
  }
  void insert(const WorkflowRun& run, bool exclusive = true) { EXPECT_OK(try_insert(run, exclusive)); }
  std::optional<StoredRun> load(const WorkflowId& id) {
    auto runs = value(read([&](const Transaction& transaction) { return transaction.runs().load({&id, 1}); }));
    return runs.empty() ? std::nullopt : runs[0];
  }
  Result<void> try_update(const StoredRun& before, const WorkflowRun& after) {
    return write([&](Transaction& transaction) { return transaction.runs().update(before, after); });
  }
  void change(const WorkflowId& id, const std::function<WorkflowRun(WorkflowRun)>& how) {
    const auto before = load(id);
    ASSERT_TRUE(before);
    EXPECT_OK(try_update(*before, how(before->run)));
  }
  std::vector<std::uint32_t> list(const RunQuery& query) {
    std::vector<std::uint32_t> numbers;
    for (const WorkflowRun& run : value(read([&](const Transaction& t) { return t.runs().list(query); }))) {
      numbers.push_back(number(run.id));
    }
    return numbers;
  }
  static std::uint32_t number(const WorkflowId& id) {
    const auto& bytes = id.value().bytes;
    return static_cast<std::uint32_t>(bytes[12]) << 24 | static_cast<std::uint32_t>(bytes[13]) << 16 |
           static_cast<std::uint32_t>(bytes[14]) << 8 | bytes[15];
  }
  std::int64_t count_active() {
    return value(read([&](const Transaction& t) { return t.runs().count_active(); }));
  }
  std::optional<WorkflowId> active_run(std::uint32_t opportunity, const TenantId& tenant = kTenant) {
    return value(
        read([&](const Transaction& t) { return t.runs().active_run(tenant, id<OpportunityId>(opportunity)); }));
  }
  std::vector<WorkflowId> due(Timestamp now, std::size_t count_max = 100) {
    return value(read([&](const Transaction& t) { return t.runs().due(now, count_max); }));
  }
  std::optional<Timestamp> next_wake_up() {
    return value(read([&](const Transaction& t) { return t.runs().next_wake_up(); }));
  }
  std::size_t purge(Timestamp before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.runs().purge(before, count_max); }));
  }
};

TEST_P(RunContract, LoadsARunAsItWasInserted) {
  const WorkflowRun inserted = run(1);
  insert(inserted);
  harness_->restart();
  const auto loaded = load(inserted.id);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->run, inserted);
}

TEST_P(RunContract, LoadsInTheOrderAskedForWithNothingForWhatIsNotThere) {
  insert(run(1));
  insert(run(2));
  const std::vector ids{id<WorkflowId>(2), id<WorkflowId>(9), id<WorkflowId>(1), id<WorkflowId>(2)};
  const auto runs = value(read([&](const Transaction& t) { return t.runs().load(ids); }));
  ASSERT_EQ(runs.size(), 4U);
  EXPECT_EQ(runs[0]->run.id, ids[0]);
  EXPECT_FALSE(runs[1]);
  EXPECT_EQ(runs[2]->run.id, ids[2]);
  EXPECT_EQ(runs[3]->run.id, ids[3]);
}

TEST_P(RunContract, LoadsWhatAnUpdateWrote) {
  insert(run(1));
  const auto before = load(id<WorkflowId>(1));
  WorkflowRun after = failed(before->run, at(50));
  after.attempt = 3;
  after.deadline = at(9'000);
  after.steps[0].state = workflow::Completed{at(49), false, R"({"late":true})"};
  after.steps[2].state = workflow::Failed{"no amount"};
  EXPECT_OK(try_update(*before, after));
  const auto loaded = load(after.id);
  EXPECT_EQ(loaded->run, after);
  EXPECT_NE(loaded->version, before->version);
}

TEST_P(RunContract, KeepsTheResultThatCameFirst) {
  insert(run(1));
  const auto before = load(id<WorkflowId>(1));
  WorkflowRun after = before->run;
  std::get<workflow::Completed>(after.steps[1].state).result = R"({"other":1})";
  after.updated_at = at(9);
  EXPECT_OK(try_update(*before, after));
  EXPECT_EQ(std::get<workflow::Completed>(load(after.id)->run.steps[1].state).result,
            R"({"riskScore":0.10,"text":"é"})");
}

TEST_P(RunContract, RefusesAnUpdateOfARunThatSomebodyElseWroteSince) {
  insert(run(1));
  const auto before = load(id<WorkflowId>(1));
  WorkflowRun mine = before->run;
  mine.updated_at = at(10);
  WorkflowRun theirs = before->run;
  theirs.updated_at = at(11);
  EXPECT_OK(try_update(*before, mine));
  EXPECT_ERROR(conflict, try_update(*before, theirs));
  EXPECT_EQ(load(mine.id)->run, mine);
  EXPECT_ERROR(conflict, try_update({run(7), 1}, run(7)));  // there is no such run
}

TEST_P(RunContract, RefusesASecondRunOfTheSameId) {
  insert(run(1));
  EXPECT_ERROR(conflict, try_insert(run(1, 99)));
  EXPECT_EQ(load(id<WorkflowId>(1))->run, run(1));
}

TEST_P(RunContract, HasOneExclusiveActiveRunForAnOpportunity) {
  insert(run(1, 5));
  EXPECT_ERROR(conflict, try_insert(run(2, 5)));
  EXPECT_FALSE(load(id<WorkflowId>(2)));
  insert(run(3, 5), false);         // beside the other
  insert(run(4, 5, kOtherTenant));  // another tenant's opportunity
  EXPECT_EQ(active_run(5), id<WorkflowId>(1));
  EXPECT_EQ(active_run(5, kOtherTenant), id<WorkflowId>(4));
  EXPECT_EQ(active_run(6), std::nullopt);
}

TEST_P(RunContract, GivesTheOpportunityBackWhenARunEndsAndTakesItAgainForARetry) {
  insert(run(1, 5));
  change(id<WorkflowId>(1), [](WorkflowRun r) { return failed(std::move(r), at(20)); });
  EXPECT_EQ(active_run(5), std::nullopt);
  insert(run(2, 5));
  EXPECT_EQ(active_run(5), id<WorkflowId>(2));

  const auto before = load(id<WorkflowId>(1));
  WorkflowRun again = before->run;
  again.status = RunStatus::running;
  again.error = "";
  EXPECT_ERROR(conflict, try_update(*before, again));
  EXPECT_EQ(load(again.id)->run.status, RunStatus::failed);

  change(id<WorkflowId>(2), [](WorkflowRun r) { return completed(std::move(r), at(30)); });
  EXPECT_OK(try_update(*before, again));
  EXPECT_EQ(active_run(5), id<WorkflowId>(1));
}

TEST_P(RunContract, ListsTheNewestFirstPageByPage) {
  for (std::uint32_t n = 1; n <= 5; ++n) insert(run(n));
  insert(run(6, 6, kOtherTenant));
  EXPECT_EQ(list({.tenant = kTenant, .limit = 2}), (std::vector<std::uint32_t>{5, 4}));
  EXPECT_EQ(list({.tenant = kTenant, .limit = 2, .before = id<WorkflowId>(4)}), (std::vector<std::uint32_t>{3, 2}));
  EXPECT_EQ(list({.tenant = kTenant, .limit = 2, .before = id<WorkflowId>(2)}), (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(list({.tenant = kTenant, .before = id<WorkflowId>(1)}), (std::vector<std::uint32_t>{}));
  EXPECT_EQ(list({.tenant = kOtherTenant}), (std::vector<std::uint32_t>{6}));
}

TEST_P(RunContract, ListsByStatusAndByOpportunity) {
  for (std::uint32_t n = 1; n <= 8; ++n) insert(run(n, n % 2 == 0 ? 50 : 51), false);
  for (const std::uint32_t n : {1U, 2U, 3U}) {
    change(id<WorkflowId>(n), [](WorkflowRun r) { return completed(std::move(r), at(30)); });
  }
  change(id<WorkflowId>(4), [](WorkflowRun r) { return failed(std::move(r), at(30)); });
  change(id<WorkflowId>(5), [](WorkflowRun r) {
    r.status = RunStatus::cancelled;
    return r;
  });
  using Numbers = std::vector<std::uint32_t>;
  EXPECT_EQ(list({.tenant = kTenant, .status = RunStatus::running}), (Numbers{8, 7, 6}));
  EXPECT_EQ(list({.tenant = kTenant, .status = RunStatus::completed}), (Numbers{3, 2, 1}));
  EXPECT_EQ(list({.tenant = kTenant, .status = RunStatus::completed, .limit = 1, .before = id<WorkflowId>(3)}),
            (Numbers{2}));
  EXPECT_EQ(list({.tenant = kTenant, .status = RunStatus::failed}), (Numbers{4}));
  EXPECT_EQ(list({.tenant = kTenant, .status = RunStatus::cancelled}), (Numbers{5}));
  EXPECT_EQ(list({.tenant = kOtherTenant, .status = RunStatus::running}), (Numbers{}));
  EXPECT_EQ(list({.tenant = kTenant, .opportunity = id<OpportunityId>(50)}), (Numbers{8, 6, 4, 2}));
  EXPECT_EQ(list({.tenant = kTenant, .opportunity = id<OpportunityId>(50), .limit = 2, .before = id<WorkflowId>(8)}),
            (Numbers{6, 4}));
  EXPECT_EQ(list({.tenant = kTenant, .opportunity = id<OpportunityId>(50), .status = RunStatus::completed}),
            (Numbers{2}));
  EXPECT_EQ(list({.tenant = kOtherTenant, .opportunity = id<OpportunityId>(50)}), (Numbers{}));
}

TEST_P(RunContract, ListsRunsWithoutTheResultsOfTheirSteps) {
  insert(run(1));
  const auto runs = value(read([&](const Transaction& t) { return t.runs().list({.tenant = kTenant}); }));
  ASSERT_EQ(runs.size(), 1U);
  WorkflowRun expected = run(1);
  std::get<workflow::Completed>(expected.steps[1].state).result = "";
  EXPECT_EQ(runs[0], expected);
}

TEST_P(RunContract, KnowsWhatIsDueAndWhenTheNextIs) {
  EXPECT_EQ(next_wake_up(), std::nullopt);
  for (const std::uint32_t n : {3U, 1U, 2U}) insert(run(n));  // run n wakes up at 300 + n
  EXPECT_EQ(next_wake_up(), at(301));
  EXPECT_TRUE(due(at(300)).empty());
  EXPECT_EQ(due(at(302)), (std::vector{id<WorkflowId>(1), id<WorkflowId>(2)}));
  EXPECT_EQ(due(at(900), 1), (std::vector{id<WorkflowId>(1)}));

  change(id<WorkflowId>(1), [](WorkflowRun r) {
    r.steps[0].state = workflow::Requested{at(301), at(700)};
    return r;
  });
  EXPECT_EQ(next_wake_up(), at(302));
  EXPECT_EQ(due(at(500)), (std::vector{id<WorkflowId>(2), id<WorkflowId>(3), id<WorkflowId>(1)}))
      << "run 1 backs off until 400";
  change(id<WorkflowId>(2), [](WorkflowRun r) { return failed(std::move(r), at(302)); });
  EXPECT_EQ(next_wake_up(), at(303));
  const auto sleepless = value(read([&](const Transaction& t) { return t.runs().without_wake_up(10); }));
  EXPECT_TRUE(sleepless.empty());
}

TEST_P(RunContract, CountsTheActiveRuns) {
  EXPECT_EQ(count_active(), 0);
  insert(run(1));
  insert(run(2));
  insert(run(3, 3, kOtherTenant));
  EXPECT_EQ(count_active(), 3);
  change(id<WorkflowId>(2), [](WorkflowRun r) { return completed(std::move(r), at(30)); });
  change(id<WorkflowId>(3), [](WorkflowRun r) { return failed(std::move(r), at(30)); });
  EXPECT_EQ(count_active(), 1);
  change(id<WorkflowId>(3), [](WorkflowRun r) {
    r.status = RunStatus::running;
    return r;
  });
  EXPECT_EQ(count_active(), 2);
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 TRY(t.runs().insert(run(4), true));
                 EXPECT_EQ(value(t.runs().count_active()), 3);
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(count_active(), 2);
  harness_->restart();
  EXPECT_EQ(count_active(), 2);
}

TEST_P(RunContract, CountsTheDefinitionsThatActiveRunsArePinnedTo) {
  WorkflowRun old = run(1);
  old.definition_version = "1.1.0";
  insert(old);
  insert(run(2));
  insert(run(3));
  insert(run(4));
  change(id<WorkflowId>(4), [](WorkflowRun r) { return completed(std::move(r), at(30)); });
  const auto found = value(read([&](const Transaction& t) { return t.runs().active_definitions(); }));
  EXPECT_EQ(found, (std::vector<store::ActiveDefinition>{{"opportunity-analysis", "1.1.0", 1},
                                                         {"opportunity-analysis", "1.2.0", 2}}));
}

TEST_P(RunContract, PurgesRunsThatEndedLongAgoInSteps) {
  for (std::uint32_t n = 1; n <= 6; ++n) insert(run(n));
  for (const std::uint32_t n : {2U, 3U, 4U, 5U}) {
    change(id<WorkflowId>(n), [&](WorkflowRun r) { return completed(std::move(r), at(1'000 + static_cast<int>(n))); });
  }
  EXPECT_EQ(purge(at(1'005), 2), 2U);
  EXPECT_FALSE(load(id<WorkflowId>(2)));
  EXPECT_FALSE(load(id<WorkflowId>(3)));
  EXPECT_EQ(purge(at(1'005), 2), 1U) << "run 5 ended at the bound, not before it";
  EXPECT_EQ(purge(at(1'005), 2), 0U);
  EXPECT_TRUE(load(id<WorkflowId>(1))) << "active runs stay, whatever their age";
  EXPECT_EQ(list({.tenant = kTenant}), (std::vector<std::uint32_t>{6, 5, 1}));
}

TEST_P(RunContract, HoldsResultsOfAMebibyteInARun) {
  WorkflowRun big = run(1);
  const std::string result = fmt::format(R"({{"text":"{}"}})", std::string(256 * 1024 - 20, 'y'));
  for (auto& step : big.steps) step.state = workflow::Completed{at(2), true, result};
  insert(big);
  EXPECT_EQ(load(big.id)->run, big);
}

TEST_P(RunContract, RefusesTextThatNotEveryStoreCanHold) {
  for (const std::string& bad : {std::string("a\0b", 3), std::string("\xff"), std::string("\xed\xa0\x80")}) {
    WorkflowRun odd = run(1);
    odd.external_id = bad;
    EXPECT_ERROR(invalid_argument, try_insert(odd));
  }
  EXPECT_FALSE(load(id<WorkflowId>(1)));
  insert(run(2));
  const auto before = load(id<WorkflowId>(2));
  WorkflowRun after = before->run;
  after.error = std::string("\0", 1);
  EXPECT_ERROR(invalid_argument, try_update(*before, after));
  WorkflowRun odd = run(3);
  odd.external_id = "'; DROP TABLE runs; -- \u2028 \U0001F600 ";
  insert(odd);
  EXPECT_EQ(load(odd.id)->run, odd);
}

INSTANTIATE_TEST_SUITE_P(EveryStore, RunContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
