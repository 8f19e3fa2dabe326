#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "store/ledger_store.h"

namespace wfo::store::sqlite {

/// Memory is about cache_kib + readers * reader_cache_kib.
struct SqliteLedgerConfig {
  std::filesystem::path directory = {};  // exists; the file in it is `ledger.db` (data_directory.h)
  int page_bytes = 8192;                 // of a new file; a power of two, 512..65536
  int cache_kib = 32 * 1024;             // 1024..67108864: pages kept by the connection that appends
  int reader_cache_kib = 4 * 1024;       // 256..67108864: by each reader
  int readers = 2;                       // 1..64: reads at once
  int checkpoint_pages = 8192;           // 16..1000000: WAL pages that are moved into the file
  std::string vfs = {};                  // SQLite's VFS; "": its default
};

/// Errors: `invalid_argument` names the field, its value and what is allowed.
[[nodiscard]] Result<void> check(const SqliteLedgerConfig& config);

/// The ledger in a SQLite file of its own. Appending is done on the caller's thread, one call at a time; reads go on
/// beside it, each on what is committed when it begins.
class SqliteLedger final : public LedgerStore {
 public:
  /// Opens or makes the file and brings it to the newest schema. All that is handed in must outlive the ledger. Errors:
  /// `invalid_argument` the configuration; `unavailable` the file cannot be used: says why; `conflict` its schema is
  /// newer than this program; `corruption`.
  [[nodiscard]] static Result<std::unique_ptr<SqliteLedger>> open(SqliteLedgerConfig config, const Clock& clock,
                                                                  Logger& log, Metrics& metrics);
  ~SqliteLedger() override;

  Result<std::optional<Lease>> acquire(std::string_view holder, milliseconds length) override;
  Result<void> release(Epoch epoch) override;
  Result<std::vector<LedgerOutcome>> append(std::span<const LedgerRecord> records,
                                            std::span<const QuarantinedMessage> unreadable, std::string_view consumer,
                                            Sequence position, std::optional<Epoch> epoch = std::nullopt) override;
  Result<Sequence> position(std::string_view consumer) override;
  Result<LedgerIndex> size(const TenantId& tenant) override;
  Result<std::vector<TenantId>> tenants() override;
  Result<std::vector<LedgerEntry>> search(const LedgerQuery& query) override;
  Result<std::vector<QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant, std::int64_t after,
                                                      std::size_t limit) override;

 private:
  struct State;
  explicit SqliteLedger(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::store::sqlite
