#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace wfo::store {

/// Counts the holders of a lease: 1, 2, 3, … A process that was paused while its lease was taken over still knows the
/// old number, and is refused by it.
using Epoch = std::int64_t;

struct Lease {
  std::string name;
  std::string holder;  // "" when it was given back
  Epoch epoch = 0;
  Timestamp expires_at;
  friend bool operator==(const Lease&, const Lease&) = default;
};

/// Work that one process of an installation does at a time. Time is the database's, which all processes share.
class LeaseStore {
 public:
  virtual ~LeaseStore() = default;
  /// Takes the lease for `length` (> 0) if nobody holds it or it has expired, with a new epoch; prolongs it with the
  /// same epoch if `holder` has it, also if it has expired and nobody took it meanwhile. Nothing: somebody else holds
  /// it.
  [[nodiscard]] virtual Result<std::optional<Lease>> acquire(std::string_view name, std::string_view holder,
                                                             milliseconds length) = 0;
  /// That nobody has taken the lease over since `epoch`, nor will before this transaction ends. Call it first in the
  /// transaction. Errors: `conflict` somebody has, or it was given back.
  [[nodiscard]] virtual Result<void> check(std::string_view name, Epoch epoch) = 0;
  /// Gives the lease back, so that others need not wait for its end. One that was taken over stays as it is.
  [[nodiscard]] virtual Result<void> release(std::string_view name, Epoch epoch) = 0;
  [[nodiscard]] virtual Result<std::optional<Lease>> find(std::string_view name) const = 0;
};

}  // namespace wfo::store
