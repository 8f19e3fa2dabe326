#pragma once

#include <utility>

#include "delivery/waiter.h"
#include "events/contracts.h"
#include "events/types.h"
#include "scheduler/detail/numbers.h"
#include "scheduler/detail/timetables.h"
#include "scheduler/scheduler.h"
#include "store/store.h"

namespace wfo::scheduler {

/// What all parts of the role share.
struct Core {
  Core(store::Store& store_, const events::Contracts& contracts, schedule::JobCatalog catalog_,
       MetadataCheck check_metadata_, IdSource& ids_, const Clock& clock_, delivery::Waiter& waiter_, Logger& log_,
       Metrics& metrics, SchedulerConfig config_)
      : store(store_),
        factory(contracts, ids_, clock_, events::kOrchestratorRole),
        catalog(std::move(catalog_)),
        check_metadata(std::move(check_metadata_)),
        ids(ids_),
        clock(clock_),
        waiter(waiter_),
        log(log_),
        config(config_),
        numbers(metrics) {}

  store::Store& store;
  const events::EventFactory factory;
  const schedule::JobCatalog catalog;
  const MetadataCheck check_metadata;
  IdSource& ids;
  const Clock& clock;
  delivery::Waiter& waiter;
  Logger& log;
  const SchedulerConfig config;
  Numbers numbers;
  Timetables timetables;
};

}  // namespace wfo::scheduler
