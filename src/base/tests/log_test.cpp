#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace wfo {
namespace {

template <class Act>
std::string logged(LogLevel level, Act act) {
  testing::internal::CaptureStderr();
  {
    Logger logger(level);
    act(logger);
  }
  return testing::internal::GetCapturedStderr();
}

void say_everything(Logger& logger) {
  logger.debug("d{}", 1);
  logger.info("i{}", 2);
  logger.warn("w{}", 3);
  logger.error("e{}", 4);
}

// The lines without the time in front.
std::string without_times(const std::string& text) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    const std::size_t space = text.find(' ', at);
    out += text.substr(space + 1, end - space);
    at = end + 1;
  }
  return out;
}

TEST(Logger, SaysWhatItsLevelLetsThrough) {
  EXPECT_EQ(without_times(logged(LogLevel::debug, say_everything)), "debug d1\ninfo i2\nwarning w3\nerror e4\n");
  EXPECT_EQ(without_times(logged(LogLevel::warn, say_everything)), "warning w3\nerror e4\n");
  EXPECT_EQ(without_times(logged(LogLevel::error, say_everything)), "error e4\n");
  EXPECT_EQ(logged(LogLevel::off, say_everything), "");
}

TEST(Logger, BeginsEachLineWithTheTime) {
  const std::string line = logged(LogLevel::info, [](Logger& logger) { logger.info("ready"); });
  ASSERT_GE(line.size(), 24U);
  EXPECT_EQ(line[4], '-');
  EXPECT_EQ(line[10], 'T');
  EXPECT_EQ(line[19], '.');
}

TEST(Logger, KeepsOneMessageInOneLineWhateverItHolds) {
  EXPECT_EQ(without_times(
                logged(LogLevel::info, [](Logger& logger) { logger.info("bad id '{}'", "a\nb\r\t\x1b[31m\x7f{}é"); })),
            "info bad id 'a b   [31m {}é'\n");
}

TEST(Logger, MayBeSilent) {
  testing::internal::CaptureStderr();
  say_everything(Logger::silent());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace wfo
