#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "delivery/consumer_loop.h"
#include "delivery/lease_keeper.h"
#include "events/contracts.h"
#include "orchestrator/definitions.h"
#include "store/store.h"
#include "workflow/decide.h"
#include "workflow/definition.h"

namespace wfo::orchestrator {

struct OrchestratorConfig {
  std::size_t step_result_bytes_max = 256 * 1024;  // 1..event_bytes_max; beyond: the step fails, not retryable
  std::size_t run_results_bytes_max = 1024 * 1024;
  std::size_t cached_runs_max = 20'000;              // active runs kept in memory, so that a completion needs no read
  std::size_t cached_bytes_max = 256 * 1024 * 1024;  // of those, about
};

/// A wish to analyse an opportunity, from whatever side it comes.
struct StartRequest {
  TenantId tenant;
  EventId trigger_id;        // a trigger that was seen before starts nothing
  std::string trigger_type;  // the event type, `api` or `analyze`
  OpportunityId opportunity;
  std::string external_id;                   // the id that people know it by; "" if only the uuid is known
  std::string definition;                    // name; "" is the default
  std::string correlation_id;                // "": the trigger's id
  std::optional<EventId> causation_id = {};  // the event behind the trigger
  std::string user_id = {};
  std::string traceparent = {};
};

struct StartAnswer {
  store::TriggerOutcome outcome = store::TriggerOutcome::refused;
  std::optional<WorkflowId> workflow;  // the run that was started, or that absorbed the trigger
  bool repeated = false;               // the trigger was known; the rest says what became of it then
  std::string reason;                  // of a refusal
};

/// The role `workflow-orchestrator`: starts runs, asks for their steps, gathers the answers, ends runs; wakes them when
/// time has come. Every change of a run and its events commit in one transaction. Any thread may call; batches are
/// handled by one consumer loop.
class Orchestrator final : public delivery::Handler {
 public:
  Orchestrator(store::Store& store, const events::Contracts& contracts, Definitions definitions, IdSource& ids,
               const Clock& clock, Logger& log, Metrics& metrics, OrchestratorConfig config = {});
  ~Orchestrator() override;

  static constexpr std::string_view kQueue = "workflow_orchestrator_service";
  /// What the role consumes: triggers, completions and failures of all definitions.
  [[nodiscard]] std::vector<std::string> bindings() const;
  [[nodiscard]] Result<Apply> prepare(std::span<const bus::Delivery> batch) override;
  void committed() override;

  /// Whether there is a workflow of that name for new runs; "" is the default one. A start of another is refused.
  [[nodiscard]] bool knows(std::string_view definition) const;
  /// One durable transaction for all; an answer per request, in order. Requests of one batch may be of one opportunity.
  /// Errors: `unavailable` the disk is nearly full or the store is away: nothing was started.
  [[nodiscard]] Result<std::vector<StartAnswer>> start(std::span<const StartRequest> requests);
  /// Errors: `not_found` no such run in this tenant; `conflict` it has ended, says how.
  [[nodiscard]] Result<workflow::Run> cancel(const TenantId& tenant, const WorkflowId& id, std::string_view reason,
                                             std::string_view user_id = {});
  /// Errors: `not_found`; `conflict` it is running or completed, or another run of its opportunity is active.
  [[nodiscard]] Result<workflow::Run> retry(const TenantId& tenant, const WorkflowId& id,
                                            std::string_view user_id = {});

  /// Wakes what is due at `clock.now()`, at most `count_max` runs. Returns how many were woken.
  [[nodiscard]] Result<std::size_t> wake_due(std::size_t count_max = 1'000);
  /// Wakes runs when time has come and checks itself every `self_check_interval`, until `stop`. `lease`: where there
  /// are several processes, only its holder does so; the others look for it every `kStandbyWait`. Null: there is no
  /// other.
  void run_timers(milliseconds self_check_interval, std::stop_token stop, delivery::LeaseKeeper* lease = nullptr);

  struct SelfCheck {
    std::size_t without_wake_up = 0;     // active runs that nothing would ever have woken; repaired
    std::size_t without_follow_up = 0;   // runs that ended with absorbed triggers and no follow-up; started now
    std::size_t without_definition = 0;  // active runs whose definition is not known here; reported, left alone
    friend bool operator==(const SelfCheck&, const SelfCheck&) = default;
  };
  /// Looks for what must not be (invariants 1 and 8), mends it, logs and counts what it found. For runs without a
  /// definition it looks the first time, when such a run was met since, and as long as there are some: that means
  /// reading all active runs.
  [[nodiscard]] Result<SelfCheck> self_check();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wfo::orchestrator
