// Several replicas of the orchestrator on one PostgreSQL: what only real row locks and real concurrency can show.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <thread>

#include "orchestrator/tests/chaos.h"
#include "store/postgres/postgres_store.h"
#include "support/postgres_schema.h"
#include "support/servers.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;

class ReplicasOnPostgres : public ::testing::Test {
 protected:
  /// An installation in a schema of its own.
  WorldOptions options(std::uint64_t seed) {
    WorldOptions options = options_for(seed);
    options.make_store = [this](const events::Contracts& contracts, const Clock& clock, Metrics& metrics) {
      const auto url = test::PostgresServer::shared().url();
      schema_.emplace(url);
      return std::make_unique<Backend>(World::must(store::postgres::PostgresStore::open(
          {.url = url, .schema = schema_->name()}, contracts, clock, Logger::silent(), metrics)));
    };
    return options;
  }

 private:
  std::optional<test::PostgresSchema> schema_;
};

TEST_F(ReplicasOnPostgres, KeepAllInvariantsAtOnce) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options(seed));
    world.use({definition_for(world, seed)});
    std::vector<Chaos> chaos;
    for (std::uint64_t i = 0; i < 3; ++i) chaos.emplace_back(world, seed * 10 + i);
    {
      std::vector<std::jthread> replicas;
      for (std::size_t i = 0; i < chaos.size(); ++i) {
        replicas.emplace_back([&, i] {
          const auto orchestrator = world.another();
          for (int k = 0; k < 60 && !::testing::Test::HasFailure(); ++k) chaos[i].act(*orchestrator, i == 0);
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

TEST_F(ReplicasOnPostgres, KeepAllInvariantsWithBatchesAboutTheSameRuns) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    World world(options(seed));
    world.use({definition_for(world, seed)});
    std::vector<std::unique_ptr<Orchestrator>> replicas;
    for (int i = 0; i < 3; ++i) replicas.push_back(world.another());
    Chaos chaos(world, seed);
    for (int i = 0; i < 25 && !HasFailure(); ++i) {
      chaos.interleave(replicas);
      chaos.act(*replicas[static_cast<std::size_t>(i) % replicas.size()], true);
    }
    if (HasFailure()) return;
    EXPECT_TRUE(chaos.drain());
    Audit(world).check(chaos.acknowledged);
    if (HasFailure()) return;
  }
}

// Two replicas, each with batches that change the same opportunities: no change gets lost between them.
TEST_F(ReplicasOnPostgres, LoseNoChangeOfAnOpportunity) {
  World world(options(1));
  const std::array<std::string_view, 4> members{R"("amount":700)", R"("owner":"Ann")", R"("stage":"Closing")",
                                                R"("account":"Acme")"};
  for (int round = 0; round < 10; ++round) {
    std::vector<std::jthread> replicas;
    for (const auto member : members) {
      const auto event = world.event(events::kOpportunityUpdated, kAcme,
                                     fmt::format(R"({{"opportunityId":"006-{}","changes":{{{}}}}})", round, member));
      replicas.emplace_back([&world, event] {
        const auto orchestrator = world.another();
        const auto delivered = world.deliver({event}, orchestrator.get());
        EXPECT_TRUE(delivered) << delivered.error().message;
      });
    }
    replicas.clear();
    const auto known = world.opportunity(opportunity_id(kAcme, fmt::format("006-{}", round)));
    ASSERT_TRUE(known);
    EXPECT_EQ(known->amount, 700);
    EXPECT_EQ(known->owner, "Ann");
    EXPECT_EQ(known->stage, "Closing");
    EXPECT_EQ(known->account, "Acme");
  }
}

}  // namespace
}  // namespace wfo::orchestrator
