#pragma once

#include "api/routes.h"

/// The routes, a file for each resource.
namespace wfo::api::detail {

void add_workflow_routes(Router& router, const Services& services);
void add_event_routes(Router& router, const Services& services);
void add_audit_routes(Router& router, const Services& services);
void add_dead_letter_routes(Router& router, const Services& services);
void add_opportunity_routes(Router& router, const Services& services);
void add_job_routes(Router& router, const Services& services);
void add_schedule_routes(Router& router, const Services& services);
void add_analysis_routes(Router& router, const Services& services);  // for the command line, over the local socket only
void add_health_routes(Router& router, const Services& services);

/// What a handler answers; an error becomes the response that says so.
using Answer = Result<Response>;

/// Adds a route whose handler gets the services, too.
void add_route(Router& router, Method method, std::string_view pattern, const Services& services,
               Answer (*answer)(const Services&, const Request&), RouteOptions options = {});

}  // namespace wfo::api::detail
