#include "analysis/detail/text.h"

#include <fmt/format.h>

namespace wfo::analysis::detail {
namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

std::string grouped(double amount) {
  const std::string digits = fmt::format("{:.0f}", amount);
  const std::size_t sign = digits.starts_with('-') ? 1 : 0;
  std::string out;
  for (std::size_t at = 0; at < digits.size(); ++at) {
    if (at > sign && (digits.size() - at) % 3 == 0) out += ',';
    out += digits[at];
  }
  return out;
}

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += continues(c) ? 0 : 1;
  return count;
}

std::string printable(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t used = 0;
  const std::size_t whole = columns(text);
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (!continues(text[at])) {
      if (used == width) break;
      if (whole > width && used + 1 == width) return out + "…";
      ++used;
    }
    // C1 controls are 0xC2 followed by 0x80 to 0x9F.
    const bool c1 = byte == 0xC2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xA0;
    if (c1) ++at;
    out += byte < 0x20 || byte == 0x7F || c1 ? '?' : text[at];
  }
  return out;
}

}  // namespace wfo::analysis::detail
