#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <semaphore>
#include <thread>

#include "api/http_server.h"
#include "app/command.h"
#include "app/runtime.h"
#include "delivery/waiter.h"

namespace wfo::app {
namespace {

/// SIGTERM and SIGINT as something to wait for: blocked in every thread but one of its own, so it must be made before
/// any is started.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, kEnd);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::jthread([this] { take(); });
  }
  ~StopSignals() { pthread_kill(thread_.native_handle(), kEnd); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Until now a signal has ended the process at once, as it would have without us: opening may take as long as a
  /// server does not answer, and nothing is lost by ending it.
  void hold() { held_ = true; }
  void wait() { came_.acquire(); }

 private:
  static constexpr int kEnd = SIGUSR1;

  void take() {
    for (bool told = false;;) {
      int signal = 0;
      if (sigwait(&signals_, &signal) != 0) continue;
      if (signal == kEnd) return;
      if (told || !held_) {
        pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
        raise(signal);
      }
      told = true;
      came_.release();
    }
  }

  sigset_t signals_{};
  std::atomic<bool> held_ = false;
  std::binary_semaphore came_{0};
  std::jthread thread_;
};

constexpr milliseconds kGoodbyeMax{5'000};  // beyond the grace for requests

/// Ends the process if stopping takes longer than `limit`: a server that does not answer cannot be waited for. That is
/// as safe as any death of the process.
std::jthread end_after(milliseconds limit, Logger& log) {
  return std::jthread([limit, &log](std::stop_token stop) {
    delivery::SystemWaiter waiter;
    if (!waiter.wait(limit, stop)) return;
    log.warn("stopping takes too long; ending at once: what was acknowledged is safe, the rest comes again");
    _exit(kExitUnavailable);
  });
}

Result<int> serve(Command& command) {
  StopSignals signals;
  TRY_ASSIGN(const Config* const config, command.config());
  Logger& log = command.logger();
  std::jthread impatience;  // outlasts the runtime, whose end may take its time, too
  TRY_ASSIGN(const auto runtime, Runtime::open(*config, log, {.keeps_schedules = true, .works_batch_jobs = true}));
  signals.hold();
  api::HttpConfig http = config->http;
  http.port = static_cast<std::uint16_t>(config->http_port);
  http.socket_path = socket_path(*config);
  TRY_ASSIGN(const auto server, api::HttpServer::open(http, runtime->router(), log, runtime->metrics()));
  runtime->start();
  log.info("serving {} at http://{}:{}{}", runtime->description(), http.host, server->port(),
           http.socket_path.empty() ? "" : " and " + http.socket_path.string());
  signals.wait();
  log.info("stopping; a second signal ends the process at once");
  impatience = end_after(config->shutdown_grace + kGoodbyeMax, log);
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
