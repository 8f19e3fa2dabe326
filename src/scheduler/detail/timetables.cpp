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

std::size_t Timetables::bytes_of(const store::StoredSchedule& schedule, const Parsed& parsed) {
  constexpr std::size_t kOfEntry = 1'000;     // the name twice, the schedule's struct, the map's node
  constexpr std::size_t kOfExpression = 500;  // its bit sets
  return kOfEntry + schedule.definition.size() + parsed.schedule.cron.size() * kOfExpression;
}

void Timetables::forget(Entries::iterator entry) {
  bytes_ -= entry->second.bytes;
  entries_.erase(entry);
}

Result<ParsedPtr> Timetables::of(const store::StoredSchedule& schedule) {
  // Instead of the text, which would be there a second time; not a short one: who may make schedules must not be able
  // to make one that stands for another.
  const Sha256 definition = sha256(schedule.definition);
  {
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(schedule.name);
    if (found != entries_.end() && found->second.definition == definition) return found->second.parsed;
  }
  TRY_ASSIGN(auto parsed, parse_stored(schedule));
  const std::size_t bytes = bytes_of(schedule, *parsed);
  const std::scoped_lock lock(mutex_);
  if (const auto before = entries_.find(schedule.name); before != entries_.end()) forget(before);
  if (bytes > bytes_max_) return parsed;
  // Which ones go matters little: all are needed about equally often.
  while (bytes_ + bytes > bytes_max_) forget(entries_.begin());
  entries_.emplace(schedule.name, Entry{definition, bytes, parsed});
  bytes_ += bytes;
  return parsed;
}

std::size_t Timetables::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

}  // namespace wfo::scheduler
