#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "store/lease_store.h"
#include "store/trigger_store.h"
#include "workflow/run.h"

/// What every implementation refuses, in the same words.
namespace wfo::store {

/// Errors: `invalid_argument` names a field that no text column can hold (`check_text`). `steps`: as it is stored.
[[nodiscard]] Result<void> check_texts(const workflow::Run& run, std::string_view steps);
[[nodiscard]] Result<void> check_texts(const Trigger& trigger);

/// That `found`, which is stored under `name`, is held in `epoch`. Errors: `conflict` says who has it instead.
[[nodiscard]] Result<void> check_held(std::string_view name, Epoch epoch, const std::optional<Lease>& found);

}  // namespace wfo::store
