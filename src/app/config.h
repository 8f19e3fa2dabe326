#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "api/http_server.h"
#include "app/settings.h"
#include "base/log.h"
#include "base/result.h"
#include "delivery/consumer_loop.h"
#include "delivery/retention.h"
#include "ledger/ledger_sink.h"
#include "orchestrator/orchestrator.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"

namespace wfo::app {

inline constexpr std::string_view kVersion = "0.1.0";

/// Everything that can be configured: the parts' own structs, with their own defaults.
struct Config {
  std::filesystem::path data_dir = "data";
  TenantId tenant = *TenantId::parse("00000000-0000-4000-8000-000000000001");  // where a request names none
  LogLevel log_level = LogLevel::info;
  std::vector<std::string> roles = all_roles();
  milliseconds shutdown_grace{5'000};  // for requests in hand
  milliseconds self_check_interval{60'000};

  api::HttpConfig http;
  int http_port = 3051;  // becomes http.port where the process serves
  store::sqlite::SqliteStoreConfig store;
  store::sqlite::SqliteLedgerConfig ledger;
  std::vector<std::string> ledger_bindings = ledger::default_bindings();
  std::size_t event_bytes_max = events::kEventBytesMax;
  orchestrator::OrchestratorConfig orchestrator;
  delivery::ConsumerLoopConfig delivery;
  delivery::RetentionConfig retention;
  std::vector<std::string> workflow_files;  // definitions; none: the built-in one
  std::filesystem::path risk_rules_file;    // "": built in
  std::filesystem::path playbook_file;      // "": built in

  [[nodiscard]] static std::vector<std::string> all_roles();
};

/// The settings bound to the fields of `config`, which must outlive them.
[[nodiscard]] std::vector<Setting> settings_of(Config& config);
/// What no single setting can say. Errors: `invalid_argument`.
[[nodiscard]] Result<void> check(const Config& config);

}  // namespace wfo::app
