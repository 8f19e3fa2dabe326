#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "api/http_client.h"
#include "api/http_server.h"
#include "api/tests/http_wire.h"

namespace wfo::api {
namespace {

// Long for a machine, even a busy one, between two calls; short for who waits for a test.
constexpr milliseconds kShort{200};

/// Handlers that the test holds back and lets go.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_for_arrivals(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return arrived_ >= count; }));
  }
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;  // guards all
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

class HttpTest : public testing::Test {
 protected:
  HttpTest() {
    router.add(Method::get, "/hello/{name}", [](const Request& request) {
      return json_response(200, fmt::format("\"{}\"", request.path_parameter("name")));
    });
    router.add(Method::post, "/echo",
               [](const Request& request) {
                 return Response{.status = 201, .content_type = "text/plain", .body = request.body};
               },
               {.content_type = ""});
    router.add(Method::get, "/wait", [this](const Request&) {
      gate.pass();
      return json_response(200, "\"waited\"");
    });
    router.add(Method::get, "/big", [](const Request&) { return json_response(200, std::string(64'000'000, 'x')); });
    router.add(Method::get, "/empty", [](const Request&) { return Response{.status = 204}; });
    router.add(Method::get, "/split", [](const Request&) {
      return Response{.headers = {{"Location", "/a\r\nX-Injected: yes\r\n\r\nbody"}}};
    });
    router.add(Method::get, "/local", [](const Request&) { return json_response(200, "\"local\""); },
               {.local_only = true});
    config.port = 0;
  }
  ~HttpTest() override { gate.open(); }  // before the server, which waits for handlers

  void start() {
    auto opened = HttpServer::open(config, router, Logger::silent(), metrics);
    ASSERT_TRUE(opened) << opened.error().message;
    server = std::move(*opened);
  }
  Wire connect() { return Wire(server->port()); }
  /// The status of the only answer to `bytes`, after which the server closes.
  int last_status(std::string_view bytes) {
    Wire wire = connect();
    wire.send(bytes);
    const auto answer = wire.read();
    if (!answer) return 0;
    EXPECT_TRUE(answer->has("Connection: close")) << answer->head;
    wire.send_no_more();
    EXPECT_TRUE(wire.is_closed());
    return answer->status;
  }
  LocalClient client() { return LocalClient({.socket_path = config.socket_path}); }
  /// Waits for a line of the metrics, which the server writes when it has noticed.
  bool metrics_will_say(std::string_view line) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < deadline) {
      if (metrics.text().find(line) != std::string::npos) return true;
      std::this_thread::yield();
    }
    ADD_FAILURE() << "not in:\n" << metrics.text();
    return false;
  }

  TemporaryDirectory directory;
  Metrics metrics;
  Gate gate;
  Router router{Logger::silent()};
  HttpConfig config;
  std::unique_ptr<HttpServer> server;
};

std::string get(std::string_view target, std::string_view fields = {}) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", target, fields);
}

std::string post(std::string_view target, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}", target, body.size(), body);
}

TEST_F(HttpTest, AnswersManyRequestsOnOneConnection) {
  start();
  Wire wire = connect();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(wire.send(get(fmt::format("/hello/{}", i))));
    const auto answer = wire.read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, fmt::format("\"{}\"", i));
    EXPECT_TRUE(answer->has("HTTP/1.1 200 OK\r\n") && answer->has("Content-Type: application/json\r\n"));
    EXPECT_TRUE(answer->has("Date: ") && answer->has("Cache-Control: no-store\r\n"));
    EXPECT_FALSE(answer->has("Connection:"));
  }
}

TEST_F(HttpTest, AnswersPipelinedRequestsInOrder) {
  start();
  std::string requests;
  std::vector<std::string> bodies;
  for (int i = 0; i < 200; ++i) {
    const auto number = std::to_string(i);
    if (i % 3 == 0) requests += get("/hello/" + number), bodies.push_back('"' + number + '"');
    if (i % 3 == 1) requests += post("/echo", number), bodies.push_back(number);
    if (i % 3 == 2) {
      requests += fmt::format(
          "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
          "{:x}\r\n{}\r\n0\r\n\r\n",
          number.size(), number);
      bodies.push_back(number);
    }
  }
  Wire wire = connect();
  std::thread sender([&] { EXPECT_TRUE(wire.send(requests)); });
  for (const auto& body : bodies) {
    const auto answer = wire.read();
    EXPECT_TRUE(answer && answer->body == body) << body;
  }
  sender.join();
}

TEST_F(HttpTest, ClosesWhenTheClientWantsSo) {
  start();
  EXPECT_EQ(last_status(get("/hello/x", "Connection: close\r\n")), 200);
  EXPECT_EQ(last_status("GET /hello/x HTTP/1.0\r\n\r\n"), 200);
  Wire wire = connect();
  wire.send("GET /hello/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(wire.read()->has("Connection: keep-alive"));
  wire.send("GET /hello/x HTTP/1.0\r\n\r\n");
  wire.send_no_more();
  EXPECT_TRUE(wire.read()->has("Connection: close"));
  EXPECT_TRUE(wire.is_closed());
}

TEST_F(HttpTest, AnswersAClientThatHasClosedItsSide) {
  start();
  Wire wire = connect();
  wire.send(get("/hello/a") + get("/hello/b"));
  wire.send_no_more();
  EXPECT_EQ(wire.read()->body, "\"a\"");
  EXPECT_EQ(wire.read()->body, "\"b\"");
  EXPECT_TRUE(wire.is_closed());
}

TEST_F(HttpTest, LeavesTheBodyOfHeadOut) {
  start();
  Wire wire = connect();
  wire.send("HEAD /hello/name HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/hello/next"));
  const auto head = wire.read(false);
  EXPECT_EQ(head->status, 200);
  EXPECT_TRUE(head->has("Content-Length: 6\r\n")) << head->head;
  EXPECT_EQ(wire.read()->body, "\"next\"");
}

TEST_F(HttpTest, SendsNoBodyAndNoLengthWith204) {
  start();
  Wire wire = connect();
  wire.send(get("/empty") + get("/hello/next"));
  const auto answer = wire.read();
  EXPECT_EQ(answer->status, 204);
  EXPECT_FALSE(answer->has("Content-Length"));
  EXPECT_EQ(wire.read()->body, "\"next\"");
}

TEST_F(HttpTest, NamesTheAllowedMethods) {
  start();
  Wire wire = connect();
  wire.send("DELETE /hello/x HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/hello/next"));
  const auto answer = wire.read();
  EXPECT_EQ(answer->status, 405);
  EXPECT_TRUE(answer->has("Allow: GET, HEAD\r\n"));
  EXPECT_EQ(wire.read()->status, 200) << "a refusal by the router leaves the connection as it is";
}

TEST_F(HttpTest, KeepsAFieldOfAnAnswerOnOneLine) {
  start();
  Wire wire = connect();
  wire.send(get("/split"));
  const auto answer = wire.read();
  EXPECT_EQ(answer->head.find("\r\nX-Injected"), std::string::npos);
  EXPECT_TRUE(answer->has("Location: /a  X-Injected: yes    body\r\n")) << answer->head;
}

TEST_F(HttpTest, RefusesWhatIsNoGoodRequestAndCloses) {
  config.body_bytes_max = 100;
  start();
  EXPECT_EQ(last_status("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(last_status("GET / HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(last_status("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 501);
  EXPECT_EQ(last_status("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
  EXPECT_EQ(last_status(get("/hello/x", "Origin: https://evil.example\r\n")), 403);
  EXPECT_EQ(last_status(get("/" + std::string(9'000, 'x'))), 414);
  EXPECT_EQ(last_status(get("/", "X: " + std::string(17'000, 'x') + "\r\n")), 431);
  EXPECT_EQ(last_status(post("/echo", std::string(101, 'x'))), 413);
  EXPECT_TRUE(metrics_will_say("http_requests_total{method=\"none\",route=\"none\",status=\"400\"} 1"));
}

TEST_F(HttpTest, LetsAClientReadWhyItsBodyIsRefusedWhileItIsStillSending) {
  config.body_bytes_max = 1000;
  start();
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (const std::string framing : {"Content-Length: 104857600\r\n", "Transfer-Encoding: chunked\r\n"}) {
    Wire wire = connect();
    std::thread sender([&] {
      bool taken = wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\n" + framing + "\r\n");
      for (int i = 0; i < 100 && taken; ++i) taken = wire.send(chunk);
    });
    const auto answer = wire.read();
    EXPECT_TRUE(answer && answer->status == 413 && answer->has("Connection: close")) << framing;
    sender.join();
  }
}

TEST_F(HttpTest, TellsAClientToProceed) {
  start();
  Wire wire = connect();
  wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(wire.read()->status, 100);
  wire.send("body");
  const auto answer = wire.read();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "body");
}

TEST_F(HttpTest, DoesNotTellAClientToProceedWithWhatItWillRefuse) {
  config.body_bytes_max = 3;
  start();
  EXPECT_EQ(last_status("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
            413);
}

TEST_F(HttpTest, TakesABodyOfTheLargestSizeByteForByte) {
  start();
  std::string body;
  for (std::size_t i = 0; i < config.body_bytes_max; ++i) body += static_cast<char>(i * 7);
  Wire wire = connect();
  std::thread sender([&] { EXPECT_TRUE(wire.send(post("/echo", body))); });
  const auto answer = wire.read();
  sender.join();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->body == body);
}

TEST_F(HttpTest, ClosesAConnectionOnWhichNothingComes) {
  config.idle_timeout = kShort;
  start();
  EXPECT_TRUE(connect().is_closed());
  Wire wire = connect();
  wire.send(get("/hello/x"));
  EXPECT_EQ(wire.read()->status, 200);
  EXPECT_TRUE(wire.is_closed()) << "without a 408, which would answer a request that was never made";
}

TEST_F(HttpTest, TellsASlowClientThatItIsTooSlow) {
  config.idle_timeout = kShort;
  start();
  const std::vector<std::string> beginnings = {
      "G", "GET /hello/x HTTP/1.1\r\nHost: loc",
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhell",
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"};
  std::vector<Wire> wires;
  for (const auto& beginning : beginnings) {
    wires.push_back(connect());
    wires.back().send(beginning);
  }
  for (std::size_t i = 0; i < wires.size(); ++i) {
    const auto answer = wires[i].read();
    EXPECT_TRUE(answer && answer->status == 408 && answer->has("Connection: close")) << beginnings[i];
    wires[i].send_no_more();
    EXPECT_TRUE(wires[i].is_closed());
  }
}

TEST_F(HttpTest, DoesNotWaitForAClientThatSendsAByteNowAndThen) {
  config.request_timeout = kShort;
  config.linger_timeout = milliseconds(20);
  config.request_line_bytes_max = config.headers_bytes_max = 1'000'000'000;  // so that only time is too short
  start();
  Wire wire = connect();
  std::atomic<bool> refused = false;
  std::thread dripping([&] {
    wire.send("GET /");
    while (!refused && wire.send("x")) std::this_thread::yield();
  });
  const auto answer = wire.read();
  refused = true;
  dripping.join();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
}

TEST_F(HttpTest, GivesUpOnAClientThatDoesNotTakeItsAnswer) {
  config.idle_timeout = kShort;
  start();
  Wire wire = connect();
  wire.send(get("/big"));
  EXPECT_TRUE(metrics_will_say("http_requests_total{method=\"GET\",route=\"/big\",status=\"200\"} 1"));
  EXPECT_TRUE(metrics_will_say("http_connections 0\n"));
  EXPECT_FALSE(wire.read()) << "it is cut short";
}

TEST_F(HttpTest, AnswersForAHandlerThatTakesTooLong) {
  config.request_timeout = kShort;
  start();
  EXPECT_EQ(last_status(get("/wait")), 503);
}

TEST_F(HttpTest, AnswersOthersWhileAHandlerIsSlow) {
  start();
  Wire slow = connect();
  slow.send(get("/wait"));
  gate.wait_for_arrivals(1);
  Wire other = connect();
  other.send(get("/hello/x"));
  EXPECT_EQ(other.read()->status, 200);
  gate.open();
  EXPECT_EQ(slow.read()->body, "\"waited\"");
}

TEST_F(HttpTest, LetsNoMoreRequestsWaitThanAllowed) {
  config.threads = 1;
  config.handlers_waiting_max = 2;
  start();
  Wire first = connect();
  first.send(get("/wait"));
  gate.wait_for_arrivals(1);
  Wire second = connect();
  Wire third = connect();
  second.send(get("/wait"));
  third.send(get("/wait"));
  // One of the two waits for the thread, whichever came first; the other is turned away and may come again.
  EXPECT_TRUE(metrics_will_say("status=\"503\"} 1"));
  gate.open();
  const int statuses = second.read()->status + third.read()->status;
  EXPECT_EQ(statuses, 200 + 503);
  EXPECT_EQ(first.read()->status, 200);
}

TEST_F(HttpTest, ServesAsManyConnectionsAsAllowedAndTellsTheOthers) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_GE(limit.rlim_cur, 2'400u) << "both ends of 1,100 connections";
  start();
  std::vector<Wire> wires;
  for (int i = 0; i < 1'100; ++i) wires.push_back(connect());
  int served = 0;
  int refused = 0;
  for (auto& wire : wires) wire.send(get("/hello/x"));
  for (auto& wire : wires) {
    const auto answer = wire.read();
    ASSERT_TRUE(answer);
    if (answer->status == 200) ++served;
    if (answer->status == 503 && answer->has("Retry-After: 1") && answer->has("Connection: close")) ++refused;
  }
  EXPECT_EQ(served, 1'024);
  EXPECT_EQ(refused, 76);

  wires.clear();
  EXPECT_TRUE(metrics_will_say("http_connections 0\n"));
  Wire wire = connect();
  wire.send(get("/hello/x"));
  EXPECT_EQ(wire.read()->status, 200) << "places are given back";
}

TEST_F(HttpTest, AcceptsAgainOnceThereAreDescriptorsAgain) {
  start();
  std::vector<detail::Descriptor> sockets;
  for (int i = 0; i < 50; ++i) sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit scarce{static_cast<rlim_t>(sockets.back().get()) + 6, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &scarce), 0);
  int answered = 0;
  std::vector<Wire> waiting;
  for (auto& socket : sockets) {
    Wire wire(std::move(socket), server->port());
    wire.send(get("/hello/x"));
    waiting.push_back(std::move(wire));
  }
  for (auto& wire : waiting) {  // all but a few wait for their turn: for another's end
    Wire closed_soon = std::move(wire);
    const auto answer = closed_soon.read();
    if (answer && answer->status == 200) ++answered;
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(answered, 50);
}

TEST_F(HttpTest, CountsByPatternNotByPath) {
  start();
  Wire wire = connect();
  wire.send(get("/hello/secret") + get("/hello/other") + get("/nowhere/secret"));
  for (int i = 0; i < 3; ++i) wire.read();
  EXPECT_TRUE(metrics_will_say("http_requests_total{method=\"GET\",route=\"/hello/{name}\",status=\"200\"} 2"));
  EXPECT_TRUE(metrics_will_say("http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1"));
  EXPECT_TRUE(metrics_will_say("http_request_duration_seconds_count{route=\"/hello/{name}\"} 2"));
  EXPECT_EQ(metrics.text().find("secret"), std::string::npos);
}

TEST_F(HttpTest, StopFinishesTheRequestInHandAndClosesIdleConnections) {
  start();
  Wire idle = connect();
  idle.send(get("/hello/x"));
  EXPECT_EQ(idle.read()->status, 200);
  Wire busy = connect();
  busy.send(get("/wait") + get("/hello/pipelined"));
  gate.wait_for_arrivals(1);
  auto stopped = std::async(std::launch::async, [&] { server->stop(std::chrono::seconds(30)); });
  EXPECT_TRUE(idle.is_closed());
  EXPECT_NE(stopped.wait_for(milliseconds(0)), std::future_status::ready);
  gate.open();
  const auto answer = busy.read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "\"waited\"");
  EXPECT_TRUE(answer->has("Connection: close"));
  busy.send_no_more();
  EXPECT_TRUE(busy.is_closed());
  stopped.get();
  server->stop(milliseconds(0));  // again: nothing
}

TEST_F(HttpTest, StopCutsOffWhatTakesLongerThanItsGrace) {
  start();
  Wire half = connect();
  half.send("GET /hello");
  Wire busy = connect();
  busy.send(get("/wait"));
  gate.wait_for_arrivals(1);
  auto stopped = std::async(std::launch::async, [&] { server->stop(milliseconds(0)); });
  EXPECT_TRUE(half.is_closed());
  EXPECT_TRUE(busy.is_closed());
  gate.open();
  stopped.get();
}

TEST_F(HttpTest, StopsWhateverItsClientsAreDoing) {
  config.port.reset();
  config.socket_path = directory.path() / "wfo.sock";
  for (int round = 0; round < 30; ++round) {
    start();
    std::atomic<int> answers = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        while (auto socket = detail::connect_local(config.socket_path, milliseconds(1000))) {
          Wire wire(std::move(*socket));
          wire.send(get("/hello/x") + get("/nowhere") + post("/echo", "body") + "GET /half");
          for (int k = 0; k < 3; ++k) {
            const auto answer = wire.read();
            if (!answer) break;  // only the server's end may cut it off
            ++answers;
          }
        }
      });
    }
    while (answers < round * 5) std::this_thread::yield();
    server->stop(milliseconds(round % 3));
    for (auto& thread : clients) thread.join();
    server.reset();
  }
}

TEST_F(HttpTest, ListensOnLoopbackOnly) {
  for (const auto* const host : {"127.0.0.1", "localhost", "127.0.0.2"}) {
    config.host = host;
    EXPECT_TRUE(HttpServer::open(config, router, Logger::silent(), metrics)) << host;
  }
  for (const auto* const host : {"0.0.0.0", "::", "*", "", "192.168.1.7", "example.com", "127.1", "::ffff:127.0.0.1"}) {
    config.host = host;
    const auto opened = HttpServer::open(config, router, Logger::silent(), metrics);
    ASSERT_FALSE(opened) << host;
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(opened.error().message.find(fmt::format("'{}'", host)), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().message.find("127.0.0.1"), std::string::npos) << opened.error().message;
  }
}

TEST_F(HttpTest, RefusesAPortThatIsTakenAndBoundsThatAreNone) {
  start();
  const auto port = server->port();
  config.port = port;
  const auto second = HttpServer::open(config, router, Logger::silent(), metrics);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  EXPECT_NE(second.error().message.find(std::to_string(port)), std::string::npos) << second.error().message;

  const auto refused = [&](auto change) {
    HttpConfig changed;
    changed.port = 0;
    change(changed);
    const auto opened = HttpServer::open(changed, router, Logger::silent(), metrics);
    return !opened && opened.error().code == ErrorCode::invalid_argument;
  };
  EXPECT_TRUE(refused([](HttpConfig& c) { c.port.reset(); }));
  EXPECT_TRUE(refused([](HttpConfig& c) { c.threads = 0; }));
  EXPECT_TRUE(refused([](HttpConfig& c) { c.connections_max = 0; }));
  EXPECT_TRUE(refused([](HttpConfig& c) { c.body_bytes_max = 0; }));
  EXPECT_TRUE(refused([](HttpConfig& c) { c.idle_timeout = milliseconds(0); }));
}

class LocalSocketTest : public HttpTest {
 protected:
  LocalSocketTest() {
    config.port.reset();
    config.socket_path = directory.path() / "wfo.sock";
  }
};

TEST_F(LocalSocketTest, AnswersItsClient) {
  start();
  EXPECT_EQ(server->port(), 0);
  const auto answer = client().request(Method::get, "/hello/x");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "\"x\"");
  EXPECT_EQ(answer->content_type, "application/json");
  EXPECT_EQ(client().request(Method::post, "/echo", "body")->body, "body");
  EXPECT_EQ(client().request(Method::get, "/empty")->status, 204);
  EXPECT_EQ(client().request(Method::get, "/nowhere")->status, 404);
  EXPECT_EQ(client().request(Method::head, "/hello/x")->body, "");
}

TEST_F(LocalSocketTest, CarriesLargeBodiesBothWays) {
  config.body_bytes_max = 20'000'000;
  start();
  const std::string body(19'000'000, 'b');
  const auto answer = client().request(Method::post, "/echo", body);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(answer->body == body);
}

TEST_F(LocalSocketTest, ShowsLocalRoutesToLocalClientsOnly) {
  config.port = 0;
  start();
  EXPECT_EQ(client().request(Method::get, "/local")->status, 200);
  Wire wire = connect();
  wire.send(get("/local"));
  EXPECT_EQ(wire.read()->status, 404);
}

TEST_F(LocalSocketTest, IsForItsOwnerOnlyAndGoneAfterwards) {
  start();
  struct stat status {};
  ASSERT_EQ(stat(config.socket_path.c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(config.socket_path));
}

TEST_F(LocalSocketTest, LiesAtAPathOfAnyLength) {
  auto deep = directory.path();
  for (int i = 0; i < 5; ++i) deep /= std::string(100, 'd');
  std::filesystem::create_directories(deep);
  config.socket_path = deep / "wfo.sock";
  start();
  EXPECT_EQ(client().request(Method::get, "/hello/x")->status, 200);
  struct stat status {};
  ASSERT_EQ(stat(config.socket_path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(config.socket_path));

  config.socket_path = deep / std::string(81, 'n');
  const auto opened = HttpServer::open(config, router, Logger::silent(), metrics);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::invalid_argument);
}

TEST_F(LocalSocketTest, ReplacesAFileThatACrashLeftBehind) {
  {
    auto crashed = detail::listen_local(config.socket_path);
    ASSERT_TRUE(crashed);
    std::filesystem::rename(config.socket_path, config.socket_path.string() + "-kept");
  }
  std::filesystem::rename(config.socket_path.string() + "-kept", config.socket_path);
  ASSERT_FALSE(client().request(Method::get, "/hello/x"));
  start();
  EXPECT_EQ(client().request(Method::get, "/hello/x")->status, 200);
}

TEST_F(LocalSocketTest, LeavesALivingSocketAndOtherFilesAlone) {
  start();
  const auto second = HttpServer::open(config, router, Logger::silent(), metrics);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_EQ(client().request(Method::get, "/hello/x")->status, 200);

  config.socket_path = directory.path() / "notes.txt";
  std::ofstream(config.socket_path) << "precious";
  const auto third = HttpServer::open(config, router, Logger::silent(), metrics);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(std::filesystem::file_size(config.socket_path), 8u);

  config.socket_path = directory.path() / "missing" / "wfo.sock";
  const auto fourth = HttpServer::open(config, router, Logger::silent(), metrics);
  ASSERT_FALSE(fourth);
  EXPECT_EQ(fourth.error().code, ErrorCode::invalid_argument);
}

TEST_F(LocalSocketTest, LeavesTheSocketOfItsSuccessorAlone) {
  start();
  std::filesystem::remove(config.socket_path);
  auto first = std::move(server);
  start();
  first.reset();
  EXPECT_EQ(client().request(Method::get, "/hello/x")->status, 200);
}

TEST_F(LocalSocketTest, TellsItsClientThatNobodyListens) {
  for (const auto& path : {directory.path() / "wfo.sock", directory.path() / "missing" / "wfo.sock"}) {
    const auto answer = LocalClient({.socket_path = path}).request(Method::get, "/hello/x");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
    EXPECT_NE(answer.error().message.find(path.string()), std::string::npos) << answer.error().message;
  }
}

TEST_F(LocalSocketTest, DoesNotLetItsClientWaitForEver) {
  start();
  const LocalClient impatient({.socket_path = config.socket_path, .timeout = milliseconds(20)});
  const auto answer = impatient.request(Method::get, "/wait");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
}

TEST_F(LocalSocketTest, BoundsWhatItsClientTakes) {
  start();
  const LocalClient modest({.socket_path = config.socket_path, .response_bytes_max = 1000});
  const auto answer = modest.request(Method::get, "/big");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(modest.request(Method::get, "/hello/x")->status, 200);
}

TEST_F(LocalSocketTest, LetsNoRequestBeSmuggledThroughItsClient) {
  start();
  for (const auto* const target :
       {"/hello/x HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hello/y", "/a b", "hello", "/\xc3\xa9"}) {
    const auto answer = client().request(Method::get, target);
    ASSERT_FALSE(answer) << target;
    EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_FALSE(client().request(Method::get, "/hello/x", {}, {{"X", "a\r\nY: b"}}));
}

TEST_F(LocalSocketTest, TellsItsClientWhatIsNoHttp) {
  auto listener = detail::listen_local(config.socket_path);
  ASSERT_TRUE(listener);
  const auto answer_with = [&](std::string_view bytes) {
    auto answer = std::async(std::launch::async, [&] { return client().request(Method::get, "/hello/x"); });
    detail::Descriptor accepted;
    while (accepted.get() < 0) accepted = detail::Descriptor(accept(listener->socket.get(), nullptr, nullptr));
    {
      Wire wire(std::move(accepted));
      wire.send(bytes);
      wire.send_no_more();
      while (!wire.is_closed() && wire.read()) {
      }
    }
    return answer.get();
  };
  EXPECT_EQ(answer_with("nonsense\r\n\r\n").error().code, ErrorCode::internal);
  EXPECT_EQ(answer_with("").error().code, ErrorCode::unavailable);
  EXPECT_EQ(answer_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").error().code, ErrorCode::unavailable);
  EXPECT_EQ(answer_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")->body, "hello");
  EXPECT_EQ(answer_with("HTTP/1.1 200 OK\r\n\r\nto the end")->body, "to the end");
}

}  // namespace
}  // namespace wfo::api
