#include "delivery/event_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "bus/tests/samples.h"
#include "delivery/tests/sqlite.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using bus::samples::kOtherTenant;
using bus::samples::kTenant;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A store that can be told to say no.
class Gatekeeper final : public store::Store {
 public:
  explicit Gatekeeper(store::Store& store) : store_(store) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override {
    ++transactions;
    if (broken) return fail(ErrorCode::unavailable, "the database is away");
    return store_.transact(body);
  }
  Result<void> admission() override {
    return full ? Result<void>(fail(ErrorCode::unavailable, "the disk is nearly full")) : Result<void>();
  }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override { return store_.read(body); }

  bool full = false;
  bool broken = false;
  int transactions = 0;

 private:
  store::Store& store_;
};

std::string event(std::string_view type, std::string_view data, std::string_view last_digit = "1",
                  const TenantId& tenant = kTenant) {
  return fmt::format(R"({{"id":"01890a5d-ac96-774b-bcce-b302099a900{}","type":"{}","version":"1.0.0",)"
                     R"("timestamp":"2026-03-01T09:30:00.000Z","tenantId":"{}","source":"crm-sync","data":{}}})",
                     last_digit, type, tenant.to_string(), data);
}

std::string update(std::string_view last_digit = "1", std::string_view opportunity = "0065g00000XyZ12AAF",
                   const TenantId& tenant = kTenant) {
  return event("integration.opportunity.updated", fmt::format(R"({{"opportunityId":"{}"}})", opportunity), last_digit,
               tenant);
}

class EventIntakeTest : public testing::Test {
 protected:
  std::vector<IntakeAnswer> submit(const std::vector<std::string>& texts, const TenantId& tenant = kTenant) {
    auto answers = intake_.submit(tenant, texts);
    EXPECT_TRUE(answers) << answers.error().message;
    return answers.value_or(std::vector<IntakeAnswer>());
  }
  std::vector<IntakeStatus> statuses(const std::vector<std::string>& texts, const TenantId& tenant = kTenant) {
    std::vector<IntakeStatus> all;
    for (const auto& answer : submit(texts, tenant)) all.push_back(answer.status);
    return all;
  }
  /// The refusal of a text that must be refused.
  Error refusal(const std::string& text) {
    const auto answers = submit({text});
    EXPECT_EQ(answers.size(), 1U);
    if (answers.empty() || !answers.front().refusal) {
      ADD_FAILURE() << "taken: " << text;
      return {ErrorCode::internal, ""};
    }
    EXPECT_EQ(answers.front().status, IntakeStatus::refused);
    return *answers.front().refusal;
  }
  std::vector<std::string> log() {
    std::vector<std::string> texts;
    for (const auto& published : fixture_.published()) texts.push_back(published->bytes());
    return texts;
  }

  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  Metrics metrics_;
  sqlite::Fixture fixture_{clock_};
  Gatekeeper store_{fixture_.store()};
  EventIntake intake_{store_, bus::samples::contracts(), clock_, metrics_};
};

TEST_F(EventIntakeTest, AppendsWhatItAcceptsInOrderAsTheBytesThatCame) {
  const std::string spaced = R"({ "type" : "shard.updated", "id":"01890a5d-ac96-774b-bcce-b302099a9002",)"
                             R"("data" : {"shardId":"7", "shardType":"opportunity","amount":1.10,"tenantId":")" +
                             kTenant.to_string() + R"("} })";
  const std::vector<std::string> texts{update("1"), spaced, update("3")};
  EXPECT_THAT(statuses(texts), ElementsAre(IntakeStatus::accepted, IntakeStatus::accepted, IntakeStatus::accepted));
  EXPECT_EQ(log(), texts);
}

TEST_F(EventIntakeTest, CommitsAllOfACallInOneTransaction) {
  submit({update("1"), "no event", update("2"), update("3")});
  EXPECT_EQ(store_.transactions, 1);
  EXPECT_THAT(log(), ElementsAre(update("1"), update("2"), update("3")));
}

TEST_F(EventIntakeTest, KnowsAnEventThatComesAgain) {
  EXPECT_THAT(statuses({update()}), ElementsAre(IntakeStatus::accepted));
  EXPECT_THAT(statuses({update()}), ElementsAre(IntakeStatus::duplicate));
  EXPECT_THAT(log(), ElementsAre(update()));
}

TEST_F(EventIntakeTest, AcceptsAnEventThatStandsTwiceInOneCallOnce) {
  EXPECT_THAT(statuses({update(), update()}), ElementsAre(IntakeStatus::accepted, IntakeStatus::duplicate));
  EXPECT_THAT(log(), ElementsAre(update()));
}

TEST_F(EventIntakeTest, RefusesOtherBytesUnderAKnownId) {
  submit({update("1", "first")});
  const auto error = refusal(update("1", "second"));
  EXPECT_EQ(error.code, ErrorCode::conflict);
  EXPECT_THAT(error.message, HasSubstr("01890a5d-ac96-774b-bcce-b302099a9001 came before with other bytes"));
  EXPECT_THAT(log(), ElementsAre(update("1", "first")));
}

TEST_F(EventIntakeTest, LetsNoTenantBlockAnothersEvent) {
  submit({update()});
  EXPECT_THAT(statuses({update("1", "x", kOtherTenant)}, kOtherTenant), ElementsAre(IntakeStatus::accepted));
}

TEST_F(EventIntakeTest, RefusesAnEventOfAnotherTenantThanTheRequests) {
  const auto error = refusal(update("1", "x", kOtherTenant));
  EXPECT_EQ(error.code, ErrorCode::invalid_argument);
  EXPECT_THAT(error.message, HasSubstr(kOtherTenant.to_string()));
  EXPECT_THAT(log(), IsEmpty());
}

TEST_F(EventIntakeTest, TakesATypeThatHasNoContract) {
  EXPECT_THAT(statuses({event("invoice.paid", R"({"amount":12})")}), ElementsAre(IntakeStatus::accepted));
}

TEST_F(EventIntakeTest, SaysWhatIsWrongWithWhatCannotBeRead) {
  struct {
    const char* name;
    std::string text;
    const char* message;
  } const rows[] = {
      {"NoJson", "{\"id\":", "line 1"},
      {"NoObject", "[]", ""},
      {"NoType", R"({"id":"01890a5d-ac96-774b-bcce-b302099a9001","data":{}})", "type"},
      {"NoId", R"({"type":"x","tenantId":"01890a5d-ac96-774b-bcce-b302099a8057","data":{}})", "id"},
      {"BrokenContract", event("integration.opportunity.updated", R"({"opportunityId":7})"), "/data/opportunityId"},
  };
  for (const auto& [name, text, message] : rows) {
    SCOPED_TRACE(name);
    const auto error = refusal(text);
    EXPECT_EQ(error.code, ErrorCode::invalid_argument);
    EXPECT_THAT(error.message, HasSubstr(message));
  }
  EXPECT_EQ(store_.transactions, 0) << "nothing to write";
}

TEST_F(EventIntakeTest, NamesTheIdEvenOfAnEventThatBreaksItsContract) {
  const auto answers = submit({event("integration.opportunity.updated", R"({"opportunityId":7})"), "{"});
  EXPECT_EQ(answers[0].id, EventId::parse("01890a5d-ac96-774b-bcce-b302099a9001"));
  EXPECT_EQ(answers[1].id, std::nullopt);
}

TEST_F(EventIntakeTest, RefusesTypesThatOnlyThisSystemPublishes) {
  for (const auto& [type, reason] : kOwnTypes) {
    EXPECT_EQ(why_not_taken(type.ends_with('.') ? std::string(type) + "anything" : std::string(type)), reason);
  }
  // One that satisfies its contract, so that it is refused for what it is.
  const auto error = refusal(event("audit.verified.by.me", "{}"));
  EXPECT_EQ(error.code, ErrorCode::invalid_argument);
  EXPECT_THAT(error.message, HasSubstr("audit.verified.by.me are not taken: the ledger alone"));
}

TEST_F(EventIntakeTest, TakesEverythingElseThatThereIsAContractFor) {
  std::vector<std::string> taken;
  for (const auto& type : bus::samples::contracts().types()) {
    if (why_not_taken(type).empty()) taken.push_back(type);
  }
  EXPECT_THAT(taken, ElementsAre("forecast.completed", "forecast.failed", "integration.opportunity.updated",
                                 "opportunity.outcome.recorded", "recommendation.generation.completed",
                                 "recommendation.generation.failed", "risk.evaluated", "risk.evaluation.completed",
                                 "risk.evaluation.failed", "risk.scoring.completed", "risk.scoring.failed",
                                 "shard.updated", "workflow.job.completed", "workflow.job.failed"));
}

TEST_F(EventIntakeTest, TakesNothingWhileTheDiskIsNearlyFull) {
  store_.full = true;
  const auto answers = intake_.submit(kTenant, std::vector{update()});
  ASSERT_FALSE(answers);
  EXPECT_EQ(answers.error(), (Error{ErrorCode::unavailable, "the disk is nearly full"}));
  EXPECT_THAT(log(), IsEmpty());
}

TEST_F(EventIntakeTest, ForgetsAnEventThatCouldNotBeWritten) {
  store_.broken = true;
  EXPECT_FALSE(intake_.submit(kTenant, std::vector{update()}));
  store_.broken = false;
  EXPECT_THAT(statuses({update()}), ElementsAre(IntakeStatus::accepted));
}

TEST_F(EventIntakeTest, CountsByStatus) {
  submit({update(), update(), "x"});
  const auto text = metrics_.text();
  EXPECT_THAT(text, HasSubstr("events_handed_in_total{status=\"accepted\"} 1"));
  EXPECT_THAT(text, HasSubstr("events_handed_in_total{status=\"duplicate\"} 1"));
  EXPECT_THAT(text, HasSubstr("events_handed_in_total{status=\"refused\"} 1"));
}

}  // namespace
}  // namespace wfo::delivery
