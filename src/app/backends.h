#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/time.h"
#include "bus/bus.h"
#include "bus/publisher.h"
#include "bus/rabbitmq/rabbit_bus.h"
#include "events/contracts.h"
#include "store/ledger_store.h"
#include "store/sqlite/data_directory.h"
#include "store/store.h"

/// Which stores and which bus an installation stands on: the one place that names concrete ones.
namespace wfo::app {

/// What is durable, opened and on the newest schema. Everything handed in outlives it.
struct Stores {
  std::optional<store::sqlite::DataDirectory> directory;  // of SQLite: held as long as this is
  std::unique_ptr<store::Store> store;
  std::unique_ptr<store::LedgerStore> ledger;
  store::LogReader* log = nullptr;  // the store's
  std::string description;          // for people: which server, which database, which schema; no secrets
};

/// Errors: `conflict` another process serves the directory, or the schema is newer than this program; `unavailable` a
/// file or a server cannot be used: says why and what to do; `invalid_argument` the configuration.
[[nodiscard]] Result<Stores> open_stores(const Config& config, const events::Contracts& contracts, const Clock& clock,
                                         Logger& log, Metrics& metrics);

/// An error on the way to a server, as a person sees it: without the passwords of its address, and `unavailable` where
/// a server refused what is no fault of the configuration's text (a role without a right, a server too old).
[[nodiscard]] Error server_error(Error error, const Config& config);

/// How events travel.
struct Buses {
  std::unique_ptr<bus::Bus> bus;
  bus::Publisher* publisher = nullptr;   // null: the log is the bus
  std::function<std::string()> trouble;  // why nothing moves; "" if it does. Any thread
  std::string description;               // for people; no secrets
};

/// `topology`: every queue of the installation, whether its role runs in this process or not. A broker that is merely
/// absent is no error: it may come later. Errors: `unavailable` it refuses us, says why and what to do;
/// `invalid_argument` the configuration.
[[nodiscard]] Result<Buses> open_bus(const Config& config, std::vector<bus::QueueSpec> topology, Stores& stores,
                                     const events::Contracts& contracts, const Clock& clock, Logger& log,
                                     Metrics& metrics);

}  // namespace wfo::app
