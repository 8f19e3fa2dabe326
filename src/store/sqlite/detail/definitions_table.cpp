#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {

Result<void> DefinitionsTable::put(std::string_view name, std::string_view version, std::string_view text) {
  TRY(check_text("definition", "name", name));
  TRY(check_text("definition", "version", version));
  TRY(check_text("definition", "text", text));
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO definitions (name, version, text) VALUES (?, ?, ?) "
                                   "ON CONFLICT (name, version) DO NOTHING"));
  return insert->bind_text(name).bind_text(version).bind_text(text).run();
}

Result<std::vector<StoredDefinition>> DefinitionsTable::all() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT name, version, text FROM definitions ORDER BY definition"));
  std::vector<StoredDefinition> definitions;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return definitions;
    definitions.push_back({select->text(0), select->text(1), select->text(2)});
  }
}

}  // namespace wfo::store::sqlite
