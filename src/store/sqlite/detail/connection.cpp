#include "store/sqlite/detail/connection.h"

namespace wfo::store::sqlite {

Result<Statement*> Connection::statement(const char* sql) {
  const auto known = statements_.find(sql);
  if (known != statements_.end()) return &known->second;
  TRY_ASSIGN(Statement prepared, database_.prepare(sql));
  return &statements_.emplace(sql, std::move(prepared)).first->second;
}

}  // namespace wfo::store::sqlite
