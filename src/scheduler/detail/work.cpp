#include "scheduler/detail/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <utility>

#include "base/digest.h"

namespace wfo::scheduler {

using schedule::FireCause;
using schedule::FireOutcome;
using schedule::JobRun;
using schedule::JobRunStatus;
using schedule::PlannedFire;
using store::StoredJobRun;
using store::StoredSchedule;

namespace {

constexpr int kTriesMax = 5;  // against others who write the same

bool is_triggered(const PlannedFire& fire) { return fire.outcome == FireOutcome::triggered; }

/// Jitter is for fires to come; what was due before a change must not get lost by it.
Result<ParsedPtr> without_jitter(const Parsed& parsed) {
  schedule::Schedule schedule = parsed.schedule;
  schedule.jitter = milliseconds(0);
  TRY_ASSIGN(auto timetable, schedule::Timetable::make(schedule));
  return std::make_shared<const Parsed>(Parsed{std::move(schedule), std::move(timetable)});
}

/// What is late is accounted for as skipped, at most as much as a plan holds, and then what is not, by `at_once`.
schedule::Plan plan_without_late(const Parsed& parsed, const Parsed& at_once, schedule::Situation situation) {
  schedule::Situation past{.now = situation.now - schedule::kLate - milliseconds(1), .next_at = situation.next_at};
  past.paused = true;
  schedule::Plan skipped = schedule::plan_fires(parsed.schedule, parsed.timetable, past);
  if (skipped.wake_up_at && *skipped.wake_up_at <= past.now) return skipped;
  situation.next_at = skipped.next_at;
  schedule::Plan plan = schedule::plan_fires(at_once.schedule, at_once.timetable, situation);
  plan.fires.insert(plan.fires.begin(), skipped.fires.begin(), skipped.fires.end());
  return plan;
}

}  // namespace

JobRun run_of(const schedule::Schedule& schedule, Timestamp fire) {
  JobRun run;
  run.job = schedule.job;
  run.triggered_by = schedule::TriggeredBy::scheduler;
  run.schedule = schedule.name;
  run.scheduled_for = fire;
  run.metadata = schedule.metadata;
  return run;
}

Result<Triggering> prepare_run(const Core& core, JobRun run, Timestamp now, const Asked& asked) {
  run.id = JobRunId(core.ids.next());
  run.correlation_id = run.id.to_string();
  TRY_ASSIGN(auto event, make_trigger(core.factory, run, now, asked));
  run.trigger = event->id();
  // Where the limits of a job stand that the catalogue does not have: in the defaults.
  const schedule::JobSpec* const known = core.catalog.find(run.job);
  const schedule::JobSpec spec = known ? *known : schedule::JobSpec{.name = run.job};
  return Triggering{schedule::triggered(std::move(run), spec, now), std::move(event)};
}

/// A schedule in hand.
struct Work::Attending {
  StoredSchedule* row;
  ParsedPtr parsed = nullptr;
  schedule::Plan plan = {};
  std::optional<store::FireRecord> oldest = {};  // of those that wait: the one to be released
  std::optional<Triggering> released = {};
  std::vector<Triggering> triggerings = {};  // of the plan's fires
};

Result<Work::Attended> Work::attend(std::span<StoredSchedule> rows, How how) {
  Attended attended;
  if (rows.empty()) return attended;
  std::vector<std::string> names;
  names.reserve(rows.size());
  for (const StoredSchedule& row : rows) names.push_back(row.name);
  TRY_ASSIGN(const auto open, transaction_.job_runs().open_of(names, 1));
  TRY_ASSIGN(auto waiting, transaction_.fires().buffered(names));
  std::vector<bool> turns(rows.size(), false);
  if (std::ranges::any_of(waiting, [](const store::BufferedFires& fires) { return fires.count > 0; })) {
    TRY_ASSIGN(turns, transaction_.fires().turns_taken(names));
  }
  // What came last first: so one with a long backlog, which has been due for longest, leaves none of the others to the
  // next transaction, where it would be due for longest again.
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t i) { return rows[i].wake_up_at; });

  std::vector<Attending> all;
  std::vector<StoredSchedule> written;
  std::size_t planned = 0;
  std::size_t triggers = 0;
  for (const std::size_t i : order) {
    StoredSchedule next = rows[i];
    if (planned >= kFiresAtOnce || triggers >= kTriggersAtOnce) {
      const bool due = next.wake_up_at && *next.wake_up_at <= now_;
      if (!due && !waiting[i].oldest) continue;
      attended.more = true;
      if (due) continue;
      // What comes by a run that ended is not due by itself: nobody would look again before the next fire. Since when
      // it waits is said by no clock that may be wrong.
      next.wake_up_at = std::min(now_, waiting[i].oldest->fire.first);
      all.push_back({.row = &rows[i]});
      written.push_back(std::move(next));
      continue;
    }
    ++attended.schedules;
    const auto stored = core_.timetables.of(next);
    auto parsed = stored;
    if (parsed && how.jitter == Jitter::ignored && (*parsed)->schedule.jitter > milliseconds(0)) {
      parsed = without_jitter(**parsed);
    }
    // It must not hold up the others, and nothing is lost: its fires are accounted for when it can be attended to
    // again.
    const auto put_off = [&](std::string why) {
      tally_.put_off.push_back(
          {next.name, short_digest(next.definition),
           fmt::format("{}; its fires wait, it is looked at again every {}", why, format_duration(kLookAgain))});
      next.wake_up_at = now_ + kLookAgain;
      all.push_back({.row = &rows[i]});
      written.push_back(std::move(next));
    };
    if (!parsed) {
      put_off(parsed.error().message);
      continue;
    }
    schedule::Situation situation{.now = now_, .next_at = next.next_at, .paused = next.paused};
    situation.open_runs = open[i].ids.size();
    situation.buffered = waiting[i].count;
    situation.asked_for_waits = waiting[i].oldest_asked_for.has_value();
    situation.turn_taken = turns[i];
    auto plan = how.late == Late::skipped ? plan_without_late(**stored, **parsed, situation)
                                          : schedule::plan_fires((*parsed)->schedule, (*parsed)->timetable, situation);
    // Before anything is written, as there may be no way to make them.
    const schedule::Schedule& schedule = (*parsed)->schedule;
    auto triggerings = prepare_fires(schedule, plan.fires);
    std::optional<Triggering> released;
    auto& oldest =
        plan.release == schedule::Waiting::oldest_asked_for ? waiting[i].oldest_asked_for : waiting[i].oldest;
    if (triggerings && plan.release) {
      INVARIANT(oldest);
      if (auto one = prepare_run(core_, run_of(schedule, oldest->fire.first), now_)) {
        released = *std::move(one);
      } else {
        triggerings = std::unexpected(std::move(one).error());
      }
    }
    if (!triggerings && how.late == Late::skipped) {
      situation.paused = true;
      situation.buffered = 0;
      plan = schedule::plan_fires(schedule, (*parsed)->timetable, situation);
      triggerings = std::vector<Triggering>();
    }
    if (!triggerings) {
      put_off(fmt::format("schedule '{}' cannot be triggered: {}", next.name, triggerings.error().message));
      continue;
    }
    for (const PlannedFire& fire : plan.fires) planned += static_cast<std::size_t>(fire.count);
    triggers += triggerings->size() + (released ? 1 : 0);
    const bool same = plan.next_at == next.next_at && plan.wake_up_at == next.wake_up_at;
    if (same && plan.fires.empty() && !plan.release) continue;
    next.next_at = plan.next_at;
    next.wake_up_at = plan.wake_up_at;
    all.push_back({.row = &rows[i],
                   .parsed = *std::move(parsed),
                   .plan = std::move(plan),
                   .oldest = std::move(oldest),
                   .released = std::move(released),
                   .triggerings = *std::move(triggerings)});
    written.push_back(std::move(next));
  }
  if (written.empty()) return attended;

  // First, so that whoever else attends to the same schedule finds that he was late before he did anything for it.
  TRY_ASSIGN(const auto guarded, transaction_.schedules().update(written));
  std::vector<std::string> cancelled;
  std::vector<Timestamp> places;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!guarded[i]) {
      attended.lost = all[i].row->name;
      all[i].parsed = nullptr;
      continue;
    }
    *all[i].row = std::move(written[i]);
    ++all[i].row->version;
    if (!all[i].plan.cancel_open) continue;
    cancelled.push_back(all[i].row->name);
    places.push_back(std::ranges::find_if(all[i].plan.fires, is_triggered)->first);
  }
  TRY(cancel_open(cancelled, places));
  std::vector<store::ReleasedFire> releases;
  for (Attending& one : all) {
    if (!one.parsed) continue;
    if (one.released) {
      const JobRunId run = add(*std::move(one.released));
      releases.push_back({one.oldest->id, run});
      tally_.add(FireOutcome::triggered, FireCause::released, 1);
      ++attended.triggered;
    }
    if (one.plan.give_up_waiting) {
      TRY_ASSIGN(const auto count, transaction_.fires().give_up_buffered(one.row->name, FireCause::superseded, now_));
      tally_.add(FireOutcome::skipped, FireCause::superseded, static_cast<std::int64_t>(count));
    }
    add_fires(*one.parsed, one.plan.fires, std::move(one.triggerings));
    attended.triggered += static_cast<std::size_t>(std::ranges::count_if(one.plan.fires, is_triggered));
    if (one.row->wake_up_at && *one.row->wake_up_at <= now_) attended.more = true;
  }
  if (!releases.empty()) TRY(transaction_.fires().release(releases, now_));
  TRY(flush());
  return attended;
}

Result<void> Work::account(std::span<StoredSchedule> rows, How how) {
  for (;;) {
    TRY_ASSIGN(const Attended attended, attend(rows, how));
    if (!attended.lost.empty()) return lose(fmt::format("schedule '{}'", attended.lost));
    if (!attended.more) return {};
  }
}

Result<void> Work::write(std::span<StoredSchedule> rows) {
  TRY_ASSIGN(const auto written, transaction_.schedules().update(rows));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!written[i]) return lose(fmt::format("schedule '{}'", rows[i].name));
    ++rows[i].version;
  }
  return {};
}

Result<std::vector<PlannedFire>> Work::backfill(StoredSchedule& row, Timestamp from, Timestamp to,
                                                schedule::OverlapPolicy overlap) {
  TRY_ASSIGN(const auto parsed, core_.timetables.of(row));
  TRY_ASSIGN(const auto open, transaction_.job_runs().open_of({&row.name, 1}, 1));
  TRY_ASSIGN(const auto waiting, transaction_.fires().buffered({&row.name, 1}));
  schedule::Situation situation{.now = now_, .paused = row.paused};
  situation.open_runs = open.front().ids.size();
  situation.buffered = waiting.front().count;
  situation.asked_for_waits = waiting.front().oldest_asked_for.has_value();
  TRY_ASSIGN(const auto turns, transaction_.fires().turns_taken({&row.name, 1}));
  situation.turn_taken = turns.front();
  TRY_ASSIGN(auto fires, schedule::plan_backfill(parsed->schedule, parsed->timetable, from, to, overlap, situation));
  auto triggerings = prepare_fires(parsed->schedule, fires);
  if (!triggerings) {
    return std::unexpected(
        with_context(std::move(triggerings).error(), fmt::format("schedule '{}' cannot be triggered", row.name)));
  }
  TRY(write(row));  // whoever counts open runs of this schedule at the same time must not commit, too
  if (overlap == schedule::OverlapPolicy::cancel_other && situation.open_runs > 0) {
    TRY(cancel_open({&row.name, 1}, {&fires.back().first, 1}));
  }
  add_fires(*parsed, fires, *std::move(triggerings));
  TRY(flush());
  // It may wait though no run is open, behind another: then no end of a run would bring anybody to look.
  if (fires.front().outcome == FireOutcome::buffered) TRY(attend({&row, 1}));
  return fires;
}

Result<void> Work::remove(std::span<StoredSchedule> rows) {
  TRY(account(rows, kGivenUp));
  for (const StoredSchedule& row : rows) {
    // They waited since a run was open, and now nobody waits for its end any more.
    TRY_ASSIGN(const auto count, transaction_.fires().give_up_buffered(row.name, FireCause::overlap, now_));
    tally_.add(FireOutcome::skipped, FireCause::overlap, static_cast<std::int64_t>(count));
    TRY_ASSIGN(const bool removed, transaction_.schedules().remove(row.name));
    if (!removed) return lose(fmt::format("schedule '{}'", row.name));
  }
  return {};
}

Result<JobRun> Work::trigger(JobRun run, const Asked& asked) {
  TRY_ASSIGN(auto triggering, prepare_run(core_, std::move(run), now_, asked));
  add(std::move(triggering));
  return runs_.back();
}

JobRunId Work::add(Triggering triggering) {
  events_.push_back(std::move(triggering.event));
  runs_.push_back(std::move(triggering.run));
  return runs_.back().id;
}

Result<std::vector<Triggering>> Work::prepare_fires(const schedule::Schedule& schedule,
                                                    std::span<const PlannedFire> fires) const {
  std::vector<Triggering> triggerings;
  for (const PlannedFire& fire : fires) {
    if (!is_triggered(fire)) continue;
    TRY_ASSIGN(auto one, prepare_run(core_, run_of(schedule, fire.first), now_));
    triggerings.push_back(std::move(one));
  }
  return triggerings;
}

void Work::add_fires(const Parsed& parsed, std::span<const PlannedFire> fires, std::vector<Triggering> triggerings) {
  auto triggering = triggerings.begin();
  for (const PlannedFire& fire : fires) {
    store::FireRecord record{.schedule = parsed.schedule.name, .fire = fire, .decided_at = now_, .run = {}};
    if (is_triggered(fire)) {
      record.run = add(std::move(*triggering++));
      if (fire.cause == FireCause::due || fire.cause == FireCause::catch_up) {
        tally_.lateness.push_back(now_ - parsed.timetable.due_at(fire.first));
      }
    }
    tally_.add(fire.outcome, fire.cause, fire.count);
    fires_.push_back(std::move(record));
  }
}

Result<void> Work::cancel_open(std::span<const std::string> schedules, std::span<const Timestamp> places) {
  if (schedules.empty()) return {};
  std::map<std::string_view, Timestamp> place_of;
  for (std::size_t i = 0; i < schedules.size(); ++i) place_of.emplace(schedules[i], places[i]);
  for (;;) {
    TRY_ASSIGN(const auto open, transaction_.job_runs().open_of(schedules, kCancelsAtOnce));
    std::vector<JobRunId> ids;
    for (const store::OpenRuns& one : open) ids.insert(ids.end(), one.ids.begin(), one.ids.end());
    if (ids.empty()) return {};
    TRY(close(std::move(ids), [&](const JobRun& run) -> std::optional<Ending> {
      return Ending{JobRunStatus::cancelled,
                    fmt::format("cancelled by the overlap policy of schedule '{}': its fire of {} took the place",
                                run.schedule, format_timestamp(place_of.at(run.schedule))),
                    ClosedBy::cancelled};
    }));
  }
}

Result<std::vector<JobRun>> Work::close(std::vector<JobRunId> ids,
                                        FunctionRef<std::optional<Ending>(const JobRun&)> decide) {
  std::map<JobRunId, ClosedBy> asked;
  TRY_ASSIGN(auto runs, change(std::move(ids), [&](const JobRun& run) -> std::optional<JobRun> {
               asked.erase(run.id);
               if (!schedule::is_open(run.status)) return std::nullopt;
               const auto ending = decide(run);
               if (!ending) return std::nullopt;
               asked.emplace(run.id, ending->why);
               return schedule::ended(run, ending->status, ending->error, now_);
             }));
  std::erase_if(runs, [&](const JobRun& run) { return !asked.contains(run.id); });
  for (const JobRun& run : runs) {
    TRY_ASSIGN(auto event, make_failed(core_.factory, run));
    events_.push_back(std::move(event));
    tally_.add(asked.at(run.id));
  }
  return runs;
}

Result<std::vector<JobRun>> Work::change(std::vector<JobRunId> ids,
                                         FunctionRef<std::optional<JobRun>(const JobRun&)> decide) {
  std::ranges::sort(ids);
  const auto repeated = std::ranges::unique(ids);
  ids.erase(repeated.begin(), repeated.end());
  std::vector<JobRun> changed;
  // A worker that commits a slice at the same moment counts the version up; then the run is decided on again.
  for (int tries = 0; !ids.empty(); ++tries) {
    if (tries == kTriesMax) return lose(fmt::format("job run {}", ids.front().to_string()));
    TRY_ASSIGN(auto found, transaction_.job_runs().find(ids));
    std::vector<StoredJobRun> updates;
    for (auto& stored : found) {
      if (!stored) continue;
      if (auto next = decide(stored->run)) {
        updates.push_back({*std::move(next), stored->version});
      } else {
        changed.push_back(std::move(stored->run));
      }
    }
    ids.clear();
    if (updates.empty()) break;
    TRY_ASSIGN(const auto written, transaction_.job_runs().update(updates));
    for (std::size_t i = 0; i < updates.size(); ++i) {
      if (written[i]) {
        changed.push_back(std::move(updates[i].run));
      } else {
        ids.push_back(updates[i].run.id);
      }
    }
  }
  return changed;
}

Result<void> Work::flush() {
  if (!runs_.empty()) {
    TRY_ASSIGN(const auto inserted, transaction_.job_runs().insert(runs_));
    const auto refused = std::ranges::find(inserted, false);
    if (refused != inserted.end()) {
      return fail(ErrorCode::internal, "job run {}: its id, which is new, is known",
                  runs_[static_cast<std::size_t>(refused - inserted.begin())].id.to_string());
    }
    runs_.clear();
  }
  if (!fires_.empty()) TRY(transaction_.fires().record(fires_));
  fires_.clear();
  return {};
}

Result<void> Work::finish() {
  TRY(flush());
  if (!events_.empty()) TRY(transaction_.log().append(events_));
  events_.clear();
  return {};
}

std::unexpected<Error> Work::lose(std::string_view what) {
  lost_ = true;
  return fail(ErrorCode::conflict, "{}: somebody else wrote it at the same time", what);
}

Result<void> commit(Core& core, FunctionRef<Result<void>(Work&)> body) {
  for (int tries = 1;; ++tries) {
    Tally tally;
    bool lost = false;
    auto committed = core.store.transact([&](store::Transaction& transaction) -> Result<void> {
      tally = {};
      lost = false;
      Work work(core, transaction, tally);
      auto done = body(work);
      lost = work.lost();
      if (!done) return done;
      return work.finish();
    });
    if (committed) {
      core.numbers.count(tally, core.log);
      return {};
    }
    if (!lost) return committed;
    if (tries == kTriesMax) return fail(ErrorCode::unavailable, "{}; try again", committed.error().message);
  }
}

}  // namespace wfo::scheduler
