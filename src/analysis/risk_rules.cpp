#include "analysis/risk_rules.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "analysis/detail/yaml.h"

namespace wfo::analysis {
namespace {

// Which parameters a kind takes beside `kind`; all of them are required but closed_min.
struct KindSyntax {
  ConditionKind kind;
  std::string_view name;
  bool of = false;
  bool ramp = false;
  bool quantile = false;
  bool closed_min = false;
};
constexpr std::array kKinds{
    KindSyntax{.kind = ConditionKind::missing, .name = "missing", .of = true},
    KindSyntax{.kind = ConditionKind::present, .name = "present", .of = true},
    KindSyntax{.kind = ConditionKind::stage_regressed, .name = "stage_regressed"},
    KindSyntax{.kind = ConditionKind::age_ratio, .name = "age_ratio", .ramp = true, .quantile = true},
    KindSyntax{.kind = ConditionKind::stage_age_ratio, .name = "stage_age_ratio", .ramp = true, .quantile = true},
    KindSyntax{.kind = ConditionKind::close_overdue, .name = "close_overdue", .ramp = true},
    KindSyntax{.kind = ConditionKind::close_too_soon, .name = "close_too_soon", .ramp = true, .quantile = true},
    KindSyntax{.kind = ConditionKind::idle, .name = "idle", .ramp = true},
    KindSyntax{
        .kind = ConditionKind::win_rate_ratio, .name = "win_rate_ratio", .of = true, .ramp = true, .closed_min = true},
    KindSyntax{.kind = ConditionKind::amount_ratio, .name = "amount_ratio", .ramp = true},
    KindSyntax{.kind = ConditionKind::price_ratio, .name = "price_ratio", .ramp = true},
    KindSyntax{.kind = ConditionKind::probability_below, .name = "probability_below", .ramp = true},
};

constexpr std::array<std::string_view, 8> kFields{"amount",       "account",    "owner",    "product",
                                                  "created_date", "close_date", "currency", "competitor"};
constexpr std::array<std::string_view, 3> kGroups{"product", "owner", "sector"};
constexpr std::array<std::string_view, 3> kPlaceholders{"{value}", "{limit}", "{subject}"};

void read_condition(detail::YamlReader& reader, const YAML::Node& when, RiskRule& rule) {
  std::vector<std::string_view> names;
  for (const KindSyntax& syntax : kKinds) names.push_back(syntax.name);
  const std::string kind = reader.one_of(when, "kind", names, "");
  const auto syntax = std::ranges::find(kKinds, kind, &KindSyntax::name);
  if (syntax == kKinds.end()) {
    if (!reader.find(when, "kind")) reader.error(when, "when needs the key 'kind'; allowed: {}", detail::joined(names));
    return;
  }
  std::vector<detail::YamlReader::Key> keys{{"kind", true}};
  if (syntax->of) keys.push_back({"of", true});
  if (syntax->quantile) keys.push_back({"quantile", true});
  if (syntax->ramp) keys.insert(keys.end(), {{"from", true}, {"full", true}});
  if (syntax->closed_min) keys.push_back({"closed_min", false});
  if (!reader.mapping(when, fmt::format("the condition {}", kind), keys)) return;

  rule.kind = syntax->kind;
  if (syntax->kind == ConditionKind::win_rate_ratio) {
    rule.of = reader.one_of(when, "of", kGroups, kGroups[0]);
  } else if (syntax->of) {
    rule.of = reader.one_of(when, "of", kFields, kFields[0]);
  }
  rule.quantile = reader.number(when, "quantile", 0.01, 0.99, rule.quantile);
  rule.from = reader.number(when, "from", 0, 10'000, 0);
  rule.full = reader.number(when, "full", 0, 10'000, 1);
  rule.closed_min = static_cast<int>(reader.number(when, "closed_min", 1, 1'000'000, rule.closed_min));
  if (!syntax->ramp) return;
  const bool small_is_bad = rule.kind == ConditionKind::close_too_soon || rule.kind == ConditionKind::win_rate_ratio ||
                            rule.kind == ConditionKind::price_ratio || rule.kind == ConditionKind::probability_below;
  if (small_is_bad ? rule.full >= rule.from : rule.full <= rule.from) {
    reader.error(when, "from is {} and full is {}; for {} full must be {} from", rule.from, rule.full, kind,
                 small_is_bad ? "below" : "above");
  }
}

// Braces stand for placeholders only, so that a misspelt one does not reach a reader's eyes.
bool placeholders_are_known(std::string_view message) {
  for (std::size_t at = message.find_first_of("{}"); at != std::string_view::npos;
       at = message.find_first_of("{}", at)) {
    const auto known = std::ranges::find_if(
        kPlaceholders, [&](std::string_view placeholder) { return message.substr(at).starts_with(placeholder); });
    if (known == kPlaceholders.end()) return false;
    at += known->size();
  }
  return true;
}

}  // namespace

std::string_view name(ConditionKind kind) { return std::ranges::find(kKinds, kind, &KindSyntax::kind)->name; }

std::vector<std::string_view> rule_fields() { return {kFields.begin(), kFields.end()}; }

Result<RiskRules> parse_risk_rules(std::string_view yaml, std::string_view file) {
  detail::YamlReader reader(yaml, file);
  RiskRules out;
  if (reader.mapping(reader.root(), "a rule catalogue", {{"version", true}, {"rules", true}})) {
    out.version = reader.text(reader.root(), "version");
    for (const YAML::Node& node : reader.list(reader.root(), "rules", 1)) {
      if (!reader.mapping(node, "a rule",
                          {{"id", true}, {"category", true}, {"severity", true}, {"when", true}, {"message", true}})) {
        continue;
      }
      RiskRule rule{.id = reader.text(node, "id"),
                    .category = reader.text(node, "category"),
                    .severity = reader.number(node, "severity", 0.01, 0.99, 0.1),
                    .message = reader.text(node, "message")};
      for (const std::string* word : {&rule.id, &rule.category}) {
        if (!word->empty() && !detail::is_identifier(*word)) {
          reader.error(node, "{} is no name; allowed: up to 64 of a-z, 0-9 and '_', a letter first",
                       detail::quoted(*word));
        }
      }
      if (std::ranges::find(out.rules, rule.id, &RiskRule::id) != out.rules.end()) {
        reader.error(node, "a rule {} stands above already", detail::quoted(rule.id));
      }
      if (!placeholders_are_known(rule.message)) {
        reader.error(*reader.find(node, "message"), "the message {} has a brace that is none of {}",
                     detail::quoted(rule.message), detail::joined(kPlaceholders));
      }
      if (const auto when = reader.find(node, "when")) read_condition(reader, *when, rule);
      out.rules.push_back(std::move(rule));
    }
  }
  TRY(reader.finish());
  return out;
}

}  // namespace wfo::analysis
