#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "events/detail/decimal.h"

/// The compiled form of a schema: nodes that point at each other, `$ref` included.
namespace wfo::events::detail {

struct Node;

enum class Format : std::uint8_t { none, date, date_time, uuid };
[[nodiscard]] std::string_view name(Format format);

/// A value that a document's value is compared with.
struct Literal {
  json::Kind kind;
  std::string raw;
  std::string canonical;  // of a string its characters, else append_canonical's text
};

struct Bound {
  std::string raw;
  double approximate;  // infinite if it does not fit a double
  Decimal exact;
};

struct Property {
  std::string name;
  const Node* schema = nullptr;  // null: named by `required` only
  bool required = false;
};

struct Dependency {
  std::string name;
  std::vector<std::string> required;
  const Node* schema = nullptr;  // or null
};

inline constexpr std::size_t kNoMaximum = std::numeric_limits<std::size_t>::max();

struct ObjectRules {
  std::vector<Property> properties;    // in the schema's order, which is also that of most documents
  std::vector<std::uint32_t> by_name;  // places in `properties`, sorted by name
  std::size_t required_count = 0;
  const Node* additional = nullptr;      // null: anything
  const Node* property_names = nullptr;  // null: any
  std::vector<Dependency> dependencies;
  std::size_t count_min = 0;
  std::size_t count_max = kNoMaximum;
};

struct ArrayRules {
  std::vector<const Node*> first;  // `items` as an array: one for each place
  const Node* rest = nullptr;      // `items` as a schema, or `additionalItems`; null: anything
  const Node* contains = nullptr;  // null: nothing in particular
  std::size_t count_min = 0;
  std::size_t count_max = kNoMaximum;
  bool unique = false;
  bool rest_is_additional = false;  // which of the two keywords `rest` is
};

struct StringRules {
  std::size_t length_min = 0;  // code points
  std::size_t length_max = kNoMaximum;
  Format format = Format::none;
};

struct NumberRules {
  std::optional<Bound> minimum, maximum, above, below, multiple_of;
};

/// Rules that apply other schemas to the same value.
struct InPlaceRules {
  const Node* ref = nullptr;  // then all else is empty
  std::vector<const Node*> all_of, any_of, one_of;
  const Node* negated = nullptr;
  const Node* condition = nullptr;
  const Node* then = nullptr;
  const Node* otherwise = nullptr;
};

inline constexpr std::uint8_t kAnyKind = 0x3f;

/// One schema. Rules that it does not have are null, so that checking skips them at the price of a comparison.
struct Node {
  bool refuses_all = false;       // the schema `false`
  std::uint8_t kinds = kAnyKind;  // a bit for each json::Kind
  bool integers_only = false;     // `type` has `integer` and not `number`
  std::unique_ptr<Literal> constant;
  std::unique_ptr<std::vector<Literal>> enumeration;
  std::unique_ptr<ObjectRules> object;
  std::unique_ptr<ArrayRules> array;
  std::unique_ptr<StringRules> string;
  std::unique_ptr<NumberRules> number;
  std::unique_ptr<InPlaceRules> in_place;
};

[[nodiscard]] constexpr std::uint8_t bit(json::Kind kind) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind));
}

/// Appends a text that is the same for values that JSON Schema calls equal (`1` and `1.0`; objects in any order) and
/// differs for all others.
void append_canonical(std::string& out, json::Value value);

}  // namespace wfo::events::detail
