#include "app/runtime.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "analysis/step_worker.h"
#include "api/http_client.h"
#include "api/routes.h"
#include "app/files.h"
#include "base/thread.h"
#include "bus/embedded/embedded_bus.h"
#include "delivery/dead_letters.h"
#include "delivery/event_intake.h"
#include "delivery/retention.h"
#include "embedded/workflow_definitions.h"
#include "events/types.h"
#include "ledger/ledger_progress.h"
#include "ledger/ledger_sink.h"
#include "store/sqlite/data_directory.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"

namespace wfo::app {
namespace {

constexpr milliseconds kLedgerWaitMax{2'000};  // of a request for what is in the ledger

Result<std::optional<analysis::ConfigFile>> read_config_file(const std::filesystem::path& file) {
  if (file.empty()) return std::nullopt;
  TRY_ASSIGN(std::string text, read_file(file));
  return analysis::ConfigFile{file.string(), std::move(text)};
}

Result<std::vector<workflow::Definition>> read_definitions(const Config& config, const events::Contracts& contracts) {
  std::vector<workflow::Definition> definitions;
  const auto add = [&](std::string_view text, std::string_view name) -> Result<void> {
    TRY_ASSIGN(auto definition, workflow::parse_definition(text, name, contracts.types()));
    definitions.push_back(std::move(definition));
    return {};
  };
  for (const auto& file : config.workflow_files) {
    TRY_ASSIGN(const std::string text, read_file(file));
    TRY(add(text, file));
  }
  if (definitions.empty()) {
    for (const auto& file : embedded::workflow_definitions()) TRY(add(file.text, file.name));
  }
  return definitions;
}

/// A sink that tells somebody what has been committed.
class ObservedSink final : public delivery::Sink {
 public:
  ObservedSink(delivery::Sink& sink, std::function<void(std::span<const bus::Delivery>)> observe)
      : sink_(sink), observe_(std::move(observe)) {}
  Result<void> commit(bus::Consumer& consumer, std::span<const bus::Delivery> batch) override {
    TRY(sink_.commit(consumer, batch));
    observe_(batch);
    return {};
  }
  Result<void> set_aside(bus::Consumer& consumer, const bus::Delivery& delivery, std::string_view reason,
                         int attempts) override {
    return sink_.set_aside(consumer, delivery, reason, attempts);
  }
  Result<void> note_idle(bus::Consumer& consumer) override { return sink_.note_idle(consumer); }

 private:
  delivery::Sink& sink_;
  std::function<void(std::span<const bus::Delivery>)> observe_;
};

/// Everything of one consumer, in the order of its construction.
struct RunningRole {
  std::unique_ptr<delivery::Handler> handler;  // null if the handler belongs to somebody else
  std::unique_ptr<delivery::Sink> sink;
  std::unique_ptr<delivery::Sink> observed;
  std::unique_ptr<delivery::ConsumerLoop> loop;
};

std::vector<std::string> all_queues() {
  std::vector<std::string> queues{std::string(orchestrator::Orchestrator::kQueue)};
  for (const auto& role : analysis::step_roles()) queues.emplace_back(role.queue);
  return queues;
}

}  // namespace

std::filesystem::path socket_path(const Config& config) {
  return store::sqlite::DataDirectory::socket_path(config.data_dir);
}

bool is_served(const Config& config) {
  return api::LocalClient({.socket_path = socket_path(config)}).request(api::Method::get, "/health").has_value();
}

struct Runtime::State {
  State(const Config& configuration, Logger& logger, RuntimeOptions runtime_options)
      : config(configuration), options(std::move(runtime_options)), log(logger), ids(clock), router(logger) {}

  // In the order of construction; destruction is the shutdown order.
  Config config;
  RuntimeOptions options;
  Logger& log;
  SystemClock clock;
  SystemIdSource ids;
  Metrics metrics;
  delivery::SystemWaiter waiter;
  std::optional<store::sqlite::DataDirectory> directory;
  std::unique_ptr<const events::Contracts> contracts;
  std::unique_ptr<store::sqlite::SqliteStore> store;
  std::unique_ptr<store::sqlite::SqliteLedger> ledger;
  std::unique_ptr<bus::EmbeddedBus> bus;
  std::unique_ptr<orchestrator::Orchestrator> orchestrator;
  std::optional<analysis::Analysis> analysis;
  std::unique_ptr<delivery::DeadLetters> dead_letters;
  std::unique_ptr<delivery::EventIntake> intake;
  std::unique_ptr<delivery::Retention> retention;
  std::vector<RunningRole> roles;
  std::atomic<int> waiting_for_ledger{0};
  std::stop_source stopping;
  api::Router router;
  std::vector<std::jthread> threads;

  [[nodiscard]] bool has_role(std::string_view role) const {
    return std::ranges::find(config.roles, role) != config.roles.end();
  }

  Result<void> open_stores() {
    TRY_ASSIGN(contracts, events::Contracts::load(config.event_bytes_max));
    config.store.directory = directory->path();
    config.ledger.directory = directory->path();
    TRY_ASSIGN(store, store::sqlite::SqliteStore::open(config.store, *contracts, clock, log, metrics));
    TRY_ASSIGN(ledger, store::sqlite::SqliteLedger::open(config.ledger, clock, log, metrics));
    bus = std::make_unique<bus::EmbeddedBus>(*store, *store);
    return {};
  }

  Result<void> open_orchestrator() {
    TRY_ASSIGN(auto current, read_definitions(config, *contracts));
    if (options.adjust_definition) std::ranges::for_each(current, options.adjust_definition);
    TRY_ASSIGN(auto definitions, orchestrator::Definitions::load(*store, std::move(current)));
    orchestrator = std::make_unique<orchestrator::Orchestrator>(*store, *contracts, std::move(definitions), ids, clock,
                                                                log, metrics, config.orchestrator);
    return {};
  }

  Result<void> open_services() {
    TRY_ASSIGN(auto rules, read_config_file(config.risk_rules_file));
    TRY_ASSIGN(auto playbook, read_config_file(config.playbook_file));
    TRY_ASSIGN(analysis, analysis::Analysis::load({std::move(rules), std::move(playbook)}));
    dead_letters = std::make_unique<delivery::DeadLetters>(*store, *contracts, ids, clock, log, metrics);
    intake = std::make_unique<delivery::EventIntake>(*store, *contracts, clock, metrics);
    std::vector<delivery::OutsidePosition> outside;
    outside.push_back({std::string(ledger::kQueue), [this] { return ledger->position(ledger::kQueue); }});
    retention = std::make_unique<delivery::Retention>(*store, *store, all_queues(), std::move(outside),
                                                      config.retention, clock, waiter, log, metrics);
    return {};
  }

  void add_loop(std::unique_ptr<bus::Consumer> consumer, RunningRole role) {
    delivery::Sink& sink = role.observed ? *role.observed : *role.sink;
    role.loop = std::make_unique<delivery::ConsumerLoop>(std::move(consumer), sink, config.delivery, clock, waiter, log,
                                                         metrics);
    roles.push_back(std::move(role));
  }

  Result<void> open_roles() {
    if (has_role(events::kOrchestratorRole)) {
      TRY_ASSIGN(auto consumer, bus->consume({.queue = std::string(orchestrator::Orchestrator::kQueue),
                                              .bindings = orchestrator->bindings()}));
      RunningRole role;
      role.sink = std::make_unique<delivery::StoreSink>(*store, *orchestrator, ids, clock);
      add_loop(std::move(consumer), std::move(role));
    }
    const analysis::StepFunction& steps = options.steps ? *options.steps : *analysis;
    for (const auto& step_role : analysis::step_roles()) {
      if (!options.run_steps || !has_role(step_role.name)) continue;
      TRY_ASSIGN(auto consumer, bus->consume(step_role.consumer_options()));
      RunningRole role;
      role.handler = std::make_unique<analysis::StepWorker>(step_role, steps, *store, *contracts, ids, clock, log);
      role.sink = std::make_unique<delivery::StoreSink>(*store, *role.handler, ids, clock);
      add_loop(std::move(consumer), std::move(role));
    }
    if (has_role(events::kLoggingRole)) {
      TRY(ledger::note_gap(*ledger, *store, clock, log));
      TRY_ASSIGN(auto consumer, ledger::consume(*bus, *ledger, config.ledger_bindings));
      RunningRole role;
      role.sink = std::make_unique<ledger::LedgerSink>(*ledger, store.get(), clock, log, metrics);
      if (options.on_ledger_commit) {
        role.observed = std::make_unique<ObservedSink>(*role.sink, options.on_ledger_commit);
      }
      add_loop(std::move(consumer), std::move(role));
    }
    return {};
  }

  /// None where the role `logging` is off: there is nobody to wait for.
  std::function<Result<bool>()> ledger_catches_up() {
    if (!has_role(events::kLoggingRole)) return nullptr;
    // A ledger that does not proceed must not take the threads of all requests: few wait for it at once, and none while
    // it is in trouble.
    const int waiting_max = std::max(1, config.http.threads - 2);
    return [this, waiting_max, progress = ledger::LedgerProgress(*ledger, *store, config.ledger_bindings, waiter)] {
      const bool waits = ++waiting_for_ledger <= waiting_max && ledger_trouble().empty();
      auto caught_up = progress.catch_up(waits ? kLedgerWaitMax : milliseconds(0), stopping.get_token());
      --waiting_for_ledger;
      return caught_up;
    };
  }

  [[nodiscard]] std::string ledger_trouble() const {
    const auto role = std::ranges::find(roles, ledger::kQueue, [](const auto& one) { return one.loop->queue(); });
    return role == roles.end() ? "the role is not here" : role->loop->trouble();
  }

  [[nodiscard]] std::vector<std::string> not_ready() const {
    std::vector<std::string> reasons;
    if (const auto admitted = store->admission(); !admitted) reasons.push_back(admitted.error().message);
    for (const auto& role : roles) {
      if (auto trouble = role.loop->trouble(); !trouble.empty()) {
        reasons.push_back(fmt::format("{}: {}", role.loop->queue(), trouble));
      }
    }
    return reasons;
  }
};

Runtime::Runtime(std::unique_ptr<State> state) : state_(std::move(state)) {}
Runtime::~Runtime() { stop(); }

Result<std::unique_ptr<Runtime>> Runtime::open(const Config& config, Logger& logger, RuntimeOptions options) {
  auto state = std::make_unique<State>(config, logger, std::move(options));
  TRY_ASSIGN(state->directory, store::sqlite::DataDirectory::open(config.data_dir));
  TRY(state->open_stores());
  TRY(state->open_orchestrator());
  TRY(state->open_services());
  TRY(state->open_roles());
  State& s = *state;
  api::add_routes(s.router, {.orchestrator = *s.orchestrator,
                             .store = *s.store,
                             .ledger = *s.ledger,
                             .dead_letters = *s.dead_letters,
                             .intake = *s.intake,
                             .metrics = s.metrics,
                             .ids = s.ids,
                             .clock = s.clock,
                             .default_tenant = config.tenant,
                             .not_ready = [&s] { return s.not_ready(); },
                             .ledger_catches_up = s.ledger_catches_up()});
  return std::unique_ptr<Runtime>(new Runtime(std::move(state)));
}

void Runtime::start() {
  State& s = *state_;
  const auto add_thread = [&s](std::string_view name, auto body) {
    s.threads.emplace_back([name = std::string(name), body](std::stop_token stop) {
      name_this_thread(name);
      body(stop);
    });
  };
  for (auto& role : s.roles) {
    add_thread(role.loop->queue(), [loop = role.loop.get()](std::stop_token stop) { loop->run(stop); });
  }
  if (s.has_role(events::kOrchestratorRole)) {
    add_thread("timers",
               [&s](std::stop_token stop) { s.orchestrator->run_timers(s.config.self_check_interval, stop); });
  }
  add_thread("retention", [&s](std::stop_token stop) { s.retention->run(stop); });
}

void Runtime::stop_waiting() { state_->stopping.request_stop(); }

void Runtime::stop() {
  stop_waiting();
  for (auto& thread : state_->threads) thread.request_stop();
  state_->threads.clear();  // joins
}

const api::Router& Runtime::router() const { return state_->router; }
std::vector<std::string> Runtime::not_ready() const { return state_->not_ready(); }
Metrics& Runtime::metrics() { return state_->metrics; }
orchestrator::Orchestrator& Runtime::orchestrator() { return *state_->orchestrator; }
store::Store& Runtime::store() { return *state_->store; }
store::LogReader& Runtime::log() { return *state_->store; }
store::LedgerStore& Runtime::ledger() { return *state_->ledger; }

}  // namespace wfo::app
