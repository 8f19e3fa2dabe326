#include "store/sqlite/sqlite_ledger.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "embedded/ledger_migrations.h"
#include "store/sqlite/data_directory.h"
#include "store/sqlite/detail/check_range.h"
#include "store/sqlite/detail/connection.h"
#include "store/sqlite/detail/reader_pool.h"
#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {
namespace {

// entries.entry = tenant << kIndexBits | index; blocks.block = entry >> kBlockBits
constexpr int kIndexBits = 40;
constexpr int kBlockBits = 10;
constexpr std::int64_t kTenantsMax = std::int64_t{1} << (62 - kIndexBits);
constexpr std::size_t kKnownTenantsMax = 65'536;  // kept in memory by who appends
constexpr std::size_t kKnownTypesMax = 4'096;
constexpr std::string_view kAppending = "append";  // the lease

std::int64_t first_entry(std::int64_t tenant) { return tenant << kIndexBits; }
std::int64_t type_bit(std::int64_t type) { return static_cast<std::int64_t>(std::uint64_t{1} << (type & 63)); }

/// What is known of the entries of a block that one append adds.
struct Block {
  Timestamp first = Timestamp::max();
  Timestamp last = Timestamp::min();
  std::int64_t types = 0;
};

#define WFO_ENTRY_COLUMNS "e.entry, e.event_id, t.name, e.timestamp, e.received_at, e.workflow, e.opportunity, e.bytes"
#define WFO_ENTRY_FROM " FROM entries e JOIN event_types t ON t.type = e.type WHERE "
// ?1 and ?2: the entries between; ?3: how many; then what else is asked for.
#define WFO_ENTRY_FILTER                                                                                       \
  "e.entry >= ?1 AND e.entry < ?2 AND (?4 < 0 OR e.type = ?4) AND e.timestamp >= ?5 AND e.timestamp < ?6 AND " \
  "(?7 IS NULL OR e.opportunity = ?7) ORDER BY e.entry LIMIT ?3"

LedgerEntry read_entry(const Statement& row, const TenantId& tenant) {
  LedgerEntry entry;
  entry.tenant = tenant;
  entry.index = row.integer(0) & ((std::int64_t{1} << kIndexBits) - 1);
  entry.event_id = row.id<EventId>(1);
  entry.type = row.text(2);
  entry.timestamp = row.timestamp(3);
  entry.received_at = row.timestamp(4);
  entry.workflow = row.optional_id<WorkflowId>(5);
  entry.opportunity = row.optional_id<OpportunityId>(6);
  entry.bytes = row.text(7);
  return entry;
}

/// The first column of the only row, or nothing if there is none. `statement` is bound.
Result<std::optional<std::int64_t>> only_integer(Statement& statement) {
  TRY_ASSIGN(const bool row, statement.step());
  if (!row) return std::nullopt;
  const bool null = statement.is_null(0);
  const std::int64_t value = statement.integer(0);
  statement.reset();
  return null ? std::nullopt : std::optional(value);
}

Result<std::optional<std::int64_t>> tenant_row(Connection& connection, const TenantId& tenant) {
  TRY_ASSIGN(Statement* const find, connection.statement("SELECT tenant FROM tenants WHERE id = ?"));
  return only_integer(find->bind(tenant));
}

/// How many entries a tenant has: they have no gaps.
Result<LedgerIndex> entry_count(Connection& connection, std::int64_t tenant) {
  TRY_ASSIGN(Statement* const last,
             connection.statement("SELECT max(entry) FROM entries WHERE entry >= ? AND entry < ?"));
  TRY_ASSIGN(const auto entry, only_integer(last->bind(first_entry(tenant)).bind(first_entry(tenant + 1))));
  return entry ? *entry - first_entry(tenant) + 1 : 0;
}

/// What one transaction of the appending connection does.
class Appender {
 public:
  explicit Appender(Connection& connection) : connection_(connection) {}

  Result<std::vector<LedgerOutcome>> append(std::span<const LedgerRecord> records,
                                            std::span<const QuarantinedMessage> unreadable, std::string_view consumer,
                                            Sequence position) {
    blocks_.clear();
    std::vector<LedgerOutcome> outcomes;
    outcomes.reserve(records.size());
    for (const LedgerRecord& record : records) {
      TRY_ASSIGN(const LedgerOutcome outcome, append_one(record));
      outcomes.push_back(outcome);
    }
    TRY(write_blocks());
    for (const QuarantinedMessage& message : unreadable) TRY(quarantine(message));
    TRY_ASSIGN(Statement* const move,
               connection_.statement("INSERT INTO positions (consumer, position) VALUES (?, ?) "
                                     "ON CONFLICT (consumer) DO UPDATE SET position = excluded.position"));
    TRY(move->bind_text(consumer).bind(position).run());
    return outcomes;
  }
  /// After a rollback: what was learnt in the transaction is void.
  void forget() {
    tenants_.clear();
    types_.clear();
  }

 private:
  struct Tenant {
    std::int64_t row = 0;
    LedgerIndex size = 0;
  };

  Result<Tenant*> tenant_of(const TenantId& id) {
    if (const auto known = tenants_.find(id); known != tenants_.end()) return &known->second;
    TRY_ASSIGN(auto row, tenant_row(connection_, id));
    if (!row) {
      TRY_ASSIGN(Statement* const add, connection_.statement("INSERT INTO tenants (id) VALUES (?)"));
      TRY(add->bind(id).run());
      row = sqlite3_last_insert_rowid(connection_.database().handle());
    }
    if (*row >= kTenantsMax)
      return fail(ErrorCode::unavailable, "the ledger has no place for more than {} tenants", *row);
    TRY_ASSIGN(const LedgerIndex size, entry_count(connection_, *row));
    return &tenants_.emplace(id, Tenant{*row, size}).first->second;
  }

  Result<std::int64_t> type_of(const std::string& name) {
    if (const auto known = types_.find(name); known != types_.end()) return known->second;
    TRY_ASSIGN(Statement* const add, connection_.statement("INSERT OR IGNORE INTO event_types (name) VALUES (?)"));
    TRY(add->bind_text(name).run());
    TRY_ASSIGN(Statement* const find, connection_.statement("SELECT type FROM event_types WHERE name = ?"));
    TRY_ASSIGN(const auto type, only_integer(find->bind_text(name)));
    INVARIANT(type.has_value());
    types_.emplace(name, *type);
    return *type;
  }

  Result<LedgerOutcome> append_one(const LedgerRecord& record) {
    const events::Event& event = *record.event;
    TRY_ASSIGN(Tenant* const tenant, tenant_of(event.tenant()));
    TRY_ASSIGN(const std::int64_t type, type_of(event.type()));
    const std::int64_t entry = first_entry(tenant->row) + tenant->size;
    TRY_ASSIGN(Statement* const insert,
               connection_.statement("INSERT INTO entries (entry, tenant, event_id, type, timestamp, received_at, "
                                     "workflow, opportunity, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                                     "ON CONFLICT (event_id, tenant) DO NOTHING"));
    insert->bind(entry).bind(tenant->row).bind(event.id()).bind(type).bind(event.timestamp()).bind(record.received_at);
    TRY(insert->bind(record.workflow).bind(record.opportunity).bind_blob(event.bytes()).run());
    if (connection_.database().changes() == 0) return known_id(record, tenant->row);
    ++tenant->size;
    Block& block = block_of(entry >> kBlockBits);
    block.first = std::min(block.first, event.timestamp());
    block.last = std::max(block.last, event.timestamp());
    block.types |= type_bit(type);
    return LedgerOutcome::appended;
  }

  /// The id is known: is it the same event? The bytes themselves are compared, which no digest betters.
  Result<LedgerOutcome> known_id(const LedgerRecord& record, std::int64_t tenant) {
    const events::Event& event = *record.event;
    TRY_ASSIGN(Statement* const find,
               connection_.statement("SELECT entry, bytes FROM entries WHERE event_id = ? AND tenant = ?"));
    TRY_ASSIGN(const bool row, find->bind(event.id()).bind(tenant).step());
    INVARIANT(row);
    const bool same = find->text_view(1) == event.bytes();
    const LedgerIndex index = find->integer(0) - first_entry(tenant);
    find->reset();
    if (same) return LedgerOutcome::repeated;
    QuarantinedMessage message;
    message.tenant = event.tenant();
    message.event_id = event.id();
    message.reason =
        fmt::format("entry {} of the ledger has the same event id {} with other bytes", index, event.id().to_string());
    message.received_at = record.received_at;
    message.bytes = event.bytes();
    TRY(quarantine(message));
    return LedgerOutcome::forged;
  }

  Result<void> quarantine(const QuarantinedMessage& message) {
    TRY_ASSIGN(Statement* const insert,
               connection_.statement("INSERT INTO quarantine (tenant, event_id, reason, received_at, bytes) "
                                     "VALUES (?, ?, ?, ?, ?)"));
    const std::string reason = as_text(message.reason);
    insert->bind(message.tenant).bind(message.event_id).bind_text(reason).bind(message.received_at);
    return insert->bind_blob(message.bytes).run();
  }

  Block& block_of(std::int64_t number) {
    // Consecutive records mostly fall into the block of one before.
    for (auto known = blocks_.rbegin(); known != blocks_.rend(); ++known) {
      if (known->first == number) return known->second;
    }
    return blocks_.emplace_back(number, Block{}).second;
  }

  Result<void> write_blocks() {
    TRY_ASSIGN(Statement* const upsert,
               connection_.statement("INSERT INTO blocks (block, first, last, types) VALUES (?, ?, ?, ?) "
                                     "ON CONFLICT (block) DO UPDATE SET first = min(first, excluded.first), "
                                     "last = max(last, excluded.last), types = types | excluded.types"));
    for (const auto& [number, block] : blocks_) {
      TRY(upsert->bind(number).bind(block.first).bind(block.last).bind(block.types).run());
    }
    return {};
  }

  Connection& connection_;
  std::unordered_map<TenantId, Tenant> tenants_;
  std::unordered_map<std::string, std::int64_t> types_;
  std::vector<std::pair<std::int64_t, Block>> blocks_;  // that this transaction adds to

 public:
  /// Between two transactions: keeps the memory bounded.
  void tidy() {
    if (tenants_.size() > kKnownTenantsMax) tenants_.clear();
    if (types_.size() > kKnownTypesMax) types_.clear();
  }
};

/// One search on one snapshot.
class Search {
 public:
  Search(Connection& connection, const LedgerQuery& query) : connection_(connection), query_(query) {}

  Result<std::vector<LedgerEntry>> run() {
    TRY_ASSIGN(const auto tenant, tenant_row(connection_, query_.tenant));
    if (!tenant) return found_;
    if (!query_.type.empty()) {
      TRY_ASSIGN(Statement* const find, connection_.statement("SELECT type FROM event_types WHERE name = ?"));
      TRY_ASSIGN(const auto type, only_integer(find->bind_text(query_.type)));
      if (!type) return found_;
      type_ = *type;
    }
    if (query_.from) from_ = *query_.from;
    if (query_.to) to_ = *query_.to;
    const std::int64_t begin = first_entry(*tenant) + std::max<LedgerIndex>(query_.after + 1, 0);
    const std::int64_t end = first_entry(*tenant + 1);
    if (begin >= end) return found_;

    if (query_.workflow) {
      TRY_ASSIGN(Statement* const select, connection_.statement("SELECT " WFO_ENTRY_COLUMNS WFO_ENTRY_FROM
                                                                "e.workflow = ?8 AND " WFO_ENTRY_FILTER));
      TRY(collect(*select, begin, end));
    } else if (query_.opportunity) {
      TRY_ASSIGN(Statement* const select, connection_.statement("SELECT " WFO_ENTRY_COLUMNS WFO_ENTRY_FROM
                                                                "e.opportunity = ?7 AND " WFO_ENTRY_FILTER));
      TRY(collect(*select, begin, end));
    } else if (type_ >= 0 || query_.from || query_.to) {
      TRY(collect_from_blocks(begin, end));
    } else {
      TRY(collect_range(begin, end));
    }
    return std::move(found_);
  }

 private:
  Result<void> collect(Statement& select, std::int64_t begin, std::int64_t end) {
    select.bind(begin).bind(end).bind(static_cast<std::int64_t>(query_.limit - found_.size()));
    select.bind(type_).bind(from_).bind(to_).bind(query_.opportunity);
    if (query_.workflow) select.bind(*query_.workflow);
    for (;;) {
      TRY_ASSIGN(const bool more, select.step());
      if (!more) return {};
      const std::size_t bytes = select.text_view(7).size();
      if (!found_.empty() && bytes > query_.bytes_max - bytes_) {
        select.reset();
        is_full_ = true;
        return {};
      }
      bytes_ += bytes;
      found_.push_back(read_entry(select, query_.tenant));
      is_full_ = bytes_ >= query_.bytes_max;
      if (is_full_) {
        select.reset();
        return {};
      }
    }
  }

  Result<void> collect_range(std::int64_t begin, std::int64_t end) {
    TRY_ASSIGN(Statement* const select,
               connection_.statement("SELECT " WFO_ENTRY_COLUMNS WFO_ENTRY_FROM WFO_ENTRY_FILTER));
    return collect(*select, begin, end);
  }

  Result<void> collect_from_blocks(std::int64_t begin, std::int64_t end) {
    TRY_ASSIGN(Statement* const blocks,
               connection_.statement("SELECT block FROM blocks WHERE block >= ? AND block < ? AND last >= ? AND "
                                     "first < ? AND (types & ?) <> 0 ORDER BY block"));
    blocks->bind(begin >> kBlockBits).bind(((end - 1) >> kBlockBits) + 1).bind(from_).bind(to_);
    blocks->bind(type_ >= 0 ? type_bit(type_) : std::int64_t{-1});
    while (found_.size() < query_.limit && !is_full_) {
      TRY_ASSIGN(const bool more, blocks->step());
      if (!more) return {};
      const std::int64_t block = blocks->integer(0);
      auto collected = collect_range(std::max(begin, block << kBlockBits), std::min(end, (block + 1) << kBlockBits));
      if (!collected) {
        blocks->reset();
        return collected;
      }
    }
    blocks->reset();
    return {};
  }

  Connection& connection_;
  const LedgerQuery& query_;
  std::int64_t type_ = -1;
  Timestamp from_ = Timestamp::min();
  Timestamp to_ = Timestamp::max();
  std::vector<LedgerEntry> found_;
  std::size_t bytes_ = 0;  // of what was found
  bool is_full_ = false;   // nothing more fits `bytes_max`
};

}  // namespace

Result<void> check(const SqliteLedgerConfig& config) {
  constexpr std::string_view kThing = "ledger";
  if (config.directory.empty()) return fail(ErrorCode::invalid_argument, "ledger: directory is empty");
  TRY(check_page_bytes(kThing, config.page_bytes));
  TRY(check_range(kThing, "cache_kib", config.cache_kib, 1'024, 67'108'864));
  TRY(check_range(kThing, "reader_cache_kib", config.reader_cache_kib, 256, 67'108'864));
  TRY(check_range(kThing, "readers", config.readers, 1, 64));
  return check_range(kThing, "checkpoint_pages", config.checkpoint_pages, 16, 1'000'000);
}

struct SqliteLedger::State {
  State(SqliteLedgerConfig wanted, Database writing, const Clock& clock, Logger& logger, Metrics& metrics)
      : config(std::move(wanted)),
        log(logger),
        connection(std::move(writing)),
        appender(connection),
        leases(connection, clock),
        commit_failures(metrics.counter("ledger_store_commit_failures_total",
                                        "Commits of the ledger that the disk or the database refused")),
        commit_seconds(metrics.histogram("ledger_store_commit_seconds",
                                         "How long an append to the ledger took until it was durable")),
        wal_pages(metrics.gauge("ledger_store_wal_pages", "Pages in the ledger's write-ahead log")) {}

  Result<void> run(const char* sql) {
    TRY_ASSIGN(Statement* const statement, connection.statement(sql));
    return statement->run();
  }
  /// Runs `body` in a transaction of the connection that appends. Under the mutex.
  template <class Body>
  auto transact(Body body) -> decltype(body()) {
    TRY(run("BEGIN IMMEDIATE"));
    auto result = body();
    const auto committed = result ? run("COMMIT") : Result<void>(std::unexpected(result.error()));
    if (committed) return result;
    if (connection.database().in_transaction()) static_cast<void>(run("ROLLBACK"));
    return std::unexpected(committed.error());
  }
  /// Runs `body` with a reader, on one snapshot.
  template <class Body>
  auto read(Body body) -> decltype(body(std::declval<Connection&>())) {
    const auto reader = readers.take();
    struct End {
      Statement& commit;
      ~End() { static_cast<void>(commit.run()); }
    };
    TRY_ASSIGN(Statement* const begin, reader->statement("BEGIN"));
    TRY_ASSIGN(Statement* const commit, reader->statement("COMMIT"));
    TRY(begin->run());
    const End end{*commit};
    return body(*reader);
  }

  const SqliteLedgerConfig config;
  Logger& log;

  std::mutex mutex;  // guards all but the readers: appending
  Connection connection;
  Appender appender;
  LeasesTable leases;
  Counter& commit_failures;
  Histogram& commit_seconds;
  Gauge& wal_pages;
  bool checkpoint_failing = false;

  // Closed before the writer: the last connection of a file moves its write-ahead log into it, if it may write.
  ReaderPool<Connection> readers;
};

SqliteLedger::SqliteLedger(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteLedger::~SqliteLedger() = default;

Result<std::unique_ptr<SqliteLedger>> SqliteLedger::open(SqliteLedgerConfig config, const Clock& clock, Logger& log,
                                                         Metrics& metrics) {
  TRY(check(config));
  const DatabaseOptions options{.file = config.directory / kLedgerFile,
                                .read_only = false,
                                .page_bytes = config.page_bytes,
                                .cache_kib = config.cache_kib,
                                .vfs = config.vfs};
  TRY_ASSIGN(Database database, Database::open(options));
  TRY(migrate(database, as_migrations(embedded::ledger_migrations()), options.file.string()));
  TRY(database.checkpoint_beyond(config.checkpoint_pages));
  auto state = std::make_unique<State>(std::move(config), std::move(database), clock, log, metrics);
  DatabaseOptions reading = options;
  reading.read_only = true;
  reading.cache_kib = state->config.reader_cache_kib;
  for (int i = 0; i < state->config.readers; ++i) {
    TRY_ASSIGN(Database reader, Database::open(reading));
    state->readers.add(std::make_unique<Connection>(std::move(reader)));
  }
  return std::unique_ptr<SqliteLedger>(new SqliteLedger(std::move(state)));
}

Result<std::optional<Lease>> SqliteLedger::acquire(std::string_view holder, milliseconds length) {
  const std::lock_guard lock(state_->mutex);
  return state_->transact([&] { return state_->leases.acquire(kAppending, holder, length); });
}

Result<void> SqliteLedger::release(Epoch epoch) {
  const std::lock_guard lock(state_->mutex);
  return state_->transact([&] { return state_->leases.release(kAppending, epoch); });
}

Result<std::vector<LedgerOutcome>> SqliteLedger::append(std::span<const LedgerRecord> records,
                                                        std::span<const QuarantinedMessage> unreadable,
                                                        std::string_view consumer, Sequence position,
                                                        std::optional<Epoch> epoch) {
  TRY(check_text("ledger", "consumer", consumer));
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  const auto begun_at = std::chrono::steady_clock::now();
  auto outcomes = state.transact([&]() -> Result<std::vector<LedgerOutcome>> {
    if (epoch) TRY(state.leases.check(kAppending, *epoch));
    return state.appender.append(records, unreadable, consumer, position);
  });
  if (!outcomes) {
    state.appender.forget();
    if (outcomes.error().code == ErrorCode::conflict) return outcomes;
    state.commit_failures.add();
    state.log.error("ledger: append failed: {}", outcomes.error().message);
    return outcomes;
  }
  state.appender.tidy();
  state.commit_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_at).count());
  state.wal_pages.set(state.connection.database().wal_pages());
  const auto checkpoint = state.connection.database().checkpoint_beyond(state.config.checkpoint_pages);
  if (!checkpoint && !state.checkpoint_failing) {
    state.log.warn("ledger: checkpoint failed: {}", checkpoint.error().message);
  }
  state.checkpoint_failing = !checkpoint;
  return outcomes;
}

Result<Sequence> SqliteLedger::position(std::string_view consumer) {
  return state_->read([&](Connection& connection) -> Result<Sequence> {
    TRY_ASSIGN(Statement* const find, connection.statement("SELECT position FROM positions WHERE consumer = ?"));
    TRY_ASSIGN(const auto position, only_integer(find->bind_text(consumer)));
    return position.value_or(0);
  });
}

Result<LedgerIndex> SqliteLedger::size(const TenantId& tenant) {
  return state_->read([&](Connection& connection) -> Result<LedgerIndex> {
    TRY_ASSIGN(const auto row, tenant_row(connection, tenant));
    if (!row) return 0;
    return entry_count(connection, *row);
  });
}

Result<std::vector<TenantId>> SqliteLedger::tenants() {
  return state_->read([&](Connection& connection) -> Result<std::vector<TenantId>> {
    TRY_ASSIGN(Statement* const select, connection.statement("SELECT id FROM tenants ORDER BY tenant"));
    std::vector<TenantId> tenants;
    for (;;) {
      TRY_ASSIGN(const bool more, select->step());
      if (!more) return tenants;
      tenants.push_back(select->id<TenantId>(0));
    }
  });
}

Result<std::vector<LedgerEntry>> SqliteLedger::search(const LedgerQuery& query) {
  return state_->read([&](Connection& connection) { return Search(connection, query).run(); });
}

Result<std::vector<QuarantinedMessage>> SqliteLedger::quarantined(const std::optional<TenantId>& tenant,
                                                                  std::int64_t after, std::size_t limit) {
  return state_->read([&](Connection& connection) -> Result<std::vector<QuarantinedMessage>> {
#define WFO_QUARANTINED(condition)                                                                                 \
  connection.statement(                                                                                            \
      "SELECT message, tenant, event_id, reason, received_at, bytes FROM quarantine WHERE message > ?1 " condition \
      " ORDER BY message LIMIT ?2")
    Statement* select = nullptr;
    if (tenant) {
      TRY_ASSIGN(select, WFO_QUARANTINED("AND tenant = ?3"));
    } else {
      TRY_ASSIGN(select, WFO_QUARANTINED(""));
    }
#undef WFO_QUARANTINED
    select->bind(after).bind(static_cast<std::int64_t>(limit));
    if (tenant) select->bind(*tenant);
    std::vector<QuarantinedMessage> messages;
    for (;;) {
      TRY_ASSIGN(const bool more, select->step());
      if (!more) return messages;
      QuarantinedMessage message;
      message.id = select->integer(0);
      message.tenant = select->optional_id<TenantId>(1);
      message.event_id = select->optional_id<EventId>(2);
      message.reason = select->text(3);
      message.received_at = select->timestamp(4);
      message.bytes = select->text(5);
      messages.push_back(std::move(message));
    }
  });
}

}  // namespace wfo::store::sqlite
