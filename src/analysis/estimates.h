#pragma once

#include <optional>
#include <string_view>

#include "analysis/profile.h"

/// What all four steps need to know of an opportunity first: its age, its amount and its odds.
namespace wfo::analysis {

struct Model;

/// Where an amount comes from, best first.
enum class AmountSource { crm, price_list, product_median, overall_median, unknown };
/// `crm`, `price_list`, …
[[nodiscard]] std::string_view name(AmountSource source);

struct AmountEstimate {
  double amount = 0;  // > 0, or 0 if `source` is unknown
  AmountSource source = AmountSource::unknown;
  friend bool operator==(const AmountEstimate&, const AmountEstimate&) = default;
};

/// The CRM's amount if it is more than zero, else the list price of the product, else the median of the tenant's won
/// deals of that product, else of all its won deals, else unknown.
[[nodiscard]] AmountEstimate estimate_amount(const store::Opportunity& opportunity, const TenantProfile& profile);

/// The day at which the analysis of `opportunity` stands: its `as_of`, else `today`.
[[nodiscard]] Date analysis_date(const store::Opportunity& opportunity, Date today);
/// Days since work on it began, at least 0; nothing if nobody said when.
[[nodiscard]] std::optional<double> age_days(const store::Opportunity& opportunity, Date as_of);

struct Odds {
  double win_if_closed = 0;  // that it is won, given that it is closed at all
  double closes = 0;         // that it is closed at all
  [[nodiscard]] double win() const { return win_if_closed * closes; }
};

/// The odds of an open opportunity: of the model, if there is one, else the win rate of its product; both seen
/// together with how many deals of the tenant took longer than this one has so far.
[[nodiscard]] Odds estimate_odds(const store::Opportunity& open, const TenantProfile& profile, const Model* model,
                                 Date as_of);

/// Rounds for the eyes of people: `digits` behind the point.
[[nodiscard]] double round_to(double value, int digits);

}  // namespace wfo::analysis
