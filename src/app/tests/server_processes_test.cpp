#include "app/server_processes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <ctime>

#include "base/result.h"

namespace wfo::app {
namespace {

TEST(Endpoint, IsReadFromEveryKindOfAddress) {
  struct Row {
    std::string_view address;
    std::optional<Endpoint> endpoint;
  };
  for (const auto& [address, endpoint] : {
           Row{"amqp://wfo:pw@127.0.0.1:5673/%2F", Endpoint{"127.0.0.1", 5673}},
           Row{"amqp://localhost", Endpoint{"localhost", 5672}},
           Row{"amqps://mq/wfo", Endpoint{"mq", 5671}},
           Row{"postgresql://wfo@db/wfo?sslmode=require", Endpoint{"db", 5432}},
           Row{"postgres://db:5433", Endpoint{"db", 5433}},
           Row{"host=127.0.0.1 port=5434 dbname=wfo", Endpoint{"127.0.0.1", 5434}},
           Row{"host=db dbname=wfo", Endpoint{"db", 5432}},
           Row{"dbname=wfo", std::nullopt},
           Row{"host=db port=no", std::nullopt},
           Row{"postgresql:///wfo", std::nullopt},
           Row{"postgresql://one:1,two:2/wfo", std::nullopt},
           Row{"", std::nullopt},
       }) {
    EXPECT_EQ(endpoint_of(address), endpoint) << address;
  }
}

/// A socket of this process that listens on a free port of loopback.
class Listener {
 public:
  Listener() : descriptor_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    INVARIANT(bind(descriptor_, generic, size) == 0 && listen(descriptor_, 1) == 0);
    INVARIANT(getsockname(descriptor_, generic, &size) == 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { close(descriptor_); }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  int descriptor_;
  std::uint16_t port_;
};

/// Uses the processor for a while.
void burn(std::chrono::milliseconds length) {
  const auto until = std::clock() + length.count() * CLOCKS_PER_SEC / 1'000;
  while (std::clock() < until) {
  }
}

TEST(ServerProcesses, AreFoundByThePortAtWhichTheyListen) {
  const Listener listener;
  for (const std::string_view host : {"127.0.0.1", "localhost"}) {
    const auto server = ServerProcesses::find({std::string(host), listener.port()});
    ASSERT_TRUE(server);
    EXPECT_EQ(server->root(), getpid());
  }
  EXPECT_FALSE(ServerProcesses::find({"10.0.0.1", listener.port()})) << "another machine";
  std::uint16_t free_port = 0;
  {
    const Listener gone;
    free_port = gone.port();
  }
  EXPECT_FALSE(ServerProcesses::find({"127.0.0.1", free_port}));
}

TEST(ServerProcesses, CountWhatTheirChildrenUsedWhetherTheyLiveOrHaveEnded) {
  const double before = cpu_s_of_tree(getpid()).value_or(-1);
  ASSERT_GE(before, 0);
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  int burnt[2];
  ASSERT_EQ(pipe(burnt), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(hold[1]);
    burn(std::chrono::milliseconds(200));
    char byte = 'x';
    _exit(write(burnt[1], &byte, 1) == 1 && read(hold[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(burnt[0], &byte, 1), 1);
  const double alive = cpu_s_of_tree(getpid()).value_or(-1);
  EXPECT_GE(alive - before, 0.15);
  EXPECT_GE(cpu_s_of_tree(child).value_or(-1), 0.15);
  close(hold[0]);
  close(hold[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_GE(cpu_s_of_tree(getpid()).value_or(-1), alive);
  EXPECT_FALSE(cpu_s_of_tree(child)) << "it has ended";
  close(burnt[0]);
  close(burnt[1]);
}

}  // namespace
}  // namespace wfo::app
