#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "store/postgres/detail/connection.h"

namespace wfo::store::postgres {

/// That the connection's role has each of `rights` (`SELECT`, …) on each of `tables` of the connection's schema.
/// Errors: `invalid_argument` names the role and what is to be granted; else as the connection.
[[nodiscard]] Result<void> check_rights(Connection& connection, std::span<const std::string_view> tables,
                                        std::span<const std::string_view> rights);

}  // namespace wfo::store::postgres
