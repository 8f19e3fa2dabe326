#pragma once

#include <cstddef>

#include "jobs/job.h"
#include "store/ledger_store.h"

namespace wfo::jobs {

struct RiskSnapshotBackfillConfig {
  std::size_t slice_rows = 2'000;  // 1..10000 evaluations in memory, and in a transaction, at once
};

/// Job `risk-snapshot-backfill`: re-reads the recorded risk analyses (`workflow.step.completed` of `risk_analysis`)
/// from the ledger, wherever that is, and upserts `risk_snapshots`. `metadata.from` and `.to` (dates or timestamps,
/// `from` before `to`) bound the events' timestamps; default: from the beginning of the day (UTC) seven days before the
/// fire (or the trigger) up to it, so that a late fire leaves no gap between two weeks. `metadata.tenantId`: only that
/// tenant. Idempotent, resumable at each slice, in memory bounded by `slice_rows`. Counts: `evaluations` read,
/// `snapshots` written, `unusable` (an analysis without the members that a snapshot needs).
class RiskSnapshotBackfill final : public Job {
 public:
  static constexpr std::string_view kName = "risk-snapshot-backfill";
  explicit RiskSnapshotBackfill(store::LedgerStore& ledger, RiskSnapshotBackfillConfig config = {})
      : ledger_(ledger), config_(config) {
    INVARIANT(config_.slice_rows >= 1 && config_.slice_rows <= 10'000);
  }
  [[nodiscard]] std::string_view name() const override { return kName; }
  [[nodiscard]] Result<void> check(json::Value metadata) const override;
  [[nodiscard]] Result<Slice> next(const schedule::JobRun& run, std::stop_token stop) override;

 private:
  store::LedgerStore& ledger_;
  const RiskSnapshotBackfillConfig config_;
};

}  // namespace wfo::jobs
