#include "store/sqlite/export.h"

#include "store/sqlite/data_directory.h"
#include "store/sqlite/tests/fixtures.h"

namespace wfo::store::sqlite {
namespace {

using namespace fixtures;

std::string bytes_of(const Uuid& id) { return {id.bytes.begin(), id.bytes.end()}; }
template <class Tag>
TransferCell cell(const Id<Tag>& id) {
  return bytes_of(id.value());
}
TransferCell cell(Timestamp time) { return time.time_since_epoch().count(); }
TransferCell cell(std::string text) { return text; }
TransferCell cell(std::int64_t number) { return number; }
const TransferCell kNothing{};

class SqliteExportTest : public testing::Test {
 protected:
  void fill(FunctionRef<Result<void>(Transaction&)> body) {
    const auto store = opener_.store({.directory = directory_.path(), .disk_free_min_bytes = 0});
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE(opener_.ledger({.directory = directory_.path()}));
    const auto written = (*store)->transact(body);
    ASSERT_TRUE(written) << written.error().message;
  }
  std::vector<TransferRow> rows(TransferTable table) {
    const auto folder = DataDirectory::open(directory_.path());
    EXPECT_TRUE(folder) << folder.error().message;
    const auto source = SqliteExport::open(*folder);
    EXPECT_TRUE(source) << source.error().message;
    std::vector<TransferRow> found;
    const auto read = (*source)->read(table, [&](const TransferRow& row) -> Result<void> {
      found.push_back(row);
      return {};
    });
    EXPECT_TRUE(read) << name(table) << ": " << read.error().message;
    const auto count = (*source)->count(table);
    EXPECT_TRUE(count) << name(table) << ": " << count.error().message;
    EXPECT_EQ(*count, static_cast<std::int64_t>(found.size())) << name(table);
    return found;
  }

  test::TemporaryDirectory directory_;
  Opener opener_;
};

TEST_F(SqliteExportTest, ReadsEveryTableOfAnEmptyInstallation) {
  fill([](Transaction&) -> Result<void> { return {}; });
  for (const TransferTable table : all_transfer_tables()) EXPECT_TRUE(rows(table).empty()) << name(table);
}

TEST_F(SqliteExportTest, GivesSchedulesAndFiresWithTheirIds) {
  fill([](Transaction& t) -> Result<void> {
    StoredSchedule schedule;
    schedule.name = "täglich";
    schedule.origin = ScheduleOrigin::api;
    schedule.definition = "{}";
    schedule.paused = true;
    schedule.pause_note = "why";
    schedule.next_at = kStart + milliseconds(1);
    schedule.created_at = kStart + milliseconds(2);
    schedule.updated_at = kStart + milliseconds(3);
    TRY(t.schedules().insert({&schedule, 1}));
    TRY(t.schedules().update({&schedule, 1}));
    std::vector<FireRecord> fires(2);
    fires[0] = {.id = 0,
                .schedule = "täglich",
                .fire = {.first = kStart,
                         .last = kStart + milliseconds(5),
                         .count = 3,
                         .outcome = schedule::FireOutcome::skipped,
                         .cause = schedule::FireCause::paused,
                         .rule = schedule::FireRule::after_gap},
                .decided_at = kStart + milliseconds(6),
                .run = {}};
    fires[1] = fires[0];
    fires[1].fire.outcome = schedule::FireOutcome::triggered;
    fires[1].run = id<JobRunId>(1);
    TRY(t.fires().record({fires.data(), 1}));
    TRY(t.fires().purge(kStart + milliseconds(7), 1));
    return t.fires().record(fires);
  });
  const auto schedules = rows(TransferTable::schedules);
  EXPECT_EQ(schedules, std::vector<TransferRow>{(TransferRow{
                           cell("täglich"), cell(1), cell("{}"), cell(1), cell("why"), cell(kStart + milliseconds(1)),
                           kNothing, cell(kStart + milliseconds(2)), cell(kStart + milliseconds(3)), cell(2)})});
  const auto fires = rows(TransferTable::fires);
  ASSERT_EQ(fires.size(), 2U);
  EXPECT_EQ(fires[0], (TransferRow{cell(2), cell("täglich"), cell(kStart), cell(kStart + milliseconds(5)), cell(3),
                                   cell(2), cell(static_cast<std::int64_t>(schedule::FireCause::paused)),
                                   cell(static_cast<std::int64_t>(schedule::FireRule::after_gap)),
                                   cell(kStart + milliseconds(6)), kNothing}));
  EXPECT_EQ(fires[1][0], cell(3));
  EXPECT_EQ(fires[1][5], cell(0));
  EXPECT_EQ(fires[1][9], cell(id<JobRunId>(1)));
}

TEST_F(SqliteExportTest, GivesJobRunsSnapshotsAndOutcomes) {
  fill([](Transaction& t) -> Result<void> {
    schedule::JobRun run;
    run.id = id<JobRunId>(1);
    run.job = "job";
    run.status = schedule::JobRunStatus::running;
    run.schedule = "täglich";
    run.scheduled_for = kStart + milliseconds(1);
    run.trigger = id<EventId>(2);
    run.correlation_id = "correlation";
    run.metadata = R"({"a":1})";
    run.created_at = kStart + milliseconds(2);
    run.started_at = kStart + milliseconds(3);
    run.ended_at = kStart + milliseconds(4);
    run.due_at = kStart + milliseconds(5);
    run.deadline = kStart + milliseconds(6);
    run.holder = "worker";
    run.attempt = 7;
    run.takeovers = 8;
    run.progress = {.done = 9, .total = 10, .note = "note"};
    run.checkpoint = "checkpoint";
    run.counts = {{"read", 11}};
    run.error = "error";
    TRY(t.job_runs().insert({&run, 1}));
    const RiskSnapshot snapshot{.tenant = kTenant,
                                .opportunity = id<OpportunityId>(3),
                                .day = Date(std::chrono::days(20'000)),
                                .evaluated_at = kStart,
                                .event = id<EventId>(4),
                                .workflow = id<WorkflowId>(5),
                                .fields = "{}"};
    TRY(t.risk_snapshots().upsert({&snapshot, 1}));
    const RecordedOutcome outcome{.tenant = kTenant,
                                  .opportunity = id<OpportunityId>(6),
                                  .close_on = Date(std::chrono::days(-1)),
                                  .event = id<EventId>(7),
                                  .recorded_at = kStart};
    TRY(t.outcomes().insert({&outcome, 1}));
    return {};
  });
  const auto after = [](int n) { return cell(kStart + milliseconds(n)); };
  EXPECT_EQ(rows(TransferTable::job_runs), std::vector<TransferRow>{(TransferRow{cell(id<JobRunId>(1)),
                                                                                 cell("job"),
                                                                                 cell(2),
                                                                                 cell(1),
                                                                                 cell("täglich"),
                                                                                 after(1),
                                                                                 cell(id<EventId>(2)),
                                                                                 after(5),
                                                                                 after(6),
                                                                                 cell(1),
                                                                                 after(2),
                                                                                 after(3),
                                                                                 after(4),
                                                                                 cell(7),
                                                                                 cell(8),
                                                                                 cell(9),
                                                                                 cell(10),
                                                                                 cell("note"),
                                                                                 cell("correlation"),
                                                                                 cell("worker"),
                                                                                 cell(R"({"a":1})"),
                                                                                 cell("checkpoint"),
                                                                                 cell(R"({"read":11})"),
                                                                                 cell("error")})});
  EXPECT_EQ(rows(TransferTable::risk_snapshots),
            std::vector<TransferRow>{(TransferRow{cell(kTenant), cell(id<OpportunityId>(3)), cell(20'000), cell(kStart),
                                                  cell(id<EventId>(4)), cell(id<WorkflowId>(5)), cell("{}")})});
  EXPECT_EQ(rows(TransferTable::outcomes),
            std::vector<TransferRow>{(
                TransferRow{cell(kTenant), cell(id<OpportunityId>(6)), cell(-1), cell(id<EventId>(7)), cell(kStart)})});
}

}  // namespace
}  // namespace wfo::store::sqlite
