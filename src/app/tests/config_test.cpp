#include "app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <set>

#include "app/command.h"
#include "support/temporary_directory.h"

namespace wfo::app {
namespace {

using testing::HasSubstr;

TEST(Config, AcceptsEachDefaultOfItsOwn) {
  Config config;
  const auto settings = settings_of(config);
  for (const auto& setting : settings) {
    const auto value = setting.get();
    EXPECT_TRUE(setting.set(value)) << setting.path << ": " << testing::PrintToString(value) << " is not within "
                                    << setting.allowed;
    EXPECT_EQ(setting.get(), value) << setting.path;
  }
  const auto checked = check(config);
  EXPECT_TRUE(checked) << checked.error().message;
}

TEST(Config, ReadsBackEverythingThatItShows) {
  Config config;
  Settings settings(settings_of(config));
  const test::TemporaryDirectory directory;
  const auto file = directory / "wfo.yaml";
  // Something else than the default wherever there is something, so that a setting bound to another's field shows.
  for (const auto& setting : settings.all()) {
    for (const std::vector<std::string>& other : {std::vector<std::string>{"7"},
                                                  {"2048"},
                                                  {"3s"},
                                                  {"2h"},
                                                  {"64KiB"},
                                                  {"2MiB"},
                                                  {"logging"},
                                                  {"warn"},
                                                  {"false"},
                                                  {"postgresql://db/wfo"},
                                                  {"amqp://mq/wfo"},
                                                  {"x"},
                                                  {"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01"}}) {
      if (other != setting.get() && settings.set(setting.path, other, Origin::flag)) break;
    }
  }
  std::ofstream(file) << settings.to_yaml();
  Config back;
  Settings back_settings(settings_of(back));
  const auto done = back_settings.read_file(file, {});
  ASSERT_TRUE(done) << done.error().message;
  Config defaults;
  const auto default_settings = settings_of(defaults);
  for (std::size_t i = 0; i < settings.all().size(); ++i) {
    EXPECT_EQ(back_settings.all()[i].get(), settings.all()[i].get()) << settings.all()[i].path;
    EXPECT_NE(settings.all()[i].get(), default_settings[i].get()) << settings.all()[i].path << " was not changed";
  }
}

TEST(Config, BindsEachSettingToAVariableOfItsOwn) {
  Config config;
  const auto settings = settings_of(config);
  for (const auto& changed : settings) {
    const auto before = changed.get();
    std::vector<std::vector<std::string>> others;
    for (const auto& setting : settings) others.push_back(setting.get());
    bool set = false;
    for (const std::string_view value :
         {"16384", "9", "4s", "3h", "128KiB", "4MiB", "forecasting", "error", "false", "postgresql://db/other",
          "amqp://mq/other", "y", "6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a02"}) {
      set = set || (before != std::vector<std::string>{std::string(value)} && changed.set({std::string(value)}));
    }
    ASSERT_TRUE(set) << changed.path;
    for (std::size_t i = 0; i < settings.size(); ++i) {
      if (settings[i].path != changed.path) {
        EXPECT_EQ(settings[i].get(), others[i]) << changed.path << " changed " << settings[i].path;
      }
    }
    EXPECT_TRUE(changed.set(before));
  }
}

TEST(Config, HasNamesThatCannotBeMistakenForEachOther) {
  Config config;
  std::set<std::string> paths;
  std::set<std::string> variables;
  for (const auto& setting : settings_of(config)) {
    EXPECT_TRUE(paths.insert(setting.path).second) << setting.path;
    EXPECT_TRUE(variables.insert(Settings::environment_name(setting.path)).second) << setting.path;
    EXPECT_FALSE(setting.help.empty()) << setting.path;
    EXPECT_EQ(setting.help.find('\n'), std::string::npos) << setting.path;
    EXPECT_FALSE(setting.allowed.empty()) << setting.path;
  }
  for (const auto& path : paths) {
    for (const auto& other : paths) {
      EXPECT_FALSE(other.starts_with(path + ".")) << path << " is a value and a mapping";
    }
  }
  EXPECT_FALSE(variables.contains("WFO_CONFIG")) << "that one names the file";
}

TEST(Config, KnowsAnAddressWhenItSeesOne) {
  Config config;
  Settings settings(settings_of(config));
  struct Row {
    std::string_view path;
    std::string_view value;
    bool taken;
  };
  for (const auto& [path, value, taken] : {
           Row{"store.url", "", true},
           Row{"store.url", "sqlite", true},
           Row{"store.url", "postgresql://wfo@db/wfo?sslmode=verify-full", true},
           Row{"store.url", "postgres://db", true},
           Row{"store.url", "host=db dbname=wfo", true},
           Row{"store.url", "dbname = wfo", true},
           Row{"store.url", "data/wfo.db", false},
           Row{"store.url", "mysql://db", false},
           Row{"store.url", "amqp://mq", false},
           Row{"store.url", "=wfo", false},
           Row{"ledger.url", "", true},
           Row{"ledger.url", "sqlite", false},
           Row{"ledger.url", "host=db dbname=ledger", true},
           Row{"bus.url", "", true},
           Row{"bus.url", "embedded", true},
           Row{"bus.url", "amqp://mq", true},
           Row{"bus.url", "amqps://wfo:pw@mq:5671/wfo", true},
           Row{"bus.url", "http://mq", false},
           Row{"bus.url", "mq:5672", false},
           Row{"bus.url", "postgresql://db", false},
       }) {
    EXPECT_EQ(settings.set(path, {std::string(value)}, Origin::flag).has_value(), taken) << path << "=" << value;
  }
}

TEST(Config, ShowsAddressesWithoutTheirPasswords) {
  Config config;
  Settings settings(settings_of(config));
  ASSERT_TRUE(settings.set("store.url", {"postgresql://wfo:s3cret@db/wfo?sslpassword=s3cret"}, Origin::flag));
  ASSERT_TRUE(settings.set("ledger.url", {"host=db password='s3cret x' dbname=wfo"}, Origin::flag));
  ASSERT_TRUE(settings.set("bus.url", {"amqps://wfo:s3cret@mq/wfo"}, Origin::flag));
  EXPECT_EQ(config.bus_url, "amqps://wfo:s3cret@mq/wfo");
  for (const auto& text : {settings.to_yaml(), settings.to_json()}) {
    EXPECT_THAT(text, testing::Not(HasSubstr("s3cret")));
    EXPECT_THAT(text, HasSubstr("postgresql://wfo:***@db/wfo?sslpassword=***"));
    EXPECT_THAT(text, HasSubstr("host=db password=*** dbname=wfo"));
    EXPECT_THAT(text, HasSubstr("amqps://wfo:***@mq/wfo"));
  }
}

TEST(Config, RefusesAnAddressWithoutRepeatingItsPassword) {
  Config config;
  Settings settings(settings_of(config));
  const auto refusal = [&](const Result<void>& done) { return done ? "accepted" : done.error().message; };
  EXPECT_THAT(refusal(settings.set("store.url", {"mysql://wfo:s3cret@db"}, Origin::flag)),
              HasSubstr("store.url is 'mysql://wfo:***@db'; allowed: "));
  EXPECT_THAT(refusal(settings.set("bus.url", {"wfo:s3cret@mq"}, Origin::flag)), HasSubstr("bus.url is '***@mq'"));
  EXPECT_THAT(refusal(settings.set_flag("amqp://wfo:s3cret@mq")), HasSubstr("--set is 'amqp://wfo:***@mq'"));
  EXPECT_THAT(refusal(settings.set_flag("amqp://wfo:s3cret@mq?a=b")),
              HasSubstr("there is no setting 'amqp://wfo:***@mq"));
  EXPECT_THAT(refusal(settings.read_environment({{"WFO_BUS_URL", "http://wfo:s3cret@mq"}})),
              HasSubstr("WFO_BUS_URL: bus.url is 'http://wfo:***@mq'"));
}

TEST(Config, RefusesPairsThatDoNotExist) {
  Config config;
  EXPECT_TRUE(check_pair(config));
  config.bus_url = "amqp://mq";
  EXPECT_TRUE(check_pair(config)) << "SQLite with RabbitMQ";
  config.store_url = "postgresql://wfo:s3cret@db/wfo";
  EXPECT_TRUE(check_pair(config)) << "PostgreSQL with RabbitMQ";
  for (const std::string_view embedded : {"", "embedded"}) {
    config.bus_url = embedded;
    const auto refused = check_pair(config);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(refused.error().message, HasSubstr("SQLite with RabbitMQ, PostgreSQL with RabbitMQ"));
    EXPECT_THAT(refused.error().message, testing::Not(HasSubstr("s3cret")));
  }
}

TEST(Config, RefusesWhatNoSingleSettingCanSee) {
  const auto refusal = [](const auto& change) {
    Config config;
    change(config);
    const auto checked = check(config);
    if (checked) return std::string("accepted");
    EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
    return checked.error().message;
  };
  EXPECT_EQ(refusal([](Config& config) { config.store.page_bytes = 5000; }),
            "store.page_bytes is '5000'; allowed: a power of two from 512 to 65536");
  EXPECT_EQ(refusal([](Config& config) { config.ledger.page_bytes = 513; }),
            "ledger.page_bytes is '513'; allowed: a power of two from 512 to 65536");
  EXPECT_THAT(refusal([](Config& config) { config.roles.clear(); }), HasSubstr("roles is empty"));
  EXPECT_THAT(refusal([](Config& config) { config.ledger_bindings.clear(); }), HasSubstr("ledger.bindings is empty"));
  EXPECT_THAT(refusal([](Config& config) { config.data_dir.clear(); }), HasSubstr("data_dir is ''"));
  EXPECT_THAT(refusal([](Config& config) { config.retention.runs = milliseconds(1); }), HasSubstr("runs is 1ms"));
  EXPECT_THAT(refusal([](Config& config) { config.ledger_url = "postgresql://db"; }),
              HasSubstr("ledger.url names PostgreSQL, and store.url is ''"));
  EXPECT_THAT(refusal([](Config& config) {
                config.bus_url = "amqps://mq";
                config.rabbit.tls.key_file = "key.pem";
              }),
              HasSubstr("key"));
  for (int page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
    EXPECT_EQ(refusal([&](Config& config) { config.store.page_bytes = config.ledger.page_bytes = page_bytes; }),
              "accepted");
  }
}

/// A command line as it is typed, in an environment of the test's own.
class CommandLine : public testing::Test {
 protected:
  ~CommandLine() override {
    for (const auto& name : variables_) ::unsetenv(name.c_str());
  }
  void set_variable(const std::string& name, const std::string& value) {
    variables_.push_back(name);
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  std::string write_file(std::string_view yaml) {
    const auto file = directory_ / "wfo.yaml";
    std::ofstream(file) << yaml;
    return file.string();
  }
  /// The configuration that holds, or null; then `error_` says why.
  const Config* parse(std::vector<std::string> arguments) {
    app_ = std::make_unique<CLI::App>();
    command_ = std::make_unique<Command>();
    add_verbs(*app_, *command_);
    std::ranges::reverse(arguments);
    try {
      app_->parse(std::move(arguments));
    } catch (const CLI::ParseError& error) {
      error_ = error.what();
      return nullptr;
    }
    const auto config = command_->config();
    if (config) return *config;
    error_ = config.error().message;
    return nullptr;
  }

  test::TemporaryDirectory directory_;
  std::string error_;

 private:
  std::vector<std::string> variables_;
  std::unique_ptr<CLI::App> app_;
  std::unique_ptr<Command> command_;
};

TEST_F(CommandLine, PutsFlagsOverEnvironmentOverFileOverDefaults) {
  const auto file = write_file("http: {port: 1, threads: 11, idle_timeout: 1s}\n");
  set_variable("WFO_HTTP_PORT", "2");
  set_variable("WFO_HTTP_THREADS", "12");
  const auto* const config = parse({"--set", "http.port=3", "config", "check", "--config", file});
  ASSERT_TRUE(config) << error_;
  EXPECT_EQ(config->http_port, 3);
  EXPECT_EQ(config->http.threads, 12);
  EXPECT_EQ(config->http.idle_timeout, std::chrono::seconds(1));
  EXPECT_EQ(config->http.connections_max, Config().http.connections_max);
}

TEST_F(CommandLine, FindsTheFileThroughTheEnvironment) {
  set_variable("WFO_CONFIG", write_file("http: {port: 17}\n"));
  const auto* const config = parse({"config", "check"});
  ASSERT_TRUE(config) << error_;
  EXPECT_EQ(config->http_port, 17);
}

TEST_F(CommandLine, TakesCommonOptionsOnEitherSideOfTheVerb) {
  for (const auto& arguments :
       {std::vector<std::string>{"--data-dir", "x", "--tenant", "6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01", "config",
                                 "check", "--log-level", "error"},
        {"config", "check", "--data-dir", "x", "--log-level", "error", "--tenant",
         "6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01"}}) {
    const auto* const config = parse(arguments);
    ASSERT_TRUE(config) << error_;
    EXPECT_EQ(config->data_dir, "x");
    EXPECT_EQ(config->log_level, LogLevel::error);
    EXPECT_EQ(config->tenant.to_string(), "6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01");
  }
}

TEST_F(CommandLine, TakesOneSettingPerFlagAndLeavesTheVerbItsArguments) {
  const auto* const config =
      parse({"analyze", "--set", "http.port=5", "pipeline.csv", "--set", "http.threads=6", "--set", "roles=logging"});
  ASSERT_TRUE(config) << error_;
  EXPECT_EQ(config->http_port, 5);
  EXPECT_EQ(config->http.threads, 6);
  EXPECT_THAT(config->roles, testing::ElementsAre("logging"));
}

TEST_F(CommandLine, SetsWhatTheFlagsOfServeStandFor) {
  const auto* const config = parse({"serve", "--port", "8", "--roles", "logging,forecasting"});
  ASSERT_TRUE(config) << error_;
  EXPECT_EQ(config->http_port, 8);
  EXPECT_THAT(config->roles, testing::ElementsAre("logging", "forecasting"));
}

TEST_F(CommandLine, TakesStoreAndBusWithEveryVerb) {
  for (const auto& verb : {std::vector<std::string>{"serve"}, {"bench"}, {"workflows", "list"}, {"config", "check"}}) {
    auto arguments = verb;
    arguments.insert(arguments.end(), {"--store", "postgresql://db/wfo", "--bus", "amqp://mq"});
    const auto* const config = parse(arguments);
    ASSERT_TRUE(config) << error_;
    EXPECT_EQ(config->store_url, "postgresql://db/wfo");
    EXPECT_EQ(config->bus_url, "amqp://mq");
  }
}

TEST_F(CommandLine, FillsPasswordsInFromTheEnvironment) {
  const auto file = write_file("store: {url: 'postgresql://wfo:${DB_PASSWORD}@db/wfo'}\n");
  set_variable("DB_PASSWORD", "s3cret");
  const auto* const config = parse({"config", "check", "--config", file});
  ASSERT_TRUE(config) << error_;
  EXPECT_EQ(config->store_url, "postgresql://wfo:s3cret@db/wfo");
}

TEST_F(CommandLine, RefusesTheWholeIfOneValueIsWrong) {
  EXPECT_FALSE(parse({"config", "check", "--set", "store.page_bytes=5000"}));
  EXPECT_THAT(error_, HasSubstr("store.page_bytes is '5000'"));
  EXPECT_FALSE(parse({"config", "check", "--tenant", "acme"}));
  EXPECT_EQ(error_, "tenant is 'acme'; allowed: a uuid");
  set_variable("WFO_HTTP_PORT", "-1");
  EXPECT_FALSE(parse({"config", "check", "--set", "http.port=1"})) << "what is overridden must be right, too";
  EXPECT_EQ(error_, "WFO_HTTP_PORT: http.port is '-1'; allowed: 0..65535");
}

TEST(ExitCode, TellsAProgramWhatToDoNext) {
  EXPECT_EQ(exit_code({ErrorCode::invalid_argument, ""}), 2);
  EXPECT_EQ(exit_code({ErrorCode::not_found, ""}), 3);
  EXPECT_EQ(exit_code({ErrorCode::unavailable, ""}), 5);
  EXPECT_EQ(exit_code({ErrorCode::conflict, ""}), 1);
  EXPECT_EQ(exit_code({ErrorCode::corruption, ""}), 1);
  EXPECT_EQ(exit_code({ErrorCode::internal, ""}), 1);
}

}  // namespace
}  // namespace wfo::app
