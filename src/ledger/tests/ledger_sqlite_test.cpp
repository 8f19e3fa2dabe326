#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus/embedded/embedded_bus.h"
#include "delivery/retention.h"
#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"
#include "ledger/ledger_progress.h"
#include "ledger/ledger_queries.h"
#include "ledger/ledger_sink.h"
#include "store/sqlite/sqlite_ledger.h"

namespace wfo::ledger {
namespace {

using namespace std::chrono_literals;
using bus::samples::event;
using bus::samples::event_id;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;
using testing::ElementsAre;

/// The role as it runs: the log and the ledger in two files, the embedded bus between them.
class LedgerOnSqlite : public testing::Test {
 protected:
  LedgerOnSqlite() { open(); }
  void open() {
    store::sqlite::SqliteLedgerConfig config;
    config.directory = fixture_.folder();
    auto opened = store::sqlite::SqliteLedger::open(config, clock_, Logger::silent(), store_metrics_);
    ASSERT_TRUE(opened) << opened.error().message;
    ledger_ = std::move(opened).value();
    metrics_ = std::make_unique<Metrics>();
    bus_ = std::make_unique<bus::EmbeddedBus>(fixture_.store(), fixture_.log());
    sink_ = std::make_unique<LedgerSink>(*ledger_, &fixture_.log(), clock_, Logger::silent(), *metrics_);
    auto consumer = consume(*bus_, *ledger_, {"audited.#"});
    ASSERT_TRUE(consumer) << consumer.error().message;
    loop_ = std::make_unique<delivery::ConsumerLoop>(std::move(consumer).value(), *sink_,
                                                     delivery::ConsumerLoopConfig{.batch_max = 7}, clock_, waiter_,
                                                     Logger::silent(), *metrics_);
  }
  void close() {
    loop_.reset();
    sink_.reset();
    bus_.reset();
    ledger_.reset();
  }
  void restart() {
    close();
    fixture_.reopen();
    open();
  }
  void append(std::string_view type, int first, int last, const TenantId& tenant = kTenant) {
    std::vector<events::EventPtr> events;
    for (int i = first; i <= last; ++i) events.push_back(event(type, i, "{\"opportunityId\":\"OPP-1\"}", tenant));
    fixture_.append(events);
  }
  void drain() {
    for (;;) {
      const auto settled = loop_->run_once(0ms);
      ASSERT_TRUE(settled) << settled.error().message;
      if (*settled == 0) return;
    }
  }
  std::vector<store::LedgerEntry> entries(const TenantId& tenant = kTenant) {
    auto page = search(*ledger_, {.tenant = tenant, .limit = 1'000});
    EXPECT_TRUE(page) << page.error().message;
    return std::move(page->entries);
  }
  std::vector<EventId> ids(const TenantId& tenant = kTenant) {
    std::vector<EventId> all;
    store::LedgerIndex index = 0;
    for (const auto& entry : entries(tenant)) {
      EXPECT_EQ(entry.index, index++) << "without a gap";
      all.push_back(entry.event_id);
    }
    return all;
  }
  static std::vector<EventId> event_ids(int first, int last) {
    std::vector<EventId> all;
    for (int i = first; i <= last; ++i) all.push_back(event_id(i));
    return all;
  }

  ManualClock clock_{*parse_timestamp("2026-03-01T09:30:05Z")};
  delivery::fakes::ManualWaiter waiter_{clock_};
  Metrics store_metrics_;
  delivery::sqlite::Fixture fixture_{clock_};
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<store::sqlite::SqliteLedger> ledger_;
  std::unique_ptr<bus::EmbeddedBus> bus_;
  std::unique_ptr<LedgerSink> sink_;
  std::unique_ptr<delivery::ConsumerLoop> loop_;
};

TEST_F(LedgerOnSqlite, RecordsEachAuditedEventOnceAcrossRestarts) {
  append("audited.thing", 1, 20);
  append("other.thing", 21, 30);
  append("audited.thing", 31, 35, kOtherTenant);
  ASSERT_EQ(loop_->run_once(0ms), 7U);
  restart();
  drain();
  append("audited.thing", 36, 40);
  restart();
  drain();
  auto expected = event_ids(1, 20);
  for (const auto& id : event_ids(36, 40)) expected.push_back(id);
  EXPECT_EQ(ids(), expected);
  EXPECT_EQ(ids(kOtherTenant), event_ids(31, 35));
  EXPECT_EQ(ledger_->position(kQueue), 40);
}

TEST_F(LedgerOnSqlite, SaysWhetherItHasWhatWasCommittedWhenAsked) {
  const LedgerProgress progress(*ledger_, fixture_.log(), {"audited.#"}, waiter_);
  EXPECT_EQ(progress.catch_up(10ms), true) << "nothing happened yet";
  append("audited.thing", 1, 9);
  append("other.thing", 10, 20);
  const auto asked_at = clock_.now();
  EXPECT_EQ(progress.catch_up(10ms), false);
  EXPECT_EQ(clock_.now() - asked_at, 10ms);
  ASSERT_EQ(loop_->run_once(0ms), 7U);
  EXPECT_EQ(progress.catch_up(10ms), false) << "two are missing";
  ASSERT_EQ(loop_->run_once(0ms), 2U);
  EXPECT_EQ(progress.catch_up(0ms), true) << "what it does not record is not waited for";
}

TEST_F(LedgerOnSqlite, RecordsNothingTwiceWhenItsPositionIsBehindWhatItHolds) {
  append("audited.thing", 1, 10);
  drain();
  ASSERT_TRUE(ledger_->append({}, {}, kQueue, 3));  // as if the file had kept the entries and lost the position
  restart();
  drain();
  EXPECT_EQ(ids(), event_ids(1, 10));
  EXPECT_THAT(metrics_->text(), testing::HasSubstr("ledger_messages_total{outcome=\"repeated\"} 7"));
}

TEST_F(LedgerOnSqlite, FindsEntriesByTheIdThatPeopleKnow) {
  append("audited.thing", 1, 3);
  const auto other = event("audited.thing", 4, "{\"opportunityId\":\"OPP-2\"}");
  fixture_.append({&other, 1});
  drain();
  const auto page = search(*ledger_, {.tenant = kTenant, .opportunity = opportunity_id(kTenant, "OPP-2")});
  ASSERT_TRUE(page);
  ASSERT_EQ(page->entries.size(), 1U);
  EXPECT_EQ(page->entries[0].bytes, other->bytes());
}

TEST_F(LedgerOnSqlite, GivesWhatWasPublishedByteForByte) {
  std::vector<events::EventPtr> events;
  std::string expected;
  for (int i = 1; i <= 300; ++i) {
    events.push_back(event("audited.thing", i, fmt::format("{{ \"n\" : {}.10, \"t\":\"\\u00e4\" }}", i)));
    expected += events.back()->bytes() + '\n';
  }
  fixture_.append(events);
  drain();
  const auto page = search(*ledger_, {.tenant = kTenant, .limit = 1'000});
  ASSERT_TRUE(page) << page.error().message;
  std::string bytes;
  for (const auto& entry : page->entries) bytes += entry.bytes + '\n';
  EXPECT_EQ(bytes, expected);
}

TEST_F(LedgerOnSqlite, QuarantinesForgeriesBesideWhatTheyTriedToReplace) {
  append("audited.thing", 1, 1);
  const auto forged = event("audited.thing", 1, "{\"forged\":true}");
  fixture_.append({&forged, 1});
  append("audited.thing", 2, 2);
  drain();
  EXPECT_EQ(ids(), event_ids(1, 2));
  const auto quarantine = ledger_->quarantined(kTenant, 0, 100);
  ASSERT_TRUE(quarantine);
  ASSERT_EQ(quarantine->size(), 1U);
  EXPECT_EQ(quarantine->front().bytes, forged->bytes());
  EXPECT_EQ(quarantine->front().event_id, event_id(1));
}

TEST_F(LedgerOnSqlite, HoldsTheLogUntilItHasRecordedWhatStandsThere) {
  append("audited.thing", 1, 10);
  clock_.advance(2h);
  delivery::Retention retention(fixture_.store(), fixture_.log(), {},
                                {{std::string(kQueue), [&] { return ledger_->position(kQueue); }}}, {}, clock_, waiter_,
                                Logger::silent(), store_metrics_);
  EXPECT_EQ(retention.run_once(clock_.now())->log, 0U);
  ASSERT_EQ(loop_->run_once(0ms), 7U);
  EXPECT_EQ(retention.run_once(clock_.now())->log, 7U);
  restart();
  drain();
  EXPECT_EQ(ids(), event_ids(1, 10));
}

TEST_F(LedgerOnSqlite, RefusesALogThatIsOlderThanItsPosition) {
  append("audited.thing", 1, 10);
  drain();
  const auto position = ledger_->position(kQueue).value();
  ASSERT_TRUE(ledger_->append({}, {}, kQueue, position + 1));
  const auto consumer = consume(*bus_, *ledger_, {"audited.#"});
  ASSERT_FALSE(consumer);
  EXPECT_EQ(consumer.error().code, ErrorCode::corruption);
}

}  // namespace
}  // namespace wfo::ledger
