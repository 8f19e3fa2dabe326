#include "store/postgres/detail/rights.h"

namespace wfo::store::postgres {
namespace {

Array texts(std::span<const std::string_view> all) {
  Array array(Type::text);
  for (const std::string_view one : all) array.add_text(one);
  return array;
}

}  // namespace

Result<void> check_rights(Connection& connection, std::span<const std::string_view> tables,
                          std::span<const std::string_view> rights) {
  TRY_ASSIGN(const Rows rows,
             connection.run("SELECT current_user::text, coalesce(string_agg(format('%s ON %s', needed, name), ', ' "
                            "ORDER BY name, needed), '') FROM unnest($1::text[]) AS t (name), unnest($2::text[]) AS r "
                            "(needed) WHERE has_table_privilege(to_regclass(name), needed) IS NOT TRUE",
                            Params().add(texts(tables)).add(texts(rights))));
  const std::string_view missing = rows[0].text_view(1);
  if (missing.empty()) return {};
  return fail(ErrorCode::invalid_argument, "the role {} lacks rights in the schema {} of database {} at {}: GRANT {}",
              rows[0].text_view(0), connection.schema(), connection.server().database, connection.server().address,
              missing);
}

}  // namespace wfo::store::postgres
