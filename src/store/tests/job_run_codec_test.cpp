#include "store/job_run_codec.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace wfo::store {
namespace {

using schedule::JobCounts;

TEST(CountsCodec, WritesAnObjectInTheOrderOfTheNames) {
  EXPECT_EQ(encode_counts({}), "{}");
  EXPECT_EQ(encode_counts({{"written", 2}, {"read", 10}, {"\"é\"", 0}}), R"({"\"é\"":0,"read":10,"written":2})");
}

TEST(CountsCodec, ReadsBackWhatItWrote) {
  for (const JobCounts& counts : {JobCounts{}, JobCounts{{"read", 0}},
                                  JobCounts{{"a \"b\" é", 1}, {"max", std::numeric_limits<std::int64_t>::max()}}}) {
    const auto read = decode_counts(encode_counts(counts));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, counts);
  }
}

RC_GTEST_PROP(CountsCodec, ReadsBackAnyCounts, ()) {
  JobCounts counts;
  const auto names =
      *rc::gen::container<std::vector<std::string>>(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)));
  for (const auto& name : names) counts.emplace(name, *rc::gen::positive<std::int64_t>());
  const auto read = decode_counts(encode_counts(counts));
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read == counts);
}

TEST(CountsCodec, CallsAnythingElseCorrupt) {
  for (const std::string_view text : {"", "[]", "1", "{", R"({"read":-1})", R"({"read":"1"})", R"({"read":1.5})",
                                      R"({"read":9223372036854775808})"}) {
    const auto read = decode_counts(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::corruption) << text;
  }
}

}  // namespace
}  // namespace wfo::store
