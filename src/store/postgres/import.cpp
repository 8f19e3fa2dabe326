#include "store/postgres/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "base/digest.h"
#include "base/uuid.h"
#include "bus/topic.h"
#include "embedded/postgres_ledger_migrations.h"
#include "embedded/postgres_migrations.h"
#include "store/outbox.h"
#include "store/postgres/detail/connection.h"
#include "store/postgres/detail/migrate.h"

namespace wfo::store::postgres {
namespace {

constexpr std::size_t kPieceRowsMax = 2'000;
constexpr std::size_t kPieceBytesMax = std::size_t{4} << 20;
constexpr milliseconds kStatementTimeout = std::chrono::minutes(30);  // a VACUUM of a large table is one statement
constexpr std::string_view kNamesTimeout = "1min";                    // for marking the source

/// How the source says where it was moved to. The number is what counts: the same server has several addresses.
std::string mark_of(std::string_view target, std::string_view move) {
  return fmt::format("{} (move {})", target, move);
}
/// The number of the move in a mark; "" without.
std::string move_in(std::string_view mark) {
  constexpr std::string_view kBefore = " (move ";
  const auto at = mark.rfind(kBefore);
  if (at == std::string_view::npos || !mark.ends_with(')')) return "";
  const auto number = mark.substr(at + kBefore.size(), mark.size() - at - kBefore.size() - 1);
  return Uuid::parse(number) ? std::string(number) : "";
}
std::string comment_of(std::string_view move) { return fmt::format("{}, move {}", kMovingComment, move); }

Error with_table(Error error, TransferTable table) { return with_context(std::move(error), name(table)); }

/// A row has 0 or 1 there.
bool is_boolean(const TransferColumn& column) { return column.name == "exclusive" || column.name == "paused"; }

std::string list_of(TransferTable table, std::string_view of_boolean) {
  std::string list;
  for (const TransferColumn& column : columns(table)) {
    if (!list.empty()) list += ", ";
    list += quoted(column.name);
    if (is_boolean(column)) list += of_boolean;
  }
  return list;
}

/// The table's name in its schema.
std::string_view table_name(TransferTable table) {
  constexpr std::string_view kOfLedger = "ledger ";
  return is_of_ledger(table) ? name(table).substr(kOfLedger.size()) : name(table);
}

/// The statements of one table. They are known to connections by their addresses, so this outlives those.
struct Statements {
  explicit Statements(TransferTable table) {
    std::string parameters;
    for (std::size_t i = 1; i <= columns(table).size(); ++i) parameters += fmt::format("{}${}", i == 1 ? "" : ", ", i);
    insert =
        fmt::format("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS r ({})",
                    table_name(table), list_of(table, ""), list_of(table, " <> 0"), parameters, list_of(table, ""));
    declare = fmt::format("DECLARE {} NO SCROLL CURSOR FOR SELECT {} FROM {}", cursor(table),
                          list_of(table, "::integer"), table_name(table));
    fetch = fmt::format("FETCH 256 FROM {}", cursor(table));
  }
  static std::string cursor(TransferTable table) { return fmt::format("all_{}", table_name(table)); }
  std::string insert;
  std::string declare;
  std::string fetch;
};

Type type_of(CellKind kind) {
  switch (kind) {
    case CellKind::integer:
      return Type::bigint;
    case CellKind::uuid:
      return Type::uuid;
    case CellKind::text:
      return Type::text;
    case CellKind::bytes:
      return Type::bytea;
  }
  return Type::text;
}

/// Rows of a table on their way, written in pieces.
class Writer {
 public:
  Writer(Connection& connection, TransferTable table, const Statements& statements)
      : connection_(connection), table_(table), statements_(statements) {
    clear();
  }

  Result<void> add(const TransferRow& row) {
    const auto kinds = columns(table_);
    INVARIANT(row.size() == kinds.size());
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      if (const auto* number = std::get_if<std::int64_t>(&row[i])) {
        arrays_[i].add(*number);
      } else if (const auto* content = std::get_if<std::string>(&row[i])) {
        TRY(add_content(arrays_[i], kinds[i], *content));
        bytes_ += content->size();
      } else {
        arrays_[i].add_null();
      }
    }
    digest_.add(row);
    if (++count_ < kPieceRowsMax && bytes_ < kPieceBytesMax) return {};
    return flush();
  }
  Result<void> flush() {
    if (count_ == 0) return {};
    Call call{statements_.insert.c_str()};
    for (const Array& array : arrays_) call.params.add(array);
    clear();
    if (auto done = connection_.run_all({&call, 1}); !done) {
      return std::unexpected(with_table(std::move(done).error(), table_));
    }
    return {};
  }
  [[nodiscard]] bool has_just_flushed() const { return count_ == 0; }
  [[nodiscard]] const TransferDigest& digest() const { return digest_; }

 private:
  Result<void> add_content(Array& array, const TransferColumn& column, const std::string& content) {
    switch (column.kind) {
      case CellKind::uuid: {
        const auto id = Uuid::from_bytes({reinterpret_cast<const std::uint8_t*>(content.data()), content.size()});
        if (!id) {
          return fail(ErrorCode::corruption, "{}: a row has {} bytes as {}, which is a uuid", name(table_),
                      content.size(), column.name);
        }
        array.add(*id);
        return {};
      }
      case CellKind::text:
        array.add_text(content);
        return {};
      default:
        array.add_bytes(content);
        return {};
    }
  }
  void clear() {
    arrays_.clear();
    for (const TransferColumn& column : columns(table_)) arrays_.emplace_back(type_of(column.kind));
    count_ = 0;
    bytes_ = 0;
  }

  Connection& connection_;
  TransferTable table_;
  const Statements& statements_;
  std::vector<Array> arrays_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  TransferDigest digest_;
};

TransferRow read_row(const Row& row, std::span<const TransferColumn> kinds) {
  TransferRow cells(kinds.size());
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const int column = static_cast<int>(i);
    if (row.is_null(column)) continue;
    if (kinds[i].kind == CellKind::integer) {
      cells[i] = row.integer(column);
    } else {
      cells[i] = row.text(column);
    }
  }
  return cells;
}

/// What becomes of the source's positions: a broker's queues have none.
class Passed {
 public:
  Passed(std::span<const ImportQueue> queues, const std::vector<std::pair<std::string, Sequence>>& positions) {
    for (const ImportQueue& queue : queues) {
      const auto known = std::ranges::find(positions, queue.queue, [](const auto& one) { return one.first; });
      const Sequence position = known == positions.end() ? 0 : known->second;
      queues_.push_back({queue.queue, position, queue.has_inbox, bus::TopicFilter(queue.bindings)});
    }
  }
  /// Whether some queue wants the entry and has not come to it.
  [[nodiscard]] bool awaits_publication(Sequence sequence, std::string_view type) const {
    return std::ranges::any_of(
        queues_, [&](const Queue& queue) { return queue.position < sequence && queue.filter.wants(type); });
  }
  /// Hands `take` the queues in which the entry has taken effect, and whose inboxes must know it.
  Result<void> each_that_took(Sequence sequence, std::string_view type,
                              FunctionRef<Result<void>(const std::string& queue)> take) const {
    for (const Queue& queue : queues_) {
      if (queue.has_inbox && queue.position >= sequence && queue.filter.wants(type)) TRY(take(queue.name));
    }
    return {};
  }

 private:
  struct Queue {
    std::string name;
    Sequence position;
    bool has_inbox;
    bus::TopicFilter filter;
  };
  std::vector<Queue> queues_;
};

std::string uuid_cell(const Uuid& id) { return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()}; }

/// One of the two schemas that are filled, and the connection that fills it.
struct Part {
  std::string schema;
  std::string moving;
  bool of_ledger;
  Connection connection;
  bool is_done = false;  // an earlier import gave it its name

  [[nodiscard]] std::string description() const {
    return fmt::format("PostgreSQL at {}, database {}, schema {}", connection.server().address,
                       connection.server().database, schema);
  }
};

/// What is in a schema.
struct Found {
  bool exists = false;
  bool is_empty = true;
  std::string comment;
  std::string owner;
  bool is_ours = true;  // the role may drop it
};

Result<Found> look_at(Connection& connection, const std::string& schema) {
  TRY_ASSIGN(const Rows rows,
             connection.run("SELECT coalesce(obj_description(n.oid, 'pg_namespace'), ''), NOT EXISTS (SELECT FROM "
                            "pg_class c WHERE c.relnamespace = n.oid) AND NOT EXISTS (SELECT FROM pg_proc p WHERE "
                            "p.pronamespace = n.oid), pg_get_userbyid(n.nspowner)::text, pg_has_role(n.nspowner, "
                            "'USAGE') FROM pg_namespace n WHERE n.nspname = $1::text",
                            Params().add_text(schema)));
  if (rows.empty()) return Found{};
  return Found{true, rows[0].boolean(1), rows[0].text(0), rows[0].text(2), rows[0].boolean(3)};
}

class Import {
 public:
  Import(TransferSource& source, const ImportConfig& config, const events::Contracts& contracts, const Clock& clock,
         Logger& log, const ImportProgress& progress, std::stop_token stop)
      : source_(source),
        config_(config),
        contracts_(contracts),
        clock_(clock),
        log_(log),
        progress_(progress),
        stop_(std::move(stop)) {
    for (const TransferTable table : all_transfer_tables()) statements_.emplace(table, Statements(table));
  }

  Result<ImportReport> run() {
    TRY(open_parts());
    TRY_ASSIGN(const auto mark, source_.moved_to());
    move_ = mark ? move_in(*mark) : SystemIdSource(clock_).next().to_string();
    for (Part& part : parts_) TRY(look(part, mark));
    report_.was_there = std::ranges::all_of(parts_, &Part::is_done);
    for (Part& part : parts_) {
      if (part.is_done) continue;
      TRY(fill(part));
      TRY(verify(part));
      TRY(note(part));
    }
    for (const TransferTable table : all_transfer_tables()) {
      if (!part_of(table).is_done) known_[table] = {written_.at(table).rows(), written_.at(table).to_hex()};
      report_.tables.push_back({std::string(name(table)), known_.at(table).rows, known_.at(table).digest});
    }
    report_.awaiting_publication = known_.at(TransferTable::outbox).rows;
    if (report_.was_there) return std::move(report_);
    TRY(stopped());
    if (auto named = name_and_mark(); !named) {
      for (Part& part : parts_) part.connection.roll_back();
      return std::unexpected(std::move(named).error());
    }
    log_.info("migrate: {} was moved to {}", source_.description(), report_.target);
    return std::move(report_);
  }

 private:
  struct Content {
    std::int64_t rows = 0;
    std::string digest;
  };

  [[nodiscard]] Part& part_of(TransferTable table) { return parts_[is_of_ledger(table) ? 1 : 0]; }
  [[nodiscard]] Result<void> stopped() const {
    if (!stop_.stop_requested()) return {};
    return fail(ErrorCode::unavailable, "the move was interrupted; nothing has changed for {}, call it again",
                source_.description());
  }
  void tell(std::string_view step, TransferTable table, std::int64_t done, std::int64_t total) const {
    if (progress_) progress_(step, name(table), done, total);
  }

  Result<void> open_parts() {
    TRY(check(config_.store));
    TRY(check(config_.ledger));
    if (config_.store.url == config_.ledger.url && config_.store.schema == config_.ledger.schema) {
      return fail(ErrorCode::invalid_argument, "migrate: store and ledger have the same schema {}; allowed: two",
                  config_.store.schema);
    }
    ConnectionOptions store{.url = config_.store.url,
                            .schema = config_.store.schema,
                            .connect_timeout = config_.store.connect_timeout,
                            .tcp_timeout = config_.store.tcp_timeout,
                            .application = "wfo migrate"};
    ConnectionOptions ledger{.url = config_.ledger.url,
                             .schema = config_.ledger.schema,
                             .connect_timeout = config_.ledger.connect_timeout,
                             .tcp_timeout = config_.ledger.tcp_timeout,
                             .application = "wfo migrate"};
    TRY(open_part(std::move(store), false));
    TRY(open_part(std::move(ledger), true));
    report_.target = fmt::format("{}; its ledger to {}", parts_[0].description(), parts_[1].description());
    return {};
  }

  Result<void> open_part(ConnectionOptions options, bool of_ledger) {
    std::string schema = options.schema;
    options.schema += kMovingSuffix;
    options.statement_timeout = kStatementTimeout;
    TRY(check_schema("migrate", options.schema));
    std::string moving = options.schema;
    auto connected = Connection::open(options);
    if (!connected) {
      return std::unexpected(with_context(std::move(connected).error(), of_ledger ? "ledger" : "store"));
    }
    Part part{std::move(schema), std::move(moving), of_ledger, *std::move(connected)};
    // Held by the session, so it ends with this process, however that ends.
    TRY_ASSIGN(const Rows locked,
               part.connection.run("SELECT pg_try_advisory_lock(hashtextextended('wfo move to ' || $1::text, 0))",
                                   Params().add_text(part.schema)));
    if (!locked[0].boolean(0)) {
      return fail(ErrorCode::conflict, "{}: somebody else is moving an installation there", part.description());
    }
    parts_.push_back(std::move(part));
    return {};
  }

  static std::unexpected<Error> in_use(const Part& part) {
    return fail(ErrorCode::conflict,
                "{} has tables already; a move needs a schema of its own: name another one, or drop it, if nobody "
                "needs what is in it",
                part.description());
  }

  /// Whether there is room for the part, or it is there already.
  Result<void> look(Part& part, const std::optional<std::string>& mark) {
    TRY_ASSIGN(const Found found, look_at(part.connection, part.schema));
    const auto elsewhere = [&] {
      return fail(ErrorCode::conflict, "{} was moved to {}; {} has nothing of that move", source_.description(), *mark,
                  part.description());
    };
    if (!found.exists || found.is_empty) {
      if (!found.is_ours) {
        return fail(ErrorCode::invalid_argument,
                    "{} is empty and belongs to the role {}; a move replaces it, so drop it, or let that role move",
                    part.description(), found.owner);
      }
      if (!mark) return {};
      // Whoever is marked has had all of it beside the schema.
      TRY_ASSIGN(const Found moving, look_at(part.connection, part.moving));
      if (move_.empty() || moving.comment != comment_of(move_)) return elsewhere();
      return {};
    }
    // An import gives its name to no schema before the source is marked.
    if (!mark) return in_use(part);
    TRY_ASSIGN(const Rows noted,
               part.connection.run("SELECT FROM pg_attribute WHERE attrelid = to_regclass(quote_ident($1) || "
                                   "'.moved_tables') AND attname = 'move' AND NOT attisdropped",
                                   Params().add_text(part.schema)));
    if (noted.empty()) return elsewhere();
    // By its own literal: a connection's search path does not go there.
    moved_tables_.push_back(std::make_unique<std::string>(
        fmt::format("SELECT name, rows, digest, move FROM {}.moved_tables", quoted(part.schema))));
    TRY_ASSIGN(const Rows rows, part.connection.run(moved_tables_.back()->c_str()));
    std::map<std::string, Content, std::less<>> contents;
    for (const Row row : rows) {
      if (row.text(3) != move_) return elsewhere();
      contents[row.text(0)] = {row.integer(1), row.text(2)};
    }
    for (const TransferTable table : all_transfer_tables()) {
      if (is_of_ledger(table) != part.of_ledger) continue;
      const auto content = contents.find(name(table));
      if (content == contents.end()) return elsewhere();
      known_[table] = content->second;
      if (table == TransferTable::inbox || table == TransferTable::outbox) continue;  // hold what the move itself wrote
      TransferDigest digest;
      TRY(source_.read(table, [&](const TransferRow& row) -> Result<void> {
        digest.add(row);
        return {};
      }));
      if (digest.rows() != content->second.rows || digest.to_hex() != content->second.digest) {
        return fail(ErrorCode::conflict, "{}: {} is not what was moved to {}: it was changed since", name(table),
                    source_.description(), part.description());
      }
    }
    part.is_done = true;
    return {};
  }

  /// Makes the schema anew, with tables that are empty.
  Result<void> make_schema(Part& part) {
    TRY_ASSIGN(const Found found, look_at(part.connection, part.moving));
    if (found.exists && !found.comment.starts_with(kMovingComment)) {
      return fail(ErrorCode::conflict, "{}: there is a schema {} that is not from an earlier move", part.description(),
                  part.moving);
    }
    const std::string schema = quoted(part.moving);
    std::string script;
    if (found.exists) script += fmt::format("DROP SCHEMA {} CASCADE; ", schema);
    script += fmt::format("CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS '{1}'", schema, comment_of(move_));
    if (auto made = part.connection.execute(script); !made) {
      if (part.connection.sqlstate() != "42501") return made;
      return fail(ErrorCode::invalid_argument,
                  "{}: {}; the role must be allowed to make schemas: GRANT CREATE ON DATABASE {} TO it",
                  part.description(), made.error().message, quoted(part.connection.server().database));
    }
    const auto migrations = part.of_ledger ? as_migrations(embedded::postgres_ledger_migrations())
                                           : as_migrations(embedded::postgres_migrations());
    TRY(migrate(part.connection, migrations, part.of_ledger ? "ledger" : "store"));
    return part.connection.execute(
        "CREATE TABLE moved_tables (name text PRIMARY KEY, rows bigint NOT NULL, digest text NOT NULL, "
        "move text NOT NULL)");
  }

  Result<void> fill(Part& part) {
    TRY(make_schema(part));
    if (!part.of_ledger) {
      TRY_ASSIGN(source_log_, source_.log());
      if (source_log_.is_bus) {
        TRY_ASSIGN(const auto positions, source_.positions());
        TRY(check_gap(positions));
        passed_.emplace(config_.queues, positions);
      }
    }
    std::map<TransferTable, Writer> writers;
    for (const TransferTable table : all_transfer_tables()) {
      if (is_of_ledger(table) == part.of_ledger)
        writers.try_emplace(table, part.connection, table, statements_.at(table));
    }
    for (auto& [table, writer] : writers) {
      TRY_ASSIGN(const std::int64_t total, source_.count(table));
      std::int64_t done = 0;
      tell("copy", table, done, total);
      TRY(source_.read(table, [&, this, table = table, &writer = writer](const TransferRow& row) -> Result<void> {
        TRY(writer.add(row));
        if (table == TransferTable::inbox && passed_) {
          noted_.emplace(std::get<std::string>(row[0]), std::get<std::string>(row[1]), std::get<std::string>(row[2]));
        }
        if (table == TransferTable::log && passed_) {
          TRY(hand_over(row, writers.at(TransferTable::outbox), writers.at(TransferTable::inbox)));
        }
        ++done;
        if (!writer.has_just_flushed()) return {};
        tell("copy", table, done, total);
        return stopped();
      }));
      TRY(writer.flush());
      tell("copy", table, done, total);
      if (done != total) {
        return fail(ErrorCode::corruption, "{}: {} has {} rows, of which {} can be read; nothing was changed for it",
                    name(table), source_.description(), total, done);
      }
    }
    for (auto& [table, writer] : writers) {
      TRY(writer.flush());
      written_[table] = writer.digest();
    }
    if (part.of_ledger) return {};
    return set_counters(part);
  }

  /// A ledger that was there all the time has all that was deleted from the log. One that has not gets a note about it
  /// when it is served, which it would not get any more in the target.
  Result<void> check_gap(const std::vector<std::pair<std::string, Sequence>>& positions) const {
    for (const ImportQueue& queue : config_.queues) {
      if (queue.has_inbox) continue;
      const auto known = std::ranges::find(positions, queue.queue, [](const auto& one) { return one.first; });
      const Sequence position = known == positions.end() ? 0 : known->second;
      if (position >= source_log_.trimmed_through) continue;
      return fail(ErrorCode::conflict,
                  "{}: {} has not received the entries {} to {} of the log, which are deleted; serve the source once, "
                  "so that this is noted in the ledger, and move it then",
                  source_.description(), queue.queue, position + 1, source_log_.trimmed_through);
    }
    return {};
  }

  /// An entry of a log that was the bus: whoever has not taken it gets it from the broker, and whoever has knows it.
  Result<void> hand_over(const TransferRow& row, Writer& outbox, Writer& inbox) {
    const Sequence sequence = std::get<std::int64_t>(row[0]);
    if (!std::holds_alternative<std::string>(row[2]) || !std::holds_alternative<std::string>(row[3])) {
      return fail(ErrorCode::corruption, "log entry {} has no type, or no event", sequence);
    }
    const auto& type = std::get<std::string>(row[2]);
    if (!passed_->awaits_publication(sequence, type)) return {};
    const auto& bytes = std::get<std::string>(row[3]);
    const auto* id = std::get_if<std::string>(&row[4]);
    const auto* time = std::get_if<std::int64_t>(&row[5]);
    const Timestamp received(milliseconds(time ? *time : std::get<std::int64_t>(row[1])));
    const auto message_id =
        id ? Uuid::from_bytes({reinterpret_cast<const std::uint8_t*>(id->data()), id->size()}) : std::nullopt;
    auto event = contracts_.restore(bytes, received, message_id ? std::optional(EventId(*message_id)) : std::nullopt);
    if (!event) {
      return std::unexpected(with_context(std::move(event).error(), fmt::format("log entry {}", sequence)));
    }
    const auto run = run_of(**event);
    TRY(outbox.add(
        {sequence, run ? TransferCell(uuid_cell(run->value())) : TransferCell(), std::int64_t{0}, std::monostate()}));
    return passed_->each_that_took(sequence, type, [&](const std::string& queue) -> Result<void> {
      std::string tenant = uuid_cell((*event)->tenant().value());
      std::string event_id = uuid_cell((*event)->id().value());
      // Who published an event twice has it in the log twice.
      if (!noted_.emplace(queue, tenant, event_id).second) return {};
      ++report_.noted_in_inbox;
      return inbox.add({queue, std::move(tenant), std::move(event_id), static_cast<std::int64_t>(short_digest(bytes)),
                        clock_.now().time_since_epoch().count()});
    });
  }

  /// Numbers go on where the source's end.
  Result<void> set_counters(Part& part) {
    TRY(
        part.connection.run("SELECT setval('definitions_definition_seq', coalesce(max(definition), 0) + 1, false) FROM "
                            "definitions"));
    TRY(part.connection.run("SELECT setval('triggers_noted_seq', coalesce(max(noted), 0) + 1, false) FROM triggers"));
    TRY(part.connection.run("SELECT setval('fires_fire_seq', coalesce(max(fire), 0) + 1, false) FROM fires"));
    TRY(part.connection.run("UPDATE log_counter SET last = $1", Params().add(source_log_.last)));
    TRY(part.connection.run("UPDATE log_trimmed SET through = $1", Params().add(source_log_.trimmed_through)));
    return {};
  }

  /// Reads everything back.
  Result<void> verify(Part& part) {
    for (const TransferTable table : all_transfer_tables()) {
      if (is_of_ledger(table) != part.of_ledger) continue;
      auto read = read_back(part, table);
      part.connection.roll_back();
      if (!read) return std::unexpected(with_table(std::move(read).error(), table));
      const TransferDigest& expected = written_.at(table);
      if (*read == expected) continue;
      return fail(
          ErrorCode::corruption,
          "{}: the source has {} rows with digest {}, the target {} with {}; nothing was changed for the source",
          name(table), expected.rows(), expected.to_hex(), read->rows(), read->to_hex());
    }
    return {};
  }

  Result<TransferDigest> read_back(Part& part, TransferTable table) {
    const Statements& statements = statements_.at(table);
    const std::int64_t total = written_.at(table).rows();
    TransferDigest digest;
    part.connection.begin(Connection::Mode::snapshot);
    TRY(part.connection.run("SELECT set_config('enable_seqscan', 'on', true)"));  // all rows, in no order
    TRY(part.connection.run(statements.declare.c_str()));
    for (;;) {
      TRY_ASSIGN(const Rows rows, part.connection.run(statements.fetch.c_str()));
      if (rows.empty()) break;
      for (const Row row : rows) digest.add(read_row(row, columns(table)));
      tell("verify", table, digest.rows(), total);
      TRY(stopped());
    }
    return digest;
  }

  /// What was moved, for whoever calls again, and for people.
  Result<void> note(Part& part) {
    std::string tables;
    for (const TransferTable table : all_transfer_tables()) {
      if (is_of_ledger(table) != part.of_ledger) continue;
      const TransferDigest& digest = written_.at(table);
      TRY(part.connection.run(
          "INSERT INTO moved_tables (name, rows, digest, move) VALUES ($1, $2, $3, $4)",
          Params().add_text(name(table)).add(digest.rows()).add_text(digest.to_hex()).add_text(move_)));
      // Of an empty table that was never looked at PostgreSQL assumes that it will grow; leave it at that.
      if (digest.rows() > 0) tables += fmt::format("{}{}", tables.empty() ? "" : ", ", table_name(table));
    }
    if (tables.empty()) return {};
    // Whoever comes first should not have to wait for that. But all is there without it, and the server does it some
    // day.
    TRY(part.connection.execute("SET statement_timeout = 0"));
    if (auto done = part.connection.execute("VACUUM (ANALYZE) " + tables); !done) {
      if (!part.connection.usable()) return done;
      log_.warn("migrate: {}: VACUUM (ANALYZE) failed: {}; the first queries may be slow", part.description(),
                done.error().message);
    }
    return {};
  }

  /// From the mark on only one of the two can be served: none, then the target. What can fail comes before it: a
  /// transaction has given the names, holds off whoever would make the schemas, and has only to be committed.
  Result<void> name_and_mark() {
    // Where both lie in one database, one transaction for both. Else the ledger first: a store without its ledger would
    // be served, and a new ledger begun.
    const bool together = config_.store.url == config_.ledger.url && !parts_[0].is_done && !parts_[1].is_done;
    std::vector<Connection*> open;
    for (Part* part : {&parts_[1], &parts_[0]}) {
      if (part->is_done) continue;
      Connection& connection = together ? parts_[0].connection : part->connection;
      if (std::ranges::find(open, &connection) == open.end()) {
        connection.begin(Connection::Mode::write);
        open.push_back(&connection);
      }
      TRY(give_name(connection, *part));
    }
    TRY(stopped());
    TRY(source_.mark_moved(mark_of(report_.target, move_)));
    for (Connection* connection : open) {
      if (auto committed = connection->commit(); !committed) {
        return std::unexpected(with_context(
            std::move(committed).error(),
            fmt::format("the source {} is marked as moved; run the same wfo migrate again before serving anything",
                        source_.description())));
      }
    }
    return {};
  }

  Result<void> give_name(Connection& connection, const Part& part) {
    const std::string schema = quoted(part.schema);
    auto named =
        connection.execute(fmt::format("SET LOCAL idle_in_transaction_session_timeout = '{3}'; {2}; DROP SCHEMA IF "
                                       "EXISTS {0}; ALTER SCHEMA {1} RENAME "
                                       "TO {0}; COMMENT ON SCHEMA {0} IS NULL",
                                       schema, quoted(part.moving), lock_statement(part.schema), kNamesTimeout));
    if (named) return {};
    const std::string& state = connection.sqlstate();
    if (state == "2BP01" || state == "42P06") return in_use(part);  // somebody made it, and tables, meanwhile
    Error error = with_context(std::move(named).error(),
                               fmt::format("{}: nothing was changed for the source", part.description()));
    if (state == "42501") error.code = ErrorCode::invalid_argument;
    return std::unexpected(std::move(error));
  }

  TransferSource& source_;
  const ImportConfig& config_;
  const events::Contracts& contracts_;
  const Clock& clock_;
  Logger& log_;
  const ImportProgress& progress_;
  std::stop_token stop_;

  std::map<TransferTable, Statements> statements_;
  std::vector<std::unique_ptr<std::string>> moved_tables_;  // statements
  std::vector<Part> parts_;                                 // the store's, the ledger's
  std::string move_;                                        // its number
  std::map<TransferTable, Content> known_;                  // what is in the target
  std::map<TransferTable, TransferDigest> written_;
  TransferSource::Log source_log_;
  std::optional<Passed> passed_;                                       // where the source's log was the bus
  std::set<std::tuple<std::string, std::string, std::string>> noted_;  // queue, tenant, event: what inboxes know
  ImportReport report_;
};

}  // namespace

Result<ImportReport> import_installation(TransferSource& source, const ImportConfig& config,
                                         const events::Contracts& contracts, const Clock& clock, Logger& log,
                                         const ImportProgress& progress, std::stop_token stop) {
  return Import(source, config, contracts, clock, log, progress, std::move(stop)).run();
}

}  // namespace wfo::store::postgres
