#include "bus/rabbitmq/detail/connection.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace wfo::bus::rabbitmq {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kChannelGoodbye = 5s;                      // for closing a channel, for which others wait
constexpr auto kGoodbye = 2s;                             // how long a peer may take to answer when we end
constexpr std::uint16_t kChannelMax = 2'047;              // as many as RabbitMQ allows by default
constexpr std::size_t kOutKeptBytes = 4 * 1024 * 1024;    // capacity that an empty output buffer keeps
constexpr std::size_t kSentBytesMax = 256 * 1024;         // sent bytes before the rest of the buffer moves up
constexpr std::uint64_t kReservedBytesMax = 1024 * 1024;  // a header's word is trusted for so much memory

std::unexpected<Trouble> gone(std::string text, bool lasting = false) {
  return std::unexpected(Trouble{std::move(text), lasting});
}

amqp_table_entry_t entry(const char* key, std::string_view value) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_text(value);
  return entry;
}

amqp_table_entry_t capability(const char* key) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
  entry.value.value.boolean = 1;
  return entry;
}

std::string text_of(const amqp_table_t& table, std::string_view key) {
  for (int i = 0; i < table.num_entries; ++i) {
    const auto& each = table.entries[i];
    if (view(each.key) == key && each.value.kind == AMQP_FIELD_KIND_UTF8)
      return std::string(view(each.value.value.bytes));
  }
  return "";
}

}  // namespace

Attempt<std::unique_ptr<Connection>> Connection::open(const Address& address, ConnectionOptions options,
                                                      Listener& listener, Waker& waker, const std::stop_token& stop) {
  const auto deadline = steady_clock::now() + address.connect_timeout;
  auto stream = Stream::connect(address, waker, stop);
  if (!stream) return std::unexpected(std::move(stream).error());
  std::unique_ptr<Connection> connection(
      new Connection(*std::move(stream), address, std::move(options), listener, waker, stop));
  if (auto done = connection->login(deadline); !done) return std::unexpected(std::move(done).error());
  return connection;
}

Attempt<void> Connection::login(SteadyTime deadline) {
  last_sent_ = last_received_ = steady_clock::now();
  out_.append(kProtocolHeader);
  TRY(await(AMQP_CONNECTION_START_METHOD, deadline));
  const std::string_view mechanism = address_.external_login ? "EXTERNAL" : "PLAIN";
  if (mechanisms_.find(mechanism) == std::string::npos) {
    return gone(fmt::format("the broker offers the logins {}, but not {}", mechanisms_, mechanism), true);
  }
  std::array capabilities = {capability("publisher_confirms"),         capability("basic.nack"),
                             capability("connection.blocked"),         capability("consumer_cancel_notify"),
                             capability("exchange_exchange_bindings"), capability("authentication_failure_close")};
  amqp_table_entry_t capability_table{};
  capability_table.key = amqp_cstring_bytes("capabilities");
  capability_table.value.kind = AMQP_FIELD_KIND_TABLE;
  capability_table.value.value.table = {static_cast<int>(capabilities.size()), capabilities.data()};
  std::array properties = {entry("product", "Workflow Orchestrator"), entry("platform", "C++"),
                           entry("connection_name", options_.name), capability_table};
  const auto plain = std::string(1, '\0') + address_.user + std::string(1, '\0') + address_.password;
  amqp_connection_start_ok_t start_ok{};
  start_ok.client_properties = {static_cast<int>(properties.size()), properties.data()};
  start_ok.mechanism = amqp_text(mechanism);
  start_ok.response = amqp_text(address_.external_login ? std::string_view() : plain);
  start_ok.locale = amqp_text("en_US");
  send(0, AMQP_CONNECTION_START_OK_METHOD, &start_ok);
  if (auto tuned = await(AMQP_CONNECTION_TUNE_METHOD, deadline); !tuned) return std::unexpected(refused_login());

  amqp_connection_tune_ok_t tune_ok{};
  tune_ok.channel_max = kChannelMax;
  tune_ok.frame_max = frame_bytes_max_;
  tune_ok.heartbeat = static_cast<std::uint16_t>(heartbeat_.count());
  send(0, AMQP_CONNECTION_TUNE_OK_METHOD, &tune_ok);
  amqp_connection_open_t open{};
  open.virtual_host = amqp_text(address_.vhost);
  send(0, AMQP_CONNECTION_OPEN_METHOD, &open);
  if (auto opened = await(AMQP_CONNECTION_OPEN_OK_METHOD, deadline); !opened) return std::unexpected(refused_login());
  return {};
}

/// What to do about it, beside what the broker said.
Trouble Connection::refused_login() const {
  if (close_code_ == AMQP_ACCESS_REFUSED) {
    const auto who =
        address_.external_login ? std::string("the client certificate") : fmt::format("user '{}'", address_.user);
    return {fmt::format("login refused for {}: check user and password in the URL, or create the user (rabbitmqctl "
                        "add_user, set_permissions); the broker says: {}",
                        who, broken_->text),
            true};
  }
  if (close_code_ == AMQP_NOT_ALLOWED) {
    return {
        fmt::format("vhost '{}' refused for user '{}': check the vhost in the URL, create it (rabbitmqctl add_vhost), "
                    "or give the user its permissions (rabbitmqctl set_permissions -p); the broker says: {}",
                    address_.vhost, address_.user, broken_->text),
        true};
  }
  return *broken_;
}

Attempt<void> Connection::await(amqp_method_number_t id, SteadyTime deadline) {
  auto& state = channels_[0];
  state.awaited = id;
  state.answered = false;
  while (!state.answered) {
    if (steady_clock::now() >= deadline) {
      broken_ = Trouble{"no answer to the login in time"};
      return std::unexpected(*broken_);
    }
    TRY(step(deadline));
    if (stop_.stop_requested()) return gone("stopped");
  }
  return {};
}

Attempt<void> Connection::step(SteadyTime deadline) {
  if (!broken_) {
    if (auto done = advance(deadline); !done) broken_ = std::move(done).error();
  }
  if (broken_) return std::unexpected(*broken_);
  return {};
}

Attempt<void> Connection::advance(SteadyTime deadline) {
  TRY(write());
  if (!more_to_read_) {
    if (heartbeat_ > 0s) {
      deadline = std::min(deadline, last_received_ + 2 * heartbeat_);
      if (unsent_bytes() == 0) deadline = std::min(deadline, last_sent_ + milliseconds(heartbeat_) / 2);
    }
    stream_.wait(unsent_bytes() > 0, waker_, deadline);
  }
  TRY(read());
  TRY(keep_heartbeat());
  return write();
}

Attempt<void> Connection::read() {
  const auto space = reader_.space();
  TRY_ASSIGN(const auto got, stream_.read(space));
  more_to_read_ = got == space.size();
  if (got == 0) return {};
  last_received_ = steady_clock::now();
  reader_.received(got);
  for (;;) {
    TRY_ASSIGN(const auto frame, reader_.next());
    if (!frame) return {};
    TRY(dispatch(*frame));
  }
}

Attempt<void> Connection::write() {
  while (sent_ < out_.size()) {
    TRY_ASSIGN(const auto taken, stream_.write(std::string_view(out_).substr(sent_)));
    if (taken == 0) break;
    sent_ += taken;
    last_sent_ = steady_clock::now();
  }
  if (sent_ == out_.size()) {
    out_.clear();
    if (out_.capacity() > kOutKeptBytes) out_.shrink_to_fit();
    sent_ = 0;
  } else if (sent_ > kSentBytesMax) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  return {};
}

Attempt<void> Connection::keep_heartbeat() {
  if (heartbeat_ == 0s) return {};
  const auto now = steady_clock::now();
  // Whoever takes nothing need not be told that we are here.
  if (now - last_sent_ >= milliseconds(heartbeat_) / 2 && unsent_bytes() == 0) append_heartbeat(out_);
  if (now - last_received_ < 2 * heartbeat_) return {};
  return gone(fmt::format("the broker was silent for {} s, longer than two heartbeats", (2 * heartbeat_).count()));
}

Attempt<void> Connection::dispatch(const Frame& frame) {
  switch (frame.type) {
    case AMQP_FRAME_METHOD: {
      TRY_ASSIGN(const auto method, Method::decode(frame.payload, pool_.fresh()));
      return frame.channel == 0 ? on_connection_method(method) : on_method(frame.channel, method);
    }
    case AMQP_FRAME_HEADER:
      return on_header(frame.channel, frame.payload);
    case AMQP_FRAME_BODY:
      return on_body(frame.channel, frame.payload);
    case AMQP_FRAME_HEARTBEAT:
      return {};
    default:
      return gone(fmt::format("the broker sent a frame of the unknown type {}", frame.type));
  }
}

Attempt<void> Connection::on_connection_method(const Method& method) {
  auto& state = channels_[0];
  switch (method.id()) {
    case AMQP_CONNECTION_START_METHOD: {
      const auto& start = method.as<amqp_connection_start_t>();
      const auto product = text_of(start.server_properties, "product");
      broker_version_ = text_of(start.server_properties, "version");
      if (!product.empty()) broker_ = fmt::format("{} {}", product, broker_version_);
      mechanisms_ = view(start.mechanisms);
      break;
    }
    case AMQP_CONNECTION_TUNE_METHOD: {
      const auto& tune = method.as<amqp_connection_tune_t>();
      if (tune.frame_max != 0) frame_bytes_max_ = std::min(frame_bytes_max_, tune.frame_max);
      if (frame_bytes_max_ < AMQP_FRAME_MIN_SIZE) return gone("the broker's frame_max is less than 4096", true);
      heartbeat_ = address_.heartbeat;
      if (tune.heartbeat != 0) heartbeat_ = std::min(heartbeat_, std::chrono::seconds(tune.heartbeat));
      break;
    }
    case AMQP_CONNECTION_CLOSE_METHOD: {
      const auto& close = method.as<amqp_connection_close_t>();
      close_code_ = close.reply_code;
      auto text = fmt::format("{} {}", close.reply_code, view(close.reply_text));
      amqp_connection_close_ok_t close_ok{};
      send(0, AMQP_CONNECTION_CLOSE_OK_METHOD, &close_ok);
      (void)write();  // it is gone either way
      return gone(std::move(text));
    }
    case AMQP_CONNECTION_BLOCKED_METHOD: {
      const auto reason = std::string(view(method.as<amqp_connection_blocked_t>().reason));
      listener_.blocked(reason.empty() ? "no reason given" : reason);
      break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      listener_.blocked("");
      break;
    default:
      break;
  }
  if (method.id() == state.awaited) state.answered = true;
  return {};
}

Attempt<void> Connection::on_method(Channel channel, const Method& method) {
  auto& state = channels_[channel];
  switch (method.id()) {
    case AMQP_BASIC_DELIVER_METHOD: {
      if (!state.is_open) break;
      auto& assembly = state.assembly.emplace();
      assembly.deliver = method.as<amqp_basic_deliver_t>();
      assembly.texts[0] = view(assembly.deliver.exchange);
      assembly.texts[1] = view(assembly.deliver.routing_key);
      assembly.wants_body = listener_.wants_body(channel);
      break;
    }
    case AMQP_BASIC_RETURN_METHOD: {
      if (!state.is_open) break;
      auto& assembly = state.assembly.emplace();
      assembly.is_return = true;
      assembly.wants_body = false;
      assembly.returned = method.as<amqp_basic_return_t>();
      assembly.texts[0] = view(assembly.returned.exchange);
      assembly.texts[1] = view(assembly.returned.routing_key);
      assembly.texts[2] = view(assembly.returned.reply_text);
      break;
    }
    case AMQP_BASIC_ACK_METHOD: {
      const auto& ack = method.as<amqp_basic_ack_t>();
      if (state.is_open) listener_.confirmed(ack.delivery_tag, ack.multiple != 0, true);
      break;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto& nack = method.as<amqp_basic_nack_t>();
      if (state.is_open) listener_.confirmed(nack.delivery_tag, nack.multiple != 0, false);
      break;
    }
    case AMQP_BASIC_CANCEL_METHOD:
      if (state.is_open) listener_.consumer_cancelled(channel);
      break;
    case AMQP_CHANNEL_FLOW_METHOD: {  // RabbitMQ does not send it; the standard wants an answer
      amqp_channel_flow_ok_t flow_ok{method.as<amqp_channel_flow_t>().active};
      send(channel, AMQP_CHANNEL_FLOW_OK_METHOD, &flow_ok);
      break;
    }
    case AMQP_CHANNEL_CLOSE_METHOD: {
      const auto& close = method.as<amqp_channel_close_t>();
      Refusal refusal{close.reply_code, std::string(view(close.reply_text))};
      amqp_channel_close_ok_t close_ok{};
      send(channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
      channel_closed(channel, std::move(refusal));
      break;
    }
    default:
      break;
  }
  if (method.id() == state.awaited) {
    state.answered = true;
    listener_.answered(channel, method);
  }
  return {};
}

void Connection::channel_closed(Channel channel, Refusal refusal) {
  auto& state = channels_[channel];
  const bool was_open = state.is_open;
  state.is_open = false;
  state.assembly.reset();
  state.refusal = std::move(refusal);
  if (was_open) listener_.channel_closed(channel, state.refusal);
}

Attempt<void> Connection::on_header(Channel channel, std::string_view payload) {
  constexpr std::size_t kHead = 12;  // class, weight, body size
  auto& state = channels_[channel];
  if (!state.assembly) return {};  // of a channel that we closed
  if (payload.size() < kHead + 2 || state.assembly->has_header) return gone("the broker sent a broken header");
  auto& assembly = *state.assembly;
  assembly.has_header = true;
  assembly.content.body_size = big_endian<std::uint64_t>(payload.substr(4));
  assembly.content.properties = payload.substr(kHead);
  if (assembly.wants_body) assembly.content.body.reserve(std::min(assembly.content.body_size, kReservedBytesMax));
  if (assembly.content.body_size == 0) finish(channel, state);
  return {};
}

Attempt<void> Connection::on_body(Channel channel, std::string_view payload) {
  auto& state = channels_[channel];
  if (!state.assembly) return {};
  auto& assembly = *state.assembly;
  assembly.body_received += payload.size();
  if (!assembly.has_header || assembly.body_received > assembly.content.body_size) {
    return gone("the broker sent a body that its header does not announce");
  }
  auto& body = assembly.content.body;
  if (assembly.wants_body && body.size() < options_.body_bytes_max) {
    body.append(payload.substr(0, options_.body_bytes_max - body.size()));
  }
  if (assembly.body_received == assembly.content.body_size) finish(channel, state);
  return {};
}

void Connection::finish(Channel channel, ChannelState& state) {
  auto assembly = *std::move(state.assembly);
  state.assembly.reset();
  if (assembly.is_return) {
    assembly.returned.exchange = amqp_text(assembly.texts[0]);
    assembly.returned.routing_key = amqp_text(assembly.texts[1]);
    assembly.returned.reply_text = amqp_text(assembly.texts[2]);
    listener_.returned(assembly.returned, assembly.content);
  } else {
    assembly.deliver.consumer_tag = {};
    assembly.deliver.exchange = amqp_text(assembly.texts[0]);
    assembly.deliver.routing_key = amqp_text(assembly.texts[1]);
    listener_.delivered(channel, assembly.deliver, std::move(assembly.content));
  }
}

Connection::Answer Connection::call(Channel channel, amqp_method_number_t id, void* method,
                                    amqp_method_number_t answer) {
  return call(channel, id, method, answer, options_.answer_timeout);
}

Connection::Answer Connection::call(Channel channel, amqp_method_number_t id, void* method, amqp_method_number_t answer,
                                    milliseconds timeout) {
  auto& state = channels_[channel];
  state.awaited = answer;
  state.answered = false;
  state.refusal = {};
  send(channel, id, method);
  auto deadline = steady_clock::now() + timeout;
  bool hurries = false;
  while (!state.answered) {
    if (stop_.stop_requested() && !hurries) {
      hurries = true;
      deadline = std::min(deadline, steady_clock::now() + kGoodbye);
    }
    if (!broken_ && steady_clock::now() >= deadline) {
      broken_ = Trouble{fmt::format("no answer to {} in time", amqp_method_name(id))};
    }
    if (!broken_) (void)step(deadline);
    if (broken_) return std::unexpected(Refusal{0, broken_->text});
    if (state.refusal.code != 0) break;
  }
  state.awaited = 0;
  if (!state.answered) return std::unexpected(state.refusal);
  return {};
}

Connection::Answer Connection::open_channel(Channel channel) {
  amqp_channel_open_t open{};
  auto answer = call(channel, AMQP_CHANNEL_OPEN_METHOD, &open, AMQP_CHANNEL_OPEN_OK_METHOD);
  if (answer) channels_[channel].is_open = true;
  return answer;
}

void Connection::close_channel(Channel channel) {
  auto& state = channels_[channel];
  if (!state.is_open || broken_) return;
  state.is_open = false;
  state.assembly.reset();
  amqp_channel_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  (void)call(channel, AMQP_CHANNEL_CLOSE_METHOD, &close, AMQP_CHANNEL_CLOSE_OK_METHOD,
             std::min<milliseconds>(options_.answer_timeout, kChannelGoodbye));
}

bool Connection::is_open(Channel channel) const {
  const auto found = channels_.find(channel);
  return !broken_ && found != channels_.end() && found->second.is_open;
}

int Connection::broker_major() const {
  int major = 0;
  std::from_chars(broker_version_.data(), broker_version_.data() + broker_version_.size(), major);
  return major;
}

void Connection::close() {
  if (broken_) return;
  for (auto& [number, channel] : channels_) {
    channel.is_open = false;
    channel.assembly.reset();
  }
  amqp_connection_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  (void)call(0, AMQP_CONNECTION_CLOSE_METHOD, &close, AMQP_CONNECTION_CLOSE_OK_METHOD,
             std::min<milliseconds>(options_.answer_timeout, kGoodbye));
}

}  // namespace wfo::bus::rabbitmq
