#include "bus/topic.h"

#include <optional>
#include <tuple>
#include <utility>

namespace wfo::bus {
namespace {

/// The words of a topic, one after the other. As RabbitMQ splits it: an empty text has no word, `a.` has two.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text), left_(!text.empty()) {}
  [[nodiscard]] bool left() const { return left_; }
  std::string_view take() {
    const auto dot = rest_.find('.');
    left_ = dot != std::string_view::npos;
    const auto word = rest_.substr(0, dot);
    rest_ = left_ ? rest_.substr(dot + 1) : std::string_view();
    return word;
  }

 private:
  std::string_view rest_;
  bool left_;
};

}  // namespace

bool topic_matches(std::string_view pattern, std::string_view routing_key) {
  Words wanted(pattern);
  Words words(routing_key);
  // Where to go on if the last `#` must take one word more: behind it, and behind the words that it has. Only the last
  // one ever needs to grow, so the cost is words × words at most, whatever the pattern.
  std::optional<std::pair<Words, Words>> last_hash;
  for (;;) {
    if (wanted.left()) {
      const auto pattern_word = wanted.take();
      if (pattern_word == "#") {
        last_hash = {wanted, words};
        continue;
      }
      if (words.left()) {
        const auto word = words.take();
        if (pattern_word == "*" || pattern_word == word) continue;
      }
    } else if (!words.left()) {
      return true;
    }
    if (!last_hash || !last_hash->second.left()) return false;
    last_hash->second.take();
    std::tie(wanted, words) = *last_hash;
  }
}

bool TopicFilter::wants(std::string_view event_type) const {
  constexpr std::size_t kAnswersMax = 4'096;
  if (const auto known = answers_.find(event_type); known != answers_.end()) return known->second;
  bool wanted = false;
  for (const auto& pattern : patterns_) wanted = wanted || topic_matches(pattern, event_type);
  if (answers_.size() < kAnswersMax) answers_.emplace(event_type, wanted);
  return wanted;
}

}  // namespace wfo::bus
