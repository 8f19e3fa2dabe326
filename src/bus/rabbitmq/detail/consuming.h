#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "bus/rabbitmq/detail/message.h"
#include "bus/rabbitmq/detail/pump.h"

namespace wfo::bus::rabbitmq {

/// One consumer of one queue, as the pump and the consumer's thread share it.
struct Subscription {
  std::string queue;
  std::size_t bytes_max = 0;
  Channel channel = 0;
  int prefetch = 0;
  Counter* consumed = nullptr;

  std::mutex mutex;  // guards what follows, up to the pump's part
  std::condition_variable_any changed;
  bool wanted = true;  // the consumer wants messages
  bool live = false;   // the broker sends them
  /// Counts the lives of the channel, and what was given back in between: a tag is valid in its own only.
  std::uint64_t generation = 1;
  std::deque<Message> buffer;
  std::size_t buffer_bytes = 0;
  bool buffer_full = false;               // what comes is given back at once, until the buffer is empty
  std::deque<std::uint64_t> outstanding;  // tags that are not acknowledged, the buffer's included, ascending
  bool lost_in_hand = false;              // what the consumer holds will come again
  std::string trouble;                    // why it is not live; "" if nothing is wrong

  // The pump's alone.
  std::uint64_t lives = 0;            // how often a consumer was declared
  bool consuming = false;             // a consumer is declared on the channel
  bool must_rebuild = false;          // the channel or the consumer is gone
  std::vector<std::uint64_t> excess;  // tags that came with the buffer full
  SteadyTime retry_at;                // not before, after a refusal
  milliseconds retry_delay{0};
};

/// The consuming side of the bus: one connection, a channel for each consumer.
class Consuming final : public Work {
 public:
  struct Parts {
    Pump::Parts pump;
    const events::Contracts& contracts;
    const Clock& clock;
  };
  explicit Consuming(const Parts& parts);

  [[nodiscard]] Result<std::unique_ptr<Consumer>> consume(ConsumerOptions options);
  [[nodiscard]] Pump& pump() { return pump_; }

 private:
  friend class RabbitConsumer;
  using SubscriptionPtr = std::shared_ptr<Subscription>;

  Attempt<void> connected(Connection& connection) override;
  SteadyTime work(Connection& connection) override;
  void lost(const Trouble& trouble) override;
  bool wants_body(Channel channel) override;
  void delivered(Channel channel, const amqp_basic_deliver_t& deliver, Content content) override;
  void consumer_cancelled(Channel channel) override;
  void channel_closed(Channel channel, const Refusal& refusal) override;

  Attempt<void> start(Connection& connection, Subscription& subscription);
  Attempt<void> subscribe(Connection& connection, Subscription& subscription);
  bool cancel(Connection& connection, Subscription& subscription);
  void give_back(Connection& connection, Subscription& subscription);
  void give_excess_back(Connection& connection, Subscription& subscription);
  void remove(Connection* connection, Subscription& subscription);
  static void forget(Subscription& subscription, std::string trouble);
  void finish(Pump::Command command);
  [[nodiscard]] Channel free_channel() const;

  Parts parts_;
  std::map<Channel, SubscriptionPtr> subscriptions_;  // the pump's alone
  Pump pump_;                                         // last
};

}  // namespace wfo::bus::rabbitmq
