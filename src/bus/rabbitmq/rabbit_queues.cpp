#include "bus/rabbitmq/rabbit_queues.h"

#include "bus/rabbitmq/detail/connection.h"
#include "bus/rabbitmq/detail/topology.h"

namespace wfo::bus {

using rabbitmq::kScratchChannel;

struct RabbitQueues::State final : rabbitmq::Listener {
  rabbitmq::Address address;
  rabbitmq::Waker waker;
  std::unique_ptr<rabbitmq::Connection> connection;
  QueueState declared;  // as the broker last answered

  void answered(rabbitmq::Channel, const rabbitmq::Method& method) override {
    if (method.id() != AMQP_QUEUE_DECLARE_OK_METHOD) return;
    const auto& ok = method.as<amqp_queue_declare_ok_t>();
    declared = {.messages = ok.message_count, .consumers = ok.consumer_count};
  }

  rabbitmq::Connection::Answer call(amqp_method_number_t id, void* method, amqp_method_number_t answer) const {
    if (!connection->is_open(kScratchChannel)) {  // a refusal has closed it
      if (auto opened = connection->open_channel(kScratchChannel); !opened) return opened;
    }
    return connection->call(kScratchChannel, id, method, answer);
  }
};

RabbitQueues::RabbitQueues(std::unique_ptr<State> state) : state_(std::move(state)) {}
RabbitQueues::~RabbitQueues() { state_->connection->close(); }

Result<std::unique_ptr<RabbitQueues>> RabbitQueues::open(const RabbitConfig& config) {
  auto state = std::make_unique<State>();
  TRY_ASSIGN(state->address, rabbitmq::address_of(config));
  auto connection = rabbitmq::Connection::open(
      state->address,
      {.name = config.name, .answer_timeout = config.answer_timeout, .body_bytes_max = config.body_bytes_max}, *state,
      state->waker, {});
  if (!connection) {
    return fail(ErrorCode::unavailable, "RabbitMQ at {}: {}", state->address.shown(), connection.error().text);
  }
  state->connection = *std::move(connection);
  return std::unique_ptr<RabbitQueues>(new RabbitQueues(std::move(state)));
}

Result<std::optional<QueueState>> RabbitQueues::look(const std::string& queue) {
  amqp_queue_declare_t declare{};
  declare.queue = rabbitmq::amqp_text(queue);
  declare.passive = 1;
  const auto answer = state_->call(AMQP_QUEUE_DECLARE_METHOD, &declare, AMQP_QUEUE_DECLARE_OK_METHOD);
  if (answer) return state_->declared;
  if (answer.error().code == AMQP_NOT_FOUND) return std::nullopt;
  return fail(ErrorCode::unavailable, "queue {}: {}", queue, answer.error().text);
}

Result<void> RabbitQueues::remove(const std::string& queue) {
  amqp_queue_delete_t remove{};
  remove.queue = rabbitmq::amqp_text(queue);
  const auto answer = state_->call(AMQP_QUEUE_DELETE_METHOD, &remove, AMQP_QUEUE_DELETE_OK_METHOD);
  if (answer || answer.error().code == AMQP_NOT_FOUND) return {};
  return fail(ErrorCode::unavailable, "queue {}: {}", queue, answer.error().text);
}

}  // namespace wfo::bus
