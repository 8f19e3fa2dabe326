#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/temporary_directory.h"

namespace wfo::test {

/// A real server from Debian's package on 127.0.0.1, run by scripts/dev-servers.sh. Its own are gone with the object,
/// data and all, and also when the process dies in any way: a process beside it watches. Failures throw
/// std::runtime_error with what the script said. Not for several threads at once.
class Server {
 public:
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Where clients connect, with user and password: may do all in its own database, or virtual host.
  [[nodiscard]] std::string url() const { return value(url_key_); }
  [[nodiscard]] std::uint16_t port() const;
  /// What `scripts/dev-servers.sh up` prints for this key, e.g. `DEV_TLS_CA`.
  [[nodiscard]] std::string value(std::string_view key) const;
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] bool is_running() const;  // and not paused

  /// Again after stop() or kill(): same port, same data. Returns when it answers.
  void start();
  /// kill -9 of all its processes; they are gone on return.
  void kill();
  /// SIGSTOP: connections stay open, and the kernel still accepts new ones; nothing is answered.
  void pause();
  void resume();

 protected:
  enum class Use {
    alone,
    shared  // is not to be stopped, killed or paused; is that of the run of ctest, if there is one
  };
  /// `how`: more arguments of `up`, if it is alone.
  Server(std::string_view name, std::string_view url_key, Use use, const std::vector<std::string>& how = {});
  ~Server();

  /// Runs dev-servers.sh with this server's folder; `rest` follows `--`. Returns what it printed.
  std::string run(std::vector<std::string> arguments, const std::vector<std::string>& rest = {}) const;
  void control(std::vector<std::string> arguments) const;  // run(), refused if it is shared

 private:
  std::string name_;
  std::string url_key_;
  Use use_;
  std::optional<TemporaryDirectory> own_;
  std::filesystem::path directory_;
  std::map<std::string, std::string, std::less<>> values_;
};

enum class StopMode {
  smart,     // waits until all clients have left
  fast,      // ends their sessions, rolling back
  immediate  // like a crash; recovers at the next start
};

/// PostgreSQL 15 with fsync, TLS and 200 connections. The database `wfo` belongs to the role of url(), and
/// `wfo_ledger` to that of ledger_url().
class PostgresServer : public Server {
 public:
  /// One of its own, for tests that stop or kill it; up in about two seconds.
  PostgresServer() : PostgresServer(Use::alone) {}
  /// The one of this run of ctest (environment variable WFO_TEST_SERVERS), else one for this process. Other tests use
  /// it at the same time: make a schema of your own.
  [[nodiscard]] static PostgresServer& shared();

  /// Another one that follows `primary`, which runs, and takes no writes until somebody calls `pg_promote()` in it.
  [[nodiscard]] static PostgresServer standby_of(const PostgresServer& primary) {
    return PostgresServer(Use::alone, {"--standby-of", primary.directory().string()});
  }

  [[nodiscard]] std::string superuser_url() const { return value("DEV_POSTGRES_SUPERUSER_URL"); }
  [[nodiscard]] std::string ledger_url() const { return value("DEV_POSTGRES_LEDGER_URL"); }
  /// A role that may log in, and nothing else.
  [[nodiscard]] std::string nobody_url() const { return value("DEV_POSTGRES_NOBODY_URL"); }

  void stop(StopMode mode = StopMode::fast);
  /// What psql prints for these statements, as superuser in `wfo`: a line a row, `|` between columns.
  std::string psql(std::string_view sql) const;

 private:
  explicit PostgresServer(Use use, const std::vector<std::string>& how = {})
      : Server("postgres", "WFO_STORE_URL", use, how) {}
};

/// RabbitMQ 3.10 with the virtual host `/`.
class RabbitServer : public Server {
 public:
  /// One of its own, for tests that stop, kill or block it; up in about five seconds.
  RabbitServer() : RabbitServer(Use::alone) {}
  /// As PostgresServer::shared(): make exchanges and queues with names of your own.
  [[nodiscard]] static RabbitServer& shared();

  [[nodiscard]] std::string tls_url() const { return value("DEV_RABBITMQ_TLS_URL"); }
  /// May read, but neither write nor declare.
  [[nodiscard]] std::string reader_url() const { return value("DEV_RABBITMQ_READER_URL"); }
  /// May not even use the virtual host.
  [[nodiscard]] std::string nobody_url() const { return value("DEV_RABBITMQ_NOBODY_URL"); }

  void stop();
  /// What `rabbitmqctl` prints, tables without headings; takes about half a second.
  std::string rabbitmqctl(const std::vector<std::string>& arguments) const;
  /// Raises the memory alarm, so that publishers get connection.blocked and are no longer read; or clears it.
  void block_publishers(bool block);

 private:
  explicit RabbitServer(Use use) : Server("rabbitmq", "WFO_BUS_URL", use) {}
};

}  // namespace wfo::test
