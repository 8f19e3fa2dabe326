// What a run costs the orchestrator: deciding and making its ten events (prepare), and writing them (apply, with the
// commit). Google Benchmark's iterations are rounds of 1,000 runs; the counters are microseconds of one run.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>

#include "events/types.h"
#include "orchestrator/orchestrator.h"
#include "store/sqlite/sqlite_store.h"
#include "support/temporary_directory.h"

namespace wfo::orchestrator {
namespace {

constexpr int kRuns = 1'000;
const TenantId kTenant = *TenantId::parse("6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");

const events::Contracts& contracts() {
  static const auto loaded = events::Contracts::load();
  return **loaded;
}

workflow::Definition shipped() {
  std::ifstream file(WFO_SOURCE_DIR "/workflows/opportunity-analysis.yaml");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return workflow::parse_definition(text, "opportunity-analysis.yaml", contracts().types()).value();
}

bus::Delivery message(IdSource& ids, std::string_view type, std::string_view data) {
  bus::Delivery delivery;
  delivery.event = contracts()
                       .read(fmt::format(R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":)"
                                         R"("2026-03-01T09:30:00.000Z","tenantId":"{}","source":"bench","data":{}}})",
                                         ids.next().to_string(), type, kTenant.to_string(), data),
                             Timestamp())
                       .value();
  return delivery;
}

std::string answer_data(const events::Event& request) {
  static const std::map<std::string_view, std::string_view> kMore{
      {events::kRiskAnalysisRequested, R"("evaluationId":"e1","riskScore":0.5,"detectedRisks":[{"id":"overdue"}])"},
      {events::kRiskScoringRequested, R"("scoringId":"s1","mlRiskScore":0.25,"modelId":"m1","confidence":0.5)"},
      {events::kForecastRequested, R"("forecastId":"f1","revenueForecast":1200,"confidence":0.9)"},
      {events::kRecommendationRequested, R"("recommendationId":"r1","recommendations":["call","write"])"}};
  const json::Value data = request.data();
  return fmt::format(R"({{"workflowId":{},"opportunityId":{},"stepId":{},"attempt":1,{}}})",
                     data.find("workflowId")->raw(), data.find("opportunityId")->raw(), data.find("stepId")->raw(),
                     kMore.at(request.type()));
}

std::string_view answer_type(std::string_view request) {
  if (request == events::kRiskAnalysisRequested) return events::kRiskEvaluationCompleted;
  if (request == events::kRiskScoringRequested) return events::kRiskScoringCompleted;
  if (request == events::kForecastRequested) return events::kForecastCompleted;
  return events::kRecommendationCompleted;
}

struct Requests final : store::TypeFilter {
  bool wants(std::string_view type) const override { return type.ends_with(".requested"); }
};

void run(benchmark::State& state) {
  using clock_type = std::chrono::steady_clock;
  SystemClock clock;
  SystemIdSource ids(clock);
  Metrics metrics;
  const test::TemporaryDirectory folder;
  store::sqlite::SqliteStoreConfig config;
  config.directory = folder.path();
  const auto store = store::sqlite::SqliteStore::open(config, contracts(), clock, Logger::silent(), metrics).value();
  Orchestrator orchestrator(*store, contracts(), Definitions::load(*store, {shipped()}).value(), ids, clock,
                            Logger::silent(), metrics);
  std::map<std::string, double> spent;
  const auto handle = [&](std::span<const bus::Delivery> batch, const std::string& what) {
    const auto begin = clock_type::now();
    auto apply = orchestrator.prepare(batch).value();
    const auto prepared = clock_type::now();
    clock_type::duration inside{};
    const auto committed = store->transact([&](store::Transaction& transaction) {
      const auto entered = clock_type::now();
      auto applied = apply(transaction);
      inside = clock_type::now() - entered;
      return applied;
    });
    if (!committed) std::abort();
    const auto settling = clock_type::now();
    orchestrator.committed();
    const std::chrono::duration<double, std::micro> prepare(prepared - begin + (clock_type::now() - settling));
    spent[what + "_prepare_us"] += prepare.count();
    spent[what + "_apply_us"] += std::chrono::duration<double, std::micro>(inside).count();
  };
  int round = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<bus::Delivery> triggers;
    for (int i = 0; i < kRuns; ++i) {
      triggers.push_back(
          message(ids, events::kOpportunityUpdated, fmt::format(R"({{"opportunityId":"OPP-{}-{}"}})", round, i)));
    }
    ++round;
    const store::Sequence before = store->last();
    state.ResumeTiming();
    handle(triggers, "start");
    state.PauseTiming();
    std::vector<bus::Delivery> answers;
    const auto page = store->read(before, Requests(), 4 * kRuns, 64 << 20).value();
    for (const auto& entry : page.entries) {
      answers.push_back(message(ids, answer_type(entry.event->type()), answer_data(*entry.event)));
    }
    if (answers.size() != 4 * kRuns) std::abort();
    state.ResumeTiming();
    handle(answers, "answers");
  }
  for (const auto& [what, microseconds] : spent) {
    state.counters[what] = microseconds / (static_cast<double>(state.iterations()) * kRuns);
  }
  state.SetItemsProcessed(state.iterations() * kRuns);
}
BENCHMARK(run)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace wfo::orchestrator
