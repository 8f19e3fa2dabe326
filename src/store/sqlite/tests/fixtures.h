#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "events/contracts.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"
#include "support/unsynced_vfs.h"

/// For the tests of what SQLite does in its own way; what every store does is tested in tests/contract.
namespace wfo::store::sqlite::fixtures {

inline const Timestamp kStart = *parse_timestamp("2026-03-01T09:30:00.000Z");
inline const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");

inline const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  EXPECT_TRUE(loaded);
  return **loaded;
}

template <class T>
T id(std::int64_t n) {
  return T(Uuid::v5(kTenant.value(), std::to_string(n)));
}

inline events::EventPtr event(std::int64_t n, std::size_t padding = 0) {
  auto made =
      contracts().read(fmt::format(R"({{"id":"{}","type":"test.a","tenantId":"{}","data":{{"n":{},"padding":"{}"}}}})",
                                   id<EventId>(n).to_string(), kTenant.to_string(), n, std::string(padding, 'x')),
                       kStart);
  EXPECT_TRUE(made) << made.error().message;
  return *made;
}

inline workflow::Run run(std::int64_t n) {
  workflow::Run made;
  made.id = id<WorkflowId>(n);
  made.tenant = kTenant;
  made.opportunity = id<OpportunityId>(n);
  made.created_at = made.updated_at = kStart;
  made.deadline = kStart + std::chrono::minutes(30);
  return made;
}

struct AllTypes final : TypeFilter {
  [[nodiscard]] bool wants(std::string_view) const override { return true; }
};

/// Opens stores with what tests rarely care about.
class Opener {
 public:
  Result<std::unique_ptr<SqliteStore>> store(SqliteStoreConfig config) {
    return SqliteStore::open(std::move(config), contracts(), clock, Logger::silent(), metrics);
  }
  Result<std::unique_ptr<SqliteLedger>> ledger(SqliteLedgerConfig config) {
    return SqliteLedger::open(std::move(config), clock, Logger::silent(), metrics);
  }
  /// A line of the metrics, or "".
  [[nodiscard]] std::string metric(std::string_view name) const {
    const std::string text = "\n" + metrics.text();
    const auto at = text.find(fmt::format("\n{} ", name));
    return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }

  ManualClock clock{kStart};
  Metrics metrics;
};

}  // namespace wfo::store::sqlite::fixtures
