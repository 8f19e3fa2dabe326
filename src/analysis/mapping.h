#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/opportunity_store.h"

namespace wfo::analysis {

/// The fields of an opportunity that a column can fill; their names in a mapping file are those of `name()`.
enum class Field {
  external_id,  // required in every row
  name,
  stage,
  state,  // open, won, lost: for files that say it themselves
  amount,
  currency,
  product,
  list_price,
  account,
  owner,
  competitor,
  probability,
  created_date,
  stage_entered_date,
  last_activity_date,
  close_date,
  stage_regressed,
  account_revenue,
  account_employees,
  account_sector,
};
inline constexpr std::size_t kFieldCount = 20;
[[nodiscard]] std::string_view name(Field field);

/// How a date may be written.
enum class DateFormat {
  iso,       // 2017-03-01, also with a time: 2017-03-01T09:30:00Z, 2017-03-01 09:30
  us,        // 3/1/2017, also with a time: 3/1/2017 9:30 AM
  european,  // 1.3.2017 and 1/3/2017, also with a time
  epoch_ms,  // milliseconds since 1970 in UTC
};

enum class NumberFormat {
  us,        // 1,200.50
  european,  // 1.200,50
};

/// A file beside the input, to be joined to its rows. All columns are headers.
struct PriceListJoin {
  std::string file;  // relative to the input's folder
  std::string product_column;
  std::string price_column;
  friend bool operator==(const PriceListJoin&, const PriceListJoin&) = default;
};
struct AccountsJoin {
  std::string file;
  std::string account_column;
  std::string revenue_column;  // "" where there is none; likewise below
  std::string employees_column;
  std::string sector_column;
  friend bool operator==(const AccountsJoin&, const AccountsJoin&) = default;
};

/// How a CRM's export is to be read: what config/mappings/*.yaml holds.
struct Mapping {
  std::string name;
  std::array<std::vector<std::string>, kFieldCount> columns;  // per Field: headers, the first that is there counts
  std::vector<DateFormat> dates{DateFormat::iso};             // tried in this order
  NumberFormat numbers = NumberFormat::us;
  bool probability_is_percent = false;
  std::vector<std::string> open_stages;  // any case; likewise below
  std::vector<std::string> won_stages;
  std::vector<std::string> lost_stages;
  bool other_stages_are_open = false;  // else a row in another stage is rejected
  /// In these states an amount of 0 means that nobody knows it.
  std::vector<store::StageState> zero_amount_unknown;
  std::map<std::string, std::string, std::less<>> product_aliases;
  std::string currency;  // where no column says it
  std::optional<PriceListJoin> price_list;
  std::optional<AccountsJoin> accounts;
  friend bool operator==(const Mapping&, const Mapping&) = default;

  [[nodiscard]] const std::vector<std::string>& columns_of(Field field) const {
    return columns[static_cast<std::size_t>(field)];
  }
  /// What a stage means, whatever its case; also with a pipeline's name behind it: `Closed won (Sales)`. Nothing: the
  /// mapping knows no such stage.
  [[nodiscard]] std::optional<store::StageState> state_of(std::string_view stage) const;
};

/// Errors: `invalid_argument`, all that is wrong, each on a line `file:line: message`.
[[nodiscard]] Result<Mapping> parse_mapping(std::string_view yaml, std::string_view file);

/// Those that come with the program, by name.
[[nodiscard]] const std::vector<Mapping>& built_in_mappings();

/// The mapping that knows most of `headers`; it must find the external id and the stage or state. Errors:
/// `invalid_argument` none does; the message says what each one lacks.
[[nodiscard]] Result<Mapping> pick_mapping(std::span<const Mapping> mappings, std::span<const std::string> headers);

/// Headers are the same whatever their case, and with white space around them.
[[nodiscard]] bool same_header(std::string_view a, std::string_view b);

/// Without the white space around it, no-break spaces included.
[[nodiscard]] std::string_view trimmed(std::string_view text);

// What stands in a cell, or nothing if it is not written as it should be.
[[nodiscard]] std::optional<Date> parse_date_cell(std::string_view text, std::span<const DateFormat> formats);
/// `$1,200.50`, `1.200,50 €`, `60%`; `(300)` is -300. Common signs and three-letter codes of currencies, before or
/// behind, are passed over; other letters are not (`10k`).
[[nodiscard]] std::optional<double> parse_number_cell(std::string_view text, NumberFormat format);
[[nodiscard]] std::optional<bool> parse_flag_cell(std::string_view text);
/// For messages: `2017-03-01 or 3/1/2017`.
[[nodiscard]] std::string describe(std::span<const DateFormat> formats);

}  // namespace wfo::analysis
