#include "base/json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>

namespace wfo::json {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
constexpr std::uint64_t kTops = 0x8080808080808080ULL;

/// The first byte in [at, end) that ends a run of plain ASCII characters of a string: a quote, a backslash, a control
/// character or a byte of a longer UTF-8 sequence; `end` if there is none.
const char* plain_run_end(const char* at, const char* end) {
  if constexpr (std::endian::native == std::endian::little) {
    while (end - at >= 8) {
      std::uint64_t word;
      std::memcpy(&word, at, sizeof word);
      const std::uint64_t quote = word ^ (kOnes * '"');
      const std::uint64_t backslash = word ^ (kOnes * '\\');
      // Each term may flag bytes falsely, but only above one that it flags rightly, and the lowest one is taken.
      const std::uint64_t stops =
          (((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash) | (word - kOnes * 0x20) | word) & kTops;
      if (stops != 0) return at + std::countr_zero(stops) / 8;
      at += 8;
    }
  }
  for (; at != end; ++at) {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\') break;
  }
  return at;
}

/// The length of the well-formed UTF-8 sequence of two to four bytes at `at` (RFC 3629 §4), or 0.
int utf8_length(const char* at, const char* end) {
  const auto byte = [at](int i) { return static_cast<unsigned char>(at[i]); };
  const auto continues = [&](int i) { return (byte(i) & 0xc0) == 0x80; };
  const std::ptrdiff_t left = end - at;
  const unsigned char lead = byte(0);
  if (lead >= 0xc2 && lead <= 0xdf) return left >= 2 && continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (lead == 0xed && byte(1) > 0x9f) return 0;  // a surrogate
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
    if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

int utf8_encode(std::uint32_t code, char* to) {
  const auto continuation = [code](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    to[0] = static_cast<char>(code);
    return 1;
  }
  if (code < 0x800) {
    to[0] = static_cast<char>(0xc0 | (code >> 6));
    to[1] = continuation(0);
    return 2;
  }
  if (code < 0x10000) {
    to[0] = static_cast<char>(0xe0 | (code >> 12));
    to[1] = continuation(6);
    to[2] = continuation(0);
    return 3;
  }
  to[0] = static_cast<char>(0xf0 | (code >> 18));
  to[1] = continuation(12);
  to[2] = continuation(6);
  to[3] = continuation(0);
  return 4;
}

constexpr std::uint32_t utf8_decode(const char* at, int length) {
  std::uint32_t code = static_cast<unsigned char>(*at) & (0xffU >> (length + 1));
  for (int i = 1; i < length; ++i) code = (code << 6) | (static_cast<unsigned char>(at[i]) & 0x3f);
  return code;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The value of the four hex digits at `at`, or -1.
int hex4(const char* at, const char* end) {
  if (end - at < 4) return -1;
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(at[i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

constexpr bool is_high_surrogate(int code) { return code >= 0xd800 && code <= 0xdbff; }
constexpr bool is_low_surrogate(int code) { return code >= 0xdc00 && code <= 0xdfff; }
constexpr std::uint32_t join_surrogates(int high, int low) {
  return 0x10000U + (static_cast<std::uint32_t>(high - 0xd800) << 10) + static_cast<std::uint32_t>(low - 0xdc00);
}

/// What the backslash and `letter` stand for; 0 if for nothing, `\u` included.
char simple_escape(char letter) {
  switch (letter) {
    case '"':
    case '\\':
    case '/':
      return letter;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

/// Walks the inside of a string that the parser has accepted, piece by piece, unescaped.
class Unescaper {
 public:
  explicit Unescaper(std::string_view inside) : at_(inside.data()), end_(at_ + inside.size()) {}
  /// The next piece, empty at the end; void at the next call.
  std::string_view next() {
    if (at_ == end_) return {};
    if (*at_ != '\\') {
      const char* const start = at_;
      const void* const backslash = std::memchr(at_, '\\', static_cast<std::size_t>(end_ - at_));
      at_ = backslash ? static_cast<const char*>(backslash) : end_;
      return {start, static_cast<std::size_t>(at_ - start)};
    }
    if (at_[1] != 'u') {
      piece_[0] = simple_escape(at_[1]);
      at_ += 2;
      return {piece_.data(), 1};
    }
    const int code = hex4(at_ + 2, end_);
    at_ += 6;
    if (!is_high_surrogate(code)) return encoded(static_cast<std::uint32_t>(code));
    const int low = hex4(at_ + 2, end_);
    at_ += 6;
    return encoded(join_surrogates(code, low));
  }

 private:
  std::string_view encoded(std::uint32_t code) {
    return {piece_.data(), static_cast<std::size_t>(utf8_encode(code, piece_.data()))};
  }
  const char* at_;
  const char* const end_;
  std::array<char, 4> piece_{};
};

std::string unescape(std::string_view inside) {
  std::string text;
  text.reserve(inside.size());
  Unescaper unescaper(inside);
  for (auto piece = unescaper.next(); !piece.empty(); piece = unescaper.next()) text += piece;
  return text;
}

bool unescaped_equals(std::string_view inside, std::string_view text) {
  if (inside.size() < text.size()) return false;  // an escape is never shorter than what it stands for
  Unescaper unescaper(inside);
  for (auto piece = unescaper.next(); !piece.empty(); piece = unescaper.next()) {
    if (!text.starts_with(piece)) return false;
    text.remove_prefix(piece.size());
  }
  return text.empty();
}

/// A number token taken apart: 0.d1d2d3... times ten to the power of `point`, without zeros at either end.
struct Decimal {
  static constexpr std::size_t kDigitsMax = 20;
  bool negative = false;
  std::array<char, kDigitsMax> digits{};  // the first ones
  std::int64_t length = 0;                // of all digits, also those that `digits` cannot hold; 0 for zero
  std::int64_t point = 0;
};

Decimal take_apart(std::string_view token) {
  constexpr std::int64_t kExponentMax = 1'000'000'000;  // no token is long enough to outweigh it
  Decimal decimal;
  std::size_t at = 0;
  if (token[0] == '-') {
    decimal.negative = true;
    ++at;
  }
  std::int64_t written = 0;  // digits since the first that is not zero
  bool behind_point = false;
  for (; at < token.size() && token[at] != 'e' && token[at] != 'E'; ++at) {
    const char c = token[at];
    if (c == '.') {
      behind_point = true;
      continue;
    }
    if (written == 0 && c == '0') {
      if (behind_point) --decimal.point;
      continue;
    }
    if (!behind_point) ++decimal.point;
    if (written < static_cast<std::int64_t>(Decimal::kDigitsMax)) decimal.digits[static_cast<std::size_t>(written)] = c;
    ++written;
    if (c != '0') decimal.length = written;
  }
  if (at < token.size()) {
    ++at;
    const bool down = token[at] == '-';
    if (down || token[at] == '+') ++at;
    std::int64_t exponent = 0;
    for (; at < token.size(); ++at) exponent = std::min(exponent * 10 + (token[at] - '0'), kExponentMax);
    decimal.point += down ? -exponent : exponent;
  }
  return decimal;
}

std::size_t column_at(std::string_view line) {
  const auto characters = std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; });
  return static_cast<std::size_t>(characters) + 1;
}

/// What stands at `at`, for an error message.
std::string describe(const char* at, const char* end) {
  if (at == end) return "the end of the text";
  const auto byte = static_cast<unsigned char>(*at);
  if (std::string_view(at, static_cast<std::size_t>(end - at)).starts_with("\xef\xbb\xbf")) return "a byte order mark";
  if (byte > 0x20 && byte < 0x7f) return fmt::format("'{}'", *at);
  if (byte == ' ') return "a space";
  return fmt::format("byte 0x{:02X}", byte);
}

/// A key for an error message: its token, cut if long.
std::string shortened(std::string_view token) {
  constexpr std::size_t kBytesMax = 80;
  if (token.size() <= kBytesMax) return std::string(token);
  std::size_t size = kBytesMax;
  while ((token[size] & 0xc0) == 0x80) --size;
  return std::string(token.substr(0, size)) + "...";
}

}  // namespace

/// One pass over the text, without recursion; appends to the document's nodes. The text of a std::string ends with a
/// NUL, which no rule accepts, so that most places need not ask whether the text ends there.
class Parser {
 public:
  explicit Parser(Document& document)
      : begin_(document.text_.data()), end_(begin_ + document.text_.size()), at_(begin_), nodes_(document.nodes_) {}

  Result<void> run() {
    // A guess that fits events; what is denser grows by itself, and nobody gets much memory for a text that may be bad.
    constexpr std::size_t kReservedMax = 65'536;
    nodes_.reserve(std::min(static_cast<std::size_t>(end_ - begin_) / 12 + 4, kReservedMax));
    if (document()) return {};
    const std::string_view before(begin_, static_cast<std::size_t>(where_ - begin_));
    const auto line = static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
    const auto column = column_at(line == 1 ? before : before.substr(before.rfind('\n') + 1));
    return fail(ErrorCode::invalid_argument, "JSON, line {}, column {}: {}", line, column, why_);
  }

 private:
  using Node = Document::Node;

  struct Frame {
    std::uint32_t node;
    char close;
    std::uint64_t names_seen;  // one bit for each value of name_bit among the keys so far
  };

  // Up to so many members a new key is compared with those before it; beyond, keys are sorted once at the end.
  static constexpr std::uint32_t kComparedMax = 32;

  // Iterative: depth is the text's choice, our stack is not.
  bool document() {
    skip_space();
    while (true) {
      switch (*at_) {
        case '{':
          if (!open(Kind::object, '}')) return false;
          if (*at_ != '}') {
            if (!key()) return false;
            continue;
          }
          if (!close()) return false;
          break;
        case '[':
          if (!open(Kind::array, ']')) return false;
          if (*at_ != ']') continue;
          if (!close()) return false;
          break;
        case '"':
          if (!string()) return false;
          break;
        case 't':
          if (!literal("true", Kind::boolean)) return false;
          break;
        case 'f':
          if (!literal("false", Kind::boolean)) return false;
          break;
        case 'n':
          if (!literal("null", Kind::null)) return false;
          break;
        default:
          if (!number()) return false;
      }
      while (true) {
        skip_space();
        if (depth_ == 0) return at_ == end_ || expected("the end of the text");
        const Frame& frame = frames_[depth_ - 1];
        Node& container = nodes_[frame.node];
        container.count = container.count + 1;
        if (*at_ == ',') {
          ++at_;
          skip_space();
          if (frame.close == '}' && !key()) return false;
          break;
        }
        if (*at_ != frame.close) return expected(frame.close == '}' ? "',' or '}'" : "',' or ']'");
        if (!close()) return false;
      }
    }
  }

  bool open(Kind kind, char close) {
    if (depth_ == frames_.size()) return refuse(at_, fmt::format("more than {} levels", kDepthMax));
    frames_[depth_++] = {static_cast<std::uint32_t>(nodes_.size()), close, 0};
    add(kind, at_);
    ++at_;
    skip_space();
    return true;
  }

  bool close() {
    ++at_;
    const Frame& frame = frames_[--depth_];
    Node& node = nodes_[frame.node];
    node.end = offset(at_);
    node.next = static_cast<std::uint32_t>(nodes_.size());
    return frame.close != '}' || node.count <= kComparedMax || all_keys_differ(frame.node);
  }

  bool key() {
    if (*at_ != '"') return expected("a key in quotes");
    const auto node = static_cast<std::uint32_t>(nodes_.size());
    if (!string()) return false;
    Frame& frame = frames_[depth_ - 1];
    if (nodes_[frame.node].count < kComparedMax && !differs_from_earlier(frame, node)) return false;
    skip_space();
    if (*at_ != ':') return expected("':' behind a key");
    ++at_;
    skip_space();
    return true;
  }

  // Most keys of an object differ in length or in one of their ends, so one bit decides without a comparison.
  static std::uint64_t name_bit(std::string_view name) {
    if (name.empty()) return 1;
    const auto mixed = static_cast<std::uint32_t>(name.size() << 16) | static_cast<unsigned char>(name.front()) |
                       static_cast<std::uint32_t>(static_cast<unsigned char>(name.back()) << 8);
    return std::uint64_t{1} << ((mixed * 0x9e3779b1U) >> 26);
  }

  bool differs_from_earlier(Frame& frame, std::uint32_t key) {
    const bool escaped = nodes_[key].escaped != 0;
    const std::string unescaped = escaped ? unescape(inside(key)) : std::string();
    const std::string_view name = escaped ? std::string_view(unescaped) : inside(key);
    const std::uint64_t bit = name_bit(name);
    if ((frame.names_seen & bit) != 0) {
      for (std::uint32_t earlier = frame.node + 1; earlier != key; earlier = nodes_[earlier + 1].next) {
        const std::string_view other = inside(earlier);
        if (nodes_[earlier].escaped != 0 ? unescaped_equals(other, name) : other == name) return refuse_duplicate(key);
      }
    }
    frame.names_seen |= bit;
    return true;
  }

  // Sorting takes n log n for whatever keys a sender thinks up; a hash table would have to defend itself.
  bool all_keys_differ(std::uint32_t object) {
    struct Name {
      std::string_view text;
      std::uint32_t key;
    };
    std::deque<std::string> unescaped;
    std::vector<Name> names;
    names.reserve(nodes_[object].count);
    for (std::uint32_t key = object + 1; key != nodes_[object].next; key = nodes_[key + 1].next) {
      const bool escaped = nodes_[key].escaped != 0;
      names.push_back({escaped ? unescaped.emplace_back(unescape(inside(key))) : inside(key), key});
    }
    std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) {
      const int order = a.text.compare(b.text);
      return order != 0 ? order < 0 : a.key < b.key;
    });
    std::uint32_t first_repeat = 0;
    for (std::size_t i = 1; i < names.size(); ++i) {
      if (names[i].text != names[i - 1].text) continue;
      if (first_repeat == 0 || names[i].key < first_repeat) first_repeat = names[i].key;
    }
    return first_repeat == 0 || refuse_duplicate(first_repeat);
  }

  bool string() {
    const char* const start = at_++;
    bool escaped = false;
    while (true) {
      at_ = plain_run_end(at_, end_);
      if (*at_ == '"') break;
      if (*at_ == '\\') {
        escaped = true;
        if (!escape()) return false;
        continue;
      }
      if (at_ == end_) return expected("'\"' at the end of a string");
      if (static_cast<unsigned char>(*at_) < 0x20) return expected("a control character in a string to be escaped");
      const int length = utf8_length(at_, end_);
      if (length == 0) return expected("UTF-8 in a string");
      at_ += length;
    }
    ++at_;
    add(Kind::string, start).escaped = escaped ? 1 : 0;
    return true;
  }

  bool escape() {
    const char* const start = at_;
    ++at_;
    if (*at_ != 'u') {
      if (simple_escape(*at_) == 0) return expected("one of \" \\ / b f n r t u behind a backslash");
      ++at_;
      return true;
    }
    ++at_;
    const int code = hex4(at_, end_);
    if (code < 0) return refuse(start, "expected four hex digits behind \\u");
    if (code == 0) return refuse(start, "U+0000 in a string");
    at_ += 4;
    if (is_low_surrogate(code)) return refuse(start, "a lone surrogate in a string");
    if (!is_high_surrogate(code)) return true;
    if (end_ - at_ < 6 || at_[0] != '\\' || at_[1] != 'u' || !is_low_surrogate(hex4(at_ + 2, end_))) {
      return refuse(start, "a lone surrogate in a string");
    }
    at_ += 6;
    return true;
  }

  bool number() {
    const char* const start = at_;
    if (*at_ == '-') {
      ++at_;
      if (!is_digit(*at_)) return expected("a digit behind '-'");
    } else if (!is_digit(*at_)) {
      return expected("a value");
    }
    if (*at_ == '0') {
      ++at_;
      if (is_digit(*at_)) return expected("no digit behind a leading 0");
    } else {
      skip_digits();
    }
    if (*at_ == '.') {
      ++at_;
      if (!is_digit(*at_)) return expected("a digit behind '.'");
      skip_digits();
    }
    if (*at_ == 'e' || *at_ == 'E') {
      ++at_;
      if (*at_ == '+' || *at_ == '-') ++at_;
      if (!is_digit(*at_)) return expected("a digit in the exponent");
      skip_digits();
    }
    add(Kind::number, start);
    return true;
  }

  bool literal(std::string_view word, Kind kind) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) return expected("a value");
    const char* const start = at_;
    at_ += word.size();
    add(kind, start);
    return true;
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  void skip_digits() {
    while (is_digit(*at_)) ++at_;
  }
  void skip_space() {
    while (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t') ++at_;
  }

  /// A node for the token from `start` to where we stand; a container's end and next are set when it closes.
  Node& add(Kind kind, const char* start) {
    const auto next = static_cast<std::uint32_t>(nodes_.size() + 1);
    return nodes_.emplace_back(Node{offset(start), offset(at_), next, 0, static_cast<std::uint32_t>(kind) & 7U, 0});
  }

  std::uint32_t offset(const char* at) const { return static_cast<std::uint32_t>(at - begin_); }

  std::string_view inside(std::uint32_t string) const {
    const Node& node = nodes_[string];
    return {begin_ + node.begin + 1, node.end - node.begin - 2U};
  }

  bool expected(std::string_view what) {
    return refuse(at_, fmt::format("expected {}, found {}", what, describe(at_, end_)));
  }

  bool refuse_duplicate(std::uint32_t key) {
    const Node& node = nodes_[key];
    const std::string_view token(begin_ + node.begin, node.end - node.begin);
    return refuse(begin_ + node.begin, fmt::format("the key {} comes twice in one object", shortened(token)));
  }

  bool refuse(const char* where, std::string why) {
    where_ = where;
    why_ = std::move(why);
    return false;
  }

  const char* const begin_;
  const char* const end_;
  const char* at_;
  std::vector<Node>& nodes_;
  std::array<Frame, kDepthMax> frames_;  // the containers that are open; what is not reached is not touched
  std::size_t depth_ = 0;
  const char* where_ = nullptr;
  std::string why_;
};

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "boolean";
    case Kind::number:
      return "number";
    case Kind::string:
      return "string";
    case Kind::array:
      return "array";
    case Kind::object:
      return "object";
  }
  return "unknown";
}

Result<Document> Document::parse(std::string text) {
  static_assert(sizeof(Node) == 16);
  if (text.size() > kTextBytesMax) {
    return fail(ErrorCode::invalid_argument, "JSON of {} bytes: at most {} are allowed", text.size(), kTextBytesMax);
  }
  Document document;
  document.text_ = std::move(text);
  TRY(Parser(document).run());
  return document;
}

Kind Value::kind() const { return static_cast<Kind>(document_->nodes_[node_].kind); }

std::string_view Value::raw() const {
  const Document::Node& node = document_->nodes_[node_];
  return {document_->text_.data() + node.begin, node.end - node.begin};
}

std::optional<Value> Value::find(std::string_view key) const {
  const Document::Node* const nodes = document_->nodes_.data();
  const char* const text = document_->text_.data();
  const Document::Node& object = nodes[node_];
  if (static_cast<Kind>(object.kind) != Kind::object) return std::nullopt;
  for (std::uint32_t at = node_ + 1; at != object.next; at = nodes[at + 1].next) {
    const Document::Node& node = nodes[at];
    const std::string_view inside(text + node.begin + 1, node.end - node.begin - 2U);
    if (node.escaped != 0 ? unescaped_equals(inside, key) : inside == key) return Value(document_, at + 1);
  }
  return std::nullopt;
}

Members Value::members() const {
  if (!is_object()) return {document_, node_, node_};
  return {document_, node_ + 1, document_->nodes_[node_].next};
}

Elements Value::elements() const {
  if (!is_array()) return {document_, node_, node_};
  return {document_, node_ + 1, document_->nodes_[node_].next};
}

std::size_t Value::size() const { return document_->nodes_[node_].count; }

std::optional<bool> Value::boolean() const {
  if (kind() != Kind::boolean) return std::nullopt;
  return raw().front() == 't';
}

std::optional<double> Value::number() const {
  if (!is_number()) return std::nullopt;
  const std::string_view token = raw();
  double value = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error == std::errc() && std::isfinite(value)) return value;
  // Too small is as good as zero; too large is no number that we have.
  const Decimal decimal = take_apart(token);
  if (decimal.length != 0 && decimal.point > 0) return std::nullopt;
  return decimal.negative ? -0.0 : 0.0;
}

std::optional<std::int64_t> Value::integer() const {
  if (!is_number()) return std::nullopt;
  const std::string_view token = raw();
  std::int64_t value = 0;
  const char* const token_end = token.data() + token.size();
  if (const auto [end, error] = std::from_chars(token.data(), token_end, value); end == token_end) {
    return error == std::errc() ? std::optional(value) : std::nullopt;
  }
  const Decimal decimal = take_apart(token);
  if (decimal.length == 0) return 0;
  constexpr std::int64_t kIntegerDigitsMax = 19;
  if (decimal.length > decimal.point || decimal.point > kIntegerDigitsMax) return std::nullopt;
  std::array<char, kIntegerDigitsMax + 1> digits{};
  digits[0] = '-';
  for (std::size_t i = 0; i < static_cast<std::size_t>(decimal.point); ++i) {
    digits[i + 1] = i < static_cast<std::size_t>(decimal.length) ? decimal.digits[i] : '0';
  }
  const char* const first = digits.data() + (decimal.negative ? 0 : 1);
  const auto [end, error] = std::from_chars(first, digits.data() + 1 + decimal.point, value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<std::string> Value::string() const {
  if (const auto plain = plain_string()) return std::string(*plain);
  if (!is_string()) return std::nullopt;
  const std::string_view token = raw();
  return unescape(token.substr(1, token.size() - 2));
}

std::optional<std::string_view> Value::plain_string() const {
  const Document::Node& node = document_->nodes_[node_];
  if (static_cast<Kind>(node.kind) != Kind::string || node.escaped != 0) return std::nullopt;
  return std::string_view(document_->text_.data() + node.begin + 1, node.end - node.begin - 2U);
}

bool Value::equals(std::string_view text) const {
  if (const auto plain = plain_string()) return *plain == text;
  if (!is_string()) return false;
  const std::string_view token = raw();
  return unescaped_equals(token.substr(1, token.size() - 2), text);
}

std::optional<Uuid> Value::uuid() const {
  if (const auto plain = plain_string()) return Uuid::parse(*plain);
  const auto unescaped = string();
  return unescaped ? Uuid::parse(*unescaped) : std::nullopt;
}

std::optional<Timestamp> Value::timestamp() const {
  if (const auto plain = plain_string()) return parse_timestamp(*plain);
  const auto unescaped = string();
  return unescaped ? parse_timestamp(*unescaped) : std::nullopt;
}

Member Members::Iterator::operator*() const { return {Value(document_, node_), Value(document_, node_ + 1)}; }

Members::Iterator& Members::Iterator::operator++() {
  node_ = document_->nodes_[node_ + 1].next;
  return *this;
}

Value Elements::Iterator::operator*() const { return Value(document_, node_); }

Elements::Iterator& Elements::Iterator::operator++() {
  node_ = document_->nodes_[node_].next;
  return *this;
}

void Writer::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

Writer& Writer::begin_object() {
  separate();
  out_ += '{';
  first_ = true;
  return *this;
}

Writer& Writer::end_object() {
  out_ += '}';
  first_ = false;
  return *this;
}

Writer& Writer::begin_array() {
  separate();
  out_ += '[';
  first_ = true;
  return *this;
}

Writer& Writer::end_array() {
  out_ += ']';
  first_ = false;
  return *this;
}

Writer& Writer::key(std::string_view key) {
  separate();
  append_quoted(out_, key);
  out_ += ':';
  first_ = true;
  return *this;
}

Writer& Writer::string(std::string_view text) {
  separate();
  append_quoted(out_, text);
  return *this;
}

Writer& Writer::number(std::int64_t value) {
  separate();
  std::array<char, 24> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out_.append(digits.data(), end);
  return *this;
}

Writer& Writer::number(double value) {
  INVARIANT(std::isfinite(value));  // JSON has no other numbers
  separate();
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out_.append(digits.data(), end);
  return *this;
}

Writer& Writer::boolean(bool value) {
  separate();
  out_ += value ? "true" : "false";
  return *this;
}

Writer& Writer::null() {
  separate();
  out_ += "null";
  return *this;
}

Writer& Writer::uuid(const Uuid& id) {
  separate();
  out_ += '"';
  id.append_to(out_);
  out_ += '"';
  return *this;
}

Writer& Writer::timestamp(Timestamp time) {
  separate();
  out_ += '"';
  append_timestamp(out_, time);
  out_ += '"';
  return *this;
}

Writer& Writer::raw(std::string_view token) {
  separate();
  out_ += token;
  return *this;
}

namespace {

void append_u_escape(std::string& out, std::uint32_t code) {
  constexpr char kHex[] = "0123456789abcdef";
  const char text[] = {'\\',           'u', kHex[(code >> 12) & 15], kHex[(code >> 8) & 15], kHex[(code >> 4) & 15],
                       kHex[code & 15]};
  out.append(text, sizeof text);
}

/// Controls that a terminal obeys (C1), and invisible characters that break lines or turn the direction of writing.
bool misleads(std::uint32_t code) {
  return (code >= 0x80 && code <= 0x9f) || (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void append_escaped_byte(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      append_u_escape(out, static_cast<unsigned char>(c));
  }
}

}  // namespace

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kDelete = 0x7f;
  out += '"';
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* run_end = plain_run_end(at, end);
    if (const void* const del = std::memchr(at, kDelete, static_cast<std::size_t>(run_end - at))) {
      run_end = static_cast<const char*>(del);
    }
    out.append(at, run_end);
    at = run_end;
    if (at == end) break;
    if (static_cast<unsigned char>(*at) < 0x80 && *at != 0) {
      append_escaped_byte(out, *at++);
      continue;
    }
    const int length = utf8_length(at, end);
    if (length == 0) {
      out += "\\ufffd";  // what our parser would refuse cannot be said; that something was there can
      ++at;
      continue;
    }
    if (const std::uint32_t code = utf8_decode(at, length); misleads(code)) {
      append_u_escape(out, code);
    } else {
      out.append(at, static_cast<std::size_t>(length));
    }
    at += length;
  }
  out += '"';
}

std::string escape_pointer(std::string_view key) {
  std::string out;
  out.reserve(key.size());
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace wfo::json
