#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bus/embedded/embedded_bus.h"
#include "delivery/consumer_loop.h"
#include "orchestrator/tests/world.h"

namespace wfo::orchestrator {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using workflow::RunStatus;

/// Lets the clock run instead of waiting.
class ClockWaiter final : public delivery::Waiter {
 public:
  explicit ClockWaiter(ManualClock& clock) : clock_(clock) {}
  bool wait(milliseconds length, std::stop_token stop) override {
    clock_.advance(length);
    return !stop.stop_requested();
  }

 private:
  ManualClock& clock_;
};

/// The role as it runs: its queue on the embedded bus, the loop, the sink.
class Loop : public ::testing::Test {
 protected:
  void publish(const std::vector<events::EventPtr>& batch) {
    World::must(
        world_.store->transact([&](store::Transaction& transaction) { return transaction.log().append(batch); }));
  }
  /// A process that takes what is there, and ends.
  void work() {
    bus::EmbeddedBus bus(*world_.store, *world_.store);
    bus::ConsumerOptions options;
    options.queue = Orchestrator::kQueue;
    options.bindings = world_.orchestrator->bindings();
    delivery::StoreSink sink(*world_.store, *world_.orchestrator, world_.ids, world_.clock);
    delivery::ConsumerLoop loop(World::must(bus.consume(options)), sink, {}, world_.clock, waiter_, Logger::silent(),
                                world_.metrics);
    while (World::must(loop.run_once(milliseconds(0))) > 0) {
    }
  }
  [[nodiscard]] std::vector<store::DeadLetter> dead_letters() {
    std::vector<store::DeadLetter> letters;
    World::must(world_.store->read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(letters, transaction.dead_letters().list({}));
      return {};
    }));
    return letters;
  }

  World world_;
  ClockWaiter waiter_{world_.clock};
};

TEST_F(Loop, TakesARunFromItsTriggerToItsEnd) {
  publish({world_.updated("006-A")});
  work();
  std::vector<events::EventPtr> answers;
  for (const auto& request : world_.requests()) answers.push_back(world_.completed(*request));
  publish(answers);
  world_.restart();
  work();
  EXPECT_EQ(world_.runs()[0].status, RunStatus::completed);
  EXPECT_EQ(world_.log().size(), 15U);  // the trigger, 5 for the start, 4 answers, 4 steps, the end
  work();
  EXPECT_EQ(world_.log().size(), 15U);
}

TEST_F(Loop, SetsAMessageAsideThatItCannotUseAndGoesOn) {
  std::vector<events::EventPtr> batch;
  for (int i = 0; i < 7; ++i) batch.push_back(world_.updated(fmt::format("006-{}", i)));
  batch.insert(batch.begin() + 3, world_.event(events::kOpportunityUpdated, kAcme,
                                               R"({"opportunityId":"006-X","changes":{"amount":"much"}})"));
  publish(batch);
  work();
  EXPECT_EQ(world_.runs().size(), 7U);
  const auto letters = dead_letters();
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_THAT(letters[0].reason, HasSubstr("amount"));
  EXPECT_THAT(letters[0].reason, HasSubstr("much"));
  EXPECT_EQ(letters[0].bytes, batch[3]->bytes());
}

TEST_F(Loop, TakesTheSameTriggerOnceHoweverOftenItIsPublished) {
  const auto trigger = world_.updated("006-A");
  publish({trigger});
  work();
  publish({trigger, trigger});
  work();
  EXPECT_EQ(world_.runs().size(), 1U);
  EXPECT_EQ(world_.ignored("repeated_trigger"), 2);
  EXPECT_TRUE(dead_letters().empty());
}

}  // namespace
}  // namespace wfo::orchestrator
