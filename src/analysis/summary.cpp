#include "analysis/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "analysis/detail/text.h"
#include "analysis/estimates.h"

namespace wfo::analysis {
namespace {

using detail::columns;
using detail::grouped;
using detail::printable;
using store::Opportunity;
using store::StageState;

constexpr double kNormalP90 = 1.2816;  // the 90 % quantile of the standard normal distribution
constexpr std::size_t kReasonsMax = 3;
constexpr std::size_t kActionsMax = 2;
constexpr std::size_t kFailuresMax = 20;
constexpr std::size_t kFailureBytesMax = 200;
constexpr std::array kRiskBounds{0.3, 0.6};
constexpr std::size_t kWidthMin = 60;

template <class... Keys>
std::optional<double> number_at(json::Value value, Keys... keys) {
  const auto found = value.find(keys...);
  const auto number = found ? found->number() : std::nullopt;
  return number && std::isfinite(*number) ? number : std::nullopt;
}

template <class... Keys>
std::string text_at(json::Value value, Keys... keys) {
  const auto found = value.find(keys...);
  return found ? found->string().value_or("") : std::string();
}

std::vector<std::string> texts_of(std::optional<json::Value> list, std::string_view key, std::size_t count_max) {
  std::vector<std::string> out;
  if (!list) return out;
  for (const json::Value element : list->elements()) {
    if (out.size() == count_max) break;
    if (auto text = text_at(element, key); !text.empty()) out.push_back(std::move(text));
  }
  return out;
}

// The gravest of each category: two that say nearly the same help nobody.
std::vector<std::string> reasons_of(std::optional<json::Value> risks) {
  std::vector<std::string> out;
  std::vector<std::string> categories;
  if (!risks) return out;
  for (const json::Value risk : risks->elements()) {
    if (out.size() == kReasonsMax) break;
    auto category = text_at(risk, "category");
    if (!category.empty() && std::ranges::find(categories, category) != categories.end()) continue;
    categories.push_back(std::move(category));
    if (auto message = text_at(risk, "message"); !message.empty()) out.push_back(std::move(message));
  }
  return out;
}

// Our own worker says it; from another's interval it is what makes the interval normal.
double variance_of(json::Value forecast) {
  if (const auto deviation = number_at(forecast, "standardDeviation")) return *deviation * *deviation;
  const auto p10 = number_at(forecast, "p10");
  const auto p90 = number_at(forecast, "p90");
  if (!p10 || !p90) return 0;
  const double deviation = (*p90 - *p10) / (2 * kNormalP90);
  return deviation * deviation;
}

bool is_graver(const Endangered& a, const Endangered& b) {
  return std::tie(b.revenue_at_risk, a.external_id) < std::tie(a.revenue_at_risk, b.external_id);
}

}  // namespace

double ForecastSum::standard_deviation() const { return std::hypot(std::sqrt(variance), kCommonError * revenue); }
double ForecastSum::p10() const { return std::max(0.0, revenue - kNormalP90 * standard_deviation()); }
double ForecastSum::p90() const { return revenue + kNormalP90 * standard_deviation(); }

CurrencySummary& SummaryBuilder::of_currency(const std::string& currency) {
  auto& all = summary_.by_currency;
  const bool fits = all.size() < kCurrenciesMax || all.contains(currency);
  auto& out = all[fits ? currency : "(other)"];
  out.currency = fits ? currency : "(other)";
  return out;
}

void SummaryBuilder::add_failed(std::string_view error) {
  ++summary_.runs;
  ++summary_.failed;
  std::string text = printable(error, kFailureBytesMax);
  if (summary_.failures.size() >= kFailuresMax && !summary_.failures.contains(text)) text = "(other reasons)";
  ++summary_.failures[text];
}

void SummaryBuilder::add_completed(const Opportunity& opportunity, json::Value results) {
  ++summary_.runs;
  ++summary_.completed;
  if (opportunity.as_of && (!summary_.as_of || *opportunity.as_of > *summary_.as_of)) {
    summary_.as_of = opportunity.as_of;
  }
  if (opportunity.state == StageState::open) {
    add_open(opportunity, results);
    return;
  }
  const bool won = opportunity.state == StageState::won;
  ++(won ? summary_.won : summary_.lost);
  CurrencySummary& currency = of_currency(opportunity.currency);
  ClosedTotal& total = won ? currency.won : currency.lost;
  ++total.deals;
  total.amount += opportunity.amount.value_or(0);
}

void SummaryBuilder::add_open(const Opportunity& opportunity, json::Value results) {
  ++summary_.open;
  const double risk_score = number_at(results, "risk", "riskScore").value_or(0);
  const auto band = std::ranges::upper_bound(kRiskBounds, risk_score) - kRiskBounds.begin();
  ++summary_.open_by_risk[static_cast<std::size_t>(band)];
  if (auto model = text_at(results, "scoring", "modelId"); !model.empty()) summary_.model_id = std::move(model);
  std::string source = text_at(results, "risk", "dataQuality", "amountSource");
  if (source.empty()) source = opportunity.amount ? "crm" : "unknown";
  ++summary_.open_by_amount_source[source];
  if (const auto missing = results.find("risk", "dataQuality", "missing")) {
    for (const json::Value field : missing->elements()) ++summary_.open_missing[field.string().value_or("")];
  }

  const auto amount = number_at(results, "risk", "dataQuality", "amount");
  const double known_amount = amount ? *amount : opportunity.amount.value_or(0);
  const double at_risk = number_at(results, "risk", "revenueAtRisk").value_or(0);
  CurrencySummary& currency = of_currency(opportunity.currency);
  const bool fits = currency.by_stage.size() < kStagesMax || currency.by_stage.contains(opportunity.stage);
  for (ForecastSum* sum : {&currency.open, &currency.by_stage[fits ? opportunity.stage : "(other stages)"]}) {
    ++sum->deals;
    sum->without_amount += known_amount > 0 ? 0 : 1;
    sum->amount += known_amount;
    sum->revenue += number_at(results, "forecast", "revenueForecast").value_or(0);
    if (const auto forecast = results.find("forecast")) sum->variance += variance_of(*forecast);
    sum->at_risk += at_risk;
  }

  if (at_risk <= 0) return;
  Endangered deal{.external_id = opportunity.external_id,
                  .name = opportunity.name,
                  .account = opportunity.account,
                  .owner = opportunity.owner,
                  .stage = opportunity.stage,
                  .amount = known_amount,
                  .amount_source = std::move(source),
                  .risk_score = risk_score,
                  .not_won = number_at(results, "scoring", "mlRiskScore"),
                  .revenue_at_risk = at_risk,
                  .reasons = {},
                  .actions = {}};
  auto& worst = currency.endangered;
  if (worst.size() == kEndangeredMax && !is_graver(deal, worst.back())) return;
  deal.reasons = reasons_of(results.find("risk", "detectedRisks"));
  deal.actions = texts_of(results.find("recommendations", "recommendations"), "title", kActionsMax);
  worst.insert(std::ranges::upper_bound(worst, deal, is_graver), std::move(deal));
  if (worst.size() > kEndangeredMax) worst.pop_back();
}

// --- JSON ---

namespace {

void write_sum(json::Writer& writer, const ForecastSum& sum) {
  writer.key("deals").number(static_cast<std::int64_t>(sum.deals));
  writer.key("withoutAmount").number(static_cast<std::int64_t>(sum.without_amount));
  writer.key("amount").number(round_to(sum.amount, 2)).key("revenueAtRisk").number(round_to(sum.at_risk, 2));
  writer.key("forecast").begin_object().key("revenue").number(round_to(sum.revenue, 2));
  writer.key("p10").number(round_to(sum.p10(), 2)).key("p90").number(round_to(sum.p90(), 2)).end_object();
}

void write_closed(json::Writer& writer, std::string_view key, const ClosedTotal& total) {
  writer.key(key).begin_object().key("deals").number(static_cast<std::int64_t>(total.deals));
  writer.key("amount").number(round_to(total.amount, 2)).end_object();
}

void write_counts(json::Writer& writer, std::string_view key,
                  const std::map<std::string, std::size_t, std::less<>>& counts) {
  writer.key(key).begin_object();
  for (const auto& [name, count] : counts) writer.key(name).number(static_cast<std::int64_t>(count));
  writer.end_object();
}

void write_texts(json::Writer& writer, std::string_view key, const std::vector<std::string>& texts) {
  writer.key(key).begin_array();
  for (const std::string& text : texts) writer.string(text);
  writer.end_array();
}

void write_endangered(json::Writer& writer, const Endangered& deal) {
  writer.begin_object().key("externalId").string(deal.external_id);
  if (!deal.name.empty()) writer.key("name").string(deal.name);
  if (!deal.account.empty()) writer.key("account").string(deal.account);
  if (!deal.owner.empty()) writer.key("owner").string(deal.owner);
  writer.key("stage").string(deal.stage).key("amount").number(round_to(deal.amount, 2));
  writer.key("amountSource").string(deal.amount_source).key("riskScore").number(deal.risk_score);
  if (deal.not_won) writer.key("mlRiskScore").number(*deal.not_won);
  writer.key("revenueAtRisk").number(round_to(deal.revenue_at_risk, 2));
  write_texts(writer, "reasons", deal.reasons);
  write_texts(writer, "actions", deal.actions);
  writer.end_object();
}

}  // namespace

std::string to_json(const Summary& summary) {
  std::string text;
  json::Writer writer(text);
  const auto count = [&](std::string_view key, std::size_t value) {
    writer.key(key).number(static_cast<std::int64_t>(value));
  };
  writer.begin_object().key("runs").begin_object();
  count("total", summary.runs);
  count("completed", summary.completed);
  count("failed", summary.failed);
  writer.end_object();
  write_counts(writer, "failures", summary.failures);
  writer.key("opportunities").begin_object();
  count("open", summary.open);
  count("won", summary.won);
  count("lost", summary.lost);
  writer.end_object().key("openByRisk").begin_object();
  count("low", summary.open_by_risk[0]);
  count("medium", summary.open_by_risk[1]);
  count("high", summary.open_by_risk[2]);
  writer.end_object().key("dataQuality").begin_object();
  write_counts(writer, "openByAmountSource", summary.open_by_amount_source);
  write_counts(writer, "openMissing", summary.open_missing);
  writer.end_object();
  if (!summary.model_id.empty()) writer.key("modelId").string(summary.model_id);
  if (summary.as_of) writer.key("asOf").string(format_date(*summary.as_of));
  writer.key("currencies").begin_array();
  for (const auto& [name, currency] : summary.by_currency) {
    writer.begin_object().key("currency").string(name).key("open").begin_object();
    write_sum(writer, currency.open);
    writer.end_object().key("byStage").begin_array();
    for (const auto& [stage, sum] : currency.by_stage) {
      writer.begin_object().key("stage").string(stage);
      write_sum(writer, sum);
      writer.end_object();
    }
    writer.end_array();
    write_closed(writer, "won", currency.won);
    write_closed(writer, "lost", currency.lost);
    writer.key("endangered").begin_array();
    for (const Endangered& deal : currency.endangered) write_endangered(writer, deal);
    writer.end_array().end_object();
  }
  writer.end_array().end_object();
  return text;
}

// --- Text ---

namespace {

class TextReport {
 public:
  explicit TextReport(const TextStyle& style) : width_(std::max(style.width, kWidthMin)), color_(style.color) {}

  void heading(std::string_view text) { out_ += fmt::format("\n{}\n", painted(printable(text, width_), "1")); }
  void line(std::string_view text) { out_ += printable(text, width_) + "\n"; }

  // The first column takes what is left; the others stand to the right.
  void table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
    }
    std::size_t rest = 2;
    for (std::size_t i = 1; i < widths.size(); ++i) rest += widths[i] + 2;
    const std::size_t first = std::min(widths[0], width_ > rest + 8 ? width_ - rest : 8);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      std::string text = "  " + padded(printable(rows[r][0], first), first, false);
      for (std::size_t i = 1; i < rows[r].size(); ++i) {
        text += "  " + padded(printable(rows[r][i], widths[i]), widths[i], true);
      }
      out_ += (r == 0 ? painted(text, "2") : text) + "\n";
    }
  }

  // Words that go over several lines, the later ones below the first's beginning.
  void paragraph(std::string_view lead, std::string_view text) {
    const std::string clean = printable(text, 1'000);
    std::string current(lead);
    const std::string indent(columns(lead), ' ');
    bool first_word = true;
    for (std::size_t at = 0; at < clean.size();) {
      const auto end = std::min(clean.find(' ', at), clean.size());
      const std::string word = clean.substr(at, end - at);
      if (!first_word && columns(current) + 1 + columns(word) > width_) {
        out_ += current + "\n";
        current = indent;
        first_word = true;
      }
      current += (first_word ? "" : " ") + word;
      first_word = false;
      at = end + 1;
    }
    out_ += current + "\n";
  }

  [[nodiscard]] std::string painted(std::string_view text, std::string_view code) const {
    return color_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
  }
  void raw(std::string_view text) { out_ += text; }
  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  static std::string padded(std::string text, std::size_t width, bool right) {
    const std::size_t used = columns(text);
    const std::string space(used < width ? width - used : 0, ' ');
    return right ? space + text : text + space;
  }

  std::size_t width_;
  bool color_;
  std::string out_;
};

// What is not certain is not said to be.
std::string percent(double share) {
  if (share > 0.995 && share < 1) return "over 99 %";
  if (share > 0 && share < 0.005) return "under 1 %";
  return fmt::format("{:.0f} %", share * 100);
}

std::string said_by(std::string_view source) {
  if (source == "price_list") return "list price";
  if (source == "product_median") return "usual price of the product";
  if (source == "overall_median") return "usual price of a deal";
  if (source == "unknown") return "not known";
  return std::string(source == "crm" ? "as in the CRM" : source);
}

std::vector<std::string> sum_row(std::string name, const ForecastSum& sum) {
  return {std::move(name),      fmt::format("{}", sum.deals), grouped(sum.amount), grouped(sum.at_risk),
          grouped(sum.revenue), grouped(sum.p10()),           grouped(sum.p90())};
}

void write_currency(TextReport& report, const CurrencySummary& currency) {
  const std::string unit = currency.currency.empty() ? "" : " " + currency.currency;
  report.heading(fmt::format("Open opportunities by stage{}", unit.empty() ? "" : ", in" + unit));
  std::vector<std::vector<std::string>> rows{{"stage", "open", "amount", "at risk", "forecast", "p10", "p90"}};
  for (const auto& [stage, sum] : currency.by_stage) rows.push_back(sum_row(stage, sum));
  if (currency.by_stage.size() > 1) rows.push_back(sum_row("all", currency.open));
  report.table(rows);
  report.line(fmt::format("  Closed: {} won with {}{}, {} lost.", currency.won.deals, grouped(currency.won.amount),
                          unit, currency.lost.deals));
  if (currency.open.without_amount > 0) {
    report.line(fmt::format("  {} open opportunities have no amount, and none could be estimated: they add nothing.",
                            currency.open.without_amount));
  }
  if (currency.endangered.empty()) return;
  report.heading(fmt::format("The {} most endangered open opportunities{}", currency.endangered.size(),
                             unit.empty() ? "" : ", in" + unit));
  std::size_t place = 0;
  for (const Endangered& deal : currency.endangered) {
    const std::string account = deal.account.empty() ? "no account" : deal.account;
    const std::string title = deal.name.empty() ? account : fmt::format("{}, {}", deal.name, account);
    report.raw(
        report.painted(printable(fmt::format("{:>3}. {}  {}", ++place, deal.external_id, title), report.width()), "1"));
    report.raw("\n");
    report.paragraph(
        "     ", fmt::format("{}{} at risk of {} ({}); risk {}{}; {}{}", grouped(deal.revenue_at_risk), unit,
                             grouped(deal.amount), said_by(deal.amount_source), percent(deal.risk_score),
                             deal.not_won ? fmt::format(" ({} by the score)", percent(*deal.not_won)) : "", deal.stage,
                             deal.owner.empty() ? ", nobody owns it" : ", " + deal.owner));
    for (const std::string& reason : deal.reasons) report.paragraph("     - ", reason);
    for (const std::string& action : deal.actions) report.paragraph("     > ", action);
  }
}

}  // namespace

std::string to_text(const Summary& summary, const TextStyle& style) {
  TextReport report(style);
  report.line(fmt::format("{} runs: {} completed, {} failed{}", summary.runs, summary.completed, summary.failed,
                          summary.as_of ? fmt::format("; as of {}", format_date(*summary.as_of)) : ""));
  for (const auto& [error, runs] : summary.failures) report.paragraph("  ", fmt::format("{} x {}", runs, error));
  report.line(fmt::format("{} opportunities are open, {} won, {} lost", summary.open, summary.won, summary.lost));
  if (summary.open > 0) {
    report.line(fmt::format("Risk of the open ones: {} high (60 % and more), {} medium, {} low (below 30 %)",
                            summary.open_by_risk[2], summary.open_by_risk[1], summary.open_by_risk[0]));
  }
  for (const auto& [name, currency] : summary.by_currency) write_currency(report, currency);
  if (summary.open > 0) {
    report.heading("What is known of the open opportunities");
    std::string sources;
    for (const auto& [source, count] : summary.open_by_amount_source) {
      sources += fmt::format("{}{} {}", sources.empty() ? "" : ", ", count, said_by(source));
    }
    report.paragraph("  amounts: ", sources);
    std::string missing;
    for (const auto& [field, count] : summary.open_missing) {
      std::string words = field;
      std::ranges::replace(words, '_', ' ');
      missing += fmt::format("{}{} without {}", missing.empty() ? "" : ", ", count, words);
    }
    report.paragraph("  missing: ", missing.empty() ? "nothing" : missing);
    if (!summary.model_id.empty()) report.paragraph("  scored by: ", summary.model_id);
  }
  return report.take();
}

}  // namespace wfo::analysis
