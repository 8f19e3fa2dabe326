#include "scheduler/detail/definitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace wfo::scheduler {

using schedule::Schedule;
using store::ScheduleOrigin;
using store::StoredSchedule;

namespace {

constexpr std::size_t kPage = 1'000;

/// The last fire of `before` after now that it has accounted for, which are all before `accounted` (nothing: all):
/// there is one only if the clock was set back, or somebody with a clock ahead of ours was faster.
std::optional<Timestamp> accounted_through(const schedule::Timetable& before, const std::optional<Timestamp>& accounted,
                                           Timestamp now) {
  constexpr std::chrono::years kAsFarAsClocksGo{100};
  const auto has_one_after = [&](Timestamp time) {
    const auto fire = before.next(time);
    return fire && (!accounted || fire->at < *accounted);
  };
  if (!has_one_after(now)) return std::nullopt;
  // Between the two by halves, since timetables go forward only, and a second may be the step of a year's fires.
  Timestamp one_after = now;
  Timestamp none_after = accounted.value_or(now + kAsFarAsClocksGo);
  while (none_after - one_after > milliseconds(1)) {
    const Timestamp middle = one_after + (none_after - one_after) / 2;
    (has_one_after(middle) ? one_after : none_after) = middle;
  }
  return before.next(one_after)->at;
}

/// Where `timetable` begins in the place of `before`: behind now, and behind what that has accounted for.
std::optional<Timestamp> first_new(const schedule::Timetable& timetable, const schedule::Timetable& before,
                                   const std::optional<Timestamp>& accounted, Timestamp now) {
  const auto fire = timetable.next(std::max(now, accounted_through(before, accounted, now).value_or(now)));
  return fire ? std::optional(fire->at) : std::nullopt;
}

std::optional<Timestamp> due_at(const schedule::Timetable& timetable, const std::optional<Timestamp>& fire) {
  return fire ? std::optional(timetable.due_at(*fire)) : std::nullopt;
}

/// The names of the configuration's schedules that are not what is wanted, and of those that are not there; and those
/// that belong to the API, for an error.
struct Differences {
  std::vector<std::string> names;  // in order
  std::string taken;
};
Result<Differences> differences(const store::Transaction& transaction, const std::map<std::string, Wanted>& wanted) {
  Differences found;
  std::set<std::string> names;
  for (const auto& [name, one] : wanted) names.insert(name);
  std::string after;
  for (;;) {
    TRY_ASSIGN(const auto page, transaction.schedules().list(after, kPage));
    for (const StoredSchedule& row : page) {
      const auto one = wanted.find(row.name);
      if (row.origin == ScheduleOrigin::configuration) {
        if (one == wanted.end()) {
          names.insert(row.name);
        } else if (one->second.definition == row.definition) {
          names.erase(row.name);
        }
      } else if (one != wanted.end()) {
        found.taken += fmt::format("{}'{}'", found.taken.empty() ? "" : ", ", row.name);
      }
    }
    if (page.size() < kPage) break;
    after = page.back().name;
  }
  found.names.assign(names.begin(), names.end());
  return found;
}

}  // namespace

Result<Wanted> check_schedule(const Core& core, const Schedule& schedule) {
  const std::string where = fmt::format("schedule '{}'", schedule.name);
  // By itself, since it is written into the definition as it stands.
  const auto metadata = json::Document::parse(schedule.metadata);
  if (!metadata) return std::unexpected(with_context(metadata.error(), fmt::format("{}: metadata", where)));
  TRY_ASSIGN(const auto document, json::Document::parse(schedule::encode(schedule)));
  TRY_ASSIGN(auto checked, schedule::parse_schedule(document.root(), where, core.catalog));
  if (core.check_metadata) {
    const auto usable = core.check_metadata(checked.job, metadata->root());
    if (!usable) return std::unexpected(with_context(usable.error(), where));
  }
  // A trigger that cannot be made would be found out when it is due, when nobody is there to mend it.
  const Timestamp now = core.clock.now();
  const auto trial = prepare_run(core, run_of(checked, now), now);
  if (!trial) {
    return std::unexpected(with_context(trial.error(), fmt::format("{}: metadata: a trigger cannot hold it", where)));
  }
  TRY_ASSIGN(auto timetable, schedule::Timetable::make(checked));
  Wanted wanted;
  wanted.definition = schedule::encode(checked);
  wanted.parsed = std::make_shared<const Parsed>(Parsed{std::move(checked), std::move(timetable)});
  return wanted;
}

Result<void> account_before(Core& core, std::span<const std::string> names) {
  for (std::size_t begin = 0; begin < names.size(); begin += core.config.batch_max) {
    const auto some = names.subspan(begin, std::min(core.config.batch_max, names.size() - begin));
    for (bool more = true; more;) {
      TRY(commit(core, [&](Work& work) -> Result<void> {
        TRY_ASSIGN(auto found, work.transaction().schedules().find(some));
        std::vector<StoredSchedule> due;
        for (auto& row : found) {
          if (row && row->wake_up_at && *row->wake_up_at <= work.now()) due.push_back(*std::move(row));
        }
        TRY_ASSIGN(const auto attended, work.attend(due));
        more = attended.more;
        return {};
      }));
    }
  }
  return {};
}

StoredSchedule new_row(const Wanted& wanted, ScheduleOrigin origin, Timestamp now) {
  const auto& [schedule, timetable] = *wanted.parsed;
  StoredSchedule row;
  row.name = schedule.name;
  row.origin = origin;
  row.definition = wanted.definition;
  row.paused = schedule.paused;
  row.pause_note = schedule.pause_note;
  if (const auto fire = timetable.next(now)) row.next_at = fire->at;
  row.wake_up_at = due_at(timetable, row.next_at);
  row.created_at = row.updated_at = now;
  return row;
}

Result<void> redefine(Work& work, StoredSchedule& row, const Wanted& wanted) {
  if (row.definition == wanted.definition) return {};
  const Schedule& now_wanted = wanted.parsed->schedule;
  const auto old = work.core().timetables.of(row);
  if (old) {
    const Schedule& before = (*old)->schedule;
    const bool other_times = before.cron != now_wanted.cron || before.time_zone != now_wanted.time_zone;
    TRY(work.account(row, other_times ? Jitter::ignored : Jitter::waited_for));
    // What is due still could not be triggered: the new definition accounts for it.
    const bool accounted = !row.next_at || *row.next_at > work.now();
    if (other_times && accounted)
      row.next_at = first_new(wanted.parsed->timetable, (*old)->timetable, row.next_at, work.now());
    if (before.paused != now_wanted.paused) {
      row.paused = now_wanted.paused;
      row.pause_note = now_wanted.pause_note;
    } else if (row.paused && row.pause_note == before.pause_note) {
      row.pause_note = now_wanted.pause_note;  // an operator's stays
    }
  } else {
    // What could not be read left fires behind it that nobody has accounted for; the new definition does.
    work.tally().warnings.push_back(old.error().message);
    row.paused = now_wanted.paused;
    row.pause_note = now_wanted.pause_note;
  }
  row.definition = wanted.definition;
  row.wake_up_at = due_at(wanted.parsed->timetable, row.next_at);
  row.updated_at = work.now();
  TRY(work.write(row));
  // What waits may be released now.
  TRY(work.attend({&row, 1}));
  return {};
}

Result<void> configure(Core& core, const std::map<std::string, Wanted>& wanted) {
  const auto taken = [](const Differences& found) {
    return fail(ErrorCode::conflict, "schedules that were made through the API have the names {}; remove them first",
                found.taken);
  };
  Differences before;
  TRY(core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(before, differences(transaction, wanted));
    return {};
  }));
  if (!before.taken.empty()) return taken(before);
  TRY(account_before(core, before.names));
  return commit(core, [&](Work& work) -> Result<void> {
    TRY_ASSIGN(const auto found, differences(work.transaction(), wanted));
    if (!found.taken.empty()) return taken(found);
    TRY_ASSIGN(auto rows, work.transaction().schedules().find(found.names));
    std::vector<StoredSchedule> added;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto one = wanted.find(found.names[i]);
      if (!rows[i]) {
        if (one != wanted.end()) added.push_back(new_row(one->second, ScheduleOrigin::configuration, work.now()));
      } else if (rows[i]->origin == ScheduleOrigin::api) {
        return work.lose(fmt::format("schedule '{}'", rows[i]->name));  // put between the two looks
      } else if (one == wanted.end()) {
        TRY(work.remove(*rows[i]));
      } else {
        TRY(redefine(work, *rows[i], one->second));
      }
    }
    if (added.empty()) return {};
    TRY_ASSIGN(const auto inserted, work.transaction().schedules().insert(added));
    const auto refused = std::ranges::find(inserted, false);
    if (refused == inserted.end()) return {};
    return work.lose(fmt::format("schedule '{}'", added[static_cast<std::size_t>(refused - inserted.begin())].name));
  });
}

}  // namespace wfo::scheduler
