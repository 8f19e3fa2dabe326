#include "analysis/tenant_statistics.h"

#include <algorithm>
#include <vector>

#include "base/json.h"

namespace wfo::analysis {
namespace {

using store::Opportunity;

// The profile's own text is the same for the same deals; when it was built stands around it.
std::string wrap_profile(const TenantProfile& profile, Timestamp built_at) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object().key("builtAt").timestamp(built_at);
  writer.key("profile").raw(to_json(profile)).end_object();
  return text;
}

Result<void> unwrap_profile(const std::string& text, TenantKnowledge& out) {
  TRY_ASSIGN(const auto document, json::Document::parse(text));
  const auto built_at = document.root().find("builtAt");
  const auto profile = document.root().find("profile");
  if (!built_at || !built_at->timestamp() || !profile) {
    return fail(ErrorCode::corruption, "tenant profile: it has no builtAt or no profile");
  }
  TRY_ASSIGN(out.profile, parse_profile(profile->raw()));
  out.profile_built_at = built_at->timestamp();
  return {};
}

Result<std::vector<Opportunity>> read_closed(store::Store& store, const TenantId& tenant) {
  std::vector<Opportunity> closed;
  TRY(store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(closed, transaction.opportunities().closed(tenant));
    return {};
  }));
  return closed;
}

Result<void> put(store::Store& store, const TenantId& tenant, std::string_view name, const std::string& text) {
  return store.transact(
      [&](store::Transaction& transaction) { return transaction.opportunities().put_document(tenant, name, text); });
}

}  // namespace

Result<TenantProfile> rebuild_profile(store::Store& store, const Clock& clock, const TenantId& tenant,
                                      std::optional<Date> as_of) {
  const Timestamp now = clock.now();  // before the deals are read: it is at least as old as it says
  TRY_ASSIGN(const auto closed, read_closed(store, tenant));
  TenantProfile profile = build_profile(closed, as_of);
  TRY(put(store, tenant, kProfileDocument, wrap_profile(profile, now)));
  return profile;
}

Result<Model> train_and_store_model(store::Store& store, const TenantId& tenant, std::optional<Date> as_of,
                                    std::uint64_t seed) {
  TRY_ASSIGN(const auto closed, read_closed(store, tenant));
  Date day = as_of.value_or(Date{});
  for (const Opportunity& deal : closed) {
    if (!as_of && deal.close_on) day = std::max(day, *deal.close_on);
  }
  TRY_ASSIGN(Model model, train_model(closed, day, seed));
  TRY(put(store, tenant, kModelDocument, to_json(model)));
  return model;
}

Result<std::optional<Model>> load_model(store::Store& store, const TenantId& tenant) {
  std::optional<std::string> text;
  TRY(store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(text, transaction.opportunities().document(tenant, kModelDocument));
    return {};
  }));
  if (!text) return std::optional<Model>();
  TRY_ASSIGN(Model model, parse_model(*text));
  return std::optional(std::move(model));
}

Result<KnowledgeTexts> read_knowledge(const store::Transaction& transaction, const TenantId& tenant) {
  KnowledgeTexts out;
  TRY_ASSIGN(out.profile, transaction.opportunities().document(tenant, kProfileDocument));
  TRY_ASSIGN(out.model, transaction.opportunities().document(tenant, kModelDocument));
  return out;
}

std::shared_ptr<const TenantKnowledge> KnowledgeCache::take(const TenantId& tenant, KnowledgeTexts texts, Logger& log) {
  if (const auto found = entries_.find(tenant); found != entries_.end()) {
    found->second.used = ++uses_;
    if (found->second.texts == texts) return found->second.knowledge;
  } else if (entries_.size() >= tenants_max_) {
    entries_.erase(std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.used; }));
  }
  auto knowledge = std::make_shared<TenantKnowledge>();
  if (texts.profile) {
    if (const auto read = unwrap_profile(*texts.profile, *knowledge); !read) {
      log.warn("tenant {}: {}; it is built anew", tenant.to_string(), read.error().message);
      *knowledge = {};
    }
  }
  if (texts.model) {
    auto model = parse_model(*texts.model);
    if (model) {
      knowledge->model = *std::move(model);
    } else {
      log.warn("tenant {}: {}; scoring goes on without a model", tenant.to_string(), model.error().message);
    }
  }
  entries_.insert_or_assign(tenant, Entry{std::move(texts), knowledge, ++uses_});
  return knowledge;
}

}  // namespace wfo::analysis
