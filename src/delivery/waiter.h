#pragma once

#include <stop_token>

#include "base/time.h"

namespace wfo::delivery {

/// How services wait between two tries, so that tests can move time by hand. Any thread.
class Waiter {
 public:
  virtual ~Waiter() = default;
  /// Returns after `length` or on `stop`; false if `stop` has come.
  virtual bool wait(milliseconds length, std::stop_token stop) = 0;
};

class SystemWaiter final : public Waiter {
 public:
  bool wait(milliseconds length, std::stop_token stop) override;
};

}  // namespace wfo::delivery
