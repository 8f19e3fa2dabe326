#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::workflow {

enum class RunStatus { running, completed, failed, cancelled };
[[nodiscard]] std::string_view name(RunStatus status);
[[nodiscard]] std::optional<RunStatus> parse_run_status(std::string_view text);

// The states of a step. `attempt` counts a step's requests from 1 and never starts again, not even in a new run
// attempt, so that an answer to an old request is never taken for one to the current request.

/// Not requested yet in this run attempt: a step it depends on is not completed (or the run ended before).
struct Waiting {
  friend bool operator==(const Waiting&, const Waiting&) = default;
};
/// Requested; an answer or `deadline` comes next.
struct Requested {
  Timestamp requested_at;
  Timestamp deadline;
  friend bool operator==(const Requested&, const Requested&) = default;
};
/// The last attempt failed; the next request goes out at `retry_at`.
struct BackingOff {
  Timestamp retry_at;
  std::string error;
  friend bool operator==(const BackingOff&, const BackingOff&) = default;
};
struct Completed {
  Timestamp completed_at;
  bool published = false;  // `workflow.step.completed` went out; not so for one that came after the run had ended
  std::string result;      // a JSON object, as a token
  friend bool operator==(const Completed&, const Completed&) = default;
};
/// Failed for good.
struct Failed {
  std::string error;
  friend bool operator==(const Failed&, const Failed&) = default;
};
using StepState = std::variant<Waiting, Requested, BackingOff, Completed, Failed>;
[[nodiscard]] std::string_view name(const StepState& state);  // waiting, requested, backing_off, completed, failed

struct Step {
  StepId id;
  std::string type;
  StepState state;
  int attempt = 0;                              // requests so far, in all run attempts
  int attempts_before = 0;                      // of those, made in earlier run attempts: the retry budget starts anew
  std::optional<Timestamp> first_requested_at;  // in this run attempt; `durationMs` counts from here
  friend bool operator==(const Step&, const Step&) = default;
};

/// One execution of a definition for one opportunity of one tenant.
struct Run {
  WorkflowId id;
  TenantId tenant;
  OpportunityId opportunity;
  std::string external_id;  // the id that people know it by; "" if the trigger named only the uuid
  std::string definition_name;
  std::string definition_version;
  RunStatus status = RunStatus::running;
  int attempt = 1;  // 1, and one more for each operator retry
  Timestamp created_at;
  Timestamp updated_at;
  Timestamp deadline;  // of this run attempt
  std::string correlation_id;
  std::string trigger_type;  // the event type, or `api`
  EventId trigger_id;        // the event's id, or the one that stands for the API call
  std::string error;         // of a failed or cancelled run
  std::string failed_step;   // the step's type; "" if no step is to blame
  std::vector<Step> steps;   // in the definition's order
  friend bool operator==(const Run&, const Run&) = default;
};

[[nodiscard]] inline bool is_active(const Run& run) { return run.status == RunStatus::running; }

/// When `decide` must be asked with `WakeUp` at the latest: the earliest of deadline, timeouts and retries of an
/// active run; nothing for one that ended. Invariant 8 of the design: an active run always has one.
[[nodiscard]] std::optional<Timestamp> next_wake_up(const Run& run);

/// The steps without their results as compact JSON, for a store's column; `decode_steps` is its inverse (results are
/// "" then, the store fills them in). Errors: `corruption`.
[[nodiscard]] std::string encode_steps(const std::vector<Step>& steps);
[[nodiscard]] Result<std::vector<Step>> decode_steps(std::string_view text);

}  // namespace wfo::workflow
