// What one event costs at the JSON layer: to parse it, to find what every consumer looks for, to write a new one.
#include <benchmark/benchmark.h>

#include <string>

#include "base/json.h"

namespace wfo::json {
namespace {

const std::string kEvent =
    R"({"id":"0195aaaa-1111-7000-8000-0000000000ff","type":"workflow.step.completed","version":"1.0.0",)"
    R"("timestamp":"2026-03-01T09:30:00.123Z","tenantId":"11111111-1111-4111-8111-111111111111",)"
    R"("source":"workflow-orchestrator","data":{"workflowId":"0195aaaa-1111-7000-8000-000000000001",)"
    R"("stepId":"0195aaaa-1111-7000-8000-000000000002","stepType":"risk_analysis","opportunityId":)"
    R"("22222222-2222-4222-8222-222222222222","attempt":1,"durationMs":412,"result":{"riskScore":0.6125,)"
    R"("detectedRisks":[{"id":"close_date_overdue","severity":0.4}],"revenueAtRisk":61250}},"metadata":)"
    R"({"correlationId":"0195aaaa-1111-7000-8000-000000000003"}})";

void set_bytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kEvent.size()));
}

void parse_event(benchmark::State& state) {
  for ([[maybe_unused]] auto _ : state) {
    auto document = Document::parse(kEvent);
    benchmark::DoNotOptimize(document);
  }
  set_bytes(state);
}
BENCHMARK(parse_event);

void find_what_consumers_need(benchmark::State& state) {
  const auto document = Document::parse(kEvent);
  for ([[maybe_unused]] auto _ : state) {
    const Value root = document->root();
    benchmark::DoNotOptimize(root.find("type")->plain_string());
    benchmark::DoNotOptimize(root.find("tenantId")->uuid());
    benchmark::DoNotOptimize(root.find("timestamp")->timestamp());
    benchmark::DoNotOptimize(root.find("data", "workflowId")->uuid());
    benchmark::DoNotOptimize(root.find("data", "attempt")->integer());
    benchmark::DoNotOptimize(root.find("data", "result")->raw());
    benchmark::DoNotOptimize(root.find("data", "result", "riskScore")->number());
  }
}
BENCHMARK(find_what_consumers_need);

void write_event(benchmark::State& state) {
  const auto document = Document::parse(kEvent);
  const std::string_view result = document->root().find("data", "result")->raw();
  const Uuid id = document->root().find("id")->uuid().value();
  const Timestamp time = document->root().find("timestamp")->timestamp().value();
  std::string out;
  for ([[maybe_unused]] auto _ : state) {
    out.clear();
    Writer writer(out);
    writer.begin_object()
        .key("id")
        .uuid(id)
        .key("type")
        .string("workflow.step.completed")
        .key("version")
        .string("1.0.0");
    writer.key("timestamp").timestamp(time).key("tenantId").uuid(id).key("source").string("workflow-orchestrator");
    writer.key("data").begin_object().key("workflowId").uuid(id).key("stepId").uuid(id).key("stepType");
    writer.string("risk_analysis").key("opportunityId").uuid(id).key("attempt").number(std::int64_t{1});
    writer.key("durationMs").number(std::int64_t{412}).key("result").raw(result).end_object();
    writer.key("metadata").begin_object().key("correlationId").uuid(id).end_object().end_object();
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}
BENCHMARK(write_event);

// What somebody sends to keep us busy: many keys of one length with the same ends.
void parse_many_keys(benchmark::State& state) {
  std::string text = "{";
  for (std::int64_t i = 0; i < state.range(0); ++i) text += fmt::format("\"key {:06} x\":0,", i);
  text.back() = '}';
  for ([[maybe_unused]] auto _ : state) {
    auto document = Document::parse(text);
    benchmark::DoNotOptimize(document);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(parse_many_keys)->Arg(10)->Arg(32)->Arg(1000)->Arg(100'000);

}  // namespace
}  // namespace wfo::json
