#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "workflow/definition.h"

namespace wfo::orchestrator {

/// A definition as the store keeps it: compact JSON whose members are the fields by their names, durations in
/// milliseconds. Equal definitions give equal texts; comments of the YAML that it came from do not matter.
[[nodiscard]] std::string encode_definition(const workflow::Definition& definition);
/// Its inverse. Contracts are not asked: runs that are pinned to it were checked when it was new. Errors: `corruption`.
[[nodiscard]] Result<workflow::Definition> decode_definition(std::string_view text);

}  // namespace wfo::orchestrator
