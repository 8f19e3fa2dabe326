#include "orchestrator/definitions.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "orchestrator/detail/definition_text.h"
#include "workflow/decide.h"

namespace wfo::orchestrator {

namespace {

using workflow::Definition;

Result<void> check_current(const std::vector<Definition>& current) {
  if (current.empty()) return fail(ErrorCode::invalid_argument, "no workflow definition; allowed: at least one");
  std::map<std::string_view, std::string_view> by_trigger;
  for (std::size_t i = 0; i < current.size(); ++i) {
    const Definition& definition = current[i];
    const auto earlier = current.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::ranges::find(current.begin(), earlier, definition.name, &Definition::name) != earlier) {
      return fail(ErrorCode::invalid_argument, "two workflow definitions are called '{}'; allowed: one",
                  definition.name);
    }
    for (const std::string& trigger : definition.triggers) {
      const auto [first, is_new] = by_trigger.emplace(trigger, definition.name);
      if (!is_new) {
        return fail(ErrorCode::invalid_argument,
                    "{} triggers the workflows '{}' and '{}'; allowed: one of them, since a trigger leads to one run",
                    trigger, first->second, definition.name);
      }
    }
  }
  return {};
}

const Definition* find(const std::vector<Definition>& known, std::string_view name, std::string_view version) {
  const auto found = std::ranges::find_if(
      known, [&](const Definition& definition) { return definition.name == name && definition.version == version; });
  return found == known.end() ? nullptr : &*found;
}

Result<std::vector<Definition>> decode_all(const std::vector<store::StoredDefinition>& rows) {
  std::vector<Definition> known;
  known.reserve(rows.size());
  for (const store::StoredDefinition& row : rows) {
    TRY_ASSIGN(Definition definition, decode_definition(row.text));
    if (definition.name != row.name || definition.version != row.version) {
      return fail(ErrorCode::corruption, "stored workflow definition '{}' {}: its text is of '{}' {}", row.name,
                  row.version, definition.name, definition.version);
    }
    known.push_back(std::move(definition));
  }
  return known;
}

Result<std::vector<Definition>> read_all(store::Store& store) {
  std::vector<store::StoredDefinition> rows;
  TRY(store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(rows, transaction.definitions().all());
    return {};
  }));
  return decode_all(rows);
}

}  // namespace

struct Definitions::State {
  std::vector<Definition> current;
  std::vector<Definition> known;
};

Result<Definitions> Definitions::load(store::Store& store, std::vector<Definition> current) {
  TRY(check_current(current));
  TRY_ASSIGN(std::vector<Definition> known, read_all(store));
  const auto is_noted = [&](const Definition& definition) {
    return find(known, definition.name, definition.version) != nullptr;
  };
  if (!std::ranges::all_of(current, is_noted)) {
    std::vector<store::StoredDefinition> rows;
    TRY(store.transact([&](store::Transaction& transaction) -> Result<void> {
      for (const Definition& definition : current) {
        TRY(transaction.definitions().put(definition.name, definition.version, encode_definition(definition)));
      }
      TRY_ASSIGN(rows, transaction.definitions().all());
      return {};
    }));
    TRY_ASSIGN(known, decode_all(rows));
  }
  for (const Definition& definition : current) {
    const Definition* noted = find(known, definition.name, definition.version);
    INVARIANT(noted != nullptr);
    if (*noted != definition) {
      return fail(ErrorCode::conflict,
                  "workflow '{}' was changed, but its version is still {}, which runs may be pinned to; allowed: a new "
                  "version",
                  definition.name, definition.version);
    }
  }
  Definitions definitions;
  definitions.state_ = std::make_shared<const State>(State{std::move(current), std::move(known)});
  return definitions;
}

Result<Definitions> Definitions::of(std::vector<Definition> current,
                                    const std::vector<store::StoredDefinition>& stored) {
  TRY(check_current(current));
  TRY_ASSIGN(std::vector<Definition> known, decode_all(stored));
  Definitions definitions;
  definitions.state_ = std::make_shared<const State>(State{std::move(current), std::move(known)});
  return definitions;
}

Result<Definitions> Definitions::reload(store::Store& store) const {
  TRY_ASSIGN(std::vector<Definition> known, read_all(store));
  Definitions definitions;
  definitions.state_ = std::make_shared<const State>(State{state_->current, std::move(known)});
  return definitions;
}

const Definition* Definitions::current(std::string_view name) const {
  if (name.empty()) return &state_->current.front();
  const auto found = std::ranges::find(state_->current, name, &Definition::name);
  return found == state_->current.end() ? nullptr : &*found;
}

const Definition* Definitions::pinned(const workflow::Run& run) const {
  const Definition* definition = find(state_->known, run.definition_name, run.definition_version);
  return definition != nullptr && workflow::fits(run, *definition) ? definition : nullptr;
}

const std::vector<Definition>& Definitions::all_current() const { return state_->current; }
const std::vector<Definition>& Definitions::all_known() const { return state_->known; }

std::vector<std::string> Definitions::consumed_types() const {
  std::set<std::string> types;
  for (const Definition& definition : state_->current) {
    types.insert(definition.triggers.begin(), definition.triggers.end());
  }
  for (const Definition& definition : state_->known) {
    for (const workflow::StepDefinition& step : definition.steps) {
      types.insert(step.completed_event);
      types.insert(step.failed_event);
    }
  }
  return {types.begin(), types.end()};
}

}  // namespace wfo::orchestrator
