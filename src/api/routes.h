#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/router.h"
#include "base/metrics.h"
#include "delivery/dead_letters.h"
#include "delivery/event_intake.h"
#include "orchestrator/orchestrator.h"
#include "scheduler/scheduler.h"
#include "store/ledger_store.h"
#include "store/store.h"

namespace wfo::api {

/// What the routes work on; all of it outlives the router.
struct Services {
  orchestrator::Orchestrator& orchestrator;
  scheduler::Scheduler& scheduler;
  store::Store& store;
  store::LedgerStore& ledger;
  delivery::DeadLetters& dead_letters;
  delivery::EventIntake& intake;
  Metrics& metrics;
  IdSource& ids;
  const Clock& clock;
  TenantId default_tenant;  // of a request without X-Tenant-Id
  /// Why no new work is taken; empty: it is. Any thread, cheap.
  std::function<std::vector<std::string>()> not_ready;
  /// Waits a while for the ledger to have what was committed before the call; false: it still lacks some of it. Asked
  /// before each answer from the ledger. None: nobody is waited for.
  std::function<Result<bool>()> ledger_catches_up = {};
};

/// Adds every route of contracts/openapi.yaml. Each request is of one tenant (X-Tenant-Id, else the default one) and
/// sees and changes nothing of another's; jobs, their schedules and the process itself are of no tenant. Parameters,
/// members and values that are not in the contract are errors that name what is allowed.
void add_routes(Router& router, const Services& services);

}  // namespace wfo::api
