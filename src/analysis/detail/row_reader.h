#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace wfo::analysis::detail {

inline constexpr std::size_t kRowBytesMax = 1024 * 1024;
inline constexpr std::size_t kColumnsMax = 1000;

/// One row as it stands in a file.
struct Row {
  std::size_t line = 0;            // on which it begins, from 1
  std::string raw;                 // without its line end; of an over-long one only the beginning
  std::vector<std::string> cells;  // CSV: unquoted
  std::string problem;             // not empty: it cannot be read, for this reason
};

/// A text file in blocks: the bytes from the present row on, as far as they were read. Lines end with LF, CRLF or CR.
class TextSource {
 public:
  /// Passes over a byte order mark. Reads from where `in` stands.
  explicit TextSource(std::istream& in);

  /// What was read of the present row and behind it.
  [[nodiscard]] std::string_view rest() const { return std::string_view(buffer_).substr(at_); }
  /// Reads another block; false at the end of the file.
  bool fill();
  /// The present row ends `bytes` behind its beginning, over `lines` line ends; the next one begins there.
  void take(std::size_t bytes, std::size_t lines);
  /// The present line without its end; the beginning of one that is longer than `kRowBytesMax`.
  [[nodiscard]] std::string present_line();
  /// Passes over the rest of the present line, however long it is.
  void skip_line();
  /// The length of the line end at `at`: 0 (none), 1 or 2. Reads on to see the LF behind a CR.
  [[nodiscard]] std::size_t line_end(std::size_t at);
  [[nodiscard]] std::size_t line() const { return line_; }
  /// Bytes passed over since the beginning.
  [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }

 private:
  std::istream& in_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::uint64_t bytes_done_ = 0;
};

/// Whether `text` can stand in a text file: UTF-8 without NUL. Else where it cannot, and why.
struct BadByte {
  std::size_t at = 0;
  std::string what;
};
[[nodiscard]] std::optional<BadByte> find_bad_byte(std::string_view text);

/// Reads CSV as RFC 4180 describes it, and what is found beside it: CR, LF or CRLF, a byte order mark, `;` or tab
/// between cells (what the first line has most of), a quote inside a cell that does not begin with one, fewer cells
/// than there are headers. A row whose quotes are wrong costs its first line only: reading goes on with the next line.
class CsvReader {
 public:
  explicit CsvReader(std::istream& in);
  /// The next row that is not blank, or nothing at the end. Errors: `invalid_argument` the file is no text; names the
  /// line.
  [[nodiscard]] Result<std::optional<Row>> next();
  [[nodiscard]] std::uint64_t bytes_done() const { return source_.bytes_done(); }

 private:
  struct Scan;
  Scan scan();
  TextSource source_;
  char separator_ = ',';
};

/// Reads one line after the other, blank ones passed over.
class LineReader {
 public:
  explicit LineReader(std::istream& in) : source_(in) {}
  [[nodiscard]] Result<std::optional<Row>> next();
  [[nodiscard]] std::uint64_t bytes_done() const { return source_.bytes_done(); }

 private:
  TextSource source_;
};

}  // namespace wfo::analysis::detail
