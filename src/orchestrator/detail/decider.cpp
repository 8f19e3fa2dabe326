#include "orchestrator/detail/decider.h"

#include <algorithm>
#include <utility>

namespace wfo::orchestrator {

namespace {

using namespace workflow;

// What RunStore::update wants to know of the state before; the run itself has moved on into its next state by then.
store::StoredRun outline(const store::StoredRun& stored) {
  store::StoredRun out;
  out.version = stored.version;
  out.run.id = stored.run.id;
  out.run.status = stored.run.status;
  out.run.attempt = stored.run.attempt;
  out.run.deadline = stored.run.deadline;
  out.run.error = stored.run.error;
  out.run.failed_step = stored.run.failed_step;
  out.run.steps.resize(stored.run.steps.size());
  for (std::size_t i = 0; i < out.run.steps.size(); ++i) {
    const StepState& state = stored.run.steps[i].state;
    StepState& kept = out.run.steps[i].state;
    if (const auto* request = std::get_if<Requested>(&state)) {
      kept = *request;
    } else if (const auto* pause = std::get_if<BackingOff>(&state)) {
      kept = BackingOff{pause->retry_at, ""};
    } else if (const auto* completed = std::get_if<Completed>(&state)) {
      kept = Completed{completed->completed_at, completed->published, ""};
    }
  }
  return out;
}

// Why a result is too large for its run, or "".
std::string too_large(const Run& run, std::size_t index, std::string_view result, const OrchestratorConfig& config) {
  if (result.size() > config.step_result_bytes_max) {
    return fmt::format("the result has {} bytes; allowed: up to {} (step_result_bytes_max)", result.size(),
                       config.step_result_bytes_max);
  }
  std::size_t all = result.size();
  for (std::size_t i = 0; i < run.steps.size(); ++i) {
    const auto* completed = std::get_if<Completed>(&run.steps[i].state);
    if (completed != nullptr && i != index) all += completed->result.size();
  }
  if (all <= config.run_results_bytes_max) return "";
  return fmt::format("with a result of {} bytes the run's results have {}; allowed: up to {} (run_results_bytes_max)",
                     result.size(), all, config.run_results_bytes_max);
}

std::optional<StepId> step_id(json::Value data) {
  const auto value = data.find("stepId");
  const auto id = value ? value->uuid() : std::nullopt;
  return id ? std::optional(StepId(*id)) : std::nullopt;
}

StepFailed read_failure(const events::Event& event, std::string_view step_type, std::string& error) {
  const json::Value data = event.data();
  const auto text = data.find("error");
  error = text ? text->string().value_or("") : "";
  const auto attempt = data.find("attempt");
  const auto number = attempt ? attempt->integer() : std::nullopt;
  const auto retryable = data.find("retryable");
  StepFailed failure{step_id(data),     step_type, {},
                     event.timestamp(), error,     retryable ? retryable->boolean().value_or(true) : true};
  if (number) {  // one that no counter of ours can reach stays as unreachable as it is
    constexpr std::int64_t kMost = std::numeric_limits<int>::max();
    failure.attempt = static_cast<int>(std::clamp(*number, std::int64_t{0}, kMost));
  }
  return failure;
}

Cause cause_of(const Prompt& prompt) {
  Cause cause{std::nullopt, prompt.user_id, ""};
  if (prompt.event) {
    cause.event = prompt.event->id();
    cause.traceparent = prompt.event->traceparent();
  }
  return cause;
}

}  // namespace

Result<Decided> Decider::start(Run seed, const Definition& definition, const Cause& cause, Timestamp now) const {
  seed.id = WorkflowId(ids_.next());
  seed.steps.resize(definition.steps.size());
  for (Step& step : seed.steps) step.id = StepId(ids_.next());
  Decision decision = workflow::start(std::move(seed), definition, now);
  Decided out;
  out.changed = true;
  out.after = std::move(decision.next);
  TRY(publish(decision, definition, cause, out));
  return out;
}

Result<Decider::Turnout> Decider::decide(std::span<Prompt> prompts, std::uint32_t first, store::StoredRun base,
                                         bool cached, const Definition& definition, Timestamp now, Decided& out) const {
  out = Decided{};
  out.before = outline(base);
  out.after = std::move(base.run);
  Run& run = out.after;
  std::string result;
  std::string error;
  for (std::uint32_t at = first; at != Prompt::kNone; at = prompts[at].next) {
    Prompt& prompt = prompts[at];
    Input input = WakeUp{};
    std::uint64_t seed = 0;
    std::optional<std::size_t> completed;  // the step, if the prompt is a completion whose result is to be taken
    switch (prompt.kind) {
      case Prompt::Kind::wake_up:
        seed = ids_.random();
        break;
      case Prompt::Kind::cancel:
        input = Cancel{prompt.text};
        break;
      case Prompt::Kind::retry:
        input = Retry{};
        break;
      case Prompt::Kind::answer: {
        if (prompt.event->tenant() != run.tenant) {
          out.tally.add(Reason::foreign_tenant);
          continue;
        }
        const std::string& type = prompt.event->type();
        std::size_t index = 0;
        while (index < definition.steps.size() && definition.steps[index].completed_event != type &&
               definition.steps[index].failed_event != type) {
          ++index;
        }
        if (index == definition.steps.size()) {
          out.tally.add(Reason::unknown_step);
          continue;
        }
        const StepDefinition& step = definition.steps[index];
        if (step.failed_event == type) {
          input = read_failure(*prompt.event, step.type, error);
          seed = ids_.random();
          break;
        }
        const json::Value data = prompt.event->data();
        if (!prompt.refused) {
          write_result(result, data);
          prompt.text = too_large(run, index, result, config_);
          prompt.refused = !prompt.text.empty();
        }
        if (prompt.refused) {
          input = StepFailed{step_id(data), step.type, {}, Timestamp::max(), prompt.text, false};
        } else {
          input = StepCompleted{step_id(data), step.type, result};
          completed = index;
        }
        break;
      }
    }
    const bool was_active = is_active(run);
    Decision decision = workflow::decide(std::move(run), input, definition, now, seed);
    run = std::move(decision.next);
    if (decision.ignored) {
      if (cached) return Turnout::reload;
      out.tally.add(reason_of(*decision.ignored));
      continue;
    }
    out.changed = true;
    const Cause cause = cause_of(prompt);
    Result<void> published;
    if (completed && !was_active) {
      published = try_to_publish(run, *completed, definition, cause);
    } else {
      published = publish(decision, definition, cause, out);
    }
    if (published) continue;
    if (!completed || published.error().code != ErrorCode::invalid_argument) {
      return std::unexpected(Error{ErrorCode::internal, std::move(published).error().message});
    }
    prompt.refused = true;
    prompt.text = fmt::format("the result cannot be published: {}", published.error().message);
    return Turnout::reload;
  }
  out.ended = is_active(out.before.run) && !is_active(run);
  return Turnout::done;
}

// What came after the run had ended is published by an operator's retry. Whether it can be is found out now: then it
// would be too late to refuse it.
Result<void> Decider::try_to_publish(const Run& run, std::size_t step, const Definition& definition,
                                     const Cause& cause) const {
  TRY(make_event(factory_, run, definition, PublishStepCompleted{step, milliseconds{0}}, cause));
  const bool all =
      std::ranges::all_of(run.steps, [](const Step& one) { return std::holds_alternative<Completed>(one.state); });
  if (all) TRY(make_event(factory_, run, definition, PublishCompleted{}, cause));
  return {};
}

Result<void> Decider::publish(const Decision& decision, const Definition& definition, const Cause& cause,
                              Decided& out) const {
  Cause event_cause = cause;
  out.events.reserve(out.events.size() + decision.effects.size());
  for (const Effect& effect : decision.effects) {
    TRY_ASSIGN(events::EventPtr event, make_event(factory_, out.after, definition, effect, event_cause));
    if (std::holds_alternative<PublishStarted>(effect)) {
      ++(out.after.attempt == 1 ? out.tally.started : out.tally.retried);
      // Nothing but an operator or an API call led here: then the requests follow from this event.
      if (!event_cause.event) event_cause.event = event->id();
    } else if (const auto* completed = std::get_if<PublishStepCompleted>(&effect)) {
      out.tally.step_durations.emplace_back(out.after.steps[completed->step].type, completed->duration);
    } else if (std::holds_alternative<PublishCompleted>(effect)) {
      ++out.tally.completed;
    } else if (std::holds_alternative<PublishFailed>(effect)) {
      if (out.after.status == RunStatus::cancelled) {
        ++out.tally.cancelled;
      } else {
        ++(out.after.failed_step.empty() ? out.tally.failed_by_deadline : out.tally.failed_by_step);
      }
    }
    out.events.push_back(std::move(event));
  }
  return {};
}

}  // namespace wfo::orchestrator
