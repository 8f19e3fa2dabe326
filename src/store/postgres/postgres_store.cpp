#include "store/postgres/postgres_store.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "embedded/postgres_migrations.h"
#include "store/postgres/detail/check.h"
#include "store/postgres/detail/migrate.h"
#include "store/postgres/detail/pool.h"
#include "store/postgres/detail/rights.h"
#include "store/postgres/detail/tables.h"

namespace wfo::store::postgres {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kTriesMax = 6;                       // of a body that others got in the way of
constexpr std::chrono::seconds kTriesTimeMax{15};  // and no new one after that
constexpr milliseconds kPauseMax{8};               // between two, times the number of tries
constexpr milliseconds kPollMin{20};               // of the log, for what others commit
constexpr milliseconds kPollMax{100};              // while nothing comes

constexpr std::string_view kAll = "SELECT INSERT UPDATE DELETE";
constexpr TableRights kRights[] = {
    {"dead_letters", kAll}, {"definitions", kAll}, {"documents", kAll}, {"fires", kAll},
    {"inbox", kAll},        {"job_runs", kAll},    {"leases", kAll},    {"log", kAll},
    {"log_counter", kAll},  {"log_trimmed", kAll}, {"outbox", kAll},    {"opportunities", kAll},
    {"outcomes", kAll},     {"positions", kAll},   {"results", kAll},   {"risk_snapshots", kAll},
    {"runs", kAll},         {"schedules", kAll},   {"triggers", kAll},  {"triggers_noted_seq", "USAGE"}};

/// Ends the transaction of a connection, whatever way the call ends.
struct RollBack {
  Connection& connection;
  ~RollBack() { connection.roll_back(); }
};

void pause(int tries) {
  thread_local std::minstd_rand random(std::random_device{}());
  const auto longest = kPauseMax.count() * tries;
  std::this_thread::sleep_for(milliseconds(std::uniform_int_distribution<std::int64_t>(1, longest)(random)));
}

ConnectionOptions options_of(const PostgresStoreConfig& config) {
  return {.url = config.url,
          .schema = config.schema,
          .connect_timeout = config.connect_timeout,
          .statement_timeout = config.statement_timeout,
          .lock_timeout = config.lock_timeout,
          .idle_in_transaction_timeout = config.idle_in_transaction_timeout,
          .tcp_timeout = config.tcp_timeout,
          .application = config.application};
}

}  // namespace

Result<void> check(const PostgresStoreConfig& config) {
  constexpr std::string_view kThing = "store";
  TRY(check_url(kThing, config.url));
  TRY(check_schema(kThing, config.schema));
  return check_bounds(kThing, {.connections = config.connections,
                               .connect_timeout = config.connect_timeout,
                               .statement_timeout = config.statement_timeout,
                               .lock_timeout = config.lock_timeout,
                               .idle_in_transaction_timeout = config.idle_in_transaction_timeout,
                               .tcp_timeout = config.tcp_timeout});
}

struct PostgresStore::State {
  State(PostgresStoreConfig wanted, const events::Contracts& known, const Clock& time, Logger& log, Metrics& metrics)
      : config(std::move(wanted)),
        context{known, time, config.lease_clock, config.outbox},
        pool(options_of(config), config.connections, "store", log, metrics, "store.connections"),
        spare(for_leases(options_of(config)), 1, "store", Logger::silent(), metrics),
        transactions(metrics.counter("store_transactions_total", "Transactions that were committed")),
        commits(metrics.counter("store_commits_total", "Commits, each of one or several transactions")),
        commit_failures(
            metrics.counter("store_commit_failures_total", "Commits that the disk or the database refused")),
        retries(metrics.counter("store_transaction_retries_total",
                                "Transactions that were run again, since others got in their way")),
        commit_seconds(metrics.histogram("store_commit_seconds", "How long a commit took until it was durable")),
        log_last(metrics.gauge("store_log_last", "Sequence of the newest entry of the log")),
        watcher([this](const std::stop_token& stop) { watch(stop); }) {}

  Result<void> try_once(FunctionRef<Result<void>(Transaction&)> body, bool& again);
  /// Asks the database how far the log goes.
  void look();
  /// Looks again and again while somebody waits for more. On a thread of its own, since neither connecting nor a server
  /// that stands still can be told to hurry.
  void watch(const std::stop_token& stop);
  /// Takes note that the log goes as far as `last`.
  void see(Sequence last);

  const PostgresStoreConfig config;
  const Tables::Context context;
  std::string description;
  Pool pool;
  Pool spare;  // one connection: for leases, and for looks at the log

  std::mutex mutex;  // guards all below, down to the metrics
  std::condition_variable_any changed;
  Sequence last_seen = 0;
  Sequence trimmed_seen = 0;
  int waiting = 0;  // in wait_beyond

  Counter& transactions;
  Counter& commits;
  Counter& commit_failures;
  Counter& retries;
  Histogram& commit_seconds;
  Gauge& log_last;

  std::jthread watcher;  // ends first
};

PostgresStore::PostgresStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
PostgresStore::~PostgresStore() = default;

Result<std::unique_ptr<PostgresStore>> PostgresStore::open(PostgresStoreConfig config,
                                                           const events::Contracts& contracts, const Clock& clock,
                                                           Logger& log, Metrics& metrics) {
  TRY(check(config));
  auto connected = Connection::open(options_of(config));
  if (!connected) return std::unexpected(with_context(std::move(connected).error(), "store"));
  Connection connection = *std::move(connected);
  TRY_ASSIGN(const int version, migrate(connection, as_migrations(embedded::postgres_migrations()), "store"));
  if (auto checked = check_rights(connection, kRights); !checked) {
    return std::unexpected(with_context(std::move(checked).error(), "store"));
  }
  const Connection::Server& server = connection.server();
  const std::string description = fmt::format("PostgreSQL {} at {}, database {}, schema {} version {}", server.version,
                                              server.address, server.database, config.schema, version);
  log.info("store: {}", description);
  if (!server.fsync) {
    log.warn("store: PostgreSQL at {} runs with fsync = off: a power cut may take back what was committed",
             server.address);
  }
  auto state = std::make_unique<State>(std::move(config), contracts, clock, log, metrics);
  state->description = description;
  state->pool.add(std::move(connection));
  return std::unique_ptr<PostgresStore>(new PostgresStore(std::move(state)));
}

const std::string& PostgresStore::description() const { return state_->description; }

Result<void> PostgresStore::transact(FunctionRef<Result<void>(Transaction&)> body) {
  const auto begun_at = SteadyClock::now();
  for (int tries = 1;; ++tries) {
    bool again = false;
    auto done = state_->try_once(body, again);
    if (done || !again || tries == kTriesMax || SteadyClock::now() - begun_at > kTriesTimeMax) return done;
    state_->retries.add();
    pause(tries);
  }
}

Result<void> PostgresStore::State::try_once(FunctionRef<Result<void>(Transaction&)> body, bool& again) {
  TRY_ASSIGN(const auto connection, pool.take());
  const RollBack roll_back{*connection};
  connection->begin(Connection::Mode::write);
  Tables tables(*connection, Connection::Mode::write, context);
  if (auto outcome = body(tables); !outcome) {
    again = connection->worth_another_try();
    return outcome;
  }
  const auto begun_at = SteadyClock::now();
  const std::optional<Call> writing = tables.log_table().writing();
  auto committed = connection->commit(writing ? std::span(&*writing, 1) : std::span<const Call>());
  if (!committed) {
    again = connection->usable() && connection->worth_another_try();
    if (!again) commit_failures.add();
    return std::unexpected(std::move(committed).error());
  }
  commit_seconds.observe(std::chrono::duration<double>(SteadyClock::now() - begun_at).count());
  transactions.add();
  commits.add();
  if (writing) see(committed->front()[0].integer(0));
  return {};
}

Result<void> PostgresStore::read(FunctionRef<Result<void>(const Transaction&)> body) {
  TRY_ASSIGN(const auto connection, state_->pool.take());
  const RollBack roll_back{*connection};
  connection->begin(Connection::Mode::snapshot);
  const Tables tables(*connection, Connection::Mode::snapshot, state_->context);
  return body(tables);
}

Result<void> PostgresStore::admission() { return state_->pool.healthy(); }

Result<std::optional<Lease>> PostgresStore::acquire_lease(std::string_view name, std::string_view holder,
                                                          milliseconds length) {
  TRY_ASSIGN(const auto connection, state_->spare.take());
  return LeasesTable(*connection, state_->config.lease_clock).acquire(name, holder, length);
}

Result<void> PostgresStore::release_lease(std::string_view name, Epoch epoch) {
  TRY_ASSIGN(const auto connection, state_->spare.take());
  return LeasesTable(*connection, state_->config.lease_clock).release(name, epoch);
}

Result<LogPage> PostgresStore::read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                    std::size_t bytes_max) {
  LogPage page{{}, after};
  std::vector<LogTable::Entry> entries;
  {
    TRY_ASSIGN(const auto connection, state_->pool.take());
    const RollBack roll_back{*connection};
    connection->begin(Connection::Mode::snapshot);
    Tables tables(*connection, Connection::Mode::snapshot, state_->context);
    TRY_ASSIGN(entries, tables.log_table().read(after, filter, count_max, bytes_max, page.read_through));
  }
  page.entries.reserve(entries.size());
  for (LogTable::Entry& entry : entries) {
    auto event = state_->context.contracts.restore(std::move(entry.bytes), entry.event_time, entry.event_id);
    if (!event) {
      return std::unexpected(
          with_context(std::move(event).error(), fmt::format("PostgreSQL: log entry {}", entry.sequence)));
    }
    page.entries.push_back({entry.sequence, *std::move(event)});
  }
  return page;
}

void PostgresStore::State::see(Sequence last) {
  {
    const std::lock_guard lock(mutex);
    if (last <= last_seen) return;
    last_seen = last;
  }
  changed.notify_all();
  log_last.set(static_cast<double>(last));
}

void PostgresStore::State::look() {
  Sequence last = 0;
  {
    const auto connection = spare.take();
    if (!connection) return;
    const auto rows = (*connection)->run("SELECT (SELECT last FROM log_counter), (SELECT through FROM log_trimmed)");
    if (!rows) return;
    last = (*rows)[0].integer(0);
    const std::lock_guard lock(mutex);
    trimmed_seen = std::max(trimmed_seen, (*rows)[0].integer(1));
  }
  see(last);
}

void PostgresStore::State::watch(const std::stop_token& stop) {
  milliseconds interval = kPollMin;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    if (!changed.wait(lock, stop, [&] { return waiting > 0; })) continue;
    const Sequence before = last_seen;
    lock.unlock();
    look();
    lock.lock();
    interval = last_seen > before ? kPollMin : std::min(interval * 5 / 4, kPollMax);
    changed.wait_for(lock, stop, interval, [] { return false; });
  }
}

void PostgresStore::wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  ++state.waiting;
  state.changed.notify_all();
  state.changed.wait_for(lock, stop, wait, [&] { return state.last_seen > after; });
  --state.waiting;
}

Sequence PostgresStore::trimmed_through() {
  state_->look();
  const std::lock_guard lock(state_->mutex);
  return state_->trimmed_seen;
}

Sequence PostgresStore::last() {
  state_->look();
  const std::lock_guard lock(state_->mutex);
  return state_->last_seen;
}

}  // namespace wfo::store::postgres
