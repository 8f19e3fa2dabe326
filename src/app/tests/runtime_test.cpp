#include "app/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "app/gateway.h"
#include "events/types.h"
#include "support/eventually.h"
#include "support/temporary_directory.h"

namespace wfo::app {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// An installation with all that belongs to it, in a folder of the test's own.
class RuntimeTest : public testing::Test {
 protected:
  RuntimeTest() {
    config_.data_dir = directory_ / "data";
    config_.store.disk_free = [this] { return Result<std::uint64_t>(disk_free_bytes_.load()); };
    config_.delivery.retry_first = milliseconds(1);
  }

  std::unique_ptr<Runtime> open(RuntimeOptions options = {}) {
    auto runtime = Runtime::open(config_, Logger::silent(), std::move(options));
    EXPECT_TRUE(runtime) << runtime.error().message;
    return runtime ? *std::move(runtime) : nullptr;
  }
  /// The error of an installation that must not open.
  Error refusal(RuntimeOptions options = {}) {
    const auto runtime = Runtime::open(config_, Logger::silent(), std::move(options));
    EXPECT_FALSE(runtime) << "it opened";
    return runtime ? Error{ErrorCode::internal, ""} : runtime.error();
  }

  static api::Response ask(Runtime& runtime, api::Method method, std::string target, std::string body = {}) {
    api::Request request{.method = method, .target = std::move(target), .body = std::move(body)};
    if (!request.body.empty()) request.headers.add("Content-Type", std::string(api::kJson));
    return runtime.router().handle(request);
  }
  /// Starts the analysis of an opportunity that is told along; the workflow's id.
  static std::string start(Runtime& runtime, std::string_view opportunity) {
    const auto response =
        ask(runtime, api::Method::post, "/api/v1/workflows",
            fmt::format(R"({{"opportunityId":"{}","changes":{{"state":"open","amount":1200,"stage":"Engaging"}}}})",
                        opportunity));
    EXPECT_EQ(response.status, 202) << response.body;
    return member(response, "workflowId");
  }
  static std::string member(const api::Response& response, std::string_view name) {
    const auto document = json::Document::parse(response.body);
    EXPECT_TRUE(document) << response.body;
    return document ? text_at(document->root(), name) : "";
  }
  static std::string status(Runtime& runtime, const std::string& workflow) {
    return member(ask(runtime, api::Method::get, "/api/v1/workflows/" + workflow), "status");
  }
  static bool completes(Runtime& runtime, const std::string& workflow) {
    return test::eventually([&] { return status(runtime, workflow) != "running"; }) &&
           status(runtime, workflow) == "completed";
  }
  [[nodiscard]] store::LedgerIndex ledger_size(Runtime& runtime) const {
    return runtime.ledger().size(config_.tenant).value_or(-1);
  }

  test::TemporaryDirectory directory_;
  std::atomic<std::uint64_t> disk_free_bytes_ = std::uint64_t{1} << 40;
  Config config_;
};

TEST_F(RuntimeTest, AnalysesAnOpportunityWithAllRolesAndRecordsIt) {
  const auto runtime = open();
  runtime->start();
  const auto workflow = start(*runtime, "OPP-1");
  ASSERT_TRUE(completes(*runtime, workflow));
  const auto shown = ask(*runtime, api::Method::get, "/api/v1/workflows/" + workflow);
  for (const std::string_view part : {"risk_analysis", "risk_scoring", "forecast", "recommendation"}) {
    EXPECT_THAT(shown.body, HasSubstr(part));
  }
  ASSERT_TRUE(test::eventually([&] { return ledger_size(*runtime) >= 6; }));
  EXPECT_EQ(ledger_size(*runtime), 6);
  EXPECT_THAT(runtime->not_ready(), IsEmpty());
  EXPECT_EQ(ask(*runtime, api::Method::get, "/ready").status, 200);
  EXPECT_THAT(runtime->metrics().text(), HasSubstr("workflows_completed_total 1"));
}

TEST_F(RuntimeTest, StopsAsOftenAsItIsToldTo) {
  const auto runtime = open();
  runtime->stop();
  runtime->start();
  ASSERT_TRUE(completes(*runtime, start(*runtime, "OPP-1")));
  runtime->stop();
  runtime->stop();
  EXPECT_EQ(ask(*runtime, api::Method::get, "/api/v1/workflows").status, 200) << "what is there can still be read";
}

TEST_F(RuntimeTest, TakesWorkBeforeItStartsAndDoesItThen) {
  const auto runtime = open();
  const auto workflow = start(*runtime, "OPP-1");
  EXPECT_EQ(status(*runtime, workflow), "running");
  runtime->start();
  EXPECT_TRUE(completes(*runtime, workflow));
}

TEST_F(RuntimeTest, IsTheOnlyOneInItsDirectory) {
  auto first = open();
  const auto error = refusal();
  EXPECT_EQ(error.code, ErrorCode::conflict);
  EXPECT_THAT(error.message, HasSubstr(config_.data_dir.string()));
  EXPECT_FALSE(is_served(config_)) << "it is held, but nobody listens";
  first.reset();
  EXPECT_TRUE(open());
}

TEST_F(RuntimeTest, GoesOnWhereAnotherOneStopped) {
  std::vector<std::string> workflows;
  {
    const auto runtime = open();
    for (int i = 0; i < 20; ++i) workflows.push_back(start(*runtime, fmt::format("OPP-{}", i)));
    runtime->start();
    ASSERT_TRUE(completes(*runtime, workflows.front()));
  }
  {
    const auto runtime = open();
    runtime->start();
    for (const auto& workflow : workflows) EXPECT_TRUE(completes(*runtime, workflow));
    ASSERT_TRUE(test::eventually([&] { return ledger_size(*runtime) >= 120; }));
    runtime->stop();
    EXPECT_EQ(ledger_size(*runtime), 120);
  }
  const auto runtime = open();
  runtime->start();
  EXPECT_EQ(ledger_size(*runtime), 120);
  EXPECT_EQ(status(*runtime, workflows.back()), "completed");
}

TEST_F(RuntimeTest, LeavesToOthersWhatItsRolesDoNotDo) {
  config_.roles = {std::string(events::kOrchestratorRole), std::string(events::kRiskAnalyticsRole)};
  std::string workflow;
  {
    const auto runtime = open();
    runtime->start();
    workflow = start(*runtime, "OPP-1");
    const auto steps_done = [&] {
      const auto body = ask(*runtime, api::Method::get, "/api/v1/workflows/" + workflow).body;
      std::size_t count = 0;
      for (auto at = body.find(R"("state":"completed")"); at != std::string::npos;
           at = body.find(R"("state":"completed")", at + 1)) {
        ++count;
      }
      return count;
    };
    ASSERT_TRUE(test::eventually([&] { return steps_done() == 2; }));
    runtime->stop();
    EXPECT_EQ(status(*runtime, workflow), "running");
    EXPECT_EQ(ledger_size(*runtime), 0) << "logging is not among the roles";
  }
  config_.roles = {std::string(events::kLoggingRole)};
  {
    const auto runtime = open();
    runtime->start();
    ASSERT_TRUE(test::eventually([&] { return ledger_size(*runtime) == 3; })) << "started and two steps";
    EXPECT_EQ(status(*runtime, workflow), "running");
  }
  config_.roles = Config::all_roles();
  const auto runtime = open();
  runtime->start();
  EXPECT_TRUE(completes(*runtime, workflow));
  EXPECT_TRUE(test::eventually([&] { return ledger_size(*runtime) == 6; }));
}

TEST_F(RuntimeTest, SaysWhyItTakesNoNewWorkAndTakesItAgain) {
  config_.store.disk_free_min_bytes = 1'000'000;
  disk_free_bytes_ = 999'999;
  const auto runtime = open();
  runtime->start();
  ASSERT_THAT(runtime->not_ready(), testing::SizeIs(1));
  EXPECT_THAT(runtime->not_ready().front(), HasSubstr("999999"));
  EXPECT_THAT(runtime->not_ready().front(), HasSubstr("1000000"));
  const auto ready = ask(*runtime, api::Method::get, "/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("999999"));
  const auto refused = ask(*runtime, api::Method::post, "/api/v1/workflows", R"({"opportunityId":"OPP-1"})");
  EXPECT_EQ(refused.status, 503) << refused.body;
  disk_free_bytes_ = 1'000'000;
  ASSERT_TRUE(test::eventually([&] { return runtime->not_ready().empty(); }));
  EXPECT_TRUE(completes(*runtime, start(*runtime, "OPP-1")));
}

TEST_F(RuntimeTest, RefusesAConfigurationWhoseFilesAreWrong) {
  const auto file = (directory_ / "definition.yaml").string();
  config_.workflow_files = {file};
  EXPECT_EQ(refusal().code, ErrorCode::not_found);
  EXPECT_THAT(refusal().message, HasSubstr(file));
  std::ofstream(file) << "name: x\ncolour: red\n";
  EXPECT_EQ(refusal().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refusal().message, HasSubstr(file));
  config_.workflow_files.clear();
  config_.risk_rules_file = directory_ / "rules.yaml";
  std::ofstream(config_.risk_rules_file) << "rules: 5\n";
  EXPECT_EQ(refusal().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refusal().message, HasSubstr("rules.yaml"));
  config_.risk_rules_file.clear();
  EXPECT_TRUE(open()) << "what failed holds no lock";
}

TEST_F(RuntimeTest, LeavesBatchJobsToWhoWorksOnThem) {
  const auto trigger = [this](Runtime& runtime) {
    return member(ask(runtime, api::Method::post, "/api/v1/jobs/outcome-sync/trigger", "{}"), "runId");
  };
  const auto status_of = [this](Runtime& runtime, const std::string& run) {
    return member(ask(runtime, api::Method::get, "/api/v1/jobs/runs/" + run), "status");
  };
  std::string run;
  {
    const auto runtime = open();
    runtime->start();
    run = trigger(*runtime);
    // What came later has been done.
    ASSERT_TRUE(completes(*runtime, start(*runtime, "OPP-1")));
    runtime->stop();
    const auto left = ask(*runtime, api::Method::get, "/api/v1/jobs/runs/" + run);
    EXPECT_EQ(member(left, "status"), "pending");
    EXPECT_EQ(member(left, "startedAt"), "") << "its time has not begun";
    EXPECT_EQ(member(left, "attempt"), "0");
  }
  const auto runtime = open({.works_batch_jobs = true});
  runtime->start();
  EXPECT_TRUE(test::eventually([&] { return status_of(*runtime, run) == "completed"; }));
}

TEST_F(RuntimeTest, NeedsGoodFilesOfJobsOnlyWhereJobsMatter) {
  const auto file = (directory_ / "jobs.yaml").string();
  config_.job_files = {file};
  std::ofstream(file) << "jobs:\n  - job: export\n";
  std::string run;
  {
    const auto runtime = open();  // it does not take the trigger yet
    run = member(ask(*runtime, api::Method::post, "/api/v1/jobs/export/trigger", "{}"), "runId");
  }
  std::ofstream(file) << "jobs:\n  - job: export\nschedules:\n  - {name: x, job: export, cron: 61 * * * *}\n";
  for (const auto needs :
       {&RuntimeOptions::keeps_schedules, &RuntimeOptions::works_batch_jobs, &RuntimeOptions::needs_jobs}) {
    RuntimeOptions options;
    options.*needs = true;
    const auto error = refusal(std::move(options));
    EXPECT_EQ(error.code, ErrorCode::invalid_argument);
    EXPECT_THAT(error.message, HasSubstr(file + ": schedules[0]: cron: "));
  }
  {
    const auto runtime = open();
    runtime->start();
    EXPECT_TRUE(completes(*runtime, start(*runtime, "OPP-1")));
    runtime->stop();
    EXPECT_EQ(member(ask(*runtime, api::Method::get, "/api/v1/jobs/runs/" + run), "status"), "pending")
        << "who does not know the job does not call it unknown";
  }
  std::ofstream(file) << "jobs:\n  - job: export\n";
  const auto runtime = open({.needs_jobs = true});
  runtime->start();
  EXPECT_EQ(ask(*runtime, api::Method::post, "/api/v1/jobs/runs/" + run + "/cancel", R"({"reason":"x"})").status, 200);
}

TEST_F(RuntimeTest, ChecksAConfigurationAsItOpensOne) {
  EXPECT_TRUE(check_configuration(config_));
  const auto file = (directory_ / "file.yaml").string();
  const auto complaint = [&](std::string_view text) {
    std::ofstream(file) << text;
    const auto checked = check_configuration(config_);
    EXPECT_FALSE(checked) << text;
    EXPECT_EQ(refusal({.keeps_schedules = true}).message, checked ? "" : checked.error().message);
    return checked ? "" : checked.error().message;
  };
  config_.job_files = {file};
  EXPECT_THAT(complaint("schedules: [{name: x, job: nothing, cron: '@daily'}]"), HasSubstr("'nothing'"));
  EXPECT_THAT(complaint("schedules: [{name: x, job: risk-snapshot-backfill, cron: '@daily', metadata: {from: soon}}]"),
              HasSubstr("schedule 'x': metadata.from is \"soon\""));
  config_.job_files = {(directory_ / "none.yaml").string()};
  EXPECT_EQ(check_configuration(config_).error().code, ErrorCode::not_found);
  config_.job_files.clear();
  config_.workflow_files = {file};
  EXPECT_THAT(complaint("name: x\ncolour: red\n"), HasSubstr(file));
  config_.workflow_files.clear();
  config_.playbook_file = file;
  EXPECT_THAT(complaint("rules: 5\n"), HasSubstr(file));
}

TEST_F(RuntimeTest, RefusesAFolderThatIsNone) {
  config_.data_dir = directory_ / "file";
  std::ofstream(config_.data_dir) << "x";
  EXPECT_EQ(refusal().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refusal().message, HasSubstr(config_.data_dir.string()));
}

}  // namespace
}  // namespace wfo::app
