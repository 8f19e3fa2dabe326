#include "store/text.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace wfo::store {
namespace {

/// The length of the character at the front of `text`; 0 if there is none that is allowed. Overlong forms, surrogates
/// and what lies beyond U+10FFFF are none (RFC 3629 §4).
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0U; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first == 0) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool second = (first != 0xe0 || byte(1) >= 0xa0) && (first != 0xed || byte(1) <= 0x9f);
    return second && continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool second = (first != 0xf0 || byte(1) >= 0x90) && (first != 0xf4 || byte(1) <= 0x8f);
    return second && continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

/// How many bytes at the front are text.
std::size_t text_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    // Eight ASCII bytes at a time: nearly all text is that. The second term is not 0 if a byte is.
    std::uint64_t eight;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      constexpr std::uint64_t kHighBits = 0x8080808080808080;
      constexpr std::uint64_t kOnes = 0x0101010101010101;
      if (((eight | ((eight - kOnes) & ~eight)) & kHighBits) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const std::size_t length = character_bytes(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

}  // namespace

bool is_text(std::string_view text) { return text_prefix(text) == text.size(); }

Result<void> check_text(std::string_view thing, std::string_view field, std::string_view text) {
  const std::size_t good = text_prefix(text);
  if (good == text.size()) return {};
  return fail(ErrorCode::invalid_argument, "{}: field {} has the byte 0x{:02x} at place {}; allowed: {}", thing, field,
              static_cast<std::uint8_t>(text[good]), good, kTextAllowed);
}

std::string as_text(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (;;) {
    const std::size_t good = text_prefix(text);
    result += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty()) return result;
    result += "\xEF\xBF\xBD";
    text.remove_prefix(1);
  }
}

}  // namespace wfo::store
