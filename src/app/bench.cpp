#include "app/bench.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>

#include "bus/rabbitmq/rabbit_queues.h"
#include "delivery/waiter.h"
#include "events/types.h"
#include "store/postgres/schemas.h"

namespace wfo::app {
namespace {

constexpr std::size_t kStartBatchMax = 1'000;
constexpr milliseconds kStallMax{60'000};
constexpr milliseconds kWatchPause{5};
constexpr std::size_t kUuidTailAt = 24;  // of its text: the last twelve digits, which are random
constexpr int kReplicaNotStarted = 127;
constexpr std::size_t kWatchPage = 10'000;  // the most that a search gives

/// The number behind `name` in a file of lines `name: number …`; 0 if there is none.
std::uint64_t number_in(const std::filesystem::path& file, std::string_view name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) return std::strtoull(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

}  // namespace

double seconds_between(SteadyClock::time_point begin, SteadyClock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

Usage Usage::now(std::span<const pid_t> children) {
  Usage usage;
  rusage own{};
  getrusage(RUSAGE_SELF, &own);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  usage.cpu_s = seconds(own.ru_utime) + seconds(own.ru_stime);
  usage.peak_rss_mb = static_cast<double>(own.ru_maxrss) / 1024;
  usage.bytes_written = number_in("/proc/self/io", "write_bytes:");
  for (const pid_t child : children) {
    const std::filesystem::path process = fmt::format("/proc/{}", child);
    usage.cpu_s += cpu_s_of_tree(child).value_or(0);
    usage.peak_rss_mb += static_cast<double>(number_in(process / "status", "VmHWM:")) / 1024;
    usage.bytes_written += number_in(process / "io", "write_bytes:");
  }
  return usage;
}

Servers::Servers(const Config& config) {
  const auto find = [](const std::string& address) -> std::optional<ServerProcesses> {
    const auto endpoint = endpoint_of(address);
    return endpoint ? ServerProcesses::find(*endpoint) : std::nullopt;
  };
  if (bus_kind(config) == BusKind::rabbitmq) broker_ = find(config.bus_url);
  if (store_kind(config) == StoreKind::postgres) database_ = find(config.store_url);
}

ServerUsage Servers::usage() const {
  ServerUsage usage;
  if (broker_) usage.broker_cpu_s = broker_->cpu_s();
  if (database_) usage.database_cpu_s = database_->cpu_s();
  return usage;
}

void Course::begin(const EventId& trigger) {
  const std::scoped_lock lock(mutex_);
  begun_.emplace(trigger.to_string(), SteadyClock::now());
}

void Course::observe(std::span<const bus::Delivery> batch) {
  const auto now = SteadyClock::now();
  const std::scoped_lock lock(mutex_);
  for (const auto& delivery : batch) {
    if (delivery.event) end(delivery.event->type(), delivery.event->correlation_id(), now);
  }
  changed_.notify_all();
}

void Course::observe(std::span<const store::LedgerEntry> entries) {
  const auto now = SteadyClock::now();
  const std::scoped_lock lock(mutex_);
  for (const auto& entry : entries) {
    const auto event = json::Document::parse(entry.bytes);
    const auto metadata = event ? event->root().find("metadata") : std::nullopt;
    const auto correlation = metadata ? metadata->find("correlationId") : std::nullopt;
    if (correlation) end(entry.type, correlation->string().value_or(""), now);
  }
  changed_.notify_all();
}

void Course::end(std::string_view type, const std::string& correlation_id, SteadyClock::time_point now) {
  if (type != events::kAnalysisCompleted && type != events::kAnalysisFailed) return;
  const auto found = begun_.find(correlation_id);
  if (found == begun_.end()) return;
  if (type == events::kAnalysisFailed) ++failed_;
  latencies_ms_.push_back(seconds_between(found->second, now) * 1e3);
  begun_.erase(found);
  ended_at_ = now;
}

Result<std::size_t> Course::wait_for_at_most(std::size_t count_max) {
  std::unique_lock lock(mutex_);
  while (begun_.size() > count_max) {
    const std::size_t before = begun_.size();
    if (!changed_.wait_for(lock, kStallMax, [&] { return begun_.size() != before; })) {
      return fail(ErrorCode::unavailable, "no workflow has ended for {}; {} are on their way",
                  format_duration(kStallMax), before);
    }
  }
  return begun_.size();
}

std::size_t Course::ended() {
  const std::scoped_lock lock(mutex_);
  return latencies_ms_.size();
}

double Course::quantile_ms(double share) {
  if (latencies_ms_.empty()) return 0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(latencies_ms_.size() - 1));
  std::ranges::nth_element(latencies_ms_, latencies_ms_.begin() + static_cast<std::ptrdiff_t>(at));
  return latencies_ms_[at];
}

LedgerWatch::LedgerWatch(store::LedgerStore& ledger, TenantId tenant, Course& course)
    : ledger_(ledger), tenant_(tenant), course_(course), thread_([this](std::stop_token stop) { run(stop); }) {}

void LedgerWatch::run(std::stop_token stop) {
  delivery::SystemWaiter waiter;
  std::array<std::pair<std::string_view, store::LedgerIndex>, 2> ends = {
      {{events::kAnalysisCompleted, -1}, {events::kAnalysisFailed, -1}}};
  do {
    for (auto& [type, after] : ends) {
      const auto found =
          ledger_.search({.tenant = tenant_, .type = std::string(type), .after = after, .limit = kWatchPage});
      if (!found || found->empty()) continue;  // one that cannot be read now is read again
      after = found->back().index;
      course_.observe(*found);
    }
  } while (waiter.wait(kWatchPause, stop));
}

Result<void> Starter::start(std::size_t count, Course* course) {
  std::vector<orchestrator::StartRequest> wishes(std::min(count, kStartBatchMax));
  for (auto& wish : wishes) {
    wish.tenant = tenant_;
    wish.trigger_id = EventId(ids_.next());
    wish.trigger_type = "bench";
    wish.external_id = fmt::format("BENCH-{}", ++started_);
    wish.opportunity = opportunity_id(tenant_, wish.external_id);
    if (course) course->begin(wish.trigger_id);
  }
  TRY_ASSIGN(const auto answers, runtime_.orchestrator().start(wishes));
  for (const auto& answer : answers) {
    if (answer.outcome != store::TriggerOutcome::started) {
      return fail(ErrorCode::conflict, "a workflow was {} instead of started: {}; use an empty data directory",
                  name(answer.outcome), answer.reason);
    }
  }
  return {};
}

Result<std::unique_ptr<BenchPlace>> BenchPlace::open(Command& command) {
  TRY_ASSIGN(Config* const config, command.config());
  TRY(check_pair(*config));
  std::unique_ptr<BenchPlace> place(new BenchPlace(*config));
  if (bus_kind(*config) == BusKind::rabbitmq) {
    TRY_ASSIGN(const auto broker, bus::RabbitQueues::open(rabbit_config(*config)));
    for (const auto& queue : all_queues()) {
      TRY_ASSIGN(const auto state, broker->look(queue));
      if (!state) {
        place->queues_.push_back(queue);
        place->queues_.push_back(queue + ".dlq");
      } else if (state->messages > 0 || state->consumers > 0) {
        return fail(
            ErrorCode::conflict,
            "queue {} has {} messages and {} consumers; a benchmark would take them: give it a vhost of its own "
            "(rabbitmqctl add_vhost bench)",
            queue, state->messages, state->consumers);
      }
    }
  }
  if (store_kind(*config) == StoreKind::postgres) {
    SystemClock clock;
    const auto suffix = SystemIdSource(clock).next().to_string().substr(kUuidTailAt);
    place->schemas_ = {"wfo_bench_" + suffix, "wfo_bench_" + suffix + "_ledger"};
    TRY_ASSIGN(Settings* const settings, command.settings());
    TRY(settings->set("store.schema", {place->schemas_[0]}, Origin::flag));
    TRY(settings->set("ledger.schema", {place->schemas_[1]}, Origin::flag));
  }
  return place;
}

BenchPlace::~BenchPlace() {
  const auto complain = [](std::string_view what, const Result<void>& done) {
    if (!done) print_error(fmt::format("what the benchmark made is left behind: {}: {}", what, done.error().message));
  };
  if (!schemas_.empty()) {
    const auto ledger_url = postgres_ledger_config(config_).url;
    complain(schemas_[0], store::postgres::drop_schemas(config_.store_url, {schemas_[0]}));
    complain(schemas_[1], store::postgres::drop_schemas(ledger_url, {schemas_[1]}));
  }
  if (queues_.empty()) return;
  const auto broker = bus::RabbitQueues::open(rabbit_config(config_));
  for (const auto& queue : queues_) {
    complain(queue, broker ? (*broker)->remove(queue) : std::unexpected(broker.error()));
  }
}

Result<std::unique_ptr<Replicas>> Replicas::start(std::size_t count, const Settings& settings) {
  std::unique_ptr<Replicas> replicas(new Replicas);
  for (std::size_t i = 0; i < count; ++i) TRY(replicas->start_one(settings));
  for (const Replica& replica : replicas->replicas_) {
    char line = 0;
    if (read(replica.output, &line, 1) != 1) {
      return fail(ErrorCode::unavailable, "replica {} ended before it worked; its lines above say why", replica.id);
    }
  }
  return replicas;
}

Result<void> Replicas::start_one(const Settings& settings) {
  // Made before the fork: behind it only what is safe beside other threads may be called.
  std::vector<std::string> environment;
  for (const auto& [name, value] : process_environment()) {
    if (!name.starts_with("WFO_")) environment.push_back(name + "=" + value);
  }
  for (const Setting& setting : settings.all()) {
    environment.push_back(
        fmt::format("{}={}", Settings::environment_name(setting.path), fmt::join(setting.get(), ",")));
  }
  std::vector<char*> variables;
  for (auto& variable : environment) variables.push_back(variable.data());
  variables.push_back(nullptr);
  std::array<char, 4> program{"wfo"};
  std::array<char, 6> verb{"bench"};
  std::array<char, 10> flag{"--replica"};
  std::array<char*, 4> arguments{program.data(), verb.data(), flag.data(), nullptr};

  std::array<int, 2> input{};
  std::array<int, 2> output{};
  if (pipe2(input.data(), O_CLOEXEC) != 0 || pipe2(output.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::unavailable, "no pipe to a replica: {}", std::strerror(errno));
  }
  const pid_t id = fork();
  if (id == 0) {
    if (dup2(input[0], STDIN_FILENO) < 0 || dup2(output[1], STDOUT_FILENO) < 0) _exit(kReplicaNotStarted);
    execve("/proc/self/exe", arguments.data(), variables.data());
    _exit(kReplicaNotStarted);
  }
  close(input[0]);
  close(output[1]);
  replicas_.push_back({.id = id, .input = input[1], .output = output[0]});
  if (id < 0) return fail(ErrorCode::unavailable, "no process for a replica: {}", std::strerror(errno));
  return {};
}

Replicas::~Replicas() {
  for (const Replica& replica : replicas_) {
    close(replica.input);
    close(replica.output);
  }
  for (const Replica& replica : replicas_) {
    if (replica.id > 0) waitpid(replica.id, nullptr, 0);
  }
}

std::vector<pid_t> Replicas::ids() const {
  std::vector<pid_t> ids;
  for (const Replica& replica : replicas_) ids.push_back(replica.id);
  return ids;
}

void Tally::add(std::size_t count) {
  const std::scoped_lock lock(mutex_);
  count_ += count;
  changed_.notify_all();
}

Result<void> Tally::wait_for(std::size_t total, const std::function<void(std::size_t)>& show) {
  std::unique_lock lock(mutex_);
  while (count_ < total) {
    const std::size_t before = count_;
    if (!changed_.wait_for(lock, kStallMax, [&] { return count_ != before; })) {
      return fail(ErrorCode::unavailable, "no event has reached the ledger for {}; {} of {} have",
                  format_duration(kStallMax), before, total);
    }
    show(count_);
  }
  return {};
}

Result<events::EventPtr> bench_event(const events::EventFactory& factory, const TenantId& tenant, IdSource& ids) {
  constexpr std::size_t kPadding = 560;  // with the envelope and the ids: 1 KB
  return factory.make(events::kAnalysisCompleted, tenant, nullptr, [&](json::Writer& out) {
    const WorkflowId workflow(ids.next());
    out.begin_object().key("workflowId").uuid(workflow).key("opportunityId").uuid(OpportunityId(ids.next()));
    out.key("results").begin_object().key("risk").begin_object();
    out.key("explanation").string(std::string(kPadding, 'x'));
    out.end_object().end_object().end_object();
  });
}

void write_rounded(json::Writer& out, std::string_view key, std::optional<double> value, int digits) {
  out.key(key).raw(value ? fmt::format("{:.{}f}", *value, digits) : "null");
}

}  // namespace wfo::app
