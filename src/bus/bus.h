#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "events/event.h"
#include "store/event_log.h"
#include "store/store.h"

namespace wfo::bus {

/// A message as a consumer gets it.
struct Delivery {
  events::EventPtr event;  // null if the message could not be read as an event; then the next two say what and why
  std::string unreadable_bytes;
  std::string unreadable_reason;
  std::string headers = "{}";    // the transport's, as a JSON object
  store::Sequence sequence = 0;  // its place in the log, on a bus that is the log; else 0
  std::uint64_t tag = 0;         // the bus's own name for it until it is acknowledged
};

/// One consumer of one queue: receive → (in a transaction) settle → acknowledge, or release. One thread.
/// On a bus that keeps positions `settle` is what counts, on a broker `acknowledge`; callers do both and need not know.
class Consumer {
 public:
  virtual ~Consumer() = default;
  [[nodiscard]] virtual const std::string& queue() const = 0;
  /// At most `count_max` (> 0) messages, in order: what is there at once, else waits up to `wait` for the first.
  /// Empty: nothing came, what came does not concern this queue, or `stop`. What was received before and is not
  /// acknowledged stays in hand and does not come again.
  /// Errors: `unavailable` the bus is away: call again later; what was in hand may come again.
  [[nodiscard]] virtual Result<std::vector<Delivery>> receive(std::size_t count_max, milliseconds wait,
                                                              std::stop_token stop) = 0;
  /// Called inside the transaction that holds the effects of `batch` (the oldest messages in hand, in order): a bus
  /// that keeps positions moves this consumer's. An empty batch notes how far was looked; what is in hand is not
  /// passed over. If the transaction fails, it is as if it had not been called.
  [[nodiscard]] virtual Result<void> settle(store::Transaction& transaction, std::span<const Delivery> batch) = 0;
  /// Called after the commit with the same batch: the messages do not come again.
  /// Errors: `unavailable` the bus is away: they may come again (see `redelivers`).
  [[nodiscard]] virtual Result<void> acknowledge(std::span<const Delivery> batch) = 0;
  /// Gives everything that is in hand back: it comes again, in order.
  [[nodiscard]] virtual Result<void> release() = 0;
  /// Whether a message that took effect can come again (after a lost acknowledgement). Then an inbox is needed.
  [[nodiscard]] virtual bool redelivers() const = 0;
  /// How far into the log this consumer has looked; 0 on a bus that is not the log.
  [[nodiscard]] virtual store::Sequence looked_through() const = 0;
};

struct ConsumerOptions {
  std::string queue;                         // durable; names the consumer's position too; 1..255 bytes
  std::vector<std::string> bindings;         // at least one topic pattern (`bus/topic.h`) of at most 255 bytes
  std::size_t bytes_max = 16 * 1024 * 1024;  // of one `receive`: the message that reaches it is the last
  /// Where to begin on a bus that is the log; nothing: at the position that the store holds. For a consumer whose
  /// effects, and so whose position, lie in a database of their own.
  std::optional<store::Sequence> start_after = {};
};

inline constexpr std::size_t kNameBytesMax = 255;  // AMQP's short string: queues, bindings, routing keys

/// Where messages come from. Any thread.
class Bus {
 public:
  virtual ~Bus() = default;
  /// Declares the queue with its bindings and starts to consume it. Every queue gets every message that one of its
  /// bindings matches, once. The consumer must not outlive the bus.
  /// Errors: `invalid_argument` names the queue and what is wrong with the options; `unavailable` the bus is away;
  /// `corruption` the position lies beyond the end of the log: log and consumer are not of one installation's time.
  [[nodiscard]] virtual Result<std::unique_ptr<Consumer>> consume(ConsumerOptions options) = 0;
};

}  // namespace wfo::bus
