#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace wfo::schedule {

enum class JobKind {
  builtin,   // this program does it
  external,  // a worker elsewhere does, with a queue of its own; here it is only recorded
};
[[nodiscard]] std::string_view name(JobKind kind);

/// A job that may be triggered, and its limits.
struct JobSpec {
  std::string name;  // is_job_name; not `runs`, `schedules`, `preview`
  JobKind kind = JobKind::external;
  /// 1s..30d: from the trigger until the BatchJobWorker has recorded it (builtin; it then waits for a thread, at most
  /// `start_timeout` and `timeout` together), or until its end (external: nobody tells us that it was taken); later the
  /// run is closed as failed.
  milliseconds start_timeout{std::chrono::hours(1)};
  /// 1s..30d: of a builtin run, from its first start to its end, without what it waits for a worker.
  milliseconds timeout{std::chrono::hours(6)};
  int attempts_max = 5;                               // 1..100, the first included; builtin
  milliseconds retry_first{std::chrono::seconds(1)};  // 1ms..30d: before the second attempt; doubles
  milliseconds retry_max{std::chrono::minutes(5)};    // retry_first..30d
  friend bool operator==(const JobSpec&, const JobSpec&) = default;
};

/// All jobs of an installation, by name.
class JobCatalog {
 public:
  JobCatalog() = default;
  /// One job per name; a later one takes an earlier one's place.
  explicit JobCatalog(std::vector<JobSpec> jobs);
  /// Null: there is no such job.
  [[nodiscard]] const JobSpec* find(std::string_view name) const;
  [[nodiscard]] std::span<const JobSpec> all() const { return jobs_; }
  /// `outcome-sync, risk-snapshot-backfill`: for errors.
  [[nodiscard]] std::string names() const;
  friend bool operator==(const JobCatalog&, const JobCatalog&) = default;

 private:
  std::vector<JobSpec> jobs_;
};

/// Whether a text can name a job or a schedule: 1..100 of A-Z a-z 0-9 . _ -, a letter or digit first (a path like
/// `jobs/..` would lead elsewhere, and `-x` would be an option).
[[nodiscard]] bool is_job_name(std::string_view text);
inline constexpr std::string_view kJobNameAllowed =
    "1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-', a letter or digit first";
inline constexpr int kAttemptsMax = 100;
inline constexpr milliseconds kJobTimeMax{std::chrono::days(30)};  // of every time in a JobSpec

}  // namespace wfo::schedule
