#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace wfo::api {

/// The methods that routes can have, and OPTIONS, which the router answers; the server answers any other with 501.
enum class Method { get, head, post, put, patch, delete_, options };
[[nodiscard]] std::string_view name(Method method);  // `GET`
[[nodiscard]] std::optional<Method> parse_method(std::string_view text);

/// Header fields in the order in which they came; names are compared without regard to case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  /// The first field of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] auto begin() const { return fields_.begin(); }
  [[nodiscard]] auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  Method method = Method::get;
  std::string target = {};  // path and query as they came: `/api/v1/workflows?limit=10`
  Headers headers = {};     // values are bytes: not checked to be UTF-8
  std::string body = {};
  bool over_local_socket = false;  // the caller was let in by the permissions of a file

  // What Router::handle fills in, percent-decoded and valid UTF-8 without U+0000:
  std::string_view route = {};  // the pattern that matched; lives as long as the router
  std::map<std::string, std::string, std::less<>> path_parameters =
      {};                                                       // one for each {name} of the pattern, not empty
  std::vector<std::pair<std::string, std::string>> query = {};  // in order; a name may come twice; `+` is a space

  /// A parameter of the pattern; asking for one that the pattern does not have is a bug.
  [[nodiscard]] const std::string& path_parameter(std::string_view name) const;
  /// The first query parameter of that name.
  [[nodiscard]] std::optional<std::string_view> query_parameter(std::string_view name) const;
};

inline constexpr std::string_view kJson = "application/json";

struct Response {
  int status = 200;
  std::string content_type = {};  // empty: none
  std::string body = {};
  /// Besides these the server writes Content-Length, Connection, Date, X-Content-Type-Options, and Cache-Control
  /// (no-store) unless it stands here.
  Headers headers = {};
};

/// `body` is JSON text.
[[nodiscard]] Response json_response(int status, std::string body);

/// {"error":{"code":…,"message":…,"details":…}}; `details` is JSON text. Status: invalid_argument 400, not_found 404,
/// conflict 409, unavailable 503 (with Retry-After), corruption and internal 500.
[[nodiscard]] Response error_response(const Error& error, std::string_view details = "[]");
/// The same for what HTTP itself refuses, 4xx or 5xx; the code is the status in words (`method_not_allowed`).
[[nodiscard]] Response error_response(int status, std::string_view message, std::string_view details = "[]");

/// What a client should make of a response whose status is 400 or more: the error that error_response was made of.
[[nodiscard]] Error error_of(const Response& response);

/// `text` as it stands in a segment of a path or in a query: RFC 3986's unreserved characters as they are, all else
/// escaped.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace wfo::api
