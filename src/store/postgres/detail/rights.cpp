#include "store/postgres/detail/rights.h"

namespace wfo::store::postgres {

Result<void> check_rights(Connection& connection, std::span<const TableRights> needed) {
  Array tables(Type::text);
  Array rights(Type::text);
  for (const TableRights& one : needed) {
    tables.add_text(one.table);
    rights.add_text(one.rights);
  }
  TRY_ASSIGN(
      const Rows rows,
      connection.run(
          "SELECT current_user::text, coalesce(string_agg(format('%s ON %s%s', needed, CASE WHEN is_sequence THEN "
          "'SEQUENCE ' END, name), ', ' ORDER BY name, needed), '') FROM unnest($1::text[], $2::text[]) AS t (name, "
          "rights) CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_sequence WHERE seqrelid = to_regclass(name)) AS "
          "is_sequence) AS s CROSS JOIN LATERAL unnest(string_to_array(t.rights, ' ')) AS r (needed) WHERE CASE WHEN "
          "is_sequence THEN has_sequence_privilege(to_regclass(name), needed) ELSE "
          "has_table_privilege(to_regclass(name), needed) END IS NOT TRUE",
          Params().add(tables).add(rights)));
  const std::string_view missing = rows[0].text_view(1);
  if (missing.empty()) return {};
  return fail(ErrorCode::invalid_argument, "the role {} lacks rights in the schema {} of database {} at {}: GRANT {}",
              rows[0].text_view(0), connection.schema(), connection.server().database, connection.server().address,
              missing);
}

}  // namespace wfo::store::postgres
