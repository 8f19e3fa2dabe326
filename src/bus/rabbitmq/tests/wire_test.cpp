#include "bus/rabbitmq/detail/wire.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>

namespace wfo::bus::rabbitmq {
namespace {

using testing::HasSubstr;

void feed(FrameReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto space = reader.space();
    const auto count = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), count);
    reader.received(count);
    bytes.remove_prefix(count);
  }
}

std::string frame(std::uint8_t type, std::uint16_t channel, std::string_view payload) {
  std::string bytes;
  bytes.push_back(static_cast<char>(type));
  append_big_endian(bytes, channel);
  append_big_endian(bytes, static_cast<std::uint32_t>(payload.size()));
  return bytes.append(payload).append("\xCE");
}

RC_GTEST_PROP(Frames, ComeOutAsTheyWentInWhereverTheBytesAreCut, ()) {
  const auto payloads = *rc::gen::container<std::vector<std::string>>(rc::gen::arbitrary<std::string>());
  std::string bytes;
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    bytes += frame(AMQP_FRAME_METHOD, static_cast<std::uint16_t>(i), payloads[i]);
  }
  FrameReader reader;
  std::size_t next = 0;
  for (std::string_view rest = bytes; !rest.empty();) {
    const auto count = std::min<std::size_t>(rest.size(), *rc::gen::inRange<std::size_t>(1, 40));
    feed(reader, rest.substr(0, count));
    rest.remove_prefix(count);
    for (;;) {
      const auto got = reader.next();
      RC_ASSERT(got.has_value());
      if (!*got) break;
      RC_ASSERT((*got)->channel == next);
      RC_ASSERT((*got)->payload == payloads.at(next));
      ++next;
    }
  }
  RC_ASSERT(next == payloads.size());
}

RC_GTEST_PROP(Frames, NeverBreakOnWhateverComes, (std::string bytes)) {
  FrameReader reader;
  Pool pool;
  feed(reader, "\x01" + bytes);
  for (;;) {
    const auto got = reader.next();
    if (!got || !*got) break;
    (void)Method::decode((*got)->payload, pool.fresh());
  }
}

TEST(Frames, RefuseAPeerThatSpeaksSomethingElse) {
  struct Case {
    std::string bytes;
    std::string_view message;
  };
  const Case cases[] = {
      {"HTTP/1.1 400 Bad Request\r\n", "its first byte is 0x48"},
      {std::string("AMQP\x00\x00\x09\x02", 8), "wants another version"},
      {std::string("\x01\x00\x00\xFF\xFF\xFF\xFF", 7), "a frame of 4294967295 bytes"},
      {std::string("\x01\x00\x00\x00\x00\x00\x01xx", 9), "a frame without its end"},
  };
  for (const auto& [bytes, message] : cases) {
    FrameReader reader;
    feed(reader, bytes);
    const auto got = reader.next();
    ASSERT_FALSE(got);
    EXPECT_TRUE(got.error().lasting);
    EXPECT_THAT(got.error().text, HasSubstr(message));
    EXPECT_THAT(got.error().text, HasSubstr("check host and port"));
  }
}

TEST(Frames, CarryABodyInPartsThatFit) {
  amqp_basic_publish_t publish{};
  publish.exchange = amqp_text("exchange");
  publish.routing_key = amqp_text("key");
  amqp_basic_properties_t properties{};
  std::string body(10'000, 'x');
  body.back() = 'y';
  std::string bytes;
  append_publish(bytes, 3, publish, properties, body, 4'096);
  FrameReader reader;
  feed(reader, bytes);
  std::string got;
  std::vector<int> types;
  for (;;) {
    const auto next = reader.next();
    ASSERT_TRUE(next) << next.error().text;
    if (!*next) break;
    types.push_back((*next)->type);
    EXPECT_EQ((*next)->channel, 3);
    EXPECT_LE((*next)->payload.size() + 8, 4'096U);
    if ((*next)->type == AMQP_FRAME_BODY) got += (*next)->payload;
    if ((*next)->type == AMQP_FRAME_HEADER) {
      EXPECT_EQ(big_endian<std::uint64_t>((*next)->payload.substr(4)), body.size());
    }
  }
  EXPECT_EQ(got, body);
  EXPECT_THAT(types, testing::ElementsAre(AMQP_FRAME_METHOD, AMQP_FRAME_HEADER, AMQP_FRAME_BODY, AMQP_FRAME_BODY,
                                          AMQP_FRAME_BODY));
}

}  // namespace
}  // namespace wfo::bus::rabbitmq
