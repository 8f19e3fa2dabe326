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

  /// How often the database ended one for the sake of another.
  double retries() {
    return metrics_
        .counter("store_transaction_retries_total", "Transactions that were run again, since others got in their way")
        .value();
  }
  static StoredSchedule schedule(std::int64_t n) {
    StoredSchedule made;
    made.name = fmt::format("{:03}", n);
    made.wake_up_at = kStart + milliseconds(n);
    return made;
  }
  static FireRecord skipped(std::string schedule, int at_s) {
    FireRecord made;
    made.schedule = std::move(schedule);
    made.fire.first = made.fire.last = made.decided_at = kStart + std::chrono::seconds(at_s);
    made.fire.cause = schedule::FireCause::paused;
    return made;
  }
  static schedule::JobRun job_run(std::int64_t n) {
    schedule::JobRun made;
    made.id = id<JobRunId>(n);
    made.trigger = id<EventId>(n);
    made.status = schedule::JobRunStatus::running;
    made.due_at = kStart;
    made.holder = "worker";
    return made;
  }
  static std::vector<FireRecord> fires(PostgresStore& store, const std::string& schedule) {
    std::vector<FireRecord> found;
    const auto read = store.read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(found, t.fires().list({.schedule = schedule}));
      return {};
    });
    EXPECT_TRUE(read) << error_of(read);
    return found;
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

TEST_F(TablesBetweenProcessesTest, PassesOverDueSchedulesThatAnotherAttends) {
  ASSERT_TRUE(first_->transact([&](Transaction& t) {
    return done(t.schedules().insert(std::vector{schedule(1), schedule(2), schedule(3), schedule(4)}));
  }));
  const auto due = [](Transaction& t) -> Result<std::vector<std::string>> {
    TRY_ASSIGN(const auto found, t.schedules().due(kStart + std::chrono::hours(1), 2));
    std::vector<std::string> names;
    for (const StoredSchedule& one : found) names.push_back(one.name);
    return names;
  };
  const auto attended = first_->transact([&](Transaction& t) -> Result<void> {
    TRY_ASSIGN(const auto mine, due(t));
    EXPECT_EQ(mine, (std::vector<std::string>{"001", "002"}));
    const auto beside = second_->transact([&](Transaction& theirs) -> Result<void> {
      TRY_ASSIGN(const auto rest, due(theirs));
      EXPECT_EQ(rest, (std::vector<std::string>{"003", "004"}));
      return {};
    });
    EXPECT_TRUE(beside) << error_of(beside);
    // A read locks nothing, and is locked out by nothing.
    return second_->read([&](const Transaction& theirs) -> Result<void> {
      TRY_ASSIGN(const auto all, theirs.schedules().due(kStart + std::chrono::hours(1), 10));
      EXPECT_EQ(all.size(), 4U);
      return {};
    });
  });
  EXPECT_TRUE(attended) << error_of(attended);
}

TEST_F(TablesBetweenProcessesTest, CountsEachFireOnceInWhateverOrderBothAttendToTheSchedules) {
  constexpr int kRounds = 30;
  constexpr std::int64_t kSchedules = 40;
  std::vector<StoredSchedule> all;
  for (std::int64_t n = 0; n < kSchedules; ++n) all.push_back(schedule(n));
  ASSERT_TRUE(first_->transact([&](Transaction& t) { return done(t.schedules().insert(all)); }));
  const auto work = [&](PostgresStore& store, bool backwards) {
    std::vector<std::string> names;
    for (const StoredSchedule& one : all) names.push_back(one.name);
    if (backwards) std::ranges::reverse(names);
    for (int round = 0; round < kRounds; ++round) {
      const auto attended = store.transact([&](Transaction& t) -> Result<void> {
        TRY_ASSIGN(const auto found, t.schedules().find(names));
        std::vector<StoredSchedule> changed;
        std::vector<FireRecord> decided;
        for (const auto& one : found) {
          changed.push_back(*one);
          // The next second that nobody has accounted for.
          decided.push_back(skipped(one->name, static_cast<int>(one->version)));
        }
        TRY(t.fires().record(decided));
        TRY_ASSIGN(const auto written, t.schedules().update(changed));
        EXPECT_EQ(std::ranges::count(written, true), kSchedules) << "they were locked when they were found";
        return {};
      });
      EXPECT_TRUE(attended) << error_of(attended);
    }
  };
  {
    const std::jthread forwards([&] { work(*first_, false); });
    const std::jthread backwards([&] { work(*second_, true); });
  }
  for (const StoredSchedule& one : all) {
    const auto rows = fires(*first_, one.name);
    ASSERT_EQ(rows.size(), 1U) << one.name;
    EXPECT_EQ(rows[0].fire.count, 2 * kRounds) << one.name;
    EXPECT_EQ(rows[0].fire.last, kStart + std::chrono::seconds(2 * kRounds)) << one.name;
  }
  EXPECT_EQ(retries(), 0) << "both took the locks in one order";
}

TEST_F(TablesBetweenProcessesTest, LosesNoFireThatWouldJoinARowThatIsBeingPurged) {
  ASSERT_TRUE(first_->transact([&](Transaction& t) { return t.fires().record(std::vector{skipped("a", 1)}); }));
  std::promise<void> purged;
  std::promise<void> go_on;
  auto purging = std::async(std::launch::async, [&] {
    return first_->transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(const std::size_t count, t.fires().purge(kStart + std::chrono::hours(1), 10));
      EXPECT_EQ(count, 1U);
      purged.set_value();
      go_on.get_future().wait();
      return {};
    });
  });
  purged.get_future().wait();
  auto recording = std::async(std::launch::async, [&] {
    return second_->transact([&](Transaction& t) { return t.fires().record(std::vector{skipped("a", 2)}); });
  });
  EXPECT_TRUE(test::eventually([&] { return waiting() == 1; }));
  go_on.set_value();
  EXPECT_TRUE(purging.get());
  EXPECT_TRUE(recording.get());
  const auto rows = fires(*first_, "a");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].fire.first, kStart + std::chrono::seconds(2));
  EXPECT_EQ(rows[0].fire.count, 1);
}

TEST_F(TablesBetweenProcessesTest, LetsNoHeartbeatGetInTheWayOfWhoWritesTheRun) {
  ASSERT_TRUE(first_->transact([&](Transaction& t) { return done(t.job_runs().insert(std::vector{job_run(1)})); }));
  std::promise<void> beaten;
  std::promise<void> go_on;
  auto beating = std::async(std::launch::async, [&] {
    return first_->transact([&](Transaction& t) -> Result<void> {
      TRY_ASSIGN(const auto held, t.job_runs().heartbeat(std::vector{id<JobRunId>(1)}, "worker", kStart));
      EXPECT_EQ(held.size(), 1U);
      beaten.set_value();
      go_on.get_future().wait();
      return {};
    });
  });
  beaten.get_future().wait();
  std::vector<bool> written;
  auto writing = std::async(std::launch::async, [&] {
    return second_->transact([&](Transaction& t) -> Result<void> {
      StoredJobRun ended{job_run(1), 1};
      ended.run.status = schedule::JobRunStatus::completed;
      TRY_ASSIGN(written, t.job_runs().update({&ended, 1}));
      return {};
    });
  });
  EXPECT_TRUE(test::eventually([&] { return waiting() == 1; }));
  go_on.set_value();
  EXPECT_TRUE(beating.get());
  EXPECT_TRUE(writing.get());
  EXPECT_EQ(written, std::vector{true}) << "a heartbeat is no new version";
}

TEST_F(TablesBetweenProcessesTest, TellsAHeartbeatThatTheRunWasLostMeanwhile) {
  ASSERT_TRUE(first_->transact([&](Transaction& t) {
    return done(t.job_runs().insert(std::vector{job_run(1), job_run(2)}));
  }));
  std::promise<void> taken;
  std::promise<void> go_on;
  auto taking = std::async(std::launch::async, [&] {
    return first_->transact([&](Transaction& t) -> Result<void> {
      StoredJobRun mine{job_run(1), 1};
      mine.run.holder = "other";
      TRY(t.job_runs().update({&mine, 1}));
      taken.set_value();
      go_on.get_future().wait();
      return {};
    });
  });
  taken.get_future().wait();
  std::vector<JobRunId> held;
  auto beating = std::async(std::launch::async, [&] {
    return second_->transact([&](Transaction& t) -> Result<void> {
      const std::vector ids{id<JobRunId>(1), id<JobRunId>(2)};
      TRY_ASSIGN(held, t.job_runs().heartbeat(ids, "worker", kStart + std::chrono::hours(1)));
      return {};
    });
  });
  EXPECT_TRUE(test::eventually([&] { return waiting() == 1; }));
  go_on.set_value();
  EXPECT_TRUE(taking.get());
  EXPECT_TRUE(beating.get());
  EXPECT_EQ(held, std::vector{id<JobRunId>(2)});
}

TEST_F(TablesBetweenProcessesTest, RecordsEachTriggerOnceAndWritesEachVersionOnceInWhateverOrder) {
  constexpr std::int64_t kRounds = 15;
  constexpr std::int64_t kBatch = 40;
  std::atomic<std::int64_t> inserted = 0;
  std::atomic<std::int64_t> updated = 0;
  const auto work = [&](PostgresStore& store, bool backwards) {
    for (std::int64_t round = 0; round < kRounds; ++round) {
      std::vector<schedule::JobRun> runs;
      for (std::int64_t i = 0; i < kBatch; ++i) runs.push_back(job_run(round * kBatch / 2 + i));  // half of them again
      if (backwards) std::ranges::reverse(runs);
      std::int64_t inserted_now = 0;
      std::int64_t updated_now = 0;
      const auto worked = store.transact([&](Transaction& t) -> Result<void> {
        TRY_ASSIGN(const auto fresh, t.job_runs().insert(runs));
        inserted_now = std::ranges::count(fresh, true);
        std::vector<StoredJobRun> first_versions;
        std::vector<JobRunId> ids;
        for (const schedule::JobRun& one : runs) {
          first_versions.push_back({one, 1});
          ids.push_back(one.id);
        }
        TRY(t.job_runs().heartbeat(ids, "worker", kStart));
        TRY_ASSIGN(const auto written, t.job_runs().update(first_versions));
        updated_now = std::ranges::count(written, true);
        return {};
      });
      EXPECT_TRUE(worked) << error_of(worked);
      inserted += inserted_now;
      updated += updated_now;
    }
  };
  {
    const std::jthread forwards([&] { work(*first_, false); });
    const std::jthread backwards([&] { work(*second_, true); });
  }
  EXPECT_EQ(inserted, (kRounds + 1) * kBatch / 2);
  EXPECT_EQ(updated, (kRounds + 1) * kBatch / 2);
  EXPECT_EQ(retries(), 0) << "both took the locks in one order";
}

}  // namespace
}  // namespace wfo::store::postgres
