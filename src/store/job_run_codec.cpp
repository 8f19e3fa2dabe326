#include "store/job_run_codec.h"

#include "base/json.h"

namespace wfo::store {

std::string encode_counts(const schedule::JobCounts& counts) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  for (const auto& [name, count] : counts) writer.key(name).number(count);
  writer.end_object();
  return text;
}

Result<schedule::JobCounts> decode_counts(std::string_view text) {
  const auto document = json::Document::parse(std::string(text));
  if (!document) return fail(ErrorCode::corruption, "stored counts: {}", document.error().message);
  if (!document->root().is_object()) {
    return fail(ErrorCode::corruption, "stored counts are {}; allowed: an object", text.substr(0, 80));
  }
  schedule::JobCounts counts;
  for (const json::Member member : document->root().members()) {
    const auto name = member.key.string();
    const auto count = member.value.integer();
    if (!name || !count || *count < 0) {
      return fail(ErrorCode::corruption, "stored counts: {} is {}; allowed: an integer >= 0", member.key.raw(),
                  member.value.raw().substr(0, 80));
    }
    counts.emplace(*name, *count);
  }
  return counts;
}

}  // namespace wfo::store
