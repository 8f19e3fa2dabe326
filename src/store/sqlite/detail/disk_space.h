#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "base/time.h"

namespace wfo::store::sqlite {

/// Whether a folder has room for new work; asks for the free space once a second at most. Any thread.
class DiskSpace {
 public:
  /// `disk_free` may be empty: the file system is asked. `free_min_bytes` 0: there is always room.
  DiskSpace(std::filesystem::path directory, std::uint64_t free_min_bytes,
            std::function<Result<std::uint64_t>()> disk_free, const Clock& clock);
  /// Errors: `unavailable` names the folder, the free bytes and the mark.
  [[nodiscard]] Result<void> admission();

 private:
  const std::filesystem::path directory_;
  const std::uint64_t free_min_bytes_;
  const std::function<Result<std::uint64_t>()> disk_free_;
  const Clock& clock_;
  std::mutex mutex_;  // guards the rest
  std::optional<Timestamp> asked_at_;
  Result<void> answer_;
};

}  // namespace wfo::store::sqlite
