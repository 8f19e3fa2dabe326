#include "scheduler/detail/work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "scheduler/tests/world.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::JobRun;
using schedule::JobRunStatus;
using ::testing::HasSubstr;

/// What happens between two statements of one transaction, where rows are not locked.
class OneTransaction : public ::testing::Test {
 protected:
  OneTransaction()
      : core_(world_.store, bus::samples::contracts(), World::catalog(), World::check_metadata, world_.ids,
              world_.clock, world_.waiter, Logger::silent(), world_.metrics, {}) {}
  Result<void> with_work(const std::function<Result<void>(Work&)>& body) { return commit(core_, body); }

  World world_;
  Core core_;
};

TEST_F(OneTransaction, DoesNothingForAScheduleThatSomebodyElseWroteMeanwhile) {
  auto stale = world_.put(World::ten_minutely());
  world_.attend_at(kStart + 10min);
  const auto as_loaded = stale;
  Work::Attended attended;
  World::must(with_work([&](Work& work) -> Result<void> {
    stale = as_loaded;
    TRY_ASSIGN(attended, work.attend({&stale, 1}));
    return {};
  }));
  EXPECT_EQ(attended.triggered, 0U);
  EXPECT_EQ(stale, as_loaded);
  EXPECT_EQ(world_.told(), "09:10 triggered due");
  EXPECT_EQ(world_.runs().size(), 1U);
  EXPECT_EQ(world_.log_of(events::kJobTrigger).size(), 1U);
}

TEST_F(OneTransaction, IsTriedAgainAFewTimesAndThenGivenUpIfOthersAreFasterEachTime) {
  const auto stale = world_.put(World::ten_minutely());
  world_.attend_at(kStart + 10min);
  int tries = 0;
  const auto given_up = with_work([&](Work& work) {
    ++tries;
    auto row = stale;
    return work.write(row);
  });
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, ErrorCode::unavailable);
  EXPECT_THAT(given_up.error().message, HasSubstr("schedule 'often': somebody else wrote it"));
  EXPECT_EQ(tries, 5);

  tries = 0;
  World::must(with_work([&](Work& work) -> Result<void> {
    auto row = ++tries == 1 ? stale : *World::must(work.transaction().schedules().find("often"));
    return work.write(row);
  }));
  EXPECT_EQ(tries, 2);
}

TEST_F(OneTransaction, ClosesARunAlsoIfItsWorkerCommitsASliceAtThatMoment) {
  const JobRunId id = World::must(world_.scheduler->trigger({.job = "report"})).run;
  int asked = 0;
  std::vector<JobRun> closed;
  World::must(with_work([&](Work& work) -> Result<void> {
    asked = 0;
    TRY_ASSIGN(closed, work.close({id}, [&](const JobRun& run) -> std::optional<Ending> {
      if (++asked == 1) {
        auto slice = *World::must(work.transaction().job_runs().find(id));
        slice.run.progress.done = 7;
        World::must(work.transaction().job_runs().update({&slice, 1}));
      }
      EXPECT_EQ(run.progress.done, asked == 1 ? 0 : 7);
      return Ending{JobRunStatus::cancelled, "no use", ClosedBy::cancelled};
    }));
    return {};
  }));
  EXPECT_EQ(asked, 2);
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(world_.run(id).progress.done, 7);
  EXPECT_EQ(world_.run(id).status, JobRunStatus::cancelled);
  EXPECT_EQ(world_.log_of(events::kJobFailed).size(), 1U);
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "cancelled"}}), 1);
}

TEST_F(OneTransaction, LeavesARunToWhoeverClosedItAtThatMoment) {
  const JobRunId id = World::must(world_.scheduler->trigger({.job = "report"})).run;
  std::vector<JobRun> closed;
  World::must(with_work([&](Work& work) -> Result<void> {
    int asked = 0;
    TRY_ASSIGN(closed, work.close({id}, [&](const JobRun&) -> std::optional<Ending> {
      EXPECT_EQ(++asked, 1);
      auto other = *World::must(work.transaction().job_runs().find(id));
      other.run = ended(other.run, JobRunStatus::completed, "", work.now());
      World::must(work.transaction().job_runs().update({&other, 1}));
      return Ending{JobRunStatus::cancelled, "no use", ClosedBy::cancelled};
    }));
    return {};
  }));
  EXPECT_TRUE(closed.empty());
  EXPECT_EQ(world_.run(id).status, JobRunStatus::completed);
  EXPECT_TRUE(world_.log_of(events::kJobFailed).empty());
  EXPECT_EQ(world_.counted("job_runs_closed_total", {{"why", "cancelled"}}), 0);
}

TEST(TimetablesCache, HoldsABoundedNumberOfBytesAndFollowsEachDefinition) {
  World world;
  const auto small = world.put(World::ten_minutely(schedule::OverlapPolicy::skip, "a"));
  const std::size_t bytes = Timetables::bytes_of(small, *World::must(parse_stored(small)));
  EXPECT_LT(bytes, 3'000U);
  Timetables timetables(2 * bytes + 100);
  for (const char* name : {"a", "b", "c", "a"}) {
    const auto row = world.put(World::ten_minutely(schedule::OverlapPolicy::skip, name));
    EXPECT_EQ(World::must(timetables.of(row))->schedule.name, name);
    EXPECT_LE(timetables.size(), 2U);
  }
  EXPECT_EQ(timetables.size(), 2U);
  schedule::Schedule changed = World::ten_minutely(schedule::OverlapPolicy::skip, "a");
  const auto before = World::must(timetables.of(world.put(changed)));
  EXPECT_EQ(World::must(timetables.of(world.put(changed))), before) << "read once";
  changed.metadata = R"({"n":1})";
  EXPECT_EQ(World::must(timetables.of(world.put(changed)))->schedule.metadata, changed.metadata);
  changed.metadata = R"({"n":")" + std::string(60'000, 'x') + R"("})";
  EXPECT_EQ(World::must(timetables.of(world.put(changed)))->schedule.metadata, changed.metadata);
  EXPECT_EQ(timetables.size(), 1U) << "one that is larger than all may be is not kept, and drives out no other";
}

}  // namespace
}  // namespace wfo::scheduler
