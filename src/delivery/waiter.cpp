#include "delivery/waiter.h"

#include <condition_variable>
#include <mutex>

namespace wfo::delivery {

bool SystemWaiter::wait(milliseconds length, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, length, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace wfo::delivery
