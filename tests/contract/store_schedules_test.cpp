#include <atomic>
#include <future>
#include <thread>

#include "contract/store_contract.h"

namespace wfo::contract {
namespace {

using std::chrono::seconds;
using store::ScheduleOrigin;
using store::StoredSchedule;
using store::Transaction;

StoredSchedule schedule(std::string name, std::optional<int> wake_up_at = 60) {
  StoredSchedule made;
  made.name = std::move(name);
  made.origin = ScheduleOrigin::api;
  made.definition = R"({"job":"outcome-sync","note":"ä"})";
  made.paused = true;
  made.pause_note = "während des Umzugs";
  if (wake_up_at) {
    made.next_at = at(*wake_up_at - 1);
    made.wake_up_at = at(*wake_up_at);
  }
  made.created_at = at(1);
  made.updated_at = at(2);
  return made;
}

class ScheduleContract : public StoreContract {
 protected:
  Result<std::vector<bool>> try_insert(std::vector<StoredSchedule> schedules) {
    return write([&](Transaction& t) { return t.schedules().insert(schedules); });
  }
  std::vector<bool> insert(std::vector<StoredSchedule> schedules) { return value(try_insert(std::move(schedules))); }
  Result<std::vector<bool>> try_update(std::vector<StoredSchedule> schedules) {
    return write([&](Transaction& t) { return t.schedules().update(schedules); });
  }
  std::vector<bool> update(std::vector<StoredSchedule> schedules) { return value(try_update(std::move(schedules))); }
  std::optional<StoredSchedule> find(const std::string& name) {
    return value(read([&](const Transaction& t) { return t.schedules().find(name); }));
  }
  std::vector<std::string> list(std::string_view after = "", std::size_t count_max = 100) {
    return names(value(read([&](const Transaction& t) { return t.schedules().list(after, count_max); })));
  }
  std::vector<std::string> due(Timestamp now, std::size_t count_max = 100) {
    return names(value(read([&](const Transaction& t) { return t.schedules().due(now, count_max); })));
  }
  std::optional<Timestamp> next_wake_up() {
    return value(read([](const Transaction& t) { return t.schedules().next_wake_up(); }));
  }
  bool remove(std::string_view name) {
    return value(write([&](Transaction& t) { return t.schedules().remove(name); }));
  }

 private:
  static std::vector<std::string> names(const std::vector<StoredSchedule>& schedules) {
    std::vector<std::string> found;
    for (const StoredSchedule& one : schedules) found.push_back(one.name);
    return found;
  }
};

TEST_P(ScheduleContract, FindsAScheduleAsItWasInserted) {
  StoredSchedule plain;
  plain.name = "plain";
  StoredSchedule of_version_9 = schedule("daily");
  of_version_9.version = 9;
  EXPECT_EQ(insert({of_version_9, plain}), (std::vector{true, true}));
  harness_->restart();
  EXPECT_EQ(find("daily"), schedule("daily")) << "versions are the store's: it begins with 1";
  EXPECT_EQ(find("plain"), plain);
  EXPECT_EQ(find("Daily"), std::nullopt);
  EXPECT_EQ(find(""), std::nullopt);
}

TEST_P(ScheduleContract, FindsManyInTheOrderAskedFor) {
  insert({schedule("a"), schedule("b"), schedule("c")});
  const std::vector<std::string> names{"c", "x", "a", "c"};
  const std::vector<std::optional<StoredSchedule>> expected{schedule("c"), std::nullopt, schedule("a"), schedule("c")};
  EXPECT_EQ(value(read([&](const Transaction& t) { return t.schedules().find(names); })), expected);
  EXPECT_EQ(value(write([&](Transaction& t) { return t.schedules().find(names); })), expected);
  EXPECT_TRUE(value(write([](Transaction& t) { return t.schedules().find(std::span<const std::string>()); })).empty());
}

TEST_P(ScheduleContract, LeavesAScheduleAloneWhoseNameIsTaken) {
  insert({schedule("a")});
  EXPECT_EQ(insert({schedule("b"), schedule("a", 99), schedule("b", 99)}), (std::vector{true, false, false}));
  EXPECT_EQ(find("a"), schedule("a"));
  EXPECT_EQ(find("b"), schedule("b")) << "of two in one batch the first";
  EXPECT_TRUE(insert({}).empty());
}

TEST_P(ScheduleContract, UpdatesWhatStillHasTheVersionThatWasReadAndCountsItUp) {
  insert({schedule("a"), schedule("b")});
  StoredSchedule changed;
  changed.name = "a";
  changed.definition = "{}";
  changed.created_at = at(3);
  changed.updated_at = at(4);
  EXPECT_EQ(update({changed}), std::vector{true});
  changed.version = 2;
  EXPECT_EQ(find("a"), changed);
  EXPECT_EQ(find("b"), schedule("b"));

  StoredSchedule late = schedule("a", 99);
  EXPECT_EQ(update({late}), std::vector{false}) << "it has version 2 by now";
  late.version = 3;
  EXPECT_EQ(update({late}), std::vector{false});
  EXPECT_EQ(find("a"), changed);
  EXPECT_EQ(update({schedule("x")}), std::vector{false});
  EXPECT_EQ(find("x"), std::nullopt);
  EXPECT_TRUE(update({}).empty());
}

TEST_P(ScheduleContract, TellsEachOfManyUpdatesInTheirOrder) {
  insert({schedule("a"), schedule("b"), schedule("c")});
  EXPECT_EQ(update({schedule("c", 1)}), std::vector{true});
  EXPECT_EQ(update({schedule("b", 2), schedule("x", 2), schedule("c", 2), schedule("a", 2)}),
            (std::vector{true, false, false, true}));
  EXPECT_EQ(find("a")->wake_up_at, at(2));
  EXPECT_EQ(find("b")->wake_up_at, at(2));
  EXPECT_EQ(find("c")->wake_up_at, at(1));
  for (const char* const name : {"a", "b", "c"}) EXPECT_EQ(find(name)->version, 2) << name;
}

TEST_P(ScheduleContract, UpdatesAScheduleOnceThatABatchHasTwice) {
  insert({schedule("a")});
  EXPECT_EQ(update({schedule("a", 1), schedule("a", 2)}), (std::vector{true, false}));
  EXPECT_EQ(find("a")->version, 2);
  EXPECT_EQ(find("a")->wake_up_at, at(1));
}

TEST_P(ScheduleContract, ListsByName) {
  insert({schedule("b"), schedule("é"), schedule("a.1"), schedule("B"), schedule("a-1"), schedule("a")});
  EXPECT_EQ(list(), (std::vector<std::string>{"B", "a", "a-1", "a.1", "b", "é"})) << "by bytes, not by a language";
  EXPECT_EQ(list("a", 2), (std::vector<std::string>{"a-1", "a.1"}));
  EXPECT_EQ(list("a.0"), (std::vector<std::string>{"a.1", "b", "é"})) << "behind a name that is not there";
  EXPECT_TRUE(list("é").empty());
}

TEST_P(ScheduleContract, KnowsWhichAreDueTheOldestFirst) {
  EXPECT_EQ(next_wake_up(), std::nullopt);
  insert({schedule("a", 3), schedule("b", 1), schedule("c", std::nullopt), schedule("d", 2), schedule("e", 4)});
  EXPECT_EQ(next_wake_up(), at(1));
  EXPECT_TRUE(due(at(1) - milliseconds(1)).empty());
  EXPECT_EQ(due(at(1)), std::vector<std::string>{"b"});
  EXPECT_EQ(due(at(3)), (std::vector<std::string>{"b", "d", "a"}));
  EXPECT_EQ(due(at(3), 2), (std::vector<std::string>{"b", "d"}));
  EXPECT_EQ(due(at(99)).size(), 4U);

  update({schedule("b", std::nullopt), schedule("d", 9)});
  EXPECT_EQ(next_wake_up(), at(3));
  EXPECT_EQ(due(at(9)), (std::vector<std::string>{"a", "e", "d"}));
  EXPECT_EQ(value(write([](Transaction& t) { return t.schedules().due(at(9), 100); })).size(), 3U);
}

TEST_P(ScheduleContract, RemovesAScheduleButNotItsFiresAndRuns) {
  insert({schedule("a"), schedule("b")});
  store::FireRecord fire;
  fire.schedule = "a";
  fire.fire = {.first = at(1), .last = at(1)};
  schedule::JobRun run;
  run.id = id<JobRunId>(1);
  run.trigger = id<EventId>(1);
  run.schedule = "a";
  EXPECT_OK(write([&](Transaction& t) -> Result<void> {
    TRY(t.job_runs().insert({&run, 1}));
    return t.fires().record({&fire, 1});
  }));
  EXPECT_TRUE(remove("a"));
  EXPECT_FALSE(remove("a"));
  EXPECT_FALSE(remove("x"));
  EXPECT_EQ(list(), std::vector<std::string>{"b"});
  EXPECT_EQ(next_wake_up(), at(60));
  EXPECT_EQ(value(read([](const Transaction& t) { return t.fires().list({.schedule = "a"}); })).size(), 1U);
  EXPECT_TRUE(value(read([&](const Transaction& t) { return t.job_runs().find(run.id); })));
  EXPECT_EQ(insert({schedule("a")}), std::vector{true}) << "the name is free again";
}

TEST_P(ScheduleContract, WritesNothingOfABatchWithTextThatNotEveryStoreCanHold) {
  insert({schedule("c")});
  for (const auto field : {&StoredSchedule::name, &StoredSchedule::definition, &StoredSchedule::pause_note}) {
    for (const std::string& text : {std::string("a\0b", 3), std::string("\xff")}) {
      StoredSchedule odd = schedule("b");
      odd.*field = text;
      EXPECT_ERROR(invalid_argument, try_insert({schedule("a"), odd}));
      if (field == &StoredSchedule::name) continue;
      odd.name = "c";
      EXPECT_ERROR(invalid_argument, try_update({odd}));
    }
  }
  EXPECT_EQ(list(), std::vector<std::string>{"c"});
  EXPECT_EQ(find("c"), schedule("c"));
}

TEST_P(ScheduleContract, LetsOneOfManyUpdateAVersion) {
  insert({schedule("a")});
  for (int round = 1; round <= 5; ++round) {
    const auto before = find("a");
    ASSERT_TRUE(before);
    std::atomic<int> winners = 0;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i) threads.emplace_back([&] { winners += update({*before})[0]; });
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(find("a")->version, round + 1);
  }
}

TEST_P(ScheduleContract, LetsNobodyWriteWhatATransactionFoundBeforeItEnds) {
  insert({schedule("a")});
  std::future<std::vector<bool>> theirs;
  EXPECT_OK(write([&](Transaction& t) -> Result<std::vector<bool>> {
    TRY_ASSIGN(auto found, t.schedules().find("a"));
    if (!theirs.valid()) {
      theirs = std::async(std::launch::async, [&] { return update({schedule("a", 1)}); });
    }
    EXPECT_EQ(theirs.wait_for(milliseconds(50)), std::future_status::timeout);
    found->wake_up_at = at(2);
    return t.schedules().update({&*found, 1});
  }));
  EXPECT_EQ(theirs.get(), std::vector{false});
  EXPECT_EQ(find("a")->wake_up_at, at(2));
}

TEST_P(ScheduleContract, HandsEachDueScheduleToOneOfMany) {
  std::vector<StoredSchedule> schedules;
  for (int i = 0; i < 40; ++i) schedules.push_back(schedule(std::to_string(i), i));
  insert(schedules);
  std::atomic<std::size_t> attended = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (std::size_t count = 1; count != 0;) {
          EXPECT_OK(write([&](Transaction& t) -> Result<void> {
            TRY_ASSIGN(auto due, t.schedules().due(at(100), 3));
            for (StoredSchedule& one : due) one.wake_up_at = at(1000);
            TRY_ASSIGN(const auto written, t.schedules().update(due));
            EXPECT_EQ(written, std::vector<bool>(due.size(), true)) << "who was handed them, has them";
            count = due.size();
            return {};
          }));
          attended += count;
        }
      });
    }
  }
  EXPECT_EQ(attended, schedules.size());
  EXPECT_EQ(next_wake_up(), at(1000));
  for (const StoredSchedule& one : schedules) EXPECT_EQ(find(one.name)->version, 2) << one.name;
}

TEST_P(ScheduleContract, TakesBackWhatATransactionWroteThatFailed) {
  insert({schedule("a"), schedule("b")});
  EXPECT_ERROR(internal, write([&](Transaction& t) -> Result<void> {
                 const StoredSchedule one = schedule("c");
                 const StoredSchedule other = schedule("a", 9);
                 TRY(t.schedules().insert({&one, 1}));
                 TRY(t.schedules().update({&other, 1}));
                 TRY(t.schedules().remove("b"));
                 return fail(ErrorCode::internal, "no");
               }));
  EXPECT_EQ(list(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(find("a"), schedule("a"));
}

INSTANTIATE_TEST_SUITE_P(EveryStore, ScheduleContract, testing::ValuesIn(stores()), name_of<StoreUnderTest>);

}  // namespace
}  // namespace wfo::contract
