#include "ledger/ledger_sink.h"

#include <algorithm>

#include "delivery/drain_sink.h"
#include "events/types.h"
#include "store/outbox.h"

namespace wfo::ledger {
namespace {

/// The record of an event, with what search finds it by.
store::LedgerRecord record_of(const events::EventPtr& event, Timestamp received_at) {
  store::LedgerRecord record{
      .event = event, .workflow = store::run_of(*event), .opportunity = {}, .received_at = received_at};
  if (const auto value = event->data().find("opportunityId")) {
    // An id that a CRM gave stands for the same opportunity as the uuid that was made of it.
    if (const auto id = value->uuid()) {
      record.opportunity = OpportunityId(*id);
    } else if (const auto text = value->string(); text && !text->empty()) {
      record.opportunity = opportunity_id(event->tenant(), *text);
    }
  }
  return record;
}

store::QuarantinedMessage quarantined(const bus::Delivery& delivery, std::string_view reason, Timestamp received_at) {
  store::QuarantinedMessage message;
  if (delivery.event) {
    message.tenant = delivery.event->tenant();
    message.event_id = delivery.event->id();
    message.bytes = delivery.event->bytes();
  } else {
    message.bytes = delivery.unreadable_bytes;
  }
  message.reason = delivery::bounded_reason(reason);
  message.received_at = received_at;
  return message;
}

/// Why a message cannot be read; and if it comes from the net below the ledger's queue, how it got there.
std::string reason_of(const bus::Delivery& delivery, std::string_view queue) {
  const auto death = delivery::reason_of_death(delivery.headers, queue);
  return death.empty() ? delivery.unreadable_reason : fmt::format("{}; {}", delivery.unreadable_reason, death);
}

Counter& counter(Metrics& metrics, std::string_view outcome) {
  return metrics.counter("ledger_messages_total", "Messages that the ledger took, by what became of them",
                         {{"outcome", std::string(outcome)}});
}

}  // namespace

std::vector<std::string> default_bindings() {
  std::vector<std::string> bindings;
  for (const auto type : {events::kAnalysisStarted, events::kStepCompleted, events::kAnalysisCompleted,
                          events::kAnalysisFailed, events::kJobTrigger, events::kJobCompleted, events::kJobFailed,
                          events::kOutcomeRecorded, std::string_view("audit.#")}) {
    bindings.emplace_back(type);
  }
  return bindings;
}

Result<std::unique_ptr<bus::Consumer>> consume(bus::Bus& bus, store::LedgerStore& ledger,
                                               std::vector<std::string> bindings) {
  TRY_ASSIGN(const auto position, ledger.position(kQueue));
  bus::ConsumerOptions options;
  options.queue = kQueue;
  options.bindings = std::move(bindings);
  options.start_after = position;
  return bus.consume(std::move(options));
}

Result<store::Sequence> note_gap(store::LedgerStore& ledger, store::LogReader& log_reader, const Clock& clock,
                                 Logger& log) {
  TRY_ASSIGN(const auto position, ledger.position(kQueue));
  const auto trimmed = log_reader.trimmed_through();
  if (position >= trimmed) return 0;
  store::QuarantinedMessage gap;
  gap.received_at = clock.now();
  gap.reason = fmt::format(
      "gap: entries {} to {} of the log were deleted before this ledger had received them; its file was lost, or is "
      "older than the log",
      position + 1, trimmed);
  log.error("{}: {}", kQueue, gap.reason);
  TRY(ledger.append({}, {&gap, 1}, kQueue, trimmed));
  return trimmed - position;
}

LedgerSink::LedgerSink(store::LedgerStore& ledger, store::LogReader* log_reader, const Clock& clock, Logger& log,
                       Metrics& metrics, delivery::LeaseKeeper* right)
    : ledger_(ledger),
      log_reader_(log_reader),
      clock_(clock),
      log_(log),
      right_(right),
      appended_(counter(metrics, "appended")),
      repeated_(counter(metrics, "repeated")),
      unreadable_(counter(metrics, "unreadable")),
      forged_(counter(metrics, "forged")),
      newest_ms_(clock.now().time_since_epoch().count()) {
  if (log_reader_ == nullptr) return;
  metrics.gauge_from("ledger_lag_entries", "Entries of the log that the ledger has not yet passed",
                     [this] { return lag_entries(); });
  metrics.gauge_from("ledger_lag_seconds", "Age of the newest event in the ledger while others wait; 0 if none does",
                     [this] { return lag_seconds(); });
}

/// What everybody of this installation appends goes through here, so that nobody does without the right.
Result<std::vector<store::LedgerOutcome>> LedgerSink::append(bus::Consumer& consumer,
                                                             std::span<const store::LedgerRecord> records,
                                                             std::span<const store::QuarantinedMessage> unreadable,
                                                             store::Sequence position) {
  if (!right_) return ledger_.append(records, unreadable, consumer.queue(), position);
  const auto somebody_else = [&] { return fail(ErrorCode::unavailable, "another process appends to the ledger"); };
  TRY_ASSIGN(const auto epoch, right_->hold());
  if (!epoch) return somebody_else();
  auto outcomes = ledger_.append(records, unreadable, consumer.queue(), position, *epoch);
  if (outcomes || outcomes.error().code != ErrorCode::conflict) return outcomes;
  right_->lost(*epoch);
  return somebody_else();
}

Result<void> LedgerSink::commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) {
  const auto now = clock_.now();
  std::vector<store::LedgerRecord> records;
  std::vector<store::QuarantinedMessage> unreadable;
  records.reserve(batch.size());
  for (const auto& delivery : batch) {
    if (delivery.event) {
      records.push_back(record_of(delivery.event, now));
    } else {
      unreadable.push_back(quarantined(delivery, reason_of(delivery, consumer.queue()), now));
    }
  }
  TRY_ASSIGN(const auto outcomes, append(consumer, records, unreadable, batch.back().sequence));
  INVARIANT(outcomes.size() == records.size());

  std::size_t appended = 0;
  std::size_t repeated = 0;
  auto newest = Timestamp(milliseconds(newest_ms_.load()));
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& event = *records[i].event;
    switch (outcomes[i]) {
      case store::LedgerOutcome::appended:
        ++appended;
        newest = std::max(newest, std::min(event.timestamp(), now));
        break;
      case store::LedgerOutcome::repeated:
        ++repeated;
        break;
      case store::LedgerOutcome::forged:
        forged_.add();
        log_.warn("{}: event {} of tenant {} came again with other bytes: quarantined", consumer.queue(),
                  event.id().to_string(), event.tenant().to_string());
        break;
    }
  }
  for (const auto& message : unreadable) log_.warn("{}: quarantined: {}", consumer.queue(), message.reason);
  appended_.add(static_cast<double>(appended));
  repeated_.add(static_cast<double>(repeated));
  unreadable_.add(static_cast<double>(unreadable.size()));
  newest_ms_ = newest.time_since_epoch().count();
  position_ = batch.back().sequence;
  return {};
}

Result<void> LedgerSink::set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                   int attempts) {
  const auto message =
      quarantined(delivery, fmt::format("not accepted in {} attempts: {}", attempts, reason), clock_.now());
  TRY(append(consumer, {}, {&message, 1}, delivery.sequence));
  unreadable_.add();
  position_ = delivery.sequence;
  return {};
}

Result<void> LedgerSink::note_idle(bus::Consumer& consumer) {
  const auto position = consumer.looked_through();
  TRY(append(consumer, {}, {}, position));
  position_ = position;
  return {};
}

double LedgerSink::lag_entries() const {
  return static_cast<double>(std::max<store::Sequence>(log_reader_->last() - position_, 0));
}

double LedgerSink::lag_seconds() const {
  if (lag_entries() == 0) return 0;
  const auto age = clock_.now() - Timestamp(milliseconds(newest_ms_.load()));
  return std::max(0.0, std::chrono::duration<double>(age).count());
}

}  // namespace wfo::ledger
