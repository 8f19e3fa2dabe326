#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "events/contracts.h"
#include "store/event_log.h"
#include "store/store.h"

namespace wfo::store::sqlite {

/// Memory is about cache_kib + readers * reader_cache_kib + log_cache_bytes_max, however many rows there are.
struct SqliteStoreConfig {
  std::filesystem::path directory = {};                     // exists; the file in it is `wfo.db` (data_directory.h)
  int page_bytes = 8192;                                    // of a new file; a power of two, 512..65536
  int cache_kib = 64 * 1024;                                // 1024..67108864: pages kept by the writer
  int reader_cache_kib = 8 * 1024;                          // 256..67108864: by each reader
  int readers = 4;                                          // 1..64: reads at once
  int checkpoint_pages = 8192;                              // 16..1000000: WAL pages that are moved into the file
  std::size_t group_max = 256;                              // 1..65536: transactions in one commit
  std::size_t queue_max = 1024;                             // 1..65536: transactions waiting; beyond, callers wait
  std::size_t log_cache_bytes_max = std::size_t{64} << 20;  // of the newest log entries, kept parsed
  std::uint64_t disk_free_min_bytes = std::uint64_t{256} << 20;  // less free space than that: no new work; 0: no mark
  bool outbox = false;   // whether the bus is a broker, so that entries of the log await publication
  std::string vfs = {};  // SQLite's VFS; "": its default
  /// How many bytes are free for `directory`. Empty: the file system is asked. For tests.
  std::function<Result<std::uint64_t>()> disk_free = {};
};

/// Errors: `invalid_argument` names the field, its value and what is allowed.
[[nodiscard]] Result<void> check(const SqliteStoreConfig& config);

/// The store in one SQLite file, and the log as readers see it (docs/adr/0004-sqlite-store.md). All transactions run on
/// one thread of the store's own, so a body must be quick: what can be computed before is. Those that wait for it are
/// committed together, with one fsync; each takes effect or fails by itself. An exception that a body throws comes out
/// of its `transact`, and nothing is changed.
///
/// Commits that fail (disk full or failing) give `unavailable` with file and reason to all whose transactions were in
/// it; the store goes on, and works again when the disk does.
class SqliteStore final : public Store, public LogReader {
 public:
  /// Opens or makes the file and brings it to the newest schema. All that is handed in must outlive the store.
  /// Errors: `invalid_argument` the configuration; `unavailable` the file cannot be used: says why; `conflict` its
  /// schema is newer than this program, it was used with the other kind of bus, or all of it was moved elsewhere;
  /// `corruption`.
  [[nodiscard]] static Result<std::unique_ptr<SqliteStore>> open(SqliteStoreConfig config,
                                                                 const events::Contracts& contracts, const Clock& clock,
                                                                 Logger& log, Metrics& metrics);
  /// Finishes what waits. Nobody may be in a call.
  ~SqliteStore() override;

  Result<void> transact(FunctionRef<Result<void>(Transaction&)> body) override;
  Result<void> read(FunctionRef<Result<void>(const Transaction&)> body) override;
  Result<void> admission() override;

  /// From memory, as it was appended, if `after` is young enough; else from the file.
  Result<LogPage> read(Sequence after, const TypeFilter& filter, std::size_t count_max, std::size_t bytes_max) override;
  void wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) override;
  Sequence trimmed_through() override;
  Sequence last() override;

  /// How many transactions wait for the writer.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct State;
  explicit SqliteStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::store::sqlite
