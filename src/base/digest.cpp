#include "base/digest.h"

#include <openssl/evp.h>

#include "base/result.h"

namespace wfo {

Sha256 sha256(std::string_view bytes) {
  Sha256 digest;
  INVARIANT(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

std::string to_hex(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    text += kHex[static_cast<std::uint8_t>(c) >> 4];
    text += kHex[static_cast<std::uint8_t>(c) & 0xf];
  }
  return text;
}

std::string to_hex(const Sha256& digest) {
  return to_hex(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

std::uint64_t short_digest(std::string_view bytes) {
  const Sha256 digest = sha256(bytes);
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | digest[static_cast<std::size_t>(i)];
  return value;
}

}  // namespace wfo
