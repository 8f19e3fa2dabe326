#include "support/servers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace wfo::test {
namespace {

struct Finished {
  int status;
  std::string output;  // stdout and stderr
};

std::string read_to_end(int fd) {
  std::string text;
  char part[4096];
  while (true) {
    const ssize_t size = ::read(fd, part, sizeof part);
    if (size > 0) text.append(part, static_cast<std::size_t>(size));
    if (size == 0 || (size < 0 && errno != EINTR)) return text;
  }
}

// Not popen(): the script watches its parent, which must be this process and no shell.
Finished spawn(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(fmt::format("pipe2: {}", std::strerror(errno)));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::vector<char*> arguments;
  for (const auto& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  Finished finished{.status = -1, .output = error == 0 ? read_to_end(ends[0]) : ""};
  ::close(ends[0]);
  if (error != 0) throw std::runtime_error(fmt::format("cannot run {}: {}", command[0], std::strerror(error)));
  while (::waitpid(pid, &finished.status, 0) < 0 && errno == EINTR) {
  }
  return finished;
}

}  // namespace

Server::Server(std::string_view name, std::string_view url_key, Use use, const std::vector<std::string>& how)
    : name_(name), url_key_(url_key), use_(use) {
  const char* folder = use == Use::shared ? std::getenv("WFO_TEST_SERVERS") : nullptr;
  if (!folder) own_.emplace();
  directory_ = folder ? std::filesystem::path(folder) : own_->path();
  std::vector<std::string> up{"up", "--only", name_, "--while-parent"};
  up.insert(up.end(), how.begin(), how.end());
  const std::string output = run(folder ? std::vector<std::string>{"status", "--only", name_} : up);
  for (std::string_view rest = output; !rest.empty();) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto equals = line.find('=');
    if (equals != std::string_view::npos) values_.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
}

Server::~Server() {
  if (!own_) return;
  try {
    run({"down", "--delete"});
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());  // the process that watches tries it once more
  }
}

std::string Server::run(std::vector<std::string> arguments, const std::vector<std::string>& rest) const {
  arguments.insert(arguments.begin(), WFO_SOURCE_DIR "/scripts/dev-servers.sh");
  arguments.insert(arguments.end(), {"--directory", directory_.string()});
  if (!rest.empty()) arguments.push_back("--");
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  auto finished = spawn(arguments);
  if (finished.status != 0) {
    throw std::runtime_error(
        fmt::format("{}: status {}: {}", fmt::join(arguments, " "), finished.status, finished.output));
  }
  return std::move(finished.output);
}

void Server::control(std::vector<std::string> arguments) const {
  if (use_ == Use::shared) throw std::logic_error(fmt::format("{} {} while others use it", arguments[0], name_));
  arguments.insert(arguments.begin() + 1, name_);
  run(std::move(arguments));
}

std::string Server::value(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) throw std::logic_error(fmt::format("dev-servers.sh prints no {} for {}", key, name_));
  return found->second;
}

std::uint16_t Server::port() const {
  const auto text = value(name_ == "postgres" ? "DEV_POSTGRES_PORT" : "DEV_RABBITMQ_PORT");
  std::uint16_t port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  return port;
}

bool Server::is_running() const {
  const auto finished =
      spawn({WFO_SOURCE_DIR "/scripts/dev-servers.sh", "status", "--only", name_, "--directory", directory_.string()});
  return finished.status == 0;
}

void Server::start() { control({"start"}); }
void Server::kill() { control({"kill"}); }
void Server::pause() { control({"pause"}); }
void Server::resume() { control({"resume"}); }

PostgresServer& PostgresServer::shared() {
  static PostgresServer server{Use::shared};
  return server;
}

void PostgresServer::stop(StopMode mode) {
  const char* name = mode == StopMode::smart ? "smart" : mode == StopMode::fast ? "fast" : "immediate";
  control({"stop", "--mode", name});
}

std::string PostgresServer::psql(std::string_view sql) const {
  return run({"psql"},
             {"--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--command", std::string(sql)});
}

RabbitServer& RabbitServer::shared() {
  static RabbitServer server{Use::shared};
  return server;
}

void RabbitServer::stop() { control({"stop"}); }

std::string RabbitServer::rabbitmqctl(const std::vector<std::string>& arguments) const {
  std::vector<std::string> all{"--quiet", "--no-table-headers"};
  if (!arguments.empty() && !arguments[0].starts_with("list_")) all.pop_back();
  all.insert(all.begin(), arguments.begin(), arguments.end());
  return run({"rabbitmqctl"}, all);
}

void RabbitServer::block_publishers(bool block) {
  rabbitmqctl({"set_vm_memory_high_watermark", block ? "0.000001" : "0.4"});
}

}  // namespace wfo::test
