// Several replicas of the scheduler on one PostgreSQL, with clocks apart: what only real row locks and real
// concurrency can show.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <thread>

#include "scheduler/tests/world.h"
#include "store/postgres/postgres_store.h"
#include "support/postgres_schema.h"
#include "support/servers.h"

namespace wfo::scheduler {
namespace {

using namespace testing;
using schedule::OverlapPolicy;

/// A schema of its own.
class PostgresPlace final : public Place {
 public:
  PostgresPlace(const Clock& clock, Metrics& metrics)
      : schema_(test::PostgresServer::shared().url()),
        store_(World::must(store::postgres::PostgresStore::open(
            {.url = test::PostgresServer::shared().url(), .schema = schema_.name()}, bus::samples::contracts(), clock,
            Logger::silent(), metrics))) {}
  store::Store& store() override { return *store_; }
  store::LogReader& log() override { return *store_; }

 private:
  test::PostgresSchema schema_;
  std::unique_ptr<store::postgres::PostgresStore> store_;
};

std::unique_ptr<Place> postgres(const Clock& clock, Metrics& metrics) {
  return std::make_unique<PostgresPlace>(clock, metrics);
}

/// One replica, its clock, and what happens to it.
class Replica {
 public:
  Replica(World& world, milliseconds ahead, std::uint64_t seed)
      : world_(world), clock_(kStart + ahead), ahead_(ahead), ids_(clock_), random_(seed) {
    start();
  }
  void act() {
    clock_.set(world_.clock.now() + ahead_);
    switch (random_() % 8) {
      case 0:
        world_.store.deaths = 1;  // whoever comes next
        start();
        break;
      case 1:
      case 2:
      case 3:
        answer();
        break;
      default:
        settled(scheduler_->run_once());
    }
  }
  Scheduler& scheduler() { return *scheduler_; }

 private:
  void start() { scheduler_ = world_.another(clock_, ids_, {.batch_max = 5}); }
  /// Some workers say that they are done.
  void answer() {
    std::vector<events::EventPtr> batch;
    for (const auto& run : world_.open_runs()) {
      const auto dice = random_() % 6;
      if (dice < 2) batch.push_back(dice == 0 ? world_.failed(run) : world_.completed(run));
      if (dice == 2 && random_() % 4 == 0) settled(scheduler_->cancel(run.id, "no use"), ErrorCode::conflict);
    }
    std::ranges::shuffle(batch, random_);
    if (!batch.empty()) settled(world_.deliver(batch, scheduler_.get()), ErrorCode::conflict);
  }
  /// It died, or others were faster; all else is a failure.
  template <class T>
  void settled(const Result<T>& result, std::optional<ErrorCode> also = {}) {
    if (result || result.error().message == "died" || result.error().code == also) return;
    ADD_FAILURE() << name(result.error().code) << ": " << result.error().message;
  }

  World& world_;
  ManualClock clock_;
  const milliseconds ahead_;
  SystemIdSource ids_;
  std::mt19937_64 random_;
  std::unique_ptr<Scheduler> scheduler_;
};

TEST(SchedulersOnPostgres, TriggerEachFireOnceWithClocksApartAndThoughTheyDie) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(postgres);
    std::vector<schedule::Schedule> schedules;
    for (int policy = 0; policy < 5; ++policy) {
      for (int i = 0; i < 4; ++i) {
        schedules.push_back(
            World::ten_minutely(static_cast<OverlapPolicy>(policy), fmt::format("schedule-{}-{}", policy, i)));
      }
    }
    World::must(world.scheduler->configure(schedules));
    {
      std::vector<std::jthread> replicas;
      for (const int i : {-1, 0, 1}) {
        replicas.emplace_back([&world, i, seed] {
          Replica replica(world, i * 2s, seed * 10 + static_cast<std::uint64_t>(i + 1));
          for (int k = 0; k < 60 && !::testing::Test::HasFailure(); ++k) {
            if (i == 0) world.clock.advance(2min);
            replica.act();
          }
        });
      }
    }
    if (::testing::Test::HasFailure()) return;
    world.store.deaths = 0;
    world.attend();
    for (const auto& schedule : schedules) {
      EXPECT_EQ(world.audit(schedule), "");
      if (schedule.overlap == OverlapPolicy::allow_all) continue;
      auto open = world.open_runs();
      std::erase_if(open, [&](const auto& run) { return run.schedule != schedule.name; });
      EXPECT_LE(open.size(), 1U) << schedule.name;
    }
    EXPECT_EQ(world.log_of(events::kJobTrigger).size(), world.runs().size());
  }
}

TEST(SchedulersOnPostgres, DoWhatOperatorsAskForAtTheSameTime) {
  World world(postgres);
  const schedule::Schedule schedule = World::ten_minutely(OverlapPolicy::buffer_all);
  world.put(schedule);
  {
    std::vector<std::jthread> operators;
    for (int i = 0; i < 4; ++i) {
      operators.emplace_back([&world, i] {
        const auto scheduler = world.another(world.clock, world.ids);
        for (int k = 0; k < 15; ++k) {
          if (i == 0) world.clock.advance(3min);
          const auto paused = scheduler->pause("often", fmt::format("{}", i));
          EXPECT_TRUE(paused) << paused.error().message;
          const auto resumed = scheduler->resume("often");
          EXPECT_TRUE(resumed || resumed.error().code == ErrorCode::conflict) << resumed.error().message;
          const auto round = scheduler->run_once();
          EXPECT_TRUE(round) << round.error().message;
        }
      });
    }
  }
  World::must(world.scheduler->pause("often", ""));
  world.attend();
  EXPECT_EQ(world.audit(schedule), "");
}

}  // namespace
}  // namespace wfo::scheduler
