#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using store::DeadLetter;
using store::DeadLetterQuery;
using store::DeadLetterStatus;
using store::Transaction;

DeadLetter letter(std::uint32_t n, const TenantId& tenant = kTenant) {
  DeadLetter made;
  made.id = id<DeadLetterId>(n);
  made.tenant = tenant;
  made.queue = "risk_analytics_service";
  made.type = "workflow.risk.analysis.requested";
  made.headers = R"({"x-death":1})";
  made.bytes = std::string("not\0JSON \xff\xfe", 11);
  made.reason = "line 1, column 1: expected a value";
  made.attempts = 5;
  made.created_at = at(static_cast<int>(n));
  return made;
}

class DeadLetterContract : public StoreContract {
 protected:
  Result<void> try_insert(const DeadLetter& letter) {
    return write([&](Transaction& t) { return t.dead_letters().insert(letter); });
  }
  void insert(const DeadLetter& letter) { EXPECT_OK(try_insert(letter)); }
  std::optional<DeadLetter> find(std::uint32_t n) {
    return value(read([&](const Transaction& t) { return t.dead_letters().find(id<DeadLetterId>(n)); }));
  }
  std::vector<DeadLetterId> list(const DeadLetterQuery& query) {
    std::vector<DeadLetterId> ids;
    for (const auto& one : value(read([&](const Transaction& t) { return t.dead_letters().list(query); }))) {
      ids.push_back(one.id);
    }
    return ids;
  }
  Result<void> settle(std::uint32_t n, DeadLetterStatus status, std::optional<EventId> as = {},
                      std::string_view note = "ann: not worth it") {
    return write([&](Transaction& t) { return t.dead_letters().settle(id<DeadLetterId>(n), status, as, note); });
  }
  std::int64_t count_waiting() {
    return value(read([&](const Transaction& t) { return t.dead_letters().count_waiting(); }));
  }
  static std::vector<DeadLetterId> ids(std::initializer_list<std::uint32_t> numbers) {
    std::vector<DeadLetterId> made;
    for (const auto n : numbers) made.push_back(id<DeadLetterId>(n));
    return made;
  }
};

TEST_P(DeadLetterContract, FindsALetterAsItWasInserted) {
  insert(letter(1));
  harness_->restart();
  EXPECT_EQ(find(1), letter(1));
  EXPECT_EQ(find(2), std::nullopt);
  EXPECT_ERROR(conflict, try_insert(letter(1)));
}

TEST_P(DeadLetterContract, InsertsManyAtOnceOrNone) {
  const auto insert_all = [&](const std::vector<DeadLetter>& letters) {
    return write([&](Transaction& t) { return t.dead_letters().insert(letters); });
  };
  DeadLetter replayed = letter(2, kOtherTenant);
  replayed.status = DeadLetterStatus::replayed;
  replayed.replayed_as = id<EventId>(7);
  replayed.note = "by ann";
  replayed.type = "odd \xff";
  EXPECT_OK(insert_all({letter(3), replayed, letter(1)}));
  replayed.type = "odd \uFFFD";
  EXPECT_EQ(find(1), letter(1));
  EXPECT_EQ(find(2), replayed);
  EXPECT_EQ(find(3), letter(3));
  const auto taken = insert_all({letter(4), letter(3), letter(5)});
  EXPECT_ERROR(conflict, taken);
  EXPECT_NE(taken.error().message.find(letter(3).id.to_string()), std::string::npos) << taken.error().message;
  EXPECT_ERROR(conflict, insert_all({letter(4), letter(4)}));
  EXPECT_EQ(find(4), std::nullopt);
  EXPECT_OK(insert_all({}));
}

TEST_P(DeadLetterContract, KeepsAMebibyteOfAnything) {
  DeadLetter big = letter(1);
  big.bytes.clear();
  for (int i = 0; i < 1024 * 1024; ++i) big.bytes += static_cast<char>(i * 31);
  insert(big);
  EXPECT_EQ(find(1), big);
}

TEST_P(DeadLetterContract, MakesTextOfWhatIsNone) {
  DeadLetter odd = letter(1);
  odd.type = std::string("a\0b", 3);
  odd.reason = "saw \xff here";
  odd.headers = "\xe2\x82";
  insert(odd);
  DeadLetter expected = odd;
  expected.type = "a\uFFFDb";
  expected.reason = "saw \uFFFD here";
  expected.headers = "\uFFFD\uFFFD";
  EXPECT_EQ(find(1), expected);
  EXPECT_OK(settle(1, DeadLetterStatus::discarded, {}, "\x80"));
  EXPECT_EQ(find(1)->note, "\uFFFD");
}

TEST_P(DeadLetterContract, ListsTheNewestFirstPageByPage) {
  for (std::uint32_t n = 1; n <= 5; ++n) insert(letter(n, n == 3 ? kOtherTenant : kTenant));
  EXPECT_EQ(list({}), ids({5, 4, 3, 2, 1}));
  EXPECT_EQ(list({.limit = 2}), ids({5, 4}));
  EXPECT_EQ(list({.limit = 2, .before = id<DeadLetterId>(4)}), ids({3, 2}));
  EXPECT_EQ(list({.tenant = kTenant, .limit = 3}), ids({5, 4, 2}));
  EXPECT_EQ(list({.tenant = kTenant, .before = id<DeadLetterId>(4)}), ids({2, 1}));
  EXPECT_EQ(list({.tenant = kOtherTenant}), ids({3}));
}

TEST_P(DeadLetterContract, ListsByStatus) {
  for (std::uint32_t n = 1; n <= 4; ++n) insert(letter(n, n == 4 ? kOtherTenant : kTenant));
  EXPECT_OK(settle(2, DeadLetterStatus::discarded));
  EXPECT_EQ(list({.status = DeadLetterStatus::waiting}), ids({4, 3, 1}));
  EXPECT_EQ(list({.status = DeadLetterStatus::waiting, .limit = 1, .before = id<DeadLetterId>(3)}), ids({1}));
  EXPECT_EQ(list({.tenant = kTenant, .status = DeadLetterStatus::waiting}), ids({3, 1}));
  EXPECT_EQ(list({.tenant = kTenant, .status = DeadLetterStatus::discarded}), ids({2}));
  EXPECT_EQ(list({.tenant = kOtherTenant, .status = DeadLetterStatus::discarded}), ids({}));
}

TEST_P(DeadLetterContract, SettlesALetterOnce) {
  insert(letter(1));
  insert(letter(2));
  EXPECT_EQ(count_waiting(), 2);
  EXPECT_OK(settle(1, DeadLetterStatus::replayed, id<EventId>(77), "bob"));
  EXPECT_OK(settle(2, DeadLetterStatus::discarded));
  EXPECT_EQ(count_waiting(), 0);
  EXPECT_EQ(find(1)->status, DeadLetterStatus::replayed);
  EXPECT_EQ(find(1)->replayed_as, id<EventId>(77));
  EXPECT_EQ(find(1)->note, "bob");
  EXPECT_EQ(find(2)->replayed_as, std::nullopt);
  EXPECT_ERROR(conflict, settle(1, DeadLetterStatus::discarded));
  EXPECT_ERROR(not_found, settle(3, DeadLetterStatus::discarded));
  EXPECT_EQ(find(1)->status, DeadLetterStatus::replayed);
}

TEST_P(DeadLetterContract, PurgesSettledOnesInStepsAndNeverOneThatWaits) {
  for (std::uint32_t n = 1; n <= 5; ++n) insert(letter(n));
  for (const std::uint32_t n : {2U, 3U, 4U, 5U}) EXPECT_OK(settle(n, DeadLetterStatus::discarded));
  const auto purge = [&](Timestamp before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.dead_letters().purge(before, count_max); }));
  };
  EXPECT_EQ(purge(at(5), 2), 2U);
  EXPECT_EQ(list({}), ids({5, 4, 1}));
  EXPECT_EQ(purge(at(5), 100), 1U);
  EXPECT_EQ(list({}), ids({5, 1}));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, DeadLetterContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
