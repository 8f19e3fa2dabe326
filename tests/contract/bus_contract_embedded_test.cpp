#include <gmock/gmock.h>
#include <sqlite3.h>

#include "bus/embedded/embedded_bus.h"
#include "contract/bus_contract.h"
#include "delivery/tests/sqlite.h"

namespace wfo::contract {
namespace {

using namespace std::chrono_literals;
using bus::samples::event;
using testing::ElementsAre;
using testing::HasSubstr;

class EmbeddedHarness final : public BusHarness {
 public:
  bus::Bus& bus() override { return *bus_; }
  store::Store& store() override { return fixture_.store(); }
  void publish(std::span<const events::EventPtr> events) override { fixture_.append(events); }
  void publish_unreadable(std::string_view routing_key, std::string_view bytes) override {
    // The log takes events only, so one is spoilt in the file.
    const auto good = event(routing_key, 0);
    publish({&good, 1});
    bus_.reset();
    fixture_.close();
    sqlite3* file = nullptr;
    EXPECT_EQ(sqlite3_open((fixture_.folder() / "wfo.db").c_str(), &file), SQLITE_OK);
    const auto update = fmt::format(
        "UPDATE log SET event = CAST('{}' AS BLOB) WHERE sequence = (SELECT max(sequence) FROM log)", bytes);
    EXPECT_EQ(sqlite3_exec(file, update.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(file);
    EXPECT_EQ(sqlite3_changes(file), 1);
    sqlite3_close(file);
    fixture_.open();
    open_bus();
  }
  void restart() override {
    bus_.reset();
    fixture_.reopen();
    open_bus();
  }
  store::LogReader& log() { return fixture_.log(); }

 private:
  void open_bus() { bus_ = std::make_unique<bus::EmbeddedBus>(fixture_.store(), fixture_.log()); }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  delivery::sqlite::Fixture fixture_{clock_};
  std::unique_ptr<bus::EmbeddedBus> bus_ = std::make_unique<bus::EmbeddedBus>(fixture_.store(), fixture_.log());
};

INSTANTIATE_TEST_SUITE_P(Embedded, BusContract,
                         testing::Values(BusUnderTest{"SqliteLog", [] { return std::make_unique<EmbeddedHarness>(); }}),
                         [](const auto& test) { return test.param.name; });

// What only a bus that is the log can do.

class EmbeddedBusTest : public testing::Test {
 protected:
  Result<std::unique_ptr<bus::Consumer>> consume(std::optional<store::Sequence> start_after = {},
                                                 std::vector<std::string> bindings = {"#"}) {
    bus::ConsumerOptions options;
    options.queue = "queue";
    options.bindings = std::move(bindings);
    options.start_after = start_after;
    return harness_.bus().consume(std::move(options));
  }
  void publish(std::string_view type, int first, int last) {
    std::vector<events::EventPtr> events;
    for (int i = first; i <= last; ++i) events.push_back(event(type, i));
    harness_.publish(events);
  }
  static std::vector<store::Sequence> receive(bus::Consumer& consumer, std::size_t count_max = 100) {
    const auto batch = consumer.receive(count_max, 0ms, {});
    EXPECT_TRUE(batch) << batch.error().message;
    std::vector<store::Sequence> sequences;
    for (const auto& delivery : *batch) sequences.push_back(delivery.sequence);
    return sequences;
  }
  store::Sequence position() {
    store::Sequence position = -1;
    EXPECT_TRUE(harness_.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(position, transaction.positions().get("queue"));
      return {};
    }));
    return position;
  }

  EmbeddedHarness harness_;
};

TEST_F(EmbeddedBusTest, StartsAfterThePositionThatItIsGiven) {
  publish("a", 1, 5);
  const auto consumer = consume(3);
  ASSERT_TRUE(consumer) << consumer.error().message;
  EXPECT_EQ((*consumer)->looked_through(), 3);
  EXPECT_THAT(receive(**consumer), ElementsAre(4, 5));
  ASSERT_TRUE((*consumer)->release());
  EXPECT_THAT(receive(**consumer), ElementsAre(4, 5));
  EXPECT_EQ(position(), 0) << "the store has no position of it";
}

TEST_F(EmbeddedBusTest, StartsANewQueueWithAllThatTheLogHolds) {
  publish("a", 1, 3);
  EXPECT_THAT(receive(*consume().value()), ElementsAre(1, 2, 3));
}

TEST_F(EmbeddedBusTest, RefusesAPositionBeyondTheEndOfTheLog) {
  publish("a", 1, 3);
  EXPECT_TRUE(consume(3));
  const auto consumer = consume(4);
  ASSERT_FALSE(consumer);
  EXPECT_EQ(consumer.error().code, ErrorCode::corruption);
  EXPECT_THAT(consumer.error().message, HasSubstr("its position 4 lies beyond the end of the log, 3"));
}

TEST_F(EmbeddedBusTest, NotesHowFarItLookedPastWhatDoesNotConcernIt) {
  publish("other", 1, 10);
  const auto consumer = consume({}, {"mine"}).value();
  EXPECT_THAT(receive(*consumer), ElementsAre());
  EXPECT_EQ(consumer->looked_through(), 10);
  EXPECT_EQ(position(), 0) << "nothing is written by looking";
  ASSERT_TRUE(harness_.store().transact([&](auto& transaction) { return consumer->settle(transaction, {}); }));
  ASSERT_TRUE(consumer->acknowledge({}));
  EXPECT_EQ(position(), 10);
  ASSERT_TRUE(consumer->release());
  EXPECT_EQ(consumer->looked_through(), 10);
}

TEST_F(EmbeddedBusTest, HandsTheEventOnThatWasAppendedWithoutACopy) {
  const auto consumer = consume().value();
  const auto sent = event("a", 1);
  harness_.publish({&sent, 1});
  const auto batch = consumer->receive(1, 0ms, {});
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->front().event.get(), sent.get());
  EXPECT_FALSE(consumer->redelivers());
}

/// Counts what is asked of a log.
class CountingLog final : public store::LogReader {
 public:
  explicit CountingLog(store::LogReader& log) : log_(log) {}
  Result<store::LogPage> read(store::Sequence after, const store::TypeFilter& filter, std::size_t count_max,
                              std::size_t bytes_max) override {
    ++reads;
    return log_.read(after, filter, count_max, bytes_max);
  }
  void wait_beyond(store::Sequence after, milliseconds wait, std::stop_token) override {
    waits.emplace_back(after, wait);
    if (at_wait) at_wait();
  }
  store::Sequence trimmed_through() override { return log_.trimmed_through(); }
  store::Sequence last() override { return log_.last(); }

  int reads = 0;
  std::vector<std::pair<store::Sequence, milliseconds>> waits;
  std::function<void()> at_wait;

 private:
  store::LogReader& log_;
};

TEST_F(EmbeddedBusTest, WaitsOnceAndLooksOnceMoreWhenNothingIsThere) {
  publish("other", 1, 4);
  CountingLog log(harness_.log());
  bus::EmbeddedBus bus(harness_.store(), log);
  const auto consumer = bus.consume({.queue = "queue", .bindings = {"mine"}}).value();
  EXPECT_TRUE(consumer->receive(10, 250ms, {})->empty());
  EXPECT_EQ(log.reads, 2);
  EXPECT_THAT(log.waits, ElementsAre(std::pair(4, 250ms))) << "beyond all that was looked at, whomever it concerns";
  log.at_wait = [&] { publish("mine", 5, 5); };
  EXPECT_EQ(consumer->receive(10, 250ms, {})->size(), 1U);
  EXPECT_EQ(log.reads, 4);
}

TEST_F(EmbeddedBusTest, DoesNotWaitWhenSomethingIsThere) {
  publish("mine", 1, 1);
  CountingLog log(harness_.log());
  bus::EmbeddedBus bus(harness_.store(), log);
  const auto consumer = bus.consume({.queue = "queue", .bindings = {"mine"}}).value();
  EXPECT_EQ(consumer->receive(10, 1h, {})->size(), 1U);
  EXPECT_EQ(log.reads, 1);
  EXPECT_TRUE(log.waits.empty());
}

TEST_F(EmbeddedBusTest, HoldsAChangedBindingForWhatWasNotLookedAt) {
  publish("a", 1, 1);
  publish("b", 2, 2);
  {
    const auto consumer = consume({}, {"a"}).value();
    const auto batch = consumer->receive(1, 0ms, {}).value();
    ASSERT_TRUE(harness_.store().transact([&](auto& transaction) { return consumer->settle(transaction, batch); }));
  }
  harness_.restart();
  EXPECT_THAT(receive(*consume({}, {"b"}).value()), ElementsAre(2));
}

}  // namespace
}  // namespace wfo::contract
