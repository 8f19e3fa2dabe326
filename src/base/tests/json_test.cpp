#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace wfo::json {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

Document parsed(std::string text) {
  auto document = Document::parse(std::move(text));
  if (!document) {
    ADD_FAILURE() << document.error().message;
    return Document::parse("null").value();
  }
  return *std::move(document);
}

std::string error_of(std::string text) {
  const auto document = Document::parse(std::move(text));
  if (document) return "accepted";
  EXPECT_EQ(document.error().code, ErrorCode::invalid_argument);
  return document.error().message;
}

std::string nested(int levels, std::string_view inside = "") {
  const auto count = static_cast<std::size_t>(levels);
  return std::string(count, '[') + std::string(inside) + std::string(count, ']');
}

TEST(JsonText, IsAcceptedWhenItIsStrictJson) {
  for (const std::string_view text : {"null",
                                      "true",
                                      "false",
                                      "0",
                                      "-0",
                                      "1",
                                      "-1",
                                      "10",
                                      "0.0",
                                      "-0.5",
                                      "1e1",
                                      "1E+10",
                                      "1e-2",
                                      "1.5e300",
                                      "1e999999",
                                      "123456789012345678901234567890",
                                      R"("")",
                                      R"("a")",
                                      R"("\"\\\/\b\f\n\r\t")",
                                      R"("\u0001\u00e9\u20AC")",
                                      R"("\ud83d\ude00")",
                                      R"("\uD800\uDC00\uDBFF\uDFFF")",
                                      "\"\x7f\"",
                                      "\"\u00e9\u20ac\U0001f600\"",
                                      "\"\u0080\u07ff\"",
                                      "\"\u0800\ue000\uffff\"",
                                      "\"\U00010000\U0010ffff\"",
                                      "[]",
                                      "[ ]",
                                      "{}",
                                      "{ }",
                                      "[1]",
                                      "[1,2]",
                                      "[[],[],{}]",
                                      R"({"":0})",
                                      R"({"a":{"a":{"a":1}}})",
                                      R"([{"a":1},{"a":2}])",
                                      " \t\r\n[ 1 , 2 ]\r\n\t ",
                                      " { \"a\" : 1 , \"b\" : [ ] } ",
                                      R"({"a":1,"A":2,"\u00e4":3})"}) {
    EXPECT_EQ(error_of(std::string(text)), "accepted") << text;
  }
}

struct Refused {
  std::string name;
  std::string text;
  std::string error;
};
void PrintTo(const Refused& one, std::ostream* out) { *out << one.name; }
class RefusedText : public testing::TestWithParam<Refused> {};

TEST_P(RefusedText, IsRefusedWithItsPlaceAndWhatWasExpected) {
  EXPECT_EQ(error_of(GetParam().text), "JSON, " + GetParam().error);
}

const Refused kRefused[] = {
    {"nothing", "", "line 1, column 1: expected a value, found the end of the text"},
    {"only_space", " \n ", "line 2, column 2: expected a value, found the end of the text"},
    {"byte_order_mark", "\xef\xbb\xbf{}", "line 1, column 1: expected a value, found a byte order mark"},
    {"nul", "\0"s, "line 1, column 1: expected a value, found byte 0x00"},
    {"nul_behind", "[]\0"s, "line 1, column 3: expected the end of the text, found byte 0x00"},
    {"nul_in_array", "[1\0]"s, "line 1, column 3: expected ',' or ']', found byte 0x00"},
    {"nul_in_string", "\"\0\""s,
     "line 1, column 2: expected a control character in a string to be escaped, found byte 0x00"},
    {"two_values", "1 2", "line 1, column 3: expected the end of the text, found '2'"},
    {"comment", "[/**/]", "line 1, column 2: expected a value, found '/'"},
    {"other_space", "[\v]", "line 1, column 2: expected a value, found byte 0x0B"},
    {"no_break_space", "[\u00a0]", "line 1, column 2: expected a value, found byte 0xC2"},
    {"wrong_literal", "[nul]", "line 1, column 2: expected a value, found 'n'"},
    {"upper_case_literal", "True", "line 1, column 1: expected a value, found 'T'"},
    {"long_literal", "truex", "line 1, column 5: expected the end of the text, found 'x'"},
    {"nan", "NaN", "line 1, column 1: expected a value, found 'N'"},
    {"open_array", "[1", "line 1, column 3: expected ',' or ']', found the end of the text"},
    {"open_array_comma", "[1,", "line 1, column 4: expected a value, found the end of the text"},
    {"array_comma_at_end", "[1,]", "line 1, column 4: expected a value, found ']'"},
    {"array_comma_first", "[,1]", "line 1, column 2: expected a value, found ','"},
    {"array_no_comma", "[1 2]", "line 1, column 4: expected ',' or ']', found '2'"},
    {"array_closed_as_object", "[1}", "line 1, column 3: expected ',' or ']', found '}'"},
    {"closed_twice", "[]]", "line 1, column 3: expected the end of the text, found ']'"},
    {"open_object", "{", "line 1, column 2: expected a key in quotes, found the end of the text"},
    {"object_comma_at_end", R"({"a":1,})", "line 1, column 8: expected a key in quotes, found '}'"},
    {"object_comma_first", R"({,"a":1})", "line 1, column 2: expected a key in quotes, found ','"},
    {"key_without_quotes", "{a:1}", "line 1, column 2: expected a key in quotes, found 'a'"},
    {"key_is_a_number", "{1:1}", "line 1, column 2: expected a key in quotes, found '1'"},
    {"no_colon", R"({"a" 1})", "line 1, column 6: expected ':' behind a key, found '1'"},
    {"no_member_value", R"({"a":})", "line 1, column 6: expected a value, found '}'"},
    {"object_no_comma", R"({"a":1 "b":2})", "line 1, column 8: expected ',' or '}', found '\"'"},
    {"object_closed_as_array", R"({"a":1])", "line 1, column 7: expected ',' or '}', found ']'"},
    {"open_string", R"("abc)", "line 1, column 5: expected '\"' at the end of a string, found the end of the text"},
    {"open_escape", R"("\)",
     "line 1, column 3: expected one of \" \\ / b f n r t u behind a backslash, found the end of the text"},
    {"wrong_escape", R"("\x41")",
     "line 1, column 3: expected one of \" \\ / b f n r t u behind a backslash, found 'x'"},
    {"line_feed_in_string", "\"a\nb\"",
     "line 1, column 3: expected a control character in a string to be escaped, found byte 0x0A"},
    {"short_u_escape", R"("\u12")", "line 1, column 2: expected four hex digits behind \\u"},
    {"wrong_u_escape", R"("\u12g4")", "line 1, column 2: expected four hex digits behind \\u"},
    {"u_escape_at_end", R"("\u123)", "line 1, column 2: expected four hex digits behind \\u"},
    {"u0000", R"("a\u0000")", "line 1, column 3: U+0000 in a string"},
    {"lone_high_surrogate", R"("\ud800")", "line 1, column 2: a lone surrogate in a string"},
    {"lone_low_surrogate", R"("\udc00")", "line 1, column 2: a lone surrogate in a string"},
    {"two_high_surrogates", R"("\ud800\ud800")", "line 1, column 2: a lone surrogate in a string"},
    {"surrogates_crossed", R"("\udc00\ud800")", "line 1, column 2: a lone surrogate in a string"},
    {"surrogate_then_text", R"("\ud800x\udc00")", "line 1, column 2: a lone surrogate in a string"},
    {"surrogate_at_end", R"("\ud800\udc0)", "line 1, column 2: a lone surrogate in a string"},
    {"utf8_continuation_alone", "\"\x80\"", "line 1, column 2: expected UTF-8 in a string, found byte 0x80"},
    {"utf8_cut", "\"\xc3\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xC3"},
    {"utf8_cut_at_end", "\"\xf0\x9f\x98", "line 1, column 2: expected UTF-8 in a string, found byte 0xF0"},
    {"utf8_overlong_2", "\"\xc0\xaf\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xC0"},
    {"utf8_overlong_3", "\"\xe0\x9f\xbf\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xE0"},
    {"utf8_overlong_4", "\"\xf0\x8f\xbf\xbf\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xF0"},
    {"utf8_surrogate", "\"\xed\xa0\x80\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xED"},
    {"utf8_too_large", "\"\xf4\x90\x80\x80\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xF4"},
    {"utf8_no_such_lead", "\"\xf5\x80\x80\x80\"", "line 1, column 2: expected UTF-8 in a string, found byte 0xF5"},
    {"utf8_in_a_key", "{\"\xff\":1}", "line 1, column 3: expected UTF-8 in a string, found byte 0xFF"},
    {"plus", "+1", "line 1, column 1: expected a value, found '+'"},
    {"minus_alone", "[-]", "line 1, column 3: expected a digit behind '-', found ']'"},
    {"minus_infinity", "-Infinity", "line 1, column 2: expected a digit behind '-', found 'I'"},
    {"leading_zero", "01", "line 1, column 2: expected no digit behind a leading 0, found '1'"},
    {"minus_leading_zero", "-00", "line 1, column 3: expected no digit behind a leading 0, found '0'"},
    {"point_first", ".5", "line 1, column 1: expected a value, found '.'"},
    {"point_last", "1.", "line 1, column 3: expected a digit behind '.', found the end of the text"},
    {"point_and_exponent", "1.e5", "line 1, column 3: expected a digit behind '.', found 'e'"},
    {"two_points", "1.2.3", "line 1, column 4: expected the end of the text, found '.'"},
    {"empty_exponent", "1e", "line 1, column 3: expected a digit in the exponent, found the end of the text"},
    {"sign_as_exponent", "1e+", "line 1, column 4: expected a digit in the exponent, found the end of the text"},
    {"fraction_as_exponent", "1e.5", "line 1, column 3: expected a digit in the exponent, found '.'"},
    {"hex", "0x10", "line 1, column 2: expected the end of the text, found 'x'"},
    {"same_key", R"({"a":1,"a":2})", "line 1, column 8: the key \"a\" comes twice in one object"},
    {"same_empty_key", R"({"":1,"":2})", "line 1, column 7: the key \"\" comes twice in one object"},
    {"same_key_not_next", R"({"a":{"b":1,"c":[1]},"b":1,"a":2})",
     "line 1, column 28: the key \"a\" comes twice in one object"},
    {"same_key_below", R"([{"x":{"b":1,"b":1}}])", "line 1, column 14: the key \"b\" comes twice in one object"},
    {"same_key_escaped_second", R"({"a":1,"\u0061":2})",
     "line 1, column 8: the key \"\\u0061\" comes twice in one object"},
    {"same_key_escaped_first", R"({"\u0061":1,"a":2})", "line 1, column 13: the key \"a\" comes twice in one object"},
    {"same_key_escaped_both", R"({"\u000a":1,"\n":2})", "line 1, column 13: the key \"\\n\" comes twice in one object"},
    {"column_counts_characters", "[\"\u00e9\u20ac\U0001f600\" x]", "line 1, column 8: expected ',' or ']', found 'x'"},
    {"line_counts_line_feeds", "[\r\n  1,\n\n  x]", "line 4, column 3: expected a value, found 'x'"},
    {"too_deep", nested(kDepthMax + 1), "line 1, column 129: more than 128 levels"},
    {"far_too_deep", std::string(1'000'000, '['), "line 1, column 129: more than 128 levels"},
};
INSTANTIATE_TEST_SUITE_P(One, RefusedText, testing::ValuesIn(kRefused), [](const auto& one) { return one.param.name; });

TEST(JsonText, MayBeAsDeepAsItIsAllowed) {
  EXPECT_EQ(error_of(nested(kDepthMax)), "accepted");
  EXPECT_EQ(error_of(nested(kDepthMax - 1, R"({"a":1})")), "accepted");
  EXPECT_EQ(error_of("[" + nested(kDepthMax - 1) + "," + nested(kDepthMax - 1) + "]"), "accepted");
}

TEST(JsonText, IsBoundedInSize) {
  std::string text = "\"" + std::string(kTextBytesMax - 2, 'a') + "\"";
  EXPECT_EQ(parsed(text).root().plain_string()->size(), kTextBytesMax - 2);
  EXPECT_EQ(error_of(std::move(text) + " "), "JSON of 67108865 bytes: at most 67108864 are allowed");
}

TEST(JsonText, KeepsAnErrorShortWhenAKeyIsLong) {
  const std::string key(200, 'k');
  EXPECT_EQ(error_of("{\"" + key + "\":1,\"" + key + "\":2}"),
            "JSON, line 1, column 207: the key \"" + key.substr(0, 79) + "... comes twice in one object");
  std::string euros;
  for (int i = 0; i < 60; ++i) euros += "\u20ac";
  const std::string error = error_of("{\"" + euros + "\":1,\"" + euros + "\":2}");
  EXPECT_NE(error.find("the key \"" + euros.substr(0, 78) + "... comes"), std::string::npos) << error;
}

// Each object is as large as a sender may make it: comparing every key with every other would take hours.
TEST(ObjectOfManyKeys, IsParsedWithoutComparingThemAll) {
  std::string text = "{";
  for (int i = 0; i < 400'000; ++i) text += fmt::format("\"same length and ends {:06} x\":0,", i);
  text.back() = '}';
  const Document document = parsed(text);
  EXPECT_EQ(document.root().size(), 400'000U);
  EXPECT_TRUE(document.root().find("same length and ends 399999 x"));
}

TEST(ObjectOfManyKeys, IsRefusedWithTheFirstKeyThatComesTwice) {
  for (const int count : {2, 30, 31, 32, 33, 34, 100, 1000}) {
    for (const int repeated : {0, 1, count / 2, count - 1}) {
      std::string text = "{";
      for (int i = 0; i < count; ++i) text += fmt::format("\"k{}\": {{\"k0\": 1}},\n", i);
      EXPECT_EQ(error_of(text + "\"end\":0}"), "accepted");
      const std::string wanted =
          fmt::format("JSON, line {}, column 1: the key \"\\u006b{}\" comes twice in one object", count + 1, repeated);
      text += fmt::format("\"\\u006b{}\": 1", repeated);
      EXPECT_EQ(error_of(text + "}"), wanted);
      EXPECT_EQ(error_of(text + ", \"k0\": 2}"), wanted);
    }
  }
}

TEST(Value, KnowsItsExactToken) {
  const Document document = parsed(R"( { "a" : 1.10 , "b" : [ 1e2, "x\u0041" ] , "c":{} } )");
  const Value root = document.root();
  EXPECT_EQ(root.raw(), R"({ "a" : 1.10 , "b" : [ 1e2, "x\u0041" ] , "c":{} })");
  EXPECT_EQ(root.find("a")->raw(), "1.10");
  EXPECT_EQ(root.find("b")->raw(), R"([ 1e2, "x\u0041" ])");
  EXPECT_EQ(root.find("c")->raw(), "{}");
  EXPECT_EQ((*root.members().begin()).key.raw(), R"("a")");
}

TEST(Value, KnowsItsKindAndSize) {
  const Document document = parsed(R"([null,true,-1,"s",[1,2,3],{"a":[],"b":{}}])");
  std::vector<std::string> seen;
  for (const Value value : document.root().elements()) {
    seen.push_back(fmt::format("{} {}", name(value.kind()), value.size()));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"null 0", "boolean 0", "number 0", "string 0", "array 3", "object 2"}));
  EXPECT_EQ(document.root().size(), 6U);
}

TEST(Value, GivesMembersAndElementsInTheirOrder) {
  const Document document = parsed(R"({"z":[1,[2,[3]],4],"a":{"x":{"y":0}},"m":null})");
  std::string seen;
  for (const auto [key, value] : document.root().members()) seen += fmt::format("{}={};", *key.string(), value.raw());
  EXPECT_EQ(seen, R"(z=[1,[2,[3]],4];a={"x":{"y":0}};m=null;)");
  seen.clear();
  for (const Value value : document.root().find("z")->elements()) seen += fmt::format("{};", value.raw());
  EXPECT_EQ(seen, "1;[2,[3]];4;");
}

TEST(Value, HasNoMembersOrElementsOfAnotherKind) {
  const Document document = parsed(R"({"array":[1],"text":"a","object":{"a":1}})");
  const auto count = [](const auto& range) {
    int passed = 0;
    for ([[maybe_unused]] const auto& one : range) ++passed;
    return passed;
  };
  EXPECT_EQ(count(document.root().find("array")->members()), 0);
  EXPECT_EQ(count(document.root().find("object")->elements()), 0);
  EXPECT_EQ(count(document.root().find("text")->members()), 0);
  EXPECT_EQ(count(document.root().find("text")->elements()), 0);
  EXPECT_FALSE(document.root().find("array")->find("a"));
  EXPECT_FALSE(document.root().find("text")->find("a"));
}

TEST(Value, FindsAMemberByItsUnescapedName) {
  const Document document = parsed(R"({"plain":1,"caf\u00e9":2,"a\/b":3,"":4,"\ud83d\ude00":5,"in":{"plain":6}})");
  const auto found = [&](std::string_view key) {
    const auto value = document.root().find(key);
    return value ? value->integer().value_or(-1) : 0;
  };
  EXPECT_EQ(found("plain"), 1);
  EXPECT_EQ(found("café"), 2);
  EXPECT_EQ(found("a/b"), 3);
  EXPECT_EQ(found(""), 4);
  EXPECT_EQ(found("\U0001f600"), 5);
  for (const std::string_view missing : {"plai", "plainn", "caf", "caf\\u00e9", "a\\/b", "a", "Plain"}) {
    EXPECT_EQ(found(missing), 0) << missing;
  }
}

TEST(Value, FindsAlongAPath) {
  const Document document = parsed(R"({"data":{"results":{"risk":0.5}},"list":[{"risk":1}]})");
  EXPECT_EQ(document.root().find("data", "results", "risk")->raw(), "0.5");
  EXPECT_FALSE(document.root().find("data", "result", "risk"));
  EXPECT_FALSE(document.root().find("data", "results", "risk", "deeper"));
  EXPECT_FALSE(document.root().find("list", "risk"));
}

TEST(Value, IsTrueOrFalseOrNeither) {
  const Document document = parsed(R"([true,false,null,1,"true"])");
  std::vector<std::optional<bool>> seen;
  for (const Value value : document.root().elements()) seen.push_back(value.boolean());
  EXPECT_EQ(seen, (std::vector<std::optional<bool>>{true, false, {}, {}, {}}));
}

TEST(Value, GivesTheNearestNumber) {
  const struct {
    std::string text;
    std::optional<double> number;
  } cases[] = {
      {"0", 0.0},
      {"-0", -0.0},
      {"0.1", 0.1},
      {"-12.5e-1", -1.25},
      {"1e22", 1e22},
      {"9007199254740993", 9007199254740992.0},
      {"1.7976931348623157e308", std::numeric_limits<double>::max()},
      {"4.9406564584124654e-324", std::numeric_limits<double>::denorm_min()},
      {"1e400", std::nullopt},
      {"-1e400", std::nullopt},
      {"1e99999999999999999999", std::nullopt},
      {"1e-400", 0.0},
      {"-1e-400", -0.0},
      {"1e-99999999999999999999", 0.0},
      {"0e99999999999999999999", 0.0},
      {"0.0000e400", 0.0},
      {R"("1")", std::nullopt},
      {"null", std::nullopt},
  };
  for (const auto& one : cases) {
    const auto number = parsed(one.text).root().number();
    EXPECT_EQ(number, one.number) << one.text;
    EXPECT_EQ(std::signbit(number.value_or(1)), std::signbit(one.number.value_or(1))) << one.text;
  }
}

TEST(Value, IsAnIntegerIfItsValueIsOneThatFits) {
  const struct {
    std::string text;
    std::optional<std::int64_t> integer;
  } cases[] = {
      {"0", 0},
      {"-0", 0},
      {"-0.0e5", 0},
      {"3", 3},
      {"3.0", 3},
      {"3e0", 3},
      {"3.000000000000000000000000000", 3},
      {"30e-1", 3},
      {"0.3e1", 3},
      {"0.0003E4", 3},
      {"-12.50e1", -125},
      {"1e18", 1'000'000'000'000'000'000},
      {"9223372036854775807", std::numeric_limits<std::int64_t>::max()},
      {"-9223372036854775808", std::numeric_limits<std::int64_t>::min()},
      {"9223372036854775807.0", std::numeric_limits<std::int64_t>::max()},
      {"-9223372036854775808.0", std::numeric_limits<std::int64_t>::min()},
      {"922337203685477580.7e1", std::numeric_limits<std::int64_t>::max()},
      {"9223372036854775808", std::nullopt},
      {"-9223372036854775809", std::nullopt},
      {"9223372036854775808.0", std::nullopt},
      {"-9223372036854775809.0", std::nullopt},
      {"99999999999999999999", std::nullopt},
      {"1e19", std::nullopt},
      {"1e99999999999999999999", std::nullopt},
      {"3.5", std::nullopt},
      {"3e-1", std::nullopt},
      {"1e-99999999999999999999", std::nullopt},
      {"9223372036854775807.5", std::nullopt},
      {R"("3")", std::nullopt},
      {"true", std::nullopt},
  };
  for (const auto& one : cases) EXPECT_EQ(parsed(one.text).root().integer(), one.integer) << one.text;
  EXPECT_EQ(parsed("1" + std::string(100'000, '0') + "e-100000").root().integer(), 1);
  EXPECT_EQ(parsed("0." + std::string(100'000, '0') + "7e100001").root().integer(), 7);
}

TEST(Value, GivesAStringUnescaped) {
  const Document document = parsed(R"(["","plain é","\"\\\/\b\f\n\r\t","\u0041\u00E9\u20ac\uD83D\uDE00!","a\\u0041"])");
  std::vector<std::string> seen;
  for (const Value value : document.root().elements()) seen.push_back(value.string().value());
  EXPECT_EQ(seen, (std::vector<std::string>{"", "plain é", "\"\\/\b\f\n\r\t", "Aé€\U0001f600!", "a\\u0041"}));
  EXPECT_FALSE(parsed("12").root().string());
}

TEST(Value, GivesAStringWithoutACopyIfNothingIsEscaped) {
  const Document document = parsed(R"(["plain é","a\nb",1])");
  const auto first = document.root().elements().begin();
  EXPECT_EQ((*first).plain_string(), "plain é");
  EXPECT_EQ((*first).plain_string()->data(), document.text().data() + 2);
  std::vector<bool> plain;
  for (const Value value : document.root().elements()) plain.push_back(value.plain_string().has_value());
  EXPECT_EQ(plain, (std::vector<bool>{true, false, false}));
}

TEST(Value, ComparesItsUnescapedText) {
  EXPECT_TRUE(parsed(R"("abc")").root().equals("abc"));
  EXPECT_TRUE(parsed(R"("a\u0062c")").root().equals("abc"));
  EXPECT_TRUE(parsed(R"("\n")").root().equals("\n"));
  EXPECT_FALSE(parsed(R"("a\u0062c")").root().equals("ab"));
  EXPECT_FALSE(parsed(R"("a\u0062c")").root().equals("abcd"));
  EXPECT_FALSE(parsed(R"("a\u0062c")").root().equals("abd"));
  EXPECT_FALSE(parsed(R"("a\u0062c")").root().equals(R"(a\u0062c)"));
  EXPECT_FALSE(parsed("12").root().equals("12"));
}

TEST(Value, IsAUuidOrATimestampIfItsTextIs) {
  const std::string id = "0195aaaa-0000-7000-8000-0000000000ff";
  EXPECT_EQ(parsed('"' + id + '"').root().uuid(), Uuid::parse(id));
  EXPECT_EQ(parsed(R"("\u0030195aaaa-0000-7000-8000-0000000000FF")").root().uuid(), Uuid::parse(id));
  EXPECT_FALSE(parsed(R"("0195aaaa")").root().uuid());
  EXPECT_FALSE(parsed("1").root().uuid());
  const auto time = parse_timestamp("2026-03-01T09:30:00.250Z");
  EXPECT_EQ(parsed(R"("2026-03-01T10:30:00.25+01:00")").root().timestamp(), time);
  EXPECT_EQ(parsed(R"("2026-03-01T09:30\u003a00.250Z")").root().timestamp(), time);
  EXPECT_FALSE(parsed(R"("2026-03-01")").root().timestamp());
  EXPECT_FALSE(parsed("20260301").root().timestamp());
}

TEST(Document, KeepsItsTextAndMayMove) {
  const std::string text = R"( {"a": [1, 2]} )";
  Document first = parsed(text);
  EXPECT_EQ(first.text(), text);
  const Document second = std::move(first);
  EXPECT_EQ(second.text(), text);
  EXPECT_EQ(second.root().find("a")->size(), 2U);
}

TEST(KindName, IsWhatJsonCallsIt) {
  EXPECT_EQ(name(Kind::null), "null");
  EXPECT_EQ(name(Kind::boolean), "boolean");
  EXPECT_EQ(name(Kind::number), "number");
  EXPECT_EQ(name(Kind::string), "string");
  EXPECT_EQ(name(Kind::array), "array");
  EXPECT_EQ(name(Kind::object), "object");
}

template <class Write>
std::string written(Write write) {
  std::string out;
  Writer writer(out);
  write(writer);
  return out;
}

TEST(Writer, PutsCommasWhereTheyBelong) {
  EXPECT_EQ(written([](Writer& out) {
              out.begin_object();
              out.key("a").begin_array().null().boolean(true).boolean(false).begin_array().end_array().end_array();
              out.key("b").begin_object().end_object();
              out.key("c").begin_object().key("d").string("e").key("f").raw("[1.10, 2]").end_object();
              out.key("g").number(std::int64_t{-7});
              out.end_object();
            }),
            R"({"a":[null,true,false,[]],"b":{},"c":{"d":"e","f":[1.10, 2]},"g":-7})");
}

TEST(Writer, AppendsToWhatIsThere) {
  std::string out = "before ";
  Writer(out).begin_array().string("x").end_array();
  EXPECT_EQ(out, R"(before ["x"])");
}

TEST(Writer, WritesNumbersAsShortAsTheyReadBack) {
  const auto number = [](auto value) { return written([value](Writer& out) { out.number(value); }); };
  EXPECT_EQ(number(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(number(std::numeric_limits<std::int64_t>::max()), "9223372036854775807");
  EXPECT_EQ(number(0.0), "0");
  EXPECT_EQ(number(-0.0), "-0");
  EXPECT_EQ(number(12.0), "12");
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(number(1e22), "1e+22");
  EXPECT_EQ(number(1e-7), "1e-07");
  EXPECT_EQ(number(std::numeric_limits<double>::max()), "1.7976931348623157e+308");
  EXPECT_EQ(number(std::numeric_limits<double>::denorm_min()), "5e-324");
}

TEST(WriterDeathTest, KnowsNoInfinity) {
  std::string out;
  Writer writer(out);
  EXPECT_DEATH(writer.number(std::numeric_limits<double>::infinity()), "isfinite");
  EXPECT_DEATH(writer.number(std::numeric_limits<double>::quiet_NaN()), "isfinite");
}

TEST(Writer, WritesIdsAndTimesAsText) {
  const TenantId tenant = system_tenant();
  EXPECT_EQ(written([&](Writer& out) { out.begin_array().uuid(tenant).uuid(tenant.value()).end_array(); }),
            R"(["00000000-0000-0000-0000-000000000001","00000000-0000-0000-0000-000000000001"])");
  EXPECT_EQ(written([](Writer& out) { out.timestamp(Timestamp(milliseconds(1))); }), R"("1970-01-01T00:00:00.001Z")");
}

TEST(Quoted, EscapesWhatJsonOrATerminalCouldTripOver) {
  const struct {
    std::string text;
    std::string quoted;
  } cases[] = {
      {"", R"("")"},
      {"plain text, 'quotes' & </tags>", R"("plain text, 'quotes' & </tags>")"},
      {"\"\\", R"("\"\\")"},
      {"\b\f\n\r\t", R"("\b\f\n\r\t")"},
      {"\x01\x1b[31m\x1f", R"("\u0001\u001b[31m\u001f")"},
      {"0123456789\x7f!", R"("0123456789\u007f!")"},
      {"\u0080\u009b\u00a0é€\U0001f600", "\"\\u0080\\u009b\u00a0é€\U0001f600\""},
      {"\u2028\u2029\u202e\u2066\u2069", R"("\u2028\u2029\u202e\u2066\u2069")"},
      {"\u2027\u202f\u2065\u206a", "\"\u2027\u202f\u2065\u206a\""},
      {"a\0b"s, R"("a\ufffdb")"},
      {"a\xff\xc3", R"("a\ufffd\ufffd")"},
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},
      {"\xe2\x82", R"("\ufffd\ufffd")"},
  };
  for (const auto& one : cases) {
    std::string out;
    append_quoted(out, one.text);
    EXPECT_EQ(out, one.quoted);
  }
}

TEST(Pointer, EscapesTheTwoCharactersThatMeanSomethingInIt) {
  EXPECT_EQ(escape_pointer(""), "");
  EXPECT_EQ(escape_pointer("plain"), "plain");
  EXPECT_EQ(escape_pointer("a/b~c"), "a~1b~0c");
  EXPECT_EQ(escape_pointer("~1"), "~01");
}

}  // namespace
}  // namespace wfo::json
