#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "workflow/definition.h"
#include "workflow/run.h"

namespace wfo::workflow {

// What can happen to a run.

/// What is longer in an error or a reason is cut, and says so: it becomes part of our own state and events.
inline constexpr std::size_t kErrorBytesMax = 4'096;

/// A worker's answer. Correlated by `step` if it is given, else by `step_type`; a `step` of another type than
/// `step_type` (unless that is "") is unknown.
struct StepCompleted {
  std::optional<StepId> step;
  std::string_view step_type;
  std::string_view result;  // a JSON object, as a token
};
struct StepFailed {
  std::optional<StepId> step;
  std::string_view step_type;
  std::optional<int> attempt;  // the request it answers, if the worker said so
  Timestamp at;                // when the failure was published; decides if `attempt` is not there
  std::string_view error;
  bool retryable = true;
};
/// Time has come for whatever is due at `now`; also when nothing is.
struct WakeUp {};
struct Cancel {
  std::string_view reason;
};
/// An operator wants a run that failed or was cancelled to go on.
struct Retry {};
using Input = std::variant<StepCompleted, StepFailed, WakeUp, Cancel, Retry>;

// What is wanted then, in this order. `step` is the place in Run::steps of the next state.

struct PublishStarted {
  friend bool operator==(const PublishStarted&, const PublishStarted&) = default;
};
struct RequestStep {
  std::size_t step;
  friend bool operator==(const RequestStep&, const RequestStep&) = default;
};
struct PublishStepCompleted {
  std::size_t step;
  milliseconds duration;
  friend bool operator==(const PublishStepCompleted&, const PublishStepCompleted&) = default;
};
struct PublishCompleted {
  friend bool operator==(const PublishCompleted&, const PublishCompleted&) = default;
};
struct PublishFailed {  // error and failed step stand in the run
  friend bool operator==(const PublishFailed&, const PublishFailed&) = default;
};
using Effect = std::variant<PublishStarted, RequestStep, PublishStepCompleted, PublishCompleted, PublishFailed>;

/// Why an input changed nothing. It happens every day; it is counted, not an error.
enum class Ignored {
  unknown_step,       // the run has no such step
  already_completed,  // the first completion won
  not_requested,      // an answer to a request that was never made
  stale_attempt,      // a failure of an attempt that is not the current one
  run_ended,          // the run is completed, failed or cancelled
  not_due,            // a wake-up before anything was due
  still_active,       // a retry of a run that is running or completed
};
[[nodiscard]] std::string_view name(Ignored reason);

struct Decision {
  Run next;                     // equals the run that came in if `ignored`
  std::vector<Effect> effects;  // empty if `ignored`
  std::optional<Ignored> ignored;
};

/// The first state of a run and what it wants: `PublishStarted`, then a request for each step without dependencies.
/// `run` brings ids (of the steps too: one per step of the definition, in its order), tenant, opportunity, trigger.
[[nodiscard]] Decision start(Run run, const Definition& definition, Timestamp now);

/// Whether `definition` is the one that `run` is pinned to: name, version and step types. `decide` demands it, so ask
/// before: a definition that was edited under its old version must be refused, not met half-way through a run.
[[nodiscard]] bool fits(const Run& run, const Definition& definition);

/// The one place where a run's fate is decided. Pure: the same arguments give the same decision. `definition` is the
/// one the run is pinned to; `seed` feeds the jitter of retries. A late completion (of a sibling, or of the failed
/// step itself) of a run that failed or was cancelled is recorded without effects: `next` differs, nothing is
/// published.
[[nodiscard]] Decision decide(Run run, const Input& input, const Definition& definition, Timestamp now,
                              std::uint64_t seed);

}  // namespace wfo::workflow
