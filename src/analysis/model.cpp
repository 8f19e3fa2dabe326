#include "analysis/model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "analysis/estimates.h"
#include "base/digest.h"

namespace wfo::analysis {
namespace {

using store::Opportunity;
using store::StageState;

constexpr double kRidge = 1.0;        // keeps coefficients finite where a feature separates the rows
constexpr int kIterationsMax = 50;    // of Newton's method; it needs about six
constexpr double kLandmarkDays = 30;  // the widest distance between two views of a deal
constexpr double kHeldOutShare = 0.25;
constexpr std::size_t kFeatures = kFeatureNames.size();

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double logit(double p) { return std::log(p / (1.0 - p)); }

// A deal as it stood on one day while it was open.
struct View {
  Date day;
  std::size_t deal;  // its place among the usable deals
  bool won;
  Features features;
};

struct Fit {
  double intercept = 0;
  std::vector<FeatureWeight> weights;
};

double score(double intercept, std::span<const FeatureWeight> weights, const Features& features) {
  double sum = intercept;
  for (const FeatureWeight& weight : weights) {
    const auto place = std::ranges::find(kFeatureNames, weight.name) - kFeatureNames.begin();
    const double value = features[static_cast<std::size_t>(place)];
    if (!std::isnan(value)) sum += weight.coefficient * (value - weight.mean) / weight.scale;
  }
  return sigmoid(sum);
}

// Standardisation of the features that vary; the others say nothing and are left out.
std::vector<FeatureWeight> standardise(std::span<const View* const> views) {
  std::vector<FeatureWeight> out;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (const View* view : views) {
      const double value = view->features[f];
      if (std::isnan(value)) continue;
      sum += value;
      count += 1;
    }
    if (count == 0) continue;
    const double mean = sum / count;
    for (const View* view : views) {
      const double value = view->features[f];
      if (!std::isnan(value)) squares += (value - mean) * (value - mean);
    }
    const double scale = std::sqrt(squares / count);
    if (scale < 1e-9) continue;
    out.push_back({.name = std::string(kFeatureNames[f]), .mean = mean, .scale = scale, .coefficient = 0});
  }
  return out;
}

// Solves a·x = b for a symmetric positive definite `a` (row by row), by Cholesky's decomposition.
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / a[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

// Penalised maximum likelihood by Newton's method, which for this problem has one optimum.
Fit fit_logistic(std::span<const View* const> views) {
  Fit fit{.intercept = 0, .weights = standardise(views)};
  const std::size_t n = fit.weights.size() + 1;
  std::vector<double> rows(views.size() * n, 1.0);
  for (std::size_t f = 1; f < n; ++f) {
    const FeatureWeight& weight = fit.weights[f - 1];
    const auto place = static_cast<std::size_t>(std::ranges::find(kFeatureNames, weight.name) - kFeatureNames.begin());
    for (std::size_t r = 0; r < views.size(); ++r) {
      const double value = views[r]->features[place];
      rows[r * n + f] = std::isnan(value) ? 0.0 : (value - weight.mean) / weight.scale;
    }
  }
  std::vector<double> beta(n, 0.0);
  for (int iteration = 0; iteration < kIterationsMax; ++iteration) {
    std::vector<double> gradient(n, 0.0);
    std::vector<double> hessian(n * n, 0.0);
    for (std::size_t r = 0; r < views.size(); ++r) {
      const double* row = &rows[r * n];
      const double p = sigmoid(std::inner_product(beta.begin(), beta.end(), row, 0.0));
      const double error = (views[r]->won ? 1.0 : 0.0) - p;
      const double weight = p * (1.0 - p);
      for (std::size_t i = 0; i < n; ++i) {
        gradient[i] += error * row[i];
        for (std::size_t j = 0; j <= i; ++j) hessian[i * n + j] += weight * row[i] * row[j];
      }
    }
    for (std::size_t i = 1; i < n; ++i) {  // the intercept is not drawn towards zero
      gradient[i] -= kRidge * beta[i];
      hessian[i * n + i] += kRidge;
    }
    const auto step = solve(std::move(hessian), std::move(gradient));
    double largest = 0;
    for (std::size_t i = 0; i < n; ++i) {
      beta[i] += std::clamp(step[i], -2.0, 2.0);
      largest = std::max(largest, std::abs(step[i]));
    }
    if (largest < 1e-9) break;
  }
  fit.intercept = beta[0];
  for (std::size_t f = 1; f < n; ++f) fit.weights[f - 1].coefficient = beta[f];
  return fit;
}

HeldOut judge(const Fit& fit, double rate, std::span<const View* const> views) {
  HeldOut out{.rows = static_cast<int>(views.size()), .auc = 0.5, .brier = 0, .brier_of_rate = 0};
  if (views.empty()) return out;
  std::vector<double> scores;
  std::vector<bool> outcomes;
  for (const View* view : views) {
    const double p = score(fit.intercept, fit.weights, view->features);
    const double y = view->won ? 1.0 : 0.0;
    scores.push_back(p);
    outcomes.push_back(view->won);
    out.brier += (p - y) * (p - y);
    out.brier_of_rate += (rate - y) * (rate - y);
  }
  out.auc = area_under_curve(scores, outcomes);
  out.brier /= static_cast<double>(views.size());
  out.brier_of_rate /= static_cast<double>(views.size());
  return out;
}

HeldOut try_split(const std::vector<const View*>& train, const std::vector<const View*>& test) {
  if (train.empty() || test.empty()) return {};
  double won = 0;
  for (const View* view : train) won += view->won ? 1 : 0;
  return judge(fit_logistic(train), won / static_cast<double>(train.size()), test);
}

std::vector<const Opportunity*> usable_deals(std::span<const Opportunity> closed, Date as_of) {
  std::vector<const Opportunity*> out;
  for (const Opportunity& deal : closed) {
    const bool whole = deal.state != StageState::open && deal.created_on && deal.close_on &&
                       *deal.created_on <= *deal.close_on && *deal.close_on <= as_of;
    if (whole) out.push_back(&deal);
  }
  std::ranges::sort(out, [](const Opportunity* a, const Opportunity* b) {
    return std::tie(*a->close_on, a->id) < std::tie(*b->close_on, b->id);
  });
  return out;
}

// The deals as they stood on every landmark day while they were open. The distance of the landmarks is half of the
// median cycle (at most kLandmarkDays), so that a tenant whose deals take a week is seen as often as one whose deals
// take a year. This is how open deals look on the day of an analysis: long ones are met more often than short ones.
std::vector<View> make_views(std::span<const Opportunity* const> deals) {
  std::vector<double> cycles;
  Date first = *deals.front()->created_on;
  for (const Opportunity* deal : deals) {
    cycles.push_back(static_cast<double>((*deal->close_on - *deal->created_on).count()));
    first = std::min(first, *deal->created_on);
  }
  std::ranges::sort(cycles);
  const int distance = static_cast<int>(std::clamp(quantile_of(cycles, 0.5) / 2.0, 1.0, kLandmarkDays));

  std::vector<std::size_t> by_creation(deals.size());
  std::iota(by_creation.begin(), by_creation.end(), std::size_t{0});
  std::ranges::sort(by_creation, [&](std::size_t a, std::size_t b) {
    return std::tie(*deals[a]->created_on, a) < std::tie(*deals[b]->created_on, b);
  });

  std::vector<View> views;
  std::vector<std::size_t> open;
  WinRates rates;
  std::size_t created = 0;
  std::size_t closed = 0;
  for (Date day = first; day <= *deals.back()->close_on; day += std::chrono::days{distance}) {
    while (closed < deals.size() && *deals[closed]->close_on <= day) rates.add(*deals[closed++]);
    while (created < deals.size() && *deals[by_creation[created]]->created_on <= day) {
      open.push_back(by_creation[created++]);
    }
    std::erase_if(open, [&](std::size_t deal) { return *deals[deal]->close_on <= day; });
    for (const std::size_t deal : open) {
      if (views.size() >= kTrainingRowsMax) return views;
      views.push_back({day, deal, deals[deal]->state == StageState::won, features_of(*deals[deal], rates, day)});
    }
  }
  return views;
}

void write_held_out(json::Writer& writer, std::string_view key, const HeldOut& held_out) {
  writer.key(key).begin_object().key("rows").number(std::int64_t{held_out.rows}).key("auc").number(held_out.auc);
  writer.key("brier").number(held_out.brier).key("brierOfRate").number(held_out.brier_of_rate).end_object();
}

void write_members(json::Writer& writer, const Model& model) {
  writer.key("kind").string("logistic-regression").key("asOf").string(format_date(model.as_of));
  writer.key("seed").string(fmt::format("{}", model.seed));  // 64 bits do not fit a JSON number everywhere
  writer.key("deals").number(std::int64_t{model.deals}).key("skipped").number(std::int64_t{model.skipped});
  writer.key("rows").number(std::int64_t{model.rows}).key("intercept").number(model.intercept);
  writer.key("features").begin_array();
  for (const FeatureWeight& feature : model.features) {
    writer.begin_object().key("name").string(feature.name).key("mean").number(feature.mean);
    writer.key("scale").number(feature.scale).key("coefficient").number(feature.coefficient).end_object();
  }
  writer.end_array().key("heldOut").begin_object();
  write_held_out(writer, "byTime", model.by_time);
  write_held_out(writer, "random", model.random);
  writer.end_object();
}

std::string digest_name(const Model& model) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  write_members(writer, model);
  writer.end_object();
  return "logistic-" + to_hex(sha256(text)).substr(0, 16);
}

std::optional<HeldOut> read_held_out(std::optional<json::Value> value) {
  if (!value) return std::nullopt;
  const auto rows = value->find("rows");
  const auto auc = value->find("auc");
  const auto brier = value->find("brier");
  const auto brier_of_rate = value->find("brierOfRate");
  if (!rows || !auc || !brier || !brier_of_rate) return std::nullopt;
  return HeldOut{.rows = static_cast<int>(rows->integer().value_or(0)),
                 .auc = auc->number().value_or(0.5),
                 .brier = brier->number().value_or(0),
                 .brier_of_rate = brier_of_rate->number().value_or(0)};
}

}  // namespace

Features features_of(const Opportunity& open, const WinRates& rates, Date as_of) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  const auto log_of = [](std::optional<double> value) { return value && *value >= 0 ? std::log1p(*value) : kUnknown; };
  const auto rate_of = [&](const WinRates::ByName& group, const std::string& name) {
    return name.empty() ? kUnknown : logit(rates.rate(group, name)) - logit(rates.overall_rate());
  };
  return {log_of(open.list_price),
          log_of(age_days(open, as_of)),
          rate_of(rates.products, open.product),
          rate_of(rates.owners, open.owner),
          rate_of(rates.sectors, open.account_sector),
          open.account.empty() ? 0.0 : 1.0,
          log_of(open.account_revenue),
          log_of(open.account_employees),
          open.stage_regressed ? 1.0 : 0.0,
          open.competitor_id.empty() ? 0.0 : 1.0};
}

double win_probability(const Model& model, const Opportunity& open, const WinRates& rates, Date as_of) {
  const double p = score(model.intercept, model.features, features_of(open, rates, as_of));
  return std::clamp(p, 0.001, 0.999);
}

Result<Model> train_model(std::span<const Opportunity> closed, Date as_of, std::uint64_t seed) {
  const auto deals = usable_deals(closed, as_of);
  const auto won = std::ranges::count_if(deals, [](const Opportunity* deal) { return deal->state == StageState::won; });
  if (deals.size() < kTrainingDealsMin || won == 0 || won == static_cast<std::ptrdiff_t>(deals.size())) {
    return fail(ErrorCode::invalid_argument,
                "{} of {} closed opportunities can be used for training (creation and close date known, closed by {}), "
                "{} of them won; needed: {}, won and lost ones",
                deals.size(), closed.size(), format_date(as_of), won, kTrainingDealsMin);
  }
  const auto views = make_views(deals);

  // By time: what is known on `cut` is trained on, what is open from then on is tried.
  const Date cut =
      *deals[static_cast<std::size_t>((1.0 - kHeldOutShare) * static_cast<double>(deals.size()))]->close_on;
  std::vector<const View*> early, late, drawn, rest, all;
  for (const View& view : views) {
    all.push_back(&view);
    if (view.day >= cut) late.push_back(&view);
    if (*deals[view.deal]->close_on <= cut) early.push_back(&view);
    const auto digest = short_digest(fmt::format("{}/{}", seed, deals[view.deal]->id.to_string()));
    (digest % 4 == 0 ? drawn : rest).push_back(&view);
  }
  if (all.empty()) {
    return fail(ErrorCode::invalid_argument, "all {} closed opportunities were closed on the day they were created",
                deals.size());
  }
  Fit fit = fit_logistic(all);
  Model model{.model_id = {},
              .as_of = as_of,
              .seed = seed,
              .deals = static_cast<int>(deals.size()),
              .skipped = static_cast<int>(closed.size() - deals.size()),
              .rows = static_cast<int>(views.size()),
              .intercept = fit.intercept,
              .features = std::move(fit.weights),
              .by_time = try_split(early, late),
              .random = try_split(rest, drawn)};
  model.model_id = digest_name(model);
  return model;
}

double area_under_curve(std::span<const double> scores, const std::vector<bool>& outcomes) {
  INVARIANT(scores.size() == outcomes.size());
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  double positive = 0;
  double negative = 0;
  double pairs = 0;  // (negative, positive) in the right order
  for (std::size_t begin = 0; begin < order.size();) {
    double tied_positive = 0;
    double tied_negative = 0;
    std::size_t end = begin;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      (outcomes[order[end]] ? tied_positive : tied_negative) += 1;
    }
    pairs += tied_positive * (negative + tied_negative / 2);
    positive += tied_positive;
    negative += tied_negative;
    begin = end;
  }
  return positive == 0 || negative == 0 ? 0.5 : pairs / (positive * negative);
}

std::string to_json(const Model& model) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object().key("modelId").string(model.model_id);
  write_members(writer, model);
  writer.end_object();
  return text;
}

Result<Model> parse_model(std::string_view json) {
  const auto document = json::Document::parse(std::string(json));
  if (!document) return fail(ErrorCode::corruption, "model: {}", document.error().message);
  const json::Value root = document->root();
  const auto integer = [&](std::string_view key) {
    const auto value = root.find(key);
    return value ? value->integer().value_or(-1) : -1;
  };
  const auto text = [](json::Value object, std::string_view key) {
    const auto value = object.find(key);
    return value ? value->string().value_or("") : std::string();
  };
  const auto number = [](json::Value object, std::string_view key) {
    const auto value = object.find(key);
    return value ? value->number().value_or(0) : 0.0;
  };
  Model out;
  const auto as_of = parse_date(text(root, "asOf"));
  const auto by_time = read_held_out(root.find("heldOut", "byTime"));
  const auto random = read_held_out(root.find("heldOut", "random"));
  if (!as_of || !by_time || !random) return fail(ErrorCode::corruption, "model: asOf or heldOut is missing or broken");
  out.as_of = *as_of;
  out.by_time = *by_time;
  out.random = *random;
  const std::string seed = text(root, "seed");
  for (const char c : seed) {
    if (c < '0' || c > '9') return fail(ErrorCode::corruption, "model: its seed is '{}'", seed);
    out.seed = out.seed * 10 + static_cast<std::uint64_t>(c - '0');
  }
  out.deals = static_cast<int>(integer("deals"));
  out.skipped = static_cast<int>(integer("skipped"));
  out.rows = static_cast<int>(integer("rows"));
  out.intercept = number(root, "intercept");
  const auto features = root.find("features");
  for (const json::Value feature : features.value_or(root).elements()) {
    FeatureWeight weight{.name = text(feature, "name"),
                         .mean = number(feature, "mean"),
                         .scale = number(feature, "scale"),
                         .coefficient = number(feature, "coefficient")};
    if (std::ranges::find(kFeatureNames, weight.name) == kFeatureNames.end() || !(weight.scale > 0)) {
      return fail(ErrorCode::corruption, "model: feature '{}' is unknown or has no scale", weight.name);
    }
    out.features.push_back(std::move(weight));
  }
  out.model_id = digest_name(out);
  if (text(root, "modelId") != out.model_id) {
    return fail(ErrorCode::corruption, "model: its content is {}, but it says {}", out.model_id, text(root, "modelId"));
  }
  return out;
}

}  // namespace wfo::analysis
