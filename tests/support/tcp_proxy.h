#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace wfo::test {

/// Stands between a client and a server on 127.0.0.1 and fails as networks do. Any thread.
class TcpProxy {
 public:
  explicit TcpProxy(std::uint16_t server_port) : server_port_(server_port) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    auto address = local(0);
    socklen_t size = sizeof address;
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0 || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the proxy cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  ~TcpProxy() {
    thread_.request_stop();
    wake();
    thread_.join();
    for (const auto& pair : pairs_) close_pair(pair);
    ::close(listener_);
    ::close(waker_);
  }
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// How many connections were accepted so far.
  [[nodiscard]] int accepted() const {
    const std::scoped_lock lock(mutex_);
    return accepted_;
  }
  /// Ends all connections with a reset, in the middle of whatever is under way. New ones work.
  void cut() {
    set([this] { cuts_ = true; });
  }
  /// New connections are accepted and cut at once, until `admit`.
  void turn_away() {
    set([this] { turns_away_ = cuts_ = true; });
  }
  void admit() {
    set([this] { turns_away_ = false; });
  }
  /// Nothing passes, in neither direction, and nothing is closed: as when a cable was pulled.
  void stall() {
    set([this] { to_server_ = to_client_ = false; });
  }
  /// What the server says does not arrive; what the client says does.
  void stall_answers() {
    set([this] { to_client_ = false; });
  }
  /// What the client says does not arrive; what the server says does.
  void stall_requests() {
    set([this] { to_server_ = false; });
  }
  void resume() {
    set([this] { to_server_ = to_client_ = true; });
  }

 private:
  struct Pair {
    int client = -1;
    int server = -1;
    std::string up;    // read from the client, not written to the server yet
    std::string down;  // the other way
  };

  static sockaddr_in local(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  static void close_pair(const Pair& pair) {
    const linger reset{1, 0};
    for (const int fd : {pair.client, pair.server}) {
      if (fd < 0) continue;
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      ::close(fd);
    }
  }
  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(waker_, &one, sizeof one);
  }
  template <class Change>
  void set(Change change) {
    {
      const std::scoped_lock lock(mutex_);
      change();
    }
    wake();
  }

  void accept() {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) return;
    Pair pair{client, -1, "", ""};
    {
      const std::scoped_lock lock(mutex_);
      ++accepted_;
      if (turns_away_) return close_pair(pair);
    }
    pair.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = local(server_port_);
    if (::connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      return close_pair(pair);
    }
    ::fcntl(pair.server, F_SETFL, O_NONBLOCK);
    pairs_.push_back(std::move(pair));
  }

  /// False: one side is gone.
  static bool carry(int from, int to, std::string& held) {
    if (held.empty()) {
      char bytes[65'536];
      const auto got = ::recv(from, bytes, sizeof bytes, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
      if (got > 0) held.assign(bytes, static_cast<std::size_t>(got));
    }
    if (held.empty()) return true;
    const auto sent = ::send(to, held.data(), held.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    held.erase(0, static_cast<std::size_t>(sent));
    return true;
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      bool to_server = true;
      bool to_client = true;
      bool cuts = false;
      {
        const std::scoped_lock lock(mutex_);
        to_server = to_server_;
        to_client = to_client_;
        cuts = std::exchange(cuts_, false);
      }
      if (cuts) {
        for (const auto& pair : pairs_) close_pair(pair);
        pairs_.clear();
      }
      std::vector<pollfd> fds{{listener_, POLLIN, 0}, {waker_, POLLIN, 0}};
      const auto events = [](bool reads, bool writes) {
        return static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
      };
      for (const auto& pair : pairs_) {
        // A closed peer shows even where nothing is asked for; then the other way is polled for nothing.
        fds.push_back({to_server || to_client ? pair.client : -1,
                       events(to_server && pair.up.empty(), to_client && !pair.down.empty()), 0});
        fds.push_back({to_server || to_client ? pair.server : -1,
                       events(to_client && pair.down.empty(), to_server && !pair.up.empty()), 0});
      }
      ::poll(fds.data(), fds.size(), -1);
      std::uint64_t count = 0;
      if (fds[1].revents != 0) [[maybe_unused]]
        const auto got = ::read(waker_, &count, sizeof count);
      if (fds[0].revents != 0) accept();
      const auto polled = (fds.size() - 2) / 2;
      std::vector<Pair> left;
      for (std::size_t i = 0; i < pairs_.size(); ++i) {
        auto& pair = pairs_[i];
        bool alive = true;
        if (i < polled && (fds[2 + 2 * i].revents != 0 || fds[3 + 2 * i].revents != 0)) {
          alive = (!to_server || carry(pair.client, pair.server, pair.up)) &&
                  (!to_client || carry(pair.server, pair.client, pair.down));
        }
        if (alive) {
          left.push_back(std::move(pair));
        } else {
          close_pair(pair);
        }
      }
      pairs_ = std::move(left);
    }
  }

  std::uint16_t server_port_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  int waker_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::vector<Pair> pairs_;   // the thread's alone
  mutable std::mutex mutex_;  // guards what follows
  bool cuts_ = false;
  bool turns_away_ = false;
  bool to_server_ = true;
  bool to_client_ = true;
  int accepted_ = 0;
  std::jthread thread_;
};

}  // namespace wfo::test
