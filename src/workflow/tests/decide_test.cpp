#include "workflow/decide.h"

#include <gtest/gtest.h>

#include <set>

#include "workflow/tests/samples.h"

namespace wfo::workflow {
namespace {

using namespace samples;

constexpr std::uint64_t kSeed = 7;

// A run that tests drive by hand, at a time they set.
struct Driver {
  explicit Driver(Definition of) : definition(std::move(of)) {
    Decision first = start(new_run(definition), definition, now);
    run = std::move(first.next);
    effects = show(first.effects);
  }

  Driver& after(milliseconds time) {
    now += time;
    return *this;
  }
  // What was wanted, or why nothing changed.
  std::string give(const Input& input) {
    Decision decision = decide(run, input, definition, now, kSeed);
    if (decision.ignored) {
      EXPECT_EQ(decision.next, run);
      EXPECT_TRUE(decision.effects.empty());
      return std::string(name(*decision.ignored));
    }
    EXPECT_EQ(decision.next.updated_at, now);
    run = std::move(decision.next);
    return show(decision.effects);
  }
  std::string complete(std::size_t step, std::string_view result = "{}") {
    return give(StepCompleted{run.steps[step].id, run.steps[step].type, result});
  }
  std::string fail(std::size_t step, std::string_view error = "boom", bool retryable = true) {
    return fail_attempt(step, run.steps[step].attempt, error, retryable);
  }
  std::string fail_attempt(std::size_t step, std::optional<int> attempt, std::string_view error = "boom",
                           bool retryable = true, std::optional<Timestamp> at = std::nullopt) {
    return give(StepFailed{run.steps[step].id, run.steps[step].type, attempt, at.value_or(now), error, retryable});
  }
  std::string wake() { return give(WakeUp{}); }
  std::string cancel(std::string_view reason = "no longer needed") { return give(Cancel{reason}); }
  std::string retry() { return give(Retry{}); }
  template <class State>
  const State& state(std::size_t step) const {
    return std::get<State>(run.steps[step].state);
  }

  Definition definition;
  Timestamp now = kStart;
  Run run;
  std::string effects;  // of the start
};

Definition without_jitter(Definition definition) {
  for (StepDefinition& step : definition.steps) step.retry.jitter = 0;
  return definition;
}

TEST(Start, RequestsAllStepsThatDependOnNothing) {
  EXPECT_EQ(Driver(parallel()).effects, "started, request 0, request 1, request 2, request 3");
  EXPECT_EQ(Driver(chain()).effects, "started, request 0");
  EXPECT_EQ(Driver(definition({step("late", {"early"}), step("early")})).effects, "started, request 1");
}

TEST(Start, PinsTheDefinitionAndSetsTheDeadlines) {
  const Driver driver(diamond());
  const workflow::Run& run = driver.run;
  EXPECT_EQ(run.definition_name, "sample");
  EXPECT_EQ(run.definition_version, "1.0.0");
  EXPECT_EQ(run.status, RunStatus::running);
  EXPECT_EQ(run.attempt, 1);
  EXPECT_EQ(run.created_at, kStart);
  EXPECT_EQ(run.updated_at, kStart);
  EXPECT_EQ(run.deadline, kStart + 30min);
  ASSERT_EQ(run.steps.size(), 4U);
  EXPECT_EQ(run.steps[0], (Step{step_id(0), "a", Requested{kStart, kStart + 5min}, 1, 0, kStart}));
  EXPECT_EQ(run.steps[1], (Step{step_id(1), "b", Waiting{}, 0, 0, std::nullopt}));
}

TEST(Start, KeepsWhatTheCallerBrought) {
  workflow::Run wanted = new_run(single());
  const workflow::Run run = start(wanted, single(), kStart).next;
  wanted.definition_name = run.definition_name;
  wanted.definition_version = run.definition_version;
  wanted.created_at = run.created_at;
  wanted.updated_at = run.updated_at;
  wanted.deadline = run.deadline;
  wanted.steps = run.steps;
  EXPECT_EQ(run, wanted);
}

TEST(StepCompletion, IsPublishedWithItsResultAndDuration) {
  Driver driver(parallel());
  EXPECT_EQ(driver.after(1200ms).complete(2, R"({"p50":1})"), "step 2 completed after 1s200ms");
  EXPECT_EQ(driver.state<Completed>(2), (Completed{kStart + 1200ms, true, R"({"p50":1})"}));
  EXPECT_EQ(driver.run.status, RunStatus::running);
}

TEST(StepCompletion, CountsItsDurationFromTheFirstRequest) {
  Driver driver(without_jitter(parallel()));
  driver.after(1s).fail(0);
  driver.after(1s).wake();
  EXPECT_EQ(driver.after(1s).complete(0), "step 0 completed after 3s");
}

TEST(StepCompletion, HasNoNegativeDurationWhenTheClockWentBack) {
  Driver driver(parallel());
  EXPECT_EQ(driver.after(-1s).complete(0), "step 0 completed after 0ms");
}

TEST(StepCompletion, RequestsTheStepsThatWaitedForItAlone) {
  Driver driver(diamond());
  EXPECT_EQ(driver.complete(0), "step 0 completed after 0ms, request 1, request 2");
  EXPECT_EQ(driver.after(1s).complete(2), "step 2 completed after 1s");
  EXPECT_EQ(driver.after(1s).complete(1), "step 1 completed after 2s, request 3");
  EXPECT_EQ(driver.run.steps[3], (Step{step_id(3), "d", Requested{driver.now, driver.now + 5min}, 1, 0, driver.now}));
}

TEST(StepCompletion, OfTheLastStepCompletesTheRun) {
  Driver driver(parallel());
  driver.complete(3);
  driver.complete(1);
  driver.complete(0);
  EXPECT_EQ(driver.run.status, RunStatus::running);
  EXPECT_EQ(driver.complete(2), "step 2 completed after 0ms, completed");
  EXPECT_EQ(driver.run.status, RunStatus::completed);
  EXPECT_EQ(driver.run.error, "");
}

TEST(StepCompletion, WinsOnlyTheFirstTime) {
  Driver driver(parallel());
  driver.complete(0, R"({"first":1})");
  EXPECT_EQ(driver.complete(0, R"({"second":1})"), "already_completed");
  EXPECT_EQ(driver.state<Completed>(0).result, R"({"first":1})");
}

TEST(StepCompletion, OfAnEarlierAttemptWinsWhileTheStepBacksOff) {
  Driver driver(parallel());
  driver.fail(0);
  ASSERT_EQ(name(driver.run.steps[0].state), "backing_off");
  EXPECT_EQ(driver.complete(0), "step 0 completed after 0ms");
}

TEST(StepCompletion, IsFoundByTheStepTypeWhenTheWorkerDoesNotEchoTheStep) {
  Driver driver(parallel());
  EXPECT_EQ(driver.give(StepCompleted{std::nullopt, "forecast", "{}"}), "step 2 completed after 0ms");
}

TEST(StepCompletion, IsFoundByTheStepAloneWhenNoTypeIsKnown) {
  Driver driver(parallel());
  EXPECT_EQ(driver.give(StepCompleted{step_id(1), "", "{}"}), "step 1 completed after 0ms");
}

TEST(StepCompletion, IsIgnoredWhenTheRunHasNoSuchStep) {
  Driver driver(parallel());
  EXPECT_EQ(driver.give(StepCompleted{step_id(9), "forecast", "{}"}), "unknown_step");
  EXPECT_EQ(driver.give(StepCompleted{std::nullopt, "weather", "{}"}), "unknown_step");
  EXPECT_EQ(driver.give(StepCompleted{step_id(1), "forecast", "{}"}), "unknown_step");  // step 1 is risk_scoring
}

TEST(StepCompletion, IsIgnoredWhenTheStepWasNeverRequested) {
  Driver driver(chain());
  EXPECT_EQ(driver.complete(2), "not_requested");
}

TEST(StepCompletion, IsTakenAfterATimeoutThatNobodyHasNoticedYet) {
  Driver driver(single());
  EXPECT_EQ(driver.after(2h).complete(0), "step 0 completed after 2h, completed");
}

TEST(LateCompletion, IsRecordedWithoutEffectsWhenTheRunHasFailed) {
  Driver driver(diamond());
  driver.complete(0);
  driver.fail(1, "bad input", false);
  EXPECT_EQ(driver.after(1s).complete(2, R"({"x":1})"), "");
  EXPECT_EQ(driver.run.status, RunStatus::failed);
  EXPECT_EQ(driver.run.error, "b: bad input");
  EXPECT_EQ(driver.state<Completed>(2), (Completed{kStart + 1s, false, R"({"x":1})"}));
  EXPECT_EQ(driver.complete(2), "already_completed");
  EXPECT_EQ(driver.complete(1), "");  // of the failed step itself
  EXPECT_EQ(driver.complete(3), "not_requested");
}

TEST(LateCompletion, IsRecordedWithoutEffectsWhenTheRunWasCancelled) {
  Driver driver(parallel());
  driver.fail(1);
  driver.cancel();
  EXPECT_EQ(driver.complete(0), "");
  EXPECT_EQ(driver.complete(1), "");  // it was backing off
  EXPECT_EQ(driver.run.status, RunStatus::cancelled);
  EXPECT_EQ(states(driver.run), "completed completed requested requested");
}

TEST(LateCompletion, OfTheLastStepDoesNotCompleteTheRun) {
  Driver driver(single());
  driver.cancel();
  EXPECT_EQ(driver.complete(0), "");
  EXPECT_EQ(driver.run.status, RunStatus::cancelled);
}

TEST(StepFailure, IsRetriedAfterADelayThatGrowsUpToItsMaximum) {
  Definition of = without_jitter(single());
  of.steps[0].retry = {.attempts_max = 6, .delay_first = 1s, .factor = 3, .delay_max = 10s, .jitter = 0};
  Driver driver(of);
  for (const milliseconds delay : {1s, 3s, 9s, 10s, 10s}) {
    EXPECT_EQ(driver.fail(0, "down"), "");
    EXPECT_EQ(driver.state<BackingOff>(0), (BackingOff{driver.now + delay, "down"}));
    EXPECT_EQ(next_wake_up(driver.run), driver.now + delay);
    EXPECT_EQ(driver.after(delay - 1ms).wake(), "not_due");
    EXPECT_EQ(driver.after(1ms).wake(), "request 0");
  }
  EXPECT_EQ(driver.run.steps[0].attempt, 6);
}

TEST(StepFailure, SpreadsRetriesByTheJitterAndTheSeed) {
  Definition of = single();
  of.steps[0].retry = {.attempts_max = 2, .delay_first = 10s, .factor = 2, .delay_max = 30s, .jitter = 0.2};
  const workflow::Run run = start(new_run(of), of, kStart).next;
  milliseconds least = 1h;
  milliseconds most = 0ms;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const workflow::Run next = decide(run, StepFailed{step_id(0), "a", 1, kStart, "boom", true}, of, kStart, seed).next;
    const milliseconds delay = std::get<BackingOff>(next.steps[0].state).retry_at - kStart;
    EXPECT_GE(delay, 8s);
    EXPECT_LE(delay, 12s);
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_LT(least, 8100ms);
  EXPECT_GT(most, 11900ms);
}

TEST(StepFailure, SpreadsTheRetriesOfStepsThatFailedTogether) {
  Definition of = parallel();
  Driver driver(of);
  std::set<Timestamp> times;
  for (std::size_t i = 0; i < 4; ++i) {
    driver.fail(i);
    times.insert(driver.state<BackingOff>(i).retry_at);
  }
  EXPECT_EQ(times.size(), 4U);
}

TEST(StepFailure, NeverRetriesInTheSameMillisecond) {
  Definition of = single();
  of.steps[0].retry = {.attempts_max = 2, .delay_first = 1ms, .factor = 1, .delay_max = 1ms, .jitter = 1};
  const workflow::Run run = start(new_run(of), of, kStart).next;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const workflow::Run next = decide(run, StepFailed{step_id(0), "a", 1, kStart, "boom", true}, of, kStart, seed).next;
    EXPECT_GT(std::get<BackingOff>(next.steps[0].state).retry_at, kStart);
  }
}

TEST(StepFailure, OfTheLastAttemptFailsTheRun) {
  Driver driver(without_jitter(parallel()));
  driver.fail(1);
  driver.after(1s).wake();
  driver.fail(1);
  driver.after(2s).wake();
  EXPECT_EQ(driver.fail(1, "still down"), "failed");
  EXPECT_EQ(driver.run.status, RunStatus::failed);
  EXPECT_EQ(driver.run.error, "risk_scoring: still down");
  EXPECT_EQ(driver.run.failed_step, "risk_scoring");
  EXPECT_EQ(driver.state<Failed>(1), Failed{"still down"});
  EXPECT_EQ(states(driver.run), "requested failed requested requested");
  EXPECT_EQ(next_wake_up(driver.run), std::nullopt);
}

TEST(StepFailure, ThatIsNotRetryableFailsTheRunAtOnce) {
  Driver driver(parallel());
  EXPECT_EQ(driver.fail(2, "no such opportunity", false), "failed");
  EXPECT_EQ(driver.run.error, "forecast: no such opportunity");
  EXPECT_EQ(driver.run.failed_step, "forecast");
}

TEST(StepFailure, CountsWithAnAttemptOnlyIfItIsTheCurrentOne) {
  Driver driver(without_jitter(single()));
  EXPECT_EQ(driver.fail_attempt(0, 0), "not_requested");
  EXPECT_EQ(driver.fail_attempt(0, 2), "not_requested");
  EXPECT_EQ(driver.fail_attempt(0, 1), "");
  EXPECT_EQ(driver.fail_attempt(0, 1), "stale_attempt");  // the same again, while the step backs off
  driver.after(1s).wake();
  EXPECT_EQ(driver.fail_attempt(0, 1), "stale_attempt");
  EXPECT_EQ(driver.fail_attempt(0, 2, "boom", true, kStart), "");  // its time does not matter
}

TEST(StepFailure, CountsWithoutAnAttemptOnlyIfItIsNotOlderThanTheRequest) {
  Driver driver(without_jitter(single()));
  driver.after(1s);
  EXPECT_EQ(driver.fail_attempt(0, std::nullopt, "boom", true, kStart - 1ms), "stale_attempt");
  EXPECT_EQ(driver.fail_attempt(0, std::nullopt, "boom", true, kStart), "");
  EXPECT_EQ(driver.fail_attempt(0, std::nullopt), "stale_attempt");  // nothing is requested now
}

TEST(StepFailure, IsIgnoredWhereItCannotMatter) {
  Driver driver(chain());
  EXPECT_EQ(driver.give(StepFailed{step_id(7), "a", 1, kStart, "boom", true}), "unknown_step");
  EXPECT_EQ(driver.give(StepFailed{std::nullopt, "z", 1, kStart, "boom", true}), "unknown_step");
  EXPECT_EQ(driver.fail_attempt(1, std::nullopt), "not_requested");
  driver.complete(0);
  EXPECT_EQ(driver.fail(0, "boom", false), "already_completed");
  driver.cancel();
  EXPECT_EQ(driver.fail(1), "run_ended");
}

TEST(StepFailure, IsFoundByTheStepTypeWhenTheWorkerDoesNotEchoTheStep) {
  Driver driver(parallel());
  EXPECT_EQ(driver.give(StepFailed{std::nullopt, "forecast", std::nullopt, kStart, "boom", false}), "failed");
  EXPECT_EQ(driver.run.failed_step, "forecast");
}

TEST(StepFailure, KeepsAReadableErrorOfBoundedLength) {
  Driver nothing(single());
  nothing.fail(0, "", false);
  EXPECT_EQ(nothing.run.error, "a: no reason given");

  Driver longest(single());
  longest.fail(0, std::string(kErrorBytesMax, 'x'), false);
  EXPECT_EQ(longest.run.error, "a: " + std::string(kErrorBytesMax, 'x'));

  Driver longer(single());
  longer.fail(0, std::string(kErrorBytesMax - 1, 'x') + "ä", false);
  EXPECT_EQ(longer.run.error, "a: " + std::string(kErrorBytesMax - 1, 'x') + "… (cut after 4095 bytes)");
}

TEST(WakeUp, DoesNothingBeforeAnythingIsDue) {
  Driver driver(parallel());
  EXPECT_EQ(driver.wake(), "not_due");
  EXPECT_EQ(driver.after(5min - 1ms).wake(), "not_due");
}

TEST(WakeUp, RetriesAStepThatGaveNoAnswer) {
  Driver driver(without_jitter(single()));
  EXPECT_EQ(next_wake_up(driver.run), kStart + 5min);
  EXPECT_EQ(driver.after(5min).wake(), "");
  EXPECT_EQ(driver.state<BackingOff>(0), (BackingOff{driver.now + 1s, "no answer within 5m"}));
  EXPECT_EQ(driver.after(1s).wake(), "request 0");
  EXPECT_EQ(driver.state<Requested>(0), (Requested{driver.now, driver.now + 5min}));
}

TEST(WakeUp, FailsTheRunAfterTheLastTimeout) {
  Driver driver(without_jitter(single()));
  driver.after(5min).wake();
  driver.after(1s).wake();
  driver.after(5min).wake();
  driver.after(2s).wake();
  EXPECT_EQ(driver.after(5min).wake(), "failed");
  EXPECT_EQ(driver.run.error, "a: no answer within 5m");
  EXPECT_EQ(driver.run.failed_step, "a");
}

TEST(WakeUp, FailsTheRunWhenItsDeadlineHasPassed) {
  Driver driver(parallel());
  driver.complete(0);
  EXPECT_EQ(driver.after(30min).wake(), "failed");
  EXPECT_EQ(driver.run.status, RunStatus::failed);
  EXPECT_EQ(driver.run.error, "run deadline of 30m passed");
  EXPECT_EQ(driver.run.failed_step, "");
  EXPECT_EQ(states(driver.run), "completed requested requested requested");  // all of them may still be answered
  EXPECT_EQ(driver.wake(), "run_ended");
}

TEST(WakeUp, DoesEverythingThatIsDueAtOnce) {
  Definition of = without_jitter(parallel());
  of.steps[3].timeout = 1s;
  Driver driver(of);
  driver.fail(0);
  driver.fail(1);
  EXPECT_EQ(driver.after(1s).wake(), "request 0, request 1");
  EXPECT_EQ(states(driver.run), "requested requested requested backing_off");
}

TEST(WakeUp, RequestsNothingInADecisionThatFailsTheRun) {
  Definition of = without_jitter(parallel());
  of.steps[3].timeout = 1s;
  of.steps[3].retry.attempts_max = 1;
  Driver driver(of);
  driver.fail(0);
  EXPECT_EQ(driver.after(1s).wake(), "failed");
  EXPECT_EQ(states(driver.run), "backing_off requested requested failed");
}

TEST(NextWakeUp, IsTheEarliestThatIsDue) {
  Driver driver(without_jitter(parallel()));
  EXPECT_EQ(next_wake_up(driver.run), kStart + 5min);
  driver.after(10s).fail(2);
  EXPECT_EQ(next_wake_up(driver.run), kStart + 11s);
  driver.after(1s).wake();
  EXPECT_EQ(next_wake_up(driver.run), kStart + 5min);
  for (std::size_t i = 0; i < 3; ++i) driver.complete(i);
  EXPECT_EQ(next_wake_up(driver.run), kStart + 5min);
  driver.complete(3);
  EXPECT_EQ(next_wake_up(driver.run), std::nullopt);
}

TEST(NextWakeUp, IsNeverAfterTheDeadlineOfTheRun) {
  Definition of = single();
  of.run_deadline = 1min;
  EXPECT_EQ(next_wake_up(Driver(of).run), kStart + 1min);
}

TEST(Cancel, EndsTheRunWithTheReason) {
  Driver driver(parallel());
  EXPECT_EQ(driver.cancel("duplicate of OPP-2"), "failed");
  EXPECT_EQ(driver.run.status, RunStatus::cancelled);
  EXPECT_EQ(driver.run.error, "cancelled: duplicate of OPP-2");
  EXPECT_EQ(driver.run.failed_step, "");
  EXPECT_EQ(next_wake_up(driver.run), std::nullopt);
  EXPECT_EQ(driver.cancel(), "run_ended");
}

TEST(Cancel, IsIgnoredWhenTheRunHasEnded) {
  Driver completed(single());
  completed.complete(0);
  EXPECT_EQ(completed.cancel(), "run_ended");
  Driver failed(single());
  failed.fail(0, "boom", false);
  EXPECT_EQ(failed.cancel(), "run_ended");
}

TEST(Retry, IsIgnoredUnlessTheRunFailedOrWasCancelled) {
  Driver driver(single());
  EXPECT_EQ(driver.retry(), "still_active");
  driver.complete(0);
  EXPECT_EQ(driver.retry(), "still_active");
}

TEST(Retry, RequestsOnlyStepsThatAreNotCompleted) {
  Driver driver(parallel());
  driver.complete(0);
  driver.after(1s).fail(1, "bad", false);
  EXPECT_EQ(driver.after(1h).retry(), "started, request 1, request 2, request 3");
  EXPECT_EQ(driver.run.status, RunStatus::running);
  EXPECT_EQ(driver.run.attempt, 2);
  EXPECT_EQ(driver.run.error, "");
  EXPECT_EQ(driver.run.failed_step, "");
  EXPECT_EQ(driver.run.created_at, kStart);
  EXPECT_EQ(driver.run.deadline, driver.now + 30min);
  EXPECT_EQ(driver.run.steps[1],
            (Step{step_id(1), "risk_scoring", Requested{driver.now, driver.now + 5min}, 2, 1, driver.now}));
}

TEST(Retry, WaitsAgainForDependenciesThatAreNotCompleted) {
  Driver driver(diamond());
  driver.complete(0);
  driver.complete(1);
  driver.fail(2, "bad", false);
  EXPECT_EQ(driver.retry(), "started, request 2");
  EXPECT_EQ(states(driver.run), "completed completed requested waiting");
}

TEST(Retry, PublishesCompletionsThatCameAfterTheEndAndGoesOnFromThem) {
  Driver driver(diamond());
  driver.complete(0);
  driver.fail(1, "bad", false);
  driver.after(2s).complete(2);
  driver.after(1s).complete(1);
  EXPECT_EQ(driver.after(1h).retry(), "started, step 1 completed after 3s, step 2 completed after 2s, request 3");
  EXPECT_TRUE(driver.state<Completed>(1).published);
  EXPECT_TRUE(driver.state<Completed>(2).published);
}

TEST(Retry, PublishesNoCompletionTwice) {
  Driver driver(parallel());
  driver.complete(0);
  driver.cancel();
  driver.complete(1);
  EXPECT_EQ(driver.retry(), "started, step 1 completed after 0ms, request 2, request 3");
  driver.cancel();
  EXPECT_EQ(driver.retry(), "started, request 2, request 3");
}

TEST(Retry, CompletesTheRunAtOnceWhenNothingIsLeftToDo) {
  Driver driver(single());
  driver.cancel();
  driver.complete(0);
  EXPECT_EQ(driver.retry(), "started, step 0 completed after 0ms, completed");
  EXPECT_EQ(driver.run.status, RunStatus::completed);
  EXPECT_EQ(driver.run.attempt, 2);
  EXPECT_EQ(driver.run.error, "");
}

TEST(Retry, GivesEveryStepItsFullBudgetAgain) {
  Driver driver(without_jitter(single()));
  for (int run_attempt = 1; run_attempt <= 3; ++run_attempt) {
    EXPECT_EQ(driver.fail(0), "");
    EXPECT_EQ(driver.after(1s).wake(), "request 0");
    EXPECT_EQ(driver.fail(0), "");
    EXPECT_EQ(driver.after(2s).wake(), "request 0");  // the delays start anew as well
    EXPECT_EQ(driver.fail(0), "failed");
    EXPECT_EQ(driver.run.steps[0].attempt, 3 * run_attempt);
    EXPECT_EQ(driver.retry(), "started, request 0");
  }
}

TEST(Retry, DoesNotTakeAFailureOfTheOldAttemptForOneOfTheNew) {
  Driver driver(parallel());
  driver.cancel();
  driver.after(1s).retry();
  EXPECT_EQ(driver.fail_attempt(0, 1), "stale_attempt");
  EXPECT_EQ(driver.fail_attempt(0, std::nullopt, "boom", true, kStart), "stale_attempt");
  EXPECT_EQ(driver.fail_attempt(0, 2), "");
}

TEST(Retry, TakesACompletionOfTheOldAttempt) {
  Driver driver(single());
  driver.cancel();
  driver.after(1s).retry();
  EXPECT_EQ(driver.complete(0), "step 0 completed after 0ms, completed");
}

TEST(Fits, SaysWhetherADefinitionIsTheOneThatTheRunIsPinnedTo) {
  const workflow::Run run = Driver(chain()).run;
  EXPECT_TRUE(fits(run, chain()));
  Definition renamed = chain();
  renamed.name = "other";
  EXPECT_FALSE(fits(run, renamed));
  Definition newer = chain();
  newer.version = "1.0.1";
  EXPECT_FALSE(fits(run, newer));
  Definition shorter = chain();
  shorter.steps.pop_back();
  EXPECT_FALSE(fits(run, shorter));
  Definition swapped = chain();
  std::swap(swapped.steps[0], swapped.steps[1]);
  EXPECT_FALSE(fits(run, swapped));
}

TEST(FitsDeathTest, IsDemandedByDecide) {
  const workflow::Run run = Driver(chain()).run;
  EXPECT_DEATH((void)decide(run, WakeUp{}, single(), kStart, 0), "fits");
}

TEST(IgnoredName, IsUniqueForEachReason) {
  std::set<std::string_view> names;
  for (const Ignored reason : {Ignored::unknown_step, Ignored::already_completed, Ignored::not_requested,
                               Ignored::stale_attempt, Ignored::run_ended, Ignored::not_due, Ignored::still_active}) {
    names.insert(name(reason));
  }
  EXPECT_EQ(names.size(), 7U);
}

}  // namespace
}  // namespace wfo::workflow
