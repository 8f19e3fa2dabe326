#include "api/detail/request_reader.h"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "api/detail/uri.h"

namespace wfo::api::detail {
namespace {

namespace http = boost::beast::http;

// Chunks of one byte cost six on the wire; a client that spends more than this on framing is up to no good.
constexpr std::size_t kWireBytesPerBodyByte = 8;

// Beast's parser asserts that a last chunk which it has begun to see grows by two bytes at once. No piece of a chunked
// body that is still to come is shorter than the last chunk, so the parser is only given as much as that.
constexpr std::size_t kLastChunkBytes = std::string_view("0\r\n\r\n").size();

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

bool is_visible_ascii(char c) { return c > ' ' && c <= '~'; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whether a line of the header that `input` begins with ends without a carriage return: the parser would wait for one.
bool has_bare_line_feed(std::string_view input) {
  const auto header = input.substr(0, input.find("\r\n\r\n"));
  for (auto at = header.find('\n'); at != std::string_view::npos; at = header.find('\n', at + 1)) {
    if (at == 0 || header[at - 1] != '\r') return true;
  }
  return false;
}

/// `HTTP/2.0` and the like: a version, only not ours.
bool ends_with_version(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() < 8) return false;
  const auto version = line.substr(line.size() - 8);
  return version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
}

}  // namespace

struct RequestReader::Parser {
  http::request_parser<http::string_body> http;
  boost::beast::error_code error;
};

RequestReader::RequestReader(const HttpConfig& config, bool over_local_socket)
    : config_(config), parser_(std::make_unique<Parser>()) {
  parser_->http.header_limit(static_cast<std::uint32_t>(config.headers_bytes_max));
  parser_->http.body_limit(config.body_bytes_max);
  parser_->http.eager(false);  // stop behind the header, to judge it
  request_.over_local_socket = over_local_socket;
}

RequestReader::~RequestReader() = default;

RequestReader::Outcome RequestReader::refuse(int status, std::string message) {
  refusal_ = error_response(status, message);
  return Outcome::refused;
}

RequestReader::Outcome RequestReader::refuse_long_header() {
  return refuse(431, fmt::format("the header has more than {} bytes", config_.headers_bytes_max));
}

RequestReader::Outcome RequestReader::refuse_parse_error(const std::string& input) {
  const auto& error = parser_->error;
  if (error == http::error::header_limit) return refuse_long_header();
  if (error == http::error::body_limit) {
    return refuse(413, fmt::format("the body has more than {} bytes", config_.body_bytes_max));
  }
  if (error == http::error::bad_version && ends_with_version(std::string_view(input).substr(0, input.find('\n')))) {
    return refuse(505, "the version of HTTP is not one of HTTP/1.0, HTTP/1.1");
  }
  return refuse(400, fmt::format("this is no HTTP request: {}", error.message()));
}

RequestReader::Outcome RequestReader::read(std::string& input) {
  auto& parser = parser_->http;
  if (!parser.got_some()) {
    while (input.starts_with("\r\n")) input.erase(0, 2);  // RFC 9112 section 2.2: after a body, some clients send one
    if (input.empty() || input == "\r") return Outcome::more;
  }
  const bool in_request_line = parser.get().target().empty();
  if (in_request_line && std::min(input.find('\n'), input.size()) > config_.request_line_bytes_max) {
    return refuse(414, fmt::format("the request line has more than {} bytes", config_.request_line_bytes_max));
  }
  if (!header_judged_ && has_bare_line_feed(input)) return refuse(400, "a line of the header ends without CR");
  while (!parser.is_done()) {
    if (header_judged_ && input.size() < (parser.chunked() ? kLastChunkBytes : 1)) return Outcome::more;
    const auto used = parser.put(boost::asio::buffer(input), parser_->error);
    const bool wants_more = parser_->error == http::error::need_more;
    if (parser_->error && !wants_more) return refuse_parse_error(input);
    input.erase(0, used);
    if (header_judged_) {
      body_wire_bytes_ += used;
      if (body_wire_bytes_ > config_.headers_bytes_max + kWireBytesPerBodyByte * config_.body_bytes_max) {
        return refuse(413, "the chunks of the body are too many for what is in them");
      }
    } else {
      header_bytes_ += used;
      if (header_bytes_ + (wants_more ? input.size() : 0) > config_.headers_bytes_max) return refuse_long_header();
    }
    if (!header_judged_ && parser.is_header_done()) {
      const Outcome outcome = judge_header(!input.empty());
      if (outcome == Outcome::refused || outcome == Outcome::proceed) return outcome;
    }
    if (wants_more) {
      // What waits here is one unfinished piece: the header, the head of a chunk, or the trailer.
      if (input.size() > config_.headers_bytes_max) return refuse_long_header();
      return Outcome::more;
    }
  }
  keep_alive_ = keep_alive_ && parser.keep_alive();
  request_.body = std::move(parser.get().body());
  return Outcome::whole;
}

std::optional<RequestReader::Outcome> RequestReader::judge_framing() {
  const auto& message = parser_->http.get();
  const auto encodings = message.count(http::field::transfer_encoding);
  const auto lengths = message.count(http::field::content_length);
  // Two readers that disagree on where a body ends read different requests, so nothing here is guessed
  // (RFC 9112 section 6.3).
  if (encodings > 0 && lengths > 0) return refuse(400, "both Content-Length and Transfer-Encoding are given");
  if (encodings > 1 || lengths > 1) return refuse(400, "the length of the body is given twice");
  if (encodings == 1) {
    if (is_http_1_0_) return refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    const auto encoding = view(message[http::field::transfer_encoding]);
    if (!boost::beast::iequals(encoding, "chunked")) {
      return refuse(501, fmt::format("the Transfer-Encoding is '{}'; allowed: chunked", shown(encoding)));
    }
  }
  if (lengths == 1) {
    const auto length = view(message[http::field::content_length]);
    if (!std::ranges::all_of(length, is_digit)) {
      return refuse(400, fmt::format("the Content-Length is '{}'; allowed: one number", shown(length)));
    }
  }
  return std::nullopt;
}

std::optional<RequestReader::Outcome> RequestReader::judge_origin(std::string_view host) {
  if (request_.over_local_socket) return std::nullopt;
  // A page elsewhere can make a browser on this machine send requests here: under a name of its own that it lets
  // point to 127.0.0.1 (then Host tells), or from its own origin (then Origin tells).
  if (!host.empty() && !is_loopback_authority(host)) {
    return refuse(403, fmt::format("the Host is '{}'; allowed: localhost, 127.0.0.1, [::1]", shown(host)));
  }
  if (const auto origin = request_.headers.find("Origin"); origin && !is_loopback_origin(*origin)) {
    return refuse(403, fmt::format("the Origin is '{}'; allowed: pages of this machine", shown(*origin)));
  }
  return std::nullopt;
}

RequestReader::Outcome RequestReader::judge_header(bool body_has_begun) {
  header_judged_ = true;
  auto& parser = parser_->http;
  const auto& message = parser.get();
  is_http_1_0_ = message.version() == 10;
  keep_alive_ = parser.keep_alive();
  parser.eager(true);

  const auto method = parse_method(view(message.method_string()));
  method_ = method ? name(*method) : "other";
  // The trailer's fields will be added to the message's, so these are taken now and for good.
  for (const auto& field : message) {
    request_.headers.add(std::string(view(field.name_string())), std::string(view(field.value())));
  }

  if (const auto refused = judge_framing()) return *refused;
  if (!method) {
    return refuse(501, fmt::format("the method is '{}'; allowed: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
                                   shown(view(message.method_string()))));
  }
  request_.method = *method;

  const auto hosts = message.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && !is_http_1_0_)) {
    return refuse(400, fmt::format("there are {} Host fields; there must be one", hosts));
  }
  auto host = view(message[http::field::host]);
  auto target = view(message.target());
  if (!std::ranges::all_of(target, is_visible_ascii) || target.find('#') != std::string_view::npos) {
    return refuse(400, fmt::format("the target '{}' holds what must be escaped", shown(target)));
  }
  constexpr std::string_view kScheme = "http://";
  std::string path_of_absolute;
  if (!target.starts_with('/') && boost::beast::iequals(target.substr(0, kScheme.size()), kScheme)) {
    target.remove_prefix(kScheme.size());  // the form for proxies; its authority counts, not Host
    host = target.substr(0, target.find_first_of("/?"));
    path_of_absolute = target.substr(host.size());
    if (!path_of_absolute.starts_with('/')) path_of_absolute.insert(0, "/");
    target = path_of_absolute;
  }
  if (!target.starts_with('/')) return refuse(400, fmt::format("the target '{}' is no path", shown(target)));
  request_.target = target;
  if (const auto refused = judge_origin(host)) return *refused;

  if (const auto expected = request_.headers.find("Expect"); expected && !is_http_1_0_) {
    if (!boost::beast::iequals(*expected, "100-continue")) {
      return refuse(417, fmt::format("the Expect is '{}'; allowed: 100-continue", shown(*expected)));
    }
    if (!parser.is_done() && !body_has_begun) return Outcome::proceed;
  }
  return Outcome::more;
}

}  // namespace wfo::api::detail
