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
using testing::HasSubstr;

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
  std::string export_all(const store::LedgerQuery& query, ExportForm form) {
    std::string out;
    const auto summary = queries_.export_lines(query, form, [&](std::string_view line) -> Result<void> {
      out += line;
      return {};
    });
    EXPECT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->bytes, static_cast<std::int64_t>(out.size()));
    EXPECT_EQ(summary->lines, std::ranges::count(out, '\n'));
    return out;
  }

  fakes::MemoryLedger ledger_;
  LedgerQueries queries_{ledger_};
};

TEST_F(LedgerQueriesTest, ExportsRowsInTheOrderOfTheIndex) {
  add_many(3);
  EXPECT_EQ(export_all({.tenant = kTenant}, ExportForm::rows),
            R"({"index":0,"receivedAt":"2026-03-01T09:30:00.004Z","event":{"n":0}}
{"index":1,"receivedAt":"2026-03-01T09:30:00.005Z","event":{"n":1}}
{"index":2,"receivedAt":"2026-03-01T09:30:00.006Z","event":{"n":2}}
)");
}

TEST_F(LedgerQueriesTest, ExportsEventsAlone) {
  add_many(3);
  EXPECT_EQ(export_all({.tenant = kTenant}, ExportForm::events), "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n");
}

TEST_F(LedgerQueriesTest, LeavesLineBreaksBetweenTokensOutAndSaysSo) {
  add("{\r\n  \"text\" : \"a\\nb\",\n  \"n\" : 1.10\n}\n");
  EXPECT_EQ(export_all({.tenant = kTenant}, ExportForm::rows),
            "{\"index\":0,\"receivedAt\":\"2026-03-01T09:30:00.004Z\",\"reflowed\":true,\"event\":"
            "{  \"text\" : \"a\\nb\",  \"n\" : 1.10}}\n");
  EXPECT_EQ(export_all({.tenant = kTenant}, ExportForm::events), "{  \"text\" : \"a\\nb\",  \"n\" : 1.10}\n");
}

TEST_F(LedgerQueriesTest, ExportsOnlyWhatTheQueryWants) {
  add_many(6);
  add("{\"other\":1}", kOtherTenant);
  EXPECT_EQ(
      export_all({.tenant = kTenant, .type = "odd", .from = kStart + 1ms, .to = kStart + 5ms}, ExportForm::events),
      "{\"n\":1}\n{\"n\":3}\n");
  EXPECT_EQ(export_all({.tenant = kTenant, .after = 3}, ExportForm::events), "{\"n\":4}\n{\"n\":5}\n");
  EXPECT_EQ(export_all({.tenant = system_tenant()}, ExportForm::events), "");
}

TEST_F(LedgerQueriesTest, ExportsManyEntriesAFewAtATime) {
  for (const int count : {127, 128, 129, 1'000}) {
    ledger_.entries.clear();
    add_many(count);
    const auto lines = export_all({.tenant = kTenant, .limit = 7}, ExportForm::events);
    EXPECT_EQ(std::ranges::count(lines, '\n'), count);
    EXPECT_THAT(lines, testing::EndsWith(fmt::format("{{\"n\":{}}}\n", count - 1)));
  }
  EXPECT_EQ(ledger_.largest_page, 128U);
}

TEST_F(LedgerQueriesTest, EndsAtWhatTheLedgerHeldWhenTheExportBegan) {
  add_many(200);
  ledger_.at_search = [&] { add("{\"late\":true}"); };
  const auto lines = export_all({.tenant = kTenant}, ExportForm::events);
  EXPECT_EQ(std::ranges::count(lines, '\n'), 200);
  EXPECT_THAT(lines, testing::Not(HasSubstr("late")));
}

TEST_F(LedgerQueriesTest, EndsAnExportWithTheErrorOfWhoTakesTheLines) {
  add_many(10);
  int taken = 0;
  const auto summary =
      queries_.export_lines({.tenant = kTenant}, ExportForm::rows, [&](std::string_view) -> Result<void> {
        if (++taken == 3) return fail(ErrorCode::unavailable, "the client has gone");
        return {};
      });
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().message, "the client has gone");
  EXPECT_EQ(taken, 3);
}

TEST_F(LedgerQueriesTest, EndsAnExportOnStopAndSaysHowFarItCame) {
  add_many(10);
  std::stop_source source;
  const auto summary = queries_.export_lines(
      {.tenant = kTenant}, ExportForm::events,
      [&](std::string_view line) -> Result<void> {
        if (line == "{\"n\":4}\n") source.request_stop();
        return {};
      },
      source.get_token());
  ASSERT_TRUE(summary);
  EXPECT_EQ(*summary, (ExportSummary{.lines = 5, .bytes = 40, .last = 4, .stopped = true}));
}

TEST_F(LedgerQueriesTest, SearchesInPages) {
  add_many(7);
  auto page = queries_.search({.tenant = kTenant, .limit = 3});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 3U);
  EXPECT_EQ(page->next, 2);
  page = queries_.search({.tenant = kTenant, .after = 2, .limit = 3});
  EXPECT_EQ(page->entries.front().index, 3);
  EXPECT_EQ(page->next, 5);
  page = queries_.search({.tenant = kTenant, .after = 5, .limit = 3});
  EXPECT_EQ(page->entries.size(), 1U);
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_F(LedgerQueriesTest, HasNoNextPageWhereThePageIsJustFull) {
  add_many(300);
  const auto page = queries_.search({.tenant = kTenant, .limit = 300});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 300U);
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_F(LedgerQueriesTest, EndsAPageEarlyWhereEntriesAreLarge) {
  for (int i = 0; i < 20; ++i) add(std::string(1'000'000, ' '));
  const auto page = queries_.search({.tenant = kTenant, .limit = 1'000});
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries.size(), 17U) << "the first with which 16 MiB are reached";
  EXPECT_EQ(page->next, 16);
}

TEST_F(LedgerQueriesTest, RefusesWhatCannotBeAsked) {
  EXPECT_EQ(queries_.search({.tenant = kTenant, .limit = 0}).error().message, "limit 0: 1 to 1000 are allowed");
  EXPECT_EQ(queries_.search({.tenant = kTenant, .limit = 1'001}).error().message, "limit 1001: 1 to 1000 are allowed");
  EXPECT_EQ(queries_.search({.tenant = kTenant, .after = -2}).error().message,
            "after -2: -1 (from the beginning) or an index is allowed");
  const auto range = queries_.search({.tenant = kTenant, .from = kStart, .to = kStart});
  EXPECT_EQ(range.error().message, "from 2026-03-01T09:30:00.000Z is not before to 2026-03-01T09:30:00.000Z");
  EXPECT_EQ(queries_.quarantined(kTenant, 0, 1'001).error().code, ErrorCode::invalid_argument);
}

TEST_F(LedgerQueriesTest, ListsTheQuarantine) {
  const store::QuarantinedMessage mine{
      .tenant = kTenant, .event_id = {}, .reason = "r", .received_at = {}, .bytes = "1"};
  const store::QuarantinedMessage nobodys{.tenant = {}, .event_id = {}, .reason = "r", .received_at = {}, .bytes = "2"};
  const std::vector<store::QuarantinedMessage> messages = {mine, nobodys};
  ASSERT_TRUE(ledger_.append({}, messages, "queue", 1));
  EXPECT_EQ(queries_.quarantined(kTenant)->size(), 1U);
  const auto all = queries_.quarantined(std::nullopt);
  ASSERT_EQ(all->size(), 2U);
  EXPECT_EQ(queries_.quarantined(std::nullopt, all->front().id)->front().bytes, "2");
}

}  // namespace
}  // namespace wfo::ledger
