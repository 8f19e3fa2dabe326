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

bool has_other_times(const Schedule& one, const Schedule& other) {
  return one.cron != other.cron || one.time_zone != other.time_zone;
}

/// `old`: what is given up, null where it cannot be read.
Result<void> account_for_old(Work& work, std::span<Change> changes, std::span<const ParsedPtr> old) {
  for (const Jitter jitter : {Jitter::waited_for, Jitter::ignored}) {
    std::vector<StoredSchedule> rows;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (!old[i]) continue;
      const bool other_times = has_other_times(old[i]->schedule, changes[i].wanted->parsed->schedule);
      if (other_times != (jitter == Jitter::ignored)) continue;
      rows.push_back(changes[i].row);
      places.push_back(i);
    }
    TRY(work.account(rows, {.jitter = jitter}));
    for (std::size_t i = 0; i < rows.size(); ++i) changes[places[i]].row = std::move(rows[i]);
  }
  return {};
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

Result<void> account_before(Core& core, std::span<const std::string> names, How how, const std::stop_token& stop) {
  for (std::size_t begin = 0; begin < names.size(); begin += core.config.batch_max) {
    const auto some = names.subspan(begin, std::min(core.config.batch_max, names.size() - begin));
    for (bool more = true; more;) {
      if (stop.stop_requested()) return fail(ErrorCode::unavailable, "stopped while schedules were accounted for");
      TRY(commit(core, [&](Work& work) -> Result<void> {
        TRY_ASSIGN(auto found, work.transaction().schedules().find(some));
        std::vector<StoredSchedule> due;
        for (auto& row : found) {
          if (!row) continue;
          const auto& when = how.jitter == Jitter::ignored ? row->next_at : row->wake_up_at;
          if (when && *when <= work.now()) due.push_back(*std::move(row));
        }
        TRY_ASSIGN(const auto attended, work.attend(due, how));
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

Result<void> redefine(Work& work, std::span<Change> changes) {
  std::vector<ParsedPtr> old;
  for (const Change& change : changes) {
    auto parsed = work.core().timetables.of(change.row);
    if (!parsed) work.tally().warnings.push_back(parsed.error().message);
    old.push_back(parsed ? *std::move(parsed) : nullptr);
  }
  TRY(account_for_old(work, changes, old));
  std::vector<StoredSchedule> rows;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    StoredSchedule& row = changes[i].row;
    const auto& [wanted, timetable] = *changes[i].wanted->parsed;
    if (old[i]) {
      const Schedule& before = old[i]->schedule;
      // What is due still could not be triggered: the new definition accounts for it.
      const bool accounted = !row.next_at || *row.next_at > work.now();
      if (accounted && has_other_times(before, wanted)) {
        row.next_at = first_new(timetable, old[i]->timetable, row.next_at, work.now());
      }
      if (before.paused != wanted.paused) {
        row.paused = wanted.paused;
        row.pause_note = wanted.pause_note;
      } else if (row.paused && row.pause_note == before.pause_note) {
        row.pause_note = wanted.pause_note;  // an operator's stays
      }
    } else {
      // What could not be read left fires behind it that nobody has accounted for; the new definition does.
      row.paused = wanted.paused;
      row.pause_note = wanted.pause_note;
    }
    row.definition = changes[i].wanted->definition;
    row.wake_up_at = due_at(timetable, row.next_at);
    row.updated_at = work.now();
    rows.push_back(row);
  }
  TRY(work.write(rows));
  // What waits may be released now.
  TRY(work.attend(rows));
  for (std::size_t i = 0; i < rows.size(); ++i) changes[i].row = std::move(rows[i]);
  return {};
}

namespace {

std::unexpected<Error> taken(std::string_view names) {
  return fail(ErrorCode::conflict, "schedules that were made through the API have the names {}; remove them first",
              names);
}

/// In one transaction.
Result<void> configure_some(Work& work, const std::map<std::string, Wanted>& wanted,
                            std::span<const std::string> names) {
  store::ScheduleStore& schedules = work.transaction().schedules();
  TRY_ASSIGN(auto rows, schedules.find(names));
  std::vector<StoredSchedule> added;
  std::vector<StoredSchedule> removed;
  std::vector<Change> changes;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto one = wanted.find(names[i]);
    const bool is_wanted = one != wanted.end();
    if (!rows[i]) {
      if (is_wanted) added.push_back(new_row(one->second, ScheduleOrigin::configuration, work.now()));
    } else if (rows[i]->origin == ScheduleOrigin::api) {
      if (is_wanted) return taken(fmt::format("'{}'", names[i]));  // put since we looked
    } else if (!is_wanted) {
      removed.push_back(*std::move(rows[i]));
    } else if (rows[i]->definition != one->second.definition) {
      changes.push_back({*std::move(rows[i]), &one->second});
    }
  }
  TRY(work.remove(removed));
  TRY(redefine(work, changes));
  if (added.empty()) return {};
  TRY_ASSIGN(const auto inserted, schedules.insert(added));
  const auto refused = std::ranges::find(inserted, false);
  if (refused == inserted.end()) return {};
  return work.lose(fmt::format("schedule '{}'", added[static_cast<std::size_t>(refused - inserted.begin())].name));
}

}  // namespace

Result<void> configure(Core& core, const std::map<std::string, Wanted>& wanted, const std::stop_token& stop) {
  Differences found;
  TRY(core.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(found, differences(transaction, wanted));
    return {};
  }));
  if (!found.taken.empty()) return taken(found.taken);
  const std::span<const std::string> names = found.names;
  for (std::size_t begin = 0; begin < names.size(); begin += core.config.batch_max) {
    const auto some = names.subspan(begin, std::min(core.config.batch_max, names.size() - begin));
    std::vector<std::string> stay;
    std::vector<std::string> go;
    for (const std::string& name : some) (wanted.contains(name) ? stay : go).push_back(name);
    TRY(account_before(core, stay, {}, stop));
    TRY(account_before(core, go, kGivenUp, stop));
    TRY(commit(core, [&](Work& work) { return configure_some(work, wanted, some); }));
  }
  return {};
}

}  // namespace wfo::scheduler
