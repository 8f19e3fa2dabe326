#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "events/event.h"

namespace wfo::bus {

/// What became of an event that was handed to a broker.
enum class Published {
  confirmed,    // the broker is answerable for it now
  returned,     // the broker has no queue for it, though somebody here consumes its type: publish it again later
  unconfirmed,  // not known: refused, or no answer in time; publish it again, which may send it twice
  unsent,       // the broker has not got it: nothing is said about it; publish it again
};

/// How events leave for a broker. There is none on a bus that is the log itself. One thread.
class Publisher {
 public:
  virtual ~Publisher() = default;
  /// Publishes in this order, under the event type as routing key, and waits for the broker's answers, at most `wait`
  /// after the last one was sent, or until `stop`. One outcome per event, in order. The bytes go as they are.
  /// Errors: `unavailable` the broker is away or lets nobody publish now: says why; what was sent may have arrived.
  [[nodiscard]] virtual Result<std::vector<Published>> publish(std::span<const events::EventPtr> batch,
                                                               milliseconds wait, std::stop_token stop) = 0;
};

}  // namespace wfo::bus
