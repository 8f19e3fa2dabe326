#include "store/sqlite/export.h"

#include <filesystem>
#include <utility>

#include "embedded/ledger_migrations.h"
#include "embedded/store_migrations.h"
#include "store/sqlite/detail/database.h"

namespace wfo::store::sqlite {
namespace {

/// The columns of `columns(table)`, in their order, as this schema has them.
const char* select_sql(TransferTable table) {
  switch (table) {
    case TransferTable::definitions:
      return "SELECT definition, name, version, text FROM definitions";
    case TransferTable::documents:
      return "SELECT tenant, name, json FROM documents";
    case TransferTable::opportunities:
      return "SELECT tenant, id, state, fields FROM opportunities";
    case TransferTable::runs:
      return "SELECT id, tenant, opportunity, status, exclusive, wake_up_at, version, attempt, created_at, "
             "updated_at, deadline, external_id, definition_name, definition_version, correlation_id, trigger_type, "
             "trigger_id, error, failed_step, steps FROM runs";
    case TransferTable::results:
      return "SELECT u.id, r.key & 63, r.result FROM results r JOIN runs u ON u.run = r.key >> 6";
    case TransferTable::triggers:
      return "SELECT trigger, tenant, id, outcome, workflow, follow_up, received_at, opportunity, type, external_id, "
             "definition_name, correlation_id, reason FROM triggers";
    case TransferTable::inbox:
      return "SELECT consumer, tenant, event, digest, received_at FROM inbox";
    case TransferTable::dead_letters:
      return "SELECT id, tenant, queue, type, headers, bytes, reason, attempts, created_at, status, replayed_as, note "
             "FROM dead_letters";
    case TransferTable::log:
      return "SELECT l.sequence, l.committed_at, (SELECT name FROM event_types t WHERE t.id = l.type), l.event, "
             "l.event_id, l.event_time FROM log l ORDER BY l.sequence";
    case TransferTable::outbox:
      return "SELECT sequence, run, returns, parked_until FROM outbox";
    case TransferTable::schedules:
      return "SELECT name, origin, definition, paused, pause_note, next_at, wake_up_at, created_at, updated_at, "
             "version FROM schedules";
    case TransferTable::fires:
      return "SELECT fire, schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run FROM fires";
    case TransferTable::job_runs:
      return "SELECT id, job, status, triggered_by, schedule, scheduled_for, trigger_id, due_at, deadline, "
             "version, created_at, started_at, ended_at, attempt, takeovers, progress_done, progress_total, "
             "progress_note, correlation_id, holder, metadata, checkpoint, counts, error FROM job_runs";
    case TransferTable::risk_snapshots:
      return "SELECT tenant, opportunity, day, evaluated_at, event, workflow, fields FROM risk_snapshots";
    case TransferTable::outcomes:
      return "SELECT tenant, opportunity, close_on, event, recorded_at FROM outcomes";
    case TransferTable::ledger_tenants:
      return "SELECT t.tenant, t.id, coalesce((SELECT max(e.entry) FROM entries e WHERE e.entry >= t.tenant << 40 AND "
             "e.entry < (t.tenant + 1) << 40) - (t.tenant << 40) + 1, 0) FROM tenants t";
    case TransferTable::ledger_event_types:
      return "SELECT type, name FROM event_types";
    case TransferTable::ledger_entries:
      return "SELECT entry >> 40, entry & ((1 << 40) - 1), event_id, type, timestamp, received_at, workflow, "
             "opportunity, bytes FROM entries";
    case TransferTable::ledger_blocks:
      return "SELECT block >> 30, block & ((1 << 30) - 1), first, last, types FROM blocks";
    case TransferTable::ledger_quarantine:
      return "SELECT message, tenant, event_id, reason, received_at, bytes FROM quarantine";
  }
  return "";
}

const char* count_sql(TransferTable table) {
  switch (table) {
    case TransferTable::definitions:
      return "SELECT count(*) FROM definitions";
    case TransferTable::documents:
      return "SELECT count(*) FROM documents";
    case TransferTable::opportunities:
      return "SELECT count(*) FROM opportunities";
    case TransferTable::runs:
      return "SELECT count(*) FROM runs";
    case TransferTable::results:
      return "SELECT count(*) FROM results";
    case TransferTable::triggers:
      return "SELECT count(*) FROM triggers";
    case TransferTable::inbox:
      return "SELECT count(*) FROM inbox";
    case TransferTable::dead_letters:
      return "SELECT count(*) FROM dead_letters";
    case TransferTable::log:
      return "SELECT count(*) FROM log";
    case TransferTable::outbox:
      return "SELECT count(*) FROM outbox";
    case TransferTable::schedules:
      return "SELECT count(*) FROM schedules";
    case TransferTable::fires:
      return "SELECT count(*) FROM fires";
    case TransferTable::job_runs:
      return "SELECT count(*) FROM job_runs";
    case TransferTable::risk_snapshots:
      return "SELECT count(*) FROM risk_snapshots";
    case TransferTable::outcomes:
      return "SELECT count(*) FROM outcomes";
    case TransferTable::ledger_tenants:
      return "SELECT count(*) FROM tenants";
    case TransferTable::ledger_event_types:
      return "SELECT count(*) FROM event_types";
    case TransferTable::ledger_entries:
      return "SELECT count(*) FROM entries";
    case TransferTable::ledger_blocks:
      return "SELECT count(*) FROM blocks";
    case TransferTable::ledger_quarantine:
      return "SELECT count(*) FROM quarantine";
  }
  return "";
}

Result<Database> open_file(const std::filesystem::path& file, std::span<const Migration> migrations) {
  TRY_ASSIGN(Database database, Database::open({.file = file}));
  TRY(migrate(database, migrations, file.string()));
  return database;
}

/// The first column of the first row, or nothing.
Result<std::optional<std::int64_t>> ask(const Database& database, std::string_view sql) {
  TRY_ASSIGN(Statement statement, database.prepare(sql));
  TRY_ASSIGN(const bool row, statement.step());
  if (!row || statement.is_null(0)) return std::nullopt;
  return statement.integer(0);
}

}  // namespace

struct SqliteExport::State {
  std::filesystem::path folder;
  Database store;
  Database ledger;

  [[nodiscard]] const Database& holding(TransferTable table) const { return is_of_ledger(table) ? ledger : store; }
};

SqliteExport::SqliteExport(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteExport::~SqliteExport() = default;

bool SqliteExport::exists(const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::is_regular_file(folder / kStoreFile, error);
}

Result<std::unique_ptr<SqliteExport>> SqliteExport::open(const DataDirectory& directory) {
  const auto& folder = directory.path();
  if (!exists(folder)) {
    return fail(ErrorCode::not_found, "{} holds no installation: there is no {} in it", folder.string(), kStoreFile);
  }
  // Made anew it would be empty, and nobody would know that there had been one.
  if (std::error_code error; !std::filesystem::is_regular_file(folder / kLedgerFile, error)) {
    return fail(ErrorCode::not_found, "{} has no {}: put it back, or serve the directory once to begin a new one",
                folder.string(), kLedgerFile);
  }
  TRY_ASSIGN(Database store, open_file(folder / kStoreFile, as_migrations(embedded::store_migrations())));
  TRY_ASSIGN(Database ledger, open_file(folder / kLedgerFile, as_migrations(embedded::ledger_migrations())));
  return std::unique_ptr<SqliteExport>(
      new SqliteExport(std::make_unique<State>(State{folder, std::move(store), std::move(ledger)})));
}

std::string SqliteExport::description() const { return state_->folder.string(); }

Result<std::int64_t> SqliteExport::count(TransferTable table) {
  TRY_ASSIGN(const auto count, ask(state_->holding(table), count_sql(table)));
  return count.value_or(0);
}

Result<void> SqliteExport::read(TransferTable table, FunctionRef<Result<void>(const TransferRow& row)> take) {
  TRY_ASSIGN(Statement select, state_->holding(table).prepare(select_sql(table)));
  const auto kinds = columns(table);
  TransferRow row(kinds.size());
  for (;;) {
    TRY_ASSIGN(const bool more, select.step());
    if (!more) return {};
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      const int column = static_cast<int>(i);
      if (select.is_null(column)) {
        row[i] = std::monostate();
      } else if (kinds[i].kind == CellKind::integer) {
        row[i] = select.integer(column);
      } else {
        row[i] = select.text(column);
      }
    }
    TRY(take(row));
  }
}

Result<TransferSource::Log> SqliteExport::log() {
  Log log;
  TRY_ASSIGN(const auto trimmed, ask(state_->store, "SELECT through FROM log_trimmed"));
  TRY_ASSIGN(const auto last, ask(state_->store, "SELECT max(sequence) FROM log"));
  log.trimmed_through = trimmed.value_or(0);
  log.last = std::max(last.value_or(0), log.trimmed_through);
  TRY_ASSIGN(const auto broker, ask(state_->store, "SELECT 1 FROM installation WHERE bus = 'broker'"));
  log.is_bus = !broker.has_value();
  return log;
}

Result<std::vector<std::pair<std::string, Sequence>>> SqliteExport::positions() {
  std::vector<std::pair<std::string, Sequence>> positions;
  for (const Database* database : {&state_->store, &state_->ledger}) {
    TRY_ASSIGN(Statement select, database->prepare("SELECT consumer, position FROM positions ORDER BY consumer"));
    for (;;) {
      TRY_ASSIGN(const bool more, select.step());
      if (!more) break;
      positions.emplace_back(select.text(0), select.integer(1));
    }
  }
  return positions;
}

Result<std::optional<std::string>> SqliteExport::moved_to() {
  TRY_ASSIGN(Statement select, state_->store.prepare("SELECT moved_to FROM installation WHERE moved_to <> ''"));
  TRY_ASSIGN(const bool row, select.step());
  return row ? std::optional(select.text(0)) : std::nullopt;
}

Result<void> SqliteExport::mark_moved(std::string_view target) {
  INVARIANT(!target.empty());
  TRY_ASSIGN(Statement mark, state_->store.prepare("INSERT INTO installation (one, bus, moved_to) VALUES (1, 'log', ?) "
                                                   "ON CONFLICT (one) DO UPDATE SET moved_to = excluded.moved_to"));
  return mark.bind_text(target).run();
}

}  // namespace wfo::store::sqlite
