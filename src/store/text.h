#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

/// What a text column of any store can hold: UTF-8 (RFC 3629) without U+0000. SQLite would take more, PostgreSQL does
/// not, and both must treat the same input alike. Columns of bytes (events, results, dead letters' messages) hold
/// anything.
namespace wfo::store {

inline constexpr std::string_view kTextAllowed = "UTF-8 without U+0000";

[[nodiscard]] bool is_text(std::string_view text);

/// Errors: `invalid_argument` names `field` of `thing`, the byte and its place.
[[nodiscard]] Result<void> check_text(std::string_view thing, std::string_view field, std::string_view text);

/// `text` with U+FFFD in place of each byte that is no part of such a text: for what must be kept whatever it is.
[[nodiscard]] std::string as_text(std::string_view text);

}  // namespace wfo::store
