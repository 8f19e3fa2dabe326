#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store {

/// That the outcome of an opportunity closed on that day was published.
struct RecordedOutcome {
  TenantId tenant;
  OpportunityId opportunity;
  Date close_on;
  EventId event;  // the `opportunity.outcome.recorded`
  Timestamp recorded_at;
  friend bool operator==(const RecordedOutcome&, const RecordedOutcome&) = default;
};

class OutcomeStore {
 public:
  virtual ~OutcomeStore() = default;
  /// One place per outcome, in order: false, and it is not written, if there is one of its tenant, opportunity and day.
  [[nodiscard]] virtual Result<std::vector<bool>> insert(std::span<const RecordedOutcome> outcomes) = 0;
};

}  // namespace wfo::store
