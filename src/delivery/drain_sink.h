#pragma once

#include <span>
#include <string>
#include <string_view>

#include "delivery/consumer_loop.h"

namespace wfo::delivery {

/// Why a broker took a message out of a queue: from the header `x-death` of a message's headers (a JSON object), the
/// newest entry about `queue`, else the newest. "" if the headers do not say.
[[nodiscard]] std::string reason_of_death(std::string_view headers, std::string_view queue);

/// The sink below the net: consumes `<queue>.dlq`, where a broker puts what it takes out of `queue` by itself (nobody
/// of ours rejects a message), and sets every message aside as a dead letter of `queue`, with the broker's reason. One
/// that took effect before it fell into the net is dropped: the inbox knows it. One thread.
class DrainSink final : public Sink {
 public:
  DrainSink(store::Store& store, std::string queue, IdSource& ids, const Clock& clock)
      : store_(store), queue_(std::move(queue)), ids_(ids), clock_(clock) {}
  [[nodiscard]] Result<void> admission() override { return store_.admission(); }
  [[nodiscard]] Result<void> commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) override;
  [[nodiscard]] Result<void> set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                       int attempts) override;
  [[nodiscard]] Result<void> note_idle(bus::Consumer& consumer) override;

 private:
  store::Store& store_;
  const std::string queue_;
  IdSource& ids_;
  const Clock& clock_;
};

}  // namespace wfo::delivery
