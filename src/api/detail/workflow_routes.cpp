#include <algorithm>

#include "api/detail/arguments.h"
#include "api/detail/routes.h"
#include "api/detail/run_json.h"
#include "base/digest.h"
#include "store/opportunity_changes.h"

namespace wfo::api::detail {
namespace {

constexpr std::string_view kIdempotencyConsumer = "http-idempotency";  // in the inbox
constexpr std::size_t kIdempotencyKeyMax = 255;
constexpr std::size_t kRunsAtOnce = 16;  // with their results in memory

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

// Starting.

struct Start {
  TenantId tenant;
  OpportunityId opportunity;
  std::string external_id;  // "" if the opportunity is named by its uuid
  std::string definition;
  std::optional<json::Value> changes;
  std::optional<std::string> key;
  std::string traceparent;
};

Result<std::optional<std::string>> read_idempotency_key(const Request& request) {
  const auto key = request.headers.find("Idempotency-Key");
  if (!key) return std::optional<std::string>();
  if (key->empty() || key->size() > kIdempotencyKeyMax || !is_printable(*key)) {
    return fail(ErrorCode::invalid_argument,
                "header Idempotency-Key has {} bytes; allowed: 1..{} printable ASCII characters", key->size(),
                kIdempotencyKeyMax);
  }
  return std::optional(std::string(*key));
}

/// The tenant that header and body name: either, or both the same.
Result<TenantId> read_start_tenant(const Request& request, json::Value body, const TenantId& otherwise) {
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, otherwise));
  const auto member = body.find("tenantId");
  if (!member) return tenant;
  const auto named = member->uuid();
  if (!named) {
    return fail(ErrorCode::invalid_argument, "member 'tenantId' of the body is {}; allowed: a uuid",
                member->raw().substr(0, 80));
  }
  if (request.headers.find("X-Tenant-Id") && TenantId(*named) != tenant) {
    return fail(ErrorCode::invalid_argument, "the body names tenant {}, header X-Tenant-Id {}; allowed: the same",
                named->to_string(), tenant.to_string());
  }
  return TenantId(*named);
}

Result<Start> read_start(const Services& services, const Request& request, json::Value body) {
  Start start;
  TRY_ASSIGN(start.tenant, read_start_tenant(request, body, services.default_tenant));
  TRY_ASSIGN(const auto opportunity, need_text(body, "opportunityId", kExternalIdMax));
  start.opportunity = opportunity_id(start.tenant, opportunity);
  if (!Uuid::parse(opportunity)) start.external_id = opportunity;
  TRY_ASSIGN(const auto definition, read_text(body, "definition", kExternalIdMax));
  start.definition = definition.value_or("");
  start.changes = body.find("changes");
  TRY_ASSIGN(start.key, read_idempotency_key(request));
  start.traceparent = read_traceparent(request);
  return start;
}

/// What makes two requests under one key the same one: what they ask for, not how it is spelled around it.
std::uint64_t digest_of(const Start& start) {
  std::string text;
  json::Writer out(text);
  out.begin_array().uuid(start.opportunity).string(start.external_id).string(start.definition);
  out.raw(start.changes ? start.changes->raw() : "null").end_array();
  return short_digest(text);
}

enum class KeyVerdict { fresh, repeated, taken };

/// Notes the key with what was asked under it, and the changes, in one transaction: a request that comes again after a
/// crash finds both, or neither. The start itself is a transaction of its own, known by the trigger's id, so it can
/// follow any number of times.
Result<KeyVerdict> prepare(const Services& services, const Start& start, const EventId& trigger) {
  if (!start.key && !start.changes) return KeyVerdict::fresh;
  KeyVerdict verdict = KeyVerdict::fresh;
  TRY(services.store.transact([&](store::Transaction& transaction) -> Result<void> {
    verdict = KeyVerdict::fresh;
    if (start.key) {
      const store::InboxKey key{start.tenant, trigger, digest_of(start)};
      TRY_ASSIGN(const auto seen, transaction.inbox().record(kIdempotencyConsumer, {&key, 1}, services.clock.now()));
      if (seen.front() == store::InboxVerdict::forged) verdict = KeyVerdict::taken;
      if (seen.front() == store::InboxVerdict::repeated) verdict = KeyVerdict::repeated;
    }
    // What will be refused changes nothing; but its key is noted, as that of every request.
    if (verdict != KeyVerdict::fresh || !start.changes || !services.orchestrator.knows(start.definition)) return {};
    // Where a source dates a change of its own later, these are outdated, and the run starts all the same.
    TRY(store::change_opportunity(transaction.opportunities(), start.tenant, start.opportunity, start.external_id,
                                  *start.changes, services.clock.now()));
    return {};
  }));
  return verdict;
}

/// The id that people know, of an opportunity that was named by its uuid.
Result<std::string> known_external_id(const Services& services, const Start& start) {
  std::string external_id;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(const auto known, transaction.opportunities().load(start.tenant, {&start.opportunity, 1}));
    if (known.front()) external_id = known.front()->external_id;
    return {};
  }));
  return external_id;
}

Answer start(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto body, read_object(request, {"opportunityId", "tenantId", "definition", "changes"}));
  TRY_ASSIGN(Start start, read_start(services, request, body.root()));
  TRY(services.store.admission());
  const EventId trigger(start.key ? Uuid::v5(start.tenant.value(), "idempotency:" + *start.key) : services.ids.next());
  TRY_ASSIGN(const auto verdict, prepare(services, start, trigger));
  if (verdict == KeyVerdict::taken) {
    return error_response(422, fmt::format("Idempotency-Key '{}' came before with another request; allowed: the same "
                                           "request again, or a new key",
                                           *start.key));
  }
  if (start.external_id.empty()) {
    TRY_ASSIGN(start.external_id, known_external_id(services, start));
  }
  const orchestrator::StartRequest wish{.tenant = start.tenant,
                                        .trigger_id = trigger,
                                        .trigger_type = "api",
                                        .opportunity = start.opportunity,
                                        .external_id = start.external_id,
                                        .definition = start.definition,
                                        .correlation_id = "",
                                        .traceparent = start.traceparent};
  TRY_ASSIGN(const auto answers, services.orchestrator.start({&wish, 1}));
  const auto& answer = answers.front();
  if (answer.outcome == store::TriggerOutcome::refused || !answer.workflow) return error_response(422, answer.reason);

  std::string text;
  json::Writer out(text);
  out.begin_object().key("workflowId").uuid(*answer.workflow).key("outcome").string(name(answer.outcome));
  out.key("opportunityId").uuid(start.opportunity);
  if (!start.external_id.empty()) out.key("externalId").string(start.external_id);
  out.key("triggerId").uuid(trigger).end_object();
  Response response = json_response(202, std::move(text));
  response.headers.add("Location", fmt::format("/api/v1/workflows/{}", answer.workflow->to_string()));
  if (answer.repeated) response.headers.add("Idempotent-Replayed", "true");
  return response;
}

// Looking.

std::unexpected<Error> no_such_run(const WorkflowId& id) {
  return fail(ErrorCode::not_found, "there is no workflow {}", id.to_string());
}

Response show_run(const workflow::Run& run) {
  std::string text;
  json::Writer out(text);
  write_run(out, run, Results::included);
  return json_response(200, std::move(text));
}

Answer show(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto uuid, read_path_id(request, "workflow"));
  const WorkflowId id(uuid);
  std::optional<workflow::Run> run;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto found, transaction.runs().load({&id, 1}));
    if (found.front()) run = std::move(found.front()->run);
    return {};
  }));
  if (!run || run->tenant != tenant) return no_such_run(id);
  return show_run(*run);
}

std::optional<Results> parse_include(std::string_view text) {
  return text == "results" ? std::optional(Results::included) : std::nullopt;
}

struct RunPage {
  std::string runs;                // the elements of the array
  std::optional<WorkflowId> last;  // written
  bool is_last = true;             // nothing is behind it
};

void write_runs(RunPage& page, std::span<const workflow::Run> runs, Results results) {
  for (const auto& run : runs) {
    if (!page.runs.empty()) page.runs += ',';
    json::Writer out(page.runs);
    write_run(out, run, results);
    page.last = run.id;
  }
}

/// The same runs with their results, a few at a time, until the answer is large enough. False if it ended early.
Result<bool> write_runs_with_results(RunPage& page, const store::RunStore& store,
                                     std::span<const workflow::Run> listed) {
  for (std::size_t begin = 0; begin < listed.size(); begin += kRunsAtOnce) {
    std::vector<WorkflowId> ids;
    for (const auto& run : listed.subspan(begin, std::min(kRunsAtOnce, listed.size() - begin))) ids.push_back(run.id);
    TRY_ASSIGN(const auto runs, store.load(ids));
    for (const auto& stored : runs) {
      if (!stored) continue;
      if (page.last && page.runs.size() + result_bytes(stored->run) > kPageBytesMax) return false;
      write_runs(page, {&stored->run, 1}, Results::included);
    }
  }
  return true;
}

Answer list(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"opportunityId", "status", "limit", "cursor", "include"}));
  store::RunQuery query;
  TRY_ASSIGN(query.tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(query.opportunity, read_opportunity(request, query.tenant));
  TRY_ASSIGN(query.status,
             read_choice(request, "status", workflow::parse_run_status, "running, completed, failed, cancelled"));
  TRY_ASSIGN(query.limit, read_limit(request));
  TRY_ASSIGN(const auto place, read_cursor(request));
  if (place) query.before = WorkflowId(*place);
  TRY_ASSIGN(const auto include, read_choice(request, "include", parse_include, "results"));

  RunPage page;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    page = {};
    TRY_ASSIGN(const auto runs, transaction.runs().list(query));
    if (include) {
      TRY_ASSIGN(page.is_last, write_runs_with_results(page, transaction.runs(), runs));
    } else {
      write_runs(page, runs, Results::left_out);
    }
    if (!page.is_last || runs.size() < query.limit) return {};
    auto behind = query;
    behind.limit = 1;
    behind.before = page.last;
    TRY_ASSIGN(const auto more, transaction.runs().list(behind));
    page.is_last = more.empty();
    return {};
  }));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("workflows").raw("[" + page.runs + "]");
  if (!page.is_last) out.key("cursor").string(to_cursor(page.last->value()));
  out.end_object();
  return json_response(200, std::move(text));
}

// Steering.

Answer retry(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto id, read_path_id(request, "workflow"));
  TRY(read_object(request, {}));
  TRY(services.store.admission());
  TRY_ASSIGN(const auto run, services.orchestrator.retry(tenant, WorkflowId(id)));
  return show_run(run);
}

Answer cancel(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto id, read_path_id(request, "workflow"));
  TRY_ASSIGN(const auto body, read_object(request, {"reason"}));
  TRY_ASSIGN(const auto reason, need_text(body.root(), "reason", kNoteMax));
  TRY_ASSIGN(const auto run, services.orchestrator.cancel(tenant, WorkflowId(id), reason));
  return show_run(run);
}

}  // namespace

void add_workflow_routes(Router& router, const Services& services) {
  add_route(router, Method::post, "/api/v1/workflows", services, start);
  add_route(router, Method::get, "/api/v1/workflows", services, list);
  add_route(router, Method::get, "/api/v1/workflows/{id}", services, show);
  add_route(router, Method::post, "/api/v1/workflows/{id}/retry", services, retry);
  add_route(router, Method::post, "/api/v1/workflows/{id}/cancel", services, cancel);
}

}  // namespace wfo::api::detail
