#pragma once

#include <optional>

#include "analysis/estimates.h"

namespace wfo::analysis {

struct Forecast {
  AmountEstimate amount;
  double win_probability = 0;  // 0..1
  double revenue = 0;          // amount × win probability
  double p10 = 0;              // quantiles of what one deal brings: nothing, or about its amount
  double p50 = 0;
  double p90 = 0;
  double standard_deviation = 0;         // of the same
  double confidence = 0;                 // 0..1
  std::optional<Date> expected_close{};  // the day it closes if it does; of a closed deal the day it did
  friend bool operator==(const Forecast&, const Forecast&) = default;
};

/// A closed opportunity is certain: its amount if won, 0 if lost. Where no amount is known at all, revenue and
/// confidence are 0 and the amount's source says so. `model` may be null.
[[nodiscard]] Forecast forecast_revenue(const store::Opportunity& opportunity, const TenantProfile& profile,
                                        const Model* model, Date today);

/// The members of `data` of `forecast.completed` that hold the forecast.
void write_members(json::Writer& writer, const Forecast& forecast, const store::Opportunity& opportunity);

}  // namespace wfo::analysis
