#include "scheduler/detail/numbers.h"

#include <algorithm>

namespace wfo::scheduler {
namespace {

using schedule::FireCause;
using schedule::FireOutcome;

struct Kind {
  FireOutcome outcome;
  FireCause cause;
};
constexpr std::size_t kToldMax = 10'000;

// What a fire can become.
constexpr std::array kKinds{
    Kind{FireOutcome::triggered, FireCause::due},          Kind{FireOutcome::triggered, FireCause::catch_up},
    Kind{FireOutcome::triggered, FireCause::released},     Kind{FireOutcome::triggered, FireCause::backfill},
    Kind{FireOutcome::buffered, FireCause::overlap},       Kind{FireOutcome::buffered, FireCause::backfill},
    Kind{FireOutcome::skipped, FireCause::overlap},        Kind{FireOutcome::skipped, FireCause::buffer_full},
    Kind{FireOutcome::skipped, FireCause::outside_window}, Kind{FireOutcome::skipped, FireCause::paused},
    Kind{FireOutcome::skipped, FireCause::superseded},     Kind{FireOutcome::skipped, FireCause::backfill}};

}  // namespace

std::string_view name(ClosedBy why) {
  switch (why) {
    case ClosedBy::start_timeout:
      return "start_timeout";
    case ClosedBy::timeout:
      return "timeout";
    case ClosedBy::cancelled:
      return "cancelled";
  }
  INVARIANT(false);
}

std::string_view name(AnswerKind kind) {
  switch (kind) {
    case AnswerKind::matched:
      return "matched";
    case AnswerKind::late:
      return "late";
    case AnswerKind::unknown:
      return "unknown";
  }
  INVARIANT(false);
}

Numbers::Numbers(Metrics& metrics)
    : lateness_(metrics.histogram("job_fire_lateness_seconds", "From when a fire was due to its trigger")) {
  for (const auto& [outcome, cause] : kKinds) {
    fires_[static_cast<std::size_t>(outcome)][static_cast<std::size_t>(cause)] =
        &metrics.counter("job_fires_total", "Expected fires of schedules, and what became of them",
                         {{"outcome", std::string(name(outcome))}, {"cause", std::string(name(cause))}});
  }
  for (std::size_t i = 0; i < kClosedByCount; ++i) {
    closed_[i] = &metrics.counter("job_runs_closed_total", "Job runs that were closed before their worker said so",
                                  {{"why", std::string(name(static_cast<ClosedBy>(i)))}});
  }
  for (std::size_t i = 0; i < kAnswerKindCount; ++i) {
    answers_[i] = &metrics.counter("job_answers_total", "Events that said how a job run ended",
                                   {{"outcome", std::string(name(static_cast<AnswerKind>(i)))}});
  }
}

void Numbers::count(const Tally& tally, Logger& log) {
  for (std::size_t outcome = 0; outcome < kOutcomeCount; ++outcome) {
    for (std::size_t cause = 0; cause < kCauseCount; ++cause) {
      if (tally.fires[outcome][cause] == 0) continue;
      INVARIANT(fires_[outcome][cause] != nullptr);
      fires_[outcome][cause]->add(static_cast<double>(tally.fires[outcome][cause]));
    }
  }
  for (const milliseconds late : tally.lateness) lateness_.observe(std::chrono::duration<double>(late).count());
  for (std::size_t i = 0; i < kClosedByCount; ++i) {
    if (tally.closed[i] > 0) closed_[i]->add(static_cast<double>(tally.closed[i]));
  }
  for (std::size_t i = 0; i < kAnswerKindCount; ++i) {
    if (tally.answers[i] > 0) answers_[i]->add(static_cast<double>(tally.answers[i]));
  }
  for (const std::string& warning : tally.warnings) log.warn("{}", warning);
  for (const std::string& note : tally.notes) log.info("{}", note);
  if (tally.put_off.empty()) return;
  const std::scoped_lock lock(mutex_);
  for (const auto& [schedule, definition, why] : tally.put_off) {
    const auto told = told_.find(schedule);
    if (told != told_.end() && told->second == definition) continue;
    if (told_.size() >= kToldMax) told_.clear();  // then it is said again
    told_.insert_or_assign(schedule, definition);
    log.warn("{}", why);
  }
}

}  // namespace wfo::scheduler
