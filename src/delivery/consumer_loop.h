#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "bus/bus.h"
#include "delivery/waiter.h"
#include "store/store.h"

namespace wfo::delivery {

/// What a role does with a batch of events.
class Handler {
 public:
  /// Writes the batch's effects. May be called again after a conflict, so it has no other effect.
  using Apply = std::move_only_function<Result<void>(store::Transaction&)>;

  virtual ~Handler() = default;
  /// The part that needs no transaction (read, compute), then what is to be written. All deliveries have an event.
  /// The errors of `prepare` and of what it returns say what follows. `unavailable`: the whole batch is kept for later.
  /// `conflict`: somebody else was faster; the batch is prepared anew. `invalid_argument`: a message is at fault and
  /// trying again is no use; the batch is split until that one stands alone, which is then set aside. Any other: the
  /// same, but it is tried several times before it is set aside.
  [[nodiscard]] virtual Result<Apply> prepare(std::span<const bus::Delivery> batch) = 0;
  /// What was prepared last is durable; called before the next `prepare`, by the same thread, and not at all if it was
  /// given up. For what a handler remembers.
  virtual void committed() {}
};

/// Where a batch goes, and where a message goes that cannot be handled.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Whether messages may be received now; asked on a bus that would keep them safe meanwhile. Cheap. Errors:
  /// `unavailable` says why not.
  [[nodiscard]] virtual Result<void> admission() { return {}; }
  /// All of the batch takes effect, durably, with the consumer's position, or (error) nothing of it. What could not be
  /// read as an event is set aside with its reason in the same step. Errors: as `Handler::prepare`.
  [[nodiscard]] virtual Result<void> commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) = 0;
  /// Sets a message aside that `commit` never took, with the reason, durably, with the consumer's position.
  [[nodiscard]] virtual Result<void> set_aside(bus::Consumer& consumer, const bus::Delivery& delivery,
                                               std::string_view reason, int attempts) = 0;
  /// Nothing that concerns the consumer came for a while: notes how far it has looked, so that the log can be trimmed
  /// behind it.
  [[nodiscard]] virtual Result<void> note_idle(bus::Consumer& consumer) = 0;
};

inline constexpr std::size_t kReasonBytesMax = 4'096;  // a dead letter's reason is cut there, and says so

/// `reason`, cut to `kReasonBytesMax` between two characters.
[[nodiscard]] std::string bounded_reason(std::string_view reason);

/// A message as a dead letter of `queue`, with its headers; of the system tenant if it cannot be read.
[[nodiscard]] store::DeadLetter dead_letter(const bus::Delivery& delivery, std::string_view queue,
                                            std::string_view reason, int attempts, IdSource& ids, Timestamp now);

/// The sink of the roles whose effects lie in the store: drops what the inbox knows, lets the handler work, commits
/// effects, inbox and position together. Messages that cannot be read or handled become dead letters, and so do other
/// bytes under an id that was handled before. One thread.
class StoreSink final : public Sink {
 public:
  StoreSink(store::Store& store, Handler& handler, IdSource& ids, const Clock& clock)
      : store_(store), handler_(handler), ids_(ids), clock_(clock) {}
  [[nodiscard]] Result<void> admission() override { return store_.admission(); }
  [[nodiscard]] Result<void> commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) override;
  [[nodiscard]] Result<void> set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                                       int attempts) override;
  [[nodiscard]] Result<void> note_idle(bus::Consumer& consumer) override;

 private:
  using Deliveries = std::span<const bus::Delivery>;
  Result<void> commit_all(bus::Consumer& consumer, Deliveries batch, Deliveries readable,
                          std::span<const store::DeadLetter> unreadable);
  Result<void> commit_fresh(bus::Consumer& consumer, Deliveries batch, Deliveries readable,
                            std::span<const store::DeadLetter> unreadable);

  store::Store& store_;
  Handler& handler_;
  IdSource& ids_;
  const Clock& clock_;
};

struct ConsumerLoopConfig {
  std::size_t batch_max = 1024;   // 1..65536 messages a transaction
  milliseconds idle_wait{1'000};  // > 0: how long one wait for messages lasts
  // 1..100 tries of a message that stands alone, then it is set aside; four times as many if others are faster each
  // time
  int attempts_max = 5;
  milliseconds retry_first{100};  // > 0: before the second try; doubles
  milliseconds retry_max{10'000};
  // While nothing comes that concerns the consumer, how far it has looked is written when it is this many entries of
  // the log ahead of what was written, or this long after the last time.
  store::Sequence note_entries = 16'384;  // >= 1
  milliseconds note_interval{10'000};
};

/// Receives, commits, acknowledges: the one loop that serves every consumer of every role. A message at fault is
/// found by splitting its batch, retried, set aside; the others proceed. While the store or the bus is away the loop
/// waits and tries again; `trouble` says why. One thread runs it; `trouble` any thread.
class ConsumerLoop {
 public:
  ConsumerLoop(std::unique_ptr<bus::Consumer> consumer, Sink& sink, ConsumerLoopConfig config, const Clock& clock,
               Waiter& waiter, Logger& log, Metrics& metrics);
  /// Until `stop`; then what is in hand is finished or released.
  void run(std::stop_token stop);
  /// One receive of at most `wait`, and all that follows from it. Returns how many messages were settled. Errors: the
  /// store or the bus is away; what was in hand has been released.
  [[nodiscard]] Result<std::size_t> run_once(milliseconds wait, std::stop_token stop = {});
  /// Why the loop does not proceed; "" if it does.
  [[nodiscard]] std::string trouble() const;
  [[nodiscard]] const std::string& queue() const { return consumer_->queue(); }

 private:
  Result<std::size_t> receive_and_settle(milliseconds wait, std::stop_token stop);
  Result<void> settle(std::span<const bus::Delivery> batch, std::stop_token stop);
  Result<void> settle_alone(const bus::Delivery& delivery, Error error, int attempts, std::stop_token stop);
  Result<void> committed(std::span<const bus::Delivery> batch);
  Result<void> acknowledge(std::span<const bus::Delivery> batch);
  Result<void> note_idle();
  bool set_trouble(std::string text);

  std::unique_ptr<bus::Consumer> consumer_;
  Sink& sink_;
  ConsumerLoopConfig config_;
  const Clock& clock_;
  Waiter& waiter_;
  Logger& log_;
  Counter& consumed_;
  Counter& set_aside_;
  Counter& batches_;
  store::Sequence noted_;  // the position that the sink holds
  Timestamp noted_at_;
  mutable std::mutex mutex_;  // guards trouble_
  std::string trouble_;
};

}  // namespace wfo::delivery
