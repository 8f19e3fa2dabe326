#include "store/postgres/detail/connection.h"

#include <poll.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "store/text.h"

namespace wfo::store::postgres {
namespace detail {

// The binary format is big-endian throughout.
template <class T>
void append_big_endian(std::string& out, T value) {
  for (int shift = 8 * (static_cast<int>(sizeof value) - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(static_cast<std::uint8_t>(value >> shift));
  }
}

template <class T>
T read_big_endian(const char* bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    value = static_cast<T>(value << 8 | static_cast<T>(static_cast<std::uint8_t>(bytes[i])));
  }
  return value;
}

void append_value(std::string& out, std::int64_t value) { append_big_endian(out, static_cast<std::uint64_t>(value)); }
void append_value(std::string& out, double value) { append_big_endian(out, std::bit_cast<std::uint64_t>(value)); }
void append_value(std::string& out, bool value) { out += value ? '\1' : '\0'; }
void append_value(std::string& out, const Uuid& value) {
  out.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
}

Oid array_of(Type element) {
  switch (element) {
    case Type::boolean:
      return 1000;
    case Type::bytea:
      return 1001;
    case Type::bigint:
      return 1016;
    case Type::text:
      return 1009;
    case Type::real:
      return 1022;
    case Type::uuid:
      return 2951;
  }
  return InvalidOid;
}

}  // namespace detail

namespace {

constexpr milliseconds kStatementTimeoutMax{3'600'000};  // what no limit counts as

std::string_view without_line_ends(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

/// One line; libpq writes one per host that it tried.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : without_line_ends(text)) {
    if (c == '\n') {
      line += "; ";
    } else if (c != '\t') {
      line += c;
    }
  }
  return line;
}

std::string address_of(const PGconn* connection) {
  const char* const host = PQhost(connection);
  const char* const port = PQport(connection);
  return fmt::format("{}:{}", host && *host ? host : "localhost", port && *port ? port : "5432");
}

/// What the operator may do about it. The server's own texts may be in its language; then there is no hint.
std::string_view hint_for(std::string_view message) {
  struct Known {
    std::string_view text;
    std::string_view hint;
  };
  static constexpr Known kKnown[] = {
      {"password authentication failed", "check user and password"},
      {"no password supplied", "give the password, by PGPASSWORD, a password file or the connection string"},
      {"could not translate host name", "check the host's name"},
      {"Connection refused", "check host and port, and that the server runs and listens there"},
      {"timeout expired", "check host and port, and that nothing between blocks the connection"},
      {"permission denied for database", "the role may not use it: GRANT CONNECT"},
      {"does not exist", "check the name; it must be made first"},
      {"no pg_hba.conf entry", "the server does not let this user in from here: see its pg_hba.conf"},
      {"session is read-only", "this is a standby or a server that takes no writes: name the primary"},
      {"server is in hot standby mode", "this is a standby: name the primary"},
      {"too many clients", "the server has no connection left: ask for fewer, or raise its max_connections"},
      {"remaining connection slots", "the server has no connection left: ask for fewer, or raise its max_connections"},
      {"SSL", "check sslmode, sslrootcert and the certificates"},
      {"certificate", "check sslmode, sslrootcert and the certificates"},
  };
  for (const auto& [text, hint] : kKnown) {
    if (message.find(text) != std::string_view::npos) return hint;
  }
  return {};
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

}  // namespace

ErrorCode error_code(std::string_view sqlstate) {
  const auto is = [&](std::string_view prefix) { return sqlstate.starts_with(prefix); };
  if (is("23505")) return ErrorCode::conflict;
  if (is("XX001") || is("XX002")) return ErrorCode::corruption;
  if (is("22") || is("54")) return ErrorCode::invalid_argument;
  // 08 connection, 0A000 a plan that a migration made void, 25006 read-only, 25P03 idle in transaction, 26000 and 42P05
  // another session than the one that prepared, 28 authorization, 3D and 3F gone, 40 serialization, 42501 privilege,
  // 42P01 table gone, 53 resources, 55 object state, 57 operator, 58 system.
  for (const auto prefix : {"08", "0A000", "25006", "25P03", "26000", "28", "3D", "3F", "40", "42501", "42P01", "42P05",
                            "53", "55", "57", "58", "XX000"}) {
    if (is(prefix)) return ErrorCode::unavailable;
  }
  return ErrorCode::internal;
}

// Parameters.

Array& Array::add_null() {
  detail::append_big_endian(elements_, std::uint32_t{0xffffffff});
  has_null_ = true;
  ++count_;
  return *this;
}

Array& Array::put_bytes(Type type, std::string_view bytes) {
  INVARIANT(type == element_);
  detail::append_big_endian(elements_, static_cast<std::uint32_t>(bytes.size()));
  elements_ += bytes;
  ++count_;
  return *this;
}

Params& Params::put_bytes(Oid type, std::string_view bytes) {
  places_.push_back({type, data_.size(), static_cast<int>(bytes.size())});
  data_ += bytes;
  return *this;
}

Params& Params::add_null(Type type) {
  places_.push_back({static_cast<Oid>(type), 0, -1});
  return *this;
}

Params& Params::add(const Array& array) {
  const std::size_t offset = data_.size();
  detail::append_big_endian(data_, std::uint32_t{array.count_ > 0});  // dimensions
  detail::append_big_endian(data_, std::uint32_t{array.has_null_});
  detail::append_big_endian(data_, static_cast<std::uint32_t>(array.element_));
  if (array.count_ > 0) {
    detail::append_big_endian(data_, static_cast<std::uint32_t>(array.count_));
    detail::append_big_endian(data_, std::uint32_t{1});  // the first index
    data_ += array.elements_;
  }
  places_.push_back({detail::array_of(array.element_), offset, static_cast<int>(data_.size() - offset)});
  return *this;
}

// Results.

std::int64_t Row::integer(int column) const {
  const char* const bytes = PQgetvalue(result_, row_, column);
  switch (PQgetlength(result_, row_, column)) {
    case 2:
      return static_cast<std::int16_t>(detail::read_big_endian<std::uint16_t>(bytes));
    case 4:
      return static_cast<std::int32_t>(detail::read_big_endian<std::uint32_t>(bytes));
    case 8:
      return static_cast<std::int64_t>(detail::read_big_endian<std::uint64_t>(bytes));
    default:
      return 0;
  }
}

double Row::real(int column) const { return std::bit_cast<double>(integer(column)); }

bool Row::boolean(int column) const {
  return PQgetlength(result_, row_, column) == 1 && *PQgetvalue(result_, row_, column) != '\0';
}

std::string_view Row::text_view(int column) const {
  return {PQgetvalue(result_, row_, column), static_cast<std::size_t>(PQgetlength(result_, row_, column))};
}

Uuid Row::uuid(int column) const {
  const std::string_view bytes = text_view(column);
  return Uuid::from_bytes({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}).value_or(Uuid{});
}

std::size_t Rows::changed() const {
  const char* const text = PQcmdTuples(result_.get());
  std::size_t count = 0;
  std::from_chars(text, text + std::strlen(text), count);
  return count;
}

// Connections.

std::string quoted(std::string_view name) {
  std::string result = "\"";
  for (const char c : name) {
    if (c == '"') result += c;
    result += c;
  }
  return result + '"';
}

Result<void> check_schema(std::string_view thing, std::string_view schema) {
  constexpr std::size_t kBytesMax = 63;  // PostgreSQL cuts longer names off
  const bool good = !schema.empty() && schema.size() <= kBytesMax && !schema.starts_with("pg_") &&
                    std::ranges::all_of(schema, [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
                    });
  if (good) return {};
  return fail(ErrorCode::invalid_argument,
              "{}: schema is \"{}\"; allowed: 1 to {} of a-z, 0-9, _ and -, not beginning with pg_", thing,
              as_text(schema), kBytesMax);
}

Result<void> check_url(std::string_view thing, const std::string& url) {
  if (!is_text(url)) return fail(ErrorCode::invalid_argument, "{}: url is not text; allowed: {}", thing, kTextAllowed);
  char* text = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(PQconninfoParse(url.c_str(), &text));
  const std::unique_ptr<char, decltype(&PQfreemem)> message(text, &PQfreemem);
  if (!options) {
    // libpq quotes what it does not understand, which may be the password.
    std::string_view why = message ? without_line_ends(message.get()) : "out of memory";
    const std::size_t begin = why.find('"');
    const std::size_t end = why.rfind('"');
    return fail(ErrorCode::invalid_argument,
                "{}: url is not a connection string (postgresql://user@host:port/database?option=value, or "
                "key=value pairs): {}",
                thing,
                begin == end ? std::string(why) : fmt::format("{}\"…\"{}", why.substr(0, begin), why.substr(end + 1)));
  }
  // A password with an @, / or ? that is not written as %40, %2F, %3F ends up in the wrong part, and later in messages.
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option) {
    const std::string_view keyword = option->keyword;
    const std::string_view value = option->val ? option->val : "";
    const bool wrong =
        (keyword == "port" && !std::ranges::all_of(value, [](char c) { return (c >= '0' && c <= '9') || c == ','; })) ||
        ((keyword == "host" || keyword == "dbname") && value.find('@') != std::string_view::npos);
    if (wrong) {
      return fail(ErrorCode::invalid_argument,
                  "{}: the {} in url cannot be one; in user and password, @ is written as %40, / as %2F, ? as %3F, : "
                  "as %3A",
                  thing, keyword == "dbname" ? "database" : keyword);
    }
  }
  return {};
}

struct Connection::Sent {
  enum class What { command, preparation, call } what;
  const char* sql;
};

Result<Connection> Connection::open(const ConnectionOptions& options) {
  TRY(check_url("PostgreSQL", options.url));
  const std::string connect_timeout = std::to_string(std::max<std::int64_t>(2, options.connect_timeout.count()));
  const std::string tcp_timeout = std::to_string(options.tcp_timeout.count());
  const std::string keepalive = std::to_string(std::max<std::int64_t>(1, options.tcp_timeout.count() / 4'000));
  // Those before `dbname` yield to what the connection string says.
  const char* const keywords[] = {
      "fallback_application_name", "connect_timeout",      "keepalives_idle", "keepalives_interval", "keepalives_count",
      "tcp_user_timeout",          "target_session_attrs", "dbname",          "client_encoding",     nullptr};
  const char* const values[] = {options.application.c_str(),
                                connect_timeout.c_str(),
                                keepalive.c_str(),
                                keepalive.c_str(),
                                "3",
                                tcp_timeout.c_str(),
                                "read-write",
                                options.url.c_str(),
                                "UTF8",
                                nullptr};
  Connection connection(PQconnectdbParams(keywords, values, 1));
  PGconn* const handle = connection.connection_.get();
  if (!handle) return fail(ErrorCode::unavailable, "PostgreSQL: out of memory");
  PQsetNoticeReceiver(
      handle, [](void*, const PGresult*) {}, nullptr);
  connection.server_.address = address_of(handle);
  if (PQstatus(handle) != CONNECTION_OK) {
    const std::string why = one_line(PQerrorMessage(handle));
    const std::string_view hint = hint_for(why);
    return fail(ErrorCode::unavailable, "PostgreSQL: {}{}{}{}", why, hint.empty() ? "" : " (", hint,
                hint.empty() ? "" : ")");
  }
  const char* const version = PQparameterStatus(handle, "server_version");
  connection.server_.version = version ? version : "?";
  connection.server_.version_number = PQserverVersion(handle);
  connection.server_.database = PQdb(handle);
  connection.schema_ = options.schema;
  connection.answer_timeout_ = options.statement_timeout + options.lock_timeout + options.answer_margin;
  TRY(connection.set_up(options));
  return connection;
}

Result<void> Connection::set_up(const ConnectionOptions& options) {
  PGconn* const handle = connection_.get();
  const std::string_view encoding = PQparameterStatus(handle, "server_encoding");
  if (encoding != "UTF8") {
    return fail(ErrorCode::invalid_argument,
                "PostgreSQL at {}: database {} has the encoding {}; allowed: UTF8 (CREATE DATABASE … ENCODING 'UTF8' "
                "TEMPLATE template0)",
                server_.address, server_.database, encoding);
  }
  if (PQsetnonblocking(handle, 1) != 0 || PQenterPipelineMode(handle) != 1) return lost("connecting");
  // The server gives up on us, and frees our locks, as we give up on it.
  const std::string keepalive_s = std::to_string(std::max<std::int64_t>(1, options.tcp_timeout.count() / 4'000));
  const std::pair<std::string_view, std::string> settings[] = {
      {"statement_timeout", std::to_string(options.statement_timeout.count())},
      {"lock_timeout", std::to_string(options.lock_timeout.count())},
      {"idle_in_transaction_session_timeout", std::to_string(options.idle_in_transaction_timeout.count())},
      {"tcp_keepalives_idle", keepalive_s},
      {"tcp_keepalives_interval", keepalive_s},
      {"tcp_keepalives_count", "3"},
      {"tcp_user_timeout", std::to_string(options.tcp_timeout.count())},
      {"plan_cache_mode", "force_generic_plan"},
      {"jit", "off"},
      {"enable_seqscan", "off"},
      {"enable_hashjoin", "off"},
      {"enable_mergejoin", "off"},
      {"enable_bitmapscan", "off"},
      {"enable_material", "off"}};
  Array names(Type::text);
  Array values(Type::text);
  for (const auto& [name, value] : settings) {
    names.add_text(name);
    values.add_text(value);
  }
  // A commit is durable when it returns, whatever the default of the database is; how many standbys it waits for is the
  // operator's choice.
  auto results = run_all(
      {{"SELECT set_config('search_path', $1, false), set_config('default_transaction_isolation', 'read "
        "committed', false), CASE WHEN current_setting('synchronous_commit') = 'off' THEN "
        "set_config('synchronous_commit', 'on', false) END",
        Params().add_text(quoted(options.schema))},
       {"SELECT count(set_config(s.name, s.value, false)) FROM unnest($1::text[], $2::text[]) AS s (name, value) "
        "WHERE s.name NOT IN (SELECT name FROM pg_settings WHERE source = 'client')",
        Params().add(names).add(values)},
       {"SELECT (SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'), (SELECT "
        "setting::bigint FROM pg_settings WHERE name = 'lock_timeout'), current_setting('fsync') = 'on'"}});
  if (!results) return std::unexpected(with_context(std::move(results).error(), "setting the session up"));
  const Row set = results->back()[0];
  const milliseconds statement_timeout(set.integer(0));
  answer_timeout_ = (statement_timeout.count() > 0 ? statement_timeout : kStatementTimeoutMax) +
                    milliseconds(set.integer(1)) + options.answer_margin;
  server_.fsync = set.boolean(2);
  return {};
}

std::unexpected<Error> Connection::lost(std::string_view doing) {
  usable_ = false;
  transaction_ = State::none;
  sqlstate_.clear();
  const std::string why = one_line(PQerrorMessage(connection_.get()));
  return fail(ErrorCode::unavailable, "PostgreSQL at {}: the connection was lost while {}{}{}", server_.address, doing,
              why.empty() ? "" : ": ", why);
}

std::unexpected<Error> Connection::failure(const PGresult* result) {
  const auto field = [&](int code) {
    const char* const text = PQresultErrorField(result, code);
    return std::string_view(text ? text : "");
  };
  sqlstate_ = field(PG_DIAG_SQLSTATE);
  if (sqlstate_.empty()) return lost("waiting for an answer");
  if (sqlstate_ == "40001" || sqlstate_ == "40P01" || sqlstate_ == "55P03") worth_another_try_ = true;
  // Shutdown, a standby in our primary's place, a session that was ended: not to be asked again on this connection.
  const bool other_session = sqlstate_ == "26000" || sqlstate_ == "42P05";
  if (sqlstate_ == "25006" || sqlstate_ == "25P03" || sqlstate_ == "0A000" || other_session ||
      sqlstate_.starts_with("08") || (sqlstate_.starts_with("57") && sqlstate_ != "57014")) {
    usable_ = false;
  }
  std::string_view hint;
  if (sqlstate_ == "25006") hint = " (the server takes no writes: a standby, or it was made read-only)";
  if (sqlstate_ == "42501") hint = " (the role lacks a right on the schema: GRANT it)";
  if (sqlstate_ == "42P01" || sqlstate_ == "3F000") hint = " (somebody dropped it, or another schema is meant)";
  if (other_session) hint = " (a pooler between us must leave a session to its client)";
  if (sqlstate_ == "53100") hint = " (the server's disk is full)";
  return fail(error_code(sqlstate_), "PostgreSQL at {}: {} ({}){}", server_.address,
              one_line(field(PG_DIAG_MESSAGE_PRIMARY)), sqlstate_, hint);
}

bool Connection::looks_alive() const {
  if (!usable_ || PQstatus(connection_.get()) != CONNECTION_OK) return false;
  // An idle server says nothing, unless it says goodbye.
  pollfd one{PQsocket(connection_.get()), POLLIN, 0};
  return poll(&one, 1, 0) == 0;
}

Result<void> Connection::wait(bool writable) {
  const auto deadline = std::chrono::steady_clock::now() + answer_timeout_;
  for (;;) {
    pollfd one{PQsocket(connection_.get()), static_cast<short>(writable ? POLLIN | POLLOUT : POLLIN), 0};
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    const int ready = poll(&one, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready > 0) return {};
    if (ready < 0 && errno == EINTR) continue;
    usable_ = false;
    transaction_ = State::none;
    return fail(ErrorCode::unavailable, "PostgreSQL at {}: no answer within {}", server_.address,
                format_duration(answer_timeout_));
  }
}

Result<PGresult*> Connection::next_result() {
  PGconn* const handle = connection_.get();
  while (PQisBusy(handle) != 0) {
    TRY(wait(false));
    if (PQconsumeInput(handle) == 0) return lost("waiting for an answer");
  }
  return PQgetResult(handle);
}

Result<void> Connection::send_command(const char* sql, std::vector<Sent>& sent) {
  if (PQsendQueryParams(connection_.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 1) == 0) return lost("sending");
  sent.push_back({Sent::What::command, sql});
  return {};
}

Result<void> Connection::send(const Call& call, std::vector<Sent>& sent) {
  PGconn* const handle = connection_.get();
  const auto& places = call.params.places_;
  std::vector<Oid> types(places.size());
  std::vector<const char*> values(places.size());
  std::vector<int> lengths(places.size());
  std::vector<int> formats(places.size(), 1);
  for (std::size_t i = 0; i < places.size(); ++i) {
    types[i] = places[i].type;
    values[i] = places[i].length < 0 ? nullptr : call.params.data_.data() + places[i].offset;
    lengths[i] = places[i].length;
  }
  const int count = static_cast<int>(places.size());
  auto known = prepared_.find(call.sql);
  const bool in_flight = known == prepared_.end() && std::ranges::any_of(sent, [&](const Sent& one) {
                           return one.what == Sent::What::preparation && one.sql == call.sql;
                         });
  // The name is the address, so that it is known before the server has said yes.
  const std::string name =
      known != prepared_.end() ? known->second : fmt::format("s{:x}", reinterpret_cast<std::uintptr_t>(call.sql));
  if (known == prepared_.end() && !in_flight) {
    if (PQsendPrepare(handle, name.c_str(), call.sql, count, types.data()) == 0) return lost("sending");
    sent.push_back({Sent::What::preparation, call.sql});
  }
  if (PQsendQueryPrepared(handle, name.c_str(), count, values.data(), lengths.data(), formats.data(), 1) == 0) {
    return lost("sending");
  }
  sent.push_back({Sent::What::call, call.sql});
  return {};
}

Result<std::vector<Rows>> Connection::finish(std::vector<Sent>& sent) {
  PGconn* const handle = connection_.get();
  ++round_trips_;
  if (PQpipelineSync(handle) != 1) return lost("sending");
  for (;;) {
    const int left = PQflush(handle);
    if (left < 0) return lost("sending");
    if (left == 0) break;
    // The server may not take more before we take what it has to say.
    TRY(wait(true));
    if (PQconsumeInput(handle) == 0) return lost("sending");
  }
  std::vector<Rows> results;
  std::optional<Error> first_error;
  for (const Sent& one : sent) {
    TRY_ASSIGN(PGresult* const raw, next_result());
    Rows rows(raw);
    if (!raw) return lost("waiting for an answer");
    switch (PQresultStatus(raw)) {
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
        if (one.what == Sent::What::preparation) {
          prepared_.emplace(one.sql, fmt::format("s{:x}", reinterpret_cast<std::uintptr_t>(one.sql)));
        } else if (one.what == Sent::What::call) {
          results.push_back(std::move(rows));
        }
        break;
      case PGRES_PIPELINE_ABORTED:
        break;  // behind the one that failed
      default:
        if (!first_error) first_error = failure(raw).error();
        // A server that goes away sends its error and nothing more.
        if (PQstatus(handle) == CONNECTION_BAD) {
          usable_ = false;
          transaction_ = State::none;
          return std::unexpected(*std::move(first_error));
        }
    }
    TRY_ASSIGN(PGresult* const end, next_result());  // the null that ends a command's results
    const Rows nothing(end);
    if (end) return lost("waiting for an answer");
  }
  TRY_ASSIGN(PGresult* const sync, next_result());
  const Rows keep(sync);
  if (!sync || PQresultStatus(sync) != PGRES_PIPELINE_SYNC) {
    if (first_error) {
      usable_ = false;
      transaction_ = State::none;
      return std::unexpected(*std::move(first_error));
    }
    return lost("waiting for an answer");
  }
  if (first_error) return std::unexpected(*std::move(first_error));
  return results;
}

void Connection::begin(Mode mode) {
  INVARIANT(transaction_ == State::none);
  mode_ = mode;
  transaction_ = State::wanted;
  worth_another_try_ = false;
  sqlstate_.clear();
}

Result<std::vector<Rows>> Connection::round_trip(std::span<const Call> calls, bool committing) {
  if (!usable_) return fail(ErrorCode::unavailable, "PostgreSQL at {}: the connection was lost", server_.address);
  std::vector<Sent> sent;
  sent.reserve(2 * calls.size() + 3);
  const bool first = transaction_ != State::open;
  if (transaction_ == State::wanted) {
    TRY(send_command(mode_ == Mode::write ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", sent));
    transaction_ = State::open;
  }
  if (const auto now = std::chrono::steady_clock::now(); first && !calls.empty() && now - planned_at_ > kPlansAge) {
    TRY(send_command("DISCARD PLANS", sent));
    planned_at_ = now;
  }
  for (const Call& call : calls) TRY(send(call, sent));
  if (committing) TRY(send_command("COMMIT", sent));
  return finish(sent);
}

Result<Rows> Connection::run(const char* sql, const Params& params) {
  const Call call{sql, params};
  TRY_ASSIGN(auto results, round_trip({&call, 1}, false));
  INVARIANT(results.size() == 1);
  return std::move(results.front());
}

Result<std::vector<Rows>> Connection::run_all(std::span<const Call> calls) { return round_trip(calls, false); }

Result<std::vector<Rows>> Connection::commit(std::span<const Call> last) {
  INVARIANT(transaction_ != State::none || !usable_);
  if (!usable_) return fail(ErrorCode::unavailable, "PostgreSQL at {}: the connection was lost", server_.address);
  if (transaction_ == State::wanted && last.empty()) {
    transaction_ = State::none;
    return std::vector<Rows>{};
  }
  if (PQtransactionStatus(connection_.get()) == PQTRANS_INERROR) {
    // A body that passed over an error. COMMIT would roll back and say that all is well.
    roll_back();
    return fail(ErrorCode::internal, "PostgreSQL at {}: a statement of the transaction had failed ({})",
                server_.address, sqlstate_);
  }
  auto done = round_trip(last, true);
  if (done) {
    transaction_ = State::none;
    return done;
  }
  if (!usable_) {
    Error error = std::move(done).error();
    error.message += "; it is not known whether the commit took effect";
    return std::unexpected(std::move(error));
  }
  roll_back();
  return done;
}

void Connection::roll_back() {
  const State before = std::exchange(transaction_, State::none);
  if (!usable_ || before != State::open) return;
  if (PQtransactionStatus(connection_.get()) == PQTRANS_IDLE) return;
  std::vector<Sent> sent;
  if (!send_command("ROLLBACK", sent) || !finish(sent)) usable_ = false;
}

Result<void> Connection::execute(const std::string& script) {
  PGconn* const handle = connection_.get();
  if (transaction_ == State::wanted) {
    TRY(run_all({}));  // BEGIN
  }
  if (PQsetnonblocking(handle, 0) != 0 || PQexitPipelineMode(handle) != 1) return lost("sending");
  const Rows result(PQexec(handle, script.c_str()));
  if (PQstatus(handle) != CONNECTION_OK || !result.get()) return lost("running a script");
  Result<void> outcome;
  if (PQresultStatus(result.get()) == PGRES_FATAL_ERROR) outcome = failure(result.get());
  if (PQsetnonblocking(handle, 1) != 0 || PQenterPipelineMode(handle) != 1) return lost("connecting");
  return outcome;
}

}  // namespace wfo::store::postgres
