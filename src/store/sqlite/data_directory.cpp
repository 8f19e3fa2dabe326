#include "store/sqlite/data_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace wfo::store::sqlite {
namespace {

std::unexpected<Error> cannot(std::string_view verb, const std::filesystem::path& path, int error) {
  return fail(ErrorCode::unavailable, "data directory: cannot {} {}: {}", verb, path.string(),
              std::generic_category().message(error));
}

Result<void> make(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) return {};
  if (std::filesystem::exists(status)) {
    return fail(ErrorCode::invalid_argument, "data directory: {} is not a folder", path.string());
  }
  if (error && error != std::errc::no_such_file_or_directory) return cannot("use", path, error.value());
  const auto parent = path.parent_path();
  if (!parent.empty() && parent != path) {
    std::filesystem::create_directories(parent, error);
    if (error) return cannot("make", parent, error.value());
  }
  // Made for its owner from the first moment on; others hold events of all tenants otherwise.
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return cannot("make", path, errno);
  return {};
}

/// What the lock file says: the id of the process that holds it, or "?".
std::string holder(int lock) {
  std::array<char, 32> text{};
  const auto length = ::pread(lock, text.data(), text.size(), 0);
  std::string id(text.data(), static_cast<std::size_t>(length > 0 ? length : 0));
  id.erase(std::min(id.find('\n'), id.size()));  // behind it may be the rest of a longer one
  return id.empty() ? "?" : id;
}

}  // namespace

Result<DataDirectory> DataDirectory::open(const std::filesystem::path& path) {
  if (path.empty()) return fail(ErrorCode::invalid_argument, "data directory: the path is empty");
  TRY(make(path));
  const auto file = path / kLockFile;
  const int lock = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return cannot("open", file, errno);
  DataDirectory directory(path, lock);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return cannot("lock", file, errno);
    return fail(ErrorCode::conflict, "data directory: {} is in use by process {}", path.string(), holder(lock));
  }
  const std::string id = fmt::format("{}\n", ::getpid());
  // Written before it is cut to its length: whoever is refused meanwhile finds an id, not an empty file.
  const auto size = static_cast<ssize_t>(id.size());
  if (::pwrite(lock, id.data(), id.size(), 0) != size || ::ftruncate(lock, size) != 0) {
    return cannot("write", file, errno);
  }
  return directory;
}

DataDirectory::DataDirectory(DataDirectory&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataDirectory& DataDirectory::operator=(DataDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

DataDirectory::~DataDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace wfo::store::sqlite
