#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "events/contracts.h"
#include "orchestrator/detail/numbers.h"
#include "orchestrator/detail/run_events.h"
#include "orchestrator/orchestrator.h"
#include "store/run_store.h"
#include "workflow/decide.h"

namespace wfo::orchestrator {

/// Something that happens to a run. What happens to one run in one batch is a chain through `next`.
struct Prompt {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  enum class Kind : std::uint8_t { answer, wake_up, cancel, retry };

  Kind kind = Kind::wake_up;
  bool refused = false;    // an answer whose result cannot be taken, for the reason in `text`: its step fails
  events::EventPtr event;  // the answer; of a cancel the trigger behind it, if there is one
  std::string text = {};   // why: of a cancel, or `refused`
  std::string user_id = {};
  std::uint32_t next = kNone;
};

/// What became of a run: what is to be written.
struct Decided {
  store::StoredRun before;  // only what RunStore::update looks at
  workflow::Run after;
  std::vector<events::EventPtr> events;  // in the order of the decisions
  bool changed = false;
  bool ended = false;  // it was active before, and is not any more
  Tally tally;

  /// The version that the store gives the run when `after` is written; of a run that did not change, its version.
  [[nodiscard]] std::int64_t version_after() const { return before.version + (changed ? 1 : 0); }
};

/// Asks the pure core and makes the events that it wants. Reads and writes nothing. Any thread.
class Decider {
 public:
  Decider(const events::EventFactory& factory, IdSource& ids, const OrchestratorConfig& config)
      : factory_(factory), ids_(ids), config_(config) {}

  /// A new run. `seed` brings tenant, opportunity, external id, correlation and trigger.
  [[nodiscard]] Result<Decided> start(workflow::Run seed, const workflow::Definition& definition, const Cause& cause,
                                      Timestamp now) const;

  enum class Turnout {
    done,
    reload,  // `base` was outdated, or is used up: load the run from the store and ask again
  };
  /// Takes a run through the chain of prompts that begins at `first`. `cached`: `base` is what we remember of the run;
  /// then no input is ignored on its word. A completion that cannot be taken is marked as refused, so asking again
  /// ends. Errors: `internal` an event of our own is invalid: nothing may commit.
  [[nodiscard]] Result<Turnout> decide(std::span<Prompt> prompts, std::uint32_t first, store::StoredRun base,
                                       bool cached, const workflow::Definition& definition, Timestamp now,
                                       Decided& out) const;

 private:
  Result<void> try_to_publish(const workflow::Run& run, std::size_t step, const workflow::Definition& definition,
                              const Cause& cause) const;
  Result<void> publish(const workflow::Decision& decision, const workflow::Definition& definition, const Cause& cause,
                       Decided& out) const;

  const events::EventFactory& factory_;
  IdSource& ids_;
  const OrchestratorConfig& config_;
};

}  // namespace wfo::orchestrator
