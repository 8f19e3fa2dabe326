#pragma once

#include "base/json.h"
#include "workflow/run.h"

namespace wfo::api::detail {

enum class Results { left_out, included };

/// A run as clients see it: `Workflow` in contracts/openapi.yaml. Texts and times that a run does not have are left
/// out. The state of a step decides which members it has beside `state`.
void write_run(json::Writer& out, const workflow::Run& run, Results results);

/// The bytes of all results together.
[[nodiscard]] std::size_t result_bytes(const workflow::Run& run);

}  // namespace wfo::api::detail
