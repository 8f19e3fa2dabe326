#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <thread>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kNoSuchRun = "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11";
constexpr const char* kWorkflows = "/api/v1/workflows";

class WorkflowRoutes : public Installation {
 protected:
  static std::string run_path(std::string_view id, std::string_view act = "") {
    return fmt::format("{}/{}{}", kWorkflows, id, act);
  }
  /// Answers a step of a run as a worker elsewhere would: over HTTP.
  void complete(const std::string& run, std::string_view type, std::string_view data) {
    const auto response =
        post("/api/v1/events",
             fmt::format(
                 R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"2026-03-01T09:30:00.000Z","tenantId":"{}",)"
                 R"("source":"elsewhere","data":{{"workflowId":"{}","opportunityId":"{}",{}}}}})",
                 ids_.next().to_string(), type, kTenant.to_string(), run, text_at(get(run_path(run)), "opportunityId"),
                 data));
    EXPECT_EQ(response.status, 202) << response.body;
    settle();
  }
  void complete_all(const std::string& run) {
    const auto id = [this] { return ids_.next().to_string(); };
    complete(run, "risk.evaluation.completed", fmt::format(R"("evaluationId":"{}","riskScore":0.5)", id()));
    complete(run, "risk.scoring.completed",
             fmt::format(R"("scoringId":"{}","mlRiskScore":0.5,"modelId":"m","confidence":0.5)", id()));
    complete(run, "forecast.completed",
             fmt::format(R"("forecastId":"{}","revenueForecast":10,"confidence":0.5)", id()));
    complete(run, "recommendation.generation.completed",
             fmt::format(R"("recommendationId":"{}","recommendations":[])", id()));
  }
  std::optional<store::Opportunity> stored(std::string_view external_id, const TenantId& tenant = kTenant) {
    const OpportunityId id = opportunity_id(tenant, external_id);
    std::optional<store::Opportunity> found;
    need(store_->read([&](const store::Transaction& transaction) -> Result<void> {
      found = need(transaction.opportunities().load(tenant, {&id, 1})).front();
      return {};
    }));
    return found;
  }
  std::size_t count_runs() { return all_at(get(kWorkflows), "workflows", "workflowId").size(); }
};

TEST_F(WorkflowRoutes, StartARunOfAnOpportunityThatIsNamedAsTheCrmNamesIt) {
  const auto response = post(kWorkflows, R"({"opportunityId":"1C1I7A6R"})");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(text_at(response, "outcome"), "started");
  EXPECT_EQ(text_at(response, "externalId"), "1C1I7A6R");
  EXPECT_EQ(text_at(response, "opportunityId"), opportunity_id(kTenant, "1C1I7A6R").to_string());
  EXPECT_EQ(response.headers.find("Location"), run_path(text_at(response, "workflowId")));
}

TEST_F(WorkflowRoutes, ShowARunWithItsSteps) {
  const auto id = start("1C1I7A6R");
  const auto run = get(run_path(id));
  EXPECT_EQ(run.status, 200);
  EXPECT_EQ(text_at(run, "workflowId"), id);
  EXPECT_EQ(text_at(run, "status"), "running");
  EXPECT_EQ(text_at(run, "attempt"), "1");
  EXPECT_EQ(text_at(run, "definition.name"), "opportunity-analysis");
  EXPECT_EQ(text_at(run, "trigger.type"), "api");
  EXPECT_EQ(text_at(run, "createdAt"), "2026-03-01T09:30:00.000Z");
  EXPECT_EQ(text_at(run, "deadline"), "2026-03-01T10:00:00.000Z");
  EXPECT_THAT(all_at(run, "steps", "type"), ElementsAre("risk_analysis", "risk_scoring", "forecast", "recommendation"));
  EXPECT_THAT(all_at(run, "steps", "state"), ElementsAre("requested", "requested", "requested", "requested"));
  EXPECT_EQ(text_at(run, "steps.0.deadline"), "2026-03-01T09:35:00.000Z");
}

TEST_F(WorkflowRoutes, ShowWhatEachStateOfAStepHas) {
  const auto id = start("1C1I7A6R");
  complete(id, "risk.evaluation.completed",
           R"("evaluationId":"01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c12","riskScore":0.50)");
  complete(id, "risk.scoring.failed", R"("error":"the model is away")");
  auto run = get(run_path(id));
  EXPECT_EQ(text_at(run, "steps.0.completedAt"), "2026-03-01T09:30:00.000Z");
  EXPECT_EQ(text_at(run, "steps.0.result.riskScore"), "0.50") << "the token that came";
  EXPECT_EQ(text_at(run, "steps.1.state"), "backing_off");
  EXPECT_EQ(text_at(run, "steps.1.error"), "the model is away");
  EXPECT_NE(text_at(run, "steps.1.retryAt"), "");
  complete(id, "forecast.failed", R"("error":"no such currency","retryable":false)");
  run = get(run_path(id));
  EXPECT_EQ(text_at(run, "status"), "failed");
  EXPECT_EQ(text_at(run, "failedStep"), "forecast");
  EXPECT_THAT(text_at(run, "error"), HasSubstr("no such currency"));
  EXPECT_EQ(text_at(run, "steps.2.error"), "no such currency");
}

TEST_F(WorkflowRoutes, ShowACompletedRun) {
  const auto id = start("1C1I7A6R");
  complete_all(id);
  const auto run = get(run_path(id));
  EXPECT_EQ(text_at(run, "status"), "completed");
  EXPECT_THAT(all_at(run, "steps", "state"), ElementsAre("completed", "completed", "completed", "completed"));
}

TEST_F(WorkflowRoutes, AbsorbAStartWhileARunOfTheOpportunityIsActive) {
  const auto id = start("1C1I7A6R");
  const auto second = post(kWorkflows, R"({"opportunityId":"1C1I7A6R"})");
  EXPECT_EQ(second.status, 202);
  EXPECT_EQ(text_at(second, "outcome"), "absorbed");
  EXPECT_EQ(text_at(second, "workflowId"), id);
  EXPECT_EQ(count_runs(), 1U);
}

TEST_F(WorkflowRoutes, ApplyChangesBeforeTheRunStarts) {
  EXPECT_EQ(
      post(kWorkflows, R"({"opportunityId":"A-1","changes":{"amount":1200.5,"stage":"Prospecting","x":[1]}})").status,
      202);
  EXPECT_EQ(post(kWorkflows, R"({"opportunityId":"A-1","changes":{"stage":null,"closeOn":"2026-04-30"}})").status, 202);
  const auto opportunity = stored("A-1");
  ASSERT_TRUE(opportunity);
  EXPECT_EQ(opportunity->amount, 1200.5);
  EXPECT_EQ(opportunity->stage, "");
  EXPECT_EQ(opportunity->close_on, parse_date("2026-04-30"));
  EXPECT_EQ(opportunity->external_id, "A-1");
}

TEST_F(WorkflowRoutes, KeepTheIdOfTheRequestWhateverTheChangesSay) {
  EXPECT_EQ(post(kWorkflows, R"({"opportunityId":"A-1","changes":{"externalId":"B-2"}})").status, 202);
  EXPECT_EQ(stored("A-1")->external_id, "A-1");
  EXPECT_EQ(stored("B-2"), std::nullopt);
}

TEST_F(WorkflowRoutes, KnowTheExternalIdOfAnOpportunityThatIsNamedByItsUuid) {
  post(kWorkflows, R"({"opportunityId":"A-1","changes":{"amount":1}})");
  const auto uuid = opportunity_id(kTenant, "A-1").to_string();
  const auto response = post(kWorkflows, fmt::format(R"({{"opportunityId":"{}"}})", uuid));
  EXPECT_EQ(text_at(response, "externalId"), "A-1");
  EXPECT_EQ(text_at(response, "opportunityId"), uuid);
}

TEST_F(WorkflowRoutes, StartNothingWhileTheDiskIsNearlyFull) {
  disk_free_bytes_ = 1024;
  clock_.advance(milliseconds(60'000));
  const auto response = post(kWorkflows, R"({"opportunityId":"A-1","changes":{"amount":1}})");
  EXPECT_EQ(response.status, 503);
  EXPECT_TRUE(response.headers.find("Retry-After"));
  EXPECT_EQ(stored("A-1"), std::nullopt);
}

TEST_F(WorkflowRoutes, CarryTraceContextOn) {
  const std::string parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  start("A-1", {{"traceparent", parent}});
  start("A-2", {{"traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"}});
  settle();
  const auto events = get("/api/v1/audit/events?type=workflow.opportunity.analysis.started");
  EXPECT_EQ(text_at(events, "entries.0.event.metadata.traceparent"), parent);
  EXPECT_EQ(text_at(events, "entries.1.event.metadata.traceparent"), "") << "not in the standard's form";
}

// Idempotency.

TEST_F(WorkflowRoutes, AnswerTheSameRequestUnderOneKeyAlike) {
  const Headers key{{"Idempotency-Key", "row 17"}};
  const std::string body = R"({"opportunityId":"A-1","changes":{"amount":1}})";
  const auto first = post(kWorkflows, body, key);
  const auto second = post(kWorkflows, body, key);
  EXPECT_EQ(first.status, 202);
  EXPECT_EQ(second.status, 202);
  EXPECT_EQ(first.body, second.body);
  EXPECT_EQ(first.headers.find("Idempotent-Replayed"), std::nullopt);
  EXPECT_EQ(second.headers.find("Idempotent-Replayed"), "true");
  EXPECT_EQ(count_runs(), 1U);
}

TEST_F(WorkflowRoutes, AnswerTheSameEvenAfterTheRunHasEnded) {
  const Headers key{{"Idempotency-Key", "row 17"}};
  const auto first = post(kWorkflows, R"({"opportunityId":"A-1"})", key);
  complete_all(text_at(first, "workflowId"));
  const auto second = post(kWorkflows, R"({ "opportunityId" : "A-1" })", key);  // spelled otherwise, asks the same
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(count_runs(), 1U);
}

TEST_F(WorkflowRoutes, ApplyTheChangesOfARepeatedRequestOnce) {
  const Headers key{{"Idempotency-Key", "row 17"}};
  const std::string body = R"({"opportunityId":"A-1","changes":{"amount":1}})";
  post(kWorkflows, body, key);
  post(kWorkflows, R"({"opportunityId":"A-1","changes":{"amount":2}})");
  post(kWorkflows, body, key);
  EXPECT_EQ(stored("A-1")->amount, 2) << "an old request does not undo a newer one";
}

TEST_F(WorkflowRoutes, RefuseAnotherRequestUnderAKnownKey) {
  const Headers key{{"Idempotency-Key", "row 17"}};
  post(kWorkflows, R"({"opportunityId":"A-1"})", key);
  for (const auto* const body : {R"({"opportunityId":"A-2"})", R"({"opportunityId":"A-1","changes":{"amount":1}})",
                                 R"({"opportunityId":"A-1","definition":"opportunity-analysis"})"}) {
    const auto response = post(kWorkflows, body, key);
    EXPECT_EQ(response.status, 422) << body;
    EXPECT_THAT(error(response), HasSubstr("Idempotency-Key 'row 17' came before with another request"));
  }
  EXPECT_EQ(count_runs(), 1U);
  EXPECT_EQ(stored("A-1"), std::nullopt);
}

TEST_F(WorkflowRoutes, KeepTheKeysOfTenantsApart) {
  Headers theirs = other();
  theirs.add("Idempotency-Key", "row 17");
  EXPECT_EQ(post(kWorkflows, R"({"opportunityId":"A-1"})", {{"Idempotency-Key", "row 17"}}).status, 202);
  EXPECT_EQ(post(kWorkflows, R"({"opportunityId":"A-2"})", theirs).status, 202);
}

TEST_F(WorkflowRoutes, RefuseKeysThatAreNone) {
  for (const auto& key : {std::string(), std::string(256, 'x'), std::string("a\tb"), std::string("\xc3\xa9")}) {
    const auto response = post(kWorkflows, R"({"opportunityId":"A-1"})", {{"Idempotency-Key", key}});
    EXPECT_EQ(response.status, 400);
    EXPECT_THAT(error(response), HasSubstr("allowed: 1..255 printable ASCII characters"));
  }
}

/// A store where something happens behind each commit.
class Watched final : public store::Store {
 public:
  explicit Watched(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    auto done = store_.transact(body);
    if (behind_commit) behind_commit();
    return done;
  }
  Result<void> admission() override { return store_.admission(); }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override { return store_.read(body); }
  std::function<void()> behind_commit;

 private:
  store::Store& store_;
};

TEST_F(WorkflowRoutes, StartWhatWasCutOffBetweenItsKeyAndItsStart) {
  Watched store(*store_);
  Router router(Logger::silent());
  add_routes(router, services(store));
  const auto ask_again = [&] {
    return router.handle({.method = Method::post,
                          .target = kWorkflows,
                          .headers = {{"Idempotency-Key", "row 17"}, {"Content-Type", "application/json"}},
                          .body = R"({"opportunityId":"A-1","changes":{"amount":1}})"});
  };
  store.behind_commit = [this] {  // the key and the changes are durable; the orchestrator finds the disk nearly full
    disk_free_bytes_ = 0;
    clock_.advance(milliseconds(60'000));
  };
  EXPECT_EQ(ask_again().status, 503);
  EXPECT_EQ(count_runs(), 0U);
  store.behind_commit = nullptr;
  disk_free_bytes_ = std::uint64_t{1} << 40;
  clock_.advance(milliseconds(60'000));
  const auto started = ask_again();
  EXPECT_EQ(started.status, 202) << started.body;
  EXPECT_EQ(text_at(started, "outcome"), "started");
  EXPECT_EQ(ask_again().body, started.body);
  EXPECT_EQ(count_runs(), 1U);
  EXPECT_EQ(stored("A-1")->amount, 1);
}

TEST_F(WorkflowRoutes, StartOneRunForOneKeyHoweverManyAskAtOnce) {
  constexpr std::size_t kClients = 8;
  std::vector<std::string> bodies(kClients);
  std::atomic<int> fresh = 0;
  {
    std::barrier together(kClients);
    std::vector<std::jthread> clients;
    for (std::size_t i = 0; i < kClients; ++i) {
      clients.emplace_back([&, i] {
        together.arrive_and_wait();
        const auto response =
            post(kWorkflows, R"({"opportunityId":"A-1","changes":{"amount":1}})", {{"Idempotency-Key", "row 17"}});
        bodies[i] = response.body;
        if (!response.headers.find("Idempotent-Replayed")) ++fresh;
      });
    }
  }
  EXPECT_THAT(bodies, testing::Each(bodies.front()));
  EXPECT_EQ(fresh, 1);
  EXPECT_EQ(count_runs(), 1U);
}

// Bad input.

struct BadBody {
  const char* name;
  std::string body;
  const char* message;
  friend void PrintTo(const BadBody& row, std::ostream* out) { *out << row.name; }
};

class BadStart : public WorkflowRoutes, public testing::WithParamInterface<BadBody> {};

TEST_P(BadStart, IsRefusedAndStartsNothing) {
  const auto response = post(kWorkflows, GetParam().body);
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_EQ(text_at(response, "error.code"), "invalid_argument");
  EXPECT_THAT(error(response), HasSubstr(GetParam().message));
  EXPECT_EQ(count_runs(), 0U);
  EXPECT_EQ(stored("A"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, BadStart,
    testing::Values(BadBody{"Empty", "", "member 'opportunityId' of the body is missing"},
                    BadBody{"NoJson", "{opportunityId:1}", "the body: JSON, line 1"},
                    BadBody{"Array", "[]", "the body is of kind array; allowed: an object"},
                    BadBody{"Null", "null", "the body is of kind null; allowed: an object"},
                    BadBody{"DuplicateKey", R"({"opportunityId":"A","opportunityId":"B"})",
                            "the key \"opportunityId\" comes twice in one object"},
                    BadBody{"UnknownMember", R"({"opportunityId":"A","oportunityId":"A"})",
                            "member 'oportunityId' of the body is not known here; allowed: opportunityId, tenantId, "
                            "definition, changes"},
                    BadBody{"IdIsANumber", R"({"opportunityId":17})",
                            "member 'opportunityId' of the body is 17; allowed: a text of 1..255"},
                    BadBody{"IdIsEmpty", R"({"opportunityId":""})", "member 'opportunityId' of the body is \"\""},
                    BadBody{"IdIsNull", R"({"opportunityId":null})", "member 'opportunityId' of the body is missing"},
                    BadBody{"IdIsLong", fmt::format(R"({{"opportunityId":"{}"}})", std::string(256, 'x')),
                            "1..255 characters"},
                    BadBody{"TenantIsNoUuid", R"({"opportunityId":"A","tenantId":"acme"})",
                            "member 'tenantId' of the body is \"acme\""},
                    BadBody{"DefinitionIsEmpty", R"({"opportunityId":"A","definition":""})", "member 'definition'"},
                    BadBody{"ChangesAreAnArray", R"({"opportunityId":"A","changes":[]})", "allowed: an object"},
                    BadBody{"ChangesAreNull", R"({"opportunityId":"A","changes":null})", "allowed: an object"},
                    BadBody{"AmountIsNegative", R"({"opportunityId":"A","changes":{"name":"n","amount":-1}})",
                            "opportunity field \"amount\" is -1; allowed: a number from 0"},
                    BadBody{"StateIsUnknown", R"({"opportunityId":"A","changes":{"state":"closed"}})", "\"won\""}),
    [](const auto& row) { return row.param.name; });

TEST_F(WorkflowRoutes, TakeAnIdOf255CharactersInAnyScript) {
  std::string id;
  for (int i = 0; i < 255; ++i) id += "é";
  EXPECT_EQ(post(kWorkflows, fmt::format(R"({{"opportunityId":"{}"}})", id)).status, 202);
}

TEST_F(WorkflowRoutes, RefuseADefinitionThatIsNotThere) {
  const auto response = post(kWorkflows, R"({"opportunityId":"A-1","definition":"lead-analysis"})");
  EXPECT_EQ(response.status, 422) << response.body;
  EXPECT_THAT(error(response), HasSubstr("lead-analysis"));
}

TEST_F(WorkflowRoutes, RefuseABodyThatIsNoJson) {
  EXPECT_EQ(post(kWorkflows, R"({"opportunityId":"A-1"})", {{"Content-Type", "text/plain"}}).status, 415);
}

// Tenants.

TEST_F(WorkflowRoutes, TakeTheTenantFromTheHeaderOrTheBody) {
  const auto theirs = start("A-1", other());
  const auto also_theirs =
      text_at(post(kWorkflows, fmt::format(R"({{"opportunityId":"A-2","tenantId":"{}"}})", kOtherTenant.to_string())),
              "workflowId");
  EXPECT_THAT(all_at(get(kWorkflows, other()), "workflows", "workflowId"), ElementsAre(also_theirs, theirs));
  EXPECT_EQ(count_runs(), 0U);
}

TEST_F(WorkflowRoutes, RefuseABodyAndAHeaderThatNameTwoTenants) {
  const auto response =
      post(kWorkflows, fmt::format(R"({{"opportunityId":"A-2","tenantId":"{}"}})", kTenant.to_string()), other());
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(error(response), HasSubstr("allowed: the same"));
}

TEST_F(WorkflowRoutes, HideTheRunsOfOtherTenants) {
  const auto mine = start("A-1");
  for (const auto& response : {get(run_path(mine), other()), post(run_path(mine, "/retry"), "{}", other()),
                               post(run_path(mine, "/cancel"), R"({"reason":"x"})", other())}) {
    EXPECT_EQ(response.status, 404);
    EXPECT_THAT(error(response), HasSubstr(mine));
  }
  EXPECT_EQ(text_at(get(run_path(mine)), "status"), "running");
  EXPECT_THAT(all_at(get(kWorkflows, other()), "workflows", "workflowId"), IsEmpty());
  EXPECT_THAT(
      all_at(get(fmt::format("{}?opportunityId={}", kWorkflows, opportunity_id(kTenant, "A-1").to_string()), other()),
             "workflows", "workflowId"),
      IsEmpty());
  // Another tenant's opportunity of the same name is another opportunity.
  EXPECT_NE(start("A-1", other()), mine);
}

TEST_F(WorkflowRoutes, AnswerUnknownIdsWith404) {
  for (const auto* const id : {kNoSuchRun, "17", "not-a-uuid", "%F0%9F%98%80"}) {
    EXPECT_EQ(get(run_path(id)).status, 404) << id;
    EXPECT_EQ(post(run_path(id, "/retry"), "").status, 404) << id;
    EXPECT_EQ(post(run_path(id, "/cancel"), R"({"reason":"x"})").status, 404) << id;
  }
}

// Lists.

TEST_F(WorkflowRoutes, ListTheNewestFirstInPages) {
  std::vector<std::string> started;
  for (int i = 0; i < 5; ++i) {
    started.push_back(start(fmt::format("A-{}", i)));
    clock_.advance(milliseconds(1));
  }
  std::ranges::reverse(started);
  std::vector<std::string> listed;
  std::string cursor;
  int pages = 0;
  do {
    const auto page = get(fmt::format("{}?limit=2{}", kWorkflows, cursor));
    for (auto& id : all_at(page, "workflows", "workflowId")) listed.push_back(std::move(id));
    cursor = text_at(page, "cursor");
    if (!cursor.empty()) cursor = "&cursor=" + cursor;
    ++pages;
  } while (!cursor.empty());
  EXPECT_EQ(listed, started);
  EXPECT_EQ(pages, 3);
}

TEST_F(WorkflowRoutes, HaveNoCursorWhereThePageIsJustFull) {
  start("A-1");
  start("A-2");
  const auto page = get(fmt::format("{}?limit=2", kWorkflows));
  EXPECT_THAT(all_at(page, "workflows", "workflowId"), SizeIs(2));
  EXPECT_EQ(text_at(page, "cursor"), "");
}

TEST_F(WorkflowRoutes, ListByOpportunityAndStatus) {
  const auto cancelled = start("A 1");
  post(run_path(cancelled, "/cancel"), R"({"reason":"entered twice"})");
  const auto running = start("A 1");
  start("A-2");
  const auto ids = [&](const std::string& query) {
    return all_at(get(fmt::format("{}?{}", kWorkflows, query)), "workflows", "workflowId");
  };
  EXPECT_THAT(ids("opportunityId=A%201"), ElementsAre(running, cancelled));
  EXPECT_THAT(ids("opportunityId=" + opportunity_id(kTenant, "A 1").to_string()), ElementsAre(running, cancelled));
  EXPECT_THAT(ids("opportunityId=A+1&status=cancelled"), ElementsAre(cancelled));
  EXPECT_THAT(ids("status=completed"), IsEmpty());
}

TEST_F(WorkflowRoutes, ListResultsOnlyWhereTheyAreAskedFor) {
  const auto id = start("A-1");
  complete_all(id);
  const auto without = get(kWorkflows);
  EXPECT_EQ(text_at(without, "workflows.0.steps.0.state"), "completed");
  EXPECT_EQ(text_at(without, "workflows.0.steps.0.result"), "");
  const auto with = get(fmt::format("{}?include=results", kWorkflows));
  EXPECT_EQ(text_at(with, "workflows.0.steps.0.result.riskScore"), "0.5");
}

TEST_F(WorkflowRoutes, EndAPageOfResultsBeforeItIsTooLarge) {
  std::string filler(200'000, 'x');
  for (int i = 0; i < 60; ++i) {
    complete(start(fmt::format("A-{}", i)), "risk.evaluation.completed",
             fmt::format(R"("evaluationId":"{}","riskScore":0.5,"note":"{}")", kNoSuchRun, filler));
  }
  const auto first = get(fmt::format("{}?include=results&limit=100", kWorkflows));
  EXPECT_LT(first.body.size(), 9U * 1024 * 1024);
  const auto second = get(fmt::format("{}?include=results&limit=100&cursor={}", kWorkflows, text_at(first, "cursor")));
  auto listed = all_at(first, "workflows", "externalId");
  EXPECT_THAT(listed, testing::Not(IsEmpty()));
  EXPECT_LT(listed.size(), 60U);
  for (auto& id : all_at(second, "workflows", "externalId")) listed.push_back(std::move(id));
  EXPECT_EQ(std::set<std::string>(listed.begin(), listed.end()).size(), 60U);
  EXPECT_EQ(listed.size(), 60U);
  EXPECT_EQ(text_at(second, "cursor"), "");
}

struct BadQuery {
  const char* name;
  const char* query;
  const char* message;
  friend void PrintTo(const BadQuery& row, std::ostream* out) { *out << row.name; }
};

class BadList : public WorkflowRoutes, public testing::WithParamInterface<BadQuery> {};

TEST_P(BadList, IsRefused) {
  const auto response = get(fmt::format("{}?{}", kWorkflows, GetParam().query));
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_THAT(error(response), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Queries, BadList,
    testing::Values(BadQuery{"LimitZero", "limit=0", "parameter limit is '0'; allowed: 1..1000"},
                    BadQuery{"LimitLarge", "limit=1001", "allowed: 1..1000"},
                    BadQuery{"LimitNegative", "limit=-1", "allowed: 1..1000"},
                    BadQuery{"LimitFraction", "limit=1.5", "allowed: 1..1000"},
                    BadQuery{"LimitEmpty", "limit=", "parameter limit is ''"},
                    BadQuery{"LimitHuge", "limit=99999999999999999999999", "allowed: 1..1000"},
                    BadQuery{"StatusUnknown", "status=done", "allowed: running, completed, failed, cancelled"},
                    BadQuery{"StatusInOtherCase", "status=Running", "parameter status is 'Running'"},
                    BadQuery{"CursorUnknown", "cursor=abc", "parameter cursor is 'abc'"},
                    BadQuery{"CursorOfItsLength", "cursor=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "parameter cursor is"},
                    BadQuery{"IncludeUnknown", "include=everything", "allowed: results"},
                    BadQuery{"OpportunityEmpty", "opportunityId=", "1..255 characters"},
                    BadQuery{"Twice", "limit=1&limit=2", "parameter limit comes twice"},
                    BadQuery{"Unknown", "limt=1", "parameter limt is not known here; allowed: opportunityId, status"},
                    BadQuery{"NoUtf8", "status=%ff", "not UTF-8"}),
    [](const auto& row) { return row.param.name; });

// Steering.

TEST_F(WorkflowRoutes, CancelARun) {
  const auto id = start("A-1");
  const auto run = post(run_path(id, "/cancel"), R"({"reason":"entered twice"})");
  EXPECT_EQ(run.status, 200);
  EXPECT_EQ(text_at(run, "status"), "cancelled");
  EXPECT_EQ(text_at(run, "error"), "cancelled: entered twice");
  const auto again = post(run_path(id, "/cancel"), R"({"reason":"entered twice"})");
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(error(again), HasSubstr("cancelled"));
}

TEST_F(WorkflowRoutes, AnswerACancellationWithTheRunAsItIsThen) {
  const auto id = start("A-1");
  complete(id, "risk.evaluation.completed", fmt::format(R"("evaluationId":"{}","riskScore":0.5)", kNoSuchRun));
  const auto run = post(run_path(id, "/cancel"), R"({"reason":"entered twice"})");
  EXPECT_EQ(text_at(run, "steps.0.result.riskScore"), "0.5");
  EXPECT_EQ(run.body, get(run_path(id)).body);
}

TEST_F(WorkflowRoutes, WantAReasonForACancellation) {
  const auto id = start("A-1");
  for (const auto* const body : {"", "{}", R"({"reason":""})", R"({"reason":7})", R"({"why":"x"})"}) {
    const auto response = post(run_path(id, "/cancel"), body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(error(response), HasSubstr("reason"));
  }
  EXPECT_EQ(text_at(get(run_path(id)), "status"), "running");
}

TEST_F(WorkflowRoutes, RetryARunThatFailed) {
  const auto id = start("A-1");
  complete(id, "risk.evaluation.completed", fmt::format(R"("evaluationId":"{}","riskScore":0.5)", kNoSuchRun));
  complete(id, "forecast.failed", R"("error":"no such currency","retryable":false)");
  const auto run = post(run_path(id, "/retry"), "");
  EXPECT_EQ(run.status, 200) << run.body;
  EXPECT_EQ(text_at(run, "status"), "running");
  EXPECT_EQ(text_at(run, "attempt"), "2");
  EXPECT_THAT(all_at(run, "steps", "state"), ElementsAre("completed", "requested", "requested", "requested"));
  EXPECT_EQ(text_at(run, "steps.0.result.riskScore"), "0.5");
  EXPECT_EQ(run.body, get(run_path(id)).body);
}

TEST_F(WorkflowRoutes, RetryNoRunThatIsActive) {
  const auto id = start("A-1");
  const auto response = post(run_path(id, "/retry"), "{}");
  EXPECT_EQ(response.status, 409);
  EXPECT_THAT(error(response), HasSubstr("running"));
  EXPECT_EQ(post(run_path(id, "/retry"), R"({"steps":[]})").status, 400);
}

}  // namespace
}  // namespace wfo::api
