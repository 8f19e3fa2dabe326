#include <benchmark/benchmark.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "events/contracts.h"
#include "events/schema.h"
#include "events/types.h"

// What an event costs: written and validated (`make`), parsed and validated (`read`), validated alone.

namespace {

using namespace wfo;
using namespace wfo::events;

constexpr std::string_view kUuid = "01890a5d-ac96-774b-bcce-b302099a8058";
const TenantId kTenant = *TenantId::parse("01890a5d-ac96-774b-bcce-b302099a8057");
const EventId kId = *EventId::parse("01890a5d-ac96-774b-bcce-b302099a9001");
const Timestamp kNow = *parse_timestamp("2026-03-01T09:30:00.000Z");

constexpr std::string_view kRisk =
    R"({"opportunityId":"01890a5d-ac96-774b-bcce-b302099a8058","evaluationId":"01890a5d-ac96-774b-bcce-b302099a8071","riskScore":0.61,)"
    R"("detectedRisks":[{"id":"close-date-overdue","category":"timing","severity":0.5,"message":"the close date is 41 days past"},)"
    R"({"id":"stage-age","category":"momentum","severity":0.3,"message":"in stage Negotiation for 71 days; won deals: 34"}],)"
    R"("categoryScores":{"timing":0.5,"momentum":0.3},"topDrivers":[{"id":"close-date-overdue","contribution":0.66},{"id":"stage-age","contribution":0.34}],)"
    R"("revenueAtRisk":30500.25,"dataQuality":{"completeness":0.8,"missing":["account"],"amount":50000,"amountSource":"recorded"}})";

const Contracts& contracts() {
  static const auto kContracts = Contracts::load();
  if (!kContracts) throw std::runtime_error(kContracts.error().message);
  return **kContracts;
}

void write_request(json::Writer& writer) {
  writer.begin_object().key("workflowId").string(kUuid).key("opportunityId").string(kUuid);
  writer.key("stepId").string(kUuid).key("attempt").number(std::int64_t{1}).end_object();
}

void write_step(json::Writer& writer) {
  writer.begin_object().key("workflowId").string(kUuid).key("stepId").string(kUuid);
  writer.key("stepType").string("risk_analysis").key("result").raw(kRisk);
  writer.key("opportunityId").string(kUuid).key("attempt").number(std::int64_t{1});
  writer.key("durationMs").number(std::int64_t{12}).end_object();
}

void write_completed(json::Writer& writer) {
  writer.begin_object()
      .key("workflowId")
      .string(kUuid)
      .key("opportunityId")
      .string(kUuid)
      .key("results")
      .begin_object();
  writer.key("risk").raw(kRisk).key("scoring").raw(kRisk).key("forecast").raw(kRisk).key("recommendations").raw(kRisk);
  writer.end_object().end_object();
}

void write_risk(json::Writer& writer) {
  writer.begin_object().key("workflowId").string(kUuid).key("opportunityId").string(kUuid);
  writer.key("evaluationId").string(kUuid).key("riskScore").number(0.61).key("detectedRisks").begin_array().end_array();
  writer.key("revenueAtRisk").number(30500.25).key("stepId").string(kUuid).key("attempt").number(std::int64_t{1});
  writer.end_object();
}

struct Kind {
  std::string_view type;
  std::string_view source;
  void (*write)(json::Writer&);
};
const std::vector<Kind> kKinds = {
    {kRiskAnalysisRequested, kOrchestratorRole, write_request},
    {kRiskEvaluationCompleted, kRiskAnalyticsRole, write_risk},
    {kStepCompleted, kOrchestratorRole, write_step},
    {kAnalysisCompleted, kOrchestratorRole, write_completed},
};

EventPtr make_event(const Kind& kind) {
  const Envelope envelope{.type = kind.type,
                          .tenant = kTenant,
                          .source = kind.source,
                          .correlation_id = std::string(kUuid),
                          .causation_id = kId};
  auto event = contracts().make(kId, kNow, envelope, [&](json::Writer& writer) { kind.write(writer); });
  if (!event) throw std::runtime_error(event.error().message);
  return *std::move(event);
}

const Kind& kind_of(benchmark::State& state) {
  const Kind& kind = kKinds[static_cast<std::size_t>(state.range(0))];
  state.SetLabel(std::string(kind.type) + ", " + std::to_string(make_event(kind)->bytes().size()) + " bytes");
  return kind;
}

void make(benchmark::State& state) {
  const Kind& kind = kind_of(state);
  for (auto _ : state) benchmark::DoNotOptimize(make_event(kind));
}

void read(benchmark::State& state) {
  const std::string text = make_event(kind_of(state))->bytes();
  for (auto _ : state) {
    auto event = contracts().read(text, kNow);
    if (!event) throw std::runtime_error(event.error().message);
    benchmark::DoNotOptimize(event);
  }
}

void restore(benchmark::State& state) {
  const std::string text = make_event(kind_of(state))->bytes();
  for (auto _ : state) benchmark::DoNotOptimize(contracts().restore(text, kNow));
}

void parse(benchmark::State& state) {
  const std::string text = make_event(kind_of(state))->bytes();
  for (auto _ : state) benchmark::DoNotOptimize(json::Document::parse(text));
}

void validate(benchmark::State& state) {
  const Kind& kind = kind_of(state);
  const EventPtr event = make_event(kind);
  const auto text = json::Document::parse(std::string(contracts().schema_text(kind.type).value()));
  const auto schema = Schema::compile(text->root());
  if (!schema) throw std::runtime_error(schema.error().message);
  for (auto _ : state) {
    if (!schema->is_valid(event->root())) throw std::runtime_error("not valid");
  }
}

BENCHMARK(make)->DenseRange(0, 3);
BENCHMARK(read)->DenseRange(0, 3);
BENCHMARK(restore)->DenseRange(0, 3);
BENCHMARK(parse)->DenseRange(0, 3);
BENCHMARK(validate)->DenseRange(0, 3);

}  // namespace
