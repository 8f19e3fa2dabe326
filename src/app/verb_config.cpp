#include "app/command.h"
#include "app/runtime.h"

namespace wfo::app {

void add_config(CLI::App& app, Command& command) {
  CLI::App* const config = app.add_subcommand("config", "Look at the configuration");
  config->require_subcommand(1);

  CLI::App* const show =
      config->add_subcommand("show", "Every setting: what holds, where it comes from, what is allowed");
  show->callback([&command] {
    command.action = [&command]() -> Result<int> {
      TRY_ASSIGN(const Settings* const settings, command.settings());
      print(command.json() ? settings->to_json() + "\n" : settings->to_yaml());
      return kExitDone;
    };
  });

  CLI::App* const check = config->add_subcommand(
      "check", "Say whether the configuration and the files that it names are good, and what is not");
  check->callback([&command] {
    command.action = [&command]() -> Result<int> {
      TRY_ASSIGN(const Config* const checked, command.config());
      TRY(check_configuration(*checked));
      print(command.json() ? "{\"valid\":true}\n" : "the configuration is good\n");
      return kExitDone;
    };
  });
}

}  // namespace wfo::app
