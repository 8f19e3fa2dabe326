#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "workflow/decide.h"
#include "workflow/tests/samples.h"

/// The rules of the design, section 5, written down a second time and in another way than in decide.cpp, for tests that
/// compare the two under any input.
namespace wfo::workflow::rules {

template <class State>
bool is(const Step& step) {
  return std::holds_alternative<State>(step.state);
}

inline const Step* addressed(const Run& run, const std::optional<StepId>& id, std::string_view type) {
  const auto found =
      std::ranges::find_if(run.steps, [&](const Step& step) { return id ? step.id == *id : step.type == type; });
  const bool matches = found != run.steps.end() && (type.empty() || found->type == type);
  return matches ? &*found : nullptr;
}

/// Whether `input` must change `run`; else it must be ignored.
inline bool must_count(const Run& run, const Input& input, Timestamp now) {
  struct Judge {
    const Run& run;
    Timestamp now;
    bool operator()(const StepCompleted& answer) const {
      const Step* step = addressed(run, answer.step, answer.step_type);
      return step != nullptr && step->attempt > 0 && !is<Completed>(*step);
    }
    bool operator()(const StepFailed& answer) const {
      const Step* step = addressed(run, answer.step, answer.step_type);
      if (step == nullptr || run.status != RunStatus::running || !is<Requested>(*step)) return false;
      return answer.attempt ? *answer.attempt == step->attempt
                            : answer.at >= std::get<Requested>(step->state).requested_at;
    }
    bool operator()(const WakeUp&) const {
      if (run.status != RunStatus::running) return false;
      return now >= run.deadline || std::ranges::any_of(run.steps, [&](const Step& step) {
               return (is<Requested>(step) && std::get<Requested>(step.state).deadline <= now) ||
                      (is<BackingOff>(step) && std::get<BackingOff>(step.state).retry_at <= now);
             });
    }
    bool operator()(const Cancel&) const { return run.status == RunStatus::running; }
    bool operator()(const Retry&) const {
      return run.status == RunStatus::failed || run.status == RunStatus::cancelled;
    }
  };
  return std::visit(Judge{run, now}, input);
}

/// Watches one run from its start, as somebody who sees states and events. Each call answers with the rule that is
/// broken, or "".
class Watcher {
 public:
  explicit Watcher(const Definition& definition) : definition_(definition), requests_(definition.steps.size()) {}

  [[nodiscard]] std::string started(const Decision& decision, Timestamp now) {
    if (decision.ignored || !is_active(decision.next) || decision.next.attempt != 1) return "a run begins active";
    if (auto broken = check_state(decision.next); !broken.empty()) return broken;
    for (std::size_t i = 0; i < decision.next.steps.size(); ++i) {
      const StepDefinition& step = definition_.steps[i];
      const StepState wanted =
          step.depends_on.empty() ? StepState(Requested{now, now + step.timeout}) : StepState(Waiting{});
      if (decision.next.steps[i].state != wanted) return "a run begins with the steps that depend on nothing";
    }
    return check_effects(decision, now);
  }

  [[nodiscard]] std::string decided(const Run& before, const Input& input, const Decision& decision, Timestamp now) {
    const Run& after = decision.next;
    if (decision.ignored.has_value() == must_count(before, input, now)) {
      return fmt::format("counted or ignored ({}) although the rules say otherwise",
                         decision.ignored ? name(*decision.ignored) : "no");
    }
    if (decision.ignored) {
      if (after != before) return "ignored means that nothing changes";
      return decision.effects.empty() ? "" : "ignored means that nothing is wanted";
    }
    if (after.updated_at != now) return "a change is dated";
    if (auto broken = check_state(after); !broken.empty()) return broken;
    for (std::size_t i = 0; i < after.steps.size(); ++i) {
      if (auto broken = check_step(before, after, i, input, now); !broken.empty()) {
        return fmt::format("step {}: {}", i, broken);
      }
    }
    if (auto broken = check_outcome(before, input, decision, now); !broken.empty()) return broken;
    return check_effects(decision, now);
  }

  /// Terminal events so far.
  [[nodiscard]] int ends() const { return ends_; }

 private:
  static std::string check_state(const Run& run) {
    const auto all = [&](auto&& holds) { return std::ranges::all_of(run.steps, holds); };
    const bool all_completed = all([](const Step& step) { return is<Completed>(step); });
    const auto wake_up = next_wake_up(run);
    switch (run.status) {
      case RunStatus::running:
        if (all_completed) return "a run whose steps are all completed is not running";
        if (!wake_up || *wake_up > run.deadline) return "an active run has a next wake-up before its deadline";
        if (!all([](const Step& step) { return !is<Failed>(step); })) return "a failed step ends the run";
        if (!run.error.empty() || !run.failed_step.empty()) return "an active run has no error";
        break;
      case RunStatus::completed:
        if (!all_completed) return "a completed run has completed all steps";
        if (!run.error.empty() || !run.failed_step.empty()) return "a completed run has no error";
        break;
      case RunStatus::failed:
        if (run.error.empty()) return "a failed run has an error";
        break;
      case RunStatus::cancelled:
        if (!run.error.starts_with("cancelled: ")) return "a cancelled run says so";
        if (!run.failed_step.empty()) return "a cancelled run blames no step";
        break;
    }
    if (!is_active(run) && wake_up) return "a run that ended is not woken";
    if (is_active(run) || run.status == RunStatus::completed) {
      for (const Step& step : run.steps) {
        if (is<Completed>(step) && !std::get<Completed>(step.state).published) return "an active run has published all";
      }
    }
    return "";
  }

  std::string check_step(const Run& run_before, const Run& run_after, std::size_t index, const Input& input,
                         Timestamp now) const {
    const Step& before = run_before.steps[index];
    const Step& after = run_after.steps[index];
    const StepDefinition& step = definition_.steps[index];
    if (after.id != before.id || after.type != before.type) return "a step stays who it is";
    const bool retry = std::holds_alternative<Retry>(input);
    if (is<Completed>(before)) {
      Completed wanted = std::get<Completed>(before.state);
      wanted.published = wanted.published || retry;
      Step same = before;
      same.state = wanted;
      return same == after ? "" : "what is completed stays as it is, but for being published";
    }
    if (after.attempts_before != (retry ? before.attempt : before.attempts_before)) return "the budget begins anew";
    if (after.attempt - after.attempts_before > step.retry.attempts_max) return "attempts are bounded";
    if (after.attempt < before.attempt || after.attempt > before.attempt + 1) return "attempts count up";
    if (is<Waiting>(after) && after.attempt != 0) return "what was requested does not wait for others";
    const bool ready = needs_are_completed(run_after, step);
    if (!is<Waiting>(after) && !ready) return "a step begins after what it depends on";
    if (is<Waiting>(after) && ready && is_active(run_after)) return "a step that may begin is requested";
    if (after.attempt > before.attempt) {
      if (after.state != StepState(Requested{now, now + step.timeout})) return "a request has its deadline";
      const bool first = before.attempt == 0 || retry;
      if (after.first_requested_at != (first ? now : before.first_requested_at)) return "the first request is dated";
      return "";
    }
    if (retry && ready) return "a retry requests what is not completed";
    if (is<BackingOff>(after) && !is<BackingOff>(before)) {
      const double most = static_cast<double>(step.retry.delay_max.count());
      const int failures = after.attempt - after.attempts_before;
      const double wanted = std::min(
          most, static_cast<double>(step.retry.delay_first.count()) * std::pow(step.retry.factor, failures - 1));
      const auto delay = static_cast<double>((std::get<BackingOff>(after.state).retry_at - now).count());
      if (delay < std::max(1.0, wanted * (1 - step.retry.jitter) - 1)) return "a retry does not come too early";
      if (delay > std::max(1.0, wanted * (1 + step.retry.jitter) + 1)) return "a retry does not come too late";
      if (failures >= step.retry.attempts_max) return "the last failure is final";
    }
    return "";
  }

  bool needs_are_completed(const Run& run, const StepDefinition& step) const {
    return std::ranges::all_of(step.depends_on, [&](const std::string& type) {
      return is<Completed>(*std::ranges::find(run.steps, type, &Step::type));
    });
  }

  // What became of the steps that the input is about, and that the others were left alone.
  std::string check_outcome(const Run& before, const Input& input, const Decision& decision, Timestamp now) const {
    const Run& after = decision.next;
    const auto unchanged = [&](std::size_t i) { return after.steps[i] == before.steps[i]; };
    const auto deadline_error = fmt::format("run deadline of {} passed", format_duration(definition_.run_deadline));
    Run same = after;  // what no decision ever changes, and what this one may
    same.steps = before.steps;
    same.status = before.status;
    same.attempt = before.attempt;
    same.deadline = before.deadline;
    same.updated_at = before.updated_at;
    same.error = before.error;
    same.failed_step = before.failed_step;
    if (same != before) return "a run stays whose it is";
    const bool retry = std::holds_alternative<Retry>(input);
    if (after.attempt != before.attempt + (retry ? 1 : 0)) return "only a retry is a new attempt";
    if (after.deadline != (retry ? now + definition_.run_deadline : before.deadline)) return "the deadline is kept";
    if (!is_active(before) && !retry && (after.status != before.status || after.error != before.error)) {
      return "what has ended stays as it ended";
    }

    if (const auto* answer = std::get_if<StepCompleted>(&input)) {
      const Step* step = addressed(before, answer->step, answer->step_type);
      const auto index = static_cast<std::size_t>(step - before.steps.data());
      if (after.steps[index].state != StepState(Completed{now, is_active(before), std::string(answer->result)})) {
        return "a completion is recorded";
      }
      for (std::size_t i = 0; i < after.steps.size(); ++i) {
        if (i != index && !unchanged(i) && !is<Waiting>(before.steps[i])) return "a completion is about one step";
      }
      if (!is_active(before) && !decision.effects.empty()) return "a late completion is recorded silently";
    } else if (const auto* failure = std::get_if<StepFailed>(&input)) {
      const Step* step = addressed(before, failure->step, failure->step_type);
      const auto index = static_cast<std::size_t>(step - before.steps.data());
      const int failures = step->attempt - step->attempts_before;
      const bool final = !failure->retryable || failures == definition_.steps[index].retry.attempts_max;
      if (final != is<Failed>(after.steps[index]) || final == is_active(after)) return "a failure is final or retried";
      if (final && after.failed_step != step->type) return "the step to blame is named";
      if (!final && !is<BackingOff>(after.steps[index])) return "a failure that is not final is retried later";
      for (std::size_t i = 0; i < after.steps.size(); ++i) {
        if (i != index && !unchanged(i)) return "a failure is about one step";
      }
    } else if (std::holds_alternative<WakeUp>(input)) {
      if (now >= before.deadline) {
        if (after.status != RunStatus::failed || after.error != deadline_error || !after.failed_step.empty()) {
          return "the deadline ends the run";
        }
        if (after.steps != before.steps) return "the deadline is not about steps";
      } else if (is_active(after) && *next_wake_up(after) <= now) {
        return "everything that is due is done";
      }
      for (std::size_t i = 0; i < after.steps.size(); ++i) {
        const Step& step = before.steps[i];
        const bool timed_out = is<Requested>(step) && std::get<Requested>(step.state).deadline <= now;
        const bool rested = is<BackingOff>(step) && std::get<BackingOff>(step.state).retry_at <= now;
        if (!timed_out && !rested && !unchanged(i)) return "what is not due is left alone";
        if (rested && !unchanged(i) && !is<Requested>(after.steps[i])) return "a rest ends with a request";
        if (timed_out && !unchanged(i) && !is<BackingOff>(after.steps[i]) && !is<Failed>(after.steps[i])) {
          return "a timeout is a failure";
        }
      }
    } else if (std::holds_alternative<Cancel>(input)) {
      if (after.status != RunStatus::cancelled || after.steps != before.steps) return "a cancel ends the run only";
    } else if (after.status != RunStatus::running && after.status != RunStatus::completed) {
      return "a retry sets the run going";
    }
    return "";
  }

  // What an outsider sees: the events of a run, in their order.
  std::string check_effects(const Decision& decision, Timestamp now) {
    const Run& run = decision.next;
    std::vector<int> requests(requests_.size());
    for (const Effect& effect : decision.effects) {
      if (std::holds_alternative<PublishStarted>(effect)) {
        if (run.attempt != run_attempt_ + 1 || !ended_) return "an attempt is started once, after the end of the last";
        run_attempt_ = run.attempt;
        ended_ = false;
        continue;
      }
      if (run_attempt_ != run.attempt) return "an attempt begins with `started`";
      if (ended_) return "nothing comes after the terminal event";
      if (const auto* request = std::get_if<RequestStep>(&effect)) {
        if (published_.contains(request->step)) return "what is completed is not requested";
        for (const std::string& needed : definition_.steps.at(request->step).depends_on) {
          if (!published_.contains(*definition_.step_index(needed))) return "a request comes after its dependencies";
        }
        ++requests[request->step];
      } else if (const auto* completed = std::get_if<PublishStepCompleted>(&effect)) {
        if (!published_.insert(completed->step).second) return "a step's completion is published once";
        const Step& step = run.steps[completed->step];
        const auto* state = std::get_if<Completed>(&step.state);
        if (state == nullptr || !state->published) return "what is published as completed is";
        const milliseconds duration = state->completed_at - step.first_requested_at.value_or(now);
        if (completed->duration != std::max(milliseconds{0}, duration)) return "a duration counts from the request";
      } else if (std::holds_alternative<PublishCompleted>(effect)) {
        if (published_.size() != run.steps.size()) return "all steps are published before `completed`";
        if (run.status != RunStatus::completed) return "`completed` is for completed runs";
        ended_ = true;
        ++ends_;
      } else {
        if (run.status != RunStatus::failed && run.status != RunStatus::cancelled) return "`failed` is for failed runs";
        ended_ = true;
        ++ends_;
      }
    }
    if (ended_ != !is_active(run)) return "a run has ended if and only if its terminal event went out";
    for (std::size_t i = 0; i < requests.size(); ++i) {
      requests_[i] += requests[i];
      if (requests_[i] != run.steps[i].attempt) return "each attempt is requested once";
      const auto* state = std::get_if<Completed>(&run.steps[i].state);
      if ((state != nullptr && state->published) != published_.contains(i)) return "`published` is the truth";
    }
    return "";
  }

  const Definition& definition_;
  int run_attempt_ = 0;
  bool ended_ = true;  // the terminal event of this attempt went out
  int ends_ = 0;
  std::set<std::size_t> published_;  // steps whose completion went out
  std::vector<int> requests_;        // of each step
};

}  // namespace wfo::workflow::rules
