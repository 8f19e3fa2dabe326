#include <benchmark/benchmark.h>

#include <chrono>

#include "schedule/cron.h"

namespace wfo::schedule {
namespace {

Timestamp start() { return parse_timestamp("2026-01-01T00:00:00Z").value(); }

// From one fire to the next, as a scheduler goes; through several years for those that are rare.
void next_fire_of(benchmark::State& state, const char* expression, const char* zone_name) {
  const CronExpression cron = CronExpression::parse(expression).value();
  const Zone zone = Zone::find(zone_name).value();
  Timestamp at = start();
  for (auto _ : state) {
    const auto fire = cron.next(zone, at);
    benchmark::DoNotOptimize(fire);
    at = fire && fire->at < start() + std::chrono::days(3'650) ? fire->at : start();
  }
}
BENCHMARK_CAPTURE(next_fire_of, every_minute_utc, "* * * * *", "UTC");
BENCHMARK_CAPTURE(next_fire_of, every_minute_new_york, "* * * * *", "America/New_York");
BENCHMARK_CAPTURE(next_fire_of, daily_new_york, "30 2 * * *", "America/New_York");
BENCHMARK_CAPTURE(next_fire_of, working_days_berlin, "*/5 9-17 * * MON-FRI", "Europe/Berlin");
BENCHMARK_CAPTURE(next_fire_of, last_working_day_london, "0 18 LW * *", "Europe/London");
BENCHMARK_CAPTURE(next_fire_of, third_friday_new_york, "0 9 * * 5#3", "America/New_York");
BENCHMARK_CAPTURE(next_fire_of, yearly_berlin, "@yearly", "Europe/Berlin");
BENCHMARK_CAPTURE(next_fire_of, leap_day_on_a_sunday_berlin, "0 0 29 2 */7", "Europe/Berlin");

void parse(benchmark::State& state, const char* expression) {
  for (auto _ : state) benchmark::DoNotOptimize(CronExpression::parse(expression));
}
BENCHMARK_CAPTURE(parse, daily, "0 1 * * *");
BENCHMARK_CAPTURE(parse, long_list, "0,5,10-20/2 9-17,23 1W,15W,LW JAN-MAR,JUN MON-FRI,6#3");
BENCHMARK_CAPTURE(parse, never, "0 0 30 2 *");

void find_zone(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Zone::find("America/New_York"));
}
BENCHMARK(find_zone);

}  // namespace
}  // namespace wfo::schedule
