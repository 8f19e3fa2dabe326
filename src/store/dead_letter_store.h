#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store {

enum class DeadLetterStatus { waiting, replayed, discarded };
[[nodiscard]] std::string_view name(DeadLetterStatus status);

/// A message that was set aside: what came, from where, and why it could not be handled.
struct DeadLetter {
  DeadLetterId id;
  TenantId tenant;      // the system tenant if the message names none
  std::string queue;    // the consumer's queue
  std::string type;     // "" if it could not be read
  std::string headers;  // JSON object of the transport's headers; "{}" on the embedded bus
  std::string bytes;    // as received
  std::string reason;
  int attempts = 1;
  Timestamp created_at;
  DeadLetterStatus status = DeadLetterStatus::waiting;
  std::optional<EventId> replayed_as;  // the id under which it was published again
  std::string note;                    // who discarded it, and why
  friend bool operator==(const DeadLetter&, const DeadLetter&) = default;
};

struct DeadLetterQuery {
  std::optional<TenantId> tenant = {};  // nothing: the operator's view of all
  std::optional<DeadLetterStatus> status = {};
  std::size_t limit = 50;                   // 1..1000
  std::optional<DeadLetterId> before = {};  // the page's cursor
};

class DeadLetterStore {
 public:
  virtual ~DeadLetterStore() = default;
  /// Takes whatever came: what is no text (`store/text.h`) in `queue`, `type`, `headers`, `reason` and `note` is
  /// replaced by U+FFFD, `bytes` stay as they are. Errors: `conflict` an id is taken, or stands twice: names it; the
  /// transaction must then be given up, as others may be written.
  [[nodiscard]] virtual Result<void> insert(std::span<const DeadLetter> letters) = 0;
  [[nodiscard]] Result<void> insert(const DeadLetter& letter) { return insert(std::span(&letter, 1)); }
  [[nodiscard]] virtual Result<std::optional<DeadLetter>> find(const DeadLetterId& id) const = 0;
  /// The newest first.
  [[nodiscard]] virtual Result<std::vector<DeadLetter>> list(const DeadLetterQuery& query) const = 0;
  /// Errors: `conflict` it is not waiting any more; `not_found`.
  [[nodiscard]] virtual Result<void> settle(const DeadLetterId& id, DeadLetterStatus status,
                                            const std::optional<EventId>& replayed_as, std::string_view note) = 0;
  /// How many are waiting.
  [[nodiscard]] virtual Result<std::int64_t> count_waiting() const = 0;
  /// Deletes at most `count_max` settled ones created before `before`, the oldest first; waiting ones are never
  /// deleted.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
