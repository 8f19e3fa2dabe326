#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "store/opportunity_changes.h"
#include "store/postgres/tests/fixtures.h"
#include "support/eventually.h"

// Two processes that do the same at the same time.
namespace wfo::store::postgres {
namespace {

class TablesBetweenProcessesTest : public PostgresTest {
 protected:
  /// Sessions of this test that wait for a lock of another.
  [[nodiscard]] std::int64_t waiting() const {
    return std::stoll(as_superuser(
        fmt::format("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND wait_event_type = 'Lock'",
                    schema_.name())));
  }
  static Result<std::vector<InboxVerdict>> record(Transaction& t, std::vector<std::int64_t> events,
                                                  std::uint64_t digest = 1) {
    std::vector<InboxKey> keys;
    for (const std::int64_t n : events) keys.push_back({kTenant, id<EventId>(n), digest});
    return t.inbox().record("queue", keys, kStart);
  }
  static Trigger trigger(std::int64_t n) {
    Trigger made;
    made.tenant = kTenant;
    made.id = id<EventId>(n);
    made.type = "api";
    made.received_at = kStart + milliseconds(n);
    return made;
  }

  std::unique_ptr<PostgresStore> first_ = open();
  std::unique_ptr<PostgresStore> second_ = open();
};

TEST_F(TablesBetweenProcessesTest, WaitsForAnotherThatIsAboutToNoteTheSameMessageAndThenKnowsIt) {
  std::promise<void> noted;
  std::promise<void> go_on;
  auto one = std::async(std::launch::async, [&] {
    return first_->transact([&](Transaction& t) -> Result<void> {
      TRY(record(t, {1, 2}));
      noted.set_value();
      go_on.get_future().wait();
      return {};
    });
  });
  noted.get_future().wait();
  std::vector<InboxVerdict> verdicts;
  auto other = std::async(std::launch::async, [&] {
    return second_->transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(verdicts, record(t, {3, 2}, 9));
      return {};
    });
  });
  EXPECT_TRUE(test::eventually([&] { return waiting() == 1; }));
  go_on.set_value();
  EXPECT_TRUE(one.get());
  EXPECT_TRUE(other.get());
  EXPECT_EQ(verdicts, (std::vector{InboxVerdict::fresh, InboxVerdict::forged}));
}

TEST_F(TablesBetweenProcessesTest, TakesAMessageForFreshWhenTheOtherGaveItUp) {
  std::promise<void> noted;
  std::promise<void> go_on;
  auto one = std::async(std::launch::async, [&] {
    return first_->transact([&](Transaction& t) -> Result<void> {
      TRY(record(t, {1}));
      noted.set_value();
      go_on.get_future().wait();
      return fail(ErrorCode::conflict, "given up");
    });
  });
  noted.get_future().wait();
  std::vector<InboxVerdict> verdicts;
  auto other = std::async(std::launch::async, [&] {
    return second_->transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(verdicts, record(t, {1}));
      return {};
    });
  });
  EXPECT_TRUE(test::eventually([&] { return waiting() == 1; }));
  go_on.set_value();
  EXPECT_FALSE(one.get());
  EXPECT_TRUE(other.get());
  EXPECT_EQ(verdicts, std::vector{InboxVerdict::fresh});
}

TEST_F(TablesBetweenProcessesTest, NotesEachMessageAndTriggerOnceInWhateverOrderTheyComeToBoth) {
  constexpr std::int64_t kRounds = 15;
  constexpr std::int64_t kBatch = 60;
  std::atomic<std::int64_t> fresh = 0;
  std::atomic<std::int64_t> inserted = 0;
  const auto work = [&](PostgresStore& store, bool backwards) {
    for (std::int64_t round = 0; round < kRounds; ++round) {
      std::vector<std::int64_t> numbers;
      for (std::int64_t i = 0; i < kBatch; ++i) numbers.push_back(round * kBatch / 2 + i);  // half of them again
      if (backwards) std::ranges::reverse(numbers);
      std::vector<Trigger> triggers;
      for (const std::int64_t n : numbers) triggers.push_back(trigger(n));
      std::int64_t fresh_now = 0;
      std::int64_t inserted_now = 0;
      const auto done = store.transact([&](Transaction& t) -> Result<void> {
        TRY_ASSIGN(const auto verdicts, record(t, numbers));
        TRY_ASSIGN(const auto written, t.triggers().insert(triggers));
        fresh_now = std::ranges::count(verdicts, InboxVerdict::fresh);
        inserted_now = std::ranges::count(written, true);
        return {};
      });
      EXPECT_TRUE(done) << error_of(done);
      fresh += fresh_now;
      inserted += inserted_now;
    }
  };
  {
    const std::jthread forwards([&] { work(*first_, false); });
    const std::jthread backwards([&] { work(*second_, true); });
  }
  EXPECT_EQ(fresh, (kRounds + 1) * kBatch / 2);
  EXPECT_EQ(inserted, (kRounds + 1) * kBatch / 2);
}

TEST_F(TablesBetweenProcessesTest, LosesNoneOfTwoChangesOfOneOpportunityAlsoWhereItIsNew) {
  const auto change = [](PostgresStore& store, const OpportunityId& opportunity, const std::string& text) {
    return store.transact([&](Transaction& t) -> Result<void> {
      const auto document = json::Document::parse(text);
      TRY(change_opportunity(t.opportunities(), kTenant, opportunity, "", document->root(), kStart));
      return {};
    });
  };
  for (std::int64_t n = 0; n < 10; ++n) {
    const auto opportunity = id<OpportunityId>(n);
    Result<void> name_changed;
    Result<void> owner_changed;
    {
      const std::jthread one([&] { name_changed = change(*first_, opportunity, R"({"name":"N"})"); });
      const std::jthread other([&] { owner_changed = change(*second_, opportunity, R"({"owner":"O"})"); });
    }
    EXPECT_TRUE(name_changed) << error_of(name_changed);
    EXPECT_TRUE(owner_changed) << error_of(owner_changed);
    const auto read = first_->read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(const auto found, t.opportunities().load(kTenant, {&opportunity, 1}));
      EXPECT_TRUE(found.front());
      EXPECT_EQ(found.front()->name, "N");
      EXPECT_EQ(found.front()->owner, "O");
      return {};
    });
    EXPECT_TRUE(read) << error_of(read);
  }
}

TEST_F(TablesBetweenProcessesTest, PurgesBesideAnotherThatPurgesWithoutWaiting) {
  ASSERT_TRUE(first_->transact([&](Transaction& t) -> Result<void> {
    std::vector<Trigger> triggers;
    for (std::int64_t n = 0; n < 10; ++n) triggers.push_back(trigger(n));
    TRY(t.triggers().insert(triggers));
    TRY(record(t, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    return {};
  }));
  const Timestamp later = kStart + std::chrono::hours(1);
  const auto purge = [&](Transaction& t) -> Result<std::pair<std::size_t, std::size_t>> {
    TRY_ASSIGN(const std::size_t triggers, t.triggers().purge(later, 6));
    TRY_ASSIGN(const std::size_t inbox, t.inbox().purge(later, 6));
    return std::pair(triggers, inbox);
  };
  const auto done = first_->transact([&](Transaction& t) -> Result<void> {
    TRY_ASSIGN(const auto mine, purge(t));
    EXPECT_EQ(mine, std::pair(std::size_t{6}, std::size_t{6}));
    const auto other = second_->transact([&](Transaction& beside) -> Result<void> {
      TRY_ASSIGN(const auto rest, purge(beside));
      EXPECT_EQ(rest, std::pair(std::size_t{4}, std::size_t{4}));
      return {};
    });
    EXPECT_TRUE(other) << error_of(other);
    return {};
  });
  EXPECT_TRUE(done) << error_of(done);
}

TEST_F(TablesBetweenProcessesTest, SettlesADeadLetterOnce) {
  DeadLetter letter;
  letter.id = id<DeadLetterId>(1);
  letter.tenant = kTenant;
  letter.headers = "{}";
  ASSERT_TRUE(first_->transact([&](Transaction& t) { return t.dead_letters().insert(letter); }));
  std::atomic<int> settled = 0;
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (PostgresStore* store : {first_.get(), second_.get(), first_.get(), second_.get()}) {
      threads.emplace_back([&, store] {
        const auto done = store->transact([&](Transaction& t) {
          return t.dead_letters().settle(letter.id, DeadLetterStatus::discarded, std::nullopt, "somebody");
        });
        ++(done ? settled : refused);
        EXPECT_TRUE(done || done.error().code == ErrorCode::conflict) << error_of(done);
      });
    }
  }
  EXPECT_EQ(settled, 1);
  EXPECT_EQ(refused, 3);
}

}  // namespace
}  // namespace wfo::store::postgres
