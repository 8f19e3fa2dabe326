#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "store/postgres/detail/connection.h"

namespace wfo::store::postgres {

/// The same for a connection that is kept for leases: an answer is waited for about as long as those last.
[[nodiscard]] ConnectionOptions for_leases(ConnectionOptions options);

/// A bounded number of connections, made when they are needed and kept; broken ones are thrown away, and with them all
/// that are idle, since a server that is gone is gone for all. Any thread.
class Pool {
 public:
  /// `what` is the installation's part, for messages and as a label of the metrics: `store` or `ledger`. `setting`:
  /// what makes `connections` more, "" if nothing does.
  Pool(ConnectionOptions options, int connections, std::string what, Logger& log, Metrics& metrics,
       std::string setting = {});

  /// A connection, given back with its end. Whoever gives it back has no transaction open.
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Connection> connection) : pool_(&pool), connection_(std::move(connection)) {}
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) = delete;
    ~Lease() {
      if (connection_) pool_->give_back(std::move(connection_));
    }
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<Connection> connection_;
  };
  /// Waits while all connections are in use, for `wait` at most. Errors: `unavailable` they still are: says how many
  /// and which setting allows more; or the server cannot be reached; within kRetryAfter of such a failure the same
  /// again, without asking.
  [[nodiscard]] Result<Lease> take(std::chrono::milliseconds wait = kWaitMax);

  /// Adds a connection that was made by `open` of the owner.
  void add(Connection connection);

  /// Whether the server could be reached when somebody last tried; where it could not, tries again once in kRetryAfter.
  /// Errors: `unavailable` says why not.
  [[nodiscard]] Result<void> healthy();

  static constexpr std::chrono::milliseconds kRetryAfter{1'000};
  static constexpr std::chrono::milliseconds kWaitMax{10'000};

 private:
  friend class Lease;
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] Result<std::unique_ptr<Connection>> connect();
  void give_back(std::unique_ptr<Connection> connection);

  const ConnectionOptions options_;
  const int connections_max_;
  const std::string what_;
  const std::string setting_;
  Logger& log_;
  Counter& connects_;
  Counter& connect_failures_;
  Counter& losses_;

  std::mutex mutex_;  // guards all below
  std::condition_variable given_back_;
  std::vector<std::unique_ptr<Connection>> idle_;
  int in_use_ = 0;
  std::optional<Error> away_;  // why the last attempt to connect failed
  Clock::time_point tried_at_{};
};

}  // namespace wfo::store::postgres
