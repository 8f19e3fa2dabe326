#include "store/sqlite/detail/log_tail.h"

#include <algorithm>
#include <utility>

namespace wfo::store::sqlite {
namespace {

// What an event takes besides its bytes, about: the index into them, its own fields, the entry.
constexpr std::size_t kEntryBytes = 1024;
// Chunks taken at a time, so that the lock is held for a moment only, however far a reader is behind.
constexpr std::ptrdiff_t kChunksMax = 64;

}  // namespace

void LogTail::publish(std::vector<LogEntry> entries) {
  if (entries.empty()) return;
  auto chunk = std::make_shared<Chunk>();
  for (const LogEntry& entry : entries) chunk->bytes += entry.event->bytes().size() + kEntryBytes;
  chunk->entries = std::move(entries);
  std::vector<std::shared_ptr<const Chunk>> old;  // is freed without the lock
  {
    const std::lock_guard lock(mutex_);
    INVARIANT(chunk->entries.front().sequence == last_ + 1);
    last_ = chunk->entries.back().sequence;
    bytes_ += chunk->bytes;
    chunks_.push_back(std::move(chunk));
    while (bytes_ > bytes_max_) {
      bytes_ -= chunks_.front()->bytes;
      old.push_back(std::move(chunks_.front()));
      chunks_.pop_front();
    }
  }
  published_.notify_all();
}

void LogTail::trim(Sequence through) {
  std::vector<std::shared_ptr<const Chunk>> old;
  const std::lock_guard lock(mutex_);
  trimmed_ = through;
  while (!chunks_.empty() && chunks_.front()->entries.back().sequence <= through) {
    bytes_ -= chunks_.front()->bytes;
    old.push_back(std::move(chunks_.front()));
    chunks_.pop_front();
  }
}

std::optional<LogPage> LogTail::read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                     std::size_t bytes_max) const {
  LogPage page{{}, after};
  std::size_t bytes = 0;
  std::vector<std::shared_ptr<const Chunk>> chunks;
  for (bool first = true;; first = false) {
    chunks.clear();
    {
      const std::lock_guard lock(mutex_);
      page.read_through = std::max(page.read_through, trimmed_);
      if (page.read_through >= last_) return page;
      const auto begin = std::upper_bound(
          chunks_.begin(), chunks_.end(), page.read_through,
          [](Sequence sequence, const auto& chunk) { return sequence < chunk->entries.back().sequence; });
      const bool here = begin != chunks_.end() && (*begin)->entries.front().sequence <= page.read_through + 1;
      if (!here) return first ? std::nullopt : std::optional(std::move(page));
      chunks.assign(begin, begin + std::min(kChunksMax, chunks_.end() - begin));
    }
    for (const auto& chunk : chunks) {
      const auto skip = static_cast<std::size_t>(page.read_through + 1 - chunk->entries.front().sequence);
      for (std::size_t i = skip; i < chunk->entries.size(); ++i) {
        if (page.entries.size() >= count_max || bytes >= bytes_max) return page;
        const LogEntry& entry = chunk->entries[i];
        page.read_through = entry.sequence;
        if (!filter.wants(entry.event->type())) continue;
        page.entries.push_back(entry);
        bytes += entry.event->bytes().size();
      }
    }
  }
}

void LogTail::wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  published_.wait_for(lock, stop, wait, [&] { return last_ > after; });
}

Sequence LogTail::trimmed_through() const {
  const std::lock_guard lock(mutex_);
  return trimmed_;
}

Sequence LogTail::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace wfo::store::sqlite
