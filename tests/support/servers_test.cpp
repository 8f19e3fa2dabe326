#include "support/servers.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>

#include "support/eventually.h"

namespace wfo::test {
namespace {

using testing::HasSubstr;

// Processes whose command line or environment names the folder, and folders below it that processes stand in.
std::vector<std::string> processes_of(const std::filesystem::path& directory) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::error_code ignored;
    std::string text = std::filesystem::read_symlink(entry.path() / "cwd", ignored).string();
    for (const char* file : {"cmdline", "environ"}) {
      std::ifstream stream(entry.path() / file);
      text.append(std::istreambuf_iterator<char>(stream), {});
    }
    if (text.find(directory.string()) != std::string::npos) found.push_back(entry.path().filename());
  }
  return found;
}

struct PgClose {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Postgres = std::unique_ptr<PGconn, PgClose>;

Postgres connect(const std::string& url) { return Postgres{PQconnectdb(url.c_str())}; }

// The first value of the result, "ok" if it has none, else the error.
std::string ask(const std::string& url, const char* sql) {
  const Postgres connection = connect(url);
  if (PQstatus(connection.get()) != CONNECTION_OK) return PQerrorMessage(connection.get());
  const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQexec(connection.get(), sql), PQclear};
  if (PQresultStatus(result.get()) == PGRES_COMMAND_OK) return "ok";
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) return PQerrorMessage(connection.get());
  return PQgetvalue(result.get(), 0, 0);
}

// A channel with confirms on a connection of its own; any failure ends the test.
class Amqp {
 public:
  explicit Amqp(const std::string& url) : state_(amqp_new_connection()) {
    std::string parsed = url;
    amqp_connection_info info{};
    if (amqp_parse_url(parsed.data(), &info) != AMQP_STATUS_OK) throw std::runtime_error("bad url " + url);
    if (amqp_socket_open(amqp_tcp_socket_new(state_), info.host, info.port) != AMQP_STATUS_OK) {
      throw std::runtime_error("cannot connect to " + url);
    }
    amqp_table_entry_t blocked{amqp_cstring_bytes("connection.blocked"), {AMQP_FIELD_KIND_BOOLEAN, {.boolean = 1}}};
    amqp_table_entry_t capabilities{amqp_cstring_bytes("capabilities"), {}};
    capabilities.value.kind = AMQP_FIELD_KIND_TABLE;
    capabilities.value.value.table = {1, &blocked};
    const amqp_table_t properties{1, &capabilities};
    check(amqp_login_with_properties(state_, info.vhost, 0, AMQP_DEFAULT_FRAME_SIZE, 0, &properties,
                                     AMQP_SASL_METHOD_PLAIN, info.user, info.password));
    amqp_channel_open(state_, 1);
    check(amqp_get_rpc_reply(state_));
    amqp_confirm_select(state_, 1);
    check(amqp_get_rpc_reply(state_));
  }
  ~Amqp() { amqp_destroy_connection(state_); }
  Amqp(const Amqp&) = delete;
  Amqp& operator=(const Amqp&) = delete;

  void declare(const char* queue) {
    amqp_queue_declare(state_, 1, amqp_cstring_bytes(queue), 0, 1, 0, 0, amqp_empty_table);
    check(amqp_get_rpc_reply(state_));
  }
  void publish(const char* queue, const char* body) {
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    properties.delivery_mode = 2;
    amqp_basic_publish(state_, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 0, 0, &properties,
                       amqp_cstring_bytes(body));
  }
  // The next method that comes.
  amqp_method_number_t next_method() {
    amqp_frame_t frame{};
    timeval patience{kPatience.count(), 0};
    do {
      if (amqp_simple_wait_frame_noblock(state_, &frame, &patience) != AMQP_STATUS_OK) return 0;
    } while (frame.frame_type != AMQP_FRAME_METHOD);
    return frame.payload.method.id;
  }

 private:
  static void check(const amqp_rpc_reply_t& reply) {
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
    throw std::runtime_error(fmt::format("rabbitmq-c: reply {}, library error {}", static_cast<int>(reply.reply_type),
                                         amqp_error_string2(reply.library_error)));
  }
  amqp_connection_state_t state_;
};

TEST(PostgresServerTest, KeepsWhatWasCommittedWhenItIsKilledOrStoppedAndStartsAgainOnItsPort) {
  PostgresServer server;
  EXPECT_EQ(ask(server.url(), "CREATE TABLE kept AS SELECT 1"), "ok");
  server.kill();
  EXPECT_FALSE(server.is_running());
  EXPECT_THAT(ask(server.url(), "SELECT 1"), HasSubstr("refused"));
  server.start();
  EXPECT_EQ(ask(server.url(), "INSERT INTO kept VALUES (2)"), "ok");
  for (const auto mode : {StopMode::smart, StopMode::fast, StopMode::immediate}) {
    server.stop(mode);
    EXPECT_FALSE(server.is_running());
    server.start();
    EXPECT_EQ(ask(server.url(), "SELECT count(*) FROM kept"), "2");
  }
}

TEST(PostgresServerTest, ASessionThatIsPausedGoesOnWhenItIsResumed) {
  PostgresServer server;
  const Postgres connection = connect(server.url());
  server.pause();
  EXPECT_FALSE(server.is_running());
  ASSERT_EQ(PQsendQuery(connection.get(), "SELECT 7"), 1);
  server.resume();
  const std::unique_ptr<PGresult, decltype(&PQclear)> result{PQgetResult(connection.get()), PQclear};
  EXPECT_STREQ(PQgetvalue(result.get(), 0, 0), "7");
}

TEST(PostgresServerTest, IsReachedOverTlsByWhoTrustsItsAuthorityOnly) {
  const auto& server = PostgresServer::shared();
  const auto with = [&](const char* key) {
    return server.url() + "?sslmode=verify-full&sslrootcert=" + server.value(key);
  };
  EXPECT_EQ(ask(with("DEV_TLS_CA"), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t");
  EXPECT_THAT(ask(with("DEV_TLS_OTHER_CA"), "SELECT 1"), HasSubstr("certificate verify failed"));
}

TEST(PostgresServerTest, LetsEachRoleDoWhatItsUrlPromises) {
  const auto& server = PostgresServer::shared();
  EXPECT_EQ(ask(server.url(), "CREATE SCHEMA of_a_test"), "ok");
  EXPECT_EQ(ask(server.url(), "DROP SCHEMA of_a_test"), "ok");
  EXPECT_EQ(ask(server.ledger_url(), "SELECT current_database()"), "wfo_ledger");
  EXPECT_THAT(ask(server.nobody_url(), "CREATE SCHEMA of_a_test"), HasSubstr("permission denied"));
  EXPECT_EQ(ask(server.superuser_url(), "SHOW fsync"), "on");
  EXPECT_EQ(server.psql("SELECT 1, 'two'"), "1|two\n");
}

TEST(RabbitServerTest, KeepsConfirmedMessagesWhenItIsKilledAndStartsAgainOnItsPort) {
  RabbitServer server;
  {
    Amqp client{server.url()};
    client.declare("kept");
    client.publish("kept", "hello");
    ASSERT_EQ(client.next_method(), AMQP_BASIC_ACK_METHOD);
  }
  server.kill();
  EXPECT_FALSE(server.is_running());
  EXPECT_THROW(Amqp{server.url()}, std::runtime_error);
  server.start();
  EXPECT_EQ(server.rabbitmqctl({"list_queues", "name", "messages"}), "kept\t1\n");
  server.stop();
  EXPECT_FALSE(server.is_running());
  server.start();
  Amqp client{server.url()};
  EXPECT_EQ(server.rabbitmqctl({"list_queues", "name", "messages"}), "kept\t1\n");
}

TEST(RabbitServerTest, BlocksPublishersAndLetsThemGoOn) {
  RabbitServer server;
  Amqp client{server.url()};
  client.declare("work");
  server.block_publishers(true);
  client.publish("work", "hello");
  EXPECT_EQ(client.next_method(), AMQP_CONNECTION_BLOCKED_METHOD);
  server.block_publishers(false);
  EXPECT_EQ(client.next_method(), AMQP_CONNECTION_UNBLOCKED_METHOD);
  EXPECT_EQ(client.next_method(), AMQP_BASIC_ACK_METHOD);
}

TEST(RabbitServerTest, LetsEachUserDoWhatItsUrlPromises) {
  const auto& server = RabbitServer::shared();
  EXPECT_THROW(Amqp{server.nobody_url()}, std::runtime_error);
  Amqp reader{server.reader_url()};
  EXPECT_THROW(reader.declare("mine"), std::runtime_error);
}

TEST(ServersTest, ThoseThatAreSharedAreNotForKilling) {
  EXPECT_THROW(PostgresServer::shared().kill(), std::logic_error);
  EXPECT_THROW(RabbitServer::shared().stop(), std::logic_error);
  EXPECT_TRUE(PostgresServer::shared().is_running());
  EXPECT_TRUE(RabbitServer::shared().is_running());
}

TEST(ServersTest, LeaveNoProcessAndNoFolderAtTheEnd) {
  std::filesystem::path postgres_folder;
  std::filesystem::path rabbit_folder;
  {
    const PostgresServer postgres;
    const RabbitServer rabbit;
    postgres_folder = postgres.directory();
    rabbit_folder = rabbit.directory();
    EXPECT_FALSE(processes_of(postgres_folder).empty());
    EXPECT_FALSE(processes_of(rabbit_folder).empty());
  }
  for (const auto& folder : {postgres_folder, rabbit_folder}) {
    EXPECT_THAT(processes_of(folder), testing::IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(folder));
  }
}

TEST(ServersTest, EndWithAProcessThatDiesWithoutStoppingThem) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const PostgresServer postgres;
    const std::string folder = postgres.directory().string();
    const auto written = ::write(ends[1], folder.data(), folder.size());
    ::kill(::getpid(), written > 0 ? SIGKILL : SIGTERM);
  }
  ::close(ends[1]);
  char text[256];
  const auto size = ::read(ends[0], text, sizeof text);
  ::close(ends[0]);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_GT(size, 0);
  const std::filesystem::path folder{std::string(text, static_cast<std::size_t>(size))};
  EXPECT_TRUE(eventually([&] { return !std::filesystem::exists(folder); }));
  EXPECT_TRUE(eventually([&] { return processes_of(folder).empty(); }));
}

}  // namespace
}  // namespace wfo::test
