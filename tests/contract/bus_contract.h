#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "bus/tests/samples.h"
#include "store/store.h"

/// What every bus must do, whatever carries its messages. An implementation takes part with a `BusHarness` and an
/// INSTANTIATE_TEST_SUITE_P(<Name>, BusContract, …) in a file of its own; the tests stay as they are.
namespace wfo::contract {

/// An installation of one bus, empty at first.
class BusHarness {
 public:
  virtual ~BusHarness() = default;
  virtual bus::Bus& bus() = 0;
  /// Where the effects of the consumers lie.
  virtual store::Store& store() = 0;
  /// Returns when the events will not be lost any more; queues get them in this order.
  virtual void publish(std::span<const events::EventPtr> events) = 0;
  /// Puts bytes that are no event where messages with that routing key are.
  virtual void publish_unreadable(std::string_view routing_key, std::string_view bytes) = 0;
  /// The process ends and starts again: what is not durable is gone. All consumers must be gone before.
  virtual void restart() = 0;
};

struct BusUnderTest {
  std::string name;
  std::function<std::unique_ptr<BusHarness>()> make;
};

class BusContract : public testing::TestWithParam<BusUnderTest> {
 protected:
  using Batch = std::vector<bus::Delivery>;

  std::unique_ptr<bus::Consumer> consume(std::string queue, std::vector<std::string> bindings);
  void publish(std::string_view type, int first, int last);
  /// What comes until nothing does, received `count_max` at a time; fails the test after a minute without progress.
  Batch receive(bus::Consumer& consumer, std::size_t count, std::size_t count_max = 1'000);
  /// Settles in a transaction of its own and acknowledges.
  void settle(bus::Consumer& consumer, std::span<const bus::Delivery> batch);
  /// Nothing comes, also not after a moment.
  static void expect_nothing(bus::Consumer& consumer);
  /// The numbers that the events' ids were made of.
  static std::vector<int> numbers(std::span<const bus::Delivery> batch);

  std::unique_ptr<BusHarness> harness_ = GetParam().make();
};

}  // namespace wfo::contract
