#include "api/detail/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace wfo::api::detail {
namespace {

constexpr std::size_t kNameBytesMax = 80;  // so that /proc/self/fd/<number>/<name> fits into sun_path

std::unexpected<Error> system_failure(std::string_view what) {
  const int error = errno;
  return fail(ErrorCode::unavailable, "{}: {}", what, std::strerror(error));
}

/// What `bind` and `connect` take: the path itself, or, if that is too long, a detour of a few bytes through the
/// directory's descriptor. The detour is not the rule, since tools that list sockets would show it.
Result<sockaddr_un> local_address(const std::filesystem::path& path, int directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string text = path.string();
  if (text.size() >= sizeof address.sun_path) {
    const auto name = path.filename().string();
    if (name.size() > kNameBytesMax) {
      return fail(ErrorCode::invalid_argument, "the socket '{}': its name has {} bytes, allowed are {}", path.string(),
                  name.size(), kNameBytesMax);
    }
    text = fmt::format("/proc/self/fd/{}/{}", directory, name);
  }
  std::memcpy(address.sun_path, text.data(), text.size());
  return address;
}

Result<Descriptor> open_directory(const std::filesystem::path& path) {
  const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  Descriptor descriptor(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) {
    return fail(ErrorCode::invalid_argument, "the socket '{}': its directory: {}", path.string(), std::strerror(errno));
  }
  return descriptor;
}

Result<Descriptor> connect_in(const std::filesystem::path& path, int directory, milliseconds timeout) {
  TRY_ASSIGN(const sockaddr_un address, local_address(path, directory));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return system_failure("a socket");
  const timeval limit{timeout.count() / 1000, timeout.count() % 1000 * 1000};
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // `connect` waits for a full backlog
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_failure(fmt::format("nobody listens at '{}'", path.string()));
  }
  return socket;
}

Result<void> remove_stale(const std::filesystem::path& path, int directory) {
  const auto name = path.filename().string();
  struct stat status {};
  if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return system_failure(fmt::format("the socket '{}'", path.string()));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return fail(ErrorCode::invalid_argument, "'{}' is there and is no socket; it is left alone", path.string());
  }
  if (connect_in(path, directory, milliseconds(1000))) {
    return fail(ErrorCode::conflict, "somebody listens at '{}' already", path.string());
  }
  if (unlinkat(directory, name.c_str(), 0) != 0) return system_failure(fmt::format("remove '{}'", path.string()));
  return {};
}

struct LoopbackAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Result<LoopbackAddress> loopback_address(const std::string& host, std::uint16_t port) {
  LoopbackAddress result;
  auto& v4 = reinterpret_cast<sockaddr_in&>(result.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(result.storage);
  in_addr address4{};
  if (inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &address4) == 1 &&
      ntohl(address4.s_addr) >> 24 == 127) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr = address4;
    result.size = sizeof v4;
    return result;
  }
  in6_addr address6{};
  if (inet_pton(AF_INET6, host.c_str(), &address6) == 1 && IN6_IS_ADDR_LOOPBACK(&address6)) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = address6;
    result.size = sizeof v6;
    return result;
  }
  return fail(ErrorCode::invalid_argument,
              "the HTTP host '{}' is not a loopback address; allowed, while there are no users and tokens: localhost, "
              "127.0.0.1 (or another in 127.0.0.0/8), ::1",
              host);
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.release();
  }
  return *this;
}

int Descriptor::release() { return std::exchange(fd_, -1); }

Result<TcpListener> listen_tcp(const std::string& host, std::uint16_t port) {
  TRY_ASSIGN(LoopbackAddress address, loopback_address(host, port));
  const auto what = fmt::format("listen on {} port {}", host, port);
  TcpListener listener{Descriptor(), address.storage.ss_family, 0};
  listener.socket = Descriptor(::socket(listener.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener.socket.get() < 0) return system_failure(what);
  const int yes = 1;  // a restart need not wait for the old connections' last packets
  setsockopt(listener.socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  auto* const raw = reinterpret_cast<sockaddr*>(&address.storage);
  if (bind(listener.socket.get(), raw, address.size) != 0) return system_failure(what);
  if (::listen(listener.socket.get(), SOMAXCONN) != 0) return system_failure(what);
  if (getsockname(listener.socket.get(), raw, &address.size) != 0) return system_failure(what);
  // The port lies at the same place in both families.
  listener.port = ntohs(reinterpret_cast<sockaddr_in*>(raw)->sin_port);
  return listener;
}

SocketFile::~SocketFile() {
  struct stat status {};
  if (directory_.get() < 0) return;  // moved from
  if (fstatat(directory_.get(), name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_ino == inode_) {
    unlinkat(directory_.get(), name_.c_str(), 0);
  }
}

Result<LocalListener> listen_local(const std::filesystem::path& path) {
  const auto name = path.filename().string();
  if (name.empty()) return fail(ErrorCode::invalid_argument, "the socket '{}' has no name", path.string());
  TRY_ASSIGN(Descriptor directory, open_directory(path));
  TRY_ASSIGN(const sockaddr_un address, local_address(path, directory.get()));
  TRY(remove_stale(path, directory.get()));
  const auto what = fmt::format("listen at '{}'", path.string());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return system_failure(what);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return system_failure(what);
  struct stat status {};
  if (fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return system_failure(what);
  SocketFile file(std::move(directory), name, status.st_ino);
  // Nobody can connect before `listen`, so nobody slips in before the mode is set.
  if (chmod(address.sun_path, 0600) != 0) return system_failure(what);
  if (::listen(socket.get(), SOMAXCONN) != 0) return system_failure(what);
  return LocalListener{std::move(socket), std::move(file)};
}

Result<Descriptor> connect_local(const std::filesystem::path& path, milliseconds timeout) {
  const auto directory = open_directory(path);
  if (!directory) return fail(ErrorCode::unavailable, "{}", directory.error().message);
  return connect_in(path, directory->get(), timeout);
}

}  // namespace wfo::api::detail
