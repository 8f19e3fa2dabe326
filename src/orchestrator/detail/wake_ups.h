#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stop_token>

#include "base/time.h"

namespace wfo::orchestrator {

/// When the timers' thread has to look again. It says until when it sleeps; whoever commits an earlier wake-up tells
/// it. Any thread.
class WakeUps {
 public:
  /// A run has been committed that must be woken at `at`.
  void note(Timestamp at) {
    const std::int64_t time = at.time_since_epoch().count();
    if (time >= next_.load(std::memory_order_relaxed)) return;  // nearly always
    const std::scoped_lock lock(mutex_);
    if (time >= next_.load(std::memory_order_relaxed)) return;
    next_.store(time, std::memory_order_relaxed);
    sooner_.notify_all();
  }
  /// Forgets what was noted: the store is asked from here on, and what is noted meanwhile still counts.
  void forget() {
    const std::scoped_lock lock(mutex_);
    next_.store(kNever, std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_due(Timestamp now) const {
    return now.time_since_epoch().count() >= next_.load(std::memory_order_relaxed);
  }
  /// Until `until`, `stop`, or (if `wakeable`) the next wake-up. It looks at the clock once a second, since a wall
  /// clock may be set.
  void sleep(const Clock& clock, Timestamp until, bool wakeable, std::stop_token stop);

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> next_ = kNever;  // milliseconds since 1970; written under mutex_
  std::mutex mutex_;
  std::condition_variable_any sooner_;
};

}  // namespace wfo::orchestrator
