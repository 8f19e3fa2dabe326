#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/time.h"
#include "store/opportunity_store.h"

/// What many runs say together, for somebody who leads a sales team.
namespace wfo::analysis {

inline constexpr std::size_t kEndangeredMax = 10;
inline constexpr std::size_t kStagesMax = 100;     // per currency; what comes beyond is counted as `(other stages)`
inline constexpr std::size_t kCurrenciesMax = 50;  // likewise, `(other)`

/// All forecasts of a team err together by about this share of their sum, whatever its deals do by themselves: a common
/// standard deviation, measured (docs/analysis.md).
inline constexpr double kCommonError = 0.25;

/// A sum of forecasts. Its deals vary independently of each other, so that their variances add up, and what they have
/// in common varies by `kCommonError`; the sum is taken for normal: p10 and p90 are mean ± 1.2816 standard deviations,
/// never below 0.
struct ForecastSum {
  std::size_t deals = 0;
  std::size_t without_amount = 0;  // of those: nobody knows their amount, so that they add nothing
  double amount = 0;               // if all were won
  double revenue = 0;              // expected
  double variance = 0;             // of the deals by themselves
  double at_risk = 0;              // of the risk analysis: score × amount

  [[nodiscard]] double standard_deviation() const;
  [[nodiscard]] double p10() const;
  [[nodiscard]] double p90() const;
  friend bool operator==(const ForecastSum&, const ForecastSum&) = default;
};

struct Endangered {
  std::string external_id;
  std::string name;
  std::string account;
  std::string owner;
  std::string stage;
  double amount = 0;
  std::string amount_source;  // `crm`, `price_list`, …
  double risk_score = 0;
  std::optional<double> not_won;  // probability that it is not won, of the scoring
  double revenue_at_risk = 0;
  std::vector<std::string> reasons;  // the gravest first, at most three, one of a category
  std::vector<std::string> actions;  // the best first, at most two
  friend bool operator==(const Endangered&, const Endangered&) = default;
};

struct ClosedTotal {
  std::size_t deals = 0;
  double amount = 0;  // what the CRM says; a lost deal's is mostly not said
  friend bool operator==(const ClosedTotal&, const ClosedTotal&) = default;
};

/// Amounts of different currencies are never added up.
struct CurrencySummary {
  std::string currency;  // "" if nobody said which
  ForecastSum open;
  std::map<std::string, ForecastSum, std::less<>> by_stage;  // of the open ones
  ClosedTotal won;
  ClosedTotal lost;
  std::vector<Endangered> endangered;  // open, by revenue at risk, then by external id; at most kEndangeredMax
  friend bool operator==(const CurrencySummary&, const CurrencySummary&) = default;
};

struct Summary {
  std::size_t runs = 0;  // all that were told
  std::size_t completed = 0;
  std::size_t failed = 0;  // cancelled ones, too
  std::size_t open = 0;    // these three: of the completed
  std::size_t won = 0;
  std::size_t lost = 0;
  std::array<std::size_t, 3> open_by_risk{};  // risk score below 0.3, below 0.6, from 0.6 on
  std::map<std::string, std::size_t, std::less<>> open_by_amount_source;
  std::map<std::string, std::size_t, std::less<>> open_missing;  // field → open opportunities without it
  std::map<std::string, std::size_t, std::less<>> failures;      // error → runs; at most 20 different ones
  std::string model_id;                                          // of the scoring; "" without open opportunities
  std::optional<Date> as_of;                                     // the latest that was told
  std::map<std::string, CurrencySummary, std::less<>> by_currency;
  friend bool operator==(const Summary&, const Summary&) = default;
};

/// Told run by run; what it keeps does not grow with them. The order of the runs does not matter but for the last
/// digits of sums. Results of workers that are not ours may lack what is not required: it is then left out. One thread.
class SummaryBuilder {
 public:
  /// A completed run; `results` is its `results` object (`risk`, `scoring`, `forecast`, `recommendations`).
  void add_completed(const store::Opportunity& opportunity, json::Value results);
  /// A run that failed or was cancelled.
  void add_failed(std::string_view error);
  [[nodiscard]] const Summary& summary() const { return summary_; }

 private:
  void add_open(const store::Opportunity& opportunity, json::Value results);
  CurrencySummary& of_currency(const std::string& currency);
  Summary summary_;
};

[[nodiscard]] std::string to_json(const Summary& summary);

struct TextStyle {
  std::size_t width = 100;  // columns; less than 60 counts as 60
  bool color = false;       // ANSI
};
/// Tables for a terminal. What comes from the CRM cannot control it.
[[nodiscard]] std::string to_text(const Summary& summary, const TextStyle& style);

}  // namespace wfo::analysis
