#include "scheduler/detail/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "delivery/consumer_loop.h"

namespace wfo::scheduler {
namespace {

using schedule::JobRun;
using schedule::JobRunStatus;
using store::StoredSchedule;

/// Whether the run stands as the event says, so that it may be the one that was published when it ended.
bool is_how_it_ended(const JobRun& run, const Answer& answer) {
  if (answer.completed) return run.status == JobRunStatus::completed;
  return run.status != JobRunStatus::completed && delivery::bounded_reason(run.error) == answer.error;
}

/// A text cut between two characters.
std::string cut(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  text.resize(bytes_max);
  return text;
}

class Applying {
 public:
  explicit Applying(Work& work) : work_(work), runs_(work.transaction().job_runs()) {}

  /// Returns what must come in another round: of several that only say which job, each closes another run.
  Result<std::vector<const Answer*>> apply(const std::vector<const Answer*>& answers) {
    std::vector<const Answer*> later;
    TRY_ASSIGN(const auto of_run, match(answers, later));
    std::vector<JobRunId> ids;
    for (const auto& [id, about] : of_run) ids.push_back(id);
    TRY(lock_schedules(ids));
    std::set<JobRunId> closed;
    TRY_ASSIGN(const auto runs, work_.change(std::move(ids), [&](const JobRun& run) -> std::optional<JobRun> {
      closed.erase(run.id);
      if (!schedule::is_open(run.status)) return std::nullopt;
      closed.insert(run.id);
      return ended(run, *of_run.at(run.id).front());
    }));
    for (const JobRun& run : runs) {
      const auto& about = of_run.at(run.id);
      for (const Answer* const answer : about) {
        const bool matched = (closed.contains(run.id) && answer == about.front()) || is_how_it_ended(run, *answer);
        work_.tally().add(matched ? AnswerKind::matched : AnswerKind::late);
      }
      if (run.schedule.empty()) continue;
      const JobRun*& failed = ended_[run.schedule];
      if (run.status != JobRunStatus::failed) continue;
      if (!failed || failed->ended_at < run.ended_at) failed = &failures_.emplace(run.id, run).first->second;
    }
    return later;
  }

  /// What follows for the schedules of all these runs.
  Result<void> follow_up() {
    if (ended_.empty()) return {};
    std::vector<std::string> names;
    for (const auto& [name, failed] : ended_) names.push_back(name);
    TRY_ASSIGN(auto found, work_.transaction().schedules().find(names));
    std::vector<StoredSchedule> rows;
    for (auto& row : found) {
      if (!row) continue;  // removed meanwhile
      if (const JobRun* const failed = ended_.at(row->name)) TRY(pause(*row, *failed));
      rows.push_back(*std::move(row));
    }
    TRY(work_.attend(rows));
    return {};
  }

 private:
  using ByRun = std::map<JobRunId, std::vector<const Answer*>>;

  /// By the run's id, else the trigger's, else the job's oldest open run. Who names a run or a trigger means no other.
  Result<ByRun> match(const std::vector<const Answer*>& answers, std::vector<const Answer*>& later) {
    std::vector<JobRunId> named;
    bool any_names = false;
    for (const Answer* const answer : answers) {
      if (answer->run) named.push_back(*answer->run);
      any_names = any_names || answer->run || answer->cause;
    }
    std::ranges::sort(named);
    const auto repeated = std::ranges::unique(named);
    named.erase(repeated.begin(), repeated.end());
    TRY_ASSIGN(const auto found, runs_.find(named));
    std::set<JobRunId> known;
    for (std::size_t i = 0; i < named.size(); ++i) {
      if (found[i]) known.insert(named[i]);
    }

    ByRun of_run;
    std::vector<const Answer*> caused;
    std::vector<EventId> causes;
    std::set<std::string_view> jobs;
    for (const Answer* const answer : answers) {
      if (answer->run && known.contains(*answer->run)) {
        of_run[*answer->run].push_back(answer);
      } else if (answer->cause) {
        caused.push_back(answer);
        causes.push_back(*answer->cause);
      } else if (answer->run) {
        work_.tally().add(AnswerKind::unknown);
      } else if (any_names || !jobs.insert(answer->job).second) {
        later.push_back(answer);  // the run that is the oldest now may be meant by another one
      } else {
        TRY_ASSIGN(const auto oldest, runs_.oldest_open(answer->job));
        add(of_run, oldest, answer);
      }
    }
    if (caused.empty()) return of_run;
    TRY_ASSIGN(const auto by_trigger, runs_.find_by_trigger(causes));
    for (std::size_t i = 0; i < caused.size(); ++i) add(of_run, by_trigger[i], caused[i]);
    return of_run;
  }
  void add(ByRun& of_run, const std::optional<JobRunId>& run, const Answer* answer) {
    if (run) {
      of_run[*run].push_back(answer);
    } else {
      work_.tally().add(AnswerKind::unknown);
    }
  }

  /// Whoever attends to a schedule locks it before its runs, so they come first here, too.
  Result<void> lock_schedules(std::span<const JobRunId> ids) {
    TRY_ASSIGN(const auto runs, runs_.find(ids));
    std::set<std::string> names;
    for (const auto& stored : runs) {
      if (stored && !stored->run.schedule.empty()) names.insert(stored->run.schedule);
    }
    if (names.empty()) return {};
    const std::vector<std::string> in_order(names.begin(), names.end());
    TRY(work_.transaction().schedules().find(in_order));
    return {};
  }

  JobRun ended(JobRun run, const Answer& answer) const {
    if (!answer.counts.empty()) run.counts = answer.counts;
    return schedule::ended(std::move(run), answer.completed ? JobRunStatus::completed : JobRunStatus::failed,
                           answer.error, work_.now());
  }

  Result<void> pause(StoredSchedule& row, const JobRun& failed) {
    // A failure from before its definition or its pause was last touched has been dealt with.
    if (row.paused || *failed.ended_at < row.updated_at) return {};
    const auto parsed = work_.core().timetables.of(row);
    if (!parsed || !(*parsed)->schedule.pause_on_failure) return {};
    row.paused = true;
    row.pause_note =
        cut(fmt::format("run {} failed: {}", failed.id.to_string(), failed.error), schedule::kPauseNoteBytesMax);
    row.updated_at = work_.now();
    TRY(work_.write(row));
    work_.tally().warnings.push_back(fmt::format("schedule '{}' is paused: {}", row.name, row.pause_note));
    return {};
  }

  Work& work_;
  store::JobRunStore& runs_;
  std::map<std::string, const JobRun*> ended_;  // by schedule: its newest failure among them, or null
  std::map<JobRunId, JobRun> failures_;
};

}  // namespace

Result<void> apply_answers(Work& work, const std::vector<Answer>& answers) {
  Applying applying(work);
  std::vector<const Answer*> left;
  left.reserve(answers.size());
  for (const Answer& answer : answers) left.push_back(&answer);
  while (!left.empty()) {
    TRY_ASSIGN(left, applying.apply(left));
  }
  return applying.follow_up();
}

}  // namespace wfo::scheduler
