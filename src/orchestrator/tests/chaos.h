#pragma once

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <set>
#include <span>

#include "orchestrator/tests/world.h"

/// Everybody who acts on an installation, at random, and an auditor who looks at what came of it.
namespace wfo::orchestrator::testing {

using workflow::RunStatus;
using TriggerKey = std::pair<TenantId, EventId>;

/// Reads the log and the tables as an auditor would, and holds the design's invariants (section 5) against them.
class Audit {
 public:
  explicit Audit(World& world) : world_(world) {}

  void check(const std::set<TriggerKey>& acknowledged) {
    for (const TenantId& tenant : {kAcme, kOther}) {
      for (const auto& run : world_.runs(tenant)) runs_.emplace(run.id, world_.run(run.id));
    }
    for (const auto& event : world_.log()) check_event(*event);
    for (const auto& [id, run] : runs_) check_run(run);
    check_triggers(acknowledged);
    EXPECT_EQ(World::must(world_.orchestrator->self_check()), Orchestrator::SelfCheck{});  // invariant 8
  }

 private:
  struct Seen {
    int attempt = 0;
    bool ended = true;
    events::EventPtr end;
    std::set<std::string> completed;
    std::map<std::string, std::int64_t> requests;
  };

  void check_event(const events::Event& event) {
    SCOPED_TRACE(event.bytes());
    EXPECT_TRUE(world_.contracts->validate(event.root()).empty());  // invariant 6
    const WorkflowId id = World::workflow_of(event);
    const auto run = runs_.find(id);
    ASSERT_NE(run, runs_.end()) << "an event of a run that was never committed";  // invariant 4
    EXPECT_EQ(event.tenant(), run->second.tenant);                                // invariant 7
    EXPECT_EQ(World::text(event, "opportunityId"), run->second.opportunity.to_string());
    EXPECT_EQ(event.correlation_id(), run->second.correlation_id);
    Seen& seen = seen_[id];
    const std::string step = World::text(event, "stepId");
    if (event.type() == events::kAnalysisStarted) {
      EXPECT_TRUE(seen.ended);
      EXPECT_EQ(event.data().find("attempt")->integer(), ++seen.attempt);  // invariant 5
      seen.ended = false;
      return;
    }
    EXPECT_FALSE(seen.ended) << "after the end of the attempt";  // invariant 2
    if (event.type() == events::kStepCompleted) {
      EXPECT_TRUE(seen.completed.insert(step).second);  // invariant 3
    } else if (event.type().ends_with(".requested")) {
      EXPECT_FALSE(seen.completed.contains(step));
      EXPECT_EQ(event.data().find("attempt")->integer(), ++seen.requests[step]);  // invariant 5
    } else {
      seen.ended = true;
      seen.end = World::must(world_.contracts->restore(event.bytes(), event.timestamp()));
    }
  }

  // What the tables say must be what was published: invariant 4.
  void check_run(const workflow::Run& run) {
    SCOPED_TRACE(run.id.to_string());
    const Seen& seen = seen_[run.id];
    EXPECT_EQ(seen.attempt, run.attempt);
    EXPECT_EQ(seen.ended, !is_active(run));
    for (const auto& step : run.steps) {
      const auto requests = seen.requests.find(step.id.to_string());
      EXPECT_EQ(requests == seen.requests.end() ? 0 : requests->second, step.attempt);
      const auto* completed = std::get_if<workflow::Completed>(&step.state);
      EXPECT_EQ(seen.completed.contains(step.id.to_string()), completed != nullptr && completed->published);
    }
    if (is_active(run)) {
      EXPECT_TRUE(active_.emplace(run.tenant, run.opportunity).second || may_run_beside_) << "two active runs";
      return;
    }
    ASSERT_NE(seen.end, nullptr);
    if (run.status != RunStatus::completed) {
      EXPECT_EQ(seen.end->type(), events::kAnalysisFailed);
      EXPECT_EQ(World::text(*seen.end, "error"), run.error);
      return;
    }
    EXPECT_EQ(seen.end->type(), events::kAnalysisCompleted);
    EXPECT_EQ(seen.end->data().find("results")->size(), run.steps.size());
    std::size_t place = 0;
    for (const auto& member : seen.end->data().find("results")->members()) {
      EXPECT_EQ(member.value.raw(), std::get<workflow::Completed>(run.steps[place++].state).result);
    }
  }

  // Invariant 1.
  void check_triggers(const std::set<TriggerKey>& acknowledged) {
    std::map<WorkflowId, std::set<WorkflowId>> follow_ups;
    std::set<WorkflowId> explained;
    for (const auto& [tenant, id] : acknowledged) {
      SCOPED_TRACE(id.to_string());
      const auto trigger = world_.trigger(id, tenant);
      ASSERT_TRUE(trigger);
      if (trigger->outcome == store::TriggerOutcome::refused) {
        EXPECT_NE(trigger->reason, "");
        continue;
      }
      ASSERT_TRUE(trigger->workflow);
      ASSERT_TRUE(runs_.contains(*trigger->workflow));
      if (trigger->outcome == store::TriggerOutcome::started) {
        EXPECT_EQ(runs_.at(*trigger->workflow).trigger_id, id);
        EXPECT_TRUE(explained.insert(*trigger->workflow).second);
        continue;
      }
      const workflow::Run& absorber = runs_.at(*trigger->workflow);
      EXPECT_TRUE(trigger->follow_up || is_active(absorber)) << "lost";
      if (!trigger->follow_up) continue;
      ASSERT_TRUE(runs_.contains(*trigger->follow_up));
      auto& others = follow_ups[absorber.id];
      others.insert(*trigger->follow_up);
      EXPECT_LE(others.size(), static_cast<std::size_t>(absorber.attempt)) << "more than one for an end";
    }
    for (const auto& [absorber, others] : follow_ups) explained.insert(others.begin(), others.end());
    EXPECT_EQ(explained.size(), runs_.size()) << "a run that nobody asked for";
  }

  World& world_;
  std::map<WorkflowId, workflow::Run> runs_;
  std::map<WorkflowId, Seen> seen_;
  std::set<std::pair<TenantId, OpportunityId>> active_;
  bool may_run_beside_ = world_.definitions[0].on_active == workflow::OnActive::start_new;
};

/// One party that does anything at any time: the CRM, workers that are slow, forgetful, confused or malicious, an
/// operator, the clock.
class Chaos {
 public:
  Chaos(World& world, std::uint64_t seed) : world_(world), random_(seed) {}

  void act(Orchestrator& orchestrator, bool moves_the_clock) {
    look();
    const auto dice = below(100);
    if (dice < 60) {
      deliver(orchestrator);
    } else if (dice < 68) {
      start(orchestrator);
    } else if (dice < 74) {
      operate(orchestrator, true);
    } else if (dice < 84) {
      operate(orchestrator, false);
    } else {
      if (moves_the_clock) world_.clock.advance(milliseconds(below(dice < 90 ? 3'000 : 400'000)));
      const auto woken = orchestrator.wake_due(1 + below(20));
      EXPECT_TRUE(woken) << woken.error().message;
    }
  }

  /// Each replica has prepared a batch, about the same runs and opportunities, before any of them commits; what
  /// somebody else was faster with is prepared again, as the consumers' loop does it.
  void interleave(std::span<const std::unique_ptr<Orchestrator>> replicas) {
    look();
    struct Work {
      Orchestrator* replica;
      std::vector<events::EventPtr> triggers;
      std::vector<bus::Delivery> deliveries;
      std::optional<delivery::Handler::Apply> apply;
    };
    std::vector<Work> works;
    for (const auto& replica : replicas) {
      Work& work = works.emplace_back();
      work.replica = replica.get();
      for (const auto& one : batch_of(1 + below(20), work.triggers)) work.deliveries.emplace_back().event = one;
    }
    // A trigger that stands in the queue twice may come to two replicas at once.
    if (chance(50) && !works[0].triggers.empty()) {
      works[1].triggers.push_back(works[0].triggers[0]);
      works[1].deliveries.emplace_back().event = works[0].triggers[0];
    }
    for (int round = 0; !works.empty(); ++round) {
      ASSERT_LT(round, 20) << "nobody gets through";
      for (Work& work : works) work.apply = World::must(work.replica->prepare(work.deliveries));
      std::ranges::shuffle(works, random_);
      std::erase_if(works, [&](Work& work) {
        const auto committed =
            world_.store->transact([&](store::Transaction& transaction) { return (*work.apply)(transaction); });
        if (!committed) {
          EXPECT_EQ(committed.error().code, ErrorCode::conflict) << committed.error().message;
          return false;
        }
        work.replica->committed();
        for (const auto& one : work.triggers) acknowledged.emplace(one->tenant(), one->id());
        return true;
      });
    }
  }

  /// Everybody does his work until no run is active. False if that does not happen.
  [[nodiscard]] bool drain() {
    for (int round = 0; round < 200; ++round) {
      look();
      std::vector<events::EventPtr> answers;
      std::size_t active = 0;
      for (const TenantId& tenant : {kAcme, kOther}) {
        for (const auto& run : world_.runs(tenant)) active += is_active(run);
      }
      if (active == 0) return true;
      for (; answered_ < requests_.size(); ++answered_) answers.push_back(world_.completed(*requests_[answered_]));
      World::must(world_.deliver(answers));
      if (round % 2 == 1) world_.clock.advance(6min);
      World::must(world_.orchestrator->wake_due());
    }
    return false;
  }

  std::set<TriggerKey> acknowledged;

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool chance(int percent) { return below(100) < static_cast<std::uint64_t>(percent); }
  TenantId tenant() { return chance(50) ? kAcme : kOther; }
  std::string opportunity() { return fmt::format("006-{}", below(5)); }

  void look() {
    const World::AllTypes filter;
    const auto page = World::must(world_.store->read(looked_, filter, 100'000, 64 << 20));
    looked_ = page.read_through;
    for (const auto& entry : page.entries) {
      if (entry.event->type().ends_with(".requested")) requests_.push_back(entry.event);
      if (entry.event->type() == events::kAnalysisStarted) runs_.push_back(entry.event);
    }
  }

  events::EventPtr trigger() {
    if (!triggers_.empty() && chance(15)) return triggers_[below(triggers_.size())];
    triggers_.push_back(chance(80) ? world_.updated(opportunity(), tenant())
                                   : world_.event(events::kShardUpdated, tenant(),
                                                  fmt::format(R"({{"id":"{}","shardType":"opportunity",)"
                                                              R"("structuredData":{{"amount":{}}}}})",
                                                              opportunity(), below(1'000))));
    return triggers_.back();
  }

  events::EventPtr answer() {
    const std::size_t recent = chance(80) ? std::min<std::size_t>(requests_.size(), 24) : requests_.size();
    const events::Event& request = *requests_[requests_.size() - 1 - below(recent)];
    const auto dice = below(100);
    if (dice < 62) return world_.completed(request);
    if (dice < 66) return world_.completed(request, fmt::format(R"("note":"{}")", std::string(3'000, 'x')));
    if (dice < 82) return world_.failed(request, "busy");
    if (dice < 86) return world_.failed(request, "never", false);
    const TenantId stranger = request.tenant() == kAcme ? kOther : kAcme;
    if (dice < 91) return world_.completed(request, "", stranger);
    if (dice < 94) return world_.failed(request, "not yours", false, stranger);
    const bool nobody = dice < 97;
    const std::string id = nobody ? WorkflowId(world_.ids.next()).to_string() : World::text(request, "workflowId");
    return world_.event(
        events::kForecastCompleted, request.tenant(),
        fmt::format(R"({{"workflowId":"{}","forecastId":"f","revenueForecast":1,"confidence":1}})", id));
  }

  std::vector<events::EventPtr> batch_of(std::uint64_t size, std::vector<events::EventPtr>& triggers) {
    std::vector<events::EventPtr> batch;
    for (std::uint64_t i = 0; i < size; ++i) {
      if (requests_.empty() || chance(20)) {
        triggers.push_back(trigger());
        batch.push_back(triggers.back());
      } else {
        batch.push_back(answer());
      }
      if (chance(5)) batch.push_back(batch[below(batch.size())]);
    }
    return batch;
  }

  void deliver(Orchestrator& orchestrator) {
    std::vector<events::EventPtr> triggers;
    const auto batch = batch_of(1 + below(12), triggers);
    if (chance(10)) {
      EXPECT_EQ(world_.deliver_in_vain(batch, &orchestrator).error().message, "given up");
      if (chance(30)) return;  // the process that would have done it again never came back
    }
    const auto delivered = world_.deliver(batch, &orchestrator);
    ASSERT_TRUE(delivered) << delivered.error().message;
    for (const auto& one : triggers) acknowledged.emplace(one->tenant(), one->id());
  }

  void start(Orchestrator& orchestrator) {
    StartRequest wanted;
    wanted.tenant = tenant();
    wanted.trigger_id = EventId(world_.ids.next());
    wanted.trigger_type = "api";
    wanted.external_id = opportunity();
    wanted.opportunity = opportunity_id(wanted.tenant, wanted.external_id);
    if (chance(10)) wanted.definition = "payroll";
    const auto answers = orchestrator.start({&wanted, 1});
    ASSERT_TRUE(answers) << answers.error().message;
    acknowledged.emplace(wanted.tenant, wanted.trigger_id);
  }

  void operate(Orchestrator& orchestrator, bool cancels) {
    if (runs_.empty()) return;
    const events::Event& run = *runs_[below(runs_.size())];
    const WorkflowId id = World::workflow_of(run);
    const TenantId by = chance(90) ? run.tenant() : (run.tenant() == kAcme ? kOther : kAcme);
    const auto done = cancels ? orchestrator.cancel(by, id, "no use", "ann") : orchestrator.retry(by, id, "ann");
    if (done) {
      EXPECT_EQ(by, run.tenant());
    } else {
      EXPECT_EQ(done.error().code, by == run.tenant() ? ErrorCode::conflict : ErrorCode::not_found)
          << done.error().message;
    }
  }

  World& world_;
  std::mt19937_64 random_;
  store::Sequence looked_ = 0;
  std::vector<events::EventPtr> requests_;
  std::vector<events::EventPtr> runs_;
  std::vector<events::EventPtr> triggers_;
  std::size_t answered_ = 0;
};

inline WorldOptions options_for(std::uint64_t seed) {
  WorldOptions options;
  options.seed = seed;
  options.config.cached_runs_max = std::array<std::size_t, 3>{0, 2, 1'000}[seed % 3];
  options.config.step_result_bytes_max = 2'000;
  return options;
}

inline workflow::Definition definition_for(World& world, std::uint64_t seed) {
  workflow::Definition definition = world.shipped();
  definition.version = "9.0.0";
  if (seed % 4 == 1) definition.on_active = workflow::OnActive::start_new;
  if (seed % 4 == 2) definition.on_active = workflow::OnActive::cancel_active;
  if (seed % 5 == 1) definition.steps[3].depends_on = {"risk_analysis", "forecast"};
  return definition;
}

}  // namespace wfo::orchestrator::testing
