#include "app/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fstream>

#include "support/temporary_directory.h"

namespace wfo::app {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Environment = std::map<std::string, std::string>;
using Texts = std::vector<std::string>;

/// One variable of each kind, as a configuration would have them.
struct Values {
  std::string name = "first";
  std::filesystem::path folder = "data";
  Texts roles = {"one", "two"};
  Texts patterns = {"#"};
  std::string level = "info";
  milliseconds timeout = 5min;
  std::size_t body_bytes = 1024;
  int port = 3051;
  std::size_t rows = 10;
  TenantId tenant = *TenantId::parse("00000000-0000-4000-8000-000000000001");
};

class SettingsTest : public testing::Test {
 protected:
  static std::vector<Setting> bind(Values& values) {
    return {
        text_setting("name", values.name, "what it is called"),
        path_setting("folder", values.folder, "where it is"),
        list_setting("roles", values.roles, "what it does", {"one", "two", "three"}),
        choice_setting(
            "level", "how loud", {"info", "warn"}, [&](std::string_view text) { values.level = text; },
            [&] { return values.level; }),
        tenant_setting("tenant", values.tenant, "whose it is"),
        count_setting("http.port", values.port, 0, 65535, "TCP"),
        duration_setting("http.timeout", values.timeout, 100ms, 1h, "until it gives up"),
        size_setting("http.body_bytes_max", values.body_bytes, 1024, std::size_t{64} << 20, "of a body"),
        count_setting("store.cache.rows", values.rows, 1, 100, "kept"),
        list_setting("ledger.patterns", values.patterns, "what it records"),
    };
  }

  Result<void> read(std::string_view yaml, const Environment& environment = {}) {
    std::ofstream(file_) << yaml;
    return settings_.read_file(file_, environment);
  }
  /// The message of a refusal, with the file's name as FILE.
  std::string refusal(std::string_view yaml, const Environment& environment = {}) {
    const auto done = read(yaml, environment);
    if (done) return "";
    EXPECT_EQ(done.error().code, ErrorCode::invalid_argument);
    std::string message = done.error().message;
    for (auto at = message.find(file_.string()); at != std::string::npos; at = message.find(file_.string())) {
      message.replace(at, file_.string().size(), "FILE");
    }
    return message;
  }

  test::TemporaryDirectory directory_;
  std::filesystem::path file_ = directory_ / "wfo.yaml";
  Values values_;
  Settings settings_{bind(values_)};
};

TEST_F(SettingsTest, ReadsNestedMappingsIntoTheBoundVariables) {
  const auto done = read(R"(
name: second
folder: /srv/wfo
roles: [three]
level: warn
tenant: 6F2C1A52-0C5E-4A53-9C56-0F3A7D0E1A01
http:
  port: 8080
  timeout: 1m30s
  body_bytes_max: 2MiB
store:
  cache: {rows: 7}
ledger:
  patterns:
    - workflow.#
    - "*.failed"
)");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(values_.name, "second");
  EXPECT_EQ(values_.folder, "/srv/wfo");
  EXPECT_THAT(values_.roles, ElementsAre("three"));
  EXPECT_EQ(values_.level, "warn");
  EXPECT_EQ(values_.tenant.to_string(), "6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
  EXPECT_EQ(values_.port, 8080);
  EXPECT_EQ(values_.timeout, 90s);
  EXPECT_EQ(values_.body_bytes, std::size_t{2} << 20);
  EXPECT_EQ(values_.rows, 7U);
  EXPECT_THAT(values_.patterns, ElementsAre("workflow.#", "*.failed"));
}

TEST_F(SettingsTest, TakesOneTextForAListOfOne) {
  ASSERT_TRUE(read("roles: two\n"));
  EXPECT_THAT(values_.roles, ElementsAre("two"));
}

TEST_F(SettingsTest, KeepsWhatHeldWhereNothingIsSaid) {
  for (const std::string_view yaml : {"", "# nothing\n", "---\n", "# first\n--- # second\nname: first\n", "~\n", "{}\n",
                                      "http:\n", "http:\n  port:\n", "http: {port: ~}\nname: null\n"}) {
    const auto done = read(yaml);
    EXPECT_TRUE(done) << yaml << ": " << done.error().message;
    EXPECT_EQ(values_.port, 3051) << yaml;
    EXPECT_EQ(values_.name, "first") << yaml;
  }
}

TEST_F(SettingsTest, FillsInTheEnvironment) {
  const Environment environment{{"PORT", "99"}, {"EMPTY", ""}, {"HOME", "/home/ann"}, {"DOLLAR", "a$"}};
  struct Row {
    std::string_view yaml;
    std::string_view name;
  };
  for (const auto& [yaml, name] : {
           Row{"name: ${HOME}", "/home/ann"},
           Row{"name: ${HOME}/x/${PORT}", "/home/ann/x/99"},
           Row{"name: ${NONE:-some thing}", "some thing"},
           Row{"name: ${HOME:-other}", "/home/ann"},
           Row{"name: ${EMPTY:-other}", "other"},
           Row{"name: ${NONE:-}", ""},
           Row{"name: ${NONE:-a:-b}", "a:-b"},
           Row{"name: $HOME", "$HOME"},
           Row{"name: $${HOME}", "${HOME}"},
           Row{"name: a$$b", "a$$b"},
           Row{"name: ${DOLLAR}${PORT}", "a$99"},
       }) {
    const auto done = read(yaml, environment);
    ASSERT_TRUE(done) << yaml << ": " << done.error().message;
    EXPECT_EQ(values_.name, name) << yaml;
  }
  ASSERT_TRUE(read("http: {port: '${PORT}'}\nledger: {patterns: ['${PORT}', '${NONE:-b}']}", environment));
  EXPECT_EQ(values_.port, 99);
  EXPECT_THAT(values_.patterns, ElementsAre("99", "b"));
}

TEST_F(SettingsTest, DoesNotFillInWhatTheEnvironmentBrought) {
  ASSERT_TRUE(read("name: ${A}", {{"A", "${B}"}, {"B", "secret"}}));
  EXPECT_EQ(values_.name, "${B}");
}

TEST_F(SettingsTest, NamesFileLineValueAndWhatIsAllowed) {
  struct Row {
    std::string_view yaml;
    std::string_view message;
  };
  for (const auto& [yaml, message] : {
           Row{"nmae: x", "FILE:1: there is no setting 'nmae'; see `wfo config show`"},
           Row{"name: x\nhttp:\n  prot: 1\n", "FILE:3: there is no setting 'http.prot'; see `wfo config show`"},
           Row{"name: {first: x}", "FILE:1: there is no setting 'name.first'; see `wfo config show`"},
           Row{"http: 5", "FILE:1: http must be a mapping"},
           Row{"\nhttp: [port]", "FILE:2: http must be a mapping"},
           Row{"- name", "FILE:1: the file must be a mapping"},
           Row{"name", "FILE:1: the file must be a mapping"},
           Row{"http: {port: 65536}", "FILE:1: http.port is '65536'; allowed: 0..65535"},
           Row{"http:\n  port: -1", "FILE:2: http.port is '-1'; allowed: 0..65535"},
           Row{"http: {port: 80x}", "FILE:1: http.port is '80x'; allowed: 0..65535"},
           Row{"http: {port: ''}", "FILE:1: http.port is ''; allowed: 0..65535"},
           Row{"http: {port: [1, 2]}", "FILE:1: http.port is '1,2'; allowed: 0..65535"},
           Row{"http: {port: []}", "FILE:1: http.port is ''; allowed: 0..65535"},
           Row{"http: {port: 99999999999999999999}", "FILE:1: http.port is '99999999999999999999'; allowed: 0..65535"},
           Row{"http: {timeout: 2h}", "FILE:1: http.timeout is '2h'; allowed: 100ms..1h"},
           Row{"http: {timeout: 5}", "FILE:1: http.timeout is '5'; allowed: 100ms..1h"},
           Row{"http: {body_bytes_max: 1GiB}", "FILE:1: http.body_bytes_max is '1GiB'; allowed: 1KiB..64MiB"},
           Row{"http: {body_bytes_max: 1023}", "FILE:1: http.body_bytes_max is '1023'; allowed: 1KiB..64MiB"},
           Row{"level: loud", "FILE:1: level is 'loud'; allowed: info, warn"},
           Row{"roles:\n- one\n- four", "FILE:2: roles is 'one,four'; allowed: a list of: one, two, three"},
           Row{"roles: [[one]]", "FILE:1: roles: allowed: a list of: one, two, three"},
           Row{"tenant: 42", "FILE:1: tenant is '42'; allowed: a uuid"},
           Row{"name: ${NONE}", "FILE:1: name: the environment has no NONE; set it, or write ${NONE:-default}"},
           Row{"name: ${NONE", "FILE:1: name: '${' without its '}'"},
           Row{"name: a\nname: b", "FILE:2: 'name' stands twice"},
           Row{"name: a\n---\nname: b", "FILE:2: a second document begins; allowed: one"},
           Row{"%YAML 1.2\n---\nname: a\n---\n", "FILE:4: a second document begins; allowed: one"},
       }) {
    EXPECT_EQ(refusal(yaml), message) << yaml;
  }
}

TEST_F(SettingsTest, SaysAllThatIsWrongWithAFile) {
  EXPECT_EQ(refusal("colour: red\nhttp:\n  port: x\n  timeout: y\nname: good\n"),
            "FILE:1: there is no setting 'colour'; see `wfo config show`\n"
            "FILE:3: http.port is 'x'; allowed: 0..65535\n"
            "FILE:4: http.timeout is 'y'; allowed: 100ms..1h");
  EXPECT_EQ(values_.port, 3051);
}

TEST_F(SettingsTest, NamesThePlaceWhereAFileIsNoYaml) {
  EXPECT_THAT(refusal("name: first\nhttp: {port: 1\nname: ]"), testing::StartsWith("FILE:3: not YAML: "));
}

TEST_F(SettingsTest, NamesAFileThatIsNotThere) {
  const auto done = settings_.read_file(directory_ / "none.yaml", {});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::not_found);
  EXPECT_THAT(done.error().message, HasSubstr((directory_ / "none.yaml").string()));
}

TEST_F(SettingsTest, NeverFallsOverWhateverAFileHolds) {
  const auto pieces = rc::gen::element<std::string>(
      "http", "name", "roles", ": ", "\n", "\n  ", "- ", "[", "]", "{", "}", "${", "${A}", ":-", "&a ", "*a", "!!int ",
      "'", "\"", "#", "port", ",", "<<", "? ", "|", "\t", "\x01", "\xff", "9", "1KiB", "---");
  EXPECT_TRUE(rc::check([&] {
    std::string yaml;
    for (const auto& piece : *rc::gen::container<Texts>(pieces)) yaml += piece;
    if (const auto done = read(yaml); !done) {
      RC_ASSERT(done.error().code == ErrorCode::invalid_argument);
      RC_ASSERT(done.error().message.starts_with(file_.string() + ":"));
    }
  }));
}

TEST_F(SettingsTest, TakesTheEnvironmentsVariables) {
  EXPECT_EQ(Settings::environment_name("http.body_bytes_max"), "WFO_HTTP_BODY_BYTES_MAX");
  const auto done = settings_.read_environment({{"WFO_HTTP_PORT", "1"},
                                                {"WFO_ROLES", "three, one"},
                                                {"WFO_LEDGER_PATTERNS", "a.#,b"},
                                                {"WFO_STORE_CACHE_ROWS", "100"},
                                                {"HTTP_PORT", "2"},
                                                {"WFO_CONFIG", "elsewhere.yaml"}});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(values_.port, 1);
  EXPECT_THAT(values_.roles, ElementsAre("three", "one"));
  EXPECT_THAT(values_.patterns, ElementsAre("a.#", "b"));
  EXPECT_EQ(values_.rows, 100U);
}

TEST_F(SettingsTest, NamesEachVariableThatIsWrong) {
  const auto done =
      settings_.read_environment({{"WFO_HTTP_PORT", "http"}, {"WFO_LEVEL", ""}, {"WFO_ROLES", "one,,two"}});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(done.error().message,
            "WFO_ROLES: roles is 'one,,two'; allowed: a list of: one, two, three\n"
            "WFO_LEVEL: level is ''; allowed: info, warn\n"
            "WFO_HTTP_PORT: http.port is 'http'; allowed: 0..65535");
}

TEST_F(SettingsTest, TakesAssignmentsAsFlags) {
  ASSERT_TRUE(settings_.set_flag("http.port=7"));
  ASSERT_TRUE(settings_.set_flag("name=a=b,c"));
  ASSERT_TRUE(settings_.set_flag("roles=one , two"));
  ASSERT_TRUE(settings_.set_flag("ledger.patterns="));
  EXPECT_EQ(values_.port, 7);
  EXPECT_EQ(values_.name, "a=b,c");
  EXPECT_THAT(values_.roles, ElementsAre("one", "two"));
  EXPECT_THAT(values_.patterns, ElementsAre());
}

TEST_F(SettingsTest, NamesAnAssignmentThatIsWrong) {
  const auto message = [&](std::string_view assignment) {
    const auto done = settings_.set_flag(assignment);
    return done ? "" : done.error().message;
  };
  EXPECT_EQ(message("http.port"), "--set is 'http.port'; allowed: NAME=VALUE");
  EXPECT_EQ(message("http.prot=1"), "there is no setting 'http.prot'; see `wfo config show`");
  EXPECT_EQ(message("http=1"), "there is no setting 'http'; see `wfo config show`");
  EXPECT_EQ(message("http.port=0x10"), "http.port is '0x10'; allowed: 0..65535");
  EXPECT_EQ(values_.port, 3051);
}

TEST_F(SettingsTest, ShowsWhereEachValueComesFrom) {
  ASSERT_TRUE(read("name: a\nlevel: warn"));
  ASSERT_TRUE(settings_.read_environment({{"WFO_LEVEL", "info"}}));
  ASSERT_TRUE(settings_.set_flag("http.port=1"));
  const auto yaml = settings_.to_yaml();
  EXPECT_THAT(yaml, testing::ContainsRegex("name: \"a\" +# what it is called \\(from file\\)\n"));
  EXPECT_THAT(yaml, testing::ContainsRegex("level: \"info\" +# how loud \\(from environment\\)\n"));
  EXPECT_THAT(yaml, testing::ContainsRegex("  port: \"1\" +# TCP \\(from flag\\)\n"));
  EXPECT_THAT(yaml, testing::ContainsRegex("  timeout: \"5m\" +# until it gives up\n"));
  EXPECT_THAT(
      settings_.to_json(),
      HasSubstr(R"("http.port":{"value":"1","origin":"flag","allowed":"0..65535","environment":"WFO_HTTP_PORT")"));
  EXPECT_THAT(settings_.to_json(), HasSubstr(R"("roles":{"value":["one", "two"],"origin":"default")"));
}

TEST_F(SettingsTest, ReadsBackWhatItShows) {
  const auto texts = rc::gen::element<std::string>("", "a", "${HOME}", "$${", "$", "a: b", "# c", "- d", "\"e\"", "'",
                                                   "~", "null", "\n", "\t", "ü€😀", "{x}", "[", ",", "\\", "yes", " ");
  const auto text = rc::gen::map(rc::gen::container<Texts>(texts), [](const Texts& parts) {
    std::string joined;
    for (const auto& part : parts) joined += part;
    return joined;
  });
  EXPECT_TRUE(rc::check([&] {
    values_.name = *text;
    values_.folder = *text;
    values_.patterns = *rc::gen::container<Texts>(text);
    values_.port = *rc::gen::inRange(0, 65536);
    values_.timeout = milliseconds(*rc::gen::inRange(100, 3'600'001));
    values_.body_bytes = *rc::gen::inRange<std::size_t>(1024, (std::size_t{64} << 20) + 1);
    Values back;
    Settings other(bind(back));
    std::ofstream(file_) << settings_.to_yaml();
    const auto done = other.read_file(file_, {{"HOME", "filled in"}});
    RC_ASSERT(done.has_value());
    RC_ASSERT(back.name == values_.name);
    RC_ASSERT(back.folder == values_.folder);
    RC_ASSERT(back.patterns == values_.patterns);
    RC_ASSERT(back.port == values_.port);
    RC_ASSERT(back.timeout == values_.timeout);
    RC_ASSERT(back.body_bytes == values_.body_bytes);
  }));
}

TEST(Size, IsReadInUnitsOfItsOwn) {
  struct Row {
    std::string_view text;
    std::optional<std::size_t> bytes;
  };
  for (const auto& [text, bytes] : {
           Row{"0", 0},
           Row{"65536", 65536},
           Row{"64KiB", 65536},
           Row{"1MiB", 1048576},
           Row{"3GiB", std::size_t{3} << 30},
           Row{"17179869183GiB", std::size_t{17179869183} << 30},
           Row{"17179869184GiB", std::nullopt},
           Row{"18446744073709551616", std::nullopt},
           Row{"", std::nullopt},
           Row{"KiB", std::nullopt},
           Row{"1 KiB", std::nullopt},
           Row{"1kib", std::nullopt},
           Row{"1KB", std::nullopt},
           Row{"-1", std::nullopt},
           Row{"+1", std::nullopt},
           Row{"1.5MiB", std::nullopt},
           Row{"0x10", std::nullopt},
       }) {
    EXPECT_EQ(parse_size(text), bytes) << text;
  }
}

TEST(Size, IsWrittenInTheLargestUnitThatFits) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1023), "1023");
  EXPECT_EQ(format_size(1024), "1KiB");
  EXPECT_EQ(format_size(1536), "1536");
  EXPECT_EQ(format_size(std::size_t{5} << 20), "5MiB");
  EXPECT_EQ(format_size(std::size_t{1} << 30), "1GiB");
}

RC_GTEST_PROP(Size, SurvivesItsText, ()) {
  const auto bytes = *rc::gen::arbitrary<std::size_t>() << *rc::gen::element(0, 10, 20, 30);
  RC_ASSERT(parse_size(format_size(bytes)) == bytes);
}

}  // namespace
}  // namespace wfo::app
