#include "app/gateway.h"

#include <algorithm>
#include <chrono>

#include "api/http_client.h"
#include "api/http_server.h"
#include "app/config.h"
#include "app/runtime.h"
#include "delivery/waiter.h"

namespace wfo::app {
namespace {

constexpr milliseconds kReachWaitMax{5'000};  // for a directory that is held while nobody listens
constexpr milliseconds kReachPause{20};

/// Whether asking twice is the same as asking once, so that a request whose answer was lost may be sent again: reads,
/// and what `wfo analyze` asks for, which the server knows by its ids.
bool is_repeatable(api::Method method, std::string_view target) {
  return method == api::Method::get || target.starts_with("/local/") || target == "/api/v1/opportunities" ||
         target == "/api/v1/statistics";
}

/// An installation in this process, for as long as the command lasts; of a data directory also for others, at the local
/// socket. In PostgreSQL the processes that serve it do the work, and this one only asks.
class Own {
 public:
  static Result<std::unique_ptr<Own>> open(const Config& config, Logger& log, GatewayOptions options) {
    auto own = std::make_unique<Own>(config.shutdown_grace);
    if (store_kind(config) == StoreKind::postgres) {
      own->log_ = std::make_unique<Logger>(std::max(config.log_level, LogLevel::warn));
      TRY_ASSIGN(own->runtime_, Runtime::open(config, *own->log_, {.works = false, .needs_jobs = options.needs_jobs}));
      return own;
    }
    TRY_ASSIGN(
        own->runtime_,
        Runtime::open(config, log, {.works_batch_jobs = options.works_batch_jobs, .needs_jobs = options.needs_jobs}));
    api::HttpConfig http = config.http;
    http.port = std::nullopt;
    http.socket_path = socket_path(config);
    TRY_ASSIGN(own->server_, api::HttpServer::open(http, own->runtime_->router(), log, own->runtime_->metrics()));
    own->runtime_->start();
    return own;
  }
  explicit Own(milliseconds grace) : grace_(grace) {}
  ~Own() {
    if (server_) server_->stop(grace_);  // what others have asked is finished first
    if (runtime_) runtime_->stop();
  }
  Own(const Own&) = delete;
  Own& operator=(const Own&) = delete;

  api::Response ask(api::Method method, std::string_view target, std::string_view body, const api::Headers& headers) {
    api::Request request{
        .method = method, .target = std::string(target), .headers = headers, .body = std::string(body)};
    if (!body.empty() && !headers.find("Content-Type")) request.headers.add("Content-Type", std::string(api::kJson));
    request.over_local_socket = true;
    return runtime_->router().handle(request);
  }

 private:
  milliseconds grace_;
  std::unique_ptr<Logger> log_;  // which server answers is for who serves, not for each command
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<api::HttpServer> server_;
};

class InstallationGateway final : public Gateway {
 public:
  InstallationGateway(const Config& config, Logger& log, GatewayOptions options)
      : config_(config), log_(log), options_(options) {}

  /// Finds who has the directory, or takes it. Whoever holds it may not listen yet, or no more: lock and socket are
  /// tried in turn.
  Result<void> reach() {
    const auto until = std::chrono::steady_clock::now() + kReachWaitMax;
    for (;;) {
      auto own = Own::open(config_, log_, options_);
      if (own) {
        own_ = *std::move(own);
        return {};
      }
      // Who holds a directory may answer soon. A database is held by nobody.
      const bool may_be_held = own.error().code == ErrorCode::conflict && store_kind(config_) == StoreKind::sqlite;
      if (!may_be_held) return std::unexpected(std::move(own).error());
      if (is_served(config_)) {
        server_.emplace(api::LocalClientConfig{.socket_path = socket_path(config_)});
        return {};
      }
      if (std::chrono::steady_clock::now() >= until) return std::unexpected(std::move(own).error());
      waiter_.wait(kReachPause, {});
    }
  }

  Result<api::Response> ask(api::Method method, std::string_view target, std::string_view body,
                            const api::Headers& headers) override {
    const auto until = std::chrono::steady_clock::now() + kReachWaitMax;
    for (;;) {
      if (own_) return own_->ask(method, target, body, headers);
      auto answer = server_->request(method, target, body, headers);
      const bool is_lost = !answer && answer.error().code == ErrorCode::unavailable;
      if (!is_lost || !is_repeatable(method, target) || std::chrono::steady_clock::now() >= until) return answer;
      // The process that served the directory has ended: another does now, or this one.
      TRY(reach());
    }
  }

  bool does_the_work() const override { return own_ != nullptr && store_kind(config_) == StoreKind::sqlite; }

 private:
  const Config& config_;
  Logger& log_;
  const GatewayOptions options_;
  delivery::SystemWaiter waiter_;
  std::optional<api::LocalClient> server_;
  std::unique_ptr<Own> own_;
};

}  // namespace

Result<std::unique_ptr<Gateway>> open_gateway(const Config& config, Logger& log, GatewayOptions options) {
  auto gateway = std::make_unique<InstallationGateway>(config, log, options);
  TRY(gateway->reach());
  return std::unique_ptr<Gateway>(std::move(gateway));
}

std::string text_at(json::Value value, std::string_view key) {
  const auto found = value.find(key);
  if (!found || found->kind() == json::Kind::null) return "";
  return found->string().value_or(std::string(found->raw()));
}

}  // namespace wfo::app
