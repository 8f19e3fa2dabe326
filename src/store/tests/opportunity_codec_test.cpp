#include "store/opportunity_codec.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace wfo::store {
namespace {

Opportunity full() {
  Opportunity one;
  one.id = OpportunityId(*Uuid::parse("0195504e-0000-7000-8000-000000000001"));
  one.external_id = "006";
  one.name = "Größe \"XL\"";
  one.stage = "Negotiation";
  one.amount = 1'054.5;
  one.currency = "EUR";
  one.product = "GTX Pro";
  one.list_price = 4'821;
  one.account = "Acme";
  one.owner = "Ann";
  one.competitor_id = "c-1";
  one.crm_probability = 0.25;
  one.created_on = *parse_date("2016-10-20");
  one.stage_entered_on = *parse_date("2016-11-01");
  one.last_activity_on = *parse_date("2016-12-01");
  one.close_on = *parse_date("2017-03-01");
  one.stage_regressed = true;
  one.account_revenue = 1'100.04;
  one.account_employees = 2'822;
  one.account_sector = "technology";
  one.as_of = *parse_date("2017-12-31");
  one.changed_at = *parse_timestamp("2017-12-30T10:00:00.123Z");
  return one;
}

json::Document parse(std::string text) {
  auto document = json::Document::parse(std::move(text));
  EXPECT_TRUE(document) << document.error().message;
  return *std::move(document);
}

TEST(OpportunityCodec, ReadsBackWhatItWrote) {
  for (const Opportunity& one : {full(), Opportunity{}}) {
    Opportunity read;
    read.id = one.id;
    const auto decoded = decode_opportunity(encode_opportunity(one), read);
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(read, one);
  }
  EXPECT_EQ(encode_opportunity(Opportunity{}), "{}");
}

RC_GTEST_PROP(OpportunityCodec, ReadsBackAnyTextNumberAndTime, ()) {
  Opportunity one;
  one.name = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  one.amount = *rc::gen::map(rc::gen::arbitrary<std::uint32_t>(), [](auto n) { return static_cast<double>(n) / 7; });
  one.close_on = Date(std::chrono::days(*rc::gen::inRange(-700'000, 2'900'000)));
  one.changed_at = Timestamp(milliseconds(*rc::gen::inRange<std::int64_t>(0, 253'402'300'799'999)));
  RC_ASSERT(check_opportunity(one).has_value());
  Opportunity read;
  RC_ASSERT(decode_opportunity(encode_opportunity(one), read).has_value());
  RC_ASSERT(read == one);
}

TEST(OpportunityCodec, SaysThatWhatIsStoredIsBroken) {
  for (const std::string& text :
       std::vector<std::string>{"", "{", R"({"amount":-1})", R"({"unknown":1})", R"({"changedAt":"yesterday"})"}) {
    Opportunity one;
    const auto decoded = decode_opportunity(text, one);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::corruption);
  }
}

TEST(OpportunityChanges, AreLaidOverWhatIsKnown) {
  Opportunity one = full();
  const auto changes = parse(
      R"({"stage":"Closed","state":"won","amount":7,"closeOn":"2017-04-05T23:00:00Z","owner":null,"listPrice":null,)"
      R"("stageRegressed":null,"notOurs":{"a":1}})");
  const auto applied = apply_changes(changes.root(), one);
  ASSERT_TRUE(applied) << applied.error().message;
  Opportunity expected = full();
  expected.stage = "Closed";
  expected.state = StageState::won;
  expected.amount = 7;
  expected.close_on = *parse_date("2017-04-05");
  expected.owner = "";
  expected.list_price = std::nullopt;
  expected.stage_regressed = false;
  expected.as_of = std::nullopt;
  EXPECT_EQ(one, expected);
}

TEST(OpportunityChanges, OfAStageAloneBringTheStateThatItMeans) {
  const auto state_after = [](std::string_view changes) {
    Opportunity one = full();
    one.state = StageState::lost;
    EXPECT_TRUE(apply_changes(parse(std::string(changes)).root(), one)) << changes;
    return one.state;
  };
  EXPECT_EQ(state_after(R"({"stage":"Closed Won"})"), StageState::won);
  EXPECT_EQ(state_after(R"({"stage":"closed_lost"})"), StageState::lost);
  EXPECT_EQ(state_after(R"({"stage":"Negotiation"})"), StageState::open);
  EXPECT_EQ(state_after(R"({"stage":"Negotiation","state":"won"})"), StageState::won);
  EXPECT_EQ(state_after(R"({"amount":3})"), StageState::lost);
}

TEST(OpportunityChanges, StandNowUnlessTheySayWhen) {
  Opportunity one = full();
  ASSERT_TRUE(one.as_of);
  EXPECT_TRUE(apply_changes(parse(R"({"amount":3})").root(), one));
  EXPECT_FALSE(one.as_of);
  EXPECT_TRUE(apply_changes(parse(R"({"asOf":"2026-03-01"})").root(), one));
  EXPECT_EQ(one.as_of, parse_date("2026-03-01"));
}

TEST(OpportunityChanges, DoNotSetWhenTheyHappened) {
  Opportunity one = full();
  const auto changes = parse(R"({"changedAt":"2030-01-01T00:00:00Z","asOf":")" + format_date(*one.as_of) + R"("})");
  EXPECT_TRUE(apply_changes(changes.root(), one));
  EXPECT_EQ(one, full());
}

TEST(OpportunityChanges, ChangeNothingIfOneOfThemIsBad) {
  struct Case {
    std::string changes;
    std::string named;
  };
  for (const auto& [text, named] : {
           Case{R"({"owner":"Bob","amount":"12"})", "amount"},
           Case{R"({"owner":"Bob","amount":-0.01})", "-0.01"},
           Case{R"({"owner":"Bob","probability":1.5})", "1.5"},
           Case{R"({"owner":"Bob","closeOn":"2017-02-30"})", "2017-02-30"},
           Case{R"({"owner":"Bob","state":"lost?"})", "lost?"},
           Case{R"({"owner":"Bob","state":null})", "state"},
           Case{R"({"owner":"Bob","name":3})", "name"},
           Case{R"({"owner":"Bob","stageRegressed":"yes"})", "stageRegressed"},
           Case{R"(["owner"])", "object"},
       }) {
    Opportunity one = full();
    const auto changes = parse(text);
    const auto applied = apply_changes(changes.root(), one);
    ASSERT_FALSE(applied) << text;
    EXPECT_EQ(applied.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(applied.error().message.find(named), std::string::npos) << applied.error().message;
    EXPECT_EQ(one, full()) << text;
  }
}

}  // namespace
}  // namespace wfo::store
