#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "store/ledger_store.h"

namespace wfo::store::postgres {

struct PostgresLedgerConfig {
  /// As `PostgresStoreConfig::url`; may name another database and another role than that of the store.
  std::string url = {};
  std::string schema = "wfo_ledger";        // 1..63 of a-z, 0-9, _ and -, not beginning with pg_
  int connections = 3;                      // 1..100: calls at once; and one for the lease
  std::chrono::seconds connect_timeout{5};  // 2 s..300 s, for each host
  milliseconds statement_timeout{30'000};   // 100 ms..1 h: a statement that takes longer fails
  milliseconds lock_timeout{10'000};        // 100 ms..1 h: so does one that waits longer for a lock
  milliseconds tcp_timeout{10'000};         // 1 s..10 min: a peer that does not answer is given up
  std::string application = "wfo";          // the default application_name
};

/// Errors: `invalid_argument` names the field, its value and what is allowed; of `url` never the password.
[[nodiscard]] Result<void> check(const PostgresLedgerConfig& config);

/// The ledger in a schema of its own in PostgreSQL, which several processes may share
/// (docs/adr/0010-postgres-ledger.md). Any thread; at most `connections` calls at once, others wait, up to 10 s, and
/// are then `unavailable`. The lease goes over one connection more, so that no searches cost it.
///
/// An append is one statement, so one round trip and one transaction: no lock is ever held while the server waits for
/// this process, which may have been paused. Appends of one tenant go one after the other, whoever makes them, and its
/// indexes have no gaps. A lease runs on the server's clock.
///
/// When the connection is lost in the middle of an append nobody knows whether it took effect; the error is
/// `unavailable`. It is safe to append the same again: entries that are there already are `repeated`. (What was set
/// aside is set aside once more: the quarantine takes whatever comes.)
///
/// A batch of more than 256 MiB is refused with `invalid_argument`: hand it over in smaller ones.
class PostgresLedger final : public LedgerStore {
 public:
  /// Connects, brings the schema to the newest version and logs what it found: server, database, schema, version. All
  /// that is handed in must outlive the ledger. Errors: `invalid_argument` the configuration, or the role lacks a
  /// right: says which; `unavailable` the server cannot be reached or does not let us in: says why; `conflict` the
  /// schema is newer than this program. No message holds the password.
  [[nodiscard]] static Result<std::unique_ptr<PostgresLedger>> open(PostgresLedgerConfig config, Logger& log,
                                                                    Metrics& metrics);
  ~PostgresLedger() override;

  /// For people: `PostgreSQL 15.4 at host:5432, database audit, schema wfo_ledger version 1`.
  [[nodiscard]] const std::string& description() const;

  Result<std::optional<Lease>> acquire(std::string_view holder, milliseconds length) override;
  Result<void> release(Epoch epoch) override;
  Result<std::vector<LedgerOutcome>> append(std::span<const LedgerRecord> records,
                                            std::span<const QuarantinedMessage> unreadable, std::string_view consumer,
                                            Sequence position, std::optional<Epoch> epoch = std::nullopt) override;
  Result<Sequence> position(std::string_view consumer) override;
  Result<LedgerIndex> size(const TenantId& tenant) override;
  Result<std::vector<TenantId>> tenants() override;
  Result<std::vector<LedgerEntry>> search(const LedgerQuery& query) override;
  Result<std::vector<QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant, std::int64_t after,
                                                      std::size_t limit) override;

 private:
  struct State;
  explicit PostgresLedger(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace wfo::store::postgres
