// What it costs to get events from the log to their consumers, with handlers that do nothing, and into the ledger.

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <latch>
#include <thread>

#include "bus/embedded/embedded_bus.h"
#include "delivery/consumer_loop.h"
#include "ledger/ledger_sink.h"
#include "store/postgres/postgres_ledger.h"
#include "store/postgres/schemas.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"

namespace wfo {
namespace {

const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
constexpr int kRoles = 5;

const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  return **loaded;
}

/// About 1 KB, as `workflow.step.completed` is, of the n-th role's type.
events::EventPtr event(int n, IdSource& ids) {
  static const std::string kFill(500, 'x');
  auto text = fmt::format(
      R"({{"id":"{}","type":"bench.role{}.asked","version":"1.0.0","timestamp":"2026-03-01T09:30:00.000Z","tenantId":"{}",)"
      R"("source":"bench","data":{{"workflowId":"{}","opportunityId":"OPP-{}","stepId":"{}","result":{{"score":0.25,)"
      R"("factors":[{{"name":"age","weight":0.5}},{{"name":"stage","weight":0.25}},{{"name":"amount","weight":0.25}}],)"
      R"("text":"{}"}}}}}})",
      ids.next().to_string(), n % kRoles, kTenant.to_string(), ids.next().to_string(), n, ids.next().to_string(),
      kFill);
  return contracts().read(std::move(text), Timestamp()).value();
}

std::vector<events::EventPtr> events(int count, IdSource& ids) {
  std::vector<events::EventPtr> all;
  all.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) all.push_back(event(i, ids));
  return all;
}

class NothingToDo final : public delivery::Handler {
 public:
  Result<Apply> prepare(std::span<const bus::Delivery> batch) override {
    seen += batch.size();
    return [](store::Transaction&) -> Result<void> { return {}; };
  }
  std::size_t seen = 0;
};

/// Five loops in one process, each of which wants a fifth of the log.
void deliver(benchmark::State& state) {
  constexpr int kEvents = 100'000;
  SystemClock clock;
  SystemIdSource ids(clock);
  delivery::SystemWaiter waiter;
  const auto all = events(kEvents, ids);
  for (auto _ : state) {
    state.PauseTiming();
    Metrics metrics;
    const test::TemporaryDirectory folder;
    store::sqlite::SqliteStoreConfig config;
    config.directory = folder.path();
    const auto store = store::sqlite::SqliteStore::open(config, contracts(), clock, Logger::silent(), metrics).value();
    bus::EmbeddedBus bus(*store, *store);
    std::array<NothingToDo, kRoles> handlers;
    std::vector<std::unique_ptr<delivery::StoreSink>> sinks;
    std::vector<std::unique_ptr<delivery::ConsumerLoop>> loops;
    for (int i = 0; i < kRoles; ++i) {
      bus::ConsumerOptions options;
      options.queue = fmt::format("queue{}", i);
      options.bindings = {fmt::format("bench.role{}.#", i), "bench.something.else", "bench.*.more"};
      sinks.push_back(std::make_unique<delivery::StoreSink>(*store, handlers[static_cast<std::size_t>(i)], ids, clock));
      loops.push_back(std::make_unique<delivery::ConsumerLoop>(bus.consume(options).value(), *sinks.back(),
                                                               delivery::ConsumerLoopConfig{}, clock, waiter,
                                                               Logger::silent(), metrics));
    }
    const auto append = [&](std::size_t first, std::size_t count) {
      const auto part = std::span(all).subspan(first, count);
      if (!store->transact([&](auto& transaction) { return transaction.log().append(part); })) std::abort();
    };
    const bool ahead = state.range(0) == 1;
    if (ahead) {
      for (std::size_t i = 0; i < kEvents; i += 1'000) append(i, 1'000);
    }
    state.ResumeTiming();
    std::vector<std::jthread> threads;
    for (int i = 0; i < kRoles; ++i) {
      threads.emplace_back([&, i] {
        const auto& handler = handlers[static_cast<std::size_t>(i)];
        while (handler.seen < kEvents / kRoles) {
          if (!loops[static_cast<std::size_t>(i)]->run_once(milliseconds(100))) std::abort();
        }
      });
    }
    if (!ahead) {
      for (std::size_t i = 0; i < kEvents; i += 500) append(i, 500);
    }
    threads.clear();
  }
  state.SetItemsProcessed(state.iterations() * kEvents);
}
BENCHMARK(deliver)->ArgName("appended_before")->Arg(1)->Arg(0)->UseRealTime()->Unit(benchmark::kMillisecond);

/// A consumer that has a batch ready whenever it is asked.
class ReadyConsumer final : public bus::Consumer {
 public:
  explicit ReadyConsumer(const std::vector<events::EventPtr>& events) : events_(events) {}
  const std::string& queue() const override { return queue_; }
  Result<std::vector<bus::Delivery>> receive(std::size_t count_max, milliseconds, std::stop_token) override {
    std::vector<bus::Delivery> batch;
    for (; batch.size() < count_max && position_ < events_.size(); ++position_) {
      bus::Delivery delivery;
      delivery.event = events_[position_];
      delivery.sequence = static_cast<store::Sequence>(position_ + 1);
      batch.push_back(std::move(delivery));
    }
    return batch;
  }
  Result<void> settle(store::Transaction&, std::span<const bus::Delivery>) override { return {}; }
  Result<void> acknowledge(std::span<const bus::Delivery>) override { return {}; }
  Result<void> release() override { return {}; }
  bool redelivers() const override { return false; }
  store::Sequence looked_through() const override { return static_cast<store::Sequence>(position_); }

 private:
  std::string queue_ = "logging_service";
  const std::vector<events::EventPtr>& events_;
  std::size_t position_ = 0;
};

/// One loop that appends all events to a ledger that is empty.
void append_all(benchmark::State& state, const std::vector<events::EventPtr>& all, store::LedgerStore& ledger,
                const Clock& clock) {
  Metrics metrics;
  delivery::SystemWaiter waiter;
  delivery::ConsumerLoopConfig config;
  config.batch_max = static_cast<std::size_t>(state.range(0));
  ledger::LedgerSink sink(ledger, nullptr, clock, Logger::silent(), metrics);
  delivery::ConsumerLoop loop(std::make_unique<ReadyConsumer>(all), sink, config, clock, waiter, Logger::silent(),
                              metrics);
  state.ResumeTiming();
  while (loop.run_once(milliseconds(0)).value() > 0) {
  }
  state.PauseTiming();
  if (ledger.size(kTenant) != static_cast<store::LedgerIndex>(all.size())) std::abort();
}

void append_to_ledger_in_sqlite(benchmark::State& state) {
  SystemClock clock;
  SystemIdSource ids(clock);
  const auto all = events(100'000, ids);
  for (auto _ : state) {
    state.PauseTiming();
    Metrics metrics;
    const test::TemporaryDirectory folder;
    store::sqlite::SqliteLedgerConfig config;
    config.directory = folder.path();
    const auto ledger = store::sqlite::SqliteLedger::open(config, clock, Logger::silent(), metrics).value();
    append_all(state, all, *ledger, clock);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(all.size()));
}
BENCHMARK(append_to_ledger_in_sqlite)
    ->ArgName("batch")
    ->Arg(256)
    ->Arg(1'024)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

/// On the server of the environment variable WFO_STORE_URL, in a schema that is made and dropped. The CPU time shown is
/// that of this process alone, not that of the server beside it.
void append_to_ledger_in_postgres(benchmark::State& state) {
  const char* const url = std::getenv("WFO_STORE_URL");
  if (!url) {
    state.SkipWithError("set WFO_STORE_URL to a PostgreSQL server: scripts/dev-servers.sh up prints one");
    return;
  }
  SystemClock clock;
  SystemIdSource ids(clock);
  const auto all = events(50'000, ids);
  for (auto _ : state) {
    state.PauseTiming();
    Metrics metrics;
    store::postgres::PostgresLedgerConfig config;
    config.url = url;
    config.schema = fmt::format("bench_{}", getpid());
    {
      auto opened = store::postgres::PostgresLedger::open(config, Logger::silent(), metrics);
      if (!opened) {
        state.SkipWithError(opened.error().message.c_str());
        return;
      }
      append_all(state, all, **opened, clock);
    }
    if (!store::postgres::drop_schemas(url, {config.schema})) std::abort();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(all.size()));
}
BENCHMARK(append_to_ledger_in_postgres)
    ->ArgName("batch")
    ->Arg(256)
    ->Arg(1'024)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace wfo
