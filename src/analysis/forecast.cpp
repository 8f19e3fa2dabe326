#include "analysis/forecast.h"

#include <algorithm>
#include <cmath>

namespace wfo::analysis {
namespace {

using store::Opportunity;
using store::StageState;

constexpr double kDealsHalf = 50.0;    // so many closed deals give half of the confidence
constexpr double kNormalP90 = 1.2816;  // the 90 % quantile of the standard normal distribution
constexpr PriceSpread kCertain{};

// The quantile `share` of what a deal brings that is won with probability `win`: nothing below 1 - win, above that the
// quantiles of the amount, linear between the three that are known.
double mixture_quantile(double share, double win, double amount, const PriceSpread& spread) {
  if (share <= 1.0 - win) return 0.0;
  const double inner = (share - (1.0 - win)) / win;
  if (inner <= 0.5) {
    return amount * (spread.p10 + (spread.p50 - spread.p10) * std::max(0.0, (inner - 0.1) / 0.4));
  }
  return amount * (spread.p50 + (spread.p90 - spread.p50) * std::min(1.0, (inner - 0.5) / 0.4));
}

double trust_in(AmountSource source) {
  switch (source) {
    case AmountSource::crm:
      return 1.0;
    case AmountSource::price_list:
      return 0.9;
    case AmountSource::product_median:
      return 0.8;
    case AmountSource::overall_median:
      return 0.5;
    case AmountSource::unknown:
      return 0.0;
  }
  return 0.0;
}

// The median of what is left of the cycle for those won deals that took longer than this one has so far. A deal that is
// older than all of them has no precedent: it is given one more median cycle.
std::optional<Date> expected_close(const Opportunity& open, const TenantProfile& profile, Date as_of) {
  const auto usual = profile.won_cycles.quantile(0.5);
  if (!usual) {
    return open.close_on && *open.close_on >= as_of ? *open.close_on
                                                    : as_of + std::chrono::days{static_cast<int>(kPriorCycleDays)};
  }
  double left = std::max(*usual, 1.0);
  if (const auto age = age_days(open, as_of); age && *age < profile.won_cycles.days.back()) {
    const auto& days = profile.won_cycles.days;
    const auto longer = std::span(std::ranges::upper_bound(days, *age), days.end());
    left = std::max(quantile_of(longer, 0.5) - *age, 1.0);
  }
  return as_of + std::chrono::days{static_cast<int>(std::lround(left))};
}

}  // namespace

Forecast forecast_revenue(const Opportunity& opportunity, const TenantProfile& profile, const Model* model,
                          Date today) {
  Forecast out{.amount = estimate_amount(opportunity, profile)};
  if (opportunity.state != StageState::open) {
    const bool won = opportunity.state == StageState::won;
    out.win_probability = won ? 1.0 : 0.0;
    out.revenue = out.p10 = out.p50 = out.p90 = won ? out.amount.amount : 0.0;
    out.confidence = won ? trust_in(out.amount.source) : 1.0;
    out.expected_close = opportunity.close_on;
    return out;
  }
  const Date as_of = analysis_date(opportunity, today);
  const double win = estimate_odds(opportunity, profile, model, as_of).win();
  const double amount = out.amount.amount;
  // An amount from the CRM is what was offered; an estimated one varies as the won deals did.
  const PriceSpread& spread = out.amount.source == AmountSource::crm ? kCertain : profile.spread;
  const double relative_deviation = (spread.p90 - spread.p10) / (2.0 * kNormalP90);
  out.win_probability = win;
  out.revenue = amount * win;
  out.p10 = mixture_quantile(0.1, win, amount, spread);
  out.p50 = mixture_quantile(0.5, win, amount, spread);
  out.p90 = mixture_quantile(0.9, win, amount, spread);
  out.standard_deviation = amount * std::sqrt(win * (1.0 + relative_deviation * relative_deviation) - win * win);
  const double closed = profile.rates.overall.closed;
  out.confidence = closed / (closed + kDealsHalf) * trust_in(out.amount.source) * (opportunity.created_on ? 1.0 : 0.8);
  out.expected_close = expected_close(opportunity, profile, as_of);
  return out;
}

void write_members(json::Writer& writer, const Forecast& forecast, const Opportunity& opportunity) {
  writer.key("revenueForecast").number(round_to(forecast.revenue, 2));
  writer.key("confidence").number(round_to(forecast.confidence, 4));
  writer.key("p10").number(round_to(forecast.p10, 2)).key("p50").number(round_to(forecast.p50, 2));
  writer.key("p90").number(round_to(forecast.p90, 2));
  if (forecast.expected_close) writer.key("expectedCloseDate").string(format_date(*forecast.expected_close));
  writer.key("winProbability").number(round_to(forecast.win_probability, 4));
  writer.key("standardDeviation").number(round_to(forecast.standard_deviation, 2));
  writer.key("amount");
  // Nobody knows, which is not 0; a forecast must be a number all the same, and is 0 with a confidence of 0.
  forecast.amount.source == AmountSource::unknown ? writer.null() : writer.number(round_to(forecast.amount.amount, 2));
  writer.key("amountSource").string(name(forecast.amount.source));
  if (!opportunity.currency.empty()) writer.key("currency").string(opportunity.currency);
}

}  // namespace wfo::analysis
