#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace wfo::store {

/// A version of a workflow definition that runs may be pinned to.
struct StoredDefinition {
  std::string name;
  std::string version;
  std::string text;  // the role's own encoding
  friend bool operator==(const StoredDefinition&, const StoredDefinition&) = default;
};

/// Every version of every workflow definition that this installation ever used. Nothing is changed or deleted: a run
/// that is retried after years needs the one it started with.
class DefinitionStore {
 public:
  virtual ~DefinitionStore() = default;
  /// Notes a version. One that is known stays as it is, whatever `text` says: read it back to see. Errors:
  /// `invalid_argument` one of them is no text (`store/text.h`).
  [[nodiscard]] virtual Result<void> put(std::string_view name, std::string_view version, std::string_view text) = 0;
  /// In the order in which they were noted.
  [[nodiscard]] virtual Result<std::vector<StoredDefinition>> all() const = 0;
};

}  // namespace wfo::store
