#include "app/server_processes.h"

#include <unistd.h>

#include <algorithm>
#include <boost/url.hpp>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

namespace wfo::app {
namespace {

constexpr std::uint16_t kPostgresPort = 5432;
constexpr std::uint16_t kAmqpPort = 5672;
constexpr std::uint16_t kAmqpsPort = 5671;
constexpr std::string_view kListening = "0A";  // st in /proc/net/tcp

/// Of one process, as /proc/PID/stat has it.
struct Stat {
  pid_t parent = 0;
  double ticks = 0;  // own and of children that were waited for
};

std::optional<Stat> read_stat(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string state;
  Stat stat;
  fields >> state >> stat.parent;
  std::string skipped;
  for (int i = 0; i < 9; ++i) fields >> skipped;  // up to cmajflt
  for (int i = 0; i < 4; ++i) {                   // utime stime cutime cstime
    double ticks = 0;
    fields >> ticks;
    stat.ticks += ticks;
  }
  if (!fields) return std::nullopt;
  return stat;
}

std::optional<pid_t> process_id(const std::filesystem::path& folder) {
  const auto name = folder.filename().string();
  pid_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return id;
}

/// Calls `visit(id, folder)` for each process that there is; those that end meanwhile may be missing.
template <class Visit>
void for_each_process(const std::filesystem::path& proc, Visit visit) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(proc, error), end; !error && entry != end; entry.increment(error)) {
    if (const auto id = process_id(entry->path())) visit(*id, entry->path());
  }
}

/// The sockets that listen at a port, as the names of their descriptors: `socket:[4711]`.
std::set<std::string> listening_sockets(const std::filesystem::path& proc, std::uint16_t port) {
  std::set<std::string> sockets;
  for (const std::string_view table : {"tcp", "tcp6"}) {
    std::ifstream file(proc / "net" / table);
    std::string line;
    std::getline(file, line);  // the headers
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string number, local, remote, state, queues, timer, retransmits, user, timeout, inode;
      fields >> number >> local >> remote >> state >> queues >> timer >> retransmits >> user >> timeout >> inode;
      const auto colon = local.rfind(':');
      if (!fields || state != kListening || colon == std::string::npos) continue;
      if (std::stoul(local.substr(colon + 1), nullptr, 16) == port) sockets.insert("socket:[" + inode + "]");
    }
  }
  return sockets;
}

bool holds_any(const std::filesystem::path& process, const std::set<std::string>& sockets) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(process / "fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (sockets.contains(std::filesystem::read_symlink(entry->path(), ignored).string())) return true;
  }
  return false;
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "::1" || host == "[::1]" || host.starts_with("127.");
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

/// Host and port of `key=value` pairs without quotes around either.
std::optional<Endpoint> endpoint_of_pairs(std::string_view text) {
  Endpoint endpoint{.host = "", .port = kPostgresPort};
  std::istringstream pairs{std::string(text)};
  for (std::string pair; pairs >> pair;) {
    if (pair.starts_with("host=")) endpoint.host = pair.substr(5);
    if (pair.starts_with("hostaddr=")) endpoint.host = pair.substr(9);
    if (pair.starts_with("port=")) {
      const auto port = parse_port(std::string_view(pair).substr(5));
      if (!port) return std::nullopt;
      endpoint.port = *port;
    }
  }
  if (endpoint.host.empty()) return std::nullopt;
  return endpoint;
}

}  // namespace

std::optional<Endpoint> endpoint_of(std::string_view address) {
  if (address.find("://") == std::string_view::npos) return endpoint_of_pairs(address);
  const auto authority = address.substr(address.find("://") + 3);
  if (authority.substr(0, authority.find_first_of("/?#")).find(',') != std::string_view::npos) return std::nullopt;
  const auto url = boost::urls::parse_uri(address);
  if (!url || url->host().empty()) return std::nullopt;
  Endpoint endpoint{.host = url->host(), .port = kPostgresPort};
  if (url->scheme() == "amqp") endpoint.port = kAmqpPort;
  if (url->scheme() == "amqps") endpoint.port = kAmqpsPort;
  if (url->has_port() && !url->port().empty()) {
    if (url->port_number() == 0) return std::nullopt;
    endpoint.port = url->port_number();
  }
  return endpoint;
}

std::optional<ServerProcesses> ServerProcesses::find(const Endpoint& endpoint, const std::filesystem::path& proc) {
  if (!is_loopback(endpoint.host)) return std::nullopt;
  const auto sockets = listening_sockets(proc, endpoint.port);
  if (sockets.empty()) return std::nullopt;
  std::map<pid_t, pid_t> holders;  // with their parents
  for_each_process(proc, [&](pid_t id, const std::filesystem::path& folder) {
    if (!holds_any(folder, sockets)) return;
    if (const auto stat = read_stat(folder)) holders[id] = stat->parent;
  });
  // A child may have the socket from its parent: the one above all is meant.
  for (const auto& [id, parent] : holders) {
    if (!holders.contains(parent)) return ServerProcesses(proc, id);
  }
  return std::nullopt;
}

std::optional<double> cpu_s_of_tree(pid_t root, const std::filesystem::path& proc) {
  std::map<pid_t, Stat> stats;
  for_each_process(proc, [&](pid_t id, const std::filesystem::path& folder) {
    if (const auto stat = read_stat(folder)) stats[id] = *stat;
  });
  if (!stats.contains(root)) return std::nullopt;
  double ticks = 0;
  for (const auto& [id, stat] : stats) {
    pid_t above = id;
    for (std::size_t depth = 0; above != root && stats.contains(above) && depth < stats.size(); ++depth) {
      above = stats[above].parent;
    }
    if (above == root) ticks += stat.ticks;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace wfo::app
