#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace wfo {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(ErrorCode::invalid_argument, "{} is odd", number);
  return number / 2;
}

Result<int> quarter(int number) {
  TRY_ASSIGN(const int halved, half(number));
  TRY_ASSIGN(const int quartered, half(halved));
  return quartered;
}

Result<void> check(int number, int& checked) {
  TRY(half(number));
  ++checked;
  return {};
}

TEST(Result, HoldsAValueOrAnErrorWithItsMessage) {
  EXPECT_EQ(half(4), 2);
  EXPECT_EQ(half(3).error(), (Error{ErrorCode::invalid_argument, "3 is odd"}));
}

TEST(TryAssign, GivesTheValueOrReturnsTheError) {
  EXPECT_EQ(quarter(8), 2);
  EXPECT_EQ(quarter(7).error().message, "7 is odd");
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
}

TEST(TryAssign, MovesWhatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto use = [&]() -> Result<int> {
    TRY_ASSIGN(const auto number, make());
    return *number;
  };
  EXPECT_EQ(use(), 7);
}

TEST(Try, GoesOnOrReturnsTheError) {
  int checked = 0;
  EXPECT_TRUE(check(2, checked).has_value());
  EXPECT_EQ(check(3, checked).error().message, "3 is odd");
  EXPECT_EQ(checked, 1);
}

TEST(ErrorContext, StandsInFrontOfTheMessage) {
  EXPECT_EQ(with_context({ErrorCode::conflict, "it is running"}, "workflow 7"),
            (Error{ErrorCode::conflict, "workflow 7: it is running"}));
}

TEST(ErrorCodeName, IsUniqueForEachCode) {
  std::set<std::string_view> names;
  for (const ErrorCode code : {ErrorCode::invalid_argument, ErrorCode::not_found, ErrorCode::conflict,
                               ErrorCode::unavailable, ErrorCode::corruption, ErrorCode::internal}) {
    names.insert(name(code));
  }
  EXPECT_EQ(names, (std::set<std::string_view>{"invalid_argument", "not_found", "conflict", "unavailable", "corruption",
                                               "internal"}));
}

TEST(InvariantDeathTest, EndsTheProcessAndSaysWhereAndWhat) {
  const int number = 3;
  INVARIANT(number == 3);
  EXPECT_DEATH(INVARIANT(number == 4), "result_test\\.cpp:[0-9]+: invariant broken: number == 4");
}

}  // namespace
}  // namespace wfo
