// Prints when cron expressions fire, for the comparison with other implementations (agreement_test.mjs).
//
// Reads lines `expression TAB zone TAB after TAB count` (`after` as RFC 3339) from standard input, and answers each
// with a line: `fires`, then `TAB time TAB rule` for each, or `refused TAB reason`. Exit codes: 0, 2 a line is not like
// that.
#include <array>
#include <charconv>
#include <iostream>
#include <string>

#include "schedule/cron.h"

namespace {

using namespace wfo;

std::string answer(const std::string& expression, const std::string& zone_name, Timestamp after, int count) {
  const auto cron = schedule::CronExpression::parse(expression);
  if (!cron) return "refused\t" + cron.error().message;
  const auto zone = schedule::Zone::find(zone_name);
  if (!zone) return "refused\t" + zone.error().message;
  std::string out = "fires";
  for (int i = 0; i < count; ++i) {
    const auto fire = cron->next(*zone, after);
    if (!fire) break;
    out.append("\t").append(format_timestamp(fire->at)).append("\t").append(name(fire->rule));
    after = fire->at;
  }
  return out;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::array<std::string, 4> parts;
    std::size_t at = 0;
    for (std::string& part : parts) {
      const std::size_t end = std::min(line.find('\t', at), line.size());
      part = line.substr(at, end - at);
      at = std::min(end + 1, line.size());
    }
    const auto after = wfo::parse_timestamp(parts[2]);
    int count = 0;
    std::from_chars(parts[3].data(), parts[3].data() + parts[3].size(), count);
    if (!after || count < 1) {
      std::cerr << "error: not `expression TAB zone TAB after TAB count`: " << line << '\n';
      return 2;
    }
    std::cout << answer(parts[0], parts[1], *after, count) << '\n';
  }
}
