#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::OutboxCounts;
using store::OutboxEntry;
using store::Sequence;
using store::Transaction;

using Sequences = std::vector<Sequence>;

/// Event `n`, which belongs to run `run`; 0: to none.
events::EventPtr event_of(std::uint32_t n, std::uint32_t run) {
  return event("test.a", n,
               run == 0 ? fmt::format(R"({{"n":{}}})", n)
                        : fmt::format(R"({{"n":{},"workflowId":"{}"}})", n, id<WorkflowId>(run).to_string()));
}

class OutboxContract : public StoreContract {
 protected:
  std::vector<OutboxEntry> unpublished(Timestamp now = kStart, std::size_t count_max = 1'000,
                                       std::size_t bytes_max = std::size_t{1} << 20) {
    return value(read([&](const Transaction& t) { return t.outbox().unpublished(now, count_max, bytes_max); }));
  }
  static Sequences sequences(const std::vector<OutboxEntry>& entries) {
    Sequences result;
    for (const OutboxEntry& entry : entries) result.push_back(entry.sequence);
    return result;
  }
  void mark(Sequences published) {
    EXPECT_OK(write([&](Transaction& t) { return t.outbox().mark_published(published); }));
  }
  void park(Sequences returned, Timestamp until) {
    EXPECT_OK(write([&](Transaction& t) { return t.outbox().park(returned, until); }));
  }
  OutboxCounts counts() {
    return value(read([&](const Transaction& t) { return t.outbox().counts(); }));
  }
  std::size_t trim(Sequence through) {
    return value(write([&](Transaction& t) { return t.log().trim(through, at(1'000), 1'000); }));
  }
};

TEST_P(OutboxContract, HoldsWhatWasAppendedUntilItIsMarked) {
  append({event_of(1, 1), event_of(2, 0)});
  append({event_of(3, 2)});
  harness_->restart();
  const auto waiting = unpublished();
  ASSERT_EQ(sequences(waiting), (Sequences{1, 2, 3}));
  EXPECT_EQ(waiting[1].event->id(), id<EventId>(2));
  EXPECT_EQ(waiting[1].event->bytes(), event_of(2, 0)->bytes());
  EXPECT_EQ(waiting[1].returns, 0);
  mark({2});
  EXPECT_EQ(sequences(unpublished()), (Sequences{1, 3})) << "what is left is known by its state, not by a position";
  mark({1, 3});
  EXPECT_TRUE(unpublished().empty());
  harness_->restart();
  EXPECT_TRUE(unpublished().empty());
  EXPECT_EQ(entries().size(), 3U) << "the log keeps them";
}

TEST_P(OutboxContract, PassesOverMarksOfWhatIsNotInIt) {
  append({event_of(1, 1), event_of(2, 1)});
  mark({1});
  mark({1, 7});
  park({1, 7}, at(10));
  EXPECT_EQ(sequences(unpublished()), (Sequences{2}));
  mark({});
  park({}, at(10));
  EXPECT_EQ(counts().parked, 0);
}

TEST_P(OutboxContract, HoldsNothingOfATransactionThatFailed) {
  EXPECT_ERROR(conflict, write([&](Transaction& t) -> Result<void> {
                 TRY(t.log().append(std::vector{event_of(1, 1)}));
                 return fail(ErrorCode::conflict, "no");
               }));
  EXPECT_TRUE(unpublished().empty());
  append({event_of(2, 1)});
  EXPECT_ERROR(conflict, write([&](Transaction& t) -> Result<void> {
                 TRY(t.outbox().mark_published(Sequences{1}));
                 return fail(ErrorCode::conflict, "no");
               }));
  EXPECT_EQ(sequences(unpublished()), (Sequences{1})) << "a mark that was rolled back is none";
}

TEST_P(OutboxContract, GivesAtMostSoManyEntriesAndAboutSoManyBytesButNeverNothing) {
  for (std::uint32_t n = 1; n <= 5; ++n) append({event_of(n, n)});
  EXPECT_EQ(sequences(unpublished(kStart, 2)), (Sequences{1, 2}));
  EXPECT_EQ(sequences(unpublished(kStart, 100, 1)), (Sequences{1}));
  EXPECT_EQ(sequences(unpublished(kStart, 100, 2 * event_of(1, 1)->bytes().size())), (Sequences{1, 2}));
  mark({1});
  EXPECT_EQ(sequences(unpublished(kStart, 2)), (Sequences{2, 3}));
}

TEST_P(OutboxContract, HoldsAnEventOfAMebibyte) {
  const std::string data = fmt::format(R"({{"text":"{}"}})", std::string(1'048'000, 'x'));
  append({event("test.a", 1, data), event_of(2, 1)});
  const auto waiting = unpublished(kStart, 10, 1'000);
  ASSERT_EQ(sequences(waiting), (Sequences{1}));
  EXPECT_EQ(waiting[0].event->data().raw(), data);
}

TEST_P(OutboxContract, KeepsIdAndTimeOfAnEventWhoseBytesHaveNone) {
  const std::string text = R"({"type":"test.a","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01","data":{}})";
  append({value(contracts().read(text, at(-60), id<EventId>(7)))});
  const auto waiting = unpublished();
  ASSERT_EQ(waiting.size(), 1U);
  EXPECT_EQ(waiting[0].event->bytes(), text);
  EXPECT_EQ(waiting[0].event->id(), id<EventId>(7));
  EXPECT_EQ(waiting[0].event->timestamp(), at(-60));
}

TEST_P(OutboxContract, PassesOverAParkedEntryAndTheLaterOnesOfItsRunWhileOthersGoOn) {
  append({event_of(1, 1), event_of(2, 1), event_of(3, 2), event_of(4, 1), event_of(5, 2), event_of(6, 0)});
  park({2}, at(10));
  EXPECT_EQ(sequences(unpublished(at(9))), (Sequences{1, 3, 5, 6})) << "1 came before it, 4 after it";
  append({event_of(7, 1), event_of(8, 3)});
  EXPECT_EQ(sequences(unpublished(at(9))), (Sequences{1, 3, 5, 6, 8}));
  const auto due = unpublished(at(10));
  EXPECT_EQ(sequences(due), (Sequences{1, 2, 3, 5, 6, 8})) << "what stands behind it waits until it is published";
  EXPECT_EQ(due[1].returns, 1);
  EXPECT_EQ(due[2].returns, 0);
  mark({1, 2, 3, 5, 6, 8});
  EXPECT_EQ(sequences(unpublished(at(10))), (Sequences{4, 7}));
}

TEST_P(OutboxContract, DoesNotLetWhatCameBackCrowdOutTheRest) {
  for (std::uint32_t n = 1; n <= 20; ++n) append({event_of(n, n)});
  park({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, at(10));
  EXPECT_EQ(sequences(unpublished(at(10), 8)), (Sequences{1, 2, 11, 12, 13, 14, 15, 16}));
  mark({11, 12, 13, 14, 15, 16, 17, 18, 19, 20});
  EXPECT_EQ(sequences(unpublished(at(10), 8)), (Sequences{1, 2}));
  EXPECT_EQ(sequences(unpublished(at(10), 1)), (Sequences{1}));
}

TEST_P(OutboxContract, CountsHowOftenAnEntryCameBack) {
  append({event_of(1, 1)});
  park({1}, at(10));
  park({1}, at(20));
  harness_->restart();
  EXPECT_TRUE(unpublished(at(19)).empty());
  const auto due = unpublished(at(20));
  ASSERT_EQ(due.size(), 1U);
  EXPECT_EQ(due[0].returns, 2);
}

TEST_P(OutboxContract, LetsARunGoOnWhenItsParkedEntryWasPublished) {
  append({event_of(1, 1), event_of(2, 1)});
  park({1}, at(10));
  EXPECT_TRUE(unpublished(at(5)).empty());
  mark({1});
  EXPECT_EQ(sequences(unpublished(at(5))), (Sequences{2}));
}

TEST_P(OutboxContract, HoldsUpNothingElseForAParkedEventOfNoRun) {
  append({event_of(1, 0), event_of(2, 0), event_of(3, 1)});
  park({1}, at(10));
  EXPECT_EQ(sequences(unpublished(at(5))), (Sequences{2, 3}));
  // A workflowId that is no uuid is none.
  append({event("test.a", 4, R"({"workflowId":"abc"})"), event("test.a", 5, R"({"workflowId":"abc"})")});
  park({4}, at(10));
  EXPECT_EQ(sequences(unpublished(at(5))), (Sequences{2, 3, 5}));
}

TEST_P(OutboxContract, CountsWhatWaitsAndSinceWhen) {
  EXPECT_EQ(counts().waiting, 0);
  EXPECT_EQ(counts().oldest, std::nullopt);
  append({event_of(1, 1)});
  clock_.set(at(5));
  append({event_of(2, 2), event_of(3, 3)});
  park({2}, at(10));
  OutboxCounts found = counts();
  EXPECT_EQ(found.waiting, 3);
  EXPECT_EQ(found.parked, 1);
  EXPECT_EQ(found.oldest, kStart);
  mark({1});
  found = counts();
  EXPECT_EQ(found.waiting, 2);
  EXPECT_EQ(found.oldest, at(5));
  mark({2, 3});
  EXPECT_EQ(counts().parked, 0);
}

TEST_P(OutboxContract, KeepsInTheLogWhatAwaitsPublicationAndAllBehindIt) {
  append({event_of(1, 1), event_of(2, 2), event_of(3, 3), event_of(4, 4)});
  EXPECT_EQ(trim(4), 0U);
  mark({1, 3});
  EXPECT_EQ(trim(4), 1U) << "3 is published, but 2 before it is not";
  park({2}, at(10'000));
  EXPECT_EQ(trim(4), 0U);
  mark({2});
  EXPECT_EQ(trim(4), 2U);
  EXPECT_EQ(sequences(unpublished()), (Sequences{4}));
  EXPECT_EQ(entries().size(), 1U);
}

TEST_P(OutboxContract, GivesEachEntryOnceAndARunsInOrderWhoeverAppendsMeanwhile) {
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kEach = 40;
  std::atomic<bool> done{false};
  std::vector<OutboxEntry> published;
  std::thread relay([&] {
    for (bool last_round = false;; last_round = done) {
      const auto batch = unpublished(kStart, 13);
      published.insert(published.end(), batch.begin(), batch.end());
      mark(sequences(batch));
      if (batch.empty() && last_round) return;
    }
  });
  {
    std::vector<std::jthread> writers;
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      writers.emplace_back([&, thread] {
        for (std::uint32_t i = 0; i < kEach; ++i) append({event_of(1 + thread * kEach + i, 1 + thread)});
      });
    }
  }
  done = true;
  relay.join();
  ASSERT_EQ(published.size(), kThreads * kEach);
  std::map<std::string, std::int64_t> last_of_run;
  for (std::size_t i = 0; i < published.size(); ++i) {
    EXPECT_EQ(published[i].sequence, static_cast<Sequence>(i + 1));
    const auto data = published[i].event->data();
    std::int64_t& last = last_of_run[*data.find("workflowId")->string()];
    const auto n = *data.find("n")->integer();
    EXPECT_LT(last, n);
    last = n;
  }
}

std::vector<StoreUnderTest> stores_where(bool outbox) {
  std::vector<StoreUnderTest> found = stores();
  std::erase_if(found, [&](const StoreUnderTest& one) { return one.outbox != outbox; });
  return found;
}
INSTANTIATE_TEST_SUITE_P(EveryStoreWithABroker, OutboxContract, testing::ValuesIn(stores_where(true)),
                         name_of<StoreUnderTest>);

using NoOutboxContract = OutboxContract;

TEST_P(NoOutboxContract, IsEmptyWhereTheLogIsTheBus) {
  append({event_of(1, 1), event_of(2, 2)});
  EXPECT_TRUE(unpublished().empty());
  EXPECT_EQ(counts().waiting, 0);
  mark({1});
  park({2}, at(10));
  EXPECT_EQ(counts().parked, 0);
  EXPECT_EQ(trim(2), 2U);
}
INSTANTIATE_TEST_SUITE_P(EveryStoreWithoutABroker, NoOutboxContract, testing::ValuesIn(stores_where(false)),
                         name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
