#include "app/runtime.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "analysis/step_worker.h"
#include "api/http_client.h"
#include "api/routes.h"
#include "app/backends.h"
#include "app/files.h"
#include "app/yaml_json.h"
#include "base/thread.h"
#include "delivery/dead_letters.h"
#include "delivery/drain_sink.h"
#include "delivery/event_intake.h"
#include "delivery/lease_keeper.h"
#include "delivery/relay.h"
#include "delivery/retention.h"
#include "delivery/type_router.h"
#include "embedded/job_definitions.h"
#include "embedded/workflow_definitions.h"
#include "events/types.h"
#include "jobs/batch_job_worker.h"
#include "ledger/ledger_progress.h"
#include "ledger/ledger_sink.h"
#include "scheduler/scheduler.h"

namespace wfo::app {
namespace {

constexpr milliseconds kLedgerWaitMax{2'000};  // of a request for what is in the ledger
constexpr milliseconds kFlushMax{1'000};       // of a process that ends, for what is not published yet
constexpr milliseconds kFlushPause{20};
constexpr milliseconds kPublishWait{30'000};     // for the broker's answers to what is published past the relay
constexpr std::string_view kNetSuffix = ".dlq";  // of the queue where a broker puts what it takes out of another one

Result<std::optional<analysis::ConfigFile>> read_config_file(const std::filesystem::path& file) {
  if (file.empty()) return std::nullopt;
  TRY_ASSIGN(std::string text, read_file(file));
  return analysis::ConfigFile{file.string(), std::move(text)};
}

Result<analysis::Analysis> load_analysis(const Config& config) {
  TRY_ASSIGN(auto rules, read_config_file(config.risk_rules_file));
  TRY_ASSIGN(auto playbook, read_config_file(config.playbook_file));
  return analysis::Analysis::load({std::move(rules), std::move(playbook)});
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

/// The jobs that are built in, with their limits.
schedule::JobCatalog builtin_jobs() {
  std::vector<schedule::JobSpec> jobs;
  for (const auto name : {jobs::RiskSnapshotBackfill::kName, jobs::OutcomeSync::kName}) {
    jobs.push_back({.name = std::string(name), .kind = schedule::JobKind::builtin});
  }
  return schedule::JobCatalog(std::move(jobs));
}

/// Whether a job that is built in can use the metadata; nobody here knows what others can.
Result<void> check_builtin_metadata(const schedule::JobSpec& job, json::Value metadata) {
  if (job.kind != schedule::JobKind::builtin || job.name != jobs::RiskSnapshotBackfill::kName) return {};
  return jobs::RiskSnapshotBackfill::check_metadata(metadata);
}

/// All that is wrong, a line each.
Result<void> check_metadata(const schedule::JobConfiguration& configuration) {
  std::string problems;
  for (const auto& schedule : configuration.schedules) {
    const auto* const job = configuration.catalog.find(schedule.job);
    TRY_ASSIGN(const auto metadata, json::Document::parse(schedule.metadata));
    const auto usable = check_builtin_metadata(*job, metadata.root());
    if (usable) continue;
    problems += fmt::format("{}schedule '{}': {}", problems.empty() ? "" : "\n", schedule.name, usable.error().message);
  }
  if (!problems.empty()) return std::unexpected(Error{ErrorCode::invalid_argument, std::move(problems)});
  return {};
}

/// Everything of one consumer, in the order of its construction.
struct RunningRole {
  std::unique_ptr<delivery::Handler> handler;  // null if the handler belongs to somebody else
  std::unique_ptr<delivery::Sink> sink;
  std::unique_ptr<delivery::Sink> observed;
  std::unique_ptr<delivery::ConsumerLoop> loop;
};

/// Of the thread that consumes a queue. Tools show its beginning only, so a net says first that it is one.
std::string thread_name(const std::string& queue) { return queue.ends_with(kNetSuffix) ? "dlq " + queue : queue; }

/// A lease with who keeps it.
template <class Source>
struct Held {
  template <class... Where>
  Held(const std::string& holder, Logger& log, Metrics& metrics, Where&&... where)
      : source(std::forward<Where>(where)...), keeper(source, holder, log, metrics) {}
  Source source;
  delivery::LeaseKeeper keeper;
};

/// What one process of an installation does at a time.
struct Leases {
  Leases(store::Store& store, store::LedgerStore& ledger_store, const std::string& holder, Logger& log,
         Metrics& metrics)
      : relay(holder, log, metrics, store, delivery::kRelayLease),
        timers(holder, log, metrics, store, delivery::kTimersLease),
        retention(holder, log, metrics, store, delivery::kRetentionLease),
        ledger(holder, log, metrics, ledger_store) {}
  /// Others need not wait for their end. What cannot be given back ends by itself.
  void release() {
    for (auto* keeper : {&relay.keeper, &timers.keeper, &retention.keeper, &ledger.keeper}) (void)keeper->release();
  }
  Held<delivery::StoreLease> relay;
  Held<delivery::StoreLease> timers;
  Held<delivery::StoreLease> retention;
  Held<delivery::LedgerLease> ledger;
};

/// Of the consumers whose effects, and so whose positions, lie in the store.
std::vector<std::string> queues_of_store() {
  std::vector<std::string> queues{std::string(orchestrator::Orchestrator::kQueue)};
  for (const auto& role : analysis::step_roles()) queues.emplace_back(role.queue);
  queues.emplace_back(jobs::BatchJobWorker::kQueue);
  return queues;
}

}  // namespace

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

Result<schedule::JobConfiguration> read_job_configuration(const Config& config) {
  const auto environment = process_environment();
  std::vector<schedule::JobFile> files;
  std::vector<std::map<std::string, std::string>> variables;  // of each file
  const auto add = [&](std::string_view text, std::string_view name) -> Result<void> {
    TRY_ASSIGN(auto converted, yaml_to_json(text, name, environment));
    files.push_back({std::string(name), std::move(converted.json)});
    variables.push_back(std::move(converted.variables));
    return {};
  };
  for (const auto& file : embedded::job_definitions()) TRY(add(file.text, fmt::format("built-in {}", file.name)));
  for (const auto& file : config.job_files) {
    TRY_ASSIGN(const std::string text, read_file(file));
    TRY(add(text, file));
  }
  auto configuration = schedule::parse_job_files(files, builtin_jobs());
  if (!configuration) {
    Error error = std::move(configuration).error();
    for (std::size_t i = 0; i < files.size(); ++i) {
      error = with_variables(std::move(error), files[i].name, variables[i]);
    }
    return std::unexpected(std::move(error));
  }
  TRY(check_metadata(*configuration));
  return configuration;
}

Result<void> check_configuration(const Config& config) {
  TRY(check_pair(config));
  TRY_ASSIGN(const auto contracts, events::Contracts::load(config.event_bytes_max));
  TRY(read_definitions(config, *contracts));
  TRY(read_job_configuration(config));
  TRY(load_analysis(config));
  return {};
}

std::vector<std::string> all_queues() {
  auto queues = queues_of_store();
  queues.emplace_back(ledger::kQueue);
  return queues;
}

std::filesystem::path socket_path(const Config& config) {
  if (store_kind(config) == StoreKind::postgres) return {};
  return store::sqlite::DataDirectory::socket_path(config.data_dir);
}

bool is_served(const Config& config) {
  return api::LocalClient({.socket_path = socket_path(config)}).request(api::Method::get, "/health").has_value();
}

struct Runtime::State {
  State(const Config& configuration, Logger& logger, RuntimeOptions runtime_options)
      : config(configuration),
        options(std::move(runtime_options)),
        log(logger),
        ids(clock),
        holder(delivery::holder_name(ids)),
        router(logger) {}

  // In the order of construction; destruction is the shutdown order.
  Config config;
  RuntimeOptions options;
  Logger& log;
  SystemClock clock;
  SystemIdSource ids;
  std::string holder;  // this process, among those that hold leases
  Metrics metrics;
  delivery::SystemWaiter waiter;
  std::unique_ptr<const events::Contracts> contracts;
  Stores stores;
  schedule::JobConfiguration job_configuration;
  std::unique_ptr<orchestrator::Orchestrator> orchestrator;
  std::unique_ptr<jobs::BatchJobWorker> batch_jobs;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  Buses buses;
  std::optional<analysis::Analysis> analysis;
  std::unique_ptr<delivery::DeadLetters> dead_letters;
  std::unique_ptr<delivery::EventIntake> intake;
  std::unique_ptr<delivery::Retention> retention;
  std::unique_ptr<Leases> leases;          // null: there is no other process
  std::unique_ptr<delivery::Relay> relay;  // null: the log is the bus
  std::vector<RunningRole> roles;
  std::atomic<int> waiting_for_ledger{0};
  std::stop_source stopping;
  api::Router router;
  std::vector<std::jthread> threads;
  std::jthread relay_thread;

  [[nodiscard]] bool has_role(std::string_view role) const {
    return std::ranges::find(config.roles, role) != config.roles.end();
  }

  [[nodiscard]] bool log_is_bus() const {
    return store_kind(config) == StoreKind::sqlite && bus_kind(config) == BusKind::embedded;
  }
  [[nodiscard]] store::Store& store() const { return *stores.store; }
  [[nodiscard]] store::LedgerStore& ledger() const { return *stores.ledger; }

  Result<void> open_stores() {
    TRY_ASSIGN(contracts, events::Contracts::load(config.event_bytes_max));
    TRY_ASSIGN(stores, app::open_stores(config, *contracts, clock, log, metrics));
    return {};
  }

  /// The scheduler is a part of that role.
  [[nodiscard]] std::vector<std::string> orchestrator_bindings() const {
    auto bindings = orchestrator->bindings();
    std::ranges::copy(scheduler::Scheduler::bindings(), std::back_inserter(bindings));
    return bindings;
  }

  /// Every queue of the installation.
  [[nodiscard]] std::vector<bus::QueueSpec> topology() const {
    std::vector<bus::QueueSpec> queues;
    queues.push_back({.queue = std::string(orchestrator::Orchestrator::kQueue), .bindings = orchestrator_bindings()});
    for (const auto& role : analysis::step_roles()) {
      auto consumer = role.consumer_options();
      queues.push_back({.queue = std::move(consumer.queue), .bindings = std::move(consumer.bindings)});
    }
    queues.push_back({.queue = std::string(jobs::BatchJobWorker::kQueue),
                      .bindings = jobs::BatchJobWorker::bindings(),
                      .plain = true,
                      .prefetch = 1});
    queues.push_back(
        {.queue = std::string(ledger::kQueue), .bindings = config.ledger_bindings, .single_active_consumer = true});
    return queues;
  }

  Result<void> open_bus() {
    TRY_ASSIGN(buses, app::open_bus(config, topology(), stores, *contracts, clock, log, metrics));
    if (buses.publisher == nullptr) return {};
    leases = std::make_unique<Leases>(store(), ledger(), holder, log, metrics);
    relay = std::make_unique<delivery::Relay>(store(), *stores.log, *buses.publisher, leases->relay.keeper,
                                              config.relay, clock, waiter, log, metrics);
    return {};
  }

  Result<void> open_orchestrator() {
    TRY_ASSIGN(auto current, read_definitions(config, *contracts));
    if (options.adjust_definition) std::ranges::for_each(current, options.adjust_definition);
    TRY_ASSIGN(auto definitions, orchestrator::Definitions::load(store(), std::move(current)));
    orchestrator = std::make_unique<orchestrator::Orchestrator>(store(), *contracts, std::move(definitions), ids, clock,
                                                                log, metrics, config.orchestrator);
    return {};
  }

  Result<void> read_jobs() {
    auto read = read_job_configuration(config);
    // Triggers of jobs that are not in the catalogue would fail as those of unknown ones.
    const bool needed = options.needs_jobs || options.keeps_schedules || options.works_batch_jobs;
    if (!read && needed) return std::unexpected(std::move(read).error());
    if (!read) log.warn("the jobs and schedules of the configuration are not used: {}", read.error().message);
    job_configuration =
        read ? *std::move(read) : schedule::JobConfiguration{.catalog = builtin_jobs(), .schedules = {}};
    return {};
  }

  Result<void> open_jobs() {
    TRY(read_jobs());
    if (options.adjust_jobs) options.adjust_jobs(job_configuration);
    const auto& catalog = job_configuration.catalog;
    config.jobs.is_alone = store_kind(config) == StoreKind::sqlite;  // the data directory is ours
    config.scheduler.attends = options.keeps_schedules;
    std::vector<std::unique_ptr<jobs::Job>> builtin;
    builtin.push_back(std::make_unique<jobs::RiskSnapshotBackfill>(ledger(), store(), config.risk_snapshot_backfill));
    builtin.push_back(std::make_unique<jobs::OutcomeSync>(store(), *contracts, ids, clock, config.outcome_sync));
    if (options.job) builtin.push_back(std::move(options.job));
    std::erase_if(builtin, [&](const auto& job) {
      const auto* const spec = catalog.find(job->name());
      return spec == nullptr || spec->kind != schedule::JobKind::builtin;
    });
    batch_jobs = std::make_unique<jobs::BatchJobWorker>(store(), *contracts, catalog, std::move(builtin), holder, ids,
                                                        clock, waiter, log, metrics, config.jobs);
    scheduler = std::make_unique<scheduler::Scheduler>(
        store(), *contracts, catalog,
        [this](std::string_view job, json::Value metadata) { return batch_jobs->check(job, metadata); }, ids, clock,
        waiter, log, metrics, config.scheduler);
    if (!options.keeps_schedules || !has_role(events::kOrchestratorRole)) return {};
    return scheduler->configure(job_configuration.schedules);
  }

  Result<void> open_services() {
    TRY_ASSIGN(analysis, load_analysis(config));
    dead_letters = std::make_unique<delivery::DeadLetters>(store(), *contracts, ids, clock, log, metrics);
    intake = std::make_unique<delivery::EventIntake>(store(), *contracts, clock, metrics);
    if (!log_is_bus()) {
      retention =
          std::make_unique<delivery::Retention>(store(), *stores.log, config.retention, clock, waiter, log, metrics);
      return {};
    }
    std::vector<delivery::OutsidePosition> outside;
    outside.push_back({std::string(ledger::kQueue), [this] { return ledger().position(ledger::kQueue); }});
    retention = std::make_unique<delivery::Retention>(store(), *stores.log, queues_of_store(), std::move(outside),
                                                      config.retention, clock, waiter, log, metrics);
    return {};
  }

  Result<void> add_loop(std::unique_ptr<bus::Consumer> consumer, RunningRole role) {
    const std::string queue = consumer->queue();
    delivery::Sink& sink = role.observed ? *role.observed : *role.sink;
    role.loop = std::make_unique<delivery::ConsumerLoop>(std::move(consumer), sink, config.delivery, clock, waiter, log,
                                                         metrics);
    roles.push_back(std::move(role));
    if (buses.publisher == nullptr) return {};
    // What the broker takes out of the queue by itself.
    TRY_ASSIGN(auto net, buses.bus->consume({.queue = queue + std::string(kNetSuffix), .bindings = {queue}}));
    RunningRole drain;
    if (queue == ledger::kQueue) {
      drain.sink = std::make_unique<ledger::LedgerSink>(ledger(), nullptr, clock, log, metrics, &leases->ledger.keeper);
    } else {
      drain.sink = std::make_unique<delivery::DrainSink>(store(), queue, ids, clock);
    }
    drain.loop = std::make_unique<delivery::ConsumerLoop>(std::move(net), *drain.sink, config.delivery, clock, waiter,
                                                          log, metrics);
    roles.push_back(std::move(drain));
    return {};
  }

  Result<void> open_roles() {
    if (has_role(events::kOrchestratorRole)) {
      TRY_ASSIGN(auto consumer, buses.bus->consume({.queue = std::string(orchestrator::Orchestrator::kQueue),
                                                    .bindings = orchestrator_bindings()}));
      RunningRole role;
      role.handler =
          std::make_unique<delivery::TypeRouter>(*orchestrator, *scheduler, scheduler::Scheduler::bindings());
      role.sink = std::make_unique<delivery::StoreSink>(store(), *role.handler, ids, clock);
      TRY(add_loop(std::move(consumer), std::move(role)));
    }
    const analysis::StepFunction& steps = options.steps ? *options.steps : *analysis;
    for (const auto& step_role : analysis::step_roles()) {
      if (!options.run_steps || !has_role(step_role.name)) continue;
      TRY_ASSIGN(auto consumer, buses.bus->consume(step_role.consumer_options()));
      RunningRole role;
      role.handler = std::make_unique<analysis::StepWorker>(step_role, steps, store(), *contracts, ids, clock, log);
      role.sink = std::make_unique<delivery::StoreSink>(store(), *role.handler, ids, clock);
      TRY(add_loop(std::move(consumer), std::move(role)));
    }
    if (has_role(events::kRiskAnalyticsRole) && options.works_batch_jobs) {
      TRY_ASSIGN(auto consumer, buses.bus->consume({.queue = std::string(jobs::BatchJobWorker::kQueue),
                                                    .bindings = jobs::BatchJobWorker::bindings()}));
      RunningRole role;
      role.sink = std::make_unique<delivery::StoreSink>(store(), *batch_jobs, ids, clock);
      TRY(add_loop(std::move(consumer), std::move(role)));
    }
    if (has_role(events::kLoggingRole)) {
      if (log_is_bus()) TRY(ledger::note_gap(ledger(), *stores.log, clock, log));
      TRY_ASSIGN(auto consumer, consume_for_ledger());
      RunningRole role;
      role.sink = std::make_unique<ledger::LedgerSink>(ledger(), log_is_bus() ? stores.log : nullptr, clock, log,
                                                       metrics, leases ? &leases->ledger.keeper : nullptr);
      if (options.on_ledger_commit) {
        role.observed = std::make_unique<ObservedSink>(*role.sink, options.on_ledger_commit);
      }
      TRY(add_loop(std::move(consumer), std::move(role)));
    }
    return {};
  }

  Result<std::unique_ptr<bus::Consumer>> consume_for_ledger() {
    if (log_is_bus()) return ledger::consume(*buses.bus, ledger(), config.ledger_bindings);
    return buses.bus->consume({.queue = std::string(ledger::kQueue), .bindings = config.ledger_bindings});
  }

  /// What this process has committed leaves it before it ends, if that takes no longer than a moment; else another
  /// process publishes it, or this one when it comes back.
  void stop_relay() {
    if (relay_thread.joinable()) {
      for (milliseconds waited{0}; waited < kFlushMax && publishes(); waited += kFlushPause) {
        waiter.wait(kFlushPause, {});
      }
      relay_thread = {};
    }
    if (leases) leases->release();
  }
  [[nodiscard]] bool publishes() {
    if (!leases->relay.keeper.is_held() || !relay->trouble().empty()) return false;
    std::int64_t waiting = 0;
    const auto read = store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(const auto counts, transaction.outbox().counts());
      waiting = counts.waiting - counts.parked;
      return {};
    });
    return read.has_value() && waiting > 0;
  }

  /// None where the role `logging` is off: there is nobody to wait for.
  std::function<Result<bool>()> ledger_catches_up() {
    if (!has_role(events::kLoggingRole) || !log_is_bus() || !options.works) return nullptr;
    // A ledger that does not proceed must not take the threads of all requests: few wait for it at once, and none while
    // it is in trouble.
    const int waiting_max = std::max(1, config.http.threads - 2);
    return
        [this, waiting_max, progress = ledger::LedgerProgress(ledger(), *stores.log, config.ledger_bindings, waiter)] {
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
    if (buses.trouble) {
      if (auto trouble = buses.trouble(); !trouble.empty()) reasons.push_back(std::move(trouble));
    }
    if (const auto admitted = store().admission(); !admitted) reasons.push_back(admitted.error().message);
    if (relay) {
      if (auto trouble = relay->trouble(); !trouble.empty()) reasons.push_back("relay: " + std::move(trouble));
    }
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
  if (state->options.works) TRY(check_pair(config));
  TRY(state->open_stores());
  TRY(state->open_orchestrator());
  TRY(state->open_jobs());
  TRY(state->open_services());
  if (state->options.works) {
    TRY(state->open_bus());
    TRY(state->open_roles());
  }
  State& s = *state;
  api::add_routes(s.router, {.orchestrator = *s.orchestrator,
                             .scheduler = *s.scheduler,
                             .store = s.store(),
                             .ledger = s.ledger(),
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

Result<void> Runtime::publish(std::span<const events::EventPtr> batch) {
  State& s = *state_;
  if (s.buses.publisher == nullptr) {
    return s.store().transact([&](store::Transaction& transaction) { return transaction.log().append(batch); });
  }
  TRY_ASSIGN(const auto outcomes, s.buses.publisher->publish(batch, kPublishWait, s.stopping.get_token()));
  for (const bus::Published outcome : outcomes) {
    if (outcome == bus::Published::returned) return fail(ErrorCode::conflict, "the broker has no queue for an event");
    if (outcome != bus::Published::confirmed) {
      return fail(ErrorCode::unavailable, "the broker did not confirm an event");
    }
  }
  return {};
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
    add_thread(thread_name(role.loop->queue()), [loop = role.loop.get()](std::stop_token stop) { loop->run(stop); });
  }
  if (s.has_role(events::kOrchestratorRole)) {
    add_thread("timers", [&s, lease = s.leases ? &s.leases->timers.keeper : nullptr](std::stop_token stop) {
      s.orchestrator->run_timers(s.config.self_check_interval, stop, lease);
    });
  }
  if (s.has_role(events::kOrchestratorRole) && s.options.keeps_schedules) {
    add_thread("scheduler", [&s](std::stop_token stop) { s.scheduler->run(stop); });
  }
  if (s.has_role(events::kRiskAnalyticsRole) && s.options.works_batch_jobs) {
    add_thread("batch jobs", [&s](std::stop_token stop) { s.batch_jobs->run(stop); });
  }
  add_thread("retention", [&s, lease = s.leases ? &s.leases->retention.keeper : nullptr](std::stop_token stop) {
    s.retention->run(stop, lease);
  });
  if (s.relay) {
    s.relay_thread = std::jthread([&s](std::stop_token stop) {
      name_this_thread("relay");
      s.relay->run(stop);
    });
  }
}

void Runtime::stop_waiting() { state_->stopping.request_stop(); }

void Runtime::stop() {
  stop_waiting();
  for (auto& thread : state_->threads) thread.request_stop();
  state_->threads.clear();  // joins
  state_->stop_relay();
}

const api::Router& Runtime::router() const { return state_->router; }
std::string Runtime::description() const {
  const State& s = *state_;
  return s.buses.bus ? fmt::format("{}; {}", s.stores.description, s.buses.description) : s.stores.description;
}
std::vector<std::string> Runtime::not_ready() const { return state_->not_ready(); }
Metrics& Runtime::metrics() { return state_->metrics; }
orchestrator::Orchestrator& Runtime::orchestrator() { return *state_->orchestrator; }
store::Store& Runtime::store() { return state_->store(); }
store::LogReader& Runtime::log() { return *state_->stores.log; }
store::LedgerStore& Runtime::ledger() { return state_->ledger(); }

}  // namespace wfo::app
