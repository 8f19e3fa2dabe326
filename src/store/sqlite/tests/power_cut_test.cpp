#include <sqlite3.h>

#include <algorithm>
#include <filesystem>

#include "store/sqlite/tests/fixtures.h"

namespace wfo::store::sqlite {
namespace {

using namespace fixtures;
using test::Loss;
using test::Moment;
using test::UnsyncedVfs;

struct Cut {
  std::string name;
  Moment moment;
  Loss loss;
};

class PowerCut : public testing::TestWithParam<Cut> {
 protected:
  /// Works on an empty folder until the power goes at the n-th sync. Then, with the power on again, `check` is told how
  /// much had been acknowledged. Returns whether the power went at all.
  template <class Work, class Check>
  bool cut_at(std::int64_t n, Work work, Check check) {
    const test::TemporaryDirectory directory;
    vfs_.cut_at_sync(n, GetParam().moment, GetParam().loss, static_cast<std::uint64_t>(n));
    const std::int64_t acknowledged = work(directory.path());
    const bool was_cut = vfs_.is_cut();
    vfs_.power_on();
    check(directory.path(), acknowledged);
    return was_cut;
  }

  UnsyncedVfs vfs_{"power_cut"};
  Opener opener_;
};

// Small pages and a short log, so that checkpoints and new rounds of the log happen all the time.
constexpr int kPageBytes = 512;
constexpr int kCheckpointPages = 16;
constexpr std::int64_t kTransactions = 12;
constexpr std::size_t kPadding = 3'000;

TEST_P(PowerCut, LeavesThoseTransactionsInTheStoreThatWereAcknowledgedAndNoPartOfAnother) {
  const auto config = [&](const std::filesystem::path& directory) {
    return SqliteStoreConfig{.directory = directory,
                             .page_bytes = kPageBytes,
                             .readers = 1,
                             .checkpoint_pages = kCheckpointPages,
                             .disk_free_min_bytes = 0,
                             .vfs = vfs_.name()};
  };
  // Each transaction writes to several tables, so that half of one would show.
  const auto work = [&](const std::filesystem::path& directory) -> std::int64_t {
    const auto store = opener_.store(config(directory));
    if (!store) return 0;
    for (std::int64_t n = 1; n <= kTransactions; ++n) {
      const std::vector events{event(n * 2, kPadding), event(n * 2 + 1)};
      const auto committed = (*store)->transact([&](Transaction& t) -> Result<void> {
        TRY(t.log().append(events));
        TRY(t.runs().insert(run(n), true));
        return t.positions().set("consumer", n);
      });
      if (!committed) {
        EXPECT_EQ(committed.error().code, ErrorCode::unavailable) << committed.error().message;
        EXPECT_TRUE(vfs_.is_cut());
        return n - 1;
      }
    }
    return kTransactions;
  };
  const auto check = [&](const std::filesystem::path& directory, std::int64_t acknowledged) {
    const auto store = opener_.store(config(directory));
    ASSERT_TRUE(store) << store.error().message;
    const auto page = (*store)->read(0, AllTypes(), 1'000, 1'000'000);
    ASSERT_TRUE(page) << page.error().message;
    const auto last = (*store)->last();
    // The one that was cut off may have become durable: nobody was told either way.
    EXPECT_EQ(last % 2, 0);
    EXPECT_GE(last / 2, acknowledged);
    EXPECT_LE(last / 2, acknowledged + 1);
    ASSERT_EQ(page->entries.size(), static_cast<std::size_t>(last));
    for (std::size_t i = 0; i < page->entries.size(); ++i) {
      EXPECT_EQ(page->entries[i].sequence, static_cast<Sequence>(i + 1));
      EXPECT_EQ(page->entries[i].event->id(), id<EventId>(static_cast<std::int64_t>(i) + 2));
    }
    const auto read = (*store)->read([&](const Transaction& t) -> Result<void> {
      TRY_ASSIGN(const auto position, t.positions().get("consumer"));
      EXPECT_EQ(position, last / 2);
      TRY_ASSIGN(const auto active, t.runs().count_active());
      EXPECT_EQ(active, last / 2);
      for (std::int64_t n = 1; n <= kTransactions; ++n) {
        const auto wanted = id<WorkflowId>(n);
        TRY_ASSIGN(const auto found, t.runs().load({&wanted, 1}));
        EXPECT_EQ(found[0].has_value(), n <= last / 2) << n;
      }
      return {};
    });
    EXPECT_TRUE(read) << read.error().message;
    // And it goes on from there.
    const std::vector events{event(1'000)};
    EXPECT_TRUE((*store)->transact([&](Transaction& t) { return t.log().append(events); }));
    EXPECT_EQ((*store)->last(), last + 1);
  };
  std::int64_t n = 1;
  while (cut_at(n, work, check) && !HasFatalFailure()) ++n;
  EXPECT_GT(n, kTransactions + 5) << "each commit and some checkpoints sync";
}

TEST_P(PowerCut, LeavesThoseEntriesInTheLedgerThatWereAcknowledgedAndNoPartOfAnotherBatch) {
  const auto config = [&](const std::filesystem::path& directory) {
    return SqliteLedgerConfig{.directory = directory,
                              .page_bytes = kPageBytes,
                              .readers = 1,
                              .checkpoint_pages = kCheckpointPages,
                              .vfs = vfs_.name()};
  };
  const auto work = [&](const std::filesystem::path& directory) -> std::int64_t {
    const auto ledger = opener_.ledger(config(directory));
    if (!ledger) return 0;
    for (std::int64_t n = 1; n <= kTransactions; ++n) {
      std::vector<LedgerRecord> records(2);
      for (std::size_t i = 0; i < records.size(); ++i) {
        records[i].event = event(n * 2 + static_cast<std::int64_t>(i), kPadding);
        records[i].workflow = id<WorkflowId>(n);
        records[i].received_at = kStart;
      }
      if (!(*ledger)->append(records, {}, "consumer", n)) {
        EXPECT_TRUE(vfs_.is_cut());
        return n - 1;
      }
    }
    return kTransactions;
  };
  const auto check = [&](const std::filesystem::path& directory, std::int64_t acknowledged) {
    const auto ledger = opener_.ledger(config(directory));
    ASSERT_TRUE(ledger) << ledger.error().message;
    const auto size = (*ledger)->size(kTenant);
    ASSERT_TRUE(size) << size.error().message;
    EXPECT_EQ(*size % 2, 0);
    EXPECT_GE(*size / 2, acknowledged);
    EXPECT_LE(*size / 2, acknowledged + 1);
    EXPECT_EQ((*ledger)->position("consumer"), *size / 2);
    const auto entries = (*ledger)->search({.tenant = kTenant});
    ASSERT_TRUE(entries) << entries.error().message;
    ASSERT_EQ(entries->size(), static_cast<std::size_t>(*size));
    for (std::size_t i = 0; i < entries->size(); ++i) {
      EXPECT_EQ((*entries)[i].index, static_cast<LedgerIndex>(i));
      EXPECT_EQ((*entries)[i].event_id, id<EventId>(static_cast<std::int64_t>(i) + 2));
    }
    for (std::int64_t n = 1; n <= kTransactions; ++n) {
      const auto found = (*ledger)->search({.tenant = kTenant, .workflow = id<WorkflowId>(n)});
      ASSERT_TRUE(found) << found.error().message;
      EXPECT_EQ(found->size(), n <= *size / 2 ? 2U : 0U);
    }
  };
  std::int64_t n = 1;
  while (cut_at(n, work, check) && !HasFatalFailure()) ++n;
  EXPECT_GT(n, kTransactions + 5);
}

// That the harness does lose writes: without it the tests above would prove nothing.
TEST_P(PowerCut, LosesATransactionThatIsNotSynced) {
  const test::TemporaryDirectory directory;
  const auto count = [&](sqlite3* handle) {
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(handle, "SELECT count(*) FROM t", -1, &statement, nullptr), SQLITE_OK)
        << sqlite3_errmsg(handle);
    EXPECT_EQ(sqlite3_step(statement), SQLITE_ROW) << sqlite3_errmsg(handle);
    const int rows = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return rows;
  };
  sqlite3* handle = nullptr;
  const auto open = [&] {
    ASSERT_EQ(sqlite3_open_v2((directory / "t.db").c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                              vfs_.name().c_str()),
              SQLITE_OK);
  };
  open();
  ASSERT_EQ(sqlite3_exec(handle,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (a);"
                         "INSERT INTO t VALUES (1); PRAGMA synchronous=OFF; INSERT INTO t VALUES (2);",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  EXPECT_EQ(count(handle), 2);
  vfs_.lose_unsynced(GetParam().loss);
  EXPECT_NE(sqlite3_exec(handle, "INSERT INTO t VALUES (3)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(handle);
  vfs_.power_on();
  open();
  EXPECT_EQ(count(handle), 1);
  sqlite3_close(handle);
}

INSTANTIATE_TEST_SUITE_P(EverySync, PowerCut,
                         testing::Values(Cut{"before_all_lost", Moment::before, Loss::all},
                                         Cut{"before_torn", Moment::before, Loss::torn},
                                         Cut{"after_all_lost", Moment::after, Loss::all},
                                         Cut{"after_torn", Moment::after, Loss::torn}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace wfo::store::sqlite
