#include "scheduler/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "scheduler/detail/answers.h"
#include "scheduler/detail/core.h"
#include "scheduler/detail/definitions.h"
#include "scheduler/detail/work.h"

namespace wfo::scheduler {

using schedule::JobRun;
using schedule::JobRunStatus;
using schedule::Schedule;
using store::ScheduleOrigin;
using store::StoredSchedule;

namespace {

constexpr std::size_t kOverdueAtOnce = 500;   // runs closed in one transaction
constexpr milliseconds kClockSetBack{1'000};  // less is what clocks do
constexpr milliseconds kRetry{1'000};         // between two tries while the store is away
constexpr milliseconds kWaitMin{1};

std::unexpected<Error> no_such_schedule(const std::string& name) {
  return fail(ErrorCode::not_found, "no schedule '{}'", name);
}

/// Whether its answer would be here if there were one. `since`: from when on answers were looked for.
bool is_given_up(const JobRun& run, Timestamp now, Timestamp since) {
  if (run.status != JobRunStatus::pending || !run.due_at) return false;
  const milliseconds grace = std::min(kStartGrace, *run.due_at - run.created_at);
  return std::max(*run.due_at, since) + grace <= now;
}

/// How an overdue run ends; nothing: it is not overdue any more, or may be answered still.
std::optional<Ending> ending_of(const Core& core, const JobRun& run, Timestamp now, Timestamp since) {
  if (is_given_up(run, now, since)) {
    const schedule::JobSpec* const spec = core.catalog.find(run.job);
    const bool taken_here = spec && spec->kind == schedule::JobKind::builtin;
    return Ending{
        JobRunStatus::failed,
        fmt::format("{} within {} after its trigger", taken_here ? "nobody took it" : "nobody said that it ended",
                    format_duration(std::max(*run.due_at - run.created_at, kWaitMin))),
        ClosedBy::start_timeout};
  }
  if (run.deadline && *run.deadline <= now && !run.started_at) {
    return Ending{JobRunStatus::failed,
                  fmt::format("it was recorded, but no worker began it within {} after its trigger",
                              format_duration(std::max(*run.deadline - run.created_at, kWaitMin))),
                  ClosedBy::start_timeout};
  }
  if (run.deadline && *run.deadline <= now) {
    return Ending{JobRunStatus::failed,
                  fmt::format("it did not end within {} after its start",
                              format_duration(std::max(*run.deadline - *run.started_at, kWaitMin))),
                  ClosedBy::timeout};
  }
  return std::nullopt;
}

/// What is due, as a snapshot says.
struct Look {
  std::optional<Timestamp> next_wake_up;
  std::vector<JobRunId> overdue;  // to be closed
  bool more_overdue = false;
};

Result<Look> look(Core& core, Timestamp now, Timestamp since) {
  Look found;
  TRY(core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    found = {};
    TRY_ASSIGN(found.next_wake_up, transaction.schedules().next_wake_up());
    TRY_ASSIGN(auto overdue, transaction.job_runs().due(JobRunStatus::pending, now, kOverdueAtOnce));
    TRY_ASSIGN(const auto past, transaction.job_runs().past_deadline(now, kOverdueAtOnce));
    overdue.insert(overdue.end(), past.begin(), past.end());
    if (overdue.empty()) return {};
    // Here already, so that runs that wait for their answers cost no transaction.
    TRY_ASSIGN(const auto runs, transaction.job_runs().find(overdue));
    for (const auto& stored : runs) {
      if (stored && ending_of(core, stored->run, now, since)) found.overdue.push_back(stored->run.id);
    }
    found.more_overdue = found.overdue.size() >= kOverdueAtOnce;
    return {};
  }));
  return found;
}

std::string how_it_ended(const JobRun& run) {
  return run.error.empty() ? std::string(name(run.status)) : fmt::format("{} ({})", name(run.status), run.error);
}

}  // namespace

struct Scheduler::State {
  explicit State(auto&&... with) : core(std::forward<decltype(with)>(with)...) {}

  /// Returns since when rounds have gone well.
  Timestamp watch_clock(Timestamp now) {
    const std::scoped_lock lock(mutex);
    if (last_now && now < *last_now - kClockSetBack) {
      looking_since.reset();
      core.log.warn("the clock was set back by {}: schedules go on from what they have accounted for",
                    format_duration(*last_now - now));
    }
    last_now = now;
    if (!looking_since) looking_since = now;
    return *looking_since;
  }

  /// One round, and when the next thing will be due that this look saw.
  Result<Round> round(std::optional<Timestamp>& next) {
    const Timestamp now = core.clock.now();
    auto done = attempt(now, watch_clock(now), next);
    if (!done) {
      const std::scoped_lock lock(mutex);
      looking_since.reset();
    }
    return done;
  }

  Result<Round> attempt(Timestamp now, Timestamp since, std::optional<Timestamp>& next) {
    TRY_ASSIGN(Look found, look(core, now, since));
    next = found.next_wake_up;
    Round done;
    if (!found.overdue.empty()) {
      TRY(commit(core, [&](Work& work) -> Result<void> {
        TRY_ASSIGN(const auto closed, work.close(found.overdue, [&](const JobRun& run) {
          return ending_of(core, run, work.now(), since);
        }));
        done.closed = closed.size();
        for (const JobRun& run : closed) {
          work.tally().warnings.push_back(
              fmt::format("job run {} of '{}' is closed: {}", run.id.to_string(), run.job, run.error));
        }
        return {};
      }));
      done.more = found.more_overdue;
    }
    if (!found.next_wake_up || *found.next_wake_up > now) return done;
    TRY(core.store.admission());
    Work::Attended attended;
    bool full = false;
    TRY(commit(core, [&](Work& work) -> Result<void> {
      TRY_ASSIGN(auto rows, work.transaction().schedules().due(work.now(), core.config.batch_max));
      full = rows.size() == core.config.batch_max;
      TRY_ASSIGN(attended, work.attend(rows));
      return {};
    }));
    done.schedules = attended.schedules;
    done.triggered = attended.triggered;
    done.more = done.more || full || attended.more;
    return done;
  }

  /// An operator's act on a schedule, after what was due has been accounted for.
  Result<StoredSchedule> act(const std::string& name, How how, FunctionRef<Result<void>(Work&, StoredSchedule&)> body) {
    TRY(core.store.admission());
    TRY(account_before(core, {&name, 1}, how));
    StoredSchedule row;
    TRY(commit(core, [&](Work& work) -> Result<void> {
      TRY_ASSIGN(auto found, work.transaction().schedules().find(name));
      if (!found) return no_such_schedule(name);
      row = *std::move(found);
      return body(work, row);
    }));
    return row;
  }

  Core core;
  std::mutex mutex;  // guards last_now, looking_since
  std::optional<Timestamp> last_now;
  std::optional<Timestamp> looking_since;  // the first of the rounds that have all gone well
  Tally prepared;                          // of the batch of the consumer loop that was applied last; its thread's
};

Scheduler::Scheduler(store::Store& store, const events::Contracts& contracts, schedule::JobCatalog catalog,
                     MetadataCheck check_metadata, IdSource& ids, const Clock& clock, delivery::Waiter& waiter,
                     Logger& log, Metrics& metrics, SchedulerConfig config)
    : state_(std::make_unique<State>(store, contracts, std::move(catalog), std::move(check_metadata), ids, clock,
                                     waiter, log, metrics, config)) {
  INVARIANT(config.batch_max >= 1 && config.batch_max <= 10'000 && config.idle_wait > milliseconds(0));
}

Scheduler::~Scheduler() = default;

std::vector<std::string> Scheduler::bindings() {
  return {std::string(events::kJobCompleted), std::string(events::kJobFailed)};
}

Result<delivery::Handler::Apply> Scheduler::prepare(std::span<const bus::Delivery> batch) {
  std::vector<Answer> answers;
  answers.reserve(batch.size());
  std::int64_t foreign = 0;
  for (const bus::Delivery& delivery : batch) {
    const events::Event& event = *delivery.event;
    if (event.type() != events::kJobCompleted && event.type() != events::kJobFailed) {
      return fail(ErrorCode::invalid_argument, "event {}: the scheduler does not know the type {}",
                  event.id().to_string(), event.type());
    }
    // Jobs are of no tenant: none may say how one ended.
    if (event.tenant() == system_tenant()) {
      answers.push_back(read_answer(event));
    } else {
      ++foreign;
    }
  }
  return [this, answers = std::move(answers), foreign](store::Transaction& transaction) -> Result<void> {
    state_->prepared = {};
    state_->prepared.answers[static_cast<std::size_t>(AnswerKind::unknown)] = foreign;
    Work work(state_->core, transaction, state_->prepared);
    TRY(apply_answers(work, answers));
    return work.finish();
  };
}

void Scheduler::committed() {
  state_->core.numbers.count(state_->prepared, state_->core.log);
  state_->prepared = {};
}

Result<void> Scheduler::configure(std::span<const Schedule> schedules, const std::stop_token& stop) {
  std::map<std::string, Wanted> wanted;
  std::string problems;
  const auto add_problem = [&](std::string_view text) {
    problems += fmt::format("{}{}", problems.empty() ? "" : "\n", text);
  };
  for (const Schedule& schedule : schedules) {
    auto checked = check_schedule(state_->core, schedule);
    if (!checked) {
      add_problem(checked.error().message);
    } else if (!wanted.emplace(schedule.name, *std::move(checked)).second) {
      add_problem(fmt::format("schedule '{}' stands there twice; allowed: each name once", schedule.name));
    }
  }
  if (!problems.empty()) return fail(ErrorCode::invalid_argument, "{}", problems);
  return scheduler::configure(state_->core, wanted, stop);
}

Result<Scheduler::Round> Scheduler::run_once() {
  std::optional<Timestamp> next;
  return state_->round(next);
}

void Scheduler::run(std::stop_token stop) {
  Core& core = state_->core;
  std::string trouble;
  while (!stop.stop_requested()) {
    std::optional<Timestamp> next;
    const auto round = state_->round(next);
    std::string now_wrong = round ? "" : round.error().message;
    if (now_wrong != trouble) {
      if (round) {
        core.log.info("schedules: goes on");
      } else {
        core.log.warn("schedules: {}; trying again", now_wrong);
      }
      trouble = std::move(now_wrong);
    }
    if (round && (round->more || round->schedules > 0)) continue;
    milliseconds length = round ? core.config.idle_wait : std::max(core.config.idle_wait, kRetry);
    const Timestamp now = core.clock.now();
    // One that is due already is in somebody else's hands.
    if (round && next && *next > now) length = std::min(length, std::max(*next - now, kWaitMin));
    if (!core.waiter.wait(length, stop)) return;
  }
}

Result<TriggerAnswer> Scheduler::trigger(const TriggerRequest& request) {
  Core& core = state_->core;
  if (!core.catalog.find(request.job)) {
    return fail(ErrorCode::not_found, "no job '{}'; there are: {}", request.job,
                core.catalog.all().empty() ? "none" : core.catalog.names());
  }
  const auto metadata = json::Document::parse(request.metadata);
  if (!metadata) return std::unexpected(with_context(metadata.error(), "metadata"));
  if (const auto shape = schedule::check_metadata_shape(metadata->root()); !shape) {
    return std::unexpected(with_context(shape.error(), "metadata"));
  }
  if (core.check_metadata) {
    TRY(core.check_metadata(request.job, metadata->root()));
  }
  JobRun run;
  run.job = request.job;
  run.triggered_by = schedule::TriggeredBy::manual;
  run.metadata = metadata->root().raw();
  const Asked asked{request.user_id, request.traceparent};
  if (const auto trial = prepare_run(core, run, core.clock.now(), asked); !trial) {
    return std::unexpected(with_context(trial.error(), "metadata: a trigger cannot hold it"));
  }
  TRY(core.store.admission());
  TriggerAnswer answer;
  TRY(commit(core, [&](Work& work) -> Result<void> {
    TRY_ASSIGN(const JobRun triggered, work.trigger(run, asked));
    answer = {triggered.id, triggered.trigger};
    return {};
  }));
  return answer;
}

Result<StoredSchedule> Scheduler::put(const Schedule& schedule) {
  Core& core = state_->core;
  TRY_ASSIGN(const Wanted wanted, check_schedule(core, schedule));
  TRY(core.store.admission());
  TRY(account_before(core, {&schedule.name, 1}));
  StoredSchedule row;
  TRY(commit(core, [&](Work& work) -> Result<void> {
    TRY_ASSIGN(auto found, work.transaction().schedules().find(schedule.name));
    if (!found) {
      row = new_row(wanted, ScheduleOrigin::api, work.now());
      TRY_ASSIGN(const auto inserted, work.transaction().schedules().insert({&row, 1}));
      if (!inserted.front()) return work.lose(fmt::format("schedule '{}'", row.name));
      return {};
    }
    row = *std::move(found);
    if (row.origin == ScheduleOrigin::configuration) {
      return fail(ErrorCode::conflict, "schedule '{}' belongs to the configuration; change it there", row.name);
    }
    if (row.definition == wanted.definition) return {};
    Change change{std::move(row), &wanted};
    TRY(redefine(work, {&change, 1}));
    row = std::move(change.row);
    return {};
  }));
  return row;
}

Result<void> Scheduler::remove(const std::string& name) {
  const auto check = [](const StoredSchedule& row) -> Result<void> {
    if (row.origin != ScheduleOrigin::configuration) return {};
    return fail(ErrorCode::conflict, "schedule '{}' belongs to the configuration; remove it there, or pause it",
                row.name);
  };
  // Before what is late is skipped, which is no use to a schedule that stays.
  std::optional<StoredSchedule> found;
  TRY(state_->core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(found, transaction.schedules().find(name));
    return {};
  }));
  if (found) TRY(check(*found));
  TRY(state_->act(name, kGivenUp, [&](Work& work, StoredSchedule& row) -> Result<void> {
    TRY(check(row));
    return work.remove({&row, 1});
  }));
  return {};
}

Result<StoredSchedule> Scheduler::pause(const std::string& name, std::string_view note) {
  if (note.size() > schedule::kPauseNoteBytesMax) {
    return fail(ErrorCode::invalid_argument, "note: {} bytes; allowed: a text of up to {} bytes", note.size(),
                schedule::kPauseNoteBytesMax);
  }
  return state_->act(name, kPaused, [&](Work& work, StoredSchedule& row) -> Result<void> {
    TRY(work.account(row, kPaused));
    row.paused = true;
    row.pause_note = note;
    row.updated_at = work.now();
    return work.write(row);
  });
}

Result<StoredSchedule> Scheduler::resume(const std::string& name) {
  return state_->act(name, {}, [&](Work& work, StoredSchedule& row) -> Result<void> {
    if (!row.paused) return fail(ErrorCode::conflict, "schedule '{}' is not paused", row.name);
    TRY(work.account(row));
    row.paused = false;
    row.pause_note.clear();
    row.updated_at = work.now();
    TRY(work.write(row));
    TRY(work.attend({&row, 1}));  // what waits may be released now
    return {};
  });
}

Result<std::vector<schedule::PlannedFire>> Scheduler::backfill(const std::string& name, Timestamp from, Timestamp to,
                                                               schedule::OverlapPolicy overlap) {
  std::vector<schedule::PlannedFire> fires;
  TRY(state_->act(name, {}, [&](Work& work, StoredSchedule& row) -> Result<void> {
    TRY_ASSIGN(fires, work.backfill(row, from, to, overlap));
    return {};
  }));
  return fires;
}

Result<JobRun> Scheduler::cancel(const JobRunId& id, std::string_view reason) {
  JobRun run;
  TRY(commit(state_->core, [&](Work& work) -> Result<void> {
    TRY_ASSIGN(const auto found, work.transaction().job_runs().find(id));
    if (!found) return fail(ErrorCode::not_found, "no job run {}", id.to_string());
    TRY_ASSIGN(auto closed, work.close({id}, [&](const JobRun&) -> std::optional<Ending> {
      std::string error = "cancelled by an operator";
      if (!reason.empty()) error += fmt::format(": {}", reason);
      return Ending{JobRunStatus::cancelled, delivery::bounded_reason(error), ClosedBy::cancelled};
    }));
    if (closed.empty()) {
      TRY_ASSIGN(const auto as_it_is, work.transaction().job_runs().find(id));
      return fail(ErrorCode::conflict, "job run {} has ended: {}", id.to_string(),
                  how_it_ended(as_it_is ? as_it_is->run : found->run));
    }
    run = std::move(closed.front());
    return {};
  }));
  return run;
}

const schedule::JobCatalog& Scheduler::catalog() const { return state_->core.catalog; }

}  // namespace wfo::scheduler
