#include <fmt/format.h>

#include <set>
#include <utility>

#include "schedule/schedule.h"

namespace wfo::schedule {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// A wall clock's time, written as the moment at which UTC shows the same: so those that do not exist have a place too.
using WallTime = Timestamp;

constexpr std::size_t kGapTimesMax = 1'000;  // looked for in one gap; of more nobody wants to read
constexpr std::size_t kTimesShown = 3;

WallTime wall_time(const Zone& zone, Timestamp at) { return at + zone.offset(at); }

// `02:30`; with its day if that is not the fire's, as where a whole day is left out.
std::string shown(WallTime time, WallTime fire) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<seconds>(time - day));
  std::string out;
  if (day != std::chrono::floor<days>(fire)) out = format_date(day) + " ";
  out += fmt::format("{:02}:{:02}", clock.hours().count(), clock.minutes().count());
  if (clock.seconds() != seconds(0)) out += fmt::format(":{:02}", clock.seconds().count());
  return out;
}

std::string shown(const std::set<WallTime>& times, WallTime fire) {
  std::string out;
  for (std::size_t at = 0; const WallTime time : times) {
    if (at == kTimesShown && times.size() > kTimesShown + 1) {
      const auto more = times.size() - kTimesShown;
      return out + (times.size() < kGapTimesMax ? fmt::format(" and {} more", more) : " and many more");
    }
    if (at > 0) out += at + 1 == times.size() ? " and " : ", ";
    out += shown(time, fire);
    ++at;
  }
  return out;
}

// The times that the clock leaves out just before `at` and that an expression names. Asked in UTC, where every time
// exists, an expression tells what it names without regard to the zone.
void add_left_out(const CronExpression& expression, const Zone& zone, Timestamp at, std::set<WallTime>& out) {
  const WallTime begin = at + zone.offset(at - seconds(1));
  const WallTime end = wall_time(zone, at);
  for (WallTime time = begin - seconds(1); out.size() < kGapTimesMax;) {
    const auto named = expression.next(Zone::utc(), time);
    if (!named || named->at >= end) return;
    time = named->at;
    out.insert(time);
  }
}

std::string note_of_gap(const Timetable& timetable, const Fire& fire) {
  const Zone& zone = timetable.zone();
  std::set<WallTime> moved;
  std::set<WallTime> lost;
  for (const CronExpression& expression : timetable.expressions()) {
    const auto own = expression.next(zone, fire.at - seconds(1));
    const bool is_moved = own && own->at == fire.at && own->rule == FireRule::after_gap;
    add_left_out(expression, zone, fire.at, is_moved ? moved : lost);
  }
  const std::set<WallTime>& times = moved.empty() ? lost : moved;
  if (times.empty()) return "";
  const WallTime here = wall_time(zone, fire.at);
  return fmt::format("{} {} not exist{}", shown(times, here), times.size() == 1 ? "does" : "do",
                     moved.empty() ? "" : ": moved to " + shown(here, here));
}

// The other moment at which the clock shows the same as at `at`, if there is one. Clocks have been set by as little as
// 20 minutes and as much as a day, so all offsets in use around `at` are tried.
std::optional<Timestamp> other_pass(const Zone& zone, Timestamp at) {
  const WallTime here = wall_time(zone, at);
  for (Timestamp near = at - hours(25); near <= at + hours(25); near += minutes(10)) {
    const Timestamp other = here - zone.offset(near);
    if (other != at && wall_time(zone, other) == here) return other;
  }
  return std::nullopt;
}

std::string note_of(const Timetable& timetable, const Fire& fire) {
  const Zone& zone = timetable.zone();
  if (zone.offset(fire.at) > zone.offset(fire.at - seconds(1))) return note_of_gap(timetable, fire);
  if (fire.rule != FireRule::first_pass && fire.rule != FireRule::every_pass) return "";
  const auto other = other_pass(zone, fire.at);
  if (!other) return "";
  const WallTime here = wall_time(zone, fire.at);
  return fmt::format("{} comes twice: {}", shown(here, here),
                     fire.rule == FireRule::first_pass ? "only the first fires"
                     : fire.at < *other                ? "this is the first"
                                                       : "this is the second");
}

}  // namespace

std::vector<PreviewRow> preview(const Timetable& timetable, Timestamp after, std::size_t count) {
  std::vector<PreviewRow> rows;
  while (rows.size() < count) {
    const auto fire = timetable.next(after);
    if (!fire) break;
    rows.push_back({*fire, timetable.zone().format(fire->at), note_of(timetable, *fire)});
    after = fire->at;
  }
  return rows;
}

}  // namespace wfo::schedule
