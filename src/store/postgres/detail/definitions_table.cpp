#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {

Result<void> DefinitionsTable::put(std::string_view name, std::string_view version, std::string_view text) {
  TRY(check_text("definition", "name", name));
  TRY(check_text("definition", "version", version));
  TRY(check_text("definition", "text", text));
  TRY(
      connection_.run("INSERT INTO definitions (name, version, text) VALUES ($1, $2, $3) "
                      "ON CONFLICT (name, version) DO NOTHING",
                      Params().add_text(name).add_text(version).add_text(text)));
  return {};
}

Result<std::vector<StoredDefinition>> DefinitionsTable::all() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT name, version, text FROM definitions ORDER BY definition"));
  std::vector<StoredDefinition> definitions;
  definitions.reserve(rows.size());
  for (const Row row : rows) definitions.push_back({row.text(0), row.text(1), row.text(2)});
  return definitions;
}

}  // namespace wfo::store::postgres
