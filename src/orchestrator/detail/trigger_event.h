#pragma once

#include <optional>

#include "base/json.h"
#include "base/time.h"
#include "events/event.h"
#include "orchestrator/orchestrator.h"
#include "store/store.h"

namespace wfo::orchestrator {

/// What an event asks for.
struct TriggerEvent {
  StartRequest request;                  // its definition is the caller's business
  std::optional<json::Value> changes{};  // of the opportunity's fields; lives as long as the event
  Timestamp changed_at{};
};

/// Nothing for a shard that is no opportunity. Errors: `invalid_argument` it names no opportunity, or a change is not
/// what the field can hold; names the member.
[[nodiscard]] Result<std::optional<TriggerEvent>> read_trigger(const events::Event& event);

}  // namespace wfo::orchestrator
