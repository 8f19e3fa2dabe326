#include "delivery/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "delivery/tests/fakes.h"
#include "delivery/tests/leases.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using bus::Published;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A broker that takes everything, but for what a test says.
class FakePublisher final : public bus::Publisher {
 public:
  Result<std::vector<Published>> publish(std::span<const events::EventPtr> batch, milliseconds,
                                         std::stop_token) override {
    ++calls;
    if (at_publish) at_publish();
    if (error) return std::unexpected(*error);
    std::vector<Published> outcomes;
    for (const auto& event : batch) {
      outcomes.push_back(outcome ? outcome(*event) : Published::confirmed);
      sent.push_back(event);
    }
    return outcomes;
  }
  /// The numbers of the events that were sent, in order.
  [[nodiscard]] std::vector<int> numbers() const {
    std::vector<int> all;
    for (const auto& event : sent) all.push_back(static_cast<int>(event->data().find("n")->integer().value()));
    return all;
  }

  std::vector<events::EventPtr> sent;
  std::function<Published(const events::Event&)> outcome;
  std::function<void()> at_publish;
  std::optional<Error> error;  // the answer to everything, while set
  int calls = 0;
};

int number_of(const events::Event& event) { return static_cast<int>(event.data().find("n")->integer().value()); }

class RelayTest : public testing::Test {
 protected:
  /// A process with its relay.
  struct Replica {
    Replica(RelayTest& test, std::string holder, RelayConfig config = {})
        : source(test.away_, kRelayLease),
          lease(source, std::move(holder), Logger::silent(), test.metrics_, kLeaseLength, fakes::steady(test.clock_)),
          relay(test.away_, test.fixture_.log(), test.publisher_, lease, config, test.clock_, test.waiter_,
                Logger::silent(), test.metrics_) {}
    StoreLease source;
    LeaseKeeper lease;
    Relay relay;
  };

  static std::string run_id(int run) { return fmt::format("0191e1f2-3c4d-7abc-8def-{:012}", run); }
  /// The n-th event, of a run (0: of none).
  void append(int n, int run = 0, std::string_view type = "test.event") {
    auto data =
        run == 0 ? fmt::format(R"({{"n":{}}})", n) : fmt::format(R"({{"workflowId":"{}","n":{}}})", run_id(run), n);
    const auto event = bus::samples::event(type, n, data);
    fixture_.append({&event, 1});
  }
  [[nodiscard]] store::OutboxCounts counts() {
    store::OutboxCounts counts;
    const auto read = fixture_.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(counts, transaction.outbox().counts());
      return {};
    });
    EXPECT_TRUE(read) << read.error().message;
    return counts;
  }
  void return_numbers(std::set<int> numbers) {
    publisher_.outcome = [numbers = std::move(numbers)](const events::Event& event) {
      return numbers.contains(number_of(event)) ? Published::returned : Published::confirmed;
    };
  }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  fakes::ManualWaiter waiter_{clock_};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_, true};
  sqlite::FaultyStore away_{fixture_.store()};
  FakePublisher publisher_;
  Replica one_{*this, "one"};
};

TEST_F(RelayTest, PublishesWhatWaitsInItsOrderAndOnce) {
  for (int n = 1; n <= 5; ++n) append(n, n % 2);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::idle);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(counts().waiting, 0);
  EXPECT_THAT(metrics_.text(), HasSubstr("relay_published_total 5"));
}

TEST_F(RelayTest, SendsTheBytesThatStandInTheLog) {
  append(1, 1);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  ASSERT_EQ(publisher_.sent.size(), 1U);
  EXPECT_EQ(publisher_.sent[0]->bytes(), fixture_.published()[0]->bytes());
}

TEST_F(RelayTest, TakesNoMoreThanABatchAtATime) {
  Replica small(*this, "small", {.batch_max = 2});
  for (int n = 1; n <= 5; ++n) append(n);
  for (int turn = 0; turn < 3; ++turn) EXPECT_EQ(small.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(publisher_.calls, 3);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(RelayTest, StandsByWhileAnotherProcessPublishesAndTakesOverWhenItDied) {
  Replica two(*this, "two");
  append(1);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  append(2);
  EXPECT_EQ(two.relay.run_once(), Relay::Turn::standby);
  EXPECT_EQ(two.relay.trouble(), "");
  clock_.advance(kLeaseLength);
  EXPECT_EQ(two.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::standby);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2));
}

TEST_F(RelayTest, SendsTheSameBytesAgainAfterACrashBetweenPublishAndMark) {
  append(1, 1);
  append(2, 1);
  publisher_.at_publish = [&] { away_.error = Error{ErrorCode::unavailable, "killed"}; };
  EXPECT_FALSE(one_.relay.run_once());
  publisher_.at_publish = nullptr;
  away_.error.reset();
  EXPECT_EQ(counts().waiting, 2);
  clock_.advance(kLeaseLength);
  Replica two(*this, "two");
  EXPECT_EQ(two.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2, 1, 2));
  EXPECT_EQ(publisher_.sent[0]->bytes(), publisher_.sent[2]->bytes());
  EXPECT_EQ(counts().waiting, 0);
}

TEST_F(RelayTest, MarksWhatWasConfirmedWhenTheStoreComesBackWithoutSendingItAgain) {
  append(1);
  publisher_.at_publish = [&] { away_.error = Error{ErrorCode::unavailable, "the database is away"}; };
  EXPECT_EQ(one_.relay.run_once().error().message, "the database is away");
  EXPECT_EQ(one_.relay.trouble(), "the database is away");
  publisher_.at_publish = nullptr;
  away_.error.reset();
  append(2);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2));
  EXPECT_EQ(counts().waiting, 0);
  EXPECT_EQ(one_.relay.trouble(), "");
}

TEST_F(RelayTest, MarksNothingWhenItsWorkWasTakenOverMeanwhile) {
  Replica two(*this, "two");
  append(1);
  publisher_.at_publish = [&] {
    publisher_.at_publish = nullptr;
    publisher_.outcome = [](const events::Event&) { return Published::returned; };
    clock_.advance(kLeaseLength);
    EXPECT_EQ(two.relay.run_once(), Relay::Turn::published);
    publisher_.outcome = nullptr;
  };
  const auto turn = one_.relay.run_once();
  ASSERT_FALSE(turn);
  EXPECT_EQ(turn.error().code, ErrorCode::conflict);
  EXPECT_EQ(one_.relay.trouble(), "") << "the other one works";
  EXPECT_EQ(counts().waiting, 1) << "what the process that was paused knows does not count";
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::standby);
}

TEST_F(RelayTest, LetsAnotherProcessTryWhenTheBrokerIsAway) {
  Replica two(*this, "two");
  append(1);
  publisher_.error = Error{ErrorCode::unavailable, "the broker is away"};
  EXPECT_FALSE(one_.relay.run_once());
  EXPECT_EQ(one_.relay.trouble(), "the broker is away");
  publisher_.error.reset();
  EXPECT_EQ(two.relay.run_once(), Relay::Turn::published);
}

TEST_F(RelayTest, ParksWhatCameBackWithWhatFollowsInItsRunAndGoesOnWithOthers) {
  append(1, 1);
  append(2, 1);
  append(3, 1);
  append(4, 2);
  append(5);
  return_numbers({2});
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(counts().waiting, 2) << "2 came back, 3 stays behind it";
  EXPECT_EQ(counts().parked, 1);
  append(6, 1);
  append(7, 2);
  publisher_.sent.clear();
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(7));
  EXPECT_THAT(metrics_.text(), HasSubstr("relay_returned_total 1"));
}

TEST_F(RelayTest, SendsWhatCameBackAloneAndWhatFollowsOnceItHasGoneThrough) {
  append(1, 1);
  append(2, 1);
  append(3, 1);
  return_numbers({1});
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  publisher_.sent.clear();
  clock_.advance(1s);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1)) << "the others have arrived already";
  publisher_.outcome = nullptr;
  clock_.advance(2s);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 1, 2, 3)) << "in order, for queues that came later";
  EXPECT_EQ(counts().waiting, 0);
}

TEST_F(RelayTest, WaitsTwiceAsLongAfterEachReturnUpToAMinute) {
  append(1);
  return_numbers({1});
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  for (const auto pause : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
    clock_.advance(pause - 1ms);
    EXPECT_EQ(one_.relay.run_once(), Relay::Turn::idle) << pause.count();
    clock_.advance(1ms);
    EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published) << pause.count();
  }
}

TEST_F(RelayTest, SendsAnEntryThatTheBrokerRefusedAgainWithWhatFollowsIt) {
  append(1, 1);
  append(2, 1);
  append(3, 2);
  publisher_.outcome = [](const events::Event& event) {
    return number_of(event) == 1 ? Published::unconfirmed : Published::confirmed;
  };
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(counts().waiting, 2) << "2 was confirmed, but stands behind 1";
  publisher_.outcome = nullptr;
  clock_.advance(1s);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(publisher_.numbers(), ElementsAre(1, 2, 3, 1, 2));
  EXPECT_EQ(counts().waiting, 0);
}

TEST_F(RelayTest, ParksNothingWhenTheBrokerTookNothing) {
  append(1, 1);
  append(2, 2);
  publisher_.outcome = [](const events::Event&) { return Published::unconfirmed; };
  EXPECT_EQ(one_.relay.run_once().error().code, ErrorCode::unavailable);
  EXPECT_THAT(one_.relay.trouble(), HasSubstr("2 events"));
  EXPECT_EQ(counts().parked, 0);
  publisher_.outcome = nullptr;
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(counts().waiting, 0);
}

TEST_F(RelayTest, SaysHowMuchWaitsAndSinceWhen) {
  append(1, 1);
  append(2, 1);
  clock_.advance(10s);
  append(3);
  return_numbers({1});
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::published);
  EXPECT_THAT(metrics_.text(), HasSubstr("outbox_waiting 2"));
  EXPECT_THAT(metrics_.text(), HasSubstr("outbox_parked 1"));
  EXPECT_THAT(metrics_.text(), HasSubstr("outbox_oldest_seconds 10"));
  Replica two(*this, "two");
  clock_.advance(kLeaseLength);
  EXPECT_EQ(two.relay.run_once(), Relay::Turn::published);
  EXPECT_EQ(one_.relay.run_once(), Relay::Turn::standby);
  EXPECT_THAT(metrics_.text(), HasSubstr("outbox_waiting 0")) << "the one that publishes says it";
}

TEST_F(RelayTest, NoticesNewEventsWhileItRuns) {
  SystemWaiter waiter;
  SystemClock clock;
  Relay relay(fixture_.store(), fixture_.log(), publisher_, one_.lease, {.idle_wait = 1h}, clock_, waiter,
              Logger::silent(), metrics_);
  std::atomic<int> published = 0;
  publisher_.at_publish = [&] { ++published; };
  std::jthread running([&](const std::stop_token& stop) { relay.run(stop); });
  for (int n = 1; n <= 3; ++n) {
    append(n);
    const auto bound = std::chrono::steady_clock::now() + 30s;
    while (published < n && std::chrono::steady_clock::now() < bound) std::this_thread::yield();
    EXPECT_EQ(published, n);
  }
  running.request_stop();
  running.join();
  EXPECT_FALSE(one_.lease.is_held()) << "given back, so that nobody has to wait";
  EXPECT_EQ(counts().waiting, 0);
}

TEST_F(RelayTest, NamesATypeThatComesBackOnceInAWhile) {
  testing::internal::CaptureStderr();
  {
    Logger log(LogLevel::warn);
    Relay relay(fixture_.store(), fixture_.log(), publisher_, one_.lease, {}, clock_, waiter_, log, metrics_);
    publisher_.outcome = [](const events::Event&) { return Published::returned; };
    for (int n = 1; n <= 3; ++n) {
      append(n, 0, "nobody.listens");
      EXPECT_EQ(relay.run_once(), Relay::Turn::published);
    }
  }
  const auto said = testing::internal::GetCapturedStderr();
  const auto first = said.find("nobody.listens");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("nobody.listens", first + 1), std::string::npos) << said;
  EXPECT_THAT(said, HasSubstr("Start the role that consumes it"));
}

/// A broker with queues that come and go, connections that break, and processes that are paused and die: whatever
/// happens, each queue gets each run's events in their order, by first arrivals, as the same bytes.
class Broker {
 public:
  explicit Broker(std::uint64_t seed) : random_(seed) {}

  /// One replica's connection.
  class Connection final : public bus::Publisher {
   public:
    explicit Connection(Broker& broker) : broker_(broker) {}
    Result<std::vector<Published>> publish(std::span<const events::EventPtr> batch, milliseconds,
                                           std::stop_token) override {
      return broker_.take(batch, *this);
    }
    std::function<void()> meanwhile;  // what happens before a batch is sent, and after half of it was

   private:
    Broker& broker_;
  };

  void bind(const std::string& queue, const std::string& type) { queues_[queue].types.insert(type); }
  void check() const {
    for (const auto& [name, queue] : queues_) {
      for (const auto& [run, numbers] : queue.first_arrivals) {
        EXPECT_TRUE(std::ranges::is_sorted(numbers))
            << name << ", run " << run << ": " << testing::PrintToString(numbers);
      }
    }
    EXPECT_FALSE(differing_) << "other bytes under the same id";
  }
  /// A queue that takes all types has of each run everything from some event on.
  void check_ends(const std::string& queue, const std::map<std::string, std::vector<int>>& runs) const {
    for (const auto& [run, numbers] : queues_.at(queue).first_arrivals) {
      const auto& all = runs.at(run);
      EXPECT_EQ(numbers, std::vector(std::ranges::find(all, numbers.front()), all.end())) << run;
    }
  }
  [[nodiscard]] std::size_t arrived(const std::string& queue) const { return queues_.at(queue).seen.size(); }
  [[nodiscard]] int duplicates() const { return duplicates_; }

 private:
  struct Queue {
    std::set<std::string> types;
    std::map<int, std::string> seen;
    std::map<std::string, std::vector<int>> first_arrivals;  // by run
  };

  Result<std::vector<Published>> take(std::span<const events::EventPtr> batch, Connection& connection) {
    if (connection.meanwhile) connection.meanwhile();
    const bool breaks = random_() % 5 == 0;
    const std::size_t arriving = breaks ? random_() % (batch.size() + 1) : batch.size();
    std::vector<Published> outcomes;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (i == batch.size() / 2 && connection.meanwhile) connection.meanwhile();
      if (i >= arriving) {
        outcomes.push_back(Published::unconfirmed);
        continue;
      }
      const bool routed = deliver(*batch[i]);
      const bool confirm_is_lost = breaks && random_() % 2 == 0;
      outcomes.push_back(confirm_is_lost ? Published::unconfirmed
                         : routed        ? Published::confirmed
                                         : Published::returned);
    }
    if (breaks && random_() % 2 == 0) return fail(ErrorCode::unavailable, "the connection broke");
    return outcomes;
  }
  bool deliver(const events::Event& event) {
    bool routed = false;
    for (auto& [name, queue] : queues_) {
      if (!queue.types.contains(event.type())) continue;
      routed = true;
      const auto [seen, is_new] = queue.seen.emplace(number_of(event), event.bytes());
      differing_ = differing_ || seen->second != event.bytes();
      if (!is_new) ++duplicates_;
      if (is_new) queue.first_arrivals[store::run_of(event)->to_string()].push_back(number_of(event));
    }
    return routed;
  }

  std::mt19937_64 random_;
  std::map<std::string, Queue> queues_;
  bool differing_ = false;
  int duplicates_ = 0;
};

TEST(RelaySimulation, KeepsTheOrderOfFirstArrivalsThroughCrashesTakeoversAndQueuesThatComeLate) {
  int duplicates = 0;
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    ManualClock clock{Timestamp(1'772'357'400'000ms)};
    fakes::ManualWaiter waiter(clock);
    Metrics metrics;
    sqlite::Fixture fixture(clock, true);
    Broker broker(seed);
    broker.bind("early", "type.a");
    struct Replica {
      sqlite::FaultyStore store;
      Broker::Connection connection;
      StoreLease source;
      LeaseKeeper lease;
      Relay relay;
      Replica(sqlite::Fixture& fixture, Broker& broker, ManualClock& clock, Waiter& waiter, Metrics& metrics,
              std::string holder)
          : store(fixture.store()),
            connection(broker),
            source(store, kRelayLease),
            lease(source, std::move(holder), Logger::silent(), metrics, kLeaseLength, fakes::steady(clock)),
            relay(store, fixture.log(), connection, lease, {.batch_max = 7}, clock, waiter, Logger::silent(), metrics) {
      }
    };
    int replicas_made = 0;
    const auto new_replica = [&] {
      return std::make_unique<Replica>(fixture, broker, clock, waiter, metrics, fmt::format("{}", ++replicas_made));
    };
    std::array<std::unique_ptr<Replica>, 2> replicas{new_replica(), new_replica()};
    int appended = 0;
    int depth = 0;
    std::map<std::string, std::vector<int>> runs;
    const auto append = [&](std::size_t count) {
      std::vector<events::EventPtr> events;
      for (std::size_t i = 0; i < count; ++i) {
        const auto run = fmt::format("0191e1f2-3c4d-7abc-8def-{:012}", random() % 4);
        runs[run].push_back(++appended);
        events.push_back(bus::samples::event(random() % 3 == 0 ? "type.b" : "type.a", appended,
                                             fmt::format(R"({{"workflowId":"{}","n":{}}})", run, appended)));
      }
      fixture.append(events);
    };
    for (int step = 0; step < 120; ++step) {
      if (step == 70) {
        for (const auto* type : {"type.a", "type.b"}) broker.bind("late", type);
      }
      append(random() % 4);
      clock.advance(milliseconds(random() % 800));
      auto& replica = replicas[random() % 2];
      auto& other = replicas[replica == replicas[0] ? 1 : 0];
      // While one is paused in the middle of its work, the other one takes it over.
      replica->connection.meanwhile = [&] {
        if (depth > 0 || random() % 6 != 0) return;
        ++depth;
        clock.advance(kLeaseLength);
        other->connection.meanwhile = nullptr;
        for (int i = 0; i < 3; ++i) (void)other->relay.run_once();
        --depth;
      };
      if (random() % 10 == 0) replica->store.error = Error{ErrorCode::unavailable, "away"};
      (void)replica->relay.run_once();
      replica->store.error.reset();
      if (random() % 15 == 0) {  // kill -9: nothing is given back
        replica->store.error = Error{ErrorCode::unavailable, "dead"};
        replica = new_replica();
      }
    }
    for (auto& replica : replicas) replica->connection.meanwhile = nullptr;
    store::OutboxCounts counts;
    for (int i = 0; i < 400; ++i) {
      clock.advance(1s);
      for (auto& replica : replicas) (void)replica->relay.run_once();
      ASSERT_TRUE(fixture.store().read([&](const store::Transaction& transaction) -> Result<void> {
        TRY_ASSIGN(counts, transaction.outbox().counts());
        return {};
      }));
      if (counts.waiting == 0) break;
    }
    EXPECT_EQ(counts.waiting, 0);
    EXPECT_GT(broker.arrived("late"), 0U);
    broker.check();
    broker.check_ends("late", runs);
    duplicates += broker.duplicates();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(duplicates, 0) << "nothing was put to the test";
}

}  // namespace
}  // namespace wfo::delivery
