#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/gateway.h"
#include "base/log.h"
#include "base/result.h"

namespace wfo::app {

// Exit codes, the same for every verb.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitVerificationFailed = 4;
inline constexpr int kExitUnavailable = 5;
[[nodiscard]] int exit_code(const Error& error);

/// What every verb is given: the common options, and how to reach the installation. A verb's function declares its
/// arguments and sets `action`, which the program then runs.
class Command {
 public:
  Command();
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  /// Declares the options that every verb takes.
  void add_common_options(CLI::App& app);

  /// The configuration: flags over environment over file over defaults; read once.
  [[nodiscard]] Result<Config*> config();
  [[nodiscard]] Result<Settings*> settings();
  [[nodiscard]] Logger& logger();

  /// The running server's socket, or an installation opened in this process, whose roles run until this command ends.
  /// A data directory without one is `not_found`, unless the verb makes it.
  /// Errors: `unavailable` the data directory cannot be used.
  [[nodiscard]] Result<Gateway*> gateway(bool makes_installation = false);
  /// X-Tenant-Id of the tenant that is meant.
  [[nodiscard]] Result<api::Headers> tenant_headers();
  /// Asks the gateway on behalf of the tenant. Errors: what the answer says if it is one.
  [[nodiscard]] Result<json::Document> ask(api::Method method, std::string_view target, std::string_view body = {});

  /// Sets a setting as --set does: for the flags of single verbs.
  void assign(std::string_view path, std::string_view value);

  [[nodiscard]] bool json() const { return output_ == "json"; }
  [[nodiscard]] bool quiet() const { return quiet_; }

  std::function<Result<int>()> action;
  /// What the verb wants of the gateway; before it asks for it.
  GatewayOptions gateway_options;

 private:
  std::string config_file_;
  std::vector<std::string> assignments_;
  std::string data_dir_;
  std::string store_url_;
  std::string bus_url_;
  std::string tenant_;
  std::string log_level_;
  std::string output_ = "table";
  bool quiet_ = false;
  bool loaded_ = false;
  Config config_;
  std::unique_ptr<Settings> settings_;
  std::unique_ptr<Logger> logger_;
  std::unique_ptr<Gateway> gateway_;
};

// One per file verb_*.cpp.
void add_analyze(CLI::App& app, Command& command);
void add_serve(CLI::App& app, Command& command);
void add_workflows(CLI::App& app, Command& command);
void add_jobs(CLI::App& app, Command& command);
void add_audit(CLI::App& app, Command& command);
void add_dead_letters(CLI::App& app, Command& command);
void add_events(CLI::App& app, Command& command);
void add_model(CLI::App& app, Command& command);
void add_config(CLI::App& app, Command& command);
void add_migrate(CLI::App& app, Command& command);
void add_bench(CLI::App& app, Command& command);

/// Declares the whole command line.
void add_verbs(CLI::App& app, Command& command);
/// Runs the program; returns its exit code.
[[nodiscard]] int run_command_line(int argc, char** argv);

// Output. Data goes to stdout, everything else to stderr.

/// How wide a table may be: the terminal's width, 0 (as it comes) where stdout is none.
[[nodiscard]] std::size_t output_width();
/// Writes to stdout; false if nobody reads it any more.
bool print(std::string_view text);
/// `wfo: message` on stderr; a message may have several lines.
void print_error(std::string_view message);

}  // namespace wfo::app
