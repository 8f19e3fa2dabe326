#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "bus/bus.h"
#include "bus/rabbitmq/detail/connection.h"
#include "events/contracts.h"

namespace wfo::bus::rabbitmq {

/// A message as it came, until somebody receives it.
struct Message {
  std::uint64_t delivery_tag = 0;
  bool redelivered = false;
  std::string exchange;
  std::string routing_key;
  Content content;
  [[nodiscard]] std::size_t bytes() const { return content.body.size() + content.properties.size(); }
};

/// Properties and headers of a message, written as JSON.
struct Properties {
  std::string json;  // an object: exchange, routing_key, redelivered, the properties by their AMQP names, headers
  std::optional<EventId> message_id;  // if it is a uuid
};

/// Never fails: what cannot be read as properties becomes `"unreadable"` with its bytes in hex. Field types become:
/// numbers and booleans themselves (not finite: a string), timestamps RFC 3339, byte arrays `{"hex":…}`, tables
/// objects (of two equal keys the first), arrays arrays, void null, decimals strings; nested deeper than 32 levels: a
/// string that says so.
[[nodiscard]] Properties read_properties(const Message& message);

/// The message as a consumer gets it; its tag is the caller's business.
[[nodiscard]] Delivery delivery_of(Message message, const events::Contracts& contracts, Timestamp received,
                                   std::size_t body_bytes_max);

/// Sends events. One thread.
class EventPublisher {
 public:
  explicit EventPublisher(const events::Contracts& contracts) : contracts_(contracts) {}
  /// Under the event's type as routing key, as the design's section 8 says.
  void publish(Connection& connection, Channel channel, std::string_view exchange, const events::Event& event,
               bool mandatory);

 private:
  const std::string& schema_name(const std::string& type);

  const events::Contracts& contracts_;
  std::unordered_map<std::string, std::string>
      schema_names_;  // by type: of each contract used, `<type>;sha256=<hex of its text>`
};

}  // namespace wfo::bus::rabbitmq
