#include "workflow/definition.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <functional>
#include <map>
#include <span>
#include <sstream>
#include <utility>

#include "events/types.h"

namespace wfo::workflow {

namespace {

constexpr std::array kPolicies{OnActive::coalesce, OnActive::start_new, OnActive::cancel_active};

// What the orchestrator itself says about every run: a workflow that waited for one of these would set itself off.
constexpr std::array kOwnEvents{events::kAnalysisStarted, events::kAnalysisCompleted, events::kAnalysisFailed,
                                events::kStepCompleted};

constexpr std::string_view kNameRule = "up to 64 lower-case letters, digits and '-', a letter first";
constexpr std::string_view kTypeRule = "up to 64 lower-case letters, digits and '_', a letter first";
constexpr std::string_view kVersionRule = "three numbers like 1.0.0";
constexpr std::string_view kPolicyRule = "coalesce, start_new, cancel_active";
constexpr std::string_view kEventRule = "an event type that has a contract";
constexpr std::string_view kDependsRule = "a list of types of other steps";

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_word(std::string_view text, char joint) {
  return !text.empty() && text.size() <= 64 && is_lower(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_lower(c) || is_digit(c) || c == joint; });
}

bool is_version(std::string_view text) {
  int dots = 0;
  char before = '.';
  for (const char c : text) {
    if (!is_digit(c) && (c != '.' || before == '.')) return false;
    if (c == '.') ++dots;
    before = c;
  }
  return dots == 2 && before != '.' && text.size() <= 64;
}

// A value as it may stand in a message: whatever it holds, one line of bounded length.
std::string quoted(std::string_view text) {
  constexpr std::size_t kShownMax = 80;
  std::string shown = "'";
  for (const char c : text.substr(0, kShownMax)) shown += (c >= 0x20 && c < 0x7f) ? c : '?';
  return shown + (text.size() > kShownMax ? "...'" : "'");
}

std::string_view kind(const YAML::Node& node) {
  if (node.IsScalar()) return "a single value";
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a mapping";
  return "empty";
}

int line_of(const YAML::Mark& mark) { return std::max(0, mark.line) + 1; }

// Where a document begins; all else that the parser finds is of no interest.
class DocumentStart final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override { line = line_of(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

  int line = 1;
};

// The line on which a second document begins, if one does. The parser takes some stray text for one (`[a] b`), which
// YAML::Load would drop without a word; of other (`[a], b`) YAML::LoadAll makes documents until memory is full.
std::optional<int> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStart start;
  if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start)) return start.line;
  return std::nullopt;
}

// Everything that is wrong with a file, to be told at once.
class Errors {
 public:
  explicit Errors(std::string_view file) : file_(file) {}
  template <class... Args>
  void add(int line, fmt::format_string<Args...> format, Args&&... args) {
    lines_.emplace_back(line, fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] bool empty() const { return lines_.empty(); }
  // By line. What stands behind an anchor is read once for each alias, but what is wrong there is said once.
  [[nodiscard]] std::unexpected<Error> take() && {
    std::ranges::stable_sort(lines_, {}, &std::pair<int, std::string>::first);
    const auto repeated = std::ranges::unique(lines_);
    lines_.erase(repeated.begin(), repeated.end());
    std::string text;
    for (const auto& [line, message] : lines_) {
      text += fmt::format("{}{}:{}: {}", text.empty() ? "" : "\n", file_, line, message);
    }
    return std::unexpected(Error{ErrorCode::invalid_argument, std::move(text)});
  }

 private:
  std::string file_;
  std::vector<std::pair<int, std::string>> lines_;
};

// Walks one YAML document. It goes on after an error, so that all of them are found.
class DefinitionReader {
 public:
  DefinitionReader(Errors& errors, std::span<const std::string> event_types)
      : errors_(errors), event_types_(event_types) {}

  Definition read(const YAML::Node& root) {
    Definition out;
    read_mapping(
        root, "a workflow",
        {{"name", true,
          [&](auto& node) {
            read_text(
                node, "name", kNameRule, [](auto& text) { return is_word(text, '-'); }, out.name);
          }},
         {"version", true, [&](auto& node) { read_text(node, "version", kVersionRule, is_version, out.version); }},
         {"triggers", true,
          [&](auto& node) {
            read_list(node, "triggers", "a list of event types", [&](const YAML::Node& element) {
              read_event(element, "a trigger", out.triggers.emplace_back());
            });
          }},
         {"run_deadline", false, [&](auto& node) { read_duration(node, "run_deadline", out.run_deadline); }},
         {"on_active", false, [&](auto& node) { read_policy(node, out.on_active); }},
         {"steps", true, [&](auto& node) { read_steps(node, out.steps); }}});
    if (out.steps.size() <= kStepsMax) check_dependencies(out);
    return out;
  }

 private:
  struct Field {
    std::string_view key;
    bool required;
    std::function<void(const YAML::Node&)> read;
  };

  // The parser places an empty value where the next thing stands; people look for it at its key.
  int line_of(const YAML::Node& node) const { return node.IsNull() ? key_line_ : workflow::line_of(node.Mark()); }

  void read_mapping(const YAML::Node& node, std::string_view what, const std::vector<Field>& fields) {
    std::string allowed;
    for (const Field& field : fields) allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", field.key);
    if (!node.IsMap())
      return errors_.add(line_of(node), "{} is {}; allowed: a mapping of {}", what, kind(node), allowed);
    std::map<std::string_view, int> first_lines;
    for (const auto& entry : node) {
      const int line = workflow::line_of(entry.first.Mark());
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : std::string(kind(entry.first));
      const auto field = std::ranges::find(fields, key, &Field::key);
      if (field == fields.end()) {
        errors_.add(line, "unknown key {} in {}; allowed: {}", quoted(key), what, allowed);
      } else if (const auto [first, is_new] = first_lines.emplace(field->key, line); !is_new) {
        errors_.add(line, "{} stands twice in {}, first on line {}", field->key, what, first->second);
      } else {
        key_line_ = line;
        field->read(entry.second);
      }
    }
    for (const Field& field : fields) {
      if (field.required && !first_lines.contains(field.key))
        errors_.add(line_of(node), "{} has no {}", what, field.key);
    }
  }

  void read_list(const YAML::Node& node, std::string_view key, std::string_view allowed,
                 const std::function<void(const YAML::Node&)>& read) {
    if (!node.IsSequence()) return errors_.add(line_of(node), "{} is {}; allowed: {}", key, kind(node), allowed);
    for (const auto& element : node) {
      if (element.IsNull()) {
        errors_.add(line_of(node), "{} has an empty entry; allowed: {}", key, allowed);
      } else {
        read(element);
      }
    }
  }

  // `is_valid` judges the text and may take it over.
  template <class IsValid>
  bool read_scalar(const YAML::Node& node, std::string_view key, std::string_view allowed, IsValid is_valid) {
    if (!node.IsScalar()) {
      errors_.add(line_of(node), "{} is {}; allowed: {}", key, kind(node), allowed);
      return false;
    }
    if (is_valid(node.Scalar())) return true;
    errors_.add(line_of(node), "{} is {}; allowed: {}", key, quoted(node.Scalar()), allowed);
    return false;
  }

  template <class IsValid>
  bool read_text(const YAML::Node& node, std::string_view key, std::string_view allowed, IsValid is_valid,
                 std::string& out) {
    if (node.IsScalar()) out = node.Scalar();  // also a wrong one: others may refer to it
    return read_scalar(node, key, allowed, is_valid);
  }

  void read_duration(const YAML::Node& node, std::string_view key, milliseconds& out) {
    const std::string allowed = fmt::format("a time like 30s or 1h30m, from 1ms to {}", format_duration(kDurationMax));
    read_scalar(node, key, allowed, [&](std::string_view text) {
      out = parse_duration(text).value_or(milliseconds{0});
      return out > milliseconds{0} && out <= kDurationMax;
    });
  }

  template <class Number>
  void read_number(const YAML::Node& node, std::string_view key, Number least, Number most, Number& out) {
    const std::string_view what = std::integral<Number> ? "a whole number" : "a number";
    read_scalar(node, key, fmt::format("{} from {} to {}", what, least, most), [&](std::string_view text) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
      return error == std::errc{} && end == text.data() + text.size() && out >= least && out <= most;
    });
  }

  void read_policy(const YAML::Node& node, OnActive& out) {
    read_scalar(node, "on_active", kPolicyRule, [&](std::string_view text) {
      const auto found = std::ranges::find(kPolicies, text, [](OnActive policy) { return workflow::name(policy); });
      if (found == kPolicies.end()) return false;
      out = *found;
      return true;
    });
  }

  // An event has one meaning in a workflow, else an answer could not be told from a trigger or from another answer.
  void read_event(const YAML::Node& node, std::string_view key, std::string& out) {
    const auto has_contract = [&](const std::string& type) {
      return std::ranges::find(event_types_, type) != event_types_.end();
    };
    if (!read_text(node, key, kEventRule, has_contract, out)) return;
    if (std::ranges::find(kOwnEvents, out) != kOwnEvents.end()) {
      errors_.add(line_of(node), "{} is {}, which every run publishes itself; allowed: another event", key,
                  quoted(out));
    }
    const auto [first, is_new] = event_lines_.emplace(out, line_of(node));
    if (!is_new) errors_.add(line_of(node), "{} is {}, which line {} uses already", key, quoted(out), first->second);
  }

  void read_unique(const YAML::Node& node, std::string_view key, std::map<std::string, int>& first_lines,
                   std::string& out) {
    if (!read_text(
            node, key, kTypeRule, [](auto& text) { return is_word(text, '_'); }, out))
      return;
    const auto [first, is_new] = first_lines.emplace(out, line_of(node));
    if (!is_new) errors_.add(line_of(node), "{} {} stands twice, first on line {}", key, quoted(out), first->second);
  }

  void read_steps(const YAML::Node& node, std::vector<StepDefinition>& out) {
    const std::string allowed = fmt::format("a list of 1 to {} steps", kStepsMax);
    read_list(node, "steps", allowed, [&](const YAML::Node& element) { read_step(element, out.emplace_back()); });
    if (node.IsSequence() && (out.empty() || out.size() > kStepsMax)) {
      errors_.add(line_of(node), "steps has {} entries; allowed: {}", out.size(), allowed);
    }
  }

  void read_step(const YAML::Node& node, StepDefinition& out) {
    auto& dependency_lines = dependency_lines_.emplace_back();
    read_mapping(
        node, "a step",
        {{"type", true, [&](auto& value) { read_unique(value, "type", type_lines_, out.type); }},
         {"request_event", true, [&](auto& value) { read_event(value, "request_event", out.request_event); }},
         {"completed_event", true, [&](auto& value) { read_event(value, "completed_event", out.completed_event); }},
         {"failed_event", true, [&](auto& value) { read_event(value, "failed_event", out.failed_event); }},
         {"result_key", true,
          [&](auto& value) { read_unique(value, "result_key", result_key_lines_, out.result_key); }},
         {"depends_on", false,
          [&](auto& value) {
            read_list(value, "depends_on", kDependsRule, [&](const YAML::Node& element) {
              read_text(
                  element, "depends_on", kDependsRule, [](auto&) { return true; }, out.depends_on.emplace_back());
              dependency_lines.push_back(line_of(element));
            });
          }},
         {"timeout", false, [&](auto& value) { read_duration(value, "timeout", out.timeout); }},
         {"retry", false, [&](auto& value) { read_retry(value, out.retry); }}});
  }

  void read_retry(const YAML::Node& node, RetryPolicy& out) {
    read_mapping(
        node, "retry",
        {{"attempts_max", false, [&](auto& value) { read_number(value, "attempts_max", 1, 100, out.attempts_max); }},
         {"delay_first", false, [&](auto& value) { read_duration(value, "delay_first", out.delay_first); }},
         {"factor", false, [&](auto& value) { read_number(value, "factor", 1.0, 10.0, out.factor); }},
         {"delay_max", false, [&](auto& value) { read_duration(value, "delay_max", out.delay_max); }},
         {"jitter", false, [&](auto& value) { read_number(value, "jitter", 0.0, 1.0, out.jitter); }}});
    if (out.delay_max < out.delay_first) {
      errors_.add(line_of(node), "delay_max is {}; allowed: at least delay_first, which is {}",
                  format_duration(out.delay_max), format_duration(out.delay_first));
    }
  }

  // A step that waits for itself, directly or through others, would wait for ever.
  void check_dependencies(const Definition& definition) {
    for (std::size_t i = 0; i < definition.steps.size(); ++i) {
      const auto& names = definition.steps[i].depends_on;
      for (std::size_t k = 0; k < names.size(); ++k) {
        if (!definition.step_index(names[k])) {
          errors_.add(dependency_lines_[i][k], "depends_on names {}, which is no step of this workflow",
                      quoted(names[k]));
        } else if (std::ranges::find(names.begin(), names.begin() + k, names[k]) != names.begin() + k) {
          errors_.add(dependency_lines_[i][k], "depends_on names {} twice", quoted(names[k]));
        }
      }
    }
    std::vector<Visit> visits(definition.steps.size(), Visit::none);
    std::vector<std::size_t> path;
    for (std::size_t i = 0; i < definition.steps.size(); ++i) find_cycles(definition, i, visits, path);
  }

  enum class Visit { none, on_path, done };

  // Depth first; a dependency that leads back onto the path closes a cycle. `path` holds the steps from the first one
  // visited to the one before `index`.
  void find_cycles(const Definition& definition, std::size_t index, std::vector<Visit>& visits,
                   std::vector<std::size_t>& path) {
    if (visits[index] != Visit::none) return;
    visits[index] = Visit::on_path;
    path.push_back(index);
    const auto& names = definition.steps[index].depends_on;
    for (std::size_t k = 0; k < names.size(); ++k) {
      const auto needed = definition.step_index(names[k]);
      if (!needed) continue;
      if (visits[*needed] == Visit::on_path) {
        std::string cycle;
        for (auto at = std::ranges::find(path, *needed); at != path.end(); ++at) {
          cycle += definition.steps[*at].type + " -> ";
        }
        errors_.add(dependency_lines_[index][k], "steps wait for each other in a cycle: {}{}", cycle, names[k]);
      }
      find_cycles(definition, *needed, visits, path);
    }
    path.pop_back();
    visits[index] = Visit::done;
  }

  Errors& errors_;
  std::span<const std::string> event_types_;
  int key_line_ = 1;                        // of the key whose value is being read
  std::map<std::string, int> event_lines_;  // the first line on which each stands
  std::map<std::string, int> type_lines_;
  std::map<std::string, int> result_key_lines_;
  std::vector<std::vector<int>> dependency_lines_;  // of each step's depends_on, entry by entry
};

}  // namespace

std::string_view name(OnActive policy) {
  switch (policy) {
    case OnActive::coalesce:
      return "coalesce";
    case OnActive::start_new:
      return "start_new";
    case OnActive::cancel_active:
      return "cancel_active";
  }
  return "unknown";
}

std::optional<std::size_t> Definition::step_index(std::string_view type) const {
  const auto found = std::ranges::find(steps, type, &StepDefinition::type);
  if (found == steps.end()) return std::nullopt;
  return static_cast<std::size_t>(found - steps.begin());
}

Result<Definition> parse_definition(std::string_view yaml, std::string_view file,
                                    std::span<const std::string> event_types) {
  Errors errors(file);
  if (yaml.size() > kDefinitionBytesMax) {
    errors.add(1, "{} bytes; allowed: up to {}", yaml.size(), kDefinitionBytesMax);
    return std::move(errors).take();
  }
  try {
    const std::string text(yaml);
    if (const auto line = second_document(text)) {
      errors.add(*line, "the workflow has ended before this line; allowed: one YAML document, with one workflow");
    }
    Definition definition = DefinitionReader(errors, event_types).read(YAML::Load(text));
    if (errors.empty()) return definition;
  } catch (const YAML::Exception& error) {
    errors.add(line_of(error.mark), "not YAML: {}", error.msg);
  }
  return std::move(errors).take();
}

}  // namespace wfo::workflow
