#include <gmock/gmock.h>

#include <future>

#include "bus/rabbitmq/tests/fixture.h"

namespace wfo::bus::rabbitmq {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RabbitConsumerTest : public RabbitTest {
 protected:
  std::uint32_t waiting(const std::string& name) { return client_.waiting(name).value_or(0); }

  PlainClient client_{server_.url()};
};

TEST_F(RabbitConsumerTest, HasNoMoreInHandThanItsPrefetch) {
  auto small = config();
  small.topology = {{.queue = queue("one"), .bindings = {"#"}, .prefetch = 3}};
  const auto bus = open(small);
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 7);
  auto batch = receive(*consumer, 3);
  EXPECT_TRUE(consumer->receive(10, 50ms, {})->empty());
  EXPECT_EQ(waiting(queue("one")), 4U);
  ASSERT_TRUE(consumer->acknowledge(batch));
  batch = receive(*consumer, 3);
  EXPECT_EQ(numbers(batch), range(4, 6));
}

TEST_F(RabbitConsumerTest, AcknowledgesNothingBeforeItIsTold) {
  const auto name = queue("one");
  {
    const auto bus = open();
    const auto consumer = consume(*bus, name);
    publish(*bus, 1, 5);
    receive(*consumer, 5);
  }
  ASSERT_TRUE(test::eventually([&] { return waiting(name) == 5; }));
}

TEST_F(RabbitConsumerTest, AcknowledgesExactlyWhatItIsToldInWhateverOrder) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 10);
  const auto batch = receive(*consumer, 10);
  const auto part = [&](std::vector<std::size_t> indexes) {
    std::vector<Delivery> some;
    for (const auto i : indexes) some.push_back(batch[i]);
    return some;
  };
  ASSERT_TRUE(consumer->acknowledge(part({4})));
  ASSERT_TRUE(consumer->acknowledge(part({0, 1})));
  ASSERT_TRUE(consumer->acknowledge(part({9, 3, 2, 7})));  // together with the fifth: the first five
  ASSERT_TRUE(consumer->acknowledge(part({0, 4})));        // again: no harm
  ASSERT_TRUE(consumer->release());
  EXPECT_THAT(numbers(receive(*consumer, 3)), ElementsAre(6, 7, 9));
}

TEST_F(RabbitConsumerTest, GivesWhatItReleasesToAnotherInOrder) {
  const auto bus = open();
  const auto other_bus = open();
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 20);
  receive(*consumer, 5);
  const auto other = consume(*other_bus, queue("one"));
  EXPECT_TRUE(other->receive(10, 50ms, {})->empty());
  ASSERT_TRUE(consumer->release());
  EXPECT_EQ(numbers(receive(*other, 20)), range(1, 20));
}

TEST_F(RabbitConsumerTest, GetsWhatItReleasedBeforeWhatItNeverHad) {
  auto small = config();
  small.topology = {{.queue = queue("one"), .bindings = {"#"}, .prefetch = 100}};
  const auto bus = open(small);
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 1'000);
  std::vector<int> got;
  while (got.size() < 950) {
    const auto batch = receive(*consumer, 50);  // of 100 that it has been sent
    const auto settled = std::span(batch).first(25);
    ASSERT_TRUE(consumer->acknowledge(settled));
    for (const auto number : numbers({settled.begin(), settled.end()})) got.push_back(number);
    ASSERT_TRUE(consumer->release());
  }
  EXPECT_EQ(got, range(1, 950));
}

TEST_F(RabbitConsumerTest, ConsumesNothingBetweenReleaseAndTheNextReceive) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  ASSERT_TRUE(consumer->release());
  publish(*bus, 1, 3);
  EXPECT_EQ(waiting(queue("one")), 3U);
  EXPECT_EQ(numbers(receive(*consumer, 3)), range(1, 3));
}

TEST_F(RabbitConsumerTest, NeverAcknowledgesOldTagsAfterARelease) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 3);
  const auto old = receive(*consumer, 3);
  ASSERT_TRUE(consumer->release());
  const auto again = receive(*consumer, 3);
  const auto acknowledged = consumer->acknowledge(old);
  ASSERT_FALSE(acknowledged);
  EXPECT_EQ(acknowledged.error().code, ErrorCode::unavailable);
  EXPECT_THAT(acknowledged.error().message, HasSubstr("these messages come again"));
  ASSERT_TRUE(consumer->release());
  EXPECT_EQ(numbers(receive(*consumer, 3)), range(1, 3));
}

TEST_F(RabbitConsumerTest, LeavesASingleActiveConsumerAlone) {
  auto single = config();
  single.topology = {{queue("one"), {"#"}, true}};
  const auto bus = open(single);
  const auto other_bus = open(single);
  auto active = consume(*bus, queue("one"));
  const auto idle = consume(*other_bus, queue("one"));
  publish(*bus, 1, 10);
  const auto batch = receive(*active, 10);
  EXPECT_EQ(numbers(batch), range(1, 10));
  EXPECT_TRUE(idle->receive(10, 50ms, {})->empty());
  ASSERT_TRUE(active->acknowledge(std::span(batch).first(4)));
  active.reset();
  EXPECT_EQ(numbers(receive(*idle, 6)), range(5, 10));
}

TEST_F(RabbitConsumerTest, DeclaresAQueueAgainThatWasDeletedUnderIt) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"), {"order.*"});
  publish(*bus, 1, 3);
  const auto batch = receive(*consumer, 3);
  capture_log();
  client_.delete_queue(queue("one"));
  const auto received = consumer->receive(10, 60s, {});
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::unavailable);
  EXPECT_THAT(received.error().message, AllOf(HasSubstr(queue("one")), HasSubstr("comes again")));
  EXPECT_FALSE(consumer->acknowledge(batch));
  ASSERT_TRUE(test::eventually([&] { return client_.waiting(queue("one")).has_value(); }));
  ASSERT_TRUE(test::eventually([&] { return consumer->receive(1, 10ms, {}).has_value(); }));
  EXPECT_THAT(logged(), HasSubstr("the broker has cancelled the consumer"));
  publish(*bus, 4, 5);
  EXPECT_THAT(numbers(receive(*consumer, 2)), ElementsAre(4, 5));
}

TEST_F(RabbitConsumerTest, GoesOnWhileAnotherIsCancelled) {
  const auto bus = open();
  const auto first = consume(*bus, queue("first"), {"a"});
  const auto second = consume(*bus, queue("second"), {"b"});
  client_.delete_queue(queue("first"));
  publish(*bus, 1, 2, "b");
  const auto batch = receive(*second, 2);
  EXPECT_EQ(numbers(batch), range(1, 2));
  EXPECT_TRUE(second->acknowledge(batch));
}

TEST_F(RabbitConsumerTest, SetsAsideWhateverIsNoEventAndGoesOnBehindIt) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  const std::vector<std::string> bad = {"not json", "{\"id\":", "{\"type\":\"\xC3\x28\"}",
                                        "",         "[]",       R"({"type":"workflow.job.trigger","data":{}})"};
  for (const auto& body : bad) client_.publish(exchange(), "order.placed", body);
  client_.publish("", queue("one"), "straight to the queue");
  publish(*bus, 1, 1);
  const auto batch = receive(*consumer, bad.size() + 2);
  for (std::size_t i = 0; i < bad.size(); ++i) {
    EXPECT_FALSE(batch[i].event);
    EXPECT_EQ(batch[i].unreadable_bytes, bad[i]);
    EXPECT_FALSE(batch[i].unreadable_reason.empty());
  }
  EXPECT_EQ(batch[bad.size()].unreadable_bytes, "straight to the queue");
  EXPECT_THAT(batch[bad.size()].headers, HasSubstr("\"routing_key\":\"" + queue("one") + "\""));
  EXPECT_EQ(batch.back().event->id(), samples::event_id(1));
  ASSERT_TRUE(consumer->acknowledge(batch));
  ASSERT_TRUE(consumer->release());
  EXPECT_TRUE(consumer->receive(10, 50ms, {})->empty());
}

TEST_F(RabbitConsumerTest, ReceivesTwentyMebibytesAndKeepsThem) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  const std::string body(20 * 1024 * 1024, 'x');
  client_.publish(exchange(), "order.placed", body);
  publish(*bus, 1, 1);
  const auto batch = receive(*consumer, 2);
  EXPECT_EQ(batch[0].unreadable_bytes, body);
  EXPECT_THAT(batch[0].unreadable_reason, HasSubstr("has 20971520 bytes; the limit event_bytes_max is 1048576"));
  EXPECT_TRUE(batch[1].event);
}

TEST_F(RabbitConsumerTest, KeepsOfALongerMessageAsMuchAsItMay) {
  auto small = config();
  small.body_bytes_max = 100'000;
  const auto bus = open(small);
  const auto consumer = consume(*bus, queue("one"));
  client_.publish(exchange(), "order.placed", std::string(300'000, 'x'));
  publish(*bus, 1, 1);
  const auto batch = receive(*consumer, 2);
  EXPECT_EQ(batch[0].unreadable_bytes, std::string(100'000, 'x'));
  EXPECT_THAT(batch[0].unreadable_reason, HasSubstr("a message of 300000 bytes, of which the first 100000 are kept"));
  EXPECT_TRUE(batch[1].event);
}

TEST_F(RabbitConsumerTest, HoldsNoMoreBytesThanItMayAndLosesNothing) {
  auto small = config();
  small.buffer_bytes_max = 50'000;
  const auto bus = open(small);
  const auto consumer = consume(*bus, queue("one"));
  const auto large = "{\"x\":\"" + std::string(10'000, 'x') + "\"}";
  std::vector<events::EventPtr> all;
  for (int i = 1; i <= 100; ++i) all.push_back(samples::event("order.placed", i, large));
  ASSERT_TRUE(bus->publisher().publish(all, 60s, {}));
  // The broker has sent all of it; what there was no room for is back with it.
  ASSERT_TRUE(test::eventually([&] { return waiting(queue("one")) >= 90; }));
  std::set<int> got;
  while (got.size() < 100) {
    const auto batch = receive(*consumer, 1);
    ASSERT_EQ(batch.size(), 1U);
    EXPECT_TRUE(got.insert(numbers(batch).front()).second) << "twice";
    ASSERT_TRUE(consumer->acknowledge(batch));
  }
  ASSERT_TRUE(consumer->release());
  EXPECT_EQ(waiting(queue("one")), 0U);
}

TEST_F(RabbitConsumerTest, TakesAMessageThatIsLargerThanItsBuffer) {
  auto small = config();
  small.buffer_bytes_max = 1'000;
  const auto bus = open(small);
  const auto consumer = consume(*bus, queue("one"));
  const auto large = "{\"x\":\"" + std::string(10'000, 'x') + "\"}";
  const auto sent = samples::event("order.placed", 1, large);
  ASSERT_TRUE(bus->publisher().publish({&sent, 1}, 60s, {}));
  EXPECT_EQ(numbers(receive(*consumer, 1)), range(1, 1));
}

TEST_F(RabbitConsumerTest, SurvivesHeadersOfOddTypes) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  amqp_table_entry_t inner[] = {{PlainClient::text("when"), {AMQP_FIELD_KIND_TIMESTAMP, {.u64 = 1'772'357'400}}}};
  amqp_field_value_t items[2];
  items[0].kind = AMQP_FIELD_KIND_VOID;
  items[1].kind = AMQP_FIELD_KIND_BYTES;
  items[1].value.bytes = PlainClient::text("\x01\x02");
  amqp_table_entry_t entries[4];
  for (auto& entry : entries) entry = {};
  entries[0].key = PlainClient::text("table");
  entries[0].value.kind = AMQP_FIELD_KIND_TABLE;
  entries[0].value.value.table = {1, inner};
  entries[1].key = PlainClient::text("array");
  entries[1].value.kind = AMQP_FIELD_KIND_ARRAY;
  entries[1].value.value.array = {2, items};
  entries[2].key = PlainClient::text("float");
  entries[2].value.kind = AMQP_FIELD_KIND_F64;
  entries[2].value.value.f64 = 0.25;
  entries[3].key = PlainClient::text("big");
  entries[3].value.kind = AMQP_FIELD_KIND_I64;
  entries[3].value.value.i64 = -9'007'199'254'740'993;
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_HEADERS_FLAG;
  properties.headers = {4, entries};
  client_.publish(exchange(), "order.placed", samples::event_text("order.placed", 1), properties);
  const auto batch = receive(*consumer, 1);
  ASSERT_TRUE(batch[0].event) << batch[0].unreadable_reason;
  EXPECT_THAT(batch[0].headers, HasSubstr(R"("headers":{"table":{"when":"2026-03-01T09:30:00.000Z"},)"
                                          R"("array":[null,{"hex":"0102"}],"float":0.25,"big":-9007199254740993})"));
}

TEST_F(RabbitConsumerTest, CountsWhatItReceived) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 7);
  receive(*consumer, 7);
  EXPECT_EQ(metric("rabbitmq_messages_consumed_total{queue=\"" + queue("one") + "\"}"), "7");
}

TEST_F(RabbitConsumerTest, KeepsUpWithManyConsumersOnOneConnection) {
  const auto bus = open();
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (int i = 0; i < 5; ++i) consumers.push_back(consume(*bus, queue(std::to_string(i)), {"#"}));
  std::vector<std::future<std::vector<int>>> got;
  for (auto& consumer : consumers) {
    got.push_back(std::async(std::launch::async, [&consumer] {
      std::vector<int> all;
      while (all.size() < 1'000) {
        const auto batch = consumer->receive(64, 60s, {});
        if (!batch || batch->empty() || !consumer->acknowledge(*batch)) break;
        for (const auto number : numbers(*batch)) all.push_back(number);
      }
      return all;
    }));
  }
  publish(*bus, 1, 1'000);
  for (auto& each : got) EXPECT_EQ(each.get(), range(1, 1'000));
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
