#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "store/postgres/postgres_ledger.h"
#include "store/postgres/tests/fixtures.h"
#include "support/eventually.h"
#include "support/tcp_proxy.h"

// What becomes of appends when the server goes away, or the connection to it, with a server of its own.
namespace wfo::store::postgres {
namespace {

class LedgerFaultsTest : public PostgresTest {
 protected:
  LedgerFaultsTest() : PostgresTest(own_server()) {}
  static test::PostgresServer& own_server() {
    static test::PostgresServer server;
    if (!server.is_running()) server.start();
    return server;
  }
  std::unique_ptr<PostgresLedger> open_ledger(const std::string& url) {
    PostgresLedgerConfig config;
    config.url = url;
    config.schema = schema_.name();
    config.connect_timeout = std::chrono::seconds(2);
    auto opened = PostgresLedger::open(config, Logger::silent(), metrics_);
    if (!opened) throw std::runtime_error(opened.error().message);
    return *std::move(opened);
  }
  static std::vector<LedgerRecord> records(std::int64_t first, std::int64_t count) {
    std::vector<LedgerRecord> made(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      made[static_cast<std::size_t>(i)].event = event(first + i, 1'000);
      made[static_cast<std::size_t>(i)].received_at = kStart;
    }
    return made;
  }
  static void expect_whole(LedgerStore& ledger, std::int64_t count) {
    const auto entries = ledger.search({.tenant = kTenant, .limit = 100'000});
    ASSERT_TRUE(entries) << error_of(entries);
    ASSERT_EQ(entries->size(), static_cast<std::size_t>(count));
    std::vector<EventId> ids;
    for (std::size_t i = 0; i < entries->size(); ++i) {
      EXPECT_EQ((*entries)[i].index, static_cast<LedgerIndex>(i));
      ids.push_back((*entries)[i].event_id);
    }
    std::ranges::sort(ids);
    EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
  }
};

TEST_F(LedgerFaultsTest, KeepsAllThatItAcknowledgedOnceHoweverTheServerDies) {
  constexpr std::int64_t kBatch = 50;
  const auto ledger = open_ledger(server_.url());
  std::atomic<std::int64_t> acknowledged = 0;
  std::atomic<bool> stop{false};
  {
    const std::jthread appender([&] {
      while (!stop) {
        const auto outcomes = ledger->append(records(acknowledged, kBatch), {}, "consumer", acknowledged + kBatch);
        if (outcomes) {
          acknowledged += kBatch;
        } else {
          EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable) << outcomes.error().message;
          std::this_thread::yield();
        }
      }
    });
    const auto progress = [&] {
      const auto before = acknowledged.load();
      return test::eventually([&] { return acknowledged > before + 20 * kBatch; });
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
  // What is there beyond the acknowledged is a last batch whose answer was lost; there was none.
  expect_whole(*ledger, acknowledged);
  EXPECT_EQ(ledger->position("consumer"), acknowledged.load());
}

TEST_F(LedgerFaultsTest, RecognisesWhatItAppendedBeforeTheAnswerWasLost) {
  test::TcpProxy proxy(server_.port());
  const auto beside = open_ledger(server_.url());
  const auto ledger =
      open_ledger(replaced(server_.url(), fmt::format(":{}/", server_.port()), fmt::format(":{}/", proxy.port())));
  ASSERT_TRUE(ledger->append(records(0, 3), {}, "consumer", 3));
  proxy.stall_answers();
  auto appending = std::async(std::launch::async, [&] { return ledger->append(records(3, 3), {}, "consumer", 6); });
  EXPECT_TRUE(test::eventually([&] { return beside->size(kTenant) == 6; }));
  proxy.cut();
  proxy.resume();
  const auto lost = appending.get();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::unavailable) << lost.error().message;
  std::optional<std::vector<LedgerOutcome>> again;
  EXPECT_TRUE(test::eventually([&] {
    if (auto outcomes = ledger->append(records(3, 4), {}, "consumer", 7)) again = *std::move(outcomes);
    return again.has_value();
  }));
  EXPECT_EQ(again, (std::vector{LedgerOutcome::repeated, LedgerOutcome::repeated, LedgerOutcome::repeated,
                                LedgerOutcome::appended}));
  expect_whole(*beside, 7);
}

TEST_F(LedgerFaultsTest, WritesNothingOfWhatDidNotArriveWhole) {
  test::TcpProxy proxy(server_.port());
  const auto beside = open_ledger(server_.url());
  const auto ledger =
      open_ledger(replaced(server_.url(), fmt::format(":{}/", server_.port()), fmt::format(":{}/", proxy.port())));
  ASSERT_TRUE(ledger->append(records(0, 3), {}, "consumer", 3));
  constexpr std::int64_t kBatch = 300;
  std::int64_t expected = 3;
  // One that begins only after the cut finds a new connection and goes through; then another time.
  for (std::int64_t round = 1; round < 100; ++round) {
    const auto batch = records(round * kBatch, kBatch);
    const auto of_other = records(-3 * round, 3);
    std::promise<void> beginning;
    proxy.stall_requests();
    auto appending = std::async(std::launch::async, [&] {
      beginning.set_value();
      return ledger->append(batch, {}, "consumer", round);
    });
    beginning.get_future().wait();
    // Another appends meanwhile: whoever stands still holds nothing.
    EXPECT_TRUE(beside->append(of_other, {}, "other", round));
    expected += 3;
    proxy.cut();
    proxy.resume();
    const auto outcomes = appending.get();
    if (!outcomes) {
      EXPECT_EQ(outcomes.error().code, ErrorCode::unavailable) << outcomes.error().message;
      EXPECT_EQ(beside->position("consumer"), round == 1 ? 3 : round - 1);
      expect_whole(*beside, expected);
      return;
    }
    expected += kBatch;
  }
  ADD_FAILURE() << "no append was under way when the connection was cut";
}

TEST_F(LedgerFaultsTest, RefusesABatchThatTheServerCouldNotTake) {
  const auto ledger = open_ledger(server_.url());
  std::vector<QuarantinedMessage> large(3);
  for (auto& message : large) message.bytes.assign(std::size_t{90} << 20, 'x');
  const auto refused = ledger->append({}, large, "consumer", 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << refused.error().message;
  EXPECT_EQ(ledger->position("consumer"), 0);
}

}  // namespace
}  // namespace wfo::store::postgres
