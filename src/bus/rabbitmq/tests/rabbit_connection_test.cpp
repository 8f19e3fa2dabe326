#include <gmock/gmock.h>

#include <future>

#include "bus/rabbitmq/tests/fixture.h"

namespace wfo::bus::rabbitmq {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

/// `url` with something else between `//` and `@`.
std::string with_login(const std::string& url, std::string_view login) {
  const auto begin = url.find("//") + 2;
  return url.substr(0, begin) + std::string(login) + url.substr(url.find('@'));
}

std::string password_of(const std::string& url) {
  const auto begin = url.find(':', url.find("//")) + 1;
  return url.substr(begin, url.find('@') - begin);
}

class RabbitRefusalTest : public RabbitTest {
 protected:
  /// What `open` says, which must be an error that somebody has to mend.
  std::string refusal(const RabbitConfig& config) {
    capture_log();
    const auto bus = try_open(config);
    const auto log = logged();
    EXPECT_FALSE(bus);
    if (bus) return "";
    EXPECT_EQ(bus.error().code, ErrorCode::unavailable);
    for (const auto& secret : {password_of(server_.url()), std::string("s3cret")}) {
      EXPECT_THAT(bus.error().message, Not(HasSubstr(secret)));
      EXPECT_THAT(log, Not(HasSubstr(secret)));
    }
    return bus.error().message;
  }
  RabbitConfig with_url(std::string url) {
    auto changed = config();
    changed.url = std::move(url);
    return changed;
  }
  /// With TLS, and the authority that signed the server's certificate.
  RabbitConfig tls() {
    auto changed = with_url(server_.tls_url());
    changed.tls.ca_file = server_.value("DEV_TLS_CA");
    return changed;
  }
};

TEST_F(RabbitRefusalTest, SaysThatTheLoginIsRefused) {
  EXPECT_THAT(refusal(with_url(with_login(server_.url(), "wfo:s3cret"))),
              AllOf(HasSubstr("login refused for user 'wfo'"), HasSubstr("check user and password in the URL"),
                    HasSubstr("rabbitmqctl add_user"), HasSubstr("127.0.0.1:")));
  EXPECT_THAT(refusal(with_url(with_login(server_.url(), "nobody:s3cret"))),
              HasSubstr("login refused for user 'nobody'"));
}

TEST_F(RabbitRefusalTest, SaysThatTheVhostIsUnknownOrForbidden) {
  const auto url = server_.url();
  EXPECT_THAT(refusal(with_url(url.substr(0, url.rfind('/')) + "/nowhere")),
              AllOf(HasSubstr("vhost 'nowhere' refused for user 'wfo'"), HasSubstr("rabbitmqctl add_vhost")));
  EXPECT_THAT(refusal(with_url(server_.nobody_url())),
              AllOf(HasSubstr("vhost '/' refused for user 'wfo_nobody'"), HasSubstr("set_permissions")));
}

TEST_F(RabbitRefusalTest, SaysThatTheHostIsUnknown) {
  EXPECT_THAT(refusal(with_url("amqp://u:s3cret@no-such-host.invalid")),
              AllOf(HasSubstr("the host 'no-such-host.invalid' is unknown"), HasSubstr("mend the host in the URL")));
}

TEST_F(RabbitRefusalTest, SaysThatSomethingElseAnswersThere) {
  // The port of TLS, without: the server answers with a TLS alert.
  auto plain = server_.tls_url();
  plain.replace(0, 5, "amqp");
  EXPECT_THAT(refusal(with_url(plain)), AllOf(HasSubstr("does not speak AMQP"), HasSubstr("amqps://")));
}

TEST_F(RabbitRefusalTest, SaysWhatIsWrongWithTls) {
  auto other = tls();
  other.tls.ca_file = server_.value("DEV_TLS_OTHER_CA");
  EXPECT_THAT(refusal(other), AllOf(HasSubstr("is not trusted"), HasSubstr("cacertfile")));

  auto system = tls();
  system.tls.ca_file = "";
  EXPECT_THAT(refusal(system), HasSubstr("is not trusted"));

  auto name = tls();
  name.url += "?server_name_indication=elsewhere.example";
  EXPECT_THAT(refusal(name), AllOf(HasSubstr("is not trusted"), HasSubstr("elsewhere.example")));

  auto missing = tls();
  missing.tls.ca_file = "/nowhere/ca.pem";
  EXPECT_THAT(refusal(missing), HasSubstr("the CA file '/nowhere/ca.pem' cannot be used"));

  auto key = tls();
  key.tls.certificate_file = server_.value("DEV_TLS_CLIENT_CERTIFICATE");
  key.tls.key_file = "/nowhere/key.pem";
  EXPECT_THAT(refusal(key), HasSubstr("the key file '/nowhere/key.pem' cannot be used"));

  auto plain = server_.url();
  plain.replace(0, 4, "amqps");
  EXPECT_THAT(refusal(with_url(plain)), AllOf(HasSubstr("TLS: the handshake failed"), HasSubstr("TLS port")));
}

TEST_F(RabbitRefusalTest, RefusesAUrlThatIsNone) {
  const auto bus = try_open(with_url("amqp://wfo:s3cret@host:port"));
  ASSERT_FALSE(bus);
  EXPECT_EQ(bus.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(bus.error().message, Not(HasSubstr("s3cret")));
}

TEST_F(RabbitRefusalTest, WorksOverTlsWithAClientCertificate) {
  auto certified = tls();
  certified.tls.certificate_file = server_.value("DEV_TLS_CLIENT_CERTIFICATE");
  certified.tls.key_file = server_.value("DEV_TLS_CLIENT_KEY");
  const auto bus = open(certified);
  const auto consumer = consume(*bus, queue("one"));
  std::vector<events::EventPtr> large;
  const auto text = "{\"x\":\"" + std::string(200'000, 'x') + "\"}";
  for (int i = 1; i <= 50; ++i) large.push_back(samples::event("order.placed", i, text));
  const auto outcomes = bus->publisher().publish(large, 60s, {});
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_THAT(*outcomes, Each(Published::confirmed));
  const auto batch = receive(*consumer, 50);
  EXPECT_EQ(numbers(batch), range(1, 50));
  for (std::size_t i = 0; i < 50; ++i) ASSERT_EQ(batch[i].event->bytes(), large[i]->bytes());
  EXPECT_TRUE(consumer->acknowledge(batch));
}

TEST_F(RabbitRefusalTest, BelievesAnybodyIfItIsToldTo) {
  auto blind = with_url(server_.tls_url() + "?verify=verify_none");
  EXPECT_TRUE(try_open(blind));
  auto unnamed = tls();
  unnamed.url += "?server_name_indication=elsewhere.example";
  unnamed.tls.verify_hostname = false;
  EXPECT_TRUE(try_open(unnamed));
}

/// Links that fail, to the server of all tests.
class RabbitLinkTest : public RabbitTest {
 protected:
  RabbitConfig config_through_proxy() {
    auto changed = config();
    changed.url = through(proxy_, server_.url());
    return changed;
  }

  test::TcpProxy proxy_{server_.port()};
};

TEST_F(RabbitLinkTest, RebuildsEverythingAfterACutAndBringsWhatWasInHandAgainInOrder) {
  const auto bus = open(config_through_proxy());
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 50);
  const auto old = receive(*consumer, 20);
  capture_log();
  proxy_.cut();
  ASSERT_TRUE(test::eventually([&] {
    const auto received = consumer->receive(10, 100ms, {});
    return !received && received.error().code == ErrorCode::unavailable;
  })) << "it must hear that what is in hand comes again";
  EXPECT_FALSE(consumer->acknowledge(old)) << "its tags have died with the channel";
  EXPECT_EQ(numbers(receive(*consumer, 50)), range(1, 50));
  const auto log = logged();
  EXPECT_THAT(log, AllOf(HasSubstr("consuming: "), HasSubstr("trying again"), HasSubstr("connected to RabbitMQ 3.")));
  EXPECT_THAT(log, Not(HasSubstr(password_of(server_.url()))));
  EXPECT_EQ(metric("rabbitmq_reconnects_total{connection=\"consuming\"}"), "1");
}

TEST_F(RabbitLinkTest, SaysWhyWhileTheBrokerIsAwayAndGoesOnWhenItIsBack) {
  const auto bus = open(config_through_proxy());
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 2);
  EXPECT_EQ(bus->consuming_trouble(), "");
  EXPECT_EQ(bus->publishing_trouble(), "");
  EXPECT_EQ(metric("rabbitmq_connected{connection=\"consuming\"}"), "1");
  proxy_.turn_away();
  ASSERT_TRUE(
      test::eventually([&] { return !bus->consuming_trouble().empty() && !bus->publishing_trouble().empty(); }));
  EXPECT_THAT(bus->consuming_trouble(), HasSubstr("RabbitMQ at 127.0.0.1:"));
  const auto received = consumer->receive(10, 10ms, {});
  ASSERT_FALSE(received);
  EXPECT_THAT(received.error().message, HasSubstr("RabbitMQ at 127.0.0.1:"));
  const auto outcomes = bus->publisher().publish(events(3, 4), 10ms, {});
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(consumer->release()) << "there is nothing to give back";
  const auto later = bus->consume({.queue = queue("two"), .bindings = {"#"}});
  ASSERT_TRUE(later) << "one can begin to consume before the broker is there";
  EXPECT_FALSE((*later)->receive(1, 10ms, {}));
  proxy_.admit();
  EXPECT_EQ(numbers(receive(*consumer, 2)), range(1, 2));
  ASSERT_TRUE(test::eventually([&] { return bus->publishing_trouble().empty(); }));
  ASSERT_TRUE(test::eventually([&] { return (*later)->receive(1, 10ms, {}).has_value(); }));
  publish(*bus, 5, 6);
  EXPECT_EQ(numbers(receive(**later, 2)), range(5, 6));
}

TEST_F(RabbitLinkTest, OpensWithoutABrokerAndConnectsWhenItComes) {
  proxy_.turn_away();
  capture_log();
  const auto bus = open(config_through_proxy());
  const auto consumer = consume(*bus, queue("one"));
  const auto received = consumer->receive(10, 100ms, {});
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::unavailable);
  proxy_.admit();
  publish(*bus, 1, 3);
  ASSERT_TRUE(test::eventually([&] { return consumer->receive(1, 10ms, {}).has_value(); }));
  publish(*bus, 4, 4);
  ASSERT_TRUE(test::eventually([&] { return bus->consuming_trouble().empty(); }));
  const auto log = logged();
  EXPECT_LE(count_of("consuming: ", log), 4) << "not a line a try: " << log;
}

TEST_F(RabbitLinkTest, NoticesAPeerThatIsSilent) {
  auto short_lived = config_through_proxy();
  short_lived.heartbeat = 1s;
  const auto bus = open(short_lived);
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 3);
  receive(*consumer, 3);
  proxy_.stall();
  ASSERT_TRUE(test::eventually([&] { return !bus->consuming_trouble().empty(); }));
  EXPECT_THAT(bus->consuming_trouble(), HasSubstr("the broker was silent for 2 s, longer than two heartbeats"));
  proxy_.cut();
  proxy_.resume();
  EXPECT_EQ(numbers(receive(*consumer, 3)), range(1, 3));
}

TEST_F(RabbitLinkTest, KeepsTheConnectionWhileNobodyReceives) {
  auto short_lived = config_through_proxy();
  short_lived.heartbeat = 1s;
  const auto bus = open(short_lived);
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 3);
  const auto batch = receive(*consumer, 3);
  // The broker ends a connection that is silent for two heartbeats; a peer that keeps them lives longer.
  const auto until = std::chrono::steady_clock::now() + 4s;
  ASSERT_TRUE(test::eventually([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(bus->consuming_trouble(), "");
  EXPECT_TRUE(consumer->acknowledge(batch));
  EXPECT_EQ(proxy_.accepted(), 2) << "one connection each, the first ones";
}

TEST_F(RabbitLinkTest, EndsSoonAlsoWithAPeerThatIsSilent) {
  auto bus = open(config_through_proxy());
  auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 1);
  proxy_.stall();
  const auto begin = std::chrono::steady_clock::now();
  consumer.reset();
  bus.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s) << "less than it takes to notice by heartbeats";
}

/// Faults of the server itself: one of its own.
class RabbitServerTest : public RabbitTest {
 protected:
  RabbitServerTest() : RabbitTest(own()) {}
  static test::RabbitServer& own() {
    static test::RabbitServer server;
    return server;
  }
};

TEST_F(RabbitServerTest, GoesOnAfterTheServerWasKilledAndLosesNothing) {
  auto mine = config();
  mine.topology = {{queue("one"), {"#"}}};
  const auto bus = open(mine);
  const auto consumer = consume(*bus, queue("one"));
  // Of a queue that is only seconds old the server may forget with a kill that it leads it, and then waits for another
  // to do so, for ever (RabbitMQ 3.10). A stop in good order lets it note that.
  server_.stop();
  server_.start();
  publish(*bus, 1, 100);
  const auto first = receive(*consumer, 30);
  ASSERT_TRUE(consumer->acknowledge(std::span(first).first(10)));
  server_.kill();
  ASSERT_TRUE(test::eventually([&] { return !bus->consuming_trouble().empty(); }));
  const auto outcomes = bus->publisher().publish(events(101, 101), 10ms, {});
  ASSERT_FALSE(outcomes);
  EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable);
  server_.start();
  ASSERT_TRUE(test::eventually([&] { return bus->publishing_trouble().empty(); }));
  publish(*bus, 101, 110);
  // The first ten were acknowledged, but perhaps not yet noted when it died.
  std::vector<int> got;
  while (got.empty() || got.back() != 110) {
    const auto batch = receive(*consumer, 1);
    ASSERT_EQ(batch.size(), 1U);
    ASSERT_TRUE(consumer->acknowledge(batch));
    got.push_back(numbers(batch).front());
  }
  const auto eleventh = std::ranges::find(got, 11);
  EXPECT_EQ(std::vector<int>(eleventh, got.end()), range(11, 110));
}

TEST_F(RabbitServerTest, WaitsWhileTheServerLetsNobodyPublishAndLosesNothing) {
  auto mine = config();
  mine.topology = {{queue("one"), {"#"}}};
  const auto bus = open(mine);
  publish(*bus, 1, 5);
  server_.block_publishers(true);
  const auto outcomes = bus->publisher().publish(events(6, 10), 500ms, {});
  ASSERT_TRUE(test::eventually([&] { return !bus->publishing_trouble().empty(); }));
  EXPECT_THAT(bus->publishing_trouble(), AllOf(HasSubstr("lets nobody publish"), HasSubstr("low on memory")));
  EXPECT_EQ(bus->consuming_trouble(), "");
  EXPECT_EQ(metric("rabbitmq_blocked"), "1");
  // What was on its way when the broker said so stays there; nothing more goes out.
  if (outcomes) {
    EXPECT_THAT(*outcomes, Each(testing::AnyOf(Published::unconfirmed, Published::unsent)));
  }
  const auto again = bus->publisher().publish(events(11, 15), 100ms, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::unavailable);
  EXPECT_THAT(again.error().message, HasSubstr("low on memory"));
  server_.block_publishers(false);
  publish(*bus, 11, 15);
  EXPECT_EQ(bus->publishing_trouble(), "");
  EXPECT_EQ(metric("rabbitmq_blocked"), "0");
  const auto consumer = consume(*bus, queue("one"));
  std::vector<int> got;
  while (got.empty() || got.back() != 15) {
    for (const auto number : numbers(receive(*consumer, 1))) got.push_back(number);
    ASSERT_LE(got.size(), 15U);
  }
  EXPECT_EQ(std::vector<int>(got.begin(), got.begin() + 5), range(1, 5));
  EXPECT_EQ(std::vector<int>(got.end() - 5, got.end()), range(11, 15));
}

TEST_F(RabbitServerTest, NoticesAServerThatHasStopped) {
  auto mine = config();
  mine.heartbeat = 1s;
  const auto bus = open(mine);
  const auto consumer = consume(*bus, queue("one"));
  publish(*bus, 1, 3);
  receive(*consumer, 3);
  server_.pause();
  ASSERT_TRUE(test::eventually([&] { return !bus->consuming_trouble().empty(); }));
  EXPECT_FALSE(bus->publisher().publish(events(4, 4), 10ms, {}));
  server_.resume();
  EXPECT_EQ(numbers(receive(*consumer, 3)), range(1, 3));
}

TEST_F(RabbitServerTest, OpensAnotherChannelWhenTheServerClosesOneThatHeldAMessageForTooLong) {
  server_.rabbitmqctl({"eval",
                       "application:set_env(rabbit, channel_tick_interval, 200),"
                       "application:set_env(rabbit, consumer_timeout, 1000)."});
  const auto bus = open();
  const auto slow = consume(*bus, queue("slow"), {"a"});
  const auto other = consume(*bus, queue("other"), {"b"});
  publish(*bus, 1, 2, "a");
  receive(*slow, 2);
  capture_log();
  const auto received = slow->receive(10, 60s, {});
  ASSERT_FALSE(received);
  EXPECT_THAT(received.error().message, HasSubstr("comes again"));
  EXPECT_EQ(bus->consuming_trouble(), "");
  publish(*bus, 3, 3, "b");
  EXPECT_EQ(numbers(receive(*other, 1)), range(3, 3)) << "its channel is another";
  const auto again = receive(*slow, 2);
  EXPECT_EQ(numbers(again), range(1, 2));
  EXPECT_TRUE(slow->acknowledge(again));
  EXPECT_THAT(logged(), AllOf(HasSubstr("the broker has closed the channel"), HasSubstr("opening another")));
  server_.rabbitmqctl({"eval",
                       "application:set_env(rabbit, channel_tick_interval, 60000),"
                       "application:set_env(rabbit, consumer_timeout, 1800000)."});
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
