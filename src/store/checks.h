#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "schedule/job_run.h"
#include "store/fire_store.h"
#include "store/lease_store.h"
#include "store/risk_snapshot_store.h"
#include "store/schedule_store.h"
#include "store/trigger_store.h"
#include "workflow/run.h"

/// What every implementation refuses, in the same words.
namespace wfo::store {

/// Errors: `invalid_argument` names a field that no text column can hold (`check_text`). `steps`: as it is stored.
[[nodiscard]] Result<void> check_texts(const workflow::Run& run, std::string_view steps);
[[nodiscard]] Result<void> check_texts(const Trigger& trigger);
[[nodiscard]] Result<void> check_texts(const StoredSchedule& schedule);
[[nodiscard]] Result<void> check_texts(const FireRecord& fire);
[[nodiscard]] Result<void> check_texts(const schedule::JobRun& run);
[[nodiscard]] Result<void> check_texts(const RiskSnapshot& snapshot);

/// That `found`, which is stored under `name`, is held in `epoch`. Errors: `conflict` says who has it instead.
[[nodiscard]] Result<void> check_held(std::string_view name, Epoch epoch, const std::optional<Lease>& found);

/// What a column says that holds an enumerator, of which `last` is the last. Errors: `corruption` names `thing`,
/// `field` and the value.
template <class Enum>
[[nodiscard]] Result<Enum> decode_enumerator(std::int64_t value, Enum last, std::string_view thing,
                                             std::string_view field) {
  if (value >= 0 && value <= static_cast<std::int64_t>(last)) return static_cast<Enum>(value);
  return fail(ErrorCode::corruption, "{}: {} {}; allowed: 0 to {}", thing, field, value,
              static_cast<std::int64_t>(last));
}

}  // namespace wfo::store
