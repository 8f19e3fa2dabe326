#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace wfo::store::sqlite {

/// Errors: `invalid_argument` names the field of `thing`, its value and what is allowed.
[[nodiscard]] Result<void> check_range(std::string_view thing, std::string_view field, std::int64_t value,
                                       std::int64_t min, std::int64_t max);
/// A page size of SQLite.
[[nodiscard]] Result<void> check_page_bytes(std::string_view thing, int page_bytes);

}  // namespace wfo::store::sqlite
