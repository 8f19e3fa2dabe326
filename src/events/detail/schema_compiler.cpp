#include "events/detail/schema_compiler.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>

namespace wfo::events::detail {
namespace {

constexpr std::string_view kDraft7 = "http://json-schema.org/draft-07/schema";
constexpr std::string_view kAnnotations[] = {"$comment", "default",   "description", "examples",
                                             "readOnly", "writeOnly", "title"};

bool is_annotation(std::string_view keyword) {
  return std::ranges::find(kAnnotations, keyword) != std::end(kAnnotations);
}

std::unexpected<Error> refuse(std::string_view pointer, std::string_view why) {
  return fail(ErrorCode::invalid_argument, "{}: {}", pointer.empty() ? "(root)" : pointer, why);
}

Literal literal_of(json::Value value) {
  Literal literal{value.kind(), std::string(value.raw()), {}};
  if (value.is_string()) {
    literal.canonical = value.string().value_or("");
  } else {
    append_canonical(literal.canonical, value);
  }
  return literal;
}

std::optional<int> hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_value(text[i + 1]);
    const auto low = hex_value(text[i + 2]);
    if (!high || !low) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

std::optional<std::string> unescape_pointer(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '~') {
      out += token[i];
    } else if (i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
      out += token[++i] == '0' ? '~' : '/';
    } else {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<json::Value> step_into(json::Value value, std::string_view token) {
  if (value.is_object()) return value.find(token);
  if (!value.is_array() || token.empty() || token.size() > 9) return std::nullopt;
  if (token.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  if (token.size() > 1 && token.front() == '0') return std::nullopt;
  std::size_t index = 0;
  for (const char digit : token) index = index * 10 + static_cast<std::size_t>(digit - '0');
  for (const json::Value element : value.elements()) {
    if (index-- == 0) return element;
  }
  return std::nullopt;
}

template <class T>
T& made(std::unique_ptr<T>& rules) {
  if (!rules) rules = std::make_unique<T>();
  return *rules;
}

class Compiler {
 public:
  explicit Compiler(json::Value root) : root_(root) {}

  Result<std::deque<Node>> run() {
    schema_at(root_, "");
    // Subschemas wait here instead of being compiled where they are met, so no chain of references deepens the stack.
    while (!waiting_.empty()) {
      Waiting next = std::move(waiting_.back());
      waiting_.pop_back();
      TRY(compile_one(*next.node, next.schema, next.pointer));
    }
    for (const auto& [node, pointer] : pointers_) TRY(in_place_depth(*node, pointer, 0));
    return std::move(nodes_);
  }

 private:
  struct Waiting {
    Node* node;
    json::Value schema;
    std::string pointer;
  };
  /// One keyword of the schema being compiled.
  struct Keyword {
    std::string_view name;
    json::Value value;
    json::Value schema;  // the one that it stands in
    std::string pointer;
  };
  using Handler = Result<void> (Compiler::*)(Node&, const Keyword&);
  static const std::unordered_map<std::string_view, Handler>& handlers();

  const Node* schema_at(json::Value schema, std::string pointer) {
    const auto [place, is_new] = by_place_.try_emplace(schema.raw().data(), nullptr);
    if (is_new) {
      Node& node = nodes_.emplace_back();
      place->second = &node;
      pointers_.emplace_back(&node, pointer);
      waiting_.push_back({&node, schema, std::move(pointer)});
    }
    return place->second;
  }

  Result<void> compile_one(Node& node, json::Value schema, const std::string& pointer) {
    if (const auto everything = schema.boolean()) {
      node.refuses_all = !*everything;
      return {};
    }
    if (!schema.is_object())
      return refuse(pointer, fmt::format("{} is no schema; allowed: an object, true, false", name(schema.kind())));
    const bool is_reference = schema.find("$ref").has_value();
    for (const json::Member member : schema.members()) {
      const std::string key = member.key.string().value_or("");
      if (is_annotation(key)) continue;
      const Keyword keyword{key, member.value, schema, pointer + "/" + json::escape_pointer(key)};
      const auto handler = handlers().find(key);
      if (handler == handlers().end()) {
        return refuse(
            keyword.pointer,
            fmt::format("the keyword `{}` is not supported (src/events/README.md lists those that are)", key));
      }
      if (is_reference && key != "$ref" && key != "definitions" && key != "$schema" && key != "$id") {
        return refuse(keyword.pointer,
                      "stands beside $ref, where draft-07 ignores it and other validators do not; use allOf");
      }
      TRY((this->*handler->second)(node, keyword));
    }
    return {};
  }

  // The number of schemas that apply to one value inside each other, `node` included.
  Result<void> in_place_depth(const Node& node, const std::string& pointer, int above) {
    if (above >= kInPlaceDepthMax) {
      return refuse(
          pointer,
          fmt::format(
              "more than {} schemas apply to one value inside each other; is there a $ref that leads back to itself?",
              kInPlaceDepthMax));
    }
    if (const auto seen = heights_.find(&node); seen != heights_.end()) {
      if (above + seen->second <= kInPlaceDepthMax) return {};
    }
    int height = 1;
    const auto visit = [&](const Node* child) -> Result<void> {
      if (!child) return {};
      TRY(in_place_depth(*child, pointer, above + 1));
      height = std::max(height, heights_.at(child) + 1);
      return {};
    };
    if (node.in_place) {
      const InPlaceRules& rules = *node.in_place;
      for (const Node* child : {rules.ref, rules.negated, rules.condition, rules.then, rules.otherwise})
        TRY(visit(child));
      for (const auto* list : {&rules.all_of, &rules.any_of, &rules.one_of}) {
        for (const Node* child : *list) TRY(visit(child));
      }
    }
    if (node.object) {
      for (const Dependency& dependency : node.object->dependencies) TRY(visit(dependency.schema));
    }
    heights_[&node] = height;
    return {};
  }

  // What keywords want of their values.

  static Result<std::size_t> count_of(const Keyword& keyword) {
    const auto count = keyword.value.integer();
    if (!count || *count < 0)
      return refuse(keyword.pointer,
                    fmt::format("{} is no count; allowed: an integer of 0 or more", keyword.value.raw()));
    return static_cast<std::size_t>(*count);
  }

  static Result<Bound> bound_of(const Keyword& keyword) {
    if (!keyword.value.is_number())
      return refuse(keyword.pointer, fmt::format("a {} is no bound; allowed: a number", name(keyword.value.kind())));
    Bound bound{std::string(keyword.value.raw()), 0, Decimal::parse(keyword.value.raw())};
    bound.approximate = keyword.value.number().value_or(bound.exact.negative ? -std::numeric_limits<double>::infinity()
                                                                             : std::numeric_limits<double>::infinity());
    return bound;
  }

  Result<std::vector<const Node*>> schemas_of(const Keyword& keyword) {
    if (!keyword.value.is_array() || keyword.value.size() == 0) {
      return refuse(keyword.pointer, "allowed: an array of at least one schema");
    }
    std::vector<const Node*> schemas;
    for (const json::Value element : keyword.value.elements()) {
      schemas.push_back(schema_at(element, fmt::format("{}/{}", keyword.pointer, schemas.size())));
    }
    return schemas;
  }

  static Result<std::vector<std::string>> names_of(json::Value value, std::string_view pointer) {
    if (!value.is_array())
      return refuse(pointer, fmt::format("a {} is no list of names; allowed: an array of strings", name(value.kind())));
    std::vector<std::string> names;
    for (const json::Value element : value.elements()) {
      const auto text = element.string();
      if (!text) return refuse(pointer, fmt::format("{} is no name; allowed: strings", element.raw()));
      if (std::ranges::find(names, *text) != names.end())
        return refuse(pointer, fmt::format("`{}` comes twice", *text));
      names.push_back(*text);
    }
    return names;
  }

  static Property& property_of(ObjectRules& rules, std::string_view name) {
    const auto place = std::ranges::lower_bound(
        rules.by_name, name, {}, [&](std::uint32_t i) -> std::string_view { return rules.properties[i].name; });
    if (place != rules.by_name.end() && rules.properties[*place].name == name) return rules.properties[*place];
    rules.by_name.insert(place, static_cast<std::uint32_t>(rules.properties.size()));
    return rules.properties.emplace_back(Property{std::string(name)});
  }

  // The keywords.

  Result<void> nothing_to_do(Node&, const Keyword&) { return {}; }

  Result<void> schema_version(Node&, const Keyword& keyword) {
    const std::string version = keyword.value.string().value_or("");
    if (version == kDraft7 || version == std::string(kDraft7) + "#") return {};
    return refuse(keyword.pointer, fmt::format("{} is not supported; allowed: \"{}#\"", keyword.value.raw(), kDraft7));
  }

  Result<void> id(Node&, const Keyword& keyword) {
    // Deeper down it would change what `$ref` means.
    if (keyword.schema.raw().data() != root_.raw().data())
      return refuse(keyword.pointer, "`$id` is supported at the root only");
    if (!keyword.value.is_string()) return refuse(keyword.pointer, "allowed: a string");
    return {};
  }

  Result<void> definitions(Node&, const Keyword& keyword) {
    if (!keyword.value.is_object()) return refuse(keyword.pointer, "allowed: an object of schemas");
    for (const json::Member member : keyword.value.members()) {
      schema_at(member.value, keyword.pointer + "/" + json::escape_pointer(member.key.string().value_or("")));
    }
    return {};
  }

  Result<void> reference(Node& node, const Keyword& keyword) {
    const auto text = keyword.value.string();
    if (!text || !(*text == "#" || text->starts_with("#/"))) {
      return refuse(
          keyword.pointer,
          fmt::format("{} is not supported; allowed: \"#\" and JSON pointers into this schema, \"#/definitions/…\"",
                      keyword.value.raw()));
    }
    const auto pointer = percent_decode(std::string_view(*text).substr(1));
    std::optional<json::Value> target = root_;
    std::string_view rest = pointer ? std::string_view(*pointer) : std::string_view();
    if (!pointer) target.reset();
    while (target && !rest.empty()) {
      rest.remove_prefix(1);  // the slash
      const auto token = unescape_pointer(rest.substr(0, rest.find('/')));
      target = token ? step_into(*target, *token) : std::nullopt;
      rest = rest.find('/') == std::string_view::npos ? std::string_view() : rest.substr(rest.find('/'));
    }
    if (!target) return refuse(keyword.pointer, fmt::format("{} points at nothing", keyword.value.raw()));
    made(node.in_place).ref = schema_at(*target, *pointer);
    return {};
  }

  Result<void> type(Node& node, const Keyword& keyword) {
    std::vector<std::string> names;
    if (const auto one = keyword.value.string()) {
      names.push_back(*one);
    } else {
      TRY_ASSIGN(names, names_of(keyword.value, keyword.pointer));
    }
    if (names.empty()) return refuse(keyword.pointer, "allowed: at least one type");
    node.kinds = 0;
    bool integers = false;
    for (const std::string& type_name : names) {
      if (type_name == "integer") {
        integers = true;
        continue;
      }
      static constexpr json::Kind kKinds[] = {json::Kind::null,   json::Kind::boolean, json::Kind::number,
                                              json::Kind::string, json::Kind::array,   json::Kind::object};
      const auto kind = std::ranges::find(kKinds, type_name, [](json::Kind k) { return name(k); });
      if (kind == std::end(kKinds)) {
        return refuse(
            keyword.pointer,
            fmt::format("`{}` is no type; allowed: null, boolean, integer, number, string, array, object", type_name));
      }
      node.kinds |= bit(*kind);
    }
    node.integers_only = integers && !(node.kinds & bit(json::Kind::number));
    if (integers) node.kinds |= bit(json::Kind::number);
    return {};
  }

  Result<void> constant(Node& node, const Keyword& keyword) {
    node.constant = std::make_unique<Literal>(literal_of(keyword.value));
    return {};
  }

  Result<void> enumeration(Node& node, const Keyword& keyword) {
    if (!keyword.value.is_array() || keyword.value.size() == 0)
      return refuse(keyword.pointer, "allowed: an array of at least one value");
    auto& literals = made(node.enumeration);
    for (const json::Value element : keyword.value.elements()) literals.push_back(literal_of(element));
    return {};
  }

  Result<void> properties(Node& node, const Keyword& keyword) {
    if (!keyword.value.is_object()) return refuse(keyword.pointer, "allowed: an object of schemas");
    ObjectRules& rules = made(node.object);
    for (const json::Member member : keyword.value.members()) {
      const std::string key = member.key.string().value_or("");
      property_of(rules, key).schema = schema_at(member.value, keyword.pointer + "/" + json::escape_pointer(key));
    }
    // `required` may have come first: the order that documents have is that of `properties`.
    std::vector<Property> in_order;
    for (const json::Member member : keyword.value.members())
      in_order.push_back(property_of(rules, member.key.string().value_or("")));
    for (Property& property : rules.properties) {
      if (!property.schema) in_order.push_back(property);
    }
    rules.properties = std::move(in_order);
    rules.by_name.clear();
    for (std::uint32_t i = 0; i < rules.properties.size(); ++i) rules.by_name.push_back(i);
    std::ranges::sort(rules.by_name, {}, [&](std::uint32_t i) -> std::string_view { return rules.properties[i].name; });
    return {};
  }

  Result<void> required(Node& node, const Keyword& keyword) {
    TRY_ASSIGN(const auto names, names_of(keyword.value, keyword.pointer));
    ObjectRules& rules = made(node.object);
    for (const std::string& property : names) property_of(rules, property).required = true;
    rules.required_count = names.size();
    return {};
  }

  Result<void> additional_properties(Node& node, const Keyword& keyword) {
    made(node.object).additional = schema_at(keyword.value, keyword.pointer);
    return {};
  }

  Result<void> property_names(Node& node, const Keyword& keyword) {
    made(node.object).property_names = schema_at(keyword.value, keyword.pointer);
    return {};
  }

  Result<void> dependencies(Node& node, const Keyword& keyword) {
    if (!keyword.value.is_object()) return refuse(keyword.pointer, "allowed: an object of schemas and lists of names");
    for (const json::Member member : keyword.value.members()) {
      Dependency dependency{member.key.string().value_or(""), {}, nullptr};
      const std::string pointer = keyword.pointer + "/" + json::escape_pointer(dependency.name);
      if (member.value.is_array()) {
        TRY_ASSIGN(dependency.required, names_of(member.value, pointer));
      } else {
        dependency.schema = schema_at(member.value, pointer);
      }
      made(node.object).dependencies.push_back(std::move(dependency));
    }
    return {};
  }

  Result<void> items(Node& node, const Keyword& keyword) {
    ArrayRules& rules = made(node.array);
    if (keyword.value.is_array()) {
      for (const json::Value element : keyword.value.elements()) {
        rules.first.push_back(schema_at(element, fmt::format("{}/{}", keyword.pointer, rules.first.size())));
      }
    } else {
      rules.rest = schema_at(keyword.value, keyword.pointer);
    }
    return {};
  }

  Result<void> additional_items(Node& node, const Keyword& keyword) {
    const Node* schema = schema_at(keyword.value, keyword.pointer);
    const auto list = keyword.schema.find("items");
    if (!list || !list->is_array()) return {};  // it has a meaning beside a list of schemas only
    made(node.array).rest = schema;
    node.array->rest_is_additional = true;
    return {};
  }

  Result<void> contains(Node& node, const Keyword& keyword) {
    made(node.array).contains = schema_at(keyword.value, keyword.pointer);
    return {};
  }

  Result<void> unique_items(Node& node, const Keyword& keyword) {
    const auto unique = keyword.value.boolean();
    if (!unique) return refuse(keyword.pointer, "allowed: true, false");
    made(node.array).unique = *unique;
    return {};
  }

  Result<void> format(Node& node, const Keyword& keyword) {
    for (const Format known : {Format::date, Format::date_time, Format::uuid}) {
      if (!keyword.value.equals(name(known))) continue;
      made(node.string).format = known;
      return {};
    }
    return refuse(keyword.pointer,
                  fmt::format("the format {} is not supported; allowed: date, date-time, uuid", keyword.value.raw()));
  }

  Result<void> multiple_of(Node& node, const Keyword& keyword) {
    TRY_ASSIGN(Bound bound, bound_of(keyword));
    if (bound.exact.negative || bound.exact.digits.empty() || bound.exact.digits.size() > kDivisorDigitsMax) {
      return refuse(keyword.pointer, fmt::format("{} is not supported; allowed: a number above 0 of at most {} digits",
                                                 bound.raw, kDivisorDigitsMax));
    }
    made(node.number).multiple_of = std::move(bound);
    return {};
  }

  template <auto Rules, auto Field>
  Result<void> count(Node& node, const Keyword& keyword) {
    TRY_ASSIGN(const std::size_t value, count_of(keyword));
    made(node.*Rules).*Field = value;
    return {};
  }

  template <auto Field>
  Result<void> bound(Node& node, const Keyword& keyword) {
    TRY_ASSIGN(made(node.number).*Field, bound_of(keyword));
    return {};
  }

  template <auto Field>
  Result<void> in_place(Node& node, const Keyword& keyword) {
    made(node.in_place).*Field = schema_at(keyword.value, keyword.pointer);
    return {};
  }

  template <auto Field>
  Result<void> in_place_list(Node& node, const Keyword& keyword) {
    TRY_ASSIGN(made(node.in_place).*Field, schemas_of(keyword));
    return {};
  }

  json::Value root_;
  std::deque<Node> nodes_;  // their addresses stay
  std::unordered_map<const char*, Node*> by_place_;
  std::vector<std::pair<const Node*, std::string>> pointers_;
  std::vector<Waiting> waiting_;
  std::unordered_map<const Node*, int> heights_;
};

const std::unordered_map<std::string_view, Compiler::Handler>& Compiler::handlers() {
  using C = Compiler;
  static const std::unordered_map<std::string_view, Handler> kHandlers = {
      {"$id", &C::id},
      {"$ref", &C::reference},
      {"$schema", &C::schema_version},
      {"additionalItems", &C::additional_items},
      {"additionalProperties", &C::additional_properties},
      {"allOf", &C::in_place_list<&InPlaceRules::all_of>},
      {"anyOf", &C::in_place_list<&InPlaceRules::any_of>},
      {"const", &C::constant},
      {"contains", &C::contains},
      {"definitions", &C::definitions},
      {"dependencies", &C::dependencies},
      {"else", &C::in_place<&InPlaceRules::otherwise>},
      {"enum", &C::enumeration},
      {"exclusiveMaximum", &C::bound<&NumberRules::below>},
      {"exclusiveMinimum", &C::bound<&NumberRules::above>},
      {"format", &C::format},
      {"if", &C::in_place<&InPlaceRules::condition>},
      {"items", &C::items},
      {"maxItems", &C::count<&Node::array, &ArrayRules::count_max>},
      {"maxLength", &C::count<&Node::string, &StringRules::length_max>},
      {"maxProperties", &C::count<&Node::object, &ObjectRules::count_max>},
      {"maximum", &C::bound<&NumberRules::maximum>},
      {"minItems", &C::count<&Node::array, &ArrayRules::count_min>},
      {"minLength", &C::count<&Node::string, &StringRules::length_min>},
      {"minProperties", &C::count<&Node::object, &ObjectRules::count_min>},
      {"minimum", &C::bound<&NumberRules::minimum>},
      {"multipleOf", &C::multiple_of},
      {"not", &C::in_place<&InPlaceRules::negated>},
      {"oneOf", &C::in_place_list<&InPlaceRules::one_of>},
      {"properties", &C::properties},
      {"propertyNames", &C::property_names},
      {"required", &C::required},
      {"then", &C::in_place<&InPlaceRules::then>},
      {"type", &C::type},
      {"uniqueItems", &C::unique_items},
  };
  return kHandlers;
}

}  // namespace

Result<std::deque<Node>> compile(json::Value schema) { return Compiler(schema).run(); }

}  // namespace wfo::events::detail
