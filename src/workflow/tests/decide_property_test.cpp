#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cstdlib>
#include <map>
#include <ostream>
#include <random>
#include <set>

#include "workflow/decide.h"
#include "workflow/tests/rules.h"
#include "workflow/tests/samples.h"

namespace wfo::workflow {

/// One thing that happens to a run, in numbers that have a meaning for every definition: so they can be made smaller
/// when a case fails.
struct Happening {
  enum class Kind { complete, fail, wake, cancel, retry, repeat };
  Kind kind = Kind::wake;
  std::size_t step = 0;         // modulo the number of steps
  int address = 0;              // how the step is named: 0 both, 1 id, 2 type, 3 an unknown id, 4 ids and types crossed
  int attempt = 0;              // of a failure: 0 not said, 1 the current one, 2 one before, 3 one to come
  bool retryable = true;        // of a failure
  int failed_before_ms = 0;     // of a failure: how long ago it says that it was
  int wait_ms = 0;              // before it happens
  bool at_next_wake_up = true;  // of a wake-up: just then, if it is not past
};

std::ostream& operator<<(std::ostream& out, const Happening& what) {
  static constexpr std::array kKinds{"complete", "fail", "wake", "cancel", "retry", "repeat"};
  return out << kKinds[static_cast<std::size_t>(what.kind)]
             << fmt::format("(step {}, address {}, attempt {}, retryable {}, failed before {} ms) after {} ms{}",
                            what.step, what.address, what.attempt, what.retryable, what.failed_before_ms, what.wait_ms,
                            what.at_next_wake_up ? ", when due" : "");
}

}  // namespace wfo::workflow

namespace rc {
using wfo::workflow::Happening;

template <>
struct Arbitrary<Happening> {
  static Gen<Happening> arbitrary() {
    using enum Happening::Kind;
    return gen::build<Happening>(
        gen::set(&Happening::kind, gen::weightedElement<Happening::Kind>(
                                       {{6, complete}, {8, fail}, {8, wake}, {1, cancel}, {2, retry}, {2, repeat}})),
        gen::set(&Happening::step, gen::inRange<std::size_t>(0, 8)),
        gen::set(&Happening::address, gen::weightedElement<int>({{6, 0}, {3, 1}, {3, 2}, {1, 3}, {1, 4}})),
        gen::set(&Happening::attempt, gen::weightedElement<int>({{3, 0}, {6, 1}, {2, 2}, {1, 3}})),
        gen::set(&Happening::retryable, gen::weightedElement<bool>({{9, true}, {1, false}})),
        gen::set(&Happening::failed_before_ms, gen::weightedElement<int>({{4, 0}, {1, 1}, {1, 5}, {1, -3}})),
        gen::set(&Happening::wait_ms, gen::weightedElement<int>({{6, 0}, {4, 1}, {4, 3}, {2, 20}, {1, 500}, {1, -5}})),
        gen::set(&Happening::at_next_wake_up, gen::weightedElement<bool>({{3, true}, {1, false}})));
  }
};
}  // namespace rc

namespace wfo::workflow {
namespace {

using namespace samples;

// More cases than the library's 100, unless somebody asks for a number of their own.
const int kCases = setenv("RC_PARAMS", "max_success=1000", 0);

constexpr std::array<std::string_view, 3> kResults{"{}", R"({"riskScore":0.5})", R"({"recommendations":[]})"};

Definition any_definition() {
  switch (*rc::gen::inRange(0, 8)) {
    case 0:
      return single();
    case 1:
      return chain();
    case 2:
      return diamond();
    case 3:
      return shipped();
    default:
      return random_definition(*rc::gen::arbitrary<std::uint64_t>());
  }
}

// Feeds a run with what happens and asks the rules after every decision.
class Story {
 public:
  Story(const Definition& definition, std::uint64_t seed) : definition_(definition), seed_(seed), watcher_(definition) {
    const Decision first = start(new_run(definition_), definition_, now_);
    check(watcher_.started(first, now_), "start");
    run_ = first.next;
  }

  void happen(const Happening& what) {
    now_ += milliseconds(what.wait_ms);
    if (what.kind == Happening::Kind::repeat) return give(last_, what);
    give(last_ = input(what), what);
  }

  // Only the clock goes on, as when everybody else is dead.
  void only_wake_up_until_it_ends() {
    int turns = 0;
    for (const StepDefinition& step : definition_.steps) turns += 2 * step.retry.attempts_max;
    for (; is_active(run_); --turns) {
      RC_ASSERT(turns >= 0);  // each wake-up uses up a timeout, a rest or the deadline
      now_ = std::max(now_, *next_wake_up(run_));
      const Run before = run_;
      give(WakeUp{}, {});
      RC_ASSERT(run_ != before);
    }
  }

  [[nodiscard]] const Run& run() const { return run_; }
  [[nodiscard]] int ends() const { return watcher_.ends(); }

 private:
  Input input(const Happening& what) {
    const std::size_t index = what.step % run_.steps.size();
    const Step& step = run_.steps[index];
    std::optional<StepId> id = step.id;
    std::string_view type = definition_.steps[index].type;
    if (what.address == 1) type = "";
    if (what.address == 2) id.reset();
    if (what.address == 3) id = step_id(99);
    if (what.address == 4) type = definition_.steps[(index + 1) % run_.steps.size()].type;
    switch (what.kind) {
      case Happening::Kind::complete:
        return StepCompleted{id, type, kResults[(index + step.attempt) % kResults.size()]};
      case Happening::Kind::fail: {
        std::optional<int> attempt;
        if (what.attempt > 0) attempt = step.attempt + (what.attempt == 1 ? 0 : what.attempt == 2 ? -1 : 1);
        return StepFailed{id, type, attempt, now_ - milliseconds(what.failed_before_ms), "boom", what.retryable};
      }
      case Happening::Kind::cancel:
        return Cancel{"not needed"};
      case Happening::Kind::retry:
        return Retry{};
      case Happening::Kind::wake:
      case Happening::Kind::repeat:
        break;
    }
    if (what.at_next_wake_up && is_active(run_)) now_ = std::max(now_, *next_wake_up(run_));
    return WakeUp{};
  }

  void give(const Input& input, const Happening& what) {
    const Decision decision = decide(run_, input, definition_, now_, seed_);
    const Decision again = decide(run_, input, definition_, now_, seed_);
    const bool same =
        again.next == decision.next && again.effects == decision.effects && again.ignored == decision.ignored;
    check(same ? "" : "the same question has the same answer", fmt::format("input {}", input.index()));
    std::string broken = watcher_.decided(run_, input, decision, now_);
    if (!broken.empty()) RC_LOG() << what << "\n";
    check(std::move(broken), fmt::format("{} -> {}: {}", states(run_), states(decision.next), show(decision.effects)));
    run_ = reloaded(decision.next);
    check(run_ == decision.next ? "" : "a run survives being stored", encode_steps(decision.next.steps));
  }

  // As if the process had died after every decision: steps come back from their column, results from theirs.
  static Run reloaded(Run run) {
    auto steps = decode_steps(encode_steps(run.steps));
    if (!steps) RC_FAIL(steps.error().message);
    for (std::size_t i = 0; i < run.steps.size(); ++i) {
      const auto* from = std::get_if<Completed>(&run.steps[i].state);
      if (auto* to = std::get_if<Completed>(&steps->at(i).state); to && from) to->result = from->result;
    }
    run.steps = *std::move(steps);
    return run;
  }

  static void check(std::string broken, const std::string& where) {
    if (!broken.empty()) RC_FAIL(broken + " (" + where + ")");
  }

  const Definition& definition_;
  const std::uint64_t seed_;
  rules::Watcher watcher_;
  Timestamp now_ = kStart;
  Run run_;
  Input last_ = WakeUp{};
};

RC_GTEST_PROP(AnyRun, KeepsTheRulesWhateverHappens, (std::uint64_t seed)) {
  const Definition definition = any_definition();
  Story story(definition, seed);
  for (const Happening& what : *rc::gen::container<std::vector<Happening>>(rc::gen::arbitrary<Happening>())) {
    story.happen(what);
  }
}

RC_GTEST_PROP(AnyRun, EndsOnceWhenOnlyTheClockGoesOn, (std::uint64_t seed)) {
  const Definition definition = any_definition();
  Story story(definition, seed);
  for (const Happening& what : *rc::gen::container<std::vector<Happening>>(rc::gen::arbitrary<Happening>())) {
    story.happen(what);
  }
  story.only_wake_up_until_it_ends();
  RC_ASSERT(story.ends() == story.run().attempt);
}

// All requests are answered well, in any order: nothing is lost, nothing is asked twice.
RC_GTEST_PROP(AnyRun, CompletesWithoutARetryWhenEveryWorkerAnswers, ()) {
  const Definition definition = any_definition();
  Decision decision = start(new_run(definition), definition, kStart);
  std::vector<std::size_t> open;
  std::vector<std::string> seen;
  const auto note = [&] {
    for (const Effect& effect : decision.effects) {
      if (const auto* request = std::get_if<RequestStep>(&effect)) open.push_back(request->step);
      seen.push_back(show(effect));
    }
  };
  for (note(); !open.empty(); note()) {
    const auto at = *rc::gen::inRange<std::size_t>(0, open.size());
    const StepId id = decision.next.steps[open[at]].id;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    decision = decide(decision.next, StepCompleted{id, "", "{}"}, definition, kStart, 0);
  }
  RC_ASSERT(decision.next.status == RunStatus::completed);
  RC_ASSERT(seen.size() == 2 * definition.steps.size() + 2);
  RC_ASSERT(seen.front() == "started");
  RC_ASSERT(seen.back() == "completed");
}

// Steps that fail as often as they may, but no more often, do no harm; one failure more fails the run.
RC_GTEST_PROP(AnyRun, CompletesIfAndOnlyIfNoStepUsesUpItsAttempts, (std::uint64_t seed)) {
  Definition definition = any_definition();
  definition.run_deadline = kDurationMax;
  const auto fatal = *rc::gen::maybe(rc::gen::inRange<std::size_t>(0, definition.steps.size()));
  std::vector<int> failures;
  for (const StepDefinition& step : definition.steps) {
    failures.push_back(*rc::gen::inRange(0, step.retry.attempts_max));
  }
  if (fatal) failures[*fatal] = definition.steps[*fatal].retry.attempts_max;
  Timestamp now = kStart;
  Run run = start(new_run(definition), definition, now).next;
  while (is_active(run)) {
    bool answered = false;
    for (std::size_t i = 0; i < run.steps.size() && is_active(run); ++i) {
      if (!rules::is<Requested>(run.steps[i])) continue;
      answered = true;
      const StepId id = run.steps[i].id;
      const Input input = failures[i]-- > 0 ? Input(StepFailed{id, "", run.steps[i].attempt, now, "boom", true})
                                            : Input(StepCompleted{id, "", "{}"});
      run = decide(std::move(run), input, definition, now, seed).next;
    }
    if (answered) continue;
    now = *next_wake_up(run);
    run = decide(std::move(run), WakeUp{}, definition, now, seed).next;
  }
  RC_ASSERT(run.status == (fatal ? RunStatus::failed : RunStatus::completed));
  RC_ASSERT(run.failed_step == (fatal ? definition.steps[*fatal].type : ""));
}

// Between a run and its workers: answers are lost, repeated, late, and overtake each other, and workers fail. Only the
// last attempt of each step is sure to be answered well and in time.
class BadNetwork {
 public:
  BadNetwork(const Definition& definition, std::uint64_t seed) : definition_(definition), dice_(seed), seed_(seed) {}

  // What is published, in order; `run` is then as it ended.
  std::vector<std::string> deliver_until_it_ends(Run& run) {
    Timestamp now = kStart;
    take(start(std::move(run), definition_, now), now, run);
    while (is_active(run) || !flying_.empty()) {  // also what comes after the end
      const auto wake_up = next_wake_up(run);
      const bool is_answer = !flying_.empty() && (!wake_up || flying_.begin()->first <= *wake_up);
      Input input = WakeUp{};
      if (is_answer) {
        now = flying_.begin()->first;
        const Answer& answer = flying_.begin()->second;
        const Step& step = run.steps[answer.step];
        if (answer.good) {
          const bool first = !std::holds_alternative<Completed>(step.state);
          if (first) winners_[answer.step] = answer.text;
          input = StepCompleted{step.id, "", answer.text};
        } else {
          input = StepFailed{step.id, "", answer.attempt, answer.sent_at, answer.text, true};
        }
        take(decide(run, input, definition_, now, seed_), now, run);
        flying_.erase(flying_.begin());
      } else {
        now = *wake_up;
        take(decide(run, input, definition_, now, seed_), now, run);
      }
    }
    return std::move(published_);
  }

  /// The first completion of each step that was delivered.
  [[nodiscard]] const std::map<std::size_t, std::string>& winners() const { return winners_; }

 private:
  struct Answer {
    std::size_t step;
    bool good;
    std::optional<int> attempt;  // echoed by a worker that failed
    Timestamp sent_at;
    std::string text;
  };

  void take(Decision decision, Timestamp now, Run& run) {
    run = std::move(decision.next);
    for (const Effect& effect : decision.effects) {
      if (const auto* request = std::get_if<RequestStep>(&effect)) {
        answer(*request, run.steps[request->step].attempt, now);
      } else if (const auto* completed = std::get_if<PublishStepCompleted>(&effect)) {
        published_.push_back(fmt::format("step {}", completed->step));
      } else {
        published_.push_back(show(effect));
      }
    }
  }

  void answer(const RequestStep& request, int attempt, Timestamp now) {
    const StepDefinition& step = definition_.steps[request.step];
    const bool is_last = attempt == step.retry.attempts_max;
    // A failure without `attempt` tells by its time which request it answers: it is sent before there is another.
    const milliseconds work{pick(step.timeout.count())};
    Answer answer{request.step, is_last || pick(3) == 0, std::nullopt, now + work, ""};
    answer.text = answer.good ? fmt::format(R"({{"attempt":{}}})", attempt) : "boom";
    if (pick(2) == 0) answer.attempt = attempt;
    const std::int64_t copies = is_last ? 1 + pick(3) : pick(3);
    for (std::int64_t i = 0; i < copies; ++i) {
      const bool in_time = is_last && i == 0;
      const milliseconds delay{in_time ? 0 : pick(5 * step.timeout.count())};
      flying_.emplace(answer.sent_at + delay, answer);
    }
  }

  std::int64_t pick(std::int64_t below) {
    return static_cast<std::int64_t>(dice_() % static_cast<std::uint64_t>(below));
  }

  const Definition& definition_;
  std::mt19937_64 dice_;
  const std::uint64_t seed_;
  std::multimap<Timestamp, Answer> flying_;  // by the time of arrival
  std::map<std::size_t, std::string> winners_;
  std::vector<std::string> published_;
};

RC_GTEST_PROP(AnyRun, CompletesThroughANetworkThatLosesRepeatsAndDelays, (std::uint64_t seed)) {
  Definition definition = any_definition();
  definition.run_deadline = kDurationMax;
  BadNetwork network(definition, seed);
  Run run = new_run(definition);
  const std::vector<std::string> published = network.deliver_until_it_ends(run);
  RC_ASSERT(run.status == RunStatus::completed);
  RC_ASSERT(published.size() == definition.steps.size() + 2);
  RC_ASSERT(published.front() == "started");
  RC_ASSERT(published.back() == "completed");
  RC_ASSERT(std::set(published.begin(), published.end()).size() == published.size());
  for (std::size_t i = 0; i < run.steps.size(); ++i) {
    RC_ASSERT(std::get<Completed>(run.steps[i].state).result == network.winners().at(i));
  }
}

// Whatever another run's workers say, it is not about this one.
RC_GTEST_PROP(AnyRun, IgnoresTheAnswersOfOtherRuns, (std::uint64_t seed)) {
  const Definition definition = any_definition();
  Story story(definition, seed);
  for (const Happening& what : *rc::gen::container<std::vector<Happening>>(rc::gen::arbitrary<Happening>())) {
    story.happen(what);
    const StepId foreign(Uuid::v5(Uuid{}, fmt::format("{}", seed)));
    for (const StepDefinition& step : definition.steps) {
      for (const std::string_view type : {std::string_view(step.type), std::string_view()}) {
        for (const Input& input : {Input(StepCompleted{foreign, type, "{}"}),
                                   Input(StepFailed{foreign, type, 1, kStart + 1h, "boom", false})}) {
          const Decision decision = decide(story.run(), input, definition, kStart + 1h, seed);
          RC_ASSERT(decision.ignored.has_value());
          RC_ASSERT(decision.next == story.run());
        }
      }
    }
  }
}

}  // namespace
}  // namespace wfo::workflow
