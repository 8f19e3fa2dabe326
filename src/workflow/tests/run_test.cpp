#include "workflow/run.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "base/json.h"
#include "workflow/tests/samples.h"

namespace wfo::workflow {
namespace {

using namespace samples;

// What comes back: everything but results, which a store keeps elsewhere.
std::vector<Step> without_results(std::vector<Step> steps) {
  for (Step& step : steps) {
    if (auto* completed = std::get_if<Completed>(&step.state)) completed->result.clear();
  }
  return steps;
}

std::vector<Step> one_of_each_state() {
  return {
      {step_id(0), "a", Waiting{}, 0, 0, std::nullopt},
      {step_id(1), "b", Requested{kStart, kStart + 5min}, 3, 2, kStart - 1s},
      {step_id(2), "c", BackingOff{kStart + 1s, "down \"for\" a while\n"}, 1, 0, kStart},
      {step_id(3), "d", Completed{kStart + 2s, true, R"({"x":1})"}, 1, 0, kStart},
      {step_id(4), "e", Completed{kStart + 3s, false, "{}"}, 2, 1, kStart},
      {step_id(5), "f", Failed{"bad €"}, 3, 0, kStart},
  };
}

TEST(Steps, AreWrittenInTheFormThatStoresKeep) {
  EXPECT_EQ(encode_steps({}), "[]");
  const std::vector<Step> steps{{step_id(1), "b", Requested{Timestamp(2ms), Timestamp(3ms)}, 3, 2, Timestamp(1ms)},
                                {step_id(2), "c", Completed{Timestamp(4ms), true, R"({"x":1})"}, 1, 0, std::nullopt}};
  EXPECT_EQ(encode_steps(steps), R"([["57000000-0000-0000-0000-000000000001","b",3,2,1,"r",2,3],)"
                                 R"(["57000000-0000-0000-0000-000000000002","c",1,0,null,"c",4,true]])");
}

TEST(Steps, ComeBackInEveryState) {
  const auto decoded = decode_steps(encode_steps(one_of_each_state()));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, without_results(one_of_each_state()));
}

TEST(Steps, AreRefusedWithPlaceAndReasonWhenTheColumnWasDamaged) {
  const std::string id = R"("57000000-0000-0000-0000-000000000001")";
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"", "JSON, line 1, column 1: expected a value, found the end of the text"},
      {"{}", "not an array"},
      {"[7]", "step 0 is no array"},
      {"[[]]", "step 0 has only 0 fields"},
      {R"([["x","a",1,0,1,"w"]])", R"(step 0 has "x" where an id should be)"},
      {"[[" + id + R"(,7,1,0,1,"w"]])", "step 0 has 7 where text should be"},
      {"[[" + id + R"(,"a",-1,0,1,"w"]])", "step 0 has -1 where a count should be"},
      {"[[" + id + R"(,"a",2147483648,0,1,"w"]])", "step 0 has 2147483648 where a count should be"},
      {"[[" + id + R"(,"a",1,0,"t","w"]])", R"(step 0 has "t" where a time should be)"},
      {"[[" + id + R"(,"a",1,0,9223372036854775807,"w"]])", "step 0 has 9223372036854775807 where a time should be"},
      {"[[" + id + R"(,"a",1,0,1,"q"]])", "step 0 has the unknown state 'q'"},
      {"[[" + id + R"(,"a",1,0,1,"r",1]])", "step 0 has only 7 fields"},
      {"[[" + id + R"(,"a",1,0,1,"c",1,1]])", "step 0 has 1 where true or false should be"},
      {"[[" + id + R"(,"a",1,0,1,"w"],[)" + id + R"(,"a",1,0,1,"w",1]])", "step 1 has too many fields"},
  };
  for (const auto& one : cases) {
    const auto decoded = decode_steps(one.text);
    ASSERT_FALSE(decoded) << one.text;
    EXPECT_EQ(decoded.error().code, ErrorCode::corruption);
    EXPECT_EQ(decoded.error().message, "steps of a run: " + one.error) << one.text;
  }
}

RC_GTEST_PROP(AnySteps, ComeBackAsTheyWere, ()) {
  const auto time = [] {
    return Timestamp(milliseconds(*rc::gen::inRange<std::int64_t>(-1'000'000, 253'402'300'799'999)));
  };
  const auto text = [] {
    std::string out;  // what JSON can say
    json::append_quoted(out, *rc::gen::arbitrary<std::string>());
    return json::Document::parse(out)->root().string().value();
  };
  std::vector<Step> steps(*rc::gen::inRange<std::size_t>(0, 6));
  for (Step& step : steps) {
    step.id = StepId(Uuid::v5(Uuid{}, *rc::gen::arbitrary<std::string>()));
    step.type = text();
    step.attempt = *rc::gen::inRange(0, 1000);
    step.attempts_before = *rc::gen::inRange(0, 1000);
    if (*rc::gen::arbitrary<bool>()) step.first_requested_at = time();
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        break;
      case 1:
        step.state = Requested{time(), time()};
        break;
      case 2:
        step.state = BackingOff{time(), text()};
        break;
      case 3:
        step.state = Completed{time(), *rc::gen::arbitrary<bool>(), ""};
        break;
      default:
        step.state = Failed{text()};
    }
  }
  const auto decoded = decode_steps(encode_steps(steps));
  if (!decoded) RC_FAIL(decoded.error().message);
  RC_ASSERT(*decoded == steps);
}

RC_GTEST_PROP(AnySteps, AreRefusedOrUnderstoodWhateverHappensToTheColumn, (std::uint8_t byte)) {
  std::string text = encode_steps(one_of_each_state());
  const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
  if (*rc::gen::arbitrary<bool>()) {
    text[at] = static_cast<char>(byte);
  } else {
    text.erase(at, *rc::gen::inRange<std::size_t>(1, 20));
  }
  const auto decoded = decode_steps(text);
  if (decoded) {
    RC_ASSERT(decode_steps(encode_steps(*decoded)).value() == *decoded);
  } else {
    RC_ASSERT(decoded.error().code == ErrorCode::corruption);
  }
}

TEST(RunStatusName, ReadsBack) {
  for (const RunStatus status : {RunStatus::running, RunStatus::completed, RunStatus::failed, RunStatus::cancelled}) {
    EXPECT_EQ(parse_run_status(name(status)), status);
  }
  EXPECT_FALSE(parse_run_status("Running"));
  EXPECT_FALSE(parse_run_status(""));
}

TEST(StepStateName, IsUniqueForEachState) {
  std::set<std::string_view> names;
  for (const Step& step : one_of_each_state()) names.insert(name(step.state));
  EXPECT_EQ(names, (std::set<std::string_view>{"waiting", "requested", "backing_off", "completed", "failed"}));
}

TEST(NextWakeUp, IsTheEarliestThatCanFallDue) {
  workflow::Run run;
  run.deadline = kStart + 30min;
  run.steps = {{step_id(0), "a", Waiting{}, 0, 0, std::nullopt}};
  EXPECT_EQ(next_wake_up(run), kStart + 30min);
  run.steps.push_back({step_id(1), "b", Requested{kStart, kStart + 5min}, 1, 0, kStart});
  EXPECT_EQ(next_wake_up(run), kStart + 5min);
  run.steps.push_back({step_id(2), "c", BackingOff{kStart + 1s, "down"}, 1, 0, kStart});
  EXPECT_EQ(next_wake_up(run), kStart + 1s);
  run.deadline = kStart;
  EXPECT_EQ(next_wake_up(run), kStart);
  for (const RunStatus status : {RunStatus::completed, RunStatus::failed, RunStatus::cancelled}) {
    run.status = status;
    EXPECT_FALSE(next_wake_up(run)) << name(status);
  }
}

}  // namespace
}  // namespace wfo::workflow
