#include "orchestrator/definitions.h"

#include <gtest/gtest.h>

#include "orchestrator/detail/definition_text.h"
#include "orchestrator/tests/world.h"

namespace wfo::orchestrator {
namespace {

using testing::World;

workflow::Definition odd() {
  workflow::Definition out;
  out.name = "odd";
  out.version = "10.0.1";
  out.run_deadline = workflow::kDurationMax;
  out.on_active = workflow::OnActive::cancel_active;
  workflow::StepDefinition step{"a", "a.requested", "a.completed", "a.failed", "result", {}, milliseconds(1), {}};
  step.retry = {100, milliseconds(1), 1.1, milliseconds(7), 1.0 / 3.0};
  out.steps = {step};
  step.type = "b";
  step.depends_on = {"a"};
  out.steps.push_back(step);
  return out;
}

workflow::Run pinned_to(const workflow::Definition& definition) {
  workflow::Run run;
  run.definition_name = definition.name;
  run.definition_version = definition.version;
  for (const auto& step : definition.steps) run.steps.emplace_back().type = step.type;
  return run;
}

TEST(DefinitionText, GivesBackWhatWasWritten) {
  World world;
  for (const workflow::Definition& definition : {world.shipped(), odd()}) {
    const auto read = decode_definition(encode_definition(definition));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, definition);
  }
}

TEST(DefinitionText, NamesTheFieldThatIsBad) {
  const std::string text = encode_definition(odd());
  struct Case {
    std::string_view from, to, named;
  };
  for (const Case& bad :
       {Case{R"("on_active":"cancel_active")", R"("on_active":"later")", "on_active"},
        Case{R"("jitter")", R"("jitters")", "jitter"}, Case{R"("timeout":1)", R"("timeout":-1)", "timeout"},
        Case{R"("triggers":[])", R"("triggers":{})", "triggers"},
        Case{R"("attempts_max":100)", R"("attempts_max":"many")", "attempts_max"}}) {
    std::string broken = text;
    const auto at = broken.find(bad.from);
    ASSERT_NE(at, std::string::npos) << bad.from;
    broken.replace(at, bad.from.size(), bad.to);
    const auto read = decode_definition(broken);
    ASSERT_FALSE(read) << bad.to;
    EXPECT_EQ(read.error().code, ErrorCode::corruption);
    EXPECT_NE(read.error().message.find(bad.named), std::string::npos) << read.error().message;
  }
}

TEST(Definitions, KeepOldVersionsForTheRunsThatArePinnedToThem) {
  World world;
  workflow::Definition next = world.shipped();
  next.version = "1.1.0";
  next.steps.pop_back();
  const auto definitions = World::must(Definitions::load(*world.store, {next}));
  EXPECT_EQ(*definitions.current(""), next);
  EXPECT_EQ(*definitions.current("opportunity-analysis"), next);
  ASSERT_NE(definitions.pinned(pinned_to(world.shipped())), nullptr);
  EXPECT_EQ(*definitions.pinned(pinned_to(world.shipped())), world.shipped());
  EXPECT_EQ(definitions.all_known().size(), 2U);
  EXPECT_EQ(definitions.all_current().size(), 1U);
}

TEST(Definitions, KnowNothingOfStrangers) {
  World world;
  const auto definitions = World::must(Definitions::load(*world.store, {world.shipped()}));
  EXPECT_EQ(definitions.current("payroll"), nullptr);
  EXPECT_EQ(definitions.pinned(pinned_to(odd())), nullptr);
  workflow::Run other_steps = pinned_to(world.shipped());
  other_steps.steps.pop_back();
  EXPECT_EQ(definitions.pinned(other_steps), nullptr);
}

TEST(Definitions, RefuseAChangeUnderTheSameVersion) {
  World world;
  workflow::Definition changed = world.shipped();
  changed.steps[0].timeout = milliseconds(1);
  const auto loaded = Definitions::load(*world.store, {changed});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::conflict);
  EXPECT_NE(loaded.error().message.find("opportunity-analysis"), std::string::npos) << loaded.error().message;
  EXPECT_NE(loaded.error().message.find("1.0.0"), std::string::npos) << loaded.error().message;
}

TEST(Definitions, RefuseWhatCannotBeToldApart) {
  World world;
  workflow::Definition same_trigger = world.shipped();
  same_trigger.name = "second";
  const std::vector<std::pair<std::vector<workflow::Definition>, std::string_view>> cases{
      {{}, "no workflow definition"},
      {{world.shipped(), world.shipped()}, "two workflow definitions"},
      {{world.shipped(), same_trigger}, "integration.opportunity.updated"}};
  for (const auto& [current, named] : cases) {
    const auto loaded = Definitions::load(*world.store, current);
    ASSERT_FALSE(loaded) << named;
    EXPECT_EQ(loaded.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(loaded.error().message.find(named), std::string::npos) << loaded.error().message;
  }
}

TEST(Definitions, SeeWhatANewerProcessHasNoted) {
  World world;
  const auto ours = World::must(Definitions::load(*world.store, {world.shipped()}));
  workflow::Definition newer = world.shipped();
  newer.version = "2.0.0";
  World::must(Definitions::load(*world.store, {newer}));
  EXPECT_EQ(ours.pinned(pinned_to(newer)), nullptr);
  const auto again = World::must(ours.reload(*world.store));
  ASSERT_NE(again.pinned(pinned_to(newer)), nullptr);
  EXPECT_EQ(again.current("")->version, "1.0.0");
}

}  // namespace
}  // namespace wfo::orchestrator
