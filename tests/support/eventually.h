#pragma once

#include <chrono>
#include <thread>

namespace wfo::test {

inline constexpr std::chrono::seconds kPatience{120};  // for anything to happen, also under sanitizers

/// Whether `condition()` becomes true within `kPatience`: for what other threads do.
template <class Condition>
[[nodiscard]] bool eventually(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace wfo::test
