#include "delivery/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "delivery/tests/fakes.h"
#include "delivery/tests/leases.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using std::chrono::days;
using testing::HasSubstr;
using Round = Retention::Round;

class RetentionTest : public testing::Test {
 protected:
  Retention retention(std::vector<std::string> queues, std::vector<OutsidePosition> outside = {},
                      RetentionConfig config = {}) {
    return {fixture_.store(), fixture_.log(),   std::move(queues), std::move(outside), config, clock_,
            waiter_,          Logger::silent(), metrics_};
  }
  void append(int count) {
    std::vector<events::EventPtr> events;
    for (int i = 0; i < count; ++i) events.push_back(bus::samples::event("test.event", ++appended_));
    transact([&](auto& transaction) { return transaction.log().append(events); });
  }
  void position(std::string_view queue, store::Sequence position) {
    transact([&](auto& transaction) { return transaction.positions().set(queue, position); });
  }
  void letter(store::DeadLetterStatus status) {
    store::DeadLetter letter;
    letter.id = DeadLetterId(ids_.next());
    letter.tenant = bus::samples::kTenant;
    letter.headers = "{}";
    letter.created_at = clock_.now();
    transact([&](auto& transaction) { return transaction.dead_letters().insert(letter); });
    if (status == store::DeadLetterStatus::waiting) return;
    transact([&](auto& transaction) { return transaction.dead_letters().settle(letter.id, status, {}, "note"); });
  }
  void inbox(int count) {
    std::vector<store::InboxKey> keys;
    for (int i = 0; i < count; ++i) keys.push_back({bus::samples::kTenant, EventId(ids_.next()), 1});
    transact([&](auto& transaction) -> Result<void> {
      TRY(transaction.inbox().record("queue", keys, clock_.now()));
      return {};
    });
  }
  void transact(FunctionRef<Result<void>(store::Transaction&)> body) {
    const auto done = fixture_.store().transact(body);
    EXPECT_TRUE(done) << done.error().message;
  }
  std::vector<store::Sequence> held() const { return fixture_.sequences_in_file(); }
  static std::vector<store::Sequence> range(store::Sequence first, store::Sequence last) {
    std::vector<store::Sequence> all;
    for (auto i = first; i <= last; ++i) all.push_back(i);
    return all;
  }

  int appended_ = 0;
  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  SystemIdSource ids_{clock_};
  fakes::ManualWaiter waiter_{clock_};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_};
};

TEST_F(RetentionTest, TrimsTheLogBehindTheSlowestConsumer) {
  append(10);
  position("a", 9);
  position("b", 4);
  clock_.advance(2h);
  auto retention = this->retention({"a", "b"});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 4});
  EXPECT_EQ(held(), range(5, 10));
  position("b", 9);
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 5});
  EXPECT_EQ(held(), range(10, 10));
  EXPECT_THAT(metrics_.text(), HasSubstr("retention_deleted_total{what=\"log\"} 9"));
}

TEST_F(RetentionTest, IsHeldBackByAQueueThatWasNeverSeen) {
  append(10);
  position("a", 10);
  clock_.advance(2h);
  EXPECT_EQ(retention({"a", "new"}).run_once(clock_.now()), Round{});
  EXPECT_EQ(held(), range(1, 10));
}

TEST_F(RetentionTest, IsHeldBackByAQueueOfTheStoreThatTheConfigurationLeavesOut) {
  append(10);
  position("a", 10);
  position("switched_off", 3);
  clock_.advance(2h);
  EXPECT_EQ(retention({"a"}).run_once(clock_.now()), Round{.log = 3});
}

TEST_F(RetentionTest, IsHeldBackByAPositionThatLiesElsewhere) {
  append(10);
  position("a", 10);
  clock_.advance(2h);
  Result<store::Sequence> ledger = 6;
  auto retention = this->retention({"a"}, {{"ledger", [&] { return ledger; }}});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 6});
  ledger = fail(ErrorCode::unavailable, "away");
  EXPECT_EQ(retention.run_once(clock_.now()), Round{}) << "what cannot be asked may need everything";
  ledger = 8;
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 2});
}

TEST_F(RetentionTest, LeavesTheLogAloneWhereNobodyConsumes) {
  append(10);
  clock_.advance(2h);
  EXPECT_EQ(retention({}).run_once(clock_.now()), Round{});
}

TEST_F(RetentionTest, KeepsYoungEntries) {
  append(5);
  clock_.advance(2h);
  append(5);
  position("a", 10);
  EXPECT_EQ(retention({"a"}).run_once(clock_.now()), Round{.log = 5});
  EXPECT_EQ(held(), range(6, 10));
}

TEST_F(RetentionTest, KeepsTheNewestEntryThatTheNextSequenceIsCountedFrom) {
  append(3);
  clock_.advance(2h);
  auto retention = this->retention({}, {{"ledger", [] { return 3; }}});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 2});
  fixture_.reopen();
  append(1);
  EXPECT_EQ(held(), range(3, 4));
}

TEST_F(RetentionTest, DeletesInboxRowsAndSettledLettersWhenTheyAreOld) {
  inbox(3);
  letter(store::DeadLetterStatus::waiting);
  letter(store::DeadLetterStatus::replayed);
  letter(store::DeadLetterStatus::discarded);
  clock_.advance(days(31));
  inbox(2);
  auto retention = this->retention({});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.inbox = 3});
  clock_.advance(days(60));
  EXPECT_EQ(retention.run_once(clock_.now()), (Round{.inbox = 2, .dead_letters = 2}));
  std::int64_t waiting = 0;
  EXPECT_TRUE(fixture_.store().read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(waiting, transaction.dead_letters().count_waiting());
    return {};
  }));
  EXPECT_EQ(waiting, 1) << "nobody has looked at it yet";
}

TEST_F(RetentionTest, DeletesFinishedRunsAndTriggersWhenTheyAreOld) {
  const auto add_run = [&](workflow::RunStatus status) {
    workflow::Run run;
    run.id = WorkflowId(ids_.next());
    run.tenant = bus::samples::kTenant;
    run.opportunity = OpportunityId(ids_.next());
    run.definition_name = "w";
    run.definition_version = "1";
    run.created_at = clock_.now();
    run.updated_at = clock_.now();
    run.deadline = clock_.now() + 30min;
    run.trigger_type = "api";
    transact([&](auto& transaction) { return transaction.runs().insert(run, true); });
    if (status == workflow::RunStatus::running) return;
    transact([&](auto& transaction) -> Result<void> {
      TRY_ASSIGN(const auto stored, transaction.runs().load({&run.id, 1}));
      auto ended = stored.front()->run;
      ended.status = status;
      return transaction.runs().update(*stored.front(), ended);
    });
  };
  add_run(workflow::RunStatus::running);
  add_run(workflow::RunStatus::completed);
  add_run(workflow::RunStatus::failed);
  store::Trigger trigger;
  trigger.tenant = bus::samples::kTenant;
  trigger.id = EventId(ids_.next());
  trigger.type = "api";
  trigger.received_at = clock_.now();
  transact([&](auto& transaction) -> Result<void> {
    TRY(transaction.triggers().insert(trigger));
    return {};
  });
  clock_.advance(days(8));
  auto retention = this->retention({}, {}, {.runs = days(7), .triggers = days(30)});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.runs = 2}) << "the one that runs stays, however old";
  clock_.advance(days(23));
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.triggers = 1});
}

TEST_F(RetentionTest, ShowsHowMuchTheSlowestConsumerHoldsBack) {
  append(10);
  position("slow", 3);
  position("fast", 10);
  auto retention = this->retention({"slow", "fast"});
  EXPECT_TRUE(retention.run_once(clock_.now()));
  EXPECT_THAT(metrics_.text(), HasSubstr("log_held_back_entries 7"));
}

TEST_F(RetentionTest, WorksInSmallStepsWithPausesAndInTurn) {
  append(11);
  position("a", 11);
  inbox(4);
  clock_.advance(days(31));
  auto retention = this->retention({"a"}, {}, {.pause = 7ms, .rows_max = 2});
  EXPECT_EQ(retention.run_once(clock_.now()), (Round{.inbox = 4, .log = 10}));
  // 6 steps for the log (the last finds nothing), 3 for the inbox, 1 for each other kind.
  EXPECT_EQ(waiter_.waits, std::vector<milliseconds>(13, 7ms));
}

TEST_F(RetentionTest, EndsARoundAtItsBoundAndGoesOnInTheNext) {
  append(101);
  position("a", 101);
  clock_.advance(2h);
  auto retention = this->retention({"a"}, {}, {.rows_max = 10, .steps_max = 8});
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 20}) << "two of eight steps; six kinds had one each";
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 20});
}

TEST_F(RetentionTest, EndsEarlyOnStop) {
  append(101);
  position("a", 101);
  clock_.advance(2h);
  std::stop_source source;
  waiter_.at_wait = [&] { source.request_stop(); };
  auto retention = this->retention({"a"}, {}, {.rows_max = 10});
  EXPECT_EQ(retention.run_once(clock_.now(), source.get_token()), Round{.log = 10});
}

TEST_F(RetentionTest, RunsARoundAtOnceAndThenOneEachInterval) {
  append(11);
  position("a", 11);
  clock_.advance(2h);
  std::stop_source source;
  int intervals = 0;
  waiter_.at_wait = [&] {
    if (waiter_.waits.back() != 60s) return;
    if (++intervals == 1) {
      EXPECT_EQ(held(), range(11, 11));
      append(4);
      position("a", 15);
      clock_.advance(2h);
    } else {
      EXPECT_EQ(held(), range(15, 15));
      source.request_stop();
    }
  };
  auto retention = this->retention({"a"});
  retention.run(source.get_token());
  EXPECT_EQ(intervals, 2);
}

TEST_F(RetentionTest, GoesOnAfterARoundThatFailed) {
  append(11);
  position("a", 11);
  clock_.advance(2h);
  sqlite::FaultyStore faulty(fixture_.store());
  Retention retention(faulty, fixture_.log(), {"a"}, {}, {}, clock_, waiter_, Logger::silent(), metrics_);
  faulty.error = Error{ErrorCode::unavailable, "the disk is full"};
  EXPECT_EQ(retention.run_once(clock_.now()).error().message, "the disk is full");
  faulty.error.reset();
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 10});
}

struct BadConfig {
  std::string_view name;
  RetentionConfig config;
  std::string_view message;
};

class RetentionConfigTest : public testing::TestWithParam<BadConfig> {};

TEST_P(RetentionConfigTest, IsRefusedWithFieldValueAndWhatIsAllowed) {
  const auto checked = check(GetParam().config);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(checked.error().message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Bad, RetentionConfigTest,
    testing::Values(BadConfig{"Runs", {.runs = 59min}, "runs is 3540000ms; 1h to 3650d is allowed"},
                    BadConfig{"Inbox", {.inbox = days(3651)}, "inbox is 315446400000ms; 1h to 3650d is allowed"},
                    BadConfig{"Log", {.log = -1ms}, "log is -1ms; 0ms to 3650d is allowed"},
                    BadConfig{"Interval", {.interval = 999ms}, "interval is 999ms; 1s to 1d is allowed"},
                    BadConfig{"Pause", {.pause = 11s}, "pause is 11000ms; 0ms to 10s is allowed"},
                    BadConfig{"Rows", {.rows_max = 0}, "rows_max is 0; 1 to 100000 is allowed"},
                    BadConfig{"Steps", {.steps_max = 1'000'001}, "steps_max is 1000001; 1 to 1000000 is allowed"},
                    BadConfig{"Lag", {.lag_warning = 0}, "lag_warning is 0; 1 or more is allowed"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(RetentionConfig, AllowsItsDefaults) { EXPECT_TRUE(check(RetentionConfig{})); }

TEST_F(RetentionTest, TrimsByAgeWhereTheBusIsABrokerButNothingThatAwaitsPublication) {
  sqlite::Fixture broker(clock_, true);
  std::vector<events::EventPtr> events;
  for (int i = 1; i <= 6; ++i) events.push_back(bus::samples::event("test.event", i));
  broker.append(events);
  clock_.advance(2h);
  Retention retention(broker.store(), broker.log(), {}, clock_, waiter_, Logger::silent(), metrics_);
  EXPECT_EQ(retention.run_once(clock_.now()), Round{});
  const std::array<store::Sequence, 5> published{1, 2, 3, 5, 6};
  ASSERT_TRUE(broker.store().transact(
      [&](store::Transaction& transaction) { return transaction.outbox().mark_published(published); }));
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 3});
  const std::array<store::Sequence, 1> last{4};
  ASSERT_TRUE(broker.store().transact(
      [&](store::Transaction& transaction) { return transaction.outbox().mark_published(last); }));
  EXPECT_EQ(retention.run_once(clock_.now()), Round{.log = 2});
  EXPECT_EQ(broker.sequences_in_file(), range(6, 6)) << "the newest stays";
}

TEST_F(RetentionTest, LeavesTheWorkToTheProcessThatHasTheLease) {
  fakes::FakeLease source(clock_);
  LeaseKeeper mine(source, "mine", Logger::silent(), metrics_, kLeaseLength, fakes::steady(clock_));
  LeaseKeeper other(source, "other", Logger::silent(), metrics_, kLeaseLength, fakes::steady(clock_));
  append(10);
  position("a", 10);
  clock_.advance(2h);
  auto retention = this->retention({"a"});
  ASSERT_EQ(other.hold(), 1);
  EXPECT_EQ(retention.run_once(clock_.now(), {}, &mine), Round{});
  EXPECT_EQ(held(), range(1, 10));
  ASSERT_TRUE(other.release());
  EXPECT_EQ(retention.run_once(clock_.now(), {}, &mine), Round{.log = 9});
}

}  // namespace
}  // namespace wfo::delivery
