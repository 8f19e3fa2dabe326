#include "bus/embedded/embedded_bus.h"

#include "bus/topic.h"

namespace wfo::bus {
namespace {

class EmbeddedConsumer final : public Consumer {
 public:
  EmbeddedConsumer(ConsumerOptions options, store::LogReader& log, store::Sequence position)
      : options_(std::move(options)),
        filter_(options_.bindings),
        log_(log),
        acknowledged_(position),
        received_(position),
        looked_(position) {}

  const std::string& queue() const override { return options_.queue; }

  Result<std::vector<Delivery>> receive(std::size_t count_max, milliseconds wait, std::stop_token stop) override {
    INVARIANT(count_max > 0);
    TRY_ASSIGN(std::vector<Delivery> batch, read(count_max));
    if (!batch.empty() || wait <= milliseconds(0) || stop.stop_requested()) return batch;
    log_.wait_beyond(looked_, wait, stop);
    if (stop.stop_requested()) return batch;
    return read(count_max);
  }

  Result<void> settle(store::Transaction& transaction, std::span<const Delivery> batch) override {
    const auto position = position_after(batch);
    INVARIANT(position >= acknowledged_);
    return transaction.positions().set(options_.queue, position);
  }

  Result<void> acknowledge(std::span<const Delivery> batch) override {
    acknowledged_ = position_after(batch);
    return {};
  }

  Result<void> release() override {
    looked_ = acknowledged_;
    received_ = acknowledged_;
    return {};
  }

  bool redelivers() const override { return false; }
  store::Sequence looked_through() const override { return looked_; }

 private:
  Result<std::vector<Delivery>> read(std::size_t count_max) {
    TRY_ASSIGN(store::LogPage page, log_.read(looked_, filter_, count_max, options_.bytes_max));
    std::vector<Delivery> batch;
    batch.reserve(page.entries.size());
    for (auto& entry : page.entries) {
      Delivery delivery;
      delivery.event = std::move(entry.event);
      delivery.sequence = entry.sequence;
      delivery.tag = static_cast<std::uint64_t>(entry.sequence);
      batch.push_back(std::move(delivery));
    }
    if (!batch.empty()) received_ = batch.back().sequence;
    looked_ = page.read_through;
    return batch;
  }

  store::Sequence position_after(std::span<const Delivery> batch) const {
    if (!batch.empty()) return batch.back().sequence;
    return received_ > acknowledged_ ? acknowledged_ : looked_;  // never beyond what is in hand
  }

  ConsumerOptions options_;
  TopicFilter filter_;
  store::LogReader& log_;
  store::Sequence acknowledged_;  // everything up to here has taken effect or does not concern us
  store::Sequence received_;      // the newest message that was handed out; above acknowledged_: some are in hand
  store::Sequence looked_;        // everything up to here was handed out or does not concern us
};

Result<void> check(const ConsumerOptions& options) {
  if (options.queue.empty() || options.queue.size() > kNameBytesMax) {
    return fail(ErrorCode::invalid_argument, "queue '{}': a name of 1 to {} bytes is needed", options.queue,
                kNameBytesMax);
  }
  if (options.bindings.empty()) {
    return fail(ErrorCode::invalid_argument, "queue {}: without a binding it would never get a message", options.queue);
  }
  for (const auto& binding : options.bindings) {
    if (binding.size() > kNameBytesMax) {
      return fail(ErrorCode::invalid_argument, "queue {}: binding '{}' is longer than {} bytes", options.queue, binding,
                  kNameBytesMax);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Consumer>> EmbeddedBus::consume(ConsumerOptions options) {
  TRY(check(options));
  store::Sequence position = 0;
  if (options.start_after) {
    position = *options.start_after;
  } else {
    TRY(store_.read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(position, transaction.positions().get(options.queue));
      return {};
    }));
  }
  // To wait for the log to catch up would lose what is appended until then.
  if (const auto last = log_.last(); position > last) {
    return fail(ErrorCode::corruption,
                "queue {}: its position {} lies beyond the end of the log, {}: was one of the files put back from an "
                "older copy?",
                options.queue, position, last);
  }
  return std::make_unique<EmbeddedConsumer>(std::move(options), log_, position);
}

}  // namespace wfo::bus
