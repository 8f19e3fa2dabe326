#include "app/yaml_json.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

#include "app/interpolation.h"
#include "base/json.h"
#include "store/text.h"

namespace wfo::app {
namespace {

constexpr int kLevelsMax = 64;
constexpr std::size_t kBytesMax = json::kTextBytesMax;

/// What a plain scalar is in JSON, if not text: YAML 1.2's core schema. Numbers are those that JSON can say too.
std::optional<std::string_view> json_token(std::string_view text) {
  const auto is_one_of = [text](std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, text) != words.end();
  };
  if (is_one_of({"", "~", "null", "Null", "NULL"})) return "null";
  if (is_one_of({"true", "True", "TRUE"})) return "true";
  if (is_one_of({"false", "False", "FALSE"})) return "false";
  if (text.front() != '-' && (text.front() < '0' || text.front() > '9')) return std::nullopt;
  const auto parsed = json::Document::parse(std::string(text));
  return parsed && parsed->root().is_number() ? std::optional(text) : std::nullopt;
}

class Converter {
 public:
  Converter(std::string_view file, const std::map<std::string, std::string>& environment)
      : file_(file), environment_(environment) {}

  Result<void> write(const YAML::Node& node, int level) {
    if (level > kLevelsMax) return error(node.Mark(), fmt::format("more than {} levels", kLevelsMax));
    if (out_.size() > kBytesMax) return error(node.Mark(), fmt::format("more than {} bytes", kBytesMax));
    switch (node.Type()) {
      case YAML::NodeType::Map:
        return write_map(node, level);
      case YAML::NodeType::Sequence:
        return write_sequence(node, level);
      case YAML::NodeType::Scalar:
        return write_scalar(node);
      case YAML::NodeType::Null:
      case YAML::NodeType::Undefined:
        writer_.null();
        return {};
    }
    return {};
  }

  [[nodiscard]] JsonOfYaml take() { return {std::move(out_), std::move(variables_)}; }

  [[nodiscard]] std::unexpected<Error> error(const YAML::Mark& mark, std::string_view message) const {
    return fail(ErrorCode::invalid_argument, "{}:{}: {}", file_, std::max(0, mark.line) + 1, message);
  }

 private:
  Result<void> write_map(const YAML::Node& node, int level) {
    std::set<std::string> seen;
    writer_.begin_object();
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return error(entry.first.Mark(), "a key is no text");
      const std::string& key = entry.first.Scalar();
      if (!seen.insert(key).second) return error(entry.first.Mark(), fmt::format("'{}' stands twice", key));
      writer_.key(key);
      TRY(write_at((place_.empty() ? "" : ": ") + key, entry.second, level + 1));
    }
    writer_.end_object();
    return {};
  }

  Result<void> write_sequence(const YAML::Node& node, int level) {
    writer_.begin_array();
    for (std::size_t at = 0; const auto& element : node) {
      TRY(write_at(fmt::format("[{}]", at++), element, level + 1));
    }
    writer_.end_array();
    return {};
  }

  Result<void> write_at(std::string_view step, const YAML::Node& node, int level) {
    const auto here = place_.size();
    place_ += step;
    TRY(write(node, level));
    place_.resize(here);
    return {};
  }

  Result<void> write_scalar(const YAML::Node& node) {
    std::vector<std::string> used;
    const auto text = interpolate(node.Scalar(), environment_, &used);
    if (!text) return error(node.Mark(), text.error().message);
    if (!used.empty()) {
      const auto names = fmt::format("{}", fmt::join(used, ", "));
      if (!store::is_text(*text))
        return error(node.Mark(),
                     fmt::format("the environment's {}: no text; allowed: {}", names, store::kTextAllowed));
      variables_.emplace(place_, names);
    }
    const bool is_plain = node.Tag() == "?";
    const auto token = is_plain ? json_token(*text) : std::nullopt;
    if (token) {
      writer_.raw(*token);
    } else {
      writer_.string(*text);
    }
    return {};
  }

  const std::string_view file_;
  const std::map<std::string, std::string>& environment_;
  std::string out_;
  json::Writer writer_{out_};
  std::string place_;
  std::map<std::string, std::string> variables_;
};

}  // namespace

Result<JsonOfYaml> yaml_to_json(std::string_view yaml, std::string_view file,
                                const std::map<std::string, std::string>& environment) {
  // yaml-cpp puts U+FFFD in the place of what it cannot read, and says nothing.
  for (std::size_t begin = 0, line = 1; begin < yaml.size(); ++line) {
    const auto end = std::min(yaml.find('\n', begin), yaml.size());
    if (!store::is_text(yaml.substr(begin, end - begin))) {
      return fail(ErrorCode::invalid_argument, "{}:{}: no text; allowed: {}", file, line, store::kTextAllowed);
    }
    begin = end + 1;
  }
  Converter converter(file, environment);
  try {
    const auto documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() != 1) {
      return fail(ErrorCode::invalid_argument, "{} holds {} documents; allowed: one", file, documents.size());
    }
    TRY(converter.write(documents.front(), 0));
  } catch (const YAML::Exception& exception) {
    return converter.error(exception.mark, "not YAML: " + exception.msg);
  }
  return converter.take();
}

Error with_variables(Error error, std::string_view file, const std::map<std::string, std::string>& variables) {
  for (const auto& [place, names] : variables) {
    const std::string told = fmt::format("{}: {}: ", file, place);
    for (std::size_t line = 0; line != std::string::npos;) {
      if (error.message.compare(line, told.size(), told) == 0) {
        error.message.insert(line + told.size() - 2, fmt::format(" (environment {})", names));
      }
      line = error.message.find('\n', line);
      if (line != std::string::npos) ++line;
    }
  }
  return error;
}

}  // namespace wfo::app
