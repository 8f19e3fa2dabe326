#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "bus/rabbitmq/detail/connection.h"
#include "bus/rabbitmq/rabbit_bus.h"

namespace wfo::bus::rabbitmq {

inline constexpr Channel kScratchChannel = 1;  // what may be refused is asked here: a refusal closes the channel
inline constexpr std::string_view kNetSuffix = ".dlq";

/// Exchanges, queues and bindings of the whole installation, and how they are declared. Any thread; the connection is
/// the caller's.
class Topology {
 public:
  Topology(const RabbitConfig& config, Logger& log) : config_(config), log_(log), queues_(config.topology) {}

  /// Declares everything. What is there already stays as it is. The first time a refusal that somebody has to mend is
  /// an error; else a queue that cannot be declared is told once and passed over, since most roles do without it, and
  /// those that do not try again.
  [[nodiscard]] Attempt<void> declare(Connection& connection, const Address& address);
  /// One queue with its bindings, or one net; all else it takes for declared.
  [[nodiscard]] Attempt<void> declare_queue(Connection& connection, const Address& address, const std::string& queue);

  /// A queue that somebody here consumes, with these bindings beside those that it has.
  void add(const std::string& queue, const std::vector<std::string>& bindings);
  /// Whether it is the net of a queue.
  [[nodiscard]] bool is_net(std::string_view queue) const;
  [[nodiscard]] int prefetch(std::string_view queue) const;
  /// All bindings of queues, without those of nets, and a number that changes whenever they do.
  [[nodiscard]] std::vector<std::string> bindings() const;
  [[nodiscard]] std::uint64_t version() const;

 private:
  struct Declaring;
  [[nodiscard]] std::vector<QueueSpec> queues() const;
  void say_once(const std::string& text);
  Attempt<void> declare_exchange(const Declaring& declaring, const std::string& exchange);
  Attempt<void> declare_one(const Declaring& declaring, const QueueSpec& spec);
  Attempt<void> declare_net(const Declaring& declaring, const std::string& queue);
  Attempt<void> ensure(const Declaring& declaring, const std::string& queue, const amqp_table_t& arguments);
  Attempt<void> bind(const Declaring& declaring, const std::string& queue, const std::string& exchange,
                     const std::string& pattern);

  const RabbitConfig& config_;
  Logger& log_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<QueueSpec> queues_;
  std::set<std::string> said_;  // what the log has; at most kSaidMax
  bool declared_once_ = false;
  std::uint64_t version_ = 1;
};

}  // namespace wfo::bus::rabbitmq
