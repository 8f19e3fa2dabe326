// How fast `risk-snapshot-backfill` is on SQLite: 100,000 runs' entries in the ledger (six each, as the default
// bindings record them), one evaluation in each. `read` computes slices and throws them away, `read_and_write` commits
// them as the worker does. WFO_BENCH_RUNS: another number of runs.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <utility>

#include "events/contracts.h"
#include "jobs/outcome_sync.h"
#include "jobs/risk_snapshot_backfill.h"
#include "store/sqlite/sqlite_ledger.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"

namespace wfo::jobs {
namespace {

using std::chrono::days;
using std::chrono::hours;

const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
const Timestamp kFire{std::chrono::sys_days{std::chrono::March / 8 / 2026}};

// What the built-in steps answer, in their usual length.
constexpr std::string_view kRisk =
    R"({"evaluationId":"3f0c5a52-0c5e-5a53-9c56-0f3a7d0e1a01","riskScore":0.6142,"detectedRisks":[{"id":"close_date_overdue",)"
    R"("category":"timeline","severity":0.35,"message":"The planned close date, 2026-02-11, passed 17 days ago"},)"
    R"({"id":"old_for_its_stage","category":"timeline","severity":0.2871,"message":"Open for 131 days; 90 % of won deals took at most 106"},)"
    R"({"id":"no_owner","category":"engagement","severity":0.1667,"message":"Nobody owns it"}],"categoryScores":)"
    R"({"engagement":0.1667,"timeline":0.5366},"topDrivers":[{"id":"close_date_overdue","contribution":0.4523},)"
    R"({"id":"old_for_its_stage","contribution":0.3554},{"id":"no_owner","contribution":0.1915}],"revenueAtRisk":3377.49,)"
    R"("currency":"USD","dataQuality":{"completeness":0.8333,"missing":["owner"],"amount":5499,"amountSource":"list_price",)"
    R"("asOf":"2026-02-28","state":"open","profileId":"f2a9c0de","closedDeals":6711}})";
constexpr std::string_view kScoring =
    R"({"scoringId":"3f0c5a52-0c5e-5a53-9c56-0f3a7d0e1a02","mlRiskScore":0.4312,"modelId":"prior","confidence":0.2,"winProbability":0.5688})";
constexpr std::string_view kForecast =
    R"({"forecastId":"3f0c5a52-0c5e-5a53-9c56-0f3a7d0e1a03","revenueForecast":3127.83,"confidence":0.62,"p10":0,"p50":5499,)"
    R"("p90":5499,"expectedCloseDate":"2026-04-02","winProbability":0.5688,"currency":"USD"})";
constexpr std::string_view kRecommendation =
    R"({"recommendationId":"3f0c5a52-0c5e-5a53-9c56-0f3a7d0e1a04","recommendations":[{"id":"agree_new_date","title":)"
    R"("Agree on a new close date","reason":"The planned close date has passed","protects":1200.5},{"id":"assign_owner",)"
    R"("title":"Assign an owner","reason":"Nobody owns it","protects":640.1}],"count":2})";

const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  return **loaded;
}

class Installation {
 public:
  explicit Installation(int runs) : ids_(clock_) {
    store::sqlite::SqliteStoreConfig config;
    config.directory = folder_.path();
    store_ = store::sqlite::SqliteStore::open(config, contracts(), clock_, Logger::silent(), metrics_).value();
    ledger_ =
        store::sqlite::SqliteLedger::open({.directory = folder_.path()}, clock_, Logger::silent(), metrics_).value();
    for (int i = 0; i < runs; ++i) {
      add_run(i, kFire - days(7) + i * (milliseconds(days(7)) / runs));
      if (records_.size() > 5'000) flush();
    }
    flush();
  }
  void close_opportunities(int count) {
    std::vector<store::Opportunity> closed(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      store::Opportunity& one = closed[static_cast<std::size_t>(i)];
      one.tenant = kTenant;
      one.external_id = fmt::format("OPP-{}", i);
      one.id = opportunity_id(kTenant, one.external_id);
      one.state = i % 3 == 0 ? store::StageState::lost : store::StageState::won;
      one.amount = 5'499;
      one.close_on = Date(std::chrono::March / 1 / 2026);
      one.account = "Initech";
      one.owner = "K. Lindgren";
      one.product = "GTX Plus Pro";
    }
    if (!store_->transact([&](auto& transaction) { return transaction.opportunities().upsert(closed); })) std::abort();
  }
  store::Store& store() { return *store_; }
  IdSource& ids() { return ids_; }
  const Clock& clock() { return clock_; }
  store::LedgerStore& ledger() { return *ledger_; }

 private:
  void add_run(int number, Timestamp at) {
    const WorkflowId workflow(ids_.next());
    const OpportunityId opportunity = opportunity_id(kTenant, fmt::format("OPP-{}", number % 20'000));
    const std::string head =
        fmt::format(R"("workflowId":"{}","opportunityId":"{}")", workflow.to_string(), opportunity.to_string());
    const auto add = [&](std::string_view type, const std::string& data) {
      auto event = contracts().read(
          fmt::format(R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"{}","tenantId":"{}",)"
                      R"("source":"workflow-orchestrator","data":{{{},{}}},"metadata":{{"correlationId":"{}",)"
                      R"("causationId":"{}"}}}})",
                      ids_.next().to_string(), type, format_timestamp(at), kTenant.to_string(), head, data,
                      workflow.to_string(), ids_.next().to_string()),
          at);
      records_.push_back({std::move(event).value(), workflow, opportunity, at});
    };
    const auto step = [&](std::string_view type, std::string_view result) {
      add("workflow.step.completed",
          fmt::format(R"("stepId":"{}","stepType":"{}","attempt":1,"durationMs":12,"result":{})",
                      ids_.next().to_string(), type, result));
    };
    add("workflow.opportunity.analysis.started",
        R"("attempt":1,"definition":{"name":"opportunity-analysis","version":"1"})");
    step("risk_analysis", kRisk);
    step("risk_scoring", kScoring);
    step("forecast", kForecast);
    step("recommendation", kRecommendation);
    add("workflow.opportunity.analysis.completed",
        fmt::format(R"("results":{{"risk":{},"scoring":{},"forecast":{},"recommendations":{}}})", kRisk, kScoring,
                    kForecast, kRecommendation));
  }
  void flush() {
    if (!ledger_->append(records_, {}, "bench", 0)) std::abort();
    records_.clear();
  }

  test::TemporaryDirectory folder_;
  SystemClock clock_;
  SystemIdSource ids_;
  Metrics metrics_;
  std::unique_ptr<store::sqlite::SqliteStore> store_;
  std::unique_ptr<store::sqlite::SqliteLedger> ledger_;
  std::vector<store::LedgerRecord> records_;
};

Installation& installation() {
  static const char* const wanted = std::getenv("WFO_BENCH_RUNS");
  static Installation made(wanted ? std::atoi(wanted) : 100'000);
  return made;
}

/// Works the job to its end, in slices; returns how many rows it looked at, and the longest commit.
struct Worked {
  std::int64_t rows = 0;
  std::chrono::steady_clock::duration longest{};
};
Worked work(Job& job, store::Store& store, bool write, std::string_view counted) {
  Worked worked;
  schedule::JobRun run;
  run.created_at = kFire;
  for (bool is_last = false; !is_last;) {
    auto slice = job.next(run, {});
    if (!slice) std::abort();
    run.checkpoint = slice->checkpoint;
    run.counts[std::string(counted)] = slice->progress.done;
    is_last = slice->is_last;
    if (!write) continue;
    const auto begun_at = std::chrono::steady_clock::now();
    const auto done = store.transact([&](store::Transaction& transaction) -> Result<void> {
      schedule::JobCounts counts;
      return slice->effects(transaction, counts);
    });
    if (!done) std::abort();
    worked.longest = std::max(worked.longest, std::chrono::steady_clock::now() - begun_at);
  }
  worked.rows = run.counts.at(std::string(counted));
  return worked;
}

void report(benchmark::State& state, const Worked& all) {
  state.SetItemsProcessed(all.rows);
  // For so long another transaction may have to wait.
  state.counters["commit_max_ms"] = std::chrono::duration<double, std::milli>(all.longest).count();
}

void measure(benchmark::State& state, Job& job, bool write, std::string_view counted) {
  Worked all;
  for (auto _ : state) {
    const Worked worked = work(job, installation().store(), write, counted);
    all.rows += worked.rows;
    all.longest = std::max(all.longest, worked.longest);
  }
  report(state, all);
}

/// Argument: evaluations of a slice.
void backfill(benchmark::State& state, bool write) {
  RiskSnapshotBackfill job(installation().ledger(), installation().store(),
                           {.slice_rows = static_cast<std::size_t>(state.range(0))});
  measure(state, job, write, "evaluations");
}
/// Argument: opportunities of a slice.
void outcomes(benchmark::State& state) {
  Installation& here = installation();
  static bool are_closed = false;
  if (!std::exchange(are_closed, true)) here.close_opportunities(20'000);
  OutcomeSync job(here.store(), contracts(), here.ids(), here.clock(),
                  {.slice_rows = static_cast<std::size_t>(state.range(0))});
  measure(state, job, true, "opportunities");
}
void read(benchmark::State& state) { backfill(state, false); }
void read_and_write(benchmark::State& state) { backfill(state, true); }
void again(benchmark::State& state) { backfill(state, true); }
BENCHMARK(read)->Arg(2'000)->Unit(benchmark::kMillisecond)->UseRealTime();
// Only the first round inserts.
BENCHMARK(read_and_write)->Arg(2'000)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);
BENCHMARK(again)->Arg(2'000)->Unit(benchmark::kMillisecond)->UseRealTime();
void outcomes_again(benchmark::State& state) { outcomes(state); }
BENCHMARK(outcomes)->Arg(1'000)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);
BENCHMARK(outcomes_again)->Arg(1'000)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace wfo::jobs
