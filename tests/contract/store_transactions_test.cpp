#include <future>
#include <stdexcept>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::InboxKey;
using store::InboxVerdict;
using store::Transaction;

class TransactionContract : public StoreContract {
 protected:
  store::Sequence position(std::string_view consumer) {
    return value(read([&](const Transaction& t) { return t.positions().get(consumer); }));
  }
  Result<void> set_position(std::string_view consumer, store::Sequence position) {
    return write([&](Transaction& t) { return t.positions().set(consumer, position); });
  }
};

workflow::Run run(std::uint32_t n) {
  workflow::Run made;
  made.id = id<WorkflowId>(n);
  made.tenant = kTenant;
  made.opportunity = id<OpportunityId>(n);
  made.created_at = made.updated_at = kStart;
  made.deadline = at(60);
  return made;
}

store::Trigger trigger(std::uint32_t n) {
  store::Trigger made;
  made.tenant = kTenant;
  made.id = id<EventId>(n);
  made.type = "api";
  made.opportunity = id<OpportunityId>(n);
  made.received_at = kStart;
  return made;
}

store::DeadLetter letter(std::uint32_t n) {
  store::DeadLetter made;
  made.id = id<DeadLetterId>(n);
  made.tenant = kTenant;
  made.queue = "queue";
  made.reason = "why";
  made.created_at = kStart;
  return made;
}

schedule::JobRun job_run(std::uint32_t n) {
  schedule::JobRun made;
  made.id = id<JobRunId>(n);
  made.job = "job";
  made.trigger = id<EventId>(n);
  made.created_at = kStart;
  made.due_at = at(60);
  return made;
}

store::RecordedOutcome outcome(std::uint32_t n) {
  return {kTenant, id<OpportunityId>(n), Date(), id<EventId>(n), kStart};
}

/// Something in every table.
Result<void> write_everywhere(Transaction& transaction, std::uint32_t n) {
  const std::vector events{event("test.a", n)};
  const InboxKey key{kTenant, id<EventId>(n), n};
  store::Opportunity opportunity;
  opportunity.tenant = kTenant;
  opportunity.id = id<OpportunityId>(n);
  TRY(transaction.log().append(events));
  TRY(transaction.runs().insert(run(n), true));
  TRY_ASSIGN(const bool fresh, transaction.triggers().insert(trigger(n)));
  EXPECT_TRUE(fresh);
  TRY_ASSIGN(const auto verdicts, transaction.inbox().record("consumer", {&key, 1}, kStart));
  EXPECT_EQ(verdicts, std::vector{InboxVerdict::fresh});
  TRY(transaction.dead_letters().insert(letter(n)));
  TRY(transaction.opportunities().upsert({&opportunity, 1}));
  TRY(transaction.opportunities().put_document(kTenant, std::to_string(n), "{}"));
  TRY(transaction.definitions().put("definition", std::to_string(n), "{}"));
  store::StoredSchedule schedule;
  schedule.name = std::to_string(n);
  TRY(transaction.schedules().insert({&schedule, 1}));
  store::FireRecord fire;
  fire.schedule = std::to_string(n);
  TRY(transaction.fires().record({&fire, 1}));
  const schedule::JobRun job = job_run(n);
  TRY(transaction.job_runs().insert({&job, 1}));
  const store::RiskSnapshot snapshot{kTenant, id<OpportunityId>(n), Date(), kStart, id<EventId>(n), {}, "{}"};
  TRY(transaction.risk_snapshots().upsert({&snapshot, 1}));
  const store::RecordedOutcome recorded = outcome(n);
  TRY_ASSIGN(const auto inserted, transaction.outcomes().insert({&recorded, 1}));
  EXPECT_EQ(inserted, std::vector{true});
  return transaction.positions().set(std::to_string(n), n);
}

/// In how many tables number `n` is.
Result<int> count_traces(Transaction& transaction, std::uint32_t n) {
  int found = 0;
  const auto run_id = id<WorkflowId>(n);
  const auto opportunity = id<OpportunityId>(n);
  TRY_ASSIGN(const auto runs, transaction.runs().load({&run_id, 1}));
  found += runs[0].has_value();
  TRY_ASSIGN(const auto trigger, transaction.triggers().find(kTenant, id<EventId>(n)));
  found += trigger.has_value();
  const InboxKey key{kTenant, id<EventId>(n), n};
  TRY_ASSIGN(const auto verdicts, transaction.inbox().record("consumer", {&key, 1}, kStart));
  found += verdicts[0] != InboxVerdict::fresh;
  TRY_ASSIGN(const auto letter, transaction.dead_letters().find(id<DeadLetterId>(n)));
  found += letter.has_value();
  TRY_ASSIGN(const auto opportunities, transaction.opportunities().load(kTenant, {&opportunity, 1}));
  found += opportunities[0].has_value();
  TRY_ASSIGN(const auto document, transaction.opportunities().document(kTenant, std::to_string(n)));
  found += document.has_value();
  TRY_ASSIGN(const auto definitions, transaction.definitions().all());
  for (const auto& definition : definitions) found += definition.version == std::to_string(n);
  TRY_ASSIGN(const auto schedule, transaction.schedules().find(std::to_string(n)));
  found += schedule.has_value();
  TRY_ASSIGN(const auto fires, transaction.fires().list({.schedule = std::to_string(n)}));
  found += !fires.empty();
  TRY_ASSIGN(const auto job, transaction.job_runs().find(id<JobRunId>(n)));
  found += job.has_value();
  TRY_ASSIGN(const auto snapshots,
             transaction.risk_snapshots().list(kTenant, opportunity, Date(), Date() + std::chrono::days(1), 1));
  found += !snapshots.empty();
  const store::RecordedOutcome recorded = outcome(n);
  TRY_ASSIGN(const auto inserted, transaction.outcomes().insert({&recorded, 1}));
  found += !inserted[0];
  TRY_ASSIGN(const auto position, transaction.positions().get(std::to_string(n)));
  return found + (position != 0);
}

constexpr int kTables = 13;  // and the log

TEST_P(TransactionContract, CommitsAllThatABodyWrote) {
  EXPECT_OK(write([&](Transaction& t) { return write_everywhere(t, 1); }));
  harness_->restart();
  EXPECT_EQ(value(write([&](Transaction& t) { return count_traces(t, 1); })), kTables);
  EXPECT_EQ(entries().size(), 1U);
}

TEST_P(TransactionContract, ChangesNothingWhenABodyFailsAndGivesItsError) {
  const auto outcome = store().transact([&](Transaction& t) -> Result<void> {
    TRY(write_everywhere(t, 1));
    return fail(ErrorCode::not_found, "nothing like that");
  });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error(), (Error{ErrorCode::not_found, "nothing like that"}));
  EXPECT_EQ(value(write([&](Transaction& t) { return count_traces(t, 1); })), 0);
  EXPECT_TRUE(entries().empty());
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.runs().count_active(); })), 0);
}

TEST_P(TransactionContract, LetsAnExceptionOfABodyOutAndChangesNothing) {
  EXPECT_THROW(static_cast<void>(store().transact([&](Transaction& t) -> Result<void> {
                 EXPECT_OK(write_everywhere(t, 1));
                 throw std::runtime_error("a library's");
               })),
               std::runtime_error);
  EXPECT_EQ(value(write([&](Transaction& t) { return count_traces(t, 1); })), 0);
  EXPECT_OK(write([&](Transaction& t) { return write_everywhere(t, 2); }));
}

TEST_P(TransactionContract, ShowsABodyWhatItWroteItself) {
  EXPECT_OK(write([&](Transaction& t) -> Result<void> {
    TRY(write_everywhere(t, 1));
    TRY_ASSIGN(const int traces, count_traces(t, 1));
    EXPECT_EQ(traces, kTables);
    return {};
  }));
}

TEST_P(TransactionContract, KeepsItsPromiseToEachOfManyAtOnce) {
  // Committed together or not, each takes effect or fails by itself; every third body fails, after it has written.
  constexpr std::uint32_t kThreads = 8;
  constexpr std::uint32_t kEach = 25;
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::uint32_t i = 0; i < kEach; ++i) {
          const std::uint32_t n = 1 + thread * kEach + i;
          const auto outcome = store().transact([&](Transaction& t) -> Result<void> {
            TRY(write_everywhere(t, n));
            if (n % 3 == 0) return fail(ErrorCode::invalid_argument, "number {}", n);
            return {};
          });
          EXPECT_EQ(outcome.has_value(), n % 3 != 0);
          EXPECT_EQ(outcome ? "" : outcome.error().message, n % 3 != 0 ? "" : fmt::format("number {}", n));
        }
      });
    }
  }
  harness_->restart();
  std::int64_t committed = 0;
  for (std::uint32_t n = 1; n <= kThreads * kEach; ++n) {
    const int traces = value(write([&](Transaction& t) { return count_traces(t, n); }));
    EXPECT_EQ(traces, n % 3 != 0 ? kTables : 0) << n;
    committed += n % 3 != 0;
  }
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.runs().count_active(); })), committed);
  EXPECT_EQ(log().last(), committed);
}

TEST_P(TransactionContract, ReadsOneSnapshotHoweverMuchIsWrittenMeanwhile) {
  EXPECT_OK(set_position("a", 1));
  EXPECT_OK(read([&](const Transaction& t) -> Result<void> {
    EXPECT_EQ(value(t.positions().get("a")), 1);
    // Another thread commits while this read goes on.
    std::async(std::launch::async, [&] {
      EXPECT_OK(set_position("a", 2));
      EXPECT_OK(set_position("b", 2));
    }).get();
    EXPECT_EQ(value(t.positions().get("a")), 1);
    EXPECT_EQ(value(t.positions().get("b")), 0);
    return {};
  }));
  EXPECT_EQ(position("a"), 2);
}

TEST_P(TransactionContract, ReadsWhatWasCommittedBeforeTheReadBegan) {
  for (store::Sequence n = 1; n <= 50; ++n) {
    EXPECT_OK(set_position("a", n));
    EXPECT_EQ(position("a"), n);
  }
}

TEST_P(TransactionContract, GivesTheErrorOfARead) {
  EXPECT_ERROR(not_found,
               store().read([](const Transaction&) -> Result<void> { return fail(ErrorCode::not_found, "no"); }));
  EXPECT_EQ(position("a"), 0);
}

TEST_P(TransactionContract, ServesMoreReadersThanItHas) {
  EXPECT_OK(set_position("a", 7));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) EXPECT_EQ(position("a"), 7);
    });
  }
}

TEST_P(TransactionContract, TakesNewWorkWhileThereIsRoom) { EXPECT_OK(store().admission()); }

// Positions.

TEST_P(TransactionContract, KnowsTheLastPositionOfEachConsumer) {
  EXPECT_EQ(position("unseen"), 0);
  EXPECT_OK(set_position("b", 4));
  EXPECT_OK(set_position("a", 9));
  EXPECT_OK(set_position("b", 5));
  const auto all = value(read([&](const Transaction& t) { return t.positions().all(); }));
  EXPECT_EQ(all, (std::vector<std::pair<std::string, store::Sequence>>{{"a", 9}, {"b", 5}}));
  EXPECT_ERROR(invalid_argument, set_position(std::string_view("a\0b", 3), 1));
}

// Definitions.

TEST_P(TransactionContract, KeepsTheFirstTextOfADefinitionsVersion) {
  const auto put = [&](std::string_view version, std::string_view text) {
    return write([&](Transaction& t) { return t.definitions().put("analysis", version, text); });
  };
  EXPECT_OK(put("2", "two"));
  EXPECT_OK(put("1", "one"));
  EXPECT_OK(put("2", "other"));
  EXPECT_ERROR(invalid_argument, put("3", "\xff"));
  const auto all = value(read([&](const Transaction& t) { return t.definitions().all(); }));
  EXPECT_EQ(all, (std::vector<store::StoredDefinition>{{"analysis", "2", "two"}, {"analysis", "1", "one"}}));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, TransactionContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
