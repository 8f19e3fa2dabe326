#include "schedule/plan.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace wfo::schedule {
namespace {

constexpr milliseconds kTick{1};  // the step of a timestamp: `next` looks strictly after what it is given

constexpr std::array<std::string_view, 3> kOutcomes{"triggered", "buffered", "skipped"};
constexpr std::array<std::string_view, 9> kCauses{"due",         "catch_up",       "released", "backfill",  "overlap",
                                                  "buffer_full", "outside_window", "paused",   "superseded"};

template <class Enum, std::size_t kSize>
std::optional<Enum> parse_name(const std::array<std::string_view, kSize>& names, std::string_view text) {
  const auto found = std::ranges::find(names, text);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

struct Verdict {
  FireOutcome outcome;
  FireCause cause;
};

/// How the fires of one plan meet open runs, and each other: one that is triggered is open for those that follow.
class Overlap {
 public:
  Overlap(OverlapPolicy policy, const Situation& situation)
      : policy_(policy), open_(situation.open_runs), buffered_(situation.buffered) {}

  /// `cause`: of the fire, if it is triggered. `last`: no other one follows that could take its place.
  Verdict meet(FireCause cause, bool last) {
    switch (policy_) {
      case OverlapPolicy::skip:
        if (open_ > 0) return {FireOutcome::skipped, FireCause::overlap};
        break;
      case OverlapPolicy::buffer_one:
        if (open_ == 0) break;
        if (buffered_ == 0) return buffer();
        return {FireOutcome::skipped, FireCause::overlap};
      case OverlapPolicy::buffer_all:
        if (open_ == 0) break;
        if (buffered_ < kBufferedMax) return buffer();
        return {FireOutcome::skipped, FireCause::buffer_full};
      case OverlapPolicy::cancel_other:
        // A burst of runs of which each cancels the one before would be no use to anybody.
        if (!last) return {FireOutcome::skipped, FireCause::superseded};
        break;
      case OverlapPolicy::allow_all:
        break;
    }
    ++open_;
    return {FireOutcome::triggered, cause};
  }
  /// The fire that has waited longest has its run.
  void release() {
    --buffered_;
    ++open_;
  }

 private:
  Verdict buffer() {
    ++buffered_;
    return {FireOutcome::buffered, FireCause::overlap};
  }

  const OverlapPolicy policy_;
  std::size_t open_;
  std::size_t buffered_;
};

/// Adds a fire, to the row before it if both were skipped alike.
void add(std::vector<PlannedFire>& fires, const Fire& fire, Verdict verdict) {
  if (!fires.empty() && verdict.outcome == FireOutcome::skipped) {
    PlannedFire& before = fires.back();
    if (before.outcome == verdict.outcome && before.cause == verdict.cause && before.rule == fire.rule) {
      before.last = fire.at;
      ++before.count;
      return;
    }
  }
  fires.push_back({fire.at, fire.at, 1, verdict.outcome, verdict.cause, fire.rule});
}

/// What may be released.
std::optional<Waiting> releasable(const Schedule& schedule, const Situation& situation) {
  const bool held = schedule.overlap == OverlapPolicy::allow_all ? situation.turn_taken : situation.open_runs > 0;
  if (held || situation.buffered == 0) return std::nullopt;
  if (!situation.paused) return Waiting::oldest;
  return situation.asked_for_waits ? std::optional(Waiting::oldest_asked_for) : std::nullopt;
}

bool may_wait(OverlapPolicy policy) {
  return policy == OverlapPolicy::buffer_one || policy == OverlapPolicy::buffer_all;
}

}  // namespace

std::string_view name(FireOutcome outcome) { return kOutcomes[static_cast<std::size_t>(outcome)]; }
std::optional<FireOutcome> parse_fire_outcome(std::string_view text) {
  return parse_name<FireOutcome>(kOutcomes, text);
}
std::string_view name(FireCause cause) { return kCauses[static_cast<std::size_t>(cause)]; }
std::optional<FireCause> parse_fire_cause(std::string_view text) { return parse_name<FireCause>(kCauses, text); }

Plan plan_fires(const Schedule& schedule, const Timetable& timetable, const Situation& situation) {
  const Timestamp now = situation.now;
  const bool cancels = schedule.overlap == OverlapPolicy::cancel_other;
  // Measured from the fire, not from when it is due: so an earlier fire is never inside where a later one is outside.
  const milliseconds window = std::max(schedule.catch_up_window, kPunctual) + schedule.jitter;

  Plan plan;
  Overlap overlap(schedule.overlap, situation);
  const auto release = releasable(schedule, situation);
  if (release && !cancels) {
    plan.release = release;
    overlap.release();
  }

  std::optional<Fire> fire;
  if (situation.next_at) fire = timetable.next(*situation.next_at - kTick);
  Timestamp due_at = fire ? timetable.due_at(fire->at) : Timestamp();
  std::size_t planned = 0;
  std::size_t triggered = 0;
  while (fire && due_at <= now && planned < kFiresMax && triggered < kTriggersMax) {
    const std::optional<Fire> following = timetable.next(fire->at);
    const Timestamp following_due_at = following ? timetable.due_at(following->at) : Timestamp();
    Verdict verdict{FireOutcome::skipped, FireCause::paused};
    if (!situation.paused && now - fire->at > window) {
      verdict.cause = FireCause::outside_window;
    } else if (!situation.paused) {
      // The one that follows may be left to the next plan: it counts all the same.
      const bool last = !following || following_due_at > now;
      verdict = overlap.meet(now - due_at > kLate ? FireCause::catch_up : FireCause::due, last);
    }
    if (verdict.outcome == FireOutcome::triggered) ++triggered;
    add(plan.fires, *fire, verdict);
    ++planned;
    fire = following;
    due_at = following_due_at;
  }
  if (cancels) {
    plan.cancel_open = triggered > 0 && situation.open_runs > 0;
    // A fire that is triggered would have to cancel one that is released here or later.
    plan.give_up_waiting = triggered > 0 && situation.buffered > 0;
    if (triggered == 0) plan.release = release;
  }
  if (fire) {
    plan.next_at = fire->at;
    plan.wake_up_at = due_at;
  }
  return plan;
}

Result<std::vector<PlannedFire>> plan_backfill(const Schedule& schedule, const Timetable& timetable, Timestamp from,
                                               Timestamp to, OverlapPolicy policy, const Situation& situation) {
  if (may_wait(policy) && schedule.overlap == OverlapPolicy::cancel_other) {
    return fail(ErrorCode::invalid_argument,
                "overlap is {}; allowed: skip, cancel_other, allow_all, since each fire of schedule '{}' cancels the "
                "runs that are open (its own overlap is cancel_other), and one that waits would never come to its end",
                name(policy), schedule.name);
  }
  if (from >= to) {
    return fail(ErrorCode::invalid_argument, "from is {}, to is {}; from must be before to", format_timestamp(from),
                format_timestamp(to));
  }
  if (to > situation.now) {
    return fail(ErrorCode::invalid_argument, "to is {}; allowed: up to now, which is {}", format_timestamp(to),
                format_timestamp(situation.now));
  }
  std::vector<Fire> asked_for;
  for (auto fire = timetable.next(from - kTick); fire && fire->at < to; fire = timetable.next(fire->at)) {
    if (asked_for.size() == kBufferedMax) {
      return fail(ErrorCode::invalid_argument,
                  "more than {} fires between {} and {}; up to {} are allowed at once (the last of those is at {})",
                  kBufferedMax, format_timestamp(from), format_timestamp(to), kBufferedMax,
                  format_timestamp(asked_for.back().at));
    }
    asked_for.push_back(*fire);
  }
  if (asked_for.empty()) {
    return fail(ErrorCode::invalid_argument, "no fire between {} and {}", format_timestamp(from), format_timestamp(to));
  }
  std::vector<PlannedFire> fires;
  Situation met = situation;
  if (may_wait(policy)) {
    if (schedule.overlap == OverlapPolicy::allow_all) met.open_runs = situation.turn_taken ? 1 : 0;
    // It is a queue: nothing is triggered past those that wait, though none of them has its run yet.
    const bool others_wait = situation.paused ? situation.asked_for_waits : situation.buffered > 0;
    if (others_wait) met.open_runs = std::max<std::size_t>(met.open_runs, 1);
  }
  Overlap overlap(policy, met);
  for (const Fire& fire : asked_for) {
    Verdict verdict = overlap.meet(FireCause::backfill, &fire == &asked_for.back());
    verdict.cause = FireCause::backfill;
    add(fires, fire, verdict);
  }
  return fires;
}

}  // namespace wfo::schedule
