#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "api/http_server.h"
#include "app/settings.h"
#include "base/log.h"
#include "base/result.h"
#include "bus/rabbitmq/rabbit_bus.h"
#include "delivery/consumer_loop.h"
#include "delivery/relay.h"
#include "delivery/retention.h"
#include "jobs/batch_job_worker.h"
#include "jobs/outcome_sync.h"
#include "jobs/risk_snapshot_backfill.h"
#include "ledger/ledger_sink.h"
#include "orchestrator/orchestrator.h"
#include "scheduler/scheduler.h"
#include "store/postgres/postgres_ledger.h"
#include "store/postgres/postgres_store.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"

namespace wfo::app {

/// Everything that can be configured: the parts' own structs, with their own defaults.
struct Config {
  std::filesystem::path data_dir = "data";
  TenantId tenant = *TenantId::parse("00000000-0000-4000-8000-000000000001");  // where a request names none
  LogLevel log_level = LogLevel::info;
  std::vector<std::string> roles = all_roles();
  milliseconds shutdown_grace{5'000};  // for requests in hand
  milliseconds self_check_interval{60'000};

  api::HttpConfig http;
  int http_port = 3051;    // becomes http.port where the process serves
  std::string store_url;   // "": SQLite in `data_dir`
  std::string ledger_url;  // "": where the store is
  std::string bus_url;     // "": embedded
  store::sqlite::SqliteStoreConfig store;
  store::sqlite::SqliteLedgerConfig ledger;
  store::postgres::PostgresStoreConfig postgres;  // `url` and `application` are put in when it is opened
  milliseconds postgres_connect_timeout{5'000};
  store::postgres::PostgresLedgerConfig postgres_ledger;  // and its limits, which are the store's
  bus::RabbitConfig rabbit;                               // `url`, `topology` and `name` are put in when it is opened
  milliseconds bus_heartbeat{10'000};
  std::vector<std::string> ledger_bindings = ledger::default_bindings();
  std::size_t event_bytes_max = events::kEventBytesMax;
  orchestrator::OrchestratorConfig orchestrator;
  delivery::ConsumerLoopConfig delivery;
  delivery::RelayConfig relay;
  delivery::RetentionConfig retention;
  std::vector<std::string> workflow_files;  // definitions; none: the built-in one
  scheduler::SchedulerConfig scheduler;
  jobs::BatchJobConfig jobs;
  jobs::RiskSnapshotBackfillConfig risk_snapshot_backfill;
  jobs::OutcomeSyncConfig outcome_sync;
  std::vector<std::string> job_files;     // jobs and schedules, besides the built-in ones
  std::filesystem::path risk_rules_file;  // "": built in
  std::filesystem::path playbook_file;    // "": built in

  [[nodiscard]] static std::vector<std::string> all_roles();
};

/// The settings bound to the fields of `config`, which must outlive them.
[[nodiscard]] std::vector<Setting> settings_of(Config& config);
/// What no single setting can say. Errors: `invalid_argument`.
[[nodiscard]] Result<void> check(const Config& config);
/// Whether there is such a pair of store and bus; for who opens both. Errors: `invalid_argument`.
[[nodiscard]] Result<void> check_pair(const Config& config);

enum class StoreKind { sqlite, postgres };
enum class BusKind { embedded, rabbitmq };
[[nodiscard]] StoreKind store_kind(const Config& config);
[[nodiscard]] BusKind bus_kind(const Config& config);
/// `config.postgres` and `config.postgres_ledger` with the address and what is bound elsewhere.
[[nodiscard]] store::postgres::PostgresStoreConfig postgres_store_config(const Config& config);
[[nodiscard]] store::postgres::PostgresLedgerConfig postgres_ledger_config(const Config& config);
/// `config.rabbit` with the address and what is bound elsewhere.
[[nodiscard]] bus::RabbitConfig rabbit_config(const Config& config);

}  // namespace wfo::app
