#include "bus/rabbitmq/detail/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace wfo::bus::rabbitmq {
namespace {

using std::chrono::steady_clock;

std::unexpected<Trouble> absent(std::string text) { return std::unexpected(Trouble{std::move(text), false}); }
std::unexpected<Trouble> lasting(std::string text) { return std::unexpected(Trouble{std::move(text), true}); }

std::string system_text(int error) { return std::system_category().message(error); }

int milliseconds_until(SteadyTime deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

/// What OpenSSL says of its last failure, in words; the queue is empty afterwards.
std::string tls_text() {
  std::string text;
  while (const auto code = ERR_get_error()) {
    if (!text.empty()) continue;  // the first says what was wrong, those that follow where
    const auto* reason = ERR_reason_error_string(code);
    text = reason ? reason : fmt::format("error {:x}", code);
  }
  return text.empty() ? "no reason given" : text;
}

struct AddressesDeleter {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

/// Waits for `events` on `fd`. False: the time is over, or `stop`.
bool wait_for(int fd, short events, Waker& waker, const std::stop_token& stop, SteadyTime deadline) {
  for (;;) {
    if (stop.stop_requested()) return false;
    pollfd fds[] = {{fd, events, 0}, {waker.fd(), POLLIN, 0}};
    const auto left = milliseconds_until(deadline);
    const auto ready = ::poll(fds, 2, left);
    if (fds[1].revents != 0) waker.drain();
    if (ready > 0 && fds[0].revents != 0) return true;
    if (left == 0) return false;
  }
}

Attempt<int> connect_tcp(const addrinfo& to, Waker& waker, const std::stop_token& stop, SteadyTime deadline) {
  Fd fd(::socket(to.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, to.ai_protocol));
  if (fd.get() < 0) return absent(system_text(errno));
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return absent(system_text(errno));
    if (!wait_for(fd.get(), POLLOUT, waker, stop, deadline)) {
      return absent(stop.stop_requested() ? "stopped" : "no answer in time");
    }
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return absent(system_text(error));
  }
  return fd.release();
}

}  // namespace

Waker::Waker() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { INVARIANT(fd_ >= 0); }

Waker::~Waker() { ::close(fd_); }

void Waker::wake() {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the other side will wake anyway.
  [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

void Waker::drain() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(fd_, &count, sizeof count);
}

void Waker::wait(std::chrono::nanoseconds length) {
  pollfd fd{fd_, POLLIN, 0};
  ::poll(&fd, 1, milliseconds_until(steady_clock::now() + length));
  drain();
}

struct Stream::Tls {
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  // TLS may have to read before it can write, and the other way round.
  bool read_wants_write = false;
  bool write_wants_read = false;

  Tls() = default;
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;
  ~Tls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
};

Stream::Stream(int fd) : fd_(fd) {}

Stream::Stream(Stream&& other) noexcept : fd_(std::exchange(other.fd_, -1)), tls_(std::move(other.tls_)) {}

Stream::~Stream() {
  tls_.reset();
  if (fd_ >= 0) ::close(fd_);
}

Attempt<Stream> Stream::connect(const Address& address, Waker& waker, const std::stop_token& stop) {
  const auto deadline = steady_clock::now() + address.connect_timeout;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const auto port = std::to_string(address.port);
  if (const auto error = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found); error != 0) {
    auto text = fmt::format("the host '{}' is unknown ({}): mend the host in the URL, or the name service",
                            address.host, error == EAI_SYSTEM ? system_text(errno) : gai_strerror(error));
    return error == EAI_AGAIN ? absent(std::move(text)) : lasting(std::move(text));
  }
  const std::unique_ptr<addrinfo, AddressesDeleter> addresses(found);
  Attempt<int> fd = absent("no address");
  for (const auto* to = addresses.get(); to && !fd; to = to->ai_next) fd = connect_tcp(*to, waker, stop, deadline);
  if (!fd) return std::unexpected(fd.error());
  Stream stream(*fd);
  if (address.tls) {
    if (auto started = stream.start_tls(address, waker, stop, deadline); !started) {
      return std::unexpected(std::move(started).error());
    }
  }
  return stream;
}

Attempt<void> Stream::start_tls(const Address& address, Waker& waker, const std::stop_token& stop,
                                SteadyTime deadline) {
  const auto& options = address.tls_options;
  auto tls = std::make_unique<Tls>();
  ERR_clear_error();
  tls->context = SSL_CTX_new(TLS_client_method());
  INVARIANT(tls->context);
  SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
  SSL_CTX_set_mode(tls->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // A key with a passphrase must not make a server wait for somebody to type it.
  SSL_CTX_set_default_passwd_cb(tls->context, [](char*, int, int, void*) { return 0; });
  if (options.verify_peer) {
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, nullptr);
    if (options.ca_file.empty()) {
      SSL_CTX_set_default_verify_paths(tls->context);
    } else if (SSL_CTX_load_verify_locations(tls->context, options.ca_file.c_str(), nullptr) != 1) {
      return lasting(fmt::format("TLS: the CA file '{}' cannot be used: {}", options.ca_file, tls_text()));
    }
  }
  if (!options.certificate_file.empty()) {
    if (SSL_CTX_use_certificate_chain_file(tls->context, options.certificate_file.c_str()) != 1) {
      return lasting(
          fmt::format("TLS: the certificate file '{}' cannot be used: {}", options.certificate_file, tls_text()));
    }
    if (SSL_CTX_use_PrivateKey_file(tls->context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls->context) != 1) {
      return lasting(
          fmt::format("TLS: the key file '{}' cannot be used with the certificate: {}", options.key_file, tls_text()));
    }
  }
  tls->ssl = SSL_new(tls->context);
  INVARIANT(tls->ssl);
  in6_addr ignored{};
  const bool is_ip = ::inet_pton(AF_INET, address.server_name.c_str(), &ignored) == 1 ||
                     ::inet_pton(AF_INET6, address.server_name.c_str(), &ignored) == 1;
  if (!is_ip) SSL_set_tlsext_host_name(tls->ssl, address.server_name.c_str());
  if (options.verify_peer && options.verify_hostname) {
    if (is_ip) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), address.server_name.c_str());
    } else {
      SSL_set1_host(tls->ssl, address.server_name.c_str());
    }
  }
  SSL_set_fd(tls->ssl, fd_);
  for (;;) {
    ERR_clear_error();
    const auto result = SSL_connect(tls->ssl);
    if (result == 1) break;
    const auto why = SSL_get_error(tls->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
      if (wait_for(fd_, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, waker, stop, deadline)) continue;
      return absent(stop.stop_requested() ? "stopped" : "no answer to the TLS handshake in time");
    }
    if (const auto verdict = SSL_get_verify_result(tls->ssl); verdict != X509_V_OK) {
      return lasting(
          fmt::format("TLS: the certificate that the broker shows for '{}' is not trusted ({}): check the CA "
                      "file (cacertfile) and the host in the URL",
                      address.server_name, X509_verify_cert_error_string(verdict)));
    }
    if (why == SSL_ERROR_SYSCALL) return absent("the connection ended in the TLS handshake");
    return lasting(
        fmt::format("TLS: the handshake failed ({}): is it the TLS port (5671), and does the broker want a client "
                    "certificate (certfile, keyfile)?",
                    tls_text()));
  }
  tls_ = std::move(tls);
  return {};
}

Attempt<std::size_t> Stream::read(std::span<char> into) {
  if (!tls_) {
    const auto got = ::recv(fd_, into.data(), into.size(), 0);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) return absent("the broker ended the connection");
    if (errno == EAGAIN || errno == EINTR) return 0;
    return absent(system_text(errno));
  }
  ERR_clear_error();
  std::size_t got = 0;
  const auto result = SSL_read_ex(tls_->ssl, into.data(), into.size(), &got);
  tls_->read_wants_write = false;
  if (result == 1) return got;
  switch (SSL_get_error(tls_->ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return 0;
    case SSL_ERROR_WANT_WRITE:
      tls_->read_wants_write = true;
      return 0;
    case SSL_ERROR_ZERO_RETURN:
      return absent("the broker ended the connection");
    case SSL_ERROR_SYSCALL:
      return absent(errno != 0 ? system_text(errno) : "the broker ended the connection");
    default:
      break;
  }
  // With TLS 1.3 a server says only after the handshake that it does not like our certificate.
  const auto text = tls_text();
  if (text.find("alert") != std::string::npos) {
    return lasting(
        fmt::format("TLS: the broker refuses us ({}): check the client certificate (certfile, keyfile)", text));
  }
  return absent(fmt::format("TLS: {}", text));
}

Attempt<std::size_t> Stream::write(std::string_view bytes) {
  if (!tls_) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EAGAIN || errno == EINTR) return 0;
    return absent(system_text(errno));
  }
  ERR_clear_error();
  std::size_t sent = 0;
  const auto result = SSL_write_ex(tls_->ssl, bytes.data(), bytes.size(), &sent);
  tls_->write_wants_read = false;
  if (result == 1) return sent;
  switch (SSL_get_error(tls_->ssl, result)) {
    case SSL_ERROR_WANT_WRITE:
      return 0;
    case SSL_ERROR_WANT_READ:
      tls_->write_wants_read = true;
      return 0;
    case SSL_ERROR_SYSCALL:
      return absent(errno != 0 ? system_text(errno) : "the broker ended the connection");
    default:
      return absent(fmt::format("TLS: {}", tls_text()));
  }
}

void Stream::wait(bool to_write, Waker& waker, SteadyTime deadline) {
  short events = POLLIN;
  if ((to_write && !(tls_ && tls_->write_wants_read)) || (tls_ && tls_->read_wants_write)) events |= POLLOUT;
  pollfd fds[] = {{fd_, events, 0}, {waker.fd(), POLLIN, 0}};
  ::poll(fds, 2, milliseconds_until(deadline));
  if (fds[1].revents != 0) waker.drain();
}

}  // namespace wfo::bus::rabbitmq
