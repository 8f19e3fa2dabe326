#pragma once

#include <cstddef>

#include "jobs/job.h"
#include "store/ledger_store.h"

namespace wfo::jobs {

struct RiskSnapshotBackfillConfig {
  std::size_t slice_rows = 2'000;  // 1..10000 evaluations in memory, and in a transaction, at once
};

/// Job `risk-snapshot-backfill`: re-reads the recorded risk analyses (`workflow.step.completed` of `risk_analysis`)
/// from the ledger, wherever that is, and upserts `risk_snapshots`. `metadata.from` and `.to` (dates or timestamps of
/// the years 0001 to 9999, `from` before `to`) bound the events' timestamps; default: up to the fire (or the trigger),
/// from the beginning of the day (UTC) seven days before, or, if no run with default range has completed since, of the
/// day up to which the last one read, 90 days before `to` at most: so neither a late fire nor one that was left out
/// leaves a gap. `metadata.tenantId`: only that tenant. Idempotent, resumable at each slice, whose first one fixes the
/// range. In memory: `slice_rows` snapshots, of 16 MiB about, and a page of the ledger of 2 MiB, or one event if that
/// is more. Counts: `evaluations` read, `snapshots` written, `unusable` (an analysis without the members that a
/// snapshot needs).
class RiskSnapshotBackfill final : public Job {
 public:
  static constexpr std::string_view kName = "risk-snapshot-backfill";
  /// `store`: whose runs tell up to when was read.
  RiskSnapshotBackfill(store::LedgerStore& ledger, store::Store& store, RiskSnapshotBackfillConfig config = {})
      : ledger_(ledger), store_(store), config_(config) {
    INVARIANT(config_.slice_rows >= 1 && config_.slice_rows <= 10'000);
  }
  [[nodiscard]] std::string_view name() const override { return kName; }
  [[nodiscard]] Result<void> check(json::Value metadata) const override { return check_metadata(metadata); }
  /// The same where there is no ledger: of a configuration that is only looked at.
  [[nodiscard]] static Result<void> check_metadata(json::Value metadata);
  [[nodiscard]] Result<Slice> next(const schedule::JobRun& run, std::stop_token stop) override;

 private:
  store::LedgerStore& ledger_;
  store::Store& store_;
  const RiskSnapshotBackfillConfig config_;
};

}  // namespace wfo::jobs
