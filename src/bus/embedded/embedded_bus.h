#pragma once

#include <memory>

#include "bus/bus.h"

namespace wfo::bus {

/// The bus of an installation without a broker: the log is the bus. A consumer is a position in the log; settling a
/// batch moves it in the transaction that holds the batch's effects, so each event takes effect exactly once, and
/// nothing is written twice. Any thread; each consumer one.
class EmbeddedBus final : public Bus {
 public:
  EmbeddedBus(store::Store& store, store::LogReader& log) : store_(store), log_(log) {}
  [[nodiscard]] Result<std::unique_ptr<Consumer>> consume(ConsumerOptions options) override;

 private:
  store::Store& store_;
  store::LogReader& log_;
};

}  // namespace wfo::bus
