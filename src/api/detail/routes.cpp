#include "api/detail/routes.h"

namespace wfo::api::detail {

void add_route(Router& router, Method method, std::string_view pattern, const Services& services,
               Answer (*answer)(const Services&, const Request&), RouteOptions options) {
  const auto handler = [services, answer](const Request& request) {
    Answer answered = answer(services, request);
    return answered ? *std::move(answered) : error_response(answered.error());
  };
  router.add(method, pattern, handler, options);
}

}  // namespace wfo::api::detail
