#pragma once

#include <cstddef>

#include "events/contracts.h"
#include "jobs/job.h"

namespace wfo::jobs {

struct OutcomeSyncConfig {
  std::size_t slice_rows = 1'000;  // 1..10000 opportunities in memory at once
};

/// Job `outcome-sync`: one `opportunity.outcome.recorded` for each closed opportunity whose outcome (by opportunity and
/// close date) was not published before, in the transaction that notes it. Counts: `opportunities` looked at,
/// `published`, `withoutCloseDate` (closed, but nobody said when: they wait until somebody does).
class OutcomeSync final : public Job {
 public:
  static constexpr std::string_view kName = "outcome-sync";
  OutcomeSync(store::Store& store, const events::Contracts& contracts, IdSource& ids, const Clock& clock,
              OutcomeSyncConfig config = {});
  [[nodiscard]] std::string_view name() const override { return kName; }
  [[nodiscard]] Result<void> check(json::Value metadata) const override;
  [[nodiscard]] Result<Slice> next(const schedule::JobRun& run, std::stop_token stop) override;

 private:
  store::Store& store_;
  const events::Contracts& contracts_;
  IdSource& ids_;
  const Clock& clock_;
  const OutcomeSyncConfig config_;
};

}  // namespace wfo::jobs
