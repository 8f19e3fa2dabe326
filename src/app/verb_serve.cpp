#include <sys/signalfd.h>
#include <unistd.h>
#include <csignal>

#include <cstdio>

#include "api/http_server.h"
#include "app/command.h"
#include "app/runtime.h"

namespace wfo::app {
namespace {

/// SIGTERM and SIGINT as something to wait for: blocked in every thread, so this must come before any is started.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  void wait() const {
    int signal = 0;
    while (sigwait(&signals_, &signal) != 0) {
    }
  }
  /// From now on the next one ends the process at once, as it would have without us.
  void end_on_next() const { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }

 private:
  sigset_t signals_{};
};

Result<int> serve(Command& command) {
  const StopSignals signals;
  TRY_ASSIGN(const Config* const config, command.config());
  Logger& log = command.logger();
  TRY_ASSIGN(const auto runtime, Runtime::open(*config, log, {}));
  api::HttpConfig http = config->http;
  http.port = static_cast<std::uint16_t>(config->http_port);
  http.socket_path = socket_path(*config);
  TRY_ASSIGN(const auto server, api::HttpServer::open(http, runtime->router(), log, runtime->metrics()));
  runtime->start();
  log.info("serving {} at http://{}:{} and {}", config->data_dir.string(), http.host, server->port(),
           http.socket_path.string());
  signals.wait();
  log.info("stopping; a second signal ends the process at once");
  signals.end_on_next();
  runtime->stop_waiting();
  server->stop(config->shutdown_grace);
  runtime->stop();
  log.info("stopped");
  return kExitDone;
}

}  // namespace

void add_serve(CLI::App& app, Command& command) {
  CLI::App* const verb = app.add_subcommand("serve", "Run the installation: roles, timers, HTTP on loopback");
  const auto set = [&command](std::string path) {
    return [&command, path = std::move(path)](const std::string& value) { command.assign(path, value); };
  };
  verb->add_option_function<std::string>("--port", set("http.port"), "TCP port on 127.0.0.1; 0: any that is free")
      ->type_name("PORT");
  verb->add_option_function<std::string>("--roles", set("roles"), "Only these, separated by commas")
      ->type_name("ROLES");
  verb->callback([&command] { command.action = [&command] { return serve(command); }; });
}

}  // namespace wfo::app
