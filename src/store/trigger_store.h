#pragma once

#include <optional>
#include <span>
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

struct TriggerKey {
  TenantId tenant;
  EventId id;
  friend auto operator<=>(const TriggerKey&, const TriggerKey&) = default;
};

/// Every trigger that was acknowledged, with its outcome (invariant 1).
class TriggerStore {
 public:
  virtual ~TriggerStore() = default;
  /// One place per key, in order.
  [[nodiscard]] virtual Result<std::vector<std::optional<Trigger>>> find(std::span<const TriggerKey> keys) const = 0;
  /// One place per trigger, in order: false, and it is not written, if it is known. Errors: `invalid_argument` a text
  /// that `check_text` refuses; then nothing is written.
  [[nodiscard]] virtual Result<std::vector<bool>> insert(std::span<const Trigger> triggers) = 0;
  /// Triggers that these runs absorbed and that have no follow-up yet; of each run the oldest first.
  [[nodiscard]] virtual Result<std::vector<Trigger>> absorbed_by(std::span<const WorkflowId> workflows) const = 0;

  /// The same for one.
  [[nodiscard]] Result<std::optional<Trigger>> find(const TenantId& tenant, const EventId& id) const {
    const TriggerKey key{tenant, id};
    TRY_ASSIGN(auto found, find({&key, 1}));
    return std::move(found.front());
  }
  [[nodiscard]] Result<bool> insert(const Trigger& trigger) {
    TRY_ASSIGN(const auto written, insert({&trigger, 1}));
    return static_cast<bool>(written.front());
  }
  [[nodiscard]] Result<std::vector<Trigger>> absorbed_by(const WorkflowId& workflow) const {
    return absorbed_by({&workflow, 1});
  }
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
