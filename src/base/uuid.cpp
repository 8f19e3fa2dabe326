#include "base/uuid.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include <cstring>
#include <mutex>

#include "base/result.h"

namespace wfo {
namespace {

constexpr char kHex[] = "0123456789abcdef";

constexpr std::array<std::int8_t, 256> make_hex_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 10; ++i) values[static_cast<std::size_t>('0' + i)] = static_cast<std::int8_t>(i);
  for (int i = 0; i < 6; ++i) {
    values[static_cast<std::size_t>('a' + i)] = static_cast<std::int8_t>(10 + i);
    values[static_cast<std::size_t>('A' + i)] = static_cast<std::int8_t>(10 + i);
  }
  return values;
}
constexpr auto kHexValues = make_hex_values();

// Where each byte's two digits stand in the 36 characters.
constexpr std::array<std::uint8_t, 16> kPlaces = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

}  // namespace

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return std::nullopt;
  Uuid id;
  int bad = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    const int high = kHexValues[static_cast<std::uint8_t>(text[kPlaces[i]])];
    const int low = kHexValues[static_cast<std::uint8_t>(text[kPlaces[i] + 1U])];
    bad |= high | low;
    id.bytes[i] = static_cast<std::uint8_t>((high << 4) | (low & 0xf));
  }
  if (bad < 0) return std::nullopt;
  return id;
}

std::optional<Uuid> Uuid::from_bytes(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != 16) return std::nullopt;
  Uuid id;
  std::memcpy(id.bytes.data(), bytes.data(), 16);
  return id;
}

Uuid Uuid::v5(const Uuid& name_space, std::string_view name) {
  std::string input(reinterpret_cast<const char*>(name_space.bytes.data()), 16);
  input += name;
  unsigned char digest[EVP_MAX_MD_SIZE];
  INVARIANT(EVP_Digest(input.data(), input.size(), digest, nullptr, EVP_sha1(), nullptr) == 1);
  Uuid id;
  std::memcpy(id.bytes.data(), digest, 16);
  id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x50);
  id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  return id;
}

void Uuid::append_to(std::string& out) const {
  char text[36];
  text[8] = text[13] = text[18] = text[23] = '-';
  for (std::size_t i = 0; i < 16; ++i) {
    text[kPlaces[i]] = kHex[bytes[i] >> 4];
    text[kPlaces[i] + 1U] = kHex[bytes[i] & 0xf];
  }
  out.append(text, sizeof text);
}

std::string Uuid::to_string() const {
  std::string text;
  append_to(text);
  return text;
}

struct SystemIdSource::State {
  explicit State(const Clock& c) : clock(c) {
    INVARIANT(getrandom(seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed));
  }
  // xoshiro256**: ids must not collide, they need not be secret.
  std::uint64_t next_random() {
    const auto rotate = [](std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
    const std::uint64_t result = rotate(seed[1] * 5, 7) * 9;
    const std::uint64_t t = seed[1] << 17;
    seed[2] ^= seed[0];
    seed[3] ^= seed[1];
    seed[1] ^= seed[2];
    seed[0] ^= seed[3];
    seed[2] ^= t;
    seed[3] = rotate(seed[3], 45);
    return result;
  }

  const Clock& clock;
  std::mutex mutex;  // guards what follows
  std::uint64_t seed[4];
  std::uint64_t last_millis = 0;
  std::uint32_t counter = 0;  // the 12 + 14 bits behind the time, so that ids of one millisecond ascend
};

SystemIdSource::SystemIdSource(const Clock& clock) : state_(std::make_unique<State>(clock)) {}
SystemIdSource::~SystemIdSource() = default;

Uuid SystemIdSource::next() {
  constexpr std::uint32_t kCounterMax = (1U << 26) - 1;
  const auto now = static_cast<std::uint64_t>(state_->clock.now().time_since_epoch().count());
  const std::scoped_lock lock(state_->mutex);
  const std::uint64_t random = state_->next_random();
  if (now > state_->last_millis) {
    state_->last_millis = now;
    state_->counter = static_cast<std::uint32_t>(random >> 40) & (kCounterMax >> 2);
  } else if (++state_->counter > kCounterMax) {  // a clock that stands or steps back: time goes on without it
    ++state_->last_millis;
    state_->counter = 0;
  }
  const std::uint64_t millis = state_->last_millis;
  const std::uint32_t counter = state_->counter;
  Uuid id;
  for (int i = 0; i < 6; ++i) {
    id.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(millis >> (40 - 8 * i));
  }
  id.bytes[6] = static_cast<std::uint8_t>(0x70 | (counter >> 22));
  id.bytes[7] = static_cast<std::uint8_t>(counter >> 14);
  id.bytes[8] = static_cast<std::uint8_t>(0x80 | ((counter >> 8) & 0x3f));
  id.bytes[9] = static_cast<std::uint8_t>(counter);
  std::memcpy(id.bytes.data() + 10, &random, 6);
  return id;
}

std::uint64_t SystemIdSource::random() {
  const std::scoped_lock lock(state_->mutex);
  return state_->next_random();
}

TenantId system_tenant() {
  Uuid id;
  id.bytes[15] = 1;
  return TenantId(id);
}

OpportunityId opportunity_id(const TenantId& tenant, std::string_view external_id) {
  if (const auto id = OpportunityId::parse(external_id)) return *id;
  return OpportunityId(Uuid::v5(tenant.value(), external_id));
}

}  // namespace wfo

std::size_t std::hash<wfo::Uuid>::operator()(const wfo::Uuid& id) const noexcept {
  std::uint64_t high;
  std::uint64_t low;
  std::memcpy(&high, id.bytes.data(), 8);
  std::memcpy(&low, id.bytes.data() + 8, 8);
  return high ^ (low * 0x9e3779b97f4a7c15ULL);
}
