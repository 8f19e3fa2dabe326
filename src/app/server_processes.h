#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wfo::app {

/// Where an address says that a server listens.
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// Of `amqp[s]://…`, `postgresql://…` or a connection string (`host=… port=…`), with the default port of its kind;
/// nothing where it names none, or several.
[[nodiscard]] std::optional<Endpoint> endpoint_of(std::string_view address);

/// Seconds of processor time up to now: of a process and of all below it, those that have ended included. Nothing: it
/// has ended.
[[nodiscard]] std::optional<double> cpu_s_of_tree(pid_t root, const std::filesystem::path& proc = "/proc");

/// The processes of a server on this machine, to see what it uses of the processors.
class ServerProcesses {
 public:
  /// Those of who listens at the endpoint's port, if its host is loopback. Nothing: nobody does, or it is not for us
  /// to see. `proc` is where the system tells of its processes.
  [[nodiscard]] static std::optional<ServerProcesses> find(const Endpoint& endpoint,
                                                           const std::filesystem::path& proc = "/proc");
  /// As `cpu_s_of_tree` of the process that listens.
  [[nodiscard]] std::optional<double> cpu_s() const { return cpu_s_of_tree(root_, proc_); }
  [[nodiscard]] pid_t root() const { return root_; }

 private:
  ServerProcesses(std::filesystem::path proc, pid_t root) : proc_(std::move(proc)), root_(root) {}
  std::filesystem::path proc_;
  pid_t root_;
};

}  // namespace wfo::app
