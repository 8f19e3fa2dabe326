#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

/// JSON as this project needs it: events are kept and passed on as the bytes that came, so a parsed document is an
/// index into its text, every value knows its exact token, and nothing is ever written back from a parsed form
/// (docs/adr/0003-json.md).
namespace wfo::json {

enum class Kind : std::uint8_t { null, boolean, number, string, array, object };
[[nodiscard]] std::string_view name(Kind kind);

class Document;
class Members;
class Elements;

/// A value inside a document; borrowed: lives as long as the document stays where it is. Cheap to copy.
class Value {
 public:
  [[nodiscard]] Kind kind() const;
  [[nodiscard]] bool is_object() const { return kind() == Kind::object; }
  [[nodiscard]] bool is_array() const { return kind() == Kind::array; }
  [[nodiscard]] bool is_string() const { return kind() == Kind::string; }
  [[nodiscard]] bool is_number() const { return kind() == Kind::number; }

  /// The exact token as it stands in the text, quotes and inner white space included.
  [[nodiscard]] std::string_view raw() const;

  /// The member of that name, or nothing: also if this is no object. `key` is unescaped text.
  [[nodiscard]] std::optional<Value> find(std::string_view key) const;
  /// `find` along a path of names.
  template <class... Keys>
  [[nodiscard]] std::optional<Value> find(std::string_view first, Keys... rest) const {
    const auto value = find(first);
    return value ? value->find(std::string_view(rest)...) : std::nullopt;
  }
  /// In document order; empty if this is no object (no array).
  [[nodiscard]] Members members() const;
  [[nodiscard]] Elements elements() const;
  /// How many members or elements; 0 for all else.
  [[nodiscard]] std::size_t size() const;

  // The value, if it is of that kind (and fits), else nothing.
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::optional<double> number() const;
  [[nodiscard]] std::optional<std::int64_t> integer() const;  // `3`, `3.0` and `3e0` are integers
  [[nodiscard]] std::optional<std::string> string() const;    // unescaped
  /// A string's characters without a copy, if nothing in it is escaped; else nothing.
  [[nodiscard]] std::optional<std::string_view> plain_string() const;
  /// Whether this is a string that, unescaped, is `text`. No copy.
  [[nodiscard]] bool equals(std::string_view text) const;
  [[nodiscard]] std::optional<Uuid> uuid() const;
  [[nodiscard]] std::optional<Timestamp> timestamp() const;

 private:
  friend class Document;
  friend class Members;
  friend class Elements;
  Value(const Document* document, std::uint32_t node) : document_(document), node_(node) {}
  const Document* document_;
  std::uint32_t node_;
};

struct Member {
  Value key;  // always a string
  Value value;
};

class Members {
 public:
  class Iterator {
   public:
    Member operator*() const;
    Iterator& operator++();
    bool operator==(const Iterator&) const = default;

   private:
    friend class Members;
    Iterator(const Document* document, std::uint32_t node) : document_(document), node_(node) {}
    const Document* document_;
    std::uint32_t node_;
  };
  [[nodiscard]] Iterator begin() const { return {document_, begin_}; }
  [[nodiscard]] Iterator end() const { return {document_, end_}; }

 private:
  friend class Value;
  Members(const Document* document, std::uint32_t begin, std::uint32_t end)
      : document_(document), begin_(begin), end_(end) {}
  const Document* document_;
  std::uint32_t begin_;
  std::uint32_t end_;
};

class Elements {
 public:
  class Iterator {
   public:
    Value operator*() const;
    Iterator& operator++();
    bool operator==(const Iterator&) const = default;

   private:
    friend class Elements;
    Iterator(const Document* document, std::uint32_t node) : document_(document), node_(node) {}
    const Document* document_;
    std::uint32_t node_;
  };
  [[nodiscard]] Iterator begin() const { return {document_, begin_}; }
  [[nodiscard]] Iterator end() const { return {document_, end_}; }

 private:
  friend class Value;
  Elements(const Document* document, std::uint32_t begin, std::uint32_t end)
      : document_(document), begin_(begin), end_(end) {}
  const Document* document_;
  std::uint32_t begin_;
  std::uint32_t end_;
};

inline constexpr int kDepthMax = 128;                           // nested arrays and objects
inline constexpr std::size_t kTextBytesMax = 64 * 1024 * 1024;  // far above every limit that callers set

/// A parsed text; owns it. Movable; values borrowed from a document are void after it is moved.
class Document {
 public:
  /// Parses strict RFC 8259 text in UTF-8. Refused besides (so that every store can hold what is accepted, and every
  /// reader sees the same): duplicate keys, lone surrogates, U+0000 in strings, more than `kDepthMax` levels, more
  /// than `kTextBytesMax` bytes. Errors: `invalid_argument` with line, column and what was expected.
  [[nodiscard]] static Result<Document> parse(std::string text);

  [[nodiscard]] Value root() const { return {this, 0}; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  friend class Value;
  friend class Members;
  friend class Elements;
  friend class Parser;
  // One per value and per key, in document order; a container's subtree is the nodes up to `next`.
  struct Node {
    std::uint32_t begin;       // first byte of the token in text_
    std::uint32_t end;         // one behind its last
    std::uint32_t next;        // the node behind this one's subtree
    std::uint32_t count : 28;  // members or elements
    std::uint32_t kind : 3;
    std::uint32_t escaped : 1;  // a string that holds a backslash
  };
  Document() = default;
  std::string text_;
  std::vector<Node> nodes_;
};

/// Writes compact JSON onto a string. Commas are its business; that begin and end match is the caller's.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  Writer& begin_object();
  Writer& end_object();
  Writer& begin_array();
  Writer& end_array();
  Writer& key(std::string_view key);
  Writer& string(std::string_view text);
  Writer& number(std::int64_t value);
  /// The shortest text that reads back as `value`; it must be finite. A whole number has no fraction: `12`.
  Writer& number(double value);
  Writer& boolean(bool value);
  Writer& null();
  Writer& uuid(const Uuid& id);
  template <class Tag>
  Writer& uuid(const Id<Tag>& id) {
    return uuid(id.value());
  }
  Writer& timestamp(Timestamp time);
  /// `token` is a JSON value already.
  Writer& raw(std::string_view token);

 private:
  void separate();
  std::string& out_;
  bool first_ = true;  // nothing stands before the next key or value in its container
};

/// Appends `text` as a JSON string with quotes; what JSON or a terminal could trip over is escaped: control characters
/// (C1 and DEL too), line separators, marks that turn the direction of writing. U+0000, and each byte that is no UTF-8,
/// becomes U+FFFD, so that `Document::parse` accepts whatever was written.
void append_quoted(std::string& out, std::string_view text);

/// RFC 6901: `~` and `/` of a key become `~0` and `~1`.
[[nodiscard]] std::string escape_pointer(std::string_view key);

}  // namespace wfo::json
