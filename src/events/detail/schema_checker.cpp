#include "events/detail/schema_checker.h"

#include <algorithm>
#include <functional>

namespace wfo::events::detail {
namespace {

constexpr std::size_t kShownBytesMax = 60;

/// Where a value stands: one link for each step down from the document, on the stack of the check.
struct Place {
  const Place* above = nullptr;
  const json::Value* key = nullptr;  // null: an element
  std::size_t index = 0;
  std::string_view start{};  // the pointer of the first place
};

void append_pointer(std::string& out, const Place& place) {
  if (!place.above) {
    out += place.start;
    return;
  }
  append_pointer(out, *place.above);
  out += '/';
  out += place.key ? json::escape_pointer(place.key->string().value_or("")) : std::to_string(place.index);
}

struct Found {
  const char* at;  // in the document's text
  Violation violation;
};

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// Of numbers that differ as doubles the order is plain, for rounding keeps it; only the others need all their digits.
std::strong_ordering compare(json::Value value, const Bound& bound) {
  if (const auto approximate = value.number()) {
    if (*approximate < bound.approximate) return std::strong_ordering::less;
    if (*approximate > bound.approximate) return std::strong_ordering::greater;
  }
  if (value.raw() == bound.raw) return std::strong_ordering::equal;
  return compare(Decimal::parse(value.raw()), bound.exact);
}

bool is_integer(json::Value number) {
  const auto token = number.raw();
  return token.find_first_of(".eE") == std::string_view::npos || Decimal::parse(token).is_integer();
}

bool equal(json::Value value, const Literal& literal) {
  const auto token = value.raw();
  if (token == literal.raw) return true;
  if (value.kind() != literal.kind) return false;
  switch (literal.kind) {
    case json::Kind::null:
    case json::Kind::boolean:
      return false;
    case json::Kind::string:
      return value.equals(literal.canonical);
    case json::Kind::number:
    case json::Kind::array:
    case json::Kind::object:
      break;
  }
  std::string canonical;
  append_canonical(canonical, value);
  return canonical == literal.canonical;
}

/// The places of the first two elements that are equal. Sorting their texts keeps this from being quadratic.
std::optional<std::pair<std::size_t, std::size_t>> first_repeated(json::Value array) {
  std::vector<std::pair<std::string, std::size_t>> texts;
  texts.reserve(array.size());
  for (const json::Value element : array.elements()) {
    std::string text;
    append_canonical(text, element);
    texts.emplace_back(std::move(text), texts.size());
  }
  std::ranges::sort(texts);
  std::optional<std::pair<std::size_t, std::size_t>> first;
  for (std::size_t i = 1; i < texts.size(); ++i) {
    if (texts[i - 1].first != texts[i].first) continue;
    if (!first || texts[i].second < first->second) first = {texts[i - 1].second, texts[i].second};
  }
  return first;
}

bool has_format(json::Value string, Format format) {
  switch (format) {
    case Format::none:
      return true;
    case Format::date:
      return parse_date(string.string().value_or("")).has_value();
    case Format::date_time:
      return string.timestamp().has_value();
    case Format::uuid:
      return string.uuid().has_value();
  }
  return true;
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::string kinds_of(const Node& node) {
  std::vector<std::string> names;
  for (const json::Kind kind : {json::Kind::null, json::Kind::boolean, json::Kind::number, json::Kind::string,
                                json::Kind::array, json::Kind::object}) {
    if (!(node.kinds & bit(kind))) continue;
    names.emplace_back(kind == json::Kind::number && node.integers_only ? "integer" : name(kind));
  }
  return joined(names, ", ");
}

/// One check. With `kCollects` it goes through everything and writes down what it finds; without, it stops at the
/// first rule broken and never builds a pointer or a message. One text for both, so that they cannot disagree.
template <bool kCollects>
class Check {
 public:
  explicit Check(std::size_t violations_max = 0) : violations_max_(violations_max) {}

  bool run(const Node& node, json::Value value, const Place& place) {
    if (node.refuses_all) return broken(value, place, "false schema", [] { return "nothing is allowed here"; });
    if (node.in_place && node.in_place->ref) return run(*node.in_place->ref, value, place);
    bool ok = true;
    const json::Kind kind = value.kind();
    if (!(node.kinds & bit(kind)) || (node.integers_only && kind == json::Kind::number && !is_integer(value))) {
      // What is of the wrong type breaks most other rules too; naming them would only hide this one.
      return broken(value, place, "type", [&] { return fmt::format("{} is no {}", shown(value), kinds_of(node)); });
    }
    if (node.constant && !equal(value, *node.constant)) {
      ok = broken(value, place, "const", [&] { return fmt::format("{} is not {}", shown(value), node.constant->raw); });
      if (!ok && !kCollects) return false;
    }
    if (node.enumeration &&
        std::ranges::none_of(*node.enumeration, [&](const Literal& l) { return equal(value, l); })) {
      ok = broken(value, place, "enum", [&] {
        std::vector<std::string> allowed;
        for (const Literal& literal : *node.enumeration) allowed.push_back(literal.raw);
        return fmt::format("{} is none of {}", shown(value), joined(allowed, ", "));
      });
      if (!ok && !kCollects) return false;
    }
    switch (kind) {
      case json::Kind::object:
        ok = (!node.object || object(*node.object, value, place)) && ok;
        break;
      case json::Kind::array:
        ok = (!node.array || array(*node.array, value, place)) && ok;
        break;
      case json::Kind::string:
        ok = (!node.string || string(*node.string, value, place)) && ok;
        break;
      case json::Kind::number:
        ok = (!node.number || number(*node.number, value, place)) && ok;
        break;
      case json::Kind::null:
      case json::Kind::boolean:
        break;
    }
    if (!ok && !kCollects) return false;
    return (!node.in_place || in_place(*node.in_place, value, place)) && ok;
  }

  std::vector<Violation> take() {
    std::ranges::stable_sort(found_, std::less<>(), &Found::at);
    std::vector<Violation> violations;
    violations.reserve(found_.size());
    for (Found& found : found_) violations.push_back(std::move(found.violation));
    return violations;
  }

 private:
  // Not inlined: what the messages need would be in the frame of each level of a deep check.
  template <class Message>
  [[gnu::noinline]] bool broken(json::Value value, const Place& place, std::string_view rule, Message message) {
    if constexpr (kCollects) {
      if (found_.size() >= violations_max_) return false;
      Found& found = found_.emplace_back(Found{value.raw().data(), {{}, std::string(rule), message()}});
      append_pointer(found.violation.pointer, place);
    }
    return false;
  }

  static const Property* property_of(const ObjectRules& rules, json::Value key, std::size_t& expected) {
    std::string unescaped;
    const auto plain = key.plain_string();
    if (!plain) unescaped = key.string().value_or("");
    const std::string_view wanted = plain ? *plain : std::string_view(unescaped);
    // Documents mostly keep the order of their schema, with some left out.
    if (expected < rules.properties.size() && rules.properties[expected].name == wanted)
      return &rules.properties[expected++];
    const auto name_at = [&](std::uint32_t i) -> std::string_view { return rules.properties[i].name; };
    const auto place = std::ranges::lower_bound(rules.by_name, wanted, {}, name_at);
    if (place == rules.by_name.end() || name_at(*place) != wanted) return nullptr;
    expected = *place + 1;
    return &rules.properties[*place];
  }

  bool object(const ObjectRules& rules, json::Value value, const Place& place) {
    bool ok = true;
    if (value.size() < rules.count_min) {
      ok = broken(value, place, "minProperties", [&] {
        return fmt::format("has {} properties; allowed: at least {}", value.size(), rules.count_min);
      });
    }
    if (value.size() > rules.count_max) {
      ok = broken(value, place, "maxProperties",
                  [&] { return fmt::format("has {} properties; allowed: at most {}", value.size(), rules.count_max); });
    }
    if (!ok && !kCollects) return false;

    std::size_t required_seen = 0;
    std::size_t expected = 0;
    for (const json::Member member : value.members()) {
      const Place below{&place, &member.key, 0, {}};
      if (rules.property_names) ok = run(*rules.property_names, member.key, below) && ok;
      const Property* property = property_of(rules, member.key, expected);
      if (property && property->required) ++required_seen;
      if (property && property->schema) {
        ok = run(*property->schema, member.value, below) && ok;
      } else if (rules.additional) {
        if (rules.additional->refuses_all) {
          ok = broken(member.value, below, "additionalProperties", [] { return "no such property is allowed"; });
        } else {
          ok = run(*rules.additional, member.value, below) && ok;
        }
      }
      if (!ok && !kCollects) return false;
    }
    // No key comes twice in a document, so the count tells whether all of them are there.
    if (required_seen < rules.required_count) {
      ok = false;
      if (!kCollects) return false;
      for (const Property& property : rules.properties) {
        if (property.required && !value.find(property.name)) missing(value, place, "required", property.name);
      }
    }
    for (const Dependency& dependency : rules.dependencies) {
      if (!value.find(dependency.name)) continue;
      for (const std::string& needed : dependency.required) {
        if (!value.find(needed)) ok = missing(value, place, "dependencies", needed);
      }
      if (dependency.schema) ok = run(*dependency.schema, value, place) && ok;
      if (!ok && !kCollects) return false;
    }
    return ok;
  }

  bool missing(json::Value value, const Place& place, std::string_view rule, std::string_view property) {
    return broken(value, place, rule, [&] { return fmt::format("has no property `{}`", property); });
  }

  bool array(const ArrayRules& rules, json::Value value, const Place& place) {
    bool ok = true;
    if (value.size() < rules.count_min) {
      ok = broken(value, place, "minItems",
                  [&] { return fmt::format("has {} items; allowed: at least {}", value.size(), rules.count_min); });
    }
    if (value.size() > rules.count_max) {
      ok = broken(value, place, "maxItems",
                  [&] { return fmt::format("has {} items; allowed: at most {}", value.size(), rules.count_max); });
    }
    if (!ok && !kCollects) return false;

    bool contained = !rules.contains;
    Place below{&place, nullptr, 0, {}};
    for (const json::Value element : value.elements()) {
      if (below.index < rules.first.size()) {
        ok = run(*rules.first[below.index], element, below) && ok;
      } else if (rules.rest && rules.rest->refuses_all && rules.rest_is_additional) {
        ok = broken(element, below, "additionalItems",
                    [&] { return fmt::format("no more than {} items are allowed", rules.first.size()); });
      } else if (rules.rest) {
        ok = run(*rules.rest, element, below) && ok;
      }
      if (!ok && !kCollects) return false;
      contained = contained || satisfies(*rules.contains, element);
      ++below.index;
    }
    if (!contained) ok = broken(value, place, "contains", [] { return "no item is what the schema asks for"; });
    if (!ok && !kCollects) return false;
    if (rules.unique && value.size() > 1) {
      if (const auto repeated = first_repeated(value)) {
        ok = broken(value, place, "uniqueItems",
                    [&] { return fmt::format("items {} and {} are equal", repeated->first, repeated->second); });
      }
    }
    return ok;
  }

  bool string(const StringRules& rules, json::Value value, const Place& place) {
    bool ok = true;
    if (rules.length_min > 0 || rules.length_max != kNoMaximum) {
      const auto plain = value.plain_string();
      const std::size_t length = plain ? code_points(*plain) : code_points(value.string().value_or(""));
      if (length < rules.length_min) {
        ok = broken(value, place, "minLength", [&] {
          return fmt::format("{} has {} characters; allowed: at least {}", shown(value), length, rules.length_min);
        });
      }
      if (length > rules.length_max) {
        ok = broken(value, place, "maxLength", [&] {
          return fmt::format("{} has {} characters; allowed: at most {}", shown(value), length, rules.length_max);
        });
      }
    }
    if (!has_format(value, rules.format)) {
      ok = broken(value, place, "format", [&] { return fmt::format("{} is no {}", shown(value), name(rules.format)); });
    }
    return ok;
  }

  bool number(const NumberRules& rules, json::Value value, const Place& place) {
    bool ok = true;
    const auto out_of = [&](std::string_view rule, std::string_view allowed, const Bound& bound) {
      return broken(value, place, rule, [&] {
        return fmt::format("{} is out of bounds; allowed: {} {}", shown(value), allowed, bound.raw);
      });
    };
    if (rules.minimum && compare(value, *rules.minimum) < 0) ok = out_of("minimum", "at least", *rules.minimum);
    if (rules.maximum && compare(value, *rules.maximum) > 0) ok = out_of("maximum", "at most", *rules.maximum);
    if (rules.above && compare(value, *rules.above) <= 0) ok = out_of("exclusiveMinimum", "more than", *rules.above);
    if (rules.below && compare(value, *rules.below) >= 0) ok = out_of("exclusiveMaximum", "less than", *rules.below);
    if (rules.multiple_of && !is_multiple_of(Decimal::parse(value.raw()), rules.multiple_of->exact)) {
      ok = out_of("multipleOf", "multiples of", *rules.multiple_of);
    }
    return ok;
  }

  bool in_place(const InPlaceRules& rules, json::Value value, const Place& place) {
    bool ok = true;
    for (const Node* node : rules.all_of) {
      ok = run(*node, value, place) && ok;
      if (!ok && !kCollects) return false;
    }
    const auto holds = [&](const Node* node) { return satisfies(*node, value); };
    if (!rules.any_of.empty() && std::ranges::none_of(rules.any_of, holds)) {
      ok = broken(value, place, "anyOf", [&] {
        return fmt::format("fits none of {}: {}", rules.any_of.size(), reasons(rules.any_of, value, place));
      });
    }
    if (!rules.one_of.empty()) {
      const auto fitting = std::ranges::count_if(rules.one_of, holds);
      if (fitting == 0) {
        ok = broken(value, place, "oneOf", [&] {
          return fmt::format("fits none of {}: {}", rules.one_of.size(), reasons(rules.one_of, value, place));
        });
      } else if (fitting > 1) {
        ok = broken(value, place, "oneOf",
                    [&] { return fmt::format("fits {} of {}; allowed: exactly one", fitting, rules.one_of.size()); });
      }
    }
    if (rules.negated && holds(rules.negated)) {
      ok = broken(value, place, "not", [&] { return fmt::format("{} is what the schema forbids", shown(value)); });
    }
    if (!ok && !kCollects) return false;
    if (rules.condition) {
      const Node* consequence = holds(rules.condition) ? rules.then : rules.otherwise;
      if (consequence) ok = run(*consequence, value, place) && ok;
    }
    return ok;
  }

  // What speaks against each alternative, the first reason of each.
  static std::string reasons(const std::vector<const Node*>& alternatives, json::Value value, const Place& place) {
    std::string pointer;
    append_pointer(pointer, place);
    std::string out;
    for (const Node* node : alternatives) {
      Check<true> check(1);
      check.run(*node, value, Place{nullptr, nullptr, 0, pointer});
      for (const Violation& violation : check.take()) {
        if (!out.empty()) out += " | ";
        if (violation.pointer != pointer) out += violation.pointer + ": ";
        out += violation.message;
      }
    }
    return out;
  }

  std::size_t violations_max_;
  std::vector<Found> found_;
};

}  // namespace

bool satisfies(const Node& node, json::Value value) { return Check<false>().run(node, value, Place{}); }

std::vector<Violation> violations(const Node& node, json::Value value, std::string_view pointer,
                                  std::size_t violations_max) {
  Check<true> check(violations_max);
  check.run(node, value, Place{nullptr, nullptr, 0, pointer});
  return check.take();
}

std::string printable(std::string_view text, std::size_t bytes_max) {
  std::string out;
  if (text.size() <= bytes_max) {
    json::append_quoted(out, text);
  } else {
    std::size_t end = bytes_max;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    json::append_quoted(out, std::string(text.substr(0, end)) + "…");
  }
  return out.substr(1, out.size() - 2);
}

std::string shown(json::Value value) {
  if (value.is_object()) return fmt::format("an object of {}", value.size());
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_string()) return fmt::format("\"{}\"", printable(value.string().value_or(""), kShownBytesMax));
  return printable(value.raw(), kShownBytesMax);
}

}  // namespace wfo::events::detail
