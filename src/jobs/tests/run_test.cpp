#include <atomic>
#include <thread>

#include "jobs/tests/world.h"

namespace wfo::jobs::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

Result<void> unavailable() { return fail(ErrorCode::unavailable, "the disk said no"); }

TEST(JobWork, GoesSliceBySliceToTheEnd) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  std::vector<JobRun> seen;
  worker.job->before = [&](const JobRun& run, int, std::stop_token) -> Result<void> {
    EXPECT_EQ(run, world.run(id)) << "what a slice gets is what is stored";
    seen.push_back(run);
    world.clock.advance(5s);
    return {};
  };
  EXPECT_TRUE(*worker->work_once());
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].status, JobRunStatus::running);
  EXPECT_EQ(seen[0].holder, "one");
  EXPECT_EQ(seen[0].attempt, 1);
  EXPECT_EQ(seen[0].started_at, kStart);
  EXPECT_EQ(seen[0].deadline, kStart + 1h);
  EXPECT_EQ(seen[0].due_at, kStart + World::kHeartbeat);
  EXPECT_EQ(seen[1].checkpoint, "1");
  EXPECT_EQ(seen[1].progress, (schedule::JobProgress{1, 3, "step 1"}));
  EXPECT_EQ(seen[1].due_at, kStart + 5s + World::kHeartbeat) << "each slice is a sign of life";
  EXPECT_THAT(seen[2].counts, ElementsAre(Pair("fresh", 2)));

  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.ended_at, kStart + 15s);
  EXPECT_EQ(run.due_at, std::nullopt);
  EXPECT_EQ(run.holder, "");
  EXPECT_EQ(run.error, "");
  EXPECT_EQ(run.progress, (schedule::JobProgress{3, 3, "step 3"}));
  EXPECT_FALSE(*worker->work_once());
}

TEST(JobWork, SaysThatItIsCompletedWithCounts) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  ASSERT_TRUE(*worker->work_once());
  const auto completed = world.published(events::kJobCompleted);
  ASSERT_EQ(completed.size(), 1u);
  const events::Event& event = *completed[0];
  EXPECT_EQ(World::text(event, "job"), "steps");
  EXPECT_EQ(World::text(event, "status"), "completed");
  EXPECT_EQ(World::text(event, "runId"), id.to_string());
  EXPECT_EQ(World::text(event, "completedAt"), format_timestamp(kStart));
  EXPECT_EQ(World::text(event, "startedAt"), format_timestamp(kStart));
  EXPECT_EQ(World::text(event, "counts"), R"({"fresh":3})");
  EXPECT_EQ(event.tenant(), system_tenant());
  EXPECT_EQ(event.source(), events::kRiskAnalyticsRole);
  EXPECT_EQ(event.correlation_id(), "why");
  EXPECT_TRUE(event.root().find("metadata", "causationId")->equals(world.run(id).trigger.to_string()));
  EXPECT_EQ(world.metric(R"(batch_job_duration_seconds_count{batch_job="steps"})"), 1);
}

TEST(JobWork, OfAFailedAttemptIsTriedAgainLaterFromWhereItWas) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  int failures = 2;
  worker.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done == 1 && failures-- > 0) return unavailable();
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::queued);
  EXPECT_EQ(run.attempt, 1);
  EXPECT_EQ(run.checkpoint, "1");
  EXPECT_EQ(run.error, "the disk said no");
  EXPECT_EQ(run.due_at, kStart + 10s);
  EXPECT_EQ(run.holder, "");
  EXPECT_FALSE(*worker->work_once()) << "not before its time";
  world.clock.advance(10s);
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).attempt, 2);
  EXPECT_EQ(world.run(id).due_at, kStart + 10s + 15s) << "twice as long, but no longer than allowed";
  world.clock.advance(15s);
  ASSERT_TRUE(*worker->work_once());
  run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.attempt, 3);
  EXPECT_THAT(run.counts, ElementsAre(Pair("fresh", 3))) << "nothing was done twice";
  EXPECT_TRUE(world.published(events::kJobFailed).empty());
  EXPECT_EQ(world.metric(R"(batch_job_attempts_failed_total{batch_job="steps"})"), 2);
}

TEST(JobWork, FailsForGoodAfterTheLastAttempt) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int done, std::stop_token) {
    return done == 2 ? unavailable() : Result<void>();
  };
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(*worker->work_once());
    world.clock.advance(15s);
  }
  EXPECT_FALSE(*worker->work_once());
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.attempt, 3);
  EXPECT_EQ(run.error, "the disk said no");
  const auto failed = world.published(events::kJobFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(World::text(*failed[0], "error"), "the disk said no");
  EXPECT_EQ(World::text(*failed[0], "counts"), R"({"fresh":2})");
  EXPECT_EQ(World::text(*failed[0], "runId"), id.to_string());
  EXPECT_EQ(World::text(*failed[0], "failedAt"), format_timestamp(*run.ended_at));
}

TEST(JobWork, ThatCannotSucceedIsNotTriedAgain) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    return fail(ErrorCode::invalid_argument, "no such \xff thing {}", std::string(10'000, 'x'));
  };
  ASSERT_TRUE(*worker->work_once());
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.attempt, 1);
  EXPECT_LE(run.error.size(), delivery::kReasonBytesMax + 64);
  EXPECT_THAT(run.error, HasSubstr("no such \xEF\xBF\xBD thing"));
}

TEST(JobWork, WhoseEffectsFailIsAFailedAttempt) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  bool once = true;
  worker.job->in_effects = [&](int done) -> Result<void> {
    if (done == 1 && std::exchange(once, false)) return fail(ErrorCode::corruption, "that row is broken");
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::queued);
  EXPECT_EQ(world.run(id).error, "that row is broken");
  EXPECT_EQ(world.run(id).checkpoint, "1");
  world.clock.advance(10s);
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_THAT(world.run(id).counts, ElementsAre(Pair("fresh", 3)));
}

TEST(JobWork, IsTakenOverWhenItsWorkerFellSilent) {
  World world;
  const auto silent = world.worker("silent");
  const auto next = world.worker("next");
  const JobRunId id = world.queued(silent);
  silent.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done != 1) return {};
    EXPECT_FALSE(*next->work_once()) << "its lease has not run out";
    world.clock.advance(World::kHeartbeat);
    EXPECT_TRUE(*next->work_once());
    return {};
  };
  ASSERT_TRUE(*silent->work_once());
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.takeovers, 1);
  EXPECT_EQ(run.attempt, 1) << "no attempt failed";
  EXPECT_EQ(silent.job->applied, 1) << "what it still did was refused";
  EXPECT_EQ(next.job->applied, 2) << "from the checkpoint on";
  EXPECT_THAT(run.counts, ElementsAre(Pair("fresh", 3)));
  EXPECT_EQ(world.published(events::kJobCompleted).size(), 1u);
  EXPECT_EQ(world.metric("batch_job_takeovers_total"), 1);
}

TEST(JobWork, IsTakenOverAtOnceFromAnotherProcessWhereThereCanBeNone) {
  World world;
  const auto dead = world.worker("dead");
  const auto next = world.worker("next", nullptr, {.is_alone = true});
  const JobRunId id = world.queued(dead);
  world.change(id, [&](JobRun& run) {
    run = schedule::claimed(run, *World::catalog().find("steps"), "dead", world.clock.now(), World::kHeartbeat);
  });
  ASSERT_TRUE(*next->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_EQ(world.run(id).takeovers, 1);
}

TEST(JobWork, IsNotTakenOverFromAnotherThreadOfTheSameProcess) {
  World world;
  const auto worker = world.worker("one", nullptr, {.is_alone = true});
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    EXPECT_FALSE(*worker->work_once());
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_EQ(world.run(id).takeovers, 0);
}

TEST(JobWork, IsNotTakenOverWhileItsWorkerLives) {
  World world;
  const auto busy = world.worker("busy");
  const auto next = world.worker("next");
  const JobRunId id = world.queued(busy);
  busy.job->before = [&](const JobRun&, int, std::stop_token stop) -> Result<void> {
    const auto version = world.find(id)->version;
    for (int i = 0; i < 6; ++i) {
      world.clock.advance(World::kHeartbeat / 3);
      EXPECT_TRUE(busy->keep_alive());
      EXPECT_FALSE(*next->work_once());
    }
    EXPECT_FALSE(stop.stop_requested());
    EXPECT_EQ(world.find(id)->version, version);
    return {};
  };
  ASSERT_TRUE(*busy->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_EQ(world.run(id).takeovers, 0);
}

TEST(JobWork, ThatIsTakenOverTooOftenFails) {
  World world;
  BatchJobConfig config;
  config.takeovers_max = 2;
  const auto worker = world.worker("one", nullptr, config);
  const JobRunId id = world.queued(worker);
  // A run that kills its process each time.
  for (int i = 0; i < 3; ++i) {
    world.change(id, [&](JobRun& run) {
      run = schedule::claimed(run, *World::catalog().find("steps"), "crashing", world.clock.now(), World::kHeartbeat);
    });
    world.clock.advance(World::kHeartbeat);
  }
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(worker.job->calls, 0);
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.error,
            "its workers fell silent 3 times, which is more than the 2 takeovers allowed; the last was crashing");
  EXPECT_EQ(world.published(events::kJobFailed).size(), 1u);
}

TEST(JobWork, StopsWhenTheRunIsCancelled) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int done, std::stop_token stop) -> Result<void> {
    if (done != 1) return {};
    world.cancel(id);
    EXPECT_FALSE(stop.stop_requested());
    EXPECT_TRUE(worker->keep_alive());
    EXPECT_TRUE(stop.stop_requested()) << "a heartbeat tells";
    return fail(ErrorCode::unavailable, "stopped");
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::cancelled);
  EXPECT_EQ(world.run(id).error, "by hand");
  EXPECT_EQ(worker.job->calls, 2);
  EXPECT_TRUE(world.published(events::kJobFailed).empty()) << "who cancels says so";
}

TEST(JobWork, OfACancelledRunTakesNoEffectEvenUnnoticed) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->slices = 1;
  worker.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    world.cancel(id);
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(worker.job->applied, 0);
  EXPECT_EQ(world.run(id).status, JobRunStatus::cancelled);
  EXPECT_TRUE(world.published(events::kJobCompleted).empty());
}

TEST(JobWork, ThatTakesTooLongIsEndedBetweenSlices) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    world.clock.advance(31min);
    EXPECT_TRUE(worker->keep_alive());
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.error, "it did not end within 1h after its start");
  EXPECT_EQ(worker.job->calls, 2);
  EXPECT_EQ(world.published(events::kJobFailed).size(), 1u);
}

TEST(JobWork, ThatTakesTooLongIsEndedWithinASliceThatHeedsItsToken) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token stop) -> Result<void> {
    world.clock.advance(1h);
    EXPECT_TRUE(worker->keep_alive());
    EXPECT_TRUE(stop.stop_requested());
    return fail(ErrorCode::unavailable, "stopped");
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_THAT(world.run(id).error, HasSubstr("it did not end within"));
  EXPECT_EQ(world.run(id).status, JobRunStatus::failed);
}

TEST(JobWork, IsNotTakenUpPastItsDeadline) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token) { return unavailable(); };
  ASSERT_TRUE(*worker->work_once());
  world.clock.advance(2h);
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(worker.job->calls, 1);
  EXPECT_EQ(world.run(id).status, JobRunStatus::failed);
  EXPECT_THAT(world.run(id).error, HasSubstr("it did not end within"));
}

TEST(JobWork, IsGivenBackOnStopAndGoesOnAtOnceElsewhere) {
  World world;
  const auto first = world.worker("first");
  const auto second = world.worker("second");
  const JobRunId id = world.queued(first);
  std::stop_source stop;
  first.job->before = [&](const JobRun&, int done, std::stop_token token) -> Result<void> {
    if (done != 1) return {};
    stop.request_stop();
    EXPECT_TRUE(token.stop_requested());
    return fail(ErrorCode::unavailable, "stopped");
  };
  ASSERT_TRUE(*first->work_once(stop.get_token()));
  JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::queued);
  EXPECT_EQ(run.due_at, kStart);
  EXPECT_EQ(run.checkpoint, "1");
  EXPECT_EQ(run.holder, "");
  EXPECT_EQ(run.error, "");
  EXPECT_FALSE(*first->work_once(stop.get_token())) << "it is stopping";
  ASSERT_TRUE(*second->work_once());
  run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.attempt, 1) << "nothing failed";
  EXPECT_EQ(run.takeovers, 0);
  EXPECT_EQ(run.started_at, kStart);
}

TEST(JobWork, ThatIsGivenBackBeforeItsFirstSliceIsNotFailedByTheNight) {
  World world;
  const auto command = world.worker("a short command");
  const auto service = world.worker("the service, next morning");
  const JobRunId id = world.queued(command);
  std::stop_source stop;
  command.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    world.clock.advance(1s);
    stop.request_stop();
    return fail(ErrorCode::unavailable, "stopped");
  };
  ASSERT_TRUE(*command->work_once(stop.get_token()));
  EXPECT_EQ(world.run(id).started_at, std::nullopt);
  EXPECT_EQ(world.run(id).deadline, kStart + 1s + 1h + 1h) << "the end if nobody takes it";
  world.clock.set(kStart + 1h + 30min);
  ASSERT_TRUE(*service->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_EQ(world.run(id).started_at, kStart + 1h + 30min);
}

TEST(JobWork, HasLeftOfItsTimeoutWhatItHadWhenItWasGivenBack) {
  World world;
  const auto first = world.worker("first");
  const auto second = world.worker("second");
  const JobRunId id = world.queued(first);
  std::stop_source stop;
  first.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done == 0) return {};
    world.clock.advance(40min);
    stop.request_stop();
    return fail(ErrorCode::unavailable, "stopped");
  };
  ASSERT_TRUE(*first->work_once(stop.get_token()));
  world.clock.advance(65min);
  second.job->before = [&](const JobRun& run, int done, std::stop_token) -> Result<void> {
    EXPECT_EQ(run.deadline, kStart + 105min + 20min);
    EXPECT_EQ(run.started_at, kStart);
    if (done == 2) world.clock.advance(20min);
    return {};
  };
  ASSERT_TRUE(*second->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed) << "its last slice was worth committing";
}

TEST(JobWork, IsCountedByItsDurationWhoeverClosesIt) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int, std::stop_token) -> Result<void> {
    world.clock.advance(40s);
    world.cancel(id);
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.metric(R"(batch_job_duration_seconds_count{batch_job="steps"})"), 1);
  EXPECT_EQ(world.metric(R"(batch_job_duration_seconds_sum{batch_job="steps"})"), 40);
}

TEST(JobWork, WhoseCommitIsRefusedForAWhileGoesOn) {
  World world;
  UnsureStore unsure(world.database.store());
  const auto worker = world.worker("one", &unsure);
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done == 1) unsure.refuse = 3;
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_THAT(world.waiter.waits, ElementsAre(100ms, 200ms, 400ms));
  EXPECT_THAT(world.run(id).counts, ElementsAre(Pair("fresh", 3)));
}

TEST(JobWork, WhoseCommitIsRefusedForLongIsLeftToWhoReachesTheStore) {
  World world;
  UnsureStore unsure(world.database.store());
  const auto worker = world.worker("one", &unsure);
  const auto other = world.worker("other");
  const JobRunId id = world.queued(worker);
  worker.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done == 1) unsure.refuse = 1'000;
    return {};
  };
  const auto worked = worker->work_once();
  ASSERT_FALSE(worked);
  EXPECT_EQ(worked.error().code, ErrorCode::unavailable);
  EXPECT_EQ(world.run(id).status, JobRunStatus::running);
  world.clock.advance(World::kHeartbeat);
  ASSERT_TRUE(*other->work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_THAT(world.run(id).counts, ElementsAre(Pair("fresh", 3)));
}

TEST(JobWork, GoesOnWhenTheAnswerOfACommitWasLost) {
  // 1: the claim; 2 and 3: slices; 4: the last one, with the end.
  for (int lost = 1; lost <= 4; ++lost) {
    SCOPED_TRACE(lost);
    World world;
    UnsureStore unsure(world.database.store());
    const auto worker = world.worker("one", &unsure);
    const JobRunId id = world.queued(worker);
    unsure.lose = lost;
    ASSERT_TRUE(*worker->work_once());
    EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
    EXPECT_EQ(world.waiter.waits.size(), 1u) << "it was lost, and tried again";
    EXPECT_EQ(world.run(id).takeovers, 0);
    EXPECT_THAT(world.run(id).counts, ElementsAre(Pair("fresh", 3)));
    EXPECT_EQ(world.published(events::kJobCompleted).size(), 1u);
    EXPECT_EQ(world.metric(R"(batch_job_duration_seconds_count{batch_job="steps"})"), 1);
  }
}

TEST(JobWork, OfAJobThatNobodyKnowsAnyMoreIsLeftForAnHourThenFails) {
  World world;
  const auto worker = world.worker();
  const JobRunId id = world.queued(worker);
  world.change(id, [](JobRun&) {});
  BatchJobWorker old(world.database.store(), bus::samples::contracts(), schedule::JobCatalog(), {}, "old", world.ids,
                     world.clock, world.waiter, Logger::silent(), world.metrics);
  EXPECT_FALSE(*old.work_once()) << "a newer process will do it";
  world.clock.advance(1h);
  EXPECT_TRUE(*old.work_once());
  EXPECT_EQ(world.run(id).status, JobRunStatus::failed);
  EXPECT_THAT(world.run(id).error, HasSubstr("unknown job 'steps'"));
}

TEST(JobWork, TakesTheRunThatWaitsLongestAndDoesNotStopAtOneThatIsTaken) {
  World world;
  const auto one = world.worker("one");
  const auto two = world.worker("two");
  const JobRunId older = world.queued(one);
  world.clock.advance(1s);
  const JobRunId younger = world.queued(one);
  std::vector<JobRunId> order;
  two.job->before = [&](const JobRun& run, int, std::stop_token) -> Result<void> {
    order.push_back(run.id);
    return {};
  };
  one.job->before = [&](const JobRun& run, int done, std::stop_token) -> Result<void> {
    EXPECT_EQ(run.id, older);
    if (done > 0) return {};
    EXPECT_TRUE(*two->work_once());
    return {};
  };
  ASSERT_TRUE(*one->work_once());
  EXPECT_THAT(order, ElementsAre(younger, younger, younger));
  EXPECT_EQ(world.run(older).status, JobRunStatus::completed);
  EXPECT_EQ(world.run(younger).status, JobRunStatus::completed);
}

TEST(JobWork, ShowsHowLongTheOldestRunHasBeenAtWork) {
  World world;
  const auto worker = world.worker();
  static_cast<void>(world.queued(worker));
  ASSERT_TRUE(worker->keep_alive());
  EXPECT_EQ(world.metric("batch_job_oldest_running_seconds"), 0);
  worker.job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done > 0) return {};
    world.clock.advance(90s);
    EXPECT_TRUE(worker->keep_alive());
    EXPECT_EQ(world.metric("batch_job_oldest_running_seconds"), 90);
    return {};
  };
  ASSERT_TRUE(*worker->work_once());
  ASSERT_TRUE(worker->keep_alive());
  EXPECT_EQ(world.metric("batch_job_oldest_running_seconds"), 0);
}

TEST(JobWork, AsAServiceWorksManyRunsAtOnceAndEndsOnStop) {
  World world;
  SystemClock clock;
  delivery::SystemWaiter waiter;
  std::atomic<int> ended = 0;
  std::vector<std::unique_ptr<BatchJobWorker>> workers;
  std::vector<ScriptedJob*> jobs;
  for (int i = 0; i < 2; ++i) {
    auto job = std::make_unique<ScriptedJob>("steps");
    jobs.push_back(job.get());
    std::vector<std::unique_ptr<Job>> builtin;
    builtin.push_back(std::move(job));
    workers.push_back(std::make_unique<BatchJobWorker>(
        world.database.store(), bus::samples::contracts(), World::catalog(), std::move(builtin),
        fmt::format("process {}", i), world.ids, clock, waiter, Logger::silent(), world.metrics,
        BatchJobConfig{.workers = 1, .heartbeat_timeout = 1s, .idle_wait = 5ms}));
    jobs.back()->slices = 1;
    jobs.back()->in_effects = [&](int) -> Result<void> {
      ++ended;
      return {};
    };
  }
  world.clock.set(clock.now());
  std::vector<JobRunId> ids;
  for (int i = 0; i < 50; ++i) {
    const auto [event, id] = world.scheduled("steps");
    ids.push_back(id);
    ASSERT_TRUE(World::hand(*workers[0], world.database.store(), {event}));
  }
  std::stop_source stop;
  {
    std::vector<std::jthread> threads;
    for (auto& worker : workers) threads.emplace_back([&] { worker->run(stop.get_token()); });
    const auto patience = std::chrono::steady_clock::now() + 60s;
    while (ended < 50 && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
    stop.request_stop();
  }
  EXPECT_EQ(ended, 50) << "each once";
  for (const JobRunId& id : ids) EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_EQ(world.published(events::kJobCompleted).size(), 50u);
}

/// A store that others take away and give back.
class AwayStore final : public store::Store {
 public:
  explicit AwayStore(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    TRY(reached());
    return store_.transact(body);
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override {
    TRY(reached());
    return store_.read(body);
  }
  Result<void> admission() override { return reached(); }

  std::atomic<bool> away = false;
  std::atomic<int> refused = 0;

 private:
  Result<void> reached() {
    if (!away) return {};
    ++refused;
    return fail(ErrorCode::unavailable, "the database is away");
  }
  store::Store& store_;
};

TEST(JobWork, AsAServiceGoesOnWhenItsStoreIsBack) {
  World world;
  SystemClock clock;
  delivery::SystemWaiter waiter;
  AwayStore store(world.database.store());
  auto job = std::make_unique<ScriptedJob>("steps");
  job->before = [&](const JobRun&, int done, std::stop_token) -> Result<void> {
    if (done == 1 && store.refused == 0) store.away = true;
    return {};
  };
  std::vector<std::unique_ptr<Job>> builtin;
  builtin.push_back(std::move(job));
  BatchJobWorker worker(store, bus::samples::contracts(), World::catalog(), std::move(builtin), "one", world.ids, clock,
                        waiter, Logger::silent(), world.metrics,
                        BatchJobConfig{.workers = 2, .heartbeat_timeout = 1s, .idle_wait = 5ms});
  world.clock.set(clock.now());
  const auto [event, id] = world.scheduled("steps");
  ASSERT_TRUE(World::hand(worker, world.database.store(), {event}));
  {
    const std::jthread service([&](std::stop_token stop) { worker.run(std::move(stop)); });
    const auto until = [&](auto condition) {
      const auto patience = std::chrono::steady_clock::now() + 60s;
      while (!condition() && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
      return condition();
    };
    ASSERT_TRUE(until([&] { return store.refused >= 3; }));
    store.away = false;
    EXPECT_TRUE(until([&, run = id] { return !schedule::is_open(world.run(run).status); }));
  }
  EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
  EXPECT_THAT(world.run(id).counts, ElementsAre(Pair("fresh", 3)));
}

}  // namespace
}  // namespace wfo::jobs::testing
