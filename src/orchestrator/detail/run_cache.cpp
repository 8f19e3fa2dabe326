#include "orchestrator/detail/run_cache.h"

#include <utility>
#include <variant>

namespace wfo::orchestrator {

namespace {

// What grows with what workers send; the rest of a run is about a kilobyte.
std::size_t bytes_of(const workflow::Run& run) {
  std::size_t bytes = 1024;
  for (const workflow::Step& step : run.steps) {
    if (const auto* completed = std::get_if<workflow::Completed>(&step.state)) bytes += completed->result.capacity();
  }
  return bytes;
}

}  // namespace

std::optional<store::StoredRun> RunCache::take(const WorkflowId& id) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  std::optional<store::StoredRun> stored(std::move(found->second->stored));
  bytes_ -= found->second->bytes;
  entries_.erase(found->second);
  by_id_.erase(found);
  return stored;
}

void RunCache::put(store::StoredRun stored) {
  if (runs_max_ == 0) return;
  const bool active = workflow::is_active(stored.run);
  const WorkflowId id = stored.run.id;
  const std::size_t bytes = bytes_of(stored.run);
  const std::scoped_lock lock(mutex_);
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) {
    if (found->second->stored.version >= stored.version) return;
    remove(found->second);
  }
  if (!active || bytes > bytes_max_) return;
  entries_.push_front({std::move(stored), bytes});
  by_id_.emplace(id, entries_.begin());
  bytes_ += bytes;
  while (entries_.size() > runs_max_ || bytes_ > bytes_max_) remove(std::prev(entries_.end()));
}

std::size_t RunCache::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

void RunCache::remove(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  by_id_.erase(entry->stored.run.id);
  entries_.erase(entry);
}

}  // namespace wfo::orchestrator
