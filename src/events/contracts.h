#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "events/event.h"

namespace wfo::events {

inline constexpr std::size_t kEventBytesMax = 1024 * 1024;  // the default bound of one event

/// What a new event says besides its data. Empty optionals are left out.
struct Envelope {
  std::string_view type;
  TenantId tenant;
  std::string_view source{};              // the role that publishes
  std::string correlation_id{};           // "" leaves it out; at most kMetadataTextMax characters
  std::optional<EventId> causation_id{};  // the event that directly caused this one
  std::string user_id{};                  // "" leaves it out
  std::string traceparent{};              // "" leaves it out
};

/// The contracts of all event types (contracts/events/*.schema.json, compiled in). Immutable; any thread.
class Contracts {
 public:
  /// Compiles the schemas. Errors: `internal`, names the schema and the keyword that is not supported.
  [[nodiscard]] static Result<std::unique_ptr<const Contracts>> load(std::size_t event_bytes_max = kEventBytesMax);
  ~Contracts();

  /// All types that have a contract, sorted.
  [[nodiscard]] const std::vector<std::string>& types() const;
  [[nodiscard]] bool knows(std::string_view type) const;
  /// The schema's text as it stands in contracts/events, or nothing.
  [[nodiscard]] std::optional<std::string_view> schema_text(std::string_view type) const;

  /// Reads what others published, liberally in the envelope (design section 4): `source` may be an object
  /// `{service, instance}`, `version` any string or missing, `tenantId` may stand in `data` only, `timestamp` may be
  /// missing (then `received`), `id` too if `message_id` is given; null is as good as missing. `data` must satisfy the
  /// type's contract.
  /// Errors: `invalid_argument`, with all reasons: not JSON, too large, no type, no tenant, two tenants, no id,
  /// contract broken.
  [[nodiscard]] Result<EventPtr> read(std::string bytes, Timestamp received,
                                      const std::optional<EventId>& message_id = std::nullopt) const;

  /// Reads back what `read` or `make` gave and a store kept: parses, does not validate again. `message_id` is the one
  /// that `read` had, if the bytes may be without an id. Errors: `corruption`.
  [[nodiscard]] Result<EventPtr> restore(std::string bytes, Timestamp received,
                                         const std::optional<EventId>& message_id = std::nullopt) const;

  /// Writes an event and validates all of it. `write_data` writes the value of `data`, an object.
  /// Errors: `invalid_argument` with type, pointer and rule. For events made of our own values that is our bug and
  /// the caller's transaction must not commit; where a worker's result is inside, it is the result's fault.
  [[nodiscard]] Result<EventPtr> make(const EventId& id, Timestamp now, const Envelope& envelope,
                                      FunctionRef<void(json::Writer&)> write_data) const;

  /// Everything that `document` breaks of the contract of its own `type`, strictly (envelope included), in document
  /// order; a document without a type that we know has one violation. For `wfo events validate`.
  [[nodiscard]] std::vector<Violation> validate(json::Value document) const;

 private:
  Contracts();
  struct State;
  std::unique_ptr<State> state_;
};

/// Makes events for one role: contract, ids, clock and name in one place. Any thread.
class EventFactory {
 public:
  EventFactory(const Contracts& contracts, IdSource& ids, const Clock& clock, std::string_view source)
      : contracts_(contracts), ids_(ids), clock_(clock), source_(source) {}
  /// An event of `type` for what `cause` (may be null) led to: correlation, causation and traceparent come from it.
  [[nodiscard]] Result<EventPtr> make(std::string_view type, const TenantId& tenant, const Event* cause,
                                      FunctionRef<void(json::Writer&)> write_data) const;
  /// The same with all of the envelope; `envelope.source` is replaced by this factory's.
  [[nodiscard]] Result<EventPtr> make(Envelope envelope, FunctionRef<void(json::Writer&)> write_data) const;
  [[nodiscard]] const Contracts& contracts() const { return contracts_; }

 private:
  const Contracts& contracts_;
  IdSource& ids_;
  const Clock& clock_;
  std::string source_;
};

}  // namespace wfo::events
