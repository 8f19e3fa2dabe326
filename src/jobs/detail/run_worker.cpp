#include "jobs/detail/run_worker.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "jobs/detail/job_events.h"

namespace wfo::jobs {

using schedule::JobRun;
using schedule::JobRunStatus;
using store::StoredJobRun;

namespace {

constexpr std::size_t kCandidatesMax = 64;
constexpr int kCommitTries = 6;  // 100 ms, doubling: 3 s in all, after which another worker may as well do it
constexpr milliseconds kCommitRetryFirst{100};
// Jobs take from less than a second to hours.
constexpr std::array<double, 14> kDurationBuckets{0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21'600};

bool is_past_deadline(const JobRun& run, Timestamp now) { return run.deadline && *run.deadline <= now; }

// As the scheduler says it, whoever finds it first.
std::string timeout_error(const JobRun& run) {
  const auto since = [&](Timestamp start) { return format_duration(std::max(*run.deadline - start, milliseconds(1))); };
  if (run.started_at) return fmt::format("it did not end within {} after its start", since(*run.started_at));
  return fmt::format("it was recorded, but no worker began it within {} after its trigger", since(run.created_at));
}

std::string describe(const schedule::JobCounts& counts) {
  std::vector<std::string> parts;
  for (const auto& [what, count] : counts) parts.push_back(fmt::format("{} {}", what, count));
  return parts.empty() ? "nothing counted" : fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

RunWorker::RunWorker(store::Store& store, const JobTable& jobs, const events::EventFactory& factory, std::string holder,
                     const Clock& clock, delivery::Waiter& waiter, Logger& log, Metrics& metrics, BatchJobConfig config)
    : store_(store),
      jobs_(jobs),
      factory_(factory),
      holder_(std::move(holder)),
      clock_(clock),
      waiter_(waiter),
      log_(log),
      config_(config),
      takeovers_(metrics.counter("batch_job_takeovers_total", "Runs taken over from a worker that fell silent")),
      oldest_running_(metrics.gauge("batch_job_oldest_running_seconds",
                                    "Since when the run began that has been running longest; 0: none runs")) {
  for (const schedule::JobSpec& spec : jobs_.catalog().all()) {
    if (!jobs_.find(spec.name).job) continue;
    const Labels labels{{"batch_job", spec.name}};
    numbers_.emplace(spec.name,
                     Numbers{metrics.histogram("batch_job_duration_seconds", "From the first start of a run to its end",
                                               labels, kDurationBuckets),
                             metrics.counter("batch_job_attempts_failed_total",
                                             "Attempts of runs that failed, the last included", labels)});
  }
}

Result<bool> RunWorker::work_once(std::stop_token stop) {
  if (stop.stop_requested()) return false;
  const Timestamp now = clock_.now();
  TRY_ASSIGN(auto found, candidates(now));
  for (StoredJobRun& candidate : found) {
    TRY_ASSIGN(const bool taken, take(std::move(candidate), now, stop));
    if (taken) return true;
  }
  return false;
}

/// Runs that wait, then those whose worker fell silent; none that this process has in hand.
Result<std::vector<StoredJobRun>> RunWorker::candidates(Timestamp now) {
  std::vector<JobRunId> own;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& entry : at_work_) own.push_back(entry->id);
  }
  std::vector<StoredJobRun> out;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    out.clear();
    TRY_ASSIGN(auto ids, transaction.job_runs().due(JobRunStatus::queued, now, kCandidatesMax));
    // Whose lease has not run out yet is dead all the same, if nobody but us can be.
    const Timestamp lease_end = config_.is_alone ? Timestamp::max() : now;
    TRY_ASSIGN(const auto silent, transaction.job_runs().due(JobRunStatus::running, lease_end, kCandidatesMax));
    ids.insert(ids.end(), silent.begin(), silent.end());
    std::erase_if(ids, [&](const JobRunId& id) { return std::ranges::find(own, id) != own.end(); });
    if (ids.empty()) return {};
    TRY_ASSIGN(auto runs, transaction.job_runs().find(ids));
    for (auto& stored : runs) {
      if (!stored) continue;
      // Another thread of ours may have claimed it since we asked for what is in hand.
      const bool is_ours = stored->run.status == JobRunStatus::running && stored->run.holder == holder_;
      if (is_ours && stored->run.due_at > now) continue;
      out.push_back(*std::move(stored));
    }
    return {};
  }));
  return out;
}

/// True: something was done about the run. False: it is not ours to do, or somebody else was faster.
Result<bool> RunWorker::take(StoredJobRun held, Timestamp now, std::stop_token stop) {
  const auto job = jobs_.find(held.run.job);
  if (!job.job) {
    // Another process may know it, as while a new version is rolled out; nobody does for ever.
    if (now - held.run.due_at.value_or(now) < schedule::JobSpec().start_timeout) return false;
    TRY(end(held, job.spec ? fmt::format("job {} is external here", held.run.job) : jobs_.unknown(held.run.job), stop));
    return true;
  }
  if (is_past_deadline(held.run, now)) {
    TRY(end(held, timeout_error(held.run), stop));
    return true;
  }
  const bool takes_over = held.run.status == JobRunStatus::running;
  if (takes_over && held.run.takeovers >= config_.takeovers_max) {
    TRY(end(
        held,
        fmt::format("its workers fell silent {} times, which is more than the {} takeovers allowed; the last was {}",
                    held.run.takeovers + 1, config_.takeovers_max, held.run.holder),
        stop));
    return true;
  }
  const std::string before = held.run.holder;
  TRY_ASSIGN(const bool claimed,
             write(held, schedule::claimed(held.run, *job.spec, holder_, now, config_.heartbeat_timeout), stop));
  if (!claimed) return false;
  if (takes_over) {
    takeovers_.add();
    log_.warn("job {}: run {} is taken over from {}, which fell silent", held.run.job, held.run.id.to_string(), before);
  }
  TRY(work(std::move(held), job, stop));
  return true;
}

Result<void> RunWorker::work(StoredJobRun held, const JobTable::Entry& job, std::stop_token stop) {
  const auto entry = begin(held.run);
  struct Leave {
    RunWorker& worker;
    const std::shared_ptr<AtWork>& entry;
    ~Leave() { worker.leave(entry); }
  } const leave{*this, entry};
  const std::stop_callback pass_on(stop, [&] { entry->stop.request_stop(); });
  for (;;) {
    if (stop.stop_requested()) return give_back(held, job, stop);
    if (is_past_deadline(held.run, clock_.now())) return end(held, timeout_error(held.run), stop);
    auto slice = job.job->next(held.run, entry->stop.get_token());
    if (entry->lost) {
      say_lost(held.run);
      return {};
    }
    if (!slice) {
      const bool over = stop.stop_requested() || is_past_deadline(held.run, clock_.now());
      if (over && slice.error().code == ErrorCode::unavailable) continue;
      return attempt_failed(held, job, slice.error(), stop);
    }
    const bool is_last = slice->is_last;
    const auto written = write_slice(held, *slice, stop);
    if (!written) {
      // The store is away: so is the way to say that. The lease runs out, and whoever reaches the store goes on.
      if (written.error().code == ErrorCode::unavailable) return std::unexpected(written.error());
      return attempt_failed(held, job, written.error(), stop);
    }
    if (!*written) {
      say_lost(held.run);
      return {};
    }
    if (is_last) {
      say_ended(held.run);
      return {};
    }
  }
}

/// Another worker, or this one after its restart, goes on at once, and in the same attempt.
Result<void> RunWorker::give_back(StoredJobRun& held, const JobTable::Entry& job, std::stop_token stop) {
  const JobRun next = schedule::given_back(held.run, *job.spec, clock_.now());
  TRY_ASSIGN(const bool written, write(held, next, stop));
  if (!written) {
    say_lost(held.run);
  } else {
    log_.info("job {}: run {} is given back: {} done", held.run.job, held.run.id.to_string(), held.run.progress.done);
  }
  return {};
}

Result<void> RunWorker::end(StoredJobRun& held, std::string_view error, std::stop_token stop) {
  const auto next = schedule::ended(held.run, JobRunStatus::failed, error_text(error), clock_.now());
  TRY_ASSIGN(const bool written, write(held, next, stop));
  if (written) say_ended(held.run);
  return {};
}

Result<void> RunWorker::attempt_failed(StoredJobRun& held, const JobTable::Entry& job, const Error& error,
                                       std::stop_token stop) {
  const bool retryable = error.code != ErrorCode::invalid_argument;
  const auto next = schedule::attempt_failed(held.run, *job.spec, error_text(error.message), retryable, clock_.now());
  TRY_ASSIGN(const bool written, write(held, next, stop));
  if (!written) {
    say_lost(held.run);
    return {};
  }
  numbers_.at(held.run.job).attempts_failed.add();
  if (!schedule::is_open(held.run.status)) {
    say_ended(held.run);
  } else {
    log_.warn("job {}: attempt {} of {} of run {} failed: {}; again at {}", held.run.job, held.run.attempt,
              job.spec->attempts_max, held.run.id.to_string(), held.run.error,
              format_timestamp(held.run.due_at.value_or(clock_.now())));
  }
  return {};
}

Result<bool> RunWorker::write(StoredJobRun& held, const JobRun& next, std::stop_token stop) {
  return commit(
      held,
      [&](store::Transaction& transaction, StoredJobRun& written) -> Result<bool> {
        written.run = next;
        TRY_ASSIGN(const auto updated, transaction.job_runs().update({&written, 1}));
        if (!updated.front()) return false;
        ++written.version;
        if (schedule::is_open(next.status)) return true;
        TRY_ASSIGN(const auto event, end_event(factory_, next));
        TRY(transaction.log().append({&event, 1}));
        return true;
      },
      stop);
}

Result<bool> RunWorker::write_slice(StoredJobRun& held, Slice& slice, std::stop_token stop) {
  const Timestamp now = clock_.now();
  JobRun next = held.run;
  next.checkpoint = std::move(slice.checkpoint);
  next.progress = std::move(slice.progress);
  next.due_at = now + config_.heartbeat_timeout;
  return commit(
      held,
      [&](store::Transaction& transaction, StoredJobRun& written) -> Result<bool> {
        // The guard comes first: who has lost the run does not even begin, and nobody can take it until the commit.
        written.run = next;
        TRY_ASSIGN(const auto guarded, transaction.job_runs().update({&written, 1}));
        if (!guarded.front()) return false;
        ++written.version;
        if (slice.effects) TRY(slice.effects(transaction, written.run.counts));
        if (slice.is_last) written.run = schedule::ended(std::move(written.run), JobRunStatus::completed, "", now);
        if (written.run == next) return true;
        // What the effects counted is known only now.
        TRY_ASSIGN(const auto updated, transaction.job_runs().update({&written, 1}));
        if (!updated.front()) return fail(ErrorCode::internal, "a run changed in the transaction that had it");
        ++written.version;
        if (!slice.is_last) return true;
        TRY_ASSIGN(const auto event, end_event(factory_, written.run));
        TRY(transaction.log().append({&event, 1}));
        return true;
      },
      stop);
}

/// Commits what `change` makes of the run: it gets the run as held and leaves it as it is stored. False: the run is not
/// as held any more, and nothing is written.
Result<bool> RunWorker::commit(StoredJobRun& held, Change change, std::stop_token stop) {
  std::optional<StoredJobRun> attempted;
  milliseconds delay = kCommitRetryFirst;
  for (int tries = 1;; ++tries) {
    bool refused = false;
    const auto done = store_.transact([&](store::Transaction& transaction) -> Result<void> {
      refused = false;
      StoredJobRun written = held;
      TRY_ASSIGN(const bool ours, change(transaction, written));
      if (!ours) {
        refused = true;
        return fail(ErrorCode::conflict, "run {} was closed or taken over", held.run.id.to_string());
      }
      attempted = std::move(written);
      return {};
    });
    if (done) {
      held = *std::move(attempted);
      return true;
    }
    if (refused) return is_written(held, attempted);
    if (done.error().code != ErrorCode::unavailable || tries == kCommitTries) return std::unexpected(done.error());
    if (!waiter_.wait(delay, stop)) return std::unexpected(done.error());
    delay *= 2;
  }
}

/// A commit whose answer was lost may have taken effect; the next try is then refused by what this one wrote.
Result<bool> RunWorker::is_written(StoredJobRun& held, const std::optional<StoredJobRun>& attempted) {
  if (!attempted) return false;
  std::optional<StoredJobRun> stored;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(stored, transaction.job_runs().find(held.run.id));
    return {};
  }));
  if (!stored || stored->version != attempted->version) return false;
  stored->run.due_at = attempted->run.due_at;  // heartbeats move it
  if (stored->run != attempted->run) return false;
  held = *attempted;
  return true;
}

Result<void> RunWorker::keep_alive() {
  const Timestamp now = clock_.now();
  std::vector<std::shared_ptr<AtWork>> entries;
  {
    const std::scoped_lock lock(mutex_);
    entries = at_work_;
  }
  std::vector<JobRunId> ids;
  for (const auto& entry : entries) ids.push_back(entry->id);
  if (!ids.empty()) {
    std::vector<JobRunId> kept;
    TRY(store_.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(kept, transaction.job_runs().heartbeat(ids, holder_, now + config_.heartbeat_timeout));
      return {};
    }));
    for (const auto& entry : entries) {
      if (std::ranges::find(kept, entry->id) == kept.end()) {
        entry->lost = true;
        entry->stop.request_stop();
      } else if (entry->deadline && *entry->deadline <= now) {
        entry->stop.request_stop();
      }
    }
  }
  return store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(const auto oldest, transaction.job_runs().oldest_running());
    const auto age = oldest ? std::max(now - *oldest, milliseconds(0)) : milliseconds(0);
    oldest_running_.set(std::chrono::duration<double>(age).count());
    return {};
  });
}

std::shared_ptr<RunWorker::AtWork> RunWorker::begin(const JobRun& run) {
  auto entry = std::make_shared<AtWork>();
  entry->id = run.id;
  entry->deadline = run.deadline;
  const std::scoped_lock lock(mutex_);
  at_work_.push_back(entry);
  return entry;
}

void RunWorker::leave(const std::shared_ptr<AtWork>& entry) {
  const std::scoped_lock lock(mutex_);
  std::erase(at_work_, entry);
}

milliseconds RunWorker::count_duration(const JobRun& run) {
  const auto took = run.started_at ? std::max(*run.ended_at - *run.started_at, milliseconds(0)) : milliseconds(0);
  if (const auto numbers = numbers_.find(run.job); numbers != numbers_.end() && run.started_at) {
    numbers->second.duration.observe(std::chrono::duration<double>(took).count());
  }
  return took;
}

void RunWorker::say_ended(const JobRun& run) {
  const auto took = count_duration(run);
  if (run.status == JobRunStatus::completed) {
    log_.info("job {}: run {} completed in {}: {}", run.job, run.id.to_string(), format_duration(took),
              describe(run.counts));
  } else {
    log_.warn("job {}: run {} failed: {}", run.job, run.id.to_string(), run.error);
  }
}

void RunWorker::say_lost(const JobRun& run) {
  std::optional<StoredJobRun> stored;
  const auto looked = store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(stored, transaction.job_runs().find(run.id));
    return {};
  });
  if (looked && stored && stored->run.ended_at) {
    // Who closed it had no part in the work, and does not count how long that took.
    count_duration(stored->run);
    log_.info("job {}: run {} was closed by somebody else, as {}: {}; nothing more is written here", run.job,
              run.id.to_string(), name(stored->run.status), stored->run.error);
  } else {
    log_.info("job {}: run {} was taken over by somebody else; nothing more is written here", run.job,
              run.id.to_string());
  }
}

}  // namespace wfo::jobs
