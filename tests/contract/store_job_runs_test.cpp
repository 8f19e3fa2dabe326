#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using schedule::JobRun;
using schedule::JobRunStatus;
using schedule::TriggeredBy;
using store::StoredJobRun;
using store::Transaction;

constexpr JobRunStatus kStatuses[] = {JobRunStatus::pending,   JobRunStatus::queued, JobRunStatus::running,
                                      JobRunStatus::completed, JobRunStatus::failed, JobRunStatus::cancelled};

/// Open ones are due, and ended ones ended, at(n).
JobRun run(std::uint32_t n, JobRunStatus status = JobRunStatus::queued, std::string job = "outcome-sync") {
  JobRun made;
  made.id = id<JobRunId>(n);
  made.job = std::move(job);
  made.status = status;
  made.trigger = id<EventId>(n);
  made.created_at = at(static_cast<int>(n));
  if (is_open(status)) {
    made.due_at = at(static_cast<int>(n));
  } else {
    made.ended_at = at(static_cast<int>(n));
  }
  if (status == JobRunStatus::running) {
    made.started_at = at(static_cast<int>(n));
    made.holder = "worker";
  }
  return made;
}
JobRun of_schedule(std::string schedule, JobRun made) {
  made.schedule = std::move(schedule);
  return made;
}
/// Everything in it, all of it unlike `run(n)`.
JobRun full(std::uint32_t n) {
  JobRun made = run(n, JobRunStatus::running, "risk-snapshot-backfill");
  made.triggered_by = TriggeredBy::scheduler;
  made.schedule = "wöchentlich";
  made.scheduled_for = at(-5);
  made.correlation_id = "korrelation";
  made.metadata = R"({"from":"2026-01-01"})";
  made.created_at = at(1);
  made.started_at = at(2);
  made.due_at = at(3);
  made.deadline = at(4);
  made.ended_at = at(5);
  made.holder = "host/1";
  made.attempt = 3;
  made.takeovers = 2;
  made.progress = {.done = 1'000'000'000'000, .total = std::numeric_limits<std::int64_t>::max(), .note = "größer"};
  made.checkpoint = R"({"after":"x"})";
  made.counts = {{"read", std::numeric_limits<std::int64_t>::max()}, {"\"written\"", 0}};
  made.error = "connection refused\n";
  return made;
}

class JobRunContract : public StoreContract {
 protected:
  Result<std::vector<bool>> try_insert(std::vector<JobRun> runs) {
    return write([&](Transaction& t) { return t.job_runs().insert(runs); });
  }
  std::vector<bool> insert(std::vector<JobRun> runs) { return value(try_insert(std::move(runs))); }
  Result<std::vector<bool>> try_update(std::vector<StoredJobRun> runs) {
    return write([&](Transaction& t) { return t.job_runs().update(runs); });
  }
  std::vector<bool> update(std::vector<StoredJobRun> runs) { return value(try_update(std::move(runs))); }
  std::optional<JobRun> find(std::uint32_t n) {
    auto found = find_stored(n);
    return found ? std::optional(std::move(found->run)) : std::nullopt;
  }
  std::int64_t version(std::uint32_t n) {
    const auto found = find_stored(n);
    return found ? found->version : 0;
  }
  /// The numbers of the runs.
  std::vector<std::uint32_t> list(store::JobRunQuery query = {}) {
    std::vector<JobRunId> ids;
    for (const JobRun& one : value(read([&](const Transaction& t) { return t.job_runs().list(query); }))) {
      ids.push_back(one.id);
    }
    return numbers(ids);
  }
  std::vector<std::uint32_t> due(JobRunStatus status, int now, std::size_t count_max = 100) {
    return numbers(value(read([&](const Transaction& t) { return t.job_runs().due(status, at(now), count_max); })));
  }
  std::vector<std::uint32_t> past_deadline(int now, std::size_t count_max = 100) {
    return numbers(value(read([&](const Transaction& t) { return t.job_runs().past_deadline(at(now), count_max); })));
  }
  std::vector<std::uint32_t> open_of(std::string schedule, std::size_t count_max = 100) {
    const auto found = value(read([&](const Transaction& t) {
      return t.job_runs().open_of({&schedule, 1}, count_max);
    }));
    return found.empty() ? std::vector<std::uint32_t>() : numbers(found[0].ids);
  }
  std::vector<std::uint32_t> heartbeat(std::vector<std::uint32_t> runs, std::string_view holder, int due_at) {
    std::vector<JobRunId> ids;
    for (const auto n : runs) ids.push_back(id<JobRunId>(n));
    auto held = numbers(value(write([&](Transaction& t) { return t.job_runs().heartbeat(ids, holder, at(due_at)); })));
    std::ranges::sort(held);
    return held;
  }
  std::size_t purge(int before, std::size_t count_max) {
    return value(write([&](Transaction& t) { return t.job_runs().purge(at(before), count_max); }));
  }
  std::optional<Timestamp> last_completed_at(std::string_view job) {
    return value(read([&](const Transaction& t) { return t.job_runs().last_completed_at(job); }));
  }
  std::optional<Timestamp> oldest_running() {
    return value(read([](const Transaction& t) { return t.job_runs().oldest_running(); }));
  }

  using Numbers = std::vector<std::uint32_t>;
  static std::uint32_t number(const JobRunId& run) {
    std::uint32_t n = 0;
    for (std::size_t i = 12; i < 16; ++i) n = n << 8 | run.value().bytes[i];
    return n;
  }
  static Numbers numbers(const std::vector<JobRunId>& ids) {
    Numbers found;
    for (const JobRunId& one : ids) found.push_back(number(one));
    return found;
  }

 private:
  std::optional<StoredJobRun> find_stored(std::uint32_t n) {
    return value(read([&](const Transaction& t) { return t.job_runs().find(id<JobRunId>(n)); }));
  }
};

TEST_P(JobRunContract, FindsARunAsItWasInserted) {
  EXPECT_EQ(insert({full(1), run(2)}), (std::vector{true, true}));
  harness_->restart();
  EXPECT_EQ(find(1), full(1));
  EXPECT_EQ(find(2), run(2));
  EXPECT_EQ(version(1), 1);
  EXPECT_EQ(find(3), std::nullopt);
}

TEST_P(JobRunContract, KeepsEveryStatusAndWhoTriggeredIt) {
  std::uint32_t n = 0;
  for (const auto status : kStatuses) {
    for (const auto who : {TriggeredBy::scheduler, TriggeredBy::manual}) {
      JobRun one = run(++n, status);
      one.triggered_by = who;
      insert({one});
      EXPECT_EQ(find(n), one) << n;
    }
  }
}

TEST_P(JobRunContract, FindsManyInTheOrderAskedFor) {
  insert({run(1), run(2), run(3)});
  const std::vector ids{id<JobRunId>(3), id<JobRunId>(9), id<JobRunId>(1), id<JobRunId>(3)};
  const auto found = value(read([&](const Transaction& t) { return t.job_runs().find(ids); }));
  ASSERT_EQ(found.size(), 4U);
  ASSERT_TRUE(found[0] && found[2] && found[3]);
  EXPECT_EQ(found[0]->run, run(3));
  EXPECT_FALSE(found[1]);
  EXPECT_EQ(found[2]->run, run(1));
  EXPECT_EQ(found[3]->run, run(3));
  EXPECT_TRUE(value(read([](const Transaction& t) { return t.job_runs().find(std::span<const JobRunId>()); })).empty());
}

TEST_P(JobRunContract, FindsRunsByTheirTriggers) {
  JobRun from_elsewhere = run(7);
  from_elsewhere.trigger = id<EventId>(70);
  insert({from_elsewhere, run(2)});
  const std::vector triggers{id<EventId>(2), id<EventId>(7), id<EventId>(70), id<EventId>(2)};
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.job_runs().find_by_trigger(triggers); })),
            (std::vector<std::optional<JobRunId>>{id<JobRunId>(2), std::nullopt, id<JobRunId>(7), id<JobRunId>(2)}));
  EXPECT_TRUE(value(read([](const Transaction& t) {
                return t.job_runs().find_by_trigger(std::span<const EventId>());
              })).empty());
}

TEST_P(JobRunContract, LeavesARunAloneThatIsKnown) {
  insert({run(2)});
  JobRun same_trigger = run(4);
  same_trigger.trigger = id<EventId>(2);
  const JobRun again = run(2, JobRunStatus::failed);
  const JobRun twice = run(3, JobRunStatus::failed);
  EXPECT_EQ(insert({run(3), again, twice, same_trigger, run(1)}), (std::vector{true, false, false, false, true}));
  EXPECT_EQ(find(2), run(2));
  EXPECT_EQ(find(3), run(3)) << "of two in one batch the first";
  EXPECT_EQ(find(4), std::nullopt) << "one trigger, one run";
  EXPECT_TRUE(insert({}).empty());
}

TEST_P(JobRunContract, UpdatesWhatStillHasTheVersionThatWasReadAndCountsItUp) {
  insert({run(1), run(2)});
  JobRun changed = full(1);
  EXPECT_EQ(update({{changed, 1}}), std::vector{true});
  // What it was triggered as stays.
  const JobRun inserted = run(1);
  changed.job = inserted.job;
  changed.triggered_by = inserted.triggered_by;
  changed.schedule = inserted.schedule;
  changed.scheduled_for = inserted.scheduled_for;
  changed.trigger = inserted.trigger;
  changed.correlation_id = inserted.correlation_id;
  changed.metadata = inserted.metadata;
  changed.created_at = inserted.created_at;
  EXPECT_EQ(find(1), changed);
  EXPECT_EQ(version(1), 2);

  EXPECT_EQ(update({{run(1, JobRunStatus::completed), 1}}), std::vector{false}) << "somebody else has it now";
  EXPECT_EQ(update({{run(1, JobRunStatus::completed), 3}}), std::vector{false});
  EXPECT_EQ(find(1), changed);
  EXPECT_EQ(update({{run(9), 1}}), std::vector{false});
  EXPECT_EQ(find(9), std::nullopt);
  EXPECT_EQ(update({{run(1, JobRunStatus::completed), 2}}), std::vector{true});
  EXPECT_EQ(find(1), run(1, JobRunStatus::completed)) << "also what is gone is gone";
  EXPECT_EQ(find(2), run(2));
  EXPECT_TRUE(update({}).empty());
}

TEST_P(JobRunContract, TellsEachOfManyUpdatesInTheirOrder) {
  insert({run(1), run(2), run(3)});
  EXPECT_EQ(update({{run(3, JobRunStatus::running), 1}}), std::vector{true});
  const auto failed = JobRunStatus::failed;
  EXPECT_EQ(update({{run(2, failed), 1}, {run(9, failed), 1}, {run(3, failed), 1}, {run(1, failed), 1}}),
            (std::vector{true, false, false, true}));
  EXPECT_EQ(find(1), run(1, failed));
  EXPECT_EQ(find(2), run(2, failed));
  EXPECT_EQ(find(3), run(3, JobRunStatus::running));
}

TEST_P(JobRunContract, UpdatesARunOnceThatABatchHasTwice) {
  insert({run(1)});
  EXPECT_EQ(update({{run(1, JobRunStatus::running), 1}, {run(1, JobRunStatus::failed), 1}}),
            (std::vector{true, false}));
  EXPECT_EQ(find(1), run(1, JobRunStatus::running));
  EXPECT_EQ(version(1), 2);
}

TEST_P(JobRunContract, LetsOneOfManyUpdateAVersion) {
  insert({run(1)});
  for (int round = 1; round <= 5; ++round) {
    std::atomic<int> winners = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&, i] {
          JobRun mine = run(1, JobRunStatus::running);
          mine.attempt = 10 * round + i;
          winners += update({{mine, round}})[0];
        });
      }
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(version(1), round + 1);
    EXPECT_EQ(find(1)->attempt / 10, round);
  }
}

TEST_P(JobRunContract, ProlongsTheLeaseOfWhoHasARunWithoutANewVersion) {
  JobRun of_other = run(3, JobRunStatus::running);
  of_other.holder = "other";
  JobRun queued = run(4);
  queued.holder = "worker";
  JobRun ended = run(5, JobRunStatus::completed);
  ended.holder = "worker";
  insert({run(1, JobRunStatus::running), run(2, JobRunStatus::running), of_other, queued, ended});
  EXPECT_EQ(heartbeat({5, 4, 3, 2, 9, 1}, "worker", 500), (Numbers{1, 2}));
  EXPECT_EQ(find(1)->due_at, at(500));
  EXPECT_EQ(find(2)->due_at, at(500));
  EXPECT_EQ(find(3), of_other);
  EXPECT_EQ(find(4), queued);
  EXPECT_EQ(find(5), ended);
  EXPECT_EQ(due(JobRunStatus::running, 499), Numbers{3});
  EXPECT_EQ(version(1), 1) << "who works on it can still write what it read";
  EXPECT_EQ(update({{run(1, JobRunStatus::completed), 1}}), std::vector{true});
  EXPECT_EQ(heartbeat({1, 2}, "worker", 600), Numbers{2});
  EXPECT_EQ(heartbeat({2}, "", 700), Numbers{});
  EXPECT_EQ(heartbeat({}, "worker", 700), Numbers{});
}

TEST_P(JobRunContract, KnowsThePendingRunsOfAJobTheOldestFirst) {
  JobRun created_first = run(9, JobRunStatus::pending);
  created_first.created_at = at(2);
  insert({run(1, JobRunStatus::completed), run(3, JobRunStatus::pending), created_first, run(4, JobRunStatus::running),
          run(5, JobRunStatus::queued), run(6, JobRunStatus::pending), run(2, JobRunStatus::pending, "other")});
  const auto oldest = [&](std::string_view job, std::size_t count_max) {
    return numbers(value(read([&](const Transaction& t) { return t.job_runs().oldest_pending(job, count_max); })));
  };
  EXPECT_EQ(oldest("outcome-sync", 10), (Numbers{9, 3, 6}));
  EXPECT_EQ(oldest("outcome-sync", 2), (Numbers{9, 3}));
  EXPECT_EQ(oldest("outcome-sync", 0), Numbers{});
  EXPECT_EQ(oldest("other", 10), Numbers{2});
  EXPECT_EQ(oldest("none", 10), Numbers{});
}

TEST_P(JobRunContract, KnowsTheOpenRunsOfSchedules) {
  insert({of_schedule("a", run(5, JobRunStatus::running)), of_schedule("a", run(2, JobRunStatus::pending)),
          of_schedule("a", run(3, JobRunStatus::completed)), of_schedule("b", run(1, JobRunStatus::queued)),
          of_schedule("a", run(4, JobRunStatus::queued)), run(6, JobRunStatus::queued)});
  EXPECT_EQ(open_of("a"), (Numbers{2, 4, 5}));
  EXPECT_EQ(open_of("a", 2), (Numbers{2, 4}));
  const std::vector<std::string> schedules{"b", "none", "a", "b"};
  const auto found = value(read([&](const Transaction& t) { return t.job_runs().open_of(schedules, 1); }));
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].ids, std::vector{id<JobRunId>(1)});
  EXPECT_TRUE(found[1].ids.empty());
  EXPECT_EQ(found[2].ids, std::vector{id<JobRunId>(2)});
  EXPECT_EQ(found[3].ids, found[0].ids);
  update({{run(2, JobRunStatus::cancelled), 1}});
  EXPECT_EQ(open_of("a"), (Numbers{4, 5}));
}

TEST_P(JobRunContract, KnowsWhichAreDueTheMostOverdueFirst) {
  for (const auto status : {JobRunStatus::pending, JobRunStatus::queued, JobRunStatus::running}) {
    const auto base = 10 * static_cast<std::uint32_t>(status);
    insert({run(base + 3, status), run(base + 1, status), run(base + 2, status)});
    const auto now = static_cast<int>(base) + 2;
    EXPECT_TRUE(due(status, static_cast<int>(base)).empty());
    EXPECT_EQ(due(status, now), (Numbers{base + 1, base + 2}));
    EXPECT_EQ(due(status, now + 50), (Numbers{base + 1, base + 2, base + 3}));
    EXPECT_EQ(due(status, now + 50, 2), (Numbers{base + 1, base + 2}));
  }
  update({{run(1, JobRunStatus::completed), 1}, {run(2, JobRunStatus::queued), 1}});
  EXPECT_EQ(due(JobRunStatus::pending, 99), Numbers{3});
  EXPECT_EQ(due(JobRunStatus::queued, 10), Numbers{2});
}

TEST_P(JobRunContract, KnowsWhichOpenOnesArePastTheirDeadline) {
  const auto with_deadline = [](std::uint32_t n, JobRunStatus status, int deadline) {
    JobRun made = run(n, status);
    made.deadline = at(deadline);
    return made;
  };
  insert({with_deadline(1, JobRunStatus::running, 30), with_deadline(2, JobRunStatus::queued, 10), run(3),
          with_deadline(4, JobRunStatus::failed, 10), with_deadline(5, JobRunStatus::pending, 20)});
  EXPECT_TRUE(past_deadline(9).empty());
  EXPECT_EQ(past_deadline(10), Numbers{2});
  EXPECT_EQ(past_deadline(99), (Numbers{2, 5, 1}));
  EXPECT_EQ(past_deadline(99, 2), (Numbers{2, 5}));
}

TEST_P(JobRunContract, KnowsWhenAJobCompletedLastAndSinceWhenOneRuns) {
  EXPECT_EQ(oldest_running(), std::nullopt);
  EXPECT_EQ(last_completed_at("outcome-sync"), std::nullopt);
  insert({run(3, JobRunStatus::completed), run(2, JobRunStatus::completed), run(9, JobRunStatus::failed),
          run(8, JobRunStatus::completed, "other"), run(7, JobRunStatus::running), run(6, JobRunStatus::running),
          run(1, JobRunStatus::queued)});
  EXPECT_EQ(last_completed_at("outcome-sync"), at(3));
  EXPECT_EQ(last_completed_at("other"), at(8));
  EXPECT_EQ(last_completed_at("none"), std::nullopt);
  EXPECT_EQ(oldest_running(), at(6));
}

TEST_P(JobRunContract, ListsTheNewestFirstByWhatIsAskedFor) {
  // Each combination of job, schedule and status twice.
  std::vector<JobRun> all;
  std::uint32_t n = 0;
  for (int round = 0; round < 2; ++round) {
    for (const std::string_view job : {"a", "b"}) {
      for (const std::string_view schedule : {"", "x", "y"}) {
        for (const auto status : kStatuses)
          all.push_back(of_schedule(std::string(schedule), run(++n, status, std::string(job))));
      }
    }
  }
  insert(all);
  std::vector<std::optional<JobRunStatus>> statuses(std::begin(kStatuses), std::end(kStatuses));
  statuses.emplace_back();
  for (const std::string job : {"", "a", "b", "none"}) {
    for (const std::string schedule : {"", "x", "none"}) {
      for (const auto& status : statuses) {
        for (const std::uint32_t before : {0U, 1U, 37U, 50U}) {
          for (const std::size_t limit : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
            Numbers expected;
            for (auto one = n; one > 0 && expected.size() < limit; --one) {
              const JobRun& it = all[one - 1];
              if ((job.empty() || it.job == job) && (schedule.empty() || it.schedule == schedule) &&
                  (!status || it.status == *status) && (before == 0 || one < before)) {
                expected.push_back(one);
              }
            }
            store::JobRunQuery query{.job = job, .schedule = schedule, .status = status, .limit = limit};
            if (before != 0) query.before = id<JobRunId>(before);
            EXPECT_EQ(list(query), expected)
                << "job '" << job << "' schedule '" << schedule << "' status " << (status ? name(*status) : "any")
                << " before " << before << " limit " << limit;
          }
        }
      }
    }
  }
  const auto page = value(read([](const Transaction& t) { return t.job_runs().list({.limit = 2}); }));
  EXPECT_EQ(page, (std::vector{all[71], all[70]})) << "with all that is known of them";
}

TEST_P(JobRunContract, PurgesNoJobsLastCompletedRun) {
  const auto completed = [](std::uint32_t n, std::string job, int ended_at) {
    JobRun made = run(n, JobRunStatus::completed, std::move(job));
    made.ended_at = at(ended_at);
    return made;
  };
  insert({completed(1, "b", 1), completed(2, "a", 2), completed(3, "a", 3), completed(4, "c", 4), completed(5, "c", 4),
          run(6, JobRunStatus::failed, "a"), run(7, JobRunStatus::failed, "d"), completed(8, "b", 500)});
  EXPECT_EQ(purge(100, 1), 1U);
  EXPECT_EQ(purge(100, 1), 1U);
  EXPECT_EQ(list(), (Numbers{8, 7, 6, 5, 4, 3})) << "the one that is kept takes no place of those that go";
  EXPECT_EQ(purge(100, 100), 3U);
  EXPECT_EQ(list().size(), 3U);
  EXPECT_EQ(last_completed_at("a"), at(3));
  EXPECT_EQ(last_completed_at("b"), at(500));
  EXPECT_EQ(last_completed_at("c"), at(4));
  EXPECT_EQ(purge(1000, 100), 0U);
  insert({completed(9, "a", 5)});
  EXPECT_EQ(purge(100, 100), 1U) << "now another one is the last";
  EXPECT_EQ(find(3), std::nullopt);
  EXPECT_EQ(last_completed_at("a"), at(5));
}

TEST_P(JobRunContract, PurgesTheOldestInStepsButNoneThatIsOpen) {
  insert({run(1, JobRunStatus::running), run(2, JobRunStatus::pending), run(3, JobRunStatus::queued),
          run(6, JobRunStatus::completed), run(5, JobRunStatus::failed), run(4, JobRunStatus::cancelled),
          run(7, JobRunStatus::completed)});
  EXPECT_EQ(purge(7, 2), 2U);
  EXPECT_EQ(list(), (Numbers{7, 6, 3, 2, 1}));
  EXPECT_EQ(purge(7, 2), 1U);
  EXPECT_EQ(purge(7, 2), 0U);
  EXPECT_EQ(list(), (Numbers{7, 3, 2, 1})) << "ended at the bound, not before it";
}

TEST_P(JobRunContract, WritesNothingOfABatchWithTextThatNotEveryStoreCanHold) {
  insert({run(3)});
  const auto spoiled = [](std::uint32_t n) {
    std::vector<JobRun> odd;
    for (const auto field : {&JobRun::job, &JobRun::schedule, &JobRun::correlation_id, &JobRun::metadata,
                             &JobRun::holder, &JobRun::checkpoint, &JobRun::error}) {
      odd.push_back(run(n));
      odd.back().*field = std::string("a\0b", 3);
      odd.push_back(run(n));
      odd.back().*field = "\xff";
    }
    odd.push_back(run(n));
    odd.back().progress.note = "\xff";
    odd.push_back(run(n));
    odd.back().counts = {{std::string("a\0b", 3), 1}};
    return odd;
  };
  for (const JobRun& odd : spoiled(2)) EXPECT_ERROR(invalid_argument, try_insert({run(1), odd}));
  for (const JobRun& odd : spoiled(3)) EXPECT_ERROR(invalid_argument, try_update({{odd, 1}}));
  EXPECT_EQ(list(), Numbers{3});
  EXPECT_EQ(version(3), 1);
}

TEST_P(JobRunContract, TakesBackWhatATransactionWroteThatFailed) {
  insert({run(1, JobRunStatus::running), run(2)});
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 const JobRun one = run(3);
                 const StoredJobRun other{run(2, JobRunStatus::failed), 1};
                 const auto held = id<JobRunId>(1);
                 TRY(t.job_runs().insert({&one, 1}));
                 TRY(t.job_runs().update({&other, 1}));
                 TRY(t.job_runs().heartbeat({&held, 1}, "worker", at(99)));
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(list(), (Numbers{2, 1}));
  EXPECT_EQ(find(1), run(1, JobRunStatus::running));
  EXPECT_EQ(find(2), run(2));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, JobRunContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
