#include <gtest/gtest.h>

#include <stdexcept>

#include "api/detail/uri.h"
#include "api/router.h"

namespace wfo::api {
namespace {

Handler says(std::string text) {
  return [text = std::move(text)](const Request&) { return json_response(200, text); };
}

class RouterTest : public testing::Test {
 protected:
  Response ask(Method method, std::string target) { return router.handle(Request{.method = method, .target = target}); }
  Router router{Logger::silent()};
};

TEST_F(RouterTest, AnswersByMethodAndPath) {
  router.add(Method::get, "/runs", says("list"));
  router.add(Method::post, "/runs", says("start"));
  router.add(Method::get, "/runs/{id}", says("show"));
  EXPECT_EQ(ask(Method::get, "/runs").body, "list");
  EXPECT_EQ(ask(Method::post, "/runs").body, "start");
  EXPECT_EQ(ask(Method::get, "/runs/7").body, "show");
}

TEST_F(RouterTest, PrefersALiteralToAParameterWhicheverWasAddedFirst) {
  router.add(Method::get, "/runs/{id}/steps", says("of one"));
  router.add(Method::get, "/runs/all/{what}", says("of all"));
  router.add(Method::get, "/{kind}/all/steps", says("of a kind"));
  EXPECT_EQ(ask(Method::get, "/runs/all/steps").body, "of all");
  EXPECT_EQ(ask(Method::get, "/runs/7/steps").body, "of one");
  EXPECT_EQ(ask(Method::get, "/jobs/all/steps").body, "of a kind");
}

TEST_F(RouterTest, TellsTheHandlerWhatThePathAndTheQuerySay) {
  Request seen;
  router.add(Method::get, "/runs/{id}/steps/{step}", [&](const Request& request) {
    seen = request;
    return Response{};
  });
  ask(Method::get, "/runs/a%2Fb+%C3%A9/steps/2?status=failed&note=two+words%2B&limit&status=open&&x=a=b");
  EXPECT_EQ(seen.route, "/runs/{id}/steps/{step}");
  EXPECT_EQ(seen.path_parameter("id"), "a/b+é");
  EXPECT_EQ(seen.path_parameter("step"), "2");
  EXPECT_EQ(seen.query_parameter("status"), "failed");
  EXPECT_EQ(seen.query_parameter("note"), "two words+");
  EXPECT_EQ(seen.query_parameter("limit"), "");
  EXPECT_EQ(seen.query_parameter("x"), "a=b");
  EXPECT_EQ(seen.query_parameter("other"), std::nullopt);
  EXPECT_EQ(seen.query.size(), 5u);
}

TEST_F(RouterTest, UnderstandsWhatPercentEncodeWrites) {
  std::string all;
  for (int c = 1; c < 128; ++c) all += static_cast<char>(c);
  all += "é€😀";
  std::string seen;
  router.add(Method::get, "/things/{name}", [&](const Request& request) {
    seen = request.path_parameter("name");
    EXPECT_EQ(request.query_parameter("name"), seen);
    return Response{};
  });
  ask(Method::get, fmt::format("/things/{0}?name={0}", percent_encode(all)));
  EXPECT_EQ(seen, all);
}

TEST_F(RouterTest, RefusesUnknownPathsWith404) {
  router.add(Method::get, "/runs/{id}", says("show"));
  for (const auto* const path :
       {"/", "/runs", "/runs/", "/runs/7/", "/runs/7/steps", "/Runs/7", "//runs/7", "/runs/%2e/7"}) {
    EXPECT_EQ(ask(Method::get, path).status, 404) << path;
  }
}

TEST_F(RouterTest, NamesTheAllowedMethodsWith405) {
  router.add(Method::get, "/runs", says("list"));
  router.add(Method::post, "/runs", says("start"));
  const auto response = ask(Method::delete_, "/runs");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.find("allow"), "GET, HEAD, POST");
  EXPECT_EQ(ask(Method::put, "/runs").status, 405);
}

TEST_F(RouterTest, AnswersOptionsByTheMethodsOfThePath) {
  router.add(Method::get, "/runs", says("list"));
  router.add(Method::post, "/runs", says("start"));
  router.add(Method::delete_, "/runs", says("gone"), {.local_only = true});
  const auto response = ask(Method::options, "/runs");
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(response.headers.find("Allow"), "GET, HEAD, POST");
  EXPECT_EQ(ask(Method::options, "/nothing").status, 404);
}

TEST_F(RouterTest, TellsTheMethodsOfOnePathApart) {
  router.add(Method::get, "/plans/{name}", says("show"));
  router.add(Method::put, "/plans/{name}", says("put"));
  router.add(Method::delete_, "/plans/{name}", says("gone"));
  EXPECT_EQ(ask(Method::get, "/plans/a").body, "show");
  EXPECT_EQ(ask(Method::put, "/plans/a").body, "put");
  EXPECT_EQ(ask(Method::delete_, "/plans/a").body, "gone");
  for (const auto method : {Method::post, Method::patch}) {
    const auto response = ask(method, "/plans/a");
    EXPECT_EQ(response.status, 405);
    EXPECT_EQ(response.headers.find("allow"), "GET, HEAD, PUT, DELETE");
  }
}

TEST_F(RouterTest, AnswersHeadByGet) {
  router.add(Method::get, "/runs", says("list"));
  router.add(Method::post, "/start", says("start"));
  EXPECT_EQ(ask(Method::head, "/runs").status, 200);
  EXPECT_EQ(ask(Method::head, "/start").status, 405);
}

TEST_F(RouterTest, RefusesEscapesThatAreNone) {
  router.add(Method::get, "/runs/{id}", says("show"));
  for (const auto* const target :
       {"/runs/%", "/runs/%4", "/runs/%zz", "/runs/%4g", "/runs/1?a=%", "/runs/1?%=a", "/runs/%00", "/runs/%ff",
        "/runs/%c0%af", "/runs/%ed%a0%80", "/runs/1?a=%f4%90%80%80", "/runs/%e2%82", "runs/1", "*", ""}) {
    EXPECT_EQ(ask(Method::get, target).status, 400) << target;
  }
}

TEST_F(RouterTest, HidesLocalRoutesFromTcp) {
  router.add(Method::get, "/admin", says("secret"), {.local_only = true});
  router.add(Method::get, "/runs", says("list"));
  router.add(Method::delete_, "/runs", says("gone"), {.local_only = true});
  EXPECT_EQ(ask(Method::get, "/admin").status, 404);
  EXPECT_EQ(ask(Method::post, "/admin").status, 404);
  EXPECT_EQ(ask(Method::delete_, "/runs").headers.find("Allow"), "GET, HEAD");
  EXPECT_EQ(router.handle({.target = "/admin", .over_local_socket = true}).body, "secret");
  EXPECT_EQ(router.handle({.method = Method::delete_, .target = "/runs", .over_local_socket = true}).body, "gone");
}

TEST_F(RouterTest, TakesBodiesOfTheContentTypeOnly) {
  router.add(Method::post, "/runs", says("started"));
  router.add(Method::post, "/any", says("taken"), {.content_type = ""});
  router.add(Method::put, "/runs", says("put"));
  const auto status = [&](std::string path, std::string type, Method method = Method::post) {
    Request request{.method = method, .target = path, .body = "{}"};
    if (!type.empty()) request.headers.add("content-type", type);
    return router.handle(request).status;
  };
  for (const auto* const type : {"application/json", "Application/JSON", "application/json; charset=utf-8",
                                 "application/json;charset=\"UTF-8\"; x=y"}) {
    EXPECT_EQ(status("/runs", type), 200) << type;
  }
  for (const auto* const type : {"", "text/plain", "application/json; charset=latin1", "application/jsonp",
                                 "application/x-www-form-urlencoded", "multipart/form-data", "\xff"}) {
    EXPECT_EQ(status("/runs", type), 415) << type;
    EXPECT_EQ(status("/runs", type, Method::put), 415) << type;
  }
  EXPECT_EQ(status("/any", "text/plain"), 200);
  EXPECT_EQ(ask(Method::post, "/runs").status, 200) << "without a body there is nothing to have a type";
}

TEST_F(RouterTest, DoesNotMindABodyOnGet) {
  router.add(Method::get, "/runs", says("list"));
  EXPECT_EQ(router.handle({.method = Method::get, .target = "/runs", .body = "x"}).status, 200);
  EXPECT_EQ(router.handle({.method = Method::head, .target = "/runs", .body = "x"}).status, 200);
}

TEST_F(RouterTest, AnswersForAHandlerThatThrows) {
  router.add(Method::get, "/throws", [](const Request&) -> Response { throw std::runtime_error("the secret"); });
  router.add(Method::get, "/odd", [](const Request&) -> Response { throw 7; });
  const auto response = ask(Method::get, "/throws");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body.find("secret"), std::string::npos);
  EXPECT_EQ(ask(Method::get, "/odd").status, 500);
}

TEST_F(RouterTest, EndsTheProcessIfTwoHandlersWantOnePlace) {
  router.add(Method::get, "/runs/{id}", says("one"));
  EXPECT_DEATH(router.add(Method::get, "/runs/{id}", says("two")), "invariant");
  EXPECT_DEATH(router.add(Method::post, "/runs/{name}", says("two")), "invariant");
  EXPECT_DEATH(router.add(Method::get, "no/slash", says("two")), "invariant");
  EXPECT_DEATH(router.add(Method::get, "/half{id}", says("two")), "invariant");
}

TEST(ErrorResponse, HasAStatusForEveryCodeAndIsReadBack) {
  const struct {
    ErrorCode code;
    int status;
  } rows[] = {{ErrorCode::invalid_argument, 400}, {ErrorCode::not_found, 404},  {ErrorCode::conflict, 409},
              {ErrorCode::unavailable, 503},      {ErrorCode::corruption, 500}, {ErrorCode::internal, 500}};
  for (const auto& row : rows) {
    const Error error{row.code, "the \"thing\" is é"};
    const auto response = error_response(error, R"([{"pointer":"/a"}])");
    EXPECT_EQ(response.status, row.status);
    EXPECT_EQ(response.content_type, "application/json");
    EXPECT_EQ(response.headers.find("retry-after").has_value(), row.status == 503);
    EXPECT_EQ(error_of(response), error);
  }
  EXPECT_EQ(error_response({ErrorCode::conflict, "no"}).body,
            R"({"error":{"code":"conflict","message":"no","details":[]}})");
}

TEST(ErrorResponse, IsReadEvenIfItIsNotOurs) {
  EXPECT_EQ(error_of({.status = 502, .body = "<html>"}),
            (Error{ErrorCode::internal, "the server answered with status 502"}));
  EXPECT_EQ(error_of(error_response(413, "too long")), (Error{ErrorCode::invalid_argument, "too long"}));
  EXPECT_EQ(error_of(error_response(408, "too late")), (Error{ErrorCode::unavailable, "too late"}));
}

TEST(LoopbackAuthority, IsThisMachineByItsOwnNames) {
  for (const auto* const authority : {"localhost", "LocalHost:3051", "127.0.0.1", "127.0.0.1:80", "127.8.9.10", "[::1]",
                                      "[::1]:3051", "localhost:"}) {
    EXPECT_TRUE(detail::is_loopback_authority(authority)) << authority;
  }
  for (const auto* const authority : {"",
                                      ":80",
                                      "example.com",
                                      "localhost.example.com",
                                      "127.0.0.1.example.com",
                                      "127.1",
                                      "2130706433",
                                      "0.0.0.0",
                                      "128.0.0.1",
                                      "[::]",
                                      "[::1",
                                      "::1",
                                      "[::2]:80",
                                      "localhost:80:80",
                                      "localhost:8o",
                                      "localhost@example.com",
                                      "user@localhost",
                                      "localhost.",
                                      "localhost:123456",
                                      "[::1]x"}) {
    EXPECT_FALSE(detail::is_loopback_authority(authority)) << authority;
  }
  EXPECT_TRUE(detail::is_loopback_origin("http://localhost:5173"));
  EXPECT_TRUE(detail::is_loopback_origin("HTTPS://[::1]"));
  for (const auto* const origin :
       {"null", "", "localhost", "http://example.com", "file://localhost", "http://localhost/x"}) {
    EXPECT_FALSE(detail::is_loopback_origin(origin)) << origin;
  }
}

}  // namespace
}  // namespace wfo::api
