#include "ledger/ledger_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus/topic.h"
#include "delivery/tests/fakes.h"
#include "delivery/tests/leases.h"
#include "events/types.h"
#include "ledger/tests/memory_ledger.h"

namespace wfo::ledger {
namespace {

using namespace std::chrono_literals;
using bus::samples::event;
using bus::samples::event_id;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kUuid = "0191e1f2-3c4d-7abc-8def-0123456789ab";

class FakeLog final : public store::LogReader {
 public:
  Result<store::LogPage> read(store::Sequence, const store::TypeFilter&, std::size_t, std::size_t) override {
    return store::LogPage{};
  }
  void wait_beyond(store::Sequence, milliseconds, std::stop_token) override {}
  store::Sequence trimmed_through() override { return trimmed; }
  store::Sequence last() override { return end; }
  store::Sequence trimmed = 0;
  store::Sequence end = 0;
};

class LedgerSinkTest : public testing::Test {
 protected:
  LedgerSinkTest() {
    loop_ = std::make_unique<delivery::ConsumerLoop>(std::make_unique<delivery::fakes::QueueConsumer>(queue_), sink_,
                                                     delivery::ConsumerLoopConfig{}, clock_, waiter_, Logger::silent(),
                                                     metrics_);
  }
  void settle_all() {
    while (!queue_.waiting.empty()) {
      const auto settled = loop_->run_once(0ms);
      ASSERT_TRUE(settled) << settled.error().message;
    }
  }
  const std::vector<store::LedgerEntry>& entries(const TenantId& tenant = kTenant) { return ledger_.entries[tenant]; }
  std::string count(std::string_view outcome, int count) {
    return fmt::format("ledger_messages_total{{outcome=\"{}\"}} {}\n", outcome, count);
  }

  ManualClock clock_{*parse_timestamp("2026-03-01T09:30:05Z")};
  delivery::fakes::ManualWaiter waiter_{clock_};
  Metrics metrics_;
  delivery::fakes::Queue queue_;
  fakes::MemoryLedger ledger_;
  FakeLog log_;
  LedgerSink sink_{ledger_, &log_, clock_, Logger::silent(), metrics_};
  std::unique_ptr<delivery::ConsumerLoop> loop_;
};

TEST_F(LedgerSinkTest, AppendsABatchInOneTransactionWithItsPosition) {
  for (int i = 1; i <= 5; ++i) queue_.add(event("test.event", i));
  queue_.add(event("test.event", 6, "{}", kOtherTenant));
  settle_all();
  EXPECT_EQ(ledger_.appends, 1);
  EXPECT_EQ(ledger_.positions["test_queue"], 6);
  EXPECT_EQ(entries().size(), 5U);
  EXPECT_EQ(entries(kOtherTenant).size(), 1U);
  EXPECT_EQ(entries()[4].index, 4);
  EXPECT_EQ(entries()[4].event_id, event_id(5));
  EXPECT_THAT(metrics_.text(), HasSubstr(count("appended", 6)));
}

TEST_F(LedgerSinkTest, KeepsTheBytesAsReceivedAndWhenTheyCame) {
  const auto text = bus::samples::event_text("test.event", 1, "{ \"n\" : 1.10,\n \"s\":\"\\u0041\" }");
  queue_.add(bus::samples::read(text));
  settle_all();
  EXPECT_EQ(entries()[0].bytes, text);
  EXPECT_EQ(entries()[0].received_at, clock_.now());
  EXPECT_EQ(entries()[0].timestamp, *parse_timestamp("2026-03-01T09:30:00Z"));
}

struct IdCase {
  std::string_view name;
  std::string data;
  std::optional<WorkflowId> workflow;
  std::optional<OpportunityId> opportunity;
};

class LedgerIds : public LedgerSinkTest, public testing::WithParamInterface<IdCase> {};

TEST_P(LedgerIds, AreTakenFromTheData) {
  queue_.add(event("test.event", 1, GetParam().data));
  settle_all();
  ASSERT_EQ(entries().size(), 1U);
  EXPECT_EQ(entries()[0].workflow, GetParam().workflow);
  EXPECT_EQ(entries()[0].opportunity, GetParam().opportunity);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LedgerIds,
    testing::Values(
        IdCase{"None", "{}", {}, {}},
        IdCase{"Workflow", fmt::format(R"({{"workflowId":"{}"}})", kUuid), WorkflowId::parse(kUuid), {}},
        IdCase{"WorkflowThatIsNoUuid", R"({"workflowId":"seven"})", {}, {}},
        IdCase{"WorkflowThatIsNoText", R"({"workflowId":7})", {}, {}},
        IdCase{"Opportunity", fmt::format(R"({{"opportunityId":"{}"}})", kUuid), {}, OpportunityId::parse(kUuid)},
        IdCase{"OpportunityInCapitals",
               R"({"opportunityId":"0191E1F2-3C4D-7ABC-8DEF-0123456789AB"})",
               {},
               OpportunityId::parse(kUuid)},
        IdCase{"ExternalOpportunity", R"({"opportunityId":"OPP-17"})", {}, opportunity_id(kTenant, "OPP-17")},
        IdCase{"EscapedOpportunity", R"({"opportunityId":"OPP\u002d17"})", {}, opportunity_id(kTenant, "OPP-17")},
        IdCase{"EmptyOpportunity", R"({"opportunityId":""})", {}, {}},
        IdCase{"Nested", fmt::format(R"({{"result":{{"workflowId":"{}"}}}})", kUuid), {}, {}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(LedgerSinkTest, QuarantinesWhatCannotBeReadWithoutSplittingTheBatch) {
  queue_.add(event("test.event", 1));
  queue_.add_unreadable("{oops", "not JSON: line 1, column 2");
  queue_.add(event("test.event", 2));
  settle_all();
  EXPECT_EQ(ledger_.appends, 1);
  EXPECT_EQ(entries().size(), 2U);
  ASSERT_EQ(ledger_.in_quarantine.size(), 1U);
  const auto& message = ledger_.in_quarantine[0];
  EXPECT_EQ(message.bytes, "{oops");
  EXPECT_EQ(message.reason, "not JSON: line 1, column 2");
  EXPECT_EQ(message.received_at, clock_.now());
  EXPECT_EQ(message.tenant, std::nullopt);
  EXPECT_THAT(metrics_.text(), HasSubstr(count("unreadable", 1)));
}

TEST_F(LedgerSinkTest, CountsRepeatsAndQuarantinesOtherBytesUnderAKnownId) {
  queue_.add(event("test.event", 1));
  queue_.add(event("test.event", 1));
  queue_.add(event("test.event", 1, R"({"forged":true})"));
  queue_.add(event("test.event", 1, R"({"another":"tenant"})", kOtherTenant));
  settle_all();
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_EQ(entries(kOtherTenant).size(), 1U) << "one tenant's id says nothing about another's";
  EXPECT_EQ(ledger_.in_quarantine.size(), 1U);
  const auto text = metrics_.text();
  EXPECT_THAT(text, HasSubstr(count("appended", 2)));
  EXPECT_THAT(text, HasSubstr(count("repeated", 1)));
  EXPECT_THAT(text, HasSubstr(count("forged", 1)));
}

TEST_F(LedgerSinkTest, RecordsTypesThatNoContractKnows) {
  queue_.add(event("crm.something.new", 1));
  settle_all();
  EXPECT_EQ(entries()[0].type, "crm.something.new");
}

TEST_F(LedgerSinkTest, QuarantinesAnEventThatTheStoreNeverTakesAndGoesOn) {
  for (int i = 1; i <= 8; ++i) queue_.add(event("test.event", i));
  ledger_.refused = event_id(5);
  settle_all();
  EXPECT_EQ(entries().size(), 7U);
  ASSERT_EQ(ledger_.in_quarantine.size(), 1U);
  EXPECT_EQ(ledger_.in_quarantine[0].event_id, event_id(5));
  EXPECT_EQ(ledger_.in_quarantine[0].tenant, kTenant);
  EXPECT_EQ(ledger_.in_quarantine[0].reason, "not accepted in 5 attempts: refused");
  EXPECT_EQ(ledger_.positions["test_queue"], 8);
}

TEST_F(LedgerSinkTest, WaitsForAStoreThatIsAway) {
  queue_.add(event("test.event", 1));
  ledger_.error = Error{ErrorCode::unavailable, "the disk is full"};
  EXPECT_EQ(loop_->run_once(0ms).error().message, "the disk is full");
  EXPECT_THAT(ledger_.in_quarantine, IsEmpty());
  ledger_.error.reset();
  settle_all();
  EXPECT_EQ(entries().size(), 1U);
}

TEST_F(LedgerSinkTest, NotesHowFarItLookedInItsOwnFile) {
  queue_.looked_through = 100'000;
  EXPECT_EQ(loop_->run_once(0ms), 0U);
  EXPECT_EQ(ledger_.positions["test_queue"], 100'000);
}

TEST_F(LedgerSinkTest, ShowsHowFarItLags) {
  queue_.add(event("test.event", 1));  // of 09:30:00
  log_.end = 1;
  settle_all();
  EXPECT_THAT(metrics_.text(), HasSubstr("ledger_lag_entries 0"));
  EXPECT_THAT(metrics_.text(), HasSubstr("ledger_lag_seconds 0"));
  log_.end = 12;
  clock_.set(*parse_timestamp("2026-03-01T09:30:07.500Z"));
  EXPECT_THAT(metrics_.text(), HasSubstr("ledger_lag_entries 11"));
  EXPECT_THAT(metrics_.text(), HasSubstr("ledger_lag_seconds 2.5")) << "none since it was made, at 09:30:05";
}

TEST(LedgerBindings, AreThoseOfTheDesign) {
  EXPECT_THAT(default_bindings(),
              ElementsAre("workflow.opportunity.analysis.started", "workflow.step.completed",
                          "workflow.opportunity.analysis.completed", "workflow.opportunity.analysis.failed",
                          "workflow.job.trigger", "workflow.job.completed", "workflow.job.failed",
                          "opportunity.outcome.recorded", "audit.#"));
  const bus::TopicFilter filter(default_bindings());
  EXPECT_TRUE(filter.wants(events::kAuditAlertTriggered));
  EXPECT_FALSE(filter.wants(events::kRiskEvaluationCompleted)) << "step.completed carries the result";
  EXPECT_FALSE(filter.wants(events::kForecastRequested));
}

/// Where several processes could append: on a broker.
class FencedLedgerSink : public LedgerSinkTest {
 protected:
  FencedLedgerSink() {
    queue_.redelivers = true;
    loop_ = std::make_unique<delivery::ConsumerLoop>(std::make_unique<delivery::fakes::QueueConsumer>(queue_), fenced_,
                                                     delivery::ConsumerLoopConfig{}, clock_, waiter_, Logger::silent(),
                                                     metrics_);
  }
  delivery::LedgerLease lease_{ledger_};
  delivery::LeaseKeeper right_{
      lease_, "one", Logger::silent(), metrics_, delivery::kLeaseLength, delivery::fakes::steady(clock_)};
  LedgerSink fenced_{ledger_, nullptr, clock_, Logger::silent(), metrics_, &right_};
};

TEST_F(FencedLedgerSink, TakesTheRightToAppendWhenThereIsSomethingToAppend) {
  EXPECT_EQ(loop_->run_once(0ms), 0U);
  EXPECT_FALSE(right_.is_held()) << "the queue's messages may go to another process";
  queue_.add(event("test.event", 1));
  settle_all();
  EXPECT_TRUE(right_.is_held());
  EXPECT_EQ(entries().size(), 1U);
}

TEST_F(FencedLedgerSink, LeavesMessagesToTheBrokerWhileAnotherProcessAppends) {
  ledger_.held_by_another = true;
  queue_.add(event("test.event", 1));
  EXPECT_EQ(loop_->run_once(0ms).error().code, ErrorCode::unavailable);
  EXPECT_EQ(loop_->trouble(), "another process appends to the ledger");
  EXPECT_EQ(queue_.releases, 1);
  EXPECT_EQ(ledger_.appends, 0);
  ledger_.held_by_another = false;
  settle_all();
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_EQ(loop_->trouble(), "");
}

TEST_F(FencedLedgerSink, WritesNothingWhenItWasPausedAndAnotherTookOver) {
  queue_.add(event("test.event", 1));
  settle_all();
  ledger_.epoch = 2;
  ledger_.held_by_another = true;
  queue_.add(event("test.event", 2));
  EXPECT_EQ(loop_->run_once(0ms).error().code, ErrorCode::unavailable);
  EXPECT_FALSE(right_.is_held());
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_EQ(queue_.acknowledged.size(), 1U);
  ledger_.held_by_another = false;
  ledger_.epoch = 3;
  settle_all();
  EXPECT_EQ(entries().size(), 2U);
}

TEST_F(FencedLedgerSink, TakesOverWithinFiveSecondsOfTheOthersDeath) {
  ledger_.held_by_another = true;
  queue_.add(event("test.event", 1));
  const auto died_at = clock_.now();
  std::stop_source source;
  waiter_.at_wait = [&] { ledger_.held_by_another = clock_.now() < died_at + delivery::kLeaseLength; };
  queue_.when_empty = [&] { source.request_stop(); };
  loop_->run(source.get_token());
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_LT(clock_.now() - died_at, 5s);
}

TEST_F(FencedLedgerSink, SaysNothingAboutTheLagBehindALogThatItDoesNotRead) {
  Metrics metrics;
  const LedgerSink sink(ledger_, nullptr, clock_, Logger::silent(), metrics, &right_);
  EXPECT_THAT(metrics.text(), testing::Not(HasSubstr("ledger_lag")));
}

TEST_F(FencedLedgerSink, QuarantinesWhatFellOutOfTheQueueUnreadableWithTheBrokersReason) {
  bus::Delivery delivery;
  delivery.unreadable_bytes = "{";
  delivery.unreadable_reason = "not JSON";
  delivery.headers = R"({"x-death":[{"reason":"expired","queue":"logging_service"}]})";
  queue_.add(delivery);
  settle_all();
  ASSERT_EQ(ledger_.in_quarantine.size(), 1U);
  EXPECT_THAT(ledger_.in_quarantine[0].reason, HasSubstr("not JSON"));
  EXPECT_THAT(ledger_.in_quarantine[0].reason, HasSubstr("'logging_service': expired"));
}

class FakeBus final : public bus::Bus {
 public:
  Result<std::unique_ptr<bus::Consumer>> consume(bus::ConsumerOptions options) override {
    asked = std::move(options);
    return nullptr;
  }
  bus::ConsumerOptions asked;
};

TEST(LedgerConsumer, StartsWhereTheLedgersOwnFileSays) {
  FakeBus bus;
  fakes::MemoryLedger ledger;
  ledger.positions["logging_service"] = 42;
  ASSERT_TRUE(consume(bus, ledger, {"#"}));
  EXPECT_EQ(bus.asked.queue, "logging_service");
  EXPECT_EQ(bus.asked.start_after, 42);
  EXPECT_THAT(bus.asked.bindings, ElementsAre("#"));
}

TEST(LedgerGap, IsQuarantinedOnceAndTheLedgerGoesOnBehindIt) {
  fakes::MemoryLedger ledger;
  ManualClock clock(Timestamp(1'000s));
  FakeLog log;
  log.end = 20;
  EXPECT_EQ(note_gap(ledger, log, clock, Logger::silent()), 0);

  log.trimmed = 12;
  EXPECT_EQ(note_gap(ledger, log, clock, Logger::silent()), 12);
  ASSERT_EQ(ledger.in_quarantine.size(), 1U);
  EXPECT_THAT(ledger.in_quarantine.front().reason, HasSubstr("entries 1 to 12"));
  EXPECT_EQ(ledger.position(kQueue), 12);

  EXPECT_EQ(note_gap(ledger, log, clock, Logger::silent()), 0);
  EXPECT_EQ(ledger.in_quarantine.size(), 1U);
}

}  // namespace
}  // namespace wfo::ledger
