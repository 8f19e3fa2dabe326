#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus/bus.h"
#include "bus/tests/samples.h"
#include "delivery/consumer_loop.h"

namespace wfo::delivery::fakes {

/// Waits by moving the clock, and notes for how long. `at_wait`, if set, is what happens meanwhile.
class ManualWaiter final : public Waiter {
 public:
  explicit ManualWaiter(ManualClock& clock) : clock_(clock) {}
  bool wait(milliseconds length, std::stop_token stop) override {
    clock_.advance(length);
    waits.push_back(length);
    if (at_wait) at_wait();
    return !stop.stop_requested();
  }
  std::vector<milliseconds> waits;
  std::function<void()> at_wait;

 private:
  ManualClock& clock_;
};

/// What is in a queue, with what happened to it; outlives the consumer, as a broker's queue does.
struct Queue {
  std::deque<bus::Delivery> waiting;
  std::vector<bus::Delivery> in_hand;  // received, not acknowledged
  std::vector<std::uint64_t> acknowledged;
  std::vector<std::uint64_t> settled;  // as `settle` was told, in whatever transaction
  store::Sequence looked_through = 0;
  int notes = 0;  // `settle` of nothing
  int receives = 0;
  int releases = 0;
  bool redelivers = false;
  std::string receive_error;  // `unavailable`, while not empty
  std::string acknowledge_error;
  std::function<void()> when_empty;

  void add(events::EventPtr event) {
    bus::Delivery delivery;
    delivery.event = std::move(event);
    add(std::move(delivery));
  }
  void add(bus::Delivery delivery) {
    delivery.tag = ++tags;
    if (!redelivers) delivery.sequence = looked_through + static_cast<store::Sequence>(waiting.size()) + 1;
    waiting.push_back(std::move(delivery));
  }
  void add_unreadable(std::string bytes, std::string reason) {
    bus::Delivery delivery;
    delivery.unreadable_bytes = std::move(bytes);
    delivery.unreadable_reason = std::move(reason);
    add(std::move(delivery));
  }
  std::uint64_t tags = 0;
};

class QueueConsumer final : public bus::Consumer {
 public:
  explicit QueueConsumer(Queue& queue) : queue_(queue) {}
  const std::string& queue() const override { return name_; }
  Result<std::vector<bus::Delivery>> receive(std::size_t count_max, milliseconds, std::stop_token) override {
    ++queue_.receives;
    if (!queue_.receive_error.empty()) return fail(ErrorCode::unavailable, "{}", queue_.receive_error);
    std::vector<bus::Delivery> batch;
    while (!queue_.waiting.empty() && batch.size() < count_max) {
      batch.push_back(std::move(queue_.waiting.front()));
      queue_.waiting.pop_front();
      queue_.in_hand.push_back(batch.back());
      queue_.looked_through = std::max(queue_.looked_through, batch.back().sequence);
    }
    if (batch.empty() && queue_.when_empty) queue_.when_empty();
    return batch;
  }
  Result<void> settle(store::Transaction&, std::span<const bus::Delivery> batch) override {
    if (batch.empty()) ++queue_.notes;
    for (const auto& delivery : batch) queue_.settled.push_back(delivery.tag);
    return {};
  }
  Result<void> acknowledge(std::span<const bus::Delivery> batch) override {
    if (!queue_.acknowledge_error.empty()) return fail(ErrorCode::unavailable, "{}", queue_.acknowledge_error);
    for (const auto& delivery : batch) {
      EXPECT_FALSE(queue_.in_hand.empty());
      EXPECT_EQ(queue_.in_hand.front().tag, delivery.tag) << "acknowledged out of order, or twice";
      queue_.in_hand.erase(queue_.in_hand.begin());
      queue_.acknowledged.push_back(delivery.tag);
    }
    return {};
  }
  Result<void> release() override {
    ++queue_.releases;
    queue_.waiting.insert(queue_.waiting.begin(), queue_.in_hand.begin(), queue_.in_hand.end());
    queue_.in_hand.clear();
    return {};
  }
  bool redelivers() const override { return queue_.redelivers; }
  store::Sequence looked_through() const override { return queue_.looked_through; }

 private:
  Queue& queue_;
  std::string name_ = "test_queue";
};

/// Takes what it is given, but for the messages that a test says are at fault.
class RecordingSink final : public Sink {
 public:
  Result<void> admission() override {
    ++admissions;
    if (not_admitted) return std::unexpected(*not_admitted);
    return {};
  }
  Result<void> commit(bus::Consumer&, std::span<const bus::Delivery> batch) override {
    ++commits;
    if (before_commit) before_commit();
    if (error) return std::unexpected(*error);
    for (const auto& delivery : batch) {
      if (const auto bad = at_fault.find(delivery.tag); bad != at_fault.end()) {
        return fail(bad->second, "message {} is at fault", delivery.tag);
      }
    }
    sizes.push_back(batch.size());
    for (const auto& delivery : batch) {
      if (delivery.event) {
        effects.push_back(delivery.tag);
      } else {
        letters.push_back({delivery.tag, delivery.unreadable_reason, 1});
      }
    }
    return {};
  }
  Result<void> set_aside(bus::Consumer&, const bus::Delivery& delivery, std::string_view reason,
                         int attempts) override {
    if (error) return std::unexpected(*error);
    letters.push_back({delivery.tag, std::string(reason), attempts});
    return {};
  }
  Result<void> note_idle(bus::Consumer&) override {
    if (error) return std::unexpected(*error);
    ++notes;
    return {};
  }

  struct Letter {
    std::uint64_t tag;
    std::string reason;
    int attempts;
    friend bool operator==(const Letter&, const Letter&) = default;
  };
  std::map<std::uint64_t, ErrorCode> at_fault;
  std::optional<Error> error;         // the answer to everything, while set
  std::optional<Error> not_admitted;  // the answer to `admission`, while set
  int admissions = 0;
  std::function<void()> before_commit;
  std::vector<std::uint64_t> effects;
  std::vector<std::size_t> sizes;
  std::vector<Letter> letters;
  int commits = 0;
  int notes = 0;
};

}  // namespace wfo::delivery::fakes
