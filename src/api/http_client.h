#pragma once

#include <filesystem>
#include <string_view>

#include "api/http.h"
#include "base/result.h"
#include "base/time.h"

namespace wfo::api {

struct LocalClientConfig {
  std::filesystem::path socket_path;
  milliseconds timeout{30'000};                          // for a whole request, with its answer
  std::size_t response_bytes_max = 64ull * 1024 * 1024;  // of a body
};

/// Asks the server that listens at a Unix domain socket: how a second process on the same machine reaches the first.
/// Blocks; any thread, each request on a connection of its own.
class LocalClient {
 public:
  explicit LocalClient(LocalClientConfig config) : config_(std::move(config)) {}

  /// A body is sent as application/json unless `headers` has a Content-Type. An answer with a status of 400 or more
  /// is an answer; `error_of` makes an error of it. Errors: `unavailable` nobody listens, or no whole answer came in
  /// time: then what was asked may have happened; `invalid_argument` the answer is larger than allowed, or `target` or
  /// `headers` hold what is not printable; `internal` it is no HTTP.
  [[nodiscard]] Result<Response> request(Method method, std::string_view target, std::string_view body = {},
                                         const Headers& headers = {}) const;

 private:
  LocalClientConfig config_;
};

}  // namespace wfo::api
