#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store {

struct InboxKey {
  TenantId tenant;
  EventId event;
  std::uint64_t digest = 0;  // of the bytes: `short_digest`
};

enum class InboxVerdict {
  fresh,     // not seen before; it is noted now
  repeated,  // the same bytes under the same id were handled
  forged,    // other bytes came under a known id
};

/// Ids of the messages that a consumer has handled, committed with their effects.
class Inbox {
 public:
  virtual ~Inbox() = default;
  /// Notes what is fresh. One verdict per key, in order; a key that stands twice in `keys` is fresh once.
  [[nodiscard]] virtual Result<std::vector<InboxVerdict>> record(std::string_view consumer,
                                                                 std::span<const InboxKey> keys, Timestamp now) = 0;
  /// Forgets at most `count_max` messages handled before `before`, those first that were noted first; one noted after a
  /// younger one may wait for it. Returns how many.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
