#include "analysis/detail/row_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace wfo::analysis::detail {
namespace {

constexpr std::size_t kBlockBytes = 64 * 1024;
constexpr std::size_t kShownOfLongRow = 1024;

// The length of the UTF-8 sequence at the beginning of `text`, or 0: RFC 3629, without surrogates and overlong forms.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : static_cast<unsigned char>(0);
  };
  const auto follows = [&](std::size_t at) { return (byte(at) & 0xC0U) == 0x80U; };
  const unsigned char first = byte(0);
  const unsigned char second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
    return follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
    return follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

std::size_t count_line_ends(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\n' || (text[at] == '\r' && !(at + 1 < text.size() && text[at + 1] == '\n'))) ++count;
  }
  return count;
}

Result<void> check_text(const Row& row) {
  const auto bad = find_bad_byte(row.raw);
  if (!bad) return {};
  return fail(ErrorCode::invalid_argument, "line {}: {}; allowed: text in UTF-8",
              row.line + count_line_ends(std::string_view(row.raw).substr(0, bad->at)), bad->what);
}

std::string cut(std::string_view text) {
  std::size_t end = std::min(text.size(), kShownOfLongRow);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end));
}

char most_common_separator(std::string_view text) {
  constexpr std::array kSeparators{',', ';', '\t'};
  std::array<std::size_t, kSeparators.size()> counts{};
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == '\n' || c == '\r') break;
    for (std::size_t i = 0; i < kSeparators.size(); ++i) counts[i] += c == kSeparators[i] ? 1 : 0;
  }
  return kSeparators[static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin())];
}

}  // namespace

std::optional<BadByte> find_bad_byte(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text.substr(at));
    if (text[at] == '\0') return BadByte{at, "a NUL byte, so this is no text"};
    if (length == 0) {
      return BadByte{at, fmt::format("byte 0x{:02X} is no UTF-8", static_cast<unsigned char>(text[at]))};
    }
    at += length;
  }
  return std::nullopt;
}

TextSource::TextSource(std::istream& in) : in_(in) {
  fill();
  if (rest().starts_with("\xEF\xBB\xBF")) take(3, 0);
}

bool TextSource::fill() {
  if (at_ > kBlockBytes) {  // what was taken is dropped block by block, not row by row
    buffer_.erase(0, at_);
    at_ = 0;
  }
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kBlockBytes);
  in_.read(buffer_.data() + before, static_cast<std::streamsize>(kBlockBytes));
  buffer_.resize(before + static_cast<std::size_t>(in_.gcount()));
  return buffer_.size() > before;
}

void TextSource::take(std::size_t bytes, std::size_t lines) {
  at_ += bytes;
  line_ += lines;
  bytes_done_ += bytes;
}

std::size_t TextSource::line_end(std::size_t at) {
  const auto text = rest();
  if (at >= text.size()) return 0;
  if (text[at] == '\n') return 1;
  if (text[at] != '\r') return 0;
  if (at + 1 == text.size() && !fill()) return 1;
  return rest()[at + 1] == '\n' ? 2 : 1;
}

std::string TextSource::present_line() {
  std::size_t at = 0;
  while (true) {
    const auto found = rest().find_first_of("\r\n", at);
    at = std::min(found, rest().size());
    if (at > kRowBytesMax) return cut(rest());
    if (found != std::string_view::npos || !fill()) return std::string(rest().substr(0, at));
  }
}

void TextSource::skip_line() {
  while (true) {
    const auto end = rest().find_first_of("\r\n");
    if (end != std::string_view::npos) {
      take(end + line_end(end), 1);
      return;
    }
    take(rest().size(), 0);
    if (!fill()) return;
  }
}

struct CsvReader::Scan {
  std::vector<std::string> cells;
  std::size_t bytes = 0;      // without the line end
  std::size_t end_bytes = 0;  // of the line end
  std::size_t lines = 0;      // line ends inside of quotes
  bool at_end = false;        // nothing is left in the file
  std::string problem;
};

CsvReader::CsvReader(std::istream& in) : source_(in) { separator_ = most_common_separator(source_.rest()); }

// One row from where the source stands, which is not moved.
CsvReader::Scan CsvReader::scan() {
  enum class In { cell_start, plain, quoted, quote_in_quoted };
  Scan out;
  std::string cell;
  In state = In::cell_start;
  for (std::size_t at = 0;; ++at) {
    if (at == source_.rest().size() && !source_.fill()) {
      out.bytes = at;
      out.at_end = at == 0;
      if (state == In::quoted) out.problem = "a quote is opened and never closed";
      break;
    }
    if (at >= kRowBytesMax) {
      out.bytes = at;
      out.problem = fmt::format("longer than {} bytes{}", kRowBytesMax,
                                out.lines > 0 ? ", for a quote is opened on this line and not closed" : "");
      break;
    }
    const char c = source_.rest()[at];
    if (state == In::quoted) {
      if (c == '"') {
        state = In::quote_in_quoted;
        continue;
      }
      if (const std::size_t end = source_.line_end(at); end > 0) {
        ++out.lines;
        cell.append(source_.rest().substr(at, end));
        at += end - 1;
        continue;
      }
      cell += c;
      continue;
    }
    if (c == separator_) {
      out.cells.push_back(std::move(cell));
      cell.clear();
      state = In::cell_start;
      if (out.cells.size() >= kColumnsMax) {
        out.bytes = at;
        out.problem = fmt::format("more than {} cells", kColumnsMax);
        break;
      }
      continue;
    }
    if (const std::size_t end = source_.line_end(at); end > 0) {
      out.bytes = at;
      out.end_bytes = end;
      break;
    }
    if (c == '"' && state == In::cell_start) {
      state = In::quoted;
    } else if (c == '"' && state == In::quote_in_quoted) {
      cell += '"';
      state = In::quoted;
    } else if (state == In::quote_in_quoted) {
      if (c == ' ' || c == '\t') continue;  // white space behind a closing quote is nobody's meaning
      out.bytes = at;
      out.problem =
          fmt::format("'{}' stands behind a closing quote; a quote inside of quotes is written twice",
                      static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7F ? std::string(1, c)
                                                                                                    : "a character");
      break;
    } else {
      cell += c;
      state = In::plain;
    }
  }
  if (out.problem.empty()) out.cells.push_back(std::move(cell));
  return out;
}

Result<std::optional<Row>> CsvReader::next() {
  while (true) {
    Scan scanned = scan();
    if (scanned.at_end) return std::nullopt;
    Row row{
        .line = source_.line(), .raw = {}, .cells = std::move(scanned.cells), .problem = std::move(scanned.problem)};
    if (!row.problem.empty()) {
      // Only the first line is given up: with it, whatever quote it opened.
      row.raw = source_.present_line();
      row.cells.clear();
      TRY(check_text(row));
      source_.skip_line();
      return row;
    }
    row.raw = std::string(source_.rest().substr(0, scanned.bytes));
    source_.take(scanned.bytes + scanned.end_bytes, scanned.lines + (scanned.end_bytes > 0 ? 1 : 0));
    TRY(check_text(row));
    const bool blank = std::ranges::all_of(row.raw, [](char c) { return c == ' ' || c == '\t'; });
    if (!blank) return row;
  }
}

Result<std::optional<Row>> LineReader::next() {
  while (true) {
    Row row{.line = source_.line(), .raw = source_.present_line(), .cells = {}, .problem = {}};
    if (row.raw.empty() && source_.rest().empty()) return std::nullopt;
    if (source_.line_end(row.raw.size()) == 0 && row.raw.size() < source_.rest().size()) {
      row.problem = fmt::format("longer than {} bytes", kRowBytesMax);
    }
    TRY(check_text(row));
    source_.skip_line();
    const bool blank = std::ranges::all_of(row.raw, [](char c) { return c == ' ' || c == '\t'; });
    if (!blank) return row;
  }
}

}  // namespace wfo::analysis::detail
