#include "analysis/detail/yaml.h"

#include <algorithm>
#include <charconv>

namespace wfo::analysis::detail {

YamlReader::YamlReader(std::string_view text, std::string_view file) : file_(file) {
  if (text.size() > kYamlBytesMax) {
    add(1, fmt::format("{} bytes; allowed: {}", text.size(), kYamlBytesMax));
    return;
  }
  try {
    root_.reset(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& exception) {
    add(std::max(0, exception.mark.line) + 1, fmt::format("no YAML: {}", exception.msg));
  }
}

int YamlReader::line_of(const YAML::Node& node) { return std::max(0, node.Mark().line) + 1; }

void YamlReader::add(int line, std::string message) { errors_.emplace_back(line, std::move(message)); }

std::optional<YAML::Node> YamlReader::find(const YAML::Node& map, std::string_view key) {
  if (!map.IsMap()) return std::nullopt;
  for (const auto& entry : map) {
    if (entry.first.IsScalar() && entry.first.Scalar() == key) return entry.second;
  }
  return std::nullopt;
}

bool YamlReader::mapping(const YAML::Node& node, std::string_view what, std::span<const Key> keys) {
  if (!errors_.empty() && !node.IsDefined()) return false;  // the text was no YAML, which is said already
  if (!node.IsMap()) {
    error(node, "{} must be a mapping", what);
    return false;
  }
  std::vector<std::string> seen;
  for (const auto& entry : node) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "(no single value)";
    std::vector<std::string_view> names;
    for (const Key& key : keys) names.push_back(key.name);
    if (std::ranges::find(names, name) == names.end()) {
      error(entry.first, "{} has no key {}; allowed: {}", what, quoted(name), joined(names));
    }
    if (std::ranges::find(seen, name) != seen.end()) error(entry.first, "{} stands twice in {}", quoted(name), what);
    seen.push_back(name);
  }
  for (const Key& key : keys) {
    if (key.required && !find(node, key.name)) error(node, "{} needs the key '{}'", what, key.name);
  }
  return true;
}

std::vector<YAML::Node> YamlReader::list(const YAML::Node& map, std::string_view key, std::size_t count_min) {
  const auto node = find(map, key);
  if (!node) return {};
  if (!node->IsSequence() || node->size() < count_min) {
    error(*node, "{} must be a list of at least {}", key, count_min);
    return {};
  }
  return {node->begin(), node->end()};
}

std::string YamlReader::text(const YAML::Node& map, std::string_view key, std::string fallback) {
  const auto node = find(map, key);
  if (!node) return fallback;
  if (!node->IsScalar() || node->Scalar().empty()) {
    error(*node, "{} must be a text", key);
    return fallback;
  }
  return node->Scalar();
}

std::string YamlReader::one_of(const YAML::Node& map, std::string_view key, std::span<const std::string_view> allowed,
                               std::string_view fallback) {
  const auto node = find(map, key);
  if (!node) return std::string(fallback);
  if (!node->IsScalar() || std::ranges::find(allowed, node->Scalar()) == allowed.end()) {
    error(*node, "{} is {}; allowed: {}", key, node->IsScalar() ? quoted(node->Scalar()) : "no single value",
          joined(allowed));
    return std::string(fallback);
  }
  return node->Scalar();
}

std::vector<std::string> YamlReader::texts(const YAML::Node& map, std::string_view key) {
  const auto node = find(map, key);
  if (!node) return {};
  if (node->IsScalar() && !node->Scalar().empty()) return {node->Scalar()};
  std::vector<std::string> out;
  if (node->IsSequence()) {
    for (const auto& element : *node) {
      if (!element.IsScalar() || element.Scalar().empty()) {
        error(element, "{} must hold texts only", key);
        return {};
      }
      out.push_back(element.Scalar());
    }
    return out;
  }
  error(*node, "{} must be a text or a list of texts", key);
  return {};
}

double YamlReader::number(const YAML::Node& map, std::string_view key, double min, double max, double fallback) {
  const auto node = find(map, key);
  if (!node) return fallback;
  double value = 0;
  const std::string text = node->IsScalar() ? node->Scalar() : std::string();
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || end != text.data() + text.size() || !(value >= min && value <= max)) {
    error(*node, "{} is {}; allowed: a number from {} to {}", key, node->IsScalar() ? quoted(text) : "no single value",
          min, max);
    return fallback;
  }
  return value;
}

bool YamlReader::boolean(const YAML::Node& map, std::string_view key, bool fallback) {
  constexpr std::string_view kAllowed[] = {"true", "false"};
  return one_of(map, key, kAllowed, fallback ? "true" : "false") == "true";
}

Result<void> YamlReader::finish() {
  if (errors_.empty()) return {};
  std::ranges::stable_sort(errors_, {}, &std::pair<int, std::string>::first);
  const auto repeated = std::ranges::unique(errors_);
  errors_.erase(repeated.begin(), repeated.end());
  std::string text;
  for (const auto& [line, message] : errors_) {
    text += fmt::format("{}{}:{}: {}", text.empty() ? "" : "\n", file_, line, message);
  }
  return std::unexpected(Error{ErrorCode::invalid_argument, std::move(text)});
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kShownMax = 80;
  std::string shown = "'";
  for (const char c : text.substr(0, kShownMax)) shown += static_cast<unsigned char>(c) >= 0x20 && c != 0x7f ? c : '?';
  return shown + (text.size() > kShownMax ? "...'" : "'");
}

std::string joined(std::span<const std::string_view> names) {
  std::string out;
  for (const std::string_view name : names) out += fmt::format("{}{}", out.empty() ? "" : ", ", name);
  return out;
}

bool is_identifier(std::string_view text) {
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return !text.empty() && text.size() <= 64 && is_lower(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_lower(c) || (c >= '0' && c <= '9') || c == '_'; });
}

}  // namespace wfo::analysis::detail
