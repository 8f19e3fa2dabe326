#include "orchestrator/detail/definition_text.h"

#include <array>
#include <concepts>
#include <limits>
#include <type_traits>

#include "base/json.h"

namespace wfo::orchestrator {

namespace {

using workflow::Definition;
using workflow::OnActive;
using workflow::StepDefinition;

constexpr std::array kPolicies{OnActive::coalesce, OnActive::start_new, OnActive::cancel_active};

// One list of fields for both directions: `visit(name, field)` for each, in the order in which they are written.
template <class Step, class Visit>
void visit_step(Step& step, Visit visit) {
  visit("type", step.type);
  visit("request_event", step.request_event);
  visit("completed_event", step.completed_event);
  visit("failed_event", step.failed_event);
  visit("result_key", step.result_key);
  visit("depends_on", step.depends_on);
  visit("timeout", step.timeout);
  visit("attempts_max", step.retry.attempts_max);
  visit("delay_first", step.retry.delay_first);
  visit("factor", step.retry.factor);
  visit("delay_max", step.retry.delay_max);
  visit("jitter", step.retry.jitter);
}

template <class Whole, class Visit>
void visit_definition(Whole& definition, Visit visit) {
  visit("name", definition.name);
  visit("version", definition.version);
  visit("triggers", definition.triggers);
  visit("run_deadline", definition.run_deadline);
  visit("on_active", definition.on_active);
  visit("steps", definition.steps);
}

class Encoder {
 public:
  explicit Encoder(json::Writer& out) : out_(out) {}

  template <class Field>
  void operator()(std::string_view name, const Field& field) {
    out_.key(name);
    value(field);
  }

 private:
  void value(const std::string& text) { out_.string(text); }
  void value(int number) { out_.number(std::int64_t{number}); }
  void value(double number) { out_.number(number); }
  void value(milliseconds duration) { out_.number(std::int64_t{duration.count()}); }
  void value(OnActive policy) { out_.string(workflow::name(policy)); }
  void value(const StepDefinition& step) {
    out_.begin_object();
    visit_step(step, *this);
    out_.end_object();
  }
  template <class Element>
  void value(const std::vector<Element>& list) {
    out_.begin_array();
    for (const Element& element : list) value(element);
    out_.end_array();
  }

  json::Writer& out_;
};

// The first member that is not what it should be is remembered; the caller looks once, at the end.
class Decoder {
 public:
  Decoder(json::Value object, std::string& wrong) : object_(object), wrong_(wrong) {}

  template <class Field>
  void operator()(std::string_view name, Field& field) {
    const auto member = object_.find(name);
    if ((!member || !read(*member, field)) && wrong_.empty()) wrong_ = name;
  }

 private:
  template <class Out, class In>
  static bool take(Out& out, In&& in) {
    if (in) out = *std::forward<In>(in);
    return in.has_value();
  }
  bool read(json::Value value, std::string& text) { return take(text, value.string()); }
  bool read(json::Value value, double& number) { return take(number, value.number()); }
  bool read(json::Value value, int& number) {
    const auto whole = value.integer();
    if (!whole || *whole < 0 || *whole > std::numeric_limits<int>::max()) return false;
    number = static_cast<int>(*whole);
    return true;
  }
  bool read(json::Value value, milliseconds& duration) {
    const auto count = value.integer();
    if (!count || *count < 0 || *count > workflow::kDurationMax.count()) return false;
    duration = milliseconds(*count);
    return true;
  }
  bool read(json::Value value, OnActive& policy) {
    for (const OnActive known : kPolicies) {
      if (!value.equals(workflow::name(known))) continue;
      policy = known;
      return true;
    }
    return false;
  }
  bool read(json::Value value, StepDefinition& step) {
    visit_step(step, Decoder(value, wrong_));
    return true;
  }
  template <class Element>
  bool read(json::Value value, std::vector<Element>& list) {
    if (!value.is_array()) return false;
    list.reserve(value.size());
    for (const json::Value element : value.elements()) {
      if (!read(element, list.emplace_back())) return false;
    }
    return true;
  }

  json::Value object_;
  std::string& wrong_;
};

}  // namespace

std::string encode_definition(const Definition& definition) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  visit_definition(definition, Encoder(out));
  out.end_object();
  return text;
}

Result<Definition> decode_definition(std::string_view text) {
  const auto document = json::Document::parse(std::string(text));
  if (!document) return fail(ErrorCode::corruption, "stored workflow definition: {}", document.error().message);
  Definition definition;
  std::string wrong;
  visit_definition(definition, Decoder(document->root(), wrong));
  if (wrong.empty()) return definition;
  return fail(ErrorCode::corruption, "stored workflow definition '{}': bad field {}", definition.name, wrong);
}

}  // namespace wfo::orchestrator
