#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store {

/// What became of a trigger.
enum class TriggerOutcome {
  started,   // `workflow` is the run it started
  absorbed,  // `workflow` is the active run that absorbed it; `follow_up` the run that started for it later
  refused,   // `reason` says why
};
[[nodiscard]] std::string_view name(TriggerOutcome outcome);

struct Trigger {
  TenantId tenant;
  EventId id;
  std::string type;  // the event type, or `api`
  OpportunityId opportunity;
  std::string external_id;
  std::string definition_name;
  std::string correlation_id;
  Timestamp received_at;
  TriggerOutcome outcome = TriggerOutcome::refused;
  std::optional<WorkflowId> workflow;
  std::optional<WorkflowId> follow_up;
  std::string reason;
  friend bool operator==(const Trigger&, const Trigger&) = default;
};

/// Every trigger that was acknowledged, with its outcome (invariant 1).
class TriggerStore {
 public:
  virtual ~TriggerStore() = default;
  [[nodiscard]] virtual Result<std::optional<Trigger>> find(const TenantId& tenant, const EventId& id) const = 0;
  /// False, and nothing is written, if the trigger is known. Errors: `invalid_argument` a text that `check_text`
  /// refuses.
  [[nodiscard]] virtual Result<bool> insert(const Trigger& trigger) = 0;
  /// Triggers that `workflow` absorbed and that have no follow-up yet, oldest first.
  [[nodiscard]] virtual Result<std::vector<Trigger>> absorbed_by(const WorkflowId& workflow) const = 0;
  /// Runs that are not active (any more) and absorbed triggers that have no follow-up: there must be none but for the
  /// moment between. In no order, at most `count_max`.
  [[nodiscard]] virtual Result<std::vector<WorkflowId>> without_follow_up(std::size_t count_max) const = 0;
  /// Notes the run that started for all that `absorber` absorbed.
  [[nodiscard]] virtual Result<void> set_follow_up(const WorkflowId& absorber, const WorkflowId& follow_up) = 0;
  /// Deletes at most `count_max` triggers received before `before`, the oldest first; never one that was absorbed and
  /// still waits for its follow-up. Returns how many.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
