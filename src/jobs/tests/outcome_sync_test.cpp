#include "jobs/outcome_sync.h"

#include <set>
#include <thread>

#include "jobs/tests/builtin.h"

namespace wfo::jobs::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class SyncWorld : public BuiltinWorld {
 public:
  SyncWorld() : BuiltinWorld(std::string(OutcomeSync::kName)) {}
  [[nodiscard]] MakeJob job(std::size_t slice_rows = 1'000) {
    return [this, slice_rows] {
      return std::make_unique<OutcomeSync>(database.store(), bus::samples::contracts(), ids, clock,
                                           OutcomeSyncConfig{.slice_rows = slice_rows});
    };
  }
  static store::Opportunity opportunity(const TenantId& tenant, std::string_view external_id, store::StageState state,
                                        std::optional<Date> close_on) {
    store::Opportunity out;
    out.tenant = tenant;
    out.id = opportunity_id(tenant, external_id);
    out.external_id = external_id;
    out.state = state;
    out.close_on = close_on;
    return out;
  }
  void put(std::span<const store::Opportunity> batch) {
    must(database.store().transact([&](auto& transaction) { return transaction.opportunities().upsert(batch); }));
  }
  void put(const store::Opportunity& one) { put({&one, 1}); }
  void put_many(int count) {
    std::vector<store::Opportunity> all;
    for (int i = 0; i < count; ++i) {
      all.push_back(opportunity(i % 3 == 0 ? kOther : kAcme, fmt::format("OPP-{}", i),
                                i % 2 == 0 ? store::StageState::won : store::StageState::lost, kDay));
    }
    put(all);
  }
  /// The opportunities whose outcome was published; each must be there once.
  [[nodiscard]] std::set<std::string> opportunities() {
    std::set<std::string> out;
    for (const auto& event : published(events::kOutcomeRecorded)) {
      EXPECT_TRUE(out.insert(event->tenant().to_string() + text(*event, "opportunityId")).second) << "published twice";
    }
    return out;
  }

  static constexpr Date kDay{std::chrono::March / 5 / 2026};
};

TEST(OutcomeSync, PublishesTheOutcomeOfAClosedOpportunity) {
  SyncWorld world;
  auto won = SyncWorld::opportunity(kAcme, "OPP-1", store::StageState::won, SyncWorld::kDay);
  won.amount = 1200.5;
  won.competitor_id = "RIVAL";
  world.put(won);
  world.put(SyncWorld::opportunity(kOther, "OPP-2", store::StageState::lost, SyncWorld::kDay));
  world.put(SyncWorld::opportunity(kAcme, "OPP-3", store::StageState::open, SyncWorld::kDay));
  const JobRun run = world.work(world.job());
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_THAT(run.counts, ElementsAre(Pair("opportunities", 2), Pair("published", 2), Pair("withoutCloseDate", 0)));
  EXPECT_EQ(run.progress, (schedule::JobProgress{2, 2, "all closed opportunities"}));
  const auto published = world.published(events::kOutcomeRecorded);
  ASSERT_EQ(published.size(), 2u);
  const events::Event& event = *published[0];
  EXPECT_EQ(event.tenant(), kAcme);
  EXPECT_EQ(event.source(), events::kRiskAnalyticsRole);
  EXPECT_EQ(event.correlation_id(), "why");
  EXPECT_TRUE(event.root().find("metadata", "causationId")->equals(run.trigger.to_string()));
  EXPECT_EQ(event.data().raw(),
            fmt::format(R"({{"tenantId":"{}","opportunityId":"{}","outcome":"won","closeDate":"2026-03-05",)"
                        R"("amount":1200.5,"competitorId":"RIVAL","externalId":"OPP-1"}})",
                        kAcme.to_string(), won.id.to_string()));
  EXPECT_EQ(published[1]->tenant(), kOther);
  EXPECT_EQ(World::text(*published[1], "outcome"), "lost");
  EXPECT_EQ(World::text(*published[1], "amount"), "null");
}

TEST(OutcomeSync, TwiceInARowPublishesNothingMore) {
  SyncWorld world;
  world.put_many(50);
  EXPECT_EQ(world.work(world.job()).counts.at("published"), 50);
  const JobRun second = world.work(world.job(7));
  EXPECT_THAT(second.counts, ElementsAre(Pair("opportunities", 50), Pair("published", 0), Pair("withoutCloseDate", 0)));
  EXPECT_EQ(world.opportunities().size(), 50u);
}

TEST(OutcomeSync, LetsWaitWhatHasNoCloseDate) {
  SyncWorld world;
  world.put(SyncWorld::opportunity(kAcme, "OPP-1", store::StageState::won, {}));
  EXPECT_THAT(world.work(world.job()).counts,
              ElementsAre(Pair("opportunities", 1), Pair("published", 0), Pair("withoutCloseDate", 1)));
  world.put(SyncWorld::opportunity(kAcme, "OPP-1", store::StageState::won, SyncWorld::kDay));
  EXPECT_EQ(world.work(world.job()).counts.at("published"), 1);
}

TEST(OutcomeSync, PublishesAnOpportunityAgainThatWasClosedOnAnotherDay) {
  SyncWorld world;
  world.put(SyncWorld::opportunity(kAcme, "OPP-1", store::StageState::lost, SyncWorld::kDay));
  EXPECT_EQ(world.work(world.job()).counts.at("published"), 1);
  world.put(SyncWorld::opportunity(kAcme, "OPP-1", store::StageState::won, SyncWorld::kDay + std::chrono::days(3)));
  EXPECT_EQ(world.work(world.job()).counts.at("published"), 1);
  const auto published = world.published(events::kOutcomeRecorded);
  ASSERT_EQ(published.size(), 2u);
  EXPECT_EQ(World::text(*published[1], "closeDate"), "2026-03-08");
}

TEST(OutcomeSync, ThatDiesAtAnySlicePublishesEachOutcomeOnce) {
  for (int slices = 1; slices <= 12; ++slices) {
    SCOPED_TRACE(slices);
    SyncWorld world;
    world.put_many(40);
    const auto [run, processes] = world.work_with_crashes(world.job(4), slices);
    EXPECT_EQ(run.status, JobRunStatus::completed);
    EXPECT_THAT(run.counts, ElementsAre(Pair("opportunities", 40), Pair("published", 40), Pair("withoutCloseDate", 0)));
    EXPECT_EQ(world.opportunities().size(), 40u);
    EXPECT_EQ(run.takeovers, processes - 1);
    EXPECT_EQ(processes > 1, slices < 11);
  }
}

TEST(OutcomeSync, WorkedByTwoAtOncePublishesEachOutcomeOnce) {
  SyncWorld world;
  world.put_many(300);
  std::vector<std::unique_ptr<BatchJobWorker>> workers;
  std::vector<JobRunId> runs;
  for (int i = 0; i < 2; ++i) {
    workers.push_back(world.process(world.job(5), world.database.store(), fmt::format("process {}", i)));
    runs.push_back(world.triggered_run(*workers.back()));
  }
  {
    std::vector<std::jthread> threads;
    for (auto& worker : workers) threads.emplace_back([&] { EXPECT_TRUE(worker->work_once()); });
  }
  std::int64_t published = 0;
  for (const JobRunId& id : runs) {
    EXPECT_EQ(world.run(id).status, JobRunStatus::completed);
    published += world.run(id).counts.at("published");
  }
  EXPECT_EQ(published, 300);
  EXPECT_EQ(world.opportunities().size(), 300u);
}

TEST(OutcomeSync, GoesOnBehindWhatItHasLookedAt) {
  SyncWorld world;
  world.put_many(10);
  OutcomeSync job(world.database.store(), bus::samples::contracts(), world.ids, world.clock, {.slice_rows = 5});
  JobRun run;
  std::vector<std::string> notes;
  for (int slices = 0;; ++slices) {
    ASSERT_LT(slices, 4);
    const auto slice = job.next(run, {});
    ASSERT_TRUE(slice) << slice.error().message;
    run.checkpoint = slice->checkpoint;
    run.counts["opportunities"] = slice->progress.done;
    notes.push_back(slice->progress.note);
    if (slice->is_last) break;
  }
  EXPECT_EQ(run.counts["opportunities"], 10);
  EXPECT_EQ(notes.size(), 3u) << "5, 5 and none";
  EXPECT_THAT(notes[0], HasSubstr("tenant aaaaaaaa-"));
}

TEST(OutcomeSync, NamesMembersThatItDoesNotUse) {
  SyncWorld world;
  const JobRun run = world.work(world.job(), R"({"from":"2026-03-01"})");
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_EQ(run.progress.note, "all closed opportunities, not used: from");
}

TEST(OutcomeSync, RefusesACheckpointThatIsNotItsOwn) {
  SyncWorld world;
  OutcomeSync job(world.database.store(), bus::samples::contracts(), world.ids, world.clock);
  JobRun run;
  run.checkpoint = R"({"after":1})";
  EXPECT_EQ(job.next(run, {}).error().message, R"(checkpoint {"after":1} is none of outcome-sync)");
  run.checkpoint = "half";
  EXPECT_EQ(job.next(run, {}).error().message, "checkpoint half is none of outcome-sync");
  EXPECT_EQ(job.next(run, {}).error().code, ErrorCode::corruption);
}

}  // namespace
}  // namespace wfo::jobs::testing
