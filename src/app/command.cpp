#include "app/command.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "app/secrets.h"
#include "app/terminal.h"
#include "store/sqlite/data_directory.h"

namespace wfo::app {

int exit_code(const Error& error) {
  switch (error.code) {
    case ErrorCode::invalid_argument:
      return kExitUsage;
    case ErrorCode::not_found:
      return kExitNotFound;
    case ErrorCode::unavailable:
      return kExitUnavailable;
    case ErrorCode::conflict:
    case ErrorCode::corruption:
    case ErrorCode::internal:
      return kExitFailed;
  }
  return kExitFailed;
}

Command::Command() = default;
Command::~Command() = default;

void Command::add_common_options(CLI::App& app) {
  app.add_option("--config", config_file_, "Configuration file (YAML); default: $WFO_CONFIG, else none")
      ->envname("WFO_CONFIG")
      ->type_name("FILE");
  app.add_option("--set", assignments_, "One setting of `wfo config show`: http.port=3051")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);  // else it would take the arguments of the verb, too
  app.add_option("--data-dir", data_dir_, "Where the installation keeps its files")->type_name("DIR");
  app.add_option("--store", store_url_, "PostgreSQL (postgresql://…), shared by many processes; default: SQLite")
      ->type_name("URL");
  app.add_option("--bus", bus_url_, "RabbitMQ (amqp[s]://…); default: embedded")->type_name("URL");
  app.add_option("--tenant", tenant_, "The tenant that is meant")->type_name("UUID");
  app.add_option("--log-level", log_level_, "debug, info, warn, error or off")->type_name("LEVEL");
  app.add_option("--output", output_, "table for people, json for programs")->check(CLI::IsMember({"table", "json"}));
  app.add_flag("--quiet", quiet_, "No progress bar");
}

Result<Config*> Command::config() {
  if (loaded_) return &config_;
  settings_ = std::make_unique<Settings>(settings_of(config_));
  const auto environment = process_environment();
  if (!config_file_.empty()) TRY(settings_->read_file(config_file_, environment));
  TRY(settings_->read_environment(environment));
  for (const auto& assignment : assignments_) TRY(settings_->set_flag(assignment));
  const auto take = [&](std::string_view path, const std::string& value) -> Result<void> {
    return value.empty() ? Result<void>{} : settings_->set(path, {value}, Origin::flag);
  };
  TRY(take("data_dir", data_dir_));
  TRY(take("store.url", store_url_));
  TRY(take("bus.url", bus_url_));
  TRY(take("tenant", tenant_));
  TRY(take("log_level", log_level_));
  TRY(check(config_));
  loaded_ = true;
  return &config_;
}

Result<Settings*> Command::settings() {
  TRY(config());
  return settings_.get();
}

Logger& Command::logger() {
  if (!logger_) {
    INVARIANT(loaded_);
    logger_ = std::make_unique<Logger>(config_.log_level);
  }
  return *logger_;
}

void Command::assign(std::string_view path, std::string_view value) {
  assignments_.push_back(fmt::format("{}={}", path, value));
}

Result<Gateway*> Command::gateway(bool makes_installation) {
  if (gateway_) return gateway_.get();
  TRY_ASSIGN(Config* const config, this->config());
  std::error_code ignored;  // what cannot be looked at is told when it is opened
  const auto file = config->data_dir / store::sqlite::kStoreFile;
  if (!makes_installation && store_kind(*config) == StoreKind::sqlite && !std::filesystem::exists(file, ignored) &&
      !ignored) {
    return fail(ErrorCode::not_found, "there is no installation in '{}'; `wfo analyze` and `wfo serve` make one",
                config->data_dir.string());
  }
  TRY_ASSIGN(gateway_, open_gateway(*config, logger(), gateway_options));
  return gateway_.get();
}

Result<api::Headers> Command::tenant_headers() {
  TRY_ASSIGN(const Config* const config, this->config());
  return api::Headers{{"X-Tenant-Id", config->tenant.to_string()}};
}

Result<json::Document> Command::ask(api::Method method, std::string_view target, std::string_view body) {
  TRY_ASSIGN(Gateway* const gateway, this->gateway());
  TRY_ASSIGN(const auto headers, tenant_headers());
  return gateway->document(method, target, body, headers);
}

std::size_t output_width() { return is_terminal(STDOUT_FILENO) ? terminal_width(STDOUT_FILENO) : 0; }

bool print(std::string_view text) { return std::fwrite(text.data(), 1, text.size(), stdout) == text.size(); }

void print_error(std::string_view message) {
  std::fflush(stdout);
  std::string_view prefix = "wfo: ";
  for (;;) {  // what input a message names must not reach the terminal as it is
    const auto end = message.find('\n');
    fmt::print(stderr, "{}{}\n", prefix, printable(message.substr(0, end)));
    if (end == std::string_view::npos) return;
    message.remove_prefix(end + 1);
    prefix = "";
  }
}

void add_verbs(CLI::App& app, Command& command) {
  app.description("Workflow Orchestrator: durable workflows, domain events and an audit ledger in one program");
  app.footer(
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 verification failed, 5 unavailable.\n"
      "Settings come from flags over WFO_… variables over --config over defaults; see `wfo config show`.");
  app.set_version_flag("--version", WFO_VERSION);  // CMakeLists.txt
  // CLI11 names what it was given, which may be an address in the wrong place.
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return redacted(CLI::FailureMessage::simple(failed, error));
  });
  app.require_subcommand(1);
  app.fallthrough();
  command.add_common_options(app);
  add_analyze(app, command);
  add_serve(app, command);
  add_workflows(app, command);
  add_jobs(app, command);
  add_audit(app, command);
  add_dead_letters(app, command);
  add_events(app, command);
  add_model(app, command);
  add_config(app, command);
  add_migrate(app, command);
  add_bench(app, command);
}

int run_command_line(int argc, char** argv) {
  // A reader that goes away shows as a failed write, not as a signal.
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("", "wfo");
  Command command;
  add_verbs(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 asks for a subcommand, and says nothing of the word that stands in its place.
    const auto words = app.remaining(true);
    if (std::string_view(error.what()) == "A subcommand is required" && !words.empty()) {
      print_error(fmt::format("there is no verb '{}'; see `wfo --help` or `wfo VERB --help`", redacted(words.front())));
      return kExitUsage;
    }
    return app.exit(error) == 0 ? kExitDone : kExitUsage;
  }
  INVARIANT(command.action);
  const auto result = command.action();
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!result) {
    print_error(result.error().message);
    return exit_code(result.error());
  }
  if (!written) {
    print_error("standard output cannot be written");
    return kExitUnavailable;
  }
  return *result;
}

}  // namespace wfo::app
