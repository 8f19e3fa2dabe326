#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::HasSubstr;

class HealthRoutes : public Installation {
 protected:
  void complete_a_backfill() {
    schedule::JobRun run;
    run.id = JobRunId(ids_.next());
    run.job = jobs::RiskSnapshotBackfill::kName;
    run.trigger = EventId(ids_.next());
    run = schedule::triggered(std::move(run), *scheduler_.catalog().find(run.job), clock_.now());
    run = schedule::ended(std::move(run), schedule::JobRunStatus::completed, "", clock_.now());
    need(store_->transact([&](store::Transaction& transaction) -> Result<void> {
      TRY(transaction.job_runs().insert({&run, 1}));
      return {};
    }));
  }
};

TEST_F(HealthRoutes, SayThatTheProcessLivesWhateverElseIsWrong) {
  not_ready_ = {"the disk is nearly full"};
  disk_free_bytes_ = 0;
  const auto response = get("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"status":"ok","lastRiskSnapshotBackfillAt":null})");
}

TEST_F(HealthRoutes, SayWhenTheLastBackfillOfRiskSnapshotsCompleted) {
  complete_a_backfill();
  EXPECT_EQ(text_at(get("/health"), "lastRiskSnapshotBackfillAt"), "2026-03-01T09:30:00.000Z");
  clock_.advance(std::chrono::hours(24));
  complete_a_backfill();
  EXPECT_EQ(text_at(get("/health"), "lastRiskSnapshotBackfillAt"), "2026-03-02T09:30:00.000Z");
}

TEST_F(HealthRoutes, SayOfTheLastBackfillWhatWasKnownWhileTheStoreTakesNothing) {
  complete_a_backfill();
  get("/health");
  disk_free_bytes_ = 0;
  EXPECT_EQ(text_at(get("/health"), "lastRiskSnapshotBackfillAt"), "2026-03-01T09:30:00.000Z");
}

TEST_F(HealthRoutes, SayWhyNoNewWorkIsTaken) {
  EXPECT_EQ(get("/ready").body, R"({"status":"ready"})");
  not_ready_ = {"the disk is nearly full", "logging_service: the database is locked"};
  const auto response = get("/ready");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(error(response), "not ready: the disk is nearly full; logging_service: the database is locked");
  EXPECT_EQ(text_at(response, "error.details.1"), "logging_service: the database is locked");
}

TEST_F(HealthRoutes, GiveTheNumbersInPrometheusFormat) {
  metrics_.counter("things_total", "Things", {{"kind", "good"}}).add(3);
  const auto response = get("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.content_type, HasSubstr("version=0.0.4"));
  EXPECT_THAT(response.body, HasSubstr("things_total{kind=\"good\"} 3"));
}

}  // namespace
}  // namespace wfo::api
