#include "store/postgres/detail/migrate.h"

namespace wfo::store::postgres {
namespace {

constexpr int kServerVersionMin = 140'000;  // 14: what the statements need

/// The schema's version; 0 without tables. Nothing: there is no such schema.
Result<std::optional<std::int64_t>> version_of(Connection& connection) {
  TRY_ASSIGN(const Rows found, connection.run("SELECT to_regclass(quote_ident($1) || '.migrations') IS NOT NULL FROM "
                                              "pg_namespace WHERE nspname = $1::text",
                                              Params().add_text(connection.schema())));
  if (found.empty()) return std::nullopt;
  if (!found[0].boolean(0)) return 0;
  TRY_ASSIGN(const Rows version, connection.run("SELECT coalesce(max(number), 0) FROM migrations"));
  return version[0].integer(0);
}

/// Whether what belongs into the schema waits beside it. Made anew, the schema would be served without it.
Result<bool> is_moved_into(Connection& connection) {
  TRY_ASSIGN(const Rows found,
             connection.run("SELECT FROM pg_namespace WHERE nspname = $1 || $2::text AND "
                            "starts_with(coalesce(obj_description(oid, 'pg_namespace'), ''), $3)",
                            Params().add_text(connection.schema()).add_text(kMovingSuffix).add_text(kMovingComment)));
  return !found.empty();
}

Result<void> migrate_from(Connection& connection, std::optional<std::int64_t> version,
                          std::span<const Migration> migrations) {
  if (!version) TRY(connection.execute("CREATE SCHEMA " + quoted(connection.schema())));
  if (version.value_or(0) == 0) {
    TRY(
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, applied_at timestamptz "
                           "NOT NULL DEFAULT now())"));
  }
  for (const Migration& migration : migrations) {
    if (migration.number <= version.value_or(0)) continue;
    if (auto done = connection.execute(std::string(migration.sql)); !done) {
      return std::unexpected(with_context(std::move(done).error(), fmt::format("migration {}", migration.number)));
    }
    TRY(connection.run("INSERT INTO migrations (number) VALUES ($1)", Params().add(migration.number)));
  }
  return {};
}

}  // namespace

std::string lock_statement(std::string_view schema) {
  // The name needs no quoting (check_schema).
  return fmt::format("SELECT pg_advisory_xact_lock(hashtextextended('wfo migrations of {}', 0))", schema);
}

Result<int> migrate(Connection& connection, std::span<const Migration> migrations, std::string_view thing) {
  const int newest = static_cast<int>(migrations.size());
  const Connection::Server& server = connection.server();
  const std::string& schema = connection.schema();
  if (server.version_number < kServerVersionMin) {
    return fail(ErrorCode::invalid_argument, "{}: PostgreSQL at {} is version {}; needed: {} or newer", thing,
                server.address, server.version, kServerVersionMin / 10'000);
  }
  const auto too_new = [&](std::int64_t version) {
    return fail(ErrorCode::conflict,
                "{}: the schema {} in database {} at {} has version {}, this program knows only {} and older; use a "
                "newer program",
                thing, schema, server.database, server.address, version, newest);
  };
  const auto move_has_not_ended = [&] {
    return fail(
        ErrorCode::conflict,
        "the schema {0} in database {1} at {2}: a move into it has not ended; run wfo migrate again (or, if the "
        "source is not marked as moved and shall stay, drop the schema {0}{3})",
        schema, server.database, server.address, kMovingSuffix);
  };
  const auto found = version_of(connection);
  if (!found && connection.sqlstate() == "42501") {
    return fail(ErrorCode::invalid_argument, "{}: {}; the role needs USAGE on the schema {} and SELECT on migrations",
                thing, found.error().message, schema);
  }
  TRY_ASSIGN(const auto seen, found);
  if (seen && *seen > newest) return too_new(*seen);
  if (seen && *seen == newest) return newest;

  connection.begin(Connection::Mode::write);
  const auto migrate_locked = [&]() -> Result<void> {
    // Others may be at work for longer than a statement may take, and so may we.
    TRY(connection.run("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)"));
    // `execute` has no time limit of our own either.
    TRY(connection.execute(lock_statement(schema)));
    TRY_ASSIGN(const auto version, version_of(connection));
    if (version.value_or(0) == 0) {
      TRY_ASSIGN(const bool is_moving, is_moved_into(connection));
      if (is_moving) return move_has_not_ended();
    }
    if (version && *version > newest) return too_new(*version);
    TRY(migrate_from(connection, version, migrations));
    TRY(connection.commit());
    return {};
  };
  auto done = migrate_locked();
  if (done) return newest;
  connection.roll_back();
  if (connection.sqlstate() == "42501") {
    return fail(ErrorCode::invalid_argument,
                "{}: {}; the role must be allowed to make the schema {}: GRANT CREATE ON DATABASE {} TO it, or CREATE "
                "SCHEMA {} AUTHORIZATION it, or let another role migrate",
                thing, done.error().message, schema, quoted(server.database), quoted(schema));
  }
  return std::unexpected(with_context(std::move(done).error(), thing));
}

}  // namespace wfo::store::postgres
