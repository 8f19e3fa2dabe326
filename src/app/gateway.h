#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/http.h"
#include "base/json.h"
#include "base/log.h"
#include "base/result.h"

namespace wfo::app {

/// How a verb of the command line reaches an installation: the process that serves it, through its local socket, or, if
/// none does, this very process. Both answer the same requests.
class Gateway {
 public:
  virtual ~Gateway() = default;
  /// An answer with a status of 400 or more is an answer. Errors: `unavailable`.
  [[nodiscard]] virtual Result<api::Response> ask(api::Method method, std::string_view target, std::string_view body,
                                                  const api::Headers& headers) = 0;

  /// Whether the work is done by this process, and so ends with it.
  [[nodiscard]] virtual bool does_the_work() const = 0;

  /// The body of a good answer; else the error that the answer is.
  [[nodiscard]] Result<std::string> body(api::Method method, std::string_view target, std::string_view body = {},
                                         const api::Headers& headers = {}) {
    TRY_ASSIGN(api::Response response, ask(method, target, body, headers));
    if (response.status >= 400) return std::unexpected(api::error_of(response));
    return std::move(response.body);
  }
  /// The same, parsed.
  [[nodiscard]] Result<json::Document> document(api::Method method, std::string_view target,
                                                std::string_view body_text = {}, const api::Headers& headers = {}) {
    TRY_ASSIGN(std::string text, body(method, target, body_text, headers));
    return json::Document::parse(std::move(text));
  }
};

struct Config;

/// What a verb wants of the installation if it is opened in this process; another one is as it is.
struct GatewayOptions {
  bool needs_jobs = false;        // RuntimeOptions::needs_jobs
  bool works_batch_jobs = false;  // RuntimeOptions::works_batch_jobs, for who waits for the end of a run
};

/// The process that holds the data directory, through its local socket; or this one, which then answers others there
/// too, while the gateway lives. Where the store is PostgreSQL, this one, which answers and does no work. When the
/// process that was asked ends, the next one is found; a request whose answer was lost is sent again where that can do
/// no harm. `config` and `log` outlive it. Errors: `conflict` another process holds the directory and does not answer;
/// `unavailable` it cannot be used; `invalid_argument` the configuration.
[[nodiscard]] Result<std::unique_ptr<Gateway>> open_gateway(const Config& config, Logger& log,
                                                            GatewayOptions options = {});

/// A member of an answer as text: a string's characters, any other token as it stands, "" for null or nothing.
[[nodiscard]] std::string text_at(json::Value value, std::string_view key);

}  // namespace wfo::app
