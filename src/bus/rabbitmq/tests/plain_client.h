#pragma once

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// A client of RabbitMQ as another service would have it, on rabbitmq-c's own connections: what the bus does is seen
/// from outside. Throws std::runtime_error where the broker says no. One thread.
namespace wfo::bus::rabbitmq {

class PlainClient {
 public:
  explicit PlainClient(const std::string& url) : connection_(amqp_new_connection()) {
    auto text = url;
    amqp_connection_info info;
    if (amqp_parse_url(text.data(), &info) != AMQP_STATUS_OK) throw std::runtime_error("no AMQP URL");
    auto* socket = amqp_tcp_socket_new(connection_);
    if (amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) throw std::runtime_error("nobody listens");
    check(amqp_login(connection_, info.vhost, 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, info.user, info.password));
    open_channel();
  }
  ~PlainClient() { amqp_destroy_connection(connection_); }
  PlainClient(const PlainClient&) = delete;
  PlainClient& operator=(const PlainClient&) = delete;

  static amqp_bytes_t text(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }
  static std::string view(const amqp_bytes_t& bytes) { return {static_cast<const char*>(bytes.bytes), bytes.len}; }

  /// `alternate`: where messages go that no queue wants; "": nowhere.
  void declare_exchange(std::string_view name, std::string_view type, std::string_view alternate = {}) {
    amqp_table_entry_t entry{};
    entry.key = amqp_cstring_bytes("alternate-exchange");
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = text(alternate);
    amqp_exchange_declare(connection_, channel_, text(name), text(type), 0, 1, 0, 0,
                          amqp_table_t{alternate.empty() ? 0 : 1, &entry});
    check(amqp_get_rpc_reply(connection_));
  }
  void declare_queue(std::string_view name, bool exclusive = false, amqp_table_t arguments = {0, nullptr}) {
    amqp_queue_declare(connection_, channel_, text(name), 0, exclusive ? 0 : 1, exclusive ? 1 : 0, 0, arguments);
    check(amqp_get_rpc_reply(connection_));
  }
  /// How many messages wait in it; nothing: there is no such queue.
  std::optional<std::uint32_t> waiting(std::string_view queue) {
    const auto* found = amqp_queue_declare(connection_, channel_, text(queue), 1, 0, 0, 0, amqp_empty_table);
    if (found) return found->message_count;
    return reopened(AMQP_NOT_FOUND);
  }
  void bind(std::string_view queue, std::string_view exchange, std::string_view pattern) {
    amqp_queue_bind(connection_, channel_, text(queue), text(exchange), text(pattern), amqp_empty_table);
    check(amqp_get_rpc_reply(connection_));
  }
  void unbind(std::string_view queue, std::string_view exchange, std::string_view pattern) {
    amqp_queue_unbind(connection_, channel_, text(queue), text(exchange), text(pattern), amqp_empty_table);
    check(amqp_get_rpc_reply(connection_));
  }
  void delete_queue(std::string_view queue) {
    if (!amqp_queue_delete(connection_, channel_, text(queue), 0, 0)) reopened(AMQP_NOT_FOUND);
  }
  void delete_exchange(std::string_view exchange) {
    if (!amqp_exchange_delete(connection_, channel_, text(exchange), 0)) reopened(AMQP_NOT_FOUND);
  }

  /// Returns when the broker has confirmed it.
  void publish(std::string_view exchange, std::string_view key, std::string_view body,
               const amqp_basic_properties_t& properties = {}) {
    if (!confirms_) {
      amqp_confirm_select(connection_, channel_);
      check(amqp_get_rpc_reply(connection_));
      confirms_ = true;
    }
    if (amqp_basic_publish(connection_, channel_, text(exchange), text(key), 0, 0, &properties, text(body)) !=
        AMQP_STATUS_OK) {
      throw std::runtime_error("publish failed");
    }
    amqp_frame_t frame;
    do {
      if (amqp_simple_wait_frame(connection_, &frame) != AMQP_STATUS_OK) throw std::runtime_error("no confirm");
    } while (frame.frame_type != AMQP_FRAME_METHOD);
    if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD) throw std::runtime_error("not confirmed");
    amqp_maybe_release_buffers(connection_);
  }

  /// One header of a message that was got, as text.
  struct Got {
    std::string body;
    std::string routing_key;
    amqp_basic_properties_t properties;
    std::vector<std::pair<std::string, std::string>> headers;
    bool redelivered = false;
    std::uint64_t tag = 0;
    std::string content_type, message_id, correlation_id, type, app_id;
  };
  /// The next message, acknowledged unless `keep`; nothing: the queue is empty.
  std::optional<Got> get(std::string_view queue, bool keep = false) {
    const auto reply = amqp_basic_get(connection_, channel_, text(queue), keep ? 0 : 1);
    check(reply);
    if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD) return std::nullopt;
    const auto* ok = static_cast<amqp_basic_get_ok_t*>(reply.reply.decoded);
    Got got;
    got.routing_key = view(ok->routing_key);
    got.redelivered = ok->redelivered != 0;
    got.tag = ok->delivery_tag;
    amqp_message_t message;
    check(amqp_read_message(connection_, channel_, &message, 0));
    got.body = view(message.body);
    got.properties = message.properties;
    got.content_type = view(message.properties.content_type);
    got.message_id = view(message.properties.message_id);
    got.correlation_id = view(message.properties.correlation_id);
    got.type = view(message.properties.type);
    got.app_id = view(message.properties.app_id);
    for (int i = 0; i < message.properties.headers.num_entries; ++i) {
      const auto& entry = message.properties.headers.entries[i];
      got.headers.emplace_back(view(entry.key),
                               entry.value.kind == AMQP_FIELD_KIND_UTF8 ? view(entry.value.value.bytes) : "?");
    }
    amqp_destroy_message(&message);
    amqp_maybe_release_buffers(connection_);
    return got;
  }
  /// What it dead-letters, if it can.
  void reject(const Got& got) { amqp_basic_reject(connection_, channel_, got.tag, 0); }

 private:
  void open_channel() {
    amqp_channel_open(connection_, ++channel_);
    check(amqp_get_rpc_reply(connection_));
    confirms_ = false;
  }
  /// After a refusal with `code`, which closed the channel.
  std::nullopt_t reopened(int code) {
    const auto reply = amqp_get_rpc_reply(connection_);
    const bool expected = reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
                          reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD &&
                          static_cast<amqp_channel_close_t*>(reply.reply.decoded)->reply_code == code;
    if (!expected) check(reply);
    amqp_channel_close_ok_t close_ok;
    amqp_send_method(connection_, channel_, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
    open_channel();
    return std::nullopt;
  }
  static void check(const amqp_rpc_reply_t& reply) {
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
      if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        throw std::runtime_error(view(static_cast<amqp_channel_close_t*>(reply.reply.decoded)->reply_text));
      }
      throw std::runtime_error(view(static_cast<amqp_connection_close_t*>(reply.reply.decoded)->reply_text));
    }
    throw std::runtime_error(amqp_error_string2(reply.library_error));
  }

  amqp_connection_state_t connection_;
  amqp_channel_t channel_ = 0;
  bool confirms_ = false;
};

}  // namespace wfo::bus::rabbitmq
