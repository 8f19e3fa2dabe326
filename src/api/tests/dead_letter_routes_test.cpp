#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kDeadLetters = "/api/v1/dead-letters";

class DeadLetterRoutes : public Installation {
 protected:
  std::string add(std::string bytes, const TenantId& tenant = kTenant) {
    clock_.advance(milliseconds(1));
    store::DeadLetter letter;
    letter.id = DeadLetterId(ids_.next());
    letter.tenant = tenant;
    letter.queue = "workflow_orchestrator_service";
    letter.headers = R"({"tenantId":"x"})";
    letter.bytes = std::move(bytes);
    letter.reason = "the handler said no";
    letter.attempts = 5;
    letter.created_at = clock_.now();
    need(store_->transact([&](store::Transaction& transaction) { return transaction.dead_letters().insert(letter); }));
    return letter.id.to_string();
  }
  std::string update(std::string_view opportunity, const TenantId& tenant = kTenant) {
    return fmt::format(
        R"({{"id":"{}","type":"integration.opportunity.updated","version":"1.0.0","timestamp":"2026-03-01T09:30:00Z",)"
        R"("tenantId":"{}","source":"crm","data":{{"opportunityId":"{}"}}}})",
        ids_.next().to_string(), tenant.to_string(), opportunity);
  }
  static std::string path(std::string_view id, std::string_view act = "") {
    return fmt::format("{}/{}{}", kDeadLetters, id, act);
  }
  std::vector<std::string> listed(const std::string& query = "", Headers headers = {}) {
    return all_at(get(fmt::format("{}?{}", kDeadLetters, query), std::move(headers)), "deadLetters", "id");
  }
};

TEST_F(DeadLetterRoutes, ShowALetterWithTheBytesThatCame) {
  const auto id = add("{\"type\":");
  const auto letter = get(path(id));
  EXPECT_EQ(letter.status, 200);
  EXPECT_EQ(text_at(letter, "status"), "waiting");
  EXPECT_EQ(text_at(letter, "reason"), "the handler said no");
  EXPECT_EQ(text_at(letter, "attempts"), "5");
  EXPECT_EQ(text_at(letter, "body"), "{\"type\":");
  EXPECT_EQ(text_at(letter, "bodyBytes"), "8");
  EXPECT_EQ(text_at(letter, "headers.tenantId"), "x");
}

TEST_F(DeadLetterRoutes, ShowBytesThatAreNoTextInBase64) {
  const auto letter = get(path(add("\xff")));
  EXPECT_EQ(text_at(letter, "bodyBase64"), "/w==");
  EXPECT_EQ(text_at(letter, "body"), "");
}

TEST_F(DeadLetterRoutes, ListTheNewestFirstInPagesWithoutBodies) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(add("x"));
  std::ranges::reverse(ids);
  const auto first = get(fmt::format("{}?limit=3", kDeadLetters));
  EXPECT_THAT(all_at(first, "deadLetters", "body"), ElementsAre("", "", ""));
  auto seen = all_at(first, "deadLetters", "id");
  for (auto& id : listed("limit=3&cursor=" + text_at(first, "cursor"))) seen.push_back(std::move(id));
  EXPECT_EQ(seen, ids);
}

TEST_F(DeadLetterRoutes, ReplayALetter) {
  const auto id = add(update("A-1"));
  const auto letter = post(path(id, "/replay"), "{}");
  EXPECT_EQ(letter.status, 200) << letter.body;
  EXPECT_EQ(text_at(letter, "status"), "replayed");
  EXPECT_NE(text_at(letter, "replayedAs"), "");
  EXPECT_THAT(text_at(letter, "note"), HasSubstr("by http"));
  settle();
  EXPECT_THAT(all_at(get("/api/v1/workflows"), "workflows", "externalId"), ElementsAre("A-1"));
  const auto again = post(path(id, "/replay"), "");
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(error(again), HasSubstr("was replayed already"));
}

TEST_F(DeadLetterRoutes, ReplayAMendedMessageGivenAsTextOrAsObject) {
  const auto first = add("{");
  std::string body;
  json::Writer(body).begin_object().key("body").string(update("A-1")).end_object();
  EXPECT_EQ(post(path(first, "/replay"), body).status, 200);
  const auto second = add("{");
  EXPECT_EQ(post(path(second, "/replay"), fmt::format(R"({{"body":{}}})", update("A-2"))).status, 200);
  settle();
  EXPECT_THAT(all_at(get("/api/v1/workflows"), "workflows", "externalId"), ElementsAre("A-2", "A-1"));
}

TEST_F(DeadLetterRoutes, SayWhyALetterCannotBeReplayed) {
  const auto id = add("{\"type\":");
  const auto response = post(path(id, "/replay"), "{}");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(error(response), HasSubstr("a mended message can be given"));
  EXPECT_EQ(post(path(id, "/replay"), R"({"body":17})").status, 400);
  EXPECT_EQ(post(path(id, "/replay"), R"({"message":{}})").status, 400);
  EXPECT_EQ(text_at(get(path(id)), "status"), "waiting");
}

TEST_F(DeadLetterRoutes, DiscardALetterWithANote) {
  const auto id = add("x");
  const auto letter = post(path(id, "/discard"), R"({"note":"a test of the CRM team"})");
  EXPECT_EQ(letter.status, 200);
  EXPECT_EQ(text_at(letter, "status"), "discarded");
  EXPECT_THAT(text_at(letter, "note"), HasSubstr("a test of the CRM team"));
  EXPECT_EQ(post(path(id, "/discard"), R"({"note":"again"})").status, 409);
  EXPECT_THAT(listed("status=waiting"), IsEmpty());
  EXPECT_THAT(listed("status=discarded"), ElementsAre(id));
}

TEST_F(DeadLetterRoutes, WantANote) {
  const auto id = add("x");
  for (const auto* const body : {"", "{}", R"({"note":""})", R"({"note":null})", R"({"reason":"x"})"}) {
    const auto response = post(path(id, "/discard"), body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(error(response), HasSubstr("note"));
  }
  EXPECT_EQ(text_at(get(path(id)), "status"), "waiting");
}

TEST_F(DeadLetterRoutes, HideTheLettersOfOtherTenants) {
  const auto mine = add(update("A-1"));
  const auto nobodys = add("{", system_tenant());
  for (const auto& id : {mine, nobodys}) {
    EXPECT_EQ(get(path(id), other()).status, 404);
    EXPECT_EQ(post(path(id, "/replay"), "{}", other()).status, 404);
    EXPECT_EQ(post(path(id, "/discard"), R"({"note":"x"})", other()).status, 404);
  }
  EXPECT_THAT(listed("", other()), IsEmpty());
  EXPECT_THAT(listed(), ElementsAre(mine));
  EXPECT_THAT(listed("", {{"X-Tenant-Id", system_tenant().to_string()}}), ElementsAre(nobodys));
  EXPECT_EQ(text_at(get(path(mine)), "status"), "waiting");
}

TEST_F(DeadLetterRoutes, LetTheSystemTenantMendWhatNamedNoTenantIntoSomebodys) {
  const auto id = add("{", system_tenant());
  const Headers system = {{"X-Tenant-Id", system_tenant().to_string()}};
  EXPECT_EQ(post(path(id, "/replay"), fmt::format(R"({{"body":{}}})", update("A-1"))).status, 404);
  const auto letter = post(path(id, "/replay"), fmt::format(R"({{"body":{}}})", update("A-1")), system);
  EXPECT_EQ(letter.status, 200) << letter.body;
  settle();
  EXPECT_THAT(all_at(get("/api/v1/workflows"), "workflows", "externalId"), ElementsAre("A-1"));
}

TEST_F(DeadLetterRoutes, AnswerUnknownIdsWith404) {
  for (const auto* const id : {"01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11", "17"}) {
    EXPECT_EQ(get(path(id)).status, 404);
    EXPECT_EQ(post(path(id, "/replay"), "{}").status, 404);
    EXPECT_EQ(post(path(id, "/discard"), R"({"note":"x"})").status, 404);
  }
}

TEST_F(DeadLetterRoutes, RefuseBadParameters) {
  EXPECT_THAT(error(get(fmt::format("{}?status=dead", kDeadLetters))),
              HasSubstr("parameter status is 'dead'; allowed: waiting, replayed, discarded"));
  EXPECT_EQ(get(fmt::format("{}?cursor=x", kDeadLetters)).status, 400);
  EXPECT_EQ(get(fmt::format("{}?limit=1001", kDeadLetters)).status, 400);
}

}  // namespace
}  // namespace wfo::api
