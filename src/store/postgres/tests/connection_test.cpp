#include "store/postgres/detail/connection.h"

#include <future>
#include <limits>
#include <span>
#include <thread>

#include "store/postgres/detail/pool.h"
#include "store/postgres/detail/tables.h"
#include "store/postgres/tests/fixtures.h"
#include "support/eventually.h"

namespace wfo::store::postgres {
namespace {

class ConnectionTest : public PostgresTest {
 protected:
  ConnectionTest() {
    options_.url = server_.url();
    options_.schema = schema_.name();
    options_.application = schema_.name();
  }
  Connection connect() {
    auto opened = Connection::open(options_);
    if (!opened) throw std::runtime_error(opened.error().message);
    return *std::move(opened);
  }
  static Rows rows(Connection& connection, const char* sql, const Params& params = {}) {
    auto found = connection.run(sql, params);
    if (!found) throw std::runtime_error(found.error().message);
    return *std::move(found);
  }
  ConnectionOptions options_;
};

TEST_F(ConnectionTest, BringsEachTypeThereAndBack) {
  Connection connection = connect();
  const Uuid id = Uuid::v5(kTenant.value(), "x");
  const std::string bytes("\0\xff'\\", 4);
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
                               std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(rows(connection, "SELECT $1", Params().add(n))[0].integer(0), n);
  }
  for (const double x : {0.0, -0.1, 1e300, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(rows(connection, "SELECT $1", Params().add(x))[0].real(0), x);
  }
  const Rows found = rows(connection, "SELECT $1, $2, $3, $4, $5, $6, 7::smallint, -8::integer, $5::text, $7::uuid",
                          Params().add(true).add(false).add(id).add_text("é'\\").add_text("").add_bytes(bytes).add(
                              std::optional<WorkflowId>()));
  EXPECT_TRUE(found[0].boolean(0));
  EXPECT_FALSE(found[0].boolean(1));
  EXPECT_EQ(found[0].uuid(2), id);
  EXPECT_EQ(found[0].text(3), "é'\\");
  EXPECT_EQ(found[0].text(4), "");
  EXPECT_FALSE(found[0].is_null(4));
  EXPECT_EQ(found[0].text(5), bytes);
  EXPECT_EQ(found[0].integer(6), 7);
  EXPECT_EQ(found[0].integer(7), -8);
  EXPECT_EQ(found[0].optional_id<WorkflowId>(9), std::nullopt);
}

TEST_F(ConnectionTest, BringsArraysThereAndBackAsRows) {
  Connection connection = connect();
  Array ids(Type::uuid), numbers(Type::bigint), reals(Type::real), flags(Type::boolean), texts(Type::text),
      bytes(Type::bytea);
  ids.add(kTenant).add_null();
  numbers.add(-5).add(std::optional<Timestamp>());
  reals.add(0.5).add_null();
  flags.add(true).add(false);
  texts.add_text("{\"a\",b}").add_text("");
  bytes.add_bytes(std::string_view("\0\1", 2)).add_null();
  const Rows found = rows(connection, "SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
                          Params().add(ids).add(numbers).add(reals).add(flags).add(texts).add(bytes));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id<TenantId>(0), kTenant);
  EXPECT_EQ(found[0].integer(1), -5);
  EXPECT_EQ(found[0].real(2), 0.5);
  EXPECT_TRUE(found[0].boolean(3));
  EXPECT_EQ(found[0].text(4), "{\"a\",b}");
  EXPECT_EQ(found[0].text(5), std::string("\0\1", 2));
  for (const int column : {0, 1, 2, 5}) EXPECT_TRUE(found[1].is_null(column));
  EXPECT_EQ(found[1].text(4), "");
  EXPECT_TRUE(rows(connection, "SELECT unnest($1)", Params().add(Array(Type::uuid))).empty());
}

TEST_F(ConnectionTest, SendsMoreThanTheNetworkHoldsWhileTheServerAnswersAsMuch) {
  Connection connection = connect();
  const std::string big(8 << 20, 'x');
  std::vector<Call> calls;
  for (int i = 0; i < 4; ++i) calls.push_back({"SELECT $1", Params().add_text(big)});
  const auto results = connection.run_all(calls);
  ASSERT_TRUE(results) << error_of(results);
  for (const Rows& one : *results) EXPECT_EQ(one[0].text_view(0), big);
}

TEST_F(ConnectionTest, StopsAtTheStatementThatFailsAndIsUsableAfterwards) {
  Connection connection = connect();
  connection.begin(Connection::Mode::write);
  const auto failed = connection.run_all(
      {{"CREATE TEMP TABLE one (n integer UNIQUE)"}, {"INSERT INTO one VALUES (1), (1)"}, {"SELECT 1"}});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::conflict);
  EXPECT_EQ(connection.sqlstate(), "23505");
  EXPECT_FALSE(connection.worth_another_try());
  connection.roll_back();
  EXPECT_TRUE(connection.usable());
  EXPECT_EQ(rows(connection, "SELECT 41 + 1")[0].integer(0), 42);
}

TEST_F(ConnectionTest, CommitsNothingIfAnErrorWasPassedOver) {
  Connection connection = connect();
  ASSERT_TRUE(connection.execute("CREATE TEMP TABLE one (n integer)"));
  connection.begin(Connection::Mode::write);
  EXPECT_TRUE(connection.run("INSERT INTO one VALUES (1)"));
  EXPECT_FALSE(connection.run("SELECT 1 / 0"));
  const auto committed = connection.commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().code, ErrorCode::internal);
  EXPECT_EQ(rows(connection, "SELECT count(*) FROM one")[0].integer(0), 0);
}

TEST_F(ConnectionTest, CommitsNothingIfTheLastStatementFails) {
  Connection connection = connect();
  ASSERT_TRUE(connection.execute("CREATE TEMP TABLE one (n integer)"));
  connection.begin(Connection::Mode::write);
  EXPECT_TRUE(connection.run("INSERT INTO one VALUES (1)"));
  const Call last{"SELECT 1 / 0"};
  EXPECT_FALSE(connection.commit({&last, 1}));
  EXPECT_TRUE(connection.usable());
  EXPECT_EQ(rows(connection, "SELECT count(*) FROM one")[0].integer(0), 0);
}

TEST_F(ConnectionTest, KnowsWhatAFailureMeansToTheCaller) {
  struct Case {
    std::string_view sqlstate;
    ErrorCode code;
  };
  for (const auto& [sqlstate, code] : {
           Case{"23505", ErrorCode::conflict},         Case{"40001", ErrorCode::unavailable},
           Case{"40P01", ErrorCode::unavailable},      Case{"55P03", ErrorCode::unavailable},
           Case{"57014", ErrorCode::unavailable},      Case{"57P01", ErrorCode::unavailable},
           Case{"53100", ErrorCode::unavailable},      Case{"53300", ErrorCode::unavailable},
           Case{"25006", ErrorCode::unavailable},      Case{"42501", ErrorCode::unavailable},
           Case{"42P01", ErrorCode::unavailable},      Case{"58030", ErrorCode::unavailable},
           Case{"XX001", ErrorCode::corruption},       Case{"XX002", ErrorCode::corruption},
           Case{"22021", ErrorCode::invalid_argument}, Case{"54000", ErrorCode::invalid_argument},
           Case{"26000", ErrorCode::unavailable},      Case{"0A000", ErrorCode::unavailable},
           Case{"42601", ErrorCode::internal},         Case{"23502", ErrorCode::internal},
       }) {
    EXPECT_EQ(error_code(sqlstate), code) << sqlstate;
  }
}

TEST_F(ConnectionTest, TakesAsManyRoundTripsForManyRunsAsForOne) {
  open();
  Connection connection = connect();
  const Tables::Context context{contracts(), clock_, nullptr, true};
  const auto round_trips = [&](std::int64_t first, std::int64_t count) {
    const auto before = connection.round_trips();
    std::vector<workflow::Run> runs;
    for (std::int64_t n = first; n < first + count; ++n) runs.push_back(run(n));
    std::vector<NewRun> fresh;
    std::vector<WorkflowId> ids;
    std::vector<OpportunityKey> keys;
    std::vector<events::EventPtr> log;
    for (const auto& one : runs) {
      fresh.push_back({&one, true});
      ids.push_back(one.id);
      keys.push_back({one.tenant, one.opportunity});
      log.push_back(event(first + static_cast<std::int64_t>(log.size())));
    }
    connection.begin(Connection::Mode::write);
    Tables tables(connection, Connection::Mode::write, context);
    RunStore& store = tables.runs();
    EXPECT_EQ(store.insert(fresh), std::vector<bool>(runs.size(), true));
    EXPECT_TRUE(store.active_runs(keys));
    const auto loaded = store.load(ids);
    std::vector<workflow::Run> after = runs;
    std::vector<RunUpdate> updates;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      after[i].steps[1].state = workflow::Completed{kStart, true, "{}"};
      updates.push_back({&*(*loaded)[i], &after[i]});
    }
    EXPECT_EQ(store.update(updates), std::vector<bool>(runs.size(), true));
    EXPECT_TRUE(tables.log().append(log));
    const auto writing = tables.log_table().writing();
    EXPECT_TRUE(connection.commit({&*writing, 1}));
    return connection.round_trips() - before;
  };
  const auto one = round_trips(1, 1);
  EXPECT_EQ(one, 5U) << "insert, look up, load, update, log and commit";
  EXPECT_EQ(round_trips(2, 1), one);
  EXPECT_EQ(round_trips(100, 300), one);
}

TEST_F(ConnectionTest, TakesOneRoundTripForManyOpportunitiesOfManyTenantsAndForManyDeadLetters) {
  open();
  Connection connection = connect();
  const Tables::Context context{contracts(), clock_, nullptr, true};
  std::vector<Opportunity> opportunities(300);
  std::vector<OpportunityKey> keys;
  std::vector<DeadLetter> letters(300);
  for (std::size_t i = 0; i < 300; ++i) {
    opportunities[i].tenant = letters[i].tenant = id<TenantId>(static_cast<std::int64_t>(i));
    opportunities[i].id = id<OpportunityId>(static_cast<std::int64_t>(i % 7));
    letters[i].id = id<DeadLetterId>(static_cast<std::int64_t>(i));
    keys.push_back({opportunities[i].tenant, opportunities[i].id});
  }
  connection.begin(Connection::Mode::write);
  Tables tables(connection, Connection::Mode::write, context);
  const auto trips = [&](const auto& call) {
    const auto before = connection.round_trips();
    const auto done = call();
    EXPECT_TRUE(done) << error_of(done);
    return connection.round_trips() - before;
  };
  EXPECT_EQ(trips([&] { return tables.opportunities().upsert(opportunities); }), 1U);
  EXPECT_EQ(trips([&] { return tables.opportunities().load(keys); }), 1U);
  EXPECT_EQ(trips([&] { return tables.dead_letters().insert(letters); }), 1U);
  EXPECT_TRUE(connection.commit());
}

TEST_F(ConnectionTest, LeavesWhatTheConnectionStringSetsButNotWhatItRestsOn) {
  options_.url +=
      "?options=-c%20statement_timeout%3D1234%20-c%20enable_hashjoin%3Don%20-c%20search_path%3Dpublic%20-c%20"
      "default_transaction_isolation%3Dserializable";
  Connection connection = connect();
  const auto setting = [&](std::string_view name) {
    return rows(connection, "SELECT current_setting($1)", Params().add_text(name))[0].text(0);
  };
  EXPECT_EQ(setting("statement_timeout"), "1234ms");
  EXPECT_EQ(setting("lock_timeout"), "10s");
  EXPECT_EQ(setting("idle_in_transaction_session_timeout"), "5s");
  EXPECT_EQ(setting("enable_hashjoin"), "on");
  EXPECT_EQ(setting("enable_seqscan"), "off");
  EXPECT_EQ(setting("search_path"), postgres::quoted(schema_.name()));
  EXPECT_EQ(setting("default_transaction_isolation"), "read committed");
}

TEST_F(ConnectionTest, WaitsForAnAnswerAsLongAsTheConnectionStringLetsAStatementTake) {
  options_.statement_timeout = options_.lock_timeout = options_.answer_margin = milliseconds(100);
  options_.url += "?options=-c%20statement_timeout%3D0%20-c%20lock_timeout%3D0";
  Connection connection = connect();
  const auto slept = connection.run("SELECT pg_sleep(0.6)");
  EXPECT_TRUE(slept) << error_of(slept);
}

// The pool.

class PoolTest : public ConnectionTest {
 protected:
  Pool pool_{options_, 2, "store", Logger::silent(), metrics_};
};

TEST_F(PoolTest, LendsNoMoreThanItsConnectionsAndWaitsForOneToComeBack) {
  auto first = pool_.take();
  auto second = std::make_optional(pool_.take());
  ASSERT_TRUE(first && *second);
  std::atomic<bool> third_has_one = false;
  auto third = std::async(std::launch::async, [&] {
    const auto taken = pool_.take();
    third_has_one = true;
    return taken.has_value();
  });
  EXPECT_EQ(third.wait_for(milliseconds(50)), std::future_status::timeout);
  EXPECT_FALSE(third_has_one);
  second.reset();
  EXPECT_TRUE(third.get());
}

TEST_F(PoolTest, GivesUpWhenNoneComesBackAndSaysWhatAllowsMore) {
  Pool pool(options_, 2, "store", Logger::silent(), metrics_, "store.connections");
  const auto first = pool.take();
  auto second = std::make_optional(pool.take());
  ASSERT_TRUE(first && *second);
  const auto refused = pool.take(milliseconds(10));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_EQ(refused.error().message,
            "store: all connections to PostgreSQL (2) are in use, for 10ms now; store.connections allows more");
  second.reset();
  EXPECT_TRUE(pool.take(milliseconds(10)));
}

TEST_F(PoolTest, ThrowsAwayWhatIsBrokenAndMakesNewOnes) {
  {
    const auto taken = pool_.take();
    ASSERT_TRUE(taken);
    end_sessions();
    EXPECT_FALSE((*taken)->run("SELECT 1"));
    EXPECT_FALSE((*taken)->usable());
  }
  const auto taken = pool_.take();
  ASSERT_TRUE(taken) << error_of(taken);
  EXPECT_TRUE((*taken)->run("SELECT 1"));
}

TEST_F(PoolTest, RemembersThatTheServerIsAwayForAWhile) {
  ConnectionOptions nowhere = options_;
  nowhere.url = replaced(nowhere.url, fmt::format(":{}/", server_.port()), ":1/");
  Pool pool(nowhere, 2, "store", Logger::silent(), metrics_);
  EXPECT_TRUE(pool.healthy()) << "nobody has tried yet";
  EXPECT_FALSE(pool.take());
  const auto health = pool.healthy();
  ASSERT_FALSE(health);
  EXPECT_EQ(health.error().code, ErrorCode::unavailable);
  const auto& failures = metrics_.counter("postgres_connect_failures_total",
                                          "Connections to PostgreSQL that could not be made", {{"part", "store"}});
  const double before = failures.value();
  for (int i = 0; i < 1'000; ++i) EXPECT_FALSE(pool.take());
  EXPECT_LE(failures.value(), before + 5) << "it is not asked each time";
}

}  // namespace
}  // namespace wfo::store::postgres
