#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "store/migration.h"
#include "store/postgres/detail/connection.h"

namespace wfo::store::postgres {

/// A schema that is being moved into is filled in another one beside it: its name with `kMovingSuffix`, and a comment
/// that begins with `kMovingComment` (docs/adr/0011-moving.md).
inline constexpr std::string_view kMovingSuffix = "_moving";
inline constexpr std::string_view kMovingComment = "wfo: being filled by wfo migrate";

/// The statement that takes the lock under which a schema is made or gets its name, until the transaction ends.
[[nodiscard]] std::string lock_statement(std::string_view schema);

/// Brings the connection's schema to the newest version, making it if it is not there, and returns that version. Who
/// finds the newest needs no right to change it. Of several processes at once one works and the others wait for it; all
/// takes effect, or nothing. `thing` is what the schema holds, for messages.
/// Errors: `conflict` the schema is newer than this program, or has no tables and a move into it has not ended;
/// `invalid_argument` the role may not make what is missing, or the server is too old; `unavailable`.
[[nodiscard]] Result<int> migrate(Connection& connection, std::span<const Migration> migrations,
                                  std::string_view thing);

}  // namespace wfo::store::postgres
