#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace wfo {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, AreWrittenAsPrometheusReadsThem) {
  Metrics metrics;
  metrics.counter("jobs_total", "Jobs done.", {{"job", "sync"}}).add(2);
  metrics.gauge("queue_depth", "What waits.").set(7.5);
  metrics.histogram("seconds", "How long it takes.").observe(0.003);
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{job=\"sync\"} 2"));
  EXPECT_THAT(text, HasSubstr("# TYPE queue_depth gauge\nqueue_depth 7.5"));
  EXPECT_THAT(text, HasSubstr("# TYPE seconds histogram\nseconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"10\"} 1\n"));
}

TEST(Metrics, TakeBucketsForWhatLastsLonger) {
  Metrics metrics;
  constexpr std::array kBuckets{60.0, 3600.0};
  metrics.histogram("job_seconds", "How long a job takes.", {{"job", "sync"}}, kBuckets).observe(600);
  const std::string text = metrics.text();
  EXPECT_THAT(text, HasSubstr("job_seconds_bucket{job=\"sync\",le=\"60\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("job_seconds_bucket{job=\"sync\",le=\"3600\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("le=\"10\"")));
}

TEST(Metrics, GiveTheSameNumberForTheSameNameAndLabels) {
  Metrics metrics;
  Counter& one = metrics.counter("events_total", "Events.", {{"type", "a"}});
  Counter& same = metrics.counter("events_total", "Events.", {{"type", "a"}});
  Counter& other = metrics.counter("events_total", "Events.", {{"type", "b"}});
  one.add();
  same.add();
  EXPECT_EQ(&one, &same);
  EXPECT_EQ(one.value(), 2);
  EXPECT_EQ(other.value(), 0);
  EXPECT_EQ(&metrics.gauge("g", "G."), &metrics.gauge("g", "G."));
  EXPECT_EQ(&metrics.histogram("h", "H."), &metrics.histogram("h", "H."));
}

TEST(Metrics, AskForAReadGaugeAtEachScrape) {
  Metrics metrics;
  double depth = 1;
  metrics.gauge_from("depth", "How deep.", [&] { return depth; });
  EXPECT_THAT(metrics.text(), HasSubstr("\ndepth 1\n"));
  depth = 2;
  EXPECT_THAT(metrics.text(), HasSubstr("\ndepth 2\n"));
}

TEST(Metrics, CountFromManyThreads) {
  Metrics metrics;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 1000; ++k) metrics.counter("n_total", "N.").add();
      });
    }
  }
  EXPECT_EQ(metrics.counter("n_total", "N.").value(), 4000);
}

}  // namespace
}  // namespace wfo
