#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus/publisher.h"
#include "bus/rabbitmq/detail/message.h"
#include "bus/rabbitmq/detail/pump.h"
#include "bus/topic.h"

namespace wfo::bus::rabbitmq {

/// The publishing side of the bus: one connection with one channel in confirm mode.
class Publishing final : public Work, public Publisher {
 public:
  struct Parts {
    Pump::Parts pump;
    const events::Contracts& contracts;
  };
  explicit Publishing(const Parts& parts);

  [[nodiscard]] Result<std::vector<Published>> publish(std::span<const events::EventPtr> batch, milliseconds wait,
                                                       std::stop_token stop) override;
  /// Until the first try to connect has succeeded or failed. Once.
  void await_first_try() { static_cast<void>(pump_.first_try()); }
  /// Why nothing can be published now; "" if it can. Any thread.
  [[nodiscard]] std::string trouble() const;

 private:
  /// What one `publish` hands over; the pump keeps it for as long as answers can come.
  struct Batch {
    std::vector<events::EventPtr> events;

    std::mutex mutex;  // guards what follows
    std::condition_variable_any changed;
    std::vector<std::optional<Published>> outcomes;  // nothing: no answer yet
    std::size_t sent = 0;
    std::size_t answered = 0;
    SteadyTime progress;                 // when something was sent last
    bool given_up = false;               // by the caller: what is not sent stays unsent
    bool blocked = false;                // the broker lets nobody publish the rest
    std::optional<std::string> failure;  // the connection was lost
  };
  struct Unconfirmed {
    std::shared_ptr<Batch> batch;  // null: it was answered
    std::size_t index = 0;
    bool returned = false;
  };

  Attempt<void> connected(Connection& connection) override;
  SteadyTime work(Connection& connection) override;
  void lost(const Trouble& trouble) override;
  void returned(const amqp_basic_return_t& method, const Content& content) override;
  void confirmed(std::uint64_t tag, bool multiple, bool accepted) override;
  void channel_closed(Channel channel, const Refusal& refusal) override;
  void blocked(std::string_view reason) override;

  void send(Connection& connection, Batch& batch);
  void answer(Unconfirmed& unconfirmed, bool accepted);
  [[nodiscard]] bool is_expected(std::string_view type);
  [[nodiscard]] std::string stalled() const;
  Attempt<void> open_channel(Connection& connection);
  void fail_all(std::string_view why);
  void set_blocked(std::string reason);
  void set_channel_trouble(std::string trouble);

  Parts parts_;
  EventPublisher publisher_;
  Counter& published_;
  Counter& returned_;
  Counter& nacked_;
  Gauge& blocked_gauge_;
  Gauge& window_;

  // The pump's alone.
  std::shared_ptr<Batch> current_;       // is being sent
  std::deque<Unconfirmed> unconfirmed_;  // in order of their tags, the first of which is first_tag_
  std::uint64_t first_tag_ = 1;
  std::optional<Refusal> closed_;  // why the channel is gone
  SteadyTime reopen_at_;           // not before, after it could not be opened
  bool must_redeclare_ = false;    // something came back: perhaps somebody has deleted a queue or a binding
  SteadyTime redeclare_at_;        // not before
  std::optional<TopicFilter> bound_types_;
  std::uint64_t bound_types_version_ = 0;

  std::atomic<std::size_t> open_ = 0;  // messages without an answer; written by the pump alone
  mutable std::mutex mutex_;           // guards what follows
  std::string blocked_;                // the broker's reason
  std::string channel_trouble_;        // why there is no channel, though there is a connection
  Pump pump_;                          // last
};

}  // namespace wfo::bus::rabbitmq
