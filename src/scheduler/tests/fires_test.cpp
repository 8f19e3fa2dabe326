#include <chrono>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::JobRunStatus;
using schedule::OverlapPolicy;
using ::testing::HasSubstr;

class Fires : public ::testing::Test {
 protected:
  World world_;
};

TEST_F(Fires, LeadToATriggerARunARowAndTheNextFireAtOnce) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.metadata = R"({"depth": 1.10})";
  world_.put(schedule);
  EXPECT_EQ(world_.attend_at(kStart + 10min - 1ms), 0U);
  EXPECT_EQ(world_.attend_at(kStart + 10min + 250ms), 1U);

  ASSERT_EQ(world_.runs().size(), 1U);
  const schedule::JobRun run = world_.runs()[0];
  EXPECT_EQ(run.job, "outcome-sync");
  EXPECT_EQ(run.status, JobRunStatus::pending);
  EXPECT_EQ(run.triggered_by, schedule::TriggeredBy::scheduler);
  EXPECT_EQ(run.schedule, "often");
  EXPECT_EQ(run.scheduled_for, kStart + 10min);
  EXPECT_EQ(run.metadata, schedule.metadata);
  EXPECT_EQ(run.created_at, kStart + 10min + 250ms);
  EXPECT_EQ(run.due_at, run.created_at + 1h);

  const auto triggers = world_.log_of(events::kJobTrigger);
  ASSERT_EQ(triggers.size(), 1U);
  const events::Event& trigger = *triggers[0];
  EXPECT_EQ(trigger.id(), run.trigger);
  EXPECT_EQ(trigger.tenant(), system_tenant());
  EXPECT_EQ(trigger.source(), "workflow-orchestrator");
  EXPECT_EQ(trigger.correlation_id(), run.correlation_id);
  EXPECT_EQ(trigger.data().raw(),
            fmt::format(R"({{"job":"outcome-sync","metadata":{{"depth": 1.10}},"triggeredBy":"scheduler",)"
                        R"("timestamp":"2026-03-01T09:10:00.250Z","runId":"{}",)"
                        R"("scheduledFor":"2026-03-01T09:10:00.000Z"}})",
                        run.id.to_string()));

  ASSERT_EQ(world_.fires().size(), 1U);
  EXPECT_EQ(world_.fires()[0].run, run.id);
  EXPECT_EQ(world_.fires()[0].decided_at, kStart + 10min + 250ms);
  EXPECT_EQ(world_.told(), "09:10 triggered due");
  EXPECT_EQ(world_.find()->next_at, kStart + 20min);
  EXPECT_EQ(world_.find()->wake_up_at, kStart + 20min);
  EXPECT_EQ(world_.attend(), 0U);
}

TEST_F(Fires, AreCountedWithTheirLateness) {
  world_.put(World::ten_minutely());
  world_.attend_at(kStart + 20min + 2s);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "due"}}), 1);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "catch_up"}}), 1);
  EXPECT_THAT(world_.metrics.text(), HasSubstr("job_fire_lateness_seconds_sum 604"));  // 10min2s and 2s
}

TEST_F(Fires, OfAScheduleWithoutItsJobAreTriggeredAllTheSame) {
  // Whoever works jobs says that it knows none of this name; that is seen, a schedule that stands still is not.
  auto row = world_.put(World::ten_minutely());
  const auto at = row.definition.find("outcome-sync");
  row.definition.replace(at, std::string_view("outcome-sync").size(), "gone");
  World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(transaction.schedules().update({&row, 1}));
    return {};
  }));
  EXPECT_EQ(world_.attend_at(kStart + 10min), 1U);
  EXPECT_EQ(world_.runs()[0].job, "gone");
}

TEST_F(Fires, OfADefinitionThatCannotBeReadWaitWithoutHoldingUpOthers) {
  auto row = world_.put(World::ten_minutely());
  const std::string whole = row.definition;
  row.definition = "{}";
  const auto write = [&] {
    World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY(transaction.schedules().update({&row, 1}));
      return {};
    }));
  };
  write();
  world_.put(World::ten_minutely(OverlapPolicy::skip, "other"));
  EXPECT_EQ(world_.attend_at(kStart + 10min), 1U);
  EXPECT_EQ(world_.runs()[0].schedule, "other");
  EXPECT_EQ(world_.find()->next_at, kStart + 10min);
  EXPECT_EQ(world_.find()->wake_up_at, kStart + 11min);
  row = *world_.find();
  row.definition = whole;
  write();
  EXPECT_EQ(world_.attend_at(kStart + 11min), 1U);
  EXPECT_EQ(world_.told(), "09:10 triggered due");
}

TEST_F(Fires, ThatOverlapAreSkippedInOneRow) {
  world_.put(World::ten_minutely(OverlapPolicy::skip));
  for (int i = 1; i <= 4; ++i) world_.attend_at(kStart + i * 10min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20..09:40 3 skipped overlap");
  World::must(world_.deliver({world_.completed(world_.runs()[0])}));
  world_.attend_at(kStart + 50min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20..09:40 3 skipped overlap, 09:50 triggered due");
}

TEST_F(Fires, ThatWaitAreTriggeredOneByOneAsRunsEnd) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  for (int i = 1; i <= 3; ++i) world_.attend_at(kStart + i * 10min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 buffered overlap, 09:30 buffered overlap");
  World::must(world_.deliver({world_.completed(world_.runs()[0])}));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered released, 09:30 buffered overlap");
  ASSERT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.open_runs()[0].scheduled_for, kStart + 20min);
  EXPECT_EQ(world_.fires()[1].run, world_.open_runs()[0].id);
  World::must(world_.deliver({world_.failed(world_.open_runs()[0])}));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered released, 09:30 triggered released");
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  EXPECT_TRUE(world_.open_runs().empty());
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 3U);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "released"}}), 2);
}

TEST_F(Fires, CancelTheRunThatIsOpenAndSaySo) {
  world_.put(World::ten_minutely(OverlapPolicy::cancel_other));
  world_.attend_at(kStart + 10min);
  const schedule::JobRun first = world_.runs()[0];
  world_.attend_at(kStart + 30min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 skipped superseded, 09:30 triggered due");
  const schedule::JobRun closed = world_.run(first.id);
  EXPECT_EQ(closed.status, JobRunStatus::cancelled);
  EXPECT_THAT(closed.error, HasSubstr("2026-03-01T09:30:00.000Z took the place"));
  ASSERT_EQ(world_.open_runs().size(), 1U);
  const auto ends = world_.log_of(events::kJobFailed);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(World::text(*ends[0], "runId"), first.id.to_string());
  EXPECT_EQ(World::text(*ends[0], "error"), closed.error);
  EXPECT_EQ(World::metadata(*ends[0], "causationId"), first.trigger.to_string());
  EXPECT_EQ(ends[0]->correlation_id(), first.correlation_id);
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "cancelled"}}), 1);
  world_.deliver_own();
  EXPECT_EQ(world_.open_runs().size(), 1U);
}

TEST_F(Fires, OfAnOutageAreAllAccountedForAndTheBurstIsBounded) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"* * * * *"};
  world_.put(schedule);
  world_.clock.set(kStart + 1000min);
  std::size_t rounds = 0;
  for (bool more = true; more; ++rounds) {
    const auto round = World::must(world_.scheduler->run_once());
    EXPECT_LE(round.triggered, schedule::kTriggersMax);
    more = round.more;
  }
  EXPECT_EQ(rounds, 10U);
  EXPECT_EQ(world_.runs().size(), 1000U);
  EXPECT_EQ(world_.fires().size(), 1000U);
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 1000U);
}

TEST_F(Fires, OfManySchedulesAfterAnOutageComeInTransactionsOfBoundedSize) {
  for (int i = 0; i < 5; ++i) {
    schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::skip, fmt::format("s{}", i));
    schedule.cron = {"* * * * * *"};
    world_.put(schedule);
  }
  world_.clock.set(kStart + 2h + 500ms);  // 7,200 each
  const auto first = World::must(world_.scheduler->run_once());
  EXPECT_EQ(first.schedules, 3U);  // 21,600 fires are beyond the bound
  EXPECT_TRUE(first.more);
  world_.attend();
  for (int i = 0; i < 5; ++i) {
    std::int64_t count = 0;
    for (const auto& record : world_.fires(fmt::format("s{}", i))) count += record.fire.count;
    EXPECT_EQ(count, 7'200);
  }
}

TEST_F(Fires, AreNeitherLostNorDoubledWhenTheClockIsSet) {
  world_.put(World::ten_minutely());
  world_.attend_at(kStart + 1h);
  EXPECT_EQ(world_.runs().size(), 6U);
  world_.attend_at(kStart);  // back
  world_.attend_at(kStart + 59min);
  EXPECT_EQ(world_.runs().size(), 6U);
  world_.attend_at(kStart + 70min);
  EXPECT_EQ(world_.runs().size(), 7U);
  world_.attend_at(kStart + 70min + 24h);  // forward
  std::int64_t count = 0;
  for (const auto& record : world_.fires()) count += record.fire.count;
  EXPECT_EQ(count, 7 + 144);
  world_.attend_at(kStart + 80min);  // and right again
  EXPECT_EQ(world_.runs().size(), 7U + 144U);
}

TEST_F(Fires, WaitWhileTheDiskIsNearlyFull) {
  world_.put(World::ten_minutely());
  world_.clock.advance(10min);
  world_.store.full = true;
  EXPECT_EQ(world_.scheduler->run_once().error().code, ErrorCode::unavailable);
  EXPECT_TRUE(world_.fires().empty());
  world_.store.full = false;
  EXPECT_EQ(world_.attend(), 1U);
}

TEST_F(Fires, LeaveNothingBehindWhenTheProcessDiesBeforeTheCommit) {
  world_.put(World::ten_minutely(OverlapPolicy::cancel_other));
  world_.attend_at(kStart + 10min);
  const auto before = world_.published().size();
  world_.clock.advance(10min);
  for (int i = 0; i < 3; ++i) {
    world_.store.deaths = 1;
    EXPECT_FALSE(world_.scheduler->run_once());
    EXPECT_EQ(world_.published().size(), before);
    EXPECT_EQ(world_.fires().size(), 1U);
    EXPECT_EQ(world_.open_runs().size(), 1U);
  }
  world_.scheduler = world_.another(world_.clock, world_.ids);
  EXPECT_EQ(world_.attend(), 1U);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered due");
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "due"}}), 2);
}

class Overdue : public ::testing::Test {
 protected:
  std::size_t closed_at(Timestamp now) {
    world_.clock.set(now);
    return World::must(world_.scheduler->run_once()).closed;
  }
  /// What a worker does to a run.
  void change(
      const JobRunId& id,
      const std::function<schedule::JobRun(const schedule::JobRun&, const schedule::JobSpec&, Timestamp)>& how) {
    World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(auto found, transaction.job_runs().find(id));
      found->run = how(found->run, *World::catalog().find("outcome-sync"), world_.clock.now());
      TRY(transaction.job_runs().update({&*found, 1}));
      return {};
    }));
  }
  World world_;
};

TEST_F(Overdue, RunsThatNobodyTookAreClosed) {
  const auto here = World::must(world_.scheduler->trigger({.job = "outcome-sync"}));
  const auto elsewhere = World::must(world_.scheduler->trigger({.job = "report"}));
  EXPECT_EQ(closed_at(kStart), 0U);
  EXPECT_EQ(closed_at(kStart + 1h + kStartGrace - 1ms), 0U) << "its answer may be on its way";
  EXPECT_EQ(closed_at(kStart + 1h + kStartGrace), 1U);
  EXPECT_EQ(world_.run(here.run).status, JobRunStatus::failed);
  EXPECT_EQ(world_.run(here.run).error, "nobody took it within 1h after its trigger");
  EXPECT_EQ(closed_at(kStart + 2h + kStartGrace), 1U);
  EXPECT_EQ(world_.run(elsewhere.run).error, "nobody said that it ended within 2h after its trigger");
  EXPECT_EQ(World::must(world_.scheduler->run_once()).closed, 0U);
  const auto ends = world_.log_of(events::kJobFailed);
  ASSERT_EQ(ends.size(), 2U);
  EXPECT_EQ(World::text(*ends[0], "runId"), here.run.to_string());
  EXPECT_EQ(World::text(*ends[0], "failedAt"), "2026-03-01T10:01:00.000Z");
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "start_timeout"}}), 2);
}

TEST_F(Overdue, RunsWhoseTimeWasOverWhileTheProcessWasDownCanStillBeAnswered) {
  const auto answered = World::must(world_.scheduler->trigger({.job = "outcome-sync"}));
  const auto silent = World::must(world_.scheduler->trigger({.job = "outcome-sync"}));
  EXPECT_EQ(closed_at(kStart), 0U);
  world_.scheduler = world_.another(world_.clock, world_.ids);
  EXPECT_EQ(closed_at(kStart + 5h), 0U) << "the queue may hold what came meanwhile";
  EXPECT_EQ(closed_at(kStart + 5h + kStartGrace - 1ms), 0U);
  World::must(world_.deliver({world_.completed(world_.run(answered.run))}));
  EXPECT_EQ(closed_at(kStart + 5h + kStartGrace), 1U);
  EXPECT_EQ(world_.run(answered.run).status, JobRunStatus::completed);
  EXPECT_EQ(world_.run(silent.run).status, JobRunStatus::failed);
}

TEST_F(Overdue, RunsCanBeAnsweredForAWhileAfterATroubleOfTheStoreAndAClockThatWasSetBack) {
  World::must(world_.scheduler->trigger({.job = "outcome-sync"}));
  EXPECT_EQ(closed_at(kStart), 0U);
  world_.store.away = true;
  world_.clock.set(kStart + 2h);
  EXPECT_FALSE(world_.scheduler->run_once());
  world_.store.away = false;
  EXPECT_EQ(closed_at(kStart + 2h + 1s), 0U);
  EXPECT_EQ(closed_at(kStart + 2h + kStartGrace), 0U);
  EXPECT_EQ(closed_at(kStart + 90min), 0U) << "set back";
  EXPECT_EQ(closed_at(kStart + 90min + kStartGrace - 1ms), 0U);
  EXPECT_EQ(closed_at(kStart + 90min + kStartGrace), 1U);
}

TEST_F(Overdue, RunsOfAShortStartTimeoutHaveNoLongerGraceThanThat) {
  schedule::JobSpec brisk{.name = "brisk"};
  brisk.start_timeout = 2s;
  Scheduler scheduler(world_.store, bus::samples::contracts(), schedule::JobCatalog({brisk}), World::check_metadata,
                      world_.ids, world_.clock, world_.waiter, Logger::silent(), world_.metrics);
  World::must(scheduler.run_once());
  World::must(scheduler.trigger({.job = "brisk"}));
  world_.clock.advance(4s - 1ms);
  EXPECT_EQ(World::must(scheduler.run_once()).closed, 0U);
  world_.clock.advance(1ms);
  EXPECT_EQ(World::must(scheduler.run_once()).closed, 1U);
}

TEST_F(Overdue, RunsThatDoNotEndAreClosedAndWhatWaitedForThemIsTriggered) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_one));
  world_.attend_at(kStart + 10min);
  const JobRunId id = world_.runs()[0].id;
  World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto found, transaction.job_runs().find(id));
    const schedule::JobSpec spec = *World::catalog().find("outcome-sync");
    found->run = claimed(recorded(found->run, spec, world_.clock.now()), spec, "w1", world_.clock.now(), 30s);
    found->run.counts["read"] = 7;
    TRY(transaction.job_runs().update({&*found, 1}));
    return {};
  }));
  world_.attend_at(kStart + 20min);
  world_.attend_at(kStart + 10min + 6h);
  EXPECT_EQ(world_.run(id).status, JobRunStatus::failed);
  EXPECT_EQ(world_.run(id).error, "it did not end within 6h after its start");
  const auto ends = world_.log_of(events::kJobFailed);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(World::text(*ends[0], "startedAt"), "2026-03-01T09:10:00.000Z");
  EXPECT_EQ(ends[0]->data().find("counts")->raw(), R"({"read":7})");
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "timeout"}}), 1);
  world_.deliver_own();
  ASSERT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.open_runs()[0].scheduled_for, kStart + 20min);
}

TEST_F(Overdue, RunsThatWereRecordedButThatNoWorkerBeginsAreClosed) {
  world_.put(World::ten_minutely(OverlapPolicy::skip));
  world_.attend_at(kStart + 10min);
  const JobRunId id = world_.runs()[0].id;
  change(id, [](const schedule::JobRun& run, const schedule::JobSpec& spec, Timestamp now) {
    return recorded(run, spec, now);
  });
  world_.attend_at(kStart + 10min + 7h - 1ms);
  EXPECT_EQ(world_.run(id).status, JobRunStatus::queued) << "it may wait behind others";
  EXPECT_EQ(world_.attend_at(kStart + 10min + 7h), 1U) << "its schedule goes on";
  EXPECT_EQ(world_.run(id).status, JobRunStatus::failed);
  EXPECT_EQ(world_.run(id).error, "it was recorded, but no worker began it within 7h after its trigger");
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "start_timeout"}}), 1);
}

TEST_F(Overdue, RunsThatWaitForTheirNextAttemptAreClosed) {
  const auto id = World::must(world_.scheduler->trigger({.job = "outcome-sync"})).run;
  change(id, [](const schedule::JobRun& run, const schedule::JobSpec& spec, Timestamp now) {
    return attempt_failed(claimed(recorded(run, spec, now), spec, "w1", now, 30s), spec, "no luck", true, now);
  });
  world_.attend_at(kStart + 6h - 1ms);
  EXPECT_EQ(world_.run(id).status, JobRunStatus::queued);
  world_.attend_at(kStart + 7h);  // its timeout, and no longer than its start timeout for the next worker
  EXPECT_EQ(world_.run(id).status, JobRunStatus::failed);
  EXPECT_THAT(world_.run(id).error, HasSubstr("it did not end within"));
}

}  // namespace
}  // namespace wfo::scheduler
