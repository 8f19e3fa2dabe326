#include "schedule/job_spec.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace wfo::schedule {
namespace {

JobSpec job(std::string name, int attempts_max = 5) {
  JobSpec out;
  out.name = std::move(name);
  out.attempts_max = attempts_max;
  return out;
}

TEST(JobCatalog, FindsJobsByNameAndListsThemInOrder) {
  const JobCatalog catalog({job("outcome-sync"), job("backup"), job("report")});
  EXPECT_EQ(catalog.names(), "backup, outcome-sync, report");
  ASSERT_NE(catalog.find("report"), nullptr);
  EXPECT_EQ(catalog.find("report")->name, "report");
  EXPECT_EQ(catalog.find("repor"), nullptr);
  EXPECT_EQ(catalog.find("reports"), nullptr);
  EXPECT_EQ(catalog.all().size(), 3u);
}

TEST(JobCatalog, TakesTheLaterOfTwoJobsOfOneName) {
  const JobCatalog catalog({job("backup", 2), job("report"), job("backup", 9)});
  EXPECT_EQ(catalog.names(), "backup, report");
  EXPECT_EQ(catalog.find("backup")->attempts_max, 9);
}

TEST(JobCatalog, HasNothingWhenEmpty) {
  EXPECT_EQ(JobCatalog().find(""), nullptr);
  EXPECT_EQ(JobCatalog().names(), "");
  EXPECT_EQ(JobCatalog(), JobCatalog(std::vector<JobSpec>{}));
}

TEST(JobKind, HasTheWordsOfTheConfiguration) {
  EXPECT_EQ(name(JobKind::builtin), "builtin");
  EXPECT_EQ(name(JobKind::external), "external");
}

struct NameCase {
  const char* what;
  std::string text;
  bool is_name;
};

class JobName : public testing::TestWithParam<NameCase> {};

TEST_P(JobName, IsOneOrNot) { EXPECT_EQ(is_job_name(GetParam().text), GetParam().is_name); }

INSTANTIATE_TEST_SUITE_P(
    All, JobName,
    testing::Values(NameCase{"Usual", "risk-snapshot-backfill", true},
                    NameCase{"EveryKindOfCharacter", "aZ09._-", true}, NameCase{"OneCharacter", "x", true},
                    NameCase{"Longest", std::string(100, 'a'), true}, NameCase{"DigitFirst", "7days", true},
                    NameCase{"Dots", "..", false}, NameCase{"DashFirst", "-x", false}, NameCase{"Empty", "", false},
                    NameCase{"TooLong", std::string(101, 'a'), false}, NameCase{"Space", "outcome sync", false},
                    NameCase{"Slash", "a/b", false}, NameCase{"NotAscii", "résumé", false},
                    NameCase{"Nul", std::string("a\0b", 3), false}),
    [](const auto& row) { return row.param.what; });

}  // namespace
}  // namespace wfo::schedule
