#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "bus/rabbitmq/detail/wire.h"

namespace wfo::bus::rabbitmq {

using Channel = std::uint16_t;

/// What a message brought besides its place: properties as they stand in its header frame.
struct Content {
  std::string properties;
  std::string body;             // at most `body_bytes_max` of it
  std::uint64_t body_size = 0;  // all of it
};

/// The broker's reason for closing a channel or a connection.
struct Refusal {
  int code = 0;      // 404, 406, …; 0: the connection is gone
  std::string text;  // the broker's words
};

/// What the broker says without being asked. Called inside `step` and `call`; must not call them.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Whether the body of a message that begins to arrive is wanted; else `delivered` gets none of it.
  virtual bool wants_body(Channel) { return true; }
  virtual void delivered(Channel, const amqp_basic_deliver_t&, Content) {}
  /// A message that was published with `mandatory` has no queue. Comes before it is confirmed.
  virtual void returned(const amqp_basic_return_t&, const Content&) {}
  virtual void confirmed(std::uint64_t, bool /*multiple*/, bool /*accepted*/) {}
  virtual void consumer_cancelled(Channel) {}
  virtual void answered(Channel, const Method&) {}  // what `call` waited for
  virtual void channel_closed(Channel, const Refusal&) {}
  /// Nobody may publish, with the reason; "": they may again.
  virtual void blocked(std::string_view /*reason*/) {}
};

struct ConnectionOptions {
  std::string name;
  milliseconds answer_timeout{};
  std::size_t body_bytes_max = 0;
};

/// One AMQP connection. Nothing in it blocks for longer than its caller allows; while somebody waits for an answer
/// (`call`), everything else goes on: heartbeats, deliveries, confirms. One thread, which has SIGPIPE blocked.
class Connection {
 public:
  /// Connects and logs in. The listener must live as long.
  [[nodiscard]] static Attempt<std::unique_ptr<Connection>> open(const Address& address, ConnectionOptions options,
                                                                 Listener& listener, Waker& waker,
                                                                 const std::stop_token& stop);
  /// Reads, writes and keeps the heartbeat, once: returns when something has come, at `deadline`, or when woken.
  /// An error: the connection is gone.
  [[nodiscard]] Attempt<void> step(SteadyTime deadline);

  using Answer = std::expected<void, Refusal>;
  /// Sends a method and waits for `answer`. Refused: the broker closed the channel, or (code 0) the connection is gone.
  [[nodiscard]] Answer call(Channel channel, amqp_method_number_t id, void* method, amqp_method_number_t answer);
  void send(Channel channel, amqp_method_number_t id, void* method) { append_method(out_, channel, id, method); }
  void publish(Channel channel, amqp_basic_publish_t& publish, amqp_basic_properties_t& properties,
               std::string_view body) {
    append_publish(out_, channel, publish, properties, body, frame_bytes_max_);
  }
  [[nodiscard]] Answer open_channel(Channel channel);
  void close_channel(Channel channel);
  [[nodiscard]] bool is_open(Channel channel) const;

  /// What was sent and the peer has not taken yet.
  [[nodiscard]] std::size_t unsent_bytes() const { return out_.size() - sent_; }
  [[nodiscard]] bool is_alive() const { return !broken_; }
  /// Why it is not alive.
  [[nodiscard]] const Trouble& trouble() const { return *broken_; }
  [[nodiscard]] const std::string& broker() const { return broker_; }  // `RabbitMQ 3.10.8`
  [[nodiscard]] int broker_major() const;                              // 0: it did not say
  /// Says goodbye, and waits a moment for the answer: what was sent before has arrived then.
  void close();

 private:
  struct Assembly {  // a message that arrives
    bool is_return = false;
    amqp_basic_deliver_t deliver{};
    amqp_basic_return_t returned{};
    std::string texts[3];  // what the two above point to
    bool has_header = false;
    bool wants_body = true;
    Content content;
    std::uint64_t body_received = 0;
  };
  struct ChannelState {
    bool is_open = false;
    amqp_method_number_t awaited = 0;
    bool answered = false;
    Refusal refusal;  // why it is not open any more
    std::optional<Assembly> assembly;
  };

  Connection(Stream stream, const Address& address, ConnectionOptions options, Listener& listener, Waker& waker,
             std::stop_token stop)
      : stream_(std::move(stream)),
        address_(address),
        options_(std::move(options)),
        listener_(listener),
        waker_(waker),
        stop_(stop) {}
  Answer call(Channel channel, amqp_method_number_t id, void* method, amqp_method_number_t answer,
              milliseconds timeout);
  Attempt<void> login(SteadyTime deadline);
  Attempt<void> await(amqp_method_number_t id, SteadyTime deadline);
  [[nodiscard]] Trouble refused_login() const;
  Attempt<void> read();
  Attempt<void> write();
  Attempt<void> advance(SteadyTime deadline);
  Attempt<void> keep_heartbeat();
  Attempt<void> dispatch(const Frame& frame);
  Attempt<void> on_method(Channel channel, const Method& method);
  Attempt<void> on_connection_method(const Method& method);
  Attempt<void> on_header(Channel channel, std::string_view payload);
  Attempt<void> on_body(Channel channel, std::string_view payload);
  void finish(Channel channel, ChannelState& state);
  void channel_closed(Channel channel, Refusal refusal);

  Stream stream_;
  const Address& address_;
  ConnectionOptions options_;
  Listener& listener_;
  Waker& waker_;
  std::stop_token stop_;
  FrameReader reader_;
  Pool pool_;
  std::string out_;  // from sent_ on it has not been taken yet
  std::size_t sent_ = 0;
  bool more_to_read_ = false;
  std::map<Channel, ChannelState> channels_;
  std::string broker_ = "a broker";
  std::string broker_version_;
  std::string mechanisms_;
  std::uint32_t frame_bytes_max_ = kFrameBytesMax;
  std::chrono::seconds heartbeat_{0};  // 0 until it is agreed on
  SteadyTime last_sent_;
  SteadyTime last_received_;
  std::optional<Trouble> broken_;
  int close_code_ = 0;  // with which the broker closed the connection
};

}  // namespace wfo::bus::rabbitmq
