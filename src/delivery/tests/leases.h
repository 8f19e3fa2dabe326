#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/time.h"
#include "delivery/lease_keeper.h"

namespace wfo::delivery::fakes {

/// A clock that tests move by hand, as one that only goes forward.
inline std::function<LeaseKeeper::SteadyTime()> steady(const ManualClock& clock) {
  return [&clock] { return LeaseKeeper::SteadyTime(clock.now().time_since_epoch()); };
}

/// A lease that does what `store::LeaseStore` says, in memory. Any thread.
class FakeLease final : public LeaseSource {
 public:
  explicit FakeLease(ManualClock& clock) : clock_(clock) {}
  const std::string& name() const override { return name_; }
  Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds length) override {
    const std::scoped_lock lock(mutex_);
    ++requests;
    if (error) return std::unexpected(*error);
    if (!lease_.holder.empty() && lease_.holder != holder && clock_.now() < lease_.expires_at) return std::nullopt;
    if (lease_.holder != holder) ++lease_.epoch;
    lease_.holder = holder;
    lease_.expires_at = clock_.now() + length;
    clock_.advance(answer_takes);
    return lease_;
  }
  Result<void> release(store::Epoch epoch) override {
    const std::scoped_lock lock(mutex_);
    if (epoch == lease_.epoch) lease_.holder.clear();
    return {};
  }

  std::optional<Error> error;  // the answer to everything, while set
  milliseconds answer_takes{0};
  std::atomic<int> requests = 0;

 private:
  ManualClock& clock_;
  const std::string name_ = "test";
  std::mutex mutex_;  // guards lease_
  store::Lease lease_;
};

}  // namespace wfo::delivery::fakes
