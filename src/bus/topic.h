#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "store/event_log.h"

namespace wfo::bus {

/// AMQP 0-9-1 topic semantics: words are separated by dots; `*` stands for exactly one word, `#` for zero or more.
/// Where the standard is silent, as RabbitMQ has it: an empty text has no word, neighbouring dots enclose an empty one.
[[nodiscard]] bool topic_matches(std::string_view pattern, std::string_view routing_key);

/// Whether any of some patterns matches a type. Remembers its answers (at most 4,096). One thread.
class TopicFilter final : public store::TypeFilter {
 public:
  explicit TopicFilter(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}
  [[nodiscard]] bool wants(std::string_view event_type) const override;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<std::string> patterns_;
  mutable std::unordered_map<std::string, bool, Hash, std::equal_to<>> answers_;
};

}  // namespace wfo::bus
