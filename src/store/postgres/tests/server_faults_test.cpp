#include <atomic>
#include <future>
#include <thread>

#include "store/postgres/tests/fixtures.h"
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
  constexpr int kThreads = 4;
  std::atomic<bool> stop{false};
  std::array<std::atomic<std::int64_t>, kThreads> acknowledged{};
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::int64_t n = 1; !stop;) {
          const auto done = store->transact([&](Transaction& t) -> Result<void> {
            TRY_ASSIGN(const auto before, t.positions().get(std::to_string(thread)));
            // One whose outcome nobody knew may have taken effect; that is for the inbox, here for the position.
            if (before >= n) return {};
            EXPECT_EQ(before, n - 1);
            TRY(t.positions().set(std::to_string(thread), n));
            return t.log().append(std::vector{event(thread * 1'000'000 + n)});
          });
          if (done) {
            acknowledged[static_cast<std::size_t>(thread)] = n++;
          } else {
            EXPECT_EQ(done.error().code, ErrorCode::unavailable) << done.error().message;
            std::this_thread::yield();
          }
        }
      });
    }
    const auto progress = [&] {
      const auto before = acknowledged[0].load();
      return test::eventually([&, before] { return acknowledged[0] > before + 20; });
    };
    EXPECT_TRUE(progress());
    server_.kill();
    server_.start();
    EXPECT_TRUE(progress());
    server_.stop(test::StopMode::immediate);
    server_.start();
    EXPECT_TRUE(progress());
    server_.stop(test::StopMode::fast);
    server_.start();
    EXPECT_TRUE(progress());
    stop = true;
  }
  std::int64_t total = 0;
  for (int thread = 0; thread < kThreads; ++thread) {
    const auto reached = position(*store, std::to_string(thread));
    EXPECT_GE(reached, acknowledged[static_cast<std::size_t>(thread)]);
    EXPECT_LE(reached, acknowledged[static_cast<std::size_t>(thread)] + 1);
    total += reached;
  }
  EXPECT_EQ(entries(*store).size(), static_cast<std::size_t>(total)) << "each once";
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
