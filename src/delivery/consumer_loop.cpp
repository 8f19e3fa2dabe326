#include "delivery/consumer_loop.h"

#include <algorithm>

#include "base/digest.h"

namespace wfo::delivery {
namespace {

store::InboxKey inbox_key(const events::Event& event) {
  return {event.tenant(), event.id(), short_digest(event.bytes())};
}

}  // namespace

std::string bounded_reason(std::string_view reason) {
  constexpr std::string_view kCut = " … (cut)";
  if (reason.size() <= kReasonBytesMax) return std::string(reason);
  auto end = kReasonBytesMax - kCut.size();
  while (end > 0 && (static_cast<unsigned char>(reason[end]) & 0xC0) == 0x80) --end;  // inside a character
  return std::string(reason.substr(0, end)) += kCut;
}

store::DeadLetter dead_letter(const bus::Delivery& delivery, std::string_view queue, std::string_view reason,
                              int attempts, IdSource& ids, Timestamp now) {
  store::DeadLetter letter;
  letter.id = DeadLetterId(ids.next());
  letter.tenant = delivery.event ? delivery.event->tenant() : system_tenant();
  letter.queue = queue;
  letter.type = delivery.event ? delivery.event->type() : "";
  letter.headers = delivery.headers;
  letter.bytes = delivery.event ? delivery.event->bytes() : delivery.unreadable_bytes;
  letter.reason = bounded_reason(reason);
  letter.attempts = attempts;
  letter.created_at = now;
  return letter;
}

Result<void> StoreSink::commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) {
  const auto commit_parts = [&](Deliveries readable, std::span<const store::DeadLetter> unreadable) {
    return consumer.redelivers() ? commit_fresh(consumer, batch, readable, unreadable)
                                 : commit_all(consumer, batch, readable, unreadable);
  };
  if (std::ranges::all_of(batch, [](const auto& delivery) { return delivery.event != nullptr; })) {
    return commit_parts(batch, {});
  }
  std::vector<bus::Delivery> readable;
  std::vector<store::DeadLetter> unreadable;
  for (const auto& delivery : batch) {
    if (delivery.event) {
      readable.push_back(delivery);
    } else {
      unreadable.push_back(dead_letter(delivery, consumer.queue(), delivery.unreadable_reason, 1, ids_, clock_.now()));
    }
  }
  return commit_parts(readable, unreadable);
}

/// Each message comes once: there is nothing to ask the inbox for.
Result<void> StoreSink::commit_all(bus::Consumer& consumer, Deliveries batch, Deliveries readable,
                                   std::span<const store::DeadLetter> unreadable) {
  Handler::Apply apply;
  if (!readable.empty()) {
    TRY_ASSIGN(apply, handler_.prepare(readable));
  }
  TRY(store_.transact([&](store::Transaction& transaction) -> Result<void> {
    if (apply) TRY(apply(transaction));
    if (!unreadable.empty()) TRY(transaction.dead_letters().insert(unreadable));
    return consumer.settle(transaction, batch);
  }));
  if (apply) handler_.committed();
  return {};
}

/// Leaves out what the inbox knows.
Result<void> StoreSink::commit_fresh(bus::Consumer& consumer, Deliveries batch, Deliveries readable,
                                     std::span<const store::DeadLetter> unreadable) {
  std::vector<store::InboxKey> keys;
  keys.reserve(readable.size());
  for (const auto& delivery : readable) keys.push_back(inbox_key(*delivery.event));

  // Nearly always everything is fresh, so that is what the handler prepares for; where the inbox knows better, the
  // transaction is given up and the handler asked again for what is left.
  std::vector<store::InboxVerdict> assumed(keys.size(), store::InboxVerdict::fresh);
  for (;;) {
    std::vector<bus::Delivery> fresh;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (assumed[i] == store::InboxVerdict::fresh) fresh.push_back(readable[i]);
    }
    Handler::Apply apply;
    if (!fresh.empty()) {
      TRY_ASSIGN(apply, handler_.prepare(fresh));
    }
    bool mistaken = false;
    auto committed = store_.transact([&](store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(auto verdicts, transaction.inbox().record(consumer.queue(), keys, clock_.now()));
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (verdicts[i] != store::InboxVerdict::forged) continue;
        return fail(ErrorCode::invalid_argument, "event {} of tenant {} came before with other bytes",
                    keys[i].event.to_string(), keys[i].tenant.to_string());
      }
      mistaken = verdicts != assumed;
      if (mistaken) {
        assumed = std::move(verdicts);
        return fail(ErrorCode::conflict, "some messages were handled before");
      }
      if (apply) TRY(apply(transaction));
      if (!unreadable.empty()) TRY(transaction.dead_letters().insert(unreadable));
      return consumer.settle(transaction, batch);
    });
    if (mistaken) continue;
    if (committed && apply) handler_.committed();
    return committed;
  }
}

Result<void> StoreSink::set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                  int attempts) {
  const auto letter = dead_letter(delivery, consumer.queue(), reason, attempts, ids_, clock_.now());
  return store_.transact([&](store::Transaction& transaction) -> Result<void> {
    if (consumer.redelivers() && delivery.event) {
      // Should an acknowledgement be lost, the message must not become a second letter. A forged one can: it is not
      // what the inbox holds.
      const auto key = inbox_key(*delivery.event);
      TRY_ASSIGN(const auto verdicts, transaction.inbox().record(consumer.queue(), {&key, 1}, letter.created_at));
      if (verdicts.front() == store::InboxVerdict::repeated) return consumer.settle(transaction, {&delivery, 1});
    }
    TRY(transaction.dead_letters().insert(letter));
    return consumer.settle(transaction, {&delivery, 1});
  });
}

Result<void> StoreSink::note_idle(bus::Consumer& consumer) {
  return store_.transact([&](store::Transaction& transaction) { return consumer.settle(transaction, {}); });
}

ConsumerLoop::ConsumerLoop(std::unique_ptr<bus::Consumer> consumer, Sink& sink, ConsumerLoopConfig config,
                           const Clock& clock, Waiter& waiter, Logger& log, Metrics& metrics)
    : consumer_(std::move(consumer)),
      sink_(sink),
      config_(config),
      clock_(clock),
      waiter_(waiter),
      log_(log),
      consumed_(metrics.counter("messages_consumed_total", "Messages that took effect or were set aside",
                                {{"queue", consumer_->queue()}})),
      set_aside_(metrics.counter("messages_set_aside_total", "Messages that could not be handled",
                                 {{"queue", consumer_->queue()}})),
      batches_(metrics.counter("message_batches_total", "Transactions of consumers", {{"queue", consumer_->queue()}})),
      noted_(consumer_->looked_through()),
      noted_at_(clock.now()) {
  INVARIANT(config_.batch_max > 0 && config_.attempts_max > 0 && config_.note_entries > 0);
  INVARIANT(config_.idle_wait > milliseconds(0) && config_.retry_first > milliseconds(0));
}

void ConsumerLoop::run(std::stop_token stop) {
  milliseconds delay = config_.retry_first;
  while (!stop.stop_requested()) {
    if (run_once(config_.idle_wait, stop)) {
      delay = config_.retry_first;
      continue;
    }
    if (!waiter_.wait(delay, stop)) return;
    delay = std::min(delay * 2, config_.retry_max);
  }
}

Result<std::size_t> ConsumerLoop::run_once(milliseconds wait, std::stop_token stop) {
  auto settled = receive_and_settle(wait, stop);
  if (settled) {
    if (set_trouble("")) log_.info("{}: goes on", queue());
    return settled;
  }
  if (auto released = consumer_->release(); !released) {
    // Then the bus is away, and what it had handed out comes again without being asked for.
    log_.debug("{}: release: {}", queue(), released.error().message);
  }
  if (stop.stop_requested()) return settled;
  if (set_trouble(settled.error().message)) log_.warn("{}: {}; trying again", queue(), settled.error().message);
  return settled;
}

Result<std::size_t> ConsumerLoop::receive_and_settle(milliseconds wait, std::stop_token stop) {
  // A broker keeps what is not received. Where the log is the bus it is in the store already.
  if (consumer_->redelivers()) TRY(sink_.admission());
  TRY_ASSIGN(const auto batch, consumer_->receive(config_.batch_max, wait, stop));
  if (batch.empty()) {
    if (!stop.stop_requested()) TRY(note_idle());
    return 0;
  }
  TRY(settle(batch, stop));
  return batch.size();
}

Result<void> ConsumerLoop::note_idle() {
  const auto looked = consumer_->looked_through();
  if (looked == noted_) return {};
  const auto now = clock_.now();
  if (looked - noted_ < config_.note_entries && now - noted_at_ < config_.note_interval) return {};
  TRY(sink_.note_idle(*consumer_));
  TRY(consumer_->acknowledge({}));
  noted_ = looked;
  noted_at_ = now;
  return {};
}

/// An error means that the store or the bus is away, or that `stop` came: what was not acknowledged must be released.
Result<void> ConsumerLoop::settle(std::span<const bus::Delivery> batch, std::stop_token stop) {
  constexpr int kTriesMax = 3;
  auto committed = sink_.commit(*consumer_, batch);
  int tries = 1;
  // Somebody else was faster, which says nothing about any message: the batch is not split for it.
  while (!committed && committed.error().code == ErrorCode::conflict && tries < kTriesMax) {
    committed = sink_.commit(*consumer_, batch);
    ++tries;
  }
  if (committed) return this->committed(batch);
  if (committed.error().code == ErrorCode::unavailable) return committed;
  if (batch.size() == 1) return settle_alone(batch.front(), std::move(committed).error(), tries, stop);
  const std::size_t half = batch.size() / 2;
  TRY(settle(batch.first(half), stop));
  return settle(batch.subspan(half), stop);
}

/// A message that failed by itself, `attempts` times so far, with `error`.
Result<void> ConsumerLoop::settle_alone(const bus::Delivery& delivery, Error error, int attempts,
                                        std::stop_token stop) {
  // That others are faster says nothing about the message, so it is given much more time; but not for ever, as what is
  // behind it has to wait.
  constexpr int kConflictPatience = 4;
  const auto attempts_max = [&] {
    return config_.attempts_max * (error.code == ErrorCode::conflict ? kConflictPatience : 1);
  };
  milliseconds delay = config_.retry_first;
  while (error.code != ErrorCode::invalid_argument && attempts < attempts_max()) {
    if (!waiter_.wait(delay, stop)) return fail(ErrorCode::unavailable, "stopped");
    delay = std::min(delay * 2, config_.retry_max);
    auto committed = sink_.commit(*consumer_, {&delivery, 1});
    ++attempts;
    if (committed) return this->committed({&delivery, 1});
    error = std::move(committed).error();
    if (error.code == ErrorCode::unavailable) return std::unexpected(std::move(error));
  }
  log_.warn("{}: set aside after {} attempts: {}", queue(), attempts, error.message);
  TRY(sink_.set_aside(*consumer_, delivery, error.message, attempts));
  set_aside_.add();
  return acknowledge({&delivery, 1});
}

Result<void> ConsumerLoop::committed(std::span<const bus::Delivery> batch) {
  const bus::Delivery* first = nullptr;
  int unreadable = 0;
  for (const auto& delivery : batch) {
    if (delivery.event) continue;
    if (!first) first = &delivery;
    ++unreadable;
  }
  if (first) {
    log_.warn("{}: set aside {} messages that cannot be read, the first because of: {}", queue(), unreadable,
              first->unreadable_reason);
    set_aside_.add(unreadable);
  }
  return acknowledge(batch);
}

Result<void> ConsumerLoop::acknowledge(std::span<const bus::Delivery> batch) {
  batches_.add();
  consumed_.add(static_cast<double>(batch.size()));
  noted_ = batch.back().sequence;
  noted_at_ = clock_.now();
  return consumer_->acknowledge(batch);
}

std::string ConsumerLoop::trouble() const {
  const std::scoped_lock lock(mutex_);
  return trouble_;
}

/// True if that is news.
bool ConsumerLoop::set_trouble(std::string text) {
  const std::scoped_lock lock(mutex_);
  if (trouble_ == text) return false;
  trouble_ = std::move(text);
  return true;
}

}  // namespace wfo::delivery
