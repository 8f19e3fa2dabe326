#include "store/sqlite/sqlite_store.h"

#include <sqlite3.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "store/sqlite/tests/fixtures.h"

namespace wfo::store::sqlite {
namespace {

using namespace fixtures;
namespace fs = std::filesystem;

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreConfig config(std::string vfs = {}) {
    return {.directory = directory_.path(), .readers = 2, .disk_free_min_bytes = 0, .vfs = std::move(vfs)};
  }
  std::unique_ptr<SqliteStore> open(SqliteStoreConfig config) {
    auto store = opener_.store(std::move(config));
    if (!store) throw std::runtime_error(store.error().message);
    return *std::move(store);
  }
  static Result<void> append(SqliteStore& store, std::int64_t n, std::size_t padding = 0) {
    const std::vector events{event(n, padding)};
    return store.transact([&](Transaction& t) { return t.log().append(events); });
  }
  static std::vector<EventId> ids(SqliteStore& store) {
    std::vector<EventId> found;
    const auto page = store.read(0, AllTypes(), 100'000, std::size_t{1} << 30);
    EXPECT_TRUE(page) << page.error().message;
    for (const auto& entry : page->entries) found.push_back(entry.event->id());
    return found;
  }
  void execute(const std::string& file, const std::string& sql) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open((directory_ / file).c_str(), &handle), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
    sqlite3_close(handle);
  }

  test::TemporaryDirectory directory_;
  Opener opener_;
};

TEST_F(SqliteStoreTest, ChangesItsKindOfBusOnlyWhileNothingWasAppended) {
  const auto with_broker = [this] {
    auto wanted = config();
    wanted.outbox = true;
    return wanted;
  };
  open(config());
  EXPECT_TRUE(append(*open(with_broker()), 1));
  const auto refused = opener_.store(config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find("used with a broker"), std::string::npos) << refused.error().message;
  EXPECT_EQ(ids(*open(with_broker())).size(), 1U);
}

TEST_F(SqliteStoreTest, RefusesABrokerForAFileFromBeforeBrokersWereKnown) {
  EXPECT_TRUE(append(*open(config()), 1));
  execute("wfo.db", "DELETE FROM installation");
  auto with_broker = config();
  with_broker.outbox = true;
  const auto refused = opener_.store(with_broker);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_EQ(ids(*open(config())).size(), 1U);
}

TEST_F(SqliteStoreTest, RefusesToServeWhatWasMovedAndSaysWhereTo) {
  EXPECT_TRUE(append(*open(config()), 1));
  execute("wfo.db", "UPDATE installation SET moved_to = 'postgresql://db.example/wfo'");
  const auto refused = opener_.store(config());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_NE(refused.error().message.find("postgresql://db.example/wfo"), std::string::npos) << refused.error().message;
}

TEST_F(SqliteStoreTest, RefusesASchemaThatIsNewerThanTheProgram) {
  open(config());
  execute("wfo.db", "PRAGMA user_version=99");
  const auto store = opener_.store(config());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::conflict);
  EXPECT_NE(store.error().message.find("99"), std::string::npos) << store.error().message;
  EXPECT_NE(store.error().message.find("wfo.db"), std::string::npos) << store.error().message;
}

TEST_F(SqliteStoreTest, RefusesAFileThatIsNoDatabase) {
  std::ofstream(directory_ / "wfo.db") << std::string(10'000, 'x');
  const auto store = opener_.store(config());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::corruption);
  EXPECT_NE(store.error().message.find("wfo.db"), std::string::npos) << store.error().message;
}

TEST_F(SqliteStoreTest, NamesTheFolderThatIsNone) {
  auto somewhere = config();
  somewhere.directory = directory_ / "missing";
  const auto store = opener_.store(somewhere);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::unavailable);
  EXPECT_NE(store.error().message.find("missing"), std::string::npos) << store.error().message;
  EXPECT_NE(store.error().message.find("No such file or directory"), std::string::npos) << store.error().message;
}

TEST_F(SqliteStoreTest, NamesTheSettingThatIsOutOfBounds) {
  struct Case {
    std::string field;
    void (*spoil)(SqliteStoreConfig&);
  };
  for (const auto& [field, spoil] : {
           Case{"page_bytes", [](SqliteStoreConfig& c) { c.page_bytes = 5'000; }},
           Case{"cache_kib", [](SqliteStoreConfig& c) { c.cache_kib = 0; }},
           Case{"reader_cache_kib", [](SqliteStoreConfig& c) { c.reader_cache_kib = -1; }},
           Case{"readers", [](SqliteStoreConfig& c) { c.readers = 0; }},
           Case{"checkpoint_pages", [](SqliteStoreConfig& c) { c.checkpoint_pages = 1; }},
           Case{"group_max", [](SqliteStoreConfig& c) { c.group_max = 0; }},
           Case{"queue_max", [](SqliteStoreConfig& c) { c.queue_max = 0; }},
           Case{"directory", [](SqliteStoreConfig& c) { c.directory = ""; }},
       }) {
    auto bad = config();
    spoil(bad);
    const auto store = opener_.store(bad);
    ASSERT_FALSE(store) << field;
    EXPECT_EQ(store.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(store.error().message.find(field), std::string::npos) << store.error().message;
  }
}

TEST_F(SqliteStoreTest, CommitsTogetherWhatWaitsForTheWriter) {
  const auto store = open(config());
  EXPECT_EQ(opener_.metric("store_commits_total"), "store_commits_total 0");
  std::mutex mutex;
  std::condition_variable changed;
  bool busy = false;
  bool go_on = false;
  // One transaction keeps the writer busy until the others wait.
  std::jthread first([&] {
    EXPECT_TRUE(store->transact([&](Transaction&) -> Result<void> {
      std::unique_lock lock(mutex);
      busy = true;
      changed.notify_all();
      changed.wait(lock, [&] { return go_on; });
      return {};
    }));
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return busy; });
  }
  std::vector<std::jthread> others;
  for (int n = 1; n <= 10; ++n) {
    others.emplace_back([&, n] { EXPECT_TRUE(append(*store, n)); });
  }
  while (store->waiting() < 10) std::this_thread::yield();
  {
    const std::lock_guard lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  first.join();
  others.clear();
  EXPECT_EQ(ids(*store).size(), 10U);
  EXPECT_EQ(opener_.metric("store_commits_total"), "store_commits_total 2");
  EXPECT_EQ(opener_.metric("store_transactions_total"), "store_transactions_total 11");
}

TEST_F(SqliteStoreTest, SyncsOnceForACommit) {
  const test::UnsyncedVfs vfs("group");
  {
    const auto store = open(config(vfs.name()));
    EXPECT_TRUE(append(*store, 1));
    const auto before = vfs.syncs();
    for (int n = 2; n <= 11; ++n) EXPECT_TRUE(append(*store, n));
    EXPECT_EQ(vfs.syncs() - before, 10);
  }
}

TEST_F(SqliteStoreTest, SaysThatTheDiskIsFullAndGoesOnWhenItIsNotAnyMore) {
  for (const int code : {SQLITE_FULL, SQLITE_IOERR_WRITE}) {
    test::UnsyncedVfs vfs("full");
    test::TemporaryDirectory directory;
    auto where = config(vfs.name());
    where.directory = directory.path();
    const auto store = open(where);
    EXPECT_TRUE(append(*store, 1));
    for (std::int64_t writes = 0; writes < 3; ++writes) {
      vfs.fail_writes_after(writes, code);
      const auto refused = append(*store, 100, 50'000);
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
      EXPECT_NE(refused.error().message.find((directory / "wfo.db").string()), std::string::npos)
          << refused.error().message;
      EXPECT_EQ(store->last(), 1);
      EXPECT_EQ(ids(*store).size(), 1U) << "reads go on";
      vfs.heal();
    }
    EXPECT_TRUE(append(*store, 2));
    EXPECT_EQ(ids(*store), (std::vector{id<EventId>(1), id<EventId>(2)}));
    EXPECT_EQ(store->last(), 2) << "no sequence was lost";
  }
}

TEST_F(SqliteStoreTest, TellsAllWhoseTransactionsCouldNotBeCommittedTogether) {
  test::UnsyncedVfs vfs("group_full");
  const auto store = open(config(vfs.name()));
  EXPECT_TRUE(append(*store, 1));
  vfs.fail_syncs_after(0);
  {
    std::vector<std::jthread> threads;
    for (int n = 2; n <= 9; ++n) {
      threads.emplace_back([&, n] {
        const auto refused = append(*store, n);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
      });
    }
  }
  vfs.heal();
  EXPECT_TRUE(append(*store, 10));
  EXPECT_EQ(ids(*store), (std::vector{id<EventId>(1), id<EventId>(10)}));
  EXPECT_NE(opener_.metric("store_commit_failures_total"), "store_commit_failures_total 0");
}

TEST_F(SqliteStoreTest, KeepsItsWriteAheadLogShortAlsoWhileReadersComeAndGo) {
  auto small = config();
  small.page_bytes = 4096;
  small.checkpoint_pages = 64;
  const auto store = open(small);
  std::atomic<bool> done{false};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      // One snapshot follows the other, and each sees two tables.
      while (!done) {
        EXPECT_TRUE(store->read([](const Transaction& t) -> Result<void> {
          TRY(t.positions().all());
          TRY(t.runs().next_wake_up());
          return {};
        }));
      }
    });
  }
  std::uintmax_t longest = 0;
  for (int n = 0; n < 400; ++n) {
    EXPECT_TRUE(append(*store, n, 20'000));
    longest = std::max(longest, fs::file_size(directory_ / "wfo.db-wal"));
  }
  done = true;
  readers.clear();
  EXPECT_LT(longest, std::uintmax_t{6 * 64 * 4096}) << "all in all 8 MB were written";
}

TEST_F(SqliteStoreTest, TakesNoNewWorkWhenTheDiskIsNearlyFull) {
  std::uint64_t free = 1'000;
  int asked = 0;
  auto marked = config();
  marked.disk_free_min_bytes = 1'000;
  marked.disk_free = [&]() -> Result<std::uint64_t> {
    ++asked;
    return free;
  };
  const auto store = open(marked);
  EXPECT_TRUE(store->admission());
  free = 999;
  EXPECT_TRUE(store->admission()) << "asks once a second";
  EXPECT_EQ(asked, 1);
  opener_.clock.advance(std::chrono::seconds(1));
  const auto refused = store->admission();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  for (const std::string& part : {directory_.path().string(), std::string("999"), std::string("1000")}) {
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  }
  EXPECT_TRUE(append(*store, 1)) << "what was taken is finished";
  free = 5'000;
  opener_.clock.advance(std::chrono::seconds(1));
  EXPECT_TRUE(store->admission());
}

TEST_F(SqliteStoreTest, AsksTheFileSystemForTheFreeSpace) {
  auto marked = config();
  marked.disk_free_min_bytes = std::uint64_t{1} << 62;
  EXPECT_FALSE(open(marked)->admission());
  marked.disk_free_min_bytes = 1;
  EXPECT_TRUE(open(marked)->admission());
}

TEST_F(SqliteStoreTest, MendsTheWakeUpOfARunThatIsWrittenAsItIs) {
  auto store = open(config());
  EXPECT_TRUE(store->transact([](Transaction& t) { return t.runs().insert(run(1), true); }));
  store.reset();
  execute("wfo.db", "UPDATE runs SET wake_up_at = NULL");
  store = open(config());
  const auto mended = store->transact([](Transaction& t) -> Result<void> {
    TRY_ASSIGN(const auto sleeping, t.runs().without_wake_up(10));
    EXPECT_EQ(sleeping, std::vector{id<WorkflowId>(1)});
    TRY_ASSIGN(const auto runs, t.runs().load(sleeping));
    TRY(t.runs().update(*runs[0], runs[0]->run));
    TRY_ASSIGN(const auto left, t.runs().without_wake_up(10));
    EXPECT_TRUE(left.empty());
    TRY_ASSIGN(const auto next, t.runs().next_wake_up());
    EXPECT_EQ(next, run(1).deadline);
    return {};
  });
  EXPECT_TRUE(mended) << mended.error().message;
}

TEST_F(SqliteStoreTest, ServesTheNewestOfTheLogFromMemoryAsItWasAppended) {
  auto store = open(config());
  const std::vector events{event(1)};
  EXPECT_TRUE(store->transact([&](Transaction& t) { return t.log().append(events); }));
  const auto from_memory = store->read(0, AllTypes(), 10, 10'000);
  EXPECT_EQ(from_memory->entries.at(0).event, events[0]) << "the same object";
  store.reset();
  store = open(config());
  EXPECT_TRUE(append(*store, 2));
  const auto from_file = store->read(0, AllTypes(), 10, 10'000);
  ASSERT_EQ(from_file->entries.size(), 2U);
  EXPECT_EQ(from_file->entries[0].event->bytes(), events[0]->bytes());
}

TEST_F(SqliteStoreTest, SaysWhichEntryOfTheLogCannotBeReadAnyMore) {
  auto store = open(config());
  EXPECT_TRUE(append(*store, 1));
  store.reset();
  execute("wfo.db", "UPDATE log SET event = x'7b'");
  store = open(config());
  const auto page = store->read(0, AllTypes(), 10, 10'000);
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::corruption);
  EXPECT_NE(page.error().message.find("log entry 1"), std::string::npos) << page.error().message;
}

// What lists and looks things up must go along an index, or it gets slower with every row.
TEST_F(SqliteStoreTest, LooksAtNoWholeTableWhereOneIsLarge) {
  open(config());
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "wfo.db").c_str(), &handle), SQLITE_OK);
  for (const std::string& sql : std::vector<std::string>{
           "SELECT * FROM runs WHERE id = ?",
           "SELECT id FROM runs WHERE tenant = ? AND opportunity = ? AND status = 0 AND exclusive = 1",
           "SELECT * FROM runs WHERE tenant = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
           "SELECT * FROM runs WHERE tenant = ?1 AND id < ?2 AND +status = 1 ORDER BY id DESC LIMIT ?3",
           "SELECT * FROM runs WHERE tenant = ?1 AND id < ?2 AND status = ?4 AND status <> 1 ORDER BY id DESC LIMIT ?3",
           "SELECT * FROM runs WHERE tenant = ?1 AND id < ?2 AND opportunity = ?4 ORDER BY id DESC LIMIT ?3",
           "SELECT id FROM runs WHERE status = 0 AND wake_up_at <= ? ORDER BY wake_up_at LIMIT ?",
           "SELECT wake_up_at FROM runs WHERE status = 0 AND wake_up_at IS NOT NULL ORDER BY wake_up_at LIMIT 1",
           "SELECT id FROM runs WHERE status = 0 AND wake_up_at IS NULL LIMIT ?",
           "SELECT run FROM runs WHERE status <> 0 AND updated_at < ? ORDER BY updated_at LIMIT ?",
           "SELECT * FROM triggers WHERE workflow = ? AND outcome = 1 AND follow_up IS NULL",
           "SELECT trigger FROM triggers WHERE (outcome <> 1 OR follow_up IS NOT NULL) AND received_at < ? ORDER BY "
           "received_at LIMIT ?",
           "SELECT * FROM opportunities WHERE tenant = ? AND state <> 0 ORDER BY id",
           "SELECT * FROM dead_letters WHERE id < ?1 AND tenant = ?3 AND status = ?4 ORDER BY id DESC LIMIT ?2",
           "SELECT * FROM dead_letters WHERE id < ?1 AND tenant = ?3 ORDER BY id DESC LIMIT ?2",
           "SELECT * FROM dead_letters WHERE id < ?1 AND status = ?3 ORDER BY id DESC LIMIT ?2",
           "SELECT letter FROM dead_letters WHERE status <> 0 AND created_at < ? ORDER BY created_at LIMIT ?",
       }) {
    sqlite3_stmt* statement = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(handle, ("EXPLAIN QUERY PLAN " + sql).c_str(), -1, &statement, nullptr), SQLITE_OK)
        << sqlite3_errmsg(handle);
    while (sqlite3_step(statement) == SQLITE_ROW) {
      const std::string plan = reinterpret_cast<const char*>(sqlite3_column_text(statement, 3));
      EXPECT_TRUE(plan.starts_with("SEARCH")) << sql << ": " << plan;
      EXPECT_EQ(plan.find("TEMP B-TREE"), std::string::npos) << sql << ": " << plan;
    }
    sqlite3_finalize(statement);
  }
  sqlite3_close(handle);
}

}  // namespace
}  // namespace wfo::store::sqlite
