#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace wfo::events::detail {

/// A JSON number as what it says, to the last digit: 0.d₁d₂d₃… × 10^scale, without zeros at either end. Zero has no
/// digits. Slow beside a double; for the cases where a double cannot tell.
struct Decimal {
  bool negative = false;
  std::string digits;
  std::int64_t scale = 0;

  /// `token` is a JSON number.
  [[nodiscard]] static Decimal parse(std::string_view token);
  [[nodiscard]] bool is_integer() const;
  /// Appends a text that is the same for equal numbers and differs for others.
  void append_to(std::string& out) const;
  friend bool operator==(const Decimal&, const Decimal&) = default;
};

[[nodiscard]] std::strong_ordering compare(const Decimal& a, const Decimal& b);

inline constexpr std::size_t kDivisorDigitsMax = 18;
/// Whether `value` is `divisor` times an integer. `divisor` is not zero and has at most kDivisorDigitsMax digits.
[[nodiscard]] bool is_multiple_of(const Decimal& value, const Decimal& divisor);

}  // namespace wfo::events::detail
