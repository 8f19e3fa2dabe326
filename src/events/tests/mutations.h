#pragma once

#include <rapidcheck.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "events/tests/files.h"

namespace wfo::events::tests {

inline void collect_tokens(json::Value value, std::vector<std::string_view>& tokens) {
  tokens.push_back(value.raw());
  for (const json::Value element : value.elements()) collect_tokens(element, tokens);
  for (const json::Member member : value.members()) {
    tokens.push_back(member.key.raw());
    collect_tokens(member.value, tokens);
  }
}

inline const std::vector<std::string> kTokens = {"null",
                                                 "true",
                                                 "0",
                                                 "-1",
                                                 "1.5",
                                                 "1e999",
                                                 "61",
                                                 "\"\"",
                                                 "\"a\"",
                                                 "\"\\u0041\"",
                                                 "{}",
                                                 "[]",
                                                 "[null]",
                                                 "{\"a\":1}",
                                                 "\"2026-03-01T09:30:00Z\"",
                                                 "\"01890a5d-ac96-774b-bcce-b302099a8057\"",
                                                 "\"data\"",
                                                 "\"tenantId\"",
                                                 "\"won\""};

/// A valid example in which up to two values or keys were replaced; now and then some bytes, so that it may not be
/// JSON any more.
inline rc::Gen<std::string> mutated_example() {
  static const std::vector<Example> kExamples = examples();
  return rc::gen::exec([] {
    std::string text = (*rc::gen::elementOf(kExamples)).text;
    const int changes = *rc::gen::inRange(0, 3);
    for (int i = 0; i < changes; ++i) {
      const auto document = json::Document::parse(text);
      if (!document) break;
      std::vector<std::string_view> tokens;
      collect_tokens(document->root(), tokens);
      const std::string_view token = *rc::gen::elementOf(tokens);
      const auto at = static_cast<std::size_t>(token.data() - document->text().data());
      text.replace(at, token.size(), *rc::gen::elementOf(kTokens));
    }
    if (*rc::gen::inRange(0, 10) == 0) {
      text.replace(*rc::gen::inRange<std::size_t>(0, text.size()), *rc::gen::inRange<std::size_t>(0, 12),
                   *rc::gen::element<std::string>("", "\"", "{", "}", "]", ",", ":", "\\", "\xc3"));
    }
    return text;
  });
}

}  // namespace wfo::events::tests
