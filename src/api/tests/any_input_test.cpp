#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api/tests/installation.h"

namespace wfo::api {
namespace {

/// Requests as a program with a bug, or somebody who tries, would send them.
class AnyInput : public Installation {
 protected:
  static constexpr int kTries = 40;  // of each property's cases, on one installation

  static std::vector<std::string> bodies() {
    const std::string event =
        R"({"id":"01890a5d-ac96-774b-bcce-b302099a9001","type":"integration.opportunity.updated","version":"1.0.0",)"
        R"("timestamp":"2026-03-01T09:30:00.000Z","tenantId":"6f2c1a52-0c5e-4a53-9c56-0f3a7d0e1a01","source":"crm",)"
        R"("data":{"opportunityId":"A-1","changes":{"amount":1e3}}})";
    return {R"({"opportunityId":"A-1","changes":{"amount":12,"closeOn":"2026-04-30","state":"won"}})",
            R"({"opportunities":[{"externalId":"A-1","amount":12},{"externalId":"A-2","state":"lost"}]})",
            R"({"reason":"entered twice"})",
            R"({"note":"a test"})",
            R"({"asOf":"2026-02-28"})",
            R"({"body":"{}"})",
            R"({"body":)" + event + "}",
            R"({"metadata":{"from":"2026-02-01"}})",
            R"({"from":"2026-02-01T00:00:00Z","to":"2026-02-03T00:00:00Z","overlap":"allow_all"})",
            R"({"job":"crm-export","cron":["0 1 * * *","@hourly"],"timeZone":"Europe/Berlin","overlap":"buffer_one",)"
            R"("catchUpWindow":"2d","jitter":"5m","paused":true,"pauseNote":"x","metadata":{"a":1}})",
            "[" + event + ",17," + event + "]",
            event,
            "{}",
            ""};
  }
  /// A text like `text`: with bytes cut out, doubled, changed or put in.
  static std::string mutated(std::string text) {
    const int edits = *rc::gen::inRange(0, 4);
    for (int i = 0; i < edits; ++i) {
      const auto at = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
      const auto length = *rc::gen::inRange<std::size_t>(0, 12);
      switch (*rc::gen::inRange(0, 3)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, text.substr(*rc::gen::inRange<std::size_t>(0, text.size() + 1), length));
          break;
        default:
          text.insert(at, *rc::gen::element<std::string>("\"", "\\u0000", "null", "-1", "1e999", "[", "}", "\xff", ",",
                                                         "\\ud800", ":", "true", std::string(300, '9'), "{\"a\":1}"));
      }
    }
    return text;
  }
};

RC_GTEST_FIXTURE_PROP(AnyInput, GetsAnAnswerThatTheContractHas, ()) {
  const auto routes = router_.routes();
  for (int i = 0; i < kTries; ++i) {
    const auto& route = routes[*rc::gen::inRange<std::size_t>(0, routes.size())];
    std::string target(route.pattern);
    if (const auto begin = target.find('{'); begin != std::string::npos) {
      target.replace(begin, target.find('}') - begin + 1,
                     *rc::gen::element<std::string>("A-1", "01956a3e-7d2c-7c1b-9f0e-5b2f1d8a4c11", "%22", "crm-export",
                                                    "outcome-sync", "nightly"));
    }
    const auto query = *rc::gen::element<std::string>(
        "", "", "?limit=10", "?after=9223372036854775807", "?status=failed", "?opportunityId=%22",
        "?from=2026-03-01T00:00:00Z", "?cursor=0", "?type=%5b", "?include=results", "?limit=1000&after=0",
        "?cron=0+1+*+*+*&timeZone=Europe/Berlin&count=3", "?cron=%5b", "?cron=0+0+30+2+*&cron=@daily",
        "?from=2026-01-01&to=2026-02-01", "?from=0000-01-01&to=9999-12-31", "?after=0000-01-01T00:00:00Z&count=2",
        "?after=9999-12-31T23:59:59Z", "?job=outcome-sync&schedule=nightly&status=queued");
    const bool may_have_body = route.method == Method::post || route.method == Method::put;
    const auto body = may_have_body ? mutated(*rc::gen::elementOf(bodies())) : std::string();
    Headers headers{{"Content-Type", "application/json"}};
    if (*rc::gen::arbitrary<bool>()) headers.add("Idempotency-Key", *rc::gen::element<std::string>("1", "2"));
    Request request{.method = route.method, .target = target + query, .headers = headers, .body = body};
    request.over_local_socket = route.local_only;
    const auto response = router_.handle(request);
    RC_LOG() << name(route.method) << ' ' << target << query << '\n' << body << '\n' << response.body << '\n';
    RC_ASSERT(response.status < 500);
    if (!route.local_only) RC_ASSERT(openapi().complaints(route.method, route.pattern, response) == "");
  }
}

}  // namespace
}  // namespace wfo::api
