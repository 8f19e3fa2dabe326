#include "schedule/detail/zone_periods.h"

#include <date/tz.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace wfo::schedule::detail {
namespace {

using namespace std::chrono;

constexpr std::string_view kZoneFolder = "/usr/share/zoneinfo";

constexpr SysSeconds start_of(int year) { return sys_days(std::chrono::year(year) / January / 1); }
constexpr SysSeconds kTimeBegins = start_of(-9999);
constexpr SysSeconds kTimeEnds = start_of(30'000);
// Rules of years repeat with the calendar, after 400 years, so the table holds that many and not more. No file lists
// changes beyond the first of these.
constexpr SysSeconds kRepeatFrom = start_of(2100);
constexpr days kCalendarCycle{146'097};
constexpr int kLastYear = 2501;

// The last line of a zone's file, "" in files that have none.
Result<std::string> last_line_of_file(const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(kZoneFolder) / name;
  std::ifstream stream(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator(stream)), {});
  if (!bytes.starts_with("TZif")) {
    return fail(ErrorCode::unavailable, "time zone '{}': {} is not a zone's file that can be read", name,
                path.string());
  }
  if (bytes.back() != '\n') return std::string();
  bytes.pop_back();
  return bytes.substr(bytes.rfind('\n') + 1);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

// How many letters one has to put in, leave out or exchange.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t exchanged = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({exchanged, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

ZonePeriods::ZonePeriods() { add(kTimeBegins, seconds(0), "UTC"); }

Result<ZonePeriods> ZonePeriods::load(const std::string& name) {
  ZonePeriods periods;
  periods.changes_.clear();
  periods.abbreviations_.clear();
  try {
    const date::time_zone* zone = date::locate_zone(name);
    for (SysSeconds at = kTimeBegins; at < kTimeEnds;) {
      const date::sys_info info = zone->get_info(at);
      periods.add(at, info.offset, info.abbrev);
      at = info.end;
    }
  } catch (const std::exception& error) {
    return fail(ErrorCode::unavailable, "time zone '{}': the system's zone data cannot be read: {}", name,
                error.what());
  }
  TRY_ASSIGN(const std::string line, last_line_of_file(name));
  if (line.empty()) return periods;
  const auto rule = ZoneRule::parse(line);
  if (!rule) {
    return fail(ErrorCode::unavailable, "time zone '{}': the last line of its file is no rule: '{}'", name, line);
  }
  periods.add_years_of(*rule);
  return periods;
}

void ZonePeriods::add(SysSeconds at, seconds offset, const std::string& abbreviation) {
  if (!changes_.empty()) {
    const Change& last = changes_.back();
    if (last.offset == offset && abbreviations_[last.abbreviation] == abbreviation) return;
  }
  const auto known = std::ranges::find(abbreviations_, abbreviation);
  const auto index = static_cast<std::size_t>(known - abbreviations_.begin());
  if (known == abbreviations_.end()) abbreviations_.push_back(abbreviation);
  changes_.push_back({at, offset, index});
}

void ZonePeriods::add_years_of(const ZoneRule& rule) {
  if (!rule.summer) return;
  const SysSeconds listed = changes_.back().at;
  const int first_year = std::max(static_cast<int>(year_month_day(floor<days>(listed)).year()), 1800);
  struct Event {
    SysSeconds at;
    bool begins;
  };
  std::vector<Event> events;
  for (int y = first_year; y <= kLastYear; ++y) {
    const auto& summer = *rule.summer;
    const auto utc = [](local_seconds time, seconds offset) { return SysSeconds(time.time_since_epoch() - offset); };
    events.push_back({utc(summer.begin.in(year(y)), rule.standard.ahead_of_utc), true});
    events.push_back({utc(summer.end.in(year(y)), summer.offset.ahead_of_utc), false});
  }
  std::ranges::sort(events, {}, &Event::at);
  for (const Event& event : events) {
    if (event.at <= listed) continue;
    const auto& [abbreviation, offset] = event.begins ? rule.summer->offset : rule.standard;
    add(event.at, offset, abbreviation);
  }
}

ZonePeriod ZonePeriods::at(SysSeconds time) const {
  days moved{0};
  if (time >= kRepeatFrom && changes_.back().at >= kRepeatFrom) {
    moved = (floor<days>(time - kRepeatFrom) / kCalendarCycle) * kCalendarCycle;
    time -= moved;
  }
  const auto after = std::ranges::upper_bound(changes_, time, {}, &Change::at);
  const auto change = after == changes_.begin() ? after : std::prev(after);
  const auto before = change == changes_.begin() ? change : std::prev(change);
  const auto next = std::next(change);
  return {.begin = change->at + moved,
          .end = next == changes_.end() ? kTimeEnds : next->at + moved,
          .offset = change->offset,
          .offset_before = before->offset,
          .offset_after = next == changes_.end() ? change->offset : next->offset,
          .abbreviation = abbreviations_[change->abbreviation]};
}

Result<std::vector<std::string>> zone_names() {
  // Which zone this one is, depends on the machine.
  constexpr std::string_view kNotAZone = "localtime";
  try {
    std::vector<std::string> names;
    for (const date::time_zone& zone : date::get_tzdb().zones) {
      if (zone.name() != kNotAZone) names.push_back(zone.name());
    }
    std::ranges::sort(names);
    return names;
  } catch (const std::exception& error) {
    return fail(ErrorCode::unavailable, "the system's time zones cannot be read: {}", error.what());
  }
}

std::vector<std::string> similar_names(const std::vector<std::string>& names, std::string_view wrong) {
  constexpr std::size_t kSimilarMax = 3;
  constexpr std::size_t kNameBytesMax = 64;
  if (wrong.empty() || wrong.size() > kNameBytesMax) return {};
  const std::string wanted = lowered(wrong);
  const std::size_t edits_max = std::min<std::size_t>(2, wanted.size() / 3);
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const std::string& name : names) {
    const std::string candidate = lowered(name);
    const std::string_view city = std::string_view(candidate).substr(candidate.rfind('/') + 1);
    const std::size_t distance = std::min(edits(wanted, candidate), edits(wanted, city) + 1);
    if (distance <= edits_max) found.emplace_back(distance, name);
  }
  std::ranges::sort(found);
  std::vector<std::string> similar;
  for (auto& [distance, name] : found) {
    if (similar.size() < kSimilarMax) similar.push_back(std::move(name));
  }
  return similar;
}

}  // namespace wfo::schedule::detail
