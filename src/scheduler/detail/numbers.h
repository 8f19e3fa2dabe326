#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "schedule/plan.h"

namespace wfo::scheduler {

/// Why a run was closed here, and not by what its worker said.
enum class ClosedBy { start_timeout, timeout, cancelled };
inline constexpr std::size_t kClosedByCount = 3;
[[nodiscard]] std::string_view name(ClosedBy why);

/// What an event about the end of a run led to.
enum class AnswerKind {
  matched,  // the run is closed now, or this is how it ended
  late,     // it had ended otherwise
  unknown,  // there is no such run, or it is of another job
};
inline constexpr std::size_t kAnswerKindCount = 3;
[[nodiscard]] std::string_view name(AnswerKind kind);

inline constexpr std::size_t kOutcomeCount = static_cast<std::size_t>(schedule::FireOutcome::skipped) + 1;
inline constexpr std::size_t kCauseCount = static_cast<std::size_t>(schedule::FireCause::superseded) + 1;

/// A schedule that could not be attended to.
struct PutOff {
  std::string schedule;
  std::uint64_t definition = 0;  // its digest
  std::string why;               // for the log
};

/// What happened in a transaction, to be counted and told once it is committed.
struct Tally {
  std::array<std::array<std::int64_t, kCauseCount>, kOutcomeCount> fires{};
  std::vector<milliseconds> lateness;  // of triggered fires, against when they were due
  std::array<std::int64_t, kClosedByCount> closed{};
  std::array<std::int64_t, kAnswerKindCount> answers{};
  std::vector<std::string> warnings;  // for the log
  std::vector<std::string> notes;     // the same, as information
  std::vector<PutOff> put_off;        // for the log, too, once for each definition

  void add(schedule::FireOutcome outcome, schedule::FireCause cause, std::int64_t count) {
    fires[static_cast<std::size_t>(outcome)][static_cast<std::size_t>(cause)] += count;
  }
  void add(ClosedBy why) { ++closed[static_cast<std::size_t>(why)]; }
  void add(AnswerKind kind) { ++answers[static_cast<std::size_t>(kind)]; }
};

/// The role's metrics. Any thread.
class Numbers {
 public:
  explicit Numbers(Metrics& metrics);
  void count(const Tally& tally, Logger& log);

 private:
  std::array<std::array<Counter*, kCauseCount>, kOutcomeCount> fires_{};  // null: there is no such fire
  std::array<Counter*, kClosedByCount> closed_{};
  std::array<Counter*, kAnswerKindCount> answers_{};
  Histogram& lateness_;
  std::mutex mutex_;                                     // guards told_
  std::unordered_map<std::string, std::uint64_t> told_;  // schedules that were put off: of which definition it was said
};

}  // namespace wfo::scheduler
