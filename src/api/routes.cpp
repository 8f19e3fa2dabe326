#include "api/routes.h"

#include "api/detail/routes.h"

namespace wfo::api {

void add_routes(Router& router, const Services& services) {
  detail::add_workflow_routes(router, services);
  detail::add_event_routes(router, services);
  detail::add_audit_routes(router, services);
  detail::add_dead_letter_routes(router, services);
  detail::add_opportunity_routes(router, services);
  detail::add_job_routes(router, services);
  detail::add_schedule_routes(router, services);
  detail::add_analysis_routes(router, services);
  detail::add_health_routes(router, services);
}

}  // namespace wfo::api
