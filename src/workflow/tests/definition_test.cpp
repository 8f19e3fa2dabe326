#include "workflow/definition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <charconv>

#include "workflow/tests/samples.h"

namespace wfo::workflow {
namespace {

using namespace samples;

Result<Definition> parse(std::string_view yaml) { return parse_definition(yaml, "w.yaml", contracts()); }

std::string errors_of(std::string_view yaml) {
  const auto definition = parse(yaml);
  if (definition) return "";
  EXPECT_EQ(definition.error().code, ErrorCode::invalid_argument);
  return definition.error().message;
}

// Three steps; the tests change one thing.
std::string sample(std::string_view from = "", std::string_view to = "") {
  std::string text =
      "name: sample\n"                                                                            // 1
      "version: 1.0.0\n"                                                                          // 2
      "triggers: [shard.updated]\n"                                                               // 3
      "run_deadline: 1h\n"                                                                        // 4
      "on_active: start_new\n"                                                                    // 5
      "steps:\n"                                                                                  // 6
      "  - type: first\n"                                                                         // 7
      "    request_event: workflow.risk.analysis.requested\n"                                     // 8
      "    completed_event: risk.evaluation.completed\n"                                          // 9
      "    failed_event: risk.evaluation.failed\n"                                                // 10
      "    result_key: one\n"                                                                     // 11
      "    timeout: 2m\n"                                                                         // 12
      "    retry: {attempts_max: 5, delay_first: 10ms, factor: 1.5, delay_max: 1s, jitter: 0}\n"  // 13
      "  - type: second\n"                                                                        // 14
      "    request_event: workflow.forecast.requested\n"                                          // 15
      "    completed_event: forecast.completed\n"                                                 // 16
      "    failed_event: forecast.failed\n"                                                       // 17
      "    result_key: two\n"                                                                     // 18
      "    depends_on: [first]\n"                                                                 // 19
      "  - type: third\n"                                                                         // 20
      "    request_event: workflow.recommendation.requested\n"                                    // 21
      "    completed_event: recommendation.generation.completed\n"                                // 22
      "    failed_event: recommendation.generation.failed\n"                                      // 23
      "    result_key: three\n"                                                                   // 24
      "    depends_on: [first, second]\n";                                                        // 25
  if (from.empty()) return text;
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ShippedDefinition, IsTheOneOfTheDesign) {
  const auto parsed = parse(shipped_text());
  ASSERT_TRUE(parsed) << parsed.error().message;
  const Definition& definition = *parsed;
  EXPECT_EQ(definition.name, "opportunity-analysis");
  EXPECT_EQ(definition.version, "1.0.0");
  EXPECT_THAT(definition.triggers, testing::ElementsAre("integration.opportunity.updated", "shard.updated"));
  EXPECT_EQ(definition.run_deadline, 30min);
  EXPECT_EQ(definition.on_active, OnActive::coalesce);
  const RetryPolicy retry{.attempts_max = 3, .delay_first = 1s, .factor = 2, .delay_max = 30s, .jitter = 0.2};
  const std::vector<StepDefinition> steps{
      {"risk_analysis",
       "workflow.risk.analysis.requested",
       "risk.evaluation.completed",
       "risk.evaluation.failed",
       "risk",
       {},
       5min,
       retry},
      {"risk_scoring",
       "workflow.risk.scoring.requested",
       "risk.scoring.completed",
       "risk.scoring.failed",
       "scoring",
       {},
       5min,
       retry},
      {"forecast", "workflow.forecast.requested", "forecast.completed", "forecast.failed", "forecast", {}, 5min, retry},
      {"recommendation",
       "workflow.recommendation.requested",
       "recommendation.generation.completed",
       "recommendation.generation.failed",
       "recommendations",
       {},
       5min,
       retry}};
  EXPECT_EQ(definition.steps, steps);
}

TEST(Definition, KeepsEverythingThatTheFileSays) {
  const auto parsed = parse(sample());
  ASSERT_TRUE(parsed) << parsed.error().message;
  Definition wanted;
  wanted.name = "sample";
  wanted.version = "1.0.0";
  wanted.triggers = {"shard.updated"};
  wanted.run_deadline = 1h;
  wanted.on_active = OnActive::start_new;
  wanted.steps = {
      {"first",
       "workflow.risk.analysis.requested",
       "risk.evaluation.completed",
       "risk.evaluation.failed",
       "one",
       {},
       2min,
       {.attempts_max = 5, .delay_first = 10ms, .factor = 1.5, .delay_max = 1s, .jitter = 0}},
      {"second", "workflow.forecast.requested", "forecast.completed", "forecast.failed", "two", {"first"}, 5min, {}},
      {"third",
       "workflow.recommendation.requested",
       "recommendation.generation.completed",
       "recommendation.generation.failed",
       "three",
       {"first", "second"},
       5min,
       {}}};
  EXPECT_EQ(*parsed, wanted);
}

TEST(Definition, LeavesOutWhatHasADefault) {
  const auto parsed = parse(
      "{name: n, version: 0.0.1, triggers: [], steps: [{type: a, request_event: workflow.forecast.requested, "
      "completed_event: forecast.completed, failed_event: forecast.failed, result_key: a}]}");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->run_deadline, 30min);
  EXPECT_EQ(parsed->on_active, OnActive::coalesce);
  EXPECT_EQ(parsed->steps[0].timeout, 5min);
  EXPECT_EQ(parsed->steps[0].retry, RetryPolicy{});
}

TEST(Definition, MayNameALaterStepInDependsOn) {
  const auto parsed =
      parse(sample("    timeout: 2m\n", "    depends_on: [second]\n")
                .replace(sample("    timeout: 2m\n", "    depends_on: [second]\n").find("depends_on: [first]"), 19,
                         "depends_on: []     "));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->steps[0].depends_on, testing::ElementsAre("second"));
}

TEST(Definition, FindsAStepByItsType) {
  const auto parsed = parse(sample());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->step_index("third"), std::optional<std::size_t>(2));
  EXPECT_EQ(parsed->step_index("fourth"), std::nullopt);
}

TEST(OnActiveName, IsWhatTheFileSays) {
  EXPECT_EQ(name(OnActive::coalesce), "coalesce");
  EXPECT_EQ(name(OnActive::start_new), "start_new");
  EXPECT_EQ(name(OnActive::cancel_active), "cancel_active");
}

struct Wrong {
  const char* title;
  std::string from, to;  // what is changed in the sample
  std::string error;     // the whole message
};
class WrongDefinition : public testing::TestWithParam<Wrong> {};
TEST_P(WrongDefinition, IsRefusedWithLineValueAndWhatIsAllowed) {
  EXPECT_EQ(errors_of(sample(GetParam().from, GetParam().to)), GetParam().error);
}

const std::string kEventRule = "; allowed: an event type that has a contract";
const std::string kRootKeys = "name, version, triggers, run_deadline, on_active, steps";
const std::string kStepKeys =
    "type, request_event, completed_event, failed_event, result_key, depends_on, timeout, retry";
const std::string kDurationRule = "; allowed: a time like 30s or 1h30m, from 1ms to 3650d";

INSTANTIATE_TEST_SUITE_P(
    One, WrongDefinition,
    testing::Values(
        Wrong{"unknown_key", "run_deadline", "deadline",
              "w.yaml:4: unknown key 'deadline' in a workflow; allowed: " + kRootKeys},
        Wrong{"unknown_step_key", "    timeout", "    time_out",
              "w.yaml:12: unknown key 'time_out' in a step; allowed: " + kStepKeys},
        Wrong{
            "unknown_retry_key", "factor: 1.5", "faktor: 1.5",
            "w.yaml:13: unknown key 'faktor' in retry; allowed: attempts_max, delay_first, factor, delay_max, jitter"},
        Wrong{"key_that_is_a_list", "on_active: start_new", "[on_active]: start_new",
              "w.yaml:5: unknown key 'a list' in a workflow; allowed: " + kRootKeys},
        Wrong{"missing_name", "name: sample\n", "", "w.yaml:1: a workflow has no name"},
        Wrong{"missing_step_key", "    result_key: two\n", "", "w.yaml:14: a step has no result_key"},
        Wrong{"key_twice", "on_active: start_new", "run_deadline: 2h",
              "w.yaml:5: run_deadline stands twice in a workflow, first on line 4"},
        Wrong{"bad_name", "name: sample", "name: My Workflow",
              "w.yaml:1: name is 'My Workflow'; allowed: up to 64 lower-case letters, digits and '-', a letter first"},
        Wrong{"bad_version", "1.0.0", "1.0", "w.yaml:2: version is '1.0'; allowed: three numbers like 1.0.0"},
        Wrong{"bad_version_dots", "1.0.0", "1..0.0",
              "w.yaml:2: version is '1..0.0'; allowed: three numbers like 1.0.0"},
        Wrong{"version_ends_in_dot", "1.0.0", "1.0.", "w.yaml:2: version is '1.0.'; allowed: three numbers like 1.0.0"},
        Wrong{"version_with_text", "1.0.0", "1.0.0-rc1",
              "w.yaml:2: version is '1.0.0-rc1'; allowed: three numbers like 1.0.0"},
        Wrong{"version_is_a_list", "1.0.0", "[1, 0, 0]",
              "w.yaml:2: version is a list; allowed: three numbers like 1.0.0"},
        Wrong{"triggers_is_text", "[shard.updated]", "shard.updated",
              "w.yaml:3: triggers is a single value; allowed: a list of event types"},
        Wrong{"trigger_without_contract", "[shard.updated]", "[shard.changed]",
              "w.yaml:3: a trigger is 'shard.changed'" + kEventRule},
        Wrong{"trigger_that_a_run_publishes", "[shard.updated]", "[workflow.step.completed]",
              "w.yaml:3: a trigger is 'workflow.step.completed', which every run publishes itself; allowed: another "
              "event"},
        Wrong{"trigger_twice", "[shard.updated]", "[shard.updated, shard.updated]",
              "w.yaml:3: a trigger is 'shard.updated', which line 3 uses already"},
        Wrong{"trigger_that_is_an_answer", "forecast.completed", "shard.updated",
              "w.yaml:16: completed_event is 'shard.updated', which line 3 uses already"},
        Wrong{"deadline_without_unit", "1h", "30", "w.yaml:4: run_deadline is '30'" + kDurationRule},
        Wrong{"deadline_zero", "1h", "0s", "w.yaml:4: run_deadline is '0s'" + kDurationRule},
        Wrong{"deadline_too_long", "1h", "3651d", "w.yaml:4: run_deadline is '3651d'" + kDurationRule},
        Wrong{"deadline_is_nothing", "run_deadline: 1h",
              "run_deadline:", "w.yaml:4: run_deadline is empty" + kDurationRule},
        Wrong{"unknown_policy", "start_new", "wait",
              "w.yaml:5: on_active is 'wait'; allowed: coalesce, start_new, cancel_active"},
        Wrong{"type_with_blank", "type: first", "type: fi rst",
              "w.yaml:7: type is 'fi rst'; allowed: up to 64 lower-case letters, digits and '_', a letter first\n"
              "w.yaml:19: depends_on names 'first', which is no step of this workflow\n"
              "w.yaml:25: depends_on names 'first', which is no step of this workflow"},
        Wrong{"type_twice", "type: third", "type: second", "w.yaml:20: type 'second' stands twice, first on line 14"},
        Wrong{"result_key_twice", "result_key: two", "result_key: one",
              "w.yaml:18: result_key 'one' stands twice, first on line 11"},
        Wrong{"event_without_contract", "workflow.forecast.requested", "workflow.forcast.requested",
              "w.yaml:15: request_event is 'workflow.forcast.requested'" + kEventRule},
        Wrong{"event_twice", "failed_event: forecast.failed", "failed_event: forecast.completed",
              "w.yaml:17: failed_event is 'forecast.completed', which line 16 uses already"},
        Wrong{"event_of_the_run_itself", "failed_event: forecast.failed",
              "failed_event: workflow.opportunity.analysis.failed",
              "w.yaml:17: failed_event is 'workflow.opportunity.analysis.failed', which every run publishes itself; "
              "allowed: another event"},
        Wrong{"timeout_negative", "timeout: 2m", "timeout: -2m", "w.yaml:12: timeout is '-2m'" + kDurationRule},
        Wrong{"attempts_zero", "attempts_max: 5", "attempts_max: 0",
              "w.yaml:13: attempts_max is '0'; allowed: a whole number from 1 to 100"},
        Wrong{"attempts_many", "attempts_max: 5", "attempts_max: 101",
              "w.yaml:13: attempts_max is '101'; allowed: a whole number from 1 to 100"},
        Wrong{"attempts_huge", "attempts_max: 5", "attempts_max: 99999999999999999999",
              "w.yaml:13: attempts_max is '99999999999999999999'; allowed: a whole number from 1 to 100"},
        Wrong{"attempts_fraction", "attempts_max: 5", "attempts_max: 1.5",
              "w.yaml:13: attempts_max is '1.5'; allowed: a whole number from 1 to 100"},
        Wrong{"factor_small", "factor: 1.5", "factor: 0.9",
              "w.yaml:13: factor is '0.9'; allowed: a number from 1 to 10"},
        Wrong{"factor_nan", "factor: 1.5", "factor: nan", "w.yaml:13: factor is 'nan'; allowed: a number from 1 to 10"},
        Wrong{"factor_infinite", "factor: 1.5", "factor: inf",
              "w.yaml:13: factor is 'inf'; allowed: a number from 1 to 10"},
        Wrong{"jitter_large", "jitter: 0", "jitter: 1.1", "w.yaml:13: jitter is '1.1'; allowed: a number from 0 to 1"},
        Wrong{"delays_crossed", "delay_max: 1s", "delay_max: 9ms",
              "w.yaml:13: delay_max is 9ms; allowed: at least delay_first, which is 10ms"},
        Wrong{"retry_is_a_number", "retry: {attempts_max: 5, delay_first: 10ms, factor: 1.5, delay_max: 1s, jitter: 0}",
              "retry: 3",
              "w.yaml:13: retry is a single value; allowed: a mapping of attempts_max, delay_first, factor, delay_max, "
              "jitter"},
        Wrong{"depends_on_text", "depends_on: [first]", "depends_on: first",
              "w.yaml:19: depends_on is a single value; allowed: a list of types of other steps"},
        Wrong{"depends_on_nested", "depends_on: [first]", "depends_on: [[first]]",
              "w.yaml:19: depends_on is a list; allowed: a list of types of other steps\n"
              "w.yaml:19: depends_on names '', which is no step of this workflow"},
        Wrong{"depends_on_unknown", "depends_on: [first]", "depends_on: [fist]",
              "w.yaml:19: depends_on names 'fist', which is no step of this workflow"},
        Wrong{"depends_on_twice", "depends_on: [first, second]", "depends_on: [first, first]",
              "w.yaml:25: depends_on names 'first' twice"},
        Wrong{"depends_on_itself", "depends_on: [first]", "depends_on: [second]",
              "w.yaml:19: steps wait for each other in a cycle: second -> second"},
        Wrong{"two_cycles", "timeout: 2m", "depends_on: [third]",
              "w.yaml:19: steps wait for each other in a cycle: first -> third -> second -> first\n"
              "w.yaml:25: steps wait for each other in a cycle: first -> third -> first"},
        Wrong{"depends_on_empty_entry", "depends_on: [first]", "depends_on:\n      - first\n      -",
              "w.yaml:20: depends_on has an empty entry; allowed: a list of types of other steps"},
        Wrong{"steps_is_empty", sample().substr(sample().find("steps:")), "steps: []\n",
              "w.yaml:6: steps has 0 entries; allowed: a list of 1 to 60 steps"},
        Wrong{"steps_is_a_mapping", sample().substr(sample().find("steps:")), "steps: {a: b}\n",
              "w.yaml:6: steps is a mapping; allowed: a list of 1 to 60 steps"},
        Wrong{"step_is_text", sample().substr(sample().find("steps:")), "steps:\n  - first\n",
              "w.yaml:7: a step is a single value; allowed: a mapping of " + kStepKeys}),
    [](const auto& wrong) { return wrong.param.title; });

TEST(Definition, TellsAllErrorsAtOnceInTheOrderOfTheLines) {
  EXPECT_EQ(errors_of("version: one\ntriggers: [no.such]\non_active: 1\nsteps:\n  - type: a\n    timeout: soon\n"),
            "w.yaml:1: version is 'one'; allowed: three numbers like 1.0.0\n"
            "w.yaml:1: a workflow has no name\n"
            "w.yaml:2: a trigger is 'no.such'; allowed: an event type that has a contract\n"
            "w.yaml:3: on_active is '1'; allowed: coalesce, start_new, cancel_active\n"
            "w.yaml:5: a step has no request_event\n"
            "w.yaml:5: a step has no completed_event\n"
            "w.yaml:5: a step has no failed_event\n"
            "w.yaml:5: a step has no result_key\n"
            "w.yaml:6: timeout is 'soon'; allowed: a time like 30s or 1h30m, from 1ms to 3650d");
}

TEST(Definition, SaysOnceWhatIsWrongBehindAnAnchor) {
  std::string text = shipped_text();
  text.replace(text.find("attempts_max: 3"), 15, "attempts_max: 0");
  const std::string errors = errors_of(text);
  EXPECT_THAT(errors, testing::HasSubstr("attempts_max is '0'"));
  EXPECT_EQ(std::ranges::count(errors, '\n'), 0) << errors;
}

TEST(Definition, HasAtMostSixtySteps) {
  std::string text = "name: n\nversion: 1.0.0\ntriggers: []\nsteps:\n";
  for (int i = 0; i < 61; ++i) text += fmt::format("  - type: s{}\n", i);
  EXPECT_THAT(errors_of(text), testing::HasSubstr("w.yaml:5: steps has 61 entries; allowed: a list of 1 to 60 steps"));
}

TEST(Definition, IsOneYamlDocument) {
  const std::string rule = ": the workflow has ended before this line; allowed: one YAML document, with one workflow";
  EXPECT_THAT(errors_of(""), testing::StartsWith("w.yaml:1: a workflow is empty; allowed: a mapping of name"));
  EXPECT_EQ(errors_of(sample() + "---\n" + sample()), "w.yaml:26" + rule);
  EXPECT_THAT(errors_of("{name: x} rest"), testing::HasSubstr("w.yaml:1" + rule));
  EXPECT_THAT(errors_of("{name: x}\n, rest"), testing::HasSubstr("w.yaml:2" + rule));
  EXPECT_EQ(errors_of(sample() + "]\n"), "w.yaml:26: not YAML: illegal flow end");
  EXPECT_THAT(errors_of("[1, 2]"), testing::StartsWith("w.yaml:1: a workflow is a list; allowed: a mapping of name"));
  EXPECT_THAT(errors_of("name: x\nsteps: [\n"), testing::StartsWith("w.yaml:3: not YAML: "));
  EXPECT_EQ(errors_of(std::string(kDefinitionBytesMax + 1, '#')), "w.yaml:1: 1048577 bytes; allowed: up to 1048576");
}

TEST(Definition, IsRefusedInOneLineOfBoundedLengthWhateverTheValueHolds) {
  const std::string errors = errors_of(sample("name: sample", "name: \"a\\n\\e[31m" + std::string(5000, 'x') + "\""));
  EXPECT_EQ(std::ranges::count(errors, '\n'), 0);
  EXPECT_EQ(errors.find('\x1b'), std::string::npos);
  EXPECT_LT(errors.size(), 300U);
}

// Takes a good text apart in the ways in which files get broken: whatever comes, the answer is a definition that keeps
// the rules, or errors that each begin with the file's name and a line of the file.
RC_GTEST_PROP(DefinitionOfAnyText, IsUnderstoodOrRefused, ()) {
  static const std::vector<std::string> pieces{"\n",
                                               "  ",
                                               "- ",
                                               ": ",
                                               "[",
                                               "]",
                                               "{",
                                               "}",
                                               "&a ",
                                               "*a",
                                               "*retry",
                                               "!!int ",
                                               "|\n",
                                               ">\n",
                                               "\"",
                                               "'",
                                               "#",
                                               "---\n",
                                               "...\n",
                                               "%YAML 1.2\n",
                                               "<<: *retry",
                                               "? ",
                                               "\t",
                                               "~",
                                               "nan",
                                               "-1",
                                               "1e999",
                                               "99999999999999999999d",
                                               "\xff",
                                               std::string(1, '\0'),
                                               "\xef\xbb\xbf",
                                               "depends_on: [risk_scoring]",
                                               "type: forecast",
                                               "steps:",
                                               "\r\n",
                                               "{a: {a: {a: [[[["};
  std::string text = shipped_text();
  const auto cuts = *rc::gen::inRange(1, 6);
  for (int i = 0; i < cuts && !text.empty(); ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        text.erase(at, *rc::gen::inRange<std::size_t>(1, 200));
        break;
      case 1:
        text.insert(at, *rc::gen::elementOf(pieces));
        break;
      case 2:
        text[at] = *rc::gen::arbitrary<char>();
        break;
      case 3:
        text.insert(at, text.substr(*rc::gen::inRange<std::size_t>(0, text.size()), 120));
        break;
      case 4:
        text.resize(at);
        break;
    }
  }
  const auto definition = parse(text);
  if (definition) {
    RC_ASSERT(!definition->steps.empty());
    for (const StepDefinition& step : definition->steps) {
      RC_ASSERT(step.timeout > 0ms && step.timeout <= kDurationMax);
      RC_ASSERT(step.retry.attempts_max >= 1 && step.retry.attempts_max <= 100);
      RC_ASSERT(step.retry.delay_first > 0ms && step.retry.delay_first <= step.retry.delay_max);
      for (const std::string& needed : step.depends_on) RC_ASSERT(definition->step_index(needed).has_value());
    }
    return;
  }
  const auto lines_max = std::ranges::count(text, '\n') + std::ranges::count(text, '\r') + 2;
  std::string_view rest = definition.error().message;
  RC_ASSERT(!rest.empty());
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    RC_ASSERT(line.starts_with("w.yaml:"));
    int number = 0;
    const auto [end, error] = std::from_chars(line.data() + 7, line.data() + line.size(), number);
    RC_ASSERT(error == std::errc{});
    RC_ASSERT(std::string_view(end, 2) == ": ");
    RC_ASSERT(number >= 1 && number <= lines_max);
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  }
}

TEST(Definition, SurvivesNestingAndReferencesToItself) {
  EXPECT_NE(errors_of(std::string(100'000, '[')), "");
  EXPECT_NE(errors_of(std::string(100'000, '{')), "");
  EXPECT_NE(errors_of("&a [*a, *a]"), "");
  EXPECT_NE(errors_of("steps: &s\n  - *s\n"), "");
  EXPECT_NE(errors_of("&a {*a : *a}"), "");
}

}  // namespace
}  // namespace wfo::workflow
