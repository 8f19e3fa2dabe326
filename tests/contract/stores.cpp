#include <fmt/format.h>

#include "contract/store_contract.h"
#include "store/postgres/postgres_ledger.h"
#include "store/postgres/postgres_store.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"
#include "support/postgres_schema.h"
#include "support/servers.h"
#include "support/temporary_directory.h"

namespace wfo::contract {
namespace {

class SqliteStoreHarness final : public StoreHarness {
 public:
  SqliteStoreHarness(store::sqlite::SqliteStoreConfig config, const events::Contracts& known, const Clock& clock)
      : config_(std::move(config)), contracts_(known), clock_(clock) {
    config_.directory = directory_.path();
    config_.disk_free_min_bytes = 0;
    restart();
  }
  store::Store& store() override { return *store_; }
  store::LogReader& log() override { return *store_; }
  void restart() override {
    store_.reset();
    auto opened = store::sqlite::SqliteStore::open(config_, contracts_, clock_, Logger::silent(), metrics_);
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = *std::move(opened);
  }

 private:
  test::TemporaryDirectory directory_;
  store::sqlite::SqliteStoreConfig config_;
  const events::Contracts& contracts_;
  const Clock& clock_;
  Metrics metrics_;
  std::unique_ptr<store::sqlite::SqliteStore> store_;
};

StoreUnderTest sqlite_store(std::string name, store::sqlite::SqliteStoreConfig config) {
  return {std::move(name), config.outbox, [config](const events::Contracts& known, const Clock& clock) {
            return std::make_unique<SqliteStoreHarness>(config, known, clock);
          }};
}

/// In a schema of its own.
class PostgresStoreHarness final : public StoreHarness {
 public:
  PostgresStoreHarness(store::postgres::PostgresStoreConfig config, const events::Contracts& known, const Clock& clock)
      : config_(std::move(config)), contracts_(known), clock_(clock) {
    config_.url = test::PostgresServer::shared().url();
    config_.schema = schema_.name();
    config_.lease_clock = &clock_;
    restart();
  }
  store::Store& store() override { return *store_; }
  store::LogReader& log() override { return *store_; }
  void restart() override {
    store_.reset();
    auto opened = store::postgres::PostgresStore::open(config_, contracts_, clock_, Logger::silent(), metrics_);
    if (!opened) throw std::runtime_error(opened.error().message);
    store_ = *std::move(opened);
  }

 private:
  test::PostgresSchema schema_{test::PostgresServer::shared().url()};
  store::postgres::PostgresStoreConfig config_;
  const events::Contracts& contracts_;
  const Clock& clock_;
  Metrics metrics_;
  std::unique_ptr<store::postgres::PostgresStore> store_;
};

StoreUnderTest postgres_store(std::string name, store::postgres::PostgresStoreConfig config) {
  return {std::move(name), config.outbox, [config](const events::Contracts& known, const Clock& clock) {
            return std::make_unique<PostgresStoreHarness>(config, known, clock);
          }};
}

class SqliteLedgerHarness final : public LedgerHarness {
 public:
  explicit SqliteLedgerHarness(const Clock& clock) : clock_(clock) { restart(); }
  store::LedgerStore& ledger() override { return *ledger_; }
  void restart() override {
    ledger_.reset();
    auto opened =
        store::sqlite::SqliteLedger::open({.directory = directory_.path()}, clock_, Logger::silent(), metrics_);
    if (!opened) throw std::runtime_error(opened.error().message);
    ledger_ = *std::move(opened);
  }

 private:
  test::TemporaryDirectory directory_;
  const Clock& clock_;
  Metrics metrics_;
  std::unique_ptr<store::sqlite::SqliteLedger> ledger_;
};

/// In a schema of its own.
class PostgresLedgerHarness final : public LedgerHarness {
 public:
  PostgresLedgerHarness() {
    config_.url = test::PostgresServer::shared().ledger_url();
    config_.schema = schema_.name();
    restart();
  }
  store::LedgerStore& ledger() override { return *ledger_; }
  void restart() override {
    ledger_.reset();
    auto opened = store::postgres::PostgresLedger::open(config_, Logger::silent(), metrics_);
    if (!opened) throw std::runtime_error(opened.error().message);
    ledger_ = *std::move(opened);
  }

 private:
  test::PostgresSchema schema_{test::PostgresServer::shared().ledger_url()};
  store::postgres::PostgresLedgerConfig config_;
  Metrics metrics_;
  std::unique_ptr<store::postgres::PostgresLedger> ledger_;
};

}  // namespace

std::vector<StoreUnderTest> stores() {
  return {
      sqlite_store("sqlite", {}),
      // With an outbox, no memory of the log and the least of everything else, so that all goes through the file.
      sqlite_store("sqlite_with_the_least_memory", {.page_bytes = 512,
                                                    .cache_kib = 1024,
                                                    .reader_cache_kib = 256,
                                                    .readers = 2,
                                                    .checkpoint_pages = 16,
                                                    .group_max = 2,
                                                    .queue_max = 2,
                                                    .log_cache_bytes_max = 0,
                                                    .outbox = true}),
      postgres_store("postgres", {.outbox = false}),
      // Two connections are the least where one thread reads while another writes.
      postgres_store("postgres_with_an_outbox_and_the_fewest_connections", {.connections = 2}),
  };
}

std::vector<LedgerUnderTest> ledgers() {
  return {{"sqlite", [](const Clock& clock) { return std::make_unique<SqliteLedgerHarness>(clock); }},
          {"postgres", [](const Clock&) { return std::make_unique<PostgresLedgerHarness>(); }}};
}

const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return **loaded;
}

events::EventPtr event(std::string_view type, std::uint32_t n, std::string_view data, const TenantId& tenant,
                       Timestamp timestamp) {
  return value(contracts().read(
      fmt::format(
          R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"{}","tenantId":"{}","source":"tests","data":{}}})",
          id<EventId>(n).to_string(), type, format_timestamp(timestamp), tenant.to_string(), data),
      kStart));
}

}  // namespace wfo::contract
