#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "store/migration.h"

namespace wfo::store::sqlite {

/// What SQLite's result code means to the caller: full and failing disks, locks and read-only folders are
/// `unavailable`, a broken file is `corruption`, a broken uniqueness is `conflict`, anything else our bug.
[[nodiscard]] ErrorCode error_code(int sqlite_code);

/// A prepared statement. Parameters are bound in order; blobs, texts and ids are borrowed until it has run.
class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  Statement& bind(std::int64_t value);
  Statement& bind(double value);
  Statement& bind_text(std::string_view text);
  Statement& bind_blob(std::string_view bytes);
  Statement& bind_null();
  Statement& bind(Timestamp time) { return bind(time.time_since_epoch().count()); }
  Statement& bind(const Uuid& id);
  template <class Tag>
  Statement& bind(const Id<Tag>& id) {
    return bind(id.value());
  }
  template <class T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind_null();
  }
  // What is gone before the statement runs.
  Statement& bind_text(std::string&&) = delete;
  Statement& bind_blob(std::string&&) = delete;
  Statement& bind(const Uuid&&) = delete;
  template <class Tag>
  Statement& bind(const Id<Tag>&&) = delete;
  template <class Tag>
  Statement& bind(const std::optional<Id<Tag>>&&) = delete;

  /// True: there is a row to read. False: done. After either a `false` or an error the statement is reset.
  [[nodiscard]] Result<bool> step();
  /// Steps to the end; for statements that give no rows.
  [[nodiscard]] Result<void> run();
  /// Ends a statement whose rows were not all read.
  void reset();

  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string text(int column) const { return std::string(text_view(column)); }  // also a blob's bytes
  [[nodiscard]] std::string_view text_view(int column) const;  // void after the next step or reset
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] Timestamp timestamp(int column) const { return Timestamp(milliseconds(integer(column))); }
  [[nodiscard]] std::optional<Timestamp> optional_timestamp(int column) const {
    return is_null(column) ? std::nullopt : std::optional(timestamp(column));
  }
  /// The nil id if the blob is not one.
  [[nodiscard]] Uuid uuid(int column) const;
  template <class T>
  [[nodiscard]] T id(int column) const {
    return T(uuid(column));
  }
  template <class T>
  [[nodiscard]] std::optional<T> optional_id(int column) const {
    return is_null(column) ? std::nullopt : std::optional(T(uuid(column)));
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
};

struct DatabaseOptions {
  std::filesystem::path file;
  bool read_only = false;
  int page_bytes = 8192;  // of a new file; a power of two, 512..65536
  int cache_kib = 64 * 1024;
  std::string vfs = {};  // "": SQLite's default
};

/// A connection. One thread at a time.
class Database {
 public:
  /// Opens or makes the file in WAL mode, `synchronous=FULL`: a commit is durable when it returns. Errors:
  /// `unavailable` names the file and why.
  [[nodiscard]] static Result<Database> open(const DatabaseOptions& options);

  [[nodiscard]] Result<Statement> prepare(std::string_view sql) const;
  /// Runs one or several statements without parameters or rows.
  [[nodiscard]] Result<void> execute(const std::string& sql) const;
  [[nodiscard]] sqlite3* handle() const { return handle_.get(); }
  /// Rows changed by the last statement.
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(handle_.get()); }
  /// Whether a transaction is open. SQLite ends one by itself when the disk is full or fails.
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(handle_.get()) == 0; }

  /// How many pages the WAL had after this connection's last commit.
  [[nodiscard]] int wal_pages() const { return *wal_pages_; }
  /// Moves the WAL into the file, as a writer between two transactions, when it has `pages` or more; then the next
  /// commit writes it from the start again. Readers of an older snapshot keep some of it alive; when it has
  /// kWalFactorMax times as much, they are waited for, kReadersWaitMax at most. Errors: `unavailable` the disk; nothing
  /// is lost, the WAL has it all.
  [[nodiscard]] Result<void> checkpoint_beyond(int pages) const;

 private:
  static constexpr int kWalFactorMax = 4;
  static constexpr milliseconds kReadersWaitMax{250};
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  explicit Database(sqlite3* handle) : handle_(handle), wal_pages_(std::make_unique<int>(0)) {}
  std::unique_ptr<sqlite3, Close> handle_;
  std::unique_ptr<int> wal_pages_;  // SQLite holds its address
};

/// Brings the file to the newest schema, each migration in a transaction. `name` is what the file is, for messages.
/// Errors: `conflict` the file's schema is newer than this binary knows.
[[nodiscard]] Result<void> migrate(const Database& database, std::span<const Migration> migrations,
                                   std::string_view name);

}  // namespace wfo::store::sqlite
