#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/http_client.h"
#include "api/http_server.h"
#include "api/tests/installation.h"

namespace wfo::api {
namespace {

using testing::HasSubstr;

/// The routes behind a real server and real sockets.
class RoutesOverHttp : public Installation {
 protected:
  RoutesOverHttp() {
    config_.port = 0;
    config_.socket_path = directory_.path() / "wfo.sock";
    config_.idle_timeout = milliseconds(200);
    server_ = need(HttpServer::open(config_, router_, Logger::silent(), metrics_));
  }
  static std::string post_head(std::string_view target, std::string_view fields) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{}\r\n\r\n", target,
                       fields);
  }
  static std::string post_text(std::string_view target, std::string_view body) {
    return post_head(target, fmt::format("Content-Length: {}", body.size())) + std::string(body);
  }
  Wire::Answer ask_wire(std::string_view bytes) {
    Wire wire(server_->port());
    wire.send(bytes);
    auto answer = wire.read();
    EXPECT_TRUE(answer);
    return answer.value_or(Wire::Answer{});
  }
  static std::string message(const Wire::Answer& answer) {
    Response response;
    response.body = answer.body;
    return error(response);
  }

  HttpConfig config_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(RoutesOverHttp, StartAndShowARun) {
  const auto started = ask_wire(post_text("/api/v1/workflows", R"({"opportunityId":"A-1"})"));
  EXPECT_EQ(started.status, 202);
  EXPECT_TRUE(started.has("Location: /api/v1/workflows/")) << started.head;
  const auto listed = ask_wire("GET /api/v1/workflows HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(listed.status, 200);
  EXPECT_THAT(listed.body, HasSubstr("\"externalId\":\"A-1\""));
}

TEST_F(RoutesOverHttp, TakeAChunkedBody) {
  const auto answer = ask_wire(post_head("/api/v1/workflows", "Transfer-Encoding: chunked") +
                               "8\r\n{\"opport\r\n11\r\nunityId\":\"A-1\"}  \r\n0\r\n\r\n");
  EXPECT_EQ(answer.status, 202) << answer.body;
}

TEST_F(RoutesOverHttp, AnswerPipelinedRequestsInTheirOrder) {
  Wire wire(server_->port());
  wire.send(post_text("/api/v1/workflows", R"({"opportunityId":"A-1"})") + post_text("/api/v1/workflows", "{") +
            "GET /api/v1/workflows?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(wire.read()->status, 202);
  EXPECT_EQ(wire.read()->status, 400);
  const auto listed = wire.read();
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->status, 200);
  EXPECT_THAT(listed->body, HasSubstr("A-1"));
}

TEST_F(RoutesOverHttp, RefuseABodyThatIsTooLarge) {
  const auto answer = ask_wire(post_head("/api/v1/events", fmt::format("Content-Length: {}", 1024 * 1024 + 1)));
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.body, HasSubstr("payload_too_large"));
}

TEST_F(RoutesOverHttp, TakeABodyOfExactlyTheBound) {
  std::string body = R"({"opportunityId":"A-1"})";
  body.resize(1024 * 1024, ' ');
  EXPECT_EQ(ask_wire(post_text("/api/v1/workflows", body)).status, 202);
}

TEST_F(RoutesOverHttp, GiveUpOnASlowClientAndStartNothing) {
  Wire wire(server_->port());
  wire.send(post_head("/api/v1/workflows", "Content-Length: 23") + R"({"opportunityId":)");
  const auto answer = wire.read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_THAT(get("/api/v1/workflows").body, HasSubstr("\"workflows\":[]"));
}

TEST_F(RoutesOverHttp, RefuseUnknownPathsWrongMethodsAndBadJson) {
  const auto unknown = ask_wire("GET /api/v1/workflow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(message(unknown), "there is no '/api/v1/workflow'");
  const auto method = ask_wire("DELETE /api/v1/workflows HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(method.status, 405);
  EXPECT_TRUE(method.has("Allow: POST, GET, HEAD")) << method.head;
  const auto bad = ask_wire(post_text("/api/v1/workflows", "{\"opportunityId\": A-1}"));
  EXPECT_EQ(bad.status, 400);
  EXPECT_THAT(message(bad), HasSubstr("line 1"));
}

TEST_F(RoutesOverHttp, PutAndDeleteOnOneConnection) {
  const std::string_view body = R"({"job":"outcome-sync","cron":"@daily"})";
  const auto line = [](std::string_view method) {
    return fmt::format("{} /api/v1/jobs/schedules/nightly HTTP/1.1\r\nHost: localhost\r\n", method);
  };
  Wire wire(server_->port());
  wire.send(line("PUT") +
            fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", body.size(), body) +
            line("DELETE") + "\r\n" + line("GET") + "\r\n" + line("POST") + "\r\n" + line("OPTIONS") + "\r\n");
  const auto made = wire.read();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->status, 201) << made->body;
  const auto gone = wire.read();
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->status, 204);
  EXPECT_FALSE(gone->has("\r\nContent-Length:")) << "RFC 9110, section 8.6";
  EXPECT_FALSE(gone->has("\r\nContent-Type:"));
  EXPECT_EQ(wire.read()->status, 404);
  const auto post = wire.read();
  ASSERT_TRUE(post);
  EXPECT_EQ(post->status, 405);
  EXPECT_TRUE(post->has("Allow: GET, HEAD, PUT, DELETE")) << post->head;
  const auto options = wire.read();
  ASSERT_TRUE(options);
  EXPECT_EQ(options->status, 204);
  EXPECT_TRUE(options->has("Allow: GET, HEAD, PUT, DELETE")) << options->head;
}

TEST_F(RoutesOverHttp, PutAndDeleteOverTheLocalSocket) {
  LocalClient client({.socket_path = config_.socket_path});
  const std::string_view target = "/api/v1/jobs/schedules/nightly";
  EXPECT_EQ(need(client.request(Method::put, target, R"({"job":"outcome-sync","cron":"@daily"})")).status, 201);
  const auto gone = need(client.request(Method::delete_, target));
  EXPECT_EQ(gone.status, 204);
  EXPECT_EQ(gone.body, "");
  EXPECT_EQ(need(client.request(Method::delete_, target)).status, 404);
}

TEST_F(RoutesOverHttp, AnswerHeadWithoutABody) {
  Wire wire(server_->port());
  wire.send("HEAD /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto answer = wire.read(false);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_TRUE(answer->has("Content-Length: 18"));
}

TEST_F(RoutesOverHttp, CountRequestsByThePatternOfTheirRoute) {
  ask_wire("GET /api/v1/workflows/17 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto text = get("/metrics").body;
  EXPECT_THAT(text, HasSubstr("route=\"/api/v1/workflows/{id}\""));
}

TEST_F(RoutesOverHttp, KeepLocalRoutesFromTheNetwork) {
  const auto answer = ask_wire(post_text("/local/analyses", "{}"));
  EXPECT_EQ(answer.status, 404);
  LocalClient client({.socket_path = config_.socket_path});
  const auto local = need(client.request(Method::post, "/local/analyses", "{}"));
  EXPECT_EQ(local.status, 400) << "it is there";
}

}  // namespace
}  // namespace wfo::api
