#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "store/event_log.h"

namespace wfo::store::sqlite {

/// The newest committed entries of the log, as they were appended: most readers follow closely, and need neither file
/// nor parser. Any thread; one publishes.
class LogTail {
 public:
  /// `trimmed`: everything up to it has been deleted. `last`: the newest sequence that is committed.
  LogTail(Sequence trimmed, Sequence last, std::size_t bytes_max)
      : bytes_max_(bytes_max), last_(last), trimmed_(trimmed) {}

  /// What a commit appended: goes on from the last sequence without a gap.
  void publish(std::vector<LogEntry> entries);
  /// A commit deleted everything up to `through`.
  void trim(Sequence through);
  /// Nothing if entries behind `after` are not here any more.
  [[nodiscard]] std::optional<LogPage> read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                            std::size_t bytes_max) const;
  void wait_beyond(Sequence after, milliseconds wait, std::stop_token stop);
  [[nodiscard]] Sequence trimmed_through() const;
  [[nodiscard]] Sequence last() const;

 private:
  struct Chunk {  // one commit; immutable, so that it is read without the lock
    std::vector<LogEntry> entries;
    std::size_t bytes = 0;
  };
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable_any published_;
  std::deque<std::shared_ptr<const Chunk>> chunks_;
  std::size_t bytes_ = 0;
  Sequence last_;
  Sequence trimmed_;
};

}  // namespace wfo::store::sqlite
