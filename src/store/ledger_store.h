#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "events/event.h"
#include "store/event_log.h"
#include "store/lease_store.h"

namespace wfo::store {

/// A place in a tenant's ledger: 0, 1, 2, … without gaps; the index of its leaf in the tenant's tree.
using LedgerIndex = std::int64_t;

/// What is appended: the event and what search needs of it.
struct LedgerRecord {
  events::EventPtr event;
  std::optional<WorkflowId> workflow;
  std::optional<OpportunityId> opportunity;
  Timestamp received_at;
};

struct LedgerEntry {
  TenantId tenant;
  LedgerIndex index = 0;
  EventId event_id;
  std::string type;
  Timestamp timestamp;    // the event's own
  Timestamp received_at;  // when the ledger took it
  std::optional<WorkflowId> workflow;
  std::optional<OpportunityId> opportunity;
  std::string bytes;  // as received
};

/// What the ledger could not take as an event.
struct QuarantinedMessage {
  std::int64_t id = 0;  // given by the store
  std::optional<TenantId> tenant;
  std::optional<EventId> event_id;
  std::string reason;
  Timestamp received_at;
  std::string bytes;  // as received
};

enum class LedgerOutcome {
  appended,
  repeated,  // same bytes under a known (tenant, event id): nothing is written
  forged,    // other bytes under a known id: quarantined
};

struct LedgerQuery {
  TenantId tenant;
  std::string type = {};               // "": all
  std::optional<Timestamp> from = {};  // of the event's timestamp, inclusive
  std::optional<Timestamp> to = {};    // exclusive
  std::optional<WorkflowId> workflow = {};
  std::optional<OpportunityId> opportunity = {};
  LedgerIndex after = -1;   // the page's cursor: only entries with a greater index
  std::size_t limit = 100;  // 1..10000
  /// An entry whose bytes would make those of the page more than this ends the page before it, unless it is the first:
  /// so a page with fewer than `limit` entries need not be the last; an empty one is behind it.
  std::size_t bytes_max = kPageBytesUnlimited;  // 1..2^62

  static constexpr std::size_t kPageBytesUnlimited = std::size_t{1} << 62;
};

/// The audit log's tables: a database of their own. Any thread.
class LedgerStore {
 public:
  virtual ~LedgerStore() = default;

  /// The right to append, which one process of an installation has at a time: as `LeaseStore::acquire`, in the ledger's
  /// own database.
  [[nodiscard]] virtual Result<std::optional<Lease>> acquire(std::string_view holder, milliseconds length) = 0;
  /// Gives it back; one that was taken over stays as it is.
  [[nodiscard]] virtual Result<void> release(Epoch epoch) = 0;

  /// One durable transaction: appends the records in order, quarantines, and moves `consumer` to `position`.
  /// One outcome per record. What is no text (`store/text.h`) in a reason is replaced by U+FFFD. `epoch`: of the right
  /// to append; nothing where no other process can be.
  /// Errors: `unavailable` the disk is full or failing, or the database away, try again; `conflict` the right was taken
  /// over since `epoch`; `corruption`; then nothing is written.
  [[nodiscard]] virtual Result<std::vector<LedgerOutcome>> append(std::span<const LedgerRecord> records,
                                                                  std::span<const QuarantinedMessage> unreadable,
                                                                  std::string_view consumer, Sequence position,
                                                                  std::optional<Epoch> epoch = std::nullopt) = 0;
  [[nodiscard]] virtual Result<Sequence> position(std::string_view consumer) = 0;

  /// How many entries a tenant's ledger has.
  [[nodiscard]] virtual Result<LedgerIndex> size(const TenantId& tenant) = 0;
  [[nodiscard]] virtual Result<std::vector<TenantId>> tenants() = 0;
  /// Ascending by index. In memory: the page, and at most one entry more.
  [[nodiscard]] virtual Result<std::vector<LedgerEntry>> search(const LedgerQuery& query) = 0;
  /// The oldest first, at most `limit` with id > `after`; of one tenant if given.
  [[nodiscard]] virtual Result<std::vector<QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant,
                                                                            std::int64_t after, std::size_t limit) = 0;
};

}  // namespace wfo::store
