#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace wfo::api::detail {

/// The parts between the slashes of a path that begins with one: `/a//b` is `a`, ``, `b`.
[[nodiscard]] std::vector<std::string_view> split_path(std::string_view path);

enum class Plus { is_plus, is_space };

/// RFC 3986 section 2.1. Errors: `invalid_argument` an escape is cut short or not hexadecimal, or what comes out is
/// not UTF-8 or holds U+0000, which neither JSON nor every store could hold.
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, Plus plus);

/// `a=1&b=two+words`: names and values, decoded, in order; a name without `=` has an empty value.
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> decode_query(std::string_view query);

/// Well-formed by table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);

/// `text` as a message may show it: not longer than a line, `?` for what is not printable ASCII.
[[nodiscard]] std::string shown(std::string_view text);

/// Whether `authority` (host, or host:port) names this machine itself: `localhost`, an address in 127.0.0.0/8, or
/// `[::1]`. Names other than `localhost` do not, whatever they resolve to.
[[nodiscard]] bool is_loopback_authority(std::string_view authority);

/// Whether an Origin header (RFC 6454) is http or https at such an authority. `null` is not.
[[nodiscard]] bool is_loopback_origin(std::string_view origin);

}  // namespace wfo::api::detail
