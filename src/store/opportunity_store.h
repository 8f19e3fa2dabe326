#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "store/opportunity_key.h"

namespace wfo::store {

enum class StageState { open, won, lost };
[[nodiscard]] std::string_view name(StageState state);
[[nodiscard]] std::optional<StageState> parse_stage_state(std::string_view text);

/// What `risk-analytics` knows of an opportunity: fed by import, API and consumed events.
struct Opportunity {
  TenantId tenant;
  OpportunityId id;
  std::string external_id;
  std::string name;
  std::string stage;  // as the CRM calls it
  StageState state = StageState::open;
  std::optional<double> amount;  // in `currency`; nothing if unknown
  std::string currency;
  std::string product;
  std::optional<double> list_price;  // of the product, if a price list is known
  std::string account;
  std::string owner;
  std::string competitor_id;
  std::optional<double> crm_probability;  // 0..1, as the CRM says
  std::optional<Date> created_on;         // when work on it began
  std::optional<Date> stage_entered_on;
  std::optional<Date> last_activity_on;
  std::optional<Date> close_on;           // closed: when; open: when it is expected to close
  bool stage_regressed = false;           // it stood in a later stage before
  std::optional<double> account_revenue;  // of a joined account list, in millions
  std::optional<double> account_employees;
  std::string account_sector;
  std::optional<Date> as_of;            // where the analysis stands; nothing: now
  std::optional<Timestamp> changed_at;  // when the source said that the last applied change happened
  friend bool operator==(const Opportunity&, const Opportunity&) = default;
};

class OpportunityStore {
 public:
  virtual ~OpportunityStore() = default;
  /// One place per key, in order; nothing where it is not known. In a transaction nobody else writes these until its
  /// end, known or not.
  [[nodiscard]] virtual Result<std::vector<std::optional<Opportunity>>> load(
      std::span<const OpportunityKey> keys) const = 0;
  /// The same for one tenant.
  [[nodiscard]] Result<std::vector<std::optional<Opportunity>>> load(const TenantId& tenant,
                                                                     std::span<const OpportunityId> ids) const {
    std::vector<OpportunityKey> keys;
    keys.reserve(ids.size());
    for (const OpportunityId& id : ids) keys.push_back({tenant, id});
    return load(keys);
  }
  /// Inserts or replaces. Errors: `invalid_argument` names a field that `check_opportunity` refuses; then nothing is
  /// written.
  [[nodiscard]] virtual Result<void> upsert(std::span<const Opportunity> batch) = 0;
  /// All closed (won or lost) opportunities of a tenant, ordered by id: what its statistics are computed from.
  [[nodiscard]] virtual Result<std::vector<Opportunity>> closed(const TenantId& tenant) const = 0;

  /// Closed opportunities of all tenants, ordered by (tenant, id), those behind `after`.
  [[nodiscard]] virtual Result<std::vector<Opportunity>> closed_after(const std::optional<OpportunityKey>& after,
                                                                      std::size_t count_max) const = 0;

  /// A named document of the tenant (`profile`, `model`), or nothing.
  [[nodiscard]] virtual Result<std::optional<std::string>> document(const TenantId& tenant,
                                                                    std::string_view name) const = 0;
  [[nodiscard]] virtual Result<void> put_document(const TenantId& tenant, std::string_view name,
                                                  std::string_view json) = 0;
};

}  // namespace wfo::store
