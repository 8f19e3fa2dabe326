#include <algorithm>

#include "api/detail/arguments.h"
#include "api/detail/payload.h"
#include "api/detail/routes.h"
#include "ledger/ledger_queries.h"

namespace wfo::api::detail {
namespace {

constexpr std::size_t kEntriesAtOnce = 64;   // read from the store, each up to an event's size
constexpr std::size_t kScannedMax = 10'000;  // messages looked at for one answer
constexpr std::string_view kNext = "X-Next-After";
constexpr std::string_view kBehind = "X-Ledger-Behind";

struct Search {
  store::LedgerQuery query;
  std::size_t limit = kPageDefault;
};

Result<Search> read_search(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"type", "from", "to", "workflowId", "opportunityId", "after", "limit"}));
  Search search;
  auto& query = search.query;
  TRY_ASSIGN(query.tenant, read_tenant(request, services.default_tenant));
  query.type = request.query_parameter("type").value_or("");
  TRY_ASSIGN(query.from, read_time(request, "from"));
  TRY_ASSIGN(query.to, read_time(request, "to"));
  if (query.from && query.to && *query.from >= *query.to) {
    return fail(ErrorCode::invalid_argument, "parameter from is {}, to is {}; allowed: from before to",
                format_timestamp(*query.from), format_timestamp(*query.to));
  }
  TRY_ASSIGN(const auto workflow, read_uuid(request, "workflowId"));
  if (workflow) query.workflow = WorkflowId(*workflow);
  TRY_ASSIGN(query.opportunity, read_opportunity(request, query.tenant));
  TRY_ASSIGN(const auto after, read_count(request, "after"));
  query.after = after.value_or(-1);
  TRY_ASSIGN(search.limit, read_limit(request));
  return search;
}

/// Hands over what matches, in order, until there are `limit` entries or the answer is large enough. Returns where the
/// next page goes on; nothing: that was all.
Result<std::optional<store::LedgerIndex>> read_page(store::LedgerStore& ledger, const Search& search,
                                                    FunctionRef<void(const store::LedgerEntry&)> take) {
  store::LedgerQuery query = search.query;
  std::size_t taken = 0;
  std::size_t bytes = 0;
  for (;;) {
    query.limit = std::min(kEntriesAtOnce, search.limit + 1 - taken);  // one more says whether there is a next page
    TRY_ASSIGN(const auto entries, ledger.search(query));
    for (const auto& entry : entries) {
      const bool is_full = taken > 0 && bytes + entry.bytes.size() > kPageBytesMax;
      if (taken == search.limit || is_full) return std::optional(query.after);
      take(entry);
      ++taken;
      bytes += entry.bytes.size();
      query.after = entry.index;
    }
    if (entries.size() < query.limit) return std::optional<store::LedgerIndex>();
  }
}

void write_entry(json::Writer& out, const store::LedgerEntry& entry) {
  out.begin_object().key("index").number(entry.index).key("receivedAt").timestamp(entry.received_at);
  if (entry.workflow) out.key("workflowId").uuid(*entry.workflow);
  if (entry.opportunity) out.key("opportunityId").uuid(*entry.opportunity);
  out.key("event").raw(entry.bytes).end_object();
}

/// An answer that may lack what has just happened says so. The ledger can be read while it cannot be written.
Result<Headers> ledger_headers(const Services& services) {
  if (!services.ledger_catches_up) return Headers{};
  TRY_ASSIGN(const bool is_current, services.ledger_catches_up());
  return is_current ? Headers{} : Headers{{std::string(kBehind), "true"}};
}

Answer events(const Services& services, const Request& request) {
  TRY_ASSIGN(const Search search, read_search(services, request));
  TRY_ASSIGN(Headers headers, ledger_headers(services));
  std::string body;
  json::Writer out(body);
  out.begin_object().key("entries").begin_array();
  TRY_ASSIGN(const auto next,
             read_page(services.ledger, search, [&](const store::LedgerEntry& entry) { write_entry(out, entry); }));
  out.end_array();
  if (next) out.key("after").number(*next);
  out.end_object();
  Response response = json_response(200, std::move(body));
  response.headers = std::move(headers);
  return response;
}

Answer export_lines(const Services& services, const Request& request) {
  TRY_ASSIGN(const Search search, read_search(services, request));
  TRY_ASSIGN(Headers headers, ledger_headers(services));
  Response response{.status = 200, .content_type = "application/jsonl", .body = {}, .headers = std::move(headers)};
  TRY_ASSIGN(const auto next, read_page(services.ledger, search, [&](const store::LedgerEntry& entry) {
               ledger::append_line(response.body, entry, ledger::ExportForm::rows);
             }));
  if (next) response.headers.add(std::string(kNext), std::to_string(*next));
  return response;
}

/// What names no tenant can be anybody's, so nobody sees it but the system tenant.
bool is_visible(const store::QuarantinedMessage& message, const TenantId& tenant) {
  return message.tenant.value_or(system_tenant()) == tenant;
}

void write_message(json::Writer& out, const store::QuarantinedMessage& message) {
  out.begin_object().key("id").number(message.id).key("receivedAt").timestamp(message.received_at);
  if (message.event_id) out.key("eventId").uuid(*message.event_id);
  out.key("reason").string(message.reason);
  write_payload(out, "body", message.bytes);
  out.end_object();
}

Answer quarantine(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"after", "limit"}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto first, read_count(request, "after"));
  TRY_ASSIGN(const auto limit, read_limit(request));
  const auto asked = tenant == system_tenant() ? std::nullopt : std::optional(tenant);
  std::int64_t after = first.value_or(0);
  std::size_t scanned = 0;
  std::size_t taken = 0;
  bool is_last = false;
  std::string body;
  json::Writer out(body);
  out.begin_object().key("messages").begin_array();
  for (bool is_full = false; !is_full && !is_last;) {
    TRY_ASSIGN(const auto messages, services.ledger.quarantined(asked, after, kEntriesAtOnce));
    is_last = messages.size() < kEntriesAtOnce;
    for (const auto& message : messages) {
      is_full =
          taken == limit || scanned == kScannedMax || (taken > 0 && body.size() + message.bytes.size() > kPageBytesMax);
      if (is_full) {
        is_last = false;
        break;
      }
      ++scanned;
      after = message.id;
      if (!is_visible(message, tenant)) continue;
      write_message(out, message);
      ++taken;
    }
  }
  out.end_array();
  if (!is_last) out.key("after").number(after);
  out.end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void add_audit_routes(Router& router, const Services& services) {
  add_route(router, Method::get, "/api/v1/audit/events", services, events);
  add_route(router, Method::get, "/api/v1/audit/export", services, export_lines);
  add_route(router, Method::get, "/api/v1/audit/quarantine", services, quarantine);
}

}  // namespace wfo::api::detail
