#include "store/sqlite/detail/disk_space.h"

#include <utility>

namespace wfo::store::sqlite {
namespace {

constexpr milliseconds kAskEvery{1'000};

Result<std::uint64_t> ask_file_system(const std::filesystem::path& directory) {
  std::error_code error;
  const auto space = std::filesystem::space(directory, error);
  if (error) {
    return fail(ErrorCode::unavailable, "{}: its free space cannot be told: {}", directory.string(), error.message());
  }
  return space.available;
}

}  // namespace

DiskSpace::DiskSpace(std::filesystem::path directory, std::uint64_t free_min_bytes,
                     std::function<Result<std::uint64_t>()> disk_free, const Clock& clock)
    : directory_(std::move(directory)),
      free_min_bytes_(free_min_bytes),
      disk_free_(disk_free ? std::move(disk_free) : [this] { return ask_file_system(directory_); }),
      clock_(clock) {}

Result<void> DiskSpace::admission() {
  if (free_min_bytes_ == 0) return {};
  const std::lock_guard lock(mutex_);
  const Timestamp now = clock_.now();
  // A clock that went back must not make the answer last.
  if (asked_at_ && now >= *asked_at_ && now - *asked_at_ < kAskEvery) return answer_;
  asked_at_ = now;
  const auto free = disk_free_();
  if (!free) {
    answer_ = std::unexpected(free.error());
  } else if (*free < free_min_bytes_) {
    answer_ = fail(ErrorCode::unavailable, "{}: {} bytes are free, below the mark of {}: no new work is taken",
                   directory_.string(), *free, free_min_bytes_);
  } else {
    answer_ = {};
  }
  return answer_;
}

}  // namespace wfo::store::sqlite
