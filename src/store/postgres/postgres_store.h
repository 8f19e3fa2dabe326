#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "events/contracts.h"
#include "store/event_log.h"
#include "store/store.h"

namespace wfo::store::postgres {

struct PostgresStoreConfig {
  /// A connection string of libpq's: `postgresql://user@host:port/database?option=value`, or `key=value …`. Its options
  /// are libpq's (sslmode, sslrootcert, several hosts, …); what it does not say of `connect_timeout`, keepalives,
  /// `tcp_user_timeout`, `application_name` and, in `options` (`-c statement_timeout=…`), of the timeouts below comes
  /// from below, and `target_session_attrs` is then `read-write`.
  std::string url = {};
  std::string schema = "wfo";                       // 1..63 of a-z, 0-9, _ and -, not beginning with pg_
  int connections = 8;                              // 1..100: transactions and reads at once; and one for leases
  std::chrono::seconds connect_timeout{5};          // 2 s..300 s, for each host
  milliseconds statement_timeout{30'000};           // 100 ms..1 h: a statement that takes longer fails
  milliseconds lock_timeout{10'000};                // 100 ms..1 h: so does one that waits longer for a lock
  milliseconds idle_in_transaction_timeout{5'000};  // 100 ms..1 h: a process that stands still loses its locks
  milliseconds tcp_timeout{10'000};                 // 1 s..10 min: a peer that does not answer is given up
  std::string application = "wfo";                  // the default application_name
  const Clock* lease_clock = nullptr;               // null: leases run on the database's clock. For tests
  bool outbox = true;                               // false: nothing awaits publication. For tests
};

/// Errors: `invalid_argument` names the field, its value (but not the password) and what is allowed.
[[nodiscard]] Result<void> check(const PostgresStoreConfig& config);

/// The store in a schema of a PostgreSQL database (docs/adr/0008-postgres-store.md), for any number of processes at
/// once. A body runs on its caller's thread, on a connection of its own, in READ COMMITTED. It is run again, a few
/// times, when the database ended it for the sake of others (deadlock, lock timeout). What it appends to the log is
/// written with the commit, so the outbox does not show it before. An exception that a body throws comes out of its
/// `transact`, and nothing is changed.
///
/// While the server is away, or takes no writes, all calls give `unavailable` with server and reason, and work again
/// when it does; nobody has to do anything. Where the connection was lost while a commit was on its way, nobody knows
/// whether it took effect, and the message says so: come again, the inbox and the runs' versions tell.
///
/// At most `connections` bodies run at once; others wait for their turn up to 10 s, then it is `unavailable`. Leases
/// and looks at the end of the log go over one connection more, so that however busy the store is nobody loses a lease.
class PostgresStore final : public Store, public LogReader {
 public:
  /// Connects, brings the schema to the newest version, making it if need be, and says in the log which server,
  /// database and version it found. All that is handed in must outlive the store.
  /// Errors: `invalid_argument` the configuration, the role's rights, a server or an encoding that will not do;
  /// `unavailable` the server cannot be reached or does not let us in; `conflict` the schema is newer than this
  /// program. Each says what to do; none holds the password.
  [[nodiscard]] static Result<std::unique_ptr<PostgresStore>> open(PostgresStoreConfig config,
                                                                   const events::Contracts& contracts,
                                                                   const Clock& clock, Logger& log, Metrics& metrics);
  /// Nobody may be in a call. Where the server does not answer it may take `connect_timeout`, for each host.
  ~PostgresStore() override;

  /// For people: `PostgreSQL 15.4 at host:5432, database d, schema wfo version 1`.
  [[nodiscard]] const std::string& description() const;

  Result<void> transact(FunctionRef<Result<void>(Transaction&)> body) override;
  /// A REPEATABLE READ READ ONLY transaction.
  Result<void> read(FunctionRef<Result<void>(const Transaction&)> body) override;
  Result<void> admission() override;
  /// An answer is waited for as long as leases last, and not much longer.
  Result<std::optional<Lease>> acquire_lease(std::string_view name, std::string_view holder,
                                             milliseconds length) override;
  Result<void> release_lease(std::string_view name, Epoch epoch) override;

  Result<LogPage> read(Sequence after, const TypeFilter& filter, std::size_t count_max, std::size_t bytes_max) override;
  /// What other processes commit is noticed within 100 ms. Keeps to `wait` and `stop` also where the server does not
  /// answer.
  void wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) override;
  /// Where the database is away, what was known last.
  Sequence trimmed_through() override;
  Sequence last() override;

 private:
  struct State;
  explicit PostgresStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::store::postgres
