#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "api/router.h"
#include "app/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "bus/bus.h"
#include "jobs/job.h"
#include "orchestrator/orchestrator.h"
#include "schedule/schedule.h"
#include "store/ledger_store.h"
#include "store/store.h"

namespace wfo::analysis {
class StepFunction;
}

namespace wfo::app {

/// What tests and benchmarks put in the place of the real thing.
struct RuntimeOptions {
  const analysis::StepFunction* steps = nullptr;  // instead of the four built-in analyses
  /// Called with each current definition before it is used; it must change the version, too.
  std::function<void(workflow::Definition&)> adjust_definition = nullptr;
  /// Called with the jobs and schedules of the configuration before they are used.
  std::function<void(schedule::JobConfiguration&)> adjust_jobs = nullptr;
  bool works = true;                         // false: only answers; no bus, no roles, no timers
  std::unique_ptr<jobs::Job> job = nullptr;  // one more that is built in, if the configuration has it
  bool run_steps = true;                     // false: nobody answers the steps' requests
  /// Makes the schedules of the configuration those of the installation, and triggers what is due: what a server does.
  bool keeps_schedules = false;
  /// Takes triggers of batch jobs, and works on runs of built-in ones. A command that ends soon, and may know other
  /// jobs than the servers, leaves both to them.
  bool works_batch_jobs = false;
  /// Does not open if the files of jobs and schedules are wrong. Else that is a warning, the built-in jobs are those
  /// that there are. Who keeps schedules or works on
  /// batch jobs always needs them.
  bool needs_jobs = false;
  /// Called with each batch that has become durable in the ledger; on the ledger's thread.
  std::function<void(std::span<const bus::Delivery>)> on_ledger_commit = nullptr;
};

/// An installation in this process: the composition root. The one place that names concrete stores and buses and says
/// what is built from what; destruction is the reverse.
class Runtime {
 public:
  /// Opens the data directory, brings its files to the newest schema and checks itself. Errors: `conflict` another
  /// process serves the directory; `unavailable` it cannot be used; `invalid_argument` the configuration.
  [[nodiscard]] static Result<std::unique_ptr<Runtime>> open(const Config& config, Logger& logger,
                                                             RuntimeOptions options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Lets the configured roles work, each on a thread of its own.
  void start();
  /// Requests that wait for the ledger are answered at once from now on; for a server that is about to stop.
  void stop_waiting();
  /// No new messages; what is in hand is finished or released; then the threads end. Again: nothing.
  void stop();

  /// Hands events to those who consume them, past all roles, durably: to the broker, or into the log where that is the
  /// bus. Before `start`. Errors: `unavailable` the broker or the store is away; `conflict` no queue wants one.
  [[nodiscard]] Result<void> publish(std::span<const events::EventPtr> batch);

  /// All routes of the API.
  [[nodiscard]] const api::Router& router() const;
  /// Which stores and which bus, for people; no secrets.
  [[nodiscard]] std::string description() const;
  /// Why the installation takes no new work; empty: it is ready.
  [[nodiscard]] std::vector<std::string> not_ready() const;
  [[nodiscard]] Metrics& metrics();
  [[nodiscard]] orchestrator::Orchestrator& orchestrator();
  [[nodiscard]] store::Store& store();
  [[nodiscard]] store::LogReader& log();
  [[nodiscard]] store::LedgerStore& ledger();

 private:
  struct State;
  explicit Runtime(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The workflow definitions that new runs get: of the configured files, else the built-in ones.
[[nodiscard]] Result<std::vector<workflow::Definition>> read_definitions(const Config& config,
                                                                         const events::Contracts& contracts);
/// The jobs and schedules of the built-in file and the configured ones, with metadata that their jobs can use. Errors:
/// `invalid_argument`, all of them, with the variables of the environment that are to blame; `not_found` a file.
[[nodiscard]] Result<schedule::JobConfiguration> read_job_configuration(const Config& config);
/// Whether everything that a server reads of files and settings is good, without a store or a bus. Errors: as `open`.
[[nodiscard]] Result<void> check_configuration(const Config& config);
/// The queues of all roles, whichever run in this process, and that of the batch jobs.
[[nodiscard]] std::vector<std::string> all_queues();
/// Whether a process serves the data directory: its socket answers.
[[nodiscard]] bool is_served(const Config& config);
/// Where it listens for others on this machine; empty where the store is PostgreSQL, which they reach by themselves.
[[nodiscard]] std::filesystem::path socket_path(const Config& config);

}  // namespace wfo::app
