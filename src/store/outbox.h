#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/event_log.h"

namespace wfo::store {

struct OutboxEntry {
  Sequence sequence = 0;
  events::EventPtr event;
  int returns = 0;  // how often the broker had no queue for it
};

struct OutboxCounts {
  std::int64_t waiting = 0;         // entries that await publication, parked ones included
  std::int64_t parked = 0;          // of them, those that came back
  std::optional<Timestamp> oldest;  // when the oldest of them was committed
};

/// The run that an event belongs to: its data's `workflowId`.
[[nodiscard]] std::optional<WorkflowId> run_of(const events::Event& event);

/// Which entries of the log await publication through a broker. `EventLog::append` adds to it, in an installation
/// whose bus is a broker; in one whose log is the bus it is always empty. Selected by state, never by a cursor: an
/// entry leaves only when it is marked.
class Outbox {
 public:
  virtual ~Outbox() = default;
  /// Entries that may be published at `now`, ascending: at most `count_max` and about `bytes_max` of their bytes, at
  /// least one. One that came back is passed over until its time, and what stands behind it in its run (`run_of`)
  /// until it is published; other runs go on. At most a quarter (at least one) of them came back before, so that they
  /// do not crowd out the others.
  [[nodiscard]] virtual Result<std::vector<OutboxEntry>> unpublished(Timestamp now, std::size_t count_max,
                                                                     std::size_t bytes_max) const = 0;
  /// They are confirmed: they leave the outbox. What is not in it is passed over.
  [[nodiscard]] virtual Result<void> mark_published(std::span<const Sequence> sequences) = 0;
  /// The broker returned them: they stay, count one return more, and come again at `until`. What is not in the outbox
  /// is passed over.
  [[nodiscard]] virtual Result<void> park(std::span<const Sequence> sequences, Timestamp until) = 0;
  /// Cheap as long as little waits.
  [[nodiscard]] virtual Result<OutboxCounts> counts() const = 0;
};

}  // namespace wfo::store
