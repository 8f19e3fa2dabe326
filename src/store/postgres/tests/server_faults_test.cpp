#include <future>
#include <stop_token>

#include "store/postgres/tests/fixtures.h"
#include "store/postgres/tests/writers.h"
#include "support/eventually.h"

// What happens when the server itself goes away, stands still or takes no writes: with a server of its own.
namespace wfo::store::postgres {
namespace {

class ServerFaultsTest : public PostgresTest {
 protected:
  ServerFaultsTest() : PostgresTest(own_server()) {}
  static test::PostgresServer& own_server() {
    static test::PostgresServer server;
    if (!server.is_running()) server.start();
    return server;
  }
  bool works_again(PostgresStore& store) {
    return test::eventually([&] { return store.admission() && set_position(store, "works again", 1); });
  }
};

TEST_F(ServerFaultsTest, IsUnavailableWhileTheServerIsAwayAndWorksAgainByItself) {
  const auto store = open();
  ASSERT_TRUE(append(*store, {event(1)}));
  EXPECT_TRUE(store->admission());
  server_.stop();
  const auto lost = append(*store, {event(2)});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::unavailable);
  EXPECT_NE(lost.error().message.find(std::to_string(server_.port())), std::string::npos) << lost.error().message;
  EXPECT_TRUE(test::eventually([&] { return !store->admission(); }));
  EXPECT_EQ(store->admission().error().code, ErrorCode::unavailable);
  const auto page = store->read(0, AllTypes(), 10, 1'000);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::unavailable);
  EXPECT_EQ(store->last(), 1) << "as far as it knows";
  store->wait_beyond(1, milliseconds(1), {});
  server_.start();
  EXPECT_TRUE(works_again(*store));
  EXPECT_TRUE(append(*store, {event(2)}));
  EXPECT_EQ(entries(*store).size(), 2U);
}

TEST_F(ServerFaultsTest, KeepsAllThatItAcknowledgedHoweverTheServerDies) {
  PostgresStoreConfig patient = config();
  patient.connect_timeout = std::chrono::seconds(2);
  const auto store = open(patient);
  Writers writers(*store);
  EXPECT_TRUE(writers.progress());
  server_.kill();
  server_.start();
  EXPECT_TRUE(writers.progress());
  for (const auto mode : {test::StopMode::immediate, test::StopMode::fast}) {
    server_.stop(mode);
    server_.start();
    EXPECT_TRUE(writers.progress());
  }
  const auto written = writers.stop();
  EXPECT_EQ(entries(*store).size(), static_cast<std::size_t>(written)) << "each once";
}

TEST_F(ServerFaultsTest, GoesOnWithAStandbyThatTookOverAndHasAllThatWasAcknowledged) {
  auto standby = test::PostgresServer::standby_of(server_);
  const auto set_synchronous = [&](const test::PostgresServer& server, std::string_view names) {
    test::PostgresSession superuser(server.superuser_url());
    superuser.execute(fmt::format("ALTER SYSTEM SET synchronous_standby_names = '{}'", names));
    superuser.execute("SELECT pg_reload_conf()");
  };
  set_synchronous(server_, "*");
  EXPECT_TRUE(test::eventually(
      [&] { return as_superuser("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"; }));
  PostgresStoreConfig both = config();
  both.connect_timeout = std::chrono::seconds(2);
  const std::string here = fmt::format("127.0.0.1:{}", server_.port());
  const std::string there = fmt::format("127.0.0.1:{}", standby.port());
  both.url = replaced(both.url, here, here + "," + there);
  const auto store = open(both);
  EXPECT_NE(store->description().find(here), std::string::npos) << store->description();
  const auto lease = store->acquire_lease("relay", "a", std::chrono::hours(1));
  ASSERT_TRUE(lease && *lease) << error_of(lease);
  Writers writers(*store);
  EXPECT_TRUE(writers.progress());

  server_.kill();
  EXPECT_TRUE(test::eventually([&] { return !store->admission(); })) << "the standby takes no writes yet";
  test::PostgresSession(standby.superuser_url()).execute("SELECT pg_promote()");
  EXPECT_TRUE(writers.progress());
  const auto written = writers.stop();
  EXPECT_EQ(entries(*store).size(), static_cast<std::size_t>(written)) << "each once, and none is lost";
  std::optional<Lease> prolonged;
  EXPECT_TRUE(test::eventually([&] {
    const auto asked = store->acquire_lease("relay", "a", std::chrono::hours(1));
    if (asked) prolonged = *asked;
    return asked.has_value();
  }));
  ASSERT_TRUE(prolonged);
  EXPECT_EQ(prolonged->epoch, (*lease)->epoch);
  EXPECT_NE(open(both)->description().find(there), std::string::npos);

  // For the tests to come.
  server_.start();
  set_synchronous(server_, "");
}

TEST_F(ServerFaultsTest, SaysThatAServerTakesNoWritesAndWaitsForOneThatDoes) {
  const auto store = open();
  ASSERT_TRUE(set_position(*store, "a", 1));
  as_superuser("ALTER SYSTEM SET default_transaction_read_only = on");
  as_superuser("SELECT pg_reload_conf()");
  Result<void> refused;
  EXPECT_TRUE(test::eventually([&] { return !(refused = set_position(*store, "a", 2)); }));
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_NE(refused.error().message.find("takes no writes"), std::string::npos) << refused.error().message;
  // New connections are refused as well, as a standby's would be.
  refused = set_position(*store, "a", 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_NE(refused.error().message.find("read-only"), std::string::npos) << refused.error().message;
  const auto not_opened = try_open(config());
  ASSERT_FALSE(not_opened);
  EXPECT_NE(not_opened.error().message.find("name the primary"), std::string::npos) << not_opened.error().message;
  test::PostgresSession superuser(server_.superuser_url());
  superuser.execute("SET default_transaction_read_only = off");
  superuser.execute("ALTER SYSTEM RESET default_transaction_read_only");
  superuser.execute("SELECT pg_reload_conf()");
  EXPECT_TRUE(works_again(*store));
}

TEST_F(ServerFaultsTest, GivesUpOnAServerThatAnswersNothingAndGoesOnWhenItDoes) {
  PostgresStoreConfig impatient = config();
  impatient.statement_timeout = milliseconds(100);
  impatient.lock_timeout = milliseconds(100);
  impatient.connect_timeout = std::chrono::seconds(2);
  const auto store = open(impatient);
  ASSERT_TRUE(set_position(*store, "a", 1));
  server_.pause();
  const auto refused = set_position(*store, "a", 2);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_NE(refused.error().message.find("no answer within"), std::string::npos) << refused.error().message;
  server_.resume();
  EXPECT_TRUE(works_again(*store));
}

TEST_F(ServerFaultsTest, WaitsForTheLogNoLongerThanItWasToldAlsoWhereTheServerAnswersNothing) {
  const auto store = open();
  ASSERT_TRUE(append(*store, {event(1)}));
  const auto seconds_of = [](const auto& call) {
    const auto begun_at = std::chrono::steady_clock::now();
    call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_at).count();
  };
  server_.pause();
  EXPECT_LT(seconds_of([&] { store->wait_beyond(1, milliseconds(200), {}); }), 2);
  std::stop_source stop;
  auto waiting =
      std::async(std::launch::async, [&] { store->wait_beyond(1, std::chrono::minutes(10), stop.get_token()); });
  EXPECT_EQ(waiting.wait_for(milliseconds(200)), std::future_status::timeout);
  stop.request_stop();
  EXPECT_LT(seconds_of([&] { waiting.get(); }), 2);
  server_.resume();
  EXPECT_TRUE(works_again(*store));
}

TEST_F(ServerFaultsTest, FindsTheServerThatTakesWritesAmongSeveralHosts) {
  PostgresStoreConfig several = config();
  const std::string here = fmt::format("127.0.0.1:{}", server_.port());
  several.url = replaced(several.url, here, "127.0.0.1:1," + here);
  const auto store = open(several);
  EXPECT_TRUE(set_position(*store, "a", 1));
  EXPECT_NE(store->description().find(here), std::string::npos) << store->description();
}

}  // namespace
}  // namespace wfo::store::postgres
