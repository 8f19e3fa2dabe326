#include "contract/bus_contract.h"

#include <gmock/gmock.h>

#include <chrono>
#include <future>
#include <map>
#include <numeric>
#include <thread>

namespace wfo::contract {

using namespace std::chrono_literals;
using bus::samples::event;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr int kNumbersMax = 2'000;
constexpr auto kPatience = 60s;  // far beyond what any bus needs

std::vector<int> range(int first, int last) {
  std::vector<int> all(static_cast<std::size_t>(last - first + 1));
  std::iota(all.begin(), all.end(), first);
  return all;
}

std::span<const bus::Delivery> part(const std::vector<bus::Delivery>& batch, std::size_t first, std::size_t count) {
  return std::span(batch).subspan(first, count);
}

}  // namespace

std::unique_ptr<bus::Consumer> BusContract::consume(std::string queue, std::vector<std::string> bindings) {
  bus::ConsumerOptions options;
  options.queue = std::move(queue);
  options.bindings = std::move(bindings);
  auto consumer = harness_->bus().consume(std::move(options));
  EXPECT_TRUE(consumer) << consumer.error().message;
  return std::move(consumer).value();
}

void BusContract::publish(std::string_view type, int first, int last) {
  ASSERT_LE(last, kNumbersMax);
  std::vector<events::EventPtr> events;
  for (int i = first; i <= last; ++i) events.push_back(event(type, i));
  harness_->publish(events);
}

BusContract::Batch BusContract::receive(bus::Consumer& consumer, std::size_t count, std::size_t count_max) {
  Batch all;
  const auto begin = std::chrono::steady_clock::now();
  while (all.size() < count && std::chrono::steady_clock::now() - begin < kPatience) {
    auto batch = consumer.receive(std::min(count_max, count - all.size()), 1s, {});
    EXPECT_TRUE(batch) << batch.error().message;
    if (!batch) return all;
    EXPECT_LE(batch->size(), count_max);
    for (auto& delivery : *batch) all.push_back(std::move(delivery));
  }
  EXPECT_EQ(all.size(), count);
  return all;
}

void BusContract::settle(bus::Consumer& consumer, std::span<const bus::Delivery> batch) {
  const auto settled =
      harness_->store().transact([&](store::Transaction& transaction) { return consumer.settle(transaction, batch); });
  ASSERT_TRUE(settled) << settled.error().message;
  const auto acknowledged = consumer.acknowledge(batch);
  ASSERT_TRUE(acknowledged) << acknowledged.error().message;
}

void BusContract::expect_nothing(bus::Consumer& consumer) {
  const auto batch = consumer.receive(10, 50ms, {});
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_THAT(numbers(*batch), IsEmpty());
}

std::vector<int> BusContract::numbers(std::span<const bus::Delivery> batch) {
  static const auto kNumbers = [] {
    std::map<EventId, int> all;
    for (int i = 0; i <= kNumbersMax; ++i) all.emplace(bus::samples::event_id(i), i);
    return all;
  }();
  std::vector<int> result;
  for (const auto& delivery : batch) {
    result.push_back(delivery.event ? kNumbers.at(delivery.event->id()) : -1);
  }
  return result;
}

TEST_P(BusContract, BringsAMessageAsItWasPublished) {
  const auto consumer = consume("queue", {"order.placed"});
  const auto sent = event("order.placed", 1, R"({ "amount" : 1.10, "name":"\u0041" })");
  harness_->publish({&sent, 1});
  const auto batch = receive(*consumer, 1);
  ASSERT_EQ(batch.size(), 1U);
  ASSERT_TRUE(batch[0].event);
  EXPECT_EQ(batch[0].event->bytes(), sent->bytes());
  EXPECT_EQ(batch[0].event->id(), sent->id());
  EXPECT_EQ(batch[0].event->type(), "order.placed");
  EXPECT_EQ(batch[0].event->tenant(), sent->tenant());
  EXPECT_TRUE(json::Document::parse(batch[0].headers)->root().is_object());
}

TEST_P(BusContract, GivesEachQueueWhatItsBindingsMatch) {
  const std::map<std::string, std::vector<std::string>> queues = {
      {"exact", {"order.placed"}},
      {"one_word", {"order.*"}},
      {"any", {"#"}},
      {"below", {"order.#"}},
      {"last", {"#.paid"}},
      {"middle", {"*.item.*"}},
      {"two", {"order.placed", "bill.paid"}},
      {"nothing", {"order.*.*.*"}},
  };
  const std::map<std::string, std::vector<int>> expected = {
      {"exact", {1}},   {"one_word", {1, 3}}, {"any", {1, 2, 3, 4, 5}}, {"below", {1, 2, 3, 5}},
      {"last", {3, 4}}, {"middle", {2}},      {"two", {1, 4}},          {"nothing", {}},
  };
  std::map<std::string, std::unique_ptr<bus::Consumer>> consumers;
  for (const auto& [queue, bindings] : queues) consumers[queue] = consume(queue, bindings);
  const std::vector<events::EventPtr> events = {event("order.placed", 1), event("order.item.added", 2),
                                                event("order.paid", 3), event("bill.paid", 4), event("order", 5)};
  harness_->publish(events);
  for (const auto& [queue, consumer] : consumers) {
    SCOPED_TRACE(queue);
    EXPECT_EQ(consumer->queue(), queue);
    EXPECT_EQ(numbers(receive(*consumer, expected.at(queue).size())), expected.at(queue));
    expect_nothing(*consumer);
  }
}

TEST_P(BusContract, GivesAQueueAMessageOnceHoweverManyBindingsMatch) {
  const auto consumer = consume("queue", {"#", "order.*", "order.placed"});
  publish("order.placed", 1, 3);
  EXPECT_THAT(numbers(receive(*consumer, 3)), ElementsAre(1, 2, 3));
  expect_nothing(*consumer);
}

TEST_P(BusContract, KeepsTheOrderOfPublishing) {
  const auto consumer = consume("queue", {"a.*"});
  std::vector<events::EventPtr> events;
  for (int i = 1; i <= 1'000; ++i) events.push_back(event(i % 3 == 0 ? "a.x" : "a.y", i));
  harness_->publish(std::span(events).first(500));
  harness_->publish(std::span(events).subspan(500));
  EXPECT_EQ(numbers(receive(*consumer, 1'000, 64)), range(1, 1'000));
}

TEST_P(BusContract, BringsAtMostAsManyAsAsked) {
  const auto consumer = consume("queue", {"#"});
  publish("order.placed", 1, 10);
  for (int i = 1; i <= 10; i += 2) EXPECT_THAT(numbers(receive(*consumer, 2, 2)), ElementsAre(i, i + 1));
}

TEST_P(BusContract, EndsABatchWithTheMessageThatReachesTheBytes) {
  bus::ConsumerOptions options;
  options.queue = "queue";
  options.bindings = {"#"};
  options.bytes_max = 25'000;
  auto consumer = harness_->bus().consume(options);
  ASSERT_TRUE(consumer) << consumer.error().message;
  const auto large = "{\"x\":\"" + std::string(10'000, 'x') + "\"}";
  std::vector<events::EventPtr> events;
  for (int i = 1; i <= 10; ++i) events.push_back(event("order.placed", i, large));
  harness_->publish(events);
  std::vector<int> all;
  while (all.size() < 10) {
    const auto batch = (*consumer)->receive(100, 1s, {});
    ASSERT_TRUE(batch) << batch.error().message;
    EXPECT_LE(batch->size(), 3U);
    for (const auto number : numbers(*batch)) all.push_back(number);
  }
  EXPECT_EQ(all, range(1, 10));
}

TEST_P(BusContract, BringsAMessageThatIsLargerThanTheBytes) {
  bus::ConsumerOptions options;
  options.queue = "queue";
  options.bindings = {"#"};
  options.bytes_max = 10;
  auto consumer = harness_->bus().consume(options);
  ASSERT_TRUE(consumer) << consumer.error().message;
  publish("order.placed", 1, 2);
  EXPECT_THAT(numbers(receive(**consumer, 2)), ElementsAre(1, 2));
}

TEST_P(BusContract, BringsWhatIsThereWithoutWaitingForMore) {
  const auto consumer = consume("queue", {"#"});
  publish("order.placed", 1, 1);
  receive(*consumer, 1);
  publish("order.placed", 2, 2);
  const auto begin = std::chrono::steady_clock::now();
  const auto batch = consumer->receive(100, kPatience, {});
  ASSERT_TRUE(batch);
  EXPECT_THAT(numbers(*batch), ElementsAre(2));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience / 2);
}

TEST_P(BusContract, WakesAConsumerThatWaits) {
  const auto consumer = consume("queue", {"order.placed"});
  auto received = std::async(std::launch::async, [&] { return receive(*consumer, 1); });
  publish("bill.paid", 1, 1);  // does not concern it
  publish("order.placed", 2, 2);
  EXPECT_THAT(numbers(received.get()), ElementsAre(2));
}

TEST_P(BusContract, ReturnsFromWaitingOnStop) {
  const auto consumer = consume("queue", {"#"});
  std::stop_source source;
  auto received =
      std::async(std::launch::async, [&] { return consumer->receive(1, milliseconds(kPatience), source.get_token()); });
  source.request_stop();
  ASSERT_EQ(received.wait_for(kPatience / 2), std::future_status::ready);
  const auto batch = received.get();
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_THAT(*batch, IsEmpty());
}

TEST_P(BusContract, KeepsMessagesInHandToTheConsumerUntilItReleasesThem) {
  const auto consumer = consume("queue", {"#"});
  publish("order.placed", 1, 5);
  EXPECT_EQ(numbers(receive(*consumer, 3)), range(1, 3));
  EXPECT_EQ(numbers(receive(*consumer, 2)), range(4, 5));
  expect_nothing(*consumer);
  ASSERT_TRUE(consumer->release());
  EXPECT_EQ(numbers(receive(*consumer, 5)), range(1, 5));
}

TEST_P(BusContract, BringsOnlyWhatIsNotAcknowledgedAgainAfterARelease) {
  const auto consumer = consume("queue", {"#"});
  publish("order.placed", 1, 6);
  const auto batch = receive(*consumer, 6);
  settle(*consumer, part(batch, 0, 2));
  settle(*consumer, part(batch, 2, 2));
  ASSERT_TRUE(consumer->release());
  EXPECT_THAT(numbers(receive(*consumer, 2)), ElementsAre(5, 6));
}

TEST_P(BusContract, BringsMessagesAgainWhoseTransactionWasRolledBack) {
  const auto consumer = consume("queue", {"#"});
  publish("order.placed", 1, 4);
  const auto batch = receive(*consumer, 4);
  const auto settled = harness_->store().transact([&](store::Transaction& transaction) -> Result<void> {
    if (auto done = consumer->settle(transaction, batch); !done) return done;
    return fail(ErrorCode::internal, "the handler's own reason");
  });
  ASSERT_FALSE(settled);
  EXPECT_EQ(settled.error().message, "the handler's own reason");
  ASSERT_TRUE(consumer->release());
  const auto again = receive(*consumer, 4);
  EXPECT_EQ(numbers(again), range(1, 4));
  settle(*consumer, again);
  ASSERT_TRUE(consumer->release());
  expect_nothing(*consumer);
}

TEST_P(BusContract, GoesOnAfterARestartWhereItHadSettled) {
  {
    const auto consumer = consume("queue", {"#"});
    publish("order.placed", 1, 6);
    const auto batch = receive(*consumer, 6);
    settle(*consumer, part(batch, 0, 4));
  }
  harness_->restart();
  {
    const auto consumer = consume("queue", {"#"});
    publish("order.placed", 7, 8);
    const auto batch = receive(*consumer, 4);
    EXPECT_EQ(numbers(batch), range(5, 8));
    settle(*consumer, batch);
  }
  harness_->restart();
  const auto consumer = consume("queue", {"#"});
  expect_nothing(*consumer);
}

TEST_P(BusContract, KeepsMessagesForAQueueWhileNobodyConsumesIt) {
  {
    const auto consumer = consume("queue", {"order.*"});
    publish("order.placed", 1, 1);
    settle(*consumer, receive(*consumer, 1));
  }
  publish("order.placed", 2, 3);
  publish("bill.paid", 4, 4);
  harness_->restart();
  const auto consumer = consume("queue", {"order.*"});
  EXPECT_THAT(numbers(receive(*consumer, 2)), ElementsAre(2, 3));
  expect_nothing(*consumer);
}

TEST_P(BusContract, DoesNotLetOneQueueTakeFromAnother) {
  const auto first = consume("first", {"#"});
  const auto second = consume("second", {"#"});
  publish("order.placed", 1, 3);
  settle(*first, receive(*first, 3));
  ASSERT_TRUE(first->release());
  expect_nothing(*first);
  EXPECT_EQ(numbers(receive(*second, 3)), range(1, 3));
}

TEST_P(BusContract, DoesNotPassOverWhatIsInHandWhenItNotesHowFarItLooked) {
  const auto consumer = consume("queue", {"order.*"});
  publish("order.placed", 1, 2);
  publish("bill.paid", 3, 3);
  const auto batch = receive(*consumer, 2);
  settle(*consumer, {});
  ASSERT_TRUE(consumer->release());
  EXPECT_THAT(numbers(receive(*consumer, 2)), ElementsAre(1, 2));
}

TEST_P(BusContract, NeverPassesOverAMessageThatCannotBeRead) {
  {
    const auto consumer = consume("queue", {"order.*"});
    publish("order.placed", 1, 1);
    settle(*consumer, receive(*consumer, 1));
  }
  harness_->publish_unreadable("order.placed", "{oops");
  const auto consumer = consume("queue", {"order.*"});
  publish("order.placed", 2, 2);
  const auto batch = consumer->receive(1, milliseconds(kPatience), {});
  if (batch) {  // somebody else can have sent it: it arrives as what it is, and the others behind it
    ASSERT_EQ(batch->size(), 1U);
    EXPECT_FALSE(batch->front().event);
    EXPECT_EQ(batch->front().unreadable_bytes, "{oops");
    EXPECT_THAT(batch->front().unreadable_reason, HasSubstr("JSON"));
    settle(*consumer, *batch);
    EXPECT_THAT(numbers(receive(*consumer, 1)), ElementsAre(2));
  } else {  // only events come in there, so that the store is damaged: nothing goes on as if it were not
    EXPECT_EQ(batch.error().code, ErrorCode::corruption) << batch.error().message;
    EXPECT_FALSE(consumer->receive(1, 0ms, {}));
  }
}

TEST_P(BusContract, RefusesOptionsThatNoBusCouldTake) {
  struct Case {
    bus::ConsumerOptions options;
    std::string_view message;
  };
  const Case cases[] = {
      {{.queue = "", .bindings = {"#"}}, "queue ''"},
      {{.queue = std::string(256, 'q'), .bindings = {"#"}}, "1 to 255 bytes"},
      {{.queue = "queue", .bindings = {}}, "queue queue: without a binding"},
      {{.queue = "queue", .bindings = {"#", std::string(256, 'b')}}, "longer than 255 bytes"},
  };
  for (const auto& [options, message] : cases) {
    const auto consumer = harness_->bus().consume(options);
    ASSERT_FALSE(consumer);
    EXPECT_EQ(consumer.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(consumer.error().message, HasSubstr(message));
  }
}

}  // namespace wfo::contract
