#include <gmock/gmock.h>

#include <algorithm>
#include <future>

#include "base/digest.h"
#include "bus/rabbitmq/tests/fixture.h"

namespace wfo::bus::rabbitmq {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class RabbitPublisherTest : public RabbitTest {
 protected:
  PlainClient client_{server_.url()};
};

TEST_F(RabbitPublisherTest, SendsTheBytesAsTheyAreWithThePropertiesOfTheDesign) {
  const auto bus = open();
  client_.declare_queue(queue("theirs"));
  client_.bind(queue("theirs"), exchange(), "#");
  const auto event = samples::read(
      R"({"id":"0190b1a0-0000-7000-8000-000000000001","type":"workflow.job.trigger","version":"1.0.0",)"
      R"("timestamp":"2026-03-01T09:30:00.250Z","tenantId":"00000000-0000-0000-0000-000000000001",)"
      R"("source":"workflow-orchestrator","data":{"job":"j","metadata":{ "n" : 1.10 },"triggeredBy":"manual",)"
      R"("timestamp":"2026-03-01T09:30:00Z"},"metadata":{"correlationId":"c-1","traceparent":"00-1-2-01"}})");
  const auto outcomes = bus->publisher().publish({&event, 1}, 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, ElementsAre(Published::confirmed));
  const auto got = client_.get(queue("theirs"));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body, event->bytes());
  EXPECT_EQ(got->routing_key, "workflow.job.trigger");
  EXPECT_EQ(got->properties.delivery_mode, 2);
  EXPECT_EQ(got->properties.timestamp, 1'772'357'400U);
  EXPECT_EQ(got->content_type, "application/json");
  EXPECT_EQ(got->message_id, event->id().to_string());
  EXPECT_EQ(got->correlation_id, "c-1");
  EXPECT_EQ(got->type, "workflow.job.trigger");
  EXPECT_EQ(got->app_id, "workflow-orchestrator");
  const auto digest = to_hex(sha256(*samples::contracts().schema_text("workflow.job.trigger")));
  EXPECT_THAT(got->headers,
              ElementsAre(Pair("tenantId", "00000000-0000-0000-0000-000000000001"), Pair("version", "1.0.0"),
                          Pair("traceparent", "00-1-2-01"), Pair("x-schema", "workflow.job.trigger;sha256=" + digest)));
}

TEST_F(RabbitPublisherTest, LeavesOutWhatNoPropertyCanHold) {
  const auto bus = open();
  client_.declare_queue(queue("theirs"));
  client_.bind(queue("theirs"), exchange(), "#");
  const auto event = samples::read(R"({"id":"0190b1a0-0000-7000-8000-000000000001","type":"order.placed","tenantId":)"
                                   R"("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01","source":")" +
                                   std::string(300, 's') + R"(","version":")" + std::string(300, 'v') +
                                   R"(","timestamp":"1960-01-01T00:00:00Z"})");
  ASSERT_TRUE(bus->publisher().publish({&event, 1}, 60s, {}));
  const auto got = client_.get(queue("theirs"));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body, event->bytes());
  EXPECT_EQ(got->app_id, "");
  EXPECT_EQ(got->properties.timestamp, 0U);
  EXPECT_THAT(got->headers, ElementsAre(Pair("tenantId", testing::_)));
}

TEST_F(RabbitPublisherTest, LearnsWhatNoQueueWantedThoughSomebodyConsumesIt) {
  const auto bus = open();
  const auto consumer = consume(*bus, queue("one"), {"order.*"});
  publish(*bus, 0, 0);  // connects, and so declares once more
  client_.unbind(queue("one"), exchange(), "order.*");
  const std::vector<events::EventPtr> batch = {samples::event("order.placed", 1), samples::event("bill.paid", 2),
                                               samples::event("order.paid", 3)};
  auto outcomes = bus->publisher().publish(batch, 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, ElementsAre(Published::returned, Published::confirmed, Published::returned))
      << "nobody here consumes bills";
  EXPECT_EQ(metric("rabbitmq_messages_returned_total"), "2");
  EXPECT_EQ(metric("rabbitmq_messages_published_total"), "2");

  client_.bind(queue("one"), exchange(), "order.placed");
  outcomes = bus->publisher().publish(batch, 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, ElementsAre(Published::confirmed, Published::confirmed, testing::_));

  // What comes back makes the topology be declared again, in case somebody has deleted a part of it.
  EXPECT_TRUE(test::eventually([&] {
    outcomes = bus->publisher().publish(batch, 60s, {});
    return outcomes && outcomes->back() == Published::confirmed;
  }));
}

TEST_F(RabbitPublisherTest, SaysAtOnceThatTheBrokerIsAway) {
  test::TcpProxy proxy(server_.port());
  auto cut = config();
  cut.url = through(proxy, server_.url());
  const auto bus = open(cut);
  publish(*bus, 1, 1);
  proxy.turn_away();
  proxy.cut();
  EXPECT_TRUE(test::eventually([&] {
    const auto outcomes = bus->publisher().publish(events(2, 2), 1h, {});
    return !outcomes && outcomes.error().code == ErrorCode::unavailable;
  }));
}

TEST_F(RabbitPublisherTest, TellsTheReturnedFromOthersInALargeBatch) {
  auto mine = config();
  mine.topology = {{queue("one"), {"#"}}};
  const auto bus = open(mine);
  publish(*bus, 0, 0);  // connects, and so declares once more
  client_.unbind(queue("one"), exchange(), "#");
  client_.bind(queue("one"), exchange(), "kept");
  std::vector<events::EventPtr> batch;
  for (int i = 0; i < 2'000; ++i) batch.push_back(samples::event(i % 7 == 0 ? "lost" : "kept", i));
  const auto outcomes = bus->publisher().publish(batch, 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_EQ((*outcomes)[static_cast<std::size_t>(i)], i % 7 == 0 ? Published::returned : Published::confirmed) << i;
  }
}

TEST_F(RabbitPublisherTest, SaysWhatTheBrokerRefused) {
  const auto bus = open();
  amqp_table_entry_t arguments[2];
  for (auto& entry : arguments) entry = {};
  arguments[0].key = PlainClient::text("x-max-length");
  arguments[0].value.kind = AMQP_FIELD_KIND_I32;
  arguments[0].value.value.i32 = 2;
  arguments[1].key = PlainClient::text("x-overflow");
  arguments[1].value.kind = AMQP_FIELD_KIND_UTF8;
  arguments[1].value.value.bytes = PlainClient::text("reject-publish");
  client_.declare_queue(queue("full"), false, {2, arguments});
  client_.bind(queue("full"), exchange(), "#");
  ASSERT_TRUE(bus->publisher().publish(events(1, 2), 60s, {}));
  // The queue says that it is full only after it has become so.
  const auto outcomes = bus->publisher().publish(events(3, 4), 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, Each(Published::unconfirmed));
  EXPECT_EQ(metric("rabbitmq_messages_nacked_total"), "2");
}

TEST_F(RabbitPublisherTest, HasNoMoreUnderWayThanItsWindow) {
  test::TcpProxy proxy(server_.port());
  auto small = config();
  small.url = through(proxy, server_.url());
  small.confirm_window = 10;
  const auto bus = open(small);
  client_.declare_queue(queue("theirs"));
  client_.bind(queue("theirs"), exchange(), "#");
  publish(*bus, 1, 35);
  EXPECT_EQ(client_.waiting(queue("theirs")), 35U);

  proxy.stall_answers();
  const auto outcomes = bus->publisher().publish(events(36, 60), 300ms, {});
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable);
  EXPECT_THAT(outcomes.error().message,
              AllOf(HasSubstr("neither confirms nor takes"), HasSubstr("10 are on their way")));
  EXPECT_EQ(metric("rabbitmq_confirm_window_used"), "10");
  ASSERT_TRUE(test::eventually([&] { return client_.waiting(queue("theirs")) == 45U; }));
  proxy.resume();
  publish(*bus, 46, 50);
  EXPECT_EQ(client_.waiting(queue("theirs")), 50U) << "what was given up unsent stays unsent";
}

TEST_F(RabbitPublisherTest, KnowsNothingOfWhatIsNotConfirmedInTime) {
  test::TcpProxy proxy(server_.port());
  auto cut = config();
  cut.url = through(proxy, server_.url());
  const auto bus = open(cut);
  publish(*bus, 1, 1);
  proxy.stall_answers();
  const auto outcomes = bus->publisher().publish(events(2, 4), 100ms, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, Each(Published::unconfirmed));
}

TEST_F(RabbitPublisherTest, SaysThatTheConnectionWasCutBetweenPublishAndConfirmAndGoesOn) {
  test::TcpProxy proxy(server_.port());
  auto cut = config();
  cut.url = through(proxy, server_.url());
  const auto bus = open(cut);
  client_.declare_queue(queue("theirs"));
  client_.bind(queue("theirs"), exchange(), "#");
  publish(*bus, 1, 1);
  proxy.stall_answers();
  auto published = std::async(std::launch::async, [&] { return bus->publisher().publish(events(2, 4), 60s, {}); });
  ASSERT_TRUE(test::eventually([&] { return client_.waiting(queue("theirs")) == 4U; }));
  proxy.cut();
  proxy.resume();
  const auto outcomes = published.get();
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable);
  EXPECT_THAT(outcomes.error().message, HasSubstr("what was sent may have arrived"));
  publish(*bus, 2, 4);
  EXPECT_EQ(client_.waiting(queue("theirs")), 7U) << "twice, with the same ids";
  EXPECT_EQ(metric("rabbitmq_reconnects_total{connection=\"publishing\"}"), "1");
}

TEST_F(RabbitPublisherTest, MakesAnExchangeAgainThatWasDeletedUnderIt) {
  auto mine = config();
  mine.topology = {{queue("one"), {"#"}}};
  const auto bus = open(mine);
  publish(*bus, 1, 1);
  client_.delete_exchange(exchange());
  const auto outcomes = bus->publisher().publish(events(2, 2), 60s, {});
  ASSERT_FALSE(outcomes);
  EXPECT_THAT(outcomes.error().message, HasSubstr("no exchange"));
  publish(*bus, 2, 3);
  EXPECT_EQ(client_.waiting(queue("one")), 3U);
}

TEST_F(RabbitPublisherTest, ReturnsOnStop) {
  test::TcpProxy proxy(server_.port());
  auto stalled = config();
  stalled.url = through(proxy, server_.url());
  const auto bus = open(stalled);
  publish(*bus, 1, 1);
  proxy.stall_answers();
  std::stop_source source;
  auto published =
      std::async(std::launch::async, [&] { return bus->publisher().publish(events(2, 3), 1h, source.get_token()); });
  source.request_stop();
  ASSERT_EQ(published.wait_for(test::kPatience), std::future_status::ready);
  const auto outcomes = published.get();
  ASSERT_TRUE(outcomes);
  EXPECT_THAT(*outcomes, Each(testing::AnyOf(Published::unconfirmed, Published::unsent)));
}

TEST_F(RabbitPublisherTest, PublishesNothingForNothing) {
  const auto outcomes = open()->publisher().publish({}, 1s, {});
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE(outcomes->empty());
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
