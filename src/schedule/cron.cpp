#include "schedule/cron.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "schedule/detail/cron_fields.h"
#include "schedule/detail/zone_periods.h"

namespace wfo::schedule {
namespace {

using namespace std::chrono;
using detail::LocalSeconds;
using detail::SysSeconds;
using detail::ZonePeriod;

constexpr days kSearched{50 * 366};
// std::chrono's calendar is good far beyond, but no time that somebody means lies there.
constexpr SysSeconds kFirst = sys_days(1y / January / 1);
constexpr SysSeconds kLast = sys_days(9999y / December / 31);

constexpr LocalSeconds on_the_wall(SysSeconds time, seconds offset) {
  return LocalSeconds(time.time_since_epoch() + offset);
}

constexpr std::pair<FireRule, std::string_view> kRuleNames[] = {
    {FireRule::regular, "regular"},
    {FireRule::every_pass, "every_pass"},
    {FireRule::first_pass, "first_pass"},
    {FireRule::after_gap, "after_gap"},
};

std::string printable(std::string_view text) {
  constexpr std::size_t kShownMax = 100;
  std::string out;
  for (const char c : text.substr(0, kShownMax)) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text.size() > kShownMax ? out + "…" : out;
}

}  // namespace

std::string_view name(FireRule rule) { return kRuleNames[static_cast<std::size_t>(rule)].second; }

std::optional<FireRule> parse_fire_rule(std::string_view text) {
  const auto found = std::ranges::find(kRuleNames, text, &std::pair<FireRule, std::string_view>::second);
  if (found == std::end(kRuleNames)) return std::nullopt;
  return found->first;
}

struct Zone::Data {
  std::string name;
  detail::ZonePeriods periods;
};

Zone Zone::utc() {
  static const Data utc{"UTC", {}};
  return Zone(&utc);
}

Result<Zone> Zone::find(std::string_view name) {
  if (name == utc().name()) return utc();
  // What the system's files say, read once for the whole program as the library does; nothing in it ever changes.
  static std::mutex mutex;  // guards loaded
  static std::map<std::string, Data, std::less<>> loaded;
  const std::scoped_lock lock(mutex);
  if (const auto found = loaded.find(name); found != loaded.end()) return Zone(&found->second);
  TRY_ASSIGN(const std::vector<std::string> names, detail::zone_names());
  if (!std::ranges::binary_search(names, name)) {
    const std::vector<std::string> similar = detail::similar_names(names, name);
    return fail(ErrorCode::invalid_argument, "time zone '{}' is not known; {}", printable(name),
                similar.empty() ? "allowed: a name of the IANA time zone database, as Europe/Berlin or UTC"
                                : fmt::format("similar: {}", fmt::join(similar, ", ")));
  }
  std::string key(name);
  TRY_ASSIGN(detail::ZonePeriods periods, detail::ZonePeriods::load(key));
  const auto [place, inserted] = loaded.try_emplace(key, Data{key, std::move(periods)});
  return Zone(&place->second);
}

const std::string& Zone::name() const { return data_->name; }

seconds Zone::offset(Timestamp at) const { return data_->periods.at(floor<seconds>(at)).offset; }

std::string Zone::format(Timestamp at) const {
  const SysSeconds time = floor<seconds>(at);
  const ZonePeriod period = data_->periods.at(time);
  const LocalSeconds wall = on_the_wall(time, period.offset);
  const auto day = floor<days>(wall);
  const year_month_day date(day);
  const hh_mm_ss clock(wall - day);
  const hh_mm_ss offset(abs(period.offset));
  std::string out =
      fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                  clock.minutes().count(), clock.seconds().count(), period.offset < seconds(0) ? '-' : '+',
                  offset.hours().count(), offset.minutes().count());
  if (offset.seconds() != seconds(0)) out += fmt::format(":{:02}", offset.seconds().count());  // before standard time
  // `+1030` where nobody has letters for it, which says nothing more.
  if (period.abbreviation.find_first_of("+-") == std::string_view::npos) out += fmt::format(" {}", period.abbreviation);
  return out;
}

struct CronExpression::Fields : detail::CronFields {};

Result<CronExpression> CronExpression::parse(std::string_view text) {
  TRY_ASSIGN(const detail::CronFields fields, detail::parse_cron(text));
  CronExpression expression;
  expression.text_ = text;
  expression.fields_ = std::make_shared<const Fields>(Fields{fields});
  return expression;
}

std::optional<Fire> CronExpression::next(const Zone& zone, Timestamp after) const {
  if (after >= kLast) return std::nullopt;
  const Fields& fields = *fields_;
  SysSeconds time = std::max(floor<seconds>(after) + seconds(1), kFirst);
  const SysSeconds limit = time + kSearched;
  // From one change of the clock to the next, in which wall-clock time runs as UTC does.
  for (ZonePeriod period = zone.data_->periods.at(time); time < limit;
       time = period.end, period = zone.data_->periods.at(time)) {
    LocalSeconds from = on_the_wall(time, period.offset);
    const LocalSeconds wall_before = on_the_wall(period.begin, period.offset_before);
    if (fields.plain_hours) {
      if (time == period.begin && wall_before < from && fields.first_time(wall_before, from) && !fields.matches(from)) {
        return Fire{time, FireRule::after_gap};
      }
      from = std::max(from, wall_before);  // not the second pass
    }
    const SysSeconds end = std::min(period.end, limit);
    const auto found = fields.first_time(from, on_the_wall(end, period.offset));
    if (!found) continue;
    const bool again = *found >= on_the_wall(period.end, period.offset_after);
    const bool repeated = again || *found < wall_before;
    const auto rule = !repeated ? FireRule::regular : fields.plain_hours ? FireRule::first_pass : FireRule::every_pass;
    return Fire{SysSeconds(found->time_since_epoch() - period.offset), rule};
  }
  return std::nullopt;
}

}  // namespace wfo::schedule
