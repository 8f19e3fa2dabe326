#include "store/sqlite/sqlite_store.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/thread.h"
#include "embedded/store_migrations.h"
#include "store/sqlite/data_directory.h"
#include "store/sqlite/detail/check_range.h"
#include "store/sqlite/detail/database.h"
#include "store/sqlite/detail/disk_space.h"
#include "store/sqlite/detail/log_tail.h"
#include "store/sqlite/detail/reader_pool.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

/// A transaction that a caller waits for.
struct Request {
  explicit Request(FunctionRef<Result<void>(Transaction&)> wanted) : body(wanted) {}
  FunctionRef<Result<void>(Transaction&)> body;
  Result<void> result;
  std::exception_ptr thrown;
  bool done = false;  // guarded by the store's mutex
  std::condition_variable completed;
};

}  // namespace

Result<void> check(const SqliteStoreConfig& config) {
  constexpr std::string_view kThing = "store";
  if (config.directory.empty()) return fail(ErrorCode::invalid_argument, "store: directory is empty");
  TRY(check_page_bytes(kThing, config.page_bytes));
  TRY(check_range(kThing, "cache_kib", config.cache_kib, 1'024, 67'108'864));
  TRY(check_range(kThing, "reader_cache_kib", config.reader_cache_kib, 256, 67'108'864));
  TRY(check_range(kThing, "readers", config.readers, 1, 64));
  TRY(check_range(kThing, "checkpoint_pages", config.checkpoint_pages, 16, 1'000'000));
  TRY(check_range(kThing, "group_max", static_cast<std::int64_t>(config.group_max), 1, 65'536));
  return check_range(kThing, "queue_max", static_cast<std::int64_t>(config.queue_max), 1, 65'536);
}

namespace {

/// What the file says that it belongs to; one without a log is told. Between log and broker nobody can change over:
/// consumers that read the log would miss what is in the outbox or in the broker's queues, and the other way round.
Result<void> check_installation(Connection& connection, bool outbox, const std::string& file) {
  const auto ask = [&](const char* sql) -> Result<std::optional<std::string>> {
    TRY_ASSIGN(Statement* const statement, connection.statement(sql));
    TRY_ASSIGN(const bool row, statement->step());
    if (!row) return std::nullopt;
    std::string text = statement->text(0);
    statement->reset();
    return text;
  };
  TRY_ASSIGN(const auto moved_to, ask("SELECT moved_to FROM installation WHERE moved_to <> ''"));
  if (moved_to) {
    return fail(
        ErrorCode::conflict,
        "{}: everything was moved to {}; serve that instead, or, if the move did not end, run `wfo migrate` again",
        file, *moved_to);
  }
  TRY_ASSIGN(const auto used, ask("SELECT 1 FROM log UNION ALL SELECT 1 FROM log_trimmed LIMIT 1"));
  if (used) {
    // A file that says nothing is from before brokers were known.
    TRY_ASSIGN(const auto bus, ask("SELECT bus FROM installation"));
    if (outbox == (bus.value_or("log") == "broker")) return {};
    return fail(ErrorCode::conflict, "{}: this data directory is used with {}; allowed: the same, or a new directory",
                file, outbox ? "the embedded bus, not with a broker" : "a broker, not with the embedded bus");
  }
  TRY_ASSIGN(Statement* const note, connection.statement("INSERT INTO installation (one, bus) VALUES (1, ?) "
                                                         "ON CONFLICT (one) DO UPDATE SET bus = excluded.bus"));
  const std::string_view bus = outbox ? "broker" : "log";
  return note->bind_text(bus).run();
}

}  // namespace

struct SqliteStore::State {
  State(SqliteStoreConfig wanted, Database writing, const events::Contracts& known, const Clock& time, Logger& logger,
        Metrics& metrics)
      : config(std::move(wanted)),
        file(config.directory / kStoreFile),
        contracts(known),
        clock(time),
        log(logger),
        space(config.directory, config.disk_free_min_bytes, config.disk_free, clock),
        tables(std::move(writing), contracts, clock, config.outbox, active_runs),
        transactions(metrics.counter("store_transactions_total", "Transactions that were committed")),
        commits(metrics.counter("store_commits_total", "Commits, each of one or several transactions")),
        commit_failures(
            metrics.counter("store_commit_failures_total", "Commits that the disk or the database refused")),
        commit_seconds(metrics.histogram("store_commit_seconds", "How long a commit took until it was durable")),
        wal_pages(metrics.gauge("store_wal_pages", "Pages in the write-ahead log")),
        log_last(metrics.gauge("store_log_last", "Sequence of the newest entry of the log")) {}

  void write();
  void commit(std::vector<Request*>& group);
  bool apply(Request& request, bool first);
  Result<void> run(const char* sql) {
    TRY_ASSIGN(Statement* const statement, tables.connection().statement(sql));
    return statement->run();
  }
  void roll_back(const LogTable::Mark& mark);
  void complete(std::vector<Request*>& group);

  const SqliteStoreConfig config;
  const std::filesystem::path file;
  const events::Contracts& contracts;
  const Clock& clock;
  Logger& log;
  DiskSpace space;
  std::atomic<std::int64_t> active_runs{0};

  Tables tables;  // the writer thread's
  ReaderPool<Tables> readers;
  std::unique_ptr<LogTail> tail;  // made once the last sequence is known

  std::mutex mutex;  // guards queue, stopping and Request::done
  std::condition_variable queued;
  std::condition_variable taken;
  std::deque<Request*> queue;
  bool stopping = false;

  Counter& transactions;
  Counter& commits;
  Counter& commit_failures;
  Histogram& commit_seconds;
  Gauge& wal_pages;
  Gauge& log_last;
  bool checkpoint_failing = false;  // the writer thread's
  std::thread writer;
};

SqliteStore::SqliteStore(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->writer = std::thread([state = state_.get()] { state->write(); });
}

SqliteStore::~SqliteStore() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->queued.notify_all();
  state_->writer.join();
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(SqliteStoreConfig config, const events::Contracts& contracts,
                                                       const Clock& clock, Logger& log, Metrics& metrics) {
  TRY(check(config));
  const DatabaseOptions options{.file = config.directory / kStoreFile,
                                .read_only = false,
                                .page_bytes = config.page_bytes,
                                .cache_kib = config.cache_kib,
                                .vfs = config.vfs};
  TRY_ASSIGN(Database database, Database::open(options));
  TRY(migrate(database, as_migrations(embedded::store_migrations()), options.file.string()));
  auto state = std::make_unique<State>(std::move(config), std::move(database), contracts, clock, log, metrics);

  TRY(check_installation(state->tables.connection(), state->config.outbox, options.file.string()));
  TRY_ASSIGN(const Sequence last, state->tables.log_table().last_sequence());
  state->tables.log_table().start_at(last);
  TRY_ASSIGN(const Sequence trimmed, state->tables.log_table().trimmed_through());
  state->tail = std::make_unique<LogTail>(trimmed, last, state->config.log_cache_bytes_max);
  TRY_ASSIGN(state->active_runs, state->tables.runs_table().count_active_rows());
  // A tool may have left a long WAL, or a kill.
  TRY(state->tables.connection().database().checkpoint_beyond(state->config.checkpoint_pages));

  DatabaseOptions reading = options;
  reading.read_only = true;
  reading.cache_kib = state->config.reader_cache_kib;
  for (int i = 0; i < state->config.readers; ++i) {
    TRY_ASSIGN(Database reader, Database::open(reading));
    state->readers.add(
        std::make_unique<Tables>(std::move(reader), contracts, clock, state->config.outbox, state->active_runs));
  }
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(state)));
}

Result<void> SqliteStore::transact(FunctionRef<Result<void>(Transaction&)> body) {
  State& state = *state_;
  Request request(body);
  {
    std::unique_lock lock(state.mutex);
    state.taken.wait(lock, [&] { return state.queue.size() < state.config.queue_max; });
    INVARIANT(!state.stopping);
    state.queue.push_back(&request);
    if (state.queue.size() == 1) state.queued.notify_one();
    request.completed.wait(lock, [&] { return request.done; });
  }
  if (request.thrown) std::rethrow_exception(request.thrown);
  return std::move(request.result);
}

/// The writer thread: takes all that wait, commits them together, until the store is closed.
void SqliteStore::State::write() {
  name_this_thread("store-writer");
  std::vector<Request*> group;
  for (;;) {
    group.clear();
    {
      std::unique_lock lock(mutex);
      queued.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      const bool full = queue.size() >= config.queue_max;
      while (!queue.empty() && group.size() < config.group_max) {
        group.push_back(queue.front());
        queue.pop_front();
      }
      if (full) taken.notify_all();
    }
    commit(group);
  }
}

void SqliteStore::State::roll_back(const LogTable::Mark& mark) {
  if (tables.connection().database().in_transaction()) {
    if (auto rolled_back = run("ROLLBACK"); !rolled_back) log.error("store: {}", rolled_back.error().message);
  }
  tables.log_table().return_to(mark);
  tables.runs_table().set_active_change(0);
}

/// Runs one body inside the open transaction; its effects stay or go by themselves. False: the transaction is gone.
bool SqliteStore::State::apply(Request& request, bool first) {
  const LogTable::Mark mark_before = tables.log_table().mark();
  const std::int64_t active_before = tables.runs_table().active_change();
  // Nothing is to be kept while no other has taken effect, and savepoints cost a copy of each page that is changed.
  if (!first) request.result = run("SAVEPOINT one");
  if (request.result) {
    try {
      request.result = request.body(tables);
    } catch (...) {
      request.thrown = std::current_exception();
    }
  }
  if (!tables.connection().database().in_transaction()) return false;
  const bool good = request.result && !request.thrown;
  if (good) {
    const auto released = first ? Result<void>() : run("RELEASE one");
    if (released) return true;
    request.result = released;
  }
  if (first) {
    roll_back(mark_before);
    const auto begun = run("BEGIN IMMEDIATE");
    if (!begun && good) request.result = begun;
    return begun.has_value();
  }
  if (!run("ROLLBACK TO one") || !run("RELEASE one")) return false;
  tables.log_table().return_to(mark_before);
  tables.runs_table().set_active_change(active_before);
  return true;
}

void SqliteStore::State::commit(std::vector<Request*>& group) {
  const LogTable::Mark mark_before = tables.log_table().mark();
  const auto begun_at = std::chrono::steady_clock::now();
  std::size_t good = 0;
  Result<void> committed = run("BEGIN IMMEDIATE");
  for (Request* const request : group) {
    if (!committed) break;
    if (!apply(*request, good == 0)) {
      // SQLite has ended the transaction by itself, as it does on a full or failing disk.
      committed = request->result
                      ? fail(ErrorCode::unavailable, "{}: the transaction was ended by the database", file.string())
                      : std::unexpected(request->result.error());
      break;
    }
    good += request->result && !request->thrown;
  }
  if (committed && good == 0) {
    roll_back(mark_before);
    return complete(group);
  }
  if (committed) committed = run("COMMIT");
  if (!committed) {
    roll_back(mark_before);
    commit_failures.add();
    log.error("store: commit failed: {}", committed.error().message);
    // What a body refused by itself stays refused; for all others the disk is to blame.
    const Error error = committed.error().code == ErrorCode::corruption
                            ? committed.error()
                            : Error{ErrorCode::unavailable, committed.error().message};
    for (Request* const request : group) {
      if (request->result && !request->thrown) request->result = std::unexpected(error);
    }
    return complete(group);
  }
  active_runs += tables.runs_table().active_change();
  tables.runs_table().set_active_change(0);
  const Sequence trimmed = tables.log_table().mark().trimmed;
  tail->publish(tables.log_table().take_appended());
  if (trimmed > 0) tail->trim(trimmed);
  commit_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_at).count());
  transactions.add(static_cast<double>(good));
  commits.add();
  complete(group);

  log_last.set(static_cast<double>(tables.log_table().mark().last));
  const Database& database = tables.connection().database();
  wal_pages.set(database.wal_pages());
  const auto checkpoint = database.checkpoint_beyond(config.checkpoint_pages);
  if (!checkpoint && !checkpoint_failing) log.warn("store: checkpoint failed: {}", checkpoint.error().message);
  checkpoint_failing = !checkpoint;
}

void SqliteStore::State::complete(std::vector<Request*>& group) {
  const std::lock_guard lock(mutex);
  for (Request* const request : group) {
    request->done = true;
    request->completed.notify_one();  // under the lock, since the request is gone as soon as its caller wakes
  }
}

Result<void> SqliteStore::read(FunctionRef<Result<void>(const Transaction&)> body) {
  const auto reader = state_->readers.take();
  struct End {
    Statement& commit;
    ~End() { static_cast<void>(commit.run()); }
  };
  TRY_ASSIGN(Statement* const begin, reader->connection().statement("BEGIN"));
  TRY_ASSIGN(Statement* const commit, reader->connection().statement("COMMIT"));
  TRY(begin->run());
  const End end{*commit};
  return body(*reader);
}

Result<void> SqliteStore::admission() { return state_->space.admission(); }

Result<LogPage> SqliteStore::read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                  std::size_t bytes_max) {
  if (auto page = state_->tail->read(after, filter, count_max, bytes_max)) return *std::move(page);
  LogPage page{{}, after};
  std::vector<LogTable::Row> rows;
  {
    const auto reader = state_->readers.take();
    TRY_ASSIGN(rows, reader->log_table().read(after, filter, count_max, bytes_max, page.read_through));
  }
  page.entries.reserve(rows.size());
  for (LogTable::Row& row : rows) {
    auto event = state_->contracts.restore(std::move(row.bytes), row.event_time, row.event_id);
    if (!event) {
      return std::unexpected(
          with_context(std::move(event).error(), fmt::format("{}: log entry {}", state_->file.string(), row.sequence)));
    }
    page.entries.push_back({row.sequence, *std::move(event)});
  }
  return page;
}

void SqliteStore::wait_beyond(Sequence after, milliseconds wait, std::stop_token stop) {
  state_->tail->wait_beyond(after, wait, std::move(stop));
}

std::size_t SqliteStore::waiting() const {
  const std::lock_guard lock(state_->mutex);
  return state_->queue.size();
}

Sequence SqliteStore::trimmed_through() { return state_->tail->trimmed_through(); }

Sequence SqliteStore::last() { return state_->tail->last(); }

}  // namespace wfo::store::sqlite
