#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/time.h"
#include "bus/bus.h"
#include "bus/publisher.h"
#include "events/contracts.h"

namespace wfo::bus {

/// A queue of the installation, whichever process consumes it.
struct QueueSpec {
  std::string queue;                    // 1..251 bytes: `<queue>.dlq` is its net
  std::vector<std::string> bindings;    // at least one topic pattern of at most 255 bytes
  bool single_active_consumer = false;  // one consumer gets all messages, until it goes away
  /// Durable without arguments and without a net: a queue that others declare like that, and could not any more if it
  /// were there with arguments of ours.
  bool plain = false;
  int prefetch = 0;  // 1..65535 messages in hand of one consumer; 0: as RabbitConfig::prefetch
  friend bool operator==(const QueueSpec&, const QueueSpec&) = default;
};

/// For `amqps://`. Parameters of the URL (`cacertfile`, `certfile`, `keyfile`, `verify`) come before these.
struct RabbitTls {
  std::string ca_file;           // PEM; "": the system's certificate authorities
  std::string certificate_file;  // PEM, what we show; with key_file, or neither
  std::string key_file;          // PEM, without passphrase
  bool verify_peer = true;       // false: whoever answers is believed, the host's name is not checked either
  bool verify_hostname = true;
  friend bool operator==(const RabbitTls&, const RabbitTls&) = default;
};

struct RabbitConfig {
  /// `amqp[s]://user:password@host:port/vhost`, percent-encoded where needed. Left out: guest:guest, 5672 (amqps:
  /// 5671), vhost `/`. Parameters: `cacertfile`, `certfile`, `keyfile`, `verify` (`verify_peer`, `verify_none`),
  /// `server_name_indication`, `auth_mechanism` (`plain`, `external`), `heartbeat` (s), `connection_timeout` (ms).
  std::string url;
  std::string exchange = "coder_events";                  // 1..255 bytes; topic, durable
  std::string dead_letter_exchange = "coder_events.dlx";  // 1..255 bytes; topic, durable
  /// All queues of the installation: every process declares all of them before it publishes or consumes.
  std::vector<QueueSpec> topology;
  int prefetch = 256;                             // 1..65535 messages in hand of one consumer
  std::size_t confirm_window = 1'000;             // 1..65535 messages that the broker has not confirmed yet
  std::size_t body_bytes_max = 32 * 1024 * 1024;  // what is kept of a longer message; >= the bound of one event
  // Of messages that wait for one consumer's `receive`, > 0. More than that goes back to the broker, and comes again in
  // whatever order the broker has then.
  std::size_t buffer_bytes_max = 64 * 1024 * 1024;
  std::chrono::seconds heartbeat{10};    // 1..3600; a peer that is silent for twice as long is gone
  milliseconds connect_timeout{10'000};  // 1 ms..10 min: connecting and logging in
  milliseconds answer_timeout{30'000};   // 1 ms..10 min: one answer to a declaration or the like
  milliseconds retry_first{200};         // 1 ms..10 min: pause before the second try to connect; doubles,
  milliseconds retry_max{10'000};        // up to this; each with ±20 % jitter
  std::string name = "wfo";              // for the broker's list of connections, at most 100 bytes
  RabbitTls tls;
  friend bool operator==(const RabbitConfig&, const RabbitConfig&) = default;
};

/// Errors: `invalid_argument` names the field, the value (never a password) and what is allowed.
[[nodiscard]] Result<void> check(const RabbitConfig& config);

/// The bus of an installation with RabbitMQ (3.10 or newer). One connection for consuming, with a channel per
/// consumer, and one for publishing; each belongs to a thread of its own that reads at all times, so that heartbeats
/// go on while nobody consumes. What is lost is connected again, with everything declared anew; what was in hand
/// comes again (`Consumer::redelivers`). A queue that exists with other arguments is used as it is. Any thread.
/// Why it is built like this: docs/adr/0007-rabbitmq-bus.md.
class RabbitBus final : public Bus {
 public:
  /// Tries once to connect and to declare the topology. A broker that is not there yet (nobody listens, no answer in
  /// time, it is starting or stopping) is no error: the bus opens, says so in the log, and connects when it comes.
  /// Errors: `invalid_argument` as `check`; `unavailable` the broker or the way to it says no, and trying again will
  /// not help before somebody has mended it: login or vhost refused, permission missing, host unknown, TLS failed,
  /// an exchange of another type. The message says what to do.
  [[nodiscard]] static Result<std::unique_ptr<RabbitBus>> open(RabbitConfig config, const events::Contracts& contracts,
                                                               const Clock& clock, Logger& log, Metrics& metrics);
  /// Consumers must be gone. What was acknowledged before reaches the broker, if it is there.
  ~RabbitBus() override;
  RabbitBus(const RabbitBus&) = delete;
  RabbitBus& operator=(const RabbitBus&) = delete;

  /// Also with the broker away: then `receive` says `unavailable`, with the reason, until it comes. A queue that the
  /// topology lacks is added to it; one that it has gets these bindings too. The net of a queue, `<queue>.dlq`, is
  /// consumed under its name with the binding `<queue>`.
  /// Errors, besides those of `Bus`: `unavailable` the broker is there and refuses the queue; says what to do.
  [[nodiscard]] Result<std::unique_ptr<Consumer>> consume(ConsumerOptions options) override;

  /// The one publisher; connects when it is asked for first. Lives as long as the bus.
  [[nodiscard]] Publisher& publisher();

  /// Why the connection cannot work now; "" if it can. For publishing also if the broker lets nobody publish (low on
  /// memory or disk), and always "" before `publisher` was called.
  [[nodiscard]] std::string consuming_trouble() const;
  [[nodiscard]] std::string publishing_trouble() const;

 private:
  struct State;
  explicit RabbitBus(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::bus
