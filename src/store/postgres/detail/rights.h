#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "store/postgres/detail/connection.h"

namespace wfo::store::postgres {

struct TableRights {
  std::string_view table;   // or a sequence
  std::string_view rights;  // `SELECT INSERT …`; of a sequence `USAGE`
};

/// That the connection's role has these on the tables of the connection's schema. Errors: `invalid_argument` names the
/// role and what is to be granted; else as the connection.
[[nodiscard]] Result<void> check_rights(Connection& connection, std::span<const TableRights> needed);

}  // namespace wfo::store::postgres
