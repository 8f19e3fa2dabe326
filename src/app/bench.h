#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "app/command.h"
#include "app/config.h"
#include "app/runtime.h"
#include "app/server_processes.h"
#include "app/settings.h"
#include "base/json.h"
#include "bus/bus.h"
#include "events/contracts.h"
#include "orchestrator/orchestrator.h"
#include "store/ledger_store.h"

/// What the benchmarks are made of. For `wfo bench` alone.
namespace wfo::app {

using SteadyClock = std::chrono::steady_clock;

[[nodiscard]] double seconds_between(SteadyClock::time_point begin, SteadyClock::time_point end);

/// What this process and those it has started have used up to now.
struct Usage {
  double cpu_s = 0;
  double peak_rss_mb = 0;           // of all together, each at its highest
  std::uint64_t bytes_written = 0;  // handed to the disk

  [[nodiscard]] static Usage now(std::span<const pid_t> children = {});
};

/// What the servers have used up to now; nothing of those that are not on this machine.
struct ServerUsage {
  std::optional<double> broker_cpu_s;
  std::optional<double> database_cpu_s;
};

class Servers {
 public:
  explicit Servers(const Config& config);
  [[nodiscard]] ServerUsage usage() const;

 private:
  std::optional<ServerProcesses> broker_;
  std::optional<ServerProcesses> database_;
};

/// Which workflows are on their way, by trigger, and how long each took until its end was in the ledger. Any thread.
class Course {
 public:
  explicit Course(std::size_t workflows) { latencies_ms_.reserve(workflows); }

  void begin(const EventId& trigger);
  /// Entries of the ledger, as durable there.
  void observe(std::span<const bus::Delivery> batch);
  void observe(std::span<const store::LedgerEntry> entries);
  /// Until at most `count_max` are on their way. Returns how many are. Errors: `unavailable` none has ended for a
  /// minute.
  [[nodiscard]] Result<std::size_t> wait_for_at_most(std::size_t count_max);
  [[nodiscard]] std::size_t ended();

  // When all have ended.
  [[nodiscard]] std::size_t failed() const { return failed_; }
  [[nodiscard]] SteadyClock::time_point ended_at() const { return ended_at_; }
  [[nodiscard]] double quantile_ms(double share);

 private:
  void end(std::string_view type, const std::string& correlation_id, SteadyClock::time_point now);

  std::mutex mutex_;  // guards all that follows until all have ended
  std::condition_variable changed_;
  std::unordered_map<std::string, SteadyClock::time_point> begun_;
  std::vector<double> latencies_ms_;
  std::size_t failed_ = 0;
  SteadyClock::time_point ended_at_;
};

/// Reads the ledger again and again, as any other process could, and tells a course what has come.
class LedgerWatch {
 public:
  LedgerWatch(store::LedgerStore& ledger, TenantId tenant, Course& course);

 private:
  void run(std::stop_token stop);
  store::LedgerStore& ledger_;
  TenantId tenant_;
  Course& course_;
  std::jthread thread_;
};

/// Starts runs of opportunities of its own, at most 1,000 a transaction.
class Starter {
 public:
  Starter(Runtime& runtime, const TenantId& tenant, IdSource& ids) : runtime_(runtime), tenant_(tenant), ids_(ids) {}
  /// At most `count`. Errors: `conflict` one was not started.
  [[nodiscard]] Result<void> start(std::size_t count, Course* course);
  [[nodiscard]] std::size_t started() const { return started_; }

 private:
  Runtime& runtime_;
  TenantId tenant_;
  IdSource& ids_;
  std::size_t started_ = 0;
};

/// Where a benchmark runs: beside whatever else is there, and without a trace afterwards. In PostgreSQL that is a pair
/// of schemas of its own. The broker's queues have the names that the platform gave them, so it refuses those that
/// somebody uses, and takes those away that it made.
class BenchPlace {
 public:
  /// Sets the schemas in the command's configuration, too. Errors: `conflict` a queue is in use; as the servers else.
  [[nodiscard]] static Result<std::unique_ptr<BenchPlace>> open(Command& command);
  ~BenchPlace();
  BenchPlace(const BenchPlace&) = delete;
  BenchPlace& operator=(const BenchPlace&) = delete;
  [[nodiscard]] const Config& config() const { return config_; }

 private:
  explicit BenchPlace(const Config& config) : config_(config) {}
  const Config& config_;
  std::vector<std::string> schemas_;  // to be dropped
  std::vector<std::string> queues_;   // to be removed
};

/// Processes of this program that do the work: `wfo bench --replica`, with all settings of this one. They end with this
/// object, and with this process.
class Replicas {
 public:
  /// Returns when all of them work. Errors: `unavailable` one cannot be started, or ended.
  [[nodiscard]] static Result<std::unique_ptr<Replicas>> start(std::size_t count, const Settings& settings);
  ~Replicas();
  Replicas(const Replicas&) = delete;
  Replicas& operator=(const Replicas&) = delete;
  [[nodiscard]] std::vector<pid_t> ids() const;

 private:
  struct Replica {
    pid_t id = 0;
    int input = -1;   // closing it ends the replica
    int output = -1;  // it says on it when it works
  };
  Replicas() = default;
  Result<void> start_one(const Settings& settings);
  std::vector<Replica> replicas_;
};

/// How many events are durable in the ledger. Any thread.
class Tally {
 public:
  void add(std::size_t count);
  /// Calls `show` now and then. Errors: `unavailable` nothing has come for a minute.
  [[nodiscard]] Result<void> wait_for(std::size_t total, const std::function<void(std::size_t)>& show);

 private:
  std::mutex mutex_;  // guards count_
  std::condition_variable changed_;
  std::size_t count_ = 0;
};

/// An event of about 1 KB for the ledger: the end of a run with its results.
[[nodiscard]] Result<events::EventPtr> bench_event(const events::EventFactory& factory, const TenantId& tenant,
                                                   IdSource& ids);

/// A member whose value has `digits` behind the point; null without a value.
void write_rounded(json::Writer& out, std::string_view key, std::optional<double> value, int digits);

}  // namespace wfo::app
