#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "bus/rabbitmq/rabbit_bus.h"

namespace wfo::bus {

struct QueueState {
  std::uint32_t messages = 0;   // ready to be delivered
  std::uint32_t consumers = 0;  // of whatever program
};

/// Looks at a broker's queues and takes them away, on a connection of its own; declares nothing. For who must not
/// disturb others: benchmarks. One thread.
class RabbitQueues {
 public:
  /// Errors: `invalid_argument` the address; `unavailable` the broker is away or refuses us: says why.
  [[nodiscard]] static Result<std::unique_ptr<RabbitQueues>> open(const RabbitConfig& config);
  ~RabbitQueues();
  RabbitQueues(const RabbitQueues&) = delete;
  RabbitQueues& operator=(const RabbitQueues&) = delete;

  /// Nothing: there is no such queue. Errors: `unavailable`.
  [[nodiscard]] Result<std::optional<QueueState>> look(const std::string& queue);
  /// With all messages in it; one that is not there is no error. Errors: `unavailable`.
  [[nodiscard]] Result<void> remove(const std::string& queue);

 private:
  struct State;
  explicit RabbitQueues(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::bus
