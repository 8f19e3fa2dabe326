#include "events/detail/decimal.h"

#include <charconv>

#include "base/result.h"

namespace wfo::events::detail {
namespace {

// No text that we take has an exponent of this size by its digits alone, so clamping to it changes no comparison
// between numbers that a document of bounded length can hold in full.
constexpr std::int64_t kExponentMax = 100'000'000'000'000'000;

std::int64_t parse_exponent(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::int64_t exponent = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (error == std::errc::result_out_of_range || exponent > kExponentMax) exponent = kExponentMax;
  return negative ? -exponent : exponent;
}

}  // namespace

Decimal Decimal::parse(std::string_view token) {
  Decimal result;
  if (token.starts_with('-')) {
    result.negative = true;
    token.remove_prefix(1);
  }
  std::int64_t exponent = 0;
  if (const auto e = token.find_first_of("eE"); e != std::string_view::npos) {
    exponent = parse_exponent(token.substr(e + 1));
    token = token.substr(0, e);
  }
  const auto point = token.find('.');
  const auto whole = token.substr(0, point);
  result.digits = whole;
  if (point != std::string_view::npos) result.digits += token.substr(point + 1);
  result.scale = static_cast<std::int64_t>(whole.size()) + exponent;
  const auto first = result.digits.find_first_not_of('0');
  if (first == std::string::npos) return {};
  result.scale -= static_cast<std::int64_t>(first);
  result.digits = result.digits.substr(first, result.digits.find_last_not_of('0') + 1 - first);
  return result;
}

bool Decimal::is_integer() const { return digits.empty() || scale >= static_cast<std::int64_t>(digits.size()); }

void Decimal::append_to(std::string& out) const {
  if (negative) out += '-';
  out += digits;
  out += 'e';
  out += std::to_string(scale);
}

std::strong_ordering compare(const Decimal& a, const Decimal& b) {
  const auto sign = [](const Decimal& d) { return d.digits.empty() ? 0 : d.negative ? -1 : 1; };
  if (sign(a) != sign(b)) return sign(a) <=> sign(b);
  const auto size = a.scale != b.scale ? a.scale <=> b.scale : a.digits.compare(b.digits) <=> 0;
  return sign(a) < 0 ? 0 <=> size : size;
}

bool is_multiple_of(const Decimal& value, const Decimal& divisor) {
  INVARIANT(!divisor.digits.empty() && divisor.digits.size() <= kDivisorDigitsMax);
  if (value.digits.empty()) return true;
  const auto last_place = [](const Decimal& d) { return d.scale - static_cast<std::int64_t>(d.digits.size()); };
  std::int64_t shift = last_place(value) - last_place(divisor);
  // Neither ends in a zero, so what has more decimals than the divisor is no multiple of it.
  if (shift < 0) return false;
  std::uint64_t modulus = 0;
  for (const char digit : divisor.digits) modulus = modulus * 10 + static_cast<std::uint64_t>(digit - '0');
  const auto times = [modulus](std::uint64_t x, std::uint64_t y) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>(static_cast<Wide>(x) * y % modulus);
  };
  std::uint64_t rest = 0;
  for (const char digit : value.digits) rest = (times(rest, 10) + static_cast<std::uint64_t>(digit - '0')) % modulus;
  for (std::uint64_t power = 10 % modulus; shift > 0; shift /= 2, power = times(power, power)) {
    if (shift % 2 == 1) rest = times(rest, power);
  }
  return rest == 0;
}

}  // namespace wfo::events::detail
