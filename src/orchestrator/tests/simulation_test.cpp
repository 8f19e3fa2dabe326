#include <gtest/gtest.h>

#include <thread>

#include "orchestrator/tests/chaos.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;

TEST(Simulation, OfEverythingThatCanHappenKeepsAllInvariants) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options_for(seed));
    world.use({definition_for(world, seed)});
    Chaos chaos(world, seed);
    for (int i = 0; i < 120; ++i) {
      chaos.act(*world.orchestrator, true);
      if (i % 17 == 16) world.restart();
      if (i % 40 == 39) Audit(world).check(chaos.acknowledged);
      if (HasFailure()) return;
    }
    EXPECT_TRUE(chaos.drain());
    Audit(world).check(chaos.acknowledged);
    if (HasFailure()) return;
  }
}

TEST(Simulation, OfReplicasAtOnceKeepsAllInvariants) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options_for(seed));
    world.use({definition_for(world, seed)});
    std::vector<Chaos> chaos;
    for (std::uint64_t i = 0; i < 3; ++i) chaos.emplace_back(world, seed * 10 + i);
    {
      std::vector<std::jthread> replicas;
      for (std::size_t i = 0; i < chaos.size(); ++i) {
        replicas.emplace_back([&, i] {
          const auto orchestrator = world.another();
          for (int k = 0; k < 100 && !::testing::Test::HasFailure(); ++k) chaos[i].act(*orchestrator, i == 0);
        });
      }
    }
    if (HasFailure()) return;
    EXPECT_TRUE(chaos[0].drain());
    std::set<TriggerKey> acknowledged;
    for (const Chaos& one : chaos) acknowledged.insert(one.acknowledged.begin(), one.acknowledged.end());
    Audit(world).check(acknowledged);
    if (HasFailure()) return;
  }
}

TEST(Simulation, OfReplicasWithBatchesAboutTheSameRunsKeepsAllInvariants) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options_for(seed));
    world.use({definition_for(world, seed)});
    std::vector<std::unique_ptr<Orchestrator>> replicas;
    for (int i = 0; i < 3; ++i) replicas.push_back(world.another());
    Chaos chaos(world, seed);
    for (int i = 0; i < 40 && !HasFailure(); ++i) {
      chaos.interleave(replicas);
      chaos.act(*replicas[static_cast<std::size_t>(i) % replicas.size()], true);
      if (i % 13 == 12) replicas[0] = world.another();
    }
    if (HasFailure()) return;
    EXPECT_TRUE(chaos.drain());
    Audit(world).check(chaos.acknowledged);
    if (HasFailure()) return;
  }
}

// One orchestrator, as it is in a process: the loop's thread, the timers' and those of the API.
TEST(Simulation, OfOneProcessWithItsThreadsKeepsAllInvariants) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options_for(seed * 3 + 2));
    world.use({definition_for(world, seed)});
    Chaos loop(world, seed);
    {
      const std::jthread timers([&](const std::stop_token& stop) { world.orchestrator->run_timers(10s, stop); });
      const std::jthread api([&](const std::stop_token& stop) {
        std::mt19937_64 random(seed);
        while (!stop.stop_requested() && !::testing::Test::HasFailure()) {
          for (const auto& run : world.runs(kAcme)) {
            const auto dice = random() % 20;
            if (dice == 0 && is_active(run)) (void)world.orchestrator->cancel(kAcme, run.id, "no use");
            if (dice < 3 && !is_active(run)) (void)world.orchestrator->retry(kAcme, run.id);
          }
        }
      });
      for (int k = 0; k < 120 && !HasFailure(); ++k) loop.act(*world.orchestrator, true);
    }
    if (HasFailure()) return;
    EXPECT_TRUE(loop.drain());
    Audit(world).check(loop.acknowledged);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace wfo::orchestrator
