#include "orchestrator/orchestrator.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <unordered_set>
#include <utility>

#include "orchestrator/detail/plan.h"

namespace wfo::orchestrator {

namespace {

constexpr int kTriesMax = 10;                       // of a call that others were faster than
constexpr milliseconds kPassesApart{1'000};         // the timers' thread asks the store at most so often
constexpr milliseconds kLookAgain{10'000};          // and at least so often: somebody may have set the clock
constexpr std::size_t kWakeBatchMax = 1'000;        // runs woken in one transaction
constexpr std::size_t kCheckBatchMax = 1'000;       // repairs in one transaction
constexpr std::size_t kForeignRunsMax = 1'000'000;  // ids of runs without a definition that are remembered

std::unexpected<Error> no_such_run(const WorkflowId& id) {
  return fail(ErrorCode::not_found, "there is no workflow {}", id.to_string());
}

std::string how_it_ended(const workflow::Run& run) {
  return fmt::format("{} at {}{}{}", name(run.status), format_timestamp(run.updated_at), run.error.empty() ? "" : ": ",
                     run.error);
}

// What the role consumes, and what each type is to it. Answers are told from triggers by their `workflowId`, should a
// type be both.
struct Types {
  explicit Types(const Definitions& definitions) {
    for (const workflow::Definition& definition : definitions.all_current()) {
      for (const std::string& type : definition.triggers) triggers.emplace(type, definition.name);
    }
    for (const workflow::Definition& definition : definitions.all_known()) {
      for (const workflow::StepDefinition& step : definition.steps) {
        answers.insert(step.completed_event);
        answers.insert(step.failed_event);
      }
    }
  }
  std::unordered_map<std::string, std::string> triggers;  // type -> name of the definition
  std::unordered_set<std::string> answers;
};

}  // namespace

struct Orchestrator::State {
  State(store::Store& store, const events::Contracts& contracts, Definitions definitions, IdSource& ids,
        const Clock& clock, Logger& log, Metrics& metrics, const OrchestratorConfig& config)
      : types(definitions), core(store, contracts, std::move(definitions), ids, clock, log, metrics, config) {}

  /// Runs `plan` in a transaction of its own. Errors: as `Plan::prepare`, `Plan::apply` and the store.
  Result<void> commit(Plan& plan) {
    TRY(plan.prepare());
    TRY(core.store.transact([&](store::Transaction& transaction) { return plan.apply(transaction); }));
    plan.settle();
    return {};
  }

  /// Loads the run, asks `refuse` (an error ends it) and carries `prompt` out.
  template <class Refuse>
  Result<workflow::Run> change(const TenantId& tenant, const WorkflowId& id, const Prompt& prompt, Refuse refuse) {
    for (bool reloaded = false;; reloaded = true) {
      Plan plan(core);
      workflow::Run changed;
      bool is_strange = false;
      auto committed = core.store.transact([&](store::Transaction& transaction) -> Result<void> {
        TRY_ASSIGN(auto runs, transaction.runs().load({&id, 1}));
        if (!runs.front() || runs.front()->run.tenant != tenant) return no_such_run(id);
        TRY(refuse(transaction, runs.front()->run));
        is_strange = !plan.knows(runs.front()->run);
        if (is_strange) {
          return fail(ErrorCode::conflict, "workflow {} is pinned to '{}' {}, which is not known here", id.to_string(),
                      runs.front()->run.definition_name, runs.front()->run.definition_version);
        }
        TRY_ASSIGN(changed, plan.carry_out(transaction, *std::move(runs.front()), prompt));
        return {};
      });
      if (is_strange && !reloaded) {
        TRY(core.reload_definitions());
        continue;
      }
      if (is_strange) ++core.definitions_missed;
      TRY(std::move(committed));
      plan.settle();
      return changed;
    }
  }

  Result<SelfCheck> self_check();

  const Types types;
  Core core;
  std::unique_ptr<Plan> prepared;  // of the consumer loop; not committed yet
  std::mutex mutex;                // guards foreign
  std::set<WorkflowId> foreign;    // overdue runs whose definition is not known here, passed over when runs are woken
  std::atomic<std::uint64_t> misses_explained{0};  // of core.definitions_missed: no active run is behind so many
};

Orchestrator::Orchestrator(store::Store& store, const events::Contracts& contracts, Definitions definitions,
                           IdSource& ids, const Clock& clock, Logger& log, Metrics& metrics, OrchestratorConfig config)
    : state_(std::make_unique<State>(store, contracts, std::move(definitions), ids, clock, log, metrics, config)) {}

Orchestrator::~Orchestrator() = default;

std::vector<std::string> Orchestrator::bindings() const {
  std::set<std::string> all(state_->types.answers.begin(), state_->types.answers.end());
  for (const auto& [type, definition] : state_->types.triggers) all.insert(type);
  return {all.begin(), all.end()};
}

Result<delivery::Handler::Apply> Orchestrator::prepare(std::span<const bus::Delivery> batch) {
  state_->prepared.reset();
  auto plan = std::make_unique<Plan>(state_->core);
  plan->reserve(batch.size());
  for (const bus::Delivery& delivery : batch) {
    const events::EventPtr& event = delivery.event;
    const bool may_answer = state_->types.answers.contains(event->type());
    const auto workflow = may_answer ? store::run_of(*event) : std::nullopt;
    if (workflow) {
      Prompt prompt;
      prompt.kind = Prompt::Kind::answer;
      prompt.event = event;
      plan->add_prompt(*workflow, std::move(prompt));
      continue;
    }
    const auto trigger = state_->types.triggers.find(event->type());
    if (trigger == state_->types.triggers.end()) {
      // One of ours may come by a binding of former times. A type that nobody described was sent here by mistake.
      if (event->verdict() == events::Verdict::no_schema) {
        return fail(ErrorCode::invalid_argument, "event {}: nobody here knows the type {}", event->id().to_string(),
                    event->type());
      }
      plan->count(may_answer ? Reason::unknown_workflow : Reason::not_consumed);
      continue;
    }
    TRY_ASSIGN(auto wanted, read_trigger(*event));
    if (!wanted) {
      plan->count(Reason::other_shard);
      continue;
    }
    wanted->request.definition = trigger->second;
    plan->add_trigger(*std::move(wanted), event);
  }
  TRY(plan->prepare());
  state_->prepared = std::move(plan);
  return [plan = state_->prepared.get()](store::Transaction& transaction) { return plan->apply(transaction); };
}

void Orchestrator::committed() {
  if (state_->prepared) state_->prepared->settle();
  state_->prepared.reset();
}

bool Orchestrator::knows(std::string_view definition) const {
  return state_->core.definitions().current(definition) != nullptr;
}

Result<std::vector<StartAnswer>> Orchestrator::start(std::span<const StartRequest> requests) {
  if (requests.empty()) return std::vector<StartAnswer>{};
  TRY(state_->core.store.admission());
  for (int tries = 1;; ++tries) {
    Plan plan(state_->core);
    for (const StartRequest& request : requests) plan.add_trigger({request}, nullptr);
    auto committed = state_->commit(plan);
    if (committed) return plan.answers();
    if (committed.error().code != ErrorCode::conflict) return std::unexpected(std::move(committed).error());
    if (tries == kTriesMax) return fail(ErrorCode::unavailable, "{}; try again", committed.error().message);
  }
}

Result<workflow::Run> Orchestrator::cancel(const TenantId& tenant, const WorkflowId& id, std::string_view reason,
                                           std::string_view user_id) {
  Prompt prompt;
  prompt.kind = Prompt::Kind::cancel;
  prompt.text = reason;
  prompt.user_id = user_id;
  return state_->change(tenant, id, prompt, [](store::Transaction&, const workflow::Run& run) -> Result<void> {
    if (workflow::is_active(run)) return {};
    return fail(ErrorCode::conflict, "workflow {} has ended: {}", run.id.to_string(), how_it_ended(run));
  });
}

Result<workflow::Run> Orchestrator::retry(const TenantId& tenant, const WorkflowId& id, std::string_view user_id) {
  Prompt prompt;
  prompt.kind = Prompt::Kind::retry;
  prompt.user_id = user_id;
  return state_->change(
      tenant, id, prompt, [](store::Transaction& transaction, const workflow::Run& run) -> Result<void> {
        if (run.status == workflow::RunStatus::running || run.status == workflow::RunStatus::completed) {
          return fail(ErrorCode::conflict, "workflow {} is {}; allowed: one that failed or was cancelled",
                      run.id.to_string(), name(run.status));
        }
        TRY_ASSIGN(const auto active, transaction.runs().active_run(run.tenant, run.opportunity));
        if (!active) return {};
        return fail(ErrorCode::conflict, "workflow {} cannot go on: workflow {} of the same opportunity is active",
                    run.id.to_string(), active->to_string());
      });
}

Result<std::size_t> Orchestrator::wake_due(std::size_t count_max) {
  Core& core = state_->core;
  std::set<WorkflowId> foreign;
  {
    const std::scoped_lock lock(state_->mutex);
    foreign = state_->foreign;
  }
  std::vector<WorkflowId> due;
  TRY(core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(due, transaction.runs().due(core.clock.now(), count_max + foreign.size()));
    return {};
  }));
  std::erase_if(due, [&](const WorkflowId& id) { return foreign.contains(id); });
  if (due.size() > count_max) due.resize(count_max);
  if (due.empty()) return 0;
  for (int tries = 1;; ++tries) {
    Plan plan(core);
    for (const WorkflowId& id : due) plan.add_prompt(id, Prompt{});
    auto committed = state_->commit(plan);
    if (!committed && committed.error().code == ErrorCode::conflict && tries < kTriesMax) continue;
    TRY(std::move(committed));
    const std::scoped_lock lock(state_->mutex);
    for (const WorkflowId& id : plan.without_definition()) {
      if (state_->foreign.size() < kForeignRunsMax) state_->foreign.insert(id);
    }
    return plan.changed_count();
  }
}

void Orchestrator::run_timers(milliseconds self_check_interval, std::stop_token stop, delivery::LeaseKeeper* lease) {
  Core& core = state_->core;
  std::string trouble;
  const auto tell = [&](std::string text) {
    if (text != trouble && !text.empty()) core.log.warn("timers: {}; trying again", text);
    trouble = std::move(text);
  };
  Timestamp next_check = core.clock.now() + self_check_interval;
  Timestamp look_at = core.clock.now();
  while (!stop.stop_requested()) {
    const Timestamp now = core.clock.now();
    if (lease) {
      const auto epoch = lease->hold();
      if (!epoch || !*epoch) {
        tell(epoch ? "" : epoch.error().message);
        look_at = now;  // as soon as it is ours: who had it may have left much undone
        core.wake_ups.sleep(core.clock, now + delivery::kStandbyWait, false, stop);
        continue;
      }
    }
    if (now >= next_check) {
      next_check = now + self_check_interval;
      const auto found = self_check();
      tell(found ? "" : found.error().message);
    }
    if (now >= look_at || core.wake_ups.is_due(now)) {
      core.wake_ups.forget();
      const auto woken = wake_due(kWakeBatchMax);
      tell(woken ? "" : woken.error().message);
      if (woken && *woken == kWakeBatchMax) continue;  // there is more
      std::optional<Timestamp> next;
      if (!lease) {
        const auto looked = core.store.read([&](const store::Transaction& transaction) -> Result<void> {
          TRY_ASSIGN(next, transaction.runs().next_wake_up());
          return {};
        });
        if (!looked) tell(looked.error().message);
      }
      // Where there are other processes, they set wake-ups that nobody tells us of.
      const milliseconds look_again = lease ? kPassesApart : kLookAgain;
      look_at = std::clamp(next.value_or(Timestamp::max()), now + kPassesApart, now + look_again);
      // What others note meanwhile may be due before the pause is over; then it waits for its end.
      core.wake_ups.sleep(core.clock, std::min(now + kPassesApart, next_check), false, stop);
    }
    core.wake_ups.sleep(core.clock, std::min(look_at, next_check), true, stop);
  }
}

Result<Orchestrator::SelfCheck> Orchestrator::self_check() { return state_->self_check(); }

Result<Orchestrator::SelfCheck> Orchestrator::State::self_check() {
  SelfCheck found;
  std::vector<WorkflowId> sleepers;
  std::vector<WorkflowId> absorbers;
  std::vector<store::ActiveDefinition> pinned;
  std::int64_t active = 0;
  const std::uint64_t missed = core.definitions_missed;
  TRY(core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(sleepers, transaction.runs().without_wake_up(kCheckBatchMax));
    TRY_ASSIGN(absorbers, transaction.triggers().without_follow_up(kCheckBatchMax));
    pinned.clear();
    if (missed != misses_explained) {
      TRY_ASSIGN(pinned, transaction.runs().active_definitions());
    }
    TRY_ASSIGN(active, transaction.runs().count_active());
    return {};
  }));
  core.numbers.set_active(active);

  TRY_ASSIGN(const Definitions definitions, core.reload_definitions());
  {
    const std::scoped_lock lock(mutex);
    foreign.clear();  // perhaps it is known now
  }
  for (const store::ActiveDefinition& one : pinned) {
    const bool known = std::ranges::any_of(definitions.all_known(), [&](const workflow::Definition& definition) {
      return definition.name == one.name && definition.version == one.version;
    });
    if (known) continue;
    found.without_definition += static_cast<std::size_t>(one.count);
    core.log.error("self-check: {} active runs are pinned to workflow '{}' {}, which is not known here; left alone",
                   one.count, one.name, one.version);
  }
  if (found.without_definition == 0) misses_explained = missed;

  if (!sleepers.empty()) {
    std::vector<Timestamp> wake_ups;
    TRY(core.store.transact([&](store::Transaction& transaction) -> Result<void> {
      wake_ups.clear();
      TRY_ASSIGN(const auto runs, transaction.runs().load(sleepers));
      for (const auto& stored : runs) {
        if (!stored) continue;
        const auto at = workflow::next_wake_up(stored->run);
        if (!at) continue;                                     // it has ended meanwhile
        TRY(transaction.runs().update(*stored, stored->run));  // writing it sets its wake-up
        wake_ups.push_back(*at);
        core.log.error("self-check: nothing would have woken workflow {}; mended", stored->run.id.to_string());
      }
      return {};
    }));
    for (const Timestamp at : wake_ups) core.wake_ups.note(at);
    found.without_wake_up = wake_ups.size();
  }

  if (!absorbers.empty()) {
    Plan plan(core);
    TRY(core.store.transact([&](store::Transaction& transaction) -> Result<void> {
      found.without_follow_up = 0;
      plan.begin();
      for (const WorkflowId& absorber : absorbers) {
        TRY_ASSIGN(const bool mended, plan.mend_follow_up(transaction, absorber));
        if (!mended) continue;
        ++found.without_follow_up;
        core.log.error("self-check: what workflow {} absorbed had no follow-up; mended", absorber.to_string());
      }
      return {};
    }));
    plan.settle();
  }
  core.numbers.count_mended("without_wake_up", found.without_wake_up);
  core.numbers.count_mended("without_follow_up", found.without_follow_up);
  core.numbers.count_mended("without_definition", found.without_definition);
  return found;
}

}  // namespace wfo::orchestrator
