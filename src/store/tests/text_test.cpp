#include "store/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace wfo::store {
namespace {

struct Case {
  std::string name;
  std::string text;
  std::string repaired;  // the same: it is text
};

std::vector<Case> cases() {
  using namespace std::string_literals;
  const std::string far(40, 'x');  // beyond what is looked at in one step
  return {
      {"empty", "", ""},
      {"ascii", "plain", "plain"},
      {"control_characters", "\x01\t\x7f", "\x01\t\x7f"},
      {"two_bytes", "\u00e9\u0080\u07ff", "\u00e9\u0080\u07ff"},
      {"three_bytes", "\u0800\ud7ff\uffff", "\u0800\ud7ff\uffff"},
      {"four_bytes", "\U00010000\U0010ffff", "\U00010000\U0010ffff"},
      {"nul", "a\0b"s, "a\uFFFDb"},
      {"nul_far_behind", far + "\0"s + far, far + "\uFFFD" + far},
      {"high_byte_far_behind", far + "\xff" + far, far + "\uFFFD" + far},
      {"lone_continuation", "\x80", "\uFFFD"},
      {"cut_off", "a\xe2\x82", "a\uFFFD\uFFFD"},
      {"cut_by_ascii", "\xe2\x82z", "\uFFFD\uFFFDz"},
      {"overlong_two", "\xc0\xaf", "\uFFFD\uFFFD"},
      {"overlong_three", "\xe0\x9f\xbf", "\uFFFD\uFFFD\uFFFD"},
      {"overlong_four", "\xf0\x8f\xbf\xbf", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"surrogate", "\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
      {"beyond_the_last", "\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"latin_1", "Gr\xfc\xdf", "Gr\uFFFD\uFFFD"},
  };
}

class Text : public testing::TestWithParam<Case> {};

TEST_P(Text, IsToldFromWhatIsNone) {
  const auto& [name, text, repaired] = GetParam();
  EXPECT_EQ(is_text(text), text == repaired);
  EXPECT_EQ(as_text(text), repaired);
  EXPECT_EQ(check_text("run 1", "name", text).has_value(), text == repaired);
}

INSTANTIATE_TEST_SUITE_P(Cases, Text, testing::ValuesIn(cases()), [](const auto& one) { return one.param.name; });

TEST(Text, IsRefusedWithThePlaceOfTheFirstBadByte) {
  const auto refused = check_text("run 1", "externalId", "ab\xff");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(refused.error().message,
            "run 1: field externalId has the byte 0xff at place 2; allowed: UTF-8 without U+0000");
}

RC_GTEST_PROP(Text, IsWhatRepairingGives, (const std::string& bytes)) {
  const std::string repaired = as_text(bytes);
  RC_ASSERT(is_text(repaired));
  RC_ASSERT(is_text(bytes) == (repaired == bytes));
}

}  // namespace
}  // namespace wfo::store
