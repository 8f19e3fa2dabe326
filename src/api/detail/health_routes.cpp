#include <fmt/ranges.h>

#include <mutex>

#include "api/detail/arguments.h"
#include "api/detail/routes.h"
#include "jobs/risk_snapshot_backfill.h"

namespace wfo::api::detail {
namespace {

/// When the last risk-snapshot-backfill ended well. Who asks whether the process lives must have an answer whatever the
/// store does: while it is away, or one request waits for it, that is what was known before.
class LastBackfill {
 public:
  std::optional<Timestamp> at(store::Store& store) {
    const std::unique_lock asks(asking_, std::try_to_lock);
    if (asks && store.admission()) {
      std::optional<Timestamp> found;
      const auto read = store.read([&](const store::Transaction& transaction) -> Result<void> {
        TRY_ASSIGN(found, transaction.job_runs().last_completed_at(jobs::RiskSnapshotBackfill::kName));
        return {};
      });
      const std::lock_guard lock(mutex_);
      if (read) at_ = found;
    }
    const std::lock_guard lock(mutex_);
    return at_;
  }

 private:
  std::mutex asking_;  // held by the one request that asks the store; before mutex_
  std::mutex mutex_;   // guards at_
  std::optional<Timestamp> at_;
};

Answer health(const Services& services, LastBackfill& last_backfill, const Request& request) {
  TRY(allow_parameters(request, {}));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("status").string("ok").key("lastRiskSnapshotBackfillAt");
  if (const auto at = last_backfill.at(services.store)) {
    out.timestamp(*at);
  } else {
    out.null();
  }
  out.end_object();
  return json_response(200, std::move(text));
}

Answer ready(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  const auto reasons = services.not_ready();
  if (reasons.empty()) return json_response(200, R"({"status":"ready"})");
  std::string details;
  json::Writer out(details);
  out.begin_array();
  for (const auto& reason : reasons) out.string(reason);
  out.end_array();
  return error_response(Error{ErrorCode::unavailable, fmt::format("not ready: {}", fmt::join(reasons, "; "))}, details);
}

Answer metrics(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  return Response{.status = 200,
                  .content_type = "text/plain; version=0.0.4; charset=utf-8",
                  .body = services.metrics.text(),
                  .headers = {}};
}

}  // namespace

void add_health_routes(Router& router, const Services& services) {
  router.add(Method::get, "/health", [services, last = std::make_shared<LastBackfill>()](const Request& request) {
    Answer answered = health(services, *last, request);
    return answered ? *std::move(answered) : error_response(answered.error());
  });
  add_route(router, Method::get, "/ready", services, ready);
  add_route(router, Method::get, "/metrics", services, metrics);
}

}  // namespace wfo::api::detail
