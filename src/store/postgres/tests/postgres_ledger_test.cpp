#include "store/postgres/postgres_ledger.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <tuple>

#include "events/contracts.h"
#include "store/sqlite/sqlite_ledger.h"
#include "support/eventually.h"
#include "support/postgres_schema.h"
#include "support/servers.h"
#include "support/temporary_directory.h"

// What PostgreSQL does in its own way, and what several processes on one ledger do to each other; what every ledger
// does is tested in tests/contract.
namespace wfo::store::postgres {
namespace {

const Timestamp kStart = *parse_timestamp("2026-03-01T09:30:00.000Z");
const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
constexpr std::string_view kConsumer = "logging_service";
constexpr milliseconds kShort{50};
constexpr milliseconds kLong = std::chrono::hours(1);

const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  return **loaded;
}

template <class T>
T id(std::int64_t n) {
  return T(Uuid::v5(kTenant.value(), std::to_string(n)));
}

LedgerRecord record(std::int64_t n, const TenantId& tenant = kTenant, std::string_view text = "",
                    std::string_view type = "test.a") {
  LedgerRecord made;
  made.event = contracts()
                   .read(fmt::format(R"({{"id":"{}","type":"{}","tenantId":"{}","data":{{"n":{},"text":"{}"}}}})",
                                     id<EventId>(n).to_string(), type, tenant.to_string(), n, text),
                         kStart + milliseconds(n))
                   .value();
  made.received_at = kStart;
  return made;
}

std::string error_of(const auto& result) { return result ? "" : result.error().message; }

class PostgresLedgerTest : public testing::Test {
 protected:
  static test::PostgresServer& server() { return test::PostgresServer::shared(); }

  [[nodiscard]] PostgresLedgerConfig config() const {
    PostgresLedgerConfig made;
    made.url = server().ledger_url();
    made.schema = schema_.name();
    made.application = schema_.name();
    return made;
  }
  Result<std::unique_ptr<PostgresLedger>> try_open(const PostgresLedgerConfig& config) {
    return PostgresLedger::open(config, Logger::silent(), metrics_);
  }
  std::unique_ptr<PostgresLedger> open() {
    auto opened = try_open(config());
    if (!opened) throw std::runtime_error(opened.error().message);
    return *std::move(opened);
  }
  static auto append(PostgresLedger& ledger, std::vector<LedgerRecord> records,
                     std::optional<Epoch> epoch = std::nullopt) {
    return ledger.append(records, {}, kConsumer, 1, epoch);
  }
  static std::vector<LedgerEntry> entries(PostgresLedger& ledger, const TenantId& tenant = kTenant) {
    auto found = ledger.search({.tenant = tenant, .limit = 10'000});
    EXPECT_TRUE(found) << error_of(found);
    return found ? *std::move(found) : std::vector<LedgerEntry>{};
  }
  /// Each index once, each event once.
  static void expect_whole(PostgresLedger& ledger, const TenantId& tenant, std::size_t count) {
    const auto all = entries(ledger, tenant);
    ASSERT_EQ(all.size(), count);
    std::vector<EventId> ids;
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i].index, static_cast<LedgerIndex>(i));
      ids.push_back(all[i].event_id);
    }
    std::ranges::sort(ids);
    EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
    EXPECT_EQ(ledger.size(tenant), static_cast<LedgerIndex>(count));
  }
  /// Sessions of this test's ledgers for which `condition` holds.
  std::int64_t sessions(std::string_view condition) {
    return std::stoll(test::PostgresSession(server().superuser_url())
                          .execute(fmt::format("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' "
                                               "AND {}",
                                               schema_.name(), condition)));
  }
  void end_sessions(std::string_view condition = "true") {
    test::PostgresSession(server().superuser_url())
        .execute(fmt::format("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE "
                             "application_name = '{}' AND {}",
                             schema_.name(), condition));
  }
  std::optional<Lease> acquire_when_expired(PostgresLedger& ledger, std::string_view holder) {
    std::optional<Lease> lease;
    EXPECT_TRUE(test::eventually([&] {
      const auto taken = ledger.acquire(holder, kLong);
      EXPECT_TRUE(taken) << error_of(taken);
      if (taken) lease = *taken;
      return lease || !taken;
    }));
    return lease;
  }

  test::PostgresSchema schema_{server().ledger_url()};
  Metrics metrics_;
};

/// Holds the tenant's row, so that whoever appends to it waits.
class HeldTenant {
 public:
  HeldTenant(const std::string& url, const std::string& schema, const TenantId& tenant) : session_(url) {
    session_.execute(
        fmt::format("BEGIN; SELECT FROM {}.tenants WHERE id = '{}' FOR UPDATE", schema, tenant.to_string()));
  }
  void let_go() { session_.execute("ROLLBACK"); }

 private:
  test::PostgresSession session_;
};

TEST_F(PostgresLedgerTest, KeepsItsLeaseHoweverManySearchesThereAre) {
  PostgresLedgerConfig one_connection = config();
  one_connection.connections = 1;
  const auto opened = try_open(one_connection);
  ASSERT_TRUE(opened) << error_of(opened);
  PostgresLedger& ledger = **opened;
  test::PostgresSession session(server().ledger_url());
  session.execute(fmt::format("BEGIN; LOCK TABLE {}.tenants", schema_.name()));
  auto busy = std::async(std::launch::async, [&] { return ledger.size(kTenant); });
  EXPECT_TRUE(test::eventually([&] { return sessions("wait_event_type = 'Lock'") == 1; }));
  const auto lease = ledger.acquire("a", kLong);
  EXPECT_TRUE(lease && *lease) << error_of(lease);
  EXPECT_TRUE(ledger.release(1));
  session.execute("COMMIT");
  EXPECT_EQ(busy.get(), 0);
}

TEST_F(PostgresLedgerTest, SaysWhichServerDatabaseAndSchemaItFound) {
  const std::string description = open()->description();
  EXPECT_NE(description.find("PostgreSQL 15."), std::string::npos) << description;
  EXPECT_NE(description.find(fmt::format("127.0.0.1:{}", server().port())), std::string::npos) << description;
  EXPECT_NE(description.find("database wfo_ledger"), std::string::npos) << description;
  EXPECT_NE(description.find(fmt::format("schema {} version 1", schema_.name())), std::string::npos) << description;
}

TEST_F(PostgresLedgerTest, LetsTheOneBeforeFinishAndNobodyElseAppendWhenTheRightIsTakenOverInTheMiddle) {
  const auto first = open();
  const auto second = open();
  ASSERT_TRUE(append(*first, {record(1)}));
  const auto old = first->acquire("first", kShort);
  ASSERT_TRUE(old && *old);

  HeldTenant held(server().ledger_url(), schema_.name(), kTenant);
  auto appending = std::async(std::launch::async, [&] { return append(*first, {record(2)}, (*old)->epoch); });
  EXPECT_TRUE(test::eventually([&] { return sessions("wait_event_type = 'Lock'") == 1; }));
  auto taking_over = std::async(std::launch::async, [&] { return acquire_when_expired(*second, "second"); });
  EXPECT_TRUE(test::eventually([&] { return sessions("wait_event_type = 'Lock'") == 2; }))
      << "it must wait for the append that has begun";
  held.let_go();

  EXPECT_EQ(appending.get(), std::vector{LedgerOutcome::appended});
  const auto taken_over = taking_over.get();
  ASSERT_TRUE(taken_over);
  EXPECT_EQ(taken_over->epoch, (*old)->epoch + 1);
  const auto late = append(*first, {record(3)}, (*old)->epoch);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::conflict);
  EXPECT_EQ(append(*second, {record(2), record(4)}, taken_over->epoch),
            (std::vector{LedgerOutcome::repeated, LedgerOutcome::appended}));
  expect_whole(*second, kTenant, 3);
}

TEST_F(PostgresLedgerTest, HoldsNoLocksForAProcessThatIsGone) {
  const auto first = open();
  const auto second = open();
  ASSERT_TRUE(append(*first, {record(1)}));
  HeldTenant held(server().ledger_url(), schema_.name(), kTenant);
  auto appending = std::async(std::launch::async, [&] { return append(*first, {record(2)}); });
  EXPECT_TRUE(test::eventually([&] { return sessions("wait_event_type = 'Lock'") == 1; }));
  end_sessions("wait_event_type = 'Lock'");
  const auto lost = appending.get();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::unavailable) << lost.error().message;
  held.let_go();
  EXPECT_TRUE(append(*second, {record(3)}));
  EXPECT_EQ(append(*first, {record(2), record(3)}), (std::vector{LedgerOutcome::appended, LedgerOutcome::repeated}));
  expect_whole(*second, kTenant, 3);
}

TEST_F(PostgresLedgerTest, GoesOnWhenItsSessionsWereEndedMeanwhile) {
  const auto ledger = open();
  ASSERT_TRUE(append(*ledger, {record(1)}));
  end_sessions();
  EXPECT_EQ(append(*ledger, {record(1), record(2)}), (std::vector{LedgerOutcome::repeated, LedgerOutcome::appended}));
  end_sessions();
  expect_whole(*ledger, kTenant, 2);
}

TEST_F(PostgresLedgerTest, TakesFromSeveralProcessesAtOnceWithoutGapsDoublesOrDeadlocks) {
  constexpr std::int64_t kThreads = 4;
  constexpr std::int64_t kBatches = 25;
  constexpr std::int64_t kTenants = 5;
  std::vector<std::unique_ptr<PostgresLedger>> ledgers;
  ledgers.push_back(open());
  ledgers.push_back(open());
  std::atomic<std::int64_t> appended = 0;
  {
    std::vector<std::jthread> threads;
    for (std::int64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::int64_t batch = 0; batch < kBatches; ++batch) {
          std::vector<LedgerRecord> records;
          // Every event is brought by two threads, and the tenants are new to all and come in different orders.
          for (std::int64_t i = 0; i < 2 * kTenants; ++i) {
            const std::int64_t tenant = thread % 2 == 0 ? i % kTenants : kTenants - 1 - i % kTenants;
            const std::int64_t n =
                ((thread / 2) * kBatches + batch) * 2 * kTenants + (i / kTenants) * kTenants + tenant;
            records.push_back(record(n, id<TenantId>(tenant), "", fmt::format("test.{}", n % 7)));
          }
          QuarantinedMessage odd;
          odd.reason = "not JSON";
          const auto outcomes = ledgers[static_cast<std::size_t>(thread % 2)]->append(
              records, {&odd, 1}, fmt::format("consumer {}", batch % 2), batch);
          ASSERT_TRUE(outcomes) << error_of(outcomes);
          appended += std::ranges::count(*outcomes, LedgerOutcome::appended);
          EXPECT_EQ(std::ranges::count(*outcomes, LedgerOutcome::forged), 0);
        }
      });
    }
  }
  EXPECT_EQ(appended, kThreads / 2 * kBatches * 2 * kTenants);
  for (std::int64_t tenant = 0; tenant < kTenants; ++tenant) {
    expect_whole(*ledgers.front(), id<TenantId>(tenant), kThreads / 2 * kBatches * 2);
  }
  EXPECT_EQ(ledgers.front()->tenants().value().size(), static_cast<std::size_t>(kTenants));
  const auto set_aside = ledgers.front()->quarantined(std::nullopt, 0, 1'000).value();
  ASSERT_EQ(set_aside.size(), static_cast<std::size_t>(kThreads * kBatches));
  EXPECT_EQ(set_aside.back().id, kThreads * kBatches) << "no gaps: who reads on misses none that commits late";
}

RC_GTEST_PROP(PostgresLedgerProperty, AnswersAsSqliteDoes, ()) {
  static test::PostgresSchema schema(test::PostgresServer::shared().ledger_url());
  static Metrics metrics;
  static const ManualClock clock(kStart);
  static const test::TemporaryDirectory folder;
  static const auto postgres =
      PostgresLedger::open({.url = test::PostgresServer::shared().ledger_url(), .schema = schema.name()},
                           Logger::silent(), metrics)
          .value();
  static const auto sqlite =
      sqlite::SqliteLedger::open({.directory = folder.path()}, clock, Logger::silent(), metrics).value();
  static std::int64_t cases = 0;
  // Each case has tenants of its own.
  const std::int64_t base = ++cases * 1'000;
  for (int batch = 0; batch < 4; ++batch) {
    std::vector<LedgerRecord> records;
    for (int i = *rc::gen::inRange(0, 12); i > 0; --i) {
      auto one = record(*rc::gen::inRange<std::int64_t>(0, 8), id<TenantId>(base + *rc::gen::inRange(0, 3)),
                        *rc::gen::element<std::string>("", "", "other"), *rc::gen::element<std::string>("test.a", "b"));
      if (*rc::gen::arbitrary<bool>()) one.workflow = id<WorkflowId>(*rc::gen::inRange(0, 3));
      if (*rc::gen::arbitrary<bool>()) one.opportunity = id<OpportunityId>(*rc::gen::inRange(0, 3));
      records.push_back(one);
    }
    RC_ASSERT(postgres->append(records, {}, "c", batch).value() == sqlite->append(records, {}, "c", batch).value());
  }
  for (std::int64_t tenant = base; tenant < base + 3; ++tenant) {
    LedgerQuery query{.tenant = id<TenantId>(tenant)};
    if (*rc::gen::arbitrary<bool>()) query.type = *rc::gen::element<std::string>("test.a", "b", "none");
    if (*rc::gen::arbitrary<bool>()) query.from = kStart + milliseconds(*rc::gen::inRange(0, 8));
    if (*rc::gen::arbitrary<bool>()) query.to = kStart + milliseconds(*rc::gen::inRange(0, 8));
    if (*rc::gen::arbitrary<bool>()) query.workflow = id<WorkflowId>(*rc::gen::inRange(0, 3));
    if (*rc::gen::arbitrary<bool>()) query.opportunity = id<OpportunityId>(*rc::gen::inRange(0, 3));
    query.after = *rc::gen::inRange(-1, 5);
    query.limit = *rc::gen::inRange<std::size_t>(1, 20);
    RC_ASSERT(postgres->size(query.tenant).value() == sqlite->size(query.tenant).value());
    const auto found = postgres->search(query).value();
    const auto expected = sqlite->search(query).value();
    RC_ASSERT(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      RC_ASSERT(found[i].index == expected[i].index);
      RC_ASSERT(found[i].event_id == expected[i].event_id);
      RC_ASSERT(found[i].bytes == expected[i].bytes);
      RC_ASSERT(found[i].type == expected[i].type);
    }
    const auto aside = postgres->quarantined(query.tenant, 0, 100).value();
    const auto aside_expected = sqlite->quarantined(query.tenant, 0, 100).value();
    RC_ASSERT(aside.size() == aside_expected.size());
    for (std::size_t i = 0; i < aside.size(); ++i) {
      RC_ASSERT(aside[i].event_id == aside_expected[i].event_id);
      RC_ASSERT(aside[i].reason == aside_expected[i].reason);
      RC_ASSERT(aside[i].bytes == aside_expected[i].bytes);
    }
  }
}

TEST_F(PostgresLedgerTest, RefusesASchemaThatIsNewerThanTheProgram) {
  open();
  schema_.execute("INSERT INTO migrations (number) VALUES (99)");
  const auto opened = try_open(config());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::conflict);
  EXPECT_NE(opened.error().message.find(schema_.name()), std::string::npos) << opened.error().message;
  EXPECT_NE(opened.error().message.find("99"), std::string::npos) << opened.error().message;
}

TEST_F(PostgresLedgerTest, AppendsAsARoleThatCannotChangeWhatWasRecorded) {
  open();
  const std::string role = schema_.name() + "_role";
  test::PostgresSession superuser(server().superuser_url());
  superuser.execute(fmt::format("CREATE ROLE {} LOGIN PASSWORD 'least'", role));
  PostgresLedgerConfig least = config();
  least.url = fmt::format("host=127.0.0.1 port={} user={} password=least dbname=wfo_ledger", server().port(), role);

  const auto refused = try_open(least);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().code, ErrorCode::internal) << refused.error().message;
  EXPECT_EQ(refused.error().message.find("least"), std::string::npos) << refused.error().message;

  schema_.execute(
      fmt::format("GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}; "
                  "GRANT INSERT ON entries, quarantine, event_types TO {1}",
                  schema_.name(), role));
  const auto lacking = try_open(least);
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(lacking.error().message.find("UPDATE ON tenants"), std::string::npos) << lacking.error().message;
  EXPECT_NE(lacking.error().message.find(role), std::string::npos) << lacking.error().message;

  schema_.execute(fmt::format("GRANT INSERT, UPDATE ON leases, tenants, blocks, positions TO {}", role));
  {
    const auto opened = try_open(least);
    ASSERT_TRUE(opened) << opened.error().message;
    const auto lease = (*opened)->acquire("least", kLong);
    ASSERT_TRUE(lease && *lease) << error_of(lease);
    EXPECT_EQ(append(**opened, {record(1), record(1), record(1, kTenant, "forged")}, (*lease)->epoch),
              (std::vector{LedgerOutcome::appended, LedgerOutcome::repeated, LedgerOutcome::forged}));
    expect_whole(**opened, kTenant, 1);
    test::PostgresSession session(least.url);
    for (const auto table : {"entries", "quarantine"}) {
      EXPECT_THROW(session.execute(fmt::format("DELETE FROM {}.{}", schema_.name(), table)), std::runtime_error);
      EXPECT_THROW(session.execute(fmt::format("UPDATE {}.{} SET received_at = 0", schema_.name(), table)),
                   std::runtime_error);
    }
  }
  schema_.execute(fmt::format("DROP SCHEMA {} CASCADE", schema_.name()));
  superuser.execute("DROP ROLE " + role);
}

TEST_F(PostgresLedgerTest, SaysWhyItCannotOpenAndNeverThePassword) {
  const auto refused = [&](const std::string& url) {
    PostgresLedgerConfig wrong = config();
    wrong.url = url;
    wrong.connect_timeout = std::chrono::seconds(2);
    const auto opened = try_open(wrong);
    EXPECT_FALSE(opened) << url;
    return opened ? Error{} : opened.error();
  };
  const std::string host = fmt::format("127.0.0.1:{}", server().port());
  for (const auto& [url, code, says] : std::vector<std::tuple<std::string, ErrorCode, std::string>>{
           {fmt::format("postgresql://wfo_ledger:s3cret@{}/wfo_ledger", host), ErrorCode::unavailable,
            "password authentication failed"},
           {fmt::format("postgresql://wfo_ledger:s3cret@{}/nowhere", host), ErrorCode::unavailable, "check"},
           {"postgresql://wfo:s3cret@no.such.host.invalid/wfo", ErrorCode::unavailable, "no.such.host.invalid"},
           {"postgresql://wfo:s3cret@127.0.0.1:1/wfo", ErrorCode::unavailable, "Connection refused"},
           {"wfo:s3cret", ErrorCode::invalid_argument, "url"},
           {"host=localhost passwrd=s3cret", ErrorCode::invalid_argument, "url"},
           {server().nobody_url(), ErrorCode::invalid_argument, "GRANT CREATE ON DATABASE"}}) {
    const Error error = refused(url);
    EXPECT_EQ(error.code, code) << error.message;
    EXPECT_NE(error.message.find(says), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("ledger"), std::string::npos) << error.message;
    EXPECT_EQ(error.message.find("s3cret"), std::string::npos) << error.message;
  }
}

TEST_F(PostgresLedgerTest, LiesInAnotherDatabaseWhoseRoleHasNoRightOnTheOther) {
  PostgresLedgerConfig in_store = config();
  in_store.url = server().ledger_url();
  in_store.url.replace(in_store.url.rfind("/wfo_ledger"), std::string("/wfo_ledger").size(), "/wfo");
  const auto refused = try_open(in_store);
  ASSERT_FALSE(refused) << "the ledger's role must not get into the store's database";
  EXPECT_TRUE(append(*open(), {record(1)}));
}

TEST(PostgresLedgerConfig, NamesTheFieldThatIsWrong) {
  const auto message = [](auto change) {
    PostgresLedgerConfig config;
    config.url = "postgresql://somebody@localhost/wfo";
    change(config);
    const auto checked = check(config);
    EXPECT_TRUE(checked || checked.error().code == ErrorCode::invalid_argument);
    return error_of(checked);
  };
  EXPECT_EQ(message([](auto&) {}), "");
  for (const auto& [field, wrong] : std::vector<std::pair<std::string, std::string>>{
           {"connections", message([](auto& config) { config.connections = 0; })},
           {"connect_timeout", message([](auto& config) { config.connect_timeout = std::chrono::seconds(1); })},
           {"statement_timeout", message([](auto& config) { config.statement_timeout = milliseconds(99); })},
           {"lock_timeout", message([](auto& config) { config.lock_timeout = milliseconds(0); })},
           {"tcp_timeout", message([](auto& config) { config.tcp_timeout = milliseconds(999); })},
           {"schema", message([](auto& config) { config.schema = "Ledger; DROP"; })},
           {"url", message([](auto& config) { config.url = "nonsense"; })}}) {
    EXPECT_TRUE(wrong.starts_with("ledger: " + field)) << wrong;
    EXPECT_NE(wrong, "");
  }
}

}  // namespace
}  // namespace wfo::store::postgres
