#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using schedule::FireCause;
using schedule::FireOutcome;
using schedule::FireRule;
using store::BufferedFires;
using store::FireId;
using store::FireRecord;
using store::Transaction;

FireRecord fire(FireOutcome outcome, FireCause cause, int first, std::string schedule = "daily") {
  FireRecord made;
  made.schedule = std::move(schedule);
  made.fire = {.first = at(first), .last = at(first), .count = 1, .outcome = outcome, .cause = cause, .rule = {}};
  made.decided_at = at(1000 + first);
  return made;
}
FireRecord triggered(int first, std::uint32_t run, std::string schedule = "daily") {
  FireRecord made = fire(FireOutcome::triggered, FireCause::due, first, std::move(schedule));
  made.run = id<JobRunId>(run);
  return made;
}
FireRecord buffered(int first, std::string schedule = "daily") {
  return fire(FireOutcome::buffered, FireCause::overlap, first, std::move(schedule));
}
FireRecord skipped(int first, FireCause cause = FireCause::paused, std::string schedule = "daily") {
  return fire(FireOutcome::skipped, cause, first, std::move(schedule));
}
/// Several in one row.
FireRecord joined(FireRecord made, int last, std::int64_t count) {
  made.fire.last = at(last);
  made.fire.count = count;
  made.decided_at = at(1000 + last);
  return made;
}

class FireContract : public StoreContract {
 protected:
  Result<void> try_record(std::vector<FireRecord> fires) {
    return write([&](Transaction& t) { return t.fires().record(fires); });
  }
  void record(std::vector<FireRecord> fires) { EXPECT_OK(try_record(std::move(fires))); }
  /// With their ids.
  std::vector<FireRecord> list(store::FireQuery query = {}) {
    return value(read([&](const Transaction& t) { return t.fires().list(query); }));
  }
  /// In the order of decisions, without ids.
  std::vector<FireRecord> recorded(std::string schedule = "") {
    auto fires = list({.schedule = std::move(schedule), .limit = 1000});
    std::vector<FireRecord> found;
    for (auto one = fires.rbegin(); one != fires.rend(); ++one) {
      if (!found.empty()) {
        EXPECT_GT(one->id, last_id_);
      }
      last_id_ = one->id;
      one->id = 0;
      found.push_back(*one);
    }
    return found;
  }
  FireId id_of(int first, const std::string& schedule = "daily") {
    for (const FireRecord& one : list({.schedule = schedule, .limit = 1000})) {
      if (one.fire.first == at(first)) return one.id;
    }
    ADD_FAILURE() << "no fire at " << first;
    return 0;
  }
  std::vector<BufferedFires> buffered_of(std::vector<std::string> schedules) {
    return value(read([&](const Transaction& t) { return t.fires().buffered(schedules); }));
  }
  Result<void> release(std::vector<store::ReleasedFire> fires, int now) {
    return write([&](Transaction& t) { return t.fires().release(fires, at(now)); });
  }
  Result<void> release(FireId fire, std::uint32_t run, int now) { return release({{fire, id<JobRunId>(run)}}, now); }
  std::size_t give_up(std::string_view schedule, int now) {
    return value(
        write([&](Transaction& t) { return t.fires().give_up_buffered(schedule, FireCause::superseded, at(now)); }));
  }
  std::size_t purge(int before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.fires().purge(at(before), count_max); }));
  }
  FireId last_id_ = 0;
};

TEST_P(FireContract, ListsFiresAsTheyWereRecordedButWithIdsOfItsOwn) {
  FireRecord gap = joined(fire(FireOutcome::skipped, FireCause::outside_window, 4), 9, 3);
  gap.fire.rule = FireRule::after_gap;
  FireRecord numbered = triggered(1, 7);
  numbered.id = 4711;
  record({numbered, buffered(2, "täglich"), gap});
  harness_->restart();
  EXPECT_EQ(recorded(), (std::vector{triggered(1, 7), buffered(2, "täglich"), gap}));
  record({});
  record({triggered(10, 8)});
  EXPECT_EQ(recorded().size(), 4U);
  EXPECT_NE(list().back().id, 4711);
}

TEST_P(FireContract, KeepsEveryOutcomeCauseAndRule) {
  std::vector<FireRecord> all;
  int first = 0;
  for (const auto outcome : {FireOutcome::triggered, FireOutcome::buffered, FireOutcome::skipped}) {
    for (int cause = 0; cause <= static_cast<int>(FireCause::superseded); ++cause) {
      for (const auto rule : {FireRule::regular, FireRule::every_pass, FireRule::first_pass, FireRule::after_gap}) {
        all.push_back(fire(outcome, static_cast<FireCause>(cause), ++first));
        all.back().fire.rule = rule;
      }
    }
  }
  record(all);
  EXPECT_EQ(recorded(), all);
}

TEST_P(FireContract, JoinsASkippedFireToTheNewestRowOfItsSchedule) {
  record({skipped(1)});
  record({skipped(1, FireCause::paused, "other")});
  record({joined(skipped(2), 4, 3)});
  record({skipped(5)});
  EXPECT_EQ(recorded(), (std::vector{joined(skipped(1), 5, 5), skipped(1, FireCause::paused, "other")}));
}

TEST_P(FireContract, JoinsSkippedFiresOfOneCallThatFollowEachOther) {
  record({skipped(1), skipped(1, FireCause::paused, "other"), skipped(2), triggered(3, 1), skipped(4), skipped(5),
          skipped(2, FireCause::paused, "other")});
  EXPECT_EQ(recorded("daily"), (std::vector{joined(skipped(1), 2, 2), triggered(3, 1), joined(skipped(4), 5, 2)}));
  EXPECT_EQ(recorded("other"), std::vector{joined(skipped(1, FireCause::paused, "other"), 2, 2)});
}

TEST_P(FireContract, GivesASkippedFireARowOfItsOwnWhereTheNewestIsOfAnotherKind) {
  FireRecord of_other_rule = skipped(3, FireCause::overlap);
  of_other_rule.fire.rule = FireRule::every_pass;
  const std::vector rows{skipped(1),
                         skipped(2, FireCause::overlap),
                         of_other_rule,
                         skipped(4),
                         triggered(5, 1),
                         skipped(6),
                         buffered(7),
                         skipped(8),
                         fire(FireOutcome::buffered, FireCause::paused, 9),
                         fire(FireOutcome::buffered, FireCause::paused, 10)};
  for (const FireRecord& row : rows) record({row});
  EXPECT_EQ(recorded(), rows);
}

TEST_P(FireContract, TakesOneCallAsManyThatFollowEachOther) {
  const std::vector fires{skipped(1),
                          skipped(2, FireCause::overlap),
                          skipped(3, FireCause::overlap),
                          skipped(4),
                          triggered(5, 1),
                          skipped(6),
                          buffered(7),
                          skipped(8),
                          skipped(9),
                          triggered(10, 2)};
  record(fires);
  const auto at_once = recorded();
  EXPECT_EQ(at_once.size(), 8U);
  EXPECT_EQ(give_up("daily", 2000), 1U);
  EXPECT_EQ(purge(100'000, 100), 8U);
  for (const FireRecord& one : fires) record({one});
  EXPECT_EQ(recorded(), at_once);
}

TEST_P(FireContract, JoinsOnlyWhatLiesBehindTheRow) {
  record({joined(skipped(10), 12, 3)});
  record({skipped(12)});
  record({skipped(3)});
  record({skipped(4)});
  EXPECT_EQ(recorded(), (std::vector{joined(skipped(10), 12, 3), skipped(12), joined(skipped(3), 4, 2)}));
}

TEST_P(FireContract, KnowsHowManyWaitAndWhichHasWaitedLongest) {
  record({buffered(7), buffered(3), buffered(5), triggered(1, 1), skipped(2), buffered(4, "other")});
  const auto found = buffered_of({"other", "none", "daily", "other"});
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].count, 1U);
  ASSERT_TRUE(found[0].oldest);
  EXPECT_EQ(found[0].oldest->fire, buffered(4, "other").fire);
  EXPECT_EQ(found[1].count, 0U);
  EXPECT_EQ(found[1].oldest, std::nullopt);
  EXPECT_EQ(found[2].count, 3U);
  FireRecord oldest = buffered(3);
  oldest.id = id_of(3);
  EXPECT_EQ(found[2].oldest, oldest) << "by its own time, not by when it was recorded";
  EXPECT_EQ(found[3].oldest, found[0].oldest);
  EXPECT_TRUE(buffered_of({}).empty());
}

TEST_P(FireContract, KnowsWhichOfThoseThatWaitWasAskedForFirst) {
  const auto asked = [](int first, std::string schedule = "daily") {
    return fire(FireOutcome::buffered, FireCause::backfill, first, std::move(schedule));
  };
  record({buffered(3), asked(7), asked(5), asked(1, "other"), buffered(2, "ordinary"),
          fire(FireOutcome::skipped, FireCause::backfill, 1), fire(FireOutcome::triggered, FireCause::backfill, 2)});
  const auto found = buffered_of({"daily", "other", "ordinary", "none"});
  EXPECT_EQ(found[0].count, 3U);
  EXPECT_EQ(found[0].oldest->fire, buffered(3).fire);
  ASSERT_TRUE(found[0].oldest_asked_for);
  FireRecord expected = asked(5);
  expected.id = id_of(5);
  EXPECT_EQ(found[0].oldest_asked_for, expected);
  EXPECT_EQ(found[1].count, 1U);
  EXPECT_EQ(found[1].oldest_asked_for, found[1].oldest);
  EXPECT_TRUE(found[2].oldest);
  EXPECT_EQ(found[2].oldest_asked_for, std::nullopt);
  EXPECT_EQ(found[3].oldest_asked_for, std::nullopt);
}

TEST_P(FireContract, KnowsWhetherARunIsOpenOfAFireThatWaitedOrWasAskedFor) {
  const auto run_of = [](std::uint32_t n, schedule::JobRunStatus status, std::string schedule) {
    schedule::JobRun made;
    made.id = id<JobRunId>(n);
    made.job = "outcome-sync";
    made.status = status;
    made.schedule = std::move(schedule);
    made.trigger = id<EventId>(n);
    made.created_at = at(1);
    if (is_open(status)) made.due_at = at(1);
    return made;
  };
  using enum schedule::JobRunStatus;
  const std::vector runs{run_of(1, running, "regular"), run_of(2, pending, "asked for"), run_of(3, queued, "released"),
                         run_of(4, completed, "ended"), run_of(5, running, "ended"),     run_of(6, running, "waits")};
  EXPECT_TRUE(write([&](Transaction& t) { return t.job_runs().insert(runs); }));
  const auto with_cause = [](FireCause cause, FireRecord made) {
    made.fire.cause = cause;
    return made;
  };
  record({triggered(1, 1, "regular"), with_cause(FireCause::backfill, triggered(2, 2, "asked for")),
          buffered(3, "released"), with_cause(FireCause::backfill, triggered(4, 4, "ended")),
          with_cause(FireCause::catch_up, triggered(5, 5, "ended")),
          with_cause(FireCause::backfill, buffered(6, "waits"))});
  const std::vector<std::string> schedules{"regular", "asked for", "released", "ended", "waits", "none", "asked for"};
  const auto taken = [&] {
    return value(read([&](const Transaction& t) { return t.fires().turns_taken(schedules); }));
  };
  EXPECT_EQ(taken(), (std::vector{false, true, false, false, false, false, true}));
  EXPECT_OK(release(id_of(3, "released"), 3, 2000));
  EXPECT_EQ(taken(), (std::vector{false, true, true, false, false, false, true}));
}

TEST_P(FireContract, ReleasesABufferedFireOnce) {
  record({buffered(1), buffered(2), triggered(3, 5)});
  const FireId waiting = id_of(1);
  EXPECT_OK(release(waiting, 9, 2000));
  FireRecord expected = fire(FireOutcome::triggered, FireCause::released, 1);
  expected.run = id<JobRunId>(9);
  expected.decided_at = at(2000);
  EXPECT_EQ(recorded(), (std::vector{expected, buffered(2), triggered(3, 5)}));
  EXPECT_EQ(buffered_of({"daily"})[0].count, 1U);
  EXPECT_EQ(buffered_of({"daily"})[0].oldest->fire.first, at(2));

  EXPECT_ERROR(not_found, release(waiting, 10, 2001));
  EXPECT_ERROR(not_found, release(id_of(3), 10, 2001));
  EXPECT_ERROR(not_found, release(123'456, 10, 2001));
  EXPECT_EQ(recorded(), (std::vector{expected, buffered(2), triggered(3, 5)}));
}

TEST_P(FireContract, ReleasesManyAtOnceOrNone) {
  record({buffered(1), buffered(2, "other"), buffered(3), triggered(4, 4)});
  const auto before = recorded();
  const std::vector<store::ReleasedFire> one_is_not_waiting{
      {id_of(1), id<JobRunId>(11)}, {id_of(4), id<JobRunId>(14)}, {id_of(3), id<JobRunId>(13)}};
  const auto refused = release(one_is_not_waiting, 2000);
  EXPECT_ERROR(not_found, refused);
  EXPECT_EQ(refused.error().message, fmt::format("no fire with the id {} waits", id_of(4)));
  EXPECT_ERROR(not_found, release({{id_of(1), id<JobRunId>(11)}, {id_of(1), id<JobRunId>(12)}}, 2000));
  EXPECT_EQ(recorded(), before);

  EXPECT_OK(release({{id_of(3), id<JobRunId>(13)}, {id_of(2, "other"), id<JobRunId>(12)}}, 2000));
  const auto with_run = [](FireRecord made, std::uint32_t run) {
    made.fire.outcome = FireOutcome::triggered;
    made.fire.cause = FireCause::released;
    made.run = id<JobRunId>(run);
    made.decided_at = at(2000);
    return made;
  };
  EXPECT_EQ(recorded(),
            (std::vector{buffered(1), with_run(buffered(2, "other"), 12), with_run(buffered(3), 13), triggered(4, 4)}));
  EXPECT_OK(release({}, 2001));
}

TEST_P(FireContract, GivesUpWhatWaitsOfASchedule) {
  record({buffered(1), buffered(2), triggered(3, 5), buffered(4, "other")});
  EXPECT_EQ(give_up("daily", 2000), 2U);
  EXPECT_EQ(give_up("daily", 2001), 0U);
  EXPECT_EQ(give_up("none", 2001), 0U);
  FireRecord first = skipped(1, FireCause::superseded);
  FireRecord second = skipped(2, FireCause::superseded);
  first.decided_at = second.decided_at = at(2000);
  EXPECT_EQ(recorded(), (std::vector{first, second, triggered(3, 5), buffered(4, "other")}));
  EXPECT_EQ(buffered_of({"daily"})[0].count, 0U);
}

TEST_P(FireContract, ListsInPagesTheNewestFirst) {
  for (int i = 1; i <= 5; ++i) {
    record({triggered(i, static_cast<std::uint32_t>(i)), triggered(i, static_cast<std::uint32_t>(i), "other")});
  }
  const auto firsts = [](const std::vector<FireRecord>& fires) {
    std::vector<Timestamp> times;
    for (const FireRecord& one : fires) times.push_back(one.fire.first);
    return times;
  };
  const auto page = list({.schedule = "daily", .limit = 2});
  EXPECT_EQ(firsts(page), (std::vector{at(5), at(4)}));
  const auto next = list({.schedule = "daily", .limit = 2, .before = page.back().id});
  EXPECT_EQ(firsts(next), (std::vector{at(3), at(2)}));
  EXPECT_EQ(firsts(list({.schedule = "daily", .limit = 2, .before = next.back().id})), std::vector{at(1)});
  const auto of_all = list({.limit = 3});
  EXPECT_EQ(firsts(of_all), (std::vector{at(5), at(5), at(4)}));
  EXPECT_EQ(firsts(list({.limit = 2, .before = of_all.back().id})), (std::vector{at(4), at(3)}));
  EXPECT_TRUE(list({.schedule = "none"}).empty());
}

TEST_P(FireContract, PurgesTheOldestInStepsButNoneThatWaits) {
  record({buffered(1), triggered(4, 1), skipped(3), triggered(2, 2), triggered(5, 3)});
  EXPECT_EQ(purge(1005, 2), 2U);
  EXPECT_EQ(recorded(), (std::vector{buffered(1), triggered(4, 1), triggered(5, 3)}));
  EXPECT_EQ(purge(1005, 2), 1U);
  EXPECT_EQ(purge(1005, 2), 0U);
  EXPECT_EQ(recorded(), (std::vector{buffered(1), triggered(5, 3)})) << "decided at the bound, not before it";
}

TEST_P(FireContract, PurgesByTheLastDecisionOfARow) {
  record({skipped(1), skipped(9)});
  EXPECT_EQ(purge(1009, 10), 0U);
  EXPECT_EQ(purge(1010, 10), 1U);
  EXPECT_TRUE(recorded().empty());
}

TEST_P(FireContract, NeverGivesAnIdTwice) {
  record({triggered(1, 1)});
  const FireId first = id_of(1);
  EXPECT_EQ(purge(5000, 10), 1U);
  harness_->restart();
  record({triggered(2, 2)});
  EXPECT_GT(id_of(2), first) << "a page's cursor stays where it was";
}

TEST_P(FireContract, WritesNothingOfABatchWithTextThatNotEveryStoreCanHold) {
  EXPECT_ERROR(invalid_argument, try_record({skipped(1), skipped(2, FireCause::paused, std::string("a\0b", 3))}));
  EXPECT_ERROR(invalid_argument, try_record({triggered(1, 1, "\xff")}));
  EXPECT_TRUE(recorded().empty());
}

TEST_P(FireContract, TakesBackWhatATransactionWroteThatFailed) {
  record({buffered(1), skipped(2)});
  const FireId waiting = id_of(1);
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 const std::vector fires{skipped(3), triggered(4, 4)};
                 TRY(t.fires().record(fires));
                 const store::ReleasedFire released{waiting, id<JobRunId>(5)};
                 TRY(t.fires().release({&released, 1}, at(9)));
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(recorded(), (std::vector{buffered(1), skipped(2)}));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, FireContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
