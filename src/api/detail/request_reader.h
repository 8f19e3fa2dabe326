#pragma once

#include <memory>
#include <string>

#include "api/http.h"
#include "api/http_server.h"

namespace wfo::api::detail {

/// Reads one request from the bytes of a connection and judges it: syntax, bounds, framing, who may ask. No sockets,
/// no clock. One for each request.
class RequestReader {
 public:
  RequestReader(const HttpConfig& config, bool over_local_socket);
  ~RequestReader();

  enum class Outcome {
    more,     // give more bytes
    proceed,  // send `100 Continue`, then give more bytes
    whole,    // `request` is there; what is left of the input belongs to the next
    refused,  // `refusal` says why; what comes behind cannot be trusted to be a request
  };
  /// Takes what it can use from the front of `input`.
  [[nodiscard]] Outcome read(std::string& input);

  [[nodiscard]] Request& request() { return request_; }
  [[nodiscard]] Response& refusal() { return refusal_; }
  /// The method as far as it is known: `none` before the request line was read, `other` if it is none of ours.
  [[nodiscard]] std::string_view method() const { return method_; }
  /// Whether the client takes another answer on this connection; known with `whole`.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  /// Whether the client speaks HTTP/1.0, and so must be told that the connection stays.
  [[nodiscard]] bool is_http_1_0() const { return is_http_1_0_; }

 private:
  struct Parser;
  Outcome refuse(int status, std::string message);
  Outcome refuse_long_header();
  Outcome refuse_parse_error(const std::string& input);
  Outcome judge_header(bool body_has_begun);
  [[nodiscard]] std::optional<Outcome> judge_framing();
  [[nodiscard]] std::optional<Outcome> judge_origin(std::string_view host);

  const HttpConfig& config_;
  std::unique_ptr<Parser> parser_;
  std::size_t header_bytes_ = 0;
  std::size_t body_wire_bytes_ = 0;  // with the framing of chunks
  bool header_judged_ = false;
  Request request_;
  Response refusal_;
  std::string_view method_ = "none";
  bool keep_alive_ = false;
  bool is_http_1_0_ = false;
};

}  // namespace wfo::api::detail
