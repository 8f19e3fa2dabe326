#include <functional>
#include <list>
#include <set>

#include "store/postgres/detail/connection.h"
#include "store/postgres/detail/tables.h"
#include "store/postgres/tests/fixtures.h"

// How the server goes about what the tables really ask it: each statement that they have prepared is explained, with
// the session's own settings, as it is planned for whatever parameters come.
namespace wfo::store::postgres {
namespace {

using schedule::FireCause;
using schedule::FireOutcome;
using schedule::JobRunStatus;

/// What a call does, and the indexes along which it must go: all of them, and no other.
struct Asked {
  std::string name;
  std::function<Result<void>(Transaction&)> ask;
  std::set<std::string> indexes;
  bool sorts = false;     // few rows, which no index has in that order, or what is to be written
  bool from_end = false;  // it begins where its index begins, and needs no condition
};

std::vector<Asked> all() {
  static const std::vector<std::string> kNames{"daily"};
  static const std::vector<JobRunId> kIds{id<JobRunId>(1)};
  static const std::vector<EventId> kTriggers{id<EventId>(1)};
  static const Date kDay{};
  static StoredSchedule schedule;
  schedule.name = kNames[0];
  static StoredJobRun run;
  run.run.id = kIds[0];
  run.run.trigger = kTriggers[0];
  static const RiskSnapshot snapshot{kTenant, id<OpportunityId>(1), kDay, kStart, id<EventId>(1), {}, "{}"};
  static const RecordedOutcome outcome{kTenant, id<OpportunityId>(1), kDay, id<EventId>(1), kStart};
  const auto fire = [](FireOutcome result) {
    FireRecord made;
    made.schedule = kNames[0];
    made.fire.outcome = result;
    made.fire.first = made.fire.last = kStart + std::chrono::hours(100'000);
    return made;
  };
  std::vector<Asked> asked{
      {"schedules: insert",
       [](auto& t) {
         return done(t.schedules().insert({&schedule, 1}));
       },
       {}},
      {"schedules: update",
       [](auto& t) {
         return done(t.schedules().update({&schedule, 1}));
       },
       {"schedules_pkey"}},
      {"schedules: find", [](auto& t) { return done(t.schedules().find(kNames)); }, {"schedules_pkey"}},
      {"schedules: list", [](auto& t) { return done(t.schedules().list("", 10)); }, {"schedules_pkey"}},
      {"schedules: due", [](auto& t) { return done(t.schedules().due(kStart, 10)); }, {"schedules_by_wake_up"}},
      {"schedules: next",
       [](auto& t) { return done(t.schedules().next_wake_up()); },
       {"schedules_by_wake_up"},
       false,
       true},
      {"schedules: remove", [](auto& t) { return done(t.schedules().remove("other")); }, {"schedules_pkey"}},
      {"fires: record",
       [=](auto& t) {
         const std::vector fires{fire(FireOutcome::skipped), fire(FireOutcome::triggered)};
         return t.fires().record(fires);
       },
       {"fires_by_schedule", "fires_pkey"},
       true},
      {"fires: buffered", [](auto& t) { return done(t.fires().buffered(kNames)); }, {"fires_buffered"}, true},
      {"fires: turns taken",
       [](auto& t) { return done(t.fires().turns_taken(kNames)); },
       {"job_runs_open_by_schedule", "fires_in_turn"}},
      {"fires: release",
       [](auto& t) -> Result<void> {
         const ReleasedFire released{1'000'000, kIds[0]};
         EXPECT_FALSE(t.fires().release({&released, 1}, kStart));
         return {};
       },
       {"fires_pkey"}},
      {"fires: give up",
       [](auto& t) { return done(t.fires().give_up_buffered("other", FireCause::paused, kStart)); },
       {"fires_buffered"}},
      {"fires: list", [](auto& t) { return done(t.fires().list({})); }, {"fires_pkey"}},
      {"fires: list of one",
       [](auto& t) { return done(t.fires().list({.schedule = "daily"})); },
       {"fires_by_schedule"}},
      {"fires: purge", [](auto& t) { return done(t.fires().purge(Timestamp(), 10)); }, {"fires_decided"}},
      {"runs: insert",
       [](auto& t) {
         return done(t.job_runs().insert({&run.run, 1}));
       },
       {}},
      {"runs: update",
       [](auto& t) {
         return done(t.job_runs().update({&run, 1}));
       },
       {"job_runs_pkey"}},
      {"runs: find", [](auto& t) { return done(t.job_runs().find(kIds)); }, {"job_runs_pkey"}},
      {"runs: by trigger",
       [](auto& t) { return done(t.job_runs().find_by_trigger(kTriggers)); },
       {"job_runs_by_trigger"}},
      {"runs: oldest open",
       [](auto& t) { return done(t.job_runs().oldest_pending("job", 10)); },
       {"job_runs_pending_by_job"},
       true},
      {"runs: open of",
       [](auto& t) { return done(t.job_runs().open_of(kNames, 10)); },
       {"job_runs_open_by_schedule"},
       true},
      {"runs: due", [](auto& t) { return done(t.job_runs().due(JobRunStatus::queued, kStart, 10)); }, {"job_runs_due"}},
      {"runs: past deadline",
       [](auto& t) { return done(t.job_runs().past_deadline(kStart, 10)); },
       {"job_runs_deadline"}},
      {"runs: completed", [](auto& t) { return done(t.job_runs().last_completed_at("job")); }, {"job_runs_completed"}},
      {"runs: oldest running", [](auto& t) { return done(t.job_runs().oldest_running()); }, {"job_runs_due"}},
      {"runs: heartbeat",
       [](auto& t) { return done(t.job_runs().heartbeat(kIds, "worker", kStart)); },
       {"job_runs_pkey"}},
      {"runs: purge",
       [](auto& t) { return done(t.job_runs().purge(Timestamp(), 10)); },
       {"job_runs_completed", "job_runs_ended"},
       false,
       true},
      {"snapshots: upsert",
       [](auto& t) {
         return done(t.risk_snapshots().upsert({&snapshot, 1}));
       },
       {}},
      {"snapshots: list",
       [](auto& t) { return done(t.risk_snapshots().list(kTenant, snapshot.opportunity, kDay, kDay, 10)); },
       {"risk_snapshots_pkey"}},
      {"outcomes: insert",
       [](auto& t) {
         return done(t.outcomes().insert({&outcome, 1}));
       },
       {}},
      {"closed",
       [](auto& t) { return done(t.opportunities().closed_after(std::nullopt, 10)); },
       {"opportunities_closed"}},
      {"closed behind one",
       [](auto& t) {
         return done(t.opportunities().closed_after(OpportunityKey{kTenant, id<OpportunityId>(1)}, 10));
       },
       {"opportunities_closed"}},
  };
  for (const auto& status : {std::optional<JobRunStatus>(), std::optional(JobRunStatus::completed),
                             std::optional(JobRunStatus::running), std::optional(JobRunStatus::failed)}) {
    for (const std::string job : {"", "job 1"}) {
      for (const std::string of : {"", "schedule 1"}) {
        const bool open = status && is_open(*status);
        const std::string index = open                             ? "job_runs_due"
                                  : status == JobRunStatus::failed ? "job_runs_by_status"
                                  : !of.empty()                    ? "job_runs_by_schedule"
                                  : !job.empty()                   ? "job_runs_by_job"
                                                                   : "job_runs_pkey";
        asked.push_back(
            {fmt::format("runs: list of job '{}' and schedule '{}' that are {}", job, of,
                         status ? name(*status) : "whatever"),
             [=](auto& t) { return done(t.job_runs().list({.job = job, .schedule = of, .status = status})); },
             {index},
             open});
      }
    }
  }
  return asked;
}

class QueryPlansTest : public PostgresTest {
 protected:
  QueryPlansTest() {
    open();  // makes the schema
    options_.url = server_.url();
    options_.schema = schema_.name();
  }

  /// As after a few months: nine in ten of what is there has ended.
  void fill() const {
    schema_.execute(
        "INSERT INTO schedules (name, origin, definition, paused, pause_note, wake_up_at, created_at, updated_at, "
        "version) SELECT 'schedule ' || n, 0, '{}', false, '', CASE WHEN n % 4 > 0 THEN n END, 0, 0, 1 FROM "
        "generate_series(1, 2000) AS n; "
        "INSERT INTO fires (schedule, first_at, last_at, count, outcome, cause, rule, decided_at) SELECT "
        "'schedule ' || n % 2000, n, n, 1, CASE WHEN n % 10 = 0 THEN 1 ELSE n % 2 * 2 END, 0, 0, n FROM "
        "generate_series(1, 20000) AS n; "
        "INSERT INTO job_runs (id, job, status, triggered_by, schedule, trigger_id, due_at, deadline, version, "
        "created_at, started_at, ended_at, attempt, takeovers, progress_done, progress_note, correlation_id, holder, "
        "metadata, checkpoint, counts, error) SELECT gen_random_uuid(), 'job ' || n % 5, status, 0, 'schedule ' || n % "
        "100, gen_random_uuid(), CASE WHEN status <= 2 THEN n END, CASE WHEN n % 2 = 0 THEN n END, 1, n, CASE WHEN "
        "status > 1 THEN n END, CASE WHEN status > 2 THEN n END, 1, 0, 0, '', '', '', '{}', '', '{}', '' FROM (SELECT "
        "n, CASE WHEN n % 10 < 8 THEN 3 WHEN n % 100 = 98 THEN n / 100 % 3 ELSE 4 + n % 2 END AS status FROM "
        "generate_series(1, 20000) AS n) AS n; "
        "INSERT INTO risk_snapshots (tenant, opportunity, day, evaluated_at, event, workflow, fields) SELECT "
        "uuid_in(md5((n % 10)::text)::cstring), uuid_in(md5((n % 100)::text)::cstring), n, n, gen_random_uuid(), "
        "gen_random_uuid(), '{}' FROM generate_series(1, 5000) AS n; "
        "INSERT INTO outcomes (tenant, opportunity, close_on, event, recorded_at) SELECT gen_random_uuid(), "
        "gen_random_uuid(), n, gen_random_uuid(), n FROM generate_series(1, 5000) AS n; "
        "INSERT INTO opportunities (tenant, id, state, fields) SELECT uuid_in(md5((n % 10)::text)::cstring), "
        "gen_random_uuid(), n % 3, '{}' FROM generate_series(1, 5000) AS n; "
        "ANALYZE schedules, fires, job_runs, risk_snapshots, outcomes, opportunities");
  }

  /// What the call prepared, as the server plans it now: of each statement its text and the lines of its plan.
  std::vector<std::vector<std::string>> plans(const Asked& asked) {
    auto connection = Connection::open(options_).value();
    Tables tables(connection, Connection::Mode::write, {contracts(), clock_, nullptr, false});
    const auto done = asked.ask(tables);
    EXPECT_TRUE(done) << error_of(done);
    EXPECT_TRUE(connection.execute("DISCARD PLANS"));
    const Rows prepared =
        connection
            .run(
                "SELECT name, array_to_string(array_fill('NULL'::text, ARRAY[cardinality(parameter_types)]), ', '), "
                "statement FROM pg_prepared_statements WHERE statement !~ "
                "'pg_prepared_statements|set_config|pg_settings'")
            .value();
    std::vector<std::vector<std::string>> found;
    std::list<std::string> texts;  // known to the connection by their addresses
    for (const Row row : prepared) {
      const std::string parameters = row.text(1).empty() ? "" : "(" + row.text(1) + ")";
      texts.push_back(fmt::format("EXPLAIN (COSTS OFF) EXECUTE \"{}\"{}", row.text(0), parameters));
      found.push_back({row.text(2)});
      const Rows lines = connection.run(texts.back().c_str()).value();
      for (const Row line : lines) found.back().push_back(line.text(0));
    }
    return found;
  }
  void expect_indexes() {
    for (const Asked& asked : all()) {
      SCOPED_TRACE(asked.name);
      std::set<std::string> indexes;
      const auto found = plans(asked);
      EXPECT_FALSE(found.empty());
      for (const auto& plan : found) {
        const std::string whole = fmt::format("{}", fmt::join(plan, "\n"));
        EXPECT_EQ(whole.find("Seq Scan"), std::string::npos) << whole;
        for (std::size_t i = 1; i < plan.size(); ++i) {
          EXPECT_TRUE(asked.sorts || plan[i].find("Sort") == std::string::npos) << whole;
          constexpr std::string_view kUsing = " using ";
          const auto at = plan[i].find(kUsing);
          if (at == std::string::npos) continue;
          const auto begin = at + kUsing.size();
          indexes.insert(plan[i].substr(begin, plan[i].find(' ', begin) - begin));
          const bool has_condition = i + 1 < plan.size() && plan[i + 1].find("Index Cond: ") != std::string::npos;
          EXPECT_TRUE(has_condition || asked.from_end) << whole;
        }
      }
      EXPECT_EQ(indexes, asked.indexes);
    }
  }

  ConnectionOptions options_;
};

TEST_F(QueryPlansTest, OfSchedulesAndJobsGoAlongTheirIndexesWhileTheTablesAreEmpty) { expect_indexes(); }

TEST_F(QueryPlansTest, OfSchedulesAndJobsGoAlongTheirIndexesWhenTheTablesHaveGrown) {
  fill();
  expect_indexes();
}

}  // namespace
}  // namespace wfo::store::postgres
