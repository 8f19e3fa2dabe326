#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"
#include "workflow/definition.h"
#include "workflow/run.h"

namespace wfo::orchestrator {

/// The workflow definitions that runs may be pinned to: for each name the current version and all older ones that were
/// ever used. Immutable, cheap to copy; what it returns lives as long as some copy does. Any thread.
class Definitions {
 public:
  /// Takes `current` (one per name, the first is the default) and, from the store, every version that was used
  /// before; notes the new ones there. Errors: `conflict` a definition was changed under a version that is known: give
  /// it a new one; `invalid_argument` none, a name twice, or a trigger of two of them (a trigger leads to one run);
  /// else as the store.
  [[nodiscard]] static Result<Definitions> load(store::Store& store, std::vector<workflow::Definition> current);
  /// The same from what a store holds (`DefinitionStore::all`), for who cannot change that store: `current` is not
  /// compared with it.
  [[nodiscard]] static Result<Definitions> of(std::vector<workflow::Definition> current,
                                              const std::vector<store::StoredDefinition>& stored);
  /// The same with the versions that others (a newer process beside this one) have noted in the store since.
  [[nodiscard]] Result<Definitions> reload(store::Store& store) const;

  /// The definition that a new run of that name gets; "" is the default. Null if there is none.
  [[nodiscard]] const workflow::Definition* current(std::string_view name) const;
  /// The definition that a run is pinned to; null if this installation never had it.
  [[nodiscard]] const workflow::Definition* pinned(const workflow::Run& run) const;
  [[nodiscard]] const std::vector<workflow::Definition>& all_current() const;
  /// The current ones and all older ones, in the order in which they were noted.
  [[nodiscard]] const std::vector<workflow::Definition>& all_known() const;
  /// The event types that matter to runs of these definitions, sorted: what triggers a current one, and the answers to
  /// the steps of all.
  [[nodiscard]] std::vector<std::string> consumed_types() const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

}  // namespace wfo::orchestrator
