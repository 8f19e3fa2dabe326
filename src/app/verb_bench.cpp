#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "analysis/steps.h"
#include "app/command.h"
#include "app/runtime.h"
#include "app/terminal.h"
#include "events/types.h"

namespace wfo::app {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kStartBatchMax = 1'000;
constexpr milliseconds kStallMax{60'000};

struct BenchArguments {
  std::string work = "opp4";
  std::size_t workflows = 20'000;
  std::size_t concurrency = 1'000;
};

double seconds_between(SteadyClock::time_point begin, SteadyClock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// What the process has used up to now.
struct Usage {
  double cpu_s = 0;
  double peak_rss_mb = 0;
  std::uint64_t bytes_written = 0;  // handed to the disk

  static Usage now() {
    Usage usage;
    rusage own{};
    getrusage(RUSAGE_SELF, &own);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    usage.cpu_s = seconds(own.ru_utime) + seconds(own.ru_stime);
    usage.peak_rss_mb = static_cast<double>(own.ru_maxrss) / 1024;
    std::ifstream io("/proc/self/io");
    for (std::string name; io >> name;) {
      std::uint64_t value = 0;
      io >> value;
      if (name == "write_bytes:") usage.bytes_written = value;
    }
    return usage;
  }
};

std::uint64_t bytes_on_disk(const std::filesystem::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

/// Which workflows are on their way, by trigger, and how long each took until its end was in the ledger.
class Course {
 public:
  explicit Course(std::size_t workflows) { latencies_ms_.reserve(workflows); }

  void begin(const EventId& trigger) {
    const std::scoped_lock lock(mutex_);
    begun_.emplace(trigger.to_string(), SteadyClock::now());
  }
  void observe(std::span<const bus::Delivery> batch) {
    const auto now = SteadyClock::now();
    const std::scoped_lock lock(mutex_);
    for (const auto& delivery : batch) {
      if (!delivery.event) continue;
      const auto& type = delivery.event->type();
      if (type == events::kAnalysisFailed) ++failed_;
      if (type != events::kAnalysisCompleted && type != events::kAnalysisFailed) continue;
      const auto found = begun_.find(delivery.event->correlation_id());
      if (found == begun_.end()) continue;
      latencies_ms_.push_back(seconds_between(found->second, now) * 1e3);
      begun_.erase(found);
      ended_at_ = now;
    }
    changed_.notify_all();
  }
  /// Until at most `count_max` are on their way. Returns how many are. Errors: `unavailable` none has ended for
  /// `kStallMax`.
  Result<std::size_t> wait_for_at_most(std::size_t count_max) {
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
  [[nodiscard]] std::size_t ended() {
    const std::scoped_lock lock(mutex_);
    return latencies_ms_.size();
  }
  [[nodiscard]] std::size_t failed() const { return failed_; }
  [[nodiscard]] SteadyClock::time_point ended_at() const { return ended_at_; }
  [[nodiscard]] double quantile_ms(double share) {
    if (latencies_ms_.empty()) return 0;
    const auto at = static_cast<std::size_t>(share * static_cast<double>(latencies_ms_.size() - 1));
    std::ranges::nth_element(latencies_ms_, latencies_ms_.begin() + static_cast<std::ptrdiff_t>(at));
    return latencies_ms_[at];
  }

 private:
  std::mutex mutex_;  // guards all that follows until all have ended
  std::condition_variable changed_;
  std::unordered_map<std::string, SteadyClock::time_point> begun_;
  std::vector<double> latencies_ms_;
  std::size_t failed_ = 0;
  SteadyClock::time_point ended_at_;
};

/// Starts `count` runs of as many opportunities, at most `kStartBatchMax` a transaction.
class Starter {
 public:
  Starter(Runtime& runtime, const TenantId& tenant, IdSource& ids) : runtime_(runtime), tenant_(tenant), ids_(ids) {}

  Result<void> start(std::size_t count, Course* course) {
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
  [[nodiscard]] std::size_t started() const { return started_; }

 private:
  Runtime& runtime_;
  TenantId tenant_;
  IdSource& ids_;
  std::size_t started_ = 0;
};

void write_settings(json::Writer& out, const Config& config) {
  out.key("settings").begin_object().key("store").string("sqlite").key("bus").string("embedded");
  out.key("fsync").string("full: before every acknowledgement").key("journal").string("wal");
  out.key("page_bytes").number(std::int64_t{config.store.page_bytes});
  out.key("checkpoint_pages").number(std::int64_t{config.store.checkpoint_pages});
  out.key("cache_kib").number(std::int64_t{config.store.cache_kib});
  out.key("ledger_page_bytes").number(std::int64_t{config.ledger.page_bytes});
  out.key("ledger_checkpoint_pages").number(std::int64_t{config.ledger.checkpoint_pages});
  out.key("batch_max").number(static_cast<std::int64_t>(config.delivery.batch_max));
  out.key("cores").number(std::int64_t{std::thread::hardware_concurrency()});
  utsname system{};
  uname(&system);
  out.key("system").string(fmt::format("{} {}", system.sysname, system.release)).end_object();
}

/// A member whose value has `digits` behind the point.
void write_rounded(json::Writer& out, std::string_view key, double value, int digits) {
  out.key(key).raw(fmt::format("{:.{}f}", value, digits));
}

/// Work `opp4`: runs with their four steps doing nothing, all events published, the ledger on, everything durable. A
/// run counts when its end is in the ledger.
Result<int> bench_opp4(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const Config* const config, command.config());
  const analysis::NoWork no_work;
  Course course(arguments.workflows);
  RuntimeOptions options;
  options.steps = &no_work;
  options.on_ledger_commit = [&course](std::span<const bus::Delivery> batch) { course.observe(batch); };
  TRY_ASSIGN(const auto runtime, Runtime::open(*config, command.logger(), std::move(options)));
  runtime->start();
  SystemClock clock;
  SystemIdSource ids(clock);
  Starter starter(*runtime, config->tenant, ids);

  Progress progress("workflows", command.quiet());
  const Usage usage_before = Usage::now();
  const auto sequence_before = runtime->log().last();
  const auto begun = SteadyClock::now();
  while (starter.started() < arguments.workflows) {
    TRY_ASSIGN(const std::size_t on_the_way, course.wait_for_at_most(arguments.concurrency - 1));
    TRY(starter.start(std::min(arguments.concurrency - on_the_way, arguments.workflows - starter.started()), &course));
    progress.show(course.ended(), arguments.workflows);
  }
  // What the ledger lacks of the log when the orchestrator has decided everything.
  Counter& completed = runtime->metrics().counter("workflows_completed_total", "Runs that completed all their steps");
  while (course.ended() < arguments.workflows && completed.value() < static_cast<double>(arguments.workflows)) {
    usleep(200);
  }
  const auto decided = SteadyClock::now();
  TRY(course.wait_for_at_most(0));
  const double elapsed_s = seconds_between(begun, course.ended_at());
  const Usage usage = Usage::now();
  const auto events = runtime->log().last() - sequence_before;
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
  write_rounded(out, "ledger_lag_s", std::max(0.0, seconds_between(decided, course.ended_at())), 4);
  write_rounded(out, "cpu_ms_per_workflow", (usage.cpu_s - usage_before.cpu_s) * 1e3 / count, 4);
  write_rounded(out, "bytes_written_per_workflow",
                static_cast<double>(usage.bytes_written - usage_before.bytes_written) / count, 0);
  write_rounded(out, "peak_rss_mb", usage.peak_rss_mb, 1);
  write_settings(out, *config);
  out.end_object();
  print(text + "\n");
  return course.failed() == 0 ? kExitDone : kExitFailed;
}

/// Work `waiting`: runs whose steps nobody answers for a day. What they cost in memory and on disk, and whether new
/// work is still taken.
Result<int> bench_waiting(Command& command, const BenchArguments& arguments) {
  TRY_ASSIGN(const Config* const config, command.config());
  RuntimeOptions options;
  options.run_steps = false;
  options.adjust_definition = [](workflow::Definition& definition) {
    definition.version += "-waiting";
    definition.run_deadline = std::chrono::hours(25);
    for (auto& step : definition.steps) step.timeout = std::chrono::hours(24);
  };
  TRY_ASSIGN(const auto runtime, Runtime::open(*config, command.logger(), std::move(options)));
  runtime->start();
  SystemClock clock;
  SystemIdSource ids(clock);
  Starter starter(*runtime, config->tenant, ids);
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
  out.key("disk_bytes").number(static_cast<std::int64_t>(bytes_on_disk(config->data_dir)));
  write_settings(out, *config);
  out.end_object();
  print(text + "\n");
  return active == static_cast<std::int64_t>(arguments.workflows) + 1 ? kExitDone : kExitFailed;
}

}  // namespace

void add_bench(CLI::App& app, Command& command) {
  CLI::App* const verb = app.add_subcommand(
      "bench", "Measure this machine; prints one JSON object. Use a data directory of its own that is empty");
  auto arguments = std::make_shared<BenchArguments>();
  verb->add_option("--work", arguments->work,
                   "opp4: runs whose four steps do nothing; waiting: runs whose steps nobody answers")
      ->check(CLI::IsMember({"opp4", "waiting"}))
      ->capture_default_str();
  verb->add_option("--workflows", arguments->workflows, "How many")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000'000}))
      ->capture_default_str()
      ->type_name("N");
  verb->add_option("--concurrency", arguments->concurrency, "How many are on their way at once")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}))
      ->capture_default_str()
      ->type_name("C");
  verb->callback([&command, arguments] {
    command.action = [&command, arguments] {
      return arguments->work == "opp4" ? bench_opp4(command, *arguments) : bench_waiting(command, *arguments);
    };
  });
}

}  // namespace wfo::app
