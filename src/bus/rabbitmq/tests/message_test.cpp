#include "bus/rabbitmq/detail/message.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "bus/tests/samples.h"

namespace wfo::bus::rabbitmq {
namespace {

using samples::contracts;
using samples::event_text;
using testing::HasSubstr;

const Timestamp kReceived(milliseconds(1'772'357'400'000));

std::string short_text(std::string_view text) {
  std::string bytes(1, static_cast<char>(text.size()));
  return bytes.append(text);
}
std::string long_text(std::string_view text) {
  std::string bytes;
  append_big_endian(bytes, static_cast<std::uint32_t>(text.size()));
  return bytes.append(text);
}
template <class Number>
std::string number(Number value) {
  std::string bytes;
  append_big_endian(bytes, value);
  return bytes;
}
std::string flags(amqp_flags_t flags) { return number(static_cast<std::uint16_t>(flags)); }

/// A message with nothing but headers, of which this is the table.
Message with_headers(std::string_view table) {
  Message message;
  message.exchange = "events";
  message.routing_key = "order.placed";
  message.content.properties = flags(AMQP_BASIC_HEADERS_FLAG) + long_text(table);
  return message;
}

std::string header_json(std::string_view table) {
  const auto properties = read_properties(with_headers(table));
  const auto document = json::Document::parse(properties.json);
  EXPECT_TRUE(document) << document.error().message << ": " << properties.json;
  if (!document) return "";
  if (document->root().find("unreadable")) return "unreadable";
  return std::string(document->root().find("headers")->raw());
}

TEST(RabbitHeaders, BecomeJsonWhateverTheirTypeIs) {
  struct Case {
    std::string field;
    std::string json;
  };
  const Case cases[] = {
      {"t\x01", "true"},
      {std::string("t\0", 2), "false"},
      {"b\xFF", "-1"},
      {"B\xFF", "255"},
      {"s\xFF\xFE", "-2"},
      {"u\xFF\xFE", "65534"},
      {"I\xFF\xFF\xFF\xFD", "-3"},
      {"i\xFF\xFF\xFF\xFD", "4294967293"},
      {"l" + number(std::uint64_t{0x8000000000000000}), "-9223372036854775808"},
      {"L" + number(std::uint64_t{0xFFFFFFFFFFFFFFFF}), "18446744073709551615"},
      {"f" + number(std::bit_cast<std::uint32_t>(0.5F)), "0.5"},
      {"d" + number(std::bit_cast<std::uint64_t>(-2.25)), "-2.25"},
      {"d" + number(std::bit_cast<std::uint64_t>(std::numeric_limits<double>::quiet_NaN())), "\"NaN\""},
      {"d" + number(std::bit_cast<std::uint64_t>(-HUGE_VAL)), "\"-Infinity\""},
      {"f" + number(std::bit_cast<std::uint32_t>(HUGE_VALF)), "\"Infinity\""},
      {"D\x02" + number(std::uint32_t{12345}), "\"123.45\""},
      {"D\x03" + number(static_cast<std::uint32_t>(-7)), "\"-0.007\""},
      {std::string("D\0", 2) + number(std::uint32_t{5}), "\"5\""},
      {"D\xFF" + number(std::uint32_t{1}), "\"0." + std::string(254, '0') + "1\""},
      {"S" + long_text("text"), "\"text\""},
      {"S" + long_text(std::string("a\0\xFF\"", 4)), R"("a\ufffd\ufffd\"")"},
      {"x" + long_text(std::string("\x00\xAB", 2)), R"({"hex":"00ab"})"},
      {"T" + number(std::uint64_t{1'772'357'400}), "\"2026-03-01T09:30:00.000Z\""},
      {"T" + number(std::uint64_t{0xFFFFFFFFFFFFFFFF}), "18446744073709551615"},
      {"V", "null"},
      {"A" + long_text("VB\x01" + ("A" + long_text(""))), "[null,1,[]]"},
      {"F" + long_text(short_text("a") + "V" + short_text("b") + "F" + long_text("")), R"({"a":null,"b":{}})"},
  };
  for (const auto& [field, json] : cases) {
    EXPECT_EQ(header_json(short_text("key") + field), "{\"key\":" + json + "}") << json;
  }
}

TEST(RabbitHeaders, KeepTheFirstOfTwoEqualKeysAlsoIfTheyAreEqualOnlyAsText) {
  EXPECT_EQ(header_json(short_text("k") + "B\x01" + short_text("k") + "B\x02" + short_text("l") + "B\x03"),
            R"({"k":1,"l":3})");
  EXPECT_EQ(header_json(short_text("\xFE") + "B\x01" + short_text("\xFF") + "B\x02"), R"({"\ufffd":1})");
}

TEST(RabbitHeaders, AreCutWhereTheyAreNestedTooDeeply) {
  std::string table = short_text("bottom") + "V";
  for (int i = 0; i < 10'000; ++i) table = short_text("") + "F" + long_text(table);
  const auto json = header_json(table);
  EXPECT_THAT(json, HasSubstr("(nested more than 32 levels deep)"));
}

TEST(RabbitHeaders, SayWhatCameWhenTheyCannotBeRead) {
  for (const auto& table : {short_text("key") + "?", short_text("key") + "S\xFF\xFF\xFF\xFF", std::string("\x09k"),
                            short_text("key") + "A" + long_text("?"), short_text("key") + "l\x01"}) {
    EXPECT_EQ(header_json(table), "unreadable");
  }
  Message message;
  message.content.properties = "\xFF";
  EXPECT_THAT(read_properties(message).json, HasSubstr(R"("unreadable":"ff")"));
}

RC_GTEST_PROP(RabbitProperties, AreJsonWhateverCame, (const std::string& bytes, const std::string& key)) {
  Message message;
  message.routing_key = key;
  message.content.properties = bytes;
  RC_ASSERT(json::Document::parse(read_properties(message).json).has_value());
  RC_ASSERT(json::Document::parse(read_properties(with_headers(bytes)).json).has_value());
}

TEST(RabbitProperties, AreNamedAsAmqpNamesThem) {
  Message message;
  message.redelivered = true;
  message.exchange = "events";
  message.routing_key = "order.placed";
  message.content.properties =
      flags(AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
            AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_REPLY_TO_FLAG |
            AMQP_BASIC_EXPIRATION_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_TYPE_FLAG |
            AMQP_BASIC_USER_ID_FLAG | AMQP_BASIC_APP_ID_FLAG | AMQP_BASIC_CLUSTER_ID_FLAG) +
      short_text("application/json") + short_text("utf-8") + "\x02" + "\x05" + short_text("c") + short_text("r") +
      short_text("60000") + short_text("m") + number(std::uint64_t{1'772'357'400}) + short_text("t") + short_text("u") +
      short_text("a") + short_text("z");
  EXPECT_EQ(read_properties(message).json,
            R"({"exchange":"events","routing_key":"order.placed","redelivered":true,)"
            R"("content_type":"application/json","content_encoding":"utf-8","delivery_mode":2,"priority":5,)"
            R"("correlation_id":"c","reply_to":"r","expiration":"60000","message_id":"m",)"
            R"("timestamp":"2026-03-01T09:30:00.000Z","type":"t","user_id":"u","app_id":"a","cluster_id":"z"})");
  EXPECT_FALSE(read_properties(message).message_id) << "m is no uuid";
}

Message with_body(std::string body, std::string_view message_id = "") {
  Message message;
  message.content.body_size = body.size();
  message.content.body = std::move(body);
  message.content.properties = flags(message_id.empty() ? 0 : AMQP_BASIC_MESSAGE_ID_FLAG);
  if (!message_id.empty()) message.content.properties += short_text(message_id);
  return message;
}

TEST(RabbitMessage, IsAnEventWithTheBytesThatCame) {
  const auto text = event_text("order.placed", 1, R"({ "amount" : 1.10 })");
  const auto delivery = delivery_of(with_body(text), contracts(), kReceived, 1'000'000);
  ASSERT_TRUE(delivery.event) << delivery.unreadable_reason;
  EXPECT_EQ(delivery.event->bytes(), text);
}

TEST(RabbitMessage, TakesItsIdFromTheTransportIfItHasNone) {
  const std::string text = R"({"type":"order.placed","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01","data":{}})";
  const std::string id = "0190b1a0-0000-7000-8000-000000000001";
  const auto delivery = delivery_of(with_body(text, id), contracts(), kReceived, 1'000'000);
  ASSERT_TRUE(delivery.event) << delivery.unreadable_reason;
  EXPECT_EQ(delivery.event->id().to_string(), id);
  EXPECT_EQ(delivery.event->timestamp(), kReceived);
  const auto without = delivery_of(with_body(text, "no-uuid"), contracts(), kReceived, 1'000'000);
  EXPECT_FALSE(without.event);
  EXPECT_THAT(without.unreadable_reason, HasSubstr("has no `id`"));
  EXPECT_EQ(without.unreadable_bytes, text);
}

TEST(RabbitMessage, ThatIsNoEventIsKeptWithItsReason) {
  struct Case {
    std::string body;
    std::string_view reason;
  };
  const std::string tenant = R"("tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01")";
  const std::string id = R"("id":"0190b1a0-0000-7000-8000-000000000001")";
  const Case cases[] = {
      {"", "not JSON"},
      {"hello", "not JSON"},
      {R"({"id":)", "not JSON"},
      {"{\"type\":\"\xFF\"}", "not JSON"},
      {"[1]", "an event is an object"},
      {"{" + id + "," + tenant + R"(,"data":{}})", "has no `type`"},
      {"{" + id + R"(,"type":"order.placed","data":{}})", "has no `tenantId`"},
      {"{" + id + "," + tenant + R"(,"type":"workflow.job.trigger","data":{}})", "workflow.job.trigger: "},
  };
  for (const auto& [body, reason] : cases) {
    const auto delivery = delivery_of(with_body(body), contracts(), kReceived, 1'000'000);
    EXPECT_FALSE(delivery.event) << body;
    EXPECT_THAT(delivery.unreadable_reason, HasSubstr(reason));
    EXPECT_EQ(delivery.unreadable_bytes, body);
  }
}

TEST(RabbitMessage, ThatIsLongerThanAnEventMayBeIsKeptAsFarAsItWasTaken) {
  const auto whole = delivery_of(with_body(std::string(2'000'000, 'x')), contracts(), kReceived, 4'000'000);
  EXPECT_THAT(whole.unreadable_reason, HasSubstr("has 2000000 bytes; the limit event_bytes_max is 1048576"));
  EXPECT_EQ(whole.unreadable_bytes.size(), 2'000'000U);

  auto message = with_body(std::string(4'000, 'x'));
  message.content.body_size = 9'000;
  const auto cut = delivery_of(std::move(message), contracts(), kReceived, 4'000);
  EXPECT_THAT(cut.unreadable_reason, HasSubstr("a message of 9000 bytes, of which the first 4000 are kept"));
  EXPECT_EQ(cut.unreadable_bytes.size(), 4'000U);
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
