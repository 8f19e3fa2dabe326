#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "bus/rabbitmq/detail/address.h"

namespace wfo::bus::rabbitmq {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Why a connection is not, or no more.
struct Trouble {
  std::string text;
  bool lasting = false;  // somebody must mend something first: trying again gives the same
};

template <class T>
using Attempt = std::expected<T, Trouble>;

/// Lets other threads end a thread's poll. Any thread.
class Waker {
 public:
  Waker();
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  void wake();
  void drain();
  /// Returns when woken, or after `length`.
  void wait(std::chrono::nanoseconds length);
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

/// A TCP connection that never blocks, with TLS where the address says so. One thread, which has SIGPIPE blocked.
class Stream {
 public:
  /// Resolves, connects and shakes hands, within the address's `connect_timeout`, or until `stop` (wake it then). The
  /// system's resolver alone may take longer.
  [[nodiscard]] static Attempt<Stream> connect(const Address& address, Waker& waker, const std::stop_token& stop);
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) = delete;
  ~Stream();

  /// How many bytes were read; 0: none are there now. An error ends the connection.
  [[nodiscard]] Attempt<std::size_t> read(std::span<char> into);
  /// How many bytes were taken; 0: no room now.
  [[nodiscard]] Attempt<std::size_t> write(std::string_view bytes);
  /// Waits until the peer sent something, or (`to_write`) takes something, or `deadline`, or the waker.
  void wait(bool to_write, Waker& waker, SteadyTime deadline);

 private:
  struct Tls;
  explicit Stream(int fd);
  Attempt<void> start_tls(const Address& address, Waker& waker, const std::stop_token& stop, SteadyTime deadline);

  int fd_;
  std::unique_ptr<Tls> tls_;
};

}  // namespace wfo::bus::rabbitmq
