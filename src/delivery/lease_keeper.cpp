#include "delivery/lease_keeper.h"

#include <unistd.h>

#include <array>
#include <utility>

namespace wfo::delivery {

Result<std::optional<store::Lease>> StoreLease::acquire(std::string_view holder, milliseconds length) {
  return store_.acquire_lease(name_, holder, length);
}

Result<void> StoreLease::release(store::Epoch epoch) { return store_.release_lease(name_, epoch); }

Result<std::optional<store::Lease>> LedgerLease::acquire(std::string_view holder, milliseconds length) {
  return ledger_.acquire(holder, length);
}

Result<void> LedgerLease::release(store::Epoch epoch) { return ledger_.release(epoch); }

std::string holder_name(IdSource& ids) {
  std::array<char, 65> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}:{}:{}", host.data(), getpid(), ids.next().to_string());
}

LeaseKeeper::LeaseKeeper(LeaseSource& source, std::string holder, Logger& log, Metrics& metrics, milliseconds length,
                         std::function<SteadyTime()> now)
    : source_(source),
      holder_(std::move(holder)),
      log_(log),
      held_(metrics.gauge("lease_held", "Whether this process does the work that one process does at a time",
                          {{"lease", source.name()}})),
      length_(length),
      now_(std::move(now)) {
  INVARIANT(length_ > milliseconds(0) && !holder_.empty());
  held_.set(0);
}

LeaseKeeper::~LeaseKeeper() {
  if (const auto released = release(); !released) {
    log_.debug("lease {}: it ends by itself: {}", name(), released.error().message);
  }
}

Result<std::optional<store::Epoch>> LeaseKeeper::hold() {
  const std::scoped_lock lock(mutex_);
  const auto now = now_();
  if (epoch_ && now < prolong_at_) return epoch_;
  return ask(now);
}

Result<void> LeaseKeeper::prolong() {
  const std::scoped_lock lock(mutex_);
  const auto now = now_();
  if (!epoch_ || now < prolong_at_) return {};
  TRY(ask(now));
  return {};
}

/// `now`: before the request is sent. The database counts from when it gets it, so the lease lasts there at least as
/// long as it does here.
Result<std::optional<store::Epoch>> LeaseKeeper::ask(SteadyTime now) {
  TRY_ASSIGN(const auto lease, source_.acquire(holder_, length_));
  if (!lease) {
    if (epoch_) log_.warn("lease {}: another process has taken it over", name());
    forget();
    return std::nullopt;
  }
  if (epoch_ != lease->epoch && lease->epoch != given_back_ + 1) {  // nobody had it meanwhile: no news
    log_.info("lease {}: this process has it, in epoch {}", name(), lease->epoch);
  }
  epoch_ = lease->epoch;
  prolong_at_ = now + length_ / 3;
  ends_at_ = now + length_;
  held_.set(1);
  if (now_() < ends_at_) return epoch_;
  return fail(ErrorCode::unavailable, "lease {}: the database took longer to answer than a lease lasts ({})", name(),
              format_duration(length_));
}

bool LeaseKeeper::is_held() const {
  const std::scoped_lock lock(mutex_);
  return epoch_ && now_() < ends_at_;
}

void LeaseKeeper::lost(store::Epoch epoch) {
  const std::scoped_lock lock(mutex_);
  if (epoch_ != epoch) return;  // known already, and perhaps it was taken anew since
  log_.warn("lease {}: another process has taken it over", name());
  forget();
}

Result<void> LeaseKeeper::release() {
  const std::scoped_lock lock(mutex_);
  if (!epoch_) return {};
  given_back_ = *epoch_;
  forget();
  return source_.release(given_back_);
}

void LeaseKeeper::forget() {
  epoch_.reset();
  held_.set(0);
}

}  // namespace wfo::delivery
