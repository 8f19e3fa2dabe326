#include "store/postgres/detail/pool.h"

#include <algorithm>
#include <utility>

namespace wfo::store::postgres {

ConnectionOptions for_leases(ConnectionOptions options) {
  constexpr milliseconds kTimeout{3'000};
  options.statement_timeout = std::min(options.statement_timeout, kTimeout);
  options.lock_timeout = std::min(options.lock_timeout, kTimeout);
  options.answer_margin = milliseconds(1'000);
  return options;
}

Pool::Pool(ConnectionOptions options, int connections, std::string what, Logger& log, Metrics& metrics,
           std::string setting)
    : options_(std::move(options)),
      connections_max_(connections),
      what_(std::move(what)),
      setting_(std::move(setting)),
      log_(log),
      connects_(metrics.counter("postgres_connects_total", "Connections made to PostgreSQL", {{"part", what_}})),
      connect_failures_(metrics.counter("postgres_connect_failures_total",
                                        "Connections to PostgreSQL that could not be made", {{"part", what_}})),
      losses_(metrics.counter("postgres_connections_lost_total",
                              "Connections to PostgreSQL that were lost or thrown away", {{"part", what_}})) {}

void Pool::add(Connection connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::make_unique<Connection>(std::move(connection)));
}

Result<Pool::Lease> Pool::take(std::chrono::milliseconds wait) {
  {
    std::unique_lock lock(mutex_);
    if (!given_back_.wait_for(lock, wait, [&] { return in_use_ < connections_max_; })) {
      return fail(ErrorCode::unavailable, "{}: all connections to PostgreSQL ({}) are in use, for {} now{}{}{}", what_,
                  connections_max_, format_duration(wait), setting_.empty() ? "" : "; ", setting_,
                  setting_.empty() ? "" : " allows more");
    }
    while (!idle_.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle_.back());
      idle_.pop_back();
      if (connection->looks_alive()) {
        ++in_use_;
        return Lease(*this, std::move(connection));
      }
      losses_.add();
    }
    if (away_ && Clock::now() - tried_at_ < kRetryAfter) return std::unexpected(*away_);
    ++in_use_;
  }
  auto connection = connect();
  if (connection) return Lease(*this, *std::move(connection));
  const std::lock_guard lock(mutex_);
  --in_use_;
  given_back_.notify_one();
  return std::unexpected(std::move(connection).error());
}

Result<std::unique_ptr<Connection>> Pool::connect() {
  auto connection = Connection::open(options_);
  const std::lock_guard lock(mutex_);
  tried_at_ = Clock::now();
  if (!connection) {
    connect_failures_.add();
    // Once running, whatever keeps us out is the world's fault, which may be mended there.
    Error error = std::move(connection).error();
    error.code = ErrorCode::unavailable;
    if (!away_) log_.warn("{}: {}", what_, error.message);
    away_ = error;
    return std::unexpected(std::move(error));
  }
  connects_.add();
  if (away_) log_.info("{}: PostgreSQL at {} is there again", what_, connection->server().address);
  away_.reset();
  return std::make_unique<Connection>(*std::move(connection));
}

void Pool::give_back(std::unique_ptr<Connection> connection) {
  std::vector<std::unique_ptr<Connection>> gone;  // closed without the lock
  const std::lock_guard lock(mutex_);
  --in_use_;
  if (connection->usable()) {
    idle_.push_back(std::move(connection));
  } else {
    gone = std::exchange(idle_, {});
    gone.push_back(std::move(connection));
    losses_.add(static_cast<double>(gone.size()));
  }
  given_back_.notify_one();
}

Result<void> Pool::healthy() {
  {
    const std::lock_guard lock(mutex_);
    if (!away_) return {};
    if (Clock::now() - tried_at_ < kRetryAfter) return std::unexpected(*away_);
  }
  TRY(take(std::chrono::milliseconds(0)));
  return {};
}

}  // namespace wfo::store::postgres
