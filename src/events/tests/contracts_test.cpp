#include "events/contracts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "events/schema.h"
#include "events/tests/files.h"
#include "events/types.h"

namespace wfo::events {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Contracts& contracts() {
  static const auto kContracts = Contracts::load();
  if (!kContracts) throw std::runtime_error(kContracts.error().message);
  return **kContracts;
}

constexpr std::string_view kAllTypes[] = {
    kAnalysisStarted,
    kAnalysisCompleted,
    kAnalysisFailed,
    kStepCompleted,
    kJobTrigger,
    kJobCompleted,
    kJobFailed,
    kRiskAnalysisRequested,
    kRiskScoringRequested,
    kForecastRequested,
    kRecommendationRequested,
    kRiskEvaluationCompleted,
    kRiskEvaluationFailed,
    kRiskScoringCompleted,
    kRiskScoringFailed,
    kForecastCompleted,
    kForecastFailed,
    kRecommendationCompleted,
    kRecommendationFailed,
    kRiskEvaluated,
    kOutcomeRecorded,
    kOpportunityUpdated,
    kShardUpdated,
    kAuditVerificationFailed,
    kAuditAlertTriggered,
};

const TenantId kTenant = *TenantId::parse("01890a5d-ac96-774b-bcce-b302099a8057");
const EventId kId = *EventId::parse("01890a5d-ac96-774b-bcce-b302099a9001");
const EventId kCause = *EventId::parse("01890a5d-ac96-774b-bcce-b302099a9000");
const Timestamp kNow = *parse_timestamp("2026-03-01T09:30:00.000Z");
constexpr std::string_view kUuid = "01890a5d-ac96-774b-bcce-b302099a8058";

constexpr auto write_started = [](json::Writer& writer) {
  writer.begin_object().key("workflowId").string(kUuid).key("opportunityId").string(kUuid).end_object();
};

TEST(Contracts, HaveOneForEachTypeThatOurCodeNames) {
  for (const std::string_view type : kAllTypes) EXPECT_TRUE(contracts().knows(type)) << type;
}

TEST(Contracts, ListTheirTypesSorted) {
  EXPECT_TRUE(std::ranges::is_sorted(contracts().types()));
  EXPECT_GE(contracts().types().size(), std::size(kAllTypes));
}

TEST(Contracts, HoldTheTextsOfTheFolder) {
  for (const std::string& type : contracts().types()) {
    EXPECT_EQ(contracts().schema_text(type), tests::read_file(tests::contracts_folder() / (type + ".schema.json")))
        << type;
  }
  EXPECT_EQ(contracts().schema_text("workflow.paused"), std::nullopt);
  EXPECT_FALSE(contracts().knows("workflow.paused"));
}

TEST(Contracts, TakeTheSchemasOfTheSpecificationAsTheyStandThere) {
  const auto folder = std::filesystem::path(WFO_SOURCE_DIR) / "src/events/tests/specification";
  for (const std::string_view type : {kAnalysisCompleted, kAnalysisFailed}) {
    EXPECT_EQ(contracts().schema_text(type), tests::read_file(folder / (std::string(type) + ".json")));
  }
}

TEST(Examples, AreThereForEachType) {
  std::map<std::string, int> valid;
  std::map<std::string, std::set<std::vector<std::string>>> faults;
  for (const auto& example : tests::examples()) {
    if (example.is_valid) {
      ++valid[example.type];
      continue;
    }
    std::vector<std::string> fault;
    for (const Violation& violation : contracts().validate(tests::parsed(example.text).root())) {
      fault.push_back(violation.pointer + " " + violation.rule);
    }
    faults[example.type].insert(fault);
  }
  for (const std::string& type : contracts().types()) {
    EXPECT_GE(valid[type], 1) << type;
    EXPECT_GE(faults[type].size(), 3) << type
                                      << " has fewer than three examples that are invalid for different reasons";
  }
}

TEST(Examples, AreWhatTheirNamesSay) {
  for (const auto& example : tests::examples()) {
    const auto document = tests::parsed(example.text);
    EXPECT_TRUE(document.root().find("type")->equals(example.type)) << example.path;
    const auto violations = contracts().validate(document.root());
    EXPECT_EQ(violations.empty(), example.is_valid) << example.path << ": " << describe(violations);
    // So that a reader sees which rule it is.
    EXPECT_LE(violations.size(), 1) << example.path << ": " << describe(violations);
  }
}

TEST(Make, WritesTheEnvelopeOnceAndInOrder) {
  const Envelope envelope{.type = kAnalysisStarted,
                          .tenant = kTenant,
                          .source = kOrchestratorRole,
                          .correlation_id = "c-1",
                          .causation_id = kCause,
                          .user_id = "ann",
                          .traceparent = "00-1-2-03"};
  const auto event = contracts().make(kId, kNow, envelope, write_started);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ(
      (*event)->bytes(),
      R"({"id":"01890a5d-ac96-774b-bcce-b302099a9001","type":"workflow.opportunity.analysis.started",)"
      R"("version":"1.0.0","timestamp":"2026-03-01T09:30:00.000Z","tenantId":"01890a5d-ac96-774b-bcce-b302099a8057",)"
      R"("source":"workflow-orchestrator","data":{"workflowId":"01890a5d-ac96-774b-bcce-b302099a8058",)"
      R"("opportunityId":"01890a5d-ac96-774b-bcce-b302099a8058"},"metadata":{"correlationId":"c-1",)"
      R"("causationId":"01890a5d-ac96-774b-bcce-b302099a9000","userId":"ann","traceparent":"00-1-2-03"}})");
  EXPECT_EQ((*event)->id(), kId);
  EXPECT_EQ((*event)->type(), kAnalysisStarted);
  EXPECT_EQ((*event)->tenant(), kTenant);
  EXPECT_EQ((*event)->timestamp(), kNow);
  EXPECT_EQ((*event)->source(), kOrchestratorRole);
  EXPECT_EQ((*event)->version(), "1.0.0");
  EXPECT_EQ((*event)->verdict(), Verdict::valid);
  EXPECT_EQ((*event)->correlation_id(), "c-1");
  EXPECT_EQ((*event)->traceparent(), "00-1-2-03");
  EXPECT_TRUE((*event)->data().find("workflowId")->equals(kUuid));
}

TEST(Make, LeavesMetadataOutWhereThereIsNone) {
  const auto event = contracts().make(
      kId, kNow, {.type = kAnalysisStarted, .tenant = kTenant, .source = kOrchestratorRole}, write_started);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_FALSE((*event)->root().find("metadata"));
  EXPECT_EQ((*event)->correlation_id(), kId.to_string());
}

TEST(Make, NamesTypePointerAndRuleOfWhatIsBroken) {
  const auto event =
      contracts().make(kId, kNow, {.type = kAnalysisStarted, .tenant = kTenant, .source = kLoggingRole},
                       [](json::Writer& writer) { writer.begin_object().key("workflowId").string("w").end_object(); });
  ASSERT_FALSE(event);
  EXPECT_EQ(event.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(event.error().message,
            "workflow.opportunity.analysis.started: /source: \"logging\" is not \"workflow-orchestrator\" (const); "
            "/data: has no property `opportunityId` (required); /data/workflowId: \"w\" is no uuid (format)");
}

TEST(Make, RefusesATypeWithoutContract) {
  const auto event = contracts().make(kId, kNow, {.type = "workflow.paused", .tenant = kTenant}, write_started);
  ASSERT_FALSE(event);
  EXPECT_THAT(event.error().message, HasSubstr("`workflow.paused` has no contract"));
}

TEST(Make, RefusesDataThatIsNotJson) {
  const auto event =
      contracts().make(kId, kNow, {.type = kStepCompleted, .tenant = kTenant, .source = kOrchestratorRole},
                       [](json::Writer& writer) { writer.raw("{"); });
  ASSERT_FALSE(event);
  EXPECT_THAT(event.error().message, HasSubstr("workflow.step.completed"));
}

TEST(Make, RefusesWhatIsTooLargeAndNamesTheLimit) {
  const auto small = Contracts::load(400);
  ASSERT_TRUE(small);
  const auto event = (*small)->make(
      kId, kNow, {.type = kAnalysisStarted, .tenant = kTenant, .source = kOrchestratorRole}, write_started);
  ASSERT_TRUE(event) << event.error().message;
  const auto large = (*small)->make(
      kId, kNow,
      {.type = kAnalysisStarted, .tenant = kTenant, .source = kOrchestratorRole, .user_id = std::string(50, 'u')},
      write_started);
  ASSERT_FALSE(large);
  EXPECT_THAT(large.error().message, HasSubstr("event_bytes_max is 400"));
  const auto read = (*small)->read(std::string(401, ' '), kNow);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().message, "an event has 401 bytes; the limit event_bytes_max is 400");
}

class FixedIds final : public IdSource {
 public:
  Uuid next() override { return kId.value(); }
  std::uint64_t random() override { return 0; }
};

TEST(EventFactory, CarriesOnWhatTheCauseBelongsTo) {
  FixedIds ids;
  const ManualClock clock(kNow);
  const EventFactory factory(contracts(), ids, clock, kOrchestratorRole);
  const auto cause = contracts().read(
      R"({"id":"01890a5d-ac96-774b-bcce-b302099a9000","type":"integration.opportunity.updated","tenantId":"01890a5d-ac96-774b-bcce-b302099a8057",)"
      R"("data":{"opportunityId":"006"},"metadata":{"correlationId":"c-7","traceparent":"00-a-b-01"}})",
      kNow);
  ASSERT_TRUE(cause) << cause.error().message;
  const auto event = factory.make(kAnalysisStarted, kTenant, cause->get(), write_started);
  ASSERT_TRUE(event) << event.error().message;
  EXPECT_EQ((*event)->correlation_id(), "c-7");
  EXPECT_EQ((*event)->traceparent(), "00-a-b-01");
  EXPECT_EQ((*event)->root().find("metadata", "causationId")->uuid(), kCause.value());
  EXPECT_EQ((*event)->source(), kOrchestratorRole);
  EXPECT_EQ((*event)->timestamp(), kNow);
}

TEST(EventFactory, BeginsACorrelationWithTheIdOfACauseThatHasNone) {
  FixedIds ids;
  const ManualClock clock(kNow);
  const EventFactory factory(contracts(), ids, clock, kOrchestratorRole);
  for (const std::string& metadata : {std::string("{}"), std::string(R"({"correlationId":17})"), std::string("[]"),
                                      R"({"correlationId":")" + std::string(kMetadataTextMax + 1, 'c') + R"("})"}) {
    const auto cause = contracts().read(
        R"({"id":"01890a5d-ac96-774b-bcce-b302099a9000","type":"integration.opportunity.updated","tenantId":"01890a5d-ac96-774b-bcce-b302099a8057",)"
        R"("data":{"opportunityId":"006"},"metadata":)" +
            metadata + "}",
        kNow);
    ASSERT_TRUE(cause) << cause.error().message;
    const auto event = factory.make(kAnalysisStarted, kTenant, cause->get(), write_started);
    ASSERT_TRUE(event) << event.error().message;
    EXPECT_EQ((*event)->correlation_id(), kCause.to_string()) << metadata;
  }
}

TEST(Validate, IsStrictAboutTheEnvelope) {
  const auto document = tests::parsed(
      R"({"id":"01890a5d-ac96-774b-bcce-b302099a9000","type":"forecast.failed","version":"1.0","timestamp":"yesterday",)"
      R"("source":{"service":"f"},"data":{"workflowId":"01890a5d-ac96-774b-bcce-b302099a8058","error":"x","retryable":1}})");
  const auto violations = contracts().validate(document.root());
  std::vector<std::string> found;
  for (const Violation& violation : violations) found.push_back(violation.pointer + " " + violation.rule);
  EXPECT_THAT(found,
              ElementsAre(" required", "/version const", "/timestamp format", "/source type", "/data/retryable type"));
}

TEST(Validate, SaysWhyADocumentHasNoContract) {
  const auto rule = [](std::string text) { return contracts().validate(tests::parsed(std::move(text)).root()); };
  EXPECT_EQ(describe(rule("[]")), ": has no property `type`, so no contract to be checked against (required)");
  EXPECT_EQ(describe(rule(R"({"type":"a.b"})")), "/type: \"a.b\" is no event type that has a contract (enum)");
  EXPECT_EQ(describe(rule(R"({"type":7})")), "/type: 7 is no event type that has a contract (enum)");
}

TEST(Describe, NamesTheFirstAndCountsTheRest) {
  const std::vector<Violation> violations = {{"/a", "type", "one"}, {"/b", "enum", "two"}, {"/c", "not", "three"}};
  EXPECT_EQ(describe(violations, 2), "/a: one (type); /b: two (enum); and 1 more");
  EXPECT_EQ(describe({}), "");
}

TEST(Describe, IsShortAndSafeToPrintWhateverTheKeysAre) {
  const std::string text = describe({{"/" + std::string(5'000, 'k'), "type", "x"}, {"/\x1b[2J", "type", "y"}});
  EXPECT_LT(text.size(), 300);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace wfo::events
