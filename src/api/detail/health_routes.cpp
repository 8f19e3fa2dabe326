#include <fmt/ranges.h>

#include "api/detail/arguments.h"
#include "api/detail/routes.h"

namespace wfo::api::detail {
namespace {

Answer health(const Services&, const Request& request) {
  TRY(allow_parameters(request, {}));
  return json_response(200, R"({"status":"ok"})");
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
  add_route(router, Method::get, "/health", services, health);
  add_route(router, Method::get, "/ready", services, ready);
  add_route(router, Method::get, "/metrics", services, metrics);
}

}  // namespace wfo::api::detail
