#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace wfo {

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::string_view bytes);
/// Lower-case hex digits, two a byte.
[[nodiscard]] std::string to_hex(std::string_view bytes);
[[nodiscard]] std::string to_hex(const Sha256& digest);

/// The first 8 bytes of SHA-256: tells two payloads under one id apart; not for proofs.
[[nodiscard]] std::uint64_t short_digest(std::string_view bytes);

}  // namespace wfo
