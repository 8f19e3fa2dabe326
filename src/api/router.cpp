#include "api/router.h"

#include <algorithm>
#include <exception>

#include "api/detail/uri.h"

namespace wfo::api {
namespace {

/// The media type alone, without parameters; empty if a charset other than UTF-8 is among them.
std::string media_type(std::string_view content_type) {
  std::string text;
  for (const char c : content_type) {
    if (c != ' ' && c != '\t' && c != '"') text += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  constexpr std::string_view kCharset = ";charset=";
  if (const auto found = text.find(kCharset); found != std::string::npos) {
    const auto charset = std::string_view(text).substr(found + kCharset.size());
    if (charset.substr(0, charset.find(';')) != "utf-8") return {};
  }
  return text.substr(0, text.find(';'));
}

bool is_visible(const RouteOptions& options, bool over_local_socket) {
  return over_local_socket || !options.local_only;
}

}  // namespace

void Router::add(Method method, std::string_view pattern, Handler handler, RouteOptions options) {
  INVARIANT(pattern.starts_with('/') && handler != nullptr && method != Method::options);
  std::vector<Segment> segments;
  for (const auto text : detail::split_path(pattern)) {
    const bool is_parameter = text.starts_with('{') && text.ends_with('}');
    INVARIANT(is_parameter ? text.size() > 2 : text.find_first_of("{}%") == std::string_view::npos);
    segments.push_back({std::string(is_parameter ? text.substr(1, text.size() - 2) : text), is_parameter});
  }
  auto route =
      std::ranges::find(routes_, pattern, [](const auto& known) -> std::string_view { return known->pattern; });
  if (route == routes_.end()) {
    for (const auto& known : routes_) {  // the same path under other parameter names would never be found
      INVARIANT(!std::ranges::equal(known->segments, segments, [](const Segment& a, const Segment& b) {
        return a.is_parameter ? b.is_parameter : !b.is_parameter && a.text == b.text;
      }));
    }
    routes_.push_back(std::make_unique<Route>(Route{std::string(pattern), std::move(segments), {}}));
    route = std::prev(routes_.end());
  }
  auto& endpoints = (*route)->endpoints;
  INVARIANT(std::ranges::find(endpoints, method, &Endpoint::method) == endpoints.end());
  endpoints.push_back({method, std::move(handler), options});
}

std::vector<Router::Listing> Router::routes() const {
  std::vector<Listing> listings;
  for (const auto& route : routes_) {
    for (const auto& endpoint : route->endpoints) {
      listings.push_back({endpoint.method, route->pattern, endpoint.options.local_only});
    }
  }
  return listings;
}

const Router::Route* Router::find(const std::vector<std::string>& segments, bool over_local_socket) const {
  const auto matches = [&](const Route& route) {
    return std::ranges::any_of(
               route.endpoints,
               [&](const Endpoint& endpoint) { return is_visible(endpoint.options, over_local_socket); }) &&
           std::ranges::equal(route.segments, segments, [](const Segment& wanted, const std::string& given) {
             return wanted.is_parameter ? !given.empty() : wanted.text == given;
           });
  };
  const Route* best = nullptr;
  for (const auto& route : routes_) {
    if (!matches(*route)) continue;
    if (best == nullptr || std::ranges::lexicographical_compare(route->segments, best->segments, {},
                                                                &Segment::is_parameter, &Segment::is_parameter)) {
      best = route.get();
    }
  }
  return best;
}

Response Router::handle(Request& request) const {
  const std::string_view target = request.target;
  const auto path = target.substr(0, target.find('?'));
  if (!path.starts_with('/'))
    return error_response(400, fmt::format("the path '{}' does not begin with '/'", detail::shown(path)));

  std::vector<std::string> segments;
  for (const auto text : detail::split_path(path)) {
    auto segment = detail::percent_decode(text, detail::Plus::is_plus);
    if (!segment) return error_response(with_context(segment.error(), "the path"));
    segments.push_back(*std::move(segment));
  }
  const Route* route = find(segments, request.over_local_socket);
  if (route == nullptr) return error_response(404, fmt::format("there is no '{}'", detail::shown(path)));
  request.route = route->pattern;

  const Endpoint* endpoint = nullptr;
  std::string allowed;
  for (const auto& candidate : route->endpoints) {
    if (!is_visible(candidate.options, request.over_local_socket)) continue;
    if (!allowed.empty()) allowed += ", ";
    allowed += name(candidate.method);
    if (candidate.method == Method::get) allowed += ", HEAD";
    if (candidate.method == request.method || (candidate.method == Method::get && request.method == Method::head)) {
      endpoint = &candidate;
    }
  }
  if (request.method == Method::options) {
    return Response{.status = 204, .content_type = {}, .body = {}, .headers = {{"Allow", std::move(allowed)}}};
  }
  if (endpoint == nullptr) {
    Response response = error_response(
        405, fmt::format("{} is not possible on '{}'; allowed: {}", name(request.method), route->pattern, allowed));
    response.headers.add("Allow", std::move(allowed));
    return response;
  }

  for (std::size_t i = 0; i < segments.size(); ++i) {
    const auto& segment = route->segments[i];
    if (segment.is_parameter) request.path_parameters[segment.text] = std::move(segments[i]);
  }
  if (path.size() < target.size()) {
    auto query = detail::decode_query(target.substr(path.size() + 1));
    if (!query) return error_response(with_context(query.error(), "the query"));
    request.query = *std::move(query);
  }
  const auto wanted_type = endpoint->options.content_type;
  const bool body_counts = endpoint->method != Method::get && !request.body.empty();
  if (body_counts && !wanted_type.empty()) {
    const auto given = request.headers.find("Content-Type").value_or("");
    if (media_type(given) != wanted_type) {
      return error_response(
          415, fmt::format("the Content-Type is '{}'; allowed: {} in UTF-8", detail::shown(given), wanted_type));
    }
  }

  try {
    return endpoint->handler(request);
  } catch (const std::exception& exception) {
    logger_.error("{} {}: the handler threw: {}", name(request.method), route->pattern, exception.what());
  } catch (...) {
    logger_.error("{} {}: the handler threw what is no exception", name(request.method), route->pattern);
  }
  return error_response(500, "an error of the server's own; its log says more");
}

}  // namespace wfo::api
