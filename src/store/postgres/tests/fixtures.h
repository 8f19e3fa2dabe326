#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "events/contracts.h"
#include "store/postgres/postgres_store.h"
#include "support/postgres_schema.h"
#include "support/servers.h"

namespace wfo::store::postgres {

inline const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
inline const Timestamp kStart = *parse_timestamp("2026-03-01T09:30:00.000Z");

inline const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return **loaded;
}

template <class T>
T id(std::int64_t n) {
  return T(Uuid::v5(kTenant.value(), std::to_string(n)));
}

inline events::EventPtr event(std::int64_t n, std::size_t padding = 0) {
  auto made =
      contracts().read(fmt::format(R"({{"id":"{}","type":"test.a","tenantId":"{}","data":{{"n":{},"text":"{}"}}}})",
                                   id<EventId>(n).to_string(), kTenant.to_string(), n, std::string(padding, 'x')),
                       kStart);
  if (!made) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

/// A running run with three steps, the first of them completed.
inline workflow::Run run(std::int64_t n, std::int64_t opportunity) {
  workflow::Run made;
  made.id = id<WorkflowId>(n);
  made.tenant = kTenant;
  made.opportunity = id<OpportunityId>(opportunity);
  made.definition_name = "analysis";
  made.definition_version = "1.0.0";
  made.created_at = made.updated_at = kStart;
  made.deadline = kStart + std::chrono::hours(1);
  made.steps.resize(3);
  for (std::size_t i = 0; i < made.steps.size(); ++i) made.steps[i].id = id<StepId>(n * 10 + static_cast<int>(i));
  made.steps[0].state = workflow::Completed{kStart, true, R"({"n":1})"};
  return made;
}
inline workflow::Run run(std::int64_t n) { return run(n, n); }

struct AllTypes final : TypeFilter {
  [[nodiscard]] bool wants(std::string_view) const override { return true; }
};

inline std::string error_of(const auto& result) { return result ? "" : result.error().message; }

/// A call's outcome without its value.
template <class T>
Result<void> done(const Result<T>& result) {
  return result ? Result<void>() : std::unexpected(result.error());
}

/// `url` with something else in place of what stands there.
inline std::string replaced(std::string url, std::string_view from, std::string_view to) {
  const auto at = url.find(from);
  if (at == std::string::npos) throw std::runtime_error(fmt::format("there is no {} in the url", from));
  return url.replace(at, from.size(), to);
}
inline std::string password_of(std::string_view url) {
  const auto begin = url.find(':', url.find("//")) + 1;
  return std::string(url.substr(begin, url.find('@') - begin));
}

/// A schema on a server, and stores on it, as many processes would open them.
class PostgresTest : public testing::Test {
 protected:
  explicit PostgresTest(test::PostgresServer& server = test::PostgresServer::shared())
      : server_(server), schema_(server.url()) {}

  [[nodiscard]] PostgresStoreConfig config() const {
    PostgresStoreConfig made;
    made.url = server_.url();
    made.schema = schema_.name();
    made.application = schema_.name();
    return made;
  }
  Result<std::unique_ptr<PostgresStore>> try_open(const PostgresStoreConfig& config) {
    return PostgresStore::open(config, contracts(), clock_, Logger::silent(), metrics_);
  }
  std::unique_ptr<PostgresStore> open(const PostgresStoreConfig& config) {
    auto opened = try_open(config);
    if (!opened) throw std::runtime_error(opened.error().message);
    return *std::move(opened);
  }
  std::unique_ptr<PostgresStore> open() { return open(config()); }

  static Result<void> append(PostgresStore& store, std::vector<events::EventPtr> batch) {
    return store.transact([&](Transaction& t) { return t.log().append(batch); });
  }
  static Result<void> set_position(PostgresStore& store, std::string_view consumer, Sequence position) {
    return store.transact([&](Transaction& t) { return t.positions().set(consumer, position); });
  }
  static Sequence position(PostgresStore& store, std::string_view consumer) {
    Sequence found = -1;
    const auto done = store.read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(found, t.positions().get(consumer));
      return {};
    });
    EXPECT_TRUE(done) << error_of(done);
    return found;
  }
  /// All of the log; its sequences must have no gap.
  static std::vector<LogEntry> entries(PostgresStore& store) {
    auto page = store.read(0, AllTypes(), 1'000'000, std::size_t{1} << 30);
    EXPECT_TRUE(page) << error_of(page);
    if (!page) return {};
    for (std::size_t i = 0; i < page->entries.size(); ++i) {
      EXPECT_EQ(page->entries[i].sequence, static_cast<Sequence>(i + 1));
    }
    return std::move(page->entries);
  }
  std::string as_superuser(const std::string& sql) const {
    return test::PostgresSession(server_.superuser_url()).execute(sql);
  }
  /// Ends the sessions of this test's stores for which `condition` holds; they are gone on return.
  void end_sessions(std::string_view condition = "true") const {
    as_superuser(
        fmt::format("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE "
                    "application_name = '{}' AND {}",
                    schema_.name(), condition));
  }

  test::PostgresServer& server_;
  test::PostgresSchema schema_;
  ManualClock clock_{kStart};
  Metrics metrics_;
};

}  // namespace wfo::store::postgres
