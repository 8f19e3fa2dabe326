#include "analysis/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <variant>

#include "analysis/detail/row_reader.h"
#include "analysis/detail/yaml.h"
#include "base/json.h"
#include "store/opportunity_codec.h"

namespace wfo::analysis {
namespace {

using detail::CsvReader;
using detail::LineReader;
using detail::Row;
using store::Opportunity;
using store::StageState;

constexpr std::size_t kExternalIdBytesMax = 255;
constexpr std::size_t kTextBytesMax = 4096;  // of one cell that is kept
constexpr double kAmountMax = 1e15;          // what the store takes
constexpr double kEmployeesMax = 1e9;
constexpr std::size_t kHeaderSampleRows = 100;  // JSON Lines: rows whose keys choose the mapping
constexpr std::size_t kJoinRowsMax = 1'000'000;
constexpr std::size_t kShownValueBytes = 200;
constexpr std::size_t kProgressRows = 512;

// --- One row's values, by field ---

struct Cell {
  std::string text;         // trimmed; "" is no value
  std::string_view column;  // as the file calls it
  bool is_json_number = false;
};
using Cells = std::array<Cell, kFieldCount>;

const Cell& at(const Cells& cells, Field field) { return cells[static_cast<std::size_t>(field)]; }

std::string shown(std::string_view value) {
  if (value.size() <= kShownValueBytes) return std::string(value);
  std::size_t end = kShownValueBytes;
  while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0U) == 0x80U) --end;
  return std::string(value.substr(0, end)) + "...";
}

// What is wrong with a row, before it knows which one it is.
struct Fault {
  std::string column;
  std::string value;
  std::string reason;
};
std::unexpected<Fault> fault(const Cell& cell, std::string reason) {
  return std::unexpected(Fault{std::string(cell.column), shown(cell.text), std::move(reason)});
}
template <class T>
using Checked = std::expected<T, Fault>;

#define CHECK_ASSIGN(declaration, expression) WFO_TRY_ASSIGN(WFO_CONCAT(wfo_check_, __LINE__), declaration, expression)

Checked<std::string> text_of(const Cells& cells, Field field, std::size_t bytes_max = kTextBytesMax) {
  const Cell& cell = at(cells, field);
  if (cell.text.size() > bytes_max) {
    return fault(cell, fmt::format("{} bytes; allowed: {}", cell.text.size(), bytes_max));
  }
  return cell.text;
}

Checked<std::optional<double>> number_of(const Cells& cells, Field field, const Mapping& mapping, double max) {
  const Cell& cell = at(cells, field);
  if (cell.text.empty()) return std::nullopt;
  const auto format = cell.is_json_number ? NumberFormat::us : mapping.numbers;
  const auto number = parse_number_cell(cell.text, format);
  if (!number) {
    return fault(cell, fmt::format("no number; allowed: one like {}",
                                   format == NumberFormat::us ? "1200.50 or 1,200.50" : "1200,50 or 1.200,50"));
  }
  if (*number < 0 || *number > max) return fault(cell, fmt::format("allowed: from 0 to {:g}", max));
  return number;
}

Checked<std::optional<Date>> date_of(const Cells& cells, Field field, const Mapping& mapping) {
  const Cell& cell = at(cells, field);
  if (cell.text.empty()) return std::nullopt;
  const auto date = parse_date_cell(cell.text, mapping.dates);
  if (!date) return fault(cell, fmt::format("no date; allowed: one like {}", describe(mapping.dates)));
  return date;
}

struct Stage {
  std::string name;
  StageState state;
};

Checked<Stage> stage_of(const Cells& cells, const Mapping& mapping) {
  const Cell& stage = at(cells, Field::stage);
  const Cell& state = at(cells, Field::state);
  CHECK_ASSIGN(std::string name, text_of(cells, Field::stage));
  if (!state.text.empty()) {
    for (const StageState one : {StageState::open, StageState::won, StageState::lost}) {
      if (same_header(state.text, store::name(one))) {
        return Stage{name.empty() ? std::string(store::name(one)) : std::move(name), one};
      }
    }
    return fault(state, "no state; allowed: open, won, lost");
  }
  if (name.empty()) return fault(stage.column.empty() ? state : stage, "it is empty; a row needs a stage");
  const auto meaning = mapping.state_of(name);
  if (!meaning) {
    std::vector<std::string_view> known;
    for (const auto* stages : {&mapping.open_stages, &mapping.won_stages, &mapping.lost_stages}) {
      known.insert(known.end(), stages->begin(), stages->end());
    }
    return fault(stage,
                 fmt::format("no stage that the mapping {} knows; allowed: {}", mapping.name, detail::joined(known)));
  }
  return Stage{std::move(name), *meaning};
}

Checked<Opportunity> opportunity_of(const Cells& cells, const Mapping& mapping, const TenantId& tenant) {
  Opportunity out;
  out.tenant = tenant;
  CHECK_ASSIGN(out.external_id, text_of(cells, Field::external_id, kExternalIdBytesMax));
  if (out.external_id.empty()) return fault(at(cells, Field::external_id), "it is empty; a row needs an id");
  out.id = opportunity_id(tenant, out.external_id);
  CHECK_ASSIGN(out.name, text_of(cells, Field::name));
  CHECK_ASSIGN(Stage stage, stage_of(cells, mapping));
  out.stage = std::move(stage.name);
  out.state = stage.state;
  CHECK_ASSIGN(out.amount, number_of(cells, Field::amount, mapping, kAmountMax));
  if (out.amount == 0.0 &&
      std::ranges::find(mapping.zero_amount_unknown, out.state) != mapping.zero_amount_unknown.end()) {
    out.amount.reset();
  }
  CHECK_ASSIGN(out.currency, text_of(cells, Field::currency));
  if (out.currency.empty()) out.currency = mapping.currency;
  CHECK_ASSIGN(out.product, text_of(cells, Field::product));
  if (const auto alias = mapping.product_aliases.find(out.product); alias != mapping.product_aliases.end()) {
    out.product = alias->second;
  }
  CHECK_ASSIGN(out.list_price, number_of(cells, Field::list_price, mapping, kAmountMax));
  CHECK_ASSIGN(out.account, text_of(cells, Field::account));
  CHECK_ASSIGN(out.owner, text_of(cells, Field::owner));
  CHECK_ASSIGN(out.competitor_id, text_of(cells, Field::competitor));
  CHECK_ASSIGN(out.crm_probability,
               number_of(cells, Field::probability, mapping, mapping.probability_is_percent ? 100.0 : 1.0));
  if (out.crm_probability && mapping.probability_is_percent) *out.crm_probability /= 100.0;
  CHECK_ASSIGN(out.created_on, date_of(cells, Field::created_date, mapping));
  CHECK_ASSIGN(out.stage_entered_on, date_of(cells, Field::stage_entered_date, mapping));
  CHECK_ASSIGN(out.last_activity_on, date_of(cells, Field::last_activity_date, mapping));
  CHECK_ASSIGN(out.close_on, date_of(cells, Field::close_date, mapping));
  if (const Cell& cell = at(cells, Field::stage_regressed); !cell.text.empty()) {
    const auto flag = parse_flag_cell(cell.text);
    if (!flag) return fault(cell, "allowed: yes or no, true or false, 1 or 0");
    out.stage_regressed = *flag;
  }
  CHECK_ASSIGN(out.account_revenue, number_of(cells, Field::account_revenue, mapping, kAmountMax));
  CHECK_ASSIGN(out.account_employees, number_of(cells, Field::account_employees, mapping, kEmployeesMax));
  CHECK_ASSIGN(out.account_sector, text_of(cells, Field::account_sector));
  return out;
}

// --- Where the columns are ---

// Per field: the column that fills it, of those that are there.
std::array<std::string, kFieldCount> columns_for(const Mapping& mapping, std::span<const std::string> headers) {
  std::array<std::string, kFieldCount> out;
  for (std::size_t field = 0; field < kFieldCount; ++field) {
    for (const std::string& wanted : mapping.columns[field]) {
      const auto found =
          std::ranges::find_if(headers, [&](const std::string& header) { return same_header(header, wanted); });
      if (found == headers.end()) continue;
      out[field] = *found;
      break;
    }
  }
  return out;
}

std::size_t place_of(std::span<const std::string> headers, std::string_view wanted) {
  const auto found = std::ranges::find_if(headers, [&](const std::string& one) { return same_header(one, wanted); });
  return static_cast<std::size_t>(found - headers.begin());
}

// --- The two kinds of files ---

using Outcome = std::variant<Cells, Fault>;

// A file's rows as cells by field. What a row's cells borrow lives as long as this.
class RowSource {
 public:
  virtual ~RowSource() = default;
  /// The row, or nothing at the end.
  virtual Result<std::optional<Row>> next() = 0;
  virtual Outcome cells_of(const Row& row) const = 0;
  [[nodiscard]] virtual std::uint64_t bytes_done() const = 0;
};

class CsvRows final : public RowSource {
 public:
  CsvRows(std::istream& in, const std::array<std::string, kFieldCount>& columns, std::vector<std::string> headers)
      : reader_(in), headers_(std::move(headers)) {
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      if (!columns[field].empty()) places_[field] = place_of(headers_, columns[field]);
    }
  }
  Result<std::optional<Row>> next() override {
    if (!past_headers_) {
      past_headers_ = true;
      TRY(reader_.next());
    }
    return reader_.next();
  }
  Outcome cells_of(const Row& row) const override {
    for (std::size_t i = headers_.size(); i < row.cells.size(); ++i) {
      if (trimmed(row.cells[i]).empty()) continue;
      return Fault{"", shown(row.cells[i]),
                   fmt::format("{} cells, but the file has {} columns: a separator inside of a value needs quotes",
                               row.cells.size(), headers_.size())};
    }
    Cells out;
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      if (!places_[field]) continue;
      out[field].column = headers_[*places_[field]];
      // Spreadsheets leave empty cells at the end of a row out.
      if (*places_[field] < row.cells.size()) out[field].text = trimmed(row.cells[*places_[field]]);
    }
    return out;
  }
  [[nodiscard]] std::uint64_t bytes_done() const override { return reader_.bytes_done(); }

 private:
  CsvReader reader_;
  std::vector<std::string> headers_;
  std::array<std::optional<std::size_t>, kFieldCount> places_;
  bool past_headers_ = false;
};

class JsonRows final : public RowSource {
 public:
  JsonRows(std::istream& in, const Mapping& mapping) : reader_(in) {
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      for (std::size_t rank = 0; rank < mapping.columns[field].size(); ++rank) {
        const std::string& column = mapping.columns[field][rank];
        wanted_[lowered(column)].push_back({field, rank, &column});
      }
    }
  }
  Result<std::optional<Row>> next() override { return reader_.next(); }
  Outcome cells_of(const Row& row) const override {
    const auto document = json::Document::parse(row.raw);
    if (!document) return Fault{"", "", document.error().message};
    if (!document->root().is_object()) {
      return Fault{"", shown(row.raw),
                   fmt::format("a JSON {}; allowed: an object", json::name(document->root().kind()))};
    }
    Cells out;
    std::array<std::size_t, kFieldCount> ranks;
    ranks.fill(std::numeric_limits<std::size_t>::max());
    // In JSON every row has its own keys, so that they are looked up for each.
    for (const json::Member member : document->root().members()) {
      const auto found = wanted_.find(lowered(member.key.string().value_or("")));
      if (found == wanted_.end()) continue;
      for (const auto& [field, rank, column] : found->second) {
        if (rank >= ranks[field]) continue;
        ranks[field] = rank;
        auto cell = cell_of(member.value, *column);
        if (!cell) return std::move(cell).error();
        out[field] = *std::move(cell);
      }
    }
    return out;
  }
  [[nodiscard]] std::uint64_t bytes_done() const override { return reader_.bytes_done(); }

 private:
  struct Wanted {
    std::size_t field;
    std::size_t rank;  // its place in the mapping's list: the first that is there counts
    const std::string* column;
  };

  static std::string lowered(std::string_view name) {
    std::string out(trimmed(name));
    for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
  }
  static Checked<Cell> cell_of(json::Value value, const std::string& column) {
    Cell out{.text = {}, .column = column};
    if (value.is_object() || value.is_array()) {
      return std::unexpected(
          Fault{column, shown(value.raw()),
                fmt::format("a JSON {}; allowed: a string, a number, true, false or null", json::name(value.kind()))});
    }
    if (value.is_string()) {
      const std::string text = value.string().value_or("");
      out.text = trimmed(text);
    } else if (value.kind() != json::Kind::null) {
      out.text = std::string(value.raw());
      out.is_json_number = value.is_number();
    }
    return out;
  }

  LineReader reader_;
  std::map<std::string, std::vector<Wanted>, std::less<>> wanted_;
};

// --- Joined files ---

struct AccountData {
  std::optional<double> revenue;
  std::optional<double> employees;
  std::string sector;
};

struct Joins {
  std::map<std::string, double, std::less<>> prices;
  std::map<std::string, AccountData, std::less<>> accounts;
};

// Calls `take` with each row's cells for `columns`, in their order. Returns what is wrong, or "".
std::string read_join(const std::filesystem::path& file, std::span<const std::string> columns,
                      FunctionRef<void(const std::vector<std::string>&)> take) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return "is not there";
  CsvReader reader(in);
  const auto headers = reader.next();
  if (!headers) return fmt::format("cannot be used: {}", headers.error().message);
  if (!*headers) return "is empty";
  std::vector<std::size_t> places;
  for (const std::string& column : columns) {
    const std::size_t place = column.empty() ? std::string::npos : place_of((*headers)->cells, column);
    if (!column.empty() && place == (*headers)->cells.size())
      return fmt::format("has no column {}", detail::quoted(column));
    places.push_back(place);
  }
  for (std::size_t rows = 0;; ++rows) {
    const auto row = reader.next();
    if (!row) return fmt::format("cannot be used: {}", row.error().message);
    if (!*row) return "";
    if (rows == kJoinRowsMax) return fmt::format("has more than {} rows", kJoinRowsMax);
    std::vector<std::string> cells;
    for (const std::size_t place : places) {
      cells.emplace_back(place < (*row)->cells.size() ? trimmed((*row)->cells[place]) : std::string_view());
    }
    take(cells);
  }
}

Joins read_joins(const std::filesystem::path& input, const Mapping& mapping, std::vector<std::string>& warnings) {
  Joins out;
  const auto in_range = [&](const std::string& cell, double max) {
    const auto number = parse_number_cell(cell, mapping.numbers);
    return number && *number >= 0 && *number <= max ? number : std::nullopt;
  };
  if (const auto& join = mapping.price_list) {
    const std::array columns{join->product_column, join->price_column};
    std::size_t bad = 0;
    const auto problem = read_join(input.parent_path() / join->file, columns, [&](const auto& cells) {
      const auto price = in_range(cells[1], kAmountMax);
      if (cells[0].empty() || !price || *price == 0) {
        ++bad;
      } else {
        out.prices[cells[0]] = *price;
      }
    });
    if (!problem.empty()) {
      warnings.push_back(
          fmt::format("price list {}, looked for beside the input, {}: missing amounts are estimated from won deals",
                      join->file, problem));
    }
    if (bad > 0)
      warnings.push_back(fmt::format("price list {}: {} rows without a product or a price", join->file, bad));
  }
  if (const auto& join = mapping.accounts) {
    const std::array columns{join->account_column, join->revenue_column, join->employees_column, join->sector_column};
    std::size_t bad = 0;
    const auto problem = read_join(input.parent_path() / join->file, columns, [&](const auto& cells) {
      AccountData data{.revenue = in_range(cells[1], kAmountMax),
                       .employees = in_range(cells[2], kEmployeesMax),
                       .sector = cells[3].size() <= kTextBytesMax ? cells[3] : std::string()};
      const bool wrong = (!cells[1].empty() && !data.revenue) || (!cells[2].empty() && !data.employees) ||
                         data.sector.size() != cells[3].size();
      bad += cells[0].empty() || wrong ? 1 : 0;
      if (!cells[0].empty()) out.accounts[cells[0]] = std::move(data);
    });
    if (!problem.empty()) {
      warnings.push_back(
          fmt::format("accounts file {}, looked for beside the input, {}: sectors and sizes of accounts are not known",
                      join->file, problem));
    }
    if (bad > 0) {
      warnings.push_back(
          fmt::format("accounts file {}: {} rows without a name or with a value that cannot be used", join->file, bad));
    }
  }
  return out;
}

// --- The whole file ---

enum class FileKind { csv, json_lines };

struct Layout {
  FileKind kind = FileKind::csv;
  std::vector<std::string> headers;
};

Result<std::ifstream> open_file(const std::filesystem::path& file) {
  std::error_code code;
  const auto status = std::filesystem::status(file, code);
  if (!std::filesystem::exists(status)) return fail(ErrorCode::not_found, "{}: no such file", file.string());
  if (std::filesystem::is_directory(status)) {
    return fail(ErrorCode::invalid_argument, "{} is a folder; allowed: a CSV or JSON Lines file", file.string());
  }
  if (!std::filesystem::is_regular_file(status)) {  // it is read twice, which a pipe cannot be
    return fail(ErrorCode::invalid_argument, "{} is no regular file; allowed: a CSV or JSON Lines file", file.string());
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(ErrorCode::unavailable, "{} cannot be read", file.string());
  return in;
}

Result<Layout> look_at(const std::filesystem::path& file) {
  constexpr std::string_view kAllowed = "allowed: CSV with a row of headers, or JSON Lines, in UTF-8";
  TRY_ASSIGN(std::ifstream in, open_file(file));
  std::string head(4096, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  if (head.empty()) return fail(ErrorCode::invalid_argument, "{} is empty; {}", file.string(), kAllowed);
  if (head.starts_with("\xFF\xFE") || head.starts_with("\xFE\xFF")) {
    return fail(ErrorCode::invalid_argument, "{} is UTF-16; {}", file.string(), kAllowed);
  }
  if (head.starts_with("PK\x03\x04") || head.starts_with("\xD0\xCF\x11\xE0")) {
    return fail(ErrorCode::invalid_argument, "{} is a spreadsheet or an archive; {}: export it as CSV UTF-8",
                file.string(), kAllowed);
  }
  std::string_view start = head;
  if (start.starts_with("\xEF\xBB\xBF")) start.remove_prefix(3);
  start = trimmed(start);
  if (start.starts_with('[')) {
    return fail(ErrorCode::invalid_argument, "{} is a JSON array; {}: one object a line", file.string(), kAllowed);
  }
  in.clear();
  in.seekg(0);
  Layout out;
  if (start.starts_with('{')) {
    out.kind = FileKind::json_lines;
    LineReader reader(in);
    for (std::size_t rows = 0; rows < kHeaderSampleRows; ++rows) {
      auto row = reader.next();
      if (!row) return std::unexpected(with_context(std::move(row).error(), file.string()));
      if (!*row) break;
      const auto document = json::Document::parse((*row)->raw);
      if (!document) continue;
      for (const json::Member member : document->root().members()) {
        auto key = member.key.string().value_or("");
        if (std::ranges::find(out.headers, key) == out.headers.end()) out.headers.push_back(std::move(key));
      }
      if (out.headers.size() > detail::kColumnsMax) break;
    }
    return out;
  }
  CsvReader reader(in);
  auto row = reader.next();
  if (!row) return std::unexpected(with_context(std::move(row).error(), file.string()));
  if (!*row) return fail(ErrorCode::invalid_argument, "{} holds blank lines only; {}", file.string(), kAllowed);
  if (!(*row)->problem.empty()) {
    return fail(ErrorCode::invalid_argument, "{}: the headers on line {}: {}; {}", file.string(), (*row)->line,
                (*row)->problem, kAllowed);
  }
  for (const std::string& cell : (*row)->cells) out.headers.emplace_back(trimmed(cell));
  return out;
}

// The latest date that says what has been: of an open opportunity the close date is a hope.
std::optional<Date> latest_date(const Opportunity& opportunity, std::optional<Date> today) {
  std::optional<Date> out;
  const auto consider = [&](std::optional<Date> date) {
    if (date && !(today && *date > *today) && (!out || *date > *out)) out = date;
  };
  consider(opportunity.created_on);
  consider(opportunity.stage_entered_on);
  consider(opportunity.last_activity_on);
  if (opportunity.state != StageState::open) consider(opportunity.close_on);
  return out;
}

Sha256 digest_of(const Opportunity& opportunity) {
  return sha256(fmt::format("{}\n{}", store::name(opportunity.state), store::encode_opportunity(opportunity)));
}

class Importer {
 public:
  Importer(const ImportOptions& options, Layout layout, Mapping mapping)
      : options_(options),
        layout_(std::move(layout)),
        mapping_(std::move(mapping)),
        columns_(columns_for(mapping_, layout_.headers)) {}

  Result<ImportSummary> run(FunctionRef<Result<void>(ImportedRow)> on_row,
                            FunctionRef<Result<void>(const Reject&)> on_reject) {
    std::error_code code;
    file_bytes_ = std::filesystem::file_size(options_.file, code);
    if (code) file_bytes_ = 0;
    summary_.mapping = mapping_.name;
    note_headers();
    joins_ = read_joins(options_.file, mapping_, summary_.warnings);

    std::optional<Date> latest;
    TRY(each_row(0, [&](const Row&, const Checked<Opportunity>& opportunity) -> Result<void> {
      if (!opportunity) return {};
      const auto date = latest_date(*opportunity, options_.today);
      if (date && (!latest || *date > *latest)) latest = date;
      return {};
    }));
    summary_.as_of = options_.as_of ? options_.as_of : latest;
    TRY(each_row(file_bytes_, [&](const Row& row, Checked<Opportunity>& opportunity) -> Result<void> {
      if (!opportunity) return reject(row, std::move(opportunity).error(), on_reject);
      return hand_over(row, *std::move(opportunity), on_row, on_reject);
    }));
    note_missed_joins();
    return std::move(summary_);
  }

 private:
  using Visit = FunctionRef<Result<void>(const Row&, Checked<Opportunity>&)>;

  Result<void> each_row(std::uint64_t bytes_before, Visit visit) {
    TRY_ASSIGN(std::ifstream in, open_file(options_.file));
    std::unique_ptr<RowSource> source;
    if (layout_.kind == FileKind::csv) {
      source = std::make_unique<CsvRows>(in, columns_, layout_.headers);
    } else {
      source = std::make_unique<JsonRows>(in, mapping_);
    }
    for (std::size_t rows = 1;; ++rows) {
      auto row = source->next();
      if (!row) return std::unexpected(with_context(std::move(row).error(), options_.file.string()));
      if (!*row || rows % kProgressRows == 0) report(bytes_before + source->bytes_done());
      if (!*row) break;
      Checked<Opportunity> opportunity = std::unexpected(Fault{"", "", (*row)->problem});
      if ((*row)->problem.empty()) {
        auto cells = source->cells_of(**row);
        if (auto* bad = std::get_if<Fault>(&cells)) {
          opportunity = std::unexpected(std::move(*bad));
        } else {
          opportunity = opportunity_of(std::get<Cells>(cells), mapping_, options_.tenant);
        }
      }
      TRY(visit(**row, opportunity));
    }
    if (in.bad()) return fail(ErrorCode::unavailable, "{}: reading failed", options_.file.string());
    return {};
  }

  void report(std::uint64_t done) const {
    if (options_.on_progress) options_.on_progress(std::min(done, 2 * file_bytes_), 2 * file_bytes_);
  }

  Result<void> reject(const Row& row, Fault bad, FunctionRef<Result<void>(const Reject&)> on_reject) {
    ++summary_.rejects;
    return on_reject(Reject{row.line, std::move(bad.column), std::move(bad.value), std::move(bad.reason), row.raw});
  }

  Result<void> hand_over(const Row& row, Opportunity opportunity, FunctionRef<Result<void>(ImportedRow)> on_row,
                         FunctionRef<Result<void>(const Reject&)> on_reject) {
    join(opportunity);
    const Sha256 digest = digest_of(opportunity);
    std::uint64_t short_form = 0;
    for (std::size_t i = 0; i < 8; ++i) short_form = short_form << 8U | digest[i];
    const auto [seen, is_new] = seen_.try_emplace(opportunity.id, Seen{row.line, short_form});
    if (!is_new) {
      if (seen->second.digest == short_form) {
        ++summary_.repeated;
        return {};
      }
      const auto& column = columns_[static_cast<std::size_t>(Field::external_id)];
      return reject(row,
                    Fault{column, shown(opportunity.external_id),
                          fmt::format("the id stands on line {} already, with other content", seen->second.line)},
                    on_reject);
    }
    const std::string name = fmt::format("{}\n{}", opportunity.external_id, to_hex(digest));
    opportunity.as_of = summary_.as_of;
    ++summary_.rows;
    return on_row(
        ImportedRow{std::move(opportunity), row.line, digest, EventId(Uuid::v5(options_.tenant.value(), name))});
  }

  void join(Opportunity& opportunity) {
    if (!opportunity.product.empty() && !opportunity.list_price && !joins_.prices.empty()) {
      const auto price = joins_.prices.find(opportunity.product);
      if (price != joins_.prices.end()) {
        opportunity.list_price = price->second;
        ++summary_.rows_with_list_price;
      } else {
        note(unknown_products_, opportunity.product);
      }
    }
    if (opportunity.account.empty() || joins_.accounts.empty()) return;
    const auto account = joins_.accounts.find(opportunity.account);
    if (account == joins_.accounts.end()) {
      note(unknown_accounts_, opportunity.account);
      return;
    }
    ++summary_.rows_with_account_data;
    if (!opportunity.account_revenue) opportunity.account_revenue = account->second.revenue;
    if (!opportunity.account_employees) opportunity.account_employees = account->second.employees;
    if (opportunity.account_sector.empty()) opportunity.account_sector = account->second.sector;
  }

  struct Missed {
    std::size_t rows = 0;
    std::string first;
  };
  static void note(Missed& missed, const std::string& name) {
    if (missed.rows++ == 0) missed.first = name;
  }
  void note_missed_joins() {
    if (unknown_products_.rows > 0) {
      summary_.warnings.push_back(
          fmt::format("{} rows name a product that the price list {} does not hold, the first is {}",
                      unknown_products_.rows, mapping_.price_list->file, detail::quoted(unknown_products_.first)));
    }
    if (unknown_accounts_.rows > 0) {
      summary_.warnings.push_back(fmt::format("{} rows name an account that {} does not hold, the first is {}",
                                              unknown_accounts_.rows, mapping_.accounts->file,
                                              detail::quoted(unknown_accounts_.first)));
    }
  }

  void note_headers() {
    std::set<std::string, std::less<>> seen;
    for (const std::string& header : layout_.headers) {
      if (header.empty()) continue;
      const bool used = std::ranges::any_of(
          columns_, [&](const std::string& column) { return !column.empty() && same_header(column, header); });
      if (!seen.insert(header).second) {
        if (used) {
          summary_.warnings.push_back(
              fmt::format("the column {} stands in the file twice: the first one counts", detail::quoted(header)));
        }
        continue;
      }
      (used ? summary_.headers_used : summary_.headers_unused).push_back(header);
    }
  }

  struct Seen {
    std::size_t line = 0;
    std::uint64_t digest = 0;
  };

  const ImportOptions& options_;
  Layout layout_;
  Mapping mapping_;
  std::array<std::string, kFieldCount> columns_;
  Joins joins_;
  std::uint64_t file_bytes_ = 0;
  ImportSummary summary_;
  std::unordered_map<OpportunityId, Seen> seen_;
  Missed unknown_products_;
  Missed unknown_accounts_;
};

void append_csv_cell(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

Result<ImportSummary> read_file(const ImportOptions& options, FunctionRef<Result<void>(ImportedRow)> on_row,
                                FunctionRef<Result<void>(const Reject&)> on_reject) {
  TRY_ASSIGN(Layout layout, look_at(options.file));
  const auto candidates = options.mapping ? std::span(&*options.mapping, 1) : std::span(built_in_mappings());
  auto mapping = pick_mapping(candidates, layout.headers);
  if (!mapping) return std::unexpected(with_context(std::move(mapping).error(), options.file.string()));
  return Importer(options, std::move(layout), *std::move(mapping)).run(on_row, on_reject);
}

std::filesystem::path rejects_path(const std::filesystem::path& input, const std::filesystem::path& folder) {
  return folder / (input.filename().string() + ".rejects.csv");
}

std::string rejects_header() { return "line,column,value,reason,row\r\n"; }

std::string to_csv(const Reject& reject) {
  std::string out = fmt::format("{}", reject.line);
  for (const std::string* cell : {&reject.column, &reject.value, &reject.reason, &reject.row}) {
    out += ',';
    append_csv_cell(out, *cell);
  }
  return out + "\r\n";
}

}  // namespace wfo::analysis
