#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "bus/embedded/embedded_bus.h"
#include "delivery/consumer_loop.h"
#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using bus::samples::event;
using bus::samples::event_id;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kEffect = "effect.written";

/// For each message an event in the log, as its effect, with the message's number.
class NumberingHandler final : public Handler {
 public:
  Result<Apply> prepare(std::span<const bus::Delivery> batch) override {
    ++prepared;
    std::vector<events::EventPtr> effects;
    for (const auto& delivery : batch) {
      const auto number = delivery.event->data().find("number")->integer().value();
      if (number == broken) return fail(ErrorCode::internal, "number {} cannot be handled", number);
      effects.push_back(event(kEffect, 1'000'000 + ++effects_made_, fmt::format("{{\"number\":{}}}", number)));
    }
    return [this, effects = std::move(effects)](store::Transaction& transaction) -> Result<void> {
      TRY(transaction.log().append(effects));
      if (error) return std::unexpected(*error);
      return {};
    };
  }
  void committed() override { ++commits; }

  std::int64_t broken = -1;
  std::optional<Error> error;  // after the effects were written
  int prepared = 0;
  int commits = 0;

 private:
  int effects_made_ = 0;
};

class StoreSinkTest : public testing::Test {
 protected:
  static events::EventPtr message(int n, const TenantId& tenant = kTenant, int number = -1) {
    return event("message.sent", n, fmt::format("{{\"number\":{}}}", number < 0 ? n : number), tenant);
  }
  ConsumerLoop embedded_loop(store::Store& store, ConsumerLoopConfig config = {}) {
    bus_ = std::make_unique<bus::EmbeddedBus>(store, fixture_.log());
    bus::ConsumerOptions options;
    options.queue = "queue";
    options.bindings = {"message.*"};
    auto consumer = bus_->consume(options);
    EXPECT_TRUE(consumer) << consumer.error().message;
    sink_ = std::make_unique<StoreSink>(store, handler_, ids_, clock_);
    return {std::move(consumer).value(), *sink_, config, clock_, waiter_, Logger::silent(), metrics_};
  }
  /// A loop on a bus whose messages can come again.
  ConsumerLoop broker_loop() {
    queue_.redelivers = true;
    sink_ = std::make_unique<StoreSink>(fixture_.store(), handler_, ids_, clock_);
    return {std::make_unique<fakes::QueueConsumer>(queue_), *sink_, {}, clock_, waiter_, Logger::silent(), metrics_};
  }
  void append(int first, int last) {
    std::vector<events::EventPtr> messages;
    for (int i = first; i <= last; ++i) messages.push_back(message(i));
    fixture_.append(messages);
  }
  static void drain(ConsumerLoop& loop) {
    for (;;) {
      const auto settled = loop.run_once(0ms);
      ASSERT_TRUE(settled) << settled.error().message;
      if (*settled == 0) return;
    }
  }
  std::vector<std::int64_t> effects() {
    std::vector<std::int64_t> numbers;
    for (const auto& entry : fixture_.published()) {
      if (entry->type() == kEffect) numbers.push_back(entry->data().find("number")->integer().value());
    }
    return numbers;
  }
  std::vector<store::DeadLetter> letters() {
    std::vector<store::DeadLetter> all;
    EXPECT_TRUE(fixture_.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(all, transaction.dead_letters().list({.tenant = {}, .status = {}, .before = {}}));
      return {};
    }));
    return all;
  }
  store::Sequence position() {
    store::Sequence position = -1;
    EXPECT_TRUE(fixture_.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(position, transaction.positions().get("queue"));
      return {};
    }));
    return position;
  }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  SystemIdSource ids_{clock_};
  fakes::ManualWaiter waiter_{clock_};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_};
  NumberingHandler handler_;
  fakes::Queue queue_;
  std::unique_ptr<bus::EmbeddedBus> bus_;
  std::unique_ptr<StoreSink> sink_;
};

class StoreSinkProperty : public StoreSinkTest {
 public:
  void TestBody() override {}
};

TEST_F(StoreSinkTest, CommitsEffectsAndPositionTogether) {
  append(1, 3);
  auto loop = embedded_loop(fixture_.store());
  EXPECT_EQ(loop.run_once(0ms), 3U);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3));
  EXPECT_EQ(position(), 3);
  EXPECT_EQ(handler_.commits, 1);
}

TEST_F(StoreSinkTest, TakesEffectOnceAcrossARestart) {
  append(1, 3);
  {
    auto loop = embedded_loop(fixture_.store());
    drain(loop);
  }
  fixture_.reopen();
  append(4, 5);
  auto loop = embedded_loop(fixture_.store());
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(StoreSinkTest, LeavesNothingOfAnEffectThatFailedInItsTransaction) {
  append(1, 3);
  auto loop = embedded_loop(fixture_.store());
  handler_.error = Error{ErrorCode::unavailable, "later"};
  EXPECT_FALSE(loop.run_once(0ms));
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(position(), 0);
  EXPECT_EQ(handler_.commits, 0);
  handler_.error.reset();
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3));
}

TEST_F(StoreSinkTest, SetsTheMessageAtFaultAsideWithAllThatIsKnownOfIt) {
  append(1, 9);
  handler_.broken = 6;
  auto loop = embedded_loop(fixture_.store(), {.attempts_max = 3});
  const auto begin = clock_.now();
  EXPECT_EQ(loop.run_once(0ms), 9U);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3, 4, 5, 7, 8, 9));
  EXPECT_EQ(position(), 9);
  const auto all = letters();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].queue, "queue");
  EXPECT_EQ(all[0].type, "message.sent");
  EXPECT_EQ(all[0].tenant, kTenant);
  EXPECT_EQ(all[0].bytes, message(6)->bytes());
  EXPECT_EQ(all[0].reason, "number 6 cannot be handled");
  EXPECT_EQ(all[0].attempts, 3);
  EXPECT_EQ(all[0].created_at, begin + 300ms) << "after pauses of 100 and 200 ms";
  EXPECT_EQ(all[0].status, store::DeadLetterStatus::waiting);
}

TEST_F(StoreSinkTest, ResumesByItselfWhenTheStoreIsBack) {
  append(1, 3);
  sqlite::FaultyStore faulty(fixture_.store());
  auto loop = embedded_loop(faulty);
  faulty.error = Error{ErrorCode::unavailable, "wfo.db: disk I/O error"};
  std::stop_source source;
  waiter_.at_wait = [&] {
    EXPECT_EQ(loop.trouble(), "wfo.db: disk I/O error");
    if (waiter_.waits.size() == 3) {
      faulty.error.reset();
      source.request_stop();
    }
  };
  loop.run(source.get_token());
  EXPECT_EQ(waiter_.waits.size(), 3U);
  drain(loop);
  EXPECT_EQ(loop.trouble(), "");
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3));
}

TEST_F(StoreSinkTest, NotesThePositionInTheStoreWhileOnlyOthersAreMeant) {
  auto loop = embedded_loop(fixture_.store(), {.note_entries = 50});
  std::vector<events::EventPtr> others;
  for (int i = 0; i < 60; ++i) others.push_back(event("other.type", i));
  fixture_.append(others);
  EXPECT_EQ(loop.run_once(0ms), 0U);
  EXPECT_EQ(position(), 60);
  EXPECT_EQ(handler_.prepared, 0);
}

TEST_F(StoreSinkTest, DropsWhatTheInboxKnows) {
  queue_.add(message(1));
  queue_.add(message(2));
  auto loop = broker_loop();
  drain(loop);
  queue_.add(message(2));  // again, among new ones
  queue_.add(message(3));
  queue_.add(message(3));
  drain(loop);
  queue_.add(message(1));  // and alone
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3));
  EXPECT_THAT(queue_.acknowledged, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(letters(), IsEmpty());
  EXPECT_EQ(handler_.commits, 2) << "a batch of repeats is nothing that was handled";
}

TEST_F(StoreSinkTest, TakesEffectOnceWhenAnAcknowledgementWasLost) {
  queue_.add(message(1));
  queue_.acknowledge_error = "connection lost";
  auto loop = broker_loop();
  EXPECT_FALSE(loop.run_once(0ms));
  EXPECT_THAT(effects(), ElementsAre(1));
  queue_.acknowledge_error.clear();
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(1));
  EXPECT_THAT(queue_.acknowledged, ElementsAre(1));
}

TEST_F(StoreSinkTest, SetsOtherBytesUnderAKnownIdAside) {
  queue_.add(message(1));
  auto loop = broker_loop();
  drain(loop);
  const auto forged = message(1, kTenant, 666);
  queue_.add(message(2));
  queue_.add(forged);
  queue_.add(message(3));
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3));
  const auto all = letters();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].bytes, forged->bytes());
  EXPECT_EQ(all[0].reason, fmt::format("event {} of tenant {} came before with other bytes", event_id(1).to_string(),
                                       kTenant.to_string()));
  EXPECT_THAT(waiter_.waits, IsEmpty());
}

TEST_F(StoreSinkTest, LetsNoTenantSuppressAnothersEvent) {
  queue_.add(message(1, kOtherTenant, 7));
  queue_.add(message(1, kTenant, 8));
  auto loop = broker_loop();
  drain(loop);
  EXPECT_THAT(effects(), ElementsAre(7, 8));
  EXPECT_THAT(letters(), IsEmpty());
}

TEST_F(StoreSinkTest, MakesOneLetterOfAMessageThatComesAgainAfterItWasSetAside) {
  queue_.add(message(5));
  handler_.broken = 5;
  auto loop = broker_loop();
  drain(loop);
  queue_.add(message(5));
  drain(loop);
  EXPECT_EQ(letters().size(), 1U);
}

TEST_F(StoreSinkTest, SetsUnreadableBytesAsideUnderTheSystemTenantInTheTransactionOfTheOthers) {
  for (const bool redelivers : {true, false}) {
    SCOPED_TRACE(redelivers);
    queue_ = {};
    auto loop = broker_loop();
    queue_.redelivers = redelivers;
    const auto before = letters().size();
    const auto commits_before = handler_.commits;
    queue_.add(message(redelivers ? 1 : 3));
    queue_.add_unreadable("{oops", "not JSON: line 1, column 2");
    queue_.add_unreadable("", "empty");
    queue_.add(message(redelivers ? 2 : 4));
    EXPECT_EQ(loop.run_once(0ms), 4U);
    EXPECT_EQ(handler_.commits, commits_before + 1);
    EXPECT_THAT(queue_.acknowledged, ElementsAre(1, 2, 3, 4));
    const auto all = letters();
    ASSERT_EQ(all.size(), before + 2);
    EXPECT_EQ(all[1].tenant, system_tenant());
    EXPECT_EQ(all[1].type, "");
    EXPECT_EQ(all[1].bytes, "{oops");
    EXPECT_EQ(all[1].reason, "not JSON: line 1, column 2");
    EXPECT_EQ(all[0].reason, "empty");
  }
  EXPECT_THAT(effects(), ElementsAre(1, 2, 3, 4));
}

TEST_F(StoreSinkTest, AsksNoHandlerForABatchOfWhichNothingCanBeRead) {
  queue_.add_unreadable("{oops", "not JSON");
  auto loop = broker_loop();
  drain(loop);
  EXPECT_EQ(handler_.prepared, 0);
  EXPECT_EQ(letters().size(), 1U);
}

// Whatever comes again, is forged, or loses its acknowledgement: the first text under an id takes effect once, every
// other text becomes a letter, and nothing is left.
RC_GTEST_FIXTURE_PROP(StoreSinkProperty, TakesEachEventOnceFromABrokerThatRepeats, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(1, 40);
  struct Sent {
    int id;
    int text;
  };
  std::map<int, int> first_texts;
  std::set<std::pair<int, int>> forged;
  for (std::size_t i = 0; i < count; ++i) {
    const Sent sent{.id = *rc::gen::inRange(1, 8), .text = *rc::gen::weightedElement<int>({{6, 0}, {1, 1}, {1, 2}})};
    queue_.add(message(sent.id, kTenant, sent.id * 10 + sent.text));
    const auto [known, is_first] = first_texts.emplace(sent.id, sent.text);
    if (known->second != sent.text) forged.emplace(sent.id, sent.text);
  }
  auto loop = broker_loop();
  const auto lost = *rc::gen::container<std::vector<bool>>(10, rc::gen::arbitrary<bool>());
  for (std::size_t i = 0; !queue_.waiting.empty(); ++i) {
    queue_.acknowledge_error = i < lost.size() && lost[i] ? "connection lost" : "";
    RC_ASSERT(loop.run_once(0ms).has_value() == queue_.acknowledge_error.empty());
  }
  std::set<std::int64_t> expected;
  for (const auto& [id, text] : first_texts) expected.insert(id * 10 + text);
  const auto written = effects();
  RC_ASSERT(std::set(written.begin(), written.end()) == expected);
  RC_ASSERT(written.size() == expected.size());
  std::set<std::pair<int, int>> set_aside;
  for (const auto& letter : letters()) {
    const auto text = bus::samples::read(letter.bytes);
    const auto number = static_cast<int>(text->data().find("number")->integer().value());
    set_aside.emplace(number / 10, number % 10);
  }
  RC_ASSERT(set_aside == forged);
}

TEST_F(StoreSinkTest, RunsSeveralLoopsBesideEachOtherUntilTheyAreStopped) {
  SystemWaiter waiter;
  bus::EmbeddedBus bus(fixture_.store(), fixture_.log());
  struct Role {
    NumberingHandler handler;
    std::unique_ptr<StoreSink> sink;
    std::unique_ptr<ConsumerLoop> loop;
    std::jthread thread;
  };
  std::vector<Role> roles(4);
  for (std::size_t i = 0; i < roles.size(); ++i) {
    auto& role = roles[i];
    bus::ConsumerOptions options;
    options.queue = fmt::format("queue{}", i);
    options.bindings = {"message.*"};
    role.sink = std::make_unique<StoreSink>(fixture_.store(), role.handler, ids_, clock_);
    role.loop =
        std::make_unique<ConsumerLoop>(bus.consume(options).value(), *role.sink, ConsumerLoopConfig{.batch_max = 16},
                                       clock_, waiter, Logger::silent(), metrics_);
    role.thread = std::jthread([&role](std::stop_token stop) { role.loop->run(stop); });
  }
  for (int i = 0; i < 20; ++i) append(i * 10 + 1, i * 10 + 10);
  const auto begin = std::chrono::steady_clock::now();
  while (effects().size() < 800 && std::chrono::steady_clock::now() - begin < 60s) {
    fixture_.log().wait_beyond(fixture_.log().last(), 10ms, {});
  }
  for (auto& role : roles) role.thread = {};
  auto all = effects();
  std::ranges::sort(all);
  std::vector<std::int64_t> expected;
  for (int i = 1; i <= 200; ++i) expected.insert(expected.end(), roles.size(), i);
  EXPECT_EQ(all, expected);
}

}  // namespace
}  // namespace wfo::delivery
