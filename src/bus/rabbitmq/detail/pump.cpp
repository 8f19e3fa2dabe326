#include "bus/rabbitmq/detail/pump.h"

#include <algorithm>
#include <csignal>

#include "base/thread.h"

namespace wfo::bus::rabbitmq {

using std::chrono::steady_clock;

Pump::Pump(const Parts& parts, std::string_view purpose, Work& work)
    : parts_(parts),
      purpose_(purpose),
      work_(work),
      reconnects_(parts.metrics.counter("rabbitmq_reconnects_total", "Connections made after one was lost",
                                        {{"connection", purpose_}})),
      connected_gauge_(parts.metrics.gauge("rabbitmq_connected", "Whether the connection to RabbitMQ is there",
                                           {{"connection", purpose_}})),
      random_(std::random_device{}()),
      thread_([this](const std::stop_token& stop) { pump(stop); }) {}

Pump::~Pump() {
  thread_.request_stop();
  waker_.wake();
  thread_.join();
}

void Pump::post(Command command) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return commands_.size() < kCommandsMax; });
  commands_.push_back(std::move(command));
  if (commands_.size() == 1) waker_.wake();
}

void Pump::run(Command command) {
  std::promise<void> done;
  post([&](Connection* connection) {
    command(connection);
    done.set_value();
  });
  done.get_future().wait();
}

std::string Pump::trouble() const {
  const std::scoped_lock lock(mutex_);
  return trouble_;
}

bool Pump::is_connected() const { return trouble().empty(); }

void Pump::do_commands(Connection* connection) {
  std::deque<Command> commands;
  {
    const std::scoped_lock lock(mutex_);
    commands.swap(commands_);
  }
  room_.notify_all();
  for (auto& command : commands) command(connection && connection->is_alive() ? connection : nullptr);
}

milliseconds Pump::jittered(milliseconds delay) {
  return std::chrono::duration_cast<milliseconds>(delay * std::uniform_real_distribution(0.8, 1.2)(random_));
}

void Pump::pump(const std::stop_token& stop) {
  name_this_thread(purpose_ == "consuming" ? "wfo-amqp-in" : "wfo-amqp-out");
  // OpenSSL writes to sockets in a way that raises it when the peer has gone.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);

  milliseconds delay = parts_.config.retry_first;
  bool was_tried = false;
  bool was_connected = false;
  while (!stop.stop_requested()) {
    auto connection = connect(stop);
    if (connection) {
      if (was_connected) reconnects_.add();
      was_connected = true;
      delay = parts_.config.retry_first;
    } else if (was_tried || !connection.error().lasting) {  // else whoever opens the bus says it
      say_trouble(connection.error());
    }
    if (!was_tried) {
      first_try_.set_value(connection ? Attempt<void>() : std::unexpected(connection.error()));
      was_tried = true;
    }
    const auto trouble = connection ? serve(**connection, stop) : std::move(connection).error();
    work_.lost(trouble);
    if (stop.stop_requested()) break;
    pause(jittered(delay), stop);
    delay = std::min(delay * 2, parts_.config.retry_max);
  }
  if (!was_tried) first_try_.set_value(std::unexpected(Trouble{"stopped"}));
  do_commands(nullptr);
}

Attempt<std::unique_ptr<Connection>> Pump::connect(const std::stop_token& stop) {
  auto connection = Connection::open(
      parts_.address,
      {fmt::format("{} {}", parts_.config.name, purpose_), parts_.config.answer_timeout, parts_.config.body_bytes_max},
      work_, waker_, stop);
  if (!connection) return connection;
  if (auto declared = parts_.topology.declare(**connection, parts_.address); !declared) {
    (*connection)->close();
    return std::unexpected(std::move(declared).error());
  }
  if (auto ready = work_.connected(**connection); !ready) return std::unexpected(std::move(ready).error());
  {
    const std::scoped_lock lock(mutex_);
    trouble_.clear();
  }
  said_.clear();
  connected_gauge_.set(1);
  parts_.log.info("RabbitMQ, {}: connected to {} at {}, vhost '{}', as '{}'{}", purpose_, (*connection)->broker(),
                  parts_.address.shown(), parts_.address.vhost, parts_.address.user, parts_.address.tls ? ", TLS" : "");
  return connection;
}

/// Until the connection is lost, or `stop`.
Trouble Pump::serve(Connection& connection, const std::stop_token& stop) {
  while (!stop.stop_requested() && connection.is_alive()) {
    do_commands(&connection);
    auto until = work_.work(connection);
    {
      // A call inside the work can have emptied the waker.
      const std::scoped_lock lock(mutex_);
      if (!commands_.empty()) until = steady_clock::now();
    }
    (void)connection.step(until);
  }
  connected_gauge_.set(0);
  if (!connection.is_alive()) {
    say_trouble(connection.trouble());
    return connection.trouble();
  }
  do_commands(&connection);
  connection.close();
  return {"stopped"};
}

void Pump::say_trouble(const Trouble& trouble) {
  auto text = fmt::format("RabbitMQ at {}, {}: {}", parts_.address.shown(), purpose_, trouble.text);
  if (text != said_) parts_.log.warn("{}; trying again", text);
  said_ = text;
  const std::scoped_lock lock(mutex_);
  trouble_ = std::move(text);
}

/// Commands go on: they learn that there is no connection.
void Pump::pause(milliseconds length, const std::stop_token& stop) {
  const auto until = steady_clock::now() + length;
  while (!stop.stop_requested()) {
    do_commands(nullptr);
    const auto left = until - steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) return;
    waker_.wait(left);
  }
}

}  // namespace wfo::bus::rabbitmq
