#include "orchestrator/detail/plan.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include "events/types.h"
#include "store/opportunity_changes.h"

namespace wfo::orchestrator {

namespace {

using workflow::Definition;
using workflow::OnActive;

std::string known_names(const std::vector<Definition>& definitions) {
  std::string names;
  for (const Definition& definition : definitions) names += (names.empty() ? "" : ", ") + definition.name;
  return names;
}

// Why a request can start nothing, or "".
std::string reason_to_refuse(const StartRequest& request, const Definition* definition,
                             const Definitions& definitions) {
  if (definition == nullptr) {
    return fmt::format("there is no workflow '{}'; allowed: {}", request.definition,
                       known_names(definitions.all_current()));
  }
  if (request.correlation_id.size() > events::kMetadataTextMax) {
    return fmt::format("the correlation id has {} bytes; allowed: up to {}", request.correlation_id.size(),
                       events::kMetadataTextMax);
  }
  return "";
}

std::unexpected<Error> no_definition(const workflow::Run& run) {
  return fail(ErrorCode::not_found, "workflow {} is pinned to '{}' {}, which is not known here", run.id.to_string(),
              run.definition_name, run.definition_version);
}

using store::OpportunityKey;
struct HashOpportunity {
  std::size_t operator()(const OpportunityKey& key) const noexcept {
    return std::hash<TenantId>{}(key.tenant) * 31 + std::hash<OpportunityId>{}(key.opportunity);
  }
};

}  // namespace

Result<Definitions> Core::reload_definitions() {
  TRY_ASSIGN(Definitions fresh, definitions().reload(store));
  const std::scoped_lock lock(mutex_);
  definitions_ = fresh;
  return fresh;
}

void Plan::add_prompt(const WorkflowId& run, Prompt prompt) {
  const auto at = static_cast<std::uint32_t>(prompts_.size());
  prompts_.push_back(std::move(prompt));
  const auto [place, is_new] = run_places_.emplace(run, runs_.size());
  if (is_new) {
    RunWork& work = runs_.emplace_back();
    work.id = run;
    work.first = work.last = at;
    return;
  }
  RunWork& work = runs_[place->second];
  prompts_[work.last].next = at;
  work.last = at;
}

void Plan::add_trigger(TriggerEvent wanted, events::EventPtr event) {
  TriggerWork& trigger = triggers_.emplace_back();
  trigger.wanted = std::move(wanted);
  trigger.event = std::move(event);
}

Result<void> Plan::prepare() {
  Misses misses;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    auto cached = core_.cache.take(runs_[i].id);
    bool done = false;
    if (cached && definitions_.pinned(cached->run) != nullptr) {
      TRY_ASSIGN(done, decide(runs_[i], *std::move(cached), true));
    }
    if (!done) misses.push_back(i);
  }
  for (TriggerWork& trigger : triggers_) {
    StartRequest& request = trigger.wanted.request;
    trigger.definition = definitions_.current(request.definition);
    trigger.record.reason = reason_to_refuse(request, trigger.definition, definitions_);
    if (!trigger.record.reason.empty()) trigger.definition = nullptr;
    trigger.record.tenant = request.tenant;
    trigger.record.id = request.trigger_id;
    trigger.record.type = request.trigger_type;
    trigger.record.opportunity = request.opportunity;
    trigger.record.external_id = request.external_id;
    trigger.record.definition_name = trigger.definition ? trigger.definition->name : request.definition;
    const bool no_correlation = request.correlation_id.empty() || trigger.definition == nullptr;
    trigger.record.correlation_id = no_correlation ? request.trigger_id.to_string() : request.correlation_id;
    trigger.record.received_at = now_;
    trigger.cause = {request.causation_id, std::move(request.user_id), std::move(request.traceparent)};
  }
  std::vector<std::optional<store::StoredRun>> runs;
  if (!misses.empty() || !triggers_.empty()) TRY(read(misses, runs, true));
  return decide_misses(std::move(misses), runs);
}

// Everything that is not known, in one visit to the store. With triggers: which of them are known, and whose
// opportunity has an active run; the others get their run made now. It may turn out otherwise in the transaction.
Result<void> Plan::read(const Misses& misses, std::vector<std::optional<store::StoredRun>>& runs, bool with_triggers) {
  std::vector<WorkflowId> ids;
  ids.reserve(misses.size());
  for (const std::size_t i : misses) ids.push_back(runs_[i].id);
  std::vector<store::TriggerKey> keys;
  if (with_triggers) {
    keys.reserve(triggers_.size());
    for (const TriggerWork& trigger : triggers_) keys.push_back({trigger.record.tenant, trigger.record.id});
  }
  TRY(core_.store.read([&](const store::Transaction& transaction) -> Result<void> {
    if (!ids.empty()) {
      TRY_ASSIGN(runs, transaction.runs().load(ids));
    }
    if (!with_triggers || triggers_.empty()) return {};
    TRY_ASSIGN(auto seen, transaction.triggers().find(keys));
    std::vector<OpportunityKey> asked;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < triggers_.size(); ++i) {
      triggers_[i].seen = std::move(seen[i]);
      if (triggers_[i].seen || triggers_[i].definition == nullptr) continue;
      asked.push_back({triggers_[i].record.tenant, triggers_[i].record.opportunity});
      places.push_back(i);
    }
    if (asked.empty()) return {};
    TRY_ASSIGN(const auto active, transaction.runs().active_runs(asked));
    for (std::size_t k = 0; k < places.size(); ++k) triggers_[places[k]].active = active[k];
    return {};
  }));
  if (!with_triggers) return {};
  std::unordered_set<OpportunityKey, HashOpportunity> taken;
  for (TriggerWork& trigger : triggers_) {
    if (trigger.seen || trigger.definition == nullptr) continue;
    // The second trigger of an opportunity in one batch meets the run of the first one.
    const bool is_first = taken.insert({trigger.record.tenant, trigger.record.opportunity}).second;
    if (trigger.active || !is_first) continue;
    TRY_ASSIGN(trigger.start, core_.decider.start(seed(trigger.record), *trigger.definition, trigger.cause, now_));
  }
  return {};
}

bool Plan::is_foreign(const RunWork& work, const workflow::Run& run) const {
  for (std::uint32_t at = work.first; at != Prompt::kNone; at = prompts_[at].next) {
    const auto& event = prompts_[at].event;
    if (!event || event->tenant() == run.tenant) return false;
  }
  return true;
}

// Ends: an answer is refused once at most, and each further visit is due to one more refused answer.
Result<void> Plan::decide_misses(Misses misses, std::span<std::optional<store::StoredRun>> runs) {
  std::vector<std::optional<store::StoredRun>> loaded;
  while (!misses.empty()) {
    Misses again;
    for (std::size_t k = 0; k < misses.size(); ++k) {
      RunWork& work = runs_[misses[k]];
      std::optional<store::StoredRun>& run = runs[k];
      if (!run) {
        work.absent = true;
        for (std::uint32_t at = work.first; at != Prompt::kNone; at = prompts_[at].next) {
          tally_.add(Reason::unknown_workflow);
        }
        continue;
      }
      if (definitions_.pinned(run->run) == nullptr) {
        TRY(reload_definitions());
        if (definitions_.pinned(run->run) == nullptr) {
          ++core_.definitions_missed;
          // Whoever asks about another tenant's run learns nothing of it, its definition included.
          if (is_foreign(work, run->run)) {
            work.absent = true;
            for (std::uint32_t at = work.first; at != Prompt::kNone; at = prompts_[at].next) {
              tally_.add(Reason::foreign_tenant);
            }
            continue;
          }
          // An answer is set aside, to be handed in again when the definition is there; a wake-up can wait.
          if (prompts_[work.first].kind != Prompt::Kind::wake_up) return no_definition(run->run);
          work.absent = true;
          without_definition_.push_back(work.id);
          continue;
        }
      }
      TRY_ASSIGN(const bool done, decide(work, *std::move(run), false));
      if (!done) again.push_back(misses[k]);
    }
    misses = std::move(again);
    if (misses.empty()) return {};
    loaded.clear();
    TRY(read(misses, loaded, false));
    runs = loaded;
  }
  return {};
}

Result<void> Plan::reload_definitions() {
  if (reloaded_) return {};
  reloaded_ = true;
  earlier_ = definitions_;
  TRY_ASSIGN(definitions_, core_.reload_definitions());
  return {};
}

// False: the run has to be loaded (again). Its definition is known.
Result<bool> Plan::decide(RunWork& work, store::StoredRun base, bool cached) {
  const Definition* definition = definitions_.pinned(base.run);
  INVARIANT(definition != nullptr);
  TRY_ASSIGN(const auto turnout,
             core_.decider.decide(prompts_, work.first, std::move(base), cached, *definition, now_, work.decided));
  return turnout == Decider::Turnout::done;
}

workflow::Run Plan::seed(const store::Trigger& trigger) const {
  workflow::Run run;
  run.tenant = trigger.tenant;
  run.opportunity = trigger.opportunity;
  run.external_id = trigger.external_id;
  run.correlation_id = trigger.correlation_id;
  run.trigger_type = trigger.type;
  run.trigger_id = trigger.id;
  return run;
}

// Each kind of row is written for the whole batch at once, in the order of its keys, so that two processes with
// overlapping batches wait for each other but never both. What others were faster with is looked at singly.
Result<void> Plan::apply(store::Transaction& transaction) {
  begin();
  answers_.assign(triggers_.size(), {});
  changing_.clear();
  TRY(lock_absorbers(transaction));
  TRY(apply_runs(transaction));
  TRY(apply_triggers(transaction));
  return write_changes(transaction);
}

// The runs that are to absorb something are locked later on; where others are written before, that would be out of
// order.
Result<void> Plan::lock_absorbers(store::Transaction& transaction) {
  std::vector<WorkflowId> ids;
  for (const TriggerWork& trigger : triggers_) {
    if (trigger.active) ids.push_back(*trigger.active);
  }
  if (ids.empty()) return {};
  const std::size_t absorbers = ids.size();
  for (const RunWork& work : runs_) {
    if (!work.absent && work.decided.changed) ids.push_back(work.id);
  }
  const bool starts = std::ranges::any_of(triggers_, [](const auto& trigger) { return trigger.start.has_value(); });
  if (ids.size() == absorbers && !starts) return {};
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  TRY(transaction.runs().load(ids));
  return {};
}

Result<void> Plan::apply_runs(store::Transaction& transaction) {
  std::vector<RunWork*> works;
  works.reserve(runs_.size());
  for (RunWork& work : runs_) {
    work.redone = false;
    if (!work.absent && work.decided.changed) works.push_back(&work);
  }
  if (works.empty()) return {};
  std::ranges::sort(works, {}, &RunWork::id);
  std::vector<store::RunUpdate> updates;
  updates.reserve(works.size());
  for (const RunWork* work : works) updates.push_back({&work->decided.before, &work->decided.after});
  TRY_ASSIGN(const auto written, transaction.runs().update(updates));

  std::vector<const Decided*> ended;
  for (std::size_t i = 0; i < works.size(); ++i) {
    if (!written[i]) continue;
    const Decided& decided = works[i]->decided;
    if (!decided.events.empty()) TRY(transaction.log().append(decided.events));
    if (decided.ended) ended.push_back(&decided);
  }
  TRY(follow_up(transaction, ended));
  for (std::size_t i = 0; i < works.size(); ++i) {
    if (!written[i]) TRY(redo(transaction, *works[i]));
  }
  return {};
}

// Somebody else wrote the run since it was read. In here its row is ours, so what is decided now holds.
Result<void> Plan::redo(store::Transaction& transaction, RunWork& work) {
  work.redone = true;
  for (;;) {
    TRY_ASSIGN(auto runs, transaction.runs().load({&work.id, 1}));
    if (!runs.front()) {  // retention was faster still
      applied_.add(Reason::unknown_workflow);
      return {};
    }
    const Definition* definition = definitions_.pinned(runs.front()->run);
    if (definition == nullptr) {
      if (!is_foreign(work, runs.front()->run)) return no_definition(runs.front()->run);
      applied_.add(Reason::foreign_tenant);
      return {};
    }
    Decided decided;
    TRY_ASSIGN(const auto turnout,
               core_.decider.decide(prompts_, work.first, *std::move(runs.front()), false, *definition, now_, decided));
    if (turnout == Decider::Turnout::reload) continue;
    if (decided.changed) {
      TRY(transaction.runs().update(decided.before, decided.after));
      TRY(write(transaction, decided));
    }
    extra_.push_back(std::move(decided));
    return {};
  }
}

// What belongs to a run that was written.
Result<void> Plan::write(store::Transaction& transaction, const Decided& decided) {
  if (!decided.events.empty()) TRY(transaction.log().append(decided.events));
  if (!decided.ended) return {};
  const Decided* ended = &decided;
  return follow_up(transaction, {&ended, 1});
}

// The triggers that a run absorbed get their run when it ends, in the same transaction, so that nothing can come
// between.
Result<void> Plan::follow_up(store::Transaction& transaction, std::span<const Decided* const> ended) {
  if (ended.empty()) return {};
  std::vector<WorkflowId> ids;
  ids.reserve(ended.size());
  for (const Decided* decided : ended) ids.push_back(decided->after.id);
  TRY_ASSIGN(const auto absorbed, transaction.triggers().absorbed_by(ids));
  if (absorbed.empty()) return {};
  std::unordered_map<WorkflowId, const store::Trigger*> newest;
  for (const store::Trigger& trigger : absorbed) newest[*trigger.workflow] = &trigger;
  for (const Decided* decided : ended) {
    const auto found = newest.find(decided->after.id);
    if (found == newest.end()) continue;
    const store::Trigger& trigger = *found->second;
    const Definition* definition = definitions_.current(trigger.definition_name);
    if (definition == nullptr) definition = definitions_.pinned(decided->after);
    if (definition == nullptr) return no_definition(decided->after);
    // An API call is no event; then the end of the run before is what directly led here.
    const EventId cause = core_.contracts.knows(trigger.type) ? trigger.id : decided->events.back()->id();
    TRY_ASSIGN(const WorkflowId next, start_for(transaction, trigger, *definition, {cause}, true));
    TRY(transaction.triggers().set_follow_up(decided->after.id, next));
  }
  return {};
}

Result<WorkflowId> Plan::start_for(store::Transaction& transaction, const store::Trigger& trigger,
                                   const Definition& definition, const Cause& cause, bool exclusive) {
  TRY_ASSIGN(Decided start, core_.decider.start(seed(trigger), definition, cause, now_));
  const WorkflowId id = start.after.id;
  TRY(transaction.runs().insert(start.after, exclusive));
  TRY(transaction.log().append(start.events));
  extra_.push_back(std::move(start));
  return id;
}

Result<void> Plan::apply_triggers(store::Transaction& transaction) {
  Places starting;
  Places others;
  for (std::size_t i = 0; i < triggers_.size(); ++i) {
    TriggerWork& trigger = triggers_[i];
    trigger.started = false;
    if (trigger.seen) {
      answers_[i] = repeated(*trigger.seen);
    } else {
      (trigger.start ? starting : others).push_back(i);
    }
  }
  if (!starting.empty()) TRY(apply_starts(transaction, std::move(starting), others));
  return others.empty() ? Result<void>{} : apply_others(transaction, std::move(others));
}

// Those whose opportunity had no active run when the batch was prepared. If it has one by now, they are `others`.
Result<void> Plan::apply_starts(store::Transaction& transaction, Places starting, Places& others) {
  const auto opportunity = [&](std::size_t i) {
    return OpportunityKey{triggers_[i].record.tenant, triggers_[i].record.opportunity};
  };
  std::ranges::sort(starting, {}, opportunity);
  std::vector<store::NewRun> runs;
  runs.reserve(starting.size());
  for (const std::size_t i : starting) runs.push_back({&triggers_[i].start->after, true});
  TRY_ASSIGN(const auto inserted, transaction.runs().insert(runs));
  Places started;
  for (std::size_t k = 0; k < starting.size(); ++k) {
    TriggerWork& trigger = triggers_[starting[k]];
    if (!inserted[k]) {
      others.push_back(starting[k]);
      continue;
    }
    trigger.started = true;
    TRY(transaction.log().append(trigger.start->events));
    trigger.record.outcome = store::TriggerOutcome::started;
    trigger.record.workflow = trigger.start->after.id;
    started.push_back(starting[k]);
  }
  std::ranges::sort(others);
  return conclude(transaction, std::move(started));
}

// The opportunity has an active run, of which we knew or not, or the same batch has started one; or it is to be
// refused.
Result<void> Plan::apply_others(store::Transaction& transaction, Places others) {
  std::vector<store::TriggerKey> keys;
  for (const std::size_t i : others) keys.push_back({triggers_[i].record.tenant, triggers_[i].record.id});
  TRY_ASSIGN(const auto seen, transaction.triggers().find(keys));
  Places settled;  // their record can be written
  Places singly;
  Places asking;
  std::vector<OpportunityKey> opportunities;
  std::set<store::TriggerKey> keys_met;
  for (std::size_t k = 0; k < others.size(); ++k) {
    const std::size_t i = others[k];
    TriggerWork& trigger = triggers_[i];
    if (seen[k]) {
      answers_[i] = repeated(*seen[k]);
    } else if (!keys_met.insert(keys[k]).second) {
      singly.push_back(i);  // it stands twice in this batch
    } else if (trigger.definition == nullptr) {
      trigger.record.outcome = store::TriggerOutcome::refused;
      trigger.record.workflow.reset();
      settled.push_back(i);
    } else if (trigger.definition->on_active == OnActive::coalesce) {
      asking.push_back(i);
      opportunities.push_back({trigger.record.tenant, trigger.record.opportunity});
    } else {
      singly.push_back(i);
    }
  }
  if (!asking.empty()) {
    TRY_ASSIGN(const auto active, transaction.runs().active_runs(opportunities));
    TRY_ASSIGN(const auto absorbers, lock_active(transaction, active));
    for (std::size_t k = 0; k < asking.size(); ++k) {
      const std::size_t i = asking[k];
      if (!active[k] || !absorbers.contains(*active[k])) {
        singly.push_back(i);
        continue;
      }
      triggers_[i].record.outcome = store::TriggerOutcome::absorbed;
      triggers_[i].record.workflow = active[k];
      settled.push_back(i);
    }
  }
  TRY(conclude(transaction, std::move(settled)));
  std::ranges::sort(singly);
  for (const std::size_t i : singly) {
    TRY_ASSIGN(answers_[i], apply_singly(transaction, i));
  }
  return {};
}

// Those of some runs that are active, and cannot end before this transaction does: their rows are ours now.
Result<std::set<WorkflowId>> Plan::lock_active(store::Transaction& transaction,
                                               std::span<const std::optional<WorkflowId>> active) {
  std::set<WorkflowId> locked;
  for (const auto& id : active) {
    if (id) locked.insert(*id);
  }
  if (locked.empty()) return locked;
  const std::vector<WorkflowId> ids(locked.begin(), locked.end());
  TRY_ASSIGN(const auto runs, transaction.runs().load(ids));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!runs[i] || !workflow::is_active(runs[i]->run)) locked.erase(ids[i]);
  }
  return locked;
}

Result<StartAnswer> Plan::apply_singly(store::Transaction& transaction, std::size_t place) {
  TriggerWork& trigger = triggers_[place];
  TRY_ASSIGN(const auto seen, transaction.triggers().find(trigger.record.tenant, trigger.record.id));
  if (seen) return repeated(*seen);
  TRY(admit(transaction, trigger, *trigger.definition));
  TRY(conclude(transaction, {place}));
  return answers_[place];
}

// Decides about a trigger, with all that it leads to but its own record.
Result<void> Plan::admit(store::Transaction& transaction, TriggerWork& trigger, const Definition& definition) {
  store::Trigger& record = trigger.record;
  TRY_ASSIGN(const auto active, transaction.runs().active_run(record.tenant, record.opportunity));
  std::optional<store::StoredRun> run;
  if (active) {
    TRY_ASSIGN(auto loaded, transaction.runs().load({&*active, 1}));  // its row is ours now: it cannot end meanwhile
    run = std::move(loaded.front());
    if (run && !workflow::is_active(run->run)) run.reset();
  }
  if (run && definition.on_active == OnActive::coalesce) {
    record.outcome = store::TriggerOutcome::absorbed;
    record.workflow = run->run.id;
    return {};
  }
  const bool beside = run && definition.on_active == OnActive::start_new;
  if (run && !beside) TRY(supersede(transaction, *std::move(run), trigger));
  TRY_ASSIGN(const WorkflowId started, start_for(transaction, record, definition, trigger.cause, !beside));
  if (active && !beside) TRY(transaction.triggers().set_follow_up(*active, started));
  record.outcome = store::TriggerOutcome::started;
  record.workflow = started;
  return {};
}

// Cancels the active run for a newer trigger. The run that starts now is also the one that its absorbed triggers wait
// for.
Result<void> Plan::supersede(store::Transaction& transaction, store::StoredRun active, const TriggerWork& trigger) {
  const Definition* definition = definitions_.pinned(active.run);
  if (definition == nullptr) return no_definition(active.run);
  Prompt cancel;
  cancel.kind = Prompt::Kind::cancel;
  cancel.event = trigger.event;
  cancel.text = fmt::format("superseded by trigger {}", trigger.record.id.to_string());
  Decided decided;
  TRY_ASSIGN(const auto turnout,
             core_.decider.decide({&cancel, 1}, 0, std::move(active), false, *definition, now_, decided));
  INVARIANT(turnout == Decider::Turnout::done && decided.ended);
  TRY(transaction.runs().update(decided.before, decided.after));
  TRY(transaction.log().append(decided.events));
  extra_.push_back(std::move(decided));
  return {};
}

// Writes the records of triggers whose outcome is known.
Result<void> Plan::conclude(store::Transaction& transaction, Places settled) {
  if (settled.empty()) return {};
  std::ranges::sort(settled, {}, [&](std::size_t i) {
    return store::TriggerKey{triggers_[i].record.tenant, triggers_[i].record.id};
  });
  std::vector<store::Trigger> records;
  records.reserve(settled.size());
  for (const std::size_t i : settled) records.push_back(std::move(triggers_[i].record));
  const auto written = transaction.triggers().insert(records);
  for (std::size_t k = 0; k < settled.size(); ++k) triggers_[settled[k]].record = std::move(records[k]);
  if (!written) return std::unexpected(written.error());
  for (std::size_t k = 0; k < settled.size(); ++k) {
    const store::Trigger& record = triggers_[settled[k]].record;
    if (!(*written)[k]) {
      return fail(ErrorCode::conflict, "trigger {} of tenant {} was handled meanwhile", record.id.to_string(),
                  record.tenant.to_string());
    }
    if (record.outcome == store::TriggerOutcome::absorbed) ++applied_.absorbed;
    if (record.outcome == store::TriggerOutcome::refused) ++applied_.refused;
    if (record.outcome != store::TriggerOutcome::refused) changing_.push_back(settled[k]);
    answers_[settled[k]] = StartAnswer{record.outcome, record.workflow, false, record.reason};
  }
  return {};
}

StartAnswer Plan::repeated(const store::Trigger& seen) {
  applied_.add(Reason::repeated_trigger);
  return StartAnswer{seen.outcome, seen.workflow, true, seen.reason};
}

// What the triggers that were new say about their opportunities. The last thing in the transaction: by then each of
// those opportunities is ours, by the row of its active run, so that no change is lost between two processes.
Result<void> Plan::write_changes(store::Transaction& transaction) {
  std::ranges::sort(changing_);
  std::vector<store::OpportunityChange> changes;
  for (const std::size_t i : changing_) {
    const TriggerEvent& wanted = triggers_[i].wanted;
    if (!wanted.changes) continue;
    changes.push_back({wanted.request.tenant, wanted.request.opportunity, wanted.request.external_id, *wanted.changes,
                       wanted.changed_at});
  }
  if (changes.empty()) return {};
  TRY_ASSIGN(const auto written, store::change_opportunities(transaction.opportunities(), changes));
  for (const bool one : written) {
    if (!one) applied_.add(Reason::outdated_change);
  }
  return {};
}

void Plan::begin() {
  extra_.clear();
  applied_ = {};
}

Result<workflow::Run> Plan::carry_out(store::Transaction& transaction, store::StoredRun loaded, Prompt prompt) {
  begin();
  const Definition* definition = definitions_.pinned(loaded.run);
  if (definition == nullptr) return no_definition(loaded.run);
  Decided decided;
  TRY_ASSIGN(const auto turnout,
             core_.decider.decide({&prompt, 1}, 0, std::move(loaded), false, *definition, now_, decided));
  INVARIANT(turnout == Decider::Turnout::done && decided.changed);
  TRY(transaction.runs().update(decided.before, decided.after));
  TRY(write(transaction, decided));
  workflow::Run run = decided.after;
  extra_.push_back(std::move(decided));
  return run;
}

Result<bool> Plan::mend_follow_up(store::Transaction& transaction, const WorkflowId& absorber) {
  TRY_ASSIGN(const auto absorbed, transaction.triggers().absorbed_by(absorber));
  if (absorbed.empty()) return false;
  const store::Trigger& newest = absorbed.back();
  TRY_ASSIGN(auto loaded, transaction.runs().load({&absorber, 1}));
  if (loaded.front() && workflow::is_active(loaded.front()->run)) return false;
  TRY_ASSIGN(const auto active, transaction.runs().active_run(newest.tenant, newest.opportunity));
  if (active) {
    // A run that was started after them has seen what they wanted to be seen.
    TRY_ASSIGN(auto other, transaction.runs().load({&*active, 1}));
    if (!other.front() || other.front()->run.created_at < newest.received_at) return false;
    TRY(transaction.triggers().set_follow_up(absorber, *active));
    return true;
  }
  const Definition* definition = definitions_.current(newest.definition_name);
  if (definition == nullptr && loaded.front()) definition = definitions_.pinned(loaded.front()->run);
  if (definition == nullptr) definition = definitions_.current("");
  const std::optional<EventId> cause = core_.contracts.knows(newest.type) ? std::optional(newest.id) : std::nullopt;
  TRY_ASSIGN(const WorkflowId next, start_for(transaction, newest, *definition, {cause}, true));
  TRY(transaction.triggers().set_follow_up(absorber, next));
  return true;
}

std::size_t Plan::changed_count() const {
  std::size_t count = 0;
  for (const RunWork& work : runs_) count += !work.absent && !work.redone && work.decided.changed;
  for (const Decided& decided : extra_) count += decided.changed && decided.before.version > 0;
  return count;
}

void Plan::settle() {
  for (RunWork& work : runs_) {
    if (!work.absent && !work.redone) note(std::move(work.decided));
  }
  for (TriggerWork& trigger : triggers_) {
    if (trigger.started) note(*std::move(trigger.start));
  }
  for (Decided& decided : extra_) note(std::move(decided));
  tally_.add(applied_);
  core_.numbers.count(tally_);
}

void Plan::note(Decided&& decided) {
  tally_.add(decided.tally);
  if (decided.changed) {
    if (const auto at = workflow::next_wake_up(decided.after)) core_.wake_ups.note(*at);
  }
  const std::int64_t version = decided.version_after();
  core_.cache.put({std::move(decided.after), version});
}

}  // namespace wfo::orchestrator
