#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "workflow/decide.h"

namespace wfo::orchestrator {

/// Why an input changed nothing: what `workflow::decide` says, and what is found out before it is asked.
enum class Reason {
  unknown_step,
  already_completed,
  not_requested,
  stale_attempt,
  run_ended,
  not_due,
  still_active,
  unknown_workflow,  // no such run, or the message names none
  foreign_tenant,    // the run belongs to another tenant
  repeated_trigger,  // the trigger was seen before
  other_shard,       // the shard that changed is no opportunity
  outdated_change,   // a newer change of the opportunity is known; the trigger counts all the same
  not_consumed,      // a type that no definition names
};
inline constexpr std::size_t kReasonCount = static_cast<std::size_t>(Reason::not_consumed) + 1;
[[nodiscard]] std::string_view name(Reason reason);
[[nodiscard]] Reason reason_of(workflow::Ignored ignored);

/// What happened, to be counted once it is committed.
struct Tally {
  std::array<std::uint32_t, kReasonCount> ignored{};
  std::uint32_t started = 0;
  std::uint32_t retried = 0;
  std::uint32_t completed = 0;
  std::uint32_t failed_by_step = 0;
  std::uint32_t failed_by_deadline = 0;
  std::uint32_t cancelled = 0;
  std::uint32_t absorbed = 0;
  std::uint32_t refused = 0;
  std::vector<std::pair<std::string, milliseconds>> step_durations;  // by step type

  void add(Reason reason) { ++ignored[static_cast<std::size_t>(reason)]; }
  void add(const Tally& other);
};

/// The role's metrics. Any thread.
class Numbers {
 public:
  explicit Numbers(Metrics& metrics);
  void count(const Tally& tally);
  /// How many runs are active now, as the store says.
  void set_active(std::int64_t count);
  void count_mended(std::string_view what, std::size_t amount);

 private:
  Histogram& duration_of(const std::string& step_type);

  Metrics& metrics_;
  std::array<Counter*, kReasonCount> ignored_;
  Counter& started_;
  Counter& retried_;
  Counter& completed_;
  Counter& failed_by_step_;
  Counter& failed_by_deadline_;
  Counter& cancelled_;
  Counter& absorbed_;
  Counter& refused_;
  Gauge& active_gauge_;
  std::atomic<std::int64_t> active_ = 0;
  std::mutex mutex_;  // guards durations_
  std::map<std::string, Histogram*> durations_;
};

}  // namespace wfo::orchestrator
