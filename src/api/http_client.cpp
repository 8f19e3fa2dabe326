#include "api/http_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "api/detail/socket.h"
#include "api/detail/uri.h"

namespace wfo::api {
namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;

class Exchange {
 public:
  Exchange(detail::Descriptor socket, const LocalClientConfig& config, Clock::time_point deadline)
      : socket_(std::move(socket)), config_(config), deadline_(deadline) {}

  /// The whole of `bytes`, or as much as the server took before it closed: it may have answered already.
  Result<void> send(std::string_view bytes) {
    while (!bytes.empty()) {
      TRY(wait_for(POLLOUT));
      const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno == EPIPE || errno == ECONNRESET) {
        return {};
      } else if (errno != EAGAIN && errno != EINTR) {
        return lost(std::strerror(errno));
      }
    }
    return {};
  }

  /// More of the answer; empty: that was all.
  Result<std::string_view> receive() {
    for (;;) {
      TRY(wait_for(POLLIN));
      const auto received = ::recv(socket_.get(), chunk_.data(), chunk_.size(), MSG_DONTWAIT);
      if (received >= 0) return std::string_view(chunk_.data(), static_cast<std::size_t>(received));
      if (errno != EAGAIN && errno != EINTR) return lost(std::strerror(errno));
    }
  }

  [[nodiscard]] std::unexpected<Error> lost(std::string_view why) const {
    return fail(ErrorCode::unavailable, "the server at '{}' did not answer: {}", config_.socket_path.string(), why);
  }

 private:
  Result<void> wait_for(short events) {
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(deadline_ - Clock::now()).count();
      if (left <= 0) return lost(fmt::format("not within {} ms", config_.timeout.count()));
      pollfd watched{socket_.get(), events, 0};
      const int ready = poll(&watched, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
      if (ready > 0) return {};
      if (ready < 0 && errno != EINTR) return lost(std::strerror(errno));
    }
  }

  detail::Descriptor socket_;
  const LocalClientConfig& config_;
  Clock::time_point deadline_;
  std::array<char, 64 * 1024> chunk_;
};

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

/// What would begin another line of the request, or another word of its first, is a bug or an attack.
Result<void> check(std::string_view target, const Headers& headers) {
  if (!target.starts_with('/') || !is_printable(target) || target.find(' ') != std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "the target '{}' is no path of escaped characters", detail::shown(target));
  }
  for (const auto& [field, value] : headers) {
    if (is_printable(field) && is_printable(value)) continue;
    return fail(ErrorCode::invalid_argument, "the header '{}: {}' holds what is not printable ASCII",
                detail::shown(field), detail::shown(value));
  }
  return {};
}

std::string serialize(Method method, std::string_view target, std::string_view body, const Headers& headers) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", name(method), target);
  for (const auto& [field, value] : headers) text += fmt::format("{}: {}\r\n", field, value);
  if (!body.empty()) {
    if (!headers.find("Content-Type")) text += fmt::format("Content-Type: {}\r\n", kJson);
    text += fmt::format("Content-Length: {}\r\n", body.size());
  }
  text += "\r\n";
  text += body;
  return text;
}

}  // namespace

Result<Response> LocalClient::request(Method method, std::string_view target, std::string_view body,
                                      const Headers& headers) const {
  TRY(check(target, headers));
  const auto deadline = Clock::now() + config_.timeout;
  TRY_ASSIGN(auto socket, detail::connect_local(config_.socket_path, config_.timeout));
  Exchange exchange(std::move(socket), config_, deadline);
  TRY(exchange.send(serialize(method, target, body, headers)));

  http::response_parser<http::string_body> parser;
  parser.body_limit(config_.response_bytes_max);
  parser.eager(true);
  parser.skip(method == Method::head);
  std::string input;
  while (!parser.is_done()) {
    TRY_ASSIGN(const auto bytes, exchange.receive());
    boost::beast::error_code error;
    if (bytes.empty()) {
      if (parser.got_some()) parser.put_eof(error);
      if (!parser.got_some() || error) return exchange.lost("it closed the connection");
      break;
    }
    input += bytes;
    input.erase(0, parser.put(boost::asio::buffer(input), error));
    if (error == http::error::body_limit) {
      return fail(ErrorCode::invalid_argument, "the answer to {} {} has more than {} bytes; ask for less at a time",
                  name(method), target, config_.response_bytes_max);
    }
    if (error && error != http::error::need_more) {
      return fail(ErrorCode::internal, "the server at '{}' does not speak HTTP: {}", config_.socket_path.string(),
                  error.message());
    }
  }

  auto& message = parser.get();
  Response response{.status = static_cast<int>(message.result_int()), .content_type = {}, .body = {}, .headers = {}};
  response.body = std::move(message.body());
  for (const auto& field : message) response.headers.add(std::string(field.name_string()), std::string(field.value()));
  response.content_type = response.headers.find("Content-Type").value_or("");
  return response;
}

}  // namespace wfo::api
