#include "app/yaml_json.h"

#include <gtest/gtest.h>

namespace wfo::app {
namespace {

std::string json_of(std::string_view yaml, const std::map<std::string, std::string>& environment = {}) {
  const auto converted = yaml_to_json(yaml, "jobs.yaml", environment);
  return converted ? converted->json : converted.error().message;
}

TEST(YamlToJson, KeepsTheOrderAndTheKindsOfValues) {
  struct Case {
    std::string_view name, yaml, json;
  };
  constexpr Case kCases[] = {
      {"a mapping", "b: 1\na: text", R"({"b":1,"a":"text"})"},
      {"a list", "- x\n- [1, 2.5, -3]", R"(["x",[1,2.5,-3]])"},
      {"plain words of the core schema", "[true, false, null, ~]", "[true,false,null,null]"},
      {"booleans in all their forms", "[true, True, TRUE, false, False, FALSE]", "[true,true,true,false,false,false]"},
      {"null in all its forms", "[null, Null, NULL, ~, ]", "[null,null,null,null]"},
      {"other mixtures of cases are text", "[tRUE, fALSE, nULL]", R"(["tRUE","fALSE","nULL"])"},
      {"words of YAML 1.1 are text", "[yes, on, No]", R"(["yes","on","No"])"},
      {"quoted scalars are text", R"(["true", '5', "", 'NULL', "~", "True"])", R"(["true","5","","NULL","~","True"])"},
      {"numbers that JSON cannot say are text", "[0x1f, 1_000, 007, .5]", R"(["0x1f","1_000","007",".5"])"},
      {"a cron expression", "cron: 0 1 * * 0", R"({"cron":"0 1 * * 0"})"},
      {"a key without value", "metadata:", R"({"metadata":null})"},
      {"JSON", R"({"a":[1,{"b":"x\ny"}]})", R"({"a":[1,{"b":"x\ny"}]})"},
      {"an alias", "a: &x [1]\nb: *x", R"({"a":[1],"b":[1]})"},
  };
  for (const auto& [name, yaml, json] : kCases) EXPECT_EQ(json_of(yaml), json) << name;
}

TEST(YamlToJson, FillsInTheEnvironmentBeforeItLooksAtTheKind) {
  constexpr std::string_view kYaml = "cron: \"${CRON:-0 1 * * *}\"\ncount: \"${COUNT:-5}\"\nplain: ${COUNT:-5}";
  EXPECT_EQ(json_of(kYaml), R"({"cron":"0 1 * * *","count":"5","plain":5})");
  EXPECT_EQ(json_of(kYaml, {{"CRON", "@daily"}, {"COUNT", "7"}}), R"({"cron":"@daily","count":"7","plain":7})");
}

TEST(YamlToJson, TakesWhatTheEnvironmentSaysForWhatItIs) {
  EXPECT_EQ(json_of("a: ${X}\nb: \"${X}\"", {{"X", "Null"}}), R"({"a":null,"b":"Null"})");
  EXPECT_EQ(json_of("a: ${X}\nb: \"${X}\"", {{"X", "TRUE"}}), R"({"a":true,"b":"TRUE"})");
}

TEST(YamlToJson, RemembersWhichValuesCameFromTheEnvironment) {
  const auto read = yaml_to_json("list:\n  - {cron: ['${A:-x}', '${B}'], note: '${A:-x} ${B}${C}'}\nname: ${B}", "f",
                                 {{"B", "1"}, {"C", "2"}});
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->variables,
            (std::map<std::string, std::string>{{"list[0]: cron[1]", "B"}, {"list[0]: note", "B, C"}, {"name", "B"}}));
}

TEST(YamlToJson, NamesTheVariablesInErrorsAboutTheirValues) {
  const std::map<std::string, std::string> variables{{"list[0]: cron", "CRON"}, {"name", "NAME"}};
  const Error error{ErrorCode::invalid_argument,
                    "f: list[0]: cron: '61'; allowed: …\nf: list[0]: cron[1]: x\ng: name: y\nf: name: z"};
  EXPECT_EQ(with_variables(error, "f", variables).message,
            "f: list[0]: cron (environment CRON): '61'; allowed: …\nf: list[0]: cron[1]: x\ng: name: y\n"
            "f: name (environment NAME): z");
  EXPECT_EQ(with_variables(error, "f", {}).message, error.message);
}

TEST(YamlToJson, RefusesWhatIsNoText) {
  EXPECT_EQ(json_of("a: 1\nb: M\xfcnchen"), "jobs.yaml:2: no text; allowed: UTF-8 without U+0000");
  EXPECT_EQ(json_of("a: 1\nb: ${CITY}", {{"CITY", "M\xfcnchen"}}),
            "jobs.yaml:2: the environment's CITY: no text; allowed: UTF-8 without U+0000");
  EXPECT_EQ(json_of("a: M\u00fcnchen"), "{\"a\":\"M\u00fcnchen\"}");
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
