#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::HasSubstr;

class HealthRoutes : public Installation {};

TEST_F(HealthRoutes, SayThatTheProcessLivesWhateverElseIsWrong) {
  not_ready_ = {"the disk is nearly full"};
  const auto response = get("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"status":"ok"})");
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
