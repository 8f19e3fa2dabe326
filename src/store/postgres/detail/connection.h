#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/uuid.h"

namespace wfo::store::postgres {

/// The types of parameters. Every integer goes as `bigint` and every time as its milliseconds; PostgreSQL casts them
/// where a column is smaller.
enum class Type : Oid {
  boolean = 16,
  bytea = 17,
  bigint = 20,
  text = 25,
  real = 701,
  uuid = 2950,
};

namespace detail {
void append_value(std::string& out, std::int64_t value);
void append_value(std::string& out, double value);
void append_value(std::string& out, bool value);
void append_value(std::string& out, const Uuid& value);
[[nodiscard]] Oid array_of(Type element);
}  // namespace detail

/// One array parameter, for `unnest($1, …)` and `= ANY($1)`. What is added is copied.
class Array {
 public:
  explicit Array(Type element) : element_(element) {}

  template <std::integral T>
  requires(!std::same_as<T, bool>) Array& add(T value) { return put(Type::bigint, static_cast<std::int64_t>(value)); }
  Array& add(std::same_as<double> auto value) { return put(Type::real, value); }
  Array& add(std::same_as<bool> auto value) { return put(Type::boolean, value); }
  Array& add(Timestamp time) { return add(time.time_since_epoch().count()); }
  Array& add(const Uuid& id) { return put(Type::uuid, id); }
  template <class Tag>
  Array& add(const Id<Tag>& id) {
    return add(id.value());
  }
  template <class T>
  Array& add(const std::optional<T>& value) {
    return value ? add(*value) : add_null();
  }
  Array& add_text(std::string_view text) { return put_bytes(Type::text, text); }
  Array& add_bytes(std::string_view bytes) { return put_bytes(Type::bytea, bytes); }
  Array& add_null();
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  friend class Params;
  Array& put_bytes(Type type, std::string_view bytes);
  template <class T>
  Array& put(Type type, const T& value) {
    std::string bytes;
    detail::append_value(bytes, value);
    return put_bytes(type, bytes);
  }
  Type element_;
  std::size_t count_ = 0;
  bool has_null_ = false;
  std::string elements_;  // each with its length in front
};

/// The parameters of a statement, $1 first, in PostgreSQL's binary format. What is added is copied.
class Params {
 public:
  template <std::integral T>
  requires(!std::same_as<T, bool>) Params& add(T value) { return put(Type::bigint, static_cast<std::int64_t>(value)); }
  Params& add(std::same_as<double> auto value) { return put(Type::real, value); }
  Params& add(std::same_as<bool> auto value) { return put(Type::boolean, value); }
  Params& add(Timestamp time) { return add(time.time_since_epoch().count()); }
  Params& add(const Uuid& id) { return put(Type::uuid, id); }
  template <class Tag>
  Params& add(const Id<Tag>& id) {
    return add(id.value());
  }
  /// With a value, or null of the type that the value would have.
  Params& add(const std::optional<std::int64_t>& value) { return value ? add(*value) : add_null(Type::bigint); }
  Params& add(const std::optional<double>& value) { return value ? add(*value) : add_null(Type::real); }
  Params& add(const std::optional<Timestamp>& value) { return value ? add(*value) : add_null(Type::bigint); }
  template <class Tag>
  Params& add(const std::optional<Id<Tag>>& value) {
    return value ? add(*value) : add_null(Type::uuid);
  }
  Params& add_text(std::string_view text) { return put_bytes(static_cast<Oid>(Type::text), text); }
  Params& add_bytes(std::string_view bytes) { return put_bytes(static_cast<Oid>(Type::bytea), bytes); }
  Params& add_null(Type type);
  Params& add(const Array& array);

 private:
  friend class Connection;
  struct Place {
    Oid type;
    std::size_t offset;
    int length;  // -1: null
  };
  Params& put_bytes(Oid type, std::string_view bytes);
  template <class T>
  Params& put(Type type, const T& value) {
    std::string bytes;
    detail::append_value(bytes, value);
    return put_bytes(static_cast<Oid>(type), bytes);
  }
  std::string data_;
  std::vector<Place> places_;
};

/// One row of a result; void when its `Rows` is gone.
class Row {
 public:
  Row(const PGresult* result, int row) : result_(result), row_(row) {}
  [[nodiscard]] bool is_null(int column) const { return PQgetisnull(result_, row_, column) != 0; }
  /// Of smallint, integer and bigint; 0 if null.
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] bool boolean(int column) const;
  [[nodiscard]] std::string_view text_view(int column) const;  // also a bytea's bytes; "" if null
  [[nodiscard]] std::string text(int column) const { return std::string(text_view(column)); }
  [[nodiscard]] Timestamp timestamp(int column) const { return Timestamp(milliseconds(integer(column))); }
  /// The nil id if null.
  [[nodiscard]] Uuid uuid(int column) const;
  template <class T>
  [[nodiscard]] T id(int column) const {
    return T(uuid(column));
  }
  template <class T>
  [[nodiscard]] std::optional<T> optional_id(int column) const {
    return is_null(column) ? std::nullopt : std::optional(T(uuid(column)));
  }
  [[nodiscard]] std::optional<Timestamp> optional_timestamp(int column) const {
    return is_null(column) ? std::nullopt : std::optional(timestamp(column));
  }

 private:
  const PGresult* result_;
  int row_;
};

/// What a statement gave.
class Rows {
 public:
  explicit Rows(PGresult* result = nullptr) : result_(result) {}
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(PQntuples(result_.get())); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] Row operator[](std::size_t row) const { return {result_.get(), static_cast<int>(row)}; }
  /// Rows that an INSERT, UPDATE or DELETE changed.
  [[nodiscard]] std::size_t changed() const;
  [[nodiscard]] const PGresult* get() const { return result_.get(); }

  class Iterator {
   public:
    Iterator(const PGresult* result, int row) : result_(result), row_(row) {}
    Row operator*() const { return {result_, row_}; }
    Iterator& operator++() {
      ++row_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const PGresult* result_;
    int row_;
  };
  [[nodiscard]] Iterator begin() const { return {result_.get(), 0}; }
  [[nodiscard]] Iterator end() const { return {result_.get(), PQntuples(result_.get())}; }

 private:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

/// What a failure means to the caller, by its SQLSTATE. Whatever the world did (server away or read-only, disk full,
/// timeouts, a role without the right, a table that somebody dropped) is `unavailable`; a broken uniqueness `conflict`;
/// data that the server cannot read `corruption`; values that no column can hold `invalid_argument`.
[[nodiscard]] ErrorCode error_code(std::string_view sqlstate);

struct ConnectionOptions {
  std::string url;     // libpq's: a URI or `key=value …`; what it sets, also in `options`, wins over what is below
  std::string schema;  // where all tables are
  std::chrono::seconds connect_timeout{5};
  milliseconds statement_timeout{30'000};
  milliseconds lock_timeout{10'000};
  milliseconds idle_in_transaction_timeout{5'000};
  milliseconds tcp_timeout{10'000};   // until a peer that does not answer on the network is given up, on either side
  milliseconds answer_margin{5'000};  // an answer is waited for so much longer than the server's own timeouts
  std::string application = "wfo";
};

/// A statement with its parameters, to be sent together with others.
struct Call {
  const char* sql;  // a literal
  Params params = {};
};

/// One connection. One thread at a time.
///
/// Statements are known by the address of their SQL, which must be a literal; each is prepared once per connection.
/// Names without a schema stand for the schema of the options. Plans are made for all parameters, and go along indexes
/// by nested loops wherever that is possible (no sequential and bitmap scans, hash or merge joins): so write a partial
/// index's condition out, as a literal. A plan of an empty table is no good when the table has grown, which the server
/// notices only when it next analyzes it, so plans are made anew every kPlansAge.
///
/// A statement that fails inside a transaction spoils it: nothing but `roll_back` goes on, unless a savepoint was set.
class Connection {
 public:
  enum class Mode { write, snapshot };  // READ COMMITTED; REPEATABLE READ READ ONLY

  /// Connects and sets the session up: timeouts and planning as the options and the comment above say, but where the
  /// connection string (or PGOPTIONS) sets the same, that stands. What does not yield: the schema, READ COMMITTED, and
  /// that a commit is durable when it returns. A statement timeout of 0 there counts as an hour. Errors:
  /// `invalid_argument` the connection string, or the database's encoding; else `unavailable`. No message ever holds
  /// the password.
  [[nodiscard]] static Result<Connection> open(const ConnectionOptions& options);

  /// Begins a transaction with the next statement, in the same round trip. Without one, statements stand alone.
  void begin(Mode mode);
  /// Runs one statement, in one round trip.
  [[nodiscard]] Result<Rows> run(const char* sql, const Params& params = {});
  /// Runs statements one after the other in one round trip, up to the first that fails.
  [[nodiscard]] Result<std::vector<Rows>> run_all(std::span<const Call> calls);
  [[nodiscard]] Result<std::vector<Rows>> run_all(std::initializer_list<Call> calls) {
    return run_all(std::span(calls.begin(), calls.size()));
  }
  /// Runs `last` and commits, all in one round trip, so that a lock that `last` takes is never held while this process
  /// is waited for. After an error nothing is committed and the transaction is gone; except that if the connection was
  /// lost meanwhile nobody knows, and the message says so.
  [[nodiscard]] Result<std::vector<Rows>> commit(std::span<const Call> last = {});
  /// Ends the transaction, if there is one. What fails here leaves a connection that is not `usable`.
  void roll_back();
  /// Runs a script of several statements, without parameters or rows, and without a time limit of the client's own.
  [[nodiscard]] Result<void> execute(const std::string& script);

  /// False once the connection is lost, or its server will not do (any more): throw it away.
  [[nodiscard]] bool usable() const { return usable_; }
  /// Whether the connection looks alive, without a round trip; for one that has been idle.
  [[nodiscard]] bool looks_alive() const;
  /// Whether the transaction failed for others who were there at the same time, and may succeed if it is run again.
  [[nodiscard]] bool worth_another_try() const { return worth_another_try_; }
  /// The SQLSTATE of the last failure, "" if it had none.
  [[nodiscard]] const std::string& sqlstate() const { return sqlstate_; }

  /// A number that a table wants to know again as long as the connection lives, 0 at first. `key`: a literal. What is
  /// remembered holds for this server and its history only, which a connection never outlives.
  [[nodiscard]] std::int64_t& memory(const char* key) { return memory_[key]; }

  struct Server {
    std::string version;   // `15.20 (Debian …)`
    int version_number;    // 150020
    std::string address;   // `host:port`
    std::string database;  // its name
    bool fsync;            // as the server is set
  };
  [[nodiscard]] const Server& server() const { return server_; }
  [[nodiscard]] const std::string& schema() const { return schema_; }
  /// How often the server was waited for so far.
  [[nodiscard]] std::uint64_t round_trips() const { return round_trips_; }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  enum class State { none, wanted, open };  // of the transaction
  static constexpr milliseconds kPlansAge{2'000};
  struct Sent;

  explicit Connection(PGconn* connection) : connection_(connection) {}
  Result<void> set_up(const ConnectionOptions& options);
  Result<void> send(const Call& call, std::vector<Sent>& sent);
  Result<void> send_command(const char* sql, std::vector<Sent>& sent);
  /// One round trip: what was sent, and a `Rows` for each call among it.
  Result<std::vector<Rows>> finish(std::vector<Sent>& sent);
  Result<PGresult*> next_result();
  Result<void> wait(bool writable);
  std::unexpected<Error> lost(std::string_view doing);
  std::unexpected<Error> failure(const PGresult* result);
  Result<std::vector<Rows>> round_trip(std::span<const Call> calls, bool committing);

  std::unique_ptr<PGconn, Finish> connection_;
  Server server_{};
  std::string schema_;
  milliseconds answer_timeout_{};  // the server's statement timeout and some more
  std::unordered_map<const char*, std::string> prepared_;
  std::unordered_map<const char*, std::int64_t> memory_;
  Mode mode_ = Mode::write;
  State transaction_ = State::none;
  std::chrono::steady_clock::time_point planned_at_ = std::chrono::steady_clock::now();
  std::uint64_t round_trips_ = 0;
  bool usable_ = true;
  bool worth_another_try_ = false;
  std::string sqlstate_;
};

/// `name` as an identifier in SQL.
[[nodiscard]] std::string quoted(std::string_view name);

/// That `url` is a connection string whose parts are where they belong. Errors: `invalid_argument`, without the
/// password, whatever is wrong with it.
[[nodiscard]] Result<void> check_url(std::string_view thing, const std::string& url);

/// That `schema` can be a schema's name. Errors: `invalid_argument`.
[[nodiscard]] Result<void> check_schema(std::string_view thing, std::string_view schema);

}  // namespace wfo::store::postgres
