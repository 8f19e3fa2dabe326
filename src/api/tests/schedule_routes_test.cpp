#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kJobs = "/api/v1/jobs";
constexpr const char* kNightly = R"({"job":"crm-export","cron":"0 1 * * *"})";

class ScheduleRoutes : public Installation {
 protected:
  static std::string path(std::string_view name, std::string_view act = "") {
    return fmt::format("{}/schedules/{}{}", kJobs, name, act);
  }
  void make(std::string_view name, std::string body = kNightly) {
    const auto made = put(path(name), std::move(body));
    EXPECT_EQ(made.status, 201) << made.body;
  }
  Response remove(std::string_view name) { return ask(Method::delete_, path(name)); }
  Response preview(const std::string& query) { return get(fmt::format("{}/preview?{}", kJobs, query)); }
  std::vector<std::string> names(const std::string& query = "") {
    return all_at(get(fmt::format("{}?{}", kJobs, query)), "schedules", "name");
  }
};

TEST_F(ScheduleRoutes, MakeASchedule) {
  const auto made =
      put(path("exports"),
          R"({"job":"crm-export","cron":["0 6 * * 1-5","0 9 * * 6"],"timeZone":"Europe/Berlin","overlap":"buffer_one",)"
          R"("catchUpWindow":"2h","jitter":"30s","pauseOnFailure":true,"metadata":{"full":true}})");
  EXPECT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(text_at(made, "name"), "exports");
  EXPECT_EQ(text_at(made, "job"), "crm-export");
  EXPECT_EQ(text_at(made, "cron"), R"(["0 6 * * 1-5","0 9 * * 6"])");
  EXPECT_EQ(text_at(made, "timeZone"), "Europe/Berlin");
  EXPECT_EQ(text_at(made, "overlap"), "buffer_one");
  EXPECT_EQ(text_at(made, "paused"), "false");
  EXPECT_EQ(text_at(made, "origin"), "api");
  EXPECT_EQ(text_at(made, "nextFireAt"), "2026-03-02T05:00:00.000Z") << "Monday, 6 o'clock in Berlin";
  EXPECT_EQ(text_at(made, "createdAt"), "2026-03-01T09:30:00.000Z");
  EXPECT_EQ(text_at(made, "definition.catchUpWindow"), "2h");
  EXPECT_EQ(text_at(made, "definition.jitter"), "30s");
  EXPECT_EQ(text_at(made, "definition.pauseOnFailure"), "true");
  EXPECT_EQ(text_at(made, "definition.metadata.full"), "true");
  EXPECT_EQ(text_at(made, "waiting"), "0");
  EXPECT_EQ(text_at(made, "openRuns"), "[]");
  EXPECT_EQ(text_at(made, "lastFires"), "[]");
  EXPECT_EQ(get(path("exports")).body, made.body);
}

TEST_F(ScheduleRoutes, ChangeASchedule) {
  make("nightly");
  clock_.advance(std::chrono::minutes(1));
  const auto changed = put(path("nightly"), R"({"name":"nightly","job":"crm-export","cron":"30 2 * * *"})");
  EXPECT_EQ(changed.status, 200) << changed.body;
  EXPECT_EQ(text_at(changed, "nextFireAt"), "2026-03-02T02:30:00.000Z");
  EXPECT_EQ(text_at(changed, "createdAt"), "2026-03-01T09:30:00.000Z");
  EXPECT_EQ(text_at(changed, "updatedAt"), "2026-03-01T09:31:00.000Z");
}

TEST_F(ScheduleRoutes, TakeADefinitionBackAsItWasShown) {
  make("nightly",
       R"({"job":"crm-export","cron":"0 1 * * *","paused":true,"pauseNote":"not yet","metadata":{"a":[1]}})");
  const auto shown = get(path("nightly"));
  const auto same = put(path("nightly"), text_at(shown, "definition"));
  EXPECT_EQ(same.status, 200) << same.body;
  EXPECT_EQ(text_at(same, "definition"), text_at(shown, "definition"));
  EXPECT_EQ(text_at(same, "paused"), "true");
}

TEST_F(ScheduleRoutes, RefuseWhatIsNoScheduleAndSayAllThatIsWrong) {
  const auto response =
      put(path("nightly"), R"({"job":"crm-exports","cron":"0 25 * * *","timeZone":"Europe/Berlim","overlap":"queue",)"
                           R"("catchUpWindow":"soon","jitter":"2h","metadata":[],"zone":"UTC","pauseOnFailure":1})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(error(response),
              AllOf(HasSubstr("crm-exports"), HasSubstr("crm-export, outcome-sync, risk-snapshot-backfill"),
                    HasSubstr("hour"), HasSubstr("Europe/Berlim"), HasSubstr("'queue'"), HasSubstr("buffer_one"),
                    HasSubstr("'soon'"), HasSubstr("jitter"), HasSubstr("metadata")));
  EXPECT_THAT(error(response), AllOf(HasSubstr("zone"), HasSubstr("pauseOnFailure")));
  for (const auto* const body :
       {"", "{}", "[]", "17", "{", R"({"job":"crm-export"})", R"({"cron":"@daily"})",
        R"({"job":"crm-export","cron":[]})", R"({"job":"crm-export","cron":"@daily","pauseNote":"x"})",
        R"({"job":"crm-export","cron":"@daily","jitter":"10m","catchUpWindow":"5m"})"}) {
    EXPECT_EQ(put(path("nightly"), body).status, 400) << body;
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(ScheduleRoutes, TakeTheNameFromThePath) {
  const auto other_name = put(path("nightly"), R"({"name":"weekly","job":"crm-export","cron":"@daily"})");
  EXPECT_EQ(error(other_name), R"(member 'name' of the body is "weekly", the path names 'nightly'; allowed: the same)");
  EXPECT_THAT(error(put(path("night%20ly"), kNightly)), HasSubstr("'night ly' of the path; allowed: 1 to 100 of"));
  EXPECT_EQ(put(path(std::string(101, 'n')), kNightly).status, 400);
  EXPECT_EQ(put(path("nightly"), R"({"name":17,"job":"crm-export","cron":"@daily"})").status, 400);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(ScheduleRoutes, MakeNothingWhileTheDiskIsNearlyFull) {
  disk_free_bytes_ = 0;
  EXPECT_EQ(put(path("nightly"), kNightly).status, 503);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(ScheduleRoutes, RemoveAScheduleButNotItsHistory) {
  make("nightly");
  clock_.advance(std::chrono::hours(24));
  attend();
  const auto gone = remove("nightly");
  EXPECT_EQ(gone.status, 204) << gone.body;
  EXPECT_EQ(gone.body, "");
  EXPECT_EQ(get(path("nightly")).status, 404);
  EXPECT_EQ(remove("nightly").status, 404);
  EXPECT_THAT(all_at(get(path("nightly", "/fires")), "fires", "outcome"), ElementsAre("triggered"));
  EXPECT_THAT(all_at(get(fmt::format("{}/runs?schedule=nightly", kJobs)), "runs", "job"), ElementsAre("crm-export"));
  EXPECT_EQ(get(path("unheard-of", "/fires")).status, 404);
}

TEST_F(ScheduleRoutes, LeaveTheConfigurationsSchedulesToIt) {
  schedule::Schedule configured;
  configured.name = "sync";
  configured.job = "outcome-sync";
  configured.cron = {"0 1 * * *"};
  need(scheduler_.configure({&configured, 1}));
  EXPECT_EQ(text_at(get(path("sync")), "origin"), "configuration");
  EXPECT_EQ(put(path("sync"), kNightly).status, 409);
  EXPECT_EQ(remove("sync").status, 409);
  EXPECT_EQ(text_at(get(path("sync")), "job"), "outcome-sync");
  EXPECT_EQ(post(path("sync", "/pause"), R"({"note":"audit"})").status, 200);
}

TEST_F(ScheduleRoutes, ListSchedulesByNameInPages) {
  for (const auto* const name : {"e", "b", "d", "a", "c"}) make(name);
  EXPECT_THAT(names(), ElementsAre("a", "b", "c", "d", "e"));
  const auto first = get(fmt::format("{}?limit=3", kJobs));
  EXPECT_THAT(all_at(first, "schedules", "name"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(all_at(first, "schedules", "nextFireAt"), testing::Each("2026-03-02T01:00:00.000Z"));
  const auto second = get(fmt::format("{}?limit=2&cursor={}", kJobs, text_at(first, "cursor")));
  EXPECT_THAT(all_at(second, "schedules", "name"), ElementsAre("d", "e"));
  EXPECT_EQ(text_at(second, "cursor"), "");
  EXPECT_EQ(error(get(fmt::format("{}?cursor=%20", kJobs))),
            "parameter cursor is ' '; allowed: cursor of the page before");
}

TEST_F(ScheduleRoutes, PauseAndResume) {
  make("nightly");
  const auto paused = post(path("nightly", "/pause"), R"({"note":"the CRM is being moved"})");
  EXPECT_EQ(paused.status, 200) << paused.body;
  EXPECT_EQ(text_at(paused, "paused"), "true");
  EXPECT_EQ(text_at(paused, "pauseNote"), "the CRM is being moved");
  EXPECT_THAT(all_at(get(kJobs), "schedules", "pauseNote"), ElementsAre("the CRM is being moved"));
  EXPECT_EQ(text_at(post(path("nightly", "/pause"), R"({"note":"still"})"), "pauseNote"), "still");
  clock_.advance(std::chrono::hours(48));
  const auto resumed = post(path("nightly", "/resume"), "{}");
  EXPECT_EQ(resumed.status, 200) << resumed.body;
  EXPECT_EQ(text_at(resumed, "paused"), "false");
  EXPECT_EQ(text_at(resumed, "pauseNote"), "");
  EXPECT_EQ(text_at(resumed, "lastFires.0.outcome"), "skipped");
  EXPECT_EQ(text_at(resumed, "lastFires.0.cause"), "paused");
  EXPECT_EQ(text_at(resumed, "lastFires.0.count"), "2");
  EXPECT_EQ(text_at(resumed, "nextFireAt"), "2026-03-04T01:00:00.000Z");
  EXPECT_EQ(post(path("nightly", "/resume"), "").status, 409) << "it is not paused";
}

TEST_F(ScheduleRoutes, WantANoteForAPause) {
  make("nightly");
  for (const auto* const body : {"", "{}", R"({"note":""})", R"({"note":null})", R"({"reason":"x"})"}) {
    const auto response = post(path("nightly", "/pause"), body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(error(response), HasSubstr("note"));
  }
  EXPECT_EQ(text_at(get(path("nightly")), "paused"), "false");
}

TEST_F(ScheduleRoutes, LimitANoteByItsBytes) {
  make("nightly");
  std::string note;
  for (int i = 0; i < 500; ++i) note += "\u00fc";  // two bytes each
  EXPECT_EQ(post(path("nightly", "/pause"), fmt::format(R"({{"note":"{}"}})", note)).status, 200);
  const auto refused = post(path("nightly", "/pause"), fmt::format(R"({{"note":"{}x"}})", note));
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(error(refused), HasSubstr("allowed: a text of 1..1000 bytes"));
}

TEST_F(ScheduleRoutes, AnswerUnknownSchedulesWith404) {
  EXPECT_EQ(error(get(path("nightly"))), "there is no schedule 'nightly'");
  for (const auto& [act, body] : {std::pair{"/pause", R"({"note":"x"})"},
                                  {"/resume", "{}"},
                                  {"/backfill", R"({"from":"2026-02-01T00:00:00Z","to":"2026-02-02T00:00:00Z"})"}}) {
    const auto response = post(path("nightly", act), body);
    EXPECT_EQ(response.status, 404) << act;
    EXPECT_THAT(error(response), HasSubstr("nightly"));
  }
  EXPECT_EQ(get(path("nightly", "/preview")).status, 404);
  EXPECT_EQ(get(path("nightly", "/fires")).status, 404);
}

TEST_F(ScheduleRoutes, ShowWhatBecameOfFires) {
  make("nightly");
  make("often", R"({"job":"outcome-sync","cron":"*/10 * * * *","overlap":"skip"})");
  clock_.set(*parse_timestamp("2026-03-01T09:40:00.5Z"));
  attend();
  clock_.set(*parse_timestamp("2026-03-01T10:00:00.5Z"));
  attend();
  const auto often = get(path("often", "/fires"));
  EXPECT_THAT(all_at(often, "fires", "outcome"), ElementsAre("skipped", "triggered"));
  EXPECT_THAT(all_at(often, "fires", "cause"), ElementsAre("overlap", "due"));
  EXPECT_THAT(all_at(often, "fires", "first"), ElementsAre("2026-03-01T09:50:00.000Z", "2026-03-01T09:40:00.000Z"));
  EXPECT_THAT(all_at(often, "fires", "last"), ElementsAre("2026-03-01T10:00:00.000Z", "2026-03-01T09:40:00.000Z"));
  EXPECT_THAT(all_at(often, "fires", "count"), ElementsAre("2", "1"));
  const auto run = text_at(often, "fires.1.runId");
  const auto shown = get(path("often"));
  EXPECT_EQ(text_at(shown, "openRuns.0"), run);
  EXPECT_EQ(text_at(shown, "lastFires.0.outcome"), "skipped");
  const auto triggered = get(fmt::format("{}/runs/{}", kJobs, run));
  EXPECT_EQ(text_at(triggered, "triggeredBy"), "scheduler");
  EXPECT_EQ(text_at(triggered, "schedule"), "often");
  EXPECT_EQ(text_at(triggered, "scheduledFor"), "2026-03-01T09:40:00.000Z");
  EXPECT_THAT(all_at(get(path("nightly", "/fires")), "fires", "id"), IsEmpty());
  EXPECT_THAT(all_at(get(fmt::format("{}/fires", kJobs)), "fires", "schedule"), ElementsAre("often", "often"));
}

TEST_F(ScheduleRoutes, ShowFiresInPages) {
  make("often", R"({"job":"crm-export","cron":"* * * * *","overlap":"allow_all"})");
  clock_.advance(std::chrono::minutes(5));
  attend();
  const auto all = all_at(get(path("often", "/fires")), "fires", "first");
  ASSERT_THAT(all, SizeIs(5));
  for (const auto& fires : {path("often", "/fires"), fmt::format("{}/fires", kJobs)}) {
    std::vector<std::string> seen;
    std::string cursor;
    do {
      const auto page = get(fmt::format("{}?limit=2{}", fires, cursor.empty() ? "" : "&cursor=" + cursor));
      for (auto& first : all_at(page, "fires", "first")) seen.push_back(std::move(first));
      cursor = text_at(page, "cursor");
    } while (!cursor.empty());
    EXPECT_EQ(seen, all);
    EXPECT_EQ(error(get(fires + "?cursor=-1")), "parameter cursor is '-1'; allowed: cursor of the page before");
    EXPECT_EQ(get(fires + "?cursor=9223372036854775808").status, 400);
    EXPECT_EQ(get(fires + "?limit=1001").status, 400);
  }
}

TEST_F(ScheduleRoutes, BackfillATimeThatIsPast) {
  make("nightly");
  const auto filled =
      post(path("nightly", "/backfill"), R"({"from":"2026-02-01T00:00:00Z","to":"2026-02-03T01:00:00Z"})");
  EXPECT_EQ(filled.status, 200) << filled.body;
  EXPECT_THAT(all_at(filled, "fires", "first"), ElementsAre("2026-02-01T01:00:00.000Z", "2026-02-02T01:00:00.000Z"));
  EXPECT_THAT(all_at(filled, "fires", "outcome"), ElementsAre("triggered", "buffered"));
  EXPECT_THAT(all_at(filled, "fires", "cause"), testing::Each("backfill"));
  EXPECT_EQ(text_at(get(path("nightly")), "waiting"), "1");
  EXPECT_EQ(text_at(get(path("nightly")), "nextFireAt"), "2026-03-02T01:00:00.000Z");
  const auto at_once = post(path("nightly", "/backfill"),
                            R"({"from":"2026-01-01T00:00:00Z","to":"2026-01-04T00:00:00Z","overlap":"allow_all"})");
  EXPECT_THAT(all_at(at_once, "fires", "outcome"), ElementsAre("triggered", "triggered", "triggered"));
}

TEST_F(ScheduleRoutes, RefuseABackfillThatCannotBe) {
  make("nightly");
  const auto refused = [&](const char* body) {
    const auto response = post(path("nightly", "/backfill"), body);
    EXPECT_EQ(response.status, 400) << body;
    return error(response);
  };
  EXPECT_EQ(refused("{}"), "member 'from' of the body is missing; allowed: an RFC 3339 time like 2026-03-01T09:30:00Z");
  EXPECT_EQ(refused(R"({"from":"2026-02-01","to":"2026-02-03T01:00:00Z"})"),
            R"(member 'from' of the body is "2026-02-01"; allowed: an RFC 3339 time like 2026-03-01T09:30:00Z)");
  EXPECT_THAT(refused(R"({"from":"2026-02-01T00:00:00Z","to":"2026-02-02T00:00:00Z","overlap":"queue"})"),
              HasSubstr("member 'overlap' of the body is \"queue\"; allowed: skip, buffer_one"));
  EXPECT_THAT(refused(R"({"from":"2026-02-03T00:00:00Z","to":"2026-02-01T00:00:00Z"})"), HasSubstr("before"));
  EXPECT_EQ(refused(R"({"from":"2026-02-01T00:00:00Z","to":"2036-02-01T00:00:00Z"})").empty(), false);
  EXPECT_THAT(refused(R"({"from":"2016-02-01T00:00:00Z","to":"2026-02-01T00:00:00Z"})"), HasSubstr("1000"));
  refused(R"({"from":"2026-02-01T02:00:00Z","to":"2026-02-01T03:00:00Z"})");
  refused(R"({"from":"2026-02-01T00:00:00Z","to":"2026-02-02T00:00:00Z","since":1})");
  EXPECT_EQ(text_at(get(path("nightly")), "lastFires"), "[]");
}

TEST_F(ScheduleRoutes, PreviewAScheduleAcrossDaylightSaving) {
  make("berlin", R"({"job":"crm-export","cron":"30 2 * * *","timeZone":"Europe/Berlin"})");
  const auto rows = get(path("berlin", "/preview?count=3&after=2026-03-27T12:00:00Z"));
  EXPECT_EQ(rows.status, 200) << rows.body;
  EXPECT_EQ(text_at(rows, "timeZone"), "Europe/Berlin");
  EXPECT_EQ(text_at(rows, "cron"), R"(["30 2 * * *"])");
  EXPECT_THAT(all_at(rows, "rows", "at"),
              ElementsAre("2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"));
  EXPECT_THAT(all_at(rows, "rows", "rule"), ElementsAre("regular", "after_gap", "regular"));
  EXPECT_EQ(text_at(rows, "rows.1.local"), "2026-03-29 03:00:00 +02:00 CEST");
  EXPECT_THAT(text_at(rows, "rows.1.note"), HasSubstr("02:30"));
  EXPECT_EQ(text_at(rows, "rows.0.note"), "");
}

TEST_F(ScheduleRoutes, PreviewFromNowOn) {
  make("nightly");
  const auto rows = get(path("nightly", "/preview"));
  EXPECT_THAT(all_at(rows, "rows", "at"), SizeIs(10));
  EXPECT_EQ(text_at(rows, "rows.0.at"), "2026-03-02T01:00:00.000Z");
}

TEST_F(ScheduleRoutes, PreviewExpressionsThatNoScheduleHas) {
  const auto rows = preview("cron=0+6+*+*+*&cron=30+5+*+*+*&timeZone=Asia/Kathmandu&count=3");
  EXPECT_EQ(rows.status, 200) << rows.body;
  EXPECT_EQ(text_at(rows, "cron"), R"(["0 6 * * *","30 5 * * *"])");
  EXPECT_THAT(all_at(rows, "rows", "at"),
              ElementsAre("2026-03-01T23:45:00.000Z", "2026-03-02T00:15:00.000Z", "2026-03-02T23:45:00.000Z"));
  EXPECT_EQ(text_at(preview("cron=@hourly"), "timeZone"), "UTC");
}

TEST_F(ScheduleRoutes, SayWhyThereIsNoPreview) {
  EXPECT_EQ(error(preview("")), "parameter cron comes 0 times; allowed: 1..20 times");
  std::string many = "count=1";
  for (int i = 0; i < 21; ++i) many += fmt::format("&cron={}+*+*+*+*", i);
  EXPECT_EQ(error(preview(many)), "parameter cron comes 21 times; allowed: 1..20 times");
  EXPECT_THAT(error(preview("cron=60+*+*+*+*")), HasSubstr("minute"));
  EXPECT_THAT(error(preview("cron=0+0+30+2+*")), HasSubstr("0 0 30 2 *"));
  EXPECT_THAT(error(preview("cron=@daily&timeZone=Mars/Olympus")), HasSubstr("Mars/Olympus"));
  EXPECT_EQ(error(preview("cron=@daily&count=0")), "parameter count is '0'; allowed: 1..1000");
  EXPECT_EQ(error(preview("cron=@daily&count=1001")), "parameter count is '1001'; allowed: 1..1000");
  EXPECT_THAT(error(preview("cron=@daily&after=tomorrow")),
              HasSubstr("parameter after is 'tomorrow'; allowed: an RFC"));
  EXPECT_THAT(error(preview("cron=@daily&count=1&count=2")), HasSubstr("comes twice"));
}

}  // namespace
}  // namespace wfo::api
