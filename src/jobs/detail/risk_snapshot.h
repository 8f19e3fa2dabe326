#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "store/ledger_store.h"
#include "store/risk_snapshot_store.h"

namespace wfo::jobs {

/// What a `workflow.step.completed` of the ledger is to the backfill.
struct Evaluation {
  bool is_risk_analysis = false;
  std::optional<store::RiskSnapshot> snapshot;  // nothing: it lacks what a snapshot needs
};

/// Takes the snapshot from the entry, whose bytes it uses up. Ids and time are those that the ledger found; the
/// numbers' tokens are kept as they stand in the event, so the same event always gives the same bytes. A member that is
/// longer than 4 KiB is left out and named in `omitted`.
[[nodiscard]] Evaluation evaluation_of(store::LedgerEntry&& entry);

}  // namespace wfo::jobs
