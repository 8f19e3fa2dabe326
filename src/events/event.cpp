#include "events/event.h"

#include <algorithm>

#include "events/detail/schema_checker.h"

namespace wfo::events {
namespace {

constexpr std::size_t kPointerBytesMax = 200;  // in a text for people; a key can be as long as its document

json::Value empty_object() {
  static const json::Document kEmpty = json::Document::parse("{}").value();
  return kEmpty.root();
}

std::string metadata_text(json::Value root, std::string_view key) {
  const auto value = root.find("metadata", key);
  std::string text = value ? value->string().value_or("") : "";
  return text.size() <= kMetadataTextMax ? text : "";
}

}  // namespace

json::Value Event::data() const {
  const auto data = root().find("data");
  return data && data->is_object() ? *data : empty_object();
}

std::string Event::correlation_id() const {
  std::string id = metadata_text(root(), "correlationId");
  return id.empty() ? id_.to_string() : id;
}

std::string Event::traceparent() const { return metadata_text(root(), "traceparent"); }

std::string describe(const std::vector<Violation>& violations, std::size_t count_max) {
  std::string text;
  for (std::size_t i = 0; i < std::min(count_max, violations.size()); ++i) {
    if (i > 0) text += "; ";
    const Violation& violation = violations[i];
    text += fmt::format("{}: {} ({})", detail::printable(violation.pointer, kPointerBytesMax), violation.message,
                        violation.rule);
  }
  if (violations.size() > count_max) text += fmt::format("; and {} more", violations.size() - count_max);
  return text;
}

}  // namespace wfo::events
