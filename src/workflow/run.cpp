#include "workflow/run.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/json.h"

namespace wfo::workflow {

namespace {

constexpr std::array kStatuses{RunStatus::running, RunStatus::completed, RunStatus::failed, RunStatus::cancelled};

// The column that a store keeps of a run's steps: an array with one array per step,
//
//   [id, type, attempt, attempts_before, first_requested_at or null, state, ...]
//
// where state and what follows is one of
//
//   "w"                              waiting
//   "r", requested_at, deadline      requested
//   "b", retry_at, error             backing off
//   "c", completed_at, published     completed; the result stands elsewhere
//   "f", error                       failed
//
// Times are milliseconds since 1970. Short, because it is written with every change of every run.

struct EncodeState {
  json::Writer& out;
  void time(Timestamp at) const { out.number(std::int64_t{at.time_since_epoch().count()}); }

  void operator()(const Waiting&) const { out.string("w"); }
  void operator()(const Requested& state) const {
    out.string("r");
    time(state.requested_at);
    time(state.deadline);
  }
  void operator()(const BackingOff& state) const {
    out.string("b");
    time(state.retry_at);
    out.string(state.error);
  }
  void operator()(const Completed& state) const {
    out.string("c");
    time(state.completed_at);
    out.boolean(state.published);
  }
  void operator()(const Failed& state) const { out.string("f").string(state.error); }
};

// Reads one step field by field. The first thing that is wrong is remembered with its place; all reads after it give
// anything, so the reader checks once, at the end.
class StepReader {
 public:
  explicit StepReader(json::Value step) : fields_(step.elements()), at_(fields_.begin()), size_(step.size()) {
    if (!step.is_array()) wrong_ = "is no array";
  }

  Step read() {
    Step step;
    step.id = StepId(take([](json::Value v) { return v.uuid(); }, "an id"));
    step.type = text();
    step.attempt = count();
    step.attempts_before = count();
    step.first_requested_at = optional_time();
    step.state = state();
    if (wrong_.empty() && at_ != fields_.end()) wrong_ = "has too many fields";
    return step;
  }
  [[nodiscard]] const std::string& wrong() const { return wrong_; }

 private:
  StepState state() {
    const std::string tag = text();
    // In braces the reads happen in the order in which they are written.
    if (tag == "w") return Waiting{};
    if (tag == "r") return Requested{time(), time()};
    if (tag == "b") return BackingOff{time(), text()};
    if (tag == "c") return Completed{time(), take([](json::Value v) { return v.boolean(); }, "true or false"), ""};
    if (tag == "f") return Failed{text()};
    if (wrong_.empty()) wrong_ = fmt::format("has the unknown state '{}'", tag);
    return Waiting{};
  }

  std::string text() {
    return take([](json::Value v) { return v.string(); }, "text");
  }
  int count() {
    return static_cast<int>(take(
        [](json::Value v) {
          const auto value = v.integer();
          return value && *value >= 0 && *value <= std::numeric_limits<int>::max() ? value : std::nullopt;
        },
        "a count"));
  }
  Timestamp time() { return take(as_time, "a time"); }
  std::optional<Timestamp> optional_time() {
    if (wrong_.empty() && at_ != fields_.end() && (*at_).kind() == json::Kind::null) {
      ++at_;
      return std::nullopt;
    }
    return time();
  }
  // Up to the year 9999 either way: sums with durations then never overflow.
  static std::optional<Timestamp> as_time(json::Value value) {
    constexpr std::int64_t kMost = 253'402'300'799'999;
    const auto count = value.integer();
    return count && *count >= -kMost && *count <= kMost ? std::optional(Timestamp(milliseconds(*count))) : std::nullopt;
  }

  template <class Convert>
  auto take(Convert convert, std::string_view wanted) ->
      typename std::invoke_result_t<Convert, json::Value>::value_type {
    if (!wrong_.empty()) return {};
    if (at_ == fields_.end()) {
      wrong_ = fmt::format("has only {} fields", size_);
      return {};
    }
    const json::Value token = *at_;
    auto value = convert(token);
    if (!value) {
      wrong_ = fmt::format("has {} where {} should be", token.raw().substr(0, 40), wanted);
      return {};
    }
    ++at_;
    return *std::move(value);
  }

  json::Elements fields_;
  json::Elements::Iterator at_;
  std::size_t size_;
  std::string wrong_;
};

}  // namespace

std::string_view name(RunStatus status) {
  switch (status) {
    case RunStatus::running:
      return "running";
    case RunStatus::completed:
      return "completed";
    case RunStatus::failed:
      return "failed";
    case RunStatus::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::optional<RunStatus> parse_run_status(std::string_view text) {
  for (const RunStatus status : kStatuses) {
    if (name(status) == text) return status;
  }
  return std::nullopt;
}

std::string_view name(const StepState& state) {
  static constexpr std::array<std::string_view, std::variant_size_v<StepState>> kNames{
      "waiting", "requested", "backing_off", "completed", "failed"};
  return kNames[state.index()];
}

std::optional<Timestamp> next_wake_up(const Run& run) {
  if (!is_active(run)) return std::nullopt;
  Timestamp earliest = run.deadline;
  for (const Step& step : run.steps) {
    if (const auto* request = std::get_if<Requested>(&step.state)) earliest = std::min(earliest, request->deadline);
    if (const auto* pause = std::get_if<BackingOff>(&step.state)) earliest = std::min(earliest, pause->retry_at);
  }
  return earliest;
}

std::string encode_steps(const std::vector<Step>& steps) {
  std::string text;
  text.reserve(2 + steps.size() * 128);
  json::Writer out(text);
  out.begin_array();
  for (const Step& step : steps) {
    out.begin_array().uuid(step.id).string(step.type);
    out.number(std::int64_t{step.attempt}).number(std::int64_t{step.attempts_before});
    if (step.first_requested_at) {
      out.number(std::int64_t{step.first_requested_at->time_since_epoch().count()});
    } else {
      out.null();
    }
    std::visit(EncodeState{out}, step.state);
    out.end_array();
  }
  out.end_array();
  return text;
}

Result<std::vector<Step>> decode_steps(std::string_view text) {
  const auto document = json::Document::parse(std::string(text));
  if (!document) return fail(ErrorCode::corruption, "steps of a run: {}", document.error().message);
  if (!document->root().is_array()) return fail(ErrorCode::corruption, "steps of a run: not an array");
  std::vector<Step> steps;
  steps.reserve(document->root().size());
  for (const json::Value element : document->root().elements()) {
    StepReader reader(element);
    Step step = reader.read();
    if (!reader.wrong().empty()) {
      return fail(ErrorCode::corruption, "steps of a run: step {} {}", steps.size(), reader.wrong());
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace wfo::workflow
