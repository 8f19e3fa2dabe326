#include "orchestrator/detail/run_cache.h"

#include <gtest/gtest.h>

namespace wfo::orchestrator {
namespace {

WorkflowId id(std::uint8_t number) {
  Uuid uuid;
  uuid.bytes[15] = number;
  return WorkflowId(uuid);
}

store::StoredRun run(std::uint8_t number, std::int64_t version = 1) {
  store::StoredRun stored;
  stored.run.id = id(number);
  stored.version = version;
  return stored;
}

store::StoredRun run_with_result(std::uint8_t number, std::size_t bytes) {
  store::StoredRun stored = run(number);
  stored.run.steps.emplace_back().state = workflow::Completed{{}, true, std::string(bytes, 'x')};
  return stored;
}

TEST(RunCache, GivesARunOnce) {
  RunCache cache(10, 1 << 20);
  cache.put(run(1, 7));
  const auto taken = cache.take(id(1));
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->version, 7);
  EXPECT_FALSE(cache.take(id(1)));
  EXPECT_EQ(cache.size(), 0U);
}

TEST(RunCache, KeepsTheNewerOfTwoStates) {
  RunCache cache(10, 1 << 20);
  cache.put(run(1, 3));
  cache.put(run(1, 2));
  EXPECT_EQ(cache.take(id(1))->version, 3);
  cache.put(run(1, 3));
  cache.put(run(1, 4));
  EXPECT_EQ(cache.take(id(1))->version, 4);
}

TEST(RunCache, ForgetsARunThatHasEnded) {
  RunCache cache(10, 1 << 20);
  cache.put(run(1, 1));
  store::StoredRun ended = run(1, 2);
  ended.run.status = workflow::RunStatus::failed;
  cache.put(ended);
  EXPECT_FALSE(cache.take(id(1)));
}

TEST(RunCache, DropsTheLongestUnusedBeyondItsCount) {
  RunCache cache(2, 1 << 20);
  cache.put(run(1));
  cache.put(run(2));
  cache.put(*cache.take(id(1)));
  cache.put(run(3));
  EXPECT_TRUE(cache.take(id(1)));
  EXPECT_FALSE(cache.take(id(2)));
  EXPECT_TRUE(cache.take(id(3)));
}

TEST(RunCache, DropsTheLongestUnusedBeyondItsBytes) {
  RunCache cache(100, 100'000);
  cache.put(run_with_result(1, 40'000));
  cache.put(run_with_result(2, 40'000));
  cache.put(run_with_result(3, 40'000));
  EXPECT_FALSE(cache.take(id(1)));
  EXPECT_TRUE(cache.take(id(3)));
  cache.put(run_with_result(4, 200'000));
  EXPECT_FALSE(cache.take(id(4)));
  EXPECT_TRUE(cache.take(id(2)));
}

TEST(RunCache, RemembersNothingIfItMayNot) {
  RunCache cache(0, 1 << 20);
  cache.put(run(1));
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace wfo::orchestrator
