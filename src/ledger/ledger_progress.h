#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "delivery/waiter.h"
#include "store/event_log.h"
#include "store/ledger_store.h"

namespace wfo::ledger {

/// Whether the ledger has what happened, for who asks it right after. Only for a bus that is the log: what lies in a
/// broker's queue nobody can tell without asking it for every entry, so on a broker reads do not wait. Any thread.
class LedgerProgress {
 public:
  /// `bindings` as the ledger's consumer has them.
  LedgerProgress(store::LedgerStore& ledger, store::LogReader& log_reader, std::vector<std::string> bindings,
                 delivery::Waiter& waiter)
      : ledger_(ledger), log_reader_(log_reader), bindings_(std::move(bindings)), waiter_(waiter) {}

  /// Waits until every event that the ledger is to record, and that was committed when this was called, is durable in
  /// it; for about `limit` at most, or until `stop`. False: it still lacks some. Errors: as the stores.
  [[nodiscard]] Result<bool> catch_up(milliseconds limit, std::stop_token stop = {}) const;

 private:
  store::LedgerStore& ledger_;
  store::LogReader& log_reader_;
  std::vector<std::string> bindings_;
  delivery::Waiter& waiter_;
};

}  // namespace wfo::ledger
