#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "schedule/job_run.h"

namespace wfo::store {

/// A run's counts as a compact JSON object, in the order of their names: the text that stores keep.
[[nodiscard]] std::string encode_counts(const schedule::JobCounts& counts);
/// Its inverse. Errors: `corruption` it is no object, or a member is no integer >= 0.
[[nodiscard]] Result<schedule::JobCounts> decode_counts(std::string_view text);

}  // namespace wfo::store
