#include "delivery/consumer_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

#include "delivery/tests/fakes.h"

namespace wfo::delivery {
namespace {

using namespace std::chrono_literals;
using fakes::ManualWaiter;
using fakes::Queue;
using fakes::QueueConsumer;
using fakes::RecordingSink;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Letter = RecordingSink::Letter;

std::vector<std::uint64_t> numbers(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> all(last - first + 1);
  std::iota(all.begin(), all.end(), first);
  return all;
}

class ConsumerLoopTest : public testing::Test {
 protected:
  void add(int count) {
    for (int i = 0; i < count; ++i) queue_.add(bus::samples::event("test.event", ++added_));
  }
  ConsumerLoop loop(ConsumerLoopConfig config = {}) {
    return {std::make_unique<QueueConsumer>(queue_), sink_, config, clock_, waiter_, Logger::silent(), metrics_};
  }
  /// `run` until the queue is empty.
  void run(ConsumerLoop& loop) {
    std::stop_source source;
    queue_.when_empty = [&] { source.request_stop(); };
    loop.run(source.get_token());
  }

  int added_ = 0;
  Queue queue_;
  RecordingSink sink_;
  ManualClock clock_{Timestamp(1'772'357'400'000ms)};
  ManualWaiter waiter_{clock_};
  Metrics metrics_;
};

TEST_F(ConsumerLoopTest, SettlesABatchInOneCommitAndThenAcknowledges) {
  add(5);
  sink_.before_commit = [&] { EXPECT_THAT(queue_.acknowledged, IsEmpty()); };
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 5U);
  EXPECT_THAT(sink_.sizes, ElementsAre(5U));
  EXPECT_EQ(queue_.acknowledged, numbers(1, 5));
  EXPECT_THAT(metrics_.text(), HasSubstr("messages_consumed_total{queue=\"test_queue\"} 5"));
}

TEST_F(ConsumerLoopTest, TakesNoMoreThanABatchAtATime) {
  add(25);
  auto loop = this->loop({.batch_max = 10});
  run(loop);
  EXPECT_THAT(sink_.sizes, ElementsAre(10U, 10U, 5U));
  EXPECT_EQ(queue_.acknowledged, numbers(1, 25));
}

TEST_F(ConsumerLoopTest, SettlesAPartialBatchWithoutWaitingForMore) {
  add(1);
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1h), 1U);
  EXPECT_EQ(queue_.receives, 1);
  EXPECT_THAT(waiter_.waits, IsEmpty());
}

TEST_F(ConsumerLoopTest, FindsTheMessageAtFaultAndLetsTheOthersProceed) {
  add(100);
  sink_.at_fault[37] = ErrorCode::invalid_argument;
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 100U);
  auto expected = numbers(1, 100);
  std::erase(expected, 37U);
  EXPECT_EQ(sink_.effects, expected);
  EXPECT_THAT(sink_.letters, ElementsAre(Letter{37, "message 37 is at fault", 1}));
  EXPECT_EQ(queue_.acknowledged, numbers(1, 100));
  EXPECT_THAT(waiter_.waits, IsEmpty()) << "what is wrong with the message itself is not mended by waiting";
  EXPECT_LE(sink_.commits, 15) << "halving, not one by one";
}

TEST_F(ConsumerLoopTest, CountsUnreadableMessagesThatTheBatchSetAside) {
  add(2);
  queue_.add_unreadable("{oops", "not JSON: line 1, column 2");
  add(2);
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 5U);
  EXPECT_THAT(sink_.letters, ElementsAre(Letter{3, "not JSON: line 1, column 2", 1}));
  EXPECT_THAT(sink_.effects, ElementsAre(1, 2, 4, 5));
  EXPECT_EQ(sink_.commits, 1) << "it is known beforehand: nothing is split for it";
  EXPECT_THAT(metrics_.text(), HasSubstr("messages_set_aside_total{queue=\"test_queue\"} 1"));
}

TEST_F(ConsumerLoopTest, TriesAFailingMessageAgainWithGrowingPausesThenSetsItAside) {
  add(3);
  sink_.at_fault[2] = ErrorCode::internal;
  auto loop = this->loop({.attempts_max = 6, .retry_first = 100ms, .retry_max = 500ms});
  EXPECT_EQ(loop.run_once(1s), 3U);
  EXPECT_THAT(waiter_.waits, ElementsAre(100ms, 200ms, 400ms, 500ms, 500ms));
  EXPECT_THAT(sink_.letters, ElementsAre(Letter{2, "message 2 is at fault", 6}));
  EXPECT_THAT(sink_.effects, ElementsAre(1, 3));
  EXPECT_EQ(queue_.acknowledged, numbers(1, 3));
}

TEST_F(ConsumerLoopTest, HandlesAMessageThatSucceedsLater) {
  add(3);
  sink_.at_fault[2] = ErrorCode::internal;
  waiter_.at_wait = [&] {
    if (waiter_.waits.size() == 2) sink_.at_fault.clear();
  };
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 3U);
  EXPECT_THAT(sink_.letters, IsEmpty());
  EXPECT_THAT(sink_.effects, ElementsAre(1, 2, 3));
}

TEST_F(ConsumerLoopTest, TriesTheWholeBatchAgainWhenSomebodyWasFaster) {
  add(50);
  sink_.before_commit = [&] {
    sink_.error = sink_.commits == 1 ? std::optional(Error{ErrorCode::conflict, "changed since"}) : std::nullopt;
  };
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 50U);
  EXPECT_THAT(sink_.sizes, ElementsAre(50U));
  EXPECT_THAT(waiter_.waits, IsEmpty());
}

TEST_F(ConsumerLoopTest, IsPatientWithAMessageThatOthersAreFasterWithButNotForEver) {
  add(2);
  sink_.at_fault[1] = ErrorCode::conflict;
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 2U);
  EXPECT_THAT(sink_.letters, ElementsAre(Letter{1, "message 1 is at fault", 20}));
  EXPECT_THAT(sink_.effects, ElementsAre(2));
}

TEST_F(ConsumerLoopTest, LosesNothingWhileTheStoreIsAwayAndSaysWhy) {
  add(10);
  sink_.error = Error{ErrorCode::unavailable, "the disk is nearly full"};
  auto loop = this->loop({.retry_first = 100ms, .retry_max = 1s});
  std::vector<std::string> troubles;
  waiter_.at_wait = [&] {
    troubles.push_back(loop.trouble());
    EXPECT_THAT(queue_.in_hand, IsEmpty()) << "what cannot be settled is given back";
    if (waiter_.waits.size() == 6) sink_.error.reset();
  };
  run(loop);
  EXPECT_THAT(waiter_.waits, ElementsAre(100ms, 200ms, 400ms, 800ms, 1s, 1s));
  EXPECT_THAT(troubles, testing::Each("the disk is nearly full"));
  EXPECT_EQ(loop.trouble(), "");
  EXPECT_EQ(sink_.effects, numbers(1, 10));
  EXPECT_THAT(sink_.letters, IsEmpty());
  EXPECT_EQ(queue_.acknowledged, numbers(1, 10));
}

TEST_F(ConsumerLoopTest, KeepsWhatWasSettledWhenTheStoreGoesAwayInTheMiddle) {
  add(8);
  sink_.at_fault[8] = ErrorCode::invalid_argument;
  sink_.before_commit = [&] {
    if (sink_.commits == 4) sink_.error = Error{ErrorCode::unavailable, "gone"};  // 1..4 are in by then
  };
  waiter_.at_wait = [&] { sink_.error.reset(); };
  auto loop = this->loop();
  run(loop);
  EXPECT_EQ(sink_.effects, numbers(1, 7));
  EXPECT_THAT(sink_.letters, ElementsAre(Letter{8, "message 8 is at fault", 1}));
  EXPECT_EQ(queue_.acknowledged, numbers(1, 8));
}

TEST_F(ConsumerLoopTest, WaitsForABusThatIsAwayAndIsWellAgainWhenItIsBackEvenIfEmpty) {
  queue_.receive_error = "connection refused";
  auto loop = this->loop();
  EXPECT_FALSE(loop.run_once(1s));
  EXPECT_EQ(loop.trouble(), "connection refused");
  queue_.receive_error.clear();
  EXPECT_EQ(loop.run_once(1s), 0U);
  EXPECT_EQ(loop.trouble(), "");
}

TEST_F(ConsumerLoopTest, FinishesWhatIsInHandWhenStopComes) {
  add(5);
  std::stop_source source;
  sink_.before_commit = [&] { source.request_stop(); };
  auto loop = this->loop({.batch_max = 3});
  loop.run(source.get_token());
  EXPECT_EQ(queue_.acknowledged, numbers(1, 3));
  EXPECT_EQ(queue_.waiting.size(), 2U);
  EXPECT_THAT(queue_.in_hand, IsEmpty());
}

TEST_F(ConsumerLoopTest, ReleasesWhatItCannotFinishWhenStopComes) {
  add(4);
  sink_.at_fault[3] = ErrorCode::internal;
  std::stop_source source;
  waiter_.at_wait = [&] { source.request_stop(); };
  auto loop = this->loop();
  loop.run(source.get_token());
  EXPECT_EQ(queue_.acknowledged, numbers(1, 2));
  EXPECT_EQ(queue_.waiting.size(), 2U);
  EXPECT_THAT(sink_.letters, IsEmpty()) << "a stop is no reason to give a message up";
  EXPECT_EQ(loop.trouble(), "");
}

TEST_F(ConsumerLoopTest, WritesNothingWhileTheLogStandsStill) {
  auto loop = this->loop();
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(loop.run_once(1s), 0U);
    clock_.advance(1s);
  }
  EXPECT_EQ(sink_.notes, 0);
}

TEST_F(ConsumerLoopTest, NotesHowFarItHasLookedRarelyWhileNothingConcernsIt) {
  auto loop = this->loop({.note_entries = 1'000, .note_interval = 10s});
  for (int i = 0; i < 100; ++i) {  // 100 s in which others get a message each second
    ++queue_.looked_through;
    clock_.advance(1s);
    EXPECT_EQ(loop.run_once(1s), 0U);
  }
  EXPECT_EQ(sink_.notes, 10);
  for (int i = 0; i < 100; ++i) {  // a flood that others are meant by
    queue_.looked_through += 100;
    EXPECT_EQ(loop.run_once(1s), 0U);
  }
  EXPECT_EQ(sink_.notes, 20);
}

TEST_F(ConsumerLoopTest, NotesTheEndOfTheLogOnceEverythingIsQuiet) {
  auto loop = this->loop();
  queue_.looked_through = 7;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(loop.run_once(1s), 0U);
    clock_.advance(1s);
  }
  EXPECT_EQ(sink_.notes, 1);
}

TEST_F(ConsumerLoopTest, ComesBackToAMessageWhoseAcknowledgementWasLost) {
  queue_.redelivers = true;
  add(3);
  queue_.acknowledge_error = "connection lost";
  auto loop = this->loop();
  EXPECT_FALSE(loop.run_once(1s));
  EXPECT_EQ(loop.trouble(), "connection lost");
  queue_.acknowledge_error.clear();
  EXPECT_EQ(loop.run_once(1s), 3U);
  EXPECT_THAT(sink_.effects, ElementsAre(1, 2, 3, 1, 2, 3)) << "the sink's inbox tells them apart, not the loop";
}

// Whatever is at fault, and whenever the store is away: every message ends in exactly one of the two places, in order.
RC_GTEST_PROP(ConsumerLoop, SettlesEachMessageExactlyOnce, ()) {
  const auto count = *rc::gen::inRange(1, 60);
  const auto batch_max = *rc::gen::inRange<std::size_t>(1, 20);
  Queue queue;
  RecordingSink sink;
  ManualClock clock(Timestamp(1'772'357'400'000ms));
  ManualWaiter waiter(clock);
  Metrics metrics;
  std::vector<std::uint64_t> good;
  std::vector<std::uint64_t> bad;
  for (int i = 1; i <= count; ++i) {
    queue.add(bus::samples::event("test.event", i));
    const auto tag = static_cast<std::uint64_t>(i);
    if (*rc::gen::weightedElement<bool>({{4, false}, {1, true}})) {
      sink.at_fault[tag] = *rc::gen::element(ErrorCode::invalid_argument, ErrorCode::internal, ErrorCode::conflict);
      bad.push_back(tag);
    } else {
      good.push_back(tag);
    }
  }
  const auto outages = *rc::gen::container<std::set<int>>(rc::gen::inRange(1, 100));
  sink.before_commit = [&] {
    if (outages.contains(sink.commits)) {
      sink.error = Error{ErrorCode::unavailable, "away"};
    } else {
      sink.error.reset();
    }
  };
  std::stop_source source;
  queue.when_empty = [&] { source.request_stop(); };
  ConsumerLoop loop(std::make_unique<QueueConsumer>(queue), sink, {.batch_max = batch_max, .attempts_max = 3}, clock,
                    waiter, Logger::silent(), metrics);
  loop.run(source.get_token());
  RC_ASSERT(sink.effects == good);
  std::vector<std::uint64_t> letters;
  for (const auto& letter : sink.letters) letters.push_back(letter.tag);
  RC_ASSERT(letters == bad);
  RC_ASSERT(queue.acknowledged == numbers(1, static_cast<std::uint64_t>(count)));
}

TEST(BoundedReason, CutsBetweenCharactersAndSaysSo) {
  EXPECT_EQ(bounded_reason("short"), "short");
  std::string text;
  while (text.size() < kReasonBytesMax) text += "ä€";
  text += "end";
  for (int shift = 0; shift < 4; ++shift) {
    const auto cut = bounded_reason(std::string(static_cast<std::size_t>(shift), 'x') + text);
    EXPECT_LE(cut.size(), kReasonBytesMax);
    EXPECT_TRUE(cut.ends_with(" … (cut)"));
    EXPECT_TRUE(json::Document::parse('"' + cut + '"')) << "still UTF-8";
  }
}

TEST(SystemWaiter, EndsAtStop) {
  SystemWaiter waiter;
  std::stop_source source;
  source.request_stop();
  EXPECT_FALSE(waiter.wait(1h, source.get_token()));
  EXPECT_TRUE(waiter.wait(1ms, {}));
}

TEST_F(ConsumerLoopTest, LeavesMessagesInTheBrokerWhileNoneMayBeTaken) {
  queue_.redelivers = true;
  add(3);
  sink_.not_admitted = Error{ErrorCode::unavailable, "the disk is nearly full"};
  auto loop = this->loop();
  EXPECT_FALSE(loop.run_once(1s));
  EXPECT_EQ(queue_.receives, 0);
  EXPECT_EQ(loop.trouble(), "the disk is nearly full");
  sink_.not_admitted.reset();
  EXPECT_EQ(loop.run_once(1s), 3U);
  EXPECT_EQ(loop.trouble(), "");
}

TEST_F(ConsumerLoopTest, FinishesWhatTheStoreHasTakenAlreadyWhileNothingNewMayBeTaken) {
  add(3);
  sink_.not_admitted = Error{ErrorCode::unavailable, "the disk is nearly full"};
  auto loop = this->loop();
  EXPECT_EQ(loop.run_once(1s), 3U);
  EXPECT_EQ(sink_.admissions, 0);
}

}  // namespace
}  // namespace wfo::delivery
