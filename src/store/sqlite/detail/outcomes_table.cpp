#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {

Result<std::vector<bool>> OutcomesTable::insert(std::span<const RecordedOutcome> outcomes) {
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO outcomes (tenant, opportunity, close_on, event, recorded_at) VALUES "
                                   "(?, ?, ?, ?, ?) ON CONFLICT (tenant, opportunity, close_on) DO NOTHING"));
  std::vector<bool> written;
  written.reserve(outcomes.size());
  for (const RecordedOutcome& outcome : outcomes) {
    insert->bind(outcome.tenant).bind(outcome.opportunity);
    insert->bind(std::int64_t{outcome.close_on.time_since_epoch().count()});
    TRY(insert->bind(outcome.event).bind(outcome.recorded_at).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

}  // namespace wfo::store::sqlite
