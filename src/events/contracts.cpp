#include "events/contracts.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <unordered_map>

#include "embedded/event_schemas.h"
#include "events/detail/schema_checker.h"
#include "events/schema.h"

namespace wfo::events {
namespace {

constexpr std::string_view kVersion = "1.0.0";
constexpr std::string_view kSchemaSuffix = ".schema.json";
constexpr std::size_t kTypeBytesMax = 255;        // it is a routing key, and AMQP's are short strings
constexpr std::size_t kEnvelopeBytesUsual = 640;  // with metadata and a small `data`

using detail::shown;

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

struct Contract {
  std::string_view text;
  Schema schema;
};

/// What the envelope of a foreign event says, as far as it could be understood.
struct Reading {
  std::optional<EventId> id;
  bool bytes_say_id = false;
  std::string type;
  std::optional<TenantId> tenant;
  std::optional<Timestamp> timestamp;
  std::string source;
  std::string version;
  std::optional<json::Value> data;
  std::vector<Violation> violations;
};

class EnvelopeReader {
 public:
  EnvelopeReader(Reading& reading, const std::optional<EventId>& message_id)
      : reading_(reading), message_id_(message_id) {}

  void read(json::Value root) {
    if (!root.is_object()) {
      broken("", "type", fmt::format("an event is an object, not {}", shown(root)));
      return;
    }
    for (const json::Member member : root.members()) {
      const auto plain = member.key.plain_string();
      take(plain ? *plain : std::string_view(member.key.string().value_or("")), member.value);
    }
    const auto tenant_in_data = reading_.data ? reading_.data->find("tenantId") : std::nullopt;
    if (tenant_in_data && !is_null(*tenant_in_data)) tenant_of_data(*tenant_in_data);
    reading_.bytes_say_id = reading_.id.has_value();
    if (!reading_.id && !id_is_broken_) {
      reading_.id = message_id_;
      if (!message_id_) broken("", "required", "has no `id`, and its message had no message_id");
    }
    if (reading_.type.empty() && !type_is_broken_) broken("", "required", "has no `type`");
    if (!reading_.tenant && !tenant_is_broken_)
      broken("", "required", "has no `tenantId`, neither in the envelope nor in `data`");
  }

 private:
  static bool is_null(json::Value value) { return value.kind() == json::Kind::null; }

  void take(std::string_view key, json::Value value) {
    if (is_null(value) && key != "data") return;
    if (key == "id") {
      reading_.id = id_of<EventId>(value);
      if (reading_.id) return;
      id_is_broken_ = true;
      broken("/id", "format", fmt::format("{} is no uuid", shown(value)));
    } else if (key == "type") {
      reading_.type = value.string().value_or("");
      if (!reading_.type.empty() && reading_.type.size() <= kTypeBytesMax) return;
      type_is_broken_ = true;
      broken("/type", "type",
             fmt::format("{} is no event type; allowed: a string of 1 to {} bytes", shown(value), kTypeBytesMax));
    } else if (key == "tenantId") {
      reading_.tenant = id_of<TenantId>(value);
      if (reading_.tenant) return;
      tenant_is_broken_ = true;
      broken("/tenantId", "format", fmt::format("{} is no uuid", shown(value)));
    } else if (key == "timestamp") {
      reading_.timestamp = value.timestamp();
      if (!reading_.timestamp) broken("/timestamp", "format", fmt::format("{} is no date-time", shown(value)));
    } else if (key == "version") {
      if (auto text = value.string()) {
        reading_.version = *std::move(text);
      } else {
        broken("/version", "type", fmt::format("{} is no string", shown(value)));
      }
    } else if (key == "source") {
      const auto service = value.is_object() ? value.find("service") : value;
      if (auto text = service ? service->string() : std::nullopt) {
        reading_.source = *std::move(text);
      } else {
        broken("/source", "type",
               fmt::format("{} names no one; allowed: a string, or an object with the string `service`", shown(value)));
      }
    } else if (key == "data") {
      reading_.data = value;
    }
  }

  void tenant_of_data(json::Value value) {
    const auto tenant = id_of<TenantId>(value);
    if (!tenant) {
      tenant_is_broken_ = true;
      broken("/data/tenantId", "format", fmt::format("{} is no uuid", shown(value)));
    } else if (reading_.tenant && reading_.tenant != tenant) {
      // Whoever believes the one would show this event to the other.
      broken("/data/tenantId", "const",
             fmt::format("{} is not the tenant of the envelope, {}", shown(value), reading_.tenant->to_string()));
    } else {
      reading_.tenant = tenant;
    }
  }

  template <class IdType>
  static std::optional<IdType> id_of(json::Value value) {
    const auto uuid = value.uuid();
    return uuid ? std::optional(IdType(*uuid)) : std::nullopt;
  }

  void broken(std::string_view pointer, std::string_view rule, std::string message) {
    reading_.violations.push_back({std::string(pointer), std::string(rule), std::move(message)});
  }

  Reading& reading_;
  const std::optional<EventId>& message_id_;
  bool id_is_broken_ = false;
  bool type_is_broken_ = false;
  bool tenant_is_broken_ = false;
};

void write_metadata(json::Writer& writer, const Envelope& envelope) {
  const bool has_any = !envelope.correlation_id.empty() || envelope.causation_id || !envelope.user_id.empty() ||
                       !envelope.traceparent.empty();
  if (!has_any) return;
  writer.key("metadata").begin_object();
  if (!envelope.correlation_id.empty()) writer.key("correlationId").string(envelope.correlation_id);
  if (envelope.causation_id) writer.key("causationId").uuid(*envelope.causation_id);
  if (!envelope.user_id.empty()) writer.key("userId").string(envelope.user_id);
  if (!envelope.traceparent.empty()) writer.key("traceparent").string(envelope.traceparent);
  writer.end_object();
}

std::unexpected<Error> too_large(std::string_view what, std::size_t bytes, std::size_t bytes_max) {
  return fail(ErrorCode::invalid_argument, "{} has {} bytes; the limit event_bytes_max is {}", what, bytes, bytes_max);
}

}  // namespace

struct Contracts::State {
  std::size_t event_bytes_max;
  std::unordered_map<std::string, Contract, TextHash, std::equal_to<>> by_type;
  std::vector<std::string> types;

  [[nodiscard]] Result<EventPtr> read(std::string bytes, Timestamp received, const std::optional<EventId>& message_id,
                                      bool checks_data) const;
  [[nodiscard]] const Contract* find(std::string_view type) const {
    const auto found = by_type.find(type);
    return found == by_type.end() ? nullptr : &found->second;
  }
};

Contracts::Contracts() : state_(std::make_unique<State>()) {}
Contracts::~Contracts() = default;

Result<std::unique_ptr<const Contracts>> Contracts::load(std::size_t event_bytes_max) {
  std::unique_ptr<Contracts> contracts(new Contracts);
  State& state = *contracts->state_;
  state.event_bytes_max = event_bytes_max;
  for (const embedded::File& file : embedded::event_schemas()) {
    const auto failed = [&](Error error) {
      return std::unexpected(with_context(Error{ErrorCode::internal, std::move(error.message)}, file.name));
    };
    const auto document = json::Document::parse(std::string(file.text));
    if (!document) return failed(document.error());
    auto schema = Schema::compile(document->root());
    if (!schema) return failed(schema.error());
    std::string type(file.name.substr(0, file.name.size() - kSchemaSuffix.size()));
    const auto named = document->root().find("properties", "type", "const");
    if (!named || !named->equals(type)) {
      return failed({ErrorCode::internal,
                     fmt::format("properties/type/const is not the type that the file is named after, `{}`", type)});
    }
    state.types.push_back(type);
    state.by_type.emplace(std::move(type), Contract{file.text, *std::move(schema)});
  }
  std::ranges::sort(state.types);
  return contracts;
}

const std::vector<std::string>& Contracts::types() const { return state_->types; }

bool Contracts::knows(std::string_view type) const { return state_->find(type) != nullptr; }

std::optional<std::string_view> Contracts::schema_text(std::string_view type) const {
  const Contract* contract = state_->find(type);
  return contract ? std::optional(contract->text) : std::nullopt;
}

Result<EventPtr> Contracts::State::read(std::string bytes, Timestamp received, const std::optional<EventId>& message_id,
                                        bool checks_data) const {
  auto document = json::Document::parse(std::move(bytes));
  if (!document) return std::unexpected(with_context(std::move(document).error(), "not JSON"));
  auto event = std::make_shared<Event>(Event::Key{}, *std::move(document));

  Reading reading;
  EnvelopeReader(reading, message_id).read(event->root());
  const Contract* contract = find(reading.type);
  if (contract && checks_data) {
    if (!reading.data) {
      reading.violations.push_back({"", "required", "has no property `data`"});
    } else if (!contract->schema.is_valid_property("data", *reading.data)) {
      std::ranges::move(contract->schema.validate_property("data", *reading.data),
                        std::back_inserter(reading.violations));
    }
  }
  if (!reading.violations.empty()) {
    const std::string type = reading.type.empty() ? "an event" : detail::printable(reading.type, kTypeBytesMax);
    return fail(ErrorCode::invalid_argument, "{}: {}", type, describe(reading.violations));
  }
  event->id_ = *reading.id;
  event->type_ = std::move(reading.type);
  event->tenant_ = *reading.tenant;
  event->timestamp_ = reading.timestamp.value_or(received);
  event->source_ = std::move(reading.source);
  event->version_ = std::move(reading.version);
  event->verdict_ = contract ? Verdict::valid : Verdict::no_schema;
  event->bytes_say_id_ = reading.bytes_say_id;
  event->bytes_say_timestamp_ = reading.timestamp.has_value();
  return event;
}

Result<EventPtr> Contracts::read(std::string bytes, Timestamp received,
                                 const std::optional<EventId>& message_id) const {
  if (bytes.size() > state_->event_bytes_max) return too_large("an event", bytes.size(), state_->event_bytes_max);
  return state_->read(std::move(bytes), received, message_id, true);
}

Result<EventPtr> Contracts::restore(std::string bytes, Timestamp received,
                                    const std::optional<EventId>& message_id) const {
  auto event = state_->read(std::move(bytes), received, message_id, false);
  if (event) return event;
  return fail(ErrorCode::corruption, "a stored event cannot be read back: {}", event.error().message);
}

Result<EventPtr> Contracts::make(const EventId& id, Timestamp now, const Envelope& envelope,
                                 FunctionRef<void(json::Writer&)> write_data) const {
  const Contract* contract = state_->find(envelope.type);
  if (!contract) return fail(ErrorCode::invalid_argument, "the event type `{}` has no contract", envelope.type);
  std::string bytes;
  bytes.reserve(kEnvelopeBytesUsual);
  json::Writer writer(bytes);
  writer.begin_object().key("id").uuid(id).key("type").string(envelope.type).key("version").string(kVersion);
  writer.key("timestamp").timestamp(now).key("tenantId").uuid(envelope.tenant).key("source").string(envelope.source);
  writer.key("data");
  write_data(writer);
  write_metadata(writer, envelope);
  writer.end_object();
  if (bytes.size() > state_->event_bytes_max) return too_large(envelope.type, bytes.size(), state_->event_bytes_max);

  auto document = json::Document::parse(std::move(bytes));
  if (!document) return std::unexpected(with_context(std::move(document).error(), envelope.type));
  auto event = std::make_shared<Event>(Event::Key{}, *std::move(document));
  if (!contract->schema.is_valid(event->root())) {
    return fail(ErrorCode::invalid_argument, "{}: {}", envelope.type,
                describe(contract->schema.validate(event->root())));
  }
  event->id_ = id;
  event->type_ = envelope.type;
  event->tenant_ = envelope.tenant;
  event->timestamp_ = now;
  event->source_ = envelope.source;
  event->version_ = kVersion;
  event->verdict_ = Verdict::valid;
  return event;
}

std::vector<Violation> Contracts::validate(json::Value document) const {
  const auto type = document.find("type");
  if (!type) return {{"", "required", "has no property `type`, so no contract to be checked against"}};
  const Contract* contract = state_->find(type->string().value_or(""));
  if (!contract) return {{"/type", "enum", fmt::format("{} is no event type that has a contract", shown(*type))}};
  return contract->schema.validate(document);
}

}  // namespace wfo::events
