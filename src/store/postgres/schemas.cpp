#include "store/postgres/schemas.h"

#include "store/postgres/detail/connection.h"

namespace wfo::store::postgres {

Result<void> drop_schemas(const std::string& url, const std::vector<std::string>& schemas) {
  ConnectionOptions options;
  options.url = url;
  options.schema = schemas.empty() ? "public" : schemas.front();
  TRY_ASSIGN(auto connection, Connection::open(options));
  for (const auto& schema : schemas) {
    TRY(connection.execute(fmt::format("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema))));
  }
  return {};
}

}  // namespace wfo::store::postgres
