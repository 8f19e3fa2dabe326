#include "app/backends.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include "app/secrets.h"
#include "bus/embedded/embedded_bus.h"
#include "store/postgres/postgres_ledger.h"
#include "store/postgres/postgres_store.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"

namespace wfo::app {
namespace {

/// As the broker's list of connections and PostgreSQL's of sessions show this process.
std::string process_name(const Config& config) {
  const bool all = config.roles == Config::all_roles();
  return fmt::format("wfo {} pid {}", all ? "all roles" : fmt::format("{}", fmt::join(config.roles, ",")), getpid());
}

Result<Stores> open_sqlite(const Config& config, const events::Contracts& contracts, const Clock& clock, Logger& log,
                           Metrics& metrics) {
  Stores stores;
  TRY_ASSIGN(stores.directory, store::sqlite::DataDirectory::open(config.data_dir));
  auto store_config = config.store;
  store_config.directory = stores.directory->path();
  store_config.outbox = bus_kind(config) == BusKind::rabbitmq;
  auto ledger_config = config.ledger;
  ledger_config.directory = stores.directory->path();
  TRY_ASSIGN(auto store, store::sqlite::SqliteStore::open(store_config, contracts, clock, log, metrics));
  stores.log = store.get();
  stores.store = std::move(store);
  TRY_ASSIGN(stores.ledger, store::sqlite::SqliteLedger::open(ledger_config, clock, log, metrics));
  stores.description = config.data_dir.string();
  return stores;
}

Result<Stores> open_postgres(const Config& config, const events::Contracts& contracts, const Clock& clock, Logger& log,
                             Metrics& metrics) {
  auto store_config = postgres_store_config(config);
  store_config.application = process_name(config);
  const auto ledger_config = postgres_ledger_config(config);
  TRY(store::postgres::check(store_config));
  TRY(store::postgres::check(ledger_config));
  // What is refused from here on is the server's answer, not a setting that could never be.
  Stores stores;
  auto store = store::postgres::PostgresStore::open(std::move(store_config), contracts, clock, log, metrics);
  if (!store) return std::unexpected(server_error(std::move(store).error(), config));
  stores.log = store->get();
  stores.store = *std::move(store);
  auto ledger = store::postgres::PostgresLedger::open(ledger_config, log, metrics);
  if (!ledger) return std::unexpected(server_error(std::move(ledger).error(), config));
  stores.ledger = *std::move(ledger);
  stores.description = fmt::format("PostgreSQL {}, schema {}", redacted(config.store_url), config.postgres.schema);
  return stores;
}

Result<Buses> open_rabbitmq(const Config& config, std::vector<bus::QueueSpec> topology,
                            const events::Contracts& contracts, const Clock& clock, Logger& log, Metrics& metrics) {
  auto rabbit = rabbit_config(config);
  rabbit.topology = std::move(topology);
  rabbit.name = process_name(config);
  TRY(bus::check(rabbit));
  auto opened = bus::RabbitBus::open(std::move(rabbit), contracts, clock, log, metrics);
  if (!opened) return std::unexpected(server_error(std::move(opened).error(), config));
  bus::RabbitBus* const broker = opened->get();
  Buses buses;
  buses.publisher = &broker->publisher();
  buses.trouble = [broker] {
    auto trouble = broker->consuming_trouble();
    return trouble.empty() ? broker->publishing_trouble() : trouble;
  };
  buses.description = fmt::format("RabbitMQ at {}", redacted(config.bus_url));
  buses.bus = *std::move(opened);
  return buses;
}

}  // namespace

Error server_error(Error error, const Config& config) {
  if (error.code == ErrorCode::invalid_argument) error.code = ErrorCode::unavailable;
  for (const auto& address : {config.store_url, config.ledger_url, config.bus_url}) {
    error.message = without(std::move(error.message), secrets_in(address));
  }
  return error;
}

Result<Stores> open_stores(const Config& config, const events::Contracts& contracts, const Clock& clock, Logger& log,
                           Metrics& metrics) {
  if (store_kind(config) == StoreKind::sqlite) return open_sqlite(config, contracts, clock, log, metrics);
  return open_postgres(config, contracts, clock, log, metrics);
}

Result<Buses> open_bus(const Config& config, std::vector<bus::QueueSpec> topology, Stores& stores,
                       const events::Contracts& contracts, const Clock& clock, Logger& log, Metrics& metrics) {
  if (bus_kind(config) == BusKind::rabbitmq) {
    return open_rabbitmq(config, std::move(topology), contracts, clock, log, metrics);
  }
  Buses buses;
  buses.bus = std::make_unique<bus::EmbeddedBus>(*stores.store, *stores.log);
  buses.trouble = [] { return std::string(); };
  buses.description = "embedded bus";
  return buses;
}

}  // namespace wfo::app
