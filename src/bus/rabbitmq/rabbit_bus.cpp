#include "bus/rabbitmq/rabbit_bus.h"

#include <mutex>
#include <set>
#include <string_view>

#include "bus/rabbitmq/detail/address.h"
#include "bus/rabbitmq/detail/consuming.h"
#include "bus/rabbitmq/detail/publishing.h"

namespace wfo::bus {
namespace {

using namespace std::chrono_literals;
using rabbitmq::kNetSuffix;

constexpr int kCountMax = 65'535;  // AMQP's prefetch has 16 bits
constexpr milliseconds kDelayMax = 10min;

Result<void> check_name(std::string_view field, const std::string& value, std::size_t bytes_max) {
  if (!value.empty() && value.size() <= bytes_max) return {};
  return fail(ErrorCode::invalid_argument, "{} is '{}'; allowed: 1 to {} bytes", field, value, bytes_max);
}

Result<void> check_number(std::string_view field, std::size_t value, std::size_t min, std::size_t max) {
  if (value >= min && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{} is {}; allowed: {}..{}", field, value, min, max);
}

Result<void> check_delay(std::string_view field, milliseconds value, milliseconds max = kDelayMax) {
  if (value > 0ms && value <= max) return {};
  return fail(ErrorCode::invalid_argument, "{} is {} ms; allowed: 1..{}", field, value.count(), max.count());
}

Result<void> check_queues(const std::vector<QueueSpec>& topology) {
  std::set<std::string_view> seen;
  for (const auto& spec : topology) {
    TRY(check_name("a queue of the topology", spec.queue, kNameBytesMax - kNetSuffix.size()));
    const auto wrong = [&](std::string_view what) {
      return fail(ErrorCode::invalid_argument, "queue {}: {}", spec.queue, what);
    };
    if (!seen.insert(spec.queue).second) return wrong("it is in the topology twice");
    if (spec.queue.ends_with(kNetSuffix))
      return wrong(fmt::format("names that end in {} are those of nets", kNetSuffix));
    if (spec.bindings.empty()) return wrong("without a binding");
    for (const auto& binding : spec.bindings) {
      if (binding.size() > kNameBytesMax) {
        return wrong(fmt::format("the binding '{}' is longer than {} bytes", binding, kNameBytesMax));
      }
    }
    if (spec.prefetch < 0 || spec.prefetch > kCountMax) {
      return wrong(fmt::format("prefetch is {}; allowed: 0..{}", spec.prefetch, kCountMax));
    }
  }
  return {};
}

}  // namespace

Result<void> check(const RabbitConfig& config) {
  TRY(rabbitmq::address_of(config));
  TRY(check_name("exchange", config.exchange, kNameBytesMax));
  TRY(check_name("dead_letter_exchange", config.dead_letter_exchange, kNameBytesMax));
  if (config.exchange == config.dead_letter_exchange) {
    return fail(ErrorCode::invalid_argument, "exchange and dead_letter_exchange are both '{}'", config.exchange);
  }
  TRY(check_queues(config.topology));
  TRY(check_number("prefetch", static_cast<std::size_t>(std::max(config.prefetch, 0)), 1, kCountMax));
  TRY(check_number("confirm_window", config.confirm_window, 1, kCountMax));
  TRY(check_number("body_bytes_max", config.body_bytes_max, 1, std::size_t{1} << 30));
  TRY(check_number("buffer_bytes_max", config.buffer_bytes_max, 1, std::size_t{1} << 34));
  TRY(check_delay("heartbeat", config.heartbeat, 1h));
  TRY(check_delay("connect_timeout", config.connect_timeout));
  TRY(check_delay("answer_timeout", config.answer_timeout));
  TRY(check_delay("retry_first", config.retry_first));
  TRY(check_delay("retry_max", config.retry_max));
  return check_name("name", config.name, 100);
}

struct RabbitBus::State {
  State(RabbitConfig config_, rabbitmq::Address address_, const events::Contracts& contracts_, const Clock& clock_,
        Logger& log_, Metrics& metrics_)
      : config(std::move(config_)),
        address(std::move(address_)),
        contracts(contracts_),
        log(log_),
        metrics(metrics_),
        topology(config, log),
        consuming({pump_parts(), contracts, clock_}) {}

  [[nodiscard]] rabbitmq::Pump::Parts pump_parts() { return {config, address, topology, log, metrics}; }

  const RabbitConfig config;
  const rabbitmq::Address address;
  const events::Contracts& contracts;
  Logger& log;
  Metrics& metrics;
  rabbitmq::Topology topology;
  rabbitmq::Consuming consuming;
  std::mutex mutex;  // guards publishing
  std::unique_ptr<rabbitmq::Publishing> publishing;
};

RabbitBus::RabbitBus(std::unique_ptr<State> state) : state_(std::move(state)) {}

RabbitBus::~RabbitBus() = default;

Result<std::unique_ptr<RabbitBus>> RabbitBus::open(RabbitConfig config, const events::Contracts& contracts,
                                                   const Clock& clock, Logger& log, Metrics& metrics) {
  TRY(check(config));
  TRY_ASSIGN(auto address, rabbitmq::address_of(config));
  const auto where = address.shown();
  auto state = std::make_unique<State>(std::move(config), std::move(address), contracts, clock, log, metrics);
  if (const auto tried = state->consuming.pump().first_try(); !tried && tried.error().lasting) {
    return fail(ErrorCode::unavailable, "RabbitMQ at {}: {}", where, tried.error().text);
  }
  return std::unique_ptr<RabbitBus>(new RabbitBus(std::move(state)));
}

Result<std::unique_ptr<Consumer>> RabbitBus::consume(ConsumerOptions options) {
  return state_->consuming.consume(std::move(options));
}

Publisher& RabbitBus::publisher() {
  const std::scoped_lock lock(state_->mutex);
  if (!state_->publishing) {
    state_->publishing =
        std::make_unique<rabbitmq::Publishing>(rabbitmq::Publishing::Parts{state_->pump_parts(), state_->contracts});
    // So that the first who publishes finds a connection, if there is a broker.
    if (state_->consuming.pump().is_connected()) state_->publishing->await_first_try();
  }
  return *state_->publishing;
}

std::string RabbitBus::consuming_trouble() const { return state_->consuming.pump().trouble(); }

std::string RabbitBus::publishing_trouble() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->publishing ? state_->publishing->trouble() : "";
}

}  // namespace wfo::bus
