#include "orchestrator/detail/wake_ups.h"

#include <algorithm>

namespace wfo::orchestrator {

void WakeUps::sleep(const Clock& clock, Timestamp until, bool wakeable, std::stop_token stop) {
  constexpr milliseconds kGlance{1'000};
  std::unique_lock lock(mutex_);
  for (;;) {
    const std::int64_t noted = next_.load(std::memory_order_relaxed);
    const Timestamp target = wakeable ? std::min(until, Timestamp(milliseconds(noted))) : until;
    const Timestamp now = clock.now();
    if (now >= target || stop.stop_requested()) return;
    sooner_.wait_for(lock, stop, std::min(target - now, kGlance),
                     [&] { return wakeable && next_.load(std::memory_order_relaxed) < noted; });
  }
}

}  // namespace wfo::orchestrator
