#include "schedule/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace wfo::schedule {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

JobSpec job(std::string name, JobKind kind) {
  JobSpec out;
  out.name = std::move(name);
  out.kind = kind;
  return out;
}

JobCatalog catalog() {
  return JobCatalog({job("outcome-sync", JobKind::builtin), job("risk-snapshot-backfill", JobKind::builtin),
                     job("export", JobKind::external)});
}

Result<Schedule> parse(std::string text) {
  const auto document = json::Document::parse(std::move(text));
  INVARIANT(document.has_value());
  return parse_schedule(document->root(), "here", catalog());
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (c == '\n') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

// A schedule that is right, but for what `members` adds or puts in the place of its own.
std::string schedule_with(const std::string& members, const std::string& cron = R"("0 1 * * *")") {
  return R"({"name":"nightly","job":"outcome-sync","cron":)" + cron + (members.empty() ? "" : ",") + members + "}";
}

// Objects and lists in turn, so many in each other.
std::string nested(int levels) {
  std::string open;
  std::string close;
  for (int level = 0; level < levels; ++level) {
    open += level % 2 == 0 ? R"({"a":)" : "[0,";
    close.insert(0, level % 2 == 0 ? "}" : "]");
  }
  return open + "1" + close;
}

TEST(ScheduleText, HasDefaultsForWhatItDoesNotSay) {
  Schedule expected;
  expected.name = "nightly";
  expected.job = "outcome-sync";
  expected.cron = {"0 1 * * *"};
  EXPECT_EQ(parse(schedule_with("")), expected);
  EXPECT_EQ(expected.time_zone, "UTC");
  EXPECT_EQ(expected.overlap, OverlapPolicy::skip);
  EXPECT_EQ(expected.catch_up_window, days(1));
  EXPECT_EQ(expected.jitter, milliseconds(0));
}

TEST(ScheduleText, SaysEverythingThatAScheduleHolds) {
  Schedule expected;
  expected.name = "nightly";
  expected.job = "export";
  expected.cron = {"0 1 * * *", "30 12 * * 1-5"};
  expected.time_zone = "Europe/Berlin";
  expected.overlap = OverlapPolicy::buffer_all;
  expected.catch_up_window = days(7);
  expected.jitter = minutes(5);
  expected.paused = true;
  expected.pause_note = "until the disk is replaced";
  expected.pause_on_failure = true;
  expected.metadata = R"({"days": 7.50})";
  EXPECT_EQ(parse(R"({"name":"nightly","job":"export","cron":["0 1 * * *","30 12 * * 1-5"],"timeZone":"Europe/Berlin",
                      "overlap":"buffer_all","catchUpWindow":"7d","jitter":"5m","paused":true,
                      "pauseNote":"until the disk is replaced","pauseOnFailure":true,"metadata":{"days": 7.50}})"),
            expected);
}

TEST(ScheduleText, IsWrittenWithEveryMember) {
  EXPECT_EQ(encode(*parse(schedule_with(R"("metadata":{"a": 1})"))),
            R"({"name":"nightly","job":"outcome-sync","cron":["0 1 * * *"],"timeZone":"UTC","overlap":"skip",)"
            R"("catchUpWindow":"1d","jitter":"0ms","paused":false,"pauseNote":"","pauseOnFailure":false,)"
            R"("metadata":{"a": 1}})");
}

TEST(ScheduleText, TakesMetadataAsDeepAsMayBe) {
  EXPECT_EQ(parse(schedule_with(R"("metadata":)" + nested(32)))->metadata, nested(32));
  const auto deep = json::Document::parse(nested(33));
  const auto checked = check_metadata_shape(deep->root());
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(checked.error().message,
              testing::EndsWith(", which is nested more than 32 levels deep; allowed: an object of up to 65536 bytes, "
                                "nested up to 32 levels deep"));
  const auto flat = json::Document::parse("[]");
  EXPECT_FALSE(check_metadata_shape(flat->root()));
}

struct BadCase {
  const char* what;
  std::string text;
  std::string message;  // begins so, behind the place
};

class BadSchedule : public testing::TestWithParam<BadCase> {};

TEST_P(BadSchedule, IsToldWithMemberValueAndWhatIsAllowed) {
  const auto schedule = parse(GetParam().text);
  ASSERT_FALSE(schedule.has_value());
  EXPECT_EQ(schedule.error().code, ErrorCode::invalid_argument);
  const auto told = lines(schedule.error().message);
  ASSERT_EQ(told.size(), 1u) << schedule.error().message;
  EXPECT_THAT(told.front(), testing::StartsWith("here: " + GetParam().message));
  EXPECT_THAT(told.front(), testing::AnyOf(HasSubstr("; allowed: "), testing::EndsWith("missing")));
}

std::string many_expressions(int count) {
  std::string out;
  for (int minute = 0; minute < count; ++minute) {
    out += (out.empty() ? "[\"" : ",\"") + std::to_string(minute) + " * * * *\"";
  }
  return out + "]";
}

INSTANTIATE_TEST_SUITE_P(
    All, BadSchedule,
    testing::Values(
        BadCase{"NoObject", "[1]", "[1]; allowed: an object of name, job, cron, timeZone"},
        BadCase{
            "UnknownMember", schedule_with(R"("timezone":"UTC")"),
            "unknown member 'timezone'; allowed: name, job, cron, timeZone, overlap, catchUpWindow, jitter, paused, "
            "pauseNote, pauseOnFailure, metadata"},
        BadCase{"NoName", R"({"job":"export","cron":"@daily"})", "name is missing"},
        BadCase{"NoJob", R"({"name":"n","cron":"@daily"})", "job is missing"},
        BadCase{"NoExpression", R"({"name":"n","job":"export"})", "cron is missing"},
        BadCase{"NameWithSpace", R"({"name":"a b","job":"export","cron":"@daily"})", "name: 'a b'; allowed: 1 to 100"},
        BadCase{"NameIsNumber", R"({"name":7,"job":"export","cron":"@daily"})", "name: 7; allowed: 1 to 100"},
        BadCase{"UnknownJob", R"({"name":"n","job":"exprot","cron":"@daily"})",
                "job: 'exprot'; allowed: export, outcome-sync, risk-snapshot-backfill"},
        BadCase{"JobIsNull", R"({"name":"n","job":null,"cron":"@daily"})", "job: null; allowed: export, "},
        BadCase{"ExpressionIsNumber", schedule_with("", "5"), "cron: 5; allowed: an expression as text"},
        BadCase{"ExpressionIsObject", schedule_with("", R"({"hour":1})"),
                R"(cron: {"hour":1}; allowed: an expression)"},
        BadCase{"BadExpression", schedule_with("", R"("0 25 * * *")"), "cron: "},
        BadCase{"BadSecondExpression", schedule_with("", R"(["0 1 * * *","0 25 * * *"])"), "cron[1]: "},
        BadCase{"ElementIsNumber", schedule_with("", R"(["0 1 * * *",5])"),
                "cron[1]: 5; allowed: an expression as text"},
        BadCase{"NoExpressions", schedule_with("", "[]"), "cron: 0 expressions; allowed: 1 to 20"},
        BadCase{"TooManyExpressions", schedule_with("", many_expressions(21)),
                "cron: 21 expressions; allowed: 1 to 20"},
        BadCase{"ExpressionTwice", schedule_with("", R"(["0 1 * * *","0  1 * * * "])"),
                "cron[1]: '0  1 * * * ' stands there twice; allowed: each expression once"},
        BadCase{"ZoneIsNumber", schedule_with(R"("timeZone":1)"), "timeZone: 1; allowed: the name of a time zone"},
        BadCase{"BadPolicy", schedule_with(R"("overlap":"queue")"),
                "overlap: 'queue'; allowed: skip, buffer_one, buffer_all, cancel_other, allow_all"},
        BadCase{"WindowIsNumber", schedule_with(R"("catchUpWindow":3600)"),
                "catchUpWindow: 3600; allowed: a text from '0ms' to '3650d', such as"},
        BadCase{"WindowWithoutUnit", schedule_with(R"("catchUpWindow":"3600")"),
                "catchUpWindow: '3600'; allowed: a text"},
        BadCase{"WindowTooLong", schedule_with(R"("catchUpWindow":"3651d")"),
                "catchUpWindow: '3651d'; allowed: a text"},
        BadCase{"WindowNegative", schedule_with(R"("catchUpWindow":"-1h")"), "catchUpWindow: '-1h'; allowed: a text"},
        BadCase{"JitterTooLong", schedule_with(R"("jitter":"3600001ms")"),
                "jitter: '3600001ms'; allowed: a text from '0ms' to '1h'"},
        BadCase{"JitterLongerThanWindow", schedule_with(R"("jitter":"5m","catchUpWindow":"4m59s")"),
                "jitter: '5m'; allowed: up to the catchUpWindow, '4m59s'"},
        BadCase{"JitterWithoutWindow", schedule_with(R"("jitter":"1ms","catchUpWindow":"0s")"),
                "jitter: '1ms'; allowed: up to the catchUpWindow, '0ms'"},
        BadCase{"PausedIsText", schedule_with(R"("paused":"yes")"), "paused: 'yes'; allowed: true, false"},
        BadCase{"NoteWithoutPause", schedule_with(R"("pauseNote":"holidays")"),
                "pauseNote: 'holidays'; allowed: only together with `paused` true"},
        BadCase{"NoteOfOneThatIsNotPaused", schedule_with(R"("paused":false,"pauseNote":"holidays")"),
                "pauseNote: 'holidays'; allowed: only together with `paused` true"},
        BadCase{"NoteTooLong", schedule_with(R"("paused":true,"pauseNote":")" + std::string(1001, 'x') + "\""),
                "pauseNote: '" + std::string(80, 'x') + "...'; allowed: a text of up to 1000 bytes"},
        BadCase{"PauseOnFailureIsNumber", schedule_with(R"("pauseOnFailure":1)"),
                "pauseOnFailure: 1; allowed: true, false"},
        BadCase{"MetadataIsList", schedule_with(R"("metadata":[1,2])"),
                "metadata: [1,2]; allowed: an object of up to 65536"},
        BadCase{"MetadataIsText", schedule_with(R"("metadata":"{}")"), "metadata: '{}'; allowed: an object"},
        BadCase{"MetadataTooDeep", schedule_with(R"("metadata":)" + nested(33)), R"(metadata: {"a":[0,{"a":[0,)"},
        BadCase{"MetadataTooLarge", schedule_with(R"("metadata":{"a":")" + std::string(64 * 1024, 'x') + "\"}"),
                R"(metadata: {"a":"xxx)"},
        BadCase{"ControlCharacters", schedule_with(R"("overlap":"a\n\u001b[31m")"), "overlap: 'a??[31m'; allowed: "}),
    [](const auto& row) { return row.param.what; });

TEST(ScheduleText, TellsWhatItsParserOfExpressionsSays) {
  const auto own = CronExpression::parse("0 25 * * *");
  ASSERT_FALSE(own.has_value());
  EXPECT_EQ(parse(schedule_with("", R"(["0 1 * * *","0 25 * * *"])")).error().message,
            "here: cron[1]: " + own.error().message);
}

TEST(ScheduleText, TellsAnUnknownZone) {
  const auto schedule = parse(schedule_with(R"("timeZone":"Europe/Berln")"));
  ASSERT_FALSE(schedule.has_value());
  EXPECT_EQ(schedule.error().message, "here: timeZone: " + Zone::find("Europe/Berln").error().message);
}

TEST(ScheduleText, TellsEverythingThatIsWrongAtOnce) {
  const auto schedule = parse(R"({"name":"a/b","job":"nothing","cron":["0 25 * * *","x"],"timeZone":"Nowhere/At_all",
      "overlap":"","catchUpWindow":"soon","jitter":"2h","paused":0,"pauseNote":"n","metadata":[],"extra":1})");
  ASSERT_FALSE(schedule.has_value());
  EXPECT_THAT(lines(schedule.error().message),
              ElementsAre(HasSubstr("name: 'a/b'"), HasSubstr("job: 'nothing'"), HasSubstr("cron[0]: "),
                          HasSubstr("cron[1]: "), HasSubstr("timeZone: "), HasSubstr("overlap: ''"),
                          HasSubstr("catchUpWindow: 'soon'"), HasSubstr("jitter: '2h'"), HasSubstr("paused: 0"),
                          HasSubstr("metadata: []"), HasSubstr("unknown member 'extra'"), HasSubstr("pauseNote: 'n'")));
}

TEST(ScheduleText, MayHaveAJitterAsLongAsItsWindow) {
  EXPECT_TRUE(parse(schedule_with(R"("jitter":"1h","catchUpWindow":"1h")")).has_value());
  EXPECT_TRUE(parse(schedule_with(R"("jitter":"0s","catchUpWindow":"0s")")).has_value());
  EXPECT_TRUE(parse(schedule_with(R"("catchUpWindow":"3650d")")).has_value());
}

TEST(ScheduleText, MayHaveTwentyExpressions) {
  const auto schedule = parse(schedule_with("", many_expressions(20)));
  ASSERT_TRUE(schedule.has_value()) << schedule.error().message;
  EXPECT_EQ(schedule->cron.size(), 20u);
}

TEST(ScheduleText, SaysThatThereAreNoJobsAtAll) {
  const auto document = json::Document::parse(schedule_with(""));
  EXPECT_EQ(parse_schedule(document->root(), "here", JobCatalog()).error().message,
            "here: job: 'outcome-sync'; allowed: none, as no job is configured");
}

rc::Gen<std::string> any_name() {
  return rc::gen::map(rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcXYZ019._-"))),
                      [](std::string tail) { return "n" + tail.substr(0, 99); });
}

rc::Gen<std::string> any_text() {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(
                          rc::gen::element<std::string>("a", "\"", "\\", "\n", "é", "日", " ", "\x7f", "\xe2\x80\xae")),
                      [](const std::vector<std::string>& parts) {
                        std::string out;
                        for (const auto& part : parts) out += part;
                        return out;
                      });
}

RC_GTEST_PROP(ScheduleTextProperty, IsReadAsItIsWritten, ()) {
  Schedule schedule;
  schedule.name = *any_name();
  schedule.job = *rc::gen::element<std::string>("outcome-sync", "risk-snapshot-backfill", "export");
  const auto expressions = *rc::gen::unique<std::vector<int>>(rc::gen::inRange(0, 60));
  for (const int minute : expressions) {
    if (schedule.cron.size() < kExpressionsMax) schedule.cron.push_back(std::to_string(minute) + " 2 * * 1-5");
  }
  if (schedule.cron.empty()) schedule.cron.emplace_back("@hourly");
  schedule.time_zone = *rc::gen::element<std::string>("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe");
  schedule.overlap = *rc::gen::element(OverlapPolicy::skip, OverlapPolicy::buffer_one, OverlapPolicy::buffer_all,
                                       OverlapPolicy::cancel_other, OverlapPolicy::allow_all);
  schedule.jitter = milliseconds(*rc::gen::inRange<std::int64_t>(0, kJitterMax.count() + 1));
  schedule.catch_up_window =
      milliseconds(*rc::gen::inRange<std::int64_t>(schedule.jitter.count(), kCatchUpWindowMax.count() + 1));
  schedule.paused = *rc::gen::arbitrary<bool>();
  if (schedule.paused) schedule.pause_note = *any_text();
  schedule.pause_on_failure = *rc::gen::arbitrary<bool>();
  schedule.metadata = "{ \"text\":";
  json::append_quoted(schedule.metadata, *any_text());
  schedule.metadata += ", \"number\" : 1.50}";

  const std::string text = encode(schedule);
  const auto document = json::Document::parse(text);
  RC_ASSERT(document.has_value());
  const auto read = parse_schedule(document->root(), "here", catalog());
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read == schedule);
  RC_ASSERT(encode(*read) == text);
}

TEST(OverlapPolicyNames, AreReadAsTheyAreWritten) {
  for (const auto policy : {OverlapPolicy::skip, OverlapPolicy::buffer_one, OverlapPolicy::buffer_all,
                            OverlapPolicy::cancel_other, OverlapPolicy::allow_all}) {
    EXPECT_EQ(parse_overlap_policy(name(policy)), policy);
  }
  EXPECT_EQ(parse_overlap_policy("bufferOne"), std::nullopt);
}

// Files of jobs and schedules

JobCatalog builtin() {
  JobSpec sync = job("outcome-sync", JobKind::builtin);
  sync.timeout = hours(2);
  sync.attempts_max = 7;
  return JobCatalog({sync, job("risk-snapshot-backfill", JobKind::builtin)});
}

Result<JobConfiguration> parse_files(const std::vector<JobFile>& files) { return parse_job_files(files, builtin()); }

TEST(JobFiles, LeaveTheBuiltinJobsWhereNothingIsSaid) {
  const JobConfiguration expected{.catalog = builtin(), .schedules = {}};
  EXPECT_EQ(parse_files({}), expected);
  EXPECT_EQ(parse_files({{"a", "{}"}, {"b", "null"}, {"c", R"({"jobs":null,"schedules":[]})"}}), expected);
}

TEST(JobFiles, AddExternalJobs) {
  const auto read = parse_files({{"jobs.yaml", R"({"jobs":[
      {"job":"plain"},
      {"job":"export","kind":"external","startTimeout":"2h"}
    ]})"}});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->catalog.names(), "export, outcome-sync, plain, risk-snapshot-backfill");
  JobSpec expected = job("export", JobKind::external);
  expected.start_timeout = hours(2);
  EXPECT_EQ(*read->catalog.find("export"), expected);
  EXPECT_EQ(*read->catalog.find("plain"), job("plain", JobKind::external));
}

TEST(JobFiles, RefuseLimitsThatAnExternalJobDoesNotHave) {
  const auto read = parse_files({{"jobs.yaml", R"({"jobs":[
      {"job":"export","startTimeout":"2h","timeout":"1d","attemptsMax":3},
      {"job":"outcome-sync","kind":"external","retryFirst":"250ms","retryMax":"10m"}]})"}});
  ASSERT_FALSE(read.has_value());
  const std::string rule = "; allowed: only of a builtin job; an external one ends within its startTimeout";
  EXPECT_THAT(lines(read.error().message), testing::ElementsAre("jobs.yaml: jobs[0]: timeout: '1d'" + rule,
                                                                "jobs.yaml: jobs[0]: attemptsMax: 3" + rule,
                                                                "jobs.yaml: jobs[1]: retryFirst: '250ms'" + rule,
                                                                "jobs.yaml: jobs[1]: retryMax: '10m'" + rule));
}

TEST(JobFiles, ReadEveryLimitOfABuiltinJob) {
  const auto read = parse_files({{"jobs.yaml", R"({"jobs":[{"job":"outcome-sync","startTimeout":"2h","timeout":"1d",
      "attemptsMax":3,"retryFirst":"250ms","retryMax":"10m"}]})"}});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(*read->catalog.find("outcome-sync"), (JobSpec{.name = "outcome-sync",
                                                          .kind = JobKind::builtin,
                                                          .start_timeout = hours(2),
                                                          .timeout = days(1),
                                                          .attempts_max = 3,
                                                          .retry_first = milliseconds(250),
                                                          .retry_max = minutes(10)}));
}

TEST(JobFiles, ChangeLimitsOfBuiltinJobsAndKeepWhatTheyDoNotSay) {
  const auto read = parse_files({{"jobs.yaml", R"({"jobs":[{"job":"outcome-sync","timeout":"30m"}]})"}});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  JobSpec expected = *builtin().find("outcome-sync");
  expected.timeout = minutes(30);
  EXPECT_EQ(*read->catalog.find("outcome-sync"), expected);
  EXPECT_EQ(read->catalog.find("outcome-sync")->attempts_max, 7);
}

TEST(JobFiles, MayGiveABuiltinJobToAWorkerElsewhere) {
  const auto read = parse_files({{"jobs.yaml", R"({"jobs":[{"job":"outcome-sync","kind":"external"}]})"}});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(*read->catalog.find("outcome-sync"), job("outcome-sync", JobKind::external));
}

TEST(JobFiles, ReplaceWhatEarlierFilesSay) {
  const auto read = parse_files({{"base.yaml", R"({
        "jobs":[{"job":"export","startTimeout":"3h"},{"job":"report"}],
        "schedules":[{"name":"b","job":"export","cron":"@daily","jitter":"5m"},{"name":"c","job":"report","cron":"@daily"}]})"},
                                 {"site.yaml", R"({
        "jobs":[{"job":"export","startTimeout":"2h"}],
        "schedules":[{"name":"b","job":"outcome-sync","cron":"@hourly"},{"name":"a","job":"export","cron":"@daily"}]})"}});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  JobSpec expected = job("export", JobKind::external);
  expected.start_timeout = hours(2);
  EXPECT_EQ(*read->catalog.find("export"), expected);
  ASSERT_EQ(read->schedules.size(), 3u);
  EXPECT_EQ(read->schedules[0].name, "a");
  EXPECT_EQ(read->schedules[1].name, "b");
  EXPECT_EQ(read->schedules[1].job, "outcome-sync");
  EXPECT_EQ(read->schedules[1].jitter, milliseconds(0));
  EXPECT_EQ(read->schedules[2].name, "c");
}

TEST(JobFiles, MayScheduleAJobThatALaterFileBrings) {
  EXPECT_TRUE(parse_files({{"a.yaml", R"({"schedules":[{"name":"n","job":"export","cron":"@daily"}]})"},
                           {"b.yaml", R"({"jobs":[{"job":"export"}]})"}})
                  .has_value());
}

struct BadFileCase {
  const char* what;
  std::string text;
  std::string message;
};

class BadJobFile : public testing::TestWithParam<BadFileCase> {};

TEST_P(BadJobFile, IsToldWithPlaceValueAndWhatIsAllowed) {
  const auto read = parse_files({{"jobs.yaml", GetParam().text}});
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
  ASSERT_EQ(lines(read.error().message).size(), 1u) << read.error().message;
  EXPECT_THAT(read.error().message, testing::StartsWith("jobs.yaml: " + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadJobFile,
    testing::Values(
        BadFileCase{"NoJson", "{", "JSON, line 1, column 2: "},
        BadFileCase{"NoObject", "[]", "[]; allowed: an object of jobs, schedules"},
        BadFileCase{"UnknownMember", R"({"job":[]})", "unknown member 'job'; allowed: jobs, schedules"},
        BadFileCase{"JobsAreNoList", R"({"jobs":{}})", "jobs: {}; allowed: a list"},
        BadFileCase{"SchedulesAreNoList", R"({"schedules":"none"})", "schedules: 'none'; allowed: a list"},
        BadFileCase{"JobIsNoObject", R"({"jobs":["export"]})", "jobs[0]: 'export'; allowed: an object of job, kind"},
        BadFileCase{"NoName", R"({"jobs":[{"startTimeout":"1h"}]})", "jobs[0]: job is missing"},
        BadFileCase{"BadName", R"({"jobs":[{"job":"a b"}]})", "jobs[0]: job: 'a b'; allowed: 1 to 100"},
        BadFileCase{"ReservedName", R"({"jobs":[{"job":"runs"}]})", "jobs[0]: job: 'runs'; allowed: another name"},
        BadFileCase{"UnknownLimit", R"({"jobs":[{"job":"x"},{"job":"y","retries":1}]})",
                    "jobs[1]: unknown member 'retries'; allowed: job, kind, startTimeout, timeout, attemptsMax, "
                    "retryFirst, retryMax"},
        BadFileCase{"BadKind", R"({"jobs":[{"job":"x","kind":"internal"}]})",
                    "jobs[0]: kind: 'internal'; allowed: builtin, external"},
        BadFileCase{"KindIsNoText", R"({"jobs":[{"job":"x","kind":1}]})",
                    "jobs[0]: kind: 1; allowed: builtin, external"},
        BadFileCase{"NotBuiltIn", R"({"jobs":[{"job":"x","kind":"builtin"}]})",
                    "jobs[0]: kind: 'builtin', but there is no builtin job 'x'; allowed: external, or one of the jobs "
                    "outcome-sync, risk-snapshot-backfill"},
        BadFileCase{"StartTimeoutTooShort", R"({"jobs":[{"job":"x","startTimeout":"999ms"}]})",
                    "jobs[0]: startTimeout: '999ms'; allowed: a text from '1s' to '30d'"},
        BadFileCase{"TimeoutTooLong", R"({"jobs":[{"job":"outcome-sync","timeout":"31d"}]})",
                    "jobs[0]: timeout: '31d'; allowed: a text from '1s' to '30d'"},
        BadFileCase{"NoAttempt", R"({"jobs":[{"job":"outcome-sync","attemptsMax":0}]})",
                    "jobs[0]: attemptsMax: 0; allowed: a whole number from 1 to 100"},
        BadFileCase{"TooManyAttempts", R"({"jobs":[{"job":"outcome-sync","attemptsMax":101}]})",
                    "jobs[0]: attemptsMax: 101; "},
        BadFileCase{"HalfAnAttempt", R"({"jobs":[{"job":"outcome-sync","attemptsMax":1.5}]})",
                    "jobs[0]: attemptsMax: 1.5; "},
        BadFileCase{"NoDelay", R"({"jobs":[{"job":"outcome-sync","retryFirst":"0s"}]})",
                    "jobs[0]: retryFirst: '0s'; allowed: a text from '1ms' to '30d'"},
        BadFileCase{"DelayBeyondItsBound", R"({"jobs":[{"job":"outcome-sync","retryFirst":"10m"}]})",
                    "jobs[0]: retryMax: '5m'; allowed: no shorter than retryFirst, '10m'"},
        BadFileCase{"JobTwice", R"({"jobs":[{"job":"x"},{"job":"y"},{"job":"x"}]})",
                    "jobs[2]: 'x' stands there already: jobs.yaml: jobs[0]; allowed: one of each name in a file"},
        BadFileCase{"ScheduleTwice",
                    R"({"schedules":[{"name":"n","job":"outcome-sync","cron":"@daily"},
                                     {"name":"n","job":"outcome-sync","cron":"@hourly"}]})",
                    "schedules[1]: 'n' stands there already: jobs.yaml: schedules[0]; allowed: one of each name"},
        BadFileCase{
            "BadJobIsToldOnce",
            R"({"jobs":[{"job":"x","startTimeout":"0s"}],"schedules":[{"name":"n","job":"x","cron":"@daily"}]})",
            "jobs[0]: startTimeout: '0s'; "},
        BadFileCase{
            "BadSchedule",
            R"({"schedules":[{"name":"n","job":"outcome-sync","cron":"@daily"},{"name":"m","job":"x","cron":"@daily"}]})",
            "schedules[1]: job: 'x'; allowed: outcome-sync, risk-snapshot-backfill"}),
    [](const auto& row) { return row.param.what; });

TEST(JobFiles, TellWhatIsWrongInAllOfThem) {
  const auto read =
      parse_files({{"a.yaml", "{"},
                   {"b.yaml", R"({"jobs":[{"job":"x","kind":"builtin"}]})"},
                   {"c.yaml", R"({"schedules":[{"name":"n","job":"z","cron":"@daily","jitter":"9h"}]})"}});
  ASSERT_FALSE(read.has_value());
  EXPECT_THAT(lines(read.error().message),
              ElementsAre(HasSubstr("a.yaml: "), HasSubstr("b.yaml: jobs[0]: kind"),
                          HasSubstr("c.yaml: schedules[0]: job"), HasSubstr("c.yaml: schedules[0]: jitter")));
}

}  // namespace
}  // namespace wfo::schedule
