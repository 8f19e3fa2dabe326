#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace wfo::test {

/// What becomes of the writes that were not synced when the power goes.
enum class Loss {
  all,   // none of them reached the disk
  torn,  // half of their 512-byte sectors did, chosen by the seed, whatever their order was
};

/// When the power goes, seen from a sync.
enum class Moment {
  before,  // the file's writes are not durable yet
  after,   // they are, but nobody hears of it
};

/// A VFS for SQLite that forgets like a disk: over the default one, it keeps of every file what was written since its
/// last sync, and undoes that when the power is cut. `kill -9` does not test this, since the kernel keeps what a dead
/// process wrote.
///
///     UnsyncedVfs vfs("unsynced");            // open databases with this name as their VFS
///     vfs.cut_at_sync(3, Moment::before);     // the third sync from now on cuts the power
///     …                                       // work until everything fails; close all connections
///     vfs.power_on();                         // the files are as a restart would find them
///
/// From the cut on every operation fails with SQLITE_IOERR, but for closing and unlocking. The files themselves lie
/// where they always do, so after power_on() any VFS may open them. It also lets the disk run full or fail while the
/// power is on (`fail_writes_after`).
///
/// What is left out: making, deleting and renaming of files is durable at once, and a file that was made is empty if
/// nothing of it was synced; memory that connections share (`-shm`) is the default VFS's business and made anew from
/// the log by the next opener, as after any restart. Syncs are counted, not passed on to the disk. Any thread.
class UnsyncedVfs {
 public:
  /// Registers the VFS; `name` must be free.
  explicit UnsyncedVfs(std::string name);
  /// All connections must be closed.
  ~UnsyncedVfs();
  UnsyncedVfs(const UnsyncedVfs&) = delete;
  UnsyncedVfs& operator=(const UnsyncedVfs&) = delete;

  [[nodiscard]] const std::string& name() const;

  /// How many syncs and writes there were since the beginning or the last power_on().
  [[nodiscard]] std::int64_t syncs() const;
  [[nodiscard]] std::int64_t writes() const;

  /// Cuts the power at the n-th sync from now on (1: the next one). `seed` chooses what is torn.
  void cut_at_sync(std::int64_t n, Moment moment, Loss loss = Loss::all, std::uint64_t seed = 0);
  /// Cuts it now.
  void lose_unsynced(Loss loss = Loss::all, std::uint64_t seed = 0);
  [[nodiscard]] bool is_cut() const;
  /// Work goes on with what is on the disk. All connections from before the cut must be closed.
  void power_on();

  /// After `n` more writes every write and every truncation fails with `sqlite_code` (SQLITE_FULL, SQLITE_IOERR_WRITE,
  /// …), until heal().
  void fail_writes_after(std::int64_t n, int sqlite_code);
  /// After `n` more syncs every sync fails with SQLITE_IOERR_FSYNC, until heal(). What was written stays unsynced.
  void fail_syncs_after(std::int64_t n);
  void heal();

  struct State;  // for the functions that SQLite calls

 private:
  std::unique_ptr<State> state_;
};

}  // namespace wfo::test
