#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/profile.h"

namespace wfo::analysis {

/// One input of the logistic regression, standardised: (value - mean) / scale; a value that is not known counts as the
/// mean.
struct FeatureWeight {
  std::string name;
  double mean = 0;
  double scale = 1;  // > 0
  double coefficient = 0;
  friend bool operator==(const FeatureWeight&, const FeatureWeight&) = default;
};

/// How a model did on deals that it was not trained on.
struct HeldOut {
  int rows = 0;
  double auc = 0.5;          // 0..1; 0.5 is a coin
  double brier = 0;          // mean squared error of the probability; less is better
  double brier_of_rate = 0;  // of always saying the training part's win rate
  friend bool operator==(const HeldOut&, const HeldOut&) = default;
};

/// The probability that an open deal is won, given that it is closed at all.
struct Model {
  std::string model_id;  // `logistic-` and 16 hex digits of the digest of all that follows
  Date as_of{};
  std::uint64_t seed = 0;
  int deals = 0;    // closed deals that could be used
  int skipped = 0;  // closed deals without creation or close date, or closed after as_of
  int rows = 0;     // views of those deals while they were open
  double intercept = 0;
  std::vector<FeatureWeight> features;  // those that vary in the training rows; ordered as kFeatureNames
  HeldOut by_time;                      // trained on the deals closed first, tried on what was open after that
  HeldOut random;                       // a quarter of the deals drawn by seed
  friend bool operator==(const Model&, const Model&) = default;
};

inline constexpr std::array<std::string_view, 10> kFeatureNames{
    "log_price",     "log_age",         "product_win_rate", "owner_win_rate", "sector_win_rate",
    "account_known", "account_revenue", "account_size",     "regressed",      "competitor_known"};
using Features = std::array<double, kFeatureNames.size()>;  // NaN: not known

/// What is known of `open` on day `as_of`, `rates` being those of the deals closed by then. Nothing that is only known
/// of a closed deal (its amount, stage, close date, the CRM's probability) is looked at.
[[nodiscard]] Features features_of(const store::Opportunity& open, const WinRates& rates, Date as_of);

/// 0..1, exclusive.
[[nodiscard]] double win_probability(const Model& model, const store::Opportunity& open, const WinRates& rates,
                                     Date as_of);

inline constexpr int kTrainingDealsMin = 50;
inline constexpr std::size_t kTrainingRowsMax = 1'000'000;

/// Trains on the deals that were closed by `as_of`, each seen as it stood on a row of days while it was open, with the
/// win rates of the deals that had been closed before that day. The same input and seed give the same model; the
/// order of `closed` does not matter. Errors: `invalid_argument` fewer than kTrainingDealsMin usable deals, or all of
/// one outcome.
[[nodiscard]] Result<Model> train_model(std::span<const store::Opportunity> closed, Date as_of, std::uint64_t seed);

/// The area under the ROC curve; ties count half; 0.5 if one class is empty. `outcomes` and `scores` are of one length.
[[nodiscard]] double area_under_curve(std::span<const double> scores, const std::vector<bool>& outcomes);

[[nodiscard]] std::string to_json(const Model& model);
/// Reads what `to_json` wrote. Errors: `corruption`.
[[nodiscard]] Result<Model> parse_model(std::string_view json);

}  // namespace wfo::analysis
