#include <gtest/gtest.h>

#include <map>
#include <set>

#include "events/schema.h"
#include "events/tests/files.h"

// The draft-07 part of json-schema-test-suite (Debian package of that name), which all validators are measured by.

namespace wfo::events {
namespace {

namespace fs = std::filesystem;

const fs::path kSuite = "/usr/share/json-schema-test-suite/tests/draft7";

/// What our validator refuses to compile, and why. A file without group is left out as a whole. Nothing may be listed
/// that compiles, so this list cannot grow old.
struct LeftOut {
  std::string_view file;
  std::string_view group;  // "" the whole file
};
constexpr LeftOut kLeftOut[] = {
    {"additionalProperties.json", "additionalProperties being false does not allow other properties"},
    {"additionalProperties.json", "non-ASCII pattern with additionalProperties"},
    {"definitions.json", ""},
    {"optional/content.json", ""},
    {"optional/ecmascript-regex.json", ""},
    {"optional/format/email.json", ""},
    {"optional/format/hostname.json", ""},
    {"optional/format/idn-email.json", ""},
    {"optional/format/idn-hostname.json", ""},
    {"optional/format/ipv4.json", ""},
    {"optional/format/ipv6.json", ""},
    {"optional/format/iri-reference.json", ""},
    {"optional/format/iri.json", ""},
    {"optional/format/json-pointer.json", ""},
    {"optional/format/regex.json", ""},
    {"optional/format/relative-json-pointer.json", ""},
    {"optional/format/time.json", ""},
    {"optional/format/uri-reference.json", ""},
    {"optional/format/uri-template.json", ""},
    {"optional/format/uri.json", ""},
    {"pattern.json", ""},
    {"patternProperties.json", ""},
    {"properties.json", "properties, patternProperties, additionalProperties interaction"},
    {"ref.json", "Recursive references between schemas"},
    {"ref.json", "escaped pointer ref"},
    {"ref.json", "ref overrides any sibling keywords"},
    {"ref.json", "remote ref, containing refs itself"},
    {"refRemote.json", ""},
};

bool is_left_out(std::string_view file, std::string_view group) {
  return std::ranges::any_of(kLeftOut, [&](const LeftOut& left_out) {
    return left_out.file == file && (left_out.group.empty() || left_out.group == group);
  });
}

std::vector<std::string> suite_files() {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(kSuite)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), kSuite).string());
  }
  std::ranges::sort(files);
  return files;
}

class SchemaSuite : public testing::TestWithParam<std::string> {};

TEST_P(SchemaSuite, Agrees) {
  const auto document = tests::parsed(tests::read_file(kSuite / GetParam()));
  for (const json::Value group : document.root().elements()) {
    const std::string name = group.find("description")->string().value();
    const auto schema = Schema::compile(*group.find("schema"));
    ASSERT_EQ(!schema.has_value(), is_left_out(GetParam(), name))
        << name << ": " << (schema ? "compiles" : schema.error().message);
    if (!schema) continue;
    for (const json::Value test : group.find("tests")->elements()) {
      const json::Value data = *test.find("data");
      const bool expected = test.find("valid")->boolean().value();
      EXPECT_EQ(schema->is_valid(data), expected) << name << ": " << test.find("description")->raw();
      EXPECT_EQ(schema->validate(data).empty(), expected) << name << ": " << test.find("description")->raw();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Draft7, SchemaSuite, testing::ValuesIn(suite_files()), [](const auto& test) {
  std::string name = test.param.substr(0, test.param.size() - std::string_view(".json").size());
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(SchemaSuiteList, NamesOnlyWhatTheSuiteHas) {
  const auto files = suite_files();
  EXPECT_GT(files.size(), 40);
  for (const LeftOut& left_out : kLeftOut) EXPECT_TRUE(std::ranges::count(files, left_out.file)) << left_out.file;
}

TEST(SchemaSuiteList, StandsInTheReadme) {
  const std::string readme = tests::read_file(fs::path(WFO_SOURCE_DIR) / "src/events/README.md");
  for (const LeftOut& left_out : kLeftOut) {
    const std::string_view file = left_out.file.substr(left_out.file.rfind('/') + 1);
    EXPECT_TRUE(readme.find(fmt::format("`{}`", file)) != std::string::npos) << left_out.file;
    EXPECT_TRUE(readme.find(left_out.group) != std::string::npos) << left_out.group;
  }
}

}  // namespace
}  // namespace wfo::events
