#include <chrono>
#include <set>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::JobRunStatus;
using schedule::OverlapPolicy;
using ::testing::HasSubstr;

template <class T>
void expect_error(const Result<T>& result, ErrorCode code, std::string_view text) {
  ASSERT_FALSE(result);
  EXPECT_EQ(name(result.error().code), name(code)) << result.error().message;
  EXPECT_THAT(result.error().message, HasSubstr(std::string(text)));
}

class Operator : public ::testing::Test {
 protected:
  World world_;
};

TEST_F(Operator, TriggersAJobByHand) {
  const auto answer = World::must(world_.scheduler->trigger(
      {.job = "outcome-sync", .metadata = R"( {"a": 1.0} )", .user_id = "ann", .traceparent = "00-abc"}));
  const schedule::JobRun run = world_.run(answer.run);
  EXPECT_EQ(run.triggered_by, schedule::TriggeredBy::manual);
  EXPECT_EQ(run.schedule, "");
  EXPECT_EQ(run.scheduled_for, std::nullopt);
  EXPECT_EQ(run.metadata, R"({"a": 1.0})");
  EXPECT_EQ(run.trigger, answer.trigger);
  const auto triggers = world_.log_of(events::kJobTrigger);
  ASSERT_EQ(triggers.size(), 1U);
  EXPECT_EQ(triggers[0]->id(), answer.trigger);
  EXPECT_EQ(World::text(*triggers[0], "triggeredBy"), "manual");
  EXPECT_EQ(World::text(*triggers[0], "runId"), answer.run.to_string());
  EXPECT_FALSE(triggers[0]->data().find("scheduledFor"));
  EXPECT_EQ(World::metadata(*triggers[0], "userId"), "ann");
  EXPECT_EQ(triggers[0]->traceparent(), "00-abc");
}

TEST_F(Operator, IsToldWhatCannotBeTriggered) {
  expect_error(world_.scheduler->trigger({.job = "sync"}), ErrorCode::not_found,
               "no job 'sync'; there are: outcome-sync, report");
  expect_error(world_.scheduler->trigger({.job = "report", .metadata = "[1]"}), ErrorCode::invalid_argument,
               "metadata: [1]; allowed: an object");
  expect_error(world_.scheduler->trigger({.job = "report", .metadata = "{"}), ErrorCode::invalid_argument,
               "metadata: ");
  expect_error(world_.scheduler->trigger({.job = "outcome-sync", .metadata = R"({"surprise":1})"}),
               ErrorCode::invalid_argument, "metadata.surprise is unknown");
  expect_error(world_.scheduler->trigger(
                   {.job = "report", .metadata = fmt::format(R"({{"a":"{}"}})", std::string(70'000, 'x'))}),
               ErrorCode::invalid_argument, "allowed: an object of up to 65536 bytes");
  world_.store.full = true;
  expect_error(world_.scheduler->trigger({.job = "report"}), ErrorCode::unavailable, "disk");
  EXPECT_TRUE(world_.runs().empty());
  EXPECT_TRUE(world_.published().empty());
}

TEST_F(Operator, MakesAScheduleThatBeginsNow) {
  const auto row = world_.put(World::ten_minutely());
  EXPECT_EQ(row, *world_.find());
  EXPECT_EQ(row.origin, store::ScheduleOrigin::api);
  EXPECT_EQ(row.next_at, kStart + 10min);
  EXPECT_EQ(row.created_at, kStart);
  EXPECT_EQ(row.version, 1);
  EXPECT_FALSE(row.paused);
}

TEST_F(Operator, MakesAScheduleThatIsPausedAtFirst) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.paused = true;
  schedule.pause_note = "not yet";
  const auto row = world_.put(schedule);
  EXPECT_TRUE(row.paused);
  EXPECT_EQ(row.pause_note, "not yet");
  EXPECT_EQ(world_.attend_at(kStart + 10min), 0U);
}

TEST_F(Operator, IsToldWhatIsWrongWithASchedule) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"61 * * * *"};
  expect_error(world_.scheduler->put(schedule), ErrorCode::invalid_argument, "minute");
  schedule = World::ten_minutely();
  schedule.job = "nothing";
  expect_error(world_.scheduler->put(schedule), ErrorCode::invalid_argument, "outcome-sync, report");
  schedule = World::ten_minutely();
  schedule.time_zone = "Europe/Berln";
  expect_error(world_.scheduler->put(schedule), ErrorCode::invalid_argument, "Europe/Berln");
  schedule = World::ten_minutely();
  schedule.metadata = R"({},"paused":true)";
  expect_error(world_.scheduler->put(schedule), ErrorCode::invalid_argument, "schedule 'often': metadata");
  schedule.metadata = R"({"surprise":1})";
  expect_error(world_.scheduler->put(schedule), ErrorCode::invalid_argument, "surprise is unknown");
  EXPECT_FALSE(world_.find());
}

TEST_F(Operator, ChangesAScheduleWithoutLosingWhatWasDueBefore) {
  world_.put(World::ten_minutely());
  world_.clock.set(kStart + 25min);  // nobody has looked at 09:10 and 09:20
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"15 * * * *"};
  schedule.job = "report";
  const auto row = world_.put(schedule);
  EXPECT_EQ(world_.told(), "09:10 triggered catch_up, 09:20 triggered catch_up");
  EXPECT_EQ(world_.runs()[0].job, "outcome-sync");
  EXPECT_EQ(row, *world_.find());
  EXPECT_EQ(row.next_at, kStart + 75min);
  EXPECT_EQ(row.created_at, kStart);
  EXPECT_EQ(row.updated_at, kStart + 25min);
  world_.attend_at(kStart + 75min);
  EXPECT_EQ(world_.runs().back().job, "report");
}

TEST_F(Operator, ChangesOnlyWhatAFireMeansWithoutTouchingWhenItIs) {
  world_.put(World::ten_minutely());
  world_.clock.set(kStart + 5min);
  schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::skip);
  schedule.catch_up_window = 1h;
  schedule.metadata = R"({"b":2})";
  EXPECT_EQ(world_.put(schedule).next_at, kStart + 10min);
  world_.attend_at(kStart + 10min);
  EXPECT_EQ(world_.runs()[0].metadata, R"({"b":2})");
}

TEST_F(Operator, PutsTheSameAgainWithoutAnyChange) {
  const auto before = world_.put(World::ten_minutely());
  world_.clock.advance(1min);
  EXPECT_EQ(world_.put(World::ten_minutely()), before);
}

TEST_F(Operator, ChangesTimesWhileAFireWaitsForItsJitter) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.jitter = 9min;
  const auto row = world_.put(schedule);
  ASSERT_GT(*row.wake_up_at, kStart + 10min + 1s) << "the name should give a fire of another moment";
  world_.clock.set(kStart + 10min + 1s);
  schedule.cron = {"5 * * * *"};
  EXPECT_EQ(world_.put(schedule).next_at, kStart + 65min);
  EXPECT_EQ(world_.told(), "09:10 triggered due");
}

TEST_F(Operator, ChangesTimesAfterTheClockWasSetBackWithoutFiringTwice) {
  // 09:10 to 10:00 have fired; the clock shows 09:05 again.
  struct Case {
    const char* cron;
    Timestamp next_at;
    const char* then;  // up to 11:00
  };
  for (const Case& one : {Case{"*/5 * * * *", kStart + 65min, "10:05"}, Case{"*/20 * * * *", kStart + 80min, "10:20"},
                          Case{"7 * * * *", kStart + 67min, "10:07"}, Case{"0 10,11 * * *", kStart + 120min, "11:00"},
                          Case{"*/20,45 * * * *", kStart + 80min, "10:20"}}) {
    World world;
    world.put(World::ten_minutely());
    world.attend_at(kStart + 60min);
    ASSERT_EQ(world.runs().size(), 6U);
    world.clock.set(kStart + 5min);
    schedule::Schedule schedule = World::ten_minutely();
    schedule.cron = {one.cron};
    EXPECT_EQ(world.put(schedule).next_at, one.next_at) << one.cron;
    for (int minute = 6; minute <= 60; ++minute) world.attend_at(kStart + minute * 1min);
    EXPECT_EQ(world.runs().size(), 6U) << one.cron << ": the span has been accounted for";
    for (int minute = 61; minute <= 120; ++minute) world.attend_at(kStart + minute * 1min);
    ASSERT_GT(world.runs().size(), 6U) << one.cron;
    EXPECT_EQ(format_timestamp(*world.runs()[6].scheduled_for).substr(11, 5), one.then);
    std::set<Timestamp> instants;
    for (const auto& run : world.runs()) EXPECT_TRUE(instants.insert(*run.scheduled_for).second) << one.cron;
  }
}

TEST_F(Operator, ChangesTimesWithTheClockRightWithoutLosingWhatIsNew) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"0 * * * *"};
  world_.put(schedule);
  world_.attend_at(kStart + 65min);
  EXPECT_EQ(world_.put(World::ten_minutely()).next_at, kStart + 70min) << "before the old one's 11:00";
}

TEST_F(Operator, ChangesTimesOfAScheduleOfEverySecondAfterTheClockWasSetBackByAYear) {
  schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::skip);
  schedule.cron = {"* * * * 1-2 *"};
  World::must(world_.scheduler->put(schedule));
  auto row = world_.find().value();
  row.next_at = kStart + 24h * 365;  // all of a year were accounted for
  row.wake_up_at = row.next_at;
  World::must(world_.store.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(transaction.schedules().update({&row, 1}));
    return {};
  }));
  EXPECT_EQ(world_.put(World::ten_minutely()).next_at, kStart + 24h * 365 - 9h)
      << "behind the last second of February, which is the 28th";
}

TEST_F(Operator, PausesAndResumesByChangingTheDefinition) {
  schedule::Schedule schedule = World::ten_minutely();
  world_.put(schedule);
  World::must(world_.scheduler->pause("often", "by hand"));
  schedule.catch_up_window = 1h;
  EXPECT_TRUE(world_.put(schedule).paused) << "the definition's paused has not changed";
  EXPECT_EQ(world_.find()->pause_note, "by hand");
  schedule.paused = true;
  schedule.pause_note = "by definition";
  EXPECT_EQ(world_.put(schedule).pause_note, "by definition");
  schedule.paused = false;
  schedule.pause_note = "";
  EXPECT_FALSE(world_.put(schedule).paused);
  EXPECT_EQ(world_.find()->pause_note, "");
}

TEST_F(Operator, RemovesAScheduleWithWhatWasDueAccountedForAndWhatWaitsGivenUp) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_all));
  world_.attend_at(kStart + 10min);
  world_.clock.set(kStart + 30min);
  World::must(world_.scheduler->remove("often"));
  EXPECT_FALSE(world_.find());
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20 skipped paused, 09:30 skipped overlap");
  EXPECT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "skipped"}, {"cause", "overlap"}}), 1);
  expect_error(world_.scheduler->remove("often"), ErrorCode::not_found, "no schedule 'often'");
}

TEST_F(Operator, PausesWithANoteThatCanBeChanged) {
  world_.put(World::ten_minutely());
  world_.clock.set(kStart + 10min + 30s);
  const auto paused = World::must(world_.scheduler->pause("often", "maintenance"));
  EXPECT_TRUE(paused.paused);
  EXPECT_EQ(paused.pause_note, "maintenance");
  EXPECT_EQ(paused, *world_.find());
  EXPECT_EQ(world_.told(), "09:10 triggered due") << "what is due just now counts";
  EXPECT_EQ(World::must(world_.scheduler->pause("often", "longer")).pause_note, "longer");
  world_.attend_at(kStart + 30min);
  world_.clock.set(kStart + 40min);
  const auto resumed = World::must(world_.scheduler->resume("often"));
  EXPECT_FALSE(resumed.paused);
  EXPECT_EQ(resumed.pause_note, "");
  EXPECT_EQ(resumed, *world_.find());
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20..09:40 3 skipped paused");
  world_.attend_at(kStart + 50min);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 09:20..09:40 3 skipped paused, 09:50 triggered due");
}

TEST_F(Operator, StopsACatchUpByPausing) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"* * * * * *"};
  world_.put(schedule);
  world_.clock.set(kStart + 24h);
  World::must(world_.scheduler->run_once());
  EXPECT_EQ(world_.runs().size(), schedule::kTriggersMax);
  EXPECT_TRUE(World::must(world_.scheduler->pause("often", "a flood")).paused);
  EXPECT_EQ(world_.runs().size(), schedule::kTriggersMax + 61) << "and those of the last minute, which are not late";
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "skipped"}, {"cause", "paused"}}),
            24 * 3600 - 61 - static_cast<double>(schedule::kTriggersMax));
  EXPECT_EQ(world_.attend(), 0U);
  EXPECT_EQ(world_.audit(schedule), "");
}

TEST_F(Operator, StopsACatchUpByRemoving) {
  schedule::Schedule schedule = World::ten_minutely();
  schedule.cron = {"* * * * * *"};
  schedule.jitter = 1ms;  // of which nobody can tell it from none
  world_.put(schedule);
  world_.clock.set(kStart + 24h);
  World::must(world_.scheduler->remove("often"));
  EXPECT_FALSE(world_.find());
  EXPECT_EQ(world_.runs().size(), 61U);
  EXPECT_EQ(world_.counted("job_fires_total", {{"outcome", "skipped"}, {"cause", "paused"}}), 24 * 3600 - 61);
}

TEST_F(Operator, DoesNotSkipWhatIsLateOfAScheduleThatCannotBeRemoved) {
  const schedule::Schedule schedule = World::ten_minutely();
  World::must(world_.scheduler->configure({&schedule, 1}));
  world_.clock.set(kStart + 15min);
  expect_error(world_.scheduler->remove("often"), ErrorCode::conflict, "belongs to the configuration");
  world_.attend();
  EXPECT_EQ(world_.told(), "09:10 triggered catch_up");
}

TEST_F(Operator, IsToldWhatCannotBePausedOrResumed) {
  expect_error(world_.scheduler->pause("x", ""), ErrorCode::not_found, "no schedule 'x'");
  expect_error(world_.scheduler->resume("x"), ErrorCode::not_found, "no schedule 'x'");
  world_.put(World::ten_minutely());
  expect_error(world_.scheduler->resume("often"), ErrorCode::conflict, "schedule 'often' is not paused");
  expect_error(world_.scheduler->pause("often", std::string(1'001, 'x')), ErrorCode::invalid_argument,
               "up to 1000 bytes");
  expect_error(world_.scheduler->pause("often", std::string_view("a\0b", 3)), ErrorCode::invalid_argument, "U+0000");
  EXPECT_FALSE(world_.find()->paused);
}

TEST_F(Operator, BackfillsFiresOfThePastOneAfterTheOtherAlsoWhilePaused) {
  world_.put(World::ten_minutely(OverlapPolicy::skip));
  World::must(world_.scheduler->pause("often", ""));
  world_.attend_at(kStart + 30min);
  const auto fires =
      World::must(world_.scheduler->backfill("often", kStart - 20min, kStart + 10min, OverlapPolicy::buffer_all));
  ASSERT_EQ(fires.size(), 3U);
  EXPECT_EQ(world_.told(),
            "09:10..09:30 3 skipped paused, 08:40 triggered backfill, 08:50 buffered backfill, 09:00 buffered "
            "backfill");
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  World::must(world_.deliver({world_.completed(world_.open_runs()[0])}));
  EXPECT_EQ(world_.told(),
            "09:10..09:30 3 skipped paused, 08:40 triggered backfill, 08:50 triggered released, 09:00 triggered "
            "released");
  EXPECT_TRUE(world_.find()->paused);
  EXPECT_EQ(world_.find()->next_at, kStart + 40min);
  EXPECT_EQ(world_.runs()[0].scheduled_for, kStart - 20min);
}

TEST_F(Operator, BackfillsInPlaceOfTheRunThatIsOpen) {
  world_.put(World::ten_minutely());
  world_.attend_at(kStart + 10min);
  const JobRunId open = world_.runs()[0].id;
  World::must(world_.scheduler->backfill("often", kStart - 20min, kStart, OverlapPolicy::cancel_other));
  EXPECT_EQ(world_.run(open).status, JobRunStatus::cancelled);
  EXPECT_EQ(world_.told(), "09:10 triggered due, 08:40 skipped backfill, 08:50 triggered backfill");
  ASSERT_EQ(world_.open_runs().size(), 1U);
  EXPECT_EQ(world_.open_runs()[0].scheduled_for, kStart - 10min);
  EXPECT_EQ(world_.log_of(events::kJobFailed).size(), 1U);
}

TEST_F(Operator, IsToldWhatCannotBeBackfilled) {
  const auto backfill = [&](Timestamp from, Timestamp to) {
    return world_.scheduler->backfill("often", from, to, OverlapPolicy::allow_all);
  };
  expect_error(backfill(kStart - 1h, kStart), ErrorCode::not_found, "no schedule 'often'");
  world_.put(World::ten_minutely());
  expect_error(backfill(kStart, kStart - 1h), ErrorCode::invalid_argument, "from must be before to");
  expect_error(backfill(kStart, kStart + 1h), ErrorCode::invalid_argument, "up to now");
  expect_error(backfill(kStart - 24h * 30, kStart), ErrorCode::invalid_argument, "more than 1000 fires");
  expect_error(backfill(kStart - 9min, kStart - 1min), ErrorCode::invalid_argument, "no fire between");
  EXPECT_TRUE(world_.fires().empty());
  EXPECT_TRUE(world_.runs().empty());
}

TEST_F(Operator, CancelsARunAndSaysSo) {
  world_.put(World::ten_minutely(OverlapPolicy::buffer_one));
  world_.attend_at(kStart + 20min);
  const schedule::JobRun open = world_.open_runs()[0];
  const schedule::JobRun run = World::must(world_.scheduler->cancel(open.id, "no use"));
  EXPECT_EQ(run.status, JobRunStatus::cancelled);
  EXPECT_EQ(run.error, "cancelled by an operator: no use");
  EXPECT_EQ(run.ended_at, kStart + 20min);
  EXPECT_EQ(world_.run(open.id), run);
  const auto ends = world_.log_of(events::kJobFailed);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(World::text(*ends[0], "error"), run.error);
  EXPECT_EQ(World::text(*ends[0], "runId"), open.id.to_string());
  world_.deliver_own();
  ASSERT_EQ(world_.open_runs().size(), 1U) << "what waited goes on";
  EXPECT_NE(world_.open_runs()[0].id, open.id);
}

TEST_F(Operator, IsToldHowARunEndedThatCannotBeCancelled) {
  expect_error(world_.scheduler->cancel(JobRunId(world_.ids.next()), ""), ErrorCode::not_found, "no job run");
  const JobRunId id = World::must(world_.scheduler->trigger({.job = "report"})).run;
  World::must(world_.scheduler->cancel(id, ""));
  expect_error(world_.scheduler->cancel(id, ""), ErrorCode::conflict,
               "has ended: cancelled (cancelled by an operator)");
  EXPECT_EQ(world_.log_of(events::kJobFailed).size(), 1U);
}

TEST_F(Operator, FindsEverythingAsItWasIfTheProcessDies) {
  world_.put(World::ten_minutely());
  world_.attend_at(kStart + 10min);
  const auto row = *world_.find();
  const auto published = world_.published().size();
  const JobRunId open = world_.open_runs()[0].id;
  const auto dies = [&](auto act) {
    world_.store.deaths = 1'000;
    EXPECT_EQ(act().error().code, ErrorCode::unavailable);
    world_.store.deaths = 0;
    EXPECT_EQ(*world_.find(), row);
    EXPECT_EQ(world_.published().size(), published);
    EXPECT_EQ(world_.fires().size(), 1U);
    EXPECT_EQ(world_.runs().size(), 1U);
  };
  Scheduler& scheduler = *world_.scheduler;
  dies([&] { return scheduler.trigger({.job = "report"}); });
  dies([&] { return scheduler.put(World::ten_minutely(OverlapPolicy::skip)); });
  dies([&] { return scheduler.remove("often"); });
  dies([&] { return scheduler.pause("often", ""); });
  dies([&] { return scheduler.backfill("often", kStart - 1h, kStart, OverlapPolicy::allow_all); });
  dies([&] { return scheduler.cancel(open, ""); });
}

class Configuration : public ::testing::Test {
 protected:
  Result<void> configure(const std::vector<schedule::Schedule>& schedules) {
    return world_.scheduler->configure(schedules);
  }
  World world_;
};

TEST_F(Configuration, MakesWhatIsNewChangesWhatChangedAndRemovesTheRest) {
  World::must(configure({World::ten_minutely(OverlapPolicy::skip, "a"), World::ten_minutely(OverlapPolicy::skip, "b"),
                         World::ten_minutely(OverlapPolicy::skip, "c")}));
  EXPECT_EQ(world_.find("a")->origin, store::ScheduleOrigin::configuration);
  const auto a = world_.find("a");
  world_.clock.set(kStart + 15min);  // nobody has looked at 09:10
  schedule::Schedule changed = World::ten_minutely(OverlapPolicy::skip, "b");
  changed.cron = {"0 * * * *"};
  World::must(configure(
      {World::ten_minutely(OverlapPolicy::skip, "a"), changed, World::ten_minutely(OverlapPolicy::skip, "d")}));
  EXPECT_EQ(world_.find("a"), a) << "untouched";
  EXPECT_EQ(world_.find("b")->next_at, kStart + 60min);
  EXPECT_FALSE(world_.find("c"));
  EXPECT_EQ(world_.find("d")->next_at, kStart + 20min);
  EXPECT_EQ(world_.told("a"), "");
  EXPECT_EQ(world_.told("b"), "09:10 triggered catch_up");
  EXPECT_EQ(world_.told("c"), "09:10 skipped paused");
  world_.attend();
  EXPECT_EQ(world_.told("a"), "09:10 triggered catch_up");
}

TEST_F(Configuration, LeavesWhatAnOperatorPausedAsItIsAfterARestart) {
  const std::vector schedules{World::ten_minutely()};
  World::must(configure(schedules));
  World::must(world_.scheduler->pause("often", "by hand"));
  const auto before = world_.find();
  world_.scheduler = world_.another(world_.clock, world_.ids);
  World::must(configure(schedules));
  EXPECT_EQ(world_.find(), before);
}

TEST_F(Configuration, DoesNotTakeANameFromTheApiNorTheApiOneFromIt) {
  world_.put(World::ten_minutely());
  expect_error(configure({World::ten_minutely(OverlapPolicy::skip, "a"), World::ten_minutely(OverlapPolicy::skip)}),
               ErrorCode::conflict, "'often'");
  EXPECT_FALSE(world_.find("a"));
  World::must(configure({World::ten_minutely(OverlapPolicy::skip, "a")}));
  EXPECT_TRUE(world_.find("often")) << "the API's stay";
  expect_error(world_.scheduler->put(World::ten_minutely(OverlapPolicy::allow_all, "a")), ErrorCode::conflict,
               "belongs to the configuration");
  expect_error(world_.scheduler->remove("a"), ErrorCode::conflict, "belongs to the configuration");
}

TEST_F(Configuration, ChangesNothingIfOneIsWrongAndSaysAllThatIsWrong) {
  World::must(configure({World::ten_minutely()}));
  const auto before = world_.find();
  schedule::Schedule wrong = World::ten_minutely(OverlapPolicy::skip, "wrong");
  wrong.cron = {"* * * *"};
  schedule::Schedule unknown = World::ten_minutely(OverlapPolicy::skip, "unknown");
  unknown.job = "nothing";
  const auto refused = configure(
      {wrong, World::ten_minutely(OverlapPolicy::skip, "a"), unknown, World::ten_minutely(OverlapPolicy::skip, "a")});
  expect_error(refused, ErrorCode::invalid_argument, "schedule 'wrong'");
  expect_error(refused, ErrorCode::invalid_argument, "schedule 'unknown'");
  expect_error(refused, ErrorCode::invalid_argument, "schedule 'a' stands there twice");
  EXPECT_EQ(world_.find(), before);
  EXPECT_FALSE(world_.find("a"));
}

TEST_F(Configuration, ChangesManyInTransactionsOfBoundedSizeAndGoesOnWhereItBrokeOff) {
  world_.use({.batch_max = 7});
  const auto many = [](OverlapPolicy overlap, int begin) {
    std::vector<schedule::Schedule> all;
    for (int i = begin; i < begin + 20; ++i) all.push_back(World::ten_minutely(overlap, fmt::format("s{:02}", i)));
    return all;
  };
  World::must(configure(many(OverlapPolicy::skip, 0)));
  world_.clock.set(kStart + 10min);
  // s00 to s09 go, ten change, ten are new: seven in each transaction, and one or two before it for what is due.
  const auto wanted = many(OverlapPolicy::allow_all, 10);
  std::stop_source stop;
  stop.request_stop();
  expect_error(world_.scheduler->configure(wanted, stop.get_token()), ErrorCode::unavailable, "stopped");
  EXPECT_TRUE(world_.find("s00"));
  world_.store.transactions = 0;
  world_.store.dies_at = 5;  // that of s07 to s13
  expect_error(configure(wanted), ErrorCode::unavailable, "died");
  EXPECT_FALSE(world_.find("s00"));
  EXPECT_TRUE(world_.find("s09"));
  EXPECT_FALSE(world_.find("s20"));
  world_.store.dies_at = 0;
  World::must(configure(wanted));
  for (const auto& schedule : wanted) EXPECT_EQ(world_.find(schedule.name)->definition, schedule::encode(schedule));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(world_.told(fmt::format("s{:02}", i)), "09:10 triggered due");
  EXPECT_FALSE(world_.find("s09"));
  world_.store.transactions = 0;
  World::must(configure(many(OverlapPolicy::skip, 10)));
  EXPECT_LE(world_.store.transactions, 6) << "three to account for what is due, three to change";
}

TEST_F(Configuration, AccountsForALongOutageBeforeAChange) {
  schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::skip);
  schedule.cron = {"* * * * * *"};
  World::must(configure({schedule}));
  world_.clock.set(kStart + 12h);
  World::must(configure({}));
  EXPECT_FALSE(world_.find());
  std::int64_t count = 0;
  for (const auto& record : world_.fires()) count += record.fire.count;
  EXPECT_EQ(count, 12 * 3600);
  EXPECT_EQ(world_.runs().size(), 1U);
}

}  // namespace
}  // namespace wfo::scheduler
