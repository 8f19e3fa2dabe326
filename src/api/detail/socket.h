#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "base/time.h"

/// Sockets as the kernel gives them: opening is the same for a server on Asio and for a client without it.
namespace wfo::api::detail {

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release();  // the caller closes it

 private:
  int fd_;
};

struct TcpListener {
  Descriptor socket;
  int family;          // AF_INET or AF_INET6
  std::uint16_t port;  // the one taken, if any would do
};

/// Errors: `invalid_argument` the host is not of this machine alone; `unavailable` the port is taken.
[[nodiscard]] Result<TcpListener> listen_tcp(const std::string& host, std::uint16_t port);

/// The file of a listening Unix domain socket; removed with this, if it is still that one.
class SocketFile {
 public:
  SocketFile(Descriptor directory, std::string name, std::uint64_t inode)
      : directory_(std::move(directory)), name_(std::move(name)), inode_(inode) {}
  ~SocketFile();
  SocketFile(SocketFile&&) = default;
  SocketFile& operator=(SocketFile&&) = delete;

 private:
  Descriptor directory_;
  std::string name_;
  std::uint64_t inode_;
};

struct LocalListener {
  Descriptor socket;
  SocketFile file;
};

/// A path may be longer than sockaddr_un can hold; only its last part must fit (80 bytes). A socket file that
/// nobody listens at is replaced: the caller holds a lock that keeps a second server from doing the same.
/// Errors: `invalid_argument` the directory is missing, the name is too long, or something else than a socket is
/// there; `conflict` somebody listens; `unavailable` the system refuses.
[[nodiscard]] Result<LocalListener> listen_local(const std::filesystem::path& path);

/// A blocking connection. Errors: `unavailable` nobody listens, or nobody takes it within `timeout`.
[[nodiscard]] Result<Descriptor> connect_local(const std::filesystem::path& path, milliseconds timeout);

}  // namespace wfo::api::detail
