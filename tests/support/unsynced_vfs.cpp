#include "support/unsynced_vfs.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <new>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace wfo::test {
namespace {

constexpr std::int64_t kSectorBytes = 512;
constexpr std::int64_t kNever = -1;

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "UnsyncedVfs: %s\n", what);
  std::abort();
}

struct File;

/// A write or a truncation that was not synced, and what undoes it.
struct Change {
  bool truncation = false;
  std::int64_t offset = 0;  // of a truncation: the new size
  std::string before;       // the bytes that were there; fewer than `after` where the file grew
  std::string after;
  std::int64_t size_before = 0;
};

struct Disk {
  std::set<File*> open;
  std::vector<Change> unsynced;
};

}  // namespace

struct UnsyncedVfs::State {
  sqlite3_vfs vfs{};
  sqlite3_vfs* base = nullptr;
  std::string name;

  mutable std::mutex mutex;  // guards the rest
  std::map<std::string, Disk> disks;
  std::int64_t syncs = 0;
  std::int64_t writes = 0;
  bool cut = false;
  std::int64_t cut_at = kNever;  // a value of `syncs`
  Moment moment = Moment::before;
  Loss loss = Loss::all;
  std::uint64_t seed = 0;
  std::int64_t failing_writes_from = kNever;  // a value of `writes`
  int write_failure = SQLITE_OK;
  std::int64_t failing_syncs_from = kNever;  // a value of `syncs`

  int change(File& file, Change change);
  int sync(File& file);
  void lose(Loss how, std::uint64_t with_seed);
  void restore(Disk& disk, const std::string& path, Loss how, std::mt19937_64& random);
};

namespace {

using State = UnsyncedVfs::State;

/// What SQLite holds as a file; the default VFS's own file lies behind it in the same memory.
struct File {
  sqlite3_file handle;
  State* state;
  std::string* path;  // null: a temporary file, which nobody looks for after a restart
  bool writable;
  [[nodiscard]] sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
static_assert(sizeof(File) % 8 == 0);  // as aligned as SQLite's own memory

File& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
State& of(sqlite3_vfs* vfs) { return *static_cast<State*>(vfs->pAppData); }

bool is_cut(State& state) {
  const std::lock_guard lock(state.mutex);
  return state.cut;
}

/// At most `size` bytes from `offset` on; fewer at the end of the file.
std::string read_at(sqlite3_file* real, std::int64_t offset, std::int64_t size) {
  sqlite3_int64 file_bytes = 0;
  require(real->pMethods->xFileSize(real, &file_bytes) == SQLITE_OK, "a file's size cannot be read");
  std::string bytes(static_cast<std::size_t>(std::clamp<std::int64_t>(file_bytes - offset, 0, size)), '\0');
  if (!bytes.empty()) {
    require(real->pMethods->xRead(real, bytes.data(), static_cast<int>(bytes.size()), offset) == SQLITE_OK,
            "a file cannot be read");
  }
  return bytes;
}

int write_at(sqlite3_file* real, std::int64_t offset, std::string_view bytes) {
  if (bytes.empty()) return SQLITE_OK;
  return real->pMethods->xWrite(real, bytes.data(), static_cast<int>(bytes.size()), offset);
}

int x_close(sqlite3_file* file) {
  File& self = of(file);
  const int code = self.real()->pMethods ? self.real()->pMethods->xClose(self.real()) : SQLITE_OK;
  if (self.path) {
    const std::lock_guard lock(self.state->mutex);
    self.state->disks[*self.path].open.erase(&self);
  }
  delete self.path;
  return code;
}

int x_read(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  File& self = of(file);
  if (is_cut(*self.state)) return SQLITE_IOERR_READ;
  return self.real()->pMethods->xRead(self.real(), out, count, offset);
}

int x_write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
  Change change;
  change.offset = offset;
  change.after.assign(static_cast<const char*>(bytes), static_cast<std::size_t>(count));
  return of(file).state->change(of(file), std::move(change));
}

int x_truncate(sqlite3_file* file, sqlite3_int64 size) {
  Change change;
  change.truncation = true;
  change.offset = size;
  return of(file).state->change(of(file), std::move(change));
}

int x_sync(sqlite3_file* file, int) { return of(file).state->sync(of(file)); }

int x_file_size(sqlite3_file* file, sqlite3_int64* size) {
  File& self = of(file);
  if (is_cut(*self.state)) return SQLITE_IOERR_FSTAT;
  return self.real()->pMethods->xFileSize(self.real(), size);
}

int x_lock(sqlite3_file* file, int level) {
  File& self = of(file);
  // Without a lock SQLite cannot tidy up when it closes, as it could not after a power cut.
  if (is_cut(*self.state)) return SQLITE_IOERR_LOCK;
  return self.real()->pMethods->xLock(self.real(), level);
}
int x_unlock(sqlite3_file* file, int level) { return of(file).real()->pMethods->xUnlock(of(file).real(), level); }
int x_check_reserved_lock(sqlite3_file* file, int* out) {
  return of(file).real()->pMethods->xCheckReservedLock(of(file).real(), out);
}
int x_file_control(sqlite3_file* file, int operation, void* argument) {
  return of(file).real()->pMethods->xFileControl(of(file).real(), operation, argument);
}
int x_sector_size(sqlite3_file* file) { return of(file).real()->pMethods->xSectorSize(of(file).real()); }
int x_device_characteristics(sqlite3_file* file) {
  return of(file).real()->pMethods->xDeviceCharacteristics(of(file).real());
}
int x_shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  File& self = of(file);
  if (is_cut(*self.state)) return SQLITE_IOERR_SHMMAP;
  return self.real()->pMethods->xShmMap(self.real(), region, size, extend, out);
}
int x_shm_lock(sqlite3_file* file, int offset, int count, int flags) {
  File& self = of(file);
  if ((flags & SQLITE_SHM_LOCK) && is_cut(*self.state)) return SQLITE_IOERR_SHMLOCK;
  return self.real()->pMethods->xShmLock(self.real(), offset, count, flags);
}
void x_shm_barrier(sqlite3_file* file) { of(file).real()->pMethods->xShmBarrier(of(file).real()); }
int x_shm_unmap(sqlite3_file* file, int remove) {
  return of(file).real()->pMethods->xShmUnmap(of(file).real(), remove);
}

// Version 2: no memory mapping, so that every read and write comes by here.
const sqlite3_io_methods kMethods = {2,
                                     x_close,
                                     x_read,
                                     x_write,
                                     x_truncate,
                                     x_sync,
                                     x_file_size,
                                     x_lock,
                                     x_unlock,
                                     x_check_reserved_lock,
                                     x_file_control,
                                     x_sector_size,
                                     x_device_characteristics,
                                     x_shm_map,
                                     x_shm_lock,
                                     x_shm_barrier,
                                     x_shm_unmap,
                                     nullptr,
                                     nullptr};

int x_open(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
  State& state = of(vfs);
  file->pMethods = nullptr;
  if (is_cut(state)) return SQLITE_IOERR;
  File& self = *new (file) File{};
  self.state = &state;
  const int code = state.base->xOpen(state.base, name, self.real(), flags, out_flags);
  if (code != SQLITE_OK) {
    if (self.real()->pMethods) self.real()->pMethods->xClose(self.real());
    return code;
  }
  self.writable = (flags & SQLITE_OPEN_READWRITE) != 0;
  if (name) {
    self.path = new std::string(name);
    const std::lock_guard lock(state.mutex);
    state.disks[*self.path].open.insert(&self);
  }
  self.handle.pMethods = &kMethods;
  return SQLITE_OK;
}

int x_delete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  State& state = of(vfs);
  {
    const std::lock_guard lock(state.mutex);
    if (state.cut) return SQLITE_IOERR_DELETE;
    state.disks[name].unsynced.clear();
  }
  return state.base->xDelete(state.base, name, sync_directory);
}
int x_access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
  if (is_cut(of(vfs))) return SQLITE_IOERR_ACCESS;
  return of(vfs).base->xAccess(of(vfs).base, name, flags, out);
}
int x_full_pathname(sqlite3_vfs* vfs, const char* name, int size, char* out) {
  return of(vfs).base->xFullPathname(of(vfs).base, name, size, out);
}
int x_randomness(sqlite3_vfs* vfs, int size, char* out) { return of(vfs).base->xRandomness(of(vfs).base, size, out); }
int x_sleep(sqlite3_vfs* vfs, int microseconds) { return of(vfs).base->xSleep(of(vfs).base, microseconds); }
int x_current_time(sqlite3_vfs* vfs, double* out) { return of(vfs).base->xCurrentTime(of(vfs).base, out); }
int x_get_last_error(sqlite3_vfs* vfs, int size, char* out) {
  return of(vfs).base->xGetLastError(of(vfs).base, size, out);
}
int x_current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  return of(vfs).base->xCurrentTimeInt64(of(vfs).base, out);
}

}  // namespace

int UnsyncedVfs::State::change(File& file, Change change) {
  const std::lock_guard lock(mutex);
  if (cut) return SQLITE_IOERR_WRITE;
  if (failing_writes_from != kNever && writes >= failing_writes_from) return write_failure;
  ++writes;
  sqlite3_file* const real = file.real();
  if (file.path) {
    sqlite3_int64 size = 0;
    require(real->pMethods->xFileSize(real, &size) == SQLITE_OK, "a file's size cannot be read");
    change.size_before = size;
    change.before = change.truncation ? read_at(real, change.offset, size)
                                      : read_at(real, change.offset, static_cast<std::int64_t>(change.after.size()));
    disks[*file.path].unsynced.push_back(change);
  }
  return change.truncation ? real->pMethods->xTruncate(real, change.offset)
                           : write_at(real, change.offset, change.after);
}

int UnsyncedVfs::State::sync(File& file) {
  const std::lock_guard lock(mutex);
  if (cut) return SQLITE_IOERR_FSYNC;
  if (failing_syncs_from != kNever && syncs >= failing_syncs_from) return SQLITE_IOERR_FSYNC;
  ++syncs;
  const bool cuts = cut_at != kNever && syncs >= cut_at;
  if (file.path && !(cuts && moment == Moment::before)) disks[*file.path].unsynced.clear();
  if (!cuts) return SQLITE_OK;
  lose(loss, seed);
  return SQLITE_IOERR_FSYNC;
}

void UnsyncedVfs::State::lose(Loss how, std::uint64_t with_seed) {
  cut = true;
  std::mt19937_64 random(with_seed);
  for (auto& [path, disk] : disks) restore(disk, path, how, random);
}

void UnsyncedVfs::State::restore(Disk& disk, const std::string& path, Loss how, std::mt19937_64& random) {
  if (disk.unsynced.empty()) return;
  // Through a handle that SQLite has open, if there is one: closing another one would drop all its locks (POSIX).
  const auto writable = std::ranges::find_if(disk.open, [](const File* file) { return file->writable; });
  std::fstream stream;
  if (writable == disk.open.end()) {
    stream.open(path, std::ios::in | std::ios::out | std::ios::binary);
    require(stream.is_open(), "a file cannot be opened to undo its writes");
  }
  const auto put = [&](std::int64_t offset, std::string_view bytes) {
    if (writable != disk.open.end()) {
      require(write_at((*writable)->real(), offset, bytes) == SQLITE_OK, "a write cannot be undone");
      return;
    }
    stream.seekp(offset);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    require(stream.good(), "a write cannot be undone");
  };
  const auto truncate = [&](std::int64_t size) {
    if (writable != disk.open.end()) {
      sqlite3_file* const real = (*writable)->real();
      require(real->pMethods->xTruncate(real, size) == SQLITE_OK, "a write cannot be undone");
      return;
    }
    stream.flush();
    require(::truncate(path.c_str(), size) == 0, "a write cannot be undone");
  };
  for (auto change = disk.unsynced.rbegin(); change != disk.unsynced.rend(); ++change) {
    put(change->offset, change->before);
    truncate(change->size_before);
  }
  if (how == Loss::torn) {
    for (const Change& change : disk.unsynced) {
      if (change.truncation) {
        if (random() % 2 == 0) truncate(change.offset);
        continue;
      }
      const auto size = static_cast<std::int64_t>(change.after.size());
      for (std::int64_t at = 0; at < size;) {
        const std::int64_t sector_end = (change.offset + at) / kSectorBytes * kSectorBytes + kSectorBytes;
        const std::int64_t length = std::min(size - at, sector_end - change.offset - at);
        if (random() % 2 == 0) {
          put(change.offset + at,
              std::string_view(change.after).substr(static_cast<std::size_t>(at), static_cast<std::size_t>(length)));
        }
        at += length;
      }
    }
  }
  disk.unsynced.clear();
}

UnsyncedVfs::UnsyncedVfs(std::string name) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.name = std::move(name);
  state.base = sqlite3_vfs_find(nullptr);
  require(state.base != nullptr, "SQLite has no default VFS");
  require(sqlite3_vfs_find(state.name.c_str()) == nullptr, "the name is taken");
  state.vfs.iVersion = 2;
  state.vfs.szOsFile = static_cast<int>(sizeof(File)) + state.base->szOsFile;
  state.vfs.mxPathname = state.base->mxPathname;
  state.vfs.zName = state.name.c_str();
  state.vfs.pAppData = &state;
  state.vfs.xOpen = x_open;
  state.vfs.xDelete = x_delete;
  state.vfs.xAccess = x_access;
  state.vfs.xFullPathname = x_full_pathname;
  state.vfs.xRandomness = x_randomness;
  state.vfs.xSleep = x_sleep;
  state.vfs.xCurrentTime = x_current_time;
  state.vfs.xGetLastError = x_get_last_error;
  state.vfs.xCurrentTimeInt64 = x_current_time_int64;
  require(sqlite3_vfs_register(&state.vfs, 0) == SQLITE_OK, "SQLite did not take the VFS");
}

UnsyncedVfs::~UnsyncedVfs() {
  for (const auto& [path, disk] : state_->disks) require(disk.open.empty(), "a connection is still open");
  sqlite3_vfs_unregister(&state_->vfs);
}

const std::string& UnsyncedVfs::name() const { return state_->name; }

std::int64_t UnsyncedVfs::syncs() const {
  const std::lock_guard lock(state_->mutex);
  return state_->syncs;
}

std::int64_t UnsyncedVfs::writes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->writes;
}

void UnsyncedVfs::cut_at_sync(std::int64_t n, Moment moment, Loss loss, std::uint64_t seed) {
  const std::lock_guard lock(state_->mutex);
  state_->cut_at = state_->syncs + n;
  state_->moment = moment;
  state_->loss = loss;
  state_->seed = seed;
}

void UnsyncedVfs::lose_unsynced(Loss loss, std::uint64_t seed) {
  const std::lock_guard lock(state_->mutex);
  state_->lose(loss, seed);
}

bool UnsyncedVfs::is_cut() const { return test::is_cut(*state_); }

void UnsyncedVfs::power_on() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& [path, disk] : state_->disks) require(disk.open.empty(), "a connection is still open");
  state_->disks.clear();
  state_->cut = false;
  state_->cut_at = kNever;
  state_->syncs = 0;
  state_->writes = 0;
}

void UnsyncedVfs::fail_writes_after(std::int64_t n, int sqlite_code) {
  const std::lock_guard lock(state_->mutex);
  state_->failing_writes_from = state_->writes + n;
  state_->write_failure = sqlite_code;
}

void UnsyncedVfs::fail_syncs_after(std::int64_t n) {
  const std::lock_guard lock(state_->mutex);
  state_->failing_syncs_from = state_->syncs + n;
}

void UnsyncedVfs::heal() {
  const std::lock_guard lock(state_->mutex);
  state_->failing_writes_from = kNever;
  state_->failing_syncs_from = kNever;
}

}  // namespace wfo::test
