#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "schedule/cron.h"
#include "schedule/job_spec.h"

namespace wfo::schedule {

/// What becomes of a fire while a run of the same schedule is open.
enum class OverlapPolicy {
  skip,          // it is skipped
  buffer_one,    // one fire waits until none is open; others are skipped
  buffer_all,    // all wait, and are triggered one after the other, oldest first; at most kBufferedMax
  cancel_other,  // the open run is cancelled, and this one triggered
  allow_all,     // it is triggered all the same
};
[[nodiscard]] std::string_view name(OverlapPolicy policy);
[[nodiscard]] std::optional<OverlapPolicy> parse_overlap_policy(std::string_view text);

inline constexpr std::size_t kBufferedMax = 1'000;  // fires of one schedule that wait
inline constexpr std::size_t kExpressionsMax = 20;  // of one schedule
inline constexpr milliseconds kCatchUpWindowMax{std::chrono::days(3650)};
inline constexpr milliseconds kJitterMax{std::chrono::hours(1)};
inline constexpr std::size_t kPauseNoteBytesMax = 1'000;
inline constexpr std::size_t kMetadataBytesMax = 64 * 1024;  // far below what an event may be
/// Objects and lists in each other, the outermost counted. Events, answers and records hold metadata deeper than this
/// and must be readable still (json::kDepthMax).
inline constexpr int kMetadataDepthMax = 32;

/// When which job is to be triggered: data, from configuration or the API.
struct Schedule {
  std::string name;               // is_job_name
  std::string job;                // a name of the catalogue
  std::vector<std::string> cron;  // 1..20 expressions; an instant that several name fires once
  std::string time_zone = "UTC";
  OverlapPolicy overlap = OverlapPolicy::skip;
  milliseconds catch_up_window{std::chrono::days(1)};  // 0..3650d: a fire that is later than this is skipped
  milliseconds jitter{0};         // 0..1h: a fire is triggered up to so much later, always the same
  bool paused = false;            // at first; later pausing and resuming counts
  std::string pause_note;         // needs `paused`; at most kPauseNoteBytesMax
  bool pause_on_failure = false;  // a run that fails for good pauses the schedule
  std::string metadata = "{}";    // a JSON object, as it was written: the trigger's; see check_metadata_shape
  friend bool operator==(const Schedule&, const Schedule&) = default;
};

/// Whether a trigger may carry it, whatever its job says: an object of at most kMetadataBytesMax, nested at most
/// kMetadataDepthMax deep. Errors: `invalid_argument` says what it is and what is allowed, without a name for it (the
/// caller puts `metadata` before it).
[[nodiscard]] Result<void> check_metadata_shape(json::Value metadata);

/// Reads a schedule of JSON: members `name`, `job`, `cron` (a text or a list), `timeZone`, `overlap`, `catchUpWindow`,
/// `jitter` (durations as text), `paused`, `pauseNote`, `pauseOnFailure`, `metadata`. `where`: how errors call it
/// (`schedules.yaml: schedules[2]`). Errors: `invalid_argument`, all that is wrong, each on a line: the member, its
/// value and what is allowed; also expressions, zones, a job that `catalog` does not have, policies that contradict
/// each other (a note without `paused`, or `jitter` greater than `catchUpWindow`; `jitter` longer than the time between
/// two fires is fine).
[[nodiscard]] Result<Schedule> parse_schedule(json::Value value, std::string_view where, const JobCatalog& catalog);
/// As `parse_schedule` reads it, every member written out.
[[nodiscard]] std::string encode(const Schedule& schedule);

/// A configuration's jobs and schedules.
struct JobConfiguration {
  JobCatalog catalog;
  std::vector<Schedule> schedules;  // by name
  friend bool operator==(const JobConfiguration&, const JobConfiguration&) = default;
};
struct JobFile {
  std::string name;  // how errors call it
  std::string json;  // {"jobs":[…],"schedules":[…]}, both optional
};
/// A job has the members `job` (its name), `kind`, `startTimeout`, and if it is builtin `timeout`, `retryFirst`,
/// `retryMax` (all durations as text), `attemptsMax`; a schedule those of `parse_schedule`. The files in order: a job
/// or schedule of the same name in a later file takes the earlier one's place, whole. A job that is not in `builtin` is
/// external. One that is can be given other limits, where what is not said stays as it is there; or the kind
/// `external`, with the defaults of `JobSpec`, if a worker elsewhere takes its place. Schedules may name jobs of any
/// file. Errors: `invalid_argument`, all of them, each on a line.
[[nodiscard]] Result<JobConfiguration> parse_job_files(std::span<const JobFile> files, const JobCatalog& builtin);

/// A schedule's expressions and zone, ready to be asked. Immutable.
class Timetable {
 public:
  /// Errors: `invalid_argument`, all that is wrong with `cron` and `timeZone`, each on a line.
  [[nodiscard]] static Result<Timetable> make(const Schedule& schedule);
  /// The first fire after `after` of all expressions; where one instant is that of several, a `regular` rule wins.
  [[nodiscard]] std::optional<Fire> next(Timestamp after) const;
  /// When the fire at that instant is due: up to `jitter` later, the same for the same schedule name and instant on
  /// every replica.
  [[nodiscard]] Timestamp due_at(Timestamp fire) const;
  [[nodiscard]] const Zone& zone() const { return zone_; }
  [[nodiscard]] std::span<const CronExpression> expressions() const { return expressions_; }

 private:
  Timetable(std::vector<CronExpression> expressions, Zone zone, std::string schedule, milliseconds jitter);
  std::vector<CronExpression> expressions_;
  Zone zone_;
  std::string schedule_;
  milliseconds jitter_;
};

/// What will fire, for people.
struct PreviewRow {
  Fire fire;
  std::string local;  // Zone::format
  /// "", or what a change of the clock does to it: `02:30 does not exist: moved to 03:00`, `02:00 does not exist` (nor
  /// does it fire: it is a wildcard's, or this fire is at the same instant), `02:30 comes twice: only the first fires`,
  /// `02:30 comes twice: this is the second`.
  std::string note;
  friend bool operator==(const PreviewRow&, const PreviewRow&) = default;
};
/// The next `count` fires after `after`.
[[nodiscard]] std::vector<PreviewRow> preview(const Timetable& timetable, Timestamp after, std::size_t count);

}  // namespace wfo::schedule
