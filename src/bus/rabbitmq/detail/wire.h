#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bus/rabbitmq/detail/stream.h"

/// AMQP 0-9-1 frames as bytes: `type:1 channel:2 size:4 payload:size 0xCE`. What stands in a method's payload is
/// rabbitmq-c's business, framing and I/O are ours (docs/adr/0007-rabbitmq-bus.md).
namespace wfo::bus::rabbitmq {

inline constexpr std::uint32_t kFrameBytesMax = 131'072;  // the largest we agree to, and RabbitMQ's own default
inline constexpr std::string_view kProtocolHeader("AMQP\0\0\x09\x01", 8);

[[nodiscard]] inline amqp_bytes_t amqp_text(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};  // rabbitmq-c does not write to it
}
[[nodiscard]] inline std::string_view view(const amqp_bytes_t& bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

struct Frame {
  std::uint8_t type = 0;  // AMQP_FRAME_METHOD, _HEADER, _BODY, _HEARTBEAT
  std::uint16_t channel = 0;
  std::string_view payload;  // lives until the next `next` or `space`
};

/// Cuts what was received into frames.
class FrameReader {
 public:
  /// Room for what is received next; then say how much it was.
  [[nodiscard]] std::span<char> space();
  void received(std::size_t bytes) { end_ += bytes; }
  /// The next whole frame, or nothing. An error: what came is no AMQP.
  [[nodiscard]] Attempt<std::optional<Frame>> next();

 private:
  std::string buffer_;
  std::size_t begin_ = 0;  // what is not read yet: [begin_, end_)
  std::size_t end_ = 0;
  bool has_spoken_ = false;
};

/// Appends a method frame. `method` is rabbitmq-c's struct of that id.
void append_method(std::string& out, std::uint16_t channel, amqp_method_number_t id, void* method);
/// Appends basic.publish, its header and its body, cut to frames of at most `frame_bytes_max`.
void append_publish(std::string& out, std::uint16_t channel, amqp_basic_publish_t& publish,
                    amqp_basic_properties_t& properties, std::string_view body, std::uint32_t frame_bytes_max);
void append_heartbeat(std::string& out);

/// A method that came. Its fields live as long as this.
class Method {
 public:
  /// Errors: the payload is no method of AMQP 0-9-1.
  [[nodiscard]] static Attempt<Method> decode(std::string_view payload, amqp_pool_t& pool);
  [[nodiscard]] amqp_method_number_t id() const { return id_; }
  template <class Struct>
  [[nodiscard]] const Struct& as() const {
    return *static_cast<const Struct*>(fields_);
  }

 private:
  Method(amqp_method_number_t id, void* fields) : id_(id), fields_(fields) {}
  amqp_method_number_t id_;
  void* fields_;
};

/// rabbitmq-c allocates from it while decoding; it is emptied for each frame.
class Pool {
 public:
  Pool() { init_amqp_pool(&pool_, 4'096); }
  ~Pool() { empty_amqp_pool(&pool_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  amqp_pool_t& fresh() {
    recycle_amqp_pool(&pool_);
    return pool_;
  }

 private:
  amqp_pool_t pool_{};
};

/// Big-endian numbers, as AMQP has them.
template <class Number>
[[nodiscard]] Number big_endian(std::string_view bytes) {
  Number value = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    value = static_cast<Number>((static_cast<std::uint64_t>(value) << 8) | static_cast<unsigned char>(bytes[i]));
  }
  return value;
}
template <class Number>
void append_big_endian(std::string& out, Number value) {
  for (int shift = 8 * (static_cast<int>(sizeof(Number)) - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
  }
}

}  // namespace wfo::bus::rabbitmq
