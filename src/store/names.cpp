#include "store/dead_letter_store.h"
#include "store/opportunity_store.h"
#include "store/schedule_store.h"
#include "store/trigger_store.h"

namespace wfo::store {

std::string_view name(TriggerOutcome outcome) {
  switch (outcome) {
    case TriggerOutcome::started:
      return "started";
    case TriggerOutcome::absorbed:
      return "absorbed";
    case TriggerOutcome::refused:
      return "refused";
  }
  return "unknown";
}

std::string_view name(DeadLetterStatus status) {
  switch (status) {
    case DeadLetterStatus::waiting:
      return "waiting";
    case DeadLetterStatus::replayed:
      return "replayed";
    case DeadLetterStatus::discarded:
      return "discarded";
  }
  return "unknown";
}

std::string_view name(ScheduleOrigin origin) {
  switch (origin) {
    case ScheduleOrigin::configuration:
      return "configuration";
    case ScheduleOrigin::api:
      return "api";
  }
  return "unknown";
}

std::string_view name(StageState state) {
  switch (state) {
    case StageState::open:
      return "open";
    case StageState::won:
      return "won";
    case StageState::lost:
      return "lost";
  }
  return "unknown";
}

std::optional<StageState> parse_stage_state(std::string_view text) {
  for (const auto state : {StageState::open, StageState::won, StageState::lost}) {
    if (text == name(state)) return state;
  }
  return std::nullopt;
}

}  // namespace wfo::store
