#pragma once

#include <string>

#include "base/result.h"
#include "bus/rabbitmq/rabbit_bus.h"

namespace wfo::bus::rabbitmq {

/// Where the broker is and who we are there: the URL, and what the configuration says beside it.
struct Address {
  std::string host;
  int port = 0;
  std::string user;
  std::string password;
  std::string vhost;
  bool external_login = false;  // by client certificate (mechanism EXTERNAL) instead of user and password
  bool tls = false;
  std::string server_name;  // what the broker's certificate must be for
  RabbitTls tls_options;
  std::chrono::seconds heartbeat{};
  milliseconds connect_timeout{};

  /// For people: never with the password.
  [[nodiscard]] std::string shown() const;  // `host:port`
};

/// Errors: `invalid_argument` says what is wrong with the URL; neither the password nor the URL itself is quoted.
[[nodiscard]] Result<Address> address_of(const RabbitConfig& config);

}  // namespace wfo::bus::rabbitmq
