#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/time.h"
#include "store/opportunity_store.h"

/// The four analysis steps and what they stand on. Everything here is a function of values: no clock, and no files but
/// those that are handed over. Methods and their limits: docs/analysis.md.
namespace wfo::analysis {

/// How often deals of one kind were won.
struct Rate {
  int won = 0;
  int closed = 0;  // won or lost
  friend bool operator==(const Rate&, const Rate&) = default;
};

// Without closed deals of a tenant's own these stand in (docs/analysis.md says where they come from).
inline constexpr double kPriorWinRate = 0.3;
inline constexpr double kPriorDeals = 10.0;       // what the prior weighs against a tenant's own deals
inline constexpr double kGroupPriorDeals = 20.0;  // what the tenant's overall rate weighs against one product's
inline constexpr double kPriorCycleDays = 90.0;
inline constexpr double kNeverClosesShare = 0.2;

/// Win rates by what is known of a deal while it is open.
struct WinRates {
  using ByName = std::map<std::string, Rate, std::less<>>;
  Rate overall;
  ByName products;
  ByName owners;
  ByName sectors;

  void add(const store::Opportunity& closed);
  /// 0..1, drawn towards the prior where there are few deals; never exactly 0 or 1.
  [[nodiscard]] double overall_rate() const;
  /// The rate of `name`, drawn towards the overall rate where there are few deals.
  [[nodiscard]] double rate(const ByName& group, std::string_view name) const;
  friend bool operator==(const WinRates&, const WinRates&) = default;
};

inline constexpr std::size_t kCyclePoints = 101;

/// How long deals took from creation to close.
struct CycleTimes {
  int deals = 0;
  std::vector<double> days;  // the quantiles 0, 0.01, …, 1, ascending; empty without deals

  /// 0..1; nothing without deals.
  [[nodiscard]] std::optional<double> quantile(double share) const;
  /// The share of deals that took longer than `age_days`; 1 without deals. Never 0: half a deal is kept in mind
  /// beyond the longest one seen.
  [[nodiscard]] double share_longer(double age_days) const;
  friend bool operator==(const CycleTimes&, const CycleTimes&) = default;
};

struct ProductPrices {
  std::optional<double> median_won;  // of the won deals with an amount
  std::optional<double> list_price;  // the latest seen
  friend bool operator==(const ProductPrices&, const ProductPrices&) = default;
};

/// What won deals brought, as a multiple of what was to be expected of them (list price, else the product's median).
struct PriceSpread {
  double p10 = 1.0;
  double p50 = 1.0;
  double p90 = 1.0;
  int deals = 0;
  friend bool operator==(const PriceSpread&, const PriceSpread&) = default;
};

/// The statistics of a tenant's closed deals on one day.
struct TenantProfile {
  std::string profile_id;  // `profile-` and 16 hex digits of the digest of all that follows
  std::optional<Date> as_of;
  WinRates rates;
  CycleTimes won_cycles;
  CycleTimes lost_cycles;
  std::optional<double> median_won_amount;
  std::map<std::string, ProductPrices, std::less<>> products;
  PriceSpread spread;
  double never_closes_share = kNeverClosesShare;  // of all deals, those that nobody ever closes
  friend bool operator==(const TenantProfile&, const TenantProfile&) = default;
};

/// What `closed` says on day `as_of`: deals that closed later are passed over, and so are open ones. The order of
/// `closed` does not matter, except that the last list price of a product wins.
[[nodiscard]] TenantProfile build_profile(std::span<const store::Opportunity> closed, std::optional<Date> as_of);

[[nodiscard]] std::string to_json(const TenantProfile& profile);
/// Reads what `to_json` wrote; exactly the same profile comes out. Errors: `corruption`.
[[nodiscard]] Result<TenantProfile> parse_profile(std::string_view json);

/// The value at `share` (0..1) of `sorted`, which is not empty, linear between its neighbours.
[[nodiscard]] double quantile_of(std::span<const double> sorted, double share);

}  // namespace wfo::analysis
