#pragma once

#include <functional>
#include <stop_token>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "schedule/job_run.h"
#include "store/store.h"

namespace wfo::jobs {

/// One bounded piece of a job's work, and where it stands afterwards. It commits as one: effects, checkpoint, progress,
/// counts. Who works on a run that is no longer his commits nothing.
struct Slice {
  /// Writes the effects and adds to `counts`; may be null, and may be run again after a conflict.
  std::move_only_function<Result<void>(store::Transaction&, schedule::JobCounts& counts)> effects;
  std::string checkpoint;  // where the next slice goes on
  schedule::JobProgress progress;
  bool is_last = false;
};

/// A job of this program. Any thread; several runs of one job may be at work at once.
class Job {
 public:
  virtual ~Job() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Whether it can use this metadata. Errors: `invalid_argument` names the member, its value and what is allowed.
  [[nodiscard]] virtual Result<void> check(json::Value metadata) const = 0;
  /// Reads and computes what comes after `run.checkpoint`; writes nothing. Ends early on `stop`, with `unavailable`.
  /// Errors: `unavailable` and others: the attempt has failed, the next one goes on from the checkpoint;
  /// `invalid_argument`: trying again is no use.
  [[nodiscard]] virtual Result<Slice> next(const schedule::JobRun& run, std::stop_token stop) = 0;
};

}  // namespace wfo::jobs
