#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::JobRunStatus;
using schedule::OverlapPolicy;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Answers : public ::testing::Test {
 protected:
  JobRunId trigger(std::string job = "report") {
    world_.clock.advance(1s);
    return World::must(world_.scheduler->trigger({.job = std::move(job)})).run;
  }
  double answers(std::string_view outcome) {
    return world_.counted("job_answers_total", {{"outcome", std::string(outcome)}});
  }
  schedule::Schedule pausing() {
    schedule::Schedule schedule = World::ten_minutely();
    schedule.pause_on_failure = true;
    return schedule;
  }

  World world_;
};

TEST_F(Answers, CloseTheRunThatTheyName) {
  const JobRunId first = trigger();
  const JobRunId second = trigger();
  World::must(world_.deliver(
      {world_.event(events::kJobCompleted,
                    fmt::format(R"({{"job":"report","status":"done","completedAt":"2026-03-01T10:00:00Z","runId":"{}",)"
                                R"("counts":{{"read":12,"written":3}}}})",
                                second.to_string()))}));
  EXPECT_EQ(world_.run(first).status, JobRunStatus::pending);
  const schedule::JobRun run = world_.run(second);
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.counts, (schedule::JobCounts{{"read", 12}, {"written", 3}}));
  EXPECT_EQ(run.ended_at, world_.clock.now());
  EXPECT_EQ(run.error, "");
  EXPECT_EQ(answers("matched"), 1);
}

TEST_F(Answers, CloseTheRunOfTheTriggerThatCausedThem) {
  trigger();
  const JobRunId second = trigger();
  World::must(world_.deliver(
      {world_.event(events::kJobFailed, R"({"job":"report","error":"no","failedAt":"2026-03-01T10:00:00Z"})",
                    world_.run(second).trigger.to_string())}));
  EXPECT_EQ(world_.run(second).status, JobRunStatus::failed);
  EXPECT_EQ(world_.run(second).error, "no");
  // A run's name that is no uuid is the worker's own.
  const JobRunId third = trigger();
  World::must(world_.deliver({world_.event(
      events::kJobFailed, R"({"job":"report","error":"no","failedAt":"2026-03-01T10:00:00Z","runId":"run-3"})",
      world_.run(third).trigger.to_string())}));
  EXPECT_EQ(world_.run(third).status, JobRunStatus::failed);
}

TEST_F(Answers, ThatNameNothingCloseTheOldestOpenRunsOfTheirJobEachOne) {
  const JobRunId other = trigger("outcome-sync");
  const JobRunId first = trigger();
  const JobRunId second = trigger();
  const JobRunId third = trigger();
  const auto nameless = [&](std::string_view status) {
    return world_.event(
        events::kJobCompleted,
        fmt::format(R"({{"job":"report","status":"{}","completedAt":"2026-03-01T10:00:00Z"}})", status));
  };
  World::must(world_.deliver({nameless("a"), world_.completed(world_.run(first)), nameless("b")}));
  EXPECT_EQ(world_.run(first).status, JobRunStatus::completed);
  EXPECT_EQ(world_.run(second).status, JobRunStatus::completed);
  EXPECT_EQ(world_.run(third).status, JobRunStatus::completed);
  EXPECT_EQ(world_.run(other).status, JobRunStatus::pending);
  EXPECT_EQ(answers("matched"), 3);
  World::must(world_.deliver({nameless("c")}));
  EXPECT_EQ(answers("unknown"), 1);
}

TEST_F(Answers, ThatNameNothingInAFullBatchCloseEachOneOfTheirJobsInOrder) {
  std::vector<JobRunId> reports;
  std::vector<JobRunId> syncs;
  for (int i = 0; i < 300; ++i) {
    reports.push_back(trigger());
    syncs.push_back(trigger("outcome-sync"));
  }
  std::vector<events::EventPtr> batch;
  for (int i = 0; i < 250; ++i) {
    for (const char* job : {"report", "outcome-sync"}) {
      batch.push_back(
          world_.event(events::kJobFailed,
                       fmt::format(R"({{"job":"{}","error":"no {}","failedAt":"2026-03-01T10:00:00Z"}})", job, i)));
    }
  }
  World::must(world_.deliver(batch));
  for (const auto* ids : {&reports, &syncs}) {
    for (std::size_t i = 0; i < ids->size(); ++i) {
      const schedule::JobRun run = world_.run((*ids)[i]);
      ASSERT_EQ(run.status, i < 250 ? JobRunStatus::failed : JobRunStatus::pending) << i;
      EXPECT_EQ(run.error, i < 250 ? fmt::format("no {}", i) : "");
    }
  }
}

TEST_F(Answers, ThatNameARunOrATriggerThatIsNotKnownCloseNoOther) {
  const JobRunId open = trigger();
  schedule::JobRun unknown = world_.run(open);
  unknown.id = JobRunId(world_.ids.next());
  World::must(world_.deliver(
      {world_.completed(unknown),
       world_.event(events::kJobCompleted, R"({"job":"report","status":"a","completedAt":"2026-03-01T10:00:00Z"})",
                    world_.ids.next().to_string())}));
  EXPECT_EQ(world_.run(open).status, JobRunStatus::pending);
  EXPECT_EQ(answers("unknown"), 2);
}

TEST_F(Answers, CloseNoRunThatTheBatchJobWorkerHasInHand) {
  const JobRunId at_work = trigger();
  World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto stored, std::as_const(transaction).job_runs().find(at_work));
    stored->run.status = JobRunStatus::running;
    TRY_ASSIGN(const auto written, transaction.job_runs().update({&*stored, 1}));
    EXPECT_TRUE(written.front());
    return {};
  }));
  const JobRunId pending = trigger();
  World::must(world_.deliver({world_.completed(world_.run(at_work)), world_.failed(world_.run(at_work))}));
  EXPECT_EQ(world_.run(at_work).status, JobRunStatus::running);
  EXPECT_EQ(answers("unknown"), 2);
  // One that names nothing means the oldest of those that nobody here works on.
  World::must(world_.deliver({world_.event(
      events::kJobCompleted, R"({"job":"report","status":"done","completedAt":"2026-03-01T10:00:00Z"})")}));
  EXPECT_EQ(world_.run(at_work).status, JobRunStatus::running);
  EXPECT_EQ(world_.run(pending).status, JobRunStatus::completed);
}

TEST_F(Answers, OfAnotherJobThanTheRunsCloseNothingAndAreSaid) {
  const JobRunId open = trigger();
  schedule::JobRun confused = world_.run(open);
  confused.job = "outcome-sync";
  const auto by_trigger =
      world_.event(events::kJobCompleted, R"({"job":"other","status":"a","completedAt":"2026-03-01T10:00:00Z"})",
                   world_.run(open).trigger.to_string());
  std::vector<bus::Delivery> batch(3);
  batch[0].event = world_.completed(confused);
  batch[1].event = world_.failed(confused);
  batch[2].event = by_trigger;
  ::testing::internal::CaptureStderr();
  {
    Logger log(LogLevel::warn);
    Scheduler scheduler(world_.store, bus::samples::contracts(), World::catalog(), World::check_metadata, world_.ids,
                        world_.clock, world_.waiter, log, world_.metrics);
    auto apply = World::must(scheduler.prepare(batch));
    World::must(world_.store.transact([&](store::Transaction& transaction) { return apply(transaction); }));
    scheduler.committed();
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(log, '\n'), 3) << log;
  EXPECT_THAT(log, HasSubstr("job 'outcome-sync' ended, but names run " + open.to_string() +
                             ", which is of job 'report': it closes nothing"));
  EXPECT_EQ(world_.run(open).status, JobRunStatus::pending);
  EXPECT_EQ(answers("unknown"), 3);
  World::must(world_.deliver({world_.failed(confused), world_.completed(world_.run(open))}));
  EXPECT_EQ(world_.run(open).status, JobRunStatus::completed) << "the right one counts beside a wrong one";
}

TEST_F(Answers, OfATenantCloseNothing) {
  const JobRunId open = trigger();
  const TenantId tenant = *TenantId::parse("aaaaaaaa-0000-4000-8000-000000000001");
  World::must(world_.deliver({world_.event(
      events::kJobFailed,
      fmt::format(R"({{"job":"report","error":"x","failedAt":"2026-03-01T10:00:00Z","runId":"{}"}})", open.to_string()),
      "", tenant)}));
  EXPECT_EQ(world_.run(open).status, JobRunStatus::pending);
  EXPECT_EQ(answers("unknown"), 1);
}

TEST_F(Answers, ThatComeAfterTheEndAreCountedAndChangeNothing) {
  const JobRunId id = trigger();
  world_.attend();
  world_.clock.advance(2h + kStartGrace);
  world_.attend();
  const schedule::JobRun closed = world_.run(id);
  ASSERT_EQ(closed.status, JobRunStatus::failed);
  World::must(world_.deliver({world_.completed(closed)}));
  EXPECT_EQ(world_.run(id), closed);
  EXPECT_EQ(answers("late"), 1);
  world_.deliver_own();
  EXPECT_EQ(answers("matched"), 1);
}

TEST_F(Answers, OfSeveralAboutOneRunTheFirstCounts) {
  const JobRunId id = trigger();
  World::must(world_.deliver({world_.failed(world_.run(id)), world_.completed(world_.run(id))}));
  EXPECT_EQ(world_.run(id).status, JobRunStatus::failed);
  EXPECT_EQ(answers("matched"), 1);
  EXPECT_EQ(answers("late"), 1);
}

TEST_F(Answers, HaveTextsOfBoundedLength) {
  const JobRunId id = trigger();
  World::must(world_.deliver({world_.failed(world_.run(id), std::string(100'000, 'x'))}));
  EXPECT_LE(world_.run(id).error.size(), delivery::kReasonBytesMax);
  EXPECT_THAT(world_.run(id).error, StartsWith("xxxx"));
  const JobRunId silent = trigger();
  World::must(world_.deliver({world_.failed(world_.run(silent), "")}));
  EXPECT_EQ(world_.run(silent).error, "its worker gave no reason");
}

TEST_F(Answers, OfAnotherTypeAreRefused) {
  const auto refused = world_.deliver(
      {world_.event(events::kJobTrigger,
                    R"({"job":"report","metadata":{},"triggeredBy":"manual","timestamp":"2026-03-01T10:00:00Z"})")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
}

TEST_F(Answers, ThatARunFailedPauseAScheduleThatWantsThat) {
  world_.put(pausing());
  world_.put(World::ten_minutely(OverlapPolicy::allow_all, "other"));
  world_.attend_at(kStart + 10min);
  world_.clock.advance(5min);
  for (const auto& run : world_.open_runs()) World::must(world_.deliver({world_.failed(run, "no route to host")}));
  EXPECT_TRUE(world_.find()->paused);
  EXPECT_THAT(world_.find()->pause_note, HasSubstr("failed: no route to host"));
  EXPECT_THAT(world_.find()->pause_note, HasSubstr(world_.runs({.schedule = "often"})[0].id.to_string()));
  EXPECT_FALSE(world_.find("other")->paused);
  world_.attend_at(kStart + 20min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 skipped paused");
}

TEST_F(Answers, PauseForAnyFailureButACancellation) {
  world_.put(pausing());
  world_.attend_at(kStart + 10min);
  World::must(world_.scheduler->cancel(world_.runs()[0].id, "no use"));
  world_.deliver_own();
  EXPECT_FALSE(world_.find()->paused);
  world_.attend_at(kStart + 20min);
  world_.clock.advance(1h + kStartGrace);  // nobody takes it
  ASSERT_EQ(World::must(world_.scheduler->run_once()).closed, 1U);
  world_.deliver_own();
  EXPECT_TRUE(world_.find()->paused);
}

TEST_F(Answers, ThatComeAgainDoNotPauseWhatAnOperatorResumed) {
  world_.put(pausing());
  world_.attend_at(kStart + 10min);
  const schedule::JobRun run = world_.runs()[0];
  World::must(world_.deliver({world_.failed(run)}));
  const std::string note = world_.find()->pause_note;
  world_.clock.advance(1min);
  World::must(world_.deliver({world_.failed(run)}));  // paused already
  EXPECT_EQ(world_.find()->pause_note, note);
  EXPECT_EQ(world_.find()->updated_at, kStart + 10min);
  World::must(world_.scheduler->resume("often"));
  world_.clock.advance(1min);
  World::must(world_.deliver({world_.failed(run)}));
  EXPECT_FALSE(world_.find()->paused);
  world_.attend_at(kStart + 20min);
  World::must(world_.deliver({world_.failed(world_.open_runs()[0])}));
  EXPECT_TRUE(world_.find()->paused);
}

TEST_F(Answers, PauseAlsoIfWhoClosedTheRunHasAClockThatIsBehind) {
  world_.put(pausing());
  world_.attend_at(kStart + 10min);
  const schedule::JobRun run = world_.runs()[0];
  world_.clock.advance(1min);
  World::must(world_.scheduler->pause("often", ""));
  World::must(world_.scheduler->resume("often"));
  ManualClock behind(world_.clock.now() - 2s);
  SystemIdSource its_ids(behind);
  const auto other = world_.another(behind, its_ids);
  World::must(world_.deliver({world_.failed(run)}, other.get()));
  EXPECT_TRUE(world_.find()->paused);
}

TEST_F(Answers, ThatAreOlderThanTheLastTouchOfAnOperatorAreSaid) {
  world_.put(pausing());
  world_.attend_at(kStart + 10min);
  const schedule::JobRun run = world_.runs()[0];
  World::must(world_.deliver({world_.failed(run)}));
  world_.clock.advance(1min);
  World::must(world_.scheduler->resume("often"));
  ::testing::internal::CaptureStderr();
  {
    Logger log(LogLevel::info);
    Scheduler scheduler(world_.store, bus::samples::contracts(), World::catalog(), World::check_metadata, world_.ids,
                        world_.clock, world_.waiter, log, world_.metrics);
    World::must(world_.deliver({world_.failed(run)}, &scheduler));
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("schedule 'often' is not paused: run " + run.id.to_string() +
                        " failed at 2026-03-01T09:10:00.000Z, before somebody changed or resumed it at "
                        "2026-03-01T09:11:00.000Z"));
  EXPECT_FALSE(world_.find()->paused);
}

TEST_F(Answers, ReleaseNothingWhilePausedAndTheFirstThatWaitsWhenResumed) {
  schedule::Schedule schedule = pausing();
  schedule.overlap = OverlapPolicy::buffer_all;
  world_.put(schedule);
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  World::must(world_.deliver({world_.failed(world_.open_runs()[0])}));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 buffered overlap");
  world_.attend_at(kStart + 30min);
  World::must(world_.scheduler->resume("often"));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered released, 09:30 skipped paused");
}

TEST_F(Answers, WhereNobodyAttendsToSchedulesLeaveWhatFollowsToWhoDoes) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_one));
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  world_.use({.attends = false});
  world_.clock.set(kStart + 45min);
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  EXPECT_TRUE(world_.open_runs().empty());
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 buffered overlap");
  world_.use({});
  world_.attend_at(kStart + 45min);
  EXPECT_EQ(world_.told(),
            "09:10 triggered due, 09:20 triggered released, 09:30 buffered overlap, 09:40 skipped overlap");
}
TEST_F(Answers, WhereNobodyAttendsToSchedulesAreNoReasonToWaitForTheNextFire) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_one));
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  world_.use({.attends = false});
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  world_.use({});
  world_.attend_at(kStart + 20min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered released");
}
TEST_F(Answers, AboutARunWhoseScheduleWasRemovedOnlyCloseIt) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 20min);
  World::must(world_.scheduler->remove("often"));
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  EXPECT_TRUE(world_.open_runs().empty());
  EXPECT_EQ(world_.runs().size(), 1U);
}

TEST_F(Answers, TakeNoEffectIfTheProcessDiesAndAllOfItWhenTheyComeAgain) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_one));
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  const auto event = world_.completed(world_.runs()[0]);
  world_.store.deaths = 1;
  EXPECT_FALSE(world_.deliver({event}));
  EXPECT_EQ(world_.runs().size(), 1U);
  EXPECT_EQ(answers("matched"), 0);
  World::must(world_.deliver({event}));
  World::must(world_.deliver({event}));
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 triggered released");
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 2U);
}

TEST_F(Answers, OfABatchOfManySchedulesReleaseForEachOfThem) {
  for (int i = 0; i < 50; ++i) world_.put(World::ten_minutely(OverlapPolicy::buffer_one, fmt::format("s{}", i)));
  world_.attend_at(kStart + 10min);
  world_.attend_at(kStart + 20min);
  std::vector<events::EventPtr> batch;
  for (const auto& run : world_.open_runs()) batch.push_back(world_.completed(run));
  ASSERT_EQ(batch.size(), 50U);
  World::must(world_.deliver(batch));
  EXPECT_EQ(world_.open_runs().size(), 50U);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "triggered"}, {"cause", "released"}}), 50);
}

// Whatever happens in whatever order: one run of a schedule at a time, one row per fire, one trigger per run.
RC_GTEST_PROP(AnyHistory, KeepsFiresRunsAndTriggersTogether, ()) {
  World world;
  const auto policy = static_cast<OverlapPolicy>(*rc::gen::inRange(0, 5));
  schedule::Schedule schedule = World::ten_minutely(policy);
  schedule.pause_on_failure = *rc::gen::arbitrary<bool>();
  world.put(schedule);
  const int steps = *rc::gen::inRange(1, 25);
  for (int i = 0; i < steps; ++i) {
    const auto open = world.open_runs();
    if (policy != OverlapPolicy::allow_all) RC_ASSERT(open.size() <= 1U);
    switch (*rc::gen::inRange(0, 10)) {
      case 0:
        world.store.deaths = 1;
        (void)world.scheduler->run_once();
        world.store.deaths = 0;
        break;
      case 1:
        if (!open.empty()) World::must(world.deliver({world.completed(open.front())}));
        break;
      case 2:
        if (!open.empty()) World::must(world.deliver({world.failed(open.back())}));
        break;
      case 3:
        if (!open.empty()) World::must(world.scheduler->cancel(open.front().id, "no use"));
        break;
      case 4:
        World::must(world.scheduler->pause("often", "because"));
        break;
      case 5:
        (void)world.scheduler->resume("often");
        break;
      case 6:
        world.deliver_own();
        break;
      case 7:
        world.clock.advance(-1h);
        break;
      default:
        world.clock.advance(milliseconds(*rc::gen::inRange(0, 5'000'000)));
        world.attend();
    }
  }
  world.attend();
  const std::string wrong = world.audit(schedule);
  if (!wrong.empty()) RC_FAIL(wrong);
  RC_ASSERT(world.log_of(events::kJobTrigger).size() == world.runs().size());
}

}  // namespace
}  // namespace wfo::scheduler
