#include "app/secrets.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace wfo::app {
namespace {

constexpr std::string_view kHidden = "***";
// The keys of connection strings and of URL parameters whose values are secret.
constexpr std::array<std::string_view, 2> kSecretKeys = {"password", "sslpassword"};

struct Span {
  std::size_t begin;
  std::size_t end;
};

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

/// `user:password@` behind each `://`. A password may hold anything by mistake, an unescaped `@`, `/` or `?` too: it
/// goes to the last `@` before the next URL.
void find_in_urls(std::string_view text, std::vector<Span>& spans) {
  for (auto scheme = text.find("://"); scheme != std::string_view::npos;) {
    const auto begin = scheme + 3;
    scheme = text.find("://", begin);
    const auto rest = text.substr(0, scheme);
    const auto at = rest.rfind('@');
    if (at == std::string_view::npos || at < begin) continue;
    const auto colon = rest.find(':', begin);
    if (colon < at) spans.push_back({colon + 1, at});
  }
}

/// `password = value`, where the value may be quoted, and `?password=value&`.
void find_in_parameters(std::string_view text, std::vector<Span>& spans) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && is_word(text[i - 1])) continue;
    for (const auto key : kSecretKeys) {
      if (!equals_ignoring_case(text.substr(i, key.size()), key)) continue;
      std::size_t at = i + key.size();
      while (at < text.size() && is_space(text[at])) ++at;
      if (at == text.size() || text[at] != '=') continue;
      ++at;
      while (at < text.size() && is_space(text[at])) ++at;
      std::size_t end = at;
      if (end < text.size() && text[end] == '\'') {
        for (++end; end < text.size() && text[end] != '\''; ++end) {
          if (text[end] == '\\') ++end;
        }
        end = std::min(end + 1, text.size());
      } else {
        while (end < text.size() && !is_space(text[end]) && text[end] != '&') end += text[end] == '\\' ? 2 : 1;
        end = std::min(end, text.size());
      }
      if (end > at) spans.push_back({at, end});
    }
  }
}

/// Ascending, without overlaps.
std::vector<Span> find_secrets(std::string_view text) {
  std::vector<Span> found;
  find_in_urls(text, found);
  find_in_parameters(text, found);
  std::ranges::sort(found, {}, &Span::begin);
  std::vector<Span> spans;
  for (const Span& span : found) {
    if (!spans.empty() && span.begin <= spans.back().end) {
      spans.back().end = std::max(spans.back().end, span.end);
    } else {
      spans.push_back(span);
    }
  }
  return spans;
}

}  // namespace

std::string redacted(std::string_view text) {
  std::string out;
  std::size_t done = 0;
  for (const Span& span : find_secrets(text)) {
    out.append(text.substr(done, span.begin - done)).append(kHidden);
    done = span.end;
  }
  return out.append(text.substr(done));
}

std::vector<std::string> secrets_in(std::string_view text) {
  std::vector<std::string> secrets;
  for (const Span& span : find_secrets(text)) {
    const auto secret = text.substr(span.begin, span.end - span.begin);
    secrets.emplace_back(secret);
    if (secret.size() > 2 && secret.front() == '\'' && secret.back() == '\'') {
      secrets.emplace_back(secret.substr(1, secret.size() - 2));
    }
  }
  return secrets;
}

std::string without(std::string message, const std::vector<std::string>& secrets) {
  for (const auto& secret : secrets) {
    if (secret.size() < 3) continue;
    for (auto at = message.find(secret); at != std::string::npos; at = message.find(secret, at + kHidden.size())) {
      message.replace(at, secret.size(), kHidden);
    }
  }
  return message;
}

}  // namespace wfo::app
