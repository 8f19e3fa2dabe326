#include "analysis/profile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/digest.h"

namespace wfo::analysis {
namespace {

using store::Opportunity;
using store::StageState;

CycleTimes cycle_times(std::vector<double> days) {
  CycleTimes out{.deals = static_cast<int>(days.size()), .days = {}};
  if (days.empty()) return out;
  std::ranges::sort(days);
  for (std::size_t i = 0; i < kCyclePoints; ++i) {
    out.days.push_back(quantile_of(days, static_cast<double>(i) / (kCyclePoints - 1)));
  }
  return out;
}

std::optional<double> median(std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  std::ranges::sort(values);
  return quantile_of(values, 0.5);
}

bool brought_money(const Opportunity& deal) { return deal.state == StageState::won && deal.amount && *deal.amount > 0; }

bool counts(const Opportunity& deal, std::optional<Date> as_of) {
  return deal.state != StageState::open && !(as_of && deal.close_on && *deal.close_on > *as_of);
}

// --- JSON ---

void write_rate(json::Writer& writer, const Rate& rate) {
  writer.begin_array().number(std::int64_t{rate.won}).number(std::int64_t{rate.closed}).end_array();
}

void write_rates(json::Writer& writer, std::string_view key, const WinRates::ByName& rates) {
  writer.key(key).begin_object();
  for (const auto& [name, rate] : rates) write_rate(writer.key(name), rate);
  writer.end_object();
}

void write_cycles(json::Writer& writer, std::string_view key, const CycleTimes& cycles) {
  writer.key(key).begin_object().key("deals").number(std::int64_t{cycles.deals}).key("days").begin_array();
  for (const double days : cycles.days) writer.number(days);
  writer.end_array().end_object();
}

void write_optional(json::Writer& writer, std::string_view key, std::optional<double> value) {
  if (value) writer.key(key).number(*value);
}

void write_members(json::Writer& writer, const TenantProfile& profile) {
  if (profile.as_of) writer.key("asOf").string(format_date(*profile.as_of));
  write_rate(writer.key("overall"), profile.rates.overall);
  write_rates(writer, "productRates", profile.rates.products);
  write_rates(writer, "ownerRates", profile.rates.owners);
  write_rates(writer, "sectorRates", profile.rates.sectors);
  write_cycles(writer, "wonCycles", profile.won_cycles);
  write_cycles(writer, "lostCycles", profile.lost_cycles);
  write_optional(writer, "medianWonAmount", profile.median_won_amount);
  writer.key("productPrices").begin_object();
  for (const auto& [name, prices] : profile.products) {
    writer.key(name).begin_object();
    write_optional(writer, "medianWon", prices.median_won);
    write_optional(writer, "listPrice", prices.list_price);
    writer.end_object();
  }
  writer.end_object();
  writer.key("spread").begin_object();
  writer.key("p10").number(profile.spread.p10).key("p50").number(profile.spread.p50);
  writer.key("p90").number(profile.spread.p90).key("deals").number(std::int64_t{profile.spread.deals});
  writer.end_object();
  writer.key("neverClosesShare").number(profile.never_closes_share);
}

std::string digest_name(const TenantProfile& profile) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  write_members(writer, profile);
  writer.end_object();
  return "profile-" + to_hex(sha256(text)).substr(0, 16);
}

// Collects what is wrong instead of returning it at every place: one flag, asked once at the end.
struct Reader {
  bool broken = false;

  std::optional<double> optional_number(json::Value object, std::string_view key) {
    const auto value = object.find(key);
    if (!value) return std::nullopt;
    const auto number = value->number();
    if (!number) broken = true;
    return number;
  }
  double number(json::Value object, std::string_view key) {
    const auto value = optional_number(object, key);
    if (!value) broken = true;
    return value.value_or(0);
  }
  int count(std::optional<json::Value> value) {
    const auto number = value ? value->integer() : std::nullopt;
    if (!number || *number < 0 || *number > std::numeric_limits<int>::max()) {
      broken = true;
      return 0;
    }
    return static_cast<int>(*number);
  }
  Rate rate(json::Value value) {
    std::vector<int> numbers;
    for (const json::Value element : value.elements()) numbers.push_back(count(element));
    if (numbers.size() != 2) {
      broken = true;
      return {};
    }
    return {.won = numbers[0], .closed = numbers[1]};
  }
  json::Value member(json::Value object, std::string_view key) {
    const auto value = object.find(key);
    if (!value) broken = true;
    return value.value_or(object);
  }
  WinRates::ByName rates(json::Value object) {
    WinRates::ByName out;
    for (const json::Member entry : object.members()) out.emplace(entry.key.string().value_or(""), rate(entry.value));
    return out;
  }
  CycleTimes cycles(json::Value object) {
    CycleTimes out{.deals = count(object.find("deals")), .days = {}};
    for (const json::Value days : member(object, "days").elements()) out.days.push_back(days.number().value_or(0));
    if (out.days.size() != (out.deals > 0 ? kCyclePoints : 0) || !std::ranges::is_sorted(out.days)) broken = true;
    return out;
  }
};

}  // namespace

double quantile_of(std::span<const double> sorted, double share) {
  INVARIANT(!sorted.empty());
  const double place = std::clamp(share, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= sorted.size()) return sorted.back();
  return sorted[below] + (sorted[below + 1] - sorted[below]) * (place - static_cast<double>(below));
}

void WinRates::add(const Opportunity& closed) {
  const int won = closed.state == StageState::won ? 1 : 0;
  const auto count = [won](Rate& rate) {
    rate.won += won;
    ++rate.closed;
  };
  count(overall);
  if (!closed.product.empty()) count(products[closed.product]);
  if (!closed.owner.empty()) count(owners[closed.owner]);
  if (!closed.account_sector.empty()) count(sectors[closed.account_sector]);
}

double WinRates::overall_rate() const {
  return (overall.won + kPriorDeals * kPriorWinRate) / (overall.closed + kPriorDeals);
}

double WinRates::rate(const ByName& group, std::string_view name) const {
  const auto found = group.find(name);
  const Rate own = found == group.end() ? Rate{} : found->second;
  return (own.won + kGroupPriorDeals * overall_rate()) / (own.closed + kGroupPriorDeals);
}

std::optional<double> CycleTimes::quantile(double share) const {
  return days.empty() ? std::nullopt : std::optional(quantile_of(days, share));
}

double CycleTimes::share_longer(double age_days) const {
  if (days.empty()) return 1.0;
  // The share of quantile points behind the age, linear inside the step that holds it.
  const auto above = std::ranges::upper_bound(days, age_days);
  double share = static_cast<double>(days.end() - above) / static_cast<double>(days.size());
  if (above != days.begin() && above != days.end()) {
    const double low = *(above - 1);
    share += (*above - age_days) / (*above - low) / static_cast<double>(days.size());
  }
  return (std::min(share, 1.0) * deals + 0.5) / (deals + 0.5);
}

TenantProfile build_profile(std::span<const Opportunity> closed, std::optional<Date> as_of) {
  TenantProfile out;
  out.as_of = as_of;
  std::vector<double> won_days;
  std::vector<double> lost_days;
  std::vector<double> amounts;
  std::map<std::string_view, std::vector<double>> amounts_by_product;
  for (const Opportunity& deal : closed) {
    if (!counts(deal, as_of)) continue;
    out.rates.add(deal);
    if (!deal.product.empty() && deal.list_price && *deal.list_price > 0) {
      out.products[deal.product].list_price = deal.list_price;
    }
    if (deal.created_on && deal.close_on && *deal.close_on >= *deal.created_on) {
      auto& days = deal.state == StageState::won ? won_days : lost_days;
      days.push_back(static_cast<double>((*deal.close_on - *deal.created_on).count()));
    }
    if (!brought_money(deal)) continue;
    amounts.push_back(*deal.amount);
    if (!deal.product.empty()) amounts_by_product[deal.product].push_back(*deal.amount);
  }
  out.won_cycles = cycle_times(std::move(won_days));
  out.lost_cycles = cycle_times(std::move(lost_days));
  out.median_won_amount = median(amounts);
  for (auto& [product, values] : amounts_by_product) {
    out.products[std::string(product)].median_won = median(values);
  }

  std::vector<double> ratios;
  for (const Opportunity& deal : closed) {
    if (!counts(deal, as_of) || !brought_money(deal)) continue;
    auto expected = deal.list_price;
    if (const auto product = out.products.find(deal.product); !expected && product != out.products.end()) {
      expected = product->second.median_won;
    }
    if (!expected) expected = out.median_won_amount;
    if (*expected > 0) ratios.push_back(*deal.amount / *expected);
  }
  std::ranges::sort(ratios);
  if (!ratios.empty()) {
    out.spread = {.p10 = quantile_of(ratios, 0.1),
                  .p50 = quantile_of(ratios, 0.5),
                  .p90 = quantile_of(ratios, 0.9),
                  .deals = static_cast<int>(ratios.size())};
  }
  out.profile_id = digest_name(out);
  return out;
}

std::string to_json(const TenantProfile& profile) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object().key("profileId").string(profile.profile_id);
  write_members(writer, profile);
  writer.end_object();
  return text;
}

Result<TenantProfile> parse_profile(std::string_view json) {
  const auto document = json::Document::parse(std::string(json));
  if (!document) return fail(ErrorCode::corruption, "tenant profile: {}", document.error().message);
  const json::Value root = document->root();
  Reader reader;
  TenantProfile out;
  if (const auto as_of = root.find("asOf")) {
    const auto text = as_of->string();
    out.as_of = text ? parse_date(*text) : std::nullopt;
    if (!out.as_of) reader.broken = true;
  }
  out.rates = {.overall = reader.rate(reader.member(root, "overall")),
               .products = reader.rates(reader.member(root, "productRates")),
               .owners = reader.rates(reader.member(root, "ownerRates")),
               .sectors = reader.rates(reader.member(root, "sectorRates"))};
  out.won_cycles = reader.cycles(reader.member(root, "wonCycles"));
  out.lost_cycles = reader.cycles(reader.member(root, "lostCycles"));
  out.median_won_amount = reader.optional_number(root, "medianWonAmount");
  for (const json::Member entry : reader.member(root, "productPrices").members()) {
    out.products.emplace(entry.key.string().value_or(""),
                         ProductPrices{.median_won = reader.optional_number(entry.value, "medianWon"),
                                       .list_price = reader.optional_number(entry.value, "listPrice")});
  }
  const json::Value spread = reader.member(root, "spread");
  out.spread = {.p10 = reader.number(spread, "p10"),
                .p50 = reader.number(spread, "p50"),
                .p90 = reader.number(spread, "p90"),
                .deals = reader.count(spread.find("deals"))};
  out.never_closes_share = reader.number(root, "neverClosesShare");
  if (reader.broken) return fail(ErrorCode::corruption, "tenant profile: a member is missing or of the wrong kind");
  out.profile_id = digest_name(out);
  if (const auto id = root.find("profileId"); !id || !id->equals(out.profile_id)) {
    return fail(ErrorCode::corruption, "tenant profile: its content is {}, but it says {}", out.profile_id,
                id ? id->raw() : "nothing");
  }
  return out;
}

}  // namespace wfo::analysis
