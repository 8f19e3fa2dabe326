#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "jobs/tests/world.h"

namespace wfo::jobs::testing {
namespace {

/// Three processes on one store, and everything that may happen to them between any two commits: time passes, others
/// work meanwhile, runs are cancelled, processes stop, die, stand still, lose the answer of a commit, or their store.
class Simulation {
 public:
  static constexpr int kProcesses = 3;

  Simulation() {
    for (int i = 0; i < kProcesses; ++i) stores_.push_back(std::make_unique<UnsureStore>(world.database.store()));
    for (int i = 0; i < kProcesses; ++i) start(i);
  }

  void trigger() {
    const auto [event, id] = world.scheduled("steps");
    must(world.hand(processes_[0], {event}));
    runs.push_back(id);
  }

  /// One process looks for work, with trouble ahead.
  void step(int process) {
    UnsureStore& store = *stores_[static_cast<std::size_t>(process)];
    store.refuse = *rc::gen::element(0, 0, 0, 2, 100);
    store.lose = *rc::gen::inRange(0, 5);
    std::stop_source stop;
    stops_[process] = &stop;
    static_cast<void>(processes_[static_cast<std::size_t>(process)]->work_once(stop.get_token()));
    stops_.erase(process);
    store.heal();
    if (*rc::gen::inRange(0, 4) == 0) start(process);  // it died; nothing is remembered
  }

  /// Whatever is left is worked to its end by one that nothing happens to.
  void drain() {
    quiet_ = true;
    for (auto& store : stores_) store->heal();
    for (int i = 0; i < 200 && open() > 0; ++i) {
      static_cast<void>(processes_[0]->work_once());
      world.clock.advance(World::kHeartbeat);
    }
  }
  [[nodiscard]] int open() {
    int count = 0;
    for (const JobRunId& id : runs) count += schedule::is_open(world.run(id).status) ? 1 : 0;
    return count;
  }

  World world;
  std::vector<JobRunId> runs;
  std::map<JobRunId, int> cancelled;

 private:
  void start(int process) {
    auto made = world.worker(fmt::format("process {}", process), stores_[static_cast<std::size_t>(process)].get());
    made.job->slices = 4;
    made.job->before = [this, process](const JobRun& run, int, std::stop_token token) {
      return happen(process, run, token);
    };
    if (processes_.size() == static_cast<std::size_t>(process)) {
      processes_.push_back(std::move(made));
    } else {
      processes_[static_cast<std::size_t>(process)] = std::move(made);
    }
  }

  /// While a slice is being computed.
  Result<void> happen(int process, const JobRun& run, const std::stop_token& token) {
    if (quiet_) return {};
    switch (*rc::gen::inRange(0, 9)) {
      case 0:
        world.clock.advance(World::kHeartbeat / 2);
        break;
      case 1:
        world.clock.advance(World::kHeartbeat + 1s);  // others may take it over
        break;
      case 2:
        static_cast<void>(processes_[static_cast<std::size_t>(process)]->keep_alive());
        if (token.stop_requested()) return fail(ErrorCode::unavailable, "stopped");
        break;
      case 3: {
        const int other = (process + 1) % kProcesses;
        if (!stops_.contains(other)) step(other);
        break;
      }
      case 4:
        if (*rc::gen::inRange(0, 3) == 0 && schedule::is_open(world.run(run.id).status)) {
          world.cancel(run.id);
          ++cancelled[run.id];
        }
        break;
      case 5:
        stops_.at(process)->request_stop();
        break;
      case 6:
        return fail(ErrorCode::unavailable, "something was away");
      default:
        break;
    }
    return {};
  }

  std::vector<std::unique_ptr<UnsureStore>> stores_;
  std::vector<Worker> processes_;
  std::map<int, std::stop_source*> stops_;  // of the processes that are at work
  bool quiet_ = false;
};

RC_GTEST_PROP(JobSimulation, EveryRunEndsOnceAndEachSliceTakesEffectOnce, ()) {
  Simulation simulation;
  const int count = *rc::gen::inRange(1, 4);
  for (int i = 0; i < count; ++i) simulation.trigger();
  const int steps = *rc::gen::inRange(3, 25);
  for (int i = 0; i < steps; ++i) simulation.step(*rc::gen::inRange(0, Simulation::kProcesses));
  simulation.drain();

  std::map<std::string, int> completed;
  std::map<std::string, int> failed;
  for (const auto& event : simulation.world.published(events::kJobCompleted)) ++completed[World::text(*event, "runId")];
  for (const auto& event : simulation.world.published(events::kJobFailed)) ++failed[World::text(*event, "runId")];
  for (const JobRunId& id : simulation.runs) {
    const JobRun run = simulation.world.run(id);
    const std::string text = id.to_string();
    const auto counted = [&](const char* what) { return run.counts.contains(what) ? run.counts.at(what) : 0; };
    RC_ASSERT(!schedule::is_open(run.status));
    RC_ASSERT(counted("repeated") == 0);  // nothing took effect twice
    RC_ASSERT(counted("fresh") == run.progress.done);
    RC_ASSERT(completed[text] == (run.status == JobRunStatus::completed ? 1 : 0));
    RC_ASSERT(failed[text] == (run.status == JobRunStatus::failed ? 1 : 0));
    RC_ASSERT((run.status == JobRunStatus::cancelled) == (simulation.cancelled[id] == 1));
    if (run.status == JobRunStatus::completed) RC_ASSERT(counted("fresh") == 4);
    RC_CLASSIFY(run.status == JobRunStatus::completed, "completed");
    RC_CLASSIFY(run.status == JobRunStatus::failed, "failed");
    RC_CLASSIFY(run.status == JobRunStatus::cancelled, "cancelled");
    RC_CLASSIFY(run.takeovers > 0, "taken over");
  }
}

}  // namespace
}  // namespace wfo::jobs::testing
