#pragma once

#include <deque>

#include "base/result.h"
#include "events/detail/schema_tree.h"

namespace wfo::events::detail {

/// How many schemas may apply to one value one inside the other (`allOf` in `$ref` in `anyOf` …). With json::kDepthMax
/// it bounds the depth of a check; a `$ref` that comes back to itself without going down in the document exceeds it.
inline constexpr int kInPlaceDepthMax = 8;

/// Compiles `schema` and all that it refers to; the first node is its root.
/// Errors: `invalid_argument`, starting with the pointer of what is not a schema or not supported.
[[nodiscard]] Result<std::deque<Node>> compile(json::Value schema);

}  // namespace wfo::events::detail
