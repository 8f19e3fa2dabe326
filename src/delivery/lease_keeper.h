#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "store/lease_store.h"
#include "store/ledger_store.h"
#include "store/store.h"

namespace wfo::delivery {

/// One lease, wherever its row lies. Any thread.
class LeaseSource {
 public:
  virtual ~LeaseSource() = default;
  /// For people: logs and metrics.
  [[nodiscard]] virtual const std::string& name() const = 0;
  /// As `store::LeaseStore::acquire` and `release`, each in a transaction of its own.
  [[nodiscard]] virtual Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds length) = 0;
  [[nodiscard]] virtual Result<void> release(store::Epoch epoch) = 0;
};

/// A lease of the store: `kRelayLease`, `kTimersLease`, `kRetentionLease`.
class StoreLease final : public LeaseSource {
 public:
  StoreLease(store::Store& store, std::string_view name) : store_(store), name_(name) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds length) override;
  [[nodiscard]] Result<void> release(store::Epoch epoch) override;

 private:
  store::Store& store_;
  const std::string name_;
};

/// The right to append to the ledger.
class LedgerLease final : public LeaseSource {
 public:
  explicit LedgerLease(store::LedgerStore& ledger) : ledger_(ledger) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds length) override;
  [[nodiscard]] Result<void> release(store::Epoch epoch) override;

 private:
  store::LedgerStore& ledger_;
  const std::string name_ = "ledger";
};

inline constexpr std::string_view kRelayLease = "relay";
inline constexpr std::string_view kTimersLease = "timers";
inline constexpr std::string_view kRetentionLease = "retention";

inline constexpr milliseconds kLeaseLength{3'000};  // so long others wait at most after a holder's death
inline constexpr milliseconds kStandbyWait{500};    // between two looks of those who wait for a lease

/// A name for this process as a holder of leases, that no other has: `host:pid:uuid`.
[[nodiscard]] std::string holder_name(IdSource& ids);

/// Keeps a lease as long as its user comes by often enough. How long it is still held is judged by a clock that cannot
/// be set, from before the request was sent, so never for longer than the database has it. That is no mutex: a process
/// that is paused between `hold` and its work finds out by the epoch, which that work must check. Any thread; a call
/// may wait for another one's request.
class LeaseKeeper {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  /// `holder`: see `holder_name`; `length` > 0. `now`: a clock that only goes forward.
  LeaseKeeper(
      LeaseSource& source, std::string holder, Logger& log, Metrics& metrics, milliseconds length = kLeaseLength,
      std::function<SteadyTime()> now = [] { return std::chrono::steady_clock::now(); });
  /// Gives the lease back.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// The epoch in which this process has the lease: takes it, or prolongs it if a third of its length is over, else
  /// asks nobody. Nothing: somebody else has it; come again after `kStandbyWait`. Errors: as the store, in particular
  /// `unavailable`; the lease may be held on, ask again.
  [[nodiscard]] Result<std::optional<store::Epoch>> hold();
  /// Prolongs the lease, if it is held and a third of its length is over; never takes it. For a thread beside one that
  /// works for longer than a lease is.
  [[nodiscard]] Result<void> prolong();
  /// Whether the lease is held for sure at this moment. Asks nobody.
  [[nodiscard]] bool is_held() const;
  /// A check of `epoch` said `conflict`: somebody has taken the lease over. It is not prolonged any more; `hold` tries
  /// to take it anew.
  void lost(store::Epoch epoch);
  /// Gives the lease back, if it is held, so that another process need not wait for its end. `hold` takes it again.
  /// Errors: as the store; then it ends by itself.
  Result<void> release();

  [[nodiscard]] const std::string& name() const { return source_.name(); }

 private:
  Result<std::optional<store::Epoch>> ask(SteadyTime now);
  void forget();

  LeaseSource& source_;
  const std::string holder_;
  Logger& log_;
  Gauge& held_;
  const milliseconds length_;
  const std::function<SteadyTime()> now_;
  mutable std::mutex mutex_;  // guards what follows; held during requests
  std::optional<store::Epoch> epoch_;
  store::Epoch given_back_ = 0;  // the epoch that ended by `release` last
  SteadyTime prolong_at_;
  SteadyTime ends_at_;
};

}  // namespace wfo::delivery
