#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/mapping.h"
#include "base/digest.h"
#include "base/function_ref.h"
#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"
#include "store/opportunity_store.h"

namespace wfo::analysis {

/// Bytes done of bytes in all; the file is read twice, and both readings count.
using ImportProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

struct ImportOptions {
  std::filesystem::path file;
  TenantId tenant;
  std::optional<Mapping> mapping;  // nothing: the built-in one that knows most of the file's columns
  std::optional<Date> as_of;       // nothing: the latest date in the file
  std::optional<Date> today;       // dates after it are expectations or mistakes: they never become `as_of`
  ImportProgress on_progress = nullptr;
};

/// A row that cannot be used.
struct Reject {
  std::size_t line = 0;  // on which the row begins
  std::string column;    // as the file calls it; "" if it is about the whole row
  std::string value;
  std::string reason;  // what is wrong with it, and what is allowed
  std::string row;     // as it stands in the file
  friend bool operator==(const Reject&, const Reject&) = default;
};

struct ImportedRow {
  store::Opportunity opportunity;
  std::size_t line = 0;
  Sha256 digest{};     // of the mapped row, what was joined included, `as_of` not: another day alone is no new work
  EventId trigger_id;  // UUIDv5 in the tenant's name space of external id, a line feed, and the digest in hex
};

struct ImportSummary {
  std::size_t rows = 0;       // handed to `on_row`
  std::size_t rejects = 0;    // handed to `on_reject`
  std::size_t repeated = 0;   // rows that stand in the file above already, word for word: passed over
  std::string mapping;        // its name
  std::optional<Date> as_of;  // nothing: no row holds a date; the analysis then stands at its own day
  std::vector<std::string> headers_used;
  std::vector<std::string> headers_unused;
  std::size_t rows_with_list_price = 0;    // from the price list
  std::size_t rows_with_account_data = 0;  // from the accounts file
  std::vector<std::string> warnings;       // what makes the result worth less: a file to join is missing, …
};

/// Reads a CSV or JSON Lines file row by row and hands over what it can use and what it cannot, in the order of the
/// file. In memory are one row, the joined files, and some 60 bytes for each row before. The file is read twice: first
/// whole, for `as_of` and for what makes it unusable, so that nothing is handed over of a file that is. An error that
/// `on_row` or `on_reject` returns ends the reading and is returned. Errors: `not_found` no such file; `unavailable` it
/// cannot be read; `invalid_argument` it cannot be used: empty, no text in UTF-8 (names the line), no mapping knows its
/// columns.
[[nodiscard]] Result<ImportSummary> read_file(const ImportOptions& options,
                                              FunctionRef<Result<void>(ImportedRow)> on_row,
                                              FunctionRef<Result<void>(const Reject&)> on_reject);

/// Where the rejects of `input` go: `<its name>.rejects.csv` in `folder`.
[[nodiscard]] std::filesystem::path rejects_path(const std::filesystem::path& input,
                                                 const std::filesystem::path& folder);
/// The header of a rejects file, then one row for each: line, column, value, reason, row (CSV as in RFC 4180).
[[nodiscard]] std::string rejects_header();
[[nodiscard]] std::string to_csv(const Reject& reject);

}  // namespace wfo::analysis
