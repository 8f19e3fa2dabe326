#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kOpportunities = "/api/v1/opportunities";
constexpr const char* kStatistics = "/api/v1/statistics";
constexpr const char* kModel = "/api/v1/model";

class OpportunityRoutes : public Installation {
 protected:
  Response show(std::string_view id, Headers headers = {}) {
    return get(fmt::format("{}/{}", kOpportunities, percent_encode(id)), std::move(headers));
  }
  /// A-1 as a file of that day has it.
  Response import_as_of(std::string_view day) {
    return post(kOpportunities,
                fmt::format(R"({{"opportunities":[{{"externalId":"A-1","amount":1,"asOf":"{}"}}]}})", day));
  }
  /// A-1 as an event of that moment changes it.
  void change(std::string_view at, std::string_view changes) {
    const auto event =
        post("/api/v1/events",
             fmt::format(R"({{"id":"{}","type":"integration.opportunity.updated","version":"1.0.0","timestamp":"{}",)"
                         R"("tenantId":"{}","source":"crm","data":{{"opportunityId":"A-1","changes":{}}}}})",
                         Uuid::v5(kTenant.value(), at).to_string(), at, kTenant.to_string(), changes));
    EXPECT_EQ(event.status, 202) << event.body;
    settle();
  }
  /// Closed ones, with enough of both ends for a model.
  void close_deals(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
      all += fmt::format(
          R"({}{{"externalId":"D-{}","state":"{}","product":"P{}","amount":{},"createdOn":"2025-{:02}-03","closeOn":"2025-{:02}-{:02}"}})",
          i > 0 ? "," : "", i, i % 3 == 0 ? "lost" : "won", i % 4, 1000 + i, i % 6 + 1, i % 6 + 4, i % 27 + 1);
    }
    EXPECT_EQ(post(kOpportunities, "{\"opportunities\":[" + all + "]}").status, 200);
  }
};

TEST_F(OpportunityRoutes, KeepWhatIsTold) {
  const auto stored = post(kOpportunities, R"({"opportunities":[{"externalId":"A 1","amount":12.5,"stage":"New"},)"
                                           R"({"externalId":"A-2","state":"won"}]})");
  EXPECT_EQ(stored.status, 200) << stored.body;
  EXPECT_EQ(text_at(stored, "stored"), "2");
  const auto shown = show("A 1");
  EXPECT_EQ(shown.status, 200);
  EXPECT_EQ(text_at(shown, "state"), "open");
  EXPECT_EQ(text_at(shown, "fields.amount"), "12.5");
  EXPECT_EQ(text_at(shown, "fields.externalId"), "A 1");
  EXPECT_EQ(show(opportunity_id(kTenant, "A 1").to_string()).body, shown.body);
  EXPECT_EQ(text_at(show("A-2"), "state"), "won");
}

TEST_F(OpportunityRoutes, PutWhatIsToldInThePlaceOfWhatWasKnown) {
  post(kOpportunities, R"({"opportunities":[{"externalId":"A-1","amount":1,"stage":"New"}]})");
  post(kOpportunities, R"({"opportunities":[{"externalId":"A-1","amount":2},{"externalId":"A-1","amount":3}]})");
  const auto shown = show("A-1");
  EXPECT_EQ(text_at(shown, "fields.amount"), "3") << "the last one counts";
  EXPECT_EQ(text_at(shown, "fields.stage"), "");
}

TEST_F(OpportunityRoutes, LetChangesThatCameAfterTheDayOfAnImportStand) {
  import_as_of("2026-02-28");
  change("2026-03-01T09:30:00Z", R"({"amount":777})");
  EXPECT_EQ(text_at(import_as_of("2026-02-28"), "kept"), "1");
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "777");
  EXPECT_EQ(text_at(import_as_of("2026-03-02"), "stored"), "1");
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "1");
  change("2026-02-28T09:30:00Z", R"({"amount":555})");
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "1") << "an event from before the last change came late";
}

TEST_F(OpportunityRoutes, LetChangesThatCameWithAStartStandOverOlderOnes) {
  EXPECT_EQ(post("/api/v1/workflows", R"({"opportunityId":"A-1","changes":{"amount":5000}})").status, 202);
  settle();
  change("2020-01-01T00:00:00Z", R"({"amount":1})");
  EXPECT_EQ(text_at(import_as_of("2020-01-01"), "kept"), "1");
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "5000");
}

TEST_F(OpportunityRoutes, KeepTheIdByWhichAnOpportunityIsKnown) {
  change("2026-03-01T09:30:00Z", R"({"amount":1,"externalId":"ZZZ"})");
  EXPECT_EQ(text_at(show("A-1"), "fields.externalId"), "A-1");
}

TEST_F(OpportunityRoutes, StayAsTheyAreWhereTheStartIsRefused) {
  import_as_of("2026-02-28");
  const auto refused =
      post("/api/v1/workflows", R"({"opportunityId":"A-1","definition":"nobody's","changes":{"amount":5000}})");
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "1");
}

TEST_F(OpportunityRoutes, KeepAllOfARequestOrNothing) {
  const auto response =
      post(kOpportunities, R"({"opportunities":[{"externalId":"A-1"},{"externalId":"A-2","amount":-1}]})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(error(response), HasSubstr("opportunity 'A-2': opportunity field \"amount\" is -1"));
  EXPECT_EQ(show("A-1").status, 404);
}

TEST_F(OpportunityRoutes, HideTheOpportunitiesOfOtherTenants) {
  post(kOpportunities, R"({"opportunities":[{"externalId":"A-1","amount":1}]})");
  EXPECT_EQ(show("A-1", other()).status, 404);
  EXPECT_EQ(show(opportunity_id(kTenant, "A-1").to_string(), other()).status, 404);
  post(kOpportunities, R"({"opportunities":[{"externalId":"A-1","amount":2}]})", other());
  EXPECT_EQ(text_at(show("A-1"), "fields.amount"), "1");
}

TEST_F(OpportunityRoutes, RefuseWhatIsNoListOfOpportunities) {
  for (const auto* const body :
       {"", "{}", "[]", R"({"opportunities":[]})", R"({"opportunities":{}})", R"({"opportunities":[1]})",
        R"({"opportunities":[{"amount":1}]})", R"({"opportunities":[{"externalId":""}]})",
        R"({"opportunities":[{"externalId":"A-1"}],"tenant":"x"})"}) {
    EXPECT_EQ(post(kOpportunities, body).status, 400) << body;
  }
}

TEST_F(OpportunityRoutes, TrainAndShowAModel) {
  EXPECT_EQ(get(kModel).status, 404);
  const auto few = post(kModel, "{}");
  EXPECT_EQ(few.status, 400) << few.body;
  close_deals(600);
  const auto statistics = post(kStatistics, "{}");
  EXPECT_EQ(statistics.status, 200) << statistics.body;
  EXPECT_EQ(text_at(statistics, "closedDeals"), "600");
  const auto model = get(kModel);
  EXPECT_EQ(model.status, 200);
  EXPECT_EQ(text_at(model, "modelId"), text_at(statistics, "modelId"));
  EXPECT_EQ(post(kModel, "{}").body, model.body) << "the same deals give the same model";
  EXPECT_EQ(get(kModel, other()).status, 404);
  const auto theirs = post(kStatistics, "{}", other());
  EXPECT_EQ(text_at(theirs, "closedDeals"), "0");
  EXPECT_EQ(text_at(theirs, "modelId"), "null");
}

TEST_F(OpportunityRoutes, RefuseADayThatIsNone) {
  for (const auto* const body : {R"({"asOf":"2026-02-30"})", R"({"asOf":20260228})", R"({"asof":"2026-02-28"})"}) {
    EXPECT_EQ(post(kStatistics, body).status, 400) << body;
    EXPECT_EQ(post(kModel, body).status, 400) << body;
  }
}

class RiskSnapshotRoutes : public OpportunityRoutes {
 protected:
  void add(std::string_view opportunity, std::string_view day, std::string_view fields,
           const TenantId& tenant = kTenant) {
    store::RiskSnapshot snapshot;
    snapshot.tenant = tenant;
    snapshot.opportunity = opportunity_id(tenant, opportunity);
    snapshot.day = *parse_date(day);
    snapshot.evaluated_at = Timestamp(snapshot.day) + std::chrono::hours(17);
    snapshot.event = EventId(ids_.next());
    snapshot.workflow = WorkflowId(ids_.next());
    snapshot.fields = fields;
    need(store_->transact([&](store::Transaction& transaction) -> Result<void> {
      TRY(transaction.risk_snapshots().upsert({&snapshot, 1}));
      return {};
    }));
  }
  Response snapshots(std::string_view opportunity, std::string_view query = "", Headers headers = {}) {
    return get(fmt::format("{}/{}/risk-snapshots?{}", kOpportunities, percent_encode(opportunity), query),
               std::move(headers));
  }
  std::vector<std::string> days(std::string_view opportunity, std::string_view query = "") {
    return all_at(snapshots(opportunity, query), "snapshots", "day");
  }
};

TEST_F(RiskSnapshotRoutes, ShowTheRiskOfEachDay) {
  add("A 1", "2026-02-27", R"({"riskScore":0.41,"revenueAtRisk":19680,"topDrivers":["stale"],"day":"x"})");
  add("A 1", "2026-02-26", R"({"riskScore":0.5})");
  const auto shown = snapshots("A 1");
  EXPECT_EQ(shown.status, 200) << shown.body;
  EXPECT_EQ(text_at(shown, "opportunityId"), opportunity_id(kTenant, "A 1").to_string());
  EXPECT_THAT(all_at(shown, "snapshots", "day"), ElementsAre("2026-02-26", "2026-02-27"));
  EXPECT_THAT(all_at(shown, "snapshots", "riskScore"), ElementsAre("0.5", "0.41"));
  EXPECT_EQ(text_at(shown, "snapshots.1.evaluatedAt"), "2026-02-27T17:00:00.000Z");
  EXPECT_EQ(text_at(shown, "snapshots.1.topDrivers.0"), "stale");
  EXPECT_EQ(text_at(shown, "nextFrom"), "");
  EXPECT_EQ(snapshots(opportunity_id(kTenant, "A 1").to_string()).body, shown.body);
}

TEST_F(RiskSnapshotRoutes, IncludeBothDays) {
  for (const auto* const day : {"2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04"}) add("A-1", day, "{}");
  EXPECT_THAT(days("A-1", "from=2026-02-02&to=2026-02-03"), ElementsAre("2026-02-02", "2026-02-03"));
  EXPECT_THAT(days("A-1", "from=2026-02-03&to=2026-02-03"), ElementsAre("2026-02-03"));
  EXPECT_THAT(days("A-1", "from=2026-02-03"), ElementsAre("2026-02-03", "2026-02-04"));
  EXPECT_THAT(days("A-1", "to=2026-02-02"), ElementsAre("2026-02-01", "2026-02-02"));
}

TEST_F(RiskSnapshotRoutes, ShowTheLast90DaysWhereNobodySaysWhich) {
  for (const auto* const day : {"2025-12-01", "2025-12-02", "2026-03-01", "2026-03-02"}) add("A-1", day, "{}");
  EXPECT_THAT(days("A-1"), ElementsAre("2025-12-02", "2026-03-01")) << "today is the 1st of March";
  EXPECT_THAT(days("A-1", "from=2026-03-02"), ElementsAre("2026-03-02")) << "also days to come";
}

TEST_F(RiskSnapshotRoutes, GoOnWhereAnAnswerEnded) {
  for (const auto* const day : {"2026-02-01", "2026-02-05", "2026-02-09"}) add("A-1", day, "{}");
  const auto first = snapshots("A-1", "limit=2");
  EXPECT_THAT(all_at(first, "snapshots", "day"), ElementsAre("2026-02-01", "2026-02-05"));
  EXPECT_EQ(text_at(first, "nextFrom"), "2026-02-09");
  const auto second = snapshots("A-1", "limit=2&from=" + text_at(first, "nextFrom"));
  EXPECT_THAT(all_at(second, "snapshots", "day"), ElementsAre("2026-02-09"));
  EXPECT_EQ(text_at(second, "nextFrom"), "");
}

TEST_F(RiskSnapshotRoutes, RefuseDaysThatCannotBe) {
  add("A-1", "2026-02-01", "{}");
  EXPECT_EQ(error(snapshots("A-1", "from=2026-02-02&to=2026-02-01")),
            "parameter from is '2026-02-02' and to is '2026-02-01'; allowed: from at or before to, since both days are "
            "included");
  EXPECT_EQ(error(snapshots("A-1", "from=2026-02-30")),
            "parameter from is '2026-02-30'; allowed: a date like 2026-03-01");
  EXPECT_EQ(snapshots("A-1", "to=2026-02-01T00:00:00Z").status, 400);
  EXPECT_EQ(snapshots("A-1", "limit=0").status, 400);
}

TEST_F(RiskSnapshotRoutes, KnowAnOpportunityThatHasNone) {
  EXPECT_EQ(snapshots("A-1").status, 404);
  import_as_of("2026-02-01");
  EXPECT_EQ(text_at(snapshots("A-1"), "snapshots"), "[]");
}

TEST_F(RiskSnapshotRoutes, HideWhatOtherTenantsHave) {
  add("A-1", "2026-02-01", R"({"riskScore":0.1})");
  EXPECT_EQ(snapshots("A-1", "", other()).status, 404);
  EXPECT_EQ(snapshots(opportunity_id(kTenant, "A-1").to_string(), "", other()).status, 404);
  add("A-1", "2026-02-02", R"({"riskScore":0.2})", kOtherTenant);
  EXPECT_THAT(all_at(snapshots("A-1", "", other()), "snapshots", "riskScore"), ElementsAre("0.2"));
  EXPECT_THAT(all_at(snapshots("A-1"), "snapshots", "riskScore"), ElementsAre("0.1"));
}

}  // namespace
}  // namespace wfo::api
