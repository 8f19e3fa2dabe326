#include "store/sqlite/detail/database.h"

#include <fmt/format.h>

#include <system_error>

namespace wfo::store::sqlite {
namespace {

constexpr int kBusyWaitMs = 5'000;  // the file is ours alone, so only recovery and checkpoints ever let one wait

std::unexpected<Error> failure(sqlite3* handle, int code) {
  std::string message;
  const char* const file = handle ? sqlite3_db_filename(handle, "main") : nullptr;
  if (file && *file) message = fmt::format("{}: ", file);
  message += handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  const bool from_system = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR;
  const int system_error = handle && from_system ? sqlite3_system_errno(handle) : 0;
  if (system_error != 0) message += fmt::format(": {}", std::generic_category().message(system_error));
  return std::unexpected(Error{error_code(code), std::move(message)});
}

int note_wal_pages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

ErrorCode error_code(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
      return ErrorCode::unavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::corruption;
    case SQLITE_CONSTRAINT:
      return ErrorCode::conflict;
    case SQLITE_TOOBIG:
      return ErrorCode::invalid_argument;
    default:
      return ErrorCode::internal;
  }
}

Statement& Statement::bind(std::int64_t value) {
  INVARIANT(sqlite3_bind_int64(statement_.get(), ++bound_, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(double value) {
  INVARIANT(sqlite3_bind_double(statement_.get(), ++bound_, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_text(std::string_view text) {
  const char* data = text.data() ? text.data() : "";  // a null pointer would bind NULL
  INVARIANT(sqlite3_bind_text64(statement_.get(), ++bound_, data, text.size(), SQLITE_STATIC, SQLITE_UTF8) ==
            SQLITE_OK);
  return *this;
}

Statement& Statement::bind_blob(std::string_view bytes) {
  const char* data = bytes.data() ? bytes.data() : "";
  INVARIANT(sqlite3_bind_blob64(statement_.get(), ++bound_, data, bytes.size(), SQLITE_STATIC) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind_null() {
  INVARIANT(sqlite3_bind_null(statement_.get(), ++bound_) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(const Uuid& id) {
  return bind_blob(std::string_view(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()));
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  bound_ = 0;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_.get());
    return false;
  }
  sqlite3* handle = sqlite3_db_handle(statement_.get());
  auto error = failure(handle, sqlite3_extended_errcode(handle));
  sqlite3_reset(statement_.get());
  return error;
}

Result<void> Statement::run() {
  TRY_ASSIGN(const bool row, step());
  INVARIANT(!row);
  return {};
}

void Statement::reset() {
  bound_ = 0;
  sqlite3_reset(statement_.get());
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }
bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

std::string_view Statement::text_view(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return data ? std::string_view(data, size) : std::string_view();
}

Uuid Statement::uuid(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return Uuid::from_bytes({data, data ? size : 0}).value_or(Uuid{});
}

Result<Database> Database::open(const DatabaseOptions& options) {
  sqlite3* handle = nullptr;
  const int flags = (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code =
      sqlite3_open_v2(options.file.c_str(), &handle, flags, options.vfs.empty() ? nullptr : options.vfs.c_str());
  Database database(handle);
  const auto in_file = [&](Error error) {
    const std::string file = options.file.string();
    return std::unexpected(error.message.starts_with(file) ? std::move(error) : with_context(std::move(error), file));
  };
  if (code != SQLITE_OK) return in_file(failure(handle, code).error());
  sqlite3_busy_timeout(handle, kBusyWaitMs);
  const auto configure = [&]() -> Result<void> {
    TRY(database.execute(
        fmt::format("PRAGMA cache_size=-{};PRAGMA temp_store=MEMORY;PRAGMA foreign_keys=OFF", options.cache_kib)));
    if (options.read_only) return {};
    TRY(database.execute(fmt::format("PRAGMA page_size={}", options.page_bytes)));
    TRY_ASSIGN(Statement journal, database.prepare("PRAGMA journal_mode=WAL"));
    TRY_ASSIGN(const bool row, journal.step());
    if (!row || journal.text_view(0) != "wal") {
      return fail(ErrorCode::unavailable, "its file system has no shared memory for a write-ahead log");
    }
    journal.reset();
    // Checkpoints are the writer's business (checkpoint_beyond).
    TRY(database.execute("PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=0"));
    sqlite3_wal_hook(handle, note_wal_pages, database.wal_pages_.get());
    return {};
  };
  if (auto configured = configure(); !configured) return in_file(configured.error());
  return database;
}

Result<void> Database::checkpoint_beyond(int pages) const {
  if (*wal_pages_ < pages) return {};
  // The one writer is this thread, so after a passive checkpoint that no reader held up the whole WAL is free again.
  int code = sqlite3_wal_checkpoint_v2(handle_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code == SQLITE_OK && *wal_pages_ / kWalFactorMax >= pages) {
    sqlite3_busy_timeout(handle_.get(), static_cast<int>(kReadersWaitMax.count()));
    code = sqlite3_wal_checkpoint_v2(handle_.get(), "main", SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
    sqlite3_busy_timeout(handle_.get(), kBusyWaitMs);
  }
  if (code == SQLITE_OK || code == SQLITE_BUSY) return {};  // busy: the rest goes with the next checkpoint
  return failure(handle_.get(), code);
}

Result<Statement> Database::prepare(std::string_view sql) const {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failure(handle_.get(), code);
  return Statement(statement);
}

Result<void> Database::execute(const std::string& sql) const {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(handle_.get(), code);
  return {};
}

Result<void> migrate(const Database& database, std::span<const Migration> migrations, std::string_view name) {
  TRY(database.execute("BEGIN IMMEDIATE"));
  const auto migrate_all = [&]() -> Result<void> {
    TRY_ASSIGN(Statement version, database.prepare("PRAGMA user_version"));
    TRY_ASSIGN(const bool row, version.step());
    INVARIANT(row);
    const auto current = version.integer(0);
    version.reset();
    if (current > static_cast<std::int64_t>(migrations.size())) {
      return fail(ErrorCode::conflict,
                  "{}: its schema is number {}, this program knows only {} and older; use a newer program", name,
                  current, migrations.size());
    }
    for (const Migration& migration : migrations) {
      if (migration.number <= current) continue;
      if (auto done = database.execute(std::string(migration.sql)); !done) {
        return std::unexpected(
            with_context(std::move(done).error(), fmt::format("{}: migration {}", name, migration.number)));
      }
      TRY(database.execute(fmt::format("PRAGMA user_version={}", migration.number)));
    }
    return {};
  };
  auto migrated = migrate_all();
  if (!migrated) {
    static_cast<void>(database.execute("ROLLBACK"));
    return migrated;
  }
  return database.execute("COMMIT");
}

}  // namespace wfo::store::sqlite
