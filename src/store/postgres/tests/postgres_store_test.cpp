#include "store/postgres/postgres_store.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <latch>
#include <map>
#include <random>
#include <thread>

#include "store/postgres/tests/fixtures.h"
#include "support/eventually.h"

// What PostgreSQL does in its own way, and what several processes on one database do to each other; what every store
// does is tested in tests/contract.
namespace wfo::store::postgres {
namespace {

using PostgresStoreTest = PostgresTest;

// Opening.

TEST_F(PostgresStoreTest, SaysWhichServerDatabaseAndSchemaItFound) {
  EXPECT_EQ(open()->description().substr(0, 14), "PostgreSQL 15.");
  EXPECT_TRUE(open()->description().ends_with(
      fmt::format(" at 127.0.0.1:{}, database wfo, schema {} version 2", server_.port(), schema_.name())))
      << open()->description();
}

TEST_F(PostgresStoreTest, MigratesOnceHoweverManyProcessesStartTogether) {
  constexpr int kProcesses = 4;
  std::latch together(kProcesses);
  std::vector<std::future<Result<std::unique_ptr<PostgresStore>>>> opening;
  for (int i = 0; i < kProcesses; ++i) {
    opening.push_back(std::async(std::launch::async, [&] {
      together.arrive_and_wait();
      return try_open(config());
    }));
  }
  for (auto& one : opening) {
    const auto opened = one.get();
    ASSERT_TRUE(opened) << error_of(opened);
    EXPECT_TRUE(set_position(**opened, "a", 1));
  }
  EXPECT_EQ(schema_.execute("SELECT count(*) FROM migrations"), "2");
}

TEST_F(PostgresStoreTest, BringsASchemaOfTheFirstReleaseToTheNewestAndKeepsWhatIsInIt) {
  std::ifstream file(WFO_SOURCE_DIR "/src/store/postgres/migrations/0001_first.sql");
  const std::string first(std::istreambuf_iterator<char>(file), {});
  ASSERT_FALSE(first.empty());
  schema_.execute(fmt::format(
      "CREATE SCHEMA {}; CREATE TABLE migrations (number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT "
      "now()); INSERT INTO migrations (number) VALUES (1); {}; INSERT INTO positions (consumer, position) VALUES ('a', "
      "7)",
      schema_.name(), first));
  const auto store = open();
  EXPECT_TRUE(store->description().ends_with("version 2")) << store->description();
  EXPECT_EQ(position(*store, "a"), 7);
  StoredSchedule schedule;
  schedule.name = "daily";
  const auto written = store->transact([&](Transaction& t) { return done(t.schedules().insert({&schedule, 1})); });
  EXPECT_TRUE(written) << error_of(written);
  EXPECT_EQ(schema_.execute("SELECT string_agg(number::text, ' ' ORDER BY number) FROM migrations"), "1 2");
}

TEST_F(PostgresStoreTest, RefusesASchemaThatIsNewerThanTheProgram) {
  EXPECT_TRUE(open());
  schema_.execute("INSERT INTO migrations (number) VALUES (99)");
  const auto refused = try_open(config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find(schema_.name()), std::string::npos);
  EXPECT_NE(refused.error().message.find("version 99"), std::string::npos);
  EXPECT_NE(refused.error().message.find("newer program"), std::string::npos);
}

TEST_F(PostgresStoreTest, LeavesNothingBehindOfAMigrationThatFailed) {
  schema_.execute(fmt::format("CREATE SCHEMA {0}; CREATE TABLE {0}.runs (other integer)", schema_.name()));
  const auto refused = try_open(config());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("migration 1"), std::string::npos) << refused.error().message;
  EXPECT_EQ(schema_.execute(fmt::format("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
                                        "'{}'::regnamespace",
                                        schema_.name())),
            "1");
}

TEST_F(PostgresStoreTest, SaysWhyItCannotOpenAndWhatToDoButNeverThePassword) {
  const std::string url = server_.url();
  const std::string password = password_of(url);
  const std::string port = fmt::format(":{}/", server_.port());
  struct Case {
    std::string name;
    std::string url;
    ErrorCode code;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {"wrong password",
       replaced(url, password, "s3cr3t-wrong"),
       ErrorCode::unavailable,
       {"127.0.0.1", "password authentication failed for user \"wfo\"", "check user and password"}},
      {"unknown user", replaced(url, "//wfo:", "//nobody_like_that:"), ErrorCode::unavailable, {"nobody_like_that"}},
      {"unknown host",
       replaced(url, "127.0.0.1", "no-such-host.invalid"),
       ErrorCode::unavailable,
       {"no-such-host.invalid", "check the host's name"}},
      {"nobody listens",
       replaced(url, port, ":1/"),
       ErrorCode::unavailable,
       {"port 1", "Connection refused", "check host and port"}},
      {"unknown database",
       replaced(url, port + "wfo", port + "nothing"),
       ErrorCode::unavailable,
       {"\"nothing\"", "it must be made first"}},
      {"no right to make a schema",
       server_.nobody_url(),
       ErrorCode::invalid_argument,
       {"permission denied", "GRANT CREATE ON DATABASE \"wfo\""}},
      {"no connection string", "s3cr3t-wrong at the server", ErrorCode::invalid_argument, {"postgresql://"}},
      {"an @ in the password", replaced(url, password, "s3cr3t-wrong@more"), ErrorCode::invalid_argument, {"%40"}},
      {"a / in the password", replaced(url, password, "s3cr3t-wrong/more"), ErrorCode::invalid_argument, {"%2F"}},
      {"no such option", url + "?passwort=s3cr3t-wrong", ErrorCode::invalid_argument, {"postgresql://"}},
      {"no encryption there", url + "?sslmode=verify-full&sslrootcert=/nowhere.crt", ErrorCode::unavailable, {"ssl"}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    PostgresStoreConfig wrong = config();
    wrong.url = one.url;
    const auto refused = try_open(wrong);
    ASSERT_FALSE(refused);
    const std::string& message = refused.error().message;
    EXPECT_EQ(refused.error().code, one.code) << message;
    for (const std::string& text : one.says) EXPECT_NE(message.find(text), std::string::npos) << message;
    EXPECT_EQ(message.find("s3cr3t"), std::string::npos) << message;
    EXPECT_EQ(message.find("more"), std::string::npos) << message;
    EXPECT_EQ(message.find(password), std::string::npos) << message;
  }
}

TEST_F(PostgresStoreTest, RefusesADatabaseOfAnotherEncoding) {
  const std::string database = schema_.name() + "_latin1";
  test::PostgresSession superuser(server_.superuser_url());
  superuser.execute(
      fmt::format("CREATE DATABASE {} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0", database));
  PostgresStoreConfig wrong = config();
  wrong.url =
      replaced(wrong.url, fmt::format(":{}/wfo", server_.port()), fmt::format(":{}/{}", server_.port(), database));
  const auto refused = try_open(wrong);
  superuser.execute("DROP DATABASE " + database + " WITH (FORCE)");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(refused.error().message.find("LATIN1"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("UTF8"), std::string::npos);
}

TEST_F(PostgresStoreTest, WorksAsARoleThatMayUseTheTablesButNotChangeThem) {
  EXPECT_TRUE(open());
  schema_.execute(fmt::format(
      "GRANT USAGE ON SCHEMA {0} TO wfo_nobody; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {0} TO "
      "wfo_nobody; GRANT USAGE ON SEQUENCE {0}.triggers_noted_seq TO wfo_nobody",
      schema_.name()));
  PostgresStoreConfig least = config();
  least.url = server_.nobody_url();
  const auto store = open(least);
  const auto done = store->transact([&](Transaction& t) -> Result<void> {
    TRY(t.runs().insert(run(1), true));
    Trigger trigger;
    trigger.type = "api";
    TRY(t.triggers().insert(trigger));
    TRY(t.definitions().put("a", "1", "text"));
    TRY(t.fires().record(std::vector<FireRecord>(1)));
    return t.log().append(std::vector{event(1)});
  });
  EXPECT_TRUE(done) << error_of(done);
  // A right that is taken away while it works.
  schema_.execute("REVOKE SELECT ON runs FROM wfo_nobody");
  const auto id = run(1).id;
  const auto refused = store->read([&](const Transaction& t) -> Result<void> {
    TRY(t.runs().load({&id, 1}));
    return {};
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable) << "no message is at fault";
  EXPECT_NE(refused.error().message.find("GRANT"), std::string::npos) << refused.error().message;
}

TEST_F(PostgresStoreTest, SaysAtOnceWhichRightOnWhichTableTheRoleLacks) {
  EXPECT_TRUE(open());
  const auto grant = [&](const std::string& sql) { schema_.execute(replaced(sql, "$", schema_.name())); };
  PostgresStoreConfig least = config();
  least.url = server_.nobody_url();
  const auto refused = [&] {
    const auto opened = try_open(least);
    EXPECT_FALSE(opened);
    if (opened) return std::string();
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_argument) << opened.error().message;
    return opened.error().message;
  };
  EXPECT_NE(refused().find("USAGE on the schema " + schema_.name()), std::string::npos) << refused();
  grant("GRANT USAGE ON SCHEMA $ TO wfo_nobody");
  EXPECT_NE(refused().find("SELECT on migrations"), std::string::npos) << refused();
  grant("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA $ TO wfo_nobody");
  EXPECT_TRUE(refused().ends_with("GRANT USAGE ON SEQUENCE triggers_noted_seq")) << refused();
  grant("GRANT USAGE ON SEQUENCE $.triggers_noted_seq TO wfo_nobody");
  EXPECT_TRUE(open(least));
  grant("REVOKE DELETE ON $.inbox FROM wfo_nobody");
  EXPECT_TRUE(refused().ends_with("GRANT DELETE ON inbox")) << refused();
  EXPECT_NE(refused().find("the role wfo_nobody lacks rights in the schema " + schema_.name()), std::string::npos);
  // Each of the tables is looked at.
  grant("REVOKE UPDATE ON ALL TABLES IN SCHEMA $ FROM wfo_nobody");
  const std::string all = schema_.execute(
      fmt::format("SELECT string_agg('UPDATE ON ' || relname, ', ' ORDER BY relname COLLATE \"C\") FROM pg_class WHERE "
                  "relkind = 'r' AND relnamespace = '{}'::regnamespace AND relname NOT IN ('migrations', 'inbox')",
                  schema_.name()));
  std::string said = refused();
  said = replaced(said, "DELETE ON inbox, UPDATE ON inbox, ", "");
  EXPECT_TRUE(said.ends_with("GRANT " + all)) << said << "\n" << all;
}

TEST_F(PostgresStoreTest, CommitsDurablyWhateverTheDefaultsAre) {
  PostgresStoreConfig careless = config();
  careless.url += "?options=-c%20synchronous_commit%3Doff";
  const auto store = open(careless);
  schema_.execute(
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.position := CASE "
      "current_setting('synchronous_commit') WHEN 'on' THEN 77 ELSE 0 END; RETURN NEW; END $$; CREATE TRIGGER note "
      "BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION note()");
  EXPECT_TRUE(set_position(*store, "a", 1));
  EXPECT_EQ(position(*store, "a"), 77);
}

TEST_F(PostgresStoreTest, EncryptsAndChecksTheServerAsTheConnectionStringSays) {
  PostgresStoreConfig checked = config();
  checked.url += "?sslmode=verify-full&sslrootcert=" + server_.value("DEV_TLS_CA");
  const auto store = open(checked);
  EXPECT_EQ(as_superuser(fmt::format("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE "
                                     "application_name = '{}'",
                                     schema_.name())),
            "t");
  checked.url = config().url + "?sslmode=verify-full&sslrootcert=" + server_.value("DEV_TLS_OTHER_CA");
  const auto refused = try_open(checked);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_NE(refused.error().message.find("certificate"), std::string::npos) << refused.error().message;
}

TEST(PostgresStoreConfig, NamesTheFieldThatIsWrong) {
  struct Case {
    std::string says;
    std::function<void(PostgresStoreConfig&)> spoil;
  };
  using std::chrono::seconds;
  const std::vector<Case> cases = {
      {"schema is \"Wfo\"", [](auto& c) { c.schema = "Wfo"; }},
      {"schema is \"\"", [](auto& c) { c.schema = ""; }},
      {"schema is \"pg_wfo\"", [](auto& c) { c.schema = "pg_wfo"; }},
      {"schema is", [](auto& c) { c.schema = std::string(64, 'a'); }},
      {"connections is 0; allowed: 1 to 100", [](auto& c) { c.connections = 0; }},
      {"connections is 101", [](auto& c) { c.connections = 101; }},
      {"connect_timeout is 1000 ms", [](auto& c) { c.connect_timeout = seconds(1); }},
      {"statement_timeout is 0 ms", [](auto& c) { c.statement_timeout = milliseconds(0); }},
      {"lock_timeout is 7200000 ms", [](auto& c) { c.lock_timeout = seconds(7'200); }},
      {"idle_in_transaction_timeout is 99 ms", [](auto& c) { c.idle_in_transaction_timeout = milliseconds(99); }},
      {"tcp_timeout is 999 ms", [](auto& c) { c.tcp_timeout = milliseconds(999); }},
      {"url", [](auto& c) { c.url = "mysql://nothing"; }},
      {"port", [](auto& c) { c.url = "postgresql://a:b@c:d/e"; }},
  };
  PostgresStoreConfig good;
  good.url = "postgresql://wfo@db1,db2:5433/wfo?sslmode=verify-full&target_session_attrs=any";
  EXPECT_TRUE(check(good)) << error_of(check(good));
  for (const Case& one : cases) {
    PostgresStoreConfig wrong = good;
    one.spoil(wrong);
    const auto checked = check(wrong);
    ASSERT_FALSE(checked) << one.says;
    EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(checked.error().message.find(one.says), std::string::npos) << checked.error().message;
  }
}

// Several processes.

TEST_F(PostgresStoreTest, TakesBatchesOfSeveralProcessesWithoutDeadlocksGapsOrDoubles) {
  constexpr int kProcesses = 2;
  constexpr int kThreads = 3;
  constexpr int kBatches = 15;
  constexpr int kRuns = 40;
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::vector<std::unique_ptr<PostgresStore>> stores;
  for (int i = 0; i < kProcesses; ++i) stores.push_back(open());
  std::atomic<int> written = 0;
  std::atomic<int> changed = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kProcesses * kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        PostgresStore& store = *stores[static_cast<std::size_t>(thread % kProcesses)];
        std::mt19937 random(seed + static_cast<unsigned>(thread));
        for (int batch = 0; batch < kBatches; ++batch) {
          // All want the same few opportunities, and then the same runs, in any order.
          std::vector<workflow::Run> runs;
          for (int i = 0; i < kRuns; ++i) {
            runs.push_back(run((thread * kBatches + batch) * kRuns + i, 1'000'000 + static_cast<int>(random() % 60)));
          }
          std::vector<NewRun> fresh;
          for (const auto& one : runs) fresh.push_back({&one, true});
          int inserted = 0;
          auto done = store.transact([&](Transaction& t) -> Result<void> {
            TRY_ASSIGN(const auto places, t.runs().insert(fresh));
            inserted = static_cast<int>(std::ranges::count(places, true));
            return t.log().append(std::vector{event(thread * 1'000 + batch)});
          });
          ASSERT_TRUE(done) << error_of(done);
          written += inserted;

          int updated = 0;
          done = store.transact([&](Transaction& t) -> Result<void> {
            std::vector<OpportunityKey> keys;
            for (int i = 0; i < 60; ++i) keys.push_back({kTenant, id<OpportunityId>(1'000'000 + i)});
            TRY_ASSIGN(const auto active, t.runs().active_runs(keys));
            std::vector<WorkflowId> ids;
            for (const auto& one : active) {
              if (one) ids.push_back(*one);
            }
            std::ranges::shuffle(ids, random);
            TRY_ASSIGN(const auto loaded, t.runs().load(ids));
            std::vector<StoredRun> before;
            for (const auto& one : loaded) {
              if (one && is_active(one->run)) before.push_back(*one);
            }
            std::vector<workflow::Run> after;
            for (const auto& one : before) {
              after.push_back(one.run);
              after.back().status = workflow::RunStatus::completed;
            }
            std::vector<RunUpdate> updates;
            for (std::size_t i = 0; i < before.size(); ++i) updates.push_back({&before[i], &after[i]});
            TRY_ASSIGN(const auto places, t.runs().update(updates));
            updated = static_cast<int>(std::ranges::count(places, true));
            EXPECT_EQ(updated, static_cast<int>(updates.size())) << "they were locked when they were loaded";
            return t.log().append(std::vector{event(500'000 + thread * 1'000 + batch)});
          });
          ASSERT_TRUE(done) << error_of(done);
          changed += updated;
        }
      });
    }
  }
  EXPECT_EQ(entries(*stores[0]).size(), static_cast<std::size_t>(kProcesses * kThreads * kBatches * 2));
  EXPECT_GT(changed, 0);
  EXPECT_EQ(schema_.execute("SELECT count(*) FROM runs"), std::to_string(written));
  EXPECT_EQ(schema_.execute("SELECT count(*) FROM runs WHERE status = 1"), std::to_string(changed));
  EXPECT_EQ(schema_.execute("SELECT count(*) FROM results"), std::to_string(written)) << "one for each run";
}

TEST_F(PostgresStoreTest, RunsABodyAgainThatTheDatabaseEndedForTheSakeOfAnother) {
  const auto first = open();
  const auto second = open();
  ASSERT_TRUE(set_position(*first, "a", 1));
  ASSERT_TRUE(set_position(*first, "b", 1));
  std::latch both_have_one(2);
  std::atomic<int> bodies = 0;
  const auto take = [&](PostgresStore& store, std::string_view one, std::string_view other, Sequence position) {
    bool first_time = true;
    return store.transact([&](Transaction& t) -> Result<void> {
      ++bodies;
      TRY(t.positions().set(one, position));
      if (std::exchange(first_time, false)) both_have_one.arrive_and_wait();
      return t.positions().set(other, position);
    });
  };
  auto other = std::async(std::launch::async, [&] { return take(*second, "b", "a", 20); });
  const auto mine = take(*first, "a", "b", 10);
  const auto theirs = other.get();
  EXPECT_TRUE(mine) << error_of(mine);
  EXPECT_TRUE(theirs) << error_of(theirs);
  EXPECT_EQ(bodies, 3);
  EXPECT_EQ(position(*first, "a"), position(*first, "b")) << "one after the other";
}

TEST_F(PostgresStoreTest, IsUnavailableWhereALockIsHeldForTooLong) {
  PostgresStoreConfig impatient = config();
  impatient.lock_timeout = milliseconds(100);
  const auto store = open(impatient);
  ASSERT_TRUE(set_position(*store, "a", 1));
  test::PostgresSession session(server_.url());
  session.execute(fmt::format("BEGIN; UPDATE {}.positions SET position = 5", schema_.name()));
  const auto refused = set_position(*store, "a", 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable) << refused.error().message;
  session.execute("COMMIT");
  EXPECT_EQ(position(*store, "a"), 5);
  EXPECT_TRUE(set_position(*store, "a", 2));
}

TEST_F(PostgresStoreTest, DoesNothingWhereAStatementTakesTooLongAndGoesOnOverTheSameConnection) {
  PostgresStoreConfig impatient = config();
  impatient.connections = 1;
  impatient.statement_timeout = milliseconds(1'000);
  const auto store = open(impatient);
  ASSERT_TRUE(set_position(*store, "a", 1));
  const auto& connects =
      metrics_.counter("postgres_connects_total", "Connections made to PostgreSQL", {{"part", "store"}});
  const double before = connects.value();
  test::PostgresSession session(server_.url());
  session.execute(fmt::format("BEGIN; LOCK TABLE {}.positions", schema_.name()));
  int bodies = 0;
  const auto refused = store->transact([&](Transaction& t) -> Result<void> {
    ++bodies;
    TRY(t.runs().insert(run(1), true));
    TRY(t.log().append(std::vector{event(1)}));
    return t.positions().set("a", 2);
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_NE(refused.error().message.find("statement timeout"), std::string::npos) << refused.error().message;
  EXPECT_EQ(bodies, 1) << "it would take as long again";
  session.execute("COMMIT");
  EXPECT_EQ(position(*store, "a"), 1);
  EXPECT_EQ(schema_.execute("SELECT count(*) FROM runs"), "0");
  EXPECT_TRUE(entries(*store).empty());
  EXPECT_TRUE(set_position(*store, "a", 2));
  EXPECT_EQ(connects.value(), before);
}

TEST_F(PostgresStoreTest, TakesTheLocksOfAProcessThatStandsStill) {
  PostgresStoreConfig paused = config();
  paused.idle_in_transaction_timeout = milliseconds(100);
  const auto sleeper = open(paused);
  const auto other = open();
  const workflow::Run started = run(1);
  ASSERT_TRUE(other->transact([&](Transaction& t) { return t.runs().insert(started, true); }));
  const auto change = [&](Transaction& t, int attempt) -> Result<void> {
    TRY_ASSIGN(const auto loaded, t.runs().load({&started.id, 1}));
    workflow::Run after = loaded[0]->run;
    after.attempt = attempt;
    return t.runs().update(*loaded[0], after);
  };
  const auto late = sleeper->transact([&](Transaction& t) -> Result<void> {
    TRY(t.log().append(std::vector{event(1)}));
    TRY(change(t, 2));
    // Its process stands still here, with the run locked, until another one has got through.
    EXPECT_TRUE(other->transact([&](Transaction& theirs) { return change(theirs, 3); }));
    return {};
  });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::unavailable) << late.error().message;
  EXPECT_EQ(schema_.execute("SELECT attempt FROM runs"), "3");
  EXPECT_TRUE(entries(*other).empty());
  const auto again = sleeper->transact([&](Transaction& t) { return change(t, 4); });
  EXPECT_TRUE(again) << error_of(again);
}

TEST_F(PostgresStoreTest, RunsLeasesOnTheDatabasesClock) {
  const auto first = open();
  const auto second = open();
  clock_.advance(std::chrono::hours(24 * 365 * 50));  // what this process thinks the time is does not matter
  const auto acquire = [&](PostgresStore& store, std::string_view holder, milliseconds length) {
    std::optional<Lease> lease;
    const auto done = store.transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(lease, t.leases().acquire("relay", holder, length));
      return {};
    });
    EXPECT_TRUE(done) << error_of(done);
    return lease;
  };
  const auto held = acquire(*first, "a", std::chrono::hours(1));
  ASSERT_TRUE(held);
  const auto now = std::stoll(as_superuser("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)"));
  EXPECT_NEAR(static_cast<double>(held->expires_at.time_since_epoch().count()), static_cast<double>(now + 3'600'000),
              120'000);
  EXPECT_EQ(acquire(*second, "b", std::chrono::hours(1)), std::nullopt);
  EXPECT_EQ(acquire(*first, "a", milliseconds(1))->epoch, 1);
  std::optional<Lease> taken;
  EXPECT_TRUE(test::eventually([&] { return (taken = acquire(*second, "b", std::chrono::hours(1))).has_value(); }));
  EXPECT_EQ(taken->epoch, 2);
}

TEST_F(PostgresStoreTest, DoesNotLockALeaseThatItCannotHave) {
  PostgresStoreConfig impatient = config();
  impatient.lock_timeout = milliseconds(500);
  const auto holder = open(impatient);
  const auto other = open();
  const auto held = holder->acquire_lease("relay", "a", std::chrono::hours(1));
  ASSERT_TRUE(held && *held) << error_of(held);
  const auto waits = other->transact([&](Transaction& t) -> Result<void> {
    TRY_ASSIGN(const auto none, t.leases().acquire("relay", "b", std::chrono::hours(1)));
    EXPECT_EQ(none, std::nullopt);
    // Its process stands still here.
    const auto prolonged = holder->acquire_lease("relay", "a", std::chrono::hours(1));
    EXPECT_TRUE(prolonged) << error_of(prolonged);
    const auto checked =
        holder->transact([&](Transaction& theirs) { return theirs.leases().check("relay", (*held)->epoch); });
    EXPECT_TRUE(checked) << error_of(checked);
    return {};
  });
  EXPECT_TRUE(waits) << error_of(waits);
}

TEST_F(PostgresStoreTest, KeepsLeasesAndFollowsTheLogHoweverBusyItIs) {
  PostgresStoreConfig one_connection = config();
  one_connection.connections = 1;
  const auto busy = open(one_connection);
  const auto other = open();
  const auto done = busy->transact([&](Transaction& t) -> Result<void> {
    TRY(t.positions().set("a", 1));
    auto meanwhile = std::async(std::launch::async, [&] {
      const auto lease = busy->acquire_lease("relay", "a", std::chrono::hours(1));
      EXPECT_TRUE(lease && *lease) << error_of(lease);
      EXPECT_TRUE(busy->release_lease("relay", 1));
      EXPECT_TRUE(append(*other, {event(1)}));
      busy->wait_beyond(0, std::chrono::minutes(2), {});
      EXPECT_EQ(busy->last(), 1);
    });
    meanwhile.get();
    return {};
  });
  EXPECT_TRUE(done) << error_of(done);
}

TEST_F(PostgresStoreTest, NoticesWhatOtherProcessesCommit) {
  const auto mine = open();
  const auto theirs = open();
  auto waiting = std::async(std::launch::async, [&] {
    mine->wait_beyond(0, std::chrono::minutes(2), {});
    return mine->last();
  });
  ASSERT_TRUE(append(*theirs, {event(1)}));
  EXPECT_EQ(waiting.get(), 1);
}

TEST_F(PostgresStoreTest, FindsWhatWaitsBehindWhatWasPublishedAlsoWhenSequencesComeAgain) {
  PostgresStoreConfig one_connection = config();
  one_connection.connections = 1;
  const auto store = open(one_connection);
  const auto unpublished = [&] {
    std::vector<Sequence> found;
    const auto done = store->read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(const auto entries, t.outbox().unpublished(kStart, 100, 1'000'000));
      for (const OutboxEntry& entry : entries) found.push_back(entry.sequence);
      TRY_ASSIGN(const auto counts, t.outbox().counts());
      EXPECT_EQ(counts.waiting, static_cast<std::int64_t>(found.size()));
      return {};
    });
    EXPECT_TRUE(done) << error_of(done);
    return found;
  };
  const auto mark = [&](std::vector<Sequence> sequences, bool gives_up) {
    return store->transact([&](Transaction& t) -> Result<void> {
      TRY(t.outbox().mark_published(sequences));
      TRY_ASSIGN(const auto left, t.outbox().unpublished(kStart, 100, 1'000'000));
      EXPECT_TRUE(left.empty() || left.front().sequence > sequences.back());
      if (gives_up) return fail(ErrorCode::conflict, "the lease was taken over");
      return {};
    });
  };
  using Sequences = std::vector<Sequence>;
  EXPECT_EQ(unpublished(), Sequences{});
  ASSERT_TRUE(append(*store, {event(1), event(2), event(3)}));
  EXPECT_EQ(unpublished(), (Sequences{1, 2, 3}));
  EXPECT_FALSE(mark({1, 2}, true));
  EXPECT_EQ(unpublished(), (Sequences{1, 2, 3})) << "the marks were rolled back";
  EXPECT_TRUE(mark({1, 2}, false));
  EXPECT_EQ(unpublished(), (Sequences{3}));
  EXPECT_TRUE(mark({3}, false));
  EXPECT_EQ(unpublished(), Sequences{});
  ASSERT_TRUE(append(*store, {event(4)}));
  EXPECT_EQ(unpublished(), (Sequences{4}));
  // A standby without the last commits takes over: sequences come again.
  EXPECT_TRUE(mark({4}, false));
  EXPECT_EQ(unpublished(), Sequences{});
  schema_.execute("UPDATE log_counter SET last = 2; DELETE FROM log WHERE sequence > 2");
  end_sessions();
  ASSERT_TRUE(append(*store, {event(5)}));
  EXPECT_EQ(unpublished(), (Sequences{3}));
}

// Lost connections.

TEST_F(PostgresStoreTest, ChangesNothingWhenItsSessionIsEndedInTheMiddle) {
  const auto store = open();
  const auto lost = store->transact([&](Transaction& t) -> Result<void> {
    TRY(t.positions().set("a", 1));
    TRY(t.runs().insert(run(1), true));
    TRY(t.log().append(std::vector{event(1)}));
    end_sessions();
    return {};
  });
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::unavailable);
  EXPECT_NE(lost.error().message.find(fmt::format("127.0.0.1:{}", server_.port())), std::string::npos)
      << lost.error().message;
  EXPECT_EQ(position(*store, "a"), 0);
  EXPECT_TRUE(entries(*store).empty());
  const auto again = append(*store, {event(1)});
  EXPECT_TRUE(again) << error_of(again);
}

TEST_F(PostgresStoreTest, GoesOnAtOnceWhenItsSessionsWereEndedWhileTheyWereIdle) {
  const auto store = open();
  {
    std::latch together(4);  // several connections
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        EXPECT_TRUE(store->transact([&](Transaction& t) -> Result<void> {
          TRY(t.positions().set(std::to_string(i), 1));
          together.arrive_and_wait();
          return {};
        }));
      });
    }
  }
  end_sessions();
  for (int i = 0; i < 4; ++i) {
    const auto done = set_position(*store, std::to_string(i), 2);
    EXPECT_TRUE(done) << error_of(done);
  }
  EXPECT_EQ(position(*store, "3"), 2);
}

TEST_F(PostgresStoreTest, GivesTheErrorOfALostConnectionToAReadAsWell) {
  const auto store = open();
  const auto lost = store->read([&](const Transaction& t) -> Result<void> {
    TRY(t.positions().get("a"));
    end_sessions();
    TRY(t.positions().get("a"));
    return {};
  });
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::unavailable);
  EXPECT_EQ(position(*store, "a"), 0);
}

}  // namespace
}  // namespace wfo::store::postgres
