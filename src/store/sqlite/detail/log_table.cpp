#include <algorithm>

#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {
namespace {

constexpr std::size_t kKnownTypesMax = 4'096;  // in memory; who posts events chooses how many types there are

}  // namespace

Result<std::int64_t> LogTable::type_id(const std::string& type) {
  if (const auto known = types_.find(type); known != types_.end()) return known->second;
  TRY_ASSIGN(Statement* const add, connection_.statement("INSERT OR IGNORE INTO event_types (name) VALUES (?)"));
  TRY(add->bind_text(type).run());
  TRY_ASSIGN(Statement* const find, connection_.statement("SELECT id FROM event_types WHERE name = ?"));
  TRY_ASSIGN(const bool row, find->bind_text(type).step());
  INVARIANT(row);
  const auto id = find->integer(0);
  find->reset();
  if (types_.size() >= kKnownTypesMax) types_.clear();
  types_.emplace(type, id);
  return id;
}

Result<std::string_view> LogTable::type_name(std::int64_t id) {
  if (const auto known = type_names_.find(id); known != type_names_.end()) return known->second;
  TRY_ASSIGN(Statement* const find, connection_.statement("SELECT name FROM event_types WHERE id = ?"));
  TRY_ASSIGN(const bool row, find->bind(id).step());
  if (!row) return fail(ErrorCode::corruption, "log: event type {} is not in the table event_types", id);
  std::string name = find->text(0);
  find->reset();
  if (type_names_.size() >= kKnownTypesMax) type_names_.clear();
  return type_names_.emplace(id, std::move(name)).first->second;
}

void LogTable::return_to(const Mark& mark) {
  // A type's id that was given meanwhile is void, also where the entry itself could not be written.
  types_.clear();
  if (mark.last < mark_.last) {
    // Entries are appended without gaps, so the ones beyond the mark are the tail.
    const auto excess = static_cast<std::size_t>(mark_.last - mark.last);
    appended_.resize(appended_.size() - std::min(excess, appended_.size()));
  }
  mark_ = mark;
}

std::vector<LogEntry> LogTable::take_appended() {
  mark_.trimmed = 0;
  return std::exchange(appended_, {});
}

Result<void> LogTable::append(std::span<const events::EventPtr> batch) {
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO log (sequence, type, committed_at, event, event_id, event_time) "
                                   "VALUES (?, ?, ?, ?, ?, ?)"));
  const Timestamp now = clock_.now();
  for (const auto& event : batch) {
    TRY_ASSIGN(const auto type, type_id(event->type()));
    insert->bind(mark_.last + 1).bind(type).bind(now).bind_blob(event->bytes());
    if (event->bytes_say_id()) {
      insert->bind_null();
    } else {
      insert->bind(event->id());
    }
    insert->bind(event->bytes_say_timestamp() ? std::nullopt : std::optional(event->timestamp()));
    TRY(insert->run());
    ++mark_.last;
    if (outbox_) {
      TRY_ASSIGN(Statement* const await, connection_.statement("INSERT INTO outbox (sequence, run) VALUES (?, ?)"));
      const auto run = run_of(*event);
      TRY(await->bind(mark_.last).bind(run).run());
    }
    appended_.push_back({mark_.last, event});
  }
  return {};
}

Result<std::size_t> LogTable::trim(Sequence through, Timestamp before, std::size_t count_max) {
  // Times ascend with the sequence but for steps of the clock, and those only make an entry live longer.
  TRY_ASSIGN(Statement* const bound,
             connection_.statement("SELECT sequence, committed_at FROM log WHERE sequence <= ? AND sequence < "
                                   "ifnull((SELECT min(sequence) FROM outbox), 9223372036854775807) "
                                   "ORDER BY sequence LIMIT ?"));
  bound->bind(through).bind(static_cast<std::int64_t>(count_max));
  Sequence last = 0;
  for (;;) {
    TRY_ASSIGN(const bool more, bound->step());
    if (!more) break;
    if (bound->timestamp(1) >= before) {
      bound->reset();
      break;
    }
    last = bound->integer(0);
  }
  if (last == 0) return 0;
  TRY_ASSIGN(Statement* const note, connection_.statement("INSERT INTO log_trimmed (one, through) VALUES (1, ?) ON "
                                                          "CONFLICT (one) DO UPDATE SET through = excluded.through"));
  TRY(note->bind(last).run());
  TRY_ASSIGN(Statement* const remove, connection_.statement("DELETE FROM log WHERE sequence <= ?"));
  TRY(remove->bind(last).run());
  mark_.trimmed = last;
  return static_cast<std::size_t>(connection_.database().changes());
}

Result<std::vector<LogTable::Row>> LogTable::read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                                  std::size_t bytes_max, Sequence& read_through) {
  // A row's payload lies behind its type, so a row that is not wanted costs little. The scan is bounded too: a
  // consumer that wants nothing of a long log must not hold a snapshot for long.
  constexpr std::int64_t kScanMax = 65'536;
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT sequence, type, committed_at, event, event_id, event_time FROM log WHERE "
                                   "sequence > ? ORDER BY sequence LIMIT ?"));
  select->bind(after).bind(kScanMax);
  std::vector<Row> rows;
  std::size_t bytes = 0;
  while (rows.size() < count_max && bytes < bytes_max) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return rows;
    auto type = type_name(select->integer(1));
    if (!type) {
      select->reset();
      return std::unexpected(std::move(type).error());
    }
    read_through = select->integer(0);
    if (!filter.wants(*type)) continue;
    rows.push_back({read_through, select->text(3), select->optional_id<EventId>(4),
                    select->is_null(5) ? select->timestamp(2) : select->timestamp(5)});
    bytes += rows.back().bytes.size();
  }
  select->reset();
  return rows;
}

Result<Sequence> LogTable::trimmed_through() {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT through FROM log_trimmed"));
  TRY_ASSIGN(const bool row, select->step());
  if (!row) return 0;
  const Sequence through = select->integer(0);
  select->reset();
  return through;
}

Result<Sequence> LogTable::last_sequence() {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT max(coalesce((SELECT max(sequence) FROM log), 0), "
                                                            "coalesce((SELECT through FROM log_trimmed), 0))"));
  TRY_ASSIGN(const bool row, select->step());
  INVARIANT(row);
  const Sequence last = select->integer(0);
  select->reset();
  return last;
}

Result<Sequence> PositionsTable::get(std::string_view consumer) const {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT position FROM positions WHERE consumer = ?"));
  TRY_ASSIGN(const bool row, select->bind_text(consumer).step());
  if (!row) return 0;
  const Sequence position = select->integer(0);
  select->reset();
  return position;
}

Result<void> PositionsTable::set(std::string_view consumer, Sequence position) {
  TRY(check_text("position", "consumer", consumer));
  TRY_ASSIGN(Statement* const upsert,
             connection_.statement("INSERT INTO positions (consumer, position) VALUES (?, ?) "
                                   "ON CONFLICT (consumer) DO UPDATE SET position = excluded.position"));
  return upsert->bind_text(consumer).bind(position).run();
}

Result<std::vector<std::pair<std::string, Sequence>>> PositionsTable::all() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT consumer, position FROM positions ORDER BY consumer"));
  std::vector<std::pair<std::string, Sequence>> positions;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return positions;
    positions.emplace_back(select->text(0), select->integer(1));
  }
}

}  // namespace wfo::store::sqlite
