#include "ledger/ledger_queries.h"

#include <algorithm>

#include "base/json.h"

namespace wfo::ledger {
namespace {

constexpr std::size_t kReadMax = 128;  // entries read at once, so what is in memory at most
constexpr std::string_view kLineBreaks = "\r\n";

Result<void> check_limit(std::size_t limit) {
  if (limit >= 1 && limit <= kSearchLimitMax) return {};
  return fail(ErrorCode::invalid_argument, "limit {}: 1 to {} are allowed", limit, kSearchLimitMax);
}

Result<void> check_range(const store::LedgerQuery& query) {
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

void append_line(std::string& out, const store::LedgerEntry& entry, ExportForm form) {
  const bool reflowed = entry.bytes.find_first_of(kLineBreaks) != std::string::npos;
  if (form == ExportForm::rows) {
    out.append("{\"index\":").append(std::to_string(entry.index)).append(",\"receivedAt\":\"");
    append_timestamp(out, entry.received_at);
    out.append(reflowed ? "\",\"reflowed\":true,\"event\":" : "\",\"event\":");
  }
  if (reflowed) {
    std::ranges::copy_if(entry.bytes, std::back_inserter(out),
                         [](char c) { return kLineBreaks.find(c) == std::string_view::npos; });
  } else {
    out.append(entry.bytes);
  }
  out.append(form == ExportForm::rows ? "}\n" : "\n");
}

Result<SearchPage> LedgerQueries::search(const store::LedgerQuery& query) const {
  TRY(check_limit(query.limit));
  TRY(check_range(query));
  // Read a few at a time: a page of the largest entries would not fit the memory.
  auto part = query;
  SearchPage page;
  std::size_t bytes = 0;
  for (;;) {
    part.limit = std::min(kReadMax, query.limit + 1 - page.entries.size());
    TRY_ASSIGN(auto entries, ledger_.search(part));
    for (auto& entry : entries) {
      if (page.entries.size() == query.limit || bytes >= kSearchBytesMax) {
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

Result<ExportSummary> LedgerQueries::export_lines(const store::LedgerQuery& query, ExportForm form, LineSink line,
                                                  std::stop_token stop) const {
  TRY(check_range(query));
  TRY_ASSIGN(const auto end, ledger_.size(query.tenant));
  auto page = query;
  page.limit = kReadMax;
  ExportSummary summary;
  std::string text;
  for (;;) {
    TRY_ASSIGN(const auto entries, ledger_.search(page));
    for (const auto& entry : entries) {
      if (entry.index >= end) return summary;
      summary.stopped = stop.stop_requested();
      if (summary.stopped) return summary;
      text.clear();
      append_line(text, entry, form);
      TRY(line(text));
      ++summary.lines;
      summary.bytes += static_cast<std::int64_t>(text.size());
      summary.last = entry.index;
    }
    if (entries.size() < page.limit) return summary;
    page.after = entries.back().index;
  }
}

Result<std::vector<store::QuarantinedMessage>> LedgerQueries::quarantined(const std::optional<TenantId>& tenant,
                                                                          std::int64_t after, std::size_t limit) const {
  TRY(check_limit(limit));
  return ledger_.quarantined(tenant, after, limit);
}

}  // namespace wfo::ledger
