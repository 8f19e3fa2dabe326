#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "bus/bus.h"
#include "delivery/consumer_loop.h"
#include "delivery/lease_keeper.h"
#include "store/ledger_store.h"

namespace wfo::ledger {

inline constexpr std::string_view kQueue = "logging_service";

/// What the ledger records unless its configuration says otherwise: the five events of the specification, the outcomes
/// of jobs and of opportunities, and everything under `audit`. Who wants all binds `#`.
[[nodiscard]] std::vector<std::string> default_bindings();

/// The ledger's consumer, from where the ledger's own file says that it has come. Errors: as `Bus::consume` and
/// `LedgerStore::position`.
[[nodiscard]] Result<std::unique_ptr<bus::Consumer>> consume(bus::Bus& bus, store::LedgerStore& ledger,
                                                             std::vector<std::string> bindings = default_bindings());

/// Where the bus is the log: whether entries that the ledger has never received have been trimmed from it, because the
/// ledger's file is lost or older than the log. Such a gap cannot be filled: it is quarantined, so that whoever reads
/// the ledger learns of it, and the ledger goes on behind it. Returns how many entries the gap spans, of whatever type.
/// To be called before `consume`. Errors: the ledger store's.
[[nodiscard]] Result<store::Sequence> note_gap(store::LedgerStore& ledger, store::LogReader& log_reader,
                                               const Clock& clock, Logger& log);

/// The role `logging`: appends what its consumer brings to the ledger, in the tenants' sequences, as the bytes that
/// came. What cannot be read goes to the quarantine with its reason, in the same transaction; so does an event that
/// comes under a known id with other bytes. Nothing stops what is behind it. One thread; the gauges any.
class LedgerSink final : public delivery::Sink {
 public:
  /// `log_reader` is where the events come from on a bus that is the log, for the lag; null on a broker. `metrics` asks
  /// this sink at each scrape: there must be none after its end. `right`: to append, which one process of an
  /// installation with a broker has at a time; null where no other process can be. It is taken when there is something
  /// to append, and not prolonged without: the queue's messages may go to another process.
  LedgerSink(store::LedgerStore& ledger, store::LogReader* log_reader, const Clock& clock, Logger& log,
             Metrics& metrics, delivery::LeaseKeeper* right = nullptr);
  /// All records and quarantined messages of a batch are one transaction.
  [[nodiscard]] Result<void> commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) override;
  /// To the quarantine: a message that the ledger's store refuses although it could be read.
  [[nodiscard]] Result<void> set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                       int attempts) override;
  [[nodiscard]] Result<void> note_idle(bus::Consumer& consumer) override;

 private:
  Result<std::vector<store::LedgerOutcome>> append(bus::Consumer& consumer,
                                                   std::span<const store::LedgerRecord> records,
                                                   std::span<const store::QuarantinedMessage> unreadable,
                                                   store::Sequence position);
  double lag_entries() const;
  double lag_seconds() const;

  store::LedgerStore& ledger_;
  store::LogReader* log_reader_;
  const Clock& clock_;
  Logger& log_;
  delivery::LeaseKeeper* right_;
  Counter& appended_;
  Counter& repeated_;
  Counter& unreadable_;
  Counter& forged_;
  // Written by the loop's thread, read by whoever asks for the metrics.
  std::atomic<store::Sequence> position_ = 0;
  std::atomic<Timestamp::rep> newest_ms_;  // the timestamp of the newest event that was appended
};

}  // namespace wfo::ledger
