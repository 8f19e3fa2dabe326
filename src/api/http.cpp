#include "api/http.h"

#include <algorithm>

#include "base/json.h"

namespace wfo::api {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals_ignoring_case(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return 400;
    case ErrorCode::not_found:
      return 404;
    case ErrorCode::conflict:
      return 409;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::corruption:
    case ErrorCode::internal:
      return 500;
  }
  return 500;
}

// One name per meaning: where the project has an error code for a status, it is that one.
std::string_view code_of(int status) {
  switch (status) {
    case 400:
      return name(ErrorCode::invalid_argument);
    case 403:
      return "forbidden";
    case 404:
      return name(ErrorCode::not_found);
    case 405:
      return "method_not_allowed";
    case 408:
      return "request_timeout";
    case 409:
      return name(ErrorCode::conflict);
    case 413:
      return "payload_too_large";
    case 414:
      return "uri_too_long";
    case 415:
      return "unsupported_media_type";
    case 417:
      return "expectation_failed";
    case 431:
      return "headers_too_large";
    case 501:
      return "not_implemented";
    case 503:
      return name(ErrorCode::unavailable);
    case 505:
      return "http_version_not_supported";
    default:
      return status < 500 ? name(ErrorCode::invalid_argument) : name(ErrorCode::internal);
  }
}

Response make_error(int status, std::string_view code, std::string_view message, std::string_view details) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object().key("error").begin_object();
  writer.key("code").string(code).key("message").string(message).key("details").raw(details);
  writer.end_object().end_object();
  Response response = json_response(status, std::move(body));
  if (status == 503) response.headers.add("Retry-After", "1");  // seconds
  return response;
}

}  // namespace

std::string_view name(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::delete_:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
  }
  return "unknown";
}

std::optional<Method> parse_method(std::string_view text) {
  for (const Method method :
       {Method::get, Method::head, Method::post, Method::put, Method::patch, Method::delete_, Method::options}) {
    if (text == name(method)) return method;
  }
  return std::nullopt;
}

std::optional<std::string_view> Headers::find(std::string_view wanted) const {
  for (const auto& [field, value] : fields_) {
    if (equals_ignoring_case(field, wanted)) return value;
  }
  return std::nullopt;
}

const std::string& Request::path_parameter(std::string_view wanted) const {
  const auto found = path_parameters.find(wanted);
  INVARIANT(found != path_parameters.end());
  return found->second;
}

std::optional<std::string_view> Request::query_parameter(std::string_view wanted) const {
  for (const auto& [parameter, value] : query) {
    if (parameter == wanted) return value;
  }
  return std::nullopt;
}

Response json_response(int status, std::string body) {
  return {.status = status, .content_type = std::string(kJson), .body = std::move(body), .headers = {}};
}

Response error_response(const Error& error, std::string_view details) {
  return make_error(status_of(error.code), name(error.code), error.message, details);
}

Response error_response(int status, std::string_view message, std::string_view details) {
  return make_error(status, code_of(status), message, details);
}

Error error_of(const Response& response) {
  std::string code;
  std::string message;
  if (const auto document = json::Document::parse(response.body)) {
    const auto error = document->root().find("error");
    const auto text_of = [&](std::string_view key) {
      const auto value = error ? error->find(key) : std::nullopt;
      return (value ? value->string() : std::nullopt).value_or("");
    };
    code = text_of("code");
    message = text_of("message");
  }
  if (message.empty()) message = fmt::format("the server answered with status {}", response.status);
  for (const ErrorCode known : {ErrorCode::invalid_argument, ErrorCode::not_found, ErrorCode::conflict,
                                ErrorCode::unavailable, ErrorCode::corruption, ErrorCode::internal}) {
    if (code == name(known)) return {known, std::move(message)};
  }
  if (response.status == 408) return {ErrorCode::unavailable, std::move(message)};
  return {response.status < 500 ? ErrorCode::invalid_argument : ErrorCode::internal, std::move(message)};
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kUnreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string result;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos) {
      result += c;
    } else {
      result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return result;
}

}  // namespace wfo::api
