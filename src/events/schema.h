#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "events/event.h"

namespace wfo::events {

inline constexpr std::size_t kViolationsMax = 1'000;  // a document of 1 MiB can break a rule half a million times

/// A compiled draft-07 schema. Which keywords are supported, and which not, is listed in README.md of this module;
/// formats `uuid`, `date-time` and `date` are asserted. Immutable; any thread.
class Schema {
 public:
  /// Errors: `invalid_argument`, with the pointer of what is not a schema or not supported.
  [[nodiscard]] static Result<Schema> compile(json::Value schema);
  Schema(Schema&&) noexcept;
  Schema& operator=(Schema&&) noexcept;
  ~Schema();

  [[nodiscard]] bool is_valid(json::Value document) const;
  /// All violations, not just the first, in document order; of more than kViolationsMax the first ones found.
  [[nodiscard]] std::vector<Violation> validate(json::Value document) const;
  /// The subschema at properties/<name>, or nothing if the schema has none: checks a part of a document by itself.
  [[nodiscard]] bool is_valid_property(std::string_view property, json::Value value) const;
  /// Pointers start at the document: `/<property>/…`.
  [[nodiscard]] std::vector<Violation> validate_property(std::string_view property, json::Value value) const;

 private:
  struct Compiled;
  explicit Schema(std::unique_ptr<const Compiled> compiled);
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace wfo::events
