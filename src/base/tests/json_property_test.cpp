// The second opinion on our JSON parser (docs/adr/0003-json.md): Boost.JSON on the same texts, event by event. Its
// parser is compiled into this file alone, so that nothing of it gets into the program.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/src.hpp>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace wfo::json {
namespace {

using namespace std::string_view_literals;

// More cases than the library's 100, unless somebody asks for a number of their own.
const int kCases = setenv("RC_PARAMS", "max_success=2000", 0);

/// What Boost.JSON sees in a text, as lines, and which of the rules that ADR 0003 adds the text breaks.
struct SecondOpinion {
  static constexpr std::size_t max_object_size = std::size_t(-1);
  static constexpr std::size_t max_array_size = std::size_t(-1);
  static constexpr std::size_t max_key_size = std::size_t(-1);
  static constexpr std::size_t max_string_size = std::size_t(-1);
  using Code = boost::json::error_code;
  using View = boost::json::string_view;

  bool open(std::string_view what) {
    seen.emplace_back(what);
    names.emplace_back();
    deepest = std::max(deepest, names.size());
    return true;
  }
  bool close(std::string_view what, std::size_t size) {
    seen.push_back(fmt::format("{} {}", what, size));
    names.pop_back();
    return true;
  }
  bool take(std::string_view what, View last_part) {
    text.append(last_part.data(), last_part.size());
    has_nul = has_nul || text.find('\0') != std::string::npos;
    seen.push_back(fmt::format("{} {}", what, text));
    if (what == "key" && !names.back().insert(text).second) has_duplicate = true;
    text.clear();
    return true;
  }
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return open("{"); }
  bool on_object_end(std::size_t size, Code&) { return close("}", size); }
  bool on_array_begin(Code&) { return open("["); }
  bool on_array_end(std::size_t size, Code&) { return close("]", size); }
  bool on_key_part(View part, std::size_t, Code&) { return on_part(part); }
  bool on_key(View part, std::size_t, Code&) { return take("key", part); }
  bool on_string_part(View part, std::size_t, Code&) { return on_part(part); }
  bool on_string(View part, std::size_t, Code&) { return take("string", part); }
  bool on_number_part(View part, Code&) { return on_part(part); }
  bool on_int64(std::int64_t, View part, Code&) { return take("number", part); }
  bool on_uint64(std::uint64_t, View part, Code&) { return take("number", part); }
  bool on_double(double, View part, Code&) { return take("number", part); }
  bool on_bool(bool value, Code&) {
    seen.emplace_back(value ? "true" : "false");
    return true;
  }
  bool on_null(Code&) {
    seen.emplace_back("null");
    return true;
  }
  bool on_comment_part(View, Code&) { return true; }
  bool on_comment(View, Code&) { return true; }
  bool on_part(View part) {
    text.append(part.data(), part.size());
    return true;
  }

  [[nodiscard]] bool breaks_a_rule_of_ours() const {
    return has_duplicate || has_nul || deepest > static_cast<std::size_t>(kDepthMax);
  }

  std::string text;                          // of the key, string or number that is being read
  std::vector<std::set<std::string>> names;  // of the objects that are open
  std::vector<std::string> seen;
  std::size_t deepest = 0;
  bool has_duplicate = false;
  bool has_nul = false;
};

struct Judged {
  bool accepted;
  bool beyond_boost;  // an exponent that Boost.JSON cannot count; the grammar has nothing against it
  SecondOpinion opinion;
};

Judged ask_boost(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = 100'000;
  boost::json::basic_parser<SecondOpinion> parser(options);
  boost::json::error_code error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  const bool rest_is_space = text.substr(std::min(read, text.size())).find_first_not_of(" \t\r\n") == text.npos;
  return {!error && rest_is_space, error == boost::json::error::exponent_overflow, std::move(parser.handler())};
}

void list(Value value, std::vector<std::string>& seen) {
  switch (value.kind()) {
    case Kind::object:
      seen.emplace_back("{");
      for (const auto [key, member] : value.members()) {
        seen.push_back(fmt::format("key {}", key.string().value()));
        list(member, seen);
      }
      seen.push_back(fmt::format("}} {}", value.size()));
      return;
    case Kind::array:
      seen.emplace_back("[");
      for (const Value element : value.elements()) list(element, seen);
      seen.push_back(fmt::format("] {}", value.size()));
      return;
    case Kind::string:
      seen.push_back(fmt::format("string {}", value.string().value()));
      return;
    case Kind::number:
      seen.push_back(fmt::format("number {}", value.raw()));
      return;
    default:
      seen.emplace_back(value.raw());
  }
}

/// Both parsers agree on `text`, in their verdict and in everything that they see.
void compare(const std::string& text) {
  const auto document = Document::parse(text);
  const Judged boost = ask_boost(text);
  if (boost.beyond_boost) return;
  const bool wanted = boost.accepted && !boost.opinion.breaks_a_rule_of_ours();
  if (document.has_value() != wanted) {
    RC_FAIL(fmt::format("{} by us ({}), {} by Boost.JSON: {}", document ? "accepted" : "refused",
                        document ? "" : document.error().message, boost.accepted ? "accepted" : "refused", text));
  }
  if (!document) return;
  std::vector<std::string> seen;
  list(document->root(), seen);
  if (seen != boost.opinion.seen) RC_FAIL("another content than Boost.JSON's: " + text);
}

/// Texts with all that the grammar has, of a size where everything meets everything. The same `seed`, the same text.
class TextMaker {
 public:
  explicit TextMaker(std::uint64_t seed) : dice_(seed) {}

  std::string make() {
    text_.clear();
    space();
    value(static_cast<int>(pick(6)));
    space();
    return text_;
  }

  std::string make_number() {
    text_.clear();
    number();
    return text_;
  }

  /// `text` with a few small accidents.
  std::string mutate(std::string text) {
    static constexpr std::string_view kPieces[] = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ":",
                                                   "\"",
                                                   "\\",
                                                   "-",
                                                   "+",
                                                   ".",
                                                   "e",
                                                   "E",
                                                   "0",
                                                   "1",
                                                   "null",
                                                   "tru",
                                                   " ",
                                                   "\n",
                                                   "\t",
                                                   "\x01",
                                                   "\x1f",
                                                   "\x7f",
                                                   "\x80",
                                                   "\xc3",
                                                   "\xc0\xaf",
                                                   "\xed\xa0\x80",
                                                   "\xf4\x90\x80\x80",
                                                   "\xe2\x82\xac",
                                                   "\xff",
                                                   "\\u",
                                                   "\\u0000",
                                                   "\\ud800",
                                                   "\\udc00",
                                                   "\\n",
                                                   "\\/",
                                                   "\\x",
                                                   "\"a\":1",
                                                   ",\"a\":1",
                                                   "\"\"",
                                                   "/",
                                                   "'",
                                                   "\0"sv,
                                                   "\xef\xbb\xbf",
                                                   "00",
                                                   "1e5",
                                                   "-0",
                                                   "\\u00",
                                                   "[[[[",
                                                   "]]]]"};
    for (std::uint64_t count = 1 + pick(3); count > 0; --count) {
      const std::size_t at = pick(text.size() + 1);
      const std::size_t length = pick(std::min<std::size_t>(text.size() - at, 8) + 1);
      switch (pick(6)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, text.substr(at, length));
          break;
        case 2:
          text.resize(at);
          break;
        case 3:
          if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << pick(8)));
          break;
        case 4:
          text.replace(at, length, kPieces[pick(std::size(kPieces))]);
          break;
        default:
          text.insert(at, kPieces[pick(std::size(kPieces))]);
      }
    }
    return text;
  }

  std::uint64_t pick(std::uint64_t below) { return dice_() % below; }

 private:
  void space() {
    while (pick(4) == 0) text_ += " \t\r\n"[pick(4)];
  }

  void value(int depth) {
    switch (pick(depth > 0 ? 8 : 5)) {
      case 0:
        text_ += (std::array{"null"sv, "true"sv, "false"sv})[pick(3)];
        return;
      case 1:
      case 2:
        return number();
      case 3:
      case 4:
        return string();
      case 5:
        return array(depth);
      default:
        return object(depth);
    }
  }

  void array(int depth) {
    text_ += '[';
    space();
    for (std::uint64_t count = pick(5); count > 0; --count) {
      value(depth - 1);
      space();
      if (count > 1) text_ += ',';
      space();
    }
    text_ += ']';
  }

  // Keys are few at times, so that they come twice, in one spelling or in two.
  void object(int depth) {
    text_ += '{';
    space();
    const std::uint64_t count = pick(20) == 0 ? 60 : pick(6);
    const bool numbered = pick(3) != 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (numbered) {
        text_ += pick(8) == 0 ? "\"\\u006b" : "\"k";
        text_ += fmt::format("{}\"", pick(40) == 0 ? pick(60) : i);
      } else {
        string();
      }
      space();
      text_ += ':';
      space();
      value(count > 6 ? 0 : depth - 1);
      space();
      if (i + 1 < count) text_ += ',';
      space();
    }
    text_ += '}';
  }

  void digits() {
    for (std::uint64_t count = 1 + pick(pick(4) == 0 ? 25 : 3); count > 0; --count) {
      text_ += static_cast<char>('0' + pick(10));
    }
  }

  void number() {
    if (pick(3) == 0) text_ += '-';
    if (pick(3) == 0) {
      text_ += '0';
    } else {
      text_ += static_cast<char>('1' + pick(9));
      if (pick(2) == 0) digits();
    }
    if (pick(3) == 0) {
      text_ += '.';
      digits();
    }
    if (pick(4) == 0) {
      text_ += "eE"[pick(2)];
      text_ += (std::array{""sv, "+"sv, "-"sv})[pick(3)];
      text_ += fmt::format("{}", pick(400));
    }
  }

  void string() {
    static constexpr std::string_view kPieces[] = {"a",
                                                   "b",
                                                   "plain text of some length",
                                                   "\\\"",
                                                   "\\\\",
                                                   "\\/",
                                                   "\\b",
                                                   "\\f",
                                                   "\\n",
                                                   "\\r",
                                                   "\\t",
                                                   "\\u0061",
                                                   "\\u001f",
                                                   "\\u00e9",
                                                   "\\u20AC",
                                                   "\\ud83d\\ude00",
                                                   "\xc3\xa9",
                                                   "\xe2\x82\xac",
                                                   "\xf0\x9f\x98\x80",
                                                   "\x7f",
                                                   "\xef\xbf\xbf",
                                                   "\xf4\x8f\xbf\xbf",
                                                   "12345678",
                                                   "{[,:]}"};
    text_ += '"';
    while (pick(3) != 0) text_ += kPieces[pick(std::size(kPieces))];
    text_ += '"';
  }

  std::mt19937_64 dice_;
  std::string text_;
};

RC_GTEST_PROP(AnyJson, IsReadAsBoostReadsIt, (std::uint64_t seed)) { compare(TextMaker(seed).make()); }

RC_GTEST_PROP(AnyJson, IsReadAsBoostReadsItAfterAccidents, (std::uint64_t seed)) {
  TextMaker maker(seed);
  const std::string text = maker.make();
  for (int i = 0; i < 10; ++i) compare(maker.mutate(text));
}

RC_GTEST_PROP(AnyJson, IsReadAsBoostReadsItWhateverTheBytes, (const std::string& bytes)) { compare(bytes); }

RC_GTEST_PROP(AnyJson, IsRefusedWhenItsEndIsMissing, (std::uint64_t seed)) {
  const std::string text = "[" + TextMaker(seed).make() + "]";
  for (std::size_t size = 0; size < text.size(); ++size) RC_ASSERT(!Document::parse(text.substr(0, size)));
}

RC_GTEST_PROP(AnyJson, HasItsTokensWhereTheyStand, (std::uint64_t seed)) {
  const auto document = Document::parse(TextMaker(seed).make());
  if (!document) return;  // a key came twice
  const auto check = [&](const auto& self, Value value) -> void {
    const auto again = Document::parse(std::string(value.raw()));
    RC_ASSERT(again.has_value());
    RC_ASSERT(again->root().raw() == value.raw());
    RC_ASSERT(again->root().kind() == value.kind());
    for (const Value element : value.elements()) self(self, element);
    for (const auto [key, member] : value.members()) {
      RC_ASSERT(value.find(key.string().value())->raw() == member.raw());
      RC_ASSERT(key.equals(key.string().value()));
      self(self, member);
    }
  };
  check(check, document->root());
}

// As deep as both sides of the bound, with containers of both kinds in any order.
RC_GTEST_PROP(AnyJson, IsBoundedInDepth, ()) {
  const int levels = *rc::gen::inRange(kDepthMax - 2, kDepthMax + 3);
  std::string text = "0";
  for (int i = 0; i < levels; ++i) text = *rc::gen::arbitrary<bool>() ? "[" + text + "]" : "{\"a\":" + text + "}";
  RC_ASSERT(Document::parse(text).has_value() == (levels <= kDepthMax));
}

RC_GTEST_PROP(AnyString, ReadsBackWhateverItHolds, (const std::string& bytes)) {
  std::string text;
  append_quoted(text, bytes);
  const auto document = Document::parse(text);
  RC_ASSERT(document.has_value());
  const std::string read = document->root().string().value();
  const bool is_clean = read.find("\xef\xbf\xbd") == std::string::npos;
  if (is_clean) RC_ASSERT(read == bytes);
  if (ask_boost('"' + bytes + '"').accepted) RC_ASSERT(read == bytes);
  compare(text);
}

RC_GTEST_PROP(AnyString, ReadsBackWhateverItsCharactersAre, ()) {
  const auto codes = *rc::gen::container<std::vector<std::uint32_t>>(
      rc::gen::oneOf(rc::gen::inRange<std::uint32_t>(1, 0x100), rc::gen::inRange<std::uint32_t>(0x2020, 0x2070),
                     rc::gen::inRange<std::uint32_t>(1, 0xd800), rc::gen::inRange<std::uint32_t>(0xe000, 0x110000)));
  std::string text;
  std::string escaped = "\"";
  for (const std::uint32_t code : codes) {
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += {static_cast<char>(0xc0 + code / 64), static_cast<char>(0x80 + code % 64)};
    } else if (code < 0x10000) {
      text += {static_cast<char>(0xe0 + code / 4096), static_cast<char>(0x80 + code / 64 % 64),
               static_cast<char>(0x80 + code % 64)};
    } else {
      text += {static_cast<char>(0xf0 + code / 262144), static_cast<char>(0x80 + code / 4096 % 64),
               static_cast<char>(0x80 + code / 64 % 64), static_cast<char>(0x80 + code % 64)};
    }
    if (code < 0x10000) {
      escaped += fmt::format("\\u{:04x}", code);
    } else {
      escaped += fmt::format("\\u{:04X}\\u{:04x}", 0xd800 + (code - 0x10000) / 1024, 0xdc00 + (code - 0x10000) % 1024);
    }
  }
  escaped += '"';
  std::string quoted;
  append_quoted(quoted, text);
  const auto read = Document::parse(quoted);
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->root().string() == text);
  RC_ASSERT(read->root().equals(text));
  const auto spelled_out = Document::parse(escaped);
  RC_ASSERT(spelled_out.has_value());
  RC_ASSERT(spelled_out->root().string() == text);
  RC_ASSERT(spelled_out->root().equals(text));
  RC_ASSERT(!spelled_out->root().equals(text + "x"));
}

RC_GTEST_PROP(AnyNumber, ReadsBackAsItWasWritten, (std::uint64_t bits, std::int64_t integer)) {
  double number;
  std::memcpy(&number, &bits, sizeof number);
  if (!std::isfinite(number)) number = static_cast<double>(integer) / 1000;
  std::string text;
  Writer(text).begin_array().number(number).number(integer).end_array();
  const auto document = Document::parse(text);
  RC_ASSERT(document.has_value());
  auto element = document->root().elements().begin();
  RC_ASSERT((*element).number() == number);
  ++element;
  RC_ASSERT((*element).integer() == integer);
}

// The same value with its point anywhere, written out or moved by the exponent, with zeros at either end.
RC_GTEST_PROP(AnyNumber, IsTheSameIntegerInEverySpelling, (std::int64_t value)) {
  value >>= *rc::gen::inRange(0, 60);
  const int shift = *rc::gen::inRange(-30, 31);
  std::string digits =
      fmt::format("{}", value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value));
  std::string text;
  if (shift >= 0) {  // digits.000e0, shifted right
    digits.insert(0, static_cast<std::size_t>(shift) + 1, '0');
    digits.insert(digits.size() - static_cast<std::size_t>(shift), ".");
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.find('.') - 1));
    text = fmt::format("{}{}0e{}", digits, shift == 0 ? "0" : "", shift);
  } else {
    text = value == 0 ? "0" : digits + std::string(static_cast<std::size_t>(-shift), '0');
    text += fmt::format("e{}", value == 0 ? 0 : shift);
  }
  if (value < 0) text.insert(0, "-");
  const auto document = Document::parse(text);
  if (!document) RC_FAIL(text + ": " + document.error().message);
  if (document->root().integer() != value) RC_FAIL(text);
}

RC_GTEST_PROP(AnyNumber, IsNoIntegerWithAFraction, (std::int64_t value)) {
  const int digits = *rc::gen::inRange(1, 40);
  const auto document = Document::parse(fmt::format("{}.{:0>{}}", value, *rc::gen::inRange(1, 10), digits));
  RC_ASSERT(document.has_value());
  RC_ASSERT(!document->root().integer());
}

RC_GTEST_PROP(AnyNumber, IsTheOneThatTheLibraryOfCReads, (std::uint64_t seed)) {
  const auto document = Document::parse(TextMaker(seed).make_number());
  RC_ASSERT(document.has_value());
  const std::string text(document->root().raw());
  const double wanted = std::strtod(text.c_str(), nullptr);
  if (std::isfinite(wanted)) {
    RC_ASSERT(document->root().number() == wanted);
  } else {
    RC_ASSERT(!document->root().number());
  }
}

}  // namespace
}  // namespace wfo::json
