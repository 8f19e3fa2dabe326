#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http.h"
#include "base/log.h"

namespace wfo::api {

/// Answers a request; any thread, many at once. May take milliseconds, not seconds: there are few threads for all.
using Handler = std::function<Response(const Request&)>;

struct RouteOptions {
  /// Over TCP there is no such route: the answer is 404.
  bool local_only = false;
  /// What a body, if there is one, must be (else 415); empty: anything; of no matter to GET. That a form cannot send
  /// it keeps other sites' pages out, too.
  std::string_view content_type = kJson;
};

/// Which handler answers which method and path. Routes are added first, then any thread may `handle`.
class Router {
 public:
  explicit Router(Logger& logger) : logger_(logger) {}

  /// `pattern` is a path of literal segments and parameters: `/api/v1/workflows/{id}/retry`. A parameter stands for
  /// one whole segment. Where two patterns match, a literal beats a parameter, leftmost first. A second handler for
  /// the same method and path, or a malformed pattern, is a bug.
  void add(Method method, std::string_view pattern, Handler handler, RouteOptions options = {});

  struct Listing {
    Method method;
    std::string_view pattern;  // lives as long as the router
    bool local_only;
  };
  /// All that was added, in no order that means anything.
  [[nodiscard]] std::vector<Listing> routes() const;

  /// Fills in what the route says about the request, and answers it: 404 for an unknown path, 405 with Allow for
  /// another method, 400 for an escape that is none, 415 for another content type, 500 if the handler throws. HEAD is
  /// answered by GET's handler, with its body, which the server leaves out.
  [[nodiscard]] Response handle(Request& request) const;
  [[nodiscard]] Response handle(Request&& request) const { return handle(request); }

 private:
  struct Segment {
    std::string text;  // the literal, or the parameter's name
    bool is_parameter;
  };
  struct Endpoint {
    Method method;
    Handler handler;
    RouteOptions options;
  };
  struct Route {
    std::string pattern;
    std::vector<Segment> segments;
    std::vector<Endpoint> endpoints;
  };

  [[nodiscard]] const Route* find(const std::vector<std::string>& segments, bool over_local_socket) const;

  Logger& logger_;
  std::vector<std::unique_ptr<Route>> routes_;  // few: looked through one by one
};

}  // namespace wfo::api
