#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "bus/publisher.h"
#include "delivery/lease_keeper.h"
#include "delivery/waiter.h"
#include "store/store.h"

namespace wfo::delivery {

struct RelayConfig {
  std::size_t batch_max = 4'000;             // 1..65536 entries that are published and marked together
  std::size_t bytes_max = 16 * 1024 * 1024;  // > 0: about so many bytes of them
  milliseconds confirm_wait{30'000};         // > 0: for the broker's answers, after the last entry was sent
  milliseconds idle_wait{500};               // > 0: how long one wait for new entries lasts; parked ones are seen then
  milliseconds return_first{1'000};          // > 0: how long an entry is parked when it came back first; doubles with
  milliseconds return_max{60'000};           // each return, up to this
  milliseconds retry_first{200};             // > 0: pause after an error; doubles,
  milliseconds retry_max{2'000};             // up to this
  milliseconds warn_interval{60'000};        // a type that comes back is named at most so often
  milliseconds count_interval{5'000};        // the gauges of the outbox are at most so old
};

/// Publishes what the store's outbox holds: read by state, publish in order, and what the broker confirmed leaves the
/// outbox in a transaction that checks the lease's epoch. One process of an installation does so at a time; the others
/// wait for the lease.
///
/// What of a run has left the outbox is always a beginning of that run's events. So an entry that came back, or that
/// nobody answered for, stays with all behind it in its run, though the broker may have those already: they are sent
/// again behind it, as the same bytes under the same id, once it has gone through. Hence whoever publishes, however
/// often, sends each run's events in their order, and the order of first arrivals is kept. (Not if the broker refuses
/// an entry, `basic.nack`, and takes one behind it that was sent together with it: who consumes both then sees the
/// later one first, and again behind it. RabbitMQ refuses when a queue has failed, or is full and set to reject.) Other
/// runs go on meanwhile. Why it is so: docs/adr/0009-relay-and-leases.md.
///
/// One thread runs it; `trouble` any thread.
class Relay {
 public:
  Relay(store::Store& store, store::LogReader& log_reader, bus::Publisher& publisher, LeaseKeeper& lease,
        RelayConfig config, const Clock& clock, Waiter& waiter, Logger& log, Metrics& metrics);

  /// Until `stop`; then the lease is given back.
  void run(std::stop_token stop);

  enum class Turn {
    published,  // something was sent: there may be more
    idle,       // nothing is to be published now
    standby,    // another process publishes
  };
  /// One batch, if this process has or gets the lease; does not wait for new entries. Errors: `unavailable` store or
  /// broker are away; `conflict` another process took over; what was sent may be sent again.
  [[nodiscard]] Result<Turn> run_once(std::stop_token stop = {});

  /// Why nothing is published; "" if it is, or if another process does it.
  [[nodiscard]] std::string trouble() const;

 private:
  /// What becomes of a batch that was sent.
  struct Fate {
    store::Epoch epoch = 0;  // in which it was sent
    std::vector<store::Sequence> published;
    std::map<Timestamp, std::vector<store::Sequence>> parked;  // by when they are sent again
    std::map<std::string, std::size_t> returned;               // how many, by event type
    std::map<std::string, std::size_t> unconfirmed;
  };
  Result<Turn> publish(store::Epoch epoch, std::stop_token stop);
  Result<std::vector<store::OutboxEntry>> read();
  [[nodiscard]] Fate judge(store::Epoch epoch, std::span<const store::OutboxEntry> batch,
                           std::span<const bus::Published> outcomes, bool stopped) const;
  [[nodiscard]] Timestamp parked_until(Timestamp now, int returns) const;
  Result<void> settle();
  void warn(const std::map<std::string, std::size_t>& by_type, std::string_view what);
  void count_outbox();
  void forget_counts();
  bool set_trouble(std::string text);

  store::Store& store_;
  store::LogReader& log_reader_;
  bus::Publisher& publisher_;
  LeaseKeeper& lease_;
  const RelayConfig config_;
  const Clock& clock_;
  Waiter& waiter_;
  Logger& log_;
  Counter& published_;
  Counter& returned_;
  Counter& unconfirmed_;
  Gauge& waiting_;
  Gauge& parked_;
  Gauge& oldest_age_;
  std::optional<Fate> unsettled_;            // sent, and what came of it is not written yet
  store::Sequence seen_ = 0;                 // the log's end before nothing was found in the outbox
  std::map<std::string, Timestamp> warned_;  // when a type was named last
  std::optional<Timestamp> counted_at_;
  mutable std::mutex mutex_;  // guards trouble_
  std::string trouble_;
};

}  // namespace wfo::delivery
