#include <gmock/gmock.h>

#include "bus/rabbitmq/tests/fixture.h"

namespace wfo::bus::rabbitmq {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RabbitTopologyTest : public RabbitTest {
 protected:
  /// What the server says of a queue: `arguments` and the like.
  std::string arguments(const std::string& queue) const {
    const auto all = server_.rabbitmqctl({"list_queues", "name", "type", "durable", "arguments"});
    const auto at = all.find(queue + "\t");
    return at == std::string::npos ? "" : all.substr(at, all.find('\n', at) - at);
  }
};

TEST_F(RabbitTopologyTest, DeclaresAllQueuesWithTheirNetsBeforeAnybodyConsumes) {
  auto wanted = config();
  wanted.topology = {{queue("one"), {"order.*", "bill.#"}}, {queue("two"), {"order.paid"}, true}};
  const auto bus = open(wanted);
  for (const auto& name : {queue("one"), queue("two")}) {
    EXPECT_THAT(
        arguments(name),
        AllOf(HasSubstr("quorum\ttrue"), HasSubstr("\"x-dead-letter-exchange\",\"" + exchange() + ".dlx\""),
              HasSubstr("\"x-dead-letter-strategy\",\"at-least-once\""), HasSubstr("\"x-overflow\",\"reject-publish\""),
              HasSubstr("\"x-dead-letter-routing-key\",\"" + name + "\""), Not(HasSubstr("delivery-limit"))));
    EXPECT_THAT(arguments(name + ".dlq"), HasSubstr("quorum\ttrue"));
  }
  EXPECT_THAT(arguments(queue("one")), Not(HasSubstr("single-active")));
  EXPECT_THAT(arguments(queue("two")), HasSubstr("\"x-single-active-consumer\",true"));
  publish(*bus, 1, 1, "order.paid");
  publish(*bus, 2, 2, "bill.a.b");
  PlainClient client(server_.url());
  EXPECT_EQ(client.waiting(queue("one")), 2U);
  EXPECT_EQ(client.waiting(queue("two")), 1U);
}

TEST_F(RabbitTopologyTest, IsTheSameForWhoComesLater) {
  auto wanted = config();
  wanted.topology = {{queue("one"), {"order.*"}}};
  capture_log();
  open(wanted);
  open(wanted);
  EXPECT_THAT(logged(), Not(HasSubstr("other arguments")));
}

TEST_F(RabbitTopologyTest, UsesAQueueThatExistsWithOtherArgumentsAfterOneLine) {
  PlainClient client(server_.url());
  client.declare_queue(queue("theirs"));
  auto wanted = config();
  wanted.topology = {{queue("theirs"), {"order.*"}}};
  capture_log();
  const auto bus = open(wanted);
  const auto consumer = consume(*bus, queue("theirs"), {"order.*"});
  publish(*bus, 1, 3);
  const auto batch = receive(*consumer, 3);
  const auto log = logged();
  EXPECT_EQ(numbers(batch), range(1, 3));
  EXPECT_TRUE(consumer->acknowledge(batch));
  EXPECT_EQ(count_of("'" + queue("theirs") + "' exists with other arguments than ours and is used as it is", log), 1)
      << log;
  EXPECT_THAT(log, HasSubstr("inequivalent arg"));
}

TEST_F(RabbitTopologyTest, LetsOthersDeclareAPlainQueueAfterIt) {
  auto wanted = config();
  wanted.topology = {{.queue = queue("theirs"), .bindings = {"order.*"}, .plain = true, .prefetch = 1}};
  const auto bus = open(wanted);
  PlainClient client(server_.url());
  client.declare_queue(queue("theirs"));  // throws if it had arguments
  publish(*bus, 1, 2);
  EXPECT_EQ(client.waiting(queue("theirs")), 2U);
  EXPECT_EQ(client.waiting(queue("theirs") + ".dlq"), std::nullopt) << "the net of a queue that drops nothing";
}

TEST_F(RabbitTopologyTest, UsesAnExchangeThatHasAnAlternate) {
  PlainClient client(server_.url());
  client.declare_exchange(exchange(), "topic", exchange() + ".unrouted");
  capture_log();
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 1);
  EXPECT_THAT(logged(), HasSubstr("exchange '" + exchange() + "' exists with other arguments"));
  EXPECT_EQ(numbers(receive(*consumer, 1)), range(1, 1));
}

TEST_F(RabbitTopologyTest, GoesOnWithoutAQueueThatCannotBeDeclaredAnyMore) {
  auto wanted = config();
  wanted.topology = {{queue("held"), {"order.placed"}}, {queue("free"), {"order.*"}}};
  const auto first = open(wanted);
  PlainClient client(server_.url());
  client.delete_queue(queue("held"));
  client.declare_queue(queue("held"), true);  // now it is another connection's alone
  capture_log();
  publish(*first, 1, 1);  // connects for publishing, and so declares all once more
  EXPECT_THAT(logged(), HasSubstr("another connection holds it for itself"));
  const auto consumer = consume(*first, queue("free"), {"order.*"});
  EXPECT_EQ(numbers(receive(*consumer, 1)), range(1, 1));
  const auto second = try_open(wanted);
  ASSERT_FALSE(second) << "at first it is for somebody to mend";
}

TEST_F(RabbitTopologyTest, RefusesAnExchangeOfAnotherType) {
  PlainClient client(server_.url());
  client.declare_exchange(exchange(), "direct");
  const auto bus = try_open(config());
  ASSERT_FALSE(bus);
  EXPECT_EQ(bus.error().code, ErrorCode::unavailable);
  EXPECT_THAT(bus.error().message,
              AllOf(HasSubstr("exchange '" + exchange() + "' exists, but is not the durable topic exchange"),
                    HasSubstr("delete it, or set another name")));
}

TEST_F(RabbitTopologyTest, SaysWhichPermissionIsMissing) {
  auto reader = config();
  reader.url = server_.reader_url();
  {
    const auto bus = try_open(reader);
    ASSERT_FALSE(bus);
    EXPECT_EQ(bus.error().code, ErrorCode::unavailable);
    EXPECT_THAT(bus.error().message,
                AllOf(HasSubstr("exchange '" + exchange() + "': permission missing: user 'wfo_reader' needs configure"),
                      HasSubstr("rabbitmqctl set_permissions")));
  }
  open();  // makes the exchanges
  reader.topology = {{queue("new"), {"#"}}};
  const auto bus = try_open(reader);
  ASSERT_FALSE(bus);
  EXPECT_THAT(bus.error().message, HasSubstr("queue '" + queue("new") + ".dlq': permission missing"));
}

TEST_F(RabbitTopologyTest, NeedsNoPermissionToConfigureWhereAnAdministratorHasMadeEverything) {
  auto made = config();
  made.topology = {{queue("made"), {"#"}}};
  open(made);
  // Binding needs more than the reader may.
  auto reader = made;
  reader.url = server_.reader_url();
  const auto bus = try_open(reader);
  ASSERT_FALSE(bus);
  EXPECT_THAT(bus.error().message, AllOf(HasSubstr("binding of queue '" + queue("made")),
                                         HasSubstr("write on the queue and read on the exchange")));
  reader.topology.clear();
  EXPECT_TRUE(try_open(reader));
}

TEST_F(RabbitTopologyTest, RefusesAQueueThatAnotherConnectionHoldsForItself) {
  PlainClient client(server_.url());
  client.declare_queue(queue("held"), true);
  const auto bus = open();
  const auto consumer = bus->consume({.queue = queue("held"), .bindings = {"#"}});
  ASSERT_FALSE(consumer);
  EXPECT_EQ(consumer.error().code, ErrorCode::unavailable);
  EXPECT_THAT(consumer.error().message, HasSubstr("another connection holds it for itself"));
}

TEST_F(RabbitTopologyTest, CatchesInTheNetWhatTheBrokerWouldDrop) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  ASSERT_TRUE(consumer->release());
  publish(*bus, 1, 1);
  PlainClient client(server_.url());
  const auto got = client.get(queue("one"), true);
  ASSERT_TRUE(got);
  client.reject(*got);
  const auto net = consume(*bus, queue("one") + ".dlq", {queue("one")});
  const auto batch = receive(*net, 1);
  EXPECT_EQ(numbers(batch), range(1, 1));
  const auto headers = json::Document::parse(batch.at(0).headers);
  ASSERT_TRUE(headers);
  const auto deaths = headers->root().find("headers", "x-death");
  ASSERT_TRUE(deaths) << batch.at(0).headers;
  EXPECT_TRUE((*deaths->elements().begin()).find("reason")->equals("rejected"));
  EXPECT_TRUE(net->acknowledge(batch));
}

TEST_F(RabbitTopologyTest, RefusesANetWithAnyOtherBinding) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"));
  const auto net = bus->consume({.queue = queue("one") + ".dlq", .bindings = {"#"}});
  ASSERT_FALSE(net);
  EXPECT_EQ(net.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(net.error().message, HasSubstr("its one binding must be '" + queue("one") + "'"));
}

TEST_F(RabbitTopologyTest, RefusesAQueueWhoseNetCouldHaveNoName) {
  const auto consumer = open()->consume({.queue = std::string(252, 'q'), .bindings = {"#"}});
  ASSERT_FALSE(consumer);
  EXPECT_EQ(consumer.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(consumer.error().message, HasSubstr("longer than 251 bytes"));
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
