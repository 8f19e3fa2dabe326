#include "bus/rabbitmq/detail/topology.h"

#include <algorithm>

namespace wfo::bus::rabbitmq {
namespace {

constexpr std::size_t kSaidMax = 1'000;

std::unexpected<Trouble> trouble(std::string text, bool lasting) {
  return std::unexpected(Trouble{std::move(text), lasting});
}

/// Arguments of a queue; the texts must outlive it.
class Arguments {
 public:
  void text(const char* key, std::string_view value) {
    auto& field = add(key, AMQP_FIELD_KIND_UTF8);
    field.value.bytes = amqp_text(value);
  }
  void flag(const char* key) { add(key, AMQP_FIELD_KIND_BOOLEAN).value.boolean = 1; }
  void number(const char* key, std::int32_t value) { add(key, AMQP_FIELD_KIND_I32).value.i32 = value; }
  [[nodiscard]] amqp_table_t table() { return {static_cast<int>(entries_.size()), entries_.data()}; }

 private:
  amqp_field_value_t& add(const char* key, int kind) {
    auto& entry = entries_.emplace_back();
    entry.key = amqp_cstring_bytes(key);
    entry.value.kind = static_cast<std::uint8_t>(kind);
    return entry.value;
  }
  std::vector<amqp_table_entry_t> entries_;
};

/// Ours have no delivery limit: each death of a process counts one delivery of all it had in hand, and messages would
/// be lost to deaths. From 4.0 on the broker has one unless it is told otherwise; before, it refuses to be told.
void without_delivery_limit(Arguments& arguments, const Connection& connection) {
  if (connection.broker_major() >= 4) arguments.number("x-delivery-limit", -1);
}

}  // namespace

struct Topology::Declaring {
  Connection& connection;
  const Address& address;

  /// The scratch channel, opened anew where a refusal has closed it.
  Connection::Answer call(amqp_method_number_t id, void* method, amqp_method_number_t answer) const {
    if (!connection.is_open(kScratchChannel)) {
      if (auto opened = connection.open_channel(kScratchChannel); !opened) return opened;
    }
    return connection.call(kScratchChannel, id, method, answer);
  }

  /// What is to be done about a refusal of `what`, which needs `permission`.
  [[nodiscard]] std::unexpected<Trouble> refused(const Refusal& refusal, std::string_view what,
                                                 std::string_view permission) const {
    switch (refusal.code) {
      case 0:
        return trouble(refusal.text, false);
      case AMQP_ACCESS_REFUSED:
        return trouble(fmt::format("{}: permission missing: user '{}' needs {} in vhost '{}' (rabbitmqctl "
                                   "set_permissions -p); the broker says: {}",
                                   what, address.user, permission, address.vhost, refusal.text),
                       true);
      case AMQP_RESOURCE_LOCKED:
        return trouble(
            fmt::format(
                "{}: another connection holds it for itself: end that one or rename the queue; the broker says: {}",
                what, refusal.text),
            true);
      default:
        return trouble(fmt::format("{}: {} {}", what, refusal.code, refusal.text), false);
    }
  }
};

std::vector<QueueSpec> Topology::queues() const {
  const std::scoped_lock lock(mutex_);
  return queues_;
}

Attempt<void> Topology::declare(Connection& connection, const Address& address) {
  const Declaring declaring{connection, address};
  TRY(declare_exchange(declaring, config_.exchange));
  TRY(declare_exchange(declaring, config_.dead_letter_exchange));
  const bool again = [&] {
    const std::scoped_lock lock(mutex_);
    return declared_once_;
  }();
  for (const auto& spec : queues()) {
    const auto declared = declare_one(declaring, spec);
    if (declared) continue;
    if (!connection.is_alive() || (declared.error().lasting && !again)) return declared;
    say_once(declared.error().text);
  }
  connection.close_channel(kScratchChannel);
  const std::scoped_lock lock(mutex_);
  declared_once_ = true;
  return {};
}

void Topology::say_once(const std::string& text) {
  const std::scoped_lock lock(mutex_);
  if (said_.size() >= kSaidMax) said_.clear();
  if (said_.insert(text).second) log_.warn("RabbitMQ: {}", text);
}

Attempt<void> Topology::declare_queue(Connection& connection, const Address& address, const std::string& queue) {
  const Declaring declaring{connection, address};
  for (const auto& spec : queues()) {
    if (spec.queue == queue) TRY(declare_one(declaring, spec));
    if (!spec.plain && spec.queue + std::string(kNetSuffix) == queue) TRY(declare_net(declaring, spec.queue));
  }
  connection.close_channel(kScratchChannel);
  return {};
}

Attempt<void> Topology::declare_exchange(const Declaring& declaring, const std::string& exchange) {
  const auto what = fmt::format("exchange '{}'", exchange);
  amqp_exchange_declare_t declare{};
  declare.exchange = amqp_text(exchange);
  declare.type = amqp_text("topic");
  declare.durable = 1;
  const auto declared = declaring.call(AMQP_EXCHANGE_DECLARE_METHOD, &declare, AMQP_EXCHANGE_DECLARE_OK_METHOD);
  if (declared) return {};
  const auto& refusal = declared.error();
  if (refusal.code == AMQP_PRECONDITION_FAILED) {
    // Another argument, an alternate exchange say, does no harm. The broker names the first difference.
    if (refusal.text.find("'type'") == std::string::npos && refusal.text.find("'durable'") == std::string::npos) {
      say_once(fmt::format("{} exists with other arguments than ours and is used as it is; the broker says: {}", what,
                           refusal.text));
      return {};
    }
    return trouble(fmt::format("{} exists, but is not the durable topic exchange that it must be: delete it, or set "
                               "another name; the broker says: {}",
                               what, refusal.text),
                   true);
  }
  if (refusal.code == AMQP_ACCESS_REFUSED) {
    // Who may not configure can use what an administrator has made.
    declare.passive = 1;
    if (declaring.call(AMQP_EXCHANGE_DECLARE_METHOD, &declare, AMQP_EXCHANGE_DECLARE_OK_METHOD)) return {};
  }
  return declaring.refused(refusal, what, "configure");
}

Attempt<void> Topology::declare_one(const Declaring& declaring, const QueueSpec& spec) {
  Arguments arguments;
  if (!spec.plain) {
    TRY(declare_net(declaring, spec.queue));
    arguments.text("x-queue-type", "quorum");
    arguments.text("x-dead-letter-exchange", config_.dead_letter_exchange);
    arguments.text("x-dead-letter-routing-key", spec.queue);
    arguments.text("x-dead-letter-strategy", "at-least-once");
    arguments.text("x-overflow", "reject-publish");
    if (spec.single_active_consumer) arguments.flag("x-single-active-consumer");
    without_delivery_limit(arguments, declaring.connection);
  }
  TRY(ensure(declaring, spec.queue, arguments.table()));
  for (const auto& pattern : spec.bindings) TRY(bind(declaring, spec.queue, config_.exchange, pattern));
  return {};
}

Attempt<void> Topology::declare_net(const Declaring& declaring, const std::string& queue) {
  const auto net = queue + std::string(kNetSuffix);
  Arguments arguments;
  arguments.text("x-queue-type", "quorum");
  without_delivery_limit(arguments, declaring.connection);
  TRY(ensure(declaring, net, arguments.table()));
  return bind(declaring, net, config_.dead_letter_exchange, queue);
}

/// Asks first, since to declare a queue that exists with other arguments is an error, and to ask is none.
Attempt<void> Topology::ensure(const Declaring& declaring, const std::string& queue, const amqp_table_t& arguments) {
  const auto what = fmt::format("queue '{}'", queue);
  amqp_queue_declare_t declare{};
  declare.queue = amqp_text(queue);
  declare.passive = 1;
  const auto found = declaring.call(AMQP_QUEUE_DECLARE_METHOD, &declare, AMQP_QUEUE_DECLARE_OK_METHOD);
  if (!found && found.error().code != AMQP_NOT_FOUND) return declaring.refused(found.error(), what, "configure");

  declare.passive = 0;
  declare.durable = 1;
  declare.arguments = arguments;
  const auto declared = declaring.call(AMQP_QUEUE_DECLARE_METHOD, &declare, AMQP_QUEUE_DECLARE_OK_METHOD);
  if (declared) return {};
  const auto& refusal = declared.error();
  if (refusal.code == AMQP_PRECONDITION_FAILED) {
    say_once(fmt::format(
        "{} exists with other arguments than ours and is used as it is, without what it lacks of them; the broker "
        "says: {}",
        what, refusal.text));
    return {};
  }
  if (found && refusal.code == AMQP_ACCESS_REFUSED) return {};  // somebody else made it, and we may use it
  return declaring.refused(refusal, what, "configure");
}

Attempt<void> Topology::bind(const Declaring& declaring, const std::string& queue, const std::string& exchange,
                             const std::string& pattern) {
  amqp_queue_bind_t bind{};
  bind.queue = amqp_text(queue);
  bind.exchange = amqp_text(exchange);
  bind.routing_key = amqp_text(pattern);
  const auto bound = declaring.call(AMQP_QUEUE_BIND_METHOD, &bind, AMQP_QUEUE_BIND_OK_METHOD);
  if (bound) return {};
  return declaring.refused(bound.error(), fmt::format("binding of queue '{}' to exchange '{}'", queue, exchange),
                           "write on the queue and read on the exchange");
}

void Topology::add(const std::string& queue, const std::vector<std::string>& bindings) {
  const std::scoped_lock lock(mutex_);
  auto found = std::ranges::find(queues_, queue, &QueueSpec::queue);
  if (found == queues_.end()) {
    queues_.push_back({.queue = queue, .bindings = {}});
    found = queues_.end() - 1;
  }
  for (const auto& binding : bindings) {
    if (std::ranges::find(found->bindings, binding) == found->bindings.end()) found->bindings.push_back(binding);
  }
  ++version_;
}

bool Topology::is_net(std::string_view queue) const {
  if (!queue.ends_with(kNetSuffix)) return false;
  queue.remove_suffix(kNetSuffix.size());
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(queues_, queue, &QueueSpec::queue);
  return found != queues_.end() && !found->plain;
}

int Topology::prefetch(std::string_view queue) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(queues_, queue, &QueueSpec::queue);
  return found != queues_.end() && found->prefetch > 0 ? found->prefetch : config_.prefetch;
}

std::vector<std::string> Topology::bindings() const {
  std::vector<std::string> all;
  for (const auto& spec : queues()) all.insert(all.end(), spec.bindings.begin(), spec.bindings.end());
  return all;
}

std::uint64_t Topology::version() const {
  const std::scoped_lock lock(mutex_);
  return version_;
}

}  // namespace wfo::bus::rabbitmq
