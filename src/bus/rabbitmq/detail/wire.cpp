#include "bus/rabbitmq/detail/wire.h"

#include <algorithm>
#include <array>

namespace wfo::bus::rabbitmq {
namespace {

constexpr std::size_t kHeadBytes = 7;
constexpr std::size_t kFrameOverhead = kHeadBytes + 1;
constexpr std::size_t kReadBytes = 64 * 1024;  // room for one read
constexpr char kFrameEnd = '\xCE';

std::unexpected<Trouble> no_amqp(std::string_view what) {
  return std::unexpected(Trouble{
      fmt::format("what answers there does not speak AMQP 0-9-1 ({}): check host and port in the URL (AMQP is 5672, "
                  "with TLS and amqps:// 5671)",
                  what),
      true});
}

/// Writes the head of a frame whose payload follows; `finish_frame` with what this returned fills its size in.
std::size_t begin_frame(std::string& out, std::uint8_t type, std::uint16_t channel) {
  out.push_back(static_cast<char>(type));
  append_big_endian(out, channel);
  append_big_endian(out, std::uint32_t{0});
  return out.size();
}

void finish_frame(std::string& out, std::size_t payload) {
  const auto bytes = static_cast<std::uint32_t>(out.size() - payload);
  for (std::size_t i = 0; i < 4; ++i) out[payload - 4 + i] = static_cast<char>(bytes >> (24 - 8 * i));
  out.push_back(kFrameEnd);
}

/// Lets `encode` write into the room behind `out`, and keeps what it wrote.
template <class Encode>
void append_encoded(std::string& out, std::size_t room, Encode encode) {
  const auto start = out.size();
  out.resize(start + room);
  const int written = encode(amqp_bytes_t{room, out.data() + start});
  INVARIANT(written >= 0);  // what we send is bounded far below the room
  out.resize(start + static_cast<std::size_t>(written));
}

// A short string is at most 256 bytes with its length. Four of them and tables of ours: login sends the largest.
constexpr std::size_t kMethodRoom = 4'096;
constexpr std::size_t kPropertiesRoom = 4'096;

}  // namespace

std::span<char> FrameReader::space() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < kReadBytes) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kReadBytes) buffer_.resize(end_ + kReadBytes);
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

Attempt<std::optional<Frame>> FrameReader::next() {
  const std::string_view bytes(buffer_.data() + begin_, end_ - begin_);
  if (bytes.empty()) return std::nullopt;
  if (!has_spoken_ && bytes[0] != AMQP_FRAME_METHOD) {
    // A broker that wants another version answers with its own header, and everybody else with whatever he speaks.
    return no_amqp(bytes.starts_with("AMQP") ? "it wants another version"
                                             : fmt::format("its first byte is 0x{:02x}", bytes[0] & 0xFF));
  }
  if (bytes.size() < kHeadBytes) return std::nullopt;
  const auto size = big_endian<std::uint32_t>(bytes.substr(3));
  if (size > kFrameBytesMax) return no_amqp(fmt::format("a frame of {} bytes", size));
  if (bytes.size() < size + kFrameOverhead) return std::nullopt;
  if (bytes[kHeadBytes + size] != kFrameEnd) return no_amqp("a frame without its end");
  has_spoken_ = true;
  begin_ += size + kFrameOverhead;
  return Frame{static_cast<std::uint8_t>(bytes[0]), big_endian<std::uint16_t>(bytes.substr(1)),
               bytes.substr(kHeadBytes, size)};
}

void append_method(std::string& out, std::uint16_t channel, amqp_method_number_t id, void* method) {
  const auto payload = begin_frame(out, AMQP_FRAME_METHOD, channel);
  append_big_endian(out, std::uint32_t{id});
  append_encoded(out, kMethodRoom, [&](amqp_bytes_t room) { return amqp_encode_method(id, method, room); });
  finish_frame(out, payload);
}

void append_publish(std::string& out, std::uint16_t channel, amqp_basic_publish_t& publish,
                    amqp_basic_properties_t& properties, std::string_view body, std::uint32_t frame_bytes_max) {
  append_method(out, channel, AMQP_BASIC_PUBLISH_METHOD, &publish);
  const auto payload = begin_frame(out, AMQP_FRAME_HEADER, channel);
  append_big_endian(out, std::uint16_t{AMQP_BASIC_CLASS});
  append_big_endian(out, std::uint16_t{0});
  append_big_endian(out, std::uint64_t{body.size()});
  append_encoded(out, kPropertiesRoom,
                 [&](amqp_bytes_t room) { return amqp_encode_properties(AMQP_BASIC_CLASS, &properties, room); });
  finish_frame(out, payload);
  const auto part_max = frame_bytes_max - kFrameOverhead;
  while (!body.empty()) {
    const auto part = body.substr(0, part_max);
    const auto start = begin_frame(out, AMQP_FRAME_BODY, channel);
    out.append(part);
    finish_frame(out, start);
    body.remove_prefix(part.size());
  }
}

void append_heartbeat(std::string& out) { finish_frame(out, begin_frame(out, AMQP_FRAME_HEARTBEAT, 0)); }

Attempt<Method> Method::decode(std::string_view payload, amqp_pool_t& pool) {
  if (payload.size() < 4) return no_amqp("a method without its number");
  const auto id = big_endian<std::uint32_t>(payload);
  void* fields = nullptr;
  if (amqp_decode_method(id, &pool, amqp_text(payload.substr(4)), &fields) != AMQP_STATUS_OK) {
    return no_amqp(fmt::format("method {}.{} cannot be read", id >> 16, id & 0xFFFF));
  }
  return Method(id, fields);
}

}  // namespace wfo::bus::rabbitmq
