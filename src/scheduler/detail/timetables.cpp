#include "scheduler/detail/timetables.h"

#include <fmt/format.h>

#include <utility>

namespace wfo::scheduler {

Result<ParsedPtr> parse_stored(const store::StoredSchedule& stored) {
  const auto unreadable = [&](std::string_view why) {
    return fail(ErrorCode::corruption, "the definition of schedule '{}' cannot be read: {}", stored.name, why);
  };
  const auto document = json::Document::parse(stored.definition);
  if (!document) return unreadable(document.error().message);
  const auto job = document->root().find("job");
  const auto job_name = job ? job->string() : std::nullopt;
  if (!job_name) return unreadable("it names no job");
  const schedule::JobCatalog whatever_it_names({schedule::JobSpec{.name = *job_name}});
  auto schedule =
      schedule::parse_schedule(document->root(), fmt::format("schedule '{}'", stored.name), whatever_it_names);
  if (!schedule) return unreadable(schedule.error().message);
  auto timetable = schedule::Timetable::make(*schedule);
  if (!timetable) return unreadable(timetable.error().message);
  return std::make_shared<const Parsed>(Parsed{*std::move(schedule), *std::move(timetable)});
}

Result<ParsedPtr> Timetables::of(const store::StoredSchedule& schedule) {
  {
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(schedule.name);
    if (found != entries_.end() && found->second.definition == schedule.definition) return found->second.parsed;
  }
  TRY_ASSIGN(auto parsed, parse_stored(schedule));
  const std::scoped_lock lock(mutex_);
  // Which one goes matters little: all are needed about equally often.
  if (entries_.size() >= entries_max_ && !entries_.contains(schedule.name)) entries_.erase(entries_.begin());
  entries_.insert_or_assign(schedule.name, Entry{schedule.definition, parsed});
  return parsed;
}

std::size_t Timetables::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

}  // namespace wfo::scheduler
