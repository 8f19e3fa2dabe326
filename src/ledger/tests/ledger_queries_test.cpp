#include "ledger/ledger_queries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "bus/tests/samples.h"
#include "ledger/tests/memory_ledger.h"

namespace wfo::ledger {
namespace {

using namespace std::chrono_literals;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;

const Timestamp kStart = *parse_timestamp("2026-03-01T09:30:00Z");

class LedgerQueriesTest : public testing::Test {
 protected:
  void add(std::string bytes, const TenantId& tenant = kTenant) {
    auto& list = ledger_.entries[tenant];
    store::LedgerEntry entry;
    entry.tenant = tenant;
    entry.index = static_cast<store::LedgerIndex>(list.size());
    entry.type = entry.index % 2 == 0 ? "even" : "odd";
    entry.timestamp = kStart + milliseconds(entry.index);
    entry.received_at = entry.timestamp + 4ms;
    entry.bytes = std::move(bytes);
    list.push_back(std::move(entry));
  }
  void add_many(int count) {
    for (int i = 0; i < count; ++i) add(fmt::format("{{\"n\":{}}}", i));
  }
  std::string lines_of(const store::LedgerQuery& query) {
    std::string out;
    const auto page = search(ledger_, query);
    EXPECT_TRUE(page) << page.error().message;
    for (const auto& entry : page->entries) append_line(out, entry);
    return out;
  }
  std::vector<store::LedgerIndex> indexes_of(const store::LedgerQuery& query) {
    std::vector<store::LedgerIndex> indexes;
    const auto page = search(ledger_, query);
    EXPECT_TRUE(page) << page.error().message;
    for (const auto& entry : page->entries) indexes.push_back(entry.index);
    return indexes;
  }

  fakes::MemoryLedger ledger_;
};

TEST_F(LedgerQueriesTest, WritesRowsInTheOrderOfTheIndex) {
  add_many(3);
  EXPECT_EQ(lines_of({.tenant = kTenant}),
            R"({"index":0,"receivedAt":"2026-03-01T09:30:00.004Z","event":{"n":0}}
{"index":1,"receivedAt":"2026-03-01T09:30:00.005Z","event":{"n":1}}
{"index":2,"receivedAt":"2026-03-01T09:30:00.006Z","event":{"n":2}}
)");
}

TEST_F(LedgerQueriesTest, LeavesLineBreaksBetweenTokensOutAndSaysSo) {
  add("{\r\n  \"text\" : \"a\\nb\",\n  \"n\" : 1.10\n}\n");
  EXPECT_EQ(lines_of({.tenant = kTenant}),
            "{\"index\":0,\"receivedAt\":\"2026-03-01T09:30:00.004Z\",\"reflowed\":true,\"event\":"
            "{  \"text\" : \"a\\nb\",  \"n\" : 1.10}}\n");
}

TEST_F(LedgerQueriesTest, GivesOnlyWhatTheQueryWants) {
  add_many(6);
  add("{\"other\":1}", kOtherTenant);
  EXPECT_THAT(indexes_of({.tenant = kTenant, .type = "odd", .from = kStart + 1ms, .to = kStart + 5ms}),
              testing::ElementsAre(1, 3));
  EXPECT_THAT(indexes_of({.tenant = kTenant, .after = 3}), testing::ElementsAre(4, 5));
  EXPECT_THAT(indexes_of({.tenant = system_tenant()}), testing::IsEmpty());
}

TEST_F(LedgerQueriesTest, ReadsAFewEntriesAtATime) {
  for (const std::size_t count : {127, 128, 129, 1'000}) {
    ledger_.entries.clear();
    add_many(static_cast<int>(count));
    EXPECT_EQ(indexes_of({.tenant = kTenant, .limit = 1'000}).size(), count);
  }
  EXPECT_EQ(ledger_.largest_page, 128U);
}

TEST_F(LedgerQueriesTest, SearchesInPages) {
  add_many(7);
  auto page = search(ledger_, {.tenant = kTenant, .limit = 3});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 3U);
  EXPECT_EQ(page->next, 2);
  page = search(ledger_, {.tenant = kTenant, .after = 2, .limit = 3});
  EXPECT_EQ(page->entries.front().index, 3);
  EXPECT_EQ(page->next, 5);
  page = search(ledger_, {.tenant = kTenant, .after = 5, .limit = 3});
  EXPECT_EQ(page->entries.size(), 1U);
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_F(LedgerQueriesTest, HasNoNextPageWhereThePageIsJustFull) {
  add_many(300);
  const auto page = search(ledger_, {.tenant = kTenant, .limit = 300});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 300U);
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_F(LedgerQueriesTest, EndsAPageEarlyWhereEntriesAreLarge) {
  for (int i = 0; i < 20; ++i) add(std::string(1'000'000, ' '));
  const auto page = search(ledger_, {.tenant = kTenant, .limit = 1'000});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 8U) << "a ninth would be more than 8 MiB";
  EXPECT_EQ(page->next, 7);
}

TEST_F(LedgerQueriesTest, RefusesWhatCannotBeAsked) {
  EXPECT_EQ(search(ledger_, {.tenant = kTenant, .limit = 0}).error().message, "limit 0: 1 to 1000 are allowed");
  EXPECT_EQ(search(ledger_, {.tenant = kTenant, .limit = 1'001}).error().message, "limit 1001: 1 to 1000 are allowed");
  EXPECT_EQ(search(ledger_, {.tenant = kTenant, .after = -2}).error().message,
            "after -2: -1 (from the beginning) or an index is allowed");
  const auto range = search(ledger_, {.tenant = kTenant, .from = kStart, .to = kStart});
  EXPECT_EQ(range.error().message, "from 2026-03-01T09:30:00.000Z is not before to 2026-03-01T09:30:00.000Z");
}

}  // namespace
}  // namespace wfo::ledger
