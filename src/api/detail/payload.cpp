#include "api/detail/payload.h"

#include <cstdint>

#include "api/detail/uri.h"

namespace wfo::api::detail {

std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < group.size() ? static_cast<std::uint8_t>(group[k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) text += k <= group.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

void write_payload(json::Writer& out, std::string_view key, std::string_view bytes) {
  if (is_utf8(bytes) && bytes.find('\0') == std::string_view::npos) {
    out.key(key).string(bytes);
  } else {
    out.key(std::string(key) + "Base64").string(to_base64(bytes));
  }
}

}  // namespace wfo::api::detail
