#include "app/yaml_json.h"

#include <gtest/gtest.h>

namespace wfo::app {
namespace {

std::string json_of(std::string_view yaml, const std::map<std::string, std::string>& environment = {}) {
  const auto converted = yaml_to_json(yaml, "jobs.yaml", environment);
  return converted ? *converted : converted.error().message;
}

TEST(YamlToJson, KeepsTheOrderAndTheKindsOfValues) {
  struct Case {
    std::string_view name, yaml, json;
  };
  constexpr Case kCases[] = {
      {"a mapping", "b: 1\na: text", R"({"b":1,"a":"text"})"},
      {"a list", "- x\n- [1, 2.5, -3]", R"(["x",[1,2.5,-3]])"},
      {"plain words of the core schema", "[true, false, null, ~]", "[true,false,null,null]"},
      {"words of YAML 1.1 are text", "[yes, on, No]", R"(["yes","on","No"])"},
      {"quoted scalars are text", R"(["true", '5', ""])", R"(["true","5",""])"},
      {"numbers that JSON cannot say are text", "[0x1f, 1_000, 007, .5]", R"(["0x1f","1_000","007",".5"])"},
      {"a cron expression", "cron: 0 1 * * 0", R"({"cron":"0 1 * * 0"})"},
      {"a key without value", "metadata:", R"({"metadata":null})"},
      {"JSON", R"({"a":[1,{"b":"x\ny"}]})", R"({"a":[1,{"b":"x\ny"}]})"},
      {"an alias", "a: &x [1]\nb: *x", R"({"a":[1],"b":[1]})"},
  };
  for (const auto& [name, yaml, json] : kCases) EXPECT_EQ(json_of(yaml), json) << name;
}

TEST(YamlToJson, FillsInTheEnvironmentBeforeItLooksAtTheKind) {
  constexpr std::string_view kYaml = R"({cron: "${CRON:-0 1 * * *}", count: "${COUNT:-5}", plain: ${COUNT:-5}})";
  EXPECT_EQ(json_of(kYaml), R"({"cron":"0 1 * * *","count":"5","plain":5})");
  EXPECT_EQ(json_of(kYaml, {{"CRON", "@daily"}, {"COUNT", "7"}}), R"({"cron":"@daily","count":"7","plain":7})");
}

TEST(YamlToJson, NamesFileLineAndWhatIsWrong) {
  EXPECT_EQ(json_of("a: 1\na: 2"), "jobs.yaml:2: 'a' stands twice");
  EXPECT_EQ(json_of("a: 1\n? [x]\n: 2"), "jobs.yaml:2: a key is no text");
  EXPECT_EQ(json_of("a: 1\n---\nb: 2"), "jobs.yaml holds 2 documents; allowed: one");
  EXPECT_EQ(json_of(""), "jobs.yaml holds 0 documents; allowed: one");
  EXPECT_EQ(json_of("a: 1\nb: ${NOWHERE}"),
            "jobs.yaml:2: the environment has no NOWHERE; set it, or write ${NOWHERE:-default}");
  EXPECT_TRUE(json_of("a: 1\nb: [").starts_with("jobs.yaml:")) << json_of("a: 1\nb: [");
}

TEST(YamlToJson, RefusesWhatGrowsWithoutBound) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "[";
  for (int i = 0; i < 100; ++i) deep += "]";
  EXPECT_EQ(json_of(deep), "jobs.yaml:1: more than 64 levels");
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    laughs += fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  }
  EXPECT_NE(json_of(laughs).find("more than 67108864 bytes"), std::string::npos);
}

}  // namespace
}  // namespace wfo::app
