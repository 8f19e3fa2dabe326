#include "analysis/mapping.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "analysis/detail/yaml.h"
#include "embedded/analysis_mappings.h"

namespace wfo::analysis {
namespace {

using detail::YamlReader;

constexpr std::array<std::string_view, kFieldCount> kFieldNames{"external_id",
                                                                "name",
                                                                "stage",
                                                                "state",
                                                                "amount",
                                                                "currency",
                                                                "product",
                                                                "list_price",
                                                                "account",
                                                                "owner",
                                                                "competitor",
                                                                "probability",
                                                                "created_date",
                                                                "stage_entered_date",
                                                                "last_activity_date",
                                                                "close_date",
                                                                "stage_regressed",
                                                                "account_revenue",
                                                                "account_employees",
                                                                "account_sector"};
constexpr std::array<std::string_view, 4> kDateFormats{"iso", "us", "european", "epoch_ms"};
constexpr std::array<std::string_view, 4> kDateExamples{"2017-03-01", "3/1/2017", "1.3.2017", "1488326400000"};
constexpr std::array<std::string_view, 2> kNumberFormats{"us", "european"};
constexpr std::array<std::string_view, 2> kProbabilities{"fraction", "percent"};
constexpr std::array<std::string_view, 2> kOtherStages{"open", "reject"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.starts_with("\xC2\xA0")) return trimmed(text.substr(2));  // no-break space, as spreadsheets put it
  if (text.ends_with("\xC2\xA0")) return trimmed(text.substr(0, text.size() - 2));
  return text;
}

namespace {

std::optional<int> small_number(std::string_view text) {
  int value = 0;
  if (text.empty() || text.size() > 4 || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::optional<Date> calendar_day(std::optional<int> year, std::optional<int> month, std::optional<int> day) {
  if (!year || !month || !day || *year < 1900 || *year > 9999) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  return date.ok() ? std::optional(Date(date)) : std::nullopt;
}

// `9:30`, `09:30:00`, `9:30:00.5`, each with or without AM or PM, Z or an offset.
bool is_time_of_day(std::string_view text) {
  text = trimmed(text);
  for (const std::string_view half : {"AM", "PM", "am", "pm"}) {
    if (text.ends_with(half)) text = trimmed(text.substr(0, text.size() - 2));
  }
  if (text.ends_with("Z") || text.ends_with("z")) {
    text.remove_suffix(1);
  } else if (const auto sign = text.find_last_of("+-"); sign != std::string_view::npos && sign > 0) {
    const auto offset = text.substr(sign + 1);
    if (offset.size() < 2 || offset.size() > 5) return false;
    if (!std::ranges::all_of(offset, [](char c) { return is_digit(c) || c == ':'; })) return false;
    text = text.substr(0, sign);
  }
  constexpr std::array kLimits{23, 59, 60};
  for (std::size_t part = 0; part < kLimits.size(); ++part) {
    const auto end = std::min(text.find_first_of(":."), text.size());
    const auto number = small_number(text.substr(0, end));
    if (!number || *number > kLimits[part] || end > 2) return false;
    const bool last = end == text.size();
    const char separator = last ? '\0' : text[end];
    text.remove_prefix(last ? end : end + 1);
    if (last) return part >= 1;
    if (separator == '.') return part == 2 && !text.empty() && std::ranges::all_of(text, is_digit);
  }
  return false;
}

// Three numbers between separators, and perhaps a time behind.
std::optional<Date> parse_three(std::string_view text, std::string_view separators, DateFormat format) {
  const auto first = text.find_first_of(separators);
  if (first == std::string_view::npos) return std::nullopt;
  const auto second = text.find(text[first], first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto end = std::min(text.find_first_of(" T", second), text.size());
  if (end < text.size() && !is_time_of_day(text.substr(end + 1))) return std::nullopt;
  const auto a = text.substr(0, first);
  const auto b = text.substr(first + 1, second - first - 1);
  const auto c = text.substr(second + 1, end - second - 1);
  const auto year = format == DateFormat::iso ? a : c;
  if (year.size() != 4) return std::nullopt;  // two digits could be any century
  switch (format) {
    case DateFormat::iso:
      return calendar_day(small_number(a), small_number(b), small_number(c));
    case DateFormat::us:
      return calendar_day(small_number(c), small_number(a), small_number(b));
    default:
      return calendar_day(small_number(c), small_number(b), small_number(a));
  }
}

std::optional<Date> parse_one(std::string_view text, DateFormat format) {
  switch (format) {
    case DateFormat::iso:
      return parse_three(text, "-", format);
    case DateFormat::us:
      return parse_three(text, "/", format);
    case DateFormat::european:
      return parse_three(text, "./", format);
    case DateFormat::epoch_ms: {
      std::int64_t value = 0;
      const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
      // From 1970 to 9999: nine digits or fewer are seconds or plain numbers, not milliseconds.
      if (code != std::errc() || end != text.data() + text.size() || text.size() < 10 || value < 0 ||
          value > 253'402'300'799'999) {
        return std::nullopt;
      }
      return std::chrono::floor<std::chrono::days>(Timestamp(milliseconds(value)));
    }
  }
  return std::nullopt;
}

constexpr std::array<std::string_view, 11> kCurrencySigns{
    "US$", "A$", "C$", "$", "\xE2\x82\xAC", "\xC2\xA3", "\xC2\xA5", "\xE2\x82\xB9", "kr", "Fr.", "R$"};

bool is_currency_code(std::string_view text) {
  return text.size() == 3 && std::ranges::all_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool take_sign(std::string_view& text) {
  if (text.empty() || (text.front() != '-' && text.front() != '+')) return false;
  const bool minus = text.front() == '-';
  text = trimmed(text.substr(1));
  return minus;
}

// Only what is known to be a unit is passed over: `10k` is not 10.
void take_unit_before(std::string_view& text) {
  for (const std::string_view sign : kCurrencySigns) {
    if (!text.starts_with(sign)) continue;
    text = trimmed(text.substr(sign.size()));
    return;
  }
  if (is_currency_code(text.substr(0, std::min<std::size_t>(3, text.size())))) text = trimmed(text.substr(3));
}

void take_unit_behind(std::string_view& text) {
  if (text.ends_with('%')) {
    text = trimmed(text.substr(0, text.size() - 1));
    return;
  }
  for (const std::string_view sign : kCurrencySigns) {
    if (!text.ends_with(sign)) continue;
    text = trimmed(text.substr(0, text.size() - sign.size()));
    return;
  }
  if (text.size() > 3 && is_currency_code(text.substr(text.size() - 3))) {
    text = trimmed(text.substr(0, text.size() - 3));
  }
}

template <class Enum, std::size_t size>
Enum enum_at(const std::array<std::string_view, size>& names, std::string_view name) {
  return static_cast<Enum>(std::ranges::find(names, name) - names.begin());
}

bool contains_stage(std::span<const std::string> stages, std::string_view stage) {
  return std::ranges::any_of(stages, [&](const std::string& one) { return same_header(one, stage); });
}

// `Closed won (Sales pipeline)`: where there are several pipelines, exports put the pipeline's name behind the stage's.
std::string_view without_parenthesis(std::string_view stage) {
  const auto at = stage.ends_with(')') ? stage.rfind('(') : std::string_view::npos;
  return at == std::string_view::npos || at == 0 ? stage : trimmed(stage.substr(0, at));
}

void read_columns(YamlReader& reader, const YAML::Node& columns, Mapping& out) {
  std::vector<YamlReader::Key> keys;
  for (const std::string_view field : kFieldNames) keys.push_back({field, field == "external_id"});
  if (!reader.mapping(columns, "columns", keys)) return;
  for (std::size_t i = 0; i < kFieldCount; ++i) out.columns[i] = reader.texts(columns, kFieldNames[i]);
  if (out.columns_of(Field::stage).empty() && out.columns_of(Field::state).empty()) {
    reader.error(columns, "columns needs 'stage' or 'state'");
  }
}

void read_stages(YamlReader& reader, const YAML::Node& stages, Mapping& out) {
  if (!reader.mapping(stages, "stages", {{"open", false}, {"won", true}, {"lost", true}, {"others", false}})) return;
  out.open_stages = reader.texts(stages, "open");
  out.won_stages = reader.texts(stages, "won");
  out.lost_stages = reader.texts(stages, "lost");
  out.other_stages_are_open = reader.one_of(stages, "others", kOtherStages, "reject") == "open";
  const std::array lists{&out.open_stages, &out.won_stages, &out.lost_stages};
  for (std::size_t a = 0; a < lists.size(); ++a) {
    for (std::size_t b = a + 1; b < lists.size(); ++b) {
      for (const std::string& stage : *lists[a]) {
        if (contains_stage(*lists[b], stage)) {
          reader.error(stages, "the stage {} stands in two of open, won and lost", detail::quoted(stage));
        }
      }
    }
  }
}

void read_joins(YamlReader& reader, const YAML::Node& joins, Mapping& out) {
  if (!reader.mapping(joins, "joins", {{"price_list", false}, {"accounts", false}})) return;
  const auto file_of = [&](const YAML::Node& join) {
    std::string file = reader.text(join, "file");
    // A mapping is handed on; it must not make this program read files from anywhere.
    if (file.starts_with('/') || file.find("..") != std::string::npos || file.find('\\') != std::string::npos) {
      reader.error(*reader.find(join, "file"), "file is {}; allowed: a path below the input's folder",
                   detail::quoted(file));
    }
    return file;
  };
  if (const auto join = reader.find(joins, "price_list");
      join && reader.mapping(*join, "price_list", {{"file", true}, {"product", true}, {"price", true}})) {
    out.price_list = PriceListJoin{.file = file_of(*join),
                                   .product_column = reader.text(*join, "product"),
                                   .price_column = reader.text(*join, "price")};
  }
  if (const auto join = reader.find(joins, "accounts");
      join && reader.mapping(
                  *join, "accounts",
                  {{"file", true}, {"account", true}, {"revenue", false}, {"employees", false}, {"sector", false}})) {
    out.accounts = AccountsJoin{.file = file_of(*join),
                                .account_column = reader.text(*join, "account"),
                                .revenue_column = reader.text(*join, "revenue"),
                                .employees_column = reader.text(*join, "employees"),
                                .sector_column = reader.text(*join, "sector")};
  }
}

void read_mapping(YamlReader& reader, Mapping& out) {
  const YAML::Node& root = reader.root();
  if (!reader.mapping(root, "a mapping",
                      {{"name", true},
                       {"columns", true},
                       {"dates", false},
                       {"numbers", false},
                       {"probability", false},
                       {"stages", false},
                       {"zero_amount_unknown", false},
                       {"product_aliases", false},
                       {"currency", false},
                       {"joins", false}})) {
    return;
  }
  out.name = reader.text(root, "name");
  if (const auto columns = reader.find(root, "columns")) read_columns(reader, *columns, out);
  if (const auto dates = reader.find(root, "dates")) {
    out.dates.clear();
    for (const std::string& format : reader.texts(root, "dates")) {
      if (std::ranges::find(kDateFormats, format) == kDateFormats.end()) {
        reader.error(*dates, "{} is no date format; allowed: {}", detail::quoted(format), detail::joined(kDateFormats));
        continue;
      }
      out.dates.push_back(enum_at<DateFormat>(kDateFormats, format));
    }
    if (std::ranges::find(out.dates, DateFormat::us) != out.dates.end() &&
        std::ranges::find(out.dates, DateFormat::european) != out.dates.end()) {
      reader.error(*dates, "us and european cannot be told apart: 3/4/2017 is both");
    }
  }
  out.numbers = enum_at<NumberFormat>(kNumberFormats, reader.one_of(root, "numbers", kNumberFormats, "us"));
  out.probability_is_percent = reader.one_of(root, "probability", kProbabilities, "fraction") == "percent";
  if (const auto stages = reader.find(root, "stages")) {
    read_stages(reader, *stages, out);
  } else if (out.columns_of(Field::state).empty()) {
    reader.error(root, "a mapping without a column for 'state' needs 'stages'");
  }
  for (const std::string& text : reader.texts(root, "zero_amount_unknown")) {
    const auto state = store::parse_stage_state(text);
    if (!state) {
      reader.error(*reader.find(root, "zero_amount_unknown"), "{} is no state; allowed: open, won, lost",
                   detail::quoted(text));
      continue;
    }
    out.zero_amount_unknown.push_back(*state);
  }
  if (const auto aliases = reader.find(root, "product_aliases")) {
    if (!aliases->IsMap()) {
      reader.error(*aliases, "product_aliases must be a mapping");
    } else {
      for (const auto& entry : *aliases) {
        if (!entry.first.IsScalar() || !entry.second.IsScalar() || entry.second.Scalar().empty()) {
          reader.error(entry.first, "an alias is a text: a text");
          continue;
        }
        out.product_aliases[entry.first.Scalar()] = entry.second.Scalar();
      }
    }
  }
  out.currency = reader.text(root, "currency");
  if (const auto joins = reader.find(root, "joins")) read_joins(reader, *joins, out);
}

std::vector<Mapping> load_built_in() {
  std::vector<Mapping> out;
  for (const embedded::File& file : embedded::analysis_mappings()) {
    auto mapping = parse_mapping(file.text, file.name);
    INVARIANT(mapping.has_value());  // the tests read each of them
    out.push_back(*std::move(mapping));
  }
  return out;
}

}  // namespace

std::string_view name(Field field) { return kFieldNames[static_cast<std::size_t>(field)]; }

Result<Mapping> parse_mapping(std::string_view yaml, std::string_view file) {
  YamlReader reader(yaml, file);
  Mapping out;
  read_mapping(reader, out);
  TRY(reader.finish());
  return out;
}

const std::vector<Mapping>& built_in_mappings() {
  static const std::vector<Mapping> kMappings = load_built_in();
  return kMappings;
}

Result<Mapping> pick_mapping(std::span<const Mapping> mappings, std::span<const std::string> headers) {
  const auto has = [&](const Mapping& mapping, Field field) {
    return std::ranges::any_of(mapping.columns_of(field), [&](const std::string& column) {
      return std::ranges::any_of(headers, [&](const std::string& header) { return same_header(column, header); });
    });
  };
  const Mapping* best = nullptr;
  int best_count = 0;
  std::string lacks;
  for (const Mapping& mapping : mappings) {
    const bool has_id = has(mapping, Field::external_id);
    if (!has_id || !(has(mapping, Field::stage) || has(mapping, Field::state))) {
      std::vector<std::string_view> wanted;
      for (const Field field : {Field::external_id, Field::stage, Field::state}) {
        if (field != Field::external_id && !has_id) continue;
        if (field == Field::external_id && has_id) continue;
        for (const std::string& column : mapping.columns_of(field)) wanted.push_back(column);
      }
      lacks += fmt::format("; {} wants one of: {}", mapping.name, detail::joined(wanted));
      continue;
    }
    int count = 0;
    for (std::size_t i = 0; i < kFieldCount; ++i) count += has(mapping, static_cast<Field>(i)) ? 1 : 0;
    if (count > best_count) {
      best = &mapping;
      best_count = count;
    }
  }
  if (best == nullptr) {
    std::vector<std::string_view> names(headers.begin(), headers.end());
    return fail(ErrorCode::invalid_argument, "no mapping fits the columns {}{}", detail::quoted(detail::joined(names)),
                lacks);
  }
  return *best;
}

std::optional<store::StageState> Mapping::state_of(std::string_view stage) const {
  for (const std::string_view one : {trimmed(stage), without_parenthesis(trimmed(stage))}) {
    if (contains_stage(won_stages, one)) return store::StageState::won;
    if (contains_stage(lost_stages, one)) return store::StageState::lost;
    if (contains_stage(open_stages, one)) return store::StageState::open;
  }
  return other_stages_are_open ? std::optional(store::StageState::open) : std::nullopt;
}

bool same_header(std::string_view a, std::string_view b) {
  return std::ranges::equal(trimmed(a), trimmed(b), {}, lower, lower);
}

std::optional<Date> parse_date_cell(std::string_view text, std::span<const DateFormat> formats) {
  text = trimmed(text);
  for (const DateFormat format : formats) {
    if (const auto date = parse_one(text, format)) return date;
  }
  return std::nullopt;
}

std::optional<double> parse_number_cell(std::string_view text, NumberFormat format) {
  text = trimmed(text);
  const bool parentheses = text.starts_with('(') && text.ends_with(')');
  if (parentheses) text = trimmed(text.substr(1, text.size() - 2));
  bool minus = take_sign(text);  // -$5 and $-5 are both written
  take_unit_before(text);
  minus = take_sign(text) || minus;
  take_unit_behind(text);
  if (text.empty() || !(is_digit(text.front()) || text.front() == '.' || text.front() == ',')) return std::nullopt;

  const char group = format == NumberFormat::us ? ',' : '.';
  const char point = format == NumberFormat::us ? '.' : ',';
  std::string plain;
  std::size_t since_group = 0;  // digits since the last group sign
  bool grouped = false;
  bool fraction = false;
  bool exponent = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (is_digit(c)) {
      plain += c;
      ++since_group;
    } else if (c == group && !fraction && !exponent) {
      // 12,5 must not become 125: groups have three digits, the first one to three.
      if (grouped ? since_group != 3 : (since_group == 0 || since_group > 3)) return std::nullopt;
      grouped = true;
      since_group = 0;
    } else if (c == point && !fraction && !exponent) {
      if (grouped && since_group != 3) return std::nullopt;
      plain += '.';
      fraction = true;
    } else if (lower(c) == 'e' && !exponent && at > 0) {
      if (grouped && !fraction && since_group != 3) return std::nullopt;
      plain += 'e';
      exponent = true;
    } else if ((c == '-' || c == '+') && lower(text[at - 1]) == 'e') {
      if (c == '-') plain += '-';
    } else {
      return std::nullopt;
    }
  }
  if (grouped && !fraction && !exponent && since_group != 3) return std::nullopt;
  double value = 0;
  const auto [stop, code] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (code != std::errc() || stop != plain.data() + plain.size() || !std::isfinite(value)) return std::nullopt;
  return parentheses || minus ? -value : value;
}

std::optional<bool> parse_flag_cell(std::string_view text) {
  for (const std::string_view yes : {"true", "yes", "y", "1", "x"}) {
    if (same_header(text, yes)) return true;
  }
  for (const std::string_view no : {"false", "no", "n", "0"}) {
    if (same_header(text, no)) return false;
  }
  return std::nullopt;
}

std::string describe(std::span<const DateFormat> formats) {
  std::string out;
  for (const DateFormat format : formats) {
    out += fmt::format("{}{}", out.empty() ? "" : " or ", kDateExamples[static_cast<std::size_t>(format)]);
  }
  return out;
}

}  // namespace wfo::analysis
