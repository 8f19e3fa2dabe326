#include "jobs/detail/risk_snapshot.h"

#include <utility>

#include "base/json.h"

namespace wfo::jobs {

namespace {

constexpr std::string_view kStepType = "risk_analysis";
constexpr std::size_t kMemberBytesMax = 4'096;
constexpr std::size_t kRiskIdsMax = 100;

/// Whether it is worth parsing. Three of four steps are other ones, and to look for the word is ten times cheaper; it
/// can only be missing from an event that means it if it is written with escapes.
bool may_be_risk_analysis(std::string_view bytes) {
  return bytes.find(kStepType) != std::string_view::npos || bytes.find('\\') != std::string_view::npos;
}

void write_risk_ids(json::Writer& out, json::Value risks) {
  out.key("detectedRisks").begin_array();
  std::size_t count = 0;
  for (const json::Value risk : risks.elements()) {
    const auto id = risk.is_string() ? std::optional(risk) : risk.find("id");
    if (!id || !id->is_string() || id->raw().size() > kMemberBytesMax / kRiskIdsMax * 2) continue;
    if (++count > kRiskIdsMax) break;
    out.raw(id->raw());
  }
  out.end_array().key("detectedRisksCount").number(static_cast<std::int64_t>(risks.size()));
}

std::string fields_of(json::Value result) {
  std::string out;
  out.reserve(768);
  json::Writer writer(out);
  writer.begin_object();
  std::string omitted;
  const auto copy = [&](std::string_view name) {
    const auto member = result.find(name);
    if (!member || member->kind() == json::Kind::null) return;
    if (member->raw().size() > kMemberBytesMax) {
      omitted += (omitted.empty() ? "\"" : ",\"") + std::string(name) + '"';
      return;
    }
    writer.key(name).raw(member->raw());
  };
  copy("riskScore");
  copy("revenueAtRisk");
  copy("currency");
  copy("categoryScores");
  copy("topDrivers");
  copy("dataQuality");
  copy("evaluationId");
  if (const auto risks = result.find("detectedRisks"); risks && risks->is_array()) write_risk_ids(writer, *risks);
  if (!omitted.empty()) writer.key("omitted").raw("[" + omitted + "]");
  writer.end_object();
  return out;
}

}  // namespace

Evaluation evaluation_of(store::LedgerEntry&& entry) {
  if (!may_be_risk_analysis(entry.bytes)) return {};
  const auto document = json::Document::parse(std::move(entry.bytes));
  if (!document) return {};
  const auto data = document->root().find("data");
  const auto step = data ? data->find("stepType") : std::nullopt;
  if (!step || !step->equals(kStepType)) return {};
  Evaluation out{.is_risk_analysis = true, .snapshot = {}};
  const auto result = data->find("result");
  const auto score = result ? result->find("riskScore") : std::nullopt;
  if (!entry.opportunity || !entry.workflow || !score || !score->is_number()) return out;
  out.snapshot = store::RiskSnapshot{.tenant = entry.tenant,
                                     .opportunity = *entry.opportunity,
                                     .day = std::chrono::floor<std::chrono::days>(entry.timestamp),
                                     .evaluated_at = entry.timestamp,
                                     .event = entry.event_id,
                                     .workflow = *entry.workflow,
                                     .fields = fields_of(*result)};
  return out;
}

}  // namespace wfo::jobs
