#include "bus/rabbitmq/detail/address.h"

#include <gmock/gmock.h>

namespace wfo::bus::rabbitmq {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

Result<Address> read(std::string url) {
  RabbitConfig config;
  config.url = std::move(url);
  return address_of(config);
}

TEST(RabbitAddress, ReadsWhatStandsInTheUrl) {
  const auto address = read("amqp://ann:s%40cret%2F@broker.example:5673/sales%2Feu");
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->user, "ann");
  EXPECT_EQ(address->password, "s@cret/");
  EXPECT_EQ(address->host, "broker.example");
  EXPECT_EQ(address->port, 5673);
  EXPECT_EQ(address->vhost, "sales/eu");
  EXPECT_FALSE(address->tls);
  EXPECT_EQ(address->shown(), "broker.example:5673");
}

TEST(RabbitAddress, FillsInWhatIsLeftOut) {
  const auto address = read("amqp://localhost");
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->user, "guest");
  EXPECT_EQ(address->password, "guest");
  EXPECT_EQ(address->port, 5672);
  EXPECT_EQ(address->vhost, "/");
  EXPECT_EQ(address->heartbeat, 10s);
  EXPECT_EQ(read("amqp://localhost/")->vhost, "/");
  EXPECT_EQ(read("amqps://localhost")->port, 5671);
  EXPECT_TRUE(read("amqps://localhost")->tls);
}

TEST(RabbitAddress, ReadsAnIpv6Host) {
  const auto address = read("amqp://[::1]:5673/");
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->port, 5673);
  EXPECT_EQ(address->shown(), "[::1]:5673");
}

TEST(RabbitAddress, ReadsTheParameters) {
  const auto address = read(
      "amqps://broker?cacertfile=%2Fca.pem&certfile=/c.pem&keyfile=/k.pem&verify=verify_none"
      "&server_name_indication=other&auth_mechanism=external&heartbeat=7&connection_timeout=1500");
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->tls_options, (RabbitTls{"/ca.pem", "/c.pem", "/k.pem", false, true}));
  EXPECT_EQ(address->server_name, "other");
  EXPECT_TRUE(address->external_login);
  EXPECT_EQ(address->heartbeat, 7s);
  EXPECT_EQ(address->connect_timeout, 1500ms);
}

TEST(RabbitAddress, TakesTlsFromTheConfigurationWhereTheUrlIsSilent) {
  RabbitConfig config;
  config.url = "amqps://broker?cacertfile=/url.pem";
  config.tls.ca_file = "/config.pem";
  config.tls.verify_hostname = false;
  const auto address = address_of(config);
  ASSERT_TRUE(address) << address.error().message;
  EXPECT_EQ(address->tls_options.ca_file, "/url.pem");
  EXPECT_FALSE(address->tls_options.verify_hostname);
}

TEST(RabbitAddress, RefusesWhatIsNoUrlAndNeverQuotesThePassword) {
  struct Case {
    std::string url;
    std::string_view message;
  };
  const Case cases[] = {
      {"", "amqp://"},
      {"http://u:hidden@host", "starts neither with amqp:// nor with amqps://"},
      {"amqp://u:hidden@", "names no host"},
      {"amqp://u:hidden@host:0", "port '0' is not 1..65535"},
      {"amqp://u:hidden@host:65536", "port '65536'"},
      {"amqp://u:hidden@host:56x", "port '56x'"},
      {"amqp://u:hidden@[::1", "lacks its ]"},
      {"amqp://u:hidden@[::1]x", "no host and port"},
      {"amqp://u:hid%2den%@host", "write % itself as %25"},
      {"amqp://u:hidden%0@host", "write % itself as %25"},
      {"amqp://u:hidden%00@host", "write % itself as %25"},
      {"amqp://u:hid den@host", "percent-encode"},
      {"amqp://u:hidden@host/a/b", "'a/b' is no vhost; write / in it as %2F"},
      {"amqp://u:hidden@host/%zz", "is no vhost"},
      {"amqp://" + std::string(256, 'u') + ":hidden@host", "more than 255 bytes"},
      {"amqp://u:hidden" + std::string(2'048, 'p') + "@host", "password has more than 2048 bytes"},
      {"amqp://u:hidden@host/" + std::string(256, 'v'), "vhost has more than 255 bytes"},
      {"amqp://u:hidden@host?frame_max=1", "unknown parameter 'frame_max'; allowed: cacertfile,"},
      {"amqp://u:hidden@host?heartbeat=0", "heartbeat is '0'; allowed: 1..3600 seconds"},
      {"amqp://u:hidden@host?heartbeat=", "heartbeat is ''"},
      {"amqp://u:hidden@host?connection_timeout=1h", "1..600000 milliseconds"},
      {"amqps://u:hidden@host?verify=yes", "verify is 'yes'; allowed: verify_peer, verify_none"},
      {"amqps://u:hidden@host?certfile=/c.pem", "are given together or not"},
      {"amqps://u:hidden@host?auth_mechanism=external", "needs a client certificate"},
      {"amqps://u:hidden@host?auth_mechanism=md5", "allowed: plain, external"},
      {"amqp://u:hidden@host?cacertfile=/ca.pem", "write amqps://"},
      {"amqps://u:hidden@host?cacertfile=", "PEM file"},
      {"amqps://u:hidden@host?cacertfile=%f", "broken percent escape"},
  };
  for (const auto& [url, message] : cases) {
    const auto address = read(url);
    ASSERT_FALSE(address) << url;
    EXPECT_EQ(address.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(address.error().message, HasSubstr(message)) << url;
    EXPECT_THAT(address.error().message, HasSubstr("URL of RabbitMQ"));
    EXPECT_THAT(address.error().message, Not(HasSubstr("hid")));
  }
}

TEST(RabbitConfigCheck, NamesTheFieldTheValueAndWhatIsAllowed) {
  struct Case {
    std::function<void(RabbitConfig&)> change;
    std::string_view message;
  };
  const auto queue = [](QueueSpec spec) { return [=](RabbitConfig& c) { c.topology.push_back(spec); }; };
  const Case cases[] = {
      {[](auto& c) { c.exchange = ""; }, "exchange is ''; allowed: 1 to 255 bytes"},
      {[](auto& c) { c.dead_letter_exchange = std::string(256, 'x'); }, "dead_letter_exchange is 'xxx"},
      {[](auto& c) { c.dead_letter_exchange = c.exchange; }, "are both 'coder_events'"},
      {[](auto& c) { c.prefetch = 0; }, "prefetch is 0; allowed: 1..65535"},
      {[](auto& c) { c.prefetch = 65'536; }, "prefetch is 65536"},
      {[](auto& c) { c.confirm_window = 0; }, "confirm_window is 0"},
      {[](auto& c) { c.body_bytes_max = 0; }, "body_bytes_max is 0"},
      {[](auto& c) { c.heartbeat = 0s; }, "heartbeat is 0 ms"},
      {[](auto& c) { c.retry_max = 0ms; }, "retry_max is 0 ms; allowed: 1..600000"},
      {[](auto& c) { c.name = ""; }, "name is ''"},
      {queue({"", {"#"}}), "1 to 251 bytes"},
      {queue({std::string(252, 'q'), {"#"}}), "1 to 251 bytes"},
      {queue({"queue", {}}), "queue queue: without a binding"},
      {queue({"queue", {std::string(256, 'b')}}), "longer than 255 bytes"},
      {queue({"queue.dlq", {"#"}}), "those of nets"},
      {queue({"twice", {"#"}}), "queue twice: it is in the topology twice"},
      {queue({.queue = "queue", .bindings = {"#"}, .prefetch = 70'000}), "prefetch is 70000"},
  };
  for (const auto& [change, message] : cases) {
    RabbitConfig config;
    config.url = "amqp://localhost";
    config.topology = {{"twice", {"#"}}};
    ASSERT_TRUE(check(config));
    change(config);
    const auto checked = check(config);
    ASSERT_FALSE(checked) << message;
    EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(checked.error().message, HasSubstr(message));
  }
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
