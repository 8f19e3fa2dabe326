#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace wfo::analysis::detail {

inline constexpr std::size_t kYamlBytesMax = 1024 * 1024;

/// Reads one YAML file and collects everything that is wrong with it, so that all of it is told at once, each with its
/// line. Getters return a default after an error; `finish` says whether there was one.
class YamlReader {
 public:
  YamlReader(std::string_view text, std::string_view file);

  /// Undefined if the text was no YAML.
  [[nodiscard]] const YAML::Node& root() const { return root_; }

  template <class... Args>
  void error(const YAML::Node& at, fmt::format_string<Args...> format, Args&&... args) {
    add(line_of(at), fmt::format(format, std::forward<Args>(args)...));
  }

  struct Key {
    std::string_view name;
    bool required = false;
  };
  /// Whether `node` is a mapping; its unknown, doubled and missing keys are errors. `what` names it: `a rule`.
  bool mapping(const YAML::Node& node, std::string_view what, std::span<const Key> keys);
  bool mapping(const YAML::Node& node, std::string_view what, std::initializer_list<Key> keys) {
    return mapping(node, what, std::span(keys.begin(), keys.size()));
  }
  /// The elements of the list that is the member `key` of `map`, which must have at least `count_min`.
  std::vector<YAML::Node> list(const YAML::Node& map, std::string_view key, std::size_t count_min);
  /// The member of that name, or nothing.
  static std::optional<YAML::Node> find(const YAML::Node& map, std::string_view key);

  /// A single value that is not empty.
  std::string text(const YAML::Node& map, std::string_view key, std::string fallback = {});
  /// One of `allowed`.
  std::string one_of(const YAML::Node& map, std::string_view key, std::span<const std::string_view> allowed,
                     std::string_view fallback);
  /// A single value or a list of them.
  std::vector<std::string> texts(const YAML::Node& map, std::string_view key);
  double number(const YAML::Node& map, std::string_view key, double min, double max, double fallback);
  bool boolean(const YAML::Node& map, std::string_view key, bool fallback);

  [[nodiscard]] Result<void> finish();

 private:
  static int line_of(const YAML::Node& node);
  void add(int line, std::string message);

  std::string file_;
  YAML::Node root_;
  std::vector<std::pair<int, std::string>> errors_;
};

/// A value as it may stand in a message: one line of bounded length, in quotes.
[[nodiscard]] std::string quoted(std::string_view text);
/// `a, b, c`.
[[nodiscard]] std::string joined(std::span<const std::string_view> names);
/// Whether `text` is lower-case letters, digits and `_`, a letter first, at most 64.
[[nodiscard]] bool is_identifier(std::string_view text);

}  // namespace wfo::analysis::detail
