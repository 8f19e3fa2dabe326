#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::events {

/// What the contract of its type said about an event. It is asked once; the event carries the answer along.
enum class Verdict {
  valid,      // has a schema and satisfies it
  no_schema,  // a type that we hold no contract for: recorded as what it is, trusted for nothing
};

/// Bound of what is carried on from one event's metadata to the next: as long as AMQP's short strings can be.
inline constexpr std::size_t kMetadataTextMax = 255;

/// One event: the bytes that came, and where its parts stand in them. Immutable, shared between threads.
/// Made by `Contracts` only, so an event that exists has been checked.
class Event {
 public:
  [[nodiscard]] const EventId& id() const { return id_; }
  [[nodiscard]] const std::string& type() const { return type_; }
  [[nodiscard]] const TenantId& tenant() const { return tenant_; }
  [[nodiscard]] Timestamp timestamp() const { return timestamp_; }
  /// The role or service that published it; `service` of a source that is an object; "" if it did not say.
  [[nodiscard]] const std::string& source() const { return source_; }
  [[nodiscard]] const std::string& version() const { return version_; }
  /// The object `data`. Empty if there is none, which only an event without contract can be like.
  [[nodiscard]] json::Value data() const;
  /// `metadata.correlationId` if it is a string of 1 to kMetadataTextMax bytes, else the event's own id: what it causes
  /// carries it on.
  [[nodiscard]] std::string correlation_id() const;
  /// `metadata.traceparent`, with the same bound, else "".
  [[nodiscard]] std::string traceparent() const;
  [[nodiscard]] json::Value root() const { return document_.root(); }
  /// Exactly as received or as first written.
  [[nodiscard]] const std::string& bytes() const { return document_.text(); }
  [[nodiscard]] Verdict verdict() const { return verdict_; }
  /// Whether the bytes say the id (else the transport did), and the timestamp (else it is when the event was received):
  /// what they do not say must be kept beside them.
  [[nodiscard]] bool bytes_say_id() const { return bytes_say_id_; }
  [[nodiscard]] bool bytes_say_timestamp() const { return bytes_say_timestamp_; }

 private:
  friend class Contracts;
  struct Key {};

 public:
  explicit Event(Key, json::Document document) : document_(std::move(document)) {}

 private:
  EventId id_;
  std::string type_;
  TenantId tenant_;
  Timestamp timestamp_;
  std::string source_;
  std::string version_;
  Verdict verdict_ = Verdict::no_schema;
  bool bytes_say_id_ = true;
  bool bytes_say_timestamp_ = true;
  json::Document document_;
};

using EventPtr = std::shared_ptr<const Event>;

/// One rule that a document breaks.
struct Violation {
  std::string pointer;  // RFC 6901, of the value at fault; "" is the document
  std::string rule;     // the schema keyword: `required`, `format`, …
  std::string message;  // names the value and what is allowed
  friend bool operator==(const Violation&, const Violation&) = default;
};

/// `pointer: message (rule)`, the first `count_max` of them joined with `; `.
[[nodiscard]] std::string describe(const std::vector<Violation>& violations, std::size_t count_max = 5);

}  // namespace wfo::events
