#include "delivery/dead_letters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "delivery/tests/fakes.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;
using store::DeadLetter;
using store::DeadLetterStatus;
using testing::HasSubstr;
using testing::IsEmpty;

const Operator kOperator{.tenant = kTenant, .name = "ines"};
const Operator kAdmin{.tenant = std::nullopt, .name = "root"};

class DeadLettersTest : public testing::Test {
 protected:
  DeadLetterId add(std::string bytes, const TenantId& tenant = kTenant, std::string type = "") {
    DeadLetter letter;
    letter.id = DeadLetterId(ids_.next());
    letter.tenant = tenant;
    letter.queue = "workflow_orchestrator_service";
    letter.type = std::move(type);
    letter.headers = "{}";
    letter.bytes = std::move(bytes);
    letter.reason = "the handler said no";
    letter.attempts = 5;
    letter.created_at = clock_.now();
    EXPECT_TRUE(store_->transact([&](auto& transaction) { return transaction.dead_letters().insert(letter); }));
    return letter.id;
  }
  std::vector<events::EventPtr> published() { return fixture_.published(); }
  std::string error(const Result<EventId>& result) { return result ? "" : result.error().message; }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  SystemIdSource ids_{clock_};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_};
  store::Store* store_ = &fixture_.store();
  DeadLetters letters_{*store_, bus::samples::contracts(), ids_, clock_, Logger::silent(), metrics_};
};

TEST_F(DeadLettersTest, ListsTheNewestFirstInPagesWithoutTheirBytes) {
  std::vector<DeadLetterId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(add(std::string(1'000, 'x')));
  std::ranges::reverse(ids);
  std::vector<DeadLetterId> listed;
  std::optional<DeadLetterId> before;
  int pages = 0;
  do {
    const auto page = letters_.list(kTenant, DeadLetterStatus::waiting, 20, before);
    ASSERT_TRUE(page) << page.error().message;
    for (const auto& [letter, size] : page->letters) {
      listed.push_back(letter.id);
      EXPECT_THAT(letter.bytes, IsEmpty());
      EXPECT_EQ(size, 1'000U);
    }
    before = page->next;
    ++pages;
  } while (before);
  EXPECT_EQ(listed, ids);
  EXPECT_EQ(pages, 3);
}

TEST_F(DeadLettersTest, HasNoNextPageWhereThePageIsJustFull) {
  for (int i = 0; i < 20; ++i) add("x");
  const auto page = letters_.list(kTenant, std::nullopt, 20);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->letters.size(), 20U);
  EXPECT_EQ(page->next, std::nullopt);
}

TEST_F(DeadLettersTest, RefusesALimitOutOfBounds) {
  for (const std::size_t limit : {0U, 1'001U}) {
    const auto page = letters_.list(kTenant, std::nullopt, limit);
    ASSERT_FALSE(page);
    EXPECT_EQ(page.error().message, fmt::format("limit {}: 1 to 1000 are allowed", limit));
  }
}

TEST_F(DeadLettersTest, ShowsATenantItsOwnOnly) {
  const auto mine = add("mine");
  const auto others = add("theirs", kOtherTenant);
  const auto nobodys = add("nobody's", system_tenant());
  EXPECT_EQ(letters_.show(kTenant, mine)->bytes, "mine");
  for (const auto& id : {others, nobodys}) {
    const auto letter = letters_.show(kTenant, id);
    ASSERT_FALSE(letter);
    EXPECT_EQ(letter.error().code, ErrorCode::not_found);
    EXPECT_EQ(letters_.discard(kOperator, id, "why not").error().code, ErrorCode::not_found);
    EXPECT_EQ(letters_.replay(kOperator, id).error().code, ErrorCode::not_found);
    EXPECT_TRUE(letters_.show(std::nullopt, id));
  }
  EXPECT_EQ(letters_.list(kTenant, std::nullopt)->letters.size(), 1U);
  EXPECT_EQ(letters_.list(std::nullopt, std::nullopt)->letters.size(), 3U);
}

TEST_F(DeadLettersTest, NotesWhoDiscardedALetterAndWhy) {
  const auto id = add("x");
  ASSERT_TRUE(letters_.discard(kOperator, id, "a test message of the CRM"));
  const auto letter = letters_.show(kTenant, id);
  EXPECT_EQ(letter->status, DeadLetterStatus::discarded);
  EXPECT_EQ(letter->note, "discarded by ines: a test message of the CRM");
  const auto again = letters_.discard(kOperator, id, "again");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("is discarded already: discarded by ines"));
}

TEST_F(DeadLettersTest, WantsAReasonAndANameOfBoundedLength) {
  const auto id = add("x");
  EXPECT_EQ(letters_.discard(kOperator, id, "").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(letters_.discard(kOperator, id, std::string(1'001, 'x')).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(letters_.discard({.tenant = kTenant, .name = ""}, id, "why").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(letters_.show(kTenant, id)->status, DeadLetterStatus::waiting);
}

TEST_F(DeadLettersTest, ReplaysAMessageUnderANewIdThatNamesTheOldAsItsCause) {
  const std::string data = R"({ "amount" : 1.10, "big": 9007199254740993, "exp":1e2, "s":"\u0041\/" })";
  const auto text = bus::samples::event_text("test.event", 1, data);
  const auto id = add(text, kTenant, "test.event");
  const auto new_id = letters_.replay(kOperator, id);
  ASSERT_TRUE(new_id) << new_id.error().message;

  const auto events = published();
  ASSERT_EQ(events.size(), 1U);
  auto expected = text;
  const auto old_id = bus::samples::event_id(1).to_string();
  expected.replace(expected.find(old_id), old_id.size(), new_id->to_string());
  expected.insert(1, R"("metadata":{"causationId":")" + old_id + R"("},)");
  EXPECT_EQ(events[0]->bytes(), expected);

  const auto letter = letters_.show(kTenant, id);
  EXPECT_EQ(letter->status, DeadLetterStatus::replayed);
  EXPECT_EQ(letter->replayed_as, *new_id);
  EXPECT_EQ(letter->note, "replayed by ines");
  EXPECT_EQ(letter->bytes, text) << "what came is kept";
}

TEST_F(DeadLettersTest, ReplaysALetterOnce) {
  const auto id = add(bus::samples::event_text("test.event", 1));
  const auto first = letters_.replay(kOperator, id);
  ASSERT_TRUE(first);
  const auto again = letters_.replay(kOperator, id);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("was replayed already, as event " + first->to_string()));
  EXPECT_EQ(published().size(), 1U);
}

TEST_F(DeadLettersTest, SaysWhyAMessageCannotBeReplayedAsItIs) {
  const auto id = add("{\"type\":");
  const auto result = letters_.replay(kOperator, id);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(result.error().message, testing::AllOf(HasSubstr(id.to_string() + " cannot be replayed as it is"),
                                                     HasSubstr("line 1"), HasSubstr("a mended message can be given")));
  EXPECT_EQ(letters_.show(kTenant, id)->status, DeadLetterStatus::waiting);
  EXPECT_THAT(published(), IsEmpty());
}

TEST_F(DeadLettersTest, ReplaysAMendedMessage) {
  auto broken = bus::samples::event_text("test.event", 1);
  broken.pop_back();
  const auto id = add(broken);
  const auto new_id = letters_.replay(kOperator, id, bus::samples::event_text("test.event", 1, R"({"mended":true})"));
  ASSERT_TRUE(new_id) << new_id.error().message;
  const auto events = published();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]->id(), *new_id);
  EXPECT_EQ(events[0]->root().find("metadata", "causationId")->string(), bus::samples::event_id(1).to_string());
  EXPECT_EQ(letters_.show(kTenant, id)->note, "replayed with a mended message by ines");
}

TEST_F(DeadLettersTest, KeepsTheFirstCauseOutOfAMendedMessageThatHasAnotherId) {
  const auto id = add(bus::samples::event_text("test.event", 1), kTenant, "test.event");
  ASSERT_TRUE(letters_.replay(kOperator, id, bus::samples::event_text("test.event", 2)));
  EXPECT_EQ(published()[0]->root().find("metadata", "causationId")->string(), bus::samples::event_id(1).to_string())
      << "the letter's id, not the one that the mended text happens to have";
}

TEST_F(DeadLettersTest, GivesAMessageWithoutIdOne) {
  const std::string text = fmt::format(
      R"({{"type":"test.event","version":"1.0","timestamp":"2026-03-01T09:30:00Z","tenantId":"{}","source":"crm","data":{{}}}})",
      kTenant.to_string());
  const auto new_id = letters_.replay(kOperator, add(text));
  ASSERT_TRUE(new_id) << new_id.error().message;
  EXPECT_EQ(published()[0]->bytes(), "{\"id\":\"" + new_id->to_string() + "\"," + text.substr(1));
}

TEST_F(DeadLettersTest, RefusesAMendedMessageOfAnotherTypeOrTenant) {
  const auto id = add(bus::samples::event_text("test.event", 1), kTenant, "test.event");
  EXPECT_THAT(error(letters_.replay(kOperator, id, bus::samples::event_text("other.event", 1))),
              HasSubstr("its type is other.event; the message that was set aside is a test.event"));
  EXPECT_THAT(error(letters_.replay(kOperator, id, bus::samples::event_text("test.event", 1, "{}", kOtherTenant))),
              HasSubstr("its tenant is " + kOtherTenant.to_string()));
  EXPECT_THAT(error(letters_.replay(kAdmin, id, bus::samples::event_text("test.event", 1, "{}", kOtherTenant))),
              HasSubstr("its tenant is " + kOtherTenant.to_string()));
  EXPECT_THAT(published(), IsEmpty());
}

TEST_F(DeadLettersTest, LetsTheInstallationsOperatorMendAMessageThatNamedNoTenant) {
  const auto id = add("?", system_tenant());
  const auto new_id = letters_.replay(kAdmin, id, bus::samples::event_text("test.event", 1));
  ASSERT_TRUE(new_id) << new_id.error().message;
  EXPECT_EQ(published()[0]->tenant(), kTenant);
}

TEST_F(DeadLettersTest, RefusesAMendedMessageBeyondTheBound) {
  const auto id = add("?");
  const auto large =
      bus::samples::event_text("test.event", 1, "{\"x\":\"" + std::string(events::kEventBytesMax, 'x') + "\"}");
  const auto result = letters_.replay(kOperator, id, large);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(result.error().message, HasSubstr("1048576"));
}

struct RewriteCase {
  std::string_view name;
  std::string_view before;
  std::string_view after;  // NEW and OLD stand for the ids
};

class Rewritten : public testing::TestWithParam<RewriteCase> {};

TEST_P(Rewritten, ReplacesOrPutsInTokensAndLeavesTheRest) {
  const EventId id(Uuid::v5({}, "new"));
  const EventId cause(Uuid::v5({}, "old"));
  const auto document = json::Document::parse(std::string(GetParam().before));
  ASSERT_TRUE(document) << document.error().message;
  const auto text = rewritten(*document, id, cause);
  ASSERT_TRUE(text) << text.error().message;
  std::string expected(GetParam().after);
  for (const auto& [word, value] : {std::pair("NEW", id), std::pair("OLD", cause)}) {
    if (const auto at = expected.find(word); at != std::string::npos) expected.replace(at, 3, value.to_string());
  }
  EXPECT_EQ(*text, expected);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Rewritten,
    testing::Values(
        RewriteCase{"Both", R"({"id":"x","metadata":{"causationId":"y"}})",
                    R"({"id":"NEW","metadata":{"causationId":"OLD"}})"},
        RewriteCase{"MetadataFirst", R"({"metadata":{"causationId":7}, "id" : null })",
                    R"({"metadata":{"causationId":"OLD"}, "id" : "NEW" })"},
        RewriteCase{"Empty", "{ }", R"({"id":"NEW","metadata":{"causationId":"OLD"} })"},
        RewriteCase{"MetadataWithoutCause", R"({"id":"x","metadata":{"userId":"u"}})",
                    R"({"id":"NEW","metadata":{"causationId":"OLD","userId":"u"}})"},
        RewriteCase{"EmptyMetadata", R"({"id":"x","metadata":{}})", R"({"id":"NEW","metadata":{"causationId":"OLD"}})"},
        RewriteCase{"NullMetadata", R"({"id":"x","metadata":null})",
                    R"({"id":"NEW","metadata":{"causationId":"OLD"}})"},
        RewriteCase{"EscapedKey", R"({"\u0069d":"x","n":1.10,"metadata":{"causationId":"y"}})",
                    R"({"\u0069d":"NEW","n":1.10,"metadata":{"causationId":"OLD"}})"},
        RewriteCase{"InnerIds", R"({"data":{"id":"x","metadata":1},"id":"y","metadata":{"causationId":"z"}})",
                    R"({"data":{"id":"x","metadata":1},"id":"NEW","metadata":{"causationId":"OLD"}})"}),
    [](const auto& test) { return std::string(test.param.name); });

RC_GTEST_PROP(RewrittenEvent, ChangesNothingButIdAndCause, ()) {
  const auto space = [] { return *rc::gen::element<std::string>("", " ", "\n", "\t "); };
  const auto value = [] {
    return *rc::gen::element<std::string>("1.10", "1e2", "9007199254740993", "\"\\u0041\"", "{\"id\":1}", "[ 1 , 2 ]",
                                          "null", "\"}\"", "{ }");
  };
  const auto object = [&](std::vector<std::string> keys, FunctionRef<std::string(const std::string&)> value_of) {
    std::string text = "{" + space();
    for (const auto& key : keys) {
      if (&key != &keys.front()) text += "," + space();
      text += "\"" + key + "\"" + space() + ":" + space() + value_of(key) + space();
    }
    return text + "}";
  };
  const auto some_of = [](std::vector<std::string> all) {
    auto some = *rc::gen::resize(8, rc::gen::container<std::set<std::string>>(rc::gen::elementOf(all)));
    std::vector<std::string> keys(some.begin(), some.end());
    if (*rc::gen::arbitrary<bool>()) std::ranges::reverse(keys);
    return keys;
  };
  const auto text = object(some_of({"a", "id", "metadata", "z"}), [&](const std::string& key) {
    if (key != "metadata") return value();
    return object(some_of({"causationId", "correlationId", "userId"}), [&](const std::string&) { return value(); });
  });
  const EventId id(Uuid::v5({}, "new"));
  const EventId cause(Uuid::v5({}, "old"));
  const auto before = json::Document::parse(text);
  RC_ASSERT(before.has_value());
  const auto rewritten_text = rewritten(*before, id, cause);
  RC_ASSERT(rewritten_text.has_value());
  const auto after = json::Document::parse(*rewritten_text);
  RC_ASSERT(after.has_value());
  RC_ASSERT(after->root().find("id")->uuid() == id.value());
  RC_ASSERT(after->root().find("metadata", "causationId")->uuid() == cause.value());
  const auto same_but = [](std::optional<json::Value> old, std::optional<json::Value> now, std::string_view changed,
                           std::string_view inner) {
    if (!old) return;
    for (const auto member : old->members()) {
      const auto key = *member.key.string();
      if (key != changed && key != inner) RC_ASSERT(now->find(key)->raw() == member.value.raw());
    }
  };
  same_but(before->root(), after->root(), "id", "metadata");
  same_but(before->root().find("metadata"), after->root().find("metadata"), "causationId", "");
  RC_ASSERT(after->root().size() <= before->root().size() + 2);
}

TEST(RewrittenEvent, RefusesMetadataThatIsNoObject) {
  const auto document = json::Document::parse(R"({"id":"x","metadata":"text"})");
  const auto text = rewritten(*document, EventId(), EventId());
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "/metadata is string; an object is allowed");
}

TEST(RewrittenEvent, LeavesMetadataAloneWithoutACause) {
  const auto document = json::Document::parse(R"({"id":"x","metadata":"text"})");
  EXPECT_EQ(rewritten(*document, EventId(), std::nullopt),
            R"({"id":"00000000-0000-0000-0000-000000000000","metadata":"text"})");
}

}  // namespace
}  // namespace wfo::delivery
