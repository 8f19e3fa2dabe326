#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "contract/store_contract.h"
#include "support/eventually.h"

namespace wfo::contract {
namespace {

using store::Epoch;
using store::Lease;
using store::LedgerEntry;
using store::LedgerIndex;
using store::LedgerOutcome;
using store::LedgerQuery;
using store::LedgerRecord;
using store::QuarantinedMessage;

class LedgerContract : public testing::TestWithParam<LedgerUnderTest> {
 protected:
  store::LedgerStore& ledger() { return harness_->ledger(); }

  static LedgerRecord record(std::uint32_t n, std::string_view type = "test.a", const TenantId& tenant = kTenant,
                             Timestamp timestamp = kStart) {
    LedgerRecord made;
    made.event = event(type, n, "{}", tenant, timestamp);
    made.received_at = at(1);
    return made;
  }
  std::vector<LedgerOutcome> append(std::vector<LedgerRecord> records, store::Sequence position = 1) {
    return value(ledger().append(records, {}, "logging_service", position));
  }
  auto append_as(Epoch epoch, std::vector<LedgerRecord> records, store::Sequence position) {
    return ledger().append(records, {}, "logging_service", position, epoch);
  }
  /// Once the right of who has it for `kShort` has expired: on a server its own clock must go on.
  std::optional<Lease> acquire_when_expired(std::string_view holder) {
    clock_.advance(kShort);
    std::optional<Lease> lease;
    EXPECT_TRUE(test::eventually([&] {
      lease = value(ledger().acquire(holder, std::chrono::hours(1)));
      return lease.has_value();
    }));
    return lease;
  }
  std::vector<LedgerIndex> search(const LedgerQuery& query) {
    std::vector<LedgerIndex> indexes;
    for (const LedgerEntry& entry : value(ledger().search(query))) {
      EXPECT_EQ(entry.tenant, query.tenant);
      indexes.push_back(entry.index);
    }
    return indexes;
  }
  using Indexes = std::vector<LedgerIndex>;
  using Outcomes = std::vector<LedgerOutcome>;
  static constexpr milliseconds kShort{50};
  static constexpr auto kAppended = LedgerOutcome::appended;
  static constexpr auto kRepeated = LedgerOutcome::repeated;
  static constexpr auto kForged = LedgerOutcome::forged;

  ManualClock clock_{kStart};
  std::unique_ptr<LedgerHarness> harness_ = GetParam().make(clock_);
};

TEST_P(LedgerContract, IsEmptyAtFirst) {
  EXPECT_EQ(value(ledger().size(kTenant)), 0);
  EXPECT_TRUE(value(ledger().tenants()).empty());
  EXPECT_TRUE(search({.tenant = kTenant}).empty());
  EXPECT_EQ(value(ledger().position("logging_service")), 0);
}

TEST_P(LedgerContract, CountsTheEntriesOfEachTenantFromZeroWithoutGaps) {
  EXPECT_EQ(append({record(1), record(2, "test.a", kOtherTenant), record(3)}),
            (Outcomes{kAppended, kAppended, kAppended}));
  harness_->restart();
  append({record(4), record(5, "test.a", kOtherTenant)});
  EXPECT_EQ(value(ledger().size(kTenant)), 3);
  EXPECT_EQ(value(ledger().size(kOtherTenant)), 2);
  EXPECT_EQ(search({.tenant = kTenant}), (Indexes{0, 1, 2}));
  EXPECT_EQ(search({.tenant = kOtherTenant}), (Indexes{0, 1}));
  EXPECT_EQ(value(ledger().tenants()), (std::vector{kTenant, kOtherTenant}));
}

TEST_P(LedgerContract, KeepsAnEntryAsItCame) {
  const std::string text =
      R"({ "id":"0195504e-0000-7000-8000-000000000001", "type":"test.é","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01",)"
      R"("timestamp":"2026-02-03T04:05:06.789Z","data":{"n":1.10} })";
  LedgerRecord made;
  made.event = value(contracts().read(text, kStart));
  made.workflow = id<WorkflowId>(5);
  made.opportunity = id<OpportunityId>(6);
  made.received_at = at(9);
  append({made, record(2)});
  harness_->restart();
  const auto entries = value(ledger().search({.tenant = kTenant}));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].index, 0);
  EXPECT_EQ(entries[0].event_id, id<EventId>(1));
  EXPECT_EQ(entries[0].type, "test.é");
  EXPECT_EQ(entries[0].timestamp, *parse_timestamp("2026-02-03T04:05:06.789Z"));
  EXPECT_EQ(entries[0].received_at, at(9));
  EXPECT_EQ(entries[0].workflow, id<WorkflowId>(5));
  EXPECT_EQ(entries[0].opportunity, id<OpportunityId>(6));
  EXPECT_EQ(entries[0].bytes, text);
  EXPECT_EQ(entries[1].workflow, std::nullopt);
  EXPECT_EQ(entries[1].opportunity, std::nullopt);
}

TEST_P(LedgerContract, HoldsAnEventOfAMebibyte) {
  LedgerRecord big;
  big.event = event("test.a", 1, fmt::format(R"({{"text":"{}"}})", std::string(1'048'000, 'x')));
  append({big});
  EXPECT_EQ(value(ledger().search({.tenant = kTenant})).at(0).bytes, big.event->bytes());
}

TEST_P(LedgerContract, TakesAnEventOnceAndSetsForgeriesAside) {
  append({record(1), record(2)});
  LedgerRecord forged;
  forged.event = event("test.a", 1, R"({"amount":1000000})");
  forged.received_at = at(30);
  EXPECT_EQ(append({record(2), forged, record(3), record(3)}), (Outcomes{kRepeated, kForged, kAppended, kRepeated}));
  EXPECT_EQ(search({.tenant = kTenant}), (Indexes{0, 1, 2}));
  EXPECT_EQ(value(ledger().search({.tenant = kTenant}))[0].bytes, record(1).event->bytes());

  const auto set_aside = value(ledger().quarantined(std::nullopt, 0, 10));
  ASSERT_EQ(set_aside.size(), 1U);
  EXPECT_EQ(set_aside[0].tenant, kTenant);
  EXPECT_EQ(set_aside[0].event_id, id<EventId>(1));
  EXPECT_EQ(set_aside[0].received_at, at(30));
  EXPECT_EQ(set_aside[0].bytes, forged.event->bytes());
  EXPECT_NE(set_aside[0].reason.find(id<EventId>(1).to_string()), std::string::npos) << set_aside[0].reason;
}

TEST_P(LedgerContract, TakesTheSameIdOfTwoTenantsForTwoEvents) {
  EXPECT_EQ(append({record(1), record(1, "test.a", kOtherTenant)}), (Outcomes{kAppended, kAppended}));
  EXPECT_EQ(append({record(1), record(1, "test.a", kOtherTenant)}), (Outcomes{kRepeated, kRepeated}));
}

TEST_P(LedgerContract, MovesTheConsumerTogetherWithWhatItAppends) {
  append({record(1)}, 17);
  EXPECT_EQ(value(ledger().position("logging_service")), 17);
  EXPECT_OK(ledger().append({}, {}, "logging_service", 20));
  EXPECT_OK(ledger().append({}, {}, "other", 3));
  harness_->restart();
  EXPECT_EQ(value(ledger().position("logging_service")), 20);
  EXPECT_EQ(value(ledger().position("other")), 3);
}

TEST_P(LedgerContract, GivesWhatItSetAsideOldestFirstPageByPage) {
  std::vector<QuarantinedMessage> messages(3);
  messages[0].reason = "not JSON \xff";
  messages[0].bytes = std::string("\0\xff{", 3);
  messages[0].received_at = at(1);
  messages[1].tenant = kTenant;
  messages[1].event_id = id<EventId>(4);
  messages[1].reason = "no type";
  messages[2].tenant = kOtherTenant;
  messages[2].reason = "too large";
  EXPECT_OK(ledger().append({}, messages, "logging_service", 3));
  harness_->restart();
  const auto all = value(ledger().quarantined(std::nullopt, 0, 10));
  ASSERT_EQ(all.size(), 3U);
  EXPECT_LT(all[0].id, all[1].id);
  EXPECT_LT(all[1].id, all[2].id);
  EXPECT_EQ(all[0].tenant, std::nullopt);
  EXPECT_EQ(all[0].event_id, std::nullopt);
  EXPECT_EQ(all[0].bytes, messages[0].bytes);
  EXPECT_EQ(all[0].reason, "not JSON \uFFFD");
  EXPECT_EQ(all[0].received_at, at(1));
  EXPECT_EQ(all[1].event_id, id<EventId>(4));

  const auto page = value(ledger().quarantined(std::nullopt, all[0].id, 1));
  ASSERT_EQ(page.size(), 1U);
  EXPECT_EQ(page[0].id, all[1].id);
  const auto of_tenant = value(ledger().quarantined(kTenant, 0, 10));
  ASSERT_EQ(of_tenant.size(), 1U);
  EXPECT_EQ(of_tenant[0].reason, "no type");
  EXPECT_TRUE(value(ledger().quarantined(kTenant, all[1].id, 10)).empty());
}

TEST_P(LedgerContract, FindsByWorkflowByOpportunityByTypeAndByTime) {
  std::vector<LedgerRecord> records;
  for (std::uint32_t n = 0; n < 12; ++n) {
    // Times do not ascend with the index: events come late.
    LedgerRecord one = record(n + 1, n % 3 == 0 ? "test.a" : "test.b", kTenant, at(static_cast<int>(100 - n)));
    if (n % 2 == 0) one.workflow = id<WorkflowId>(n / 4);
    if (n % 4 == 0) one.opportunity = id<OpportunityId>(n % 8);
    records.push_back(one);
    LedgerRecord foreign = one;
    foreign.event = event("test.a", n + 1, "{}", kOtherTenant, one.event->timestamp());
    records.push_back(foreign);
  }
  append(records);
  EXPECT_EQ(search({.tenant = kTenant, .workflow = id<WorkflowId>(1)}), (Indexes{4, 6}));
  EXPECT_EQ(search({.tenant = kTenant, .opportunity = id<OpportunityId>(0)}), (Indexes{0, 8}));
  EXPECT_EQ(search({.tenant = kTenant, .opportunity = id<OpportunityId>(4)}), (Indexes{4}));
  EXPECT_EQ(search({.tenant = kTenant, .workflow = id<WorkflowId>(1), .opportunity = id<OpportunityId>(4)}),
            (Indexes{4}));
  EXPECT_EQ(search({.tenant = kTenant, .type = "test.a"}), (Indexes{0, 3, 6, 9}));
  EXPECT_EQ(search({.tenant = kTenant, .type = "test.a", .workflow = id<WorkflowId>(1)}), (Indexes{6}));
  EXPECT_EQ(search({.tenant = kTenant, .type = "test.unknown"}), (Indexes{}));
  EXPECT_EQ(search({.tenant = kTenant, .from = at(95), .to = at(98)}), (Indexes{3, 4, 5})) << "from is in, to is not";
  EXPECT_EQ(search({.tenant = kTenant, .from = at(99)}), (Indexes{0, 1}));
  EXPECT_EQ(search({.tenant = kTenant, .to = at(91)}), (Indexes{10, 11}));
  EXPECT_EQ(search({.tenant = kTenant, .type = "test.a", .from = at(95), .to = at(98)}), (Indexes{3}));
  EXPECT_EQ(search({.tenant = kTenant, .from = at(95), .to = at(98), .opportunity = id<OpportunityId>(4)}),
            (Indexes{4}));
  EXPECT_EQ(search({.tenant = kTenant, .from = at(98), .to = at(95)}), (Indexes{}));
  EXPECT_EQ(search({.tenant = system_tenant()}), (Indexes{}));
}

TEST_P(LedgerContract, GivesTheSameEntriesPageByPage) {
  // More than a block of whatever a ledger groups its entries in, with two kinds of needles in it.
  std::vector<LedgerRecord> records;
  for (std::uint32_t n = 0; n < 3'000; ++n) {
    const bool needle = n % 700 == 3;
    LedgerRecord one = record(n + 1, needle ? "test.needle" : "test.hay", kTenant, at(static_cast<int>(n)));
    one.workflow = id<WorkflowId>(n % 5);
    records.push_back(one);
  }
  append(records);
  for (const auto& [query, expected] : std::vector<std::pair<LedgerQuery, std::size_t>>{
           {{.tenant = kTenant, .limit = 999}, 3'000},
           {{.tenant = kTenant, .type = "test.needle", .limit = 2}, 5},
           {{.tenant = kTenant, .from = at(1'000), .to = at(2'100), .limit = 333}, 1'100},
           {{.tenant = kTenant, .from = at(1'000), .workflow = id<WorkflowId>(2), .limit = 37}, 400},
       }) {
    LedgerQuery page = query;
    Indexes seen;
    for (;;) {
      const Indexes found = search(page);
      EXPECT_LE(found.size(), page.limit);
      seen.insert(seen.end(), found.begin(), found.end());
      if (found.size() < page.limit) break;
      page.after = found.back();
    }
    EXPECT_EQ(seen.size(), expected);
    EXPECT_TRUE(std::ranges::is_sorted(seen));
    EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
    LedgerQuery all = query;
    all.limit = 10'000;
    EXPECT_EQ(search(all), seen);
  }
}

TEST_P(LedgerContract, EndsAPageThatWouldHaveTooManyBytesButNeverBeforeItsFirstEntry) {
  std::vector<LedgerRecord> records;
  for (std::uint32_t n = 0; n < 1'500; ++n) {  // more than a block
    const std::string filler(n % 10 == 0 ? 100'000 : n % 7, 'x');
    records.push_back(record(n + 1, n % 2 == 0 ? "test.even" : "test.odd"));
    records.back().event = event(records.back().event->type(), n + 1, fmt::format(R"({{"filler":"{}"}})", filler));
    records.back().workflow = id<WorkflowId>(n % 3);
    records.back().opportunity = id<OpportunityId>(n % 2);
  }
  append(records);
  for (const LedgerQuery& query : std::vector<LedgerQuery>{
           {.tenant = kTenant},
           {.tenant = kTenant, .type = "test.even"},
           {.tenant = kTenant, .from = kStart, .to = at(5)},
           {.tenant = kTenant, .workflow = id<WorkflowId>(1)},
           {.tenant = kTenant, .opportunity = id<OpportunityId>(0)},
       }) {
    LedgerQuery all = query;
    all.limit = 10'000;
    const Indexes expected = search(all);
    for (const std::size_t bytes_max : {std::size_t{50'000}, std::size_t{250'000}}) {
      LedgerQuery page = all;
      page.bytes_max = bytes_max;
      Indexes seen;
      std::size_t last_bytes = 0;
      for (;;) {
        const auto entries = value(ledger().search(page));
        if (entries.empty()) break;
        std::size_t bytes = 0;
        for (const LedgerEntry& entry : entries) {
          bytes += entry.bytes.size();
          seen.push_back(entry.index);
        }
        EXPECT_TRUE(bytes <= bytes_max || entries.size() == 1) << bytes;
        EXPECT_TRUE(last_bytes == 0 || last_bytes + entries.front().bytes.size() > bytes_max) << "ended too early";
        last_bytes = bytes;
        page.after = entries.back().index;
      }
      EXPECT_EQ(seen, expected);
    }
    LedgerQuery tiny = query;
    tiny.bytes_max = 1;
    EXPECT_EQ(search(tiny), Indexes{expected.front()});
  }
  const std::size_t first = records[1].event->bytes().size();
  const std::size_t both = first + records[2].event->bytes().size();
  EXPECT_EQ(search({.tenant = kTenant, .after = 0, .bytes_max = both}), (Indexes{1, 2})) << "just as many are allowed";
  EXPECT_EQ(search({.tenant = kTenant, .after = 0, .bytes_max = both - 1}), (Indexes{1}));
  EXPECT_EQ(search({.tenant = kTenant, .after = 0, .limit = 1, .bytes_max = both}), (Indexes{1}));
}

TEST_P(LedgerContract, TakesFromManyAtOnceWithoutGapsOrDoubles) {
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kBatches = 20;
  std::atomic<bool> done{false};
  auto reader = std::async(std::launch::async, [&] {
    LedgerIndex seen = 0;
    while (!done) {
      const LedgerIndex size = value(ledger().size(kTenant));
      EXPECT_GE(size, seen);
      EXPECT_EQ(size % 3, 0) << "batches are seen whole";
      seen = size;
    }
  });
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::uint32_t batch = 0; batch < kBatches; ++batch) {
          const std::uint32_t first = 1 + (thread * kBatches + batch) * 3;
          const std::vector records{record(first), record(first + 1), record(first + 2)};
          EXPECT_OK(ledger().append(records, {}, fmt::format("consumer {}", thread), batch + 1));
        }
      });
    }
  }
  done = true;
  reader.get();
  const auto entries = value(ledger().search({.tenant = kTenant, .limit = 10'000}));
  ASSERT_EQ(entries.size(), kThreads * kBatches * 3);
  for (std::size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i].index, static_cast<LedgerIndex>(i));
}

TEST_P(LedgerContract, GivesTheRightToAppendToOneAtATime) {
  const auto first = value(ledger().acquire("a", std::chrono::hours(1)));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->holder, "a");
  EXPECT_EQ(first->epoch, 1);
  EXPECT_EQ(value(ledger().acquire("b", std::chrono::hours(1))), std::nullopt);
  const auto prolonged = value(ledger().acquire("a", std::chrono::hours(2)));
  ASSERT_TRUE(prolonged);
  EXPECT_EQ(prolonged->epoch, first->epoch);
  EXPECT_GT(prolonged->expires_at, first->expires_at);
  harness_->restart();
  EXPECT_EQ(value(ledger().acquire("b", std::chrono::hours(1))), std::nullopt);
  EXPECT_OK(append_as(first->epoch, {record(1)}, 1));
  EXPECT_EQ(value(ledger().size(kTenant)), 1);
}

TEST_P(LedgerContract, TakesNothingFromWhomTheRightWasTakenOverFrom) {
  const auto old = value(ledger().acquire("a", kShort));
  ASSERT_TRUE(old);
  EXPECT_OK(append_as(old->epoch, {record(1)}, 1));
  const auto taken_over = acquire_when_expired("b");
  ASSERT_TRUE(taken_over);
  EXPECT_EQ(taken_over->epoch, old->epoch + 1);
  EXPECT_EQ(value(ledger().acquire("a", std::chrono::hours(1))), std::nullopt);

  const QuarantinedMessage odd;
  EXPECT_ERROR(conflict, ledger().append(std::vector{record(2)}, {&odd, 1}, "logging_service", 2, old->epoch));
  EXPECT_EQ(value(ledger().size(kTenant)), 1);
  EXPECT_EQ(value(ledger().position("logging_service")), 1);
  EXPECT_TRUE(value(ledger().quarantined(std::nullopt, 0, 10)).empty());
  EXPECT_ERROR(conflict, append_as(taken_over->epoch + 1, {record(2)}, 2));
  EXPECT_OK(append_as(taken_over->epoch, {record(2)}, 2));
  EXPECT_EQ(search({.tenant = kTenant}), (Indexes{0, 1}));
}

TEST_P(LedgerContract, LeavesTheRightToWhoHadItUntilSomebodyElseTakesIt) {
  const auto held = value(ledger().acquire("a", kShort));
  ASSERT_TRUE(held);
  clock_.advance(kShort);
  EXPECT_TRUE(test::eventually([&] { return SystemClock().now() >= held->expires_at; }));
  EXPECT_OK(append_as(held->epoch, {record(1)}, 1));
  const auto again = value(ledger().acquire("a", kShort));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->epoch, held->epoch);
}

TEST_P(LedgerContract, GivesTheRightToTheNextWhenItIsGivenBack) {
  const auto first = value(ledger().acquire("a", std::chrono::hours(1)));
  ASSERT_TRUE(first);
  EXPECT_OK(ledger().release(first->epoch));
  EXPECT_ERROR(conflict, append_as(first->epoch, {record(1)}, 1));
  const auto second = value(ledger().acquire("b", std::chrono::hours(1)));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->epoch, first->epoch + 1);
  EXPECT_OK(ledger().release(first->epoch));  // stays as it is: it was taken over
  EXPECT_EQ(value(ledger().acquire("a", std::chrono::hours(1))), std::nullopt);
  EXPECT_OK(append_as(second->epoch, {record(1)}, 1));
  EXPECT_OK(ledger().release(second->epoch));
  const auto third = value(ledger().acquire("b", std::chrono::hours(1)));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->epoch, second->epoch + 1) << "also for who had it last";
}

INSTANTIATE_TEST_SUITE_P(EveryLedger, LedgerContract, testing::ValuesIn(ledgers()), name_of<LedgerUnderTest>);

}  // namespace
}  // namespace wfo::contract
