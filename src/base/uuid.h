#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"

namespace wfo {

/// 16 bytes in network order; compares like its text.
struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  /// 8-4-4-4-12 hex digits of either case, else nothing.
  [[nodiscard]] static std::optional<Uuid> parse(std::string_view text);
  /// `bytes` must hold 16 bytes, else nothing. For blobs of a store.
  [[nodiscard]] static std::optional<Uuid> from_bytes(std::span<const std::uint8_t> bytes);
  /// RFC 9562 §5.5: SHA-1 of namespace and name.
  [[nodiscard]] static Uuid v5(const Uuid& name_space, std::string_view name);

  /// 36 characters, lower case.
  [[nodiscard]] std::string to_string() const;
  /// Appends what `to_string` returns.
  void append_to(std::string& out) const;
  [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

/// Where new ids come from. Any thread.
class IdSource {
 public:
  virtual ~IdSource() = default;
  /// A UUIDv7 (RFC 9562 §5.7); ids of one source ascend.
  [[nodiscard]] virtual Uuid next() = 0;
  /// 64 random bits, for jitter.
  [[nodiscard]] virtual std::uint64_t random() = 0;
};

/// Ids from the clock and the kernel's random numbers.
class SystemIdSource final : public IdSource {
 public:
  explicit SystemIdSource(const Clock& clock);
  ~SystemIdSource() override;
  [[nodiscard]] Uuid next() override;
  [[nodiscard]] std::uint64_t random() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A uuid that names one kind of thing; the kinds do not convert into each other.
template <class Tag>
class Id {
 public:
  Id() = default;  // the nil id: a place that will be filled
  explicit Id(const Uuid& value) : value_(value) {}
  [[nodiscard]] const Uuid& value() const { return value_; }
  [[nodiscard]] std::string to_string() const { return value_.to_string(); }
  [[nodiscard]] static std::optional<Id> parse(std::string_view text) {
    const auto value = Uuid::parse(text);
    return value ? std::optional(Id(*value)) : std::nullopt;
  }
  friend auto operator<=>(const Id&, const Id&) = default;

 private:
  Uuid value_;
};

using TenantId = Id<struct TenantIdTag>;
using EventId = Id<struct EventIdTag>;
using WorkflowId = Id<struct WorkflowIdTag>;
using StepId = Id<struct StepIdTag>;
using OpportunityId = Id<struct OpportunityIdTag>;
using DeadLetterId = Id<struct DeadLetterIdTag>;
using JobRunId = Id<struct JobRunIdTag>;

/// Events that belong to no tenant (job triggers, the ledger's own) carry this one.
[[nodiscard]] TenantId system_tenant();

/// The `opportunityId` of an id that a CRM gave: itself, if it is a uuid, else UUIDv5 in the tenant's name space.
[[nodiscard]] OpportunityId opportunity_id(const TenantId& tenant, std::string_view external_id);

}  // namespace wfo

template <>
struct std::hash<wfo::Uuid> {
  std::size_t operator()(const wfo::Uuid& id) const noexcept;
};
template <class Tag>
struct std::hash<wfo::Id<Tag>> {
  std::size_t operator()(const wfo::Id<Tag>& id) const noexcept { return std::hash<wfo::Uuid>{}(id.value()); }
};
