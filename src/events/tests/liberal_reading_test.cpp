#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/contracts.h"
#include "events/tests/files.h"
#include "events/types.h"

namespace wfo::events {
namespace {

using testing::HasSubstr;

constexpr std::string_view kTenant = "01890a5d-ac96-774b-bcce-b302099a8057";
constexpr std::string_view kOtherTenant = "01890a5d-ac96-774b-bcce-b302099a8099";
constexpr std::string_view kId = "01890a5d-ac96-774b-bcce-b302099a9001";
const EventId kMessageId = *EventId::parse("01890a5d-ac96-774b-bcce-b302099a9002");
const Timestamp kReceived = *parse_timestamp("2026-03-01T09:30:00.000Z");

const Contracts& contracts() {
  static const auto kContracts = Contracts::load();
  if (!kContracts) throw std::runtime_error(kContracts.error().message);
  return **kContracts;
}

/// An event of members; "" leaves one out.
struct Parts {
  std::string id = fmt::format("\"{}\"", kId);
  std::string type = "\"integration.opportunity.updated\"";
  std::string version = "\"1.0\"";
  std::string timestamp = "\"2026-02-28T23:00:00+01:00\"";
  std::string tenant = fmt::format("\"{}\"", kTenant);
  std::string source = R"({"service":"crm-sync","instance":"crm-sync-1"})";
  std::string data = R"({"opportunityId":"006"})";

  [[nodiscard]] std::string text() const {
    std::string out;
    const auto add = [&](std::string_view key, const std::string& value) {
      if (!value.empty()) out += fmt::format("{}\"{}\":{}", out.empty() ? "{ " : " , ", key, value);
    };
    add("id", id);
    add("type", type);
    add("version", version);
    add("timestamp", timestamp);
    add("tenantId", tenant);
    add("source", source);
    add("data", data);
    return out + "}";
  }
};

TEST(LiberalReading, TakesTheEnvelopeOfThePlatform) {
  const std::string text = Parts{}.text();
  const auto event = contracts().read(text, kReceived);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ((*event)->id().to_string(), kId);
  EXPECT_EQ((*event)->type(), kOpportunityUpdated);
  EXPECT_EQ((*event)->tenant().to_string(), kTenant);
  EXPECT_EQ((*event)->source(), "crm-sync");
  EXPECT_EQ((*event)->version(), "1.0");
  EXPECT_EQ((*event)->timestamp(), parse_timestamp("2026-02-28T22:00:00Z"));
  EXPECT_EQ((*event)->verdict(), Verdict::valid);
  EXPECT_EQ((*event)->bytes(), text);
}

struct Accepted {
  const char* name;
  Parts parts;
};
class LiberallyAccepted : public testing::TestWithParam<Accepted> {};
TEST_P(LiberallyAccepted, IsRead) {
  const auto event = contracts().read(GetParam().parts.text(), kReceived, kMessageId);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ((*event)->tenant().to_string(), kTenant);
}
const std::string kTenantInside = fmt::format(R"({{"opportunityId":"006","tenantId":"{}"}})", kTenant);
INSTANTIATE_TEST_SUITE_P(
    Rules, LiberallyAccepted,
    testing::Values(Accepted{"SourceAsAString", {.source = "\"crm-sync\""}}, Accepted{"NoSource", {.source = ""}},
                    Accepted{"SourceNull", {.source = "null"}}, Accepted{"NoVersion", {.version = ""}},
                    Accepted{"AnyVersion", {.version = "\"2024-01\""}}, Accepted{"NoTimestamp", {.timestamp = ""}},
                    Accepted{"TimestampNull", {.timestamp = "null"}}, Accepted{"NoId", {.id = ""}},
                    Accepted{"IdNull", {.id = "null"}},
                    Accepted{"TenantInDataOnly", {.tenant = "", .data = kTenantInside}},
                    Accepted{"TenantNullAndInData", {.tenant = "null", .data = kTenantInside}},
                    Accepted{"TenantInBoth", {.data = kTenantInside}},
                    Accepted{"TenantInDataNull", {.type = "\"a.b\"", .data = R"({"tenantId":null})"}},
                    Accepted{"UnknownType", {.type = "\"deal.cloned\""}},
                    Accepted{"UnknownTypeWithoutData", {.type = "\"deal.cloned\"", .data = ""}},
                    Accepted{"UnknownTypeWithOtherData", {.type = "\"deal.cloned\"", .data = "[1]"}}),
    [](const auto& test) { return test.param.name; });

struct Refused {
  const char* name;
  Parts parts;
  const char* reason;
};
class LiberallyRefused : public testing::TestWithParam<Refused> {};
TEST_P(LiberallyRefused, NamesTheReason) {
  const auto event = contracts().read(GetParam().parts.text(), kReceived);
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(event.error().message, HasSubstr(GetParam().reason));
}
INSTANTIATE_TEST_SUITE_P(
    Rules, LiberallyRefused,
    testing::Values(
        Refused{"NoType", {.type = ""}, "an event: : has no `type` (required)"},
        Refused{"EmptyType", {.type = "\"\""}, "/type: \"\" is no event type"},
        Refused{"TypeIsANumber", {.type = "7"}, "/type: 7 is no event type"},
        Refused{"TypeTooLong", {.type = '"' + std::string(256, 't') + '"'}, "allowed: a string of 1 to 255 bytes"},
        Refused{"NoIdAnywhere", {.id = ""}, "has no `id`, and its message had no message_id"},
        Refused{"IdNullAndNoneElsewhere", {.id = "null"}, "has no `id`, and its message had no message_id"},
        Refused{"IdIsNoUuid", {.id = "\"evt-1\""}, "/id: \"evt-1\" is no uuid (format)"},
        Refused{"NoTenant", {.tenant = ""}, "has no `tenantId`, neither in the envelope nor in `data`"},
        Refused{"TenantIsNoUuid", {.tenant = "\"acme\""}, "/tenantId: \"acme\" is no uuid (format)"},
        Refused{"TenantInDataIsNoUuid",
                {.tenant = "", .data = R"({"opportunityId":"006","tenantId":"acme"})"},
                "/data/tenantId: \"acme\" is no uuid (format)"},
        Refused{"TwoTenants",
                {.data = fmt::format(R"({{"opportunityId":"006","tenantId":"{}"}})", kOtherTenant)},
                "/data/tenantId: \"01890a5d-ac96-774b-bcce-b302099a8099\" is not the tenant of the envelope"},
        Refused{"TimestampIsBroken", {.timestamp = "\"yesterday\""}, "/timestamp: \"yesterday\" is no date-time"},
        Refused{"VersionIsANumber", {.version = "1"}, "/version: 1 is no string"},
        Refused{"SourceNamesNoOne", {.source = R"({"instance":"i"})"}, "/source: an object of 1 names no one"},
        Refused{"NoData", {.data = ""}, "integration.opportunity.updated: : has no property `data` (required)"},
        Refused{
            "DataBreaksTheContract", {.data = R"({"opportunityId":6})"}, "/data/opportunityId: 6 is no string (type)"},
        Refused{"DataIsNoObject", {.data = "[]"}, "/data: an array of 0 is no object (type)"}),
    [](const auto& test) { return test.param.name; });

TEST(LiberalReading, TellsAllReasonsAtOnce) {
  const auto event = contracts().read(R"({"id":1,"type":"forecast.failed","data":{}})", kReceived);
  ASSERT_FALSE(event);
  for (const char* reason :
       {"/id: 1 is no uuid", "has no `tenantId`", "no property `workflowId`", "no property `error`"}) {
    EXPECT_THAT(event.error().message, HasSubstr(reason));
  }
}

TEST(LiberalReading, SaysWhereATextIsNotJson) {
  const auto event = contracts().read("{\"id\":\n}", kReceived);
  ASSERT_FALSE(event);
  EXPECT_THAT(event.error().message, HasSubstr("not JSON: "));
  EXPECT_THAT(event.error().message, HasSubstr("line 2"));
}

TEST(LiberalReading, RefusesWhatIsNoObject) {
  for (const char* text : {"[]", "17", "null", "\"event\""}) {
    const auto event = contracts().read(text, kReceived, kMessageId);
    ASSERT_FALSE(event) << text;
    EXPECT_THAT(event.error().message, HasSubstr("an event is an object"));
  }
}

TEST(LiberalReading, TakesIdAndTimeOfTheMessageWhereTheEventHasNone) {
  const auto event = contracts().read(Parts{.id = "", .timestamp = ""}.text(), kReceived, kMessageId);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ((*event)->id(), kMessageId);
  EXPECT_EQ((*event)->timestamp(), kReceived);
  EXPECT_EQ((*event)->correlation_id(), kMessageId.to_string());
}

TEST(LiberalReading, KnowsEscapedKeys) {
  std::string text = Parts{}.text();
  text.replace(text.find("tenantId"), 1, "\\u0074");
  const auto event = contracts().read(text, kReceived);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ((*event)->tenant().to_string(), kTenant);
}

TEST(LiberalReading, PrefersTheIdInTheBytes) {
  const auto event = contracts().read(Parts{}.text(), kReceived, kMessageId);
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)->id().to_string(), kId);
}

TEST(LiberalReading, RecordsATypeWithoutContractAsWhatItIs) {
  const auto event = contracts().read(Parts{.type = "\"deal.cloned\"", .data = "[1]"}.text(), kReceived);
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)->verdict(), Verdict::no_schema);
  EXPECT_EQ((*event)->type(), "deal.cloned");
  EXPECT_TRUE((*event)->data().is_object());
  EXPECT_EQ((*event)->data().size(), 0);
}

TEST(LiberalReading, TakesEveryValidExample) {
  for (const auto& example : tests::examples()) {
    if (!example.is_valid) continue;
    const auto event = contracts().read(example.text, kReceived, kMessageId);
    EXPECT_TRUE(event) << example.path << ": " << (event ? "" : event.error().message);
  }
}

TEST(Restore, GivesBackWhatWasRead) {
  for (const Parts& parts :
       {Parts{}, Parts{.id = "", .timestamp = ""}, Parts{.type = "\"deal.cloned\"", .source = ""}}) {
    const auto read = contracts().read(parts.text(), kReceived, kMessageId);
    ASSERT_TRUE(read) << read.error().message;
    const auto restored = contracts().restore((*read)->bytes(), kReceived, kMessageId);
    ASSERT_TRUE(restored) << restored.error().message;
    EXPECT_EQ((*restored)->id(), (*read)->id());
    EXPECT_EQ((*restored)->type(), (*read)->type());
    EXPECT_EQ((*restored)->tenant(), (*read)->tenant());
    EXPECT_EQ((*restored)->timestamp(), (*read)->timestamp());
    EXPECT_EQ((*restored)->source(), (*read)->source());
    EXPECT_EQ((*restored)->version(), (*read)->version());
    EXPECT_EQ((*restored)->verdict(), (*read)->verdict());
    EXPECT_EQ((*restored)->bytes(), (*read)->bytes());
  }
}

TEST(Restore, CallsWhatCannotBeReadBackCorrupt) {
  for (const std::string& text : {std::string("{"), Parts{.tenant = ""}.text(), Parts{.id = ""}.text()}) {
    const auto event = contracts().restore(text, kReceived);
    ASSERT_FALSE(event) << text;
    EXPECT_EQ(event.error().code, ErrorCode::corruption);
    EXPECT_THAT(event.error().message, HasSubstr("a stored event cannot be read back: "));
  }
}

}  // namespace
}  // namespace wfo::events
