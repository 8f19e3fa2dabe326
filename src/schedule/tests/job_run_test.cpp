#include "schedule/job_run.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <utility>

namespace wfo::schedule {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Timestamp kNow{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1} + hours(1)};
constexpr milliseconds kLease{30'000};

JobSpec spec() {
  JobSpec out;
  out.name = "outcome-sync";
  out.kind = JobKind::builtin;
  out.start_timeout = minutes(10);
  out.timeout = hours(2);
  out.attempts_max = 3;
  out.retry_first = seconds(1);
  out.retry_max = seconds(5);
  return out;
}

JobRun pending() {
  JobRun run;
  run.job = "outcome-sync";
  run.metadata = R"({"tenant":"a"})";
  return triggered(std::move(run), spec(), kNow);
}

JobRun queued() { return recorded(pending(), spec(), kNow + seconds(1)); }

JobRun running() { return claimed(queued(), spec(), "worker-1", kNow + seconds(2), kLease); }

TEST(JobRun, WaitsAfterItsTriggerUntilTheStartTimeout) {
  const JobRun run = pending();
  EXPECT_EQ(run.status, JobRunStatus::pending);
  EXPECT_EQ(run.created_at, kNow);
  EXPECT_EQ(run.due_at, kNow + minutes(10));
  EXPECT_EQ(run.attempt, 0);
  EXPECT_EQ(run.started_at, std::nullopt);
  EXPECT_EQ(run.deadline, std::nullopt);
  EXPECT_EQ(run.job, "outcome-sync");
  EXPECT_EQ(run.metadata, R"({"tenant":"a"})");
}

TEST(JobRun, MayBeTakenAtOnceWhenItIsRecorded) {
  JobRun expected = pending();
  expected.status = JobRunStatus::queued;
  expected.due_at = kNow + seconds(1);
  expected.deadline = kNow + seconds(1) + minutes(10) + hours(2);
  EXPECT_EQ(recorded(pending(), spec(), kNow + seconds(1)), expected);
}

TEST(JobRun, BeginsItsFirstAttemptAndItsDeadlineWhenItIsClaimed) {
  JobRun expected = queued();
  expected.status = JobRunStatus::running;
  expected.holder = "worker-1";
  expected.attempt = 1;
  expected.started_at = kNow + seconds(2);
  expected.deadline = kNow + seconds(2) + hours(2);
  expected.due_at = kNow + seconds(2) + kLease;
  EXPECT_EQ(running(), expected);
}

TEST(JobRun, KeepsAttemptDeadlineAndCheckpointWhenItIsTakenOver) {
  JobRun silent = running();
  silent.checkpoint = "row 400";
  silent.progress = {.done = 400, .total = 1000, .note = "reading"};
  silent.counts = {{"recorded", 12}};
  const Timestamp later = *silent.due_at + seconds(1);

  JobRun expected = silent;
  expected.holder = "worker-2";
  expected.takeovers = 1;
  expected.due_at = later + kLease;
  EXPECT_EQ(claimed(silent, spec(), "worker-2", later, kLease), expected);
}

TEST(JobRun, CountsEveryTakeover) {
  JobRun run = running();
  for (int i = 0; i < 3; ++i) run = claimed(std::move(run), spec(), "next", *run.due_at, kLease);
  EXPECT_EQ(run.takeovers, 3);
  EXPECT_EQ(run.attempt, 1);
}

TEST(JobRun, WaitsForItsNextAttemptAfterOneThatFailed) {
  JobRun before = running();
  before.checkpoint = "row 400";
  JobRun expected = before;
  expected.status = JobRunStatus::queued;
  expected.holder = "";
  expected.error = "disk is full";
  expected.due_at = kNow + minutes(1) + seconds(1);
  expected.deadline = *before.deadline + spec().start_timeout;
  EXPECT_EQ(attempt_failed(before, spec(), "disk is full", true, kNow + minutes(1)), expected);
}

TEST(JobRun, KeepsTheDeadlineOfItsFirstStartThroughLaterAttempts) {
  const JobRun first = running();
  const JobRun waiting = attempt_failed(first, spec(), "no", true, kNow + minutes(1));
  const JobRun second = claimed(waiting, spec(), "worker-2", *waiting.due_at, kLease);
  EXPECT_EQ(second.attempt, 2);
  EXPECT_EQ(second.takeovers, 0);
  EXPECT_EQ(second.deadline, first.deadline);
  EXPECT_EQ(second.started_at, first.started_at);
}

TEST(JobRun, FailsForGoodAfterTheLastAttempt) {
  JobRun run = running();
  run.attempt = 3;
  const JobRun failed = attempt_failed(run, spec(), "disk is full", true, kNow + minutes(1));
  EXPECT_EQ(failed, ended(run, JobRunStatus::failed, "disk is full", kNow + minutes(1)));
  EXPECT_EQ(failed.status, JobRunStatus::failed);
}

TEST(JobRun, FailsAtOnceIfTheAttemptIsNotToBeRetried) {
  const JobRun failed = attempt_failed(running(), spec(), "metadata.from: 'x'", false, kNow + minutes(1));
  EXPECT_EQ(failed.status, JobRunStatus::failed);
  EXPECT_EQ(failed.attempt, 1);
  EXPECT_EQ(failed.error, "metadata.from: 'x'");
}

TEST(JobRun, IsOfNobodyAndNeverDueOnceItHasEnded) {
  JobRun expected = running();
  expected.status = JobRunStatus::cancelled;
  expected.holder = "";
  expected.due_at.reset();
  expected.ended_at = kNow + hours(1);
  expected.error = "cancelled by ana: wrong week";
  EXPECT_EQ(ended(running(), JobRunStatus::cancelled, "cancelled by ana: wrong week", kNow + hours(1)), expected);
}

TEST(JobRun, ForgetsTheErrorsOfEarlierAttemptsWhenItCompletes) {
  JobRun run = attempt_failed(running(), spec(), "disk is full", true, kNow + minutes(1));
  run = claimed(std::move(run), spec(), "worker-1", kNow + minutes(2), kLease);
  EXPECT_EQ(run.error, "disk is full");
  EXPECT_EQ(ended(run, JobRunStatus::completed, "", kNow + minutes(3)).error, "");
}

TEST(JobRun, CanEndBeforeAnybodyTookIt) {
  const JobRun run = ended(pending(), JobRunStatus::failed, "not started within 10m", kNow + minutes(10));
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.attempt, 0);
  EXPECT_EQ(run.due_at, std::nullopt);
}

struct DelayCase {
  const char* what;
  milliseconds first;
  milliseconds max;
  int attempt;
  milliseconds delay;
};

class RetryDelay : public testing::TestWithParam<DelayCase> {};

TEST_P(RetryDelay, DoublesUpToItsBound) {
  const DelayCase& c = GetParam();
  JobSpec limits = spec();
  limits.attempts_max = 100;
  limits.retry_first = c.first;
  limits.retry_max = c.max;
  JobRun run = running();
  run.attempt = c.attempt;
  EXPECT_EQ(attempt_failed(run, limits, "no", true, kNow).due_at, kNow + c.delay);
}

INSTANTIATE_TEST_SUITE_P(All, RetryDelay,
                         testing::Values(DelayCase{"AfterTheFirst", seconds(1), minutes(5), 1, seconds(1)},
                                         DelayCase{"AfterTheSecond", seconds(1), minutes(5), 2, seconds(2)},
                                         DelayCase{"AfterTheFifth", seconds(1), minutes(5), 5, seconds(16)},
                                         DelayCase{"LastBelowTheBound", seconds(1), minutes(5), 9, seconds(256)},
                                         DelayCase{"FirstAtTheBound", seconds(1), minutes(5), 10, minutes(5)},
                                         DelayCase{"LongAfter", seconds(1), minutes(5), 99, minutes(5)},
                                         DelayCase{"ExactlyTheBound", seconds(1), seconds(8), 4, seconds(8)},
                                         DelayCase{"NeverGrows", seconds(7), seconds(7), 50, seconds(7)},
                                         DelayCase{"OddBound", milliseconds(2), milliseconds(5), 3, milliseconds(5)},
                                         DelayCase{"Smallest", milliseconds(1), milliseconds(1), 1, milliseconds(1)},
                                         DelayCase{"Largest", milliseconds(1), std::chrono::days(30), 99,
                                                   std::chrono::days(30)}),
                         [](const auto& row) { return row.param.what; });

TEST(JobRunNames, AreReadAsTheyAreWritten) {
  for (const auto status : {JobRunStatus::pending, JobRunStatus::queued, JobRunStatus::running, JobRunStatus::completed,
                            JobRunStatus::failed, JobRunStatus::cancelled}) {
    EXPECT_EQ(parse_job_run_status(name(status)), status);
    EXPECT_EQ(is_open(status),
              status == JobRunStatus::pending || status == JobRunStatus::queued || status == JobRunStatus::running);
  }
  EXPECT_EQ(parse_job_run_status("Running"), std::nullopt);
  EXPECT_EQ(parse_job_run_status(""), std::nullopt);
  for (const auto who : {TriggeredBy::scheduler, TriggeredBy::manual}) EXPECT_EQ(parse_triggered_by(name(who)), who);
  EXPECT_EQ(parse_triggered_by("cron"), std::nullopt);
}

TEST(JobRun, ThatIsGivenBackGoesOnInTheSameAttempt) {
  JobRun run = running();
  run.checkpoint = "half";
  run.error = "of the attempt before";
  const JobRun back = given_back(run, spec(), kNow + minutes(30));
  JobRun expected = run;
  expected.status = JobRunStatus::queued;
  expected.holder = "";
  expected.attempt = 0;
  expected.due_at = kNow + minutes(30);
  expected.deadline = back.deadline;
  EXPECT_EQ(back, expected);
  EXPECT_EQ(claimed(back, spec(), "worker-2", kNow + minutes(31), kLease).attempt, run.attempt);
}

TEST(JobRun, DoesNotUseUpItsTimeoutWhileNobodyHasIt) {
  JobRun run = running();
  const Timestamp start = *run.started_at;
  run.checkpoint = "half";
  const JobRun back = given_back(run, spec(), start + minutes(30));
  EXPECT_EQ(back.deadline, start + minutes(30) + spec().start_timeout + spec().timeout - minutes(30))
      << "the end if nobody ever takes it";
  const Timestamp monday = start + std::chrono::hours(60);
  const JobRun again = claimed(back, spec(), "worker-2", monday, kLease);
  EXPECT_EQ(again.started_at, start);
  EXPECT_EQ(again.deadline, monday + spec().timeout - minutes(30));
}

TEST(JobRun, ThatIsGivenBackBeforeItsFirstSliceWasNeverStarted) {
  const JobRun run = running();
  const Timestamp later = *run.started_at + seconds(1);
  JobRun as_new = queued();
  as_new.due_at = later;
  as_new.deadline = later + spec().start_timeout + spec().timeout;
  EXPECT_EQ(given_back(run, spec(), later), as_new);
}

TEST(JobRun, UsesUpItsTimeoutByTheDelayBeforeItsNextAttemptButNotByAnyLongerWait) {
  const JobRun run = running();
  const JobRun waits = attempt_failed(run, spec(), "no", true, *run.started_at + minutes(5));
  const milliseconds used = *waits.due_at - *run.started_at;
  const JobRun again = claimed(waits, spec(), "worker-2", *waits.due_at + std::chrono::hours(12), kLease);
  EXPECT_EQ(again.deadline, *waits.due_at + std::chrono::hours(12) + spec().timeout - used);
}

// Whatever happens to a run, in any order that its state allows: what everybody relies on holds after each step.
RC_GTEST_PROP(JobRunStory, KeepsItsPromises, ()) {
  JobSpec limits = spec();
  limits.attempts_max = *rc::gen::inRange(1, 6);
  limits.retry_first = milliseconds(*rc::gen::inRange(1, 10'000));
  limits.retry_max = limits.retry_first + milliseconds(*rc::gen::inRange(0, 100'000));
  Timestamp now = kNow;
  JobRun run;
  run = triggered(std::move(run), limits, now);
  std::optional<Timestamp> first_start;
  int failures = 0;
  for (int step = 0; step < 60 && is_open(run.status); ++step) {
    now += milliseconds(*rc::gen::inRange(0, 10'000));
    const JobRun before = run;
    if (*rc::gen::inRange(0, 20) == 0) {
      run = ended(run, *rc::gen::element(JobRunStatus::completed, JobRunStatus::failed, JobRunStatus::cancelled), "e",
                  now);
    } else if (run.status == JobRunStatus::pending) {
      run = recorded(run, limits, now);
    } else if (run.status == JobRunStatus::queued || *rc::gen::inRange(0, 2) == 0) {
      now = std::max(now, *run.due_at);
      run = claimed(run, limits, "w", now, kLease);
      if (!first_start) first_start = now;
    } else if (*rc::gen::inRange(0, 3) == 0) {
      const bool has_worked = *rc::gen::inRange(0, 2) == 0;
      if (has_worked) run.checkpoint = "here";
      run = given_back(run, limits, now);
      if (run.checkpoint.empty()) first_start.reset();
    } else {
      const bool retryable = *rc::gen::inRange(0, 5) != 0;
      run = attempt_failed(run, limits, "e", retryable, now);
      ++failures;
      if (run.status == JobRunStatus::queued) {
        RC_ASSERT(retryable);
        RC_ASSERT(*run.due_at - now >= limits.retry_first);
        RC_ASSERT(*run.due_at - now <= limits.retry_max);
      }
    }
    RC_ASSERT(run.due_at.has_value() == is_open(run.status));
    RC_ASSERT(run.ended_at.has_value() == !is_open(run.status));
    RC_ASSERT(run.holder.empty() == (run.status != JobRunStatus::running));
    RC_ASSERT(run.started_at == first_start);
    if (run.status == JobRunStatus::running) RC_ASSERT(*run.deadline <= now + limits.timeout);
    if (run.status == JobRunStatus::queued) {
      RC_ASSERT(*run.deadline >= *run.due_at + limits.start_timeout);
      RC_ASSERT(*run.deadline <= *run.due_at + limits.start_timeout + limits.timeout);
    }
    if (run.status == JobRunStatus::pending) RC_ASSERT(run.deadline == std::nullopt);
    // Whatever it waits for, there is a time at which somebody ends it.
    if (is_open(run.status) && run.status != JobRunStatus::pending) RC_ASSERT(run.deadline.has_value());
    RC_ASSERT(run.attempt >= before.attempt - 1);  // one less: given back
    RC_ASSERT(run.attempt <= limits.attempts_max);
    RC_ASSERT(run.attempt - failures <= 1);
  }
}

}  // namespace
}  // namespace wfo::schedule
