#include "workflow/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace wfo::workflow {

namespace {

// What others say about a failure goes into our state and our events, so it is bounded here, once.
std::string readable(std::string_view error) {
  if (error.empty()) return "no reason given";
  if (error.size() <= kErrorBytesMax) return std::string(error);
  std::size_t end = kErrorBytesMax;
  while (end > 0 && (static_cast<unsigned char>(error[end]) & 0xC0) == 0x80) --end;  // never inside a character
  return fmt::format("{}… (cut after {} bytes)", error.substr(0, end), end);
}

// A number in [0, 1) that looks random in each of its arguments: the output function of SplitMix64 over their sum,
// each weighed with an odd constant of its own.
double draw(std::uint64_t seed, std::size_t step, int attempt) {
  std::uint64_t bits =
      seed + (step + 1) * 0x9e3779b97f4a7c15U + static_cast<std::uint64_t>(attempt) * 0xd1342543de82ef95U;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
  bits ^= bits >> 31;
  return static_cast<double>(bits >> 11) / static_cast<double>(std::uint64_t{1} << 53);
}

// The wait after the `failures`-th failure in a row. Multiplied rather than raised to a power, so that it is the same
// to the bit on every machine; at least 1 ms, so that nothing that a decision sets is due in that same decision.
milliseconds backoff(const RetryPolicy& policy, int failures, double drawn) {
  const auto most = static_cast<double>(policy.delay_max.count());
  auto delay = static_cast<double>(policy.delay_first.count());
  for (int i = 1; i < failures && delay < most; ++i) delay *= policy.factor;
  delay = std::min(delay, most) * (1 + policy.jitter * (2 * drawn - 1));
  return std::max(milliseconds{1}, milliseconds{std::llround(delay)});
}

// One decision in the making: the run is changed in place, effects are appended in the order in which they are wanted.
// Each `take` returns why it ignores its input before it has changed anything.
class Turn {
 public:
  Turn(Decision& decision, const Definition& definition, Timestamp now, std::uint64_t seed)
      : run_(decision.next), effects_(decision.effects), definition_(definition), now_(now), seed_(seed) {}

  void begin() {
    run_.definition_name = definition_.name;
    run_.definition_version = definition_.version;
    run_.attempt = 0;
    run_.created_at = now_;
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      run_.steps[i] = Step{run_.steps[i].id, definition_.steps[i].type, Waiting{}, 0, 0, std::nullopt};
    }
    begin_attempt();
  }

  std::optional<Ignored> take(const StepCompleted& answer) {
    const auto index = find(answer.step, answer.step_type);
    if (!index) return Ignored::unknown_step;
    Step& step = run_.steps[*index];
    if (std::holds_alternative<Completed>(step.state)) return Ignored::already_completed;
    if (std::holds_alternative<Waiting>(step.state)) return Ignored::not_requested;
    step.state = Completed{now_, false, std::string(answer.result)};
    if (!is_active(run_)) return std::nullopt;  // kept for an operator's retry, which publishes it
    effects_.reserve(2);
    publish_completed(*index);
    advance();
    return std::nullopt;
  }

  std::optional<Ignored> take(const StepFailed& answer) {
    const auto index = find(answer.step, answer.step_type);
    if (!index) return Ignored::unknown_step;
    if (!is_active(run_)) return Ignored::run_ended;
    const Step& step = run_.steps[*index];
    if (std::holds_alternative<Completed>(step.state)) return Ignored::already_completed;
    if (std::holds_alternative<Waiting>(step.state)) return Ignored::not_requested;
    if (answer.attempt && (*answer.attempt < 1 || *answer.attempt > step.attempt)) return Ignored::not_requested;
    const auto* request = std::get_if<Requested>(&step.state);
    if (request == nullptr) return Ignored::stale_attempt;  // that attempt has failed already
    const bool current = answer.attempt ? *answer.attempt == step.attempt : answer.at >= request->requested_at;
    if (!current) return Ignored::stale_attempt;
    fail(*index, readable(answer.error), answer.retryable);
    return std::nullopt;
  }

  std::optional<Ignored> take(const WakeUp&) {
    if (!is_active(run_)) return Ignored::run_ended;
    if (now_ >= run_.deadline) {
      end(RunStatus::failed, fmt::format("run deadline of {} passed", format_duration(definition_.run_deadline)), "");
      return std::nullopt;
    }
    bool due = false;
    // All timeouts before any retry: if one of them ends the run, no request must go out.
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      const auto* request = std::get_if<Requested>(&run_.steps[i].state);
      if (request == nullptr || request->deadline > now_) continue;
      due = true;
      fail(i, fmt::format("no answer within {}", format_duration(definition_.steps[i].timeout)), true);
      if (!is_active(run_)) return std::nullopt;
    }
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      const auto* pause = std::get_if<BackingOff>(&run_.steps[i].state);
      if (pause == nullptr || pause->retry_at > now_) continue;
      due = true;
      request(i);
    }
    return due ? std::nullopt : std::optional(Ignored::not_due);
  }

  std::optional<Ignored> take(const Cancel& cancel) {
    if (!is_active(run_)) return Ignored::run_ended;
    end(RunStatus::cancelled, fmt::format("cancelled: {}", readable(cancel.reason)), "");
    return std::nullopt;
  }

  std::optional<Ignored> take(const Retry&) {
    if (run_.status != RunStatus::failed && run_.status != RunStatus::cancelled) return Ignored::still_active;
    for (Step& step : run_.steps) {
      if (std::holds_alternative<Completed>(step.state)) continue;
      step.state = Waiting{};
      step.attempts_before = step.attempt;
      step.first_requested_at.reset();
    }
    begin_attempt();
    return std::nullopt;
  }

 private:
  std::optional<std::size_t> find(const std::optional<StepId>& id, std::string_view type) const {
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      const Step& step = run_.steps[i];
      if (id ? step.id == *id && (type.empty() || step.type == type) : step.type == type) return i;
    }
    return std::nullopt;
  }

  // Every step is Waiting, or Completed in an earlier attempt.
  void begin_attempt() {
    run_.status = RunStatus::running;
    ++run_.attempt;
    run_.deadline = now_ + definition_.run_deadline;
    run_.error.clear();
    run_.failed_step.clear();
    effects_.reserve(run_.steps.size() + 2);
    effects_.emplace_back(PublishStarted{});
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      const auto* completed = std::get_if<Completed>(&run_.steps[i].state);
      if (completed != nullptr && !completed->published) publish_completed(i);
    }
    advance();
  }

  void publish_completed(std::size_t index) {
    Step& step = run_.steps[index];
    auto& completed = std::get<Completed>(step.state);
    completed.published = true;
    const milliseconds duration = completed.completed_at - step.first_requested_at.value_or(completed.completed_at);
    effects_.emplace_back(PublishStepCompleted{index, std::max(milliseconds{0}, duration)});
  }

  // Requests what has become ready, or completes the run if nothing is left to be done.
  void advance() {
    bool all_completed = true;
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      all_completed = all_completed && std::holds_alternative<Completed>(run_.steps[i].state);
      if (std::holds_alternative<Waiting>(run_.steps[i].state) && is_ready(i)) request(i);
    }
    if (!all_completed) return;
    run_.status = RunStatus::completed;
    effects_.emplace_back(PublishCompleted{});
  }

  bool is_ready(std::size_t index) const {
    return std::ranges::all_of(definition_.steps[index].depends_on, [&](const std::string& type) {
      const auto needed = definition_.step_index(type);
      return needed && std::holds_alternative<Completed>(run_.steps[*needed].state);
    });
  }

  void request(std::size_t index) {
    Step& step = run_.steps[index];
    ++step.attempt;
    step.state = Requested{now_, now_ + definition_.steps[index].timeout};
    if (!step.first_requested_at) step.first_requested_at = now_;
    effects_.emplace_back(RequestStep{index});
  }

  void fail(std::size_t index, std::string error, bool retryable) {
    Step& step = run_.steps[index];
    const RetryPolicy& policy = definition_.steps[index].retry;
    const int tries = step.attempt - step.attempts_before;
    if (retryable && tries < policy.attempts_max) {
      const milliseconds delay = backoff(policy, tries, draw(seed_, index, step.attempt));
      step.state = BackingOff{now_ + delay, std::move(error)};
      return;
    }
    end(RunStatus::failed, fmt::format("{}: {}", step.type, error), step.type);
    step.state = Failed{std::move(error)};
  }

  // Steps stay as they are: what was asked for may still be answered.
  void end(RunStatus status, std::string error, std::string_view failed_step) {
    run_.status = status;
    run_.error = std::move(error);
    run_.failed_step = failed_step;
    effects_.emplace_back(PublishFailed{});
  }

  Run& run_;
  std::vector<Effect>& effects_;
  const Definition& definition_;
  const Timestamp now_;
  const std::uint64_t seed_;
};

}  // namespace

std::string_view name(Ignored reason) {
  switch (reason) {
    case Ignored::unknown_step:
      return "unknown_step";
    case Ignored::already_completed:
      return "already_completed";
    case Ignored::not_requested:
      return "not_requested";
    case Ignored::stale_attempt:
      return "stale_attempt";
    case Ignored::run_ended:
      return "run_ended";
    case Ignored::not_due:
      return "not_due";
    case Ignored::still_active:
      return "still_active";
  }
  return "unknown";
}

bool fits(const Run& run, const Definition& definition) {
  return run.definition_name == definition.name && run.definition_version == definition.version &&
         std::ranges::equal(run.steps, definition.steps, {}, &Step::type, &StepDefinition::type);
}

Decision start(Run run, const Definition& definition, Timestamp now) {
  INVARIANT(run.steps.size() == definition.steps.size());
  Decision decision{std::move(run), {}, std::nullopt};
  decision.next.updated_at = now;
  Turn(decision, definition, now, 0).begin();
  return decision;
}

Decision decide(Run run, const Input& input, const Definition& definition, Timestamp now, std::uint64_t seed) {
  INVARIANT(fits(run, definition));
  Decision decision{std::move(run), {}, std::nullopt};
  Turn turn(decision, definition, now, seed);
  decision.ignored = std::visit([&](const auto& what) { return turn.take(what); }, input);
  if (!decision.ignored) decision.next.updated_at = now;
  return decision;
}

}  // namespace wfo::workflow
