#include "events/detail/schema_tree.h"

#include <algorithm>
#include <utility>

namespace wfo::events::detail {

std::string_view name(Format format) {
  switch (format) {
    case Format::date:
      return "date";
    case Format::date_time:
      return "date-time";
    case Format::uuid:
      return "uuid";
    case Format::none:
      break;
  }
  return "none";
}

void append_canonical(std::string& out, json::Value value) {
  switch (value.kind()) {
    case json::Kind::null:
    case json::Kind::boolean:
      out += value.raw();
      return;
    case json::Kind::number:
      Decimal::parse(value.raw()).append_to(out);
      return;
    case json::Kind::string:
      json::append_quoted(out, value.string().value_or(""));
      return;
    case json::Kind::array:
      out += '[';
      for (const json::Value element : value.elements()) {
        append_canonical(out, element);
        out += ',';
      }
      out += ']';
      return;
    case json::Kind::object:
      break;
  }
  std::vector<std::pair<std::string, json::Value>> members;
  members.reserve(value.size());
  for (const json::Member member : value.members())
    members.emplace_back(member.key.string().value_or(""), member.value);
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  out += '{';
  for (const auto& [key, member] : members) {
    json::append_quoted(out, key);
    out += ':';
    append_canonical(out, member);
    out += ',';
  }
  out += '}';
}

}  // namespace wfo::events::detail
