#include "store/store.h"

namespace wfo::store {

Result<std::optional<Lease>> Store::acquire_lease(std::string_view name, std::string_view holder, milliseconds length) {
  std::optional<Lease> lease;
  TRY(transact([&](Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(lease, transaction.leases().acquire(name, holder, length));
    return {};
  }));
  return lease;
}

Result<void> Store::release_lease(std::string_view name, Epoch epoch) {
  return transact([&](Transaction& transaction) { return transaction.leases().release(name, epoch); });
}

}  // namespace wfo::store
