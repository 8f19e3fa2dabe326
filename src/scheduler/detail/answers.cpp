#include "scheduler/detail/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "delivery/consumer_loop.h"

namespace wfo::scheduler {
namespace {

using schedule::JobRun;
using schedule::JobRunStatus;
using store::StoredSchedule;

// Who closes a run and who resumes its schedule may be two processes. Rather a schedule is paused once too often than
// runs on though the operator said that a failure is to stop it.
constexpr milliseconds kClocksApart{5'000};
constexpr std::size_t kJobShownMax = 100;  // of a name in the log

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

  /// Closes the runs.
  Result<void> apply(const std::vector<Answer>& answers) {
    TRY_ASSIGN(const auto of_run, match(answers));
    std::vector<JobRunId> ids;
    for (const auto& [id, about] : of_run) ids.push_back(id);
    std::set<JobRunId> closed;
    TRY_ASSIGN(const auto runs, work_.change(std::move(ids), [&](const JobRun& run) -> std::optional<JobRun> {
      closed.erase(run.id);
      if (run.status != JobRunStatus::pending) return std::nullopt;
      closed.insert(run.id);
      return ended(run, *of_run.at(run.id).front());
    }));
    for (const JobRun& run : runs) {
      const auto& about = of_run.at(run.id);
      if (schedule::is_open(run.status)) {
        // The BatchJobWorker has it, and ends it in a transaction of its own.
        for (std::size_t i = 0; i < about.size(); ++i) work_.tally().add(AnswerKind::unknown);
        work_.tally().warnings.push_back(
            fmt::format("an event says that run {} of job '{}' ended, which is {} here: it closes nothing",
                        run.id.to_string(), run.job, schedule::name(run.status)));
        continue;
      }
      for (const Answer* const answer : about) {
        const bool matched = (closed.contains(run.id) && answer == about.front()) || is_how_it_ended(run, *answer);
        work_.tally().add(matched ? AnswerKind::matched : AnswerKind::late);
      }
      if (run.schedule.empty()) continue;
      const JobRun*& failed = ended_[run.schedule];
      if (run.status != JobRunStatus::failed) continue;
      if (!failed || failed->ended_at < run.ended_at) failed = &failures_.emplace(run.id, run).first->second;
    }
    return {};
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
    if (!work_.core().config.attends) return wake_up(rows);
    TRY(work_.attend(rows));
    return {};
  }

 private:
  using ByRun = std::map<JobRunId, std::vector<const Answer*>>;

  /// By the run's id, else the trigger's, else the job's oldest pending run. Who names a run or a
  /// trigger means no other. The schedules of these runs are locked then: whoever attends to a schedule locks it before
  /// its runs, too.
  Result<ByRun> match(const std::vector<Answer>& answers) {
    std::vector<JobRunId> named;
    for (const Answer& answer : answers) {
      if (answer.run) named.push_back(*answer.run);
    }
    std::ranges::sort(named);
    const auto repeated = std::ranges::unique(named);
    named.erase(repeated.begin(), repeated.end());
    TRY(learn(named));

    ByRun of_run;
    std::vector<const Answer*> caused;
    std::vector<EventId> causes;
    std::map<std::string_view, std::vector<const Answer*>> nameless;  // by job
    for (const Answer& answer : answers) {
      if (answer.run && known_.contains(*answer.run)) {
        of_run[*answer.run].push_back(&answer);
      } else if (answer.cause) {
        caused.push_back(&answer);
        causes.push_back(*answer.cause);
      } else if (answer.run) {
        work_.tally().add(AnswerKind::unknown);
      } else {
        nameless[answer.job].push_back(&answer);
      }
    }
    if (!caused.empty()) {
      TRY_ASSIGN(const auto by_trigger, runs_.find_by_trigger(causes));
      for (std::size_t i = 0; i < caused.size(); ++i) {
        if (by_trigger[i]) {
          of_run[*by_trigger[i]].push_back(caused[i]);
        } else {
          work_.tally().add(AnswerKind::unknown);
        }
      }
    }
    TRY(learn_all(of_run));
    drop_of_other_jobs(of_run);
    // A run that another answer means is none of those that are just the oldest.
    const std::size_t meant = of_run.size();
    for (const auto& [job, about] : nameless) {
      TRY_ASSIGN(auto oldest, runs_.oldest_pending(job, about.size() + meant));
      std::erase_if(oldest, [&](const JobRunId& id) { return of_run.contains(id); });
      for (std::size_t i = 0; i < about.size(); ++i) {
        if (i < oldest.size()) {
          of_run[oldest[i]].push_back(about[i]);
        } else {
          work_.tally().add(AnswerKind::unknown);
        }
      }
    }
    TRY(learn_all(of_run));
    TRY(lock_schedules());
    return of_run;
  }

  /// Whose runs these are; once for each run.
  Result<void> learn(std::span<const JobRunId> ids) {
    if (ids.empty()) return {};
    TRY_ASSIGN(const auto found, runs_.find(ids));
    for (const auto& stored : found) {
      if (!stored) continue;
      known_.insert_or_assign(stored->run.id, Of{stored->run.job, stored->run.schedule});
    }
    return {};
  }
  Result<void> learn_all(const ByRun& of_run) {
    std::vector<JobRunId> ids;
    for (const auto& [id, about] : of_run) {
      if (!known_.contains(id)) ids.push_back(id);
    }
    return learn(ids);
  }

  /// A worker that confuses jobs, or ids, must not end somebody else's run.
  void drop_of_other_jobs(ByRun& of_run) {
    for (auto& [id, about] : of_run) {
      const std::string& job = known_.at(id).job;
      std::erase_if(about, [&](const Answer* const answer) {
        if (answer->job == job) return false;
        work_.tally().add(AnswerKind::unknown);
        work_.tally().warnings.push_back(
            fmt::format("an event says that job '{}' ended, but names run {}, which is of job '{}': it closes nothing",
                        cut(answer->job, kJobShownMax), id.to_string(), job));
        return true;
      });
    }
    std::erase_if(of_run, [](const auto& one) { return one.second.empty(); });
  }

  Result<void> lock_schedules() {
    std::set<std::string> names;
    for (const auto& [id, of] : known_) {
      if (!of.schedule.empty()) names.insert(of.schedule);
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
    if (row.paused) return {};
    const auto parsed = work_.core().timetables.of(row);
    if (!parsed || !(*parsed)->schedule.pause_on_failure) return {};
    // A failure from before its definition or its pause was last touched has been dealt with.
    if (*failed.ended_at < row.updated_at - kClocksApart) {
      work_.tally().notes.push_back(fmt::format(
          "schedule '{}' is not paused: run {} failed at {}, before somebody changed or resumed it at {}", row.name,
          failed.id.to_string(), format_timestamp(*failed.ended_at), format_timestamp(row.updated_at)));
      return {};
    }
    row.paused = true;
    row.pause_note =
        cut(fmt::format("run {} failed: {}", failed.id.to_string(), failed.error), schedule::kPauseNoteBytesMax);
    row.updated_at = work_.now();
    TRY(work_.write(row));
    work_.tally().warnings.push_back(fmt::format("schedule '{}' is paused: {}", row.name, row.pause_note));
    return {};
  }

  struct Of {
    std::string job;
    std::string schedule;
  };

  Result<void> wake_up(std::span<StoredSchedule> rows) {
    for (StoredSchedule& row : rows) {
      if (row.wake_up_at && *row.wake_up_at <= work_.now()) continue;
      row.wake_up_at = work_.now();
      TRY(work_.write(row));
    }
    return {};
  }

  Work& work_;
  store::JobRunStore& runs_;
  std::map<JobRunId, Of> known_;
  std::map<std::string, const JobRun*> ended_;  // by schedule: its newest failure among them, or null
  std::map<JobRunId, JobRun> failures_;
};

}  // namespace

Result<void> apply_answers(Work& work, const std::vector<Answer>& answers) {
  Applying applying(work);
  TRY(applying.apply(answers));
  return applying.follow_up();
}

}  // namespace wfo::scheduler
