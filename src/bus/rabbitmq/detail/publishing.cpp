#include "bus/rabbitmq/detail/publishing.h"

#include <algorithm>

namespace wfo::bus::rabbitmq {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kIdle = 1h;  // when nothing is due; whatever happens wakes the pump
constexpr Channel kChannel = kScratchChannel + 1;
constexpr auto kRedeclareAfter = 1s;                  // a message came back, when the topology is declared again
constexpr auto kRedeclareApart = 10s;                 // and how long not a second time
constexpr std::size_t kUnsentBytesMax = 1024 * 1024;  // written ahead of what the socket takes

}  // namespace

Publishing::Publishing(const Parts& parts)
    : parts_(parts),
      publisher_(parts.contracts),
      published_(parts.pump.metrics.counter("rabbitmq_messages_published_total", "Messages that RabbitMQ confirmed")),
      returned_(parts.pump.metrics.counter("rabbitmq_messages_returned_total",
                                           "Messages for which RabbitMQ had no queue, though somebody consumes them")),
      nacked_(parts.pump.metrics.counter("rabbitmq_messages_nacked_total", "Messages that RabbitMQ refused")),
      blocked_gauge_(
          parts.pump.metrics.gauge("rabbitmq_blocked", "Whether RabbitMQ lets nobody publish: low on memory or disk")),
      window_(parts.pump.metrics.gauge("rabbitmq_confirm_window_used", "Messages that RabbitMQ has not confirmed yet")),
      pump_(parts.pump, "publishing", *this) {}

std::string Publishing::trouble() const {
  if (auto trouble = pump_.trouble(); !trouble.empty()) return trouble;
  const std::scoped_lock lock(mutex_);
  if (!channel_trouble_.empty())
    return fmt::format("RabbitMQ at {}: {}", parts_.pump.address.shown(), channel_trouble_);
  if (blocked_.empty()) return "";
  return fmt::format("RabbitMQ at {} lets nobody publish: {}", parts_.pump.address.shown(), blocked_);
}

Result<std::vector<Published>> Publishing::publish(std::span<const events::EventPtr> events, milliseconds wait,
                                                   std::stop_token stop) {
  if (events.empty()) return std::vector<Published>{};
  // At once, and not after `wait`: another process may reach the broker.
  if (auto why = trouble(); !why.empty()) return fail(ErrorCode::unavailable, "{}", why);
  auto batch = std::make_shared<Batch>();
  batch->events.assign(events.begin(), events.end());
  batch->outcomes.resize(events.size());
  batch->progress = steady_clock::now();
  pump_.post([this, batch](Connection* connection) {
    current_ = batch;
    if (!connection) fail_all("the connection was lost");  // between the look above and now
  });

  std::unique_lock lock(batch->mutex);
  const auto is_over = [&] {
    return batch->answered == batch->outcomes.size() || batch->failure ||
           (batch->blocked && batch->answered == batch->sent);
  };
  while (!is_over() && !stop.stop_requested()) {
    const auto until = batch->progress + wait;
    if (steady_clock::now() >= until) break;
    batch->changed.wait_until(lock, stop, until, is_over);
  }
  batch->given_up = true;
  // Of what is known something is worth more than nothing: who is told of an error sends all of it again.
  if (batch->answered == 0 && !stop.stop_requested()) {
    if (batch->failure) return fail(ErrorCode::unavailable, "{}", *batch->failure);
    if (batch->sent < batch->outcomes.size()) {
      lock.unlock();
      return fail(ErrorCode::unavailable, "{}", stalled());
    }
  }
  std::vector<Published> outcomes;
  outcomes.reserve(batch->outcomes.size());
  for (std::size_t i = 0; i < batch->outcomes.size(); ++i) {
    outcomes.push_back(batch->outcomes[i].value_or(i < batch->sent ? Published::unconfirmed : Published::unsent));
  }
  return outcomes;
}

/// Why not all of a batch could be sent.
std::string Publishing::stalled() const {
  if (auto why = trouble(); !why.empty()) return why;
  return fmt::format("RabbitMQ at {} neither confirms nor takes messages; {} are on their way",
                     parts_.pump.address.shown(), open_.load());
}

Attempt<void> Publishing::connected(Connection& connection) {
  closed_.reset();
  return open_channel(connection);
}

Attempt<void> Publishing::open_channel(Connection& connection) {
  auto answer = connection.open_channel(kChannel);
  if (answer) {
    amqp_confirm_select_t select{};
    answer = connection.call(kChannel, AMQP_CONFIRM_SELECT_METHOD, &select, AMQP_CONFIRM_SELECT_OK_METHOD);
  }
  if (!answer) return std::unexpected(Trouble{fmt::format("no channel to publish on: {}", answer.error().text)});
  first_tag_ = 1;
  set_channel_trouble("");
  return {};
}

SteadyTime Publishing::work(Connection& connection) {
  const auto now = steady_clock::now();
  if (closed_) {
    auto why = fmt::format("the broker has closed the channel: {} {}", closed_->code, closed_->text);
    parts_.pump.log.warn("RabbitMQ, publishing: {}; opening another", why);
    fail_all(why);
    set_channel_trouble(std::move(why));
    closed_.reset();
    reopen_at_ = now;
  }
  if (!connection.is_open(kChannel) && now >= reopen_at_) {
    // Perhaps the exchange was deleted; then it is made again.
    auto opened = parts_.pump.topology.declare(connection, parts_.pump.address);
    if (opened) opened = open_channel(connection);
    if (!opened) {
      reopen_at_ = now + parts_.pump.config.retry_max;
      set_channel_trouble(opened.error().text);
    }
  }
  if (must_redeclare_ && now >= redeclare_at_) {
    must_redeclare_ = false;
    redeclare_at_ = now + kRedeclareApart;
    // What is wrong with it is told by the topology.
    static_cast<void>(parts_.pump.topology.declare(connection, parts_.pump.address));
  }
  if (const auto batch = current_; batch && connection.is_open(kChannel)) send(connection, *batch);
  window_.set(static_cast<double>(open_.load()));
  const auto due = must_redeclare_ ? redeclare_at_ : now + kIdle;
  return connection.is_open(kChannel) ? due : std::min(due, reopen_at_);
}

/// As much of it as the window, the socket and the broker take now.
void Publishing::send(Connection& connection, Batch& batch) {
  const bool may_send = [&] {
    const std::scoped_lock lock(mutex_);
    return blocked_.empty();
  }();
  const std::scoped_lock lock(batch.mutex);
  batch.blocked = !may_send;
  if (!may_send) {
    batch.changed.notify_all();
    return;
  }
  const auto before = batch.sent;
  while (!batch.given_up && batch.sent < batch.events.size() && open_ < parts_.pump.config.confirm_window &&
         connection.unsent_bytes() < kUnsentBytesMax) {
    const auto& event = *batch.events[batch.sent];
    publisher_.publish(connection, kChannel, parts_.pump.config.exchange, event, is_expected(event.type()));
    unconfirmed_.push_back({current_, batch.sent});
    ++batch.sent;
    ++open_;
  }
  if (batch.sent != before) batch.progress = steady_clock::now();
  if (batch.given_up || batch.sent == batch.events.size()) current_.reset();
}

/// Whether a queue of ours is bound for it: then a message without a queue is a fault, else it is nobody's business.
bool Publishing::is_expected(std::string_view type) {
  auto& topology = parts_.pump.topology;
  if (const auto version = topology.version(); !bound_types_ || bound_types_version_ != version) {
    bound_types_.emplace(topology.bindings());
    bound_types_version_ = version;
  }
  return bound_types_->wants(type);
}

void Publishing::returned(const amqp_basic_return_t& method, const Content& content) {
  Message message;
  message.content.properties = content.properties;
  const auto id = read_properties(message).message_id;
  // The oldest of that id: an event that is sent a second time while the first is under way has two.
  for (auto& each : unconfirmed_) {
    if (!each.batch || each.returned || !id || each.batch->events[each.index]->id() != *id) continue;
    each.returned = true;
    if (!must_redeclare_) redeclare_at_ = std::max<SteadyTime>(redeclare_at_, steady_clock::now() + kRedeclareAfter);
    must_redeclare_ = true;
    returned_.add();
    return;
  }
  parts_.pump.log.warn("RabbitMQ, publishing: a message that we do not know came back ({} {})", method.reply_code,
                       view(method.reply_text));
}

void Publishing::confirmed(std::uint64_t tag, bool multiple, bool accepted) {
  if (tag >= first_tag_ + unconfirmed_.size()) return;  // never sent; 0 with `multiple` is all, but nobody sends that
  if (tag < first_tag_) return;
  const auto last = static_cast<std::size_t>(tag - first_tag_);
  for (auto i = multiple ? 0 : last; i <= last; ++i) answer(unconfirmed_[i], accepted);
  while (!unconfirmed_.empty() && !unconfirmed_.front().batch) {
    unconfirmed_.pop_front();
    ++first_tag_;
  }
}

void Publishing::answer(Unconfirmed& unconfirmed, bool accepted) {
  if (!unconfirmed.batch) return;
  const auto batch = std::exchange(unconfirmed.batch, nullptr);
  --open_;
  const auto outcome = !accepted              ? Published::unconfirmed
                       : unconfirmed.returned ? Published::returned
                                              : Published::confirmed;
  if (!accepted) nacked_.add();
  if (outcome == Published::confirmed) published_.add();
  const std::scoped_lock lock(batch->mutex);
  batch->outcomes[unconfirmed.index] = outcome;
  if (++batch->answered == batch->outcomes.size()) batch->changed.notify_all();
}

void Publishing::lost(const Trouble& trouble) {
  fail_all(trouble.text);
  set_blocked("");
}

/// Nothing that is under way will be answered.
void Publishing::fail_all(std::string_view why) {
  const auto fail_batch = [&](Batch& batch) {
    const std::scoped_lock lock(batch.mutex);
    batch.failure = fmt::format("RabbitMQ at {}: {}; what was sent may have arrived", parts_.pump.address.shown(), why);
    batch.changed.notify_all();
  };
  for (auto& each : unconfirmed_) {
    if (each.batch) fail_batch(*each.batch);
  }
  if (current_) fail_batch(*current_);
  current_.reset();
  unconfirmed_.clear();
  first_tag_ = 1;
  open_ = 0;
  window_.set(0);
}

void Publishing::channel_closed(Channel channel, const Refusal& refusal) {
  if (channel == kChannel) closed_ = refusal;
}

void Publishing::blocked(std::string_view reason) {
  if (reason.empty()) {
    parts_.pump.log.info("RabbitMQ, publishing: allowed again");
  } else {
    parts_.pump.log.warn("RabbitMQ, publishing: the broker lets nobody publish: {}", reason);
  }
  set_blocked(std::string(reason));
}

void Publishing::set_blocked(std::string reason) {
  blocked_gauge_.set(reason.empty() ? 0 : 1);
  const std::scoped_lock lock(mutex_);
  blocked_ = std::move(reason);
}

void Publishing::set_channel_trouble(std::string trouble) {
  const std::scoped_lock lock(mutex_);
  channel_trouble_ = std::move(trouble);
}

}  // namespace wfo::bus::rabbitmq
