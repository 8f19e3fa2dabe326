#include <algorithm>

#include "analysis/tenant_statistics.h"
#include "api/detail/arguments.h"
#include "api/detail/routes.h"
#include "store/opportunity_codec.h"

namespace wfo::api::detail {
namespace {

constexpr std::size_t kOpportunitiesMax = 1000;  // of one request

/// Whether `known` was changed after the day at which `told` stands: then it is the newer of the two.
bool is_newer(const std::optional<store::Opportunity>& known, const store::Opportunity& told) {
  return known && known->changed_at && told.as_of &&
         std::chrono::floor<std::chrono::days>(*known->changed_at) > *told.as_of;
}

/// Each takes the place of what was known of it before, unless that is newer.
Answer put_opportunities(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto body, read_object(request, {"opportunities"}));
  TRY_ASSIGN(const json::Value elements, need_array(body.root(), "opportunities", kOpportunitiesMax));
  TRY(services.store.admission());
  std::vector<store::Opportunity> batch;
  batch.reserve(elements.size());
  for (const json::Value element : elements.elements()) {
    TRY_ASSIGN(const auto external_id, need_text(element, "externalId", kExternalIdMax));
    store::Opportunity opportunity;
    if (auto applied = store::apply_changes(element, opportunity); !applied) {
      return std::unexpected(with_context(std::move(applied).error(), fmt::format("opportunity '{}'", external_id)));
    }
    opportunity.tenant = tenant;
    opportunity.id = opportunity_id(tenant, external_id);
    batch.push_back(std::move(opportunity));
  }
  std::vector<OpportunityId> ids;
  for (const auto& opportunity : batch) ids.push_back(opportunity.id);
  std::vector<store::Opportunity> stored;
  TRY(services.store.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(const auto known, transaction.opportunities().load(tenant, ids));
    stored.clear();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (is_newer(known[i], batch[i])) continue;
      stored.push_back(batch[i]);
      // Still so that no change that is older yet overtakes it.
      if (known[i]) stored.back().changed_at = known[i]->changed_at;
    }
    return transaction.opportunities().upsert(stored);
  }));
  return json_response(200, fmt::format("{{\"stored\":{},\"kept\":{}}}", stored.size(), batch.size() - stored.size()));
}

Answer show_opportunity(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  const auto& external_id = request.path_parameter("id");
  const OpportunityId ids[] = {opportunity_id(tenant, external_id)};
  std::optional<store::Opportunity> found;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(auto loaded, transaction.opportunities().load(tenant, ids));
    found = std::move(loaded.front());
    return {};
  }));
  if (!found) return fail(ErrorCode::not_found, "opportunity '{}' is not known", external_id);
  const std::string fields = store::encode_opportunity(*found);
  std::string text;
  json::Writer out(text);
  out.begin_object().key("opportunityId").uuid(found->id).key("state").string(name(found->state));
  out.key("fields").raw(fields).end_object();
  return json_response(200, std::move(text));
}

// Risk over time.

constexpr std::chrono::days kSnapshotDays{90};  // where nobody says from when

struct Days {
  Date from;
  Date to;  // inclusive
};

Result<Days> read_days(const Request& request, Date today) {
  TRY_ASSIGN(const auto from, read_date(request, "from"));
  TRY_ASSIGN(const auto to, read_date(request, "to"));
  Days days;
  days.to = to.value_or(std::max(today, from.value_or(today)));
  days.from = from.value_or(days.to - (kSnapshotDays - std::chrono::days(1)));
  if (days.from > days.to) {
    return fail(ErrorCode::invalid_argument,
                "parameter from is '{}' and to is '{}'; allowed: from at or before to, since both days are included",
                format_date(days.from), format_date(days.to));
  }
  return days;
}

/// Errors: `corruption` the fields are no object.
Result<void> write_snapshot(json::Writer& out, const store::RiskSnapshot& snapshot) {
  const auto fields = json::Document::parse(snapshot.fields);
  if (!fields || !fields->root().is_object()) {
    return fail(ErrorCode::corruption, "the risk snapshot of opportunity {} on {}: its fields are no object",
                snapshot.opportunity.to_string(), format_date(snapshot.day));
  }
  out.begin_object().key("day").string(format_date(snapshot.day)).key("evaluatedAt").timestamp(snapshot.evaluated_at);
  out.key("workflowId").uuid(snapshot.workflow).key("eventId").uuid(snapshot.event);
  for (const json::Member member : fields->root().members()) {
    const auto key = member.key.string().value_or("");
    // Twice the same key is what nobody could read.
    if (key == "day" || key == "evaluatedAt" || key == "workflowId" || key == "eventId") continue;
    out.key(key).raw(member.value.raw());
  }
  out.end_object();
  return {};
}

Answer list_risk_snapshots(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"from", "to", "limit"}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto days, read_days(request, std::chrono::floor<std::chrono::days>(services.clock.now())));
  TRY_ASSIGN(const auto limit, read_size(request, "limit", kPageMax));
  const auto& external_id = request.path_parameter("id");
  const OpportunityId id = opportunity_id(tenant, external_id);
  std::vector<store::RiskSnapshot> snapshots;
  bool is_known = true;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(snapshots,
               transaction.risk_snapshots().list(tenant, id, days.from, days.to + std::chrono::days(1), limit + 1));
    if (!snapshots.empty()) return {};
    TRY_ASSIGN(const auto loaded, transaction.opportunities().load(tenant, {&id, 1}));
    is_known = loaded.front().has_value();
    return {};
  }));
  if (!is_known) return fail(ErrorCode::not_found, "opportunity '{}' is not known", external_id);

  std::string text;
  json::Writer out(text);
  out.begin_object().key("opportunityId").uuid(id).key("snapshots").begin_array();
  std::size_t written = 0;
  for (; written < std::min(limit, snapshots.size()) && text.size() <= kPageBytesMax; ++written) {
    TRY(write_snapshot(out, snapshots[written]));
  }
  out.end_array();
  if (written < snapshots.size()) out.key("nextFrom").string(format_date(snapshots[written].day));
  out.end_object();
  return json_response(200, std::move(text));
}

Result<std::optional<Date>> read_as_of(json::Value body) {
  TRY_ASSIGN(const auto text, read_text(body, "asOf", 10));
  if (!text) return std::optional<Date>();
  const auto date = parse_date(*text);
  if (!date) {
    return fail(ErrorCode::invalid_argument, "member 'asOf' of the body is '{}'; allowed: a date like 2026-03-01",
                *text);
  }
  return date;
}

/// The statistics of the tenant's closed deals, on which all four steps stand; and the first model, if there is none.
Answer rebuild_statistics(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto body, read_object(request, {"asOf"}));
  TRY_ASSIGN(const auto as_of, read_as_of(body.root()));
  TRY(services.store.admission());
  TRY_ASSIGN(const auto profile, analysis::rebuild_profile(services.store, services.clock, tenant, as_of));
  TRY_ASSIGN(auto model, analysis::load_model(services.store, tenant));
  if (!model) {
    auto trained = analysis::train_and_store_model(services.store, tenant, as_of);
    // Too few closed deals is a state that many tenants are in, not an error: the steps then use the documented prior.
    if (!trained && trained.error().code != ErrorCode::invalid_argument) {
      return std::unexpected(std::move(trained).error());
    }
    if (trained) model = *std::move(trained);
  }
  std::string text;
  json::Writer out(text);
  out.begin_object().key("profileId").string(profile.profile_id);
  out.key("closedDeals").number(static_cast<std::int64_t>(profile.rates.overall.closed));
  out.key("modelId");
  if (model) {
    out.string(model->model_id);
  } else {
    out.null();
  }
  out.end_object();
  return json_response(200, std::move(text));
}

Answer train_model(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto body, read_object(request, {"asOf"}));
  TRY_ASSIGN(const auto as_of, read_as_of(body.root()));
  TRY(services.store.admission());
  TRY_ASSIGN(const auto model, analysis::train_and_store_model(services.store, tenant, as_of));
  return json_response(200, analysis::to_json(model));
}

Answer show_model(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const TenantId tenant, read_tenant(request, services.default_tenant));
  TRY_ASSIGN(const auto model, analysis::load_model(services.store, tenant));
  if (!model) return fail(ErrorCode::not_found, "tenant {} has no model yet; train one", tenant.to_string());
  return json_response(200, analysis::to_json(*model));
}

}  // namespace

void add_opportunity_routes(Router& router, const Services& services) {
  add_route(router, Method::post, "/api/v1/opportunities", services, put_opportunities);
  add_route(router, Method::get, "/api/v1/opportunities/{id}", services, show_opportunity);
  add_route(router, Method::get, "/api/v1/opportunities/{id}/risk-snapshots", services, list_risk_snapshots);
  add_route(router, Method::post, "/api/v1/statistics", services, rebuild_statistics);
  add_route(router, Method::post, "/api/v1/model", services, train_model);
  add_route(router, Method::get, "/api/v1/model", services, show_model);
}

}  // namespace wfo::api::detail
