#include "ledger/ledger_queries.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/json.h"

namespace wfo::ledger {
namespace {

constexpr std::size_t kReadMax = 128;  // entries read at once, so what is in memory at most
constexpr std::string_view kLineBreaks = "\r\n";

Result<void> check(const store::LedgerQuery& query) {
  if (query.limit < 1 || query.limit > kSearchLimitMax) {
    return fail(ErrorCode::invalid_argument, "limit {}: 1 to {} are allowed", query.limit, kSearchLimitMax);
  }
  if (query.from && query.to && *query.from >= *query.to) {
    return fail(ErrorCode::invalid_argument, "from {} is not before to {}", format_timestamp(*query.from),
                format_timestamp(*query.to));
  }
  if (query.after < -1) {
    return fail(ErrorCode::invalid_argument, "after {}: -1 (from the beginning) or an index is allowed", query.after);
  }
  return {};
}

}  // namespace

void append_line(std::string& out, const store::LedgerEntry& entry) {
  const bool reflowed = entry.bytes.find_first_of(kLineBreaks) != std::string::npos;
  out.append("{\"index\":").append(std::to_string(entry.index)).append(",\"receivedAt\":\"");
  append_timestamp(out, entry.received_at);
  out.append(reflowed ? "\",\"reflowed\":true,\"event\":" : "\",\"event\":");
  if (reflowed) {
    std::ranges::copy_if(entry.bytes, std::back_inserter(out),
                         [](char c) { return kLineBreaks.find(c) == std::string_view::npos; });
  } else {
    out.append(entry.bytes);
  }
  out.append("}\n");
}

Result<SearchPage> search(store::LedgerStore& ledger, const store::LedgerQuery& query) {
  TRY(check(query));
  // Read a few at a time: a page of the largest entries would not fit the memory.
  auto part = query;
  SearchPage page;
  std::size_t bytes = 0;
  for (;;) {
    part.limit = std::min(kReadMax, query.limit + 1 - page.entries.size());
    TRY_ASSIGN(auto entries, ledger.search(part));
    for (auto& entry : entries) {
      const bool is_full = !page.entries.empty() && bytes + entry.bytes.size() > kSearchBytesMax;
      if (page.entries.size() == query.limit || is_full) {
        page.next = page.entries.back().index;
        return page;
      }
      bytes += entry.bytes.size();
      page.entries.push_back(std::move(entry));
    }
    if (entries.size() < part.limit) return page;
    part.after = page.entries.back().index;
  }
}

}  // namespace wfo::ledger
