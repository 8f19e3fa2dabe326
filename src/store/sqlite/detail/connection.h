#pragma once

#include <unordered_map>
#include <utility>

#include "store/sqlite/detail/database.h"

namespace wfo::store::sqlite {

/// A database connection with its prepared statements. One thread at a time.
class Connection {
 public:
  explicit Connection(Database database) : database_(std::move(database)) {}
  [[nodiscard]] const Database& database() const { return database_; }
  /// The statement of that SQL, ready to be bound. `sql` must be a string literal: it is known by its address.
  [[nodiscard]] Result<Statement*> statement(const char* sql);

 private:
  Database database_;
  std::unordered_map<const char*, Statement> statements_;
};

}  // namespace wfo::store::sqlite
