#include "store/sqlite/sqlite_ledger.h"

#include <sqlite3.h>

#include "store/sqlite/tests/fixtures.h"

namespace wfo::store::sqlite {
namespace {

using namespace fixtures;

class SqliteLedgerTest : public testing::Test {
 protected:
  static Result<std::vector<LedgerOutcome>> append(SqliteLedger& ledger, std::int64_t n, std::size_t padding = 0) {
    LedgerRecord record;
    record.event = event(n, padding);
    record.received_at = kStart;
    return ledger.append({&record, 1}, {}, "consumer", n);
  }

  test::TemporaryDirectory directory_;
  Opener opener_;
};

TEST_F(SqliteLedgerTest, RefusesASchemaThatIsNewerThanTheProgram) {
  ASSERT_TRUE(opener_.ledger({.directory = directory_.path()}));
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open((directory_ / "ledger.db").c_str(), &handle), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(handle, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(handle);
  const auto ledger = opener_.ledger({.directory = directory_.path()});
  ASSERT_FALSE(ledger);
  EXPECT_EQ(ledger.error().code, ErrorCode::conflict);
  EXPECT_NE(ledger.error().message.find("ledger.db"), std::string::npos) << ledger.error().message;
}

TEST_F(SqliteLedgerTest, SaysThatTheDiskIsFullAndGoesOnWhenItIsNotAnyMore) {
  test::UnsyncedVfs vfs("ledger_full");
  const auto opened = opener_.ledger({.directory = directory_.path(), .vfs = vfs.name()});
  ASSERT_TRUE(opened) << opened.error().message;
  SqliteLedger& ledger = **opened;
  EXPECT_TRUE(append(ledger, 1));
  for (std::int64_t writes = 0; writes < 3; ++writes) {
    vfs.fail_writes_after(writes, SQLITE_FULL);
    const auto refused = append(ledger, 100, 50'000);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
    EXPECT_NE(refused.error().message.find((directory_ / "ledger.db").string()), std::string::npos)
        << refused.error().message;
    EXPECT_EQ(ledger.size(kTenant), 1);
    EXPECT_EQ(ledger.position("consumer"), 1);
    vfs.heal();
  }
  EXPECT_TRUE(append(ledger, 2));
  const auto entries = ledger.search({.tenant = kTenant});
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2U);
  EXPECT_EQ(entries->at(1).event_id, id<EventId>(2));
  EXPECT_EQ(entries->at(1).index, 1);
}

TEST_F(SqliteLedgerTest, KnowsAnIdThatCameInATransactionThatFailedForNew) {
  test::UnsyncedVfs vfs("ledger_id");
  const auto ledger = opener_.ledger({.directory = directory_.path(), .vfs = vfs.name()});
  ASSERT_TRUE(ledger) << ledger.error().message;
  vfs.fail_syncs_after(0);
  EXPECT_FALSE(append(**ledger, 1));
  vfs.heal();
  EXPECT_EQ(append(**ledger, 1), std::vector{LedgerOutcome::appended});
}

}  // namespace
}  // namespace wfo::store::sqlite
