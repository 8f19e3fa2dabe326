#include <unistd.h>

#include <atomic>
#include <set>

#include "bus/rabbitmq/rabbit_bus.h"
#include "bus/rabbitmq/tests/plain_client.h"
#include "contract/bus_contract.h"
#include "delivery/tests/sqlite.h"
#include "support/servers.h"

namespace wfo::contract {
namespace {

using namespace std::chrono_literals;
using bus::rabbitmq::PlainClient;

/// Gives each queue a name of its own on the server, which other tests use at the same time.
class OwnNames final : public bus::Bus {
 public:
  OwnNames(bus::Bus& bus, std::string prefix, std::set<std::string>& used)
      : bus_(bus), prefix_(std::move(prefix)), used_(used) {}

  Result<std::unique_ptr<bus::Consumer>> consume(bus::ConsumerOptions options) override {
    auto name = options.queue;
    const bool is_valid = !name.empty() && name.size() <= bus::kNameBytesMax;
    if (is_valid && !options.bindings.empty()) {
      options.queue = prefix_ + name;
      used_.insert(options.queue);
    }
    TRY_ASSIGN(auto consumer, bus_.consume(std::move(options)));
    return std::make_unique<Named>(std::move(consumer), std::move(name));
  }

 private:
  class Named final : public bus::Consumer {
   public:
    Named(std::unique_ptr<bus::Consumer> consumer, std::string name)
        : consumer_(std::move(consumer)), name_(std::move(name)) {}
    [[nodiscard]] const std::string& queue() const override { return name_; }
    Result<std::vector<bus::Delivery>> receive(std::size_t count_max, milliseconds wait,
                                               std::stop_token stop) override {
      return consumer_->receive(count_max, wait, std::move(stop));
    }
    Result<void> settle(store::Transaction& transaction, std::span<const bus::Delivery> batch) override {
      return consumer_->settle(transaction, batch);
    }
    Result<void> acknowledge(std::span<const bus::Delivery> batch) override { return consumer_->acknowledge(batch); }
    Result<void> release() override { return consumer_->release(); }
    [[nodiscard]] bool redelivers() const override { return consumer_->redelivers(); }
    [[nodiscard]] store::Sequence looked_through() const override { return consumer_->looked_through(); }

   private:
    std::unique_ptr<bus::Consumer> consumer_;
    std::string name_;
  };

  bus::Bus& bus_;
  std::string prefix_;
  std::set<std::string>& used_;
};

/// An exchange and queues of its own on the server of all tests.
class RabbitHarness final : public BusHarness {
 public:
  RabbitHarness() : client_(test::RabbitServer::shared().url()) {
    static std::atomic<int> count = 0;
    prefix_ = fmt::format("contract-{}-{}-", ::getpid(), ++count);
    open();
  }
  ~RabbitHarness() override {
    names_.reset();
    bus_.reset();
    for (const auto& queue : queues_) {
      client_.delete_queue(queue);
      client_.delete_queue(queue + ".dlq");
    }
    client_.delete_exchange(prefix_ + "exchange");
    client_.delete_exchange(prefix_ + "exchange.dlx");
  }

  bus::Bus& bus() override { return *names_; }
  store::Store& store() override { return fixture_.store(); }
  void publish(std::span<const events::EventPtr> events) override {
    const auto outcomes = bus_->publisher().publish(events, 60s, {});
    ASSERT_TRUE(outcomes) << outcomes.error().message;
    ASSERT_EQ(outcomes->size(), events.size());
    for (const auto outcome : *outcomes) ASSERT_EQ(outcome, bus::Published::confirmed);
  }
  void publish_unreadable(std::string_view routing_key, std::string_view bytes) override {
    client_.publish(prefix_ + "exchange", routing_key, bytes);
  }
  void restart() override {
    names_.reset();
    bus_.reset();
    fixture_.reopen();
    open();
  }

 private:
  void open() {
    bus::RabbitConfig config;
    config.url = test::RabbitServer::shared().url();
    config.exchange = prefix_ + "exchange";
    config.dead_letter_exchange = prefix_ + "exchange.dlx";
    config.prefetch = 2'000;  // the suite has up to 1,000 messages in hand
    auto opened = bus::RabbitBus::open(config, bus::samples::contracts(), clock_, Logger::silent(), metrics_);
    ASSERT_TRUE(opened) << opened.error().message;
    bus_ = std::move(opened).value();
    names_ = std::make_unique<OwnNames>(*bus_, prefix_, queues_);
  }

  PlainClient client_;
  std::string prefix_;
  std::set<std::string> queues_;
  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  delivery::sqlite::Fixture fixture_{clock_};
  Metrics metrics_;
  std::unique_ptr<bus::RabbitBus> bus_;
  std::unique_ptr<OwnNames> names_;
};

INSTANTIATE_TEST_SUITE_P(RabbitMq, BusContract,
                         testing::Values(BusUnderTest{"QuorumQueues",
                                                      [] { return std::make_unique<RabbitHarness>(); }}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace wfo::contract
