#pragma once

#include <string>
#include <string_view>

namespace wfo::analysis::detail {

/// `1,234,567`: amounts are read by people. Whole numbers.
[[nodiscard]] std::string grouped(double amount);

/// How many columns of a terminal UTF-8 text takes, a character being one.
[[nodiscard]] std::size_t columns(std::string_view text);
/// `text` for a terminal, in at most `width` columns (`…` says that something was left out): control characters, which
/// a CRM's field could smuggle in, become `?`.
[[nodiscard]] std::string printable(std::string_view text, std::size_t width);

}  // namespace wfo::analysis::detail
