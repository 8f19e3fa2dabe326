#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

namespace wfo {

struct Logger::Sink {
  spdlog::logger logger{"wfo", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
};

Logger::Logger(LogLevel level) : level_(level) {
  if (level == LogLevel::off) return;
  sink_ = std::make_unique<Sink>();
  sink_->logger.set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  sink_->logger.set_level(spdlog::level::debug);
}

Logger::~Logger() = default;

Logger& Logger::silent() {
  static Logger logger(LogLevel::off);  // holds no state, so that one for all is no hidden coupling
  return logger;
}

void Logger::write(LogLevel level, std::string_view message) {
  if (!sink_) return;
  // A message may quote what somebody sent: it must not make lines of its own or speak to a terminal.
  std::string line(message);
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  switch (level) {
    case LogLevel::debug:
      sink_->logger.debug("{}", line);
      break;
    case LogLevel::info:
      sink_->logger.info("{}", line);
      break;
    case LogLevel::warn:
      sink_->logger.warn("{}", line);
      break;
    case LogLevel::error:
      sink_->logger.error("{}", line);
      break;
    case LogLevel::off:
      break;
  }
}

}  // namespace wfo
