#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store {

/// The last risk analysis of an opportunity on one day (UTC).
struct RiskSnapshot {
  TenantId tenant;
  OpportunityId opportunity;
  Date day;
  Timestamp evaluated_at;  // of that day
  EventId event;           // the `workflow.step.completed` that it is taken from
  WorkflowId workflow;
  std::string fields;  // a JSON object: riskScore, revenueAtRisk, categoryScores, …
  friend bool operator==(const RiskSnapshot&, const RiskSnapshot&) = default;
};

class RiskSnapshotStore {
 public:
  virtual ~RiskSnapshotStore() = default;
  /// Of several for one tenant, opportunity and day the one with the greatest (evaluated_at, event) stays, in whatever
  /// order they come, also in one batch; so writing the same again changes nothing. Returns how many rows were inserted
  /// or replaced, each once. Errors: `invalid_argument` a text that `check_text` refuses; then nothing is written.
  [[nodiscard]] virtual Result<std::size_t> upsert(std::span<const RiskSnapshot> snapshots) = 0;
  /// Ascending by day, from <= day < to, at most `count_max`.
  [[nodiscard]] virtual Result<std::vector<RiskSnapshot>> list(const TenantId& tenant, const OpportunityId& opportunity,
                                                               Date from, Date to, std::size_t count_max) const = 0;
};

}  // namespace wfo::store
