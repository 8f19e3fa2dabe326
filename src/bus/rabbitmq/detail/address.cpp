#include "bus/rabbitmq/detail/address.h"

#include <charconv>
#include <functional>
#include <map>
#include <optional>

namespace wfo::bus::rabbitmq {
namespace {

constexpr int kPort = 5672;
constexpr int kTlsPort = 5671;
constexpr std::size_t kPasswordBytesMax = 2'048;  // it travels in one frame with what else login says
constexpr std::string_view kForm = "amqp[s]://user:password@host:port/vhost";

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// The text behind percent signs; nothing for a broken escape, and for U+0000, which ends a string in C.
std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
      const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
      if (!low) return std::nullopt;
      c = static_cast<char>(*high * 16 + *low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    out.push_back(c);
  }
  return out;
}

std::optional<int> number(std::string_view text, int min, int max) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < min || value > max) return std::nullopt;
  return value;
}

/// What stands before `separator`; `text` keeps what is behind it. All of it, if there is no separator.
std::string_view take_until(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const auto head = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return head;
}

Result<void> read_login(std::string_view login, Address& address) {
  const auto user = decoded(take_until(login, ':'));
  const auto password = decoded(login);
  if (!user || !password) {
    return fail(ErrorCode::invalid_argument,
                "user or password has a % that no two hex digits follow; write % itself as %25");
  }
  if (user->size() > kNameBytesMax) return fail(ErrorCode::invalid_argument, "the user has more than 255 bytes");
  if (password->size() > kPasswordBytesMax) {
    return fail(ErrorCode::invalid_argument, "the password has more than {} bytes", kPasswordBytesMax);
  }
  address.user = *user;
  address.password = *password;
  return {};
}

Result<void> read_host(std::string_view text, Address& address) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {  // IPv6
    const auto end = text.find(']');
    if (end == std::string_view::npos) return fail(ErrorCode::invalid_argument, "the host '{}' lacks its ]", text);
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) {
      return fail(ErrorCode::invalid_argument, "'{}' is no host and port", text);
    }
  } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  const auto name = decoded(host);
  if (!name || name->empty()) return fail(ErrorCode::invalid_argument, "it names no host; allowed: {}", kForm);
  address.host = *name;
  if (port.size() <= 1) return {};  // `host:` is allowed by RFC 3986
  const auto value = number(port.substr(1), 1, 65'535);
  if (!value) return fail(ErrorCode::invalid_argument, "the port '{}' is not 1..65535", port.substr(1));
  address.port = *value;
  return {};
}

Result<void> read_parameter(std::string_view name, const std::string& value, Address& address) {
  const auto wrong = [&](std::string_view allowed) {
    return fail(ErrorCode::invalid_argument, "the parameter {} is '{}'; allowed: {}", name, value, allowed);
  };
  const auto file = [&](std::string& field) -> Result<void> {
    if (value.empty()) return wrong("the path of a PEM file");
    field = value;
    return {};
  };
  if (name == "cacertfile") return file(address.tls_options.ca_file);
  if (name == "certfile") return file(address.tls_options.certificate_file);
  if (name == "keyfile") return file(address.tls_options.key_file);
  if (name == "verify") {
    if (value != "verify_peer" && value != "verify_none") return wrong("verify_peer, verify_none");
    address.tls_options.verify_peer = value == "verify_peer";
  } else if (name == "server_name_indication") {
    if (value.empty()) return wrong("the name in the broker's certificate");
    address.server_name = value;
  } else if (name == "auth_mechanism") {
    if (value != "plain" && value != "external") return wrong("plain, external");
    address.external_login = value == "external";
  } else if (name == "heartbeat") {
    const auto seconds = number(value, 1, 3'600);
    if (!seconds) return wrong("1..3600 seconds");
    address.heartbeat = std::chrono::seconds(*seconds);
  } else if (name == "connection_timeout") {
    const auto timeout = number(value, 1, 600'000);
    if (!timeout) return wrong("1..600000 milliseconds");
    address.connect_timeout = milliseconds(*timeout);
  } else {
    return fail(ErrorCode::invalid_argument,
                "it has the unknown parameter '{}'; allowed: cacertfile, certfile, keyfile, verify, "
                "server_name_indication, auth_mechanism, heartbeat, connection_timeout",
                name);
  }
  return {};
}

Result<Address> parse(const RabbitConfig& config) {
  Address address;
  address.tls_options = config.tls;
  address.heartbeat = config.heartbeat;
  address.connect_timeout = config.connect_timeout;
  std::string_view rest = config.url;
  if (rest.starts_with("amqps://")) {
    address.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("amqp://")) {
    rest.remove_prefix(7);
  } else {
    return fail(ErrorCode::invalid_argument, "it starts neither with amqp:// nor with amqps://; allowed: {}", kForm);
  }
  for (const char c : rest) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7F' || c == '#') {
      return fail(ErrorCode::invalid_argument,
                  "it has a space, a control character or a #; percent-encode what stands in user, password and vhost");
    }
  }
  const auto query_start = rest.find('?');
  std::string_view query = query_start == std::string_view::npos ? "" : rest.substr(query_start + 1);
  rest = rest.substr(0, query_start);
  const auto path_start = rest.find('/');
  const auto path = path_start == std::string_view::npos ? "" : rest.substr(path_start + 1);
  const auto authority = rest.substr(0, path_start);

  address.port = address.tls ? kTlsPort : kPort;
  address.user = address.password = "guest";
  const auto at = authority.rfind('@');
  if (at != std::string_view::npos) TRY(read_login(authority.substr(0, at), address));
  TRY(read_host(at == std::string_view::npos ? authority : authority.substr(at + 1), address));
  address.server_name = address.host;

  const auto vhost = decoded(path);
  if (!vhost || path.find('/') != std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "'{}' is no vhost; write / in it as %2F and % as %25", path);
  }
  if (vhost->size() > kNameBytesMax) return fail(ErrorCode::invalid_argument, "the vhost has more than 255 bytes");
  address.vhost = vhost->empty() ? "/" : *vhost;  // the empty name is allowed, but no one has a vhost of that name

  while (!query.empty()) {
    auto parameter = take_until(query, '&');
    if (parameter.empty()) continue;
    const auto name = take_until(parameter, '=');
    const auto value = decoded(parameter);
    if (!value) return fail(ErrorCode::invalid_argument, "the parameter {} has a broken percent escape", name);
    TRY(read_parameter(name, *value, address));
  }
  const auto& tls = address.tls_options;
  if (!address.tls && (tls != config.tls || address.external_login)) {
    return fail(ErrorCode::invalid_argument, "its parameters ask for TLS, but it starts with amqp://; write amqps://");
  }
  if (tls.certificate_file.empty() != tls.key_file.empty()) {
    return fail(ErrorCode::invalid_argument,
                "client certificate and key (certfile, keyfile) are given together or not");
  }
  if (address.external_login && tls.certificate_file.empty()) {
    return fail(ErrorCode::invalid_argument, "auth_mechanism=external needs a client certificate (certfile, keyfile)");
  }
  return address;
}

}  // namespace

std::string Address::shown() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<Address> address_of(const RabbitConfig& config) {
  auto address = parse(config);
  if (!address) return std::unexpected(with_context(std::move(address).error(), "the URL of RabbitMQ"));
  return address;
}

}  // namespace wfo::bus::rabbitmq
