#include "jobs/tests/world.h"
#include "schedule/schedule.h"

namespace wfo::jobs::testing {
namespace {

using ::testing::HasSubstr;

TEST(JobTrigger, QueuesTheRunThatTheSchedulerMade) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps");
  ASSERT_TRUE(world.hand(worker, {event}));
  const JobRun run = world.run(id);
  EXPECT_EQ(run.status, JobRunStatus::queued);
  EXPECT_EQ(run.due_at, kStart);
  EXPECT_EQ(run.schedule, "nightly");
  EXPECT_EQ(world.metric(R"(batch_job_triggers_total{batch_job="steps"})"), 1);
}

TEST(JobTrigger, LeavesAnExternalRunToItsWorker) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("elsewhere");
  ASSERT_TRUE(world.hand(worker, {event}));
  EXPECT_EQ(world.find(id)->version, 1);
  EXPECT_EQ(world.run(id).status, JobRunStatus::pending);
  EXPECT_EQ(world.metric(R"(batch_job_triggers_total{batch_job="elsewhere"})"), 1);
  EXPECT_FALSE(*worker->work_once());
}

TEST(JobTrigger, FromElsewhereMakesARunOfItsOwnId) {
  World world;
  const auto worker = world.worker();
  const auto event = world.trigger("steps", R"({"any": [1, 2]})", R"(,"scheduledFor":"2026-03-08T00:30:00Z")");
  ASSERT_TRUE(world.hand(worker, {event}));
  const JobRun run = world.run(JobRunId(event->id().value()));
  EXPECT_EQ(run.status, JobRunStatus::queued);
  EXPECT_EQ(run.job, "steps");
  EXPECT_EQ(run.trigger, event->id());
  EXPECT_EQ(run.correlation_id, "why");
  EXPECT_EQ(run.metadata, R"({"any": [1, 2]})") << "as it came";
  EXPECT_EQ(run.triggered_by, schedule::TriggeredBy::manual);
  EXPECT_EQ(run.scheduled_for, kStart - 30min);
  EXPECT_EQ(run.created_at, kStart);
  EXPECT_EQ(run.schedule, "");
}

TEST(JobTrigger, FromElsewhereMayNameItsRun) {
  World world;
  const auto worker = world.worker();
  const JobRunId id(world.ids.next());
  const auto event = world.trigger("elsewhere", "{}", fmt::format(R"(,"runId":"{}")", id.to_string()));
  ASSERT_TRUE(world.hand(worker, {event}));
  EXPECT_EQ(world.run(id).status, JobRunStatus::pending);
  EXPECT_EQ(world.run(id).due_at, kStart + 1h) << "its start timeout";
}

TEST(JobTrigger, OfAnUnknownJobFailsAndSaysWhichThereAre) {
  World world;
  const auto worker = world.worker();
  const auto event = world.trigger("stpes");
  ASSERT_TRUE(world.hand(worker, {event}));
  const JobRun run = world.run(JobRunId(event->id().value()));
  EXPECT_EQ(run.status, JobRunStatus::failed);
  EXPECT_EQ(run.error, "unknown job 'stpes'; known: elsewhere, steps");
  const auto failed = world.published(events::kJobFailed);
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(World::text(*failed[0], "job"), "stpes");
  EXPECT_EQ(World::text(*failed[0], "error"), run.error);
  EXPECT_EQ(World::text(*failed[0], "runId"), run.id.to_string());
  EXPECT_EQ(failed[0]->tenant(), system_tenant());
  EXPECT_EQ(failed[0]->source(), events::kRiskAnalyticsRole);
  EXPECT_EQ(failed[0]->correlation_id(), "why");
  EXPECT_TRUE(failed[0]->root().find("metadata", "causationId")->equals(event->id().to_string()));
  EXPECT_EQ(world.metric(R"(batch_job_triggers_total{batch_job="unknown"})"), 1);
}

TEST(JobTrigger, WithMetadataThatTheJobCannotUseFails) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps", R"({"bad":7})");
  ASSERT_TRUE(world.hand(worker, {event}));
  EXPECT_EQ(world.run(id).status, JobRunStatus::failed);
  EXPECT_EQ(world.run(id).error, "metadata.bad is 7; allowed: nothing");
  EXPECT_EQ(world.published(events::kJobFailed).size(), 1u);
  EXPECT_FALSE(*worker->work_once());
}

TEST(JobTrigger, ThatComesAgainChangesNothing) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps");
  const auto foreign = world.trigger("steps");
  const auto unknown = world.trigger("stpes");
  // Within one batch, in a later one, while it runs, and when it has ended.
  ASSERT_TRUE(world.hand(worker, {event, foreign, event, unknown, unknown, foreign}));
  const auto before = world.find(id);
  ASSERT_TRUE(world.hand(worker, {event, foreign, unknown}));
  EXPECT_EQ(world.find(id)->version, before->version);
  worker.job->before = [&](const JobRun&, int, std::stop_token) {
    return world.hand(worker, {event, foreign, unknown});
  };
  ASSERT_TRUE(*worker->work_once());
  ASSERT_TRUE(*worker->work_once());
  ASSERT_TRUE(world.hand(worker, {event, foreign, unknown}));
  EXPECT_FALSE(*worker->work_once());
  EXPECT_EQ(worker.job->calls, 6);
  EXPECT_EQ(world.published(events::kJobCompleted).size(), 2u);
  EXPECT_EQ(world.published(events::kJobFailed).size(), 1u);
  EXPECT_EQ(world.metric(R"(batch_job_triggers_total{batch_job="steps"})"), 2);
}

TEST(JobTrigger, OfARunThatWasClosedMeanwhileDoesNotOpenItAgain) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps");
  world.cancel(id);
  ASSERT_TRUE(world.hand(worker, {event}));
  EXPECT_EQ(world.run(id).status, JobRunStatus::cancelled);
  EXPECT_FALSE(*worker->work_once());
}

TEST(JobTrigger, IsPreparedAnewIfSomebodyElseWasFaster) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps");
  bus::Delivery delivery;
  delivery.event = event;
  auto apply = worker->prepare({&delivery, 1});
  ASSERT_TRUE(apply);
  world.cancel(id);
  const auto late = world.database.store().transact([&](auto& transaction) { return (*apply)(transaction); });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::conflict);
  EXPECT_EQ(world.run(id).status, JobRunStatus::cancelled);

  // Two replicas that get the same foreign trigger.
  const auto foreign = world.trigger("steps");
  delivery.event = foreign;
  auto slow = worker->prepare({&delivery, 1});
  ASSERT_TRUE(world.hand(world.worker("two"), {foreign}));
  const auto refused = world.database.store().transact([&](auto& transaction) { return (*slow)(transaction); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
}

TEST(JobTrigger, ThatContradictsItsRunIsRefused) {
  World world;
  const auto worker = world.worker();
  const auto [event, id] = world.scheduled("steps");
  const auto other = world.trigger("elsewhere", "{}", fmt::format(R"(,"runId":"{}")", id.to_string()));
  const auto refused = world.hand(worker, {other});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("is of job steps, not of 'elsewhere'"));
  const auto long_name = world.hand(worker, {world.trigger(std::string(101, 'x'))});
  ASSERT_FALSE(long_name);
  EXPECT_EQ(long_name.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(long_name.error().message, HasSubstr("data.job has 101 bytes; 1 to 100 are allowed"));
}

TEST(JobTrigger, WithMetadataThatNoAnswerCouldShowIsRefused) {
  World world;
  const auto worker = world.worker();
  const auto nested = [](int levels) {
    std::string text = "1";
    for (int level = 0; level < levels; ++level) text = R"({"a":)" + text + "}";
    return text;
  };
  const auto deep = world.trigger("elsewhere", nested(schedule::kMetadataDepthMax + 1));
  const auto refused = world.hand(worker, {deep});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr(deep->id().to_string() + ": data.metadata: {"));
  EXPECT_THAT(refused.error().message, HasSubstr("nested more than 32 levels deep; allowed: an object of up to 65536"));
  EXPECT_FALSE(world.find(JobRunId(deep->id().value())));
  const auto large = world.trigger("steps", R"({"a":")" + std::string(schedule::kMetadataBytesMax, 'x') + "\"}");
  EXPECT_FALSE(world.hand(worker, {large}));
  EXPECT_TRUE(world.hand(worker, {world.trigger("elsewhere", nested(schedule::kMetadataDepthMax))}));
}

TEST(JobTrigger, OfATenantIsRefused) {
  World world;
  const auto worker = world.worker();
  const auto trigger = world.trigger("steps");
  std::string text(trigger->bytes());
  text.replace(text.find(system_tenant().to_string()), 36, kAcme.to_string());
  const auto of_tenant = must(bus::samples::contracts().read(text, kStart));
  const auto refused = world.hand(worker, {of_tenant});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument) << "a dead letter";
  EXPECT_THAT(refused.error().message,
              HasSubstr(": tenantId is aaaaaaaa-0000-4000-8000-000000000001; allowed: the platform's own, "
                        "00000000-0000-0000-0000-000000000001"));
  EXPECT_FALSE(world.find(JobRunId(trigger->id().value())));
}

TEST(JobTrigger, IsTheOnlyTypeThatIsTaken) {
  World world;
  const auto worker = world.worker();
  EXPECT_EQ(BatchJobWorker::bindings(), std::vector<std::string>{"workflow.job.trigger"});
  const auto refused = world.hand(worker, {bus::samples::event("something.else", 1)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
}

TEST(BatchJobWorker, SaysWhetherAJobCouldUseMetadata) {
  World world;
  const auto worker = world.worker();
  const auto good = *json::Document::parse("{}");
  const auto bad = *json::Document::parse(R"({"bad":1})");
  EXPECT_TRUE(worker->check("steps", good.root()));
  EXPECT_FALSE(worker->check("steps", bad.root()));
  EXPECT_TRUE(worker->check("elsewhere", bad.root())) << "nobody here knows";
}

}  // namespace
}  // namespace wfo::jobs::testing
