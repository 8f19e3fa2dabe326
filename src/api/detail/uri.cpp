#include "api/detail/uri.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace wfo::api::detail {
namespace {

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

bool is_port(std::string_view text) {
  return text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0; };
  const auto in = [](int value, int low, int high) { return value >= low && value <= high; };
  for (std::size_t i = 0; i < text.size();) {
    const int lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int length = in(lead, 0xC2, 0xDF) ? 2 : in(lead, 0xE0, 0xEF) ? 3 : in(lead, 0xF0, 0xF4) ? 4 : 0;
    if (length == 0) return false;
    const int second_low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const int second_high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (!in(byte(i + 1), second_low, second_high)) return false;
    for (int k = 2; k < length; ++k) {
      if (!in(byte(i + static_cast<std::size_t>(k)), 0x80, 0xBF)) return false;
    }
    i += static_cast<std::size_t>(length);
  }
  return true;
}

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

Result<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const auto high = i + 1 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
      const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
      if (!high || !low) {
        return fail(ErrorCode::invalid_argument, "'{}' is no escape; allowed: % and two hexadecimal digits",
                    shown(text.substr(i, 3)));
      }
      result += static_cast<char>(*high * 16 + *low);
      i += 2;
    } else {
      result += text[i] == '+' && plus == Plus::is_space ? ' ' : text[i];
    }
  }
  if (!is_utf8(result)) return fail(ErrorCode::invalid_argument, "'{}' is not UTF-8 when decoded", shown(text));
  if (result.find('\0') != std::string::npos)
    return fail(ErrorCode::invalid_argument, "'{}' holds U+0000", shown(text));
  return result;
}

Result<std::vector<std::pair<std::string, std::string>>> decode_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const auto parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (parameter.empty()) continue;
    const auto equals = std::min(parameter.find('='), parameter.size());
    TRY_ASSIGN(auto name, percent_decode(parameter.substr(0, equals), Plus::is_space));
    TRY_ASSIGN(auto value, percent_decode(parameter.substr(std::min(equals + 1, parameter.size())), Plus::is_space));
    parameters.emplace_back(std::move(name), std::move(value));
  }
  return parameters;
}

std::string shown(std::string_view text) {
  constexpr std::size_t kLength = 200;
  std::string result(text.substr(0, kLength));
  for (char& c : result) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text.size() > kLength ? result + "..." : result;
}

bool is_loopback_authority(std::string_view authority) {
  const auto colon = authority.starts_with('[') ? authority.find(':', authority.find(']')) : authority.find(':');
  const auto host = lower(authority.substr(0, colon));
  if (colon != std::string_view::npos && !is_port(authority.substr(colon + 1))) return false;
  if (host == "localhost" || host == "[::1]") return true;
  in_addr address{};
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool is_loopback_origin(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(origin.substr(0, scheme.size())) == scheme) return is_loopback_authority(origin.substr(scheme.size()));
  }
  return false;
}

}  // namespace wfo::api::detail
