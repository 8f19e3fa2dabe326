#include "bus/rabbitmq/detail/consuming.h"

#include <algorithm>

namespace wfo::bus::rabbitmq {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kIdle = 1h;  // when nothing is due; whatever happens wakes the pump
constexpr Channel kFirstChannel = kScratchChannel + 1;
constexpr Channel kChannelsMax = 2'000;
constexpr auto kRetryMax = 10'000ms;  // between two tries to consume a queue that the broker refuses

// A tag for callers: generation and delivery tag in one number.
constexpr int kTagBits = 40;  // a trillion messages a channel
constexpr std::uint64_t kTagMask = (std::uint64_t{1} << kTagBits) - 1;

/// Names a consumer within its channel. It is alone there, but each life needs a name of its own: RabbitMQ 3.10 loses
/// count of what a quorum queue has sent when a name comes again while messages of its first life are out, and dies.
std::string consumer_tag(const Subscription& subscription) { return fmt::format("wfo-{}", subscription.lives); }

struct Acknowledgement {
  std::uint64_t tag;
  bool multiple;
};

/// Takes `tags` (ascending) off `outstanding`, and says how to tell the broker in few words: all from the oldest on
/// are one acknowledgement.
std::vector<Acknowledgement> settle(std::deque<std::uint64_t>& outstanding, const std::vector<std::uint64_t>& tags) {
  std::vector<Acknowledgement> acknowledgements;
  auto next = tags.begin();
  std::uint64_t through = 0;
  std::size_t count = 0;
  while (next != tags.end() && !outstanding.empty() && outstanding.front() == *next) {
    through = *next++;
    ++count;
    outstanding.pop_front();
  }
  if (count > 0) acknowledgements.push_back({through, count > 1});
  for (; next != tags.end(); ++next) {
    const auto found = std::ranges::lower_bound(outstanding, *next);
    if (found == outstanding.end() || *found != *next) continue;  // acknowledged before
    outstanding.erase(found);
    acknowledgements.push_back({*next, false});
  }
  return acknowledgements;
}

}  // namespace

class RabbitConsumer final : public Consumer {
 public:
  RabbitConsumer(Consuming& consuming, std::shared_ptr<Subscription> subscription)
      : consuming_(consuming), subscription_(std::move(subscription)) {}
  ~RabbitConsumer() override {
    consuming_.finish([&consuming = consuming_, subscription = subscription_](Connection* connection) {
      consuming.remove(connection, *subscription);
    });
  }

  [[nodiscard]] const std::string& queue() const override { return subscription_->queue; }
  [[nodiscard]] Result<std::vector<Delivery>> receive(std::size_t count_max, milliseconds wait,
                                                      std::stop_token stop) override;
  [[nodiscard]] Result<void> settle(store::Transaction&, std::span<const Delivery>) override { return {}; }
  [[nodiscard]] Result<void> acknowledge(std::span<const Delivery> batch) override;
  [[nodiscard]] Result<void> release() override;
  [[nodiscard]] bool redelivers() const override { return true; }
  [[nodiscard]] store::Sequence looked_through() const override { return 0; }

 private:
  void want();
  [[nodiscard]] std::unexpected<Error> away(std::string_view why) const {
    return fail(ErrorCode::unavailable, "queue {}: {}", subscription_->queue, why);
  }

  Consuming& consuming_;
  std::shared_ptr<Subscription> subscription_;
};

Result<std::vector<Delivery>> RabbitConsumer::receive(std::size_t count_max, milliseconds wait, std::stop_token stop) {
  INVARIANT(count_max > 0);
  auto& shared = *subscription_;
  want();
  std::vector<Message> messages;
  std::uint64_t generation = 0;
  bool drained = false;
  {
    std::unique_lock lock(shared.mutex);
    const bool was_live = shared.live;
    const auto is_over = [&] {
      return !shared.buffer.empty() || shared.lost_in_hand || (was_live && !shared.live && !shared.trouble.empty());
    };
    shared.changed.wait_for(lock, stop, wait, is_over);
    if (shared.lost_in_hand) {
      shared.lost_in_hand = false;
      return away(fmt::format("what was in hand comes again: {}",
                              shared.trouble.empty() ? "the connection was lost" : shared.trouble));
    }
    if (shared.buffer.empty()) {
      if (!shared.live && !shared.trouble.empty() && !stop.stop_requested()) return away(shared.trouble);
      return std::vector<Delivery>{};
    }
    std::size_t bytes = 0;
    while (!shared.buffer.empty() && messages.size() < count_max && bytes < shared.bytes_max) {
      auto message = std::move(shared.buffer.front());
      shared.buffer.pop_front();
      shared.buffer_bytes -= message.bytes();
      bytes += message.content.body.size();
      messages.push_back(std::move(message));
    }
    generation = shared.generation;
    drained = shared.buffer.empty() && shared.buffer_full;
  }
  if (drained) consuming_.pump_.post([](Connection*) {});  // wakes it: there is room again
  std::vector<Delivery> deliveries;
  deliveries.reserve(messages.size());
  const auto now = consuming_.parts_.clock.now();
  for (auto& message : messages) {
    const auto tag = (generation << kTagBits) | message.delivery_tag;
    deliveries.push_back(delivery_of(std::move(message), consuming_.parts_.contracts, now,
                                     consuming_.parts_.pump.config.body_bytes_max));
    deliveries.back().tag = tag;
  }
  shared.consumed->add(static_cast<double>(deliveries.size()));
  return deliveries;
}

/// After a release: messages are wanted again.
void RabbitConsumer::want() {
  {
    const std::scoped_lock lock(subscription_->mutex);
    if (subscription_->wanted) return;
    subscription_->wanted = true;
  }
  consuming_.pump_.post([](Connection*) {});
}

Result<void> RabbitConsumer::acknowledge(std::span<const Delivery> batch) {
  std::vector<std::uint64_t> tags;
  tags.reserve(batch.size());
  for (const auto& delivery : batch) tags.push_back(delivery.tag);
  std::ranges::sort(tags);
  bool stale = false;
  std::uint64_t generation = 0;
  std::vector<Acknowledgement> acknowledgements;
  {
    const std::scoped_lock lock(subscription_->mutex);
    generation = subscription_->generation;
    stale = std::erase_if(tags, [&](auto tag) { return tag >> kTagBits != generation; }) > 0;
    for (auto& tag : tags) tag &= kTagMask;
    acknowledgements = rabbitmq::settle(subscription_->outstanding, tags);
  }
  if (!acknowledgements.empty()) {
    consuming_.pump_.post([subscription = subscription_, generation,
                           acknowledgements = std::move(acknowledgements)](Connection* connection) {
      if (!connection || !connection->is_open(subscription->channel)) return;
      {
        const std::scoped_lock lock(subscription->mutex);
        if (subscription->generation != generation) return;  // these tags have died with their channel
      }
      for (const auto& [tag, multiple] : acknowledgements) {
        amqp_basic_ack_t ack{tag, multiple ? 1 : 0};
        connection->send(subscription->channel, AMQP_BASIC_ACK_METHOD, &ack);
      }
    });
  }
  if (stale) return away("the connection was lost before the acknowledgement; these messages come again");
  return {};
}

Result<void> RabbitConsumer::release() {
  consuming_.finish([&consuming = consuming_, subscription = subscription_](Connection* connection) {
    {
      const std::scoped_lock lock(subscription->mutex);
      subscription->wanted = false;
    }
    if (connection) consuming.give_back(*connection, *subscription);
    const std::scoped_lock lock(subscription->mutex);
    subscription->lost_in_hand = false;  // the caller knows
  });
  return {};
}

Consuming::Consuming(const Parts& parts) : parts_(parts), pump_(parts.pump, "consuming", *this) {}

Result<std::unique_ptr<Consumer>> Consuming::consume(ConsumerOptions options) {
  auto& topology = parts_.pump.topology;
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::invalid_argument, "queue {}: {}", options.queue, what);
  };
  if (options.queue.empty() || options.queue.size() > kNameBytesMax) {
    return fail(ErrorCode::invalid_argument, "queue '{}': its name must have 1 to {} bytes", options.queue,
                kNameBytesMax);
  }
  if (options.bindings.empty()) return refuse("without a binding");
  for (const auto& binding : options.bindings) {
    if (binding.size() > kNameBytesMax) {
      return refuse(fmt::format("the binding '{}' is longer than {} bytes", binding, kNameBytesMax));
    }
  }
  if (options.start_after) return refuse("start_after is for a bus that is the log");
  if (topology.is_net(options.queue)) {
    const auto of = options.queue.substr(0, options.queue.size() - kNetSuffix.size());
    if (options.bindings != std::vector{of}) return refuse(fmt::format("is a net; its one binding must be '{}'", of));
  } else {
    if (options.queue.size() + kNetSuffix.size() > kNameBytesMax) {
      return refuse(fmt::format("longer than {} bytes, which leaves no room for the name of its net, {}",
                                kNameBytesMax - kNetSuffix.size(), kNetSuffix));
    }
    topology.add(options.queue, options.bindings);
  }

  auto subscription = std::make_shared<Subscription>();
  subscription->queue = options.queue;
  subscription->bytes_max = options.bytes_max;
  subscription->prefetch = topology.prefetch(options.queue);
  subscription->consumed = &parts_.pump.metrics.counter("rabbitmq_messages_consumed_total",
                                                        "Messages received from RabbitMQ", {{"queue", options.queue}});
  Attempt<void> started;
  const auto add = [this, subscription](Connection* connection) -> Attempt<void> {
    subscription->channel = free_channel();
    if (subscription->channel == 0) {
      return std::unexpected(Trouble{fmt::format("more than {} consumers on one bus", kChannelsMax), true});
    }
    subscriptions_.emplace(subscription->channel, subscription);
    if (!connection) {
      const std::scoped_lock lock(subscription->mutex);
      subscription->trouble = pump_.trouble();
      return {};
    }
    return start(*connection, *subscription);
  };
  if (pump_.is_connected()) {
    pump_.run([&](Connection* connection) {
      started = add(connection);
      const bool refused = !started && (started.error().lasting || (connection && connection->is_alive()));
      if (refused) {
        remove(connection, *subscription);
      } else {
        started = {};  // the broker went away meanwhile
      }
    });
  } else {
    {
      const std::scoped_lock lock(subscription->mutex);
      subscription->trouble = pump_.trouble();
    }
    pump_.post([add](Connection* connection) { (void)add(connection); });  // `receive` says what is wrong
  }
  if (!started) return fail(ErrorCode::unavailable, "queue {}: {}", options.queue, started.error().text);
  return std::make_unique<RabbitConsumer>(*this, std::move(subscription));
}

/// Waits only where there is a broker that shall hear of it before the caller goes on.
void Consuming::finish(Pump::Command command) {
  if (pump_.is_connected()) {
    pump_.run(std::move(command));
  } else {
    pump_.post(std::move(command));
  }
}

Channel Consuming::free_channel() const {
  for (Channel channel = kFirstChannel; channel <= kChannelsMax; ++channel) {
    if (!subscriptions_.contains(channel)) return channel;
  }
  return 0;
}

Attempt<void> Consuming::connected(Connection&) {
  for (auto& [channel, subscription] : subscriptions_) {
    subscription->retry_at = {};
    subscription->retry_delay = 0ms;
  }
  return {};
}

SteadyTime Consuming::work(Connection& connection) {
  auto due = steady_clock::now() + kIdle;
  for (auto& [channel, subscription] : subscriptions_) {
    if (!connection.is_alive()) break;
    auto& each = *subscription;
    if (each.must_rebuild) {
      connection.close_channel(channel);
      each.consuming = each.must_rebuild = false;
    }
    if (!each.excess.empty()) give_excess_back(connection, each);
    bool wanted = false;
    {
      const std::scoped_lock lock(each.mutex);
      if (each.buffer_full && each.buffer.empty() && each.excess.empty()) each.buffer_full = false;
      wanted = each.wanted && !each.buffer_full;
    }
    if (each.consuming || !wanted) continue;
    if (each.retry_at > steady_clock::now()) {
      due = std::min(due, each.retry_at);
    } else if (!start(connection, each)) {
      due = std::min(due, each.retry_at);
    }
  }
  return due;
}

/// Lets the broker send the queue's messages; if it refuses, plans the next try.
Attempt<void> Consuming::start(Connection& connection, Subscription& subscription) {
  auto started = subscribe(connection, subscription);
  const std::scoped_lock lock(subscription.mutex);
  if (started) {
    subscription.consuming = true;
    subscription.retry_delay = 0ms;
    subscription.live = true;
    subscription.trouble.clear();
  } else {
    const auto& config = parts_.pump.config;
    subscription.retry_delay = std::clamp<milliseconds>(subscription.retry_delay * 2, config.retry_first, kRetryMax);
    subscription.retry_at = steady_clock::now() + subscription.retry_delay;
    if (connection.is_alive() && subscription.trouble != started.error().text) {
      parts_.pump.log.warn("RabbitMQ: queue '{}': {}; trying again", subscription.queue, started.error().text);
    }
    subscription.live = false;
    subscription.trouble = started.error().text;
  }
  subscription.changed.notify_all();
  return started;
}

Attempt<void> Consuming::subscribe(Connection& connection, Subscription& subscription) {
  const auto refused = [&](const Refusal& refusal) {
    if (refusal.code == AMQP_ACCESS_REFUSED) {
      const auto& address = parts_.pump.address;
      return std::unexpected(Trouble{fmt::format("permission missing: user '{}' needs read on it in vhost '{}' "
                                                 "(rabbitmqctl set_permissions -p); the broker says: {}",
                                                 address.user, address.vhost, refusal.text),
                                     true});
    }
    return std::unexpected(Trouble{refusal.text, false});
  };
  const auto channel = subscription.channel;
  if (!connection.is_open(channel)) {
    // The queue may have gone, and that may be why the channel has.
    TRY(parts_.pump.topology.declare_queue(connection, parts_.pump.address, subscription.queue));
    if (auto opened = connection.open_channel(channel); !opened) return refused(opened.error());
    amqp_basic_qos_t qos{};
    qos.prefetch_count = static_cast<std::uint16_t>(subscription.prefetch);
    if (auto set = connection.call(channel, AMQP_BASIC_QOS_METHOD, &qos, AMQP_BASIC_QOS_OK_METHOD); !set) {
      return refused(set.error());
    }
  }
  ++subscription.lives;
  const auto tag = consumer_tag(subscription);
  amqp_basic_consume_t consume{};
  consume.queue = amqp_text(subscription.queue);
  consume.consumer_tag = amqp_text(tag);
  if (auto done = connection.call(channel, AMQP_BASIC_CONSUME_METHOD, &consume, AMQP_BASIC_CONSUME_OK_METHOD); !done) {
    return refused(done.error());
  }
  return {};
}

bool Consuming::cancel(Connection& connection, Subscription& subscription) {
  subscription.consuming = false;
  const auto tag = consumer_tag(subscription);
  amqp_basic_cancel_t cancel{};
  cancel.consumer_tag = amqp_text(tag);
  return connection.call(subscription.channel, AMQP_BASIC_CANCEL_METHOD, &cancel, AMQP_BASIC_CANCEL_OK_METHOD)
      .has_value();
}

/// All that is in hand, the buffer's included, so that others get it. By closing the channel: then it comes again where
/// it was, in order, while a quorum queue without delivery limit puts what basic.nack gives back behind everything
/// else.
void Consuming::give_back(Connection& connection, Subscription& subscription) {
  connection.close_channel(subscription.channel);
  subscription.consuming = false;
  forget(subscription, "");
}

/// What came although the buffer was full, for whoever has room. The consumer is cancelled first, or it would come
/// again at once. The channel must stay, for the sake of what is in hand, so that this goes to the end of the queue.
void Consuming::give_excess_back(Connection& connection, Subscription& subscription) {
  if (subscription.consuming && connection.is_open(subscription.channel) && !cancel(connection, subscription)) return;
  if (connection.is_open(subscription.channel)) {
    for (const auto tag : subscription.excess) {
      amqp_basic_nack_t nack{};
      nack.delivery_tag = tag;
      nack.requeue = 1;
      connection.send(subscription.channel, AMQP_BASIC_NACK_METHOD, &nack);
    }
  }
  subscription.excess.clear();
}

void Consuming::remove(Connection* connection, Subscription& subscription) {
  if (connection) connection->close_channel(subscription.channel);
  forget(subscription, "the consumer has ended");
  subscriptions_.erase(subscription.channel);  // the caller holds it
}

/// Its tags mean nothing any more.
void Consuming::forget(Subscription& subscription, std::string trouble) {
  subscription.excess.clear();
  const std::scoped_lock lock(subscription.mutex);
  if (subscription.outstanding.size() > subscription.buffer.size()) subscription.lost_in_hand = true;
  subscription.outstanding.clear();
  subscription.buffer.clear();
  subscription.buffer_bytes = 0;
  subscription.buffer_full = false;
  subscription.live = false;
  subscription.trouble = std::move(trouble);
  ++subscription.generation;
  subscription.changed.notify_all();
}

void Consuming::lost(const Trouble&) {
  for (auto& [channel, subscription] : subscriptions_) {
    subscription->consuming = subscription->must_rebuild = false;
    forget(*subscription, pump_.trouble());
  }
}

bool Consuming::wants_body(Channel channel) {
  const auto found = subscriptions_.find(channel);
  if (found == subscriptions_.end()) return false;
  const std::scoped_lock lock(found->second->mutex);
  return !found->second->buffer_full;
}

void Consuming::delivered(Channel channel, const amqp_basic_deliver_t& deliver, Content content) {
  const auto found = subscriptions_.find(channel);
  if (found == subscriptions_.end()) return;
  auto& subscription = *found->second;
  Message message{deliver.delivery_tag, deliver.redelivered != 0, std::string(view(deliver.exchange)),
                  std::string(view(deliver.routing_key)), std::move(content)};
  const std::scoped_lock lock(subscription.mutex);
  const auto bytes = message.bytes();
  // One message alone is always taken, whatever its size.
  if (subscription.buffer_full ||
      (!subscription.buffer.empty() && subscription.buffer_bytes + bytes > parts_.pump.config.buffer_bytes_max)) {
    subscription.buffer_full = true;
    subscription.excess.push_back(deliver.delivery_tag);
    return;
  }
  const bool was_empty = subscription.buffer.empty();
  subscription.outstanding.push_back(deliver.delivery_tag);
  subscription.buffer.push_back(std::move(message));
  subscription.buffer_bytes += bytes;
  if (was_empty) subscription.changed.notify_one();
}

void Consuming::consumer_cancelled(Channel channel) {
  const auto found = subscriptions_.find(channel);
  if (found == subscriptions_.end()) return;
  auto& subscription = *found->second;
  subscription.must_rebuild = true;
  subscription.retry_at = steady_clock::now() + parts_.pump.config.retry_first;
  parts_.pump.log.warn(
      "RabbitMQ: queue '{}': the broker has cancelled the consumer (the queue was deleted or moved); "
      "declaring it again",
      subscription.queue);
  forget(subscription, "the broker has cancelled the consumer");
}

void Consuming::channel_closed(Channel channel, const Refusal& refusal) {
  const auto found = subscriptions_.find(channel);
  if (found == subscriptions_.end()) return;
  auto& subscription = *found->second;
  subscription.must_rebuild = true;
  subscription.retry_at = steady_clock::now() + parts_.pump.config.retry_first;
  parts_.pump.log.warn("RabbitMQ: queue '{}': the broker has closed the channel ({} {}); opening another",
                       subscription.queue, refusal.code, refusal.text);
  forget(subscription, fmt::format("the broker has closed the channel: {}", refusal.text));
}

}  // namespace wfo::bus::rabbitmq
