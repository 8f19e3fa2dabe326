#include "store/postgres/detail/check.h"

namespace wfo::store::postgres {
namespace {

Result<void> check_time(std::string_view thing, std::string_view field, milliseconds value, milliseconds min,
                        milliseconds max) {
  if (value >= min && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{}: {} is {} ms; allowed: {} to {}", thing, field, value.count(),
              format_duration(min), format_duration(max));
}

}  // namespace

Result<void> check_bounds(std::string_view thing, const Bounds& bounds) {
  using namespace std::chrono_literals;
  if (bounds.connections < 1 || bounds.connections > 100) {
    return fail(ErrorCode::invalid_argument, "{}: connections is {}; allowed: 1 to 100", thing, bounds.connections);
  }
  TRY(check_time(thing, "connect_timeout", bounds.connect_timeout, 2s, 300s));
  TRY(check_time(thing, "statement_timeout", bounds.statement_timeout, 100ms, 1h));
  TRY(check_time(thing, "lock_timeout", bounds.lock_timeout, 100ms, 1h));
  TRY(check_time(thing, "idle_in_transaction_timeout", bounds.idle_in_transaction_timeout, 100ms, 1h));
  return check_time(thing, "tcp_timeout", bounds.tcp_timeout, 1s, 10min);
}

}  // namespace wfo::store::postgres
