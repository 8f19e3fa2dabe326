#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "api/http.h"
#include "base/json.h"

namespace wfo::api {

/// contracts/openapi.yaml, as far as tests hold routes and answers against it.
class OpenApi {
 public:
  explicit OpenApi(const std::filesystem::path& file) : root_(YAML::LoadFile(file.string())) {}

  /// `GET /health` and so on.
  [[nodiscard]] std::set<std::string> operations() const {
    std::set<std::string> all;
    for (const auto& path : root_["paths"]) {
      for (const auto& member : path.second) {
        const auto method = member.first.as<std::string>();
        if (method != "parameters") all.insert(upper(method) + " " + path.first.as<std::string>());
      }
    }
    return all;
  }

  /// The names of an operation's parameters that stand `in` query, path or header.
  [[nodiscard]] std::set<std::string> parameters(const std::string& operation, std::string_view in) const {
    const auto space = operation.find(' ');
    const auto path = root_["paths"][operation.substr(space + 1)];
    std::set<std::string> names;
    for (const auto& list : {path["parameters"], path[lower(operation.substr(0, space))]["parameters"]}) {
      for (const auto& parameter : list) {
        const auto found = resolved(parameter);
        if (found["in"].as<std::string>() == in) names.insert(found["name"].as<std::string>());
      }
    }
    return names;
  }

  /// What of a response the document does not know: its status, content type, a member, a kind, a missing member. "" if
  /// nothing.
  [[nodiscard]] std::string complaints(Method method, std::string_view route, const Response& response) const {
    if (method == Method::head) method = Method::get;
    const auto operation = root_["paths"][std::string(route)][lower(name(method))];
    if (!operation) return response.status == 405 ? "" : "the operation is not there";
    const auto documented = operation["responses"][std::to_string(response.status)];
    if (!documented) return fmt::format("status {} is not there", response.status);
    const auto found = resolved(documented);
    if (!found["content"]) return response.content_type.empty() && response.body.empty() ? "" : "there is a body";
    const auto type = response.content_type.substr(0, response.content_type.find(';'));
    const auto content = found["content"] ? found["content"][type] : YAML::Node(YAML::NodeType::Undefined);
    if (!content) return fmt::format("content type {} is not there for status {}", type, response.status);
    for (const auto& [header, value] : response.headers) {
      if (!found["headers"][header])
        return fmt::format("header {} is not there for status {}", header, response.status);
    }
    if (type != kJson) return "";
    const auto document = json::Document::parse(response.body);
    if (!document) return document.error().message;
    return complaints(content["schema"], document->root(), "");
  }

 private:
  static std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return result;
  }
  static std::string upper(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return result;
  }

  [[nodiscard]] YAML::Node resolved(const YAML::Node& node) const {
    if (!node.IsMap() || !node["$ref"]) return node;
    auto reference = node["$ref"].as<std::string>();
    YAML::Node found = root_;
    for (std::size_t begin = 2; begin < reference.size();) {
      const auto end = std::min(reference.find('/', begin), reference.size());
      found.reset(found[reference.substr(begin, end - begin)]);
      begin = end + 1;
    }
    return found;
  }

  [[nodiscard]] std::string complaints(const YAML::Node& unresolved, json::Value value,
                                       const std::string& pointer) const {
    const auto schema = resolved(unresolved);
    const auto type = schema["type"] ? schema["type"].as<std::string>() : "";
    if (value.kind() == json::Kind::null && schema["nullable"]) return "";
    const auto wanted = type == "integer" ? "number" : type;
    if (!type.empty() && wanted != json::name(value.kind())) {
      return fmt::format("{} is of kind {} and not {}", pointer, json::name(value.kind()), type);
    }
    if (type == "integer" && !value.integer()) return fmt::format("{} is no integer", pointer);
    const auto format = schema["format"] ? schema["format"].as<std::string>() : "";
    if (format == "uuid" && !value.uuid()) return fmt::format("{} is no uuid", pointer);
    if (format == "date" && !parse_date(value.string().value_or(""))) return fmt::format("{} is no date", pointer);
    if (format == "date-time" && !value.timestamp()) return fmt::format("{} is no date-time", pointer);
    if (schema["enum"]) {
      bool known = false;
      for (const auto& allowed : schema["enum"]) known = known || value.equals(allowed.as<std::string>());
      if (!known) return fmt::format("{} is {}, which is not in the enum", pointer, value.raw());
    }
    for (const auto& required : schema["required"]) {
      if (!value.find(required.as<std::string>())) {
        return fmt::format("{} has no {}", pointer, required.as<std::string>());
      }
    }
    if (const auto properties = schema["properties"]) {
      const bool open = schema["additionalProperties"] && schema["additionalProperties"].as<std::string>() == "true";
      for (const json::Member member : value.members()) {
        const auto key = member.key.string().value_or("");
        const auto inner = fmt::format("{}/{}", pointer, key);
        if (!properties[key] && !open) return fmt::format("{} is not there", inner);
        if (!properties[key]) continue;
        if (auto complaint = complaints(properties[key], member.value, inner); !complaint.empty()) return complaint;
      }
    }
    if (const auto items = schema["items"]; items && value.is_array()) {
      std::size_t place = 0;
      for (const json::Value element : value.elements()) {
        const auto inner = fmt::format("{}/{}", pointer, place++);
        if (auto complaint = complaints(items, element, inner); !complaint.empty()) return complaint;
      }
    }
    return "";
  }

  YAML::Node root_;
};

inline const OpenApi& openapi() {
  static const OpenApi document(std::filesystem::path(WFO_SOURCE_DIR) / "contracts/openapi.yaml");
  return document;
}

}  // namespace wfo::api
