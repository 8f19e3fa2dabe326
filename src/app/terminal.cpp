#include "app/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/result.h"
#include "store/text.h"

namespace wfo::app {
namespace {

/// Characters, as far as each takes one column.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

/// The first `count` characters.
std::string_view first_columns(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((text[at] & 0xC0) != 0x80 && count-- == 0) break;
  }
  return text.substr(0, at);
}

}  // namespace

bool is_terminal(int descriptor) { return isatty(descriptor) == 1; }

std::size_t terminal_width(int descriptor) {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return size.ws_col;
}

std::string printable(std::string_view text) {
  std::string out = store::as_text(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    if (c == '\n' || c == '\r' || c == '\t') {
      out[i] = ' ';
    } else if (c < 0x20 || c == 0x7f) {
      out[i] = '?';
    } else if (c == 0xC2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xA0) {
      out[i] = '?';  // U+0080 to U+009F: C1 controls, which terminals obey too
      out[++i] = '?';
    }
  }
  return out;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

void Table::add(std::vector<std::string> row) {
  INVARIANT(row.size() == headers_.size());
  for (auto& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::to_text(std::size_t width) const {
  std::vector<std::size_t> widths(headers_.size(), 0);
  const auto widen = [&](const std::vector<std::string>& row) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  };
  widen(headers_);
  for (const auto& row : rows_) widen(row);
  std::string text;
  const auto write = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - columns(row[i]) + 2, ' ');
    }
    if (width > 1 && columns(line) > width) line = std::string(first_columns(line, width - 1)) + "…";
    text += line;
    text += '\n';
  };
  write(headers_);
  for (const auto& row : rows_) write(row);
  return text;
}

Progress::Progress(std::string label, bool quiet)
    : label_(std::move(label)),
      shown_(!quiet && is_terminal(STDERR_FILENO)),
      begun_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::show(std::uint64_t done, std::uint64_t total) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now - begun_ < 300ms || (drawn_ && now - drawn_at_ < 100ms)) return;
  drawn_ = true;
  drawn_at_ = now;
  if (total == 0) {
    fmt::print(stderr, "\r\033[K{} {}", label_, done);
    std::fflush(stderr);
    return;
  }
  constexpr std::size_t kWidth = 30;
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto full = static_cast<std::size_t>(share * kWidth);
  std::string bar;
  for (std::size_t i = 0; i < kWidth; ++i) bar += i < full ? "█" : "░";
  fmt::print(stderr, "\r\033[K{} {} {:3.0f} %  {} of {}", label_, bar, share * 100, done, total);
  std::fflush(stderr);
}

}  // namespace wfo::app
