#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "analysis/model.h"
#include "analysis/profile.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"
#include "store/store.h"

/// What the steps know of a tenant beside the opportunity, and where it is kept: the documents `profile` and `model` of
/// the opportunity store.
namespace wfo::analysis {

inline constexpr std::string_view kProfileDocument = "profile";
inline constexpr std::string_view kModelDocument = "model";
inline constexpr std::uint64_t kModelSeed = 1;  // of the held-out draw, where nobody asks for another

/// Computes the tenant's profile from its closed opportunities as they are now and stores it. Deals closed after
/// `as_of` are passed over. Errors: the store's.
[[nodiscard]] Result<TenantProfile> rebuild_profile(store::Store& store, const Clock& clock, const TenantId& tenant,
                                                    std::optional<Date> as_of);

/// Trains the tenant's model on what was closed by `as_of` (nothing: by the latest close date) and stores it in place
/// of the one before. Errors: `invalid_argument` too few closed deals, with numbers: then nothing is stored; the
/// store's.
[[nodiscard]] Result<Model> train_and_store_model(store::Store& store, const TenantId& tenant,
                                                  std::optional<Date> as_of, std::uint64_t seed = kModelSeed);

/// The stored model, or nothing. Errors: `corruption` what is stored is none; the store's.
[[nodiscard]] Result<std::optional<Model>> load_model(store::Store& store, const TenantId& tenant);

/// A tenant's documents as they were read, for `KnowledgeCache::take`.
struct KnowledgeTexts {
  std::optional<std::string> profile;
  std::optional<std::string> model;
  friend bool operator==(const KnowledgeTexts&, const KnowledgeTexts&) = default;
};
/// For callers that read something else, too, in the same snapshot.
[[nodiscard]] Result<KnowledgeTexts> read_knowledge(const store::Transaction& transaction, const TenantId& tenant);

struct TenantKnowledge {
  TenantProfile profile;
  std::optional<Timestamp> profile_built_at;  // nothing: there is no profile that can be read
  std::optional<Model> model;
};

/// Parsed documents by tenant, parsed again only when their text has changed. One thread.
class KnowledgeCache {
 public:
  /// At most `tenants_max` (> 0) are kept; the one not asked for the longest makes room.
  explicit KnowledgeCache(std::size_t tenants_max) : tenants_max_(tenants_max) {}
  /// What `texts` say. A document that is broken counts as missing and is logged once: the profile is rebuilt, and
  /// without a model the steps use the documented prior. The pointer stays good when the tenant makes room.
  [[nodiscard]] std::shared_ptr<const TenantKnowledge> take(const TenantId& tenant, KnowledgeTexts texts, Logger& log);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    KnowledgeTexts texts;
    std::shared_ptr<const TenantKnowledge> knowledge;
    std::uint64_t used = 0;
  };
  std::size_t tenants_max_;
  std::uint64_t uses_ = 0;
  std::map<TenantId, Entry> entries_;
};

}  // namespace wfo::analysis
