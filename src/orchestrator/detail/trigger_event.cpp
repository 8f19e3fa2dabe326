#include "orchestrator/detail/trigger_event.h"

#include <utility>

#include "events/types.h"
#include "store/opportunity_codec.h"

namespace wfo::orchestrator {

namespace {

bool is_opportunity(json::Value data) {
  for (const std::string_view key : {"shardType", "shardTypeName"}) {
    const auto type = data.find(key);
    if (type && type->equals("opportunity")) return true;
  }
  return false;
}

std::string text_at(std::optional<json::Value> value) { return value ? value->string().value_or("") : ""; }

}  // namespace

Result<std::optional<TriggerEvent>> read_trigger(const events::Event& event) {
  const json::Value data = event.data();
  const bool is_shard = event.type() == events::kShardUpdated;
  if (is_shard && !is_opportunity(data)) return std::nullopt;

  TriggerEvent out;
  StartRequest& request = out.request;
  std::string id = text_at(data.find(is_shard ? "shardId" : "opportunityId"));
  if (is_shard && id.empty()) id = text_at(data.find("id"));
  if (id.empty()) {
    return fail(ErrorCode::invalid_argument, "{} {} names no opportunity; allowed: {} with its id as text",
                event.type(), event.id().to_string(), is_shard ? "/data/shardId or /data/id" : "/data/opportunityId");
  }
  request.tenant = event.tenant();
  request.trigger_id = event.id();
  request.trigger_type = event.type();
  request.opportunity = opportunity_id(event.tenant(), id);
  if (!Uuid::parse(id)) request.external_id = std::move(id);
  request.correlation_id = event.correlation_id();
  request.causation_id = event.id();
  request.user_id = text_at(event.root().find("metadata", "userId"));
  if (request.user_id.size() > events::kMetadataTextMax) request.user_id.clear();
  request.traceparent = event.traceparent();

  out.changes = data.find(is_shard ? "structuredData" : "changes");
  if (out.changes &&
      (out.changes->kind() == json::Kind::null || (out.changes->is_object() && out.changes->size() == 0))) {
    out.changes.reset();
  }
  if (out.changes) {
    store::Opportunity nobody;  // whether a change is good does not depend on what is known
    if (auto good = store::apply_changes(*out.changes, nobody); !good) {
      return std::unexpected(
          with_context(std::move(good).error(), fmt::format("{} {}", event.type(), event.id().to_string())));
    }
    const auto told = data.find("timestamp");
    out.changed_at = (told ? told->timestamp() : std::nullopt).value_or(event.timestamp());
  }
  return std::optional(std::move(out));
}

}  // namespace wfo::orchestrator
