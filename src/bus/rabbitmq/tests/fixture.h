#pragma once

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "bus/rabbitmq/rabbit_bus.h"
#include "bus/rabbitmq/tests/plain_client.h"
#include "bus/tests/samples.h"
#include "support/eventually.h"
#include "support/servers.h"
#include "support/tcp_proxy.h"

namespace wfo::bus::rabbitmq {

using namespace std::chrono_literals;

/// `url` with another port, as through a proxy.
inline std::string through(const test::TcpProxy& proxy, const std::string& url) {
  const auto at = url.find('@');
  const auto colon = url.find(':', at);
  const auto slash = url.find('/', colon);
  return url.substr(0, colon + 1) + std::to_string(proxy.port()) + url.substr(slash);
}

/// An exchange and queues with names of its own on a server, gone with the test.
class RabbitTest : public testing::Test {
 protected:
  explicit RabbitTest(test::RabbitServer& server = test::RabbitServer::shared()) : server_(server) {
    static std::atomic<int> count = 0;
    prefix_ = fmt::format("bus-{}-{}-", ::getpid(), ++count);
  }
  void TearDown() override {
    if (is_capturing_) logged();
    // A queue that was one connection's alone goes with it, which may take a moment; until then nobody may delete it.
    EXPECT_TRUE(test::eventually([this] {
      try {
        PlainClient deleting(server_.url());
        for (const auto& queue : queues_) {
          deleting.delete_queue(queue);
          deleting.delete_queue(queue + ".dlq");
        }
        return true;
      } catch (const std::runtime_error&) {
        return false;
      }
    }));
    PlainClient client(server_.url());
    client.delete_exchange(exchange());
    client.delete_exchange(exchange() + ".dlx");
  }

  /// A name of this test's own; what has it is deleted at its end.
  std::string queue(std::string_view name) {
    auto own = prefix_ + std::string(name);
    queues_.insert(own);
    return own;
  }
  [[nodiscard]] std::string exchange() const { return prefix_ + "events"; }
  [[nodiscard]] RabbitConfig config() const {
    RabbitConfig config;
    config.url = server_.url();
    config.exchange = exchange();
    config.dead_letter_exchange = exchange() + ".dlx";
    config.retry_first = 20ms;
    config.retry_max = 200ms;
    return config;
  }
  [[nodiscard]] Result<std::unique_ptr<RabbitBus>> try_open(const RabbitConfig& config) {
    return RabbitBus::open(config, samples::contracts(), clock_, log_, metrics_);
  }
  std::unique_ptr<RabbitBus> open(const RabbitConfig& config) {
    auto bus = try_open(config);
    EXPECT_TRUE(bus) << bus.error().message;
    return bus ? *std::move(bus) : nullptr;
  }
  std::unique_ptr<RabbitBus> open() { return open(config()); }
  static std::unique_ptr<Consumer> consume(RabbitBus& bus, const std::string& queue,
                                           std::vector<std::string> bindings = {"#"}) {
    auto consumer = bus.consume({.queue = queue, .bindings = std::move(bindings)});
    EXPECT_TRUE(consumer) << consumer.error().message;
    return consumer ? *std::move(consumer) : nullptr;
  }

  static std::vector<events::EventPtr> events(int first, int last, std::string_view type = "order.placed") {
    std::vector<events::EventPtr> all;
    for (int i = first; i <= last; ++i) all.push_back(samples::event(type, i));
    return all;
  }
  /// Published and confirmed, as soon as the broker is there.
  static void publish(RabbitBus& bus, int first, int last, std::string_view type = "order.placed") {
    Result<std::vector<Published>> outcomes;
    const bool taken = test::eventually([&] {
      outcomes = bus.publisher().publish(events(first, last, type), 60s, {});
      return outcomes.has_value();
    });
    ASSERT_TRUE(taken) << outcomes.error().message;
    ASSERT_THAT(*outcomes, testing::Each(Published::confirmed));
  }
  /// What comes, until there are `count`; whatever `receive` complains about meanwhile.
  static std::vector<Delivery> receive(Consumer& consumer, std::size_t count) {
    std::vector<Delivery> all;
    const auto until = std::chrono::steady_clock::now() + test::kPatience;
    while (all.size() < count && std::chrono::steady_clock::now() < until) {
      auto batch = consumer.receive(count - all.size(), 200ms, {});
      if (!batch) continue;
      for (auto& delivery : *batch) all.push_back(std::move(delivery));
    }
    EXPECT_EQ(all.size(), count);
    return all;
  }
  /// The numbers of the events that came; -1 for what is none.
  static std::vector<int> numbers(const std::vector<Delivery>& batch) {
    std::vector<int> all;
    for (const auto& delivery : batch) {
      int number = -1;
      for (int i = 0; delivery.event && i < 5'000 && number < 0; ++i) {
        if (samples::event_id(i) == delivery.event->id()) number = i;
      }
      all.push_back(number);
    }
    return all;
  }
  static std::vector<int> range(int first, int last) {
    std::vector<int> all;
    for (int i = first; i <= last; ++i) all.push_back(i);
    return all;
  }
  /// `metrics_` as its line says, or "".
  std::string metric(std::string_view name) const {
    const auto text = metrics_.text();
    const auto at = text.find("\n" + std::string(name) + " ");
    if (at == std::string::npos) return "";
    const auto begin = at + name.size() + 2;
    return text.substr(begin, text.find('\n', begin) - begin);
  }
  /// Collects what goes to stderr until `logged`.
  void capture_log() {
    testing::internal::CaptureStderr();
    is_capturing_ = true;
  }
  std::string logged() {
    is_capturing_ = false;
    return testing::internal::GetCapturedStderr();
  }

  test::RabbitServer& server_;
  std::string prefix_;
  std::set<std::string> queues_;
  SystemClock clock_;
  Logger log_{LogLevel::info};
  Metrics metrics_;
  bool is_capturing_ = false;
};

inline int count_of(std::string_view part, std::string_view text) {
  int count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace wfo::bus::rabbitmq
