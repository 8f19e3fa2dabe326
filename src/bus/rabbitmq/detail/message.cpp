#include "bus/rabbitmq/detail/message.h"

#include <array>
#include <bit>
#include <cmath>
#include <set>

#include "base/digest.h"
#include "base/json.h"

namespace wfo::bus::rabbitmq {
namespace {

constexpr int kTableDepthMax = 32;
constexpr std::uint8_t kPersistent = 2;
constexpr std::size_t kHeaderTextMax = 255;  // of a header of ours

/// Takes AMQP's fields off bytes. After a field that is not there everything is zero and `broken`.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] bool empty() const { return rest_.empty() || broken_; }
  template <class Number>
  Number number() {
    const auto bytes = take(sizeof(Number));
    return broken_ ? Number{} : big_endian<Number>(bytes);
  }
  std::string_view short_text() { return take(number<std::uint8_t>()); }
  std::string_view long_text() { return take(number<std::uint32_t>()); }
  void set_broken() { broken_ = true; }

 private:
  std::string_view take(std::size_t count) {
    if (broken_ || count > rest_.size()) {
      broken_ = true;
      return {};
    }
    const auto taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::string_view rest_;
  bool broken_ = false;
};

void write_double(json::Writer& writer, double value) {
  if (std::isfinite(value)) {
    writer.number(value);
  } else {
    writer.string(std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
  }
}

void write_unsigned(json::Writer& writer, std::uint64_t value) { writer.raw(std::to_string(value)); }

void write_time(json::Writer& writer, std::uint64_t seconds) {
  constexpr std::uint64_t kYear9999 = 253'402'300'799;  // what RFC 3339 can say
  if (seconds > kYear9999) {
    write_unsigned(writer, seconds);
  } else {
    writer.timestamp(Timestamp(std::chrono::seconds(static_cast<std::int64_t>(seconds))));
  }
}

void write_decimal(json::Writer& writer, std::uint8_t scale, std::int32_t unscaled) {
  const auto digits = fmt::format("{:0>{}}", std::abs(static_cast<std::int64_t>(unscaled)), scale + 1);
  const auto point = digits.size() - scale;
  writer.string(fmt::format("{}{}{}{}", unscaled < 0 ? "-" : "", digits.substr(0, point), scale > 0 ? "." : "",
                            digits.substr(point)));
}

void write_table(json::Writer& writer, std::string_view bytes, int depth, bool& broken);
void write_array(json::Writer& writer, std::string_view bytes, int depth, bool& broken);

/// The letters are RabbitMQ's; the standard's own differ, and nobody uses them.
void write_field(json::Writer& writer, Fields& fields, int depth) {
  const auto nested = [&](auto write) {
    const auto bytes = fields.long_text();
    if (depth >= kTableDepthMax) {
      writer.string(fmt::format("(nested more than {} levels deep)", kTableDepthMax));
      return;
    }
    bool broken = false;
    write(writer, bytes, depth + 1, broken);
    if (broken) fields.set_broken();
  };
  switch (fields.number<std::uint8_t>()) {
    case 't':
      writer.boolean(fields.number<std::uint8_t>() != 0);
      break;
    case 'b':
      writer.number(std::int64_t{std::bit_cast<std::int8_t>(fields.number<std::uint8_t>())});
      break;
    case 'B':
      writer.number(std::int64_t{fields.number<std::uint8_t>()});
      break;
    case 's':
      writer.number(std::int64_t{std::bit_cast<std::int16_t>(fields.number<std::uint16_t>())});
      break;
    case 'u':
      writer.number(std::int64_t{fields.number<std::uint16_t>()});
      break;
    case 'I':
      writer.number(std::int64_t{std::bit_cast<std::int32_t>(fields.number<std::uint32_t>())});
      break;
    case 'i':
      writer.number(std::int64_t{fields.number<std::uint32_t>()});
      break;
    case 'l':
      writer.number(std::bit_cast<std::int64_t>(fields.number<std::uint64_t>()));
      break;
    case 'L':
      write_unsigned(writer, fields.number<std::uint64_t>());
      break;
    case 'f':
      write_double(writer, std::bit_cast<float>(fields.number<std::uint32_t>()));
      break;
    case 'd':
      write_double(writer, std::bit_cast<double>(fields.number<std::uint64_t>()));
      break;
    case 'D': {
      const auto scale = fields.number<std::uint8_t>();
      write_decimal(writer, scale, std::bit_cast<std::int32_t>(fields.number<std::uint32_t>()));
      break;
    }
    case 'S':
      writer.string(fields.long_text());
      break;
    case 'x':
      writer.begin_object().key("hex").string(to_hex(fields.long_text())).end_object();
      break;
    case 'T':
      write_time(writer, fields.number<std::uint64_t>());
      break;
    case 'A':
      nested(write_array);
      break;
    case 'F':
      nested(write_table);
      break;
    case 'V':
      writer.null();
      break;
    default:
      writer.null();
      fields.set_broken();  // of an unknown type, so of unknown length
  }
}

void write_table(json::Writer& writer, std::string_view bytes, int depth, bool& broken) {
  Fields fields(bytes);
  std::set<std::string> seen;  // as text: two keys of broken UTF-8 can become one
  std::string scratch;
  writer.begin_object();
  while (!fields.empty()) {
    const auto key = fields.short_text();
    if (fields.broken()) break;
    scratch.clear();
    json::append_quoted(scratch, key);
    if (seen.insert(scratch).second) {
      writer.key(key);
      write_field(writer, fields, depth);
    } else {
      std::string ignored;
      json::Writer nowhere(ignored);
      write_field(nowhere, fields, depth);
    }
  }
  writer.end_object();
  broken = fields.broken();
}

void write_array(json::Writer& writer, std::string_view bytes, int depth, bool& broken) {
  Fields fields(bytes);
  writer.begin_array();
  while (!fields.empty()) write_field(writer, fields, depth);
  writer.end_array();
  broken = fields.broken();
}

/// The properties in the order in which they stand. False: they are broken.
bool write_properties(json::Writer& writer, std::string_view bytes, std::optional<EventId>& message_id) {
  Fields fields(bytes);
  const auto flags = fields.number<std::uint16_t>();
  if ((flags & 1) != 0) return false;  // more flags follow, of which AMQP 0-9-1 has none
  const auto has = [&](amqp_flags_t flag) { return (flags & flag) != 0 && !fields.broken(); };
  const auto text = [&](amqp_flags_t flag, std::string_view name) {
    if (!has(flag)) return;
    const auto value = fields.short_text();
    if (flag == AMQP_BASIC_MESSAGE_ID_FLAG) message_id = EventId::parse(value);
    writer.key(name).string(value);
  };
  text(AMQP_BASIC_CONTENT_TYPE_FLAG, "content_type");
  text(AMQP_BASIC_CONTENT_ENCODING_FLAG, "content_encoding");
  bool headers_broken = false;
  if (has(AMQP_BASIC_HEADERS_FLAG)) {
    const auto table = fields.long_text();
    writer.key("headers");
    write_table(writer, table, 0, headers_broken);
  }
  if (has(AMQP_BASIC_DELIVERY_MODE_FLAG)) {
    writer.key("delivery_mode").number(std::int64_t{fields.number<std::uint8_t>()});
  }
  if (has(AMQP_BASIC_PRIORITY_FLAG)) writer.key("priority").number(std::int64_t{fields.number<std::uint8_t>()});
  text(AMQP_BASIC_CORRELATION_ID_FLAG, "correlation_id");
  text(AMQP_BASIC_REPLY_TO_FLAG, "reply_to");
  text(AMQP_BASIC_EXPIRATION_FLAG, "expiration");
  text(AMQP_BASIC_MESSAGE_ID_FLAG, "message_id");
  if (has(AMQP_BASIC_TIMESTAMP_FLAG)) {
    writer.key("timestamp");
    write_time(writer, fields.number<std::uint64_t>());
  }
  text(AMQP_BASIC_TYPE_FLAG, "type");
  text(AMQP_BASIC_USER_ID_FLAG, "user_id");
  text(AMQP_BASIC_APP_ID_FLAG, "app_id");
  text(AMQP_BASIC_CLUSTER_ID_FLAG, "cluster_id");
  return !fields.broken() && !headers_broken;
}

amqp_table_entry_t text_entry(const char* key, std::string_view value) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_text(value);
  return entry;
}

}  // namespace

Properties read_properties(const Message& message) {
  Properties properties;
  json::Writer writer(properties.json);
  writer.begin_object().key("exchange").string(message.exchange).key("routing_key").string(message.routing_key);
  writer.key("redelivered").boolean(message.redelivered);
  if (!write_properties(writer, message.content.properties, properties.message_id)) {
    writer.key("unreadable").string(to_hex(message.content.properties));
  }
  writer.end_object();
  return properties;
}

Delivery delivery_of(Message message, const events::Contracts& contracts, Timestamp received,
                     std::size_t body_bytes_max) {
  auto properties = read_properties(message);
  Delivery delivery;
  delivery.headers = std::move(properties.json);
  const auto& content = message.content;
  if (content.body.size() < content.body_size) {
    delivery.unreadable_reason = fmt::format("a message of {} bytes, of which the first {} are kept (body_bytes_max)",
                                             content.body_size, body_bytes_max);
    delivery.unreadable_bytes = std::move(message.content.body);
    return delivery;
  }
  // Reading takes the bytes, and of what it cannot read none come back: so it gets a copy. Most of a message's cost
  // lies elsewhere.
  auto event = contracts.read(content.body, received, properties.message_id);
  if (event) {
    delivery.event = *std::move(event);
  } else {
    delivery.unreadable_reason = std::move(event).error().message;
    delivery.unreadable_bytes = std::move(message.content.body);
  }
  return delivery;
}

const std::string& EventPublisher::schema_name(const std::string& type) {
  if (const auto found = schema_names_.find(type); found != schema_names_.end()) return found->second;
  static const std::string kNone;
  const auto text = contracts_.schema_text(type);
  if (!text) return kNone;
  auto name = fmt::format("{};sha256={}", type, to_hex(sha256(*text)));
  return schema_names_.emplace(type, std::move(name)).first->second;
}

void EventPublisher::publish(Connection& connection, Channel channel, std::string_view exchange,
                             const events::Event& event, bool mandatory) {
  const auto id = event.id().to_string();
  const auto correlation_id = event.correlation_id();
  const auto tenant = event.tenant().to_string();
  const auto traceparent = event.traceparent();
  const auto& schema = schema_name(event.type());

  std::array<amqp_table_entry_t, 4> headers;
  int header_count = 0;
  headers[0] = text_entry("tenantId", tenant);
  ++header_count;
  const auto add = [&](const char* key, std::string_view value) {
    if (value.empty() || value.size() > kHeaderTextMax) return;  // of others' events replayed, there may be such
    headers[static_cast<std::size_t>(header_count++)] = text_entry(key, value);
  };
  add("version", event.version());
  add("traceparent", traceparent);
  add("x-schema", schema);

  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                      AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                      AMQP_BASIC_HEADERS_FLAG;
  properties.content_type = amqp_text("application/json");
  properties.delivery_mode = kPersistent;
  properties.message_id = amqp_text(id);
  properties.correlation_id = amqp_text(correlation_id);
  properties.type = amqp_text(event.type());
  properties.headers = {header_count, headers.data()};
  if (const auto seconds = std::chrono::floor<std::chrono::seconds>(event.timestamp()).time_since_epoch().count();
      seconds >= 0) {
    properties.timestamp = static_cast<std::uint64_t>(seconds);
  }
  if (!event.source().empty() && event.source().size() <= kNameBytesMax) {
    properties._flags |= AMQP_BASIC_APP_ID_FLAG;
    properties.app_id = amqp_text(event.source());
  }
  amqp_basic_publish_t publish{};
  publish.exchange = amqp_text(exchange);
  publish.routing_key = amqp_text(event.type());
  publish.mandatory = mandatory ? 1 : 0;
  connection.publish(channel, publish, properties, event.bytes());
}

}  // namespace wfo::bus::rabbitmq
