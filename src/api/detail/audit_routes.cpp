#include <algorithm>

#include "api/detail/arguments.h"
#include "api/detail/payload.h"
#include "api/detail/routes.h"
#include "ledger/ledger_queries.h"

namespace wfo::api::detail {
namespace {

constexpr std::size_t kMessagesAtOnce = 64;  // read from the store, each up to an event's size
constexpr std::size_t kScannedMax = 10'000;  // messages looked at for one answer
constexpr std::string_view kNext = "X-Next-After";
constexpr std::string_view kBehind = "X-Ledger-Behind";

Result<store::LedgerQuery> read_query(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"type", "from", "to", "workflowId", "opportunityId", "after", "limit"}));
  store::LedgerQuery query;
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
  TRY_ASSIGN(query.limit, read_limit(request));
  return query;
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
  TRY_ASSIGN(const auto query, read_query(services, request));
  TRY_ASSIGN(Headers headers, ledger_headers(services));
  TRY_ASSIGN(const auto page, ledger::search(services.ledger, query));
  std::string body;
  json::Writer out(body);
  out.begin_object().key("entries").begin_array();
  for (const auto& entry : page.entries) write_entry(out, entry);
  out.end_array();
  if (page.next) out.key("after").number(*page.next);
  out.end_object();
  Response response = json_response(200, std::move(body));
  response.headers = std::move(headers);
  return response;
}

Answer export_lines(const Services& services, const Request& request) {
  TRY_ASSIGN(const auto query, read_query(services, request));
  TRY_ASSIGN(Headers headers, ledger_headers(services));
  TRY_ASSIGN(const auto page, ledger::search(services.ledger, query));
  Response response{.status = 200, .content_type = "application/jsonl", .body = {}, .headers = std::move(headers)};
  for (const auto& entry : page.entries) ledger::append_line(response.body, entry);
  if (page.next) response.headers.add(std::string(kNext), std::to_string(*page.next));
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
    TRY_ASSIGN(const auto messages, services.ledger.quarantined(asked, after, kMessagesAtOnce));
    is_last = messages.size() < kMessagesAtOnce;
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
