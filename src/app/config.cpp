#include "app/config.h"

#include <algorithm>

#include "events/types.h"
#include "ledger/ledger_sink.h"

namespace wfo::app {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::seconds;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kGiB = 1024 * kMiB;

struct LevelName {
  std::string_view name;
  LogLevel level;
};
constexpr LevelName kLevels[] = {{"debug", LogLevel::debug},
                                 {"info", LogLevel::info},
                                 {"warn", LogLevel::warn},
                                 {"error", LogLevel::error},
                                 {"off", LogLevel::off}};

Setting log_level_setting(LogLevel& level) {
  std::vector<std::string> names;
  for (const auto& [name, value] : kLevels) names.emplace_back(name);
  return choice_setting(
      "log_level", "lines for the operator on stderr", std::move(names),
      [&level](std::string_view text) {
        for (const auto& [name, value] : kLevels) {
          if (name == text) level = value;
        }
      },
      [&level] {
        for (const auto& [name, value] : kLevels) {
          if (value == level) return std::string(name);
        }
        return std::string();
      });
}

bool is_amqp(std::string_view address) { return address.starts_with("amqp://") || address.starts_with("amqps://"); }

/// A connection string as libpq takes it: a URL, or `key=value` pairs.
bool is_postgres(std::string_view address) {
  if (address.starts_with("postgresql://") || address.starts_with("postgres://")) return true;
  const auto equals = address.find('=');
  return equals != std::string_view::npos && equals > 0 && std::ranges::all_of(address.substr(0, equals), [](char c) {
           return (c >= 'a' && c <= 'z') || c == '_' || c == ' ';
         });
}

constexpr std::string_view kPairs = "SQLite with the embedded bus, SQLite with RabbitMQ, PostgreSQL with RabbitMQ";

}  // namespace

StoreKind store_kind(const Config& config) {
  return config.store_url.empty() || config.store_url == "sqlite" ? StoreKind::sqlite : StoreKind::postgres;
}

BusKind bus_kind(const Config& config) { return is_amqp(config.bus_url) ? BusKind::rabbitmq : BusKind::embedded; }

store::postgres::PostgresStoreConfig postgres_store_config(const Config& config) {
  store::postgres::PostgresStoreConfig postgres = config.postgres;
  postgres.url = config.store_url;
  postgres.connect_timeout = std::chrono::duration_cast<seconds>(config.postgres_connect_timeout);
  return postgres;
}

store::postgres::PostgresLedgerConfig postgres_ledger_config(const Config& config) {
  store::postgres::PostgresLedgerConfig postgres = config.postgres_ledger;
  postgres.url = config.ledger_url.empty() ? config.store_url : config.ledger_url;
  postgres.connect_timeout = std::chrono::duration_cast<seconds>(config.postgres_connect_timeout);
  postgres.statement_timeout = config.postgres.statement_timeout;
  postgres.lock_timeout = config.postgres.lock_timeout;
  postgres.tcp_timeout = config.postgres.tcp_timeout;
  return postgres;
}

bus::RabbitConfig rabbit_config(const Config& config) {
  bus::RabbitConfig rabbit = config.rabbit;
  rabbit.url = config.bus_url;
  rabbit.heartbeat = std::chrono::duration_cast<seconds>(config.bus_heartbeat);
  rabbit.body_bytes_max = std::max(rabbit.body_bytes_max, config.event_bytes_max);
  return rabbit;
}

std::vector<std::string> Config::all_roles() {
  return {std::string(events::kOrchestratorRole), std::string(events::kRiskAnalyticsRole),
          std::string(events::kForecastingRole), std::string(events::kRecommendationsRole),
          std::string(events::kLoggingRole)};
}

std::vector<Setting> settings_of(Config& config) {
  const milliseconds least_age = hours(1);
  const milliseconds most_age = days(3650);
  std::vector<Setting> settings;
  const auto add = [&](Setting setting) { settings.push_back(std::move(setting)); };

  add(path_setting("data_dir", config.data_dir, "where the installation keeps its files"));
  add(tenant_setting("tenant", config.tenant, "the tenant of commands and requests that name none"));
  add(log_level_setting(config.log_level));
  add(list_setting("roles", config.roles, "what this process does", Config::all_roles()));
  add(duration_setting("shutdown_grace", config.shutdown_grace, milliseconds(0), seconds(9),
                       "for requests in hand when the process is told to stop"));
  add(duration_setting("self_check_interval", config.self_check_interval, seconds(1), hours(24),
                       "between two looks for runs that nothing would wake"));
  add(size_setting("event_bytes_max", config.event_bytes_max, kKiB, 16 * kMiB, "of one event"));

  api::HttpConfig& http = config.http;
  add(text_setting("http.host", http.host, "loopback only, until there are users and tokens",
                   "an address of loopback"));
  add(count_setting("http.port", config.http_port, 0, 65535, "TCP port; 0: any that is free"));
  add(count_setting("http.threads", http.threads, 1, 256, "that handle requests"));
  add(count_setting("http.connections_max", http.connections_max, 1, 100'000, "beyond: 503"));
  add(count_setting("http.handlers_waiting_max", http.handlers_waiting_max, 1, 100'000,
                    "requests that wait for a thread; beyond: 503"));
  add(size_setting("http.body_bytes_max", http.body_bytes_max, kKiB, 64 * kMiB, "beyond: 413"));
  add(duration_setting("http.idle_timeout", http.idle_timeout, milliseconds(100), hours(1),
                       "for the next byte of a request or an answer"));
  add(duration_setting("http.request_timeout", http.request_timeout, milliseconds(100), hours(1),
                       "for a whole request, and then for its answer"));

  auto& store = config.store;
  add(address_setting("store.url", config.store_url, "PostgreSQL, shared by many processes; none: SQLite in data_dir",
                      "nothing, sqlite, postgresql://… or a connection string (host=… dbname=…)",
                      [](std::string_view text) { return text.empty() || text == "sqlite" || is_postgres(text); }));
  auto& postgres = config.postgres;
  const milliseconds least_limit(100);
  add(text_setting("store.schema", postgres.schema, "PostgreSQL: holds all tables", "1 to 63 of a-z, 0-9, _ and -"));
  add(count_setting("store.connections", postgres.connections, 1, 100, "PostgreSQL: transactions and reads at once"));
  add(duration_setting("store.connect_timeout", config.postgres_connect_timeout, seconds(2), seconds(300),
                       "PostgreSQL: for each host of the address"));
  add(duration_setting("store.statement_timeout", postgres.statement_timeout, least_limit, hours(1),
                       "PostgreSQL: a statement that takes longer fails"));
  add(duration_setting("store.lock_timeout", postgres.lock_timeout, least_limit, hours(1),
                       "PostgreSQL: so does one that waits longer for a lock"));
  add(duration_setting("store.idle_in_transaction_timeout", postgres.idle_in_transaction_timeout, least_limit, hours(1),
                       "PostgreSQL: a process that stands still loses its locks"));
  add(duration_setting("store.tcp_timeout", postgres.tcp_timeout, seconds(1), std::chrono::minutes(10),
                       "PostgreSQL: a peer that does not answer is given up"));
  add(count_setting("store.page_bytes", store.page_bytes, 512, 65536, "of a new file; a power of two"));
  add(count_setting("store.cache_kib", store.cache_kib, 1024, 64 * 1024 * 1024, "pages in memory, per connection"));
  add(count_setting("store.checkpoint_pages", store.checkpoint_pages, 16, 1'000'000,
                    "the write-ahead log is moved into the file when it has this many"));
  add(count_setting("store.readers", store.readers, 1, 64, "reads at once beside the writer"));
  add(size_setting("store.log_cache", store.log_cache_bytes_max, kMiB, 16 * kGiB,
                   "the newest events, kept in memory for their consumers"));
  add(size_setting("store.disk_free_min", store.disk_free_min_bytes, 0, std::size_t{1} << 50,
                   "with less free space no new work is taken"));

  auto& ledger = config.ledger;
  add(address_setting("ledger.url", config.ledger_url,
                      "another PostgreSQL database or role for the ledger; none: as store.url",
                      "nothing, postgresql://… or a connection string (host=… dbname=…)",
                      [](std::string_view text) { return text.empty() || is_postgres(text); }));
  add(list_setting("ledger.bindings", config.ledger_bindings, "what the ledger records: topic patterns, `#` is all"));
  auto& postgres_ledger = config.postgres_ledger;
  add(text_setting("ledger.schema", postgres_ledger.schema, "PostgreSQL: holds the ledger's tables",
                   "1 to 63 of a-z, 0-9, _ and -"));
  add(count_setting("ledger.connections", postgres_ledger.connections, 2, 100,
                    "PostgreSQL: appends and reads at once"));
  add(count_setting("ledger.page_bytes", ledger.page_bytes, 512, 65536, "of a new file; a power of two"));
  add(count_setting("ledger.cache_kib", ledger.cache_kib, 1024, 64 * 1024 * 1024, "pages in memory, per connection"));
  add(count_setting("ledger.checkpoint_pages", ledger.checkpoint_pages, 16, 1'000'000,
                    "the write-ahead log is moved into the file when it has this many"));

  add(list_setting("workflows.definitions", config.workflow_files,
                   "YAML files, the first is the default; none: the built-in opportunity-analysis"));
  add(size_setting("workflows.step_result_bytes_max", config.orchestrator.step_result_bytes_max, kKiB, 16 * kMiB,
                   "beyond: the step fails"));
  add(size_setting("workflows.run_results_bytes_max", config.orchestrator.run_results_bytes_max, kKiB, 64 * kMiB,
                   "of all steps together; beyond: the step fails"));
  add(count_setting("workflows.cached_runs_max", config.orchestrator.cached_runs_max, 0, 10'000'000,
                    "active runs kept in memory"));

  auto& jobs = config.jobs;
  add(list_setting(
      "jobs.definitions", config.job_files,
      "YAML files with jobs and schedules; they add to the built-in ones and replace those of their names"));
  add(count_setting("jobs.workers", jobs.workers, 1, 64, "runs of built-in jobs at work at once"));
  add(duration_setting("jobs.heartbeat_timeout", jobs.heartbeat_timeout, seconds(1), hours(1),
                       "of silence, after which another worker takes a run over"));
  add(count_setting("jobs.takeovers_max", jobs.takeovers_max, 0, 1'000, "a run that is taken over more often fails"));
  add(count_setting("jobs.backfill_slice_rows", config.risk_snapshot_backfill.slice_rows, 1, 10'000,
                    "evaluations in memory, and in a transaction, of risk-snapshot-backfill"));
  add(count_setting("jobs.outcome_slice_rows", config.outcome_sync.slice_rows, 1, 10'000,
                    "opportunities in memory, and in a transaction, of outcome-sync"));

  add(path_setting("analysis.risk_rules", config.risk_rules_file, "instead of the built-in config/risk-rules.yaml"));
  add(path_setting("analysis.playbook", config.playbook_file, "instead of the built-in config/playbook.yaml"));

  auto& rabbit = config.rabbit;
  const milliseconds least_wait(1);
  const milliseconds most_wait = std::chrono::minutes(10);
  add(address_setting("bus.url", config.bus_url, "RabbitMQ; none: the log in SQLite is the bus",
                      "nothing, embedded, amqp://… or amqps://…",
                      [](std::string_view text) { return text.empty() || text == "embedded" || is_amqp(text); }));
  add(count_setting("bus.prefetch", rabbit.prefetch, 1, 65'535, "RabbitMQ: messages in hand of one consumer"));
  add(count_setting("bus.confirm_window", rabbit.confirm_window, 1, 65'535,
                    "RabbitMQ: published messages that are not confirmed yet"));
  add(duration_setting("bus.heartbeat", config.bus_heartbeat, seconds(1), hours(1),
                       "RabbitMQ: a peer that is silent for twice as long is gone"));
  add(duration_setting("bus.connect_timeout", rabbit.connect_timeout, least_wait, most_wait,
                       "RabbitMQ: connecting and logging in"));
  add(duration_setting("bus.answer_timeout", rabbit.answer_timeout, least_wait, most_wait,
                       "RabbitMQ: one answer to a declaration or the like"));
  add(duration_setting("bus.retry_first", rabbit.retry_first, least_wait, most_wait,
                       "RabbitMQ: before the second try to connect; doubles"));
  add(duration_setting("bus.retry_max", rabbit.retry_max, least_wait, most_wait,
                       "RabbitMQ: between two tries to connect"));
  add(text_setting("bus.tls_ca_file", rabbit.tls.ca_file, "RabbitMQ: PEM; none: the system's authorities", "a path"));
  add(text_setting("bus.tls_certificate_file", rabbit.tls.certificate_file, "RabbitMQ: PEM, what we show", "a path"));
  add(text_setting("bus.tls_key_file", rabbit.tls.key_file, "RabbitMQ: PEM, without passphrase", "a path"));
  add(bool_setting("bus.tls_verify_peer", rabbit.tls.verify_peer, "RabbitMQ: false: whoever answers is believed"));
  add(bool_setting("bus.tls_verify_hostname", rabbit.tls.verify_hostname,
                   "RabbitMQ: false: any name in a good certificate is believed"));

  auto& delivery = config.delivery;
  add(count_setting("delivery.batch_max", delivery.batch_max, 1, 65'536, "messages a transaction"));
  add(count_setting("delivery.attempts_max", delivery.attempts_max, 1, 100,
                    "tries of a message that cannot be handled, before it is set aside"));
  add(duration_setting("delivery.retry_first", delivery.retry_first, milliseconds(1), hours(1),
                       "before the second try; doubles"));
  add(duration_setting("delivery.retry_max", delivery.retry_max, milliseconds(1), hours(1), "between two tries"));

  auto& relay = config.relay;
  add(count_setting("relay.batch_max", relay.batch_max, 1, 65'536, "events that are published and marked together"));
  add(duration_setting("relay.confirm_wait", relay.confirm_wait, milliseconds(100), std::chrono::minutes(10),
                       "for the broker's answers, after the last event of a batch was sent"));
  add(duration_setting("relay.return_first", relay.return_first, milliseconds(10), hours(1),
                       "how long an event for which the broker has no queue waits; doubles each time"));
  add(duration_setting("relay.return_max", relay.return_max, milliseconds(10), hours(24), "and waits at most"));

  auto& retention = config.retention;
  add(duration_setting("retention.runs", retention.runs, least_age, most_age, "finished runs with their results"));
  add(duration_setting("retention.triggers", retention.triggers, least_age, most_age,
                       "a trigger that comes again later starts a run again"));
  add(duration_setting("retention.inbox", retention.inbox, least_age, most_age,
                       "an event that comes again later is handled again"));
  add(duration_setting("retention.dead_letters", retention.dead_letters, least_age, most_age, "settled ones"));
  add(duration_setting("retention.job_runs", retention.job_runs, least_age, most_age, "ended runs of jobs"));
  add(duration_setting("retention.fires", retention.fires, least_age, most_age,
                       "what became of the fires of schedules"));
  add(duration_setting("retention.log", retention.log, milliseconds(0), most_age,
                       "events that every consumer has handled"));
  add(duration_setting("retention.interval", retention.interval, seconds(1), days(1), "between two rounds"));
  return settings;
}

Result<void> check(const Config& config) {
  TRY(delivery::check(config.retention));
  for (const auto& [path, bytes] : {std::pair{"store.page_bytes", config.store.page_bytes},
                                    std::pair{"ledger.page_bytes", config.ledger.page_bytes}}) {
    if ((bytes & (bytes - 1)) != 0) {
      return fail(ErrorCode::invalid_argument, "{} is '{}'; allowed: a power of two from 512 to 65536", path, bytes);
    }
  }
  if (config.data_dir.empty()) {
    return fail(ErrorCode::invalid_argument, "data_dir is ''; allowed: the path of a folder");
  }
  if (config.ledger_bindings.empty()) {
    return fail(ErrorCode::invalid_argument, "ledger.bindings is empty; allowed: at least one");
  }
  const std::string& host = config.http.host;
  if (host != "localhost" && host != "::1" && !host.starts_with("127.")) {
    return fail(ErrorCode::invalid_argument, "http.host is '{}'; allowed: an address of loopback, like 127.0.0.1",
                host);
  }
  if (!config.ledger_url.empty() && store_kind(config) == StoreKind::sqlite) {
    return fail(
        ErrorCode::invalid_argument,
        "ledger.url names PostgreSQL, and store.url is '{}'; allowed: a ledger in PostgreSQL beside a store there",
        config.store_url);
  }
  if (store_kind(config) == StoreKind::postgres) {
    TRY(store::postgres::check(postgres_store_config(config)));
    TRY(store::postgres::check(postgres_ledger_config(config)));
  }
  if (bus_kind(config) == BusKind::rabbitmq) TRY(bus::check(rabbit_config(config)));
  if (config.roles.empty()) return fail(ErrorCode::invalid_argument, "roles is empty; allowed: at least one");
  return {};
}

Result<void> check_pair(const Config& config) {
  if (store_kind(config) == StoreKind::postgres && bus_kind(config) == BusKind::embedded) {
    return fail(ErrorCode::invalid_argument,
                "store.url names PostgreSQL, and bus.url is '{}'; allowed: {}: set bus.url (--bus amqp://…)",
                config.bus_url, kPairs);
  }
  return {};
}

}  // namespace wfo::app
