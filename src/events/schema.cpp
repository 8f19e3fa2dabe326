#include "events/schema.h"

#include <algorithm>
#include <deque>

#include "events/detail/schema_checker.h"
#include "events/detail/schema_compiler.h"

namespace wfo::events {

struct Schema::Compiled {
  std::deque<detail::Node> nodes;  // the first is the root

  [[nodiscard]] const detail::Node& root() const { return nodes.front(); }
  [[nodiscard]] const detail::Node* property(std::string_view name) const {
    if (!root().object) return nullptr;
    const auto& properties = root().object->properties;
    const auto found = std::ranges::find(properties, name, &detail::Property::name);
    return found == properties.end() ? nullptr : found->schema;
  }
};

Schema::Schema(std::unique_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
Schema::Schema(Schema&&) noexcept = default;
Schema& Schema::operator=(Schema&&) noexcept = default;
Schema::~Schema() = default;

Result<Schema> Schema::compile(json::Value schema) {
  TRY_ASSIGN(auto nodes, detail::compile(schema));
  return Schema(std::make_unique<const Compiled>(Compiled{std::move(nodes)}));
}

bool Schema::is_valid(json::Value document) const { return detail::satisfies(compiled_->root(), document); }

std::vector<Violation> Schema::validate(json::Value document) const {
  return detail::violations(compiled_->root(), document, "", kViolationsMax);
}

bool Schema::is_valid_property(std::string_view property, json::Value value) const {
  const detail::Node* node = compiled_->property(property);
  return !node || detail::satisfies(*node, value);
}

std::vector<Violation> Schema::validate_property(std::string_view property, json::Value value) const {
  const detail::Node* node = compiled_->property(property);
  if (!node) return {};
  return detail::violations(*node, value, "/" + json::escape_pointer(property), kViolationsMax);
}

}  // namespace wfo::events
