#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"

namespace wfo::store::sqlite {

inline constexpr std::string_view kStoreFile = "wfo.db";
inline constexpr std::string_view kLedgerFile = "ledger.db";
inline constexpr std::string_view kLockFile = "wfo.lock";
inline constexpr std::string_view kSocketFile = "wfo.sock";

/// The folder of an installation, held by one process: the lock lasts as long as the object, and ends with the process
/// however that ends. `wfo.lock` holds the process's id, for people and messages; it is not removed.
class DataDirectory {
 public:
  /// Makes the folder (for its owner only) if it is missing, with the folders above it, and locks it. Errors:
  /// `conflict` another process holds it: names its id; `invalid_argument` the path is no folder; `unavailable` the
  /// folder cannot be made or written: names path and reason.
  [[nodiscard]] static Result<DataDirectory> open(const std::filesystem::path& path);
  DataDirectory(DataDirectory&& other) noexcept;
  DataDirectory& operator=(DataDirectory&& other) noexcept;
  ~DataDirectory();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Where the process that holds the folder `path` listens for others on this machine.
  [[nodiscard]] static std::filesystem::path socket_path(const std::filesystem::path& path) {
    return path / kSocketFile;
  }
  [[nodiscard]] std::filesystem::path socket_path() const { return socket_path(path_); }

 private:
  DataDirectory(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::filesystem::path path_;
  int lock_;  // a file descriptor; -1 after a move
};

}  // namespace wfo::store::sqlite
