#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/opportunity_store.h"

/// Opportunities to test with. Randomness comes from a seed that is in view.
namespace wfo::analysis::testing {

inline const TenantId kTenant = *TenantId::parse("6f9619ff-8b86-4011-b42d-00cf4fc964ff");
inline const TenantId kOtherTenant = *TenantId::parse("7f9619ff-8b86-4011-b42d-00cf4fc964ff");

inline Date day(std::string_view text) { return *parse_date(text); }

inline store::Opportunity deal(std::string external_id, store::StageState state) {
  store::Opportunity out;
  out.tenant = kTenant;
  out.id = opportunity_id(kTenant, external_id);
  out.external_id = std::move(external_id);
  out.state = state;
  out.stage = std::string(store::name(state));
  return out;
}

/// An open opportunity of which everything is known, and nothing about it is risky on 2026-03-01.
inline store::Opportunity good_deal() {
  auto out = deal("good", store::StageState::open);
  out.name = "Forty desks";
  out.amount = 1'000;
  out.currency = "EUR";
  out.product = "Desk";
  out.list_price = 1'000;
  out.account = "Acme";
  out.owner = "Ada";
  out.created_on = day("2026-02-01");
  out.close_on = day("2026-05-01");
  out.last_activity_on = day("2026-02-28");
  out.as_of = day("2026-03-01");
  return out;
}

inline store::Opportunity closed_deal(int number, bool won, int days, double amount = 1'000) {
  auto out = deal("closed-" + std::to_string(number), won ? store::StageState::won : store::StageState::lost);
  out.product = "Desk";
  out.owner = "Ada";
  out.account = "Acme";
  out.created_on = day("2025-01-01") + std::chrono::days{number % 300};
  out.close_on = *out.created_on + std::chrono::days{days};
  if (won) out.amount = amount;
  return out;
}

/// SplitMix64: the same everywhere, unlike the distributions of the standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }
  double uniform() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }

 private:
  std::uint64_t state_;
};

/// Closed deals of two owners: Ada wins `ada` of hers, Bob `bob` of his.
inline std::vector<store::Opportunity> history(int count, double ada, double bob, std::uint64_t seed) {
  Random random(seed);
  std::vector<store::Opportunity> out;
  for (int i = 0; i < count; ++i) {
    const bool is_ada = random.uniform() < 0.5;
    const bool won = random.uniform() < (is_ada ? ada : bob);
    const int days = 10 + static_cast<int>(random.below(100));
    auto one = closed_deal(i, won, days, 500 + 1'000 * random.uniform());
    one.owner = is_ada ? "Ada" : "Bob";
    out.push_back(std::move(one));
  }
  return out;
}

/// Anything an import could bring.
inline store::Opportunity any_deal(Random& random) {
  auto out = deal("any-" + std::to_string(random.below(1'000'000)), static_cast<store::StageState>(random.below(3)));
  const auto maybe = [&](auto value) { return random.below(3) == 0 ? std::nullopt : std::optional(value); };
  const auto some_day = [&] { return day("2024-01-01") + std::chrono::days{static_cast<int>(random.below(1'200))}; };
  const auto text = [&](std::string value) { return random.below(3) == 0 ? std::string() : value; };
  out.amount = maybe(random.below(4) == 0 ? 0.0 : 1e15 * random.uniform() * random.uniform());
  out.list_price = maybe(random.below(4) == 0 ? 0.0 : 1e6 * random.uniform());
  out.crm_probability = maybe(random.uniform());
  out.created_on = maybe(some_day());
  out.stage_entered_on = maybe(some_day());
  out.last_activity_on = maybe(some_day());
  out.close_on = maybe(some_day());
  out.as_of = maybe(some_day());
  out.product = text(random.below(2) == 0 ? "Desk" : "Chair");
  out.owner = text(random.below(2) == 0 ? "Ada" : "Bob");
  out.account = text("Acme");
  out.account_sector = text("retail");
  out.competitor_id = text("Globex");
  out.stage_regressed = random.below(2) == 0;
  out.account_revenue = maybe(1e4 * random.uniform());
  out.account_employees = maybe(1e4 * random.uniform());
  return out;
}

}  // namespace wfo::analysis::testing
