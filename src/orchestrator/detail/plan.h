#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "events/types.h"
#include "orchestrator/detail/decider.h"
#include "orchestrator/detail/run_cache.h"
#include "orchestrator/detail/trigger_event.h"
#include "orchestrator/detail/wake_ups.h"
#include "orchestrator/orchestrator.h"

namespace wfo::orchestrator {

/// What all plans of an orchestrator share. Any thread.
struct Core {
  Core(store::Store& store_, const events::Contracts& contracts_, Definitions definitions, IdSource& ids_,
       const Clock& clock_, Logger& log_, Metrics& metrics, const OrchestratorConfig& config_)
      : store(store_),
        contracts(contracts_),
        ids(ids_),
        clock(clock_),
        log(log_),
        config(config_),
        factory(contracts_, ids_, clock_, events::kOrchestratorRole),
        decider(factory, ids_, config),
        cache(config_.cached_runs_max, config_.cached_bytes_max),
        numbers(metrics),
        definitions_(std::move(definitions)) {}

  [[nodiscard]] Definitions definitions() const {
    const std::scoped_lock lock(mutex_);
    return definitions_;
  }
  /// Looks what versions others have noted in the store.
  [[nodiscard]] Result<Definitions> reload_definitions();

  store::Store& store;
  const events::Contracts& contracts;
  IdSource& ids;
  const Clock& clock;
  Logger& log;
  const OrchestratorConfig config;
  const events::EventFactory factory;
  const Decider decider;
  RunCache cache;
  Numbers numbers;
  WakeUps wake_ups;
  std::atomic<std::uint64_t> definitions_missed{1};  // runs met whose definition is not known; 1: nobody has looked yet

 private:
  mutable std::mutex mutex_;  // guards definitions_
  Definitions definitions_;
};

/// The work of one transaction, in three parts: `prepare` reads, decides and makes events outside of it; `apply` writes
/// inside of it and asks again where others were faster; `settle` takes note of it once it is committed. One thread
/// at a time.
class Plan {
 public:
  explicit Plan(Core& core) : core_(core), definitions_(core.definitions()), now_(core.clock.now()) {}

  /// For about so many prompts.
  void reserve(std::size_t count) {
    prompts_.reserve(count);
    run_places_.reserve(count);
    runs_.reserve(count);
  }
  void add_prompt(const WorkflowId& run, Prompt prompt);
  /// `event` is where `wanted.changes` lies; null if there are none.
  void add_trigger(TriggerEvent wanted, events::EventPtr event);
  void count(Reason reason) { tally_.add(reason); }

  /// Errors: `not_found` a run that an answer is for is pinned to a definition that nobody here knows; else as the
  /// store, or `internal` an event of our own is invalid.
  [[nodiscard]] Result<void> prepare();
  /// May be called again after its transaction was given up. Errors: `conflict` others handled a trigger meanwhile:
  /// prepare a new plan.
  [[nodiscard]] Result<void> apply(store::Transaction& transaction);
  void settle();

  // What is decided in the transaction itself. `begin` first: the transaction may be a second try.
  void begin();
  /// Whether the definition that `run` is pinned to is known.
  [[nodiscard]] bool knows(const workflow::Run& run) const { return definitions_.pinned(run) != nullptr; }
  /// For a run that `transaction` has loaded, and whose definition is known: decides and writes at once. Returns the
  /// run as it is then.
  [[nodiscard]] Result<workflow::Run> carry_out(store::Transaction& transaction, store::StoredRun loaded,
                                                Prompt prompt);
  /// Starts the run that the triggers wait for which `absorber` absorbed before it ended. False: nothing is missing, or
  /// it has to wait for an active run.
  [[nodiscard]] Result<bool> mend_follow_up(store::Transaction& transaction, const WorkflowId& absorber);

  /// Of the triggers, in their order; after `apply`.
  [[nodiscard]] const std::vector<StartAnswer>& answers() const { return answers_; }
  /// How many runs were changed by prompts; after `apply`.
  [[nodiscard]] std::size_t changed_count() const;
  /// Runs that were to be woken and are pinned to a definition that nobody here knows; after `prepare`.
  [[nodiscard]] const std::vector<WorkflowId>& without_definition() const { return without_definition_; }

 private:
  struct RunWork {
    WorkflowId id;
    std::uint32_t first = Prompt::kNone;
    std::uint32_t last = Prompt::kNone;
    bool absent = false;  // there is no such run, or it is left alone
    bool redone = false;  // others were faster: what was decided in the transaction counts
    Decided decided;
  };
  struct TriggerWork {
    TriggerEvent wanted;
    events::EventPtr event;
    const workflow::Definition* definition = nullptr;  // null: refused for `record.reason`
    store::Trigger record;
    Cause cause;
    std::optional<store::Trigger> seen;  // it was handled before
    std::optional<WorkflowId> active;    // of its opportunity, when the batch was prepared
    std::optional<Decided> start;        // ready to be written, unless the opportunity has an active run by then
    bool started = false;                // `start` was written
  };
  using Misses = std::vector<std::size_t>;
  using Places = std::vector<std::size_t>;  // in triggers_

  Result<bool> decide(RunWork& work, store::StoredRun base, bool cached);
  /// Whether all that is said to the run comes from other tenants.
  bool is_foreign(const RunWork& work, const workflow::Run& run) const;
  Result<void> decide_misses(Misses misses, std::span<std::optional<store::StoredRun>> runs);
  Result<void> read(const Misses& misses, std::vector<std::optional<store::StoredRun>>& runs, bool with_triggers);
  Result<void> reload_definitions();
  [[nodiscard]] workflow::Run seed(const store::Trigger& trigger) const;

  Result<void> lock_absorbers(store::Transaction& transaction);
  Result<void> apply_runs(store::Transaction& transaction);
  Result<void> redo(store::Transaction& transaction, RunWork& work);
  Result<void> write(store::Transaction& transaction, const Decided& decided);
  Result<void> follow_up(store::Transaction& transaction, std::span<const Decided* const> ended);
  Result<void> apply_triggers(store::Transaction& transaction);
  Result<void> apply_starts(store::Transaction& transaction, Places starting, Places& others);
  Result<void> apply_others(store::Transaction& transaction, Places others);
  Result<std::set<WorkflowId>> lock_active(store::Transaction& transaction,
                                           std::span<const std::optional<WorkflowId>> active);
  Result<StartAnswer> apply_singly(store::Transaction& transaction, std::size_t place);
  Result<void> admit(store::Transaction& transaction, TriggerWork& trigger, const workflow::Definition& definition);
  Result<void> supersede(store::Transaction& transaction, store::StoredRun active, const TriggerWork& trigger);
  Result<void> conclude(store::Transaction& transaction, Places settled);
  StartAnswer repeated(const store::Trigger& seen);
  Result<void> write_changes(store::Transaction& transaction);
  Result<WorkflowId> start_for(store::Transaction& transaction, const store::Trigger& trigger,
                               const workflow::Definition& definition, const Cause& cause, bool exclusive);
  void note(Decided&& decided);

  Core& core_;
  Definitions definitions_;
  Definitions earlier_;  // before `reloaded_`; definitions of triggers may lie there
  bool reloaded_ = false;
  const Timestamp now_;
  std::vector<Prompt> prompts_;
  std::vector<RunWork> runs_;
  std::unordered_map<WorkflowId, std::size_t> run_places_;
  std::vector<TriggerWork> triggers_;
  std::vector<WorkflowId> without_definition_;
  Tally tally_;  // of what was ignored before anything was decided

  // What `apply` did beyond what was prepared; made anew by each call.
  std::vector<StartAnswer> answers_;
  Places changing_;  // triggers that were new
  std::vector<Decided> extra_;
  Tally applied_;
};

}  // namespace wfo::orchestrator
