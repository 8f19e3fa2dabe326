#pragma once

#include <optional>
#include <string>

#include "events/contracts.h"
#include "workflow/decide.h"

namespace wfo::orchestrator {

/// What led to a decision, as far as its events tell.
struct Cause {
  std::optional<EventId> event;  // nothing: a timer, an operator, an API call
  std::string user_id = {};
  std::string traceparent = {};
};

/// Makes the event that an effect of a decision wants. `run` is the state after the decision. Errors:
/// `invalid_argument` it breaks its contract or is too large.
[[nodiscard]] Result<events::EventPtr> make_event(const events::EventFactory& factory, const workflow::Run& run,
                                                  const workflow::Definition& definition,
                                                  const workflow::Effect& effect, const Cause& cause);

/// The result of a completion: its data without `workflowId`, `stepId` and `attempt`, each member as it came, in the
/// order in which they came.
void write_result(std::string& out, json::Value data);

}  // namespace wfo::orchestrator
