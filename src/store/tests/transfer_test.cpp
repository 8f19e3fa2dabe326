#include "store/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/digest.h"

namespace wfo::store {
namespace {

TransferRow row(std::int64_t number, std::string text) { return {number, std::monostate(), std::move(text)}; }

TEST(TransferDigest, OfOneRowIsItsSha256) {
  TransferDigest digest;
  EXPECT_EQ(digest.to_hex(), std::string(64, '0'));
  digest.add(row(258, "ab"));
  const std::string bytes(
      "\x01\x00\x00\x00\x00\x00\x00\x01\x02\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02"
      "ab",
      21);
  EXPECT_EQ(digest.to_hex(), to_hex(sha256(bytes)));
  EXPECT_EQ(digest.rows(), 1);
}

TEST(TransferDigest, OfManyRowsIsTheirSumInWhateverOrder) {
  std::vector<TransferRow> rows;
  for (int i = 0; i < 50; ++i) rows.push_back(row(i, std::string(static_cast<std::size_t>(i), 'x')));
  TransferDigest forwards;
  for (const auto& one : rows) forwards.add(one);
  std::ranges::reverse(rows);
  TransferDigest backwards;
  for (const auto& one : rows) backwards.add(one);
  EXPECT_EQ(forwards, backwards);

  // The same in arithmetic by digits.
  std::array<unsigned, 32> sum{};
  for (const auto& one : rows) {
    TransferDigest alone;
    alone.add(one);
    unsigned carry = 0;
    for (std::size_t i = 32; i-- > 0;) {
      carry += sum[i] + static_cast<unsigned>(std::stoul(alone.to_hex().substr(2 * i, 2), nullptr, 16));
      sum[i] = carry & 0xff;
      carry >>= 8;
    }
  }
  std::string expected;
  for (const unsigned digit : sum) expected += static_cast<char>(digit);
  EXPECT_EQ(forwards.to_hex(), to_hex(expected));
}

TEST(TransferDigest, TellsRowsApartThatHoldTheSameBytes) {
  const auto of = [](TransferRow one) {
    TransferDigest digest;
    digest.add(one);
    return digest.to_hex();
  };
  std::vector<std::string> all{of({std::string("ab"), std::string("c")}),
                               of({std::string("a"), std::string("bc")}),
                               of({std::string("abc")}),
                               of({std::string()}),
                               of({std::monostate()}),
                               of({std::int64_t{0}}),
                               of({std::string(8, '\0')}),
                               of({})};
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  TransferDigest once;
  once.add(row(1, "a"));
  TransferDigest twice = once;
  twice.add(row(1, "a"));
  EXPECT_NE(once, twice);
}

TEST(TransferTables, HaveNamesAndColumns) {
  std::vector<std::string> names;
  for (const TransferTable table : all_transfer_tables()) {
    EXPECT_FALSE(columns(table).empty()) << name(table);
    EXPECT_EQ(is_of_ledger(table), name(table).starts_with("ledger ")) << name(table);
    names.emplace_back(name(table));
  }
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

}  // namespace
}  // namespace wfo::store
