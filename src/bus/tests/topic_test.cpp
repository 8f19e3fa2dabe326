#include "bus/topic.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>

namespace wfo::bus {
namespace {

struct Case {
  std::string_view pattern;
  std::string_view key;
  bool matches;
};

TEST(Topic, MatchesAsAmqpDefinesIt) {
  constexpr Case kCases[] = {
      {"workflow.job.trigger", "workflow.job.trigger", true},
      {"workflow.job.trigger", "workflow.job", false},
      {"workflow.job", "workflow.job.trigger", false},
      {"workflow.job.trigger", "workflow.job.Trigger", false},
      {"*", "a", true},
      {"*", "a.b", false},
      {"*.b", "a.b", true},
      {"a.*", "a.b", true},
      {"a.*", "a", false},
      {"a.*", "a.b.c", false},
      {"a.*.c", "a.b.c", true},
      {"*.*", "a.b", true},
      {"#", "a", true},
      {"#", "a.b.c", true},
      {"a.#", "a", true},
      {"a.#", "a.b", true},
      {"a.#", "a.b.c", true},
      {"a.#", "ab", false},
      {"#.c", "c", true},
      {"#.c", "a.b.c", true},
      {"#.c", "a.c.b", false},
      {"a.#.c", "a.c", true},
      {"a.#.c", "a.b.b.c", true},
      {"a.#.c", "a.b.c.d", false},
      {"#.#", "a", true},
      {"#.*", "a", true},
      {"*.#", "a", true},
      {"#.a.#", "b.b.a.b", true},
      {"#.a.#.b.#", "x.a.y.b", true},
      {"#.a.#.b.#", "x.b.y.a", false},
      {"#.a.*.b", "a.a.x.b", true},
      {"audit.#", "audit.verification.failed", true},
      {"workflow.*.failed", "workflow.job.failed", true},
  };
  for (const auto& [pattern, key, expected] : kCases) {
    EXPECT_EQ(topic_matches(pattern, key), expected) << "'" << pattern << "' and '" << key << "'";
  }
}

TEST(Topic, SplitsEmptyWordsAsRabbitMqDoes) {
  constexpr Case kCases[] = {
      {"", "", true},      {"", "a", false},        {"#", "", true},        {"*", "", false},
      {"a.#", "a.", true}, {"a.*", "a.", true},     {"a", "a.", false},     {"*.*", ".", true},
      {"*", ".", false},   {"a.*.b", "a..b", true}, {"a..b", "a..b", true}, {"a.b", "a..b", false},
  };
  for (const auto& [pattern, key, expected] : kCases) {
    EXPECT_EQ(topic_matches(pattern, key), expected) << "'" << pattern << "' and '" << key << "'";
  }
}

TEST(Topic, TakesSignsInsideAWordForWhatTheyAre) {
  EXPECT_FALSE(topic_matches("a*", "ab"));
  EXPECT_FALSE(topic_matches("a#", "a.b"));
  EXPECT_TRUE(topic_matches("a*", "a*"));
  EXPECT_TRUE(topic_matches("*", "#"));
}

// The definition, word for word: `#` tries every number of words.
bool reference(const std::vector<std::string>& pattern, std::size_t p, const std::vector<std::string>& key,
               std::size_t k) {
  if (p == pattern.size()) return k == key.size();
  if (pattern[p] == "#") {
    for (std::size_t taken = k; taken <= key.size(); ++taken) {
      if (reference(pattern, p + 1, key, taken)) return true;
    }
    return false;
  }
  return k < key.size() && (pattern[p] == "*" || pattern[p] == key[k]) && reference(pattern, p + 1, key, k + 1);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() && &word == &words.front() ? "" : ".") + word;
  return text;
}

RC_GTEST_PROP(Topic, AgreesWithTheDefinition, ()) {
  const auto pattern_words = *rc::gen::inRange<std::size_t>(0, 8);
  const auto key_words = *rc::gen::inRange<std::size_t>(0, 9);
  const auto pattern =
      *rc::gen::container<std::vector<std::string>>(pattern_words, rc::gen::element<std::string>("a", "b", "*", "#"));
  const auto key =
      *rc::gen::container<std::vector<std::string>>(key_words, rc::gen::element<std::string>("a", "b", "c"));
  const bool expected = reference(pattern, 0, key, 0);
  RC_TAG(expected ? "matches" : "does not");
  RC_ASSERT(topic_matches(joined(pattern), joined(key)) == expected);
}

TEST(Topic, IsNotSlowForAnyPattern) {
  std::string pattern = "#";
  std::string key = "a";
  for (int i = 0; i < 60; ++i) {
    pattern += ".a.#";
    key += ".a.a";
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(topic_matches(pattern + ".b", key));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(TopicFilter, WantsWhatAnyOfItsPatternsMatches) {
  const TopicFilter filter({"workflow.job.*", "audit.#"});
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(filter.wants("workflow.job.failed"));
    EXPECT_TRUE(filter.wants("audit.alert.triggered"));
    EXPECT_FALSE(filter.wants("workflow.step.completed"));
  }
}

TEST(TopicFilter, AnswersRightBeyondWhatItRemembers) {
  const TopicFilter filter({"*.even"});
  for (int i = 0; i < 10'000; ++i) {
    const auto type = std::to_string(i) + (i % 2 == 0 ? ".even" : ".odd");
    ASSERT_EQ(filter.wants(type), i % 2 == 0) << type;
  }
}

}  // namespace
}  // namespace wfo::bus
