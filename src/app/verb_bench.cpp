#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <thread>

#include "analysis/steps.h"
#include "app/bench.h"
#include "app/command.h"
#include "app/runtime.h"
#include "app/terminal.h"
#include "delivery/waiter.h"
#include "events/types.h"
#include "jobs/job.h"

namespace wfo::app {
namespace {

constexpr std::size_t kEventsOfBatch = 1'000;  // that are published together

struct BenchArguments {
  std::string work = "opp4";
  std::size_t workflows = 20'000;
  std::size_t concurrency = 1'000;
  std::size_t replicas = 0;
  std::size_t minutes = 3;
  bool is_replica = false;
};

std::uint64_t bytes_on_disk(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

void write_settings(json::Writer& out, const Config& config, const BenchArguments& arguments) {
  const bool shared = store_kind(config) == StoreKind::postgres;
  const bool broker = bus_kind(config) == BusKind::rabbitmq;
  out.key("settings").begin_object().key("store").string(shared ? "postgresql" : "sqlite");
  out.key("bus").string(broker ? "rabbitmq" : "embedded");
  out.key("replicas").number(static_cast<std::int64_t>(arguments.replicas));
  if (shared) {
    out.key("connections").number(std::int64_t{config.postgres.connections});
  } else {
    out.key("fsync").string("full: before every acknowledgement").key("journal").string("wal");
    out.key("page_bytes").number(std::int64_t{config.store.page_bytes});
    out.key("checkpoint_pages").number(std::int64_t{config.store.checkpoint_pages});
    out.key("cache_kib").number(std::int64_t{config.store.cache_kib});
    out.key("ledger_page_bytes").number(std::int64_t{config.ledger.page_bytes});
    out.key("ledger_checkpoint_pages").number(std::int64_t{config.ledger.checkpoint_pages});
  }
  if (broker) {
    out.key("prefetch").number(std::int64_t{config.rabbit.prefetch});
    out.key("confirm_window").number(static_cast<std::int64_t>(config.rabbit.confirm_window));
  }
  out.key("batch_max").number(static_cast<std::int64_t>(config.delivery.batch_max));
  out.key("cores").number(std::int64_t{std::thread::hardware_concurrency()});
  utsname system{};
  uname(&system);
  out.key("system").string(fmt::format("{} {}", system.sysname, system.release)).end_object();
}

/// What was used between two looks, for each of `count` things.
struct Spent {
  Usage before;
  Usage after;
  ServerUsage servers_before;
  ServerUsage servers_after;

  void write(json::Writer& out, std::string_view thing, double count, bool writes_files) const {
    const auto each = [&](std::optional<double> begin, std::optional<double> end) -> std::optional<double> {
      return begin && end ? std::optional((*end - *begin) * 1e3 / count) : std::nullopt;
    };
    write_rounded(out, fmt::format("cpu_ms_per_{}", thing), each(before.cpu_s, after.cpu_s), 4);
    write_rounded(out, fmt::format("cpu_broker_ms_per_{}", thing),
                  each(servers_before.broker_cpu_s, servers_after.broker_cpu_s), 4);
    write_rounded(out, fmt::format("cpu_database_ms_per_{}", thing),
                  each(servers_before.database_cpu_s, servers_after.database_cpu_s), 4);
    const auto bytes = static_cast<double>(after.bytes_written - before.bytes_written);
    write_rounded(out, fmt::format("bytes_written_per_{}", thing),
                  writes_files ? std::optional(bytes / count) : std::nullopt, 0);
    write_rounded(out, "peak_rss_mb", after.peak_rss_mb, 1);
  }
};

/// A replica of a benchmark: does the work, until whoever started it goes away.
Result<int> work_as_replica(Command& command) {
  TRY_ASSIGN(const Config* const config, command.config());
  const analysis::NoWork no_work;
  TRY_ASSIGN(const auto runtime, Runtime::open(*config, command.logger(), {.steps = &no_work}));
  runtime->start();
  print("\n");
  std::fflush(stdout);
  for (char byte = 0; read(STDIN_FILENO, &byte, 1) > 0;) {
  }
  runtime->stop();
  return kExitDone;
}

/// Work `opp4`: runs with their four steps doing nothing, all events published, the ledger on, everything durable. A
/// run counts when its end is in the ledger.
Result<int> bench_opp4(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const auto place, BenchPlace::open(command));
  const Config& config = place->config();
  const bool alone = arguments.replicas == 0;
  if (!alone && store_kind(config) == StoreKind::sqlite) {
    return fail(
        ErrorCode::invalid_argument,
        "--replicas is '{}', and the store is SQLite, which one process uses; allowed: with --store postgresql://…",
        arguments.replicas);
  }
  const analysis::NoWork no_work;
  Course course(arguments.workflows);
  RuntimeOptions options;
  options.steps = &no_work;
  options.works = alone;
  if (alone) options.on_ledger_commit = [&course](std::span<const bus::Delivery> batch) { course.observe(batch); };
  TRY_ASSIGN(const auto runtime, Runtime::open(config, command.logger(), std::move(options)));
  std::unique_ptr<Replicas> replicas;
  std::optional<LedgerWatch> watch;
  if (!alone) {
    TRY_ASSIGN(const Settings* const settings, command.settings());
    TRY_ASSIGN(replicas, Replicas::start(arguments.replicas, *settings));
    watch.emplace(runtime->ledger(), config.tenant, course);
  }
  const std::vector<pid_t> children = replicas ? replicas->ids() : std::vector<pid_t>();
  if (alone) runtime->start();
  SystemClock clock;
  SystemIdSource ids(clock);
  Starter starter(*runtime, config.tenant, ids);

  Progress progress("workflows", command.quiet());
  const Servers servers(config);
  Spent spent{.before = Usage::now(children), .after = {}, .servers_before = servers.usage(), .servers_after = {}};
  const auto sequence_before = runtime->log().last();
  const auto begun = SteadyClock::now();
  while (starter.started() < arguments.workflows) {
    TRY_ASSIGN(const std::size_t on_the_way, course.wait_for_at_most(arguments.concurrency - 1));
    TRY(starter.start(std::min(arguments.concurrency - on_the_way, arguments.workflows - starter.started()), &course));
    progress.show(course.ended(), arguments.workflows);
  }
  // What the ledger lacks of the log when the orchestrator has decided everything.
  std::optional<SteadyClock::time_point> decided;
  if (alone) {
    Counter& completed = runtime->metrics().counter("workflows_completed_total", "Runs that completed all their steps");
    while (course.ended() < arguments.workflows && completed.value() < static_cast<double>(arguments.workflows)) {
      usleep(200);
    }
    decided = SteadyClock::now();
  }
  TRY(course.wait_for_at_most(0));
  const double elapsed_s = seconds_between(begun, course.ended_at());
  spent.after = Usage::now(children);
  spent.servers_after = servers.usage();
  const auto events = runtime->log().last() - sequence_before;
  watch.reset();
  replicas.reset();
  runtime->stop();

  const auto count = static_cast<double>(arguments.workflows);
  std::string text;
  json::Writer out(text);
  out.begin_object().key("work").string(arguments.work);
  out.key("workflows").number(static_cast<std::int64_t>(arguments.workflows));
  out.key("concurrency").number(static_cast<std::int64_t>(arguments.concurrency));
  out.key("failed").number(static_cast<std::int64_t>(course.failed()));
  write_rounded(out, "elapsed_s", elapsed_s, 3);
  write_rounded(out, "workflows_per_s", count / elapsed_s, 1);
  write_rounded(out, "latency_p50_ms", course.quantile_ms(0.5), 3);
  write_rounded(out, "latency_p99_ms", course.quantile_ms(0.99), 3);
  write_rounded(out, "latency_p999_ms", course.quantile_ms(0.999), 3);
  write_rounded(out, "latency_max_ms", course.quantile_ms(1), 3);
  write_rounded(out, "events_per_s", static_cast<double>(events) / elapsed_s, 0);
  out.key("events_per_workflow").number(static_cast<double>(events) / count);
  write_rounded(out, "ledger_lag_s",
                decided ? std::optional(std::max(0.0, seconds_between(*decided, course.ended_at()))) : std::nullopt, 4);
  spent.write(out, "workflow", count, store_kind(config) == StoreKind::sqlite);
  write_settings(out, config, arguments);
  out.end_object();
  print(text + "\n");
  return course.failed() == 0 ? kExitDone : kExitFailed;
}

/// Work `ledger`: the role `logging` alone. Events of about 1 KB wait in its queue; then it may begin. One counts when
/// it is durable in the ledger.
Result<int> bench_ledger(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const auto place, BenchPlace::open(command));
  Config config = place->config();
  config.roles = {std::string(events::kLoggingRole)};
  Tally tally;
  RuntimeOptions options;
  options.on_ledger_commit = [&tally](std::span<const bus::Delivery> batch) { tally.add(batch.size()); };
  TRY_ASSIGN(const auto runtime, Runtime::open(config, command.logger(), std::move(options)));
  Progress progress("events", command.quiet());
  SystemClock clock;
  SystemIdSource ids(clock);
  TRY_ASSIGN(const auto contracts, events::Contracts::load());
  const events::EventFactory factory(*contracts, ids, clock, events::kOrchestratorRole);
  const std::size_t total = arguments.workflows;
  double event_bytes = 0;
  for (std::size_t made = 0; made < total;) {
    std::vector<events::EventPtr> batch;
    for (std::size_t i = 0; i < kEventsOfBatch && made < total; ++i, ++made) {
      TRY_ASSIGN(auto event, bench_event(factory, config.tenant, ids));
      event_bytes += static_cast<double>(event->bytes().size());
      batch.push_back(std::move(event));
    }
    TRY(runtime->publish(batch));
    progress.show(made / 2, total);  // the first half of the work
  }

  const Servers servers(config);
  Spent spent{.before = Usage::now(), .after = {}, .servers_before = servers.usage(), .servers_after = {}};
  const auto begun = SteadyClock::now();
  runtime->start();
  TRY(tally.wait_for(total, [&](std::size_t taken) { progress.show((total + taken) / 2, total); }));
  const double elapsed_s = seconds_between(begun, SteadyClock::now());
  spent.after = Usage::now();
  spent.servers_after = servers.usage();
  runtime->stop();
  TRY_ASSIGN(const auto size, runtime->ledger().size(config.tenant));

  const auto count = static_cast<double>(total);
  std::string text;
  json::Writer out(text);
  out.begin_object().key("work").string(arguments.work).key("events").number(static_cast<std::int64_t>(total));
  write_rounded(out, "event_bytes", event_bytes / count, 0);
  write_rounded(out, "elapsed_s", elapsed_s, 3);
  write_rounded(out, "events_per_s", count / elapsed_s, 1);
  spent.write(out, "event", count, store_kind(config) == StoreKind::sqlite);
  write_settings(out, config, arguments);
  out.end_object();
  print(text + "\n");
  if (size == static_cast<store::LedgerIndex>(total)) return kExitDone;
  return fail(ErrorCode::internal, "{} events were handed in, and the ledger has {}", total, size);
}

/// Work `waiting`: runs whose steps nobody answers for a day. What they cost in memory and on disk, and whether new
/// work is still taken.
Result<int> bench_waiting(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const auto place, BenchPlace::open(command));
  const Config& config = place->config();
  RuntimeOptions options;
  options.run_steps = false;
  options.adjust_definition = [](workflow::Definition& definition) {
    definition.version += "-waiting";
    definition.run_deadline = std::chrono::hours(25);
    for (auto& step : definition.steps) step.timeout = std::chrono::hours(24);
  };
  TRY_ASSIGN(const auto runtime, Runtime::open(config, command.logger(), std::move(options)));
  runtime->start();
  SystemClock clock;
  SystemIdSource ids(clock);
  Starter starter(*runtime, config.tenant, ids);
  Progress progress("workflows", command.quiet());
  const auto begun = SteadyClock::now();
  while (starter.started() < arguments.workflows) {
    TRY(starter.start(arguments.workflows - starter.started(), nullptr));
    progress.show(starter.started(), arguments.workflows);
  }
  const double elapsed_s = seconds_between(begun, SteadyClock::now());

  const auto asked = SteadyClock::now();
  TRY(starter.start(1, nullptr));
  const double one_more_ms = seconds_between(asked, SteadyClock::now()) * 1e3;
  std::int64_t active = 0;
  TRY(runtime->store().read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(active, transaction.runs().count_active());
    return {};
  }));
  runtime->stop();

  std::string text;
  json::Writer out(text);
  out.begin_object().key("work").string(arguments.work);
  out.key("workflows").number(static_cast<std::int64_t>(arguments.workflows));
  out.key("active").number(active);
  write_rounded(out, "elapsed_s", elapsed_s, 3);
  write_rounded(out, "starts_per_s", static_cast<double>(arguments.workflows) / elapsed_s, 1);
  write_rounded(out, "one_more_start_ms", one_more_ms, 3);
  write_rounded(out, "peak_rss_mb", Usage::now().peak_rss_mb, 1);
  if (store_kind(config) == StoreKind::sqlite) {
    out.key("disk_bytes").number(static_cast<std::int64_t>(bytes_on_disk(config.data_dir)));
  }
  write_settings(out, config, arguments);
  out.end_object();
  print(text + "\n");
  return active == static_cast<std::int64_t>(arguments.workflows) + 1 ? kExitDone : kExitFailed;
}

constexpr std::string_view kBenchJob = "bench";

/// A built-in job that has nothing to do.
class EmptyJob final : public jobs::Job {
 public:
  std::string_view name() const override { return kBenchJob; }
  Result<void> check(json::Value) const override { return {}; }
  Result<jobs::Slice> next(const schedule::JobRun&, std::stop_token) override {
    jobs::Slice slice;
    slice.is_last = true;
    return slice;
  }
};

/// How late fires are: from the moment that the schedule names until their trigger is durable in the ledger. Any
/// thread.
class FireWatch {
 public:
  void observe(std::span<const bus::Delivery> batch, Timestamp now) {
    const std::lock_guard lock(mutex_);
    for (const auto& delivery : batch) {
      if (!delivery.event) continue;
      if (delivery.event->type() == events::kJobCompleted) ++completed_;
      const auto fire = delivery.event->data().find("scheduledFor");
      if (delivery.event->type() != events::kJobTrigger || !fire) continue;
      if (const auto at = fire->timestamp()) lateness_ms_.push_back(static_cast<double>((now - *at).count()));
    }
  }
  [[nodiscard]] std::pair<std::size_t, std::size_t> triggered_and_completed() {
    const std::lock_guard lock(mutex_);
    return {lateness_ms_.size(), completed_};
  }
  [[nodiscard]] double quantile_ms(double share) {
    const std::lock_guard lock(mutex_);
    if (lateness_ms_.empty()) return 0;
    const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(lateness_ms_.size() - 1));
    std::nth_element(lateness_ms_.begin(), lateness_ms_.begin() + place, lateness_ms_.end());
    return lateness_ms_[static_cast<std::size_t>(place)];
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::vector<double> lateness_ms_;
  std::size_t completed_ = 0;
};

schedule::JobConfiguration bench_schedules_of(std::size_t count) {
  schedule::JobConfiguration jobs;
  jobs.catalog = schedule::JobCatalog({{.name = std::string(kBenchJob), .kind = schedule::JobKind::builtin}});
  for (std::size_t i = 0; i < count; ++i) {
    schedule::Schedule one;
    one.name = fmt::format("bench-{:06}", i);
    one.job = kBenchJob;
    one.cron = {"* * * * *"};
    one.time_zone = i % 2 == 0 ? "UTC" : "America/New_York";
    jobs.schedules.push_back(std::move(one));
  }
  return jobs;
}

/// Work `schedules`: so many schedules, each of which fires every minute; each fire's run is worked by a job that has
/// nothing to do. How late they are, and what it costs.
Result<int> bench_schedules(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const auto place, BenchPlace::open(command));
  const Config& config = place->config();
  SystemClock clock;
  FireWatch watch;
  RuntimeOptions options;
  options.job = std::make_unique<EmptyJob>();
  options.adjust_jobs = [&](schedule::JobConfiguration& jobs) { jobs = bench_schedules_of(arguments.workflows); };
  options.keeps_schedules = true;
  options.works_batch_jobs = true;
  options.on_ledger_commit = [&](std::span<const bus::Delivery> batch) { watch.observe(batch, clock.now()); };
  TRY_ASSIGN(const auto runtime, Runtime::open(config, command.logger(), std::move(options)));
  runtime->start();
  delivery::SystemWaiter waiter;
  const auto wait_until = [&](Timestamp time) { waiter.wait(std::max(milliseconds(1), time - clock.now()), {}); };
  // The first fires that count are those of the first minute that begins after all is ready. From half a second before
  // it to half a second before the one behind the last.
  const Timestamp first = std::chrono::ceil<std::chrono::minutes>(clock.now() + std::chrono::seconds(2));
  const std::chrono::minutes length(arguments.minutes);
  wait_until(first - milliseconds(500));
  const Usage before = Usage::now();
  const auto [triggered_before, completed_before] = watch.triggered_and_completed();
  Progress progress("fires", command.quiet());
  const std::size_t total = arguments.workflows * arguments.minutes;
  while (clock.now() < first + length - milliseconds(500)) {
    wait_until(std::min(clock.now() + milliseconds(1'000), first + length - milliseconds(500)));
    progress.show(watch.triggered_and_completed().first, total);
  }
  const Usage after = Usage::now();
  const auto [triggered, completed] = watch.triggered_and_completed();
  runtime->stop();

  std::string text;
  json::Writer out(text);
  out.begin_object().key("work").string(arguments.work);
  out.key("schedules").number(static_cast<std::int64_t>(arguments.workflows));
  out.key("minutes").number(static_cast<std::int64_t>(arguments.minutes));
  out.key("triggered").number(static_cast<std::int64_t>(triggered - triggered_before));
  out.key("completed").number(static_cast<std::int64_t>(completed - completed_before));
  write_rounded(out, "lateness_p50_ms", watch.quantile_ms(0.5), 0);
  write_rounded(out, "lateness_p99_ms", watch.quantile_ms(0.99), 0);
  write_rounded(out, "lateness_max_ms", watch.quantile_ms(1), 0);
  write_rounded(out, "cpu_cores", (after.cpu_s - before.cpu_s) / std::chrono::duration<double>(length).count(), 3);
  write_rounded(out, "cpu_ms_per_fire", (after.cpu_s - before.cpu_s) * 1e3 / static_cast<double>(total), 3);
  write_rounded(out, "peak_rss_mb", after.peak_rss_mb, 1);
  write_settings(out, config, arguments);
  out.end_object();
  print(text + "\n");
  return triggered - triggered_before == total ? kExitDone : kExitFailed;
}

}  // namespace

void add_bench(CLI::App& app, Command& command) {
  CLI::App* const verb = app.add_subcommand(
      "bench",
      "Measure this machine; prints one JSON object. Use a data directory of its own that is empty; in PostgreSQL "
      "it makes schemas of its own, and it refuses queues that somebody uses");
  auto arguments = std::make_shared<BenchArguments>();
  verb->add_option(
          "--work", arguments->work,
          "opp4: runs whose four steps do nothing; waiting: runs whose steps nobody answers; ledger: events that "
          "the role logging finds in its queue; schedules: each fires every minute")
      ->check(CLI::IsMember({"opp4", "waiting", "ledger", "schedules"}))
      ->capture_default_str();
  verb->add_option("--workflows", arguments->workflows,
                   "How many; with ledger, how many events; with schedules, how many of those")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000'000}))
      ->capture_default_str()
      ->type_name("N");
  verb->add_option("--concurrency", arguments->concurrency, "How many are on their way at once")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->capture_default_str()
      ->type_name("C");
  verb->add_option("--replicas", arguments->replicas,
                   "opp4 with PostgreSQL: so many processes do the work, and this one watches the ledger; 0: this one "
                   "does it")
      ->check(CLI::Range(std::size_t{0}, std::size_t{64}))
      ->capture_default_str()
      ->type_name("R");
  verb->add_option("--minutes", arguments->minutes, "schedules: for how long")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10'000}))
      ->capture_default_str()
      ->type_name("M");
  verb->add_flag("--replica", arguments->is_replica)->group("");  // for --replicas alone
  verb->callback([&command, arguments] {
    command.action = [&command, arguments] {
      if (arguments->is_replica) return work_as_replica(command);
      if (arguments->work == "ledger") return bench_ledger(command, *arguments);
      if (arguments->work == "schedules") return bench_schedules(command, *arguments);
      return arguments->work == "opp4" ? bench_opp4(command, *arguments) : bench_waiting(command, *arguments);
    };
  });
}

}  // namespace wfo::app
