#include <limits>

#include "store/checks.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

using schedule::FireCause;
using schedule::FireOutcome;
using schedule::FireRule;
using schedule::PlannedFire;

#define WFO_FIRE_COLUMNS "fire, schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run"

std::int64_t column(auto enumerator) { return static_cast<std::int64_t>(enumerator); }

Result<FireRecord> read_row(const Statement& row) {
  FireRecord record;
  record.id = row.integer(0);
  record.schedule = row.text(1);
  PlannedFire& fire = record.fire;
  fire.first = row.timestamp(2);
  fire.last = row.timestamp(3);
  fire.count = row.integer(4);
  const auto thing = fmt::format("fire {}", record.id);
  TRY_ASSIGN(fire.outcome, decode_enumerator(row.integer(5), FireOutcome::skipped, thing, "outcome"));
  TRY_ASSIGN(fire.cause, decode_enumerator(row.integer(6), FireCause::superseded, thing, "cause"));
  TRY_ASSIGN(fire.rule, decode_enumerator(row.integer(7), FireRule::after_gap, thing, "rule"));
  record.decided_at = row.timestamp(8);
  record.run = row.optional_id<JobRunId>(9);
  return record;
}

Result<std::vector<FireRecord>> read_rows(Statement& select) {
  std::vector<FireRecord> records;
  for (;;) {
    TRY_ASSIGN(const bool more, select.step());
    if (!more) return records;
    auto record = read_row(select);
    if (!record) {
      select.reset();
      return std::unexpected(std::move(record).error());
    }
    records.push_back(*std::move(record));
  }
}

}  // namespace

/// False: it needs a row of its own.
Result<bool> FiresTable::join(const FireRecord& record) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE fires SET last_at = ?1, count = count + ?2, decided_at = ?3 WHERE fire = "
                                   "(SELECT max(fire) FROM fires WHERE schedule = ?4) AND outcome = 2 AND cause = ?5 "
                                   "AND rule = ?6 AND last_at < ?7"));
  const PlannedFire& fire = record.fire;
  update->bind(fire.last).bind(fire.count).bind(record.decided_at).bind_text(record.schedule);
  TRY(update->bind(column(fire.cause)).bind(column(fire.rule)).bind(fire.first).run());
  return connection_.database().changes() == 1;
}

Result<void> FiresTable::record(std::span<const FireRecord> fires) {
  for (const FireRecord& record : fires) TRY(check_texts(record));
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO fires (schedule, first_at, last_at, count, outcome, cause, rule, "
                                   "decided_at, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const FireRecord& record : fires) {
    const PlannedFire& fire = record.fire;
    if (fire.outcome == FireOutcome::skipped) {
      TRY_ASSIGN(const bool joined, join(record));
      if (joined) continue;
    }
    insert->bind_text(record.schedule).bind(fire.first).bind(fire.last).bind(fire.count);
    insert->bind(column(fire.outcome)).bind(column(fire.cause)).bind(column(fire.rule));
    TRY(insert->bind(record.decided_at).bind(record.run).run());
  }
  return {};
}

Result<std::vector<BufferedFires>> FiresTable::buffered(std::span<const std::string> schedules) const {
  TRY_ASSIGN(Statement* const count,
             connection_.statement("SELECT count(*) FROM fires WHERE schedule = ? AND outcome = 1"));
  TRY_ASSIGN(Statement* const oldest,
             connection_.statement("SELECT " WFO_FIRE_COLUMNS
                                   " FROM fires WHERE schedule = ? AND outcome = 1 ORDER BY first_at, fire LIMIT 1"));
  TRY_ASSIGN(Statement* const asked_for,
             connection_.statement("SELECT " WFO_FIRE_COLUMNS
                                   " FROM fires WHERE schedule = ? AND outcome = 1 AND cause = ? ORDER BY first_at, "
                                   "fire LIMIT 1"));
  std::vector<BufferedFires> all;
  all.reserve(schedules.size());
  for (const std::string& schedule : schedules) {
    BufferedFires& buffered = all.emplace_back();
    TRY_ASSIGN(const bool row, count->bind_text(schedule).step());
    INVARIANT(row);
    buffered.count = static_cast<std::size_t>(count->integer(0));
    count->reset();
    if (buffered.count == 0) continue;
    TRY_ASSIGN(auto first, read_rows(oldest->bind_text(schedule)));
    INVARIANT(!first.empty());
    buffered.oldest = std::move(first.front());
    TRY_ASSIGN(auto asked, read_rows(asked_for->bind_text(schedule).bind(column(FireCause::backfill))));
    if (!asked.empty()) buffered.oldest_asked_for = std::move(asked.front());
  }
  return all;
}

Result<std::vector<bool>> FiresTable::turns_taken(std::span<const std::string> schedules) const {
  // From the open runs, which are few, to their fires.
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT 1 FROM job_runs r INDEXED BY job_runs_open_by_schedule CROSS JOIN fires f "
                                   "INDEXED BY fires_in_turn WHERE r.schedule = ? AND r.status <= 2 AND f.run = r.id "
                                   "AND f.outcome = 0 AND f.cause IN (2, 3) LIMIT 1"));
  std::vector<bool> taken;
  taken.reserve(schedules.size());
  for (const std::string& schedule : schedules) {
    TRY_ASSIGN(const bool found, select->bind_text(schedule).step());
    select->reset();
    taken.push_back(found);
  }
  return taken;
}

Result<void> FiresTable::release(std::span<const ReleasedFire> fires, Timestamp now) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement(
                 "UPDATE fires SET outcome = 0, cause = ?, run = ?, decided_at = ? WHERE fire = ? AND outcome = 1"));
  for (const auto& [id, run] : fires) {
    TRY(update->bind(column(FireCause::released)).bind(run).bind(now).bind(id).run());
    if (connection_.database().changes() != 1) return fail(ErrorCode::not_found, "no fire with the id {} waits", id);
  }
  return {};
}

Result<std::size_t> FiresTable::give_up_buffered(std::string_view schedule, FireCause cause, Timestamp now) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement(
                 "UPDATE fires SET outcome = 2, cause = ?, decided_at = ? WHERE schedule = ? AND outcome = 1"));
  TRY(update->bind(column(cause)).bind(now).bind_text(schedule).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

Result<std::vector<FireRecord>> FiresTable::list(const FireQuery& query) const {
  // One statement per shape, so that each goes along its index.
  Statement* select = nullptr;
  if (query.schedule.empty()) {
    TRY_ASSIGN(select, connection_.statement("SELECT " WFO_FIRE_COLUMNS
                                             " FROM fires WHERE fire < ?1 ORDER BY fire DESC LIMIT ?2"));
  } else {
    TRY_ASSIGN(select,
               connection_.statement("SELECT " WFO_FIRE_COLUMNS
                                     " FROM fires WHERE fire < ?1 AND schedule = ?3 ORDER BY fire DESC LIMIT ?2"));
  }
  select->bind(query.before.value_or(std::numeric_limits<FireId>::max()));
  select->bind(static_cast<std::int64_t>(query.limit));
  if (!query.schedule.empty()) select->bind_text(query.schedule);
  return read_rows(*select);
}

Result<std::size_t> FiresTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(Statement* const remove,
             connection_.statement("DELETE FROM fires WHERE fire IN (SELECT fire FROM fires WHERE outcome <> 1 AND "
                                   "decided_at < ? ORDER BY decided_at LIMIT ?)"));
  TRY(remove->bind(before).bind(static_cast<std::int64_t>(count_max)).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

}  // namespace wfo::store::sqlite
