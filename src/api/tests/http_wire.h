#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "api/detail/socket.h"

namespace wfo::api {

/// A client that sends the bytes it is told to, and nothing else.
class Wire {
 public:
  explicit Wire(std::uint16_t port)
      : Wire(detail::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), port) {}
  Wire(detail::Descriptor unconnected, std::uint16_t port) : socket_(std::move(unconnected)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
        << std::strerror(errno);
    limit_waits();
  }
  explicit Wire(detail::Descriptor socket) : socket_(std::move(socket)) { limit_waits(); }
  Wire(Wire&&) = default;

  /// False if the server no longer listens.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void send_no_more() { shutdown(socket_.get(), SHUT_WR); }

  struct Answer {
    int status = 0;
    std::string head;  // the status line and the fields, each line with its end
    std::string body;
    [[nodiscard]] bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
  };
  /// The next answer, of which `with_body` says whether a body follows; nothing: the server closed before.
  std::optional<Answer> read(bool with_body = true) {
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!receive()) return std::nullopt;
    }
    Answer answer;
    answer.head = input_.substr(0, input_.find("\r\n\r\n") + 2);
    input_.erase(0, answer.head.size() + 2);
    answer.status = number(answer.head.substr(answer.head.find(' ') + 1));
    const std::string_view length_field = "Content-Length: ";
    const auto found = answer.head.find(length_field);
    const auto length = found == std::string::npos || !with_body ? 0 : number(answer.head.substr(found + 16));
    while (input_.size() < static_cast<std::size_t>(length)) {
      if (!receive()) return std::nullopt;
    }
    answer.body = input_.substr(0, static_cast<std::size_t>(length));
    input_.erase(0, answer.body.size());
    return answer;
  }
  /// Whether the server closes the connection and sent nothing that was not read.
  bool is_closed() { return input_.empty() && !receive(); }

 private:
  // A server that never answers fails a test instead of hanging it.
  void limit_waits() {
    const timeval limit{30, 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  static int number(const std::string& text) {
    int value = -1;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
  bool receive() {
    std::array<char, 16 * 1024> chunk;
    const auto size = recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (size < 0) {
      EXPECT_NE(errno, EAGAIN) << "nothing came for 30 s, and the connection is open";
      return false;
    }
    input_.append(chunk.data(), static_cast<std::size_t>(size));
    return size > 0;
  }

  detail::Descriptor socket_;
  std::string input_;
};

/// A directory of the test's own, removed with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "wfo-http-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace wfo::api
