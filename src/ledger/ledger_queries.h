#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "store/ledger_store.h"

namespace wfo::ledger {

/// What a line of an export holds. A line is one JSON text and ends with its line feed.
///
/// `rows`:   `{"index":7,"receivedAt":"2026-03-01T09:30:00.004Z","event":{…}}`
/// `events`: `{…}`, the event alone.
///
/// The event stands there as the bytes that were received. Only if line breaks stand between its tokens are those left
/// out, since a line must be one line (inside strings JSON has none); a row then says `"reflowed":true` before `event`,
/// so that nobody takes the digest of a text that never came. The stored bytes are not touched: `search` gives them.
enum class ExportForm { rows, events };

struct ExportSummary {
  std::int64_t lines = 0;
  std::int64_t bytes = 0;
  std::optional<store::LedgerIndex> last;  // of the last line
  bool stopped = false;                    // `stop` came before the end
  friend bool operator==(const ExportSummary&, const ExportSummary&) = default;
};

/// Takes one line. An error ends the export, which returns it.
using LineSink = FunctionRef<Result<void>(std::string_view line)>;

struct SearchPage {
  std::vector<store::LedgerEntry> entries;  // ascending by index
  std::optional<store::LedgerIndex> next;   // hand it over as `after` for the next page; nothing: this is the last
};

inline constexpr std::size_t kSearchLimitMax = 1'000;             // entries of a page; exports have no limit
inline constexpr std::size_t kSearchBytesMax = 16 * 1024 * 1024;  // the entry that reaches it is the page's last

/// How people and programs read the ledger: always one tenant's, whom the caller has authorised. Any thread.
class LedgerQueries {
 public:
  explicit LedgerQueries(store::LedgerStore& ledger) : ledger_(ledger) {}

  /// One page: at most `query.limit` entries, fewer if they have more than `kSearchBytesMax`. Errors:
  /// `invalid_argument` a limit that is not 1..1000, `from` not before `to`, `after` below -1.
  [[nodiscard]] Result<SearchPage> search(const store::LedgerQuery& query) const;

  /// Everything that matches (`query.limit` is not asked), in the order of the index, as lines; up to what the ledger
  /// held when the export began. Memory is bounded by 128 entries. Errors: as `search`, and `line`'s own.
  [[nodiscard]] Result<ExportSummary> export_lines(const store::LedgerQuery& query, ExportForm form, LineSink line,
                                                   std::stop_token stop = {}) const;

  /// The quarantine, the oldest first: of one tenant, or (nothing) of all, also what names no tenant.
  /// Errors: `invalid_argument` a limit that is not 1..1000.
  [[nodiscard]] Result<std::vector<store::QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant,
                                                                           std::int64_t after = 0,
                                                                           std::size_t limit = 100) const;

 private:
  store::LedgerStore& ledger_;
};

/// Appends the entry as one line, line feed included.
void append_line(std::string& out, const store::LedgerEntry& entry, ExportForm form);

}  // namespace wfo::ledger
