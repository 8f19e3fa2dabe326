#include "store/outbox.h"

namespace wfo::store {

std::optional<WorkflowId> run_of(const events::Event& event) {
  const auto value = event.data().find("workflowId");
  const auto id = value ? value->uuid() : std::nullopt;
  return id ? std::optional(WorkflowId(*id)) : std::nullopt;
}

}  // namespace wfo::store
