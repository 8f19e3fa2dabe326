#include <sqlite3.h>

#include <atomic>
#include <map>
#include <optional>
#include <stdexcept>

#include "store/sqlite/data_directory.h"
#include "store/sqlite/detail/tables.h"
#include "store/sqlite/tests/fixtures.h"

// What the tables really ask SQLite: each statement that they have prepared is explained.
namespace wfo::store::sqlite {
namespace {

using namespace fixtures;
using schedule::JobRunStatus;

/// How SQLite goes about each statement that the connection has prepared.
std::map<std::string, std::vector<std::string>> plans(sqlite3* handle) {
  std::vector<std::string> texts;
  for (auto* each = sqlite3_next_stmt(handle, nullptr); each; each = sqlite3_next_stmt(handle, each)) {
    texts.emplace_back(sqlite3_sql(each));
  }
  std::map<std::string, std::vector<std::string>> found;
  for (const std::string& text : texts) {
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(handle, ("EXPLAIN QUERY PLAN " + text).c_str(), -1, &statement, nullptr), SQLITE_OK)
        << text << ": " << sqlite3_errmsg(handle);
    auto& lines = found[text];
    while (sqlite3_step(statement) == SQLITE_ROW) {
      lines.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(statement, 3)));
    }
    sqlite3_finalize(statement);
  }
  return found;
}

class QueryPlans : public testing::Test {
 protected:
  QueryPlans() {
    EXPECT_TRUE(opener_.store({.directory = directory_.path(), .disk_free_min_bytes = 0}));  // makes the schema
    auto database = Database::open({.file = directory_ / kStoreFile});
    if (!database) throw std::runtime_error(database.error().message);
    tables_.emplace(*std::move(database), contracts(), opener_.clock, false, active_runs_);
  }
  template <class T>
  static void ok(const Result<T>& result) {
    EXPECT_TRUE(result) << result.error().message;
  }

  test::TemporaryDirectory directory_;
  Opener opener_;
  const std::atomic<std::int64_t> active_runs_{0};
  std::optional<Tables> tables_;
};

TEST_F(QueryPlans, OfSchedulesAndJobsGoAlongAnIndex) {
  Tables& t = *tables_;
  const std::vector<std::string> names{"daily"};

  StoredSchedule schedule;
  schedule.name = names[0];
  ok(t.schedules().insert({&schedule, 1}));
  ok(t.schedules().update({&schedule, 1}));
  ok(t.schedules().find(names[0]));
  ok(t.schedules().list("", 10));
  ok(t.schedules().due(kStart, 10));
  ok(t.schedules().next_wake_up());
  ok(t.schedules().remove("other"));

  FireRecord fire;
  fire.schedule = names[0];
  fire.fire.outcome = schedule::FireOutcome::buffered;
  ok(t.fires().record({&fire, 1}));
  fire.fire.outcome = schedule::FireOutcome::skipped;
  ok(t.fires().record({&fire, 1}));
  ok(t.fires().buffered(names));
  ok(t.fires().turns_taken(names));
  const ReleasedFire released{1, id<JobRunId>(1)};
  ok(t.fires().release({&released, 1}, kStart));
  ok(t.fires().give_up_buffered(names[0], schedule::FireCause::paused, kStart));
  ok(t.fires().list({}));
  ok(t.fires().list({.schedule = names[0]}));
  ok(t.fires().purge(kStart, 10));

  StoredJobRun run;
  run.run.id = id<JobRunId>(1);
  run.run.trigger = id<EventId>(1);
  ok(t.job_runs().insert({&run.run, 1}));
  ok(t.job_runs().update({&run, 1}));
  ok(t.job_runs().find(run.run.id));
  ok(t.job_runs().find_by_trigger({&run.run.trigger, 1}));
  ok(t.job_runs().oldest_pending("job", 10));
  ok(t.job_runs().open_of(names, 10));
  ok(t.job_runs().due(JobRunStatus::queued, kStart, 10));
  ok(t.job_runs().past_deadline(kStart, 10));
  ok(t.job_runs().last_completed_at("job"));
  ok(t.job_runs().oldest_running());
  ok(t.job_runs().heartbeat({&run.run.id, 1}, "worker", kStart));
  ok(t.job_runs().purge(kStart, 10));
  for (const auto status : {std::optional<JobRunStatus>(), std::optional(JobRunStatus::running),
                            std::optional(JobRunStatus::completed), std::optional(JobRunStatus::failed)}) {
    for (const char* const job : {"", "job"}) {
      for (const char* const schedule_name : {"", "daily"}) {
        ok(t.job_runs().list({.job = job, .schedule = schedule_name, .status = status}));
      }
    }
  }

  const RiskSnapshot snapshot{kTenant, id<OpportunityId>(1), Date(), kStart, id<EventId>(1), {}, "{}"};
  ok(t.risk_snapshots().upsert({&snapshot, 1}));
  ok(t.risk_snapshots().list(kTenant, snapshot.opportunity, Date(), Date(), 10));
  const RecordedOutcome outcome{kTenant, id<OpportunityId>(1), Date(), id<EventId>(1), kStart};
  ok(t.outcomes().insert({&outcome, 1}));
  ok(t.opportunities().closed_after(std::nullopt, 10));
  ok(t.opportunities().closed_after(OpportunityKey{kTenant, id<OpportunityId>(1)}, 10));

  const auto found = plans(t.connection().database().handle());
  EXPECT_GE(found.size(), 34U);
  for (const auto& [sql, lines] : found) {
    for (const std::string& line : lines) {
      // The first page of the closed opportunities begins where their index begins.
      const bool first_page = line == "SCAN opportunities USING INDEX opportunities_closed";
      EXPECT_TRUE(line.starts_with("SEARCH") || line.find("SUBQUERY") != std::string::npos || first_page ||
                  line.starts_with("USE TEMP B-TREE"))
          << sql << ": " << line;
      if (!line.starts_with("USE TEMP B-TREE")) continue;
      // Only what is open is sorted, or what was created in one millisecond: few.
      EXPECT_TRUE(lines[0].find("job_runs_due") != std::string::npos ||
                  (lines[0].find("job_runs_pending_by_job") != std::string::npos &&
                   line == "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"))
          << sql << ": " << line;
    }
  }
}

}  // namespace
}  // namespace wfo::store::sqlite
