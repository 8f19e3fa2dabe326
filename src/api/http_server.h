#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "api/router.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/time.h"

namespace wfo::api {

/// Where to listen, and every bound. What is beyond one is answered, if the client still listens, and the connection
/// closed.
struct HttpConfig {
  std::string host = "127.0.0.1";     // loopback only, until there are users and tokens
  std::optional<std::uint16_t> port;  // nothing: no TCP; 0: any that is free
  std::filesystem::path socket_path;  // of the Unix domain socket; empty: none

  int threads = 4;                                // for handlers; 1..256
  int connections_max = 1024;                     // beyond: 503; 1..100'000
  int handlers_waiting_max = 1024;                // requests that wait for a thread; beyond: 503
  std::size_t request_line_bytes_max = 8 * 1024;  // beyond: 414
  std::size_t headers_bytes_max = 16 * 1024;      // with the request line; beyond: 431
  std::size_t body_bytes_max = 1024 * 1024;       // beyond: 413
  milliseconds idle_timeout{15'000};              // for the next byte, of a request (then 408) or of an answer
  milliseconds request_timeout{60'000};  // from a request's first byte to its last (408), then for its handler (503),
                                         // and then for its answer to be taken
  milliseconds linger_timeout{2'000};    // for a refused client to read why, before the connection is cut
};

/// HTTP/1.1 (RFC 9112) in front of a router: one thread for all connections, a few for the handlers. Over TCP, a page
/// of another site is kept out: Host and Origin, where given, must be this machine's loopback names (else 403).
/// Metrics: http_requests_total{method,route,status}, http_request_duration_seconds{route}, http_connections;
/// `route` is the pattern, or `none`.
class HttpServer {
 public:
  /// Listens when it returns. `router`, `logger` and `metrics` outlive the server.
  /// Errors: `invalid_argument` a host that is not loopback, a bad bound, a socket path that cannot be; `conflict`
  /// somebody listens at the socket; `unavailable` the port is taken, or the system refuses.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> open(const HttpConfig& config, const Router& router,
                                                                Logger& logger, Metrics& metrics);
  ~HttpServer();  // stops, without grace
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The TCP port, or 0 if there is none.
  [[nodiscard]] std::uint16_t port() const;

  /// Stops listening and closes idle connections; requests in hand are answered, as far as that takes no longer than
  /// `grace`; then the rest is cut off and the threads end. A handler that runs is waited for, whatever it takes.
  /// Again: nothing. Not from a handler.
  void stop(milliseconds grace);

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::api
