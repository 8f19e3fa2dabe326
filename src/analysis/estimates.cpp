#include "analysis/estimates.h"

#include <algorithm>
#include <cmath>

#include "analysis/model.h"

namespace wfo::analysis {

using store::Opportunity;
using store::StageState;

std::string_view name(AmountSource source) {
  switch (source) {
    case AmountSource::crm:
      return "crm";
    case AmountSource::price_list:
      return "price_list";
    case AmountSource::product_median:
      return "product_median";
    case AmountSource::overall_median:
      return "overall_median";
    case AmountSource::unknown:
      return "unknown";
  }
  return "unknown";
}

AmountEstimate estimate_amount(const Opportunity& opportunity, const TenantProfile& profile) {
  if (opportunity.amount && *opportunity.amount > 0) return {*opportunity.amount, AmountSource::crm};
  if (opportunity.list_price && *opportunity.list_price > 0) {
    return {*opportunity.list_price, AmountSource::price_list};
  }
  if (const auto product = profile.products.find(opportunity.product); product != profile.products.end()) {
    if (product->second.list_price) return {*product->second.list_price, AmountSource::price_list};
    if (product->second.median_won) return {*product->second.median_won, AmountSource::product_median};
  }
  if (profile.median_won_amount) return {*profile.median_won_amount, AmountSource::overall_median};
  return {};
}

Date analysis_date(const Opportunity& opportunity, Date today) { return opportunity.as_of.value_or(today); }

std::optional<double> age_days(const Opportunity& opportunity, Date as_of) {
  if (!opportunity.created_on) return std::nullopt;
  return std::max(0.0, static_cast<double>((as_of - *opportunity.created_on).count()));
}

Odds estimate_odds(const Opportunity& open, const TenantProfile& profile, const Model* model, Date as_of) {
  const double base = profile.rates.rate(profile.rates.products, open.product);
  const auto age = age_days(open, as_of);
  const double won_longer = age ? profile.won_cycles.share_longer(*age) : 1.0;
  const double lost_longer = age ? profile.lost_cycles.share_longer(*age) : 1.0;
  // Bayes: of all deals that are still open at this age, how many will be won, lost, or never closed. Far out in the
  // tails both shares rest on a handful of deals, so that their ratio is bounded.
  const double evidence = std::clamp(won_longer / lost_longer, 0.5, 2.0);
  const double will_close = (1.0 - profile.never_closes_share) * (base * won_longer + (1.0 - base) * lost_longer);
  Odds odds;
  odds.closes = will_close / (will_close + profile.never_closes_share);
  odds.win_if_closed = model != nullptr ? win_probability(*model, open, profile.rates, as_of)
                                        : base * evidence / (base * evidence + 1.0 - base);
  return odds;
}

double round_to(double value, int digits) {
  const double factor = std::pow(10.0, digits);
  const double rounded = std::round(value * factor) / factor;
  return std::isfinite(rounded) ? rounded : value;
}

}  // namespace wfo::analysis
