#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace wfo::workflow {

inline constexpr std::size_t kStepsMax = 60;
inline constexpr std::size_t kDefinitionBytesMax = 1024 * 1024;
inline constexpr milliseconds kDurationMax{std::chrono::days{3650}};  // of every timeout, delay and deadline

/// How often and when a failed step is tried again.
struct RetryPolicy {
  int attempts_max = 3;             // 1..100, the first try included
  milliseconds delay_first{1'000};  // 1 ms..kDurationMax
  double factor = 2.0;              // 1..10
  milliseconds delay_max{30'000};   // delay_first..kDurationMax
  double jitter = 0.2;              // 0..1: a delay is drawn from delay * (1 ± jitter)
  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};

struct StepDefinition {
  std::string type;                     // unique in the definition: `risk_analysis`
  std::string request_event;            // published to ask for the step
  std::string completed_event;          // consumed: done
  std::string failed_event;             // consumed: not done
  std::string result_key;               // where the result stands in `results`: `risk`
  std::vector<std::string> depends_on;  // types of steps that must be completed before this one is requested
  milliseconds timeout{5 * 60 * 1000};  // from a request to its completion; 1 ms..kDurationMax
  RetryPolicy retry;
  friend bool operator==(const StepDefinition&, const StepDefinition&) = default;
};

/// What to do with a trigger while a run of the same opportunity is active.
enum class OnActive {
  coalesce,       // absorb it; exactly one follow-up run starts when the active one ends
  start_new,      // run beside it
  cancel_active,  // cancel the active run and start
};
[[nodiscard]] std::string_view name(OnActive policy);

/// A workflow as data: what workflows/*.yaml holds.
struct Definition {
  std::string name;                           // `opportunity-analysis`
  std::string version;                        // `1.0.0`; a run is pinned to the version it started with
  std::vector<std::string> triggers;          // event types that start a run
  std::vector<StepDefinition> steps;          // 1..kStepsMax
  milliseconds run_deadline{30 * 60 * 1000};  // from the start of a run attempt; 1 ms..kDurationMax
  OnActive on_active = OnActive::coalesce;
  friend bool operator==(const Definition&, const Definition&) = default;

  /// The step's place in `steps`, or nothing.
  [[nodiscard]] std::optional<std::size_t> step_index(std::string_view type) const;
};

/// Reads a definition from YAML; the keys are the names of the fields above. `event_types` are those that have a
/// contract. Errors: `invalid_argument`, all of them, each a line `file:line: message`: unknown and missing keys, bad
/// values (with what is allowed), cycles in depends_on, events without a contract or that every run publishes itself,
/// duplicate step types, result keys or events.
[[nodiscard]] Result<Definition> parse_definition(std::string_view yaml, std::string_view file,
                                                  std::span<const std::string> event_types);

}  // namespace wfo::workflow
