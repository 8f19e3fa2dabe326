#include "jobs/detail/metadata.h"

#include <algorithm>

#include "store/text.h"

namespace wfo::jobs {

namespace {

constexpr std::size_t kShownBytesMax = 100;
constexpr int kNamesMax = 5;

std::string cut(std::string text) {
  if (text.size() <= kShownBytesMax) return text;
  text.resize(kShownBytesMax);
  while (!store::is_text(text)) text.pop_back();  // not within a character
  return text + "…";
}

}  // namespace

std::string shown(json::Value value) { return cut(std::string(value.raw())); }

Result<std::optional<Timestamp>> time_member(json::Value metadata, std::string_view name) {
  const auto member = metadata.find(name);
  if (!member || member->kind() == json::Kind::null) return std::nullopt;
  const auto text = member->string();
  std::optional<Timestamp> time;
  if (text) {
    if (const auto date = parse_date(*text)) {
      time = *date;
    } else {
      time = parse_timestamp(*text);
    }
  }
  if (time && (*time < kTimeMin || *time > kTimeMax)) {
    return fail(ErrorCode::invalid_argument, "metadata.{} is {}; allowed: times of the years 0001 to 9999 (UTC)", name,
                shown(*member));
  }
  if (time) return time;
  return fail(ErrorCode::invalid_argument,
              "metadata.{} is {}; allowed: a date, which means its beginning in UTC (\"2026-03-01\"), or a timestamp "
              "(\"2026-03-01T09:30:00Z\")",
              name, shown(*member));
}

std::string unused_members(json::Value metadata, std::initializer_list<std::string_view> known) {
  std::string out;
  int count = 0;
  for (const json::Member member : metadata.members()) {
    const std::string name = member.key.string().value_or("");
    if (std::ranges::find(known, name) != known.end()) continue;
    if (++count > kNamesMax) continue;
    out += (count == 1 ? ", not used: " : ", ") + cut(name);
  }
  if (count > kNamesMax) out += fmt::format(" and {} more", count - kNamesMax);
  return out;
}

}  // namespace wfo::jobs
