#pragma once

#include <vector>

#include "events/detail/schema_tree.h"
#include "events/event.h"

namespace wfo::events::detail {

/// Whether `value` satisfies `node`; stops at the first rule that it breaks.
[[nodiscard]] bool satisfies(const Node& node, json::Value value);

/// What `value` breaks of `node`, in document order; stops looking after `violations_max`. `pointer` is where the value
/// stands.
[[nodiscard]] std::vector<Violation> violations(const Node& node, json::Value value, std::string_view pointer,
                                                std::size_t violations_max);

/// What a message calls a value: short, and safe to print.
[[nodiscard]] std::string shown(json::Value value);
/// Foreign text for a message: escaped where a terminal could trip over it, cut behind `bytes_max`.
[[nodiscard]] std::string printable(std::string_view text, std::size_t bytes_max);

}  // namespace wfo::events::detail
