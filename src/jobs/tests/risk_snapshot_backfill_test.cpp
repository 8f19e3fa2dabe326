#include "jobs/risk_snapshot_backfill.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <tuple>

#include "jobs/tests/builtin.h"
#include "store/sqlite/sqlite_ledger.h"

namespace wfo::jobs::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr std::string_view kResult =
    R"({"evaluationId":"e1","riskScore":0.25,"detectedRisks":[{"id":"overdue","category":"time"},{"id":"no_owner"}],)"
    R"("categoryScores":{"time":0.25},"topDrivers":[{"id":"overdue","contribution":1}],"revenueAtRisk":12.5,)"
    R"("dataQuality":{"completeness":1}})";

class BackfillWorld : public BuiltinWorld {
 public:
  BackfillWorld() : BuiltinWorld(std::string(RiskSnapshotBackfill::kName)) {
    ledger = must(store::sqlite::SqliteLedger::open({.directory = folder_.path()}, clock, Logger::silent(), metrics));
  }
  /// What was recorded so far is in the ledger.
  [[nodiscard]] MakeJob job(std::size_t slice_rows = 5'000) {
    flush();
    return [this, slice_rows] {
      return std::make_unique<RiskSnapshotBackfill>(*ledger, database.store(),
                                                    RiskSnapshotBackfillConfig{.slice_rows = slice_rows});
    };
  }
  /// Records a `workflow.step.completed`; its id.
  EventId record(const TenantId& tenant, std::string_view opportunity, Timestamp at, std::string_view result = kResult,
                 std::string_view step = "risk_analysis") {
    const OpportunityId id = opportunity_id(tenant, opportunity);
    const WorkflowId workflow(ids.next());
    auto event = must(bus::samples::contracts().read(
        fmt::format(
            R"({{"id":"{}","type":"workflow.step.completed","version":"1.0.0","timestamp":"{}","tenantId":"{}",)"
            R"("source":"workflow-orchestrator","data":{{"workflowId":"{}","opportunityId":"{}",)"
            R"("stepId":"{}","stepType":"{}","attempt":1,"durationMs":3,"result":{}}}}})",
            ids.next().to_string(), format_timestamp(at), tenant.to_string(), workflow.to_string(), id.to_string(),
            ids.next().to_string(), step, result),
        at));
    append(event, workflow, id);
    return event->id();
  }
  void append(const events::EventPtr& event, std::optional<WorkflowId> workflow,
              std::optional<OpportunityId> opportunity) {
    records_.push_back({event, workflow, opportunity, event->timestamp()});
  }
  void flush() {
    must(ledger->append(records_, {}, "tests", 0));
    records_.clear();
  }

  [[nodiscard]] std::vector<store::RiskSnapshot> snapshots(const TenantId& tenant, std::string_view opportunity) {
    std::vector<store::RiskSnapshot> out;
    must(database.store().read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(out, transaction.risk_snapshots().list(tenant, opportunity_id(tenant, opportunity), Date::min(),
                                                        Date::max(), 10'000));
      return {};
    }));
    return out;
  }

  std::unique_ptr<store::sqlite::SqliteLedger> ledger;

 private:
  test::TemporaryDirectory folder_;
  std::vector<store::LedgerRecord> records_;  // one commit for all of a test is enough
};

TEST(RiskSnapshotBackfill, KeepsTheLastAnalysisOfEachDay) {
  BackfillWorld world;
  const Timestamp monday{std::chrono::sys_days{std::chrono::March / 2 / 2026}};
  world.record(kAcme, "OPP-1", monday + 9h);
  const EventId last = world.record(kAcme, "OPP-1", monday + 17h);
  world.record(kAcme, "OPP-1", monday + 12h);  // recorded late
  const EventId next_day = world.record(kAcme, "OPP-1", monday + 24h);
  const JobRun run = world.work(world.job());
  EXPECT_EQ(run.status, JobRunStatus::completed);
  const auto found = world.snapshots(kAcme, "OPP-1");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].event, last);
  EXPECT_EQ(found[0].evaluated_at, monday + 17h);
  EXPECT_EQ(format_date(found[0].day), "2026-03-02");
  EXPECT_EQ(found[1].event, next_day);
  EXPECT_EQ(format_date(found[1].day), "2026-03-03");
  EXPECT_EQ(run.counts.at("evaluations"), 4);
  EXPECT_EQ(run.counts.at("unusable"), 0);
  EXPECT_EQ(run.progress.done, 4);
  EXPECT_EQ(run.progress.total, 4);
}

TEST(RiskSnapshotBackfill, KeepsTheTokensOfTheEvent) {
  BackfillWorld world;
  world.record(kAcme, "OPP-1", kStart - 1h,
               R"({"riskScore":0.250,"detectedRisks":[{"id":"overdue"},"plain",7],"topDrivers":[ 1.0e2 ],)"
               R"("other":true,"revenueAtRisk":null,"currency":"EUR"})");
  static_cast<void>(world.work(world.job()));
  const auto found = world.snapshots(kAcme, "OPP-1");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].fields, R"({"riskScore":0.250,"currency":"EUR","topDrivers":[ 1.0e2 ],)"
                             R"("detectedRisks":["overdue","plain"],"detectedRisksCount":3})");
}

TEST(RiskSnapshotBackfill, LeavesOutWhatIsTooLongAndSaysSo) {
  BackfillWorld world;
  world.record(kAcme, "OPP-1", kStart - 1h,
               fmt::format(R"({{"riskScore":1,"topDrivers":["{}"],"currency":"EUR"}})", std::string(5'000, 'x')));
  static_cast<void>(world.work(world.job()));
  ASSERT_EQ(world.snapshots(kAcme, "OPP-1").size(), 1u);
  EXPECT_EQ(world.snapshots(kAcme, "OPP-1")[0].fields, R"({"riskScore":1,"currency":"EUR","omitted":["topDrivers"]})");
}

TEST(RiskSnapshotBackfill, PassesOverOtherStepsAndCountsWhatItCannotUse) {
  BackfillWorld world;
  world.record(kAcme, "OPP-1", kStart - 1h);
  world.record(kAcme, "OPP-2", kStart - 1h, R"({"forecastId":"f1","note":"risk_analysis \n"})", "forecast");
  world.record(kAcme, "OPP-3", kStart - 1h, R"({"evaluationId":"e1"})");
  world.record(kAcme, "OPP-4", kStart - 1h, R"({"riskScore":"high"})");
  // Without opportunity; and one whose step type is written with an escape.
  const auto text = [&](std::string_view data) {
    return must(bus::samples::contracts().read(
        fmt::format(R"({{"id":"{}","type":"workflow.step.completed","version":"1.0.0","timestamp":"{}",)"
                    R"("tenantId":"{}","source":"workflow-orchestrator","data":{}}})",
                    world.ids.next().to_string(), format_timestamp(kStart - 1h), kAcme.to_string(), data),
        kStart));
  };
  const std::string ids = fmt::format(R"("workflowId":"{0}","stepId":"{0}")", world.ids.next().to_string());
  world.append(text("{" + ids + R"(,"stepType":"risk_analysis","result":{"riskScore":1}})"),
               WorkflowId(world.ids.next()), {});
  world.append(text("{" + ids + R"(,"stepType":"risk\u005fanalysis","result":{"riskScore":1}})"),
               WorkflowId(world.ids.next()), opportunity_id(kAcme, "OPP-6"));
  const JobRun run = world.work(world.job());
  EXPECT_THAT(run.counts, ElementsAre(Pair("evaluations", 5), Pair("snapshots", 2), Pair("unusable", 3)));
  EXPECT_TRUE(world.snapshots(kAcme, "OPP-2").empty());
  EXPECT_TRUE(world.snapshots(kAcme, "OPP-3").empty());
  EXPECT_TRUE(world.snapshots(kAcme, "OPP-4").empty());
  EXPECT_EQ(world.snapshots(kAcme, "OPP-6").size(), 1u);
}

TEST(RiskSnapshotBackfill, ReadsTheSevenDaysBeforeItsFireFromTheirBeginning) {
  BackfillWorld world;
  const Timestamp fire = kStart;  // Sunday 01:00
  const Timestamp begin = std::chrono::floor<std::chrono::days>(fire) - 7 * 24h;
  world.record(kAcme, "before", begin - 1ms);
  world.record(kAcme, "first", begin);
  world.record(kAcme, "last", fire - 1ms);
  world.record(kAcme, "after", fire);
  world.clock.set(fire + 26h);  // the fire is late; the run is of its time
  const JobRun run = world.work(world.job(), "{}", fire);
  EXPECT_EQ(run.counts.at("evaluations"), 2);
  EXPECT_EQ(world.snapshots(kAcme, "first").size(), 1u);
  EXPECT_EQ(world.snapshots(kAcme, "last").size(), 1u);
  EXPECT_EQ(run.progress.note, "1 tenant, 2026-03-01T00:00:00.000Z to 2026-03-08T01:00:00.000Z");
}

TEST(RiskSnapshotBackfill, ReadsTheRangeThatItIsGiven) {
  BackfillWorld world;
  const Timestamp day{std::chrono::sys_days{std::chrono::February / 3 / 2026}};
  world.record(kAcme, "before", day - 1ms);
  world.record(kAcme, "first", day);
  world.record(kAcme, "last", day + 36h - 1ms);
  world.record(kAcme, "after", day + 36h);
  const JobRun run = world.work(world.job(), R"({"from":"2026-02-03","to":"2026-02-04T14:00:00+02:00"})");
  EXPECT_EQ(run.counts.at("evaluations"), 2);
  EXPECT_EQ(world.snapshots(kAcme, "first").size(), 1u);
  EXPECT_EQ(world.snapshots(kAcme, "last").size(), 1u);
  EXPECT_EQ(world.work(world.job(), R"({"from":null,"to":"2026-02-04"})").counts.at("evaluations"), 2)
      << "seven days before `to`";
}

TEST(RiskSnapshotBackfill, ReadsOneTenantIfThatIsWanted) {
  BackfillWorld world;
  world.record(kAcme, "OPP-1", kStart - 1h);
  world.record(kOther, "OPP-1", kStart - 1h);
  const JobRun run = world.work(world.job(), fmt::format(R"({{"tenantId":"{}"}})", kOther.to_string()));
  EXPECT_EQ(run.counts.at("evaluations"), 1);
  EXPECT_TRUE(world.snapshots(kAcme, "OPP-1").empty());
  EXPECT_EQ(world.snapshots(kOther, "OPP-1").size(), 1u);
  const JobRun none = world.work(world.job(), R"({"tenantId":"cccccccc-0000-4000-8000-000000000003"})");
  EXPECT_EQ(none.status, JobRunStatus::completed);
  EXPECT_EQ(none.counts.at("evaluations"), 0);
}

TEST(RiskSnapshotBackfill, CompletesOnAnEmptyLedger) {
  BackfillWorld world;
  const JobRun run = world.work(world.job());
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_THAT(run.counts, ElementsAre(Pair("evaluations", 0), Pair("snapshots", 0), Pair("unusable", 0)));
}

TEST(RiskSnapshotBackfill, SaysWhatIsAllowedInMetadata) {
  BackfillWorld world;
  const RiskSnapshotBackfill job(*world.ledger, world.database.store());
  const auto error = [&](std::string text) {
    const auto document = json::Document::parse(std::move(text));
    const auto checked = job.check(document->root());
    return checked ? "" : checked.error().message;
  };
  EXPECT_EQ(error("{}"), "");
  EXPECT_EQ(error(R"({"from":"2026-03-01","to":"2026-03-02"})"), "");
  EXPECT_EQ(
      error(R"({"from":"2026-03-02","to":"2026-03-01"})"),
      "metadata: from is 2026-03-02T00:00:00.000Z and to is 2026-03-01T00:00:00.000Z; allowed: from before to (to "
      "itself is not part of it)");
  EXPECT_THAT(error(R"({"from":"2026-03-01","to":"2026-03-01T00:00:00Z"})"), HasSubstr("allowed: from before to"));
  EXPECT_THAT(error(R"({"from":"yesterday"})"), HasSubstr("metadata.from is \"yesterday\"; allowed: a date"));
  EXPECT_THAT(error(R"({"to":20260301})"), HasSubstr("metadata.to is 20260301; allowed: a date"));
  EXPECT_THAT(error(R"({"from":"2026-02-30"})"), HasSubstr("metadata.from is \"2026-02-30\""));
  EXPECT_EQ(error(R"({"from":"0000-12-31"})"),
            "metadata.from is \"0000-12-31\"; allowed: times of the years 0001 to 9999 (UTC)");
  EXPECT_THAT(error(R"({"from":"0001-01-01T00:00:00+00:01"})"), HasSubstr("allowed: times of the years 0001 to 9999"));
  EXPECT_THAT(error(R"({"to":"9999-12-31T23:59:59-00:01"})"), HasSubstr("allowed: times of the years 0001 to 9999"));
  EXPECT_EQ(error(R"({"to":"0001-01-03"})"),
            "metadata: the range begins before the year 0001; allowed: the years 0001 to 9999");
  EXPECT_EQ(error(R"({"from":"0001-01-01","to":"9999-12-31T23:59:59.999Z"})"), "");
  EXPECT_EQ(error(R"({"tenantId":"acme"})"), "metadata.tenantId is \"acme\"; allowed: a tenant's uuid");
  EXPECT_LT(error("{\"from\":\"" + std::string(100'000, 'x') + "\"}").size(), 400u);
}

TEST(RiskSnapshotBackfill, FailsIfFromIsNotBeforeTheFire) {
  BackfillWorld world;
  const JobRun run = world.work(world.job(), R"({"from":"2030-01-01"})", kStart);
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.attempt, 1);
  EXPECT_THAT(run.error, HasSubstr("allowed: from before to"));
}

TEST(RiskSnapshotBackfill, FailsIfTheFireIsSoEarlyThatNoTextSaysWhereTheRangeBegins) {
  BackfillWorld world;
  const JobRun run = world.work(world.job(), "{}", parse_timestamp("0001-01-02T00:00:00Z"));
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_THAT(run.error, HasSubstr("the range begins before the year 0001"));
}

TEST(RiskSnapshotBackfill, GoesOnInARangeOfAllYears) {
  BackfillWorld world;
  for (int i = 0; i < 4; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 4h + i * 1h);
  const JobRun run = world.work(world.job(1), R"({"from":"0001-01-01","to":"9999-12-31"})");
  EXPECT_EQ(run.status, JobRunStatus::completed) << run.error;
  EXPECT_EQ(run.counts.at("evaluations"), 4);
}

// After an outage of weeks, or fires that were left out, nobody has to look for what was not read.
TEST(RiskSnapshotBackfill, BeginsWhereTheLastRunWithDefaultRangeEnded) {
  BackfillWorld world;
  const Timestamp first_fire = kStart - 28 * 24h;  // Sunday 01:00
  ASSERT_EQ(world.work(world.job(), "{}", first_fire).status, JobRunStatus::completed);
  world.record(kAcme, "read before", first_fire - 2h);
  world.record(kAcme, "same day", first_fire - 30min);
  world.record(kAcme, "missed", first_fire + 3 * 24h);
  // These do not tell up to when everything was read: with a range of their own, of one tenant, or failed.
  static_cast<void>(world.work(world.job(), R"({"from":"2026-03-01","to":"2026-03-02"})"));
  static_cast<void>(world.work(world.job(), fmt::format(R"({{"tenantId":"{}"}})", kOther.to_string())));
  ASSERT_EQ(world.work(world.job(), R"({"from":"2030-01-01"})").status, JobRunStatus::failed);
  const JobRun run = world.work(world.job(1), "{}", kStart);
  EXPECT_EQ(run.counts.at("evaluations"), 2);
  EXPECT_TRUE(world.snapshots(kAcme, "read before").empty());
  EXPECT_EQ(world.snapshots(kAcme, "same day").size(), 1u);
  EXPECT_EQ(world.snapshots(kAcme, "missed").size(), 1u);
  EXPECT_EQ(run.progress.note,
            "1 tenant, 2026-02-08T00:00:00.000Z to 2026-03-08T01:00:00.000Z, as the last run with default range read "
            "up to 2026-02-08T01:00:00.000Z");
  const JobRun next = world.work(world.job(), "{}", kStart + 7 * 24h);
  EXPECT_THAT(next.progress.note, ::testing::EndsWith("2026-03-08T00:00:00.000Z to 2026-03-15T01:00:00.000Z"))
      << "usual again";
}

TEST(RiskSnapshotBackfill, ReadsTheRangeThatItIsGivenWhateverWasReadBefore) {
  BackfillWorld world;
  static_cast<void>(world.work(world.job(), "{}", kStart - 28 * 24h));
  world.record(kAcme, "missed", kStart - 20 * 24h);
  EXPECT_EQ(world.work(world.job(), R"({"from":"2026-03-01"})", kStart).counts.at("evaluations"), 0);
}

TEST(RiskSnapshotBackfill, GoesBackNinetyDaysAtMostAndSaysWhatItLeavesOut) {
  BackfillWorld world;
  static_cast<void>(world.work(world.job(), "{}", kStart - 200 * 24h));
  world.record(kAcme, "too old", kStart - 92 * 24h);
  world.record(kAcme, "read", kStart - 89 * 24h);
  const JobRun run = world.work(world.job(), "{}", kStart);
  EXPECT_EQ(run.counts.at("evaluations"), 1);
  EXPECT_THAT(run.progress.note, HasSubstr("2025-12-08T00:00:00.000Z to 2026-03-08"));
  EXPECT_THAT(run.progress.note, HasSubstr("read up to 2025-08-20T01:00:00.000Z and a run goes back 90 days at most: "
                                           "what is between was not read"));
}

TEST(RiskSnapshotBackfill, TakesNoRunForOneThatReadWhatHadNotHappened) {
  BackfillWorld world;
  world.clock.set(kStart - 28 * 24h);
  static_cast<void>(world.work(world.job(), "{}", kStart - 24h));  // of a fire four weeks later
  world.clock.set(kStart);
  world.record(kAcme, "missed", kStart - 20 * 24h);
  EXPECT_EQ(world.work(world.job(), "{}", kStart).counts.at("evaluations"), 1);
}

TEST(RiskSnapshotBackfill, KeepsItsRangeWhenAnotherRunCompletesMeanwhile) {
  BackfillWorld world;
  static_cast<void>(world.work(world.job(), "{}", kStart - 28 * 24h));
  for (int i = 0; i < 3; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 20 * 24h);
  const auto make = world.job(1);
  const auto job = make();
  JobRun run;
  run.job = RiskSnapshotBackfill::kName;
  run.created_at = kStart;
  auto slice = must(job->next(run, {}));
  static_cast<void>(world.work(make, "{}", kStart));
  std::int64_t done = 0;
  while (!slice.is_last) {
    run.checkpoint = slice.checkpoint;
    run.counts["evaluations"] = slice.progress.done;
    slice = must(job->next(run, {}));
    done = slice.progress.done;
  }
  EXPECT_EQ(done, 3);
}

/// Looks at the pages that a job asks for.
class WatchedLedger final : public store::LedgerStore {
 public:
  explicit WatchedLedger(store::LedgerStore& ledger) : ledger_(ledger) {}
  Result<std::optional<store::Lease>> acquire(std::string_view holder, milliseconds length) override {
    return ledger_.acquire(holder, length);
  }
  Result<void> release(store::Epoch epoch) override { return ledger_.release(epoch); }
  Result<std::vector<store::LedgerOutcome>> append(std::span<const store::LedgerRecord> records,
                                                   std::span<const store::QuarantinedMessage> unreadable,
                                                   std::string_view consumer, store::Sequence position,
                                                   std::optional<store::Epoch> epoch) override {
    return ledger_.append(records, unreadable, consumer, position, epoch);
  }
  Result<store::Sequence> position(std::string_view consumer) override { return ledger_.position(consumer); }
  Result<store::LedgerIndex> size(const TenantId& tenant) override { return ledger_.size(tenant); }
  Result<std::vector<TenantId>> tenants() override { return ledger_.tenants(); }
  Result<std::vector<store::LedgerEntry>> search(const store::LedgerQuery& query) override {
    auto page = ledger_.search(query);
    if (!page) return page;
    std::size_t bytes = 0;
    for (const auto& entry : *page) bytes += entry.bytes.size();
    largest_page_bytes = std::max(largest_page_bytes, bytes);
    return page;
  }
  Result<std::vector<store::QuarantinedMessage>> quarantined(const std::optional<TenantId>& tenant, std::int64_t after,
                                                             std::size_t limit) override {
    return ledger_.quarantined(tenant, after, limit);
  }
  std::size_t largest_page_bytes = 0;

 private:
  store::LedgerStore& ledger_;
};

TEST(RiskSnapshotBackfill, HoldsTwoMebibytesOfTheLedgerHoweverLargeAndUnevenItsEventsAre) {
  BackfillWorld world;
  const std::string large = fmt::format(R"({{"riskScore":1,"why":"{}"}})", std::string(240'000, 'x'));
  for (int i = 0; i < 500; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 3h, R"({"riskScore":1})");
  for (int i = 0; i < 60; ++i) world.record(kAcme, fmt::format("large {}", i), kStart - 2h, large);
  for (int i = 0; i < 50; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 1h, R"({"riskScore":1})");
  world.flush();
  WatchedLedger watched(*world.ledger);
  const JobRun run =
      world.work([&] { return std::make_unique<RiskSnapshotBackfill>(watched, world.database.store()); });
  EXPECT_EQ(run.counts.at("evaluations"), 610);
  EXPECT_LE(watched.largest_page_bytes, std::size_t{2} << 20);
  EXPECT_GT(watched.largest_page_bytes, std::size_t{1} << 20);
}

TEST(RiskSnapshotBackfill, CountsTheTenantsThatHaveAnalyses) {
  BackfillWorld world;
  world.append(world.trigger("steps"), {}, {});  // the ledger of the system tenant
  for (int i = 0; i < 5; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 2h);
  world.record(kOther, "OPP-1", kStart - 2h, R"({"forecastId":"f1"})", "forecast");
  EXPECT_THAT(world.work(world.job(2)).progress.note, HasSubstr("1 tenant, "));
  for (int i = 0; i < 5; ++i) world.record(kOther, fmt::format("OPP-{}", i), kStart - 2h);
  EXPECT_THAT(world.work(world.job(2)).progress.note, HasSubstr("2 tenants, "));
  EXPECT_THAT(world.work(world.job(), R"({"from":"2026-01-01","to":"2026-01-02"})").progress.note,
              HasSubstr("0 tenants, "));
}

TEST(RiskSnapshotBackfill, NamesMembersThatItDoesNotUse) {
  BackfillWorld world;
  const JobRun run = world.work(world.job(), R"({"form":"2026-03-01","until":1})");
  EXPECT_EQ(run.status, JobRunStatus::completed);
  EXPECT_THAT(run.progress.note, HasSubstr(", not used: form, until"));
}

TEST(RiskSnapshotBackfill, TellsWhereItIs) {
  BackfillWorld world;
  for (int i = 0; i < 4; ++i) world.record(kAcme, fmt::format("OPP-{}", i), kStart - 4h + i * 1h);
  world.record(kOther, "OPP-1", kStart - 1h);
  world.flush();
  RiskSnapshotBackfill job(*world.ledger, world.database.store(), {.slice_rows = 2});
  JobRun run;
  run.created_at = kStart;
  const auto slice = job.next(run, {});
  ASSERT_TRUE(slice) << slice.error().message;
  EXPECT_EQ(slice->progress.done, 2);
  EXPECT_EQ(slice->progress.total, std::nullopt);
  EXPECT_EQ(slice->progress.note, "ledger 1 of 2, at 2026-03-07T22:00:00.000Z");
  EXPECT_FALSE(slice->is_last);
}

TEST(RiskSnapshotBackfill, TwiceInARowChangesNothing) {
  BackfillWorld world;
  for (int i = 0; i < 20; ++i) world.record(kAcme, fmt::format("OPP-{}", i % 7), kStart - 30h + i * 1h);
  const JobRun first = world.work(world.job());
  const auto before = world.snapshots(kAcme, "OPP-1");
  const JobRun second = world.work(world.job(3));
  EXPECT_GT(first.counts.at("snapshots"), 0);
  EXPECT_EQ(second.counts.at("snapshots"), 0);
  EXPECT_EQ(second.counts.at("evaluations"), 20);
  EXPECT_EQ(world.snapshots(kAcme, "OPP-1"), before);
}

TEST(RiskSnapshotBackfill, ThatStopsEndsItsSlice) {
  BackfillWorld world;
  world.record(kAcme, "OPP-1", kStart - 1h);
  world.flush();
  RiskSnapshotBackfill job(*world.ledger, world.database.store());
  std::stop_source stop;
  stop.request_stop();
  JobRun run;
  run.created_at = kStart;
  const auto slice = job.next(run, stop.get_token());
  ASSERT_FALSE(slice);
  EXPECT_EQ(slice.error().code, ErrorCode::unavailable);
}

TEST(RiskSnapshotBackfill, RefusesACheckpointThatIsNotItsOwn) {
  BackfillWorld world;
  RiskSnapshotBackfill job(*world.ledger, world.database.store());
  JobRun run;
  run.checkpoint = R"({"after":1})";
  EXPECT_EQ(job.next(run, {}).error().message, R"(checkpoint {"after":1} is none of risk-snapshot-backfill)");
  run.checkpoint = "half";
  EXPECT_EQ(job.next(run, {}).error().message, "checkpoint half is none of risk-snapshot-backfill");
  EXPECT_EQ(job.next(run, {}).error().code, ErrorCode::corruption);
}

// Whatever is in the ledger, in slices of whatever size, with processes that die after any number of them.
RC_GTEST_PROP(RiskSnapshotBackfillProperty, GivesTheLastAnalysesOfEachDayHoweverOftenItDies, ()) {
  BackfillWorld world;
  const int count = *rc::gen::inRange(0, 50);
  const auto slice_rows = static_cast<std::size_t>(*rc::gen::inRange(1, 20));
  const int slices = *rc::gen::inRange(1, 4);  // between two deaths
  // The oracle: all of it at once, in memory.
  using Key = std::tuple<TenantId, std::string, Date>;
  std::map<Key, std::pair<Timestamp, EventId>> expected;
  std::int64_t evaluations = 0;
  for (int i = 0; i < count; ++i) {
    const TenantId tenant = *rc::gen::element(kAcme, kOther);
    const std::string opportunity = fmt::format("OPP-{}", *rc::gen::inRange(0, 4));
    const Timestamp at = kStart - 9 * 24h + milliseconds(*rc::gen::inRange(0, 10 * 24)) * 3'600'000;
    const bool is_risk = *rc::gen::inRange(0, 3) > 0;
    const EventId id = world.record(tenant, opportunity, at, kResult, is_risk ? "risk_analysis" : "forecast");
    if (!is_risk || at < kStart - 7 * 24h - 1h || at >= kStart) continue;
    ++evaluations;
    auto& last = expected[{tenant, opportunity, std::chrono::floor<std::chrono::days>(at)}];
    last = std::max(last, {at, id});
  }
  const auto [run, processes] = world.work_with_crashes(world.job(slice_rows), slices);
  RC_ASSERT(run.status == JobRunStatus::completed);
  RC_ASSERT(run.counts.at("evaluations") == evaluations);
  RC_ASSERT(run.takeovers == processes - 1);
  std::map<Key, std::pair<Timestamp, EventId>> found;
  for (const TenantId& tenant : {kAcme, kOther}) {
    for (int i = 0; i < 4; ++i) {
      const std::string opportunity = fmt::format("OPP-{}", i);
      for (const auto& one : world.snapshots(tenant, opportunity)) {
        found[{tenant, opportunity, one.day}] = {one.evaluated_at, one.event};
      }
    }
  }
  RC_ASSERT(found == expected);
}

TEST(RiskSnapshotBackfill, ThatDiesAtAnySliceGivesTheSameAsUndisturbed) {
  const auto dump = [](BackfillWorld& world) {
    std::vector<std::pair<Timestamp, std::string>> rows;  // ids differ from world to world
    for (const TenantId& tenant : {kAcme, kOther}) {
      for (int i = 0; i < 5; ++i) {
        for (auto& one : world.snapshots(tenant, fmt::format("OPP-{}", i)))
          rows.emplace_back(one.evaluated_at, one.fields);
      }
    }
    return rows;
  };
  const auto fill = [](BackfillWorld& world) {
    for (int i = 0; i < 40; ++i) {
      world.record(i % 3 == 0 ? kOther : kAcme, fmt::format("OPP-{}", i % 5), kStart - 100h + i * 2h,
                   fmt::format(R"({{"riskScore":0.{}}})", i));
    }
  };
  BackfillWorld undisturbed;
  fill(undisturbed);
  const JobRun expected = undisturbed.work(undisturbed.job(3));
  const auto rows = dump(undisturbed);
  ASSERT_FALSE(rows.empty());
  for (int slices = 1; slices <= 15; ++slices) {
    SCOPED_TRACE(slices);
    BackfillWorld world;
    fill(world);
    const auto [run, processes] = world.work_with_crashes(world.job(3), slices);
    EXPECT_EQ(dump(world), rows);
    EXPECT_EQ(run.counts, expected.counts);
    EXPECT_EQ(processes > 1, slices < 14);
  }
}

}  // namespace
}  // namespace wfo::jobs::testing
