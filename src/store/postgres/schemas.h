#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace wfo::store::postgres {

/// Drops schemas with all that is in them; those that are not there are passed over. For benchmarks, which make their
/// own. `url`: as PostgresStoreConfig::url. Errors: `invalid_argument` the address; `unavailable` the server is away,
/// or the role may not.
[[nodiscard]] Result<void> drop_schemas(const std::string& url, const std::vector<std::string>& schemas);

}  // namespace wfo::store::postgres
