#include "delivery/relay.h"

#include <algorithm>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/thread.h"

namespace wfo::delivery {
namespace {

constexpr std::size_t kWarnedMax = 1'000;  // types that are remembered for having been named

}  // namespace

Relay::Relay(store::Store& store, store::LogReader& log_reader, bus::Publisher& publisher, LeaseKeeper& lease,
             RelayConfig config, const Clock& clock, Waiter& waiter, Logger& log, Metrics& metrics)
    : store_(store),
      log_reader_(log_reader),
      publisher_(publisher),
      lease_(lease),
      config_(config),
      clock_(clock),
      waiter_(waiter),
      log_(log),
      published_(metrics.counter("relay_published_total", "Events that the broker confirmed")),
      returned_(
          metrics.counter("relay_returned_total", "Events that the broker had no queue for; they are sent again")),
      unconfirmed_(metrics.counter("relay_unconfirmed_total",
                                   "Events that the broker refused or did not answer for; they are sent again")),
      waiting_(metrics.gauge("outbox_waiting", "Events that await publication; of the publishing process")),
      parked_(metrics.gauge("outbox_parked", "Of them, those that the broker did not take")),
      oldest_age_(metrics.gauge("outbox_oldest_seconds", "Since when the oldest of them has been waiting")) {
  INVARIANT(config_.batch_max > 0 && config_.bytes_max > 0 && config_.confirm_wait > milliseconds(0));
  INVARIANT(config_.idle_wait > milliseconds(0) && config_.retry_first > milliseconds(0));
  INVARIANT(config_.return_first > milliseconds(0));
}

void Relay::run(std::stop_token stop) {
  // A batch may take longer than a lease lasts.
  const std::jthread prolonging([this](const std::stop_token& done) {
    name_this_thread("relay-lease");
    SystemWaiter waiter;
    while (waiter.wait(kLeaseLength / 3, done)) {
      if (const auto prolonged = lease_.prolong(); !prolonged) {
        log_.debug("relay: the lease: {}", prolonged.error().message);
      }
    }
  });
  milliseconds delay = config_.retry_first;
  while (!stop.stop_requested()) {
    const auto turn = run_once(stop);
    if (!turn) {
      if (stop.stop_requested()) break;
      // Without the lease others come first, who may fare better.
      waiter_.wait(lease_.is_held() ? delay : std::max(delay, 2 * kStandbyWait), stop);
      delay = std::min(delay * 2, config_.retry_max);
      continue;
    }
    delay = config_.retry_first;
    if (*turn == Turn::idle) log_reader_.wait_beyond(seen_, config_.idle_wait, stop);
    if (*turn == Turn::standby) waiter_.wait(kStandbyWait, stop);
  }
  if (const auto released = lease_.release(); !released) {
    log_.debug("relay: the lease ends by itself: {}", released.error().message);
  }
}

Result<Relay::Turn> Relay::run_once(std::stop_token stop) {
  const auto turn = [&]() -> Result<Turn> {
    TRY_ASSIGN(const auto epoch, lease_.hold());
    if (!epoch) return Turn::standby;
    return publish(*epoch, stop);
  }();
  if (turn) {
    if (set_trouble("")) log_.info("relay: goes on");
    if (*turn == Turn::standby) {
      unsettled_.reset();
      forget_counts();
    } else {
      count_outbox();
    }
  } else if (turn.error().code == ErrorCode::conflict) {
    log_.info("relay: {}; what was sent may be sent again", turn.error().message);
  } else if (!stop.stop_requested() && set_trouble(turn.error().message)) {
    log_.warn("relay: {}; trying again", turn.error().message);
  }
  return turn;
}

Result<Relay::Turn> Relay::publish(store::Epoch epoch, std::stop_token stop) {
  if (unsettled_ && unsettled_->epoch == epoch) {
    TRY(settle());
  }
  unsettled_.reset();

  TRY_ASSIGN(auto batch, read());
  if (batch.empty()) {
    // The end of the log, which costs a request, is asked for only now; what came meanwhile must not wait for its next.
    seen_ = log_reader_.last();
    TRY_ASSIGN(batch, read());
    if (batch.empty()) return Turn::idle;
  }

  std::vector<events::EventPtr> events;
  events.reserve(batch.size());
  for (const auto& entry : batch) events.push_back(entry.event);
  const auto outcomes = publisher_.publish(events, config_.confirm_wait, stop);
  if (!outcomes) {
    // Perhaps the broker can be reached from elsewhere.
    if (const auto released = lease_.release(); !released) log_.debug("relay: {}", released.error().message);
    return std::unexpected(outcomes.error());
  }
  INVARIANT(outcomes->size() == batch.size());
  unsettled_ = judge(epoch, batch, *outcomes, stop.stop_requested());
  if (unsettled_->published.empty() && unsettled_->parked.empty()) {
    unsettled_.reset();
    return fail(ErrorCode::unavailable, "the broker took none of {} events within {}", batch.size(),
                format_duration(config_.confirm_wait));
  }
  TRY(settle());
  return Turn::published;
}

Result<std::vector<store::OutboxEntry>> Relay::read() {
  std::vector<store::OutboxEntry> batch;
  TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(batch, transaction.outbox().unpublished(clock_.now(), config_.batch_max, config_.bytes_max));
    return {};
  }));
  return batch;
}

Relay::Fate Relay::judge(store::Epoch epoch, std::span<const store::OutboxEntry> batch,
                         std::span<const bus::Published> outcomes, bool stopped) const {
  Fate fate;
  fate.epoch = epoch;
  fate.published.reserve(batch.size());
  const auto now = clock_.now();
  // Where the broker takes nothing at all nothing is said about any one entry, and when it is to stop, even less.
  const bool takes_some = !stopped && std::ranges::any_of(outcomes, [](auto one) {
    return one == bus::Published::confirmed || one == bus::Published::returned;
  });
  std::unordered_set<WorkflowId> held_back;  // runs of which an entry stays, and so do all behind it
  bool all_confirmed = true;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& entry = batch[i];
    if (all_confirmed && outcomes[i] == bus::Published::confirmed) {  // nearly always
      fate.published.push_back(entry.sequence);
      continue;
    }
    all_confirmed = false;
    const auto run = store::run_of(*entry.event);
    if (outcomes[i] == bus::Published::confirmed) {
      if (!run || !held_back.contains(*run)) fate.published.push_back(entry.sequence);
      continue;
    }
    if (run) held_back.insert(*run);
    if (outcomes[i] == bus::Published::unsent) continue;
    const bool is_returned = outcomes[i] == bus::Published::returned;
    ++(is_returned ? fate.returned : fate.unconfirmed)[entry.event->type()];
    if (is_returned || takes_some) fate.parked[parked_until(now, entry.returns)].push_back(entry.sequence);
  }
  return fate;
}

Timestamp Relay::parked_until(Timestamp now, int returns) const {
  milliseconds pause = config_.return_first;
  for (int i = 0; i < returns && pause < config_.return_max; ++i) pause *= 2;
  return now + std::min(pause, config_.return_max);
}

Result<void> Relay::settle() {
  const Fate& fate = *unsettled_;
  auto settled = store_.transact([&](store::Transaction& transaction) -> Result<void> {
    TRY(transaction.leases().check(kRelayLease, fate.epoch));
    if (!fate.published.empty()) TRY(transaction.outbox().mark_published(fate.published));
    for (const auto& [until, sequences] : fate.parked) TRY(transaction.outbox().park(sequences, until));
    return {};
  });
  if (!settled) {
    if (settled.error().code == ErrorCode::conflict) {
      lease_.lost(fate.epoch);
      unsettled_.reset();
    }
    return settled;
  }
  const auto total = [](const auto& by_type) {
    double count = 0;
    for (const auto& [type, number] : by_type) count += static_cast<double>(number);
    return count;
  };
  published_.add(static_cast<double>(fate.published.size()));
  returned_.add(total(fate.returned));
  unconfirmed_.add(total(fate.unconfirmed));
  warn(fate.returned,
       "came back: no queue is bound to the type. Start the role that consumes it, or declare its queue; until then "
       "they are parked with what follows in their workflows, and sent again");
  warn(fate.unconfirmed,
       "were refused by the broker, or not answered for: look for full or failed queues. They are sent again");
  unsettled_.reset();
  return {};
}

/// Names a type at most once in an interval.
void Relay::warn(const std::map<std::string, std::size_t>& by_type, std::string_view what) {
  const auto now = clock_.now();
  for (const auto& [type, count] : by_type) {
    auto key = fmt::format("{} {}", type, what);
    const auto said = warned_.find(key);
    if (said != warned_.end() && now - said->second < config_.warn_interval) continue;
    if (warned_.size() >= kWarnedMax) warned_.clear();
    warned_[std::move(key)] = now;
    log_.warn("relay: {} events of type {} {}", count, type, what);
  }
}

void Relay::count_outbox() {
  const auto now = clock_.now();
  if (counted_at_ && now >= *counted_at_ && now - *counted_at_ < config_.count_interval) return;
  store::OutboxCounts counts;
  const auto counted = store_.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(counts, transaction.outbox().counts());
    return {};
  });
  if (!counted) return;  // whoever publishes next finds out
  counted_at_ = now;
  waiting_.set(static_cast<double>(counts.waiting));
  parked_.set(static_cast<double>(counts.parked));
  const auto age = counts.oldest ? std::max(now - *counts.oldest, milliseconds(0)) : milliseconds(0);
  oldest_age_.set(std::chrono::duration<double>(age).count());
}

/// What the publishing process says about the outbox counts; others say nothing.
void Relay::forget_counts() {
  if (!counted_at_) return;
  counted_at_.reset();
  waiting_.set(0);
  parked_.set(0);
  oldest_age_.set(0);
}

std::string Relay::trouble() const {
  const std::scoped_lock lock(mutex_);
  return trouble_;
}

/// True if that is news.
bool Relay::set_trouble(std::string text) {
  const std::scoped_lock lock(mutex_);
  if (trouble_ == text) return false;
  trouble_ = std::move(text);
  return true;
}

}  // namespace wfo::delivery
