#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wfo::app {

/// Whether a person sees what is written to that file descriptor.
[[nodiscard]] bool is_terminal(int descriptor);
/// Columns of the terminal on `descriptor`; 100 if it is none.
[[nodiscard]] std::size_t terminal_width(int descriptor);
/// `text` without what a terminal would obey: control characters become `?`, line breaks and tabs
/// spaces, bytes that are no UTF-8 U+FFFD.
[[nodiscard]] std::string printable(std::string_view text);

/// A table for people: columns as wide as their widest cell, the last one cut at the terminal's edge.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  /// As many cells as there are headers.
  void add(std::vector<std::string> row);
  /// With a line for the headers; each line ends in LF. `width` 0: nothing is cut.
  [[nodiscard]] std::string to_text(std::size_t width = 0) const;

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<std::string>> rows_;
};

/// A bar on stderr for what takes longer than a second; nothing where stderr is no terminal, or when it is quiet.
class Progress {
 public:
  Progress(std::string label, bool quiet);
  ~Progress();  // takes the bar away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Redraws at most ten times a second. `total` 0: nobody knows it; then there is a number instead of a bar.
  void show(std::uint64_t done, std::uint64_t total);

 private:
  std::string label_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point begun_;
  std::chrono::steady_clock::time_point drawn_at_;
};

}  // namespace wfo::app
