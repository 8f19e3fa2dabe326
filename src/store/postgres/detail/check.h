#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace wfo::store::postgres {

/// What the configurations of store and ledger have in common.
struct Bounds {
  int connections;                           // 1..100
  std::chrono::seconds connect_timeout;      // 2 s..300 s
  milliseconds statement_timeout;            // 100 ms..1 h
  milliseconds lock_timeout;                 // 100 ms..1 h
  milliseconds idle_in_transaction_timeout;  // 100 ms..1 h
  milliseconds tcp_timeout;                  // 1 s..10 min
};

/// Errors: `invalid_argument` names the field of `thing`, its value and what is allowed.
[[nodiscard]] Result<void> check_bounds(std::string_view thing, const Bounds& bounds);

}  // namespace wfo::store::postgres
