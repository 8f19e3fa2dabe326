#include <atomic>
#include <future>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::LogEntry;
using store::Sequence;
using store::Transaction;

class LogContract : public StoreContract {
 protected:
  std::size_t trim(Sequence through, Timestamp before, std::size_t count_max) {
    std::vector<Sequence> published;  // where entries await publication, they are kept until then
    for (const LogEntry& entry : entries()) published.push_back(entry.sequence);
    EXPECT_OK(write([&](Transaction& transaction) { return transaction.outbox().mark_published(published); }));
    return value(write([&](Transaction& transaction) { return transaction.log().trim(through, before, count_max); }));
  }
  std::vector<Sequence> sequences() {
    std::vector<Sequence> result;
    for (const LogEntry& entry : entries()) result.push_back(entry.sequence);
    return result;
  }
};

std::vector<events::EventPtr> events_of(std::uint32_t first, std::uint32_t last, std::string_view type = "test.a") {
  std::vector<events::EventPtr> events;
  for (std::uint32_t n = first; n <= last; ++n) events.push_back(event(type, n));
  return events;
}

TEST_P(LogContract, IsEmptyAtFirst) {
  EXPECT_EQ(log().last(), 0);
  EXPECT_TRUE(entries().empty());
}

TEST_P(LogContract, CountsEntriesFromOneInTheOrderInWhichTheyWereAppended) {
  append(events_of(1, 2));
  append(events_of(3, 3));
  const auto found = entries();
  ASSERT_EQ(found.size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].sequence, i + 1);
    EXPECT_EQ(found[i].event->id(), id<EventId>(i + 1));
  }
  EXPECT_EQ(log().last(), 3);
}

TEST_P(LogContract, KeepsTheBytesOfAnEventAndAllThatIsKnownOfIt) {
  const std::string text =
      R"({ "type":"test.é", "id":"0195504E-0000-7000-8000-000000000009","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01",)"
      R"("version":"1.0","source":{"service":"crm"},"timestamp":"2026-02-03T04:05:06+01:00","data":{"n":1.10,"s":"\u00e9"} })";
  append({value(contracts().read(text, kStart))});
  harness_->restart();
  const auto found = entries();
  ASSERT_EQ(found.size(), 1U);
  const events::Event& kept = *found[0].event;
  EXPECT_EQ(kept.bytes(), text);
  EXPECT_EQ(kept.id(), id<EventId>(9));
  EXPECT_EQ(kept.type(), "test.é");
  EXPECT_EQ(kept.tenant(), kTenant);
  EXPECT_EQ(kept.source(), "crm");
  EXPECT_EQ(kept.timestamp(), *parse_timestamp("2026-02-03T03:05:06Z"));
  EXPECT_EQ(kept.verdict(), events::Verdict::no_schema);
}

TEST_P(LogContract, KeepsIdAndTimeOfAnEventWhoseBytesHaveNone) {
  const std::string text = R"({"type":"test.a","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01","data":{}})";
  append({value(contracts().read(text, at(-60), id<EventId>(7)))});
  harness_->restart();
  const auto found = entries();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].event->bytes(), text);
  EXPECT_EQ(found[0].event->id(), id<EventId>(7));
  EXPECT_EQ(found[0].event->timestamp(), at(-60));
}

TEST_P(LogContract, HoldsAnEventOfAMebibyte) {
  const std::string data = fmt::format(R"({{"text":"{}"}})", std::string(1'048'000, 'x'));
  append({event("test.a", 1, data)});
  harness_->restart();
  const auto found = entries();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].event->data().raw(), data);
}

TEST_P(LogContract, GoesOnCountingAfterARestart) {
  append(events_of(1, 2));
  harness_->restart();
  EXPECT_EQ(log().last(), 2);
  append(events_of(3, 3));
  EXPECT_EQ(sequences(), (std::vector<Sequence>{1, 2, 3}));
}

TEST_P(LogContract, LeavesNoGapWhereATransactionFailed) {
  append(events_of(1, 1));
  EXPECT_ERROR(conflict, write([&](Transaction& transaction) -> Result<void> {
                 TRY(transaction.log().append(events_of(2, 3, "test.never")));
                 return fail(ErrorCode::conflict, "the body changed its mind");
               }));
  EXPECT_EQ(log().last(), 1);
  append(events_of(4, 4));
  // A type that was first seen in the failed transaction works as well.
  append(events_of(5, 5, "test.never"));
  const auto found = entries();
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[1].sequence, 2);
  EXPECT_EQ(found[1].event->id(), id<EventId>(4));
  harness_->restart();
  EXPECT_EQ(sequences(), (std::vector<Sequence>{1, 2, 3}));
  EXPECT_EQ(entries()[2].event->type(), "test.never");
}

TEST_P(LogContract, GivesOnlyTheWantedTypesAndSaysHowFarItLooked) {
  append(events_of(1, 3, "test.a"));
  append(events_of(4, 5, "test.b"));
  append(events_of(6, 8, "test.a"));
  const auto page = value(log().read(0, OneType("test.b"), 10, 1'000'000));
  ASSERT_EQ(page.entries.size(), 2U);
  EXPECT_EQ(page.entries[0].sequence, 4);
  EXPECT_EQ(page.read_through, 8);
  EXPECT_TRUE(value(log().read(8, OneType("test.b"), 10, 1'000'000)).entries.empty());
  EXPECT_EQ(value(log().read(0, OneType("test.c"), 10, 1'000'000)).read_through, 8);
}

TEST_P(LogContract, GivesAtMostSoManyEntriesAndGoesOnBehindThem) {
  append(events_of(1, 5));
  std::vector<Sequence> seen;
  Sequence after = 0;
  for (int page = 0; page < 3; ++page) {
    const auto found = value(log().read(after, AllTypes(), 2, 1'000'000));
    EXPECT_LE(found.entries.size(), 2U);
    for (const LogEntry& entry : found.entries) seen.push_back(entry.sequence);
    after = found.read_through;
  }
  EXPECT_EQ(seen, (std::vector<Sequence>{1, 2, 3, 4, 5}));
  EXPECT_EQ(value(log().read(5, AllTypes(), 2, 1'000'000)).read_through, 5);
}

TEST_P(LogContract, GivesAboutSoManyBytesButNeverNothing) {
  append(events_of(1, 5));
  EXPECT_EQ(value(log().read(0, AllTypes(), 100, 1)).entries.size(), 1U);
  const std::size_t size = entries()[0].event->bytes().size();
  EXPECT_EQ(value(log().read(0, AllTypes(), 100, 2 * size)).entries.size(), 2U);
}

TEST_P(LogContract, TrimsWhatIsOldAndPassedByAllInSteps) {
  append(events_of(1, 3));
  clock_.set(at(10));
  append(events_of(4, 6));
  EXPECT_EQ(trim(5, at(10), 2), 2U);
  EXPECT_EQ(sequences(), (std::vector<Sequence>{3, 4, 5, 6}));
  EXPECT_EQ(trim(5, at(10), 2), 1U) << "4 was committed at the bound, not before it";
  EXPECT_EQ(trim(5, at(10), 2), 0U);
  EXPECT_EQ(trim(5, at(11), 100), 2U);
  EXPECT_EQ(sequences(), (std::vector<Sequence>{6}));
}

TEST_P(LogContract, NeverUsesTheSequenceOfATrimmedEntryAgain) {
  append(events_of(1, 4));
  EXPECT_EQ(trim(4, at(1), 100), 4U);
  EXPECT_EQ(log().last(), 4);
  harness_->restart();
  EXPECT_EQ(log().last(), 4);
  append(events_of(5, 5));
  EXPECT_EQ(sequences(), (std::vector<Sequence>{5}));
}

TEST_P(LogContract, ShowsNothingOfATransactionThatIsNotCommitted) {
  append(events_of(1, 1));
  EXPECT_OK(write([&](Transaction& transaction) -> Result<void> {
    TRY(transaction.log().append(events_of(2, 2)));
    std::async(std::launch::async, [&] {
      EXPECT_EQ(log().last(), 1);
      EXPECT_EQ(entries().size(), 1U);
    }).get();
    return {};
  }));
  EXPECT_EQ(entries().size(), 2U);
}

TEST_P(LogContract, WakesWhoWaitsForTheNextEntry) {
  append(events_of(1, 1));
  log().wait_beyond(0, std::chrono::minutes(1), {});  // is there already
  std::promise<void> waiting;
  auto waiter = std::async(std::launch::async, [&] {
    waiting.set_value();
    log().wait_beyond(1, std::chrono::minutes(1), {});
    return log().last();
  });
  waiting.get_future().wait();
  append(events_of(2, 2));
  EXPECT_EQ(waiter.get(), 2);
}

TEST_P(LogContract, EndsAWaitAfterItsTimeOrWhenAskedToStop) {
  log().wait_beyond(0, milliseconds(5), {});
  std::stop_source stop;
  auto waiter =
      std::async(std::launch::async, [&] { log().wait_beyond(0, std::chrono::minutes(1), stop.get_token()); });
  stop.request_stop();
  EXPECT_EQ(waiter.wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST_P(LogContract, IsInTheOrderOfCommitsWhoeverWritesAndWhoeverReads) {
  constexpr std::uint32_t kThreads = 6;
  constexpr std::uint32_t kTransactions = 60;
  const auto data_of = [](std::uint32_t thread, std::uint32_t n, char part) {
    return fmt::format(R"({{"thread":{},"n":{},"part":"{}"}})", thread, n, part);
  };
  std::atomic<bool> done{false};
  // Follows while others write: nothing twice, nothing left out, nothing out of order.
  auto follower = std::async(std::launch::async, [&] {
    Sequence after = 0;
    std::vector<LogEntry> seen;
    for (bool last_round = false;; last_round = done) {
      const auto page = value(log().read(after, AllTypes(), 7, 1'000'000));
      for (const LogEntry& entry : page.entries) seen.push_back(entry);
      after = page.read_through;
      if (page.entries.empty() && last_round) return seen;
      if (page.entries.empty()) log().wait_beyond(after, milliseconds(10), {});
    }
  });
  {
    std::vector<std::jthread> writers;
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      writers.emplace_back([&, thread] {
        for (std::uint32_t n = 0; n < kTransactions; ++n) {
          const std::uint32_t first = (thread * kTransactions + n) * 2;
          const std::vector batch{event("test.a", first, data_of(thread, n, 'a')),
                                  event("test.b", first + 1, data_of(thread, n, 'b'))};
          const bool gives_up = n % 5 == 4;
          const auto outcome = store().transact([&](Transaction& transaction) -> Result<void> {
            TRY(transaction.log().append(batch));
            if (gives_up) return fail(ErrorCode::invalid_argument, "gives up");
            return {};
          });
          EXPECT_EQ(outcome.has_value(), !gives_up);
        }
      });
    }
  }
  done = true;
  const std::vector<LogEntry> seen = follower.get();
  ASSERT_EQ(seen.size(), kThreads * kTransactions / 5 * 4 * 2);
  std::vector<std::int64_t> next(kThreads, 0);
  for (std::size_t i = 0; i < seen.size(); i += 2) {
    EXPECT_EQ(seen[i].sequence, static_cast<Sequence>(i + 1));
    const auto thread = *seen[i].event->data().find("thread")->integer();
    const auto n = *seen[i].event->data().find("n")->integer();
    EXPECT_NE(n % 5, 4);
    std::int64_t& expected = next[static_cast<std::size_t>(thread)];
    EXPECT_EQ(n, expected) << "of thread " << thread;
    expected = n + 1 + ((n + 1) % 5 == 4);
    // What one transaction appended stands together.
    EXPECT_EQ(seen[i].event->type(), "test.a");
    EXPECT_EQ(seen[i + 1].event->type(), "test.b");
    EXPECT_EQ(seen[i + 1].event->data().raw(),
              data_of(static_cast<std::uint32_t>(thread), static_cast<std::uint32_t>(n), 'b'));
  }
}

INSTANTIATE_TEST_SUITE_P(EveryStore, LogContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
