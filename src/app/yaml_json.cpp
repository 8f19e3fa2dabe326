#include "app/yaml_json.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>

#include "app/interpolation.h"
#include "base/json.h"

namespace wfo::app {
namespace {

constexpr int kLevelsMax = 64;
constexpr std::size_t kBytesMax = json::kTextBytesMax;

/// YAML 1.2's core schema: which plain scalars are something else than text. Numbers are those that JSON can say too.
bool is_json_token(std::string_view text) {
  if (text == "true" || text == "false" || text == "null") return true;
  if (text.empty() || !(text.front() == '-' || (text.front() >= '0' && text.front() <= '9'))) return false;
  const auto parsed = json::Document::parse(std::string(text));
  return parsed && parsed->root().is_number();
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
        writer_.begin_array();
        for (const auto& element : node) TRY(write(element, level + 1));
        writer_.end_array();
        return {};
      case YAML::NodeType::Scalar:
        return write_scalar(node);
      case YAML::NodeType::Null:
      case YAML::NodeType::Undefined:
        writer_.null();
        return {};
    }
    return {};
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

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
      TRY(write(entry.second, level + 1));
    }
    writer_.end_object();
    return {};
  }

  Result<void> write_scalar(const YAML::Node& node) {
    auto text = interpolate(node.Scalar(), environment_);
    if (!text) return error(node.Mark(), text.error().message);
    const bool is_plain = node.Tag() == "?";
    if (is_plain && (text->empty() || *text == "~")) {
      writer_.null();
    } else if (is_plain && is_json_token(*text)) {
      writer_.raw(*text);
    } else {
      writer_.string(*text);
    }
    return {};
  }

  const std::string_view file_;
  const std::map<std::string, std::string>& environment_;
  std::string out_;
  json::Writer writer_{out_};
};

}  // namespace

Result<std::string> yaml_to_json(std::string_view yaml, std::string_view file,
                                 const std::map<std::string, std::string>& environment) {
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

}  // namespace wfo::app
