#include "store/postgres/postgres_ledger.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "embedded/postgres_ledger_migrations.h"
#include "store/postgres/detail/check.h"
#include "store/postgres/detail/connection.h"
#include "store/postgres/detail/migrate.h"
#include "store/postgres/detail/pool.h"
#include "store/postgres/detail/rights.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

constexpr std::string_view kAppending = "append";  // the lease; `append_entries` checks it
// A statement of 1 GiB is more than the server takes, and would end the connection.
constexpr std::size_t kBatchBytesMax = std::size_t{256} << 20;

// Appending needs no right to change or delete an entry.
constexpr TableRights kRights[] = {{"leases", "SELECT INSERT UPDATE"},   {"tenants", "SELECT INSERT UPDATE"},
                                   {"event_types", "SELECT INSERT"},     {"entries", "SELECT INSERT"},
                                   {"blocks", "SELECT INSERT UPDATE"},   {"quarantine", "SELECT INSERT"},
                                   {"positions", "SELECT INSERT UPDATE"}};

/// The places of things in an array of distinct ones, from 1, as PostgreSQL counts.
template <class T>
class Places {
 public:
  std::int64_t of(const T& thing) {
    const auto [known, added] = places_.try_emplace(thing, static_cast<std::int64_t>(things_.size()) + 1);
    if (added) things_.push_back(thing);
    return known->second;
  }
  [[nodiscard]] const std::vector<T>& things() const { return things_; }

 private:
  std::unordered_map<T, std::int64_t> places_;
  std::vector<T> things_;
};

/// `append_entries` with its parameters.
Call append_call(std::span<const LedgerRecord> records, std::span<const QuarantinedMessage> unreadable,
                 std::string_view consumer, Sequence position, std::optional<Epoch> epoch) {
  Places<TenantId> tenants;
  Places<std::string> types;
  std::vector<std::unordered_set<EventId>> seen;  // of each tenant
  Array tenant_of(Type::bigint);
  Array type_of(Type::bigint);
  Array ranks(Type::bigint);
  Array event_ids(Type::uuid);
  Array timestamps(Type::bigint);
  Array received_ats(Type::bigint);
  Array workflows(Type::uuid);
  Array opportunities(Type::uuid);
  Array payloads(Type::bytea);
  for (const LedgerRecord& record : records) {
    const events::Event& event = *record.event;
    const std::int64_t tenant = tenants.of(event.tenant());
    seen.resize(tenants.things().size());
    auto& seen_of_tenant = seen[static_cast<std::size_t>(tenant - 1)];
    const std::size_t rank = seen_of_tenant.size();
    tenant_of.add(tenant);
    type_of.add(types.of(event.type()));
    if (seen_of_tenant.insert(event.id()).second) {
      ranks.add(rank);
    } else {
      ranks.add_null();
    }
    event_ids.add(event.id());
    timestamps.add(event.timestamp());
    received_ats.add(record.received_at);
    workflows.add(record.workflow);
    opportunities.add(record.opportunity);
    payloads.add_bytes(event.bytes());
  }
  Array tenant_ids(Type::uuid);
  for (const TenantId& tenant : tenants.things()) tenant_ids.add(tenant);
  Array type_names(Type::text);
  for (const std::string& type : types.things()) type_names.add_text(type);

  Array odd_tenants(Type::uuid);
  Array odd_event_ids(Type::uuid);
  Array odd_reasons(Type::text);
  Array odd_received(Type::bigint);
  Array odd_payloads(Type::bytea);
  for (const QuarantinedMessage& message : unreadable) {
    odd_tenants.add(message.tenant);
    odd_event_ids.add(message.event_id);
    odd_reasons.add_text(as_text(message.reason));
    odd_received.add(message.received_at);
    odd_payloads.add_bytes(message.bytes);
  }

  Call call{
      "SELECT append_entries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"};
  call.params.add(epoch).add(tenant_ids).add(type_names).add(tenant_of).add(type_of).add(ranks).add(event_ids);
  call.params.add(timestamps).add(received_ats).add(workflows).add(opportunities).add(payloads);
  call.params.add(odd_tenants).add(odd_event_ids).add(odd_reasons).add(odd_received).add(odd_payloads);
  call.params.add_text(consumer).add(position);
  return call;
}

Result<LedgerOutcome> outcome_of(char letter) {
  switch (letter) {
    case 'a':
      return LedgerOutcome::appended;
    case 'r':
      return LedgerOutcome::repeated;
    case 'f':
      return LedgerOutcome::forged;
    default:
      return fail(ErrorCode::corruption, "ledger: append_entries answered '{}'", letter);
  }
}

/// Errors: `invalid_argument`, so that the batch comes again in smaller ones.
Result<void> check_size(std::span<const LedgerRecord> records, std::span<const QuarantinedMessage> unreadable) {
  std::size_t bytes = 0;
  for (const LedgerRecord& record : records) bytes += record.event->bytes().size();
  for (const QuarantinedMessage& message : unreadable) bytes += message.bytes.size() + message.reason.size();
  if (bytes <= kBatchBytesMax) return {};
  return fail(ErrorCode::invalid_argument, "ledger: a batch of {} messages has {} bytes; allowed: {}",
              records.size() + unreadable.size(), bytes, kBatchBytesMax);
}

LedgerEntry read_entry(const Row& row, const TenantId& tenant) {
  LedgerEntry entry;
  entry.tenant = tenant;
  entry.index = row.integer(0);
  entry.event_id = row.id<EventId>(1);
  entry.type = row.text(2);
  entry.timestamp = row.timestamp(3);
  entry.received_at = row.timestamp(4);
  entry.workflow = row.optional_id<WorkflowId>(5);
  entry.opportunity = row.optional_id<OpportunityId>(6);
  entry.bytes = row.text(7);
  return entry;
}

}  // namespace

Result<void> check(const PostgresLedgerConfig& config) {
  constexpr std::string_view kThing = "ledger";
  TRY(check_url(kThing, config.url));
  TRY(check_schema(kThing, config.schema));
  return check_bounds(kThing, {.connections = config.connections,
                               .connect_timeout = config.connect_timeout,
                               .statement_timeout = config.statement_timeout,
                               .lock_timeout = config.lock_timeout,
                               .idle_in_transaction_timeout = ConnectionOptions().idle_in_transaction_timeout,
                               .tcp_timeout = config.tcp_timeout});
}

struct PostgresLedger::State {
  State(const ConnectionOptions& options, int connections, Logger& logger, Metrics& metrics)
      : log(logger),
        pool(options, connections, "ledger", logger, metrics, "ledger.connections"),
        spare(for_leases(options), 1, "ledger", Logger::silent(), metrics),
        commit_failures(metrics.counter("ledger_store_commit_failures_total",
                                        "Commits of the ledger that the disk or the database refused")),
        commit_seconds(metrics.histogram("ledger_store_commit_seconds",
                                         "How long an append to the ledger took until it was durable")) {}

  /// One statement on a connection of the pool.
  Result<Rows> run(const char* sql, Params params = {}) {
    TRY_ASSIGN(auto rows, run(Call{sql, std::move(params)}));
    return rows;
  }
  Result<Rows> run(const Call& call) {
    TRY_ASSIGN(const Pool::Lease connection, pool.take());
    TRY_ASSIGN(auto rows, connection->run_all({&call, 1}));
    return std::move(rows.front());
  }

  Logger& log;
  Pool pool;
  Pool spare;  // one connection, for the lease
  Counter& commit_failures;
  Histogram& commit_seconds;
  std::string description;
  std::atomic<bool> failing{false};
};

PostgresLedger::PostgresLedger(std::unique_ptr<State> state) : state_(std::move(state)) {}
PostgresLedger::~PostgresLedger() = default;

Result<std::unique_ptr<PostgresLedger>> PostgresLedger::open(PostgresLedgerConfig config, Logger& log,
                                                             Metrics& metrics) {
  TRY(check(config));
  ConnectionOptions options{.url = config.url,
                            .schema = config.schema,
                            .connect_timeout = config.connect_timeout,
                            .statement_timeout = config.statement_timeout,
                            .lock_timeout = config.lock_timeout,
                            .tcp_timeout = config.tcp_timeout,
                            .application = config.application};
  const auto connect = [&]() -> Result<std::pair<Connection, int>> {
    TRY_ASSIGN(Connection connection, Connection::open(options));
    TRY_ASSIGN(const int version, migrate(connection, as_migrations(embedded::postgres_ledger_migrations()), "ledger"));
    TRY(check_rights(connection, kRights));
    return std::pair(std::move(connection), version);
  };
  auto connected = connect();
  if (!connected) {
    const bool says_what = connected.error().message.starts_with("ledger");
    return std::unexpected(says_what ? connected.error() : with_context(connected.error(), "ledger"));
  }
  auto& [connection, version] = *connected;
  const Connection::Server& server = connection.server();
  auto state = std::make_unique<State>(options, config.connections, log, metrics);
  state->description = fmt::format("PostgreSQL {} at {}, database {}, schema {} version {}", server.version,
                                   server.address, server.database, config.schema, version);
  log.info("ledger: {}", state->description);
  if (!server.fsync) {
    log.warn("ledger: fsync is off at {}: a power cut may take back what was recorded", server.address);
  }
  state->pool.add(std::move(connection));
  return std::unique_ptr<PostgresLedger>(new PostgresLedger(std::move(state)));
}

const std::string& PostgresLedger::description() const { return state_->description; }

Result<std::optional<Lease>> PostgresLedger::acquire(std::string_view holder, milliseconds length) {
  TRY_ASSIGN(const Pool::Lease connection, state_->spare.take());
  return LeasesTable(*connection, nullptr).acquire(kAppending, holder, length);
}

Result<void> PostgresLedger::release(Epoch epoch) {
  TRY_ASSIGN(const Pool::Lease connection, state_->spare.take());
  return LeasesTable(*connection, nullptr).release(kAppending, epoch);
}

Result<std::vector<LedgerOutcome>> PostgresLedger::append(std::span<const LedgerRecord> records,
                                                          std::span<const QuarantinedMessage> unreadable,
                                                          std::string_view consumer, Sequence position,
                                                          std::optional<Epoch> epoch) {
  TRY(check_text("ledger", "consumer", consumer));
  TRY(check_size(records, unreadable));
  State& state = *state_;
  const auto begun_at = std::chrono::steady_clock::now();
  const auto answer = state.run(append_call(records, unreadable, consumer, position, epoch));
  if (!answer) {
    state.commit_failures.add();
    // Once, not for each try while the server is away.
    if (!state.failing.exchange(true)) state.log.error("ledger: append failed: {}", answer.error().message);
    return std::unexpected(answer.error());
  }
  if (state.failing.exchange(false)) state.log.info("ledger: appending again");
  const Row row = (*answer)[0];
  if (row.is_null(0)) {
    return fail(ErrorCode::conflict, "ledger: the right to append is not held in epoch {} any more", epoch.value_or(0));
  }
  const std::string_view letters = row.text_view(0);
  INVARIANT(letters.size() == records.size());
  std::vector<LedgerOutcome> outcomes;
  outcomes.reserve(records.size());
  for (const char letter : letters) {
    TRY_ASSIGN(const LedgerOutcome outcome, outcome_of(letter));
    outcomes.push_back(outcome);
  }
  state.commit_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_at).count());
  return outcomes;
}

Result<Sequence> PostgresLedger::position(std::string_view consumer) {
  if (!is_text(consumer)) return 0;
  TRY_ASSIGN(const Rows rows,
             state_->run("SELECT position FROM positions WHERE consumer = $1", Params().add_text(consumer)));
  return rows.empty() ? 0 : rows[0].integer(0);
}

Result<LedgerIndex> PostgresLedger::size(const TenantId& tenant) {
  TRY_ASSIGN(const Rows rows, state_->run("SELECT size FROM tenants WHERE id = $1", Params().add(tenant)));
  return rows.empty() ? 0 : rows[0].integer(0);
}

Result<std::vector<TenantId>> PostgresLedger::tenants() {
  TRY_ASSIGN(const Rows rows, state_->run("SELECT id FROM tenants ORDER BY tenant"));
  std::vector<TenantId> tenants;
  tenants.reserve(rows.size());
  for (const Row row : rows) tenants.push_back(row.id<TenantId>(0));
  return tenants;
}

Result<std::vector<LedgerEntry>> PostgresLedger::search(const LedgerQuery& query) {
  std::vector<LedgerEntry> entries;
  if (!is_text(query.type)) return entries;  // nothing is called that
  Params params;
  params.add(query.tenant).add(std::max<LedgerIndex>(query.after + 1, 0)).add(query.limit).add_text(query.type);
  params.add(query.from.value_or(Timestamp::min())).add(query.to.value_or(Timestamp::max()));
  params.add(query.workflow).add(query.opportunity).add(query.bytes_max);
  // The length of a value is known without fetching it: what `bytes_max` leaves out is never read.
  TRY_ASSIGN(const Rows rows,
             state_->run("SELECT e.index, e.event_id, (SELECT y.name FROM event_types y WHERE y.type = e.type), "
                         "e.timestamp, e.received_at, e.workflow, e.opportunity, e.bytes "
                         "FROM (SELECT f.*, sum(length(f.bytes)) OVER in_order AS total, "
                         "row_number() OVER in_order AS place FROM find_entries($1, $2, $3, $4, $5, $6, $7, $8) AS f "
                         "WINDOW in_order AS (ORDER BY f.index ROWS UNBOUNDED PRECEDING)) AS e "
                         "WHERE e.total <= $9 OR e.place = 1 ORDER BY e.index",
                         std::move(params)));
  entries.reserve(rows.size());
  for (const Row row : rows) entries.push_back(read_entry(row, query.tenant));
  return entries;
}

Result<std::vector<QuarantinedMessage>> PostgresLedger::quarantined(const std::optional<TenantId>& tenant,
                                                                    std::int64_t after, std::size_t limit) {
#define WFO_QUARANTINED(condition)                                                                             \
  "SELECT message, tenant, event_id, reason, received_at, bytes FROM quarantine WHERE message > $1 " condition \
  " ORDER BY message LIMIT $2"
  Params params;
  params.add(after).add(limit);
  if (tenant) params.add(*tenant);
  TRY_ASSIGN(const Rows rows,
             state_->run(tenant ? WFO_QUARANTINED("AND tenant = $3") : WFO_QUARANTINED(""), std::move(params)));
#undef WFO_QUARANTINED
  std::vector<QuarantinedMessage> messages;
  messages.reserve(rows.size());
  for (const Row row : rows) {
    QuarantinedMessage message;
    message.id = row.integer(0);
    message.tenant = row.optional_id<TenantId>(1);
    message.event_id = row.optional_id<EventId>(2);
    message.reason = row.text(3);
    message.received_at = row.timestamp(4);
    message.bytes = row.text(5);
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace wfo::store::postgres
