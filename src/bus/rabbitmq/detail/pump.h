#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "bus/rabbitmq/detail/connection.h"
#include "bus/rabbitmq/detail/topology.h"

namespace wfo::bus::rabbitmq {

/// What a connection is for. All on the pump's thread.
class Work : public Listener {
 public:
  /// A connection with everything declared; an error ends it.
  [[nodiscard]] virtual Attempt<void> connected(Connection& connection) = 0;
  /// Does what there is to do now, between two steps. Returns when it wants to be asked again at the latest.
  [[nodiscard]] virtual SteadyTime work(Connection& connection) = 0;
  /// The connection is gone, or none came about.
  virtual void lost(const Trouble& trouble) = 0;
};

/// A thread that owns a connection: connects, declares the topology, and then reads and writes at all times, whatever
/// others do; when the connection is lost, begins again, with pauses that grow. Other threads hand it commands.
class Pump {
 public:
  using Command = std::move_only_function<void(Connection*)>;  // null: there is no connection now

  struct Parts {
    const RabbitConfig& config;
    const Address& address;
    Topology& topology;
    Logger& log;
    Metrics& metrics;
  };
  /// `purpose` is for people: `consuming`. The work must outlive the pump.
  Pump(const Parts& parts, std::string_view purpose, Work& work);
  /// Does the commands that were posted, says goodbye to the broker and ends.
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  /// What became of the first try to connect. Once.
  [[nodiscard]] Attempt<void> first_try() { return first_try_.get_future().get(); }
  /// Done in order, on the pump's thread. Waits while `kCommandsMax` are waiting. Any thread but the pump's.
  void post(Command command);
  /// Posts and waits until it is done.
  void run(Command command);
  /// Any thread.
  [[nodiscard]] std::string trouble() const;
  [[nodiscard]] bool is_connected() const;

 private:
  void pump(const std::stop_token& stop);
  Attempt<std::unique_ptr<Connection>> connect(const std::stop_token& stop);
  Trouble serve(Connection& connection, const std::stop_token& stop);
  void pause(milliseconds length, const std::stop_token& stop);
  void do_commands(Connection* connection);
  void say_trouble(const Trouble& trouble);
  [[nodiscard]] milliseconds jittered(milliseconds delay);

  static constexpr std::size_t kCommandsMax = 4'096;

  Parts parts_;
  std::string purpose_;
  Work& work_;
  Waker waker_;
  Counter& reconnects_;
  Gauge& connected_gauge_;
  std::promise<Attempt<void>> first_try_;
  std::minstd_rand random_;
  std::string said_;          // the trouble that the log has: pump's thread only
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable room_;
  std::deque<Command> commands_;
  std::string trouble_ = "not connected yet";
  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace wfo::bus::rabbitmq
