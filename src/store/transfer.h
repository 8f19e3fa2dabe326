#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "store/event_log.h"

/// How all that an installation keeps is handed from one kind of store to another: table by table, as rows whose
/// meaning no kind of store changes. Ids are 16 bytes, times milliseconds since 1970 UTC.
namespace wfo::store {

enum class TransferTable {
  definitions,
  documents,
  opportunities,
  runs,
  results,
  triggers,
  inbox,
  dead_letters,
  log,
  outbox,
  schedules,
  fires,
  job_runs,
  risk_snapshots,
  outcomes,
  // Of the ledger, which may go to another database.
  ledger_tenants,
  ledger_event_types,
  ledger_entries,
  ledger_blocks,
  ledger_quarantine,
};
/// In an order in which they can be written.
[[nodiscard]] std::span<const TransferTable> all_transfer_tables();
[[nodiscard]] std::string_view name(TransferTable table);
[[nodiscard]] bool is_of_ledger(TransferTable table);

enum class CellKind { integer, uuid, text, bytes };

struct TransferColumn {
  std::string_view name;
  CellKind kind;
};
/// What a row of the table consists of, in this order. The names are those of PostgreSQL's columns.
[[nodiscard]] std::span<const TransferColumn> columns(TransferTable table);

/// Nothing, an integer (of which a boolean is one: 0 or 1), or the bytes of a uuid, a text or a payload.
using TransferCell = std::variant<std::monostate, std::int64_t, std::string>;
using TransferRow = std::vector<TransferCell>;

/// What a table holds, in a form that is the same wherever it is and in whatever order it is read: how many rows, and
/// the sum modulo 2^256 of the SHA-256 of each (big-endian). A row's SHA-256 is that of its cells one after the other:
/// nothing as `00`; an integer as `01` and 8 bytes big-endian; bytes as `02`, their number as 8 bytes big-endian, and
/// they themselves.
class TransferDigest {
 public:
  void add(const TransferRow& row);
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  /// 64 hex digits.
  [[nodiscard]] std::string to_hex() const;
  friend bool operator==(const TransferDigest& a, const TransferDigest& b);

 private:
  std::int64_t rows_ = 0;
  std::array<std::uint64_t, 4> sum_{};  // the least significant first
  std::string buffer_;                  // kept, so that a row allocates nothing
};

/// An installation that nobody serves, to be moved elsewhere. One thread.
class TransferSource {
 public:
  virtual ~TransferSource() = default;
  /// For people: where it is.
  [[nodiscard]] virtual std::string description() const = 0;
  /// Counts them all.
  [[nodiscard]] virtual Result<std::int64_t> count(TransferTable table) = 0;
  /// Hands each row to `take`, in no order, except the log by sequence; ends with the first error of `take`. Errors:
  /// `unavailable`, `corruption`.
  [[nodiscard]] virtual Result<void> read(TransferTable table,
                                          FunctionRef<Result<void>(const TransferRow& row)> take) = 0;

  struct Log {
    Sequence last = 0;             // that was ever given
    Sequence trimmed_through = 0;  // what was before is gone
    bool is_bus = true;            // consumers follow it by positions; else `outbox` says what awaits publication
  };
  [[nodiscard]] virtual Result<Log> log() = 0;
  /// How far each consumer of the log has come, that of the ledger among them.
  [[nodiscard]] virtual Result<std::vector<std::pair<std::string, Sequence>>> positions() = 0;

  /// What `mark_moved` was given; nothing: it is the one that counts.
  [[nodiscard]] virtual Result<std::optional<std::string>> moved_to() = 0;
  /// From now on nobody can serve it. Durable when it returns. `target`: where everything is, for people, and how the
  /// target knows that it is from here.
  [[nodiscard]] virtual Result<void> mark_moved(std::string_view target) = 0;
};

}  // namespace wfo::store
