#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/ledger_store.h"

namespace wfo::ledger {

struct SearchPage {
  std::vector<store::LedgerEntry> entries;  // ascending by index
  std::optional<store::LedgerIndex> next;   // hand it over as `after` for the next page; nothing: this is the last
};

inline constexpr std::size_t kSearchLimitMax = 1'000;            // entries of a page
inline constexpr std::size_t kSearchBytesMax = 8 * 1024 * 1024;  // of a page; one entry always fits

/// One page of one tenant's ledger, in the order of the index: at most `query.limit` entries, fewer if they have more
/// than `kSearchBytesMax`. Errors: `invalid_argument` a limit that is not 1..1000, `from` not before `to`, `after`
/// below -1; else as the store.
[[nodiscard]] Result<SearchPage> search(store::LedgerStore& ledger, const store::LedgerQuery& query);

/// Appends the entry as a line of an export, one JSON text and a line feed:
///
///     {"index":7,"receivedAt":"2026-03-01T09:30:00.004Z","event":{…}}
///
/// The event stands there as the bytes that were received. Only if line breaks stand between its tokens are those left
/// out, since a line must be one line (inside strings JSON has none); the row then says `"reflowed":true` before
/// `event`, so that nobody takes the digest of a text that never came. The stored bytes are not touched: `search` gives
/// them.
void append_line(std::string& out, const store::LedgerEntry& entry);

}  // namespace wfo::ledger
