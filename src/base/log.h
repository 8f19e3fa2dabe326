#pragma once

#include <fmt/format.h>

#include <memory>
#include <string_view>
#include <utility>

namespace wfo {

enum class LogLevel { debug, info, warn, error, off };

/// Lines for the operator, on stderr; never payloads, never secrets. Control characters become spaces. Any thread.
class Logger {
 public:
  explicit Logger(LogLevel level);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  /// A logger that says nothing: for tests and short commands.
  [[nodiscard]] static Logger& silent();

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (level_ <= LogLevel::debug) write(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    if (level_ <= LogLevel::info) write(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) {
    if (level_ <= LogLevel::warn) write(LogLevel::warn, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    if (level_ <= LogLevel::error) write(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void write(LogLevel level, std::string_view message);
  struct Sink;
  LogLevel level_;
  std::unique_ptr<Sink> sink_;
};

}  // namespace wfo
