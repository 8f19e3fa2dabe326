#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kEvents = "/api/v1/events";

class EventRoutes : public Installation {
 protected:
  static std::string id(int n) { return Uuid::v5(kTenant.value(), fmt::format("event {}", n)).to_string(); }
  static std::string update(int n, std::string_view opportunity = "A-1", const TenantId& tenant = kTenant) {
    return fmt::format(
        R"({{"id":"{}","type":"integration.opportunity.updated","version":"1.0.0","timestamp":"2026-03-01T09:30:00Z",)"
        R"("tenantId":"{}","source":"crm","data":{{"opportunityId":"{}"}}}})",
        id(n), tenant.to_string(), opportunity);
  }
  std::vector<std::string> runs(Headers headers = {}) {
    settle();
    return all_at(get("/api/v1/workflows", std::move(headers)), "workflows", "externalId");
  }
};

TEST_F(EventRoutes, StartAWorkflowLikeAnEventOfTheBroker) {
  const auto response = post(kEvents, update(1));
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(text_at(response, "status"), "accepted");
  EXPECT_EQ(text_at(response, "id"), id(1));
  EXPECT_THAT(runs(), ElementsAre("A-1"));
}

TEST_F(EventRoutes, AnswerADuplicateAndStartNothingMore) {
  post(kEvents, update(1));
  settle();
  const auto response = post(kEvents, "\n " + update(1) + "\n");  // white space around is no part of the event
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(text_at(response, "status"), "duplicate");
  EXPECT_THAT(runs(), ElementsAre("A-1"));
}

TEST_F(EventRoutes, RefuseOtherBytesUnderAKnownIdWith409) {
  post(kEvents, update(1, "A-1"));
  const auto response = post(kEvents, update(1, "A-2"));
  EXPECT_EQ(response.status, 409);
  EXPECT_THAT(error(response), HasSubstr(id(1)));
  EXPECT_THAT(runs(), ElementsAre("A-1"));
}

TEST_F(EventRoutes, RefuseTypesThatOnlyThisSystemPublishesWith400) {
  const auto response = post(
      kEvents, fmt::format(R"({{"id":"{}","type":"workflow.opportunity.analysis.failed","version":"1.0.0",)"
                           R"("timestamp":"2026-03-01T09:30:00Z","tenantId":"{}","source":"workflow-orchestrator",)"
                           R"("data":{{"workflowId":"{}","opportunityId":"{}","error":"x"}}}})",
                           id(1), kTenant.to_string(), id(2), id(3)));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(error(response),
            "events of type workflow.opportunity.analysis.failed are not taken: it follows from a step's "
            "failure, a deadline or a cancellation");
}

TEST_F(EventRoutes, AnswerEachEventOfAnArrayInItsOrder) {
  post(kEvents, update(1));
  const auto response = post(
      kEvents, fmt::format("[{}, {}, {}, 17, {}]", update(1), update(2, "A-2"), update(1, "other"), update(3, "A-3")));
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(all_at(response, "results", "status"),
              ElementsAre("duplicate", "accepted", "refused", "refused", "accepted"));
  EXPECT_THAT(all_at(response, "results", "id"), ElementsAre(id(1), id(2), id(1), "", id(3)));
  EXPECT_EQ(text_at(response, "results.2.error.code"), "conflict");
  EXPECT_EQ(text_at(response, "results.3.error.code"), "invalid_argument");
  EXPECT_EQ(text_at(response, "accepted"), "2");
  EXPECT_EQ(text_at(response, "duplicates"), "1");
  EXPECT_EQ(text_at(response, "refused"), "2");
  EXPECT_THAT(runs(), ElementsAre("A-3", "A-2", "A-1"));
}

TEST_F(EventRoutes, TakeAThousandEventsAndNotOneMore) {
  std::string many;
  for (int i = 0; i < 1000; ++i) many += (i > 0 ? "," : "") + update(i, fmt::format("A-{}", i));
  const auto response = post(kEvents, "[" + many + "]");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(text_at(response, "accepted"), "1000");
  const auto refused = post(kEvents, "[" + many + "," + update(1000) + "]");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(error(refused), "the body holds 1001 events; allowed: 1..1000");
  EXPECT_EQ(error(post(kEvents, "[]")), "the body holds 0 events; allowed: 1..1000");
}

TEST_F(EventRoutes, RefuseAnEventOfAnotherTenantThanTheRequests) {
  const auto response = post(kEvents, update(1, "A-1", kOtherTenant));
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(error(response), HasSubstr(kOtherTenant.to_string()));
  EXPECT_EQ(post(kEvents, update(1, "A-1", kOtherTenant), other()).status, 202);
  EXPECT_THAT(runs(), IsEmpty());
  EXPECT_THAT(runs(other()), ElementsAre("A-1"));
}

TEST_F(EventRoutes, RefuseWhatIsNoEvent) {
  struct {
    const char* name;
    std::string body;
    const char* message;
  } const rows[] = {
      {"Empty", "", "the body: JSON, line 1"},
      {"NoJson", "{", "the body: JSON, line 1"},
      {"TwoDocuments", "{}{}", "the body: JSON, line 1"},
      {"Text", "\"event\"", ""},
      {"EmptyObject", "{}", "type"},
      {"NoOpportunity", update(1, ""), "/data/opportunityId"},
  };
  for (const auto& [name, body, message] : rows) {
    SCOPED_TRACE(name);
    const auto response = post(kEvents, body);
    EXPECT_EQ(response.status, 400) << response.body;
    EXPECT_THAT(error(response), HasSubstr(message));
  }
  EXPECT_THAT(runs(), IsEmpty());
}

TEST_F(EventRoutes, TakeNothingWhileTheDiskIsNearlyFull) {
  disk_free_bytes_ = 1024;
  clock_.advance(milliseconds(60'000));
  EXPECT_EQ(post(kEvents, update(1)).status, 503);
  EXPECT_EQ(post(kEvents, "[" + update(1) + "]").status, 503);
  disk_free_bytes_ = std::uint64_t{1} << 40;
  clock_.advance(milliseconds(60'000));
  EXPECT_EQ(text_at(post(kEvents, update(1)), "status"), "accepted");
}

}  // namespace
}  // namespace wfo::api
