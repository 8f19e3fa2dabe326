#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace wfo::api::detail {

/// RFC 4648 section 4, with padding.
[[nodiscard]] std::string to_base64(std::string_view bytes);

/// Writes member `key` with a message's bytes as a string; or, if they are not text that JSON can hold, member
/// `<key>Base64`.
void write_payload(json::Writer& out, std::string_view key, std::string_view bytes);

}  // namespace wfo::api::detail
