#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kRuns = "/api/v1/jobs/runs";

class JobRoutes : public Installation {
 protected:
  /// The id of the run.
  std::string trigger(std::string_view job, std::string body = "{}") {
    clock_.advance(milliseconds(1));
    const auto response = post(fmt::format("/api/v1/jobs/{}/trigger", job), std::move(body));
    EXPECT_EQ(response.status, 202) << response.body;
    return text_at(response, "runId");
  }
  static std::string path(std::string_view id, std::string_view act = "") {
    return fmt::format("{}/{}{}", kRuns, id, act);
  }
  std::vector<std::string> listed(const std::string& query = "") {
    return all_at(get(fmt::format("{}?{}", kRuns, query)), "runs", "runId");
  }
  Response hand_in(std::string_view type, std::string_view data) {
    const Headers system = {{"X-Tenant-Id", system_tenant().to_string()}};
    return post("/api/v1/events",
                fmt::format(R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"2026-03-01T09:31:00.000Z",)"
                            R"("tenantId":"{}","source":"exporter","data":{}}})",
                            ids_.next().to_string(), type, system_tenant().to_string(), data),
                system);
  }
};

TEST_F(JobRoutes, TriggerAJobByHand) {
  const auto response =
      post("/api/v1/jobs/risk-snapshot-backfill/trigger", R"({"metadata": {"from": "2026-02-01","to":"2026-03-01"} })");
  EXPECT_EQ(response.status, 202) << response.body;
  const auto id = text_at(response, "runId");
  EXPECT_EQ(response.headers.find("Location"), path(id));
  EXPECT_EQ(text_at(response, "job"), "risk-snapshot-backfill");
  const auto run = get(path(id));
  EXPECT_EQ(run.status, 200);
  EXPECT_EQ(text_at(run, "runId"), id);
  EXPECT_EQ(text_at(run, "job"), "risk-snapshot-backfill");
  EXPECT_EQ(text_at(run, "status"), "pending");
  EXPECT_EQ(text_at(run, "triggeredBy"), "manual");
  EXPECT_EQ(text_at(run, "triggerId"), text_at(response, "triggerId"));
  EXPECT_EQ(text_at(run, "metadata"), R"({"from": "2026-02-01","to":"2026-03-01"})");
  EXPECT_EQ(text_at(run, "attempt"), "0");
  EXPECT_EQ(text_at(run, "createdAt"), "2026-03-01T09:30:00.000Z");
  EXPECT_EQ(text_at(run, "dueAt"), "2026-03-01T10:30:00.000Z");
  EXPECT_EQ(text_at(run, "startedAt"), "");
  EXPECT_EQ(text_at(run, "schedule"), "");
  EXPECT_EQ(text_at(run, "progress.done"), "0");
  EXPECT_EQ(text_at(run, "counts"), "{}");
}

TEST_F(JobRoutes, TriggerWithoutMetadata) {
  for (const auto* const body : {"", "{}", R"({"metadata":null})", R"({"metadata":{}})"}) {
    EXPECT_EQ(text_at(get(path(trigger("outcome-sync", body))), "metadata"), "{}") << body;
  }
}

TEST_F(JobRoutes, PublishTheTriggerWithTheTraceOfTheRequest) {
  const auto worker = need(bus_.consume({.queue = "exporter", .bindings = {"workflow.job.trigger"}}));
  const Headers trace = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
  const auto response = post("/api/v1/jobs/crm-export/trigger", R"({"metadata":{"full":true}})", trace);
  const auto batch = need(worker->receive(10, milliseconds(0), {}));
  ASSERT_THAT(batch, SizeIs(1));
  const auto& event = *batch.front().event;
  EXPECT_EQ(event.id().to_string(), text_at(response, "triggerId"));
  EXPECT_EQ(event.traceparent(), *trace.find("traceparent"));
  EXPECT_EQ(event.data().find("runId")->string(), text_at(response, "runId"));
  EXPECT_EQ(event.data().find("metadata")->raw(), R"({"full":true})");
  EXPECT_TRUE(event.data().find("triggeredBy")->equals("manual"));
}

TEST_F(JobRoutes, NameTheJobsThatThereAre) {
  const auto response = post("/api/v1/jobs/outcome-sink/trigger", "{}");
  EXPECT_EQ(response.status, 404);
  EXPECT_THAT(error(response), HasSubstr("'outcome-sink'"));
  EXPECT_THAT(error(response), HasSubstr("crm-export, outcome-sync, risk-snapshot-backfill"));
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(JobRoutes, RefuseMetadataThatNoJobCanUse) {
  const std::string trigger = "/api/v1/jobs/outcome-sync/trigger";
  for (const auto* const metadata : {"17", "[]", "\"x\"", "true"}) {
    const auto response = post(trigger, fmt::format(R"({{"metadata":{}}})", metadata));
    EXPECT_EQ(response.status, 400);
    EXPECT_THAT(error(response), HasSubstr("member 'metadata' of the body"));
    EXPECT_THAT(error(response), HasSubstr("allowed: an object"));
  }
  const auto large = post(trigger, fmt::format(R"({{"metadata":{{"a":"{}"}}}})", std::string(65'536, 'x')));
  EXPECT_THAT(error(large), HasSubstr("allowed: an object of up to 65536 bytes"));
  EXPECT_THAT(error(post(trigger, R"({"metadata":{"a":1}})")), HasSubstr("metadata of outcome-sync"));
  EXPECT_THAT(error(post(trigger, R"({"meta":{}})")),
              HasSubstr("'meta' of the body is not known here; allowed: metadata"));
  EXPECT_EQ(post(trigger, "{").status, 400);
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(JobRoutes, TriggerNothingWhileTheDiskIsNearlyFull) {
  disk_free_bytes_ = 0;
  EXPECT_EQ(post("/api/v1/jobs/outcome-sync/trigger", "{}").status, 503);
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_F(JobRoutes, ListRunsTheNewestFirstInPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(trigger("crm-export"));
  std::ranges::reverse(ids);
  EXPECT_EQ(listed(), ids);
  std::vector<std::string> seen;
  std::string cursor;
  do {
    const auto page = get(fmt::format("{}?limit=2{}", kRuns, cursor.empty() ? "" : "&cursor=" + cursor));
    for (auto& id : all_at(page, "runs", "runId")) seen.push_back(std::move(id));
    cursor = text_at(page, "cursor");
  } while (!cursor.empty());
  EXPECT_EQ(seen, ids);
  EXPECT_EQ(text_at(get(fmt::format("{}?limit=5", kRuns)), "cursor"), "") << "none is left";
}

TEST_F(JobRoutes, EndAPageOfRunsEarlyWhenItIsLarge) {
  const auto body = fmt::format(R"({{"metadata":{{"a":"{}"}}}})", std::string(65'000, 'x'));
  std::vector<std::string> ids;
  for (int i = 0; i < 140; ++i) ids.push_back(trigger("crm-export", body));
  std::ranges::reverse(ids);
  const auto first = get(fmt::format("{}?limit=1000", kRuns));
  EXPECT_LT(first.body.size(), 9u * 1024 * 1024);
  auto seen = all_at(first, "runs", "runId");
  EXPECT_LT(seen.size(), ids.size());
  for (auto& id : listed("limit=1000&cursor=" + text_at(first, "cursor"))) seen.push_back(std::move(id));
  EXPECT_EQ(seen, ids);
}

TEST_F(JobRoutes, ListTheRunsThatAreAskedFor) {
  const auto exported = trigger("crm-export");
  const auto synced = trigger("outcome-sync");
  EXPECT_EQ(post(path(exported, "/cancel"), R"({"reason":"x"})").status, 200);
  EXPECT_THAT(listed("job=crm-export"), ElementsAre(exported));
  EXPECT_THAT(listed("status=pending"), ElementsAre(synced));
  EXPECT_THAT(listed("status=cancelled&job=crm-export"), ElementsAre(exported));
  EXPECT_THAT(listed("status=cancelled&job=outcome-sync"), IsEmpty());
  EXPECT_THAT(listed("schedule=nightly"), IsEmpty());
  EXPECT_THAT(listed("job=unheard-of"), IsEmpty());
}

TEST_F(JobRoutes, RefuseBadParameters) {
  EXPECT_EQ(error(get(fmt::format("{}?status=done", kRuns))),
            "parameter status is 'done'; allowed: pending, queued, running, completed, failed, cancelled");
  EXPECT_THAT(error(get(fmt::format("{}?job=a%20b", kRuns))),
              HasSubstr("parameter job is 'a b'; allowed: 1 to 100 of"));
  EXPECT_THAT(error(get(fmt::format("{}?schedule=", kRuns))), HasSubstr("parameter schedule is ''"));
  EXPECT_EQ(error(get(fmt::format("{}?limit=0", kRuns))), "parameter limit is '0'; allowed: 1..1000");
  EXPECT_EQ(error(get(fmt::format("{}?cursor=x", kRuns))),
            "parameter cursor is 'x'; allowed: cursor of the page before");
}

TEST_F(JobRoutes, CancelAnOpenRun) {
  const auto id = trigger("outcome-sync");
  clock_.advance(milliseconds(1000));
  const auto run = post(path(id, "/cancel"), R"({"reason":"wrong week"})");
  EXPECT_EQ(run.status, 200) << run.body;
  EXPECT_EQ(text_at(run, "status"), "cancelled");
  EXPECT_THAT(text_at(run, "error"), HasSubstr("wrong week"));
  EXPECT_EQ(text_at(run, "endedAt"), "2026-03-01T09:30:01.001Z");
  EXPECT_EQ(text_at(run, "note"), "") << "its worker is here, and finds out";
  const auto again = post(path(id, "/cancel"), R"({"reason":"again"})");
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(error(again), HasSubstr("cancelled"));
  EXPECT_THAT(text_at(get(path(id)), "error"), HasSubstr("wrong week"));
}

TEST_F(JobRoutes, SayThatAWorkerElsewhereIsNotToldOfACancellation) {
  const auto run = post(path(trigger("crm-export"), "/cancel"), R"({"reason":"wrong week"})");
  EXPECT_EQ(run.status, 200);
  EXPECT_THAT(text_at(run, "note"), HasSubstr("is not told"));
}

TEST_F(JobRoutes, WantAReasonForACancellation) {
  const auto id = trigger("outcome-sync");
  for (const auto* const body : {"", "{}", R"({"reason":""})", R"({"reason":null})", R"({"note":"x"})"}) {
    const auto response = post(path(id, "/cancel"), body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(error(response), HasSubstr("reason"));
  }
  EXPECT_EQ(text_at(get(path(id)), "status"), "pending");
}

TEST_F(JobRoutes, AnswerUnknownRunsWith404) {
  for (const auto* const id : {"01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11", "17"}) {
    EXPECT_EQ(get(path(id)).status, 404);
    EXPECT_EQ(post(path(id, "/cancel"), R"({"reason":"x"})").status, 404);
  }
}

TEST_F(JobRoutes, ShowHowAWorkerElsewhereEndedARun) {
  const auto done = trigger("crm-export");
  const auto broken = trigger("crm-export");
  EXPECT_EQ(hand_in("workflow.job.completed",
                    fmt::format(R"({{"job":"crm-export","status":"completed","completedAt":"2026-03-01T09:31:00.000Z",)"
                                R"("runId":"{}","counts":{{"rows":12}}}})",
                                done))
                .status,
            202);
  EXPECT_EQ(hand_in("workflow.job.failed", fmt::format(R"({{"job":"crm-export","error":"the CRM is away","failedAt":)"
                                                       R"("2026-03-01T09:31:00.000Z","runId":"{}"}})",
                                                       broken))
                .status,
            202);
  settle();
  const auto completed = get(path(done));
  EXPECT_EQ(text_at(completed, "status"), "completed");
  EXPECT_EQ(text_at(completed, "counts.rows"), "12");
  const auto failed = get(path(broken));
  EXPECT_EQ(text_at(failed, "status"), "failed");
  EXPECT_EQ(text_at(failed, "error"), "the CRM is away");
}

TEST_F(JobRoutes, AreOfNoTenant) {
  const auto id = text_at(post("/api/v1/jobs/outcome-sync/trigger", "{}", other()), "runId");
  EXPECT_EQ(text_at(get(path(id)), "runId"), id);
  EXPECT_EQ(get("/api/v1/jobs", other()).body, get("/api/v1/jobs").body);
}

TEST_F(JobRoutes, ListTheJobsWithTheirLimits) {
  const auto jobs = get("/api/v1/jobs");
  EXPECT_EQ(jobs.status, 200);
  EXPECT_THAT(all_at(jobs, "jobs", "job"), ElementsAre("crm-export", "outcome-sync", "risk-snapshot-backfill"));
  EXPECT_THAT(all_at(jobs, "jobs", "kind"), ElementsAre("external", "builtin", "builtin"));
  EXPECT_THAT(all_at(jobs, "jobs", "startTimeout"), ElementsAre("1h", "1h", "1h"));
  EXPECT_THAT(all_at(jobs, "jobs", "timeout"), ElementsAre("", "6h", "6h")) << "nobody here ends an external one";
  EXPECT_THAT(all_at(jobs, "jobs", "attemptsMax"), ElementsAre("", "5", "5"));
}

}  // namespace
}  // namespace wfo::api
