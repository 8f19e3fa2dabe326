#include "events/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "events/contracts.h"
#include "events/detail/decimal.h"
#include "events/tests/files.h"
#include "events/tests/mutations.h"

namespace wfo::events {
namespace {

using testing::HasSubstr;
using tests::parsed;

Schema compiled(const std::string& text) {
  auto schema = Schema::compile(parsed(text).root());
  if (!schema) throw std::invalid_argument(schema.error().message);
  return *std::move(schema);
}

/// What `document` breaks, each as `pointer rule`, joined with a comma.
std::string faults(const std::string& schema_text, const std::string& document_text) {
  const Schema schema = compiled(schema_text);
  const auto document = parsed(document_text);
  const auto violations = schema.validate(document.root());
  EXPECT_EQ(schema.is_valid(document.root()), violations.empty()) << schema_text << " " << document_text;
  std::string text;
  for (const Violation& violation : violations)
    text += (text.empty() ? "" : ", ") + violation.pointer + " " + violation.rule;
  return text;
}

struct Case {
  const char* name;
  const char* schema;
  const char* document;
  const char* faults;
};
class Faults : public testing::TestWithParam<Case> {};
TEST_P(Faults, HavePointerAndRule) { EXPECT_EQ(faults(GetParam().schema, GetParam().document), GetParam().faults); }

INSTANTIATE_TEST_SUITE_P(
    Schema, Faults,
    testing::Values(
        Case{"Type", R"({"type":"string"})", "1", " type"},
        Case{"TypeHidesTheRest", R"({"type":"string","enum":["a"],"not":{}})", "1", " type"},
        Case{"IntegerWithPointZero", R"({"type":"integer"})", "3.0", ""},
        Case{"IntegerWithExponent", R"({"type":"integer"})", "25e-1", " type"},
        Case{"IntegerBeyond64Bits", R"({"type":"integer"})", "123456789012345678901234567890.0", ""},
        Case{"IntegerOrNumber", R"({"type":["integer","number"]})", "0.5", ""},
        Case{"IntegerOrNull", R"({"type":["integer","null"]})", "[null]", " type"},
        Case{"ConstOfANumber", R"({"const":1})", "1.0", ""},
        Case{"ConstBeyondDoubles", R"({"const":9007199254740993})", "9007199254740992", " const"},
        Case{"ConstOfAnObjectInAnyOrder", R"({"const":{"a":1,"b":[true]}})", R"({"b":[true],"a":1e0})", ""},
        Case{"ConstEscaped", R"({"const":"a/b"})", R"("a\/\u0062")", ""},
        Case{"EnumEscaped", R"({"enum":["x","é"]})", R"("\u00e9")", ""},
        Case{"Enum", R"({"enum":["x",2,null]})", "false", " enum"},
        Case{"MinimumExact", R"({"minimum":9007199254740993})", "9007199254740992", " minimum"},
        Case{"MaximumOfHugeNumbers", R"({"maximum":1e400})", "1e401", " maximum"},
        Case{"MaximumBelowHugeNumbers", R"({"maximum":1e400})", "-1e401", ""},
        Case{"MinimumEqual", R"({"minimum":0.10})", "0.1", ""},
        Case{"ExclusiveMinimumEqual", R"({"exclusiveMinimum":0})", "-0.0", " exclusiveMinimum"},
        Case{"ExclusiveMaximumEqual", R"({"exclusiveMaximum":1})", "1.0", " exclusiveMaximum"},
        Case{"MultipleOfCents", R"({"multipleOf":0.01})", "4.35", ""},
        Case{"MultipleOfCentsNot", R"({"multipleOf":0.01})", "4.355", " multipleOf"},
        Case{"MultipleOfHuge", R"({"multipleOf":7})", "7e300", ""},
        Case{"MultipleOfHugeNot", R"({"multipleOf":7})", "1e300", " multipleOf"},
        Case{"LengthInCodePoints", R"({"maxLength":2})", R"("😀é")", ""},
        Case{"LengthOfEscapes", R"({"minLength":2})", R"("\ud83d\ude00")", " minLength"},
        Case{"RequiredPointsAtTheObject", R"({"properties":{"a":{"required":["b","c"]}}})", R"({"a":{"c":1}})",
             "/a required"},
        Case{"RequiredBeforeProperties", R"({"required":["b","a"],"properties":{"a":{},"b":{}}})", R"({"a":1})",
             " required"},
        Case{"AdditionalPropertiesPointAtTheMember", R"({"properties":{"a":{}},"additionalProperties":false})",
             R"({"a":1,"x/y~":2})", "/x~1y~0 additionalProperties"},
        Case{"AdditionalPropertiesOfASchema", R"({"additionalProperties":{"type":"integer"}})", R"({"a":1,"b":"2"})",
             "/b type"},
        Case{"RequiredIsNotAProperty", R"({"required":["a"],"additionalProperties":false})", R"({"a":1})",
             "/a additionalProperties"},
        Case{"PropertyNames", R"({"propertyNames":{"maxLength":2}})", R"({"ab":1,"abc":2})", "/abc maxLength"},
        Case{"EscapedKey", R"({"properties":{"a":{"type":"null"}},"required":["a"]})", R"({"\u0061":1})", "/a type"},
        Case{"MinProperties", R"({"minProperties":1})", "{}", " minProperties"},
        Case{"MaxProperties", R"({"maxProperties":0})", R"({"a":1})", " maxProperties"},
        Case{"Dependencies", R"({"dependencies":{"a":["b","c"],"d":{"required":["e"]}}})", R"({"a":1,"b":2,"d":3})",
             " dependencies,  required"},
        Case{"Items", R"({"items":{"type":"integer"}})", R"([1,"2",3,null])", "/1 type, /3 type"},
        Case{"ItemsInPlace", R"({"items":[{"type":"null"},true],"additionalItems":false})", "[1,2,3]",
             "/0 type, /2 additionalItems"},
        Case{"AdditionalItemsAlone", R"({"additionalItems":false})", "[1]", ""},
        Case{"MinItems", R"({"minItems":2})", "[1]", " minItems"},
        Case{"MaxItems", R"({"maxItems":0})", "[1]", " maxItems"},
        Case{"Contains", R"({"contains":{"const":2}})", "[1,3]", " contains"},
        Case{"UniqueItems", R"({"uniqueItems":true})", R"([{"a":1,"b":2},1,{"b":2.0,"a":1}])", " uniqueItems"},
        Case{"UniqueItemsOfOtherKinds", R"({"uniqueItems":true})", R"([1,"1",true,"true",null,"null",[1],["1"],{},[]])",
             ""},
        Case{"AllOf", R"({"allOf":[{"minimum":2},{"maximum":0}]})", "1", " minimum,  maximum"},
        Case{"AnyOf", R"({"anyOf":[{"type":"null"},{"type":"string"}]})", "1", " anyOf"},
        Case{"OneOfNone", R"({"oneOf":[{"type":"null"},{"type":"string"}]})", "1", " oneOf"},
        Case{"OneOfTwo", R"({"oneOf":[{"minimum":0},{"maximum":2}]})", "1", " oneOf"},
        Case{"Not", R"({"not":{"type":"number"}})", "1", " not"},
        Case{"IfThen", R"({"if":{"minimum":5},"then":{"multipleOf":5},"else":{"const":1}})", "6", " multipleOf"},
        Case{"IfElse", R"({"if":{"minimum":5},"then":{"multipleOf":5},"else":{"const":1}})", "2", " const"},
        Case{"False", R"({"properties":{"a":false}})", R"({"a":1})", "/a false schema"},
        Case{"RefToDefinitions", R"({"$ref":"#/definitions/a","definitions":{"a":{"type":"null"}}})", "1", " type"},
        Case{
            "RefEscaped",
            R"({"properties":{"t":{"$ref":"#/definitions/tilda~0field"},"s":{"$ref":"#/definitions/slash~1field"},"p":{"$ref":"#/definitions/percent%25field"}},)"
            R"("definitions":{"tilda~field":{"type":"integer"},"slash/field":{"type":"integer"},"percent%field":{"type":"integer"}}})",
            R"({"t":"a","s":"a","p":"a"})", "/t type, /s type, /p type"},
        Case{"RefIntoAList", R"({"items":[{"type":"null"},{"$ref":"#/items/0"}]})", "[null,1]", "/1 type"},
        Case{"RefToTheRoot", R"({"properties":{"child":{"$ref":"#"}},"required":["n"]})",
             R"({"n":1,"child":{"n":2,"child":{}}})", "/child/child required"},
        Case{
            "InDocumentOrder",
            R"({"required":["z"],"allOf":[{"properties":{"b":{"type":"null"}}}],"properties":{"a":{"type":"null"},"c":{"items":{"type":"null"}}}})",
            R"({"c":[0],"b":1,"a":2})", " required, /c/0 type, /b type, /a type"}),
    [](const auto& test) { return std::string(test.param.name); });

struct FormatCase {
  const char* name;
  const char* format;
  const char* text;
  bool is_valid;
};
class Formats : public testing::TestWithParam<FormatCase> {};
TEST_P(Formats, AreAsserted) {
  const Schema schema = compiled(fmt::format(R"({{"format":"{}"}})", GetParam().format));
  const auto document = parsed(GetParam().text);
  EXPECT_EQ(schema.is_valid(document.root()), GetParam().is_valid) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Schema, Formats,
    testing::Values(FormatCase{"UuidLowerCase", "uuid", R"("01890a5d-ac96-774b-bcce-b302099a8057")", true},
                    FormatCase{"UuidUpperCase", "uuid", R"("01890A5D-AC96-774B-BCCE-B302099A8057")", true},
                    FormatCase{"UuidNil", "uuid", R"("00000000-0000-0000-0000-000000000000")", true},
                    FormatCase{"UuidEscaped", "uuid", R"("\u00301890a5d-ac96-774b-bcce-b302099a8057")", true},
                    FormatCase{"UuidShort", "uuid", R"("01890a5d-ac96-774b-bcce-b302099a805")", false},
                    FormatCase{"UuidLong", "uuid", R"("01890a5d-ac96-774b-bcce-b302099a80577")", false},
                    FormatCase{"UuidWithoutHyphens", "uuid", R"("01890a5dac96774bbcceb302099a8057")", false},
                    FormatCase{"UuidHyphensElsewhere", "uuid", R"("01890a5da-c96-774b-bcce-b302099a8057")", false},
                    FormatCase{"UuidNoHex", "uuid", R"("01890g5d-ac96-774b-bcce-b302099a8057")", false},
                    FormatCase{"UuidBraces", "uuid", R"("{1890a5d-ac96-774b-bcce-b302099a805}")", false},
                    FormatCase{"UuidUrn", "uuid", R"("urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057")", false},
                    FormatCase{"UuidEmpty", "uuid", R"("")", false}, FormatCase{"UuidOfANumber", "uuid", "7", true},
                    FormatCase{"TimeLeapSecond", "date-time", R"("2016-12-31T23:59:60Z")", true},
                    FormatCase{"TimeNoLeapSecond", "date-time", R"("2016-12-31T22:59:60Z")", false},
                    FormatCase{"TimeWithoutZone", "date-time", R"("2026-03-01T09:30:00")", false},
                    FormatCase{"TimeWithSpace", "date-time", R"("2026-03-01 09:30:00Z")", false},
                    FormatCase{"TimeNoDay", "date-time", R"("2026-02-29T09:30:00Z")", false},
                    FormatCase{"DateLeapDay", "date", R"("2024-02-29")", true},
                    FormatCase{"DateNoDay", "date", R"("2026-02-29")", false},
                    FormatCase{"DateWithTime", "date", R"("2026-02-28T00:00:00Z")", false}),
    [](const auto& test) { return std::string(test.param.name); });

struct RefusedCase {
  const char* name;
  const char* schema;
  const char* message;
};
class Refused : public testing::TestWithParam<RefusedCase> {};
TEST_P(Refused, NamesPlaceAndReason) {
  const auto document = parsed(GetParam().schema);
  const auto schema = Schema::compile(document.root());
  ASSERT_FALSE(schema);
  EXPECT_EQ(schema.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(schema.error().message, HasSubstr(GetParam().message));
}
INSTANTIATE_TEST_SUITE_P(
    Schema, Refused,
    testing::Values(
        RefusedCase{"NoSchema", "7", "(root): number is no schema"},
        RefusedCase{"NoSchemaBelow", R"({"properties":{"a":null}})", "/properties/a: null is no schema"},
        RefusedCase{"UnknownKeyword", R"({"properties":{"a":{"requierd":[]}}})",
                    "/properties/a/requierd: the keyword `requierd` is not supported"},
        RefusedCase{"Pattern", R"({"pattern":"a*"})", "/pattern: the keyword `pattern` is not supported"},
        RefusedCase{"Format", R"({"format":"email"})",
                    "the format \"email\" is not supported; allowed: date, date-time, uuid"},
        RefusedCase{"OtherDraft", R"({"$schema":"https://json-schema.org/draft/2020-12/schema"})", "/$schema: "},
        RefusedCase{"IdBelow", R"({"items":{"$id":"a"}})", "/items/$id: `$id` is supported at the root only"},
        RefusedCase{"RemoteRef", R"({"items":{"$ref":"other.json"}})", "/items/$ref: \"other.json\" is not supported"},
        RefusedCase{"RefToNothing", R"({"$ref":"#/definitions/a"})", "points at nothing"},
        RefusedCase{"RefToBadEscape", R"({"$ref":"#/definitions/%4"})", "points at nothing"},
        RefusedCase{"BesideRef", R"({"$ref":"#/definitions/a","minimum":1,"definitions":{"a":{}}})",
                    "/minimum: stands beside $ref"},
        RefusedCase{"RefLoop", R"({"$ref":"#"})", "a $ref that leads back to itself"},
        RefusedCase{
            "RefLoopOfTwo",
            R"({"definitions":{"a":{"allOf":[{"$ref":"#/definitions/b"}]},"b":{"not":{"$ref":"#/definitions/a"}}}})",
            "a $ref that leads back to itself"},
        RefusedCase{"RefLoopInDependencies", R"({"dependencies":{"a":{"$ref":"#"}}})",
                    "a $ref that leads back to itself"},
        RefusedCase{"Type", R"({"type":"text"})", "`text` is no type"},
        RefusedCase{"NoTypes", R"({"type":[]})", "/type: "},
        RefusedCase{"RequiredTwice", R"({"required":["a","a"]})", "`a` comes twice"},
        RefusedCase{"RequiredDraft3", R"({"required":true})", "/required: "},
        RefusedCase{"Count", R"({"minLength":-1})", "/minLength: -1 is no count"},
        RefusedCase{"Bound", R"({"minimum":"1"})", "/minimum: "},
        RefusedCase{"ExclusiveDraft4", R"({"minimum":1,"exclusiveMinimum":true})", "/exclusiveMinimum: "},
        RefusedCase{"MultipleOfZero", R"({"multipleOf":0})", "/multipleOf: "},
        RefusedCase{"MultipleOfTooManyDigits", R"({"multipleOf":0.1234567890123456789})", "at most 18 digits"},
        RefusedCase{"EmptyEnum", R"({"enum":[]})", "/enum: "}, RefusedCase{"EmptyAnyOf", R"({"anyOf":[]})", "/anyOf: "},
        RefusedCase{"InsideDefinitions", R"({"definitions":{"a/b":{"type":1}}})", "/definitions/a~1b/type: "}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Schema, OutlivesTheDocumentThatItCameFrom) {
  const Schema schema = compiled(R"({"properties":{"a":{"const":"x"}},"required":["a"]})");
  EXPECT_TRUE(schema.is_valid(parsed(R"({"a":"x"})").root()));
  EXPECT_FALSE(schema.is_valid(parsed(R"({"a":"y"})").root()));
}

TEST(Schema, ChecksAPropertyByItself) {
  const Schema schema = compiled(R"({"required":["b"],"properties":{"a":{"items":{"type":"null"}}}})");
  const auto document = parsed("[1]");
  EXPECT_FALSE(schema.is_valid_property("a", document.root()));
  EXPECT_TRUE(schema.is_valid_property("c", document.root()));
  const auto violations = schema.validate_property("a", document.root());
  ASSERT_EQ(violations.size(), 1);
  EXPECT_EQ(violations[0], (Violation{"/a/0", "type", "1 is no null"}));
  EXPECT_TRUE(schema.validate_property("c", document.root()).empty());
}

TEST(Schema, SaysWhatSpeaksAgainstEachAlternative) {
  const Schema schema =
      compiled(R"({"properties":{"a":{"anyOf":[{"required":["x"]},{"properties":{"y":{"type":"null"}}}]}}})");
  const auto violations = schema.validate(parsed(R"({"a":{"y":1}})").root());
  ASSERT_EQ(violations.size(), 1);
  EXPECT_EQ(violations[0].message, "fits none of 2: has no property `x` | /a/y: 1 is no null");
}

TEST(Schema, ShowsLongAndUnprintableValuesSafely) {
  const Schema schema = compiled(R"({"maxLength":1,"maximum":0})");
  const auto message = [&](const std::string& text) { return schema.validate(parsed(text).root()).at(0).message; };
  EXPECT_EQ(message(R"("\u001b[31m")"), R"("\u001b[31m" has 5 characters; allowed: at most 1)");
  EXPECT_THAT(message('"' + std::string(59, 'a') + "éé" + '"'), HasSubstr(std::string(59, 'a') + "…\""));
  EXPECT_LT(message(std::string(500, '9')).size(), 150);
}

TEST(Schema, BoundsWhatItReports) {
  const Schema schema = compiled(R"({"items":{"type":"null"}})");
  std::string text = "[0";
  for (int i = 0; i < 5'000; ++i) text += ",0";
  EXPECT_EQ(schema.validate(parsed(text + "]").root()).size(), kViolationsMax);
}

TEST(Schema, ReachesTheDeepestDocumentThroughTheLongestChain) {
  std::string schema_text = R"({"items":{"$ref":"#"}})";
  for (int i = 0; i < 6; ++i) schema_text = R"({"allOf":[)" + schema_text + "]}";
  const Schema schema = compiled(schema_text);
  EXPECT_TRUE(schema.is_valid(parsed(std::string(json::kDepthMax, '[') + std::string(json::kDepthMax, ']')).root()));
  EXPECT_TRUE(
      schema.validate(parsed(std::string(json::kDepthMax, '[') + std::string(json::kDepthMax, ']')).root()).empty());
  EXPECT_FALSE(Schema::compile(parsed(R"({"allOf":[{"allOf":[)" + schema_text + "]}]}").root()));
}

TEST(Schema, TellsTwoEqualItemsAmongManyWithoutComparingAllPairs) {
  std::string text = "[";
  for (int i = 0; i < 200'000; ++i) text += std::to_string(i) + ",";
  EXPECT_EQ(faults(R"({"uniqueItems":true})", text + "-1]"), "");
  EXPECT_EQ(faults(R"({"uniqueItems":true})", text + "77.0]"), " uniqueItems");
}

// Properties.

const Contracts& contracts() {
  static const auto kContracts = Contracts::load();
  if (!kContracts) throw std::runtime_error(kContracts.error().message);
  return **kContracts;
}

RC_GTEST_PROP(Schema, NeitherCrashesNorDisagreesWithItselfOnMutatedEvents, ()) {
  const std::string text = *tests::mutated_example();
  const auto document = json::Document::parse(text);
  if (!document) return;
  const auto all = contracts().validate(document->root());
  for (const Violation& violation : all) RC_ASSERT(!violation.rule.empty());
  for (const std::string& type : contracts().types()) {
    static std::map<std::string, Schema> schemas;
    auto schema = schemas.find(type);
    if (schema == schemas.end()) {
      schema = schemas.emplace(type, compiled(std::string(contracts().schema_text(type).value()))).first;
    }
    RC_ASSERT(schema->second.is_valid(document->root()) == schema->second.validate(document->root()).empty());
  }
}

RC_GTEST_PROP(Contracts, ReadOrNameAReasonForMutatedEvents, ()) {
  const std::string text = *tests::mutated_example();
  const auto event = contracts().read(text, Timestamp{});
  if (!event) {
    RC_ASSERT(event.error().code == ErrorCode::invalid_argument);
    RC_ASSERT(!event.error().message.empty());
    return;
  }
  RC_ASSERT((*event)->bytes() == text);
  const auto restored = contracts().restore(text, Timestamp{});
  RC_ASSERT(restored.has_value());
  RC_ASSERT((*restored)->id() == (*event)->id());
  RC_ASSERT((*restored)->tenant() == (*event)->tenant());
}

RC_GTEST_PROP(Contracts, ReadWhateverIsStrictlyValid, ()) {
  const std::string text = *tests::mutated_example();
  const auto document = json::Document::parse(text);
  if (!document || !document->root().find("id") || !contracts().validate(document->root()).empty()) return;
  const auto event = contracts().read(text, Timestamp{});
  const auto inside = document->root().find("data", "tenantId");
  const bool two_tenants =
      inside && document->root().find("tenantId") && inside->uuid() != document->root().find("tenantId")->uuid();
  RC_ASSERT(event.has_value() != two_tenants);
}

RC_GTEST_PROP(Decimals, OrderLikeIntegers, (std::int64_t a, std::int64_t b, bool as_fraction)) {
  const auto text = [&](std::int64_t value) { return std::to_string(value) + (as_fraction ? ".000" : "e0"); };
  const auto order = detail::compare(detail::Decimal::parse(text(a)), detail::Decimal::parse(std::to_string(b)));
  RC_ASSERT(order == (a <=> b));
}

RC_GTEST_PROP(Decimals, KnowMultiplesLikeIntegers, (std::int32_t value)) {
  const auto divisor = *rc::gen::inRange<std::int64_t>(1, 2'000);
  const auto multiple = detail::is_multiple_of(detail::Decimal::parse(std::to_string(value)),
                                               detail::Decimal::parse(std::to_string(divisor)));
  RC_ASSERT(multiple == (value % divisor == 0));
  const auto scaled = detail::is_multiple_of(detail::Decimal::parse(std::to_string(value) + "e-3"),
                                             detail::Decimal::parse(std::to_string(divisor) + "e-3"));
  RC_ASSERT(scaled == multiple);
}

}  // namespace
}  // namespace wfo::events
