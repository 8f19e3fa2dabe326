#include <limits>
#include <map>
#include <optional>

#include "store/checks.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

using schedule::FireCause;
using schedule::FireOutcome;
using schedule::FireRule;
using schedule::PlannedFire;

#define WFO_FIRE_COLUMNS \
  "f.fire, f.schedule, f.first_at, f.last_at, f.count, f.outcome, f.cause, f.rule, f.decided_at, f.run"

std::int64_t column(auto enumerator) { return static_cast<std::int64_t>(enumerator); }

/// Of a row whose columns begin at `at`.
Result<FireRecord> read_row(const Row& row, int at = 0) {
  FireRecord record;
  record.id = row.integer(at);
  record.schedule = row.text(at + 1);
  PlannedFire& fire = record.fire;
  fire.first = row.timestamp(at + 2);
  fire.last = row.timestamp(at + 3);
  fire.count = row.integer(at + 4);
  const auto thing = fmt::format("fire {}", record.id);
  TRY_ASSIGN(fire.outcome, decode_enumerator(row.integer(at + 5), FireOutcome::skipped, thing, "outcome"));
  TRY_ASSIGN(fire.cause, decode_enumerator(row.integer(at + 6), FireCause::superseded, thing, "cause"));
  TRY_ASSIGN(fire.rule, decode_enumerator(row.integer(at + 7), FireRule::after_gap, thing, "rule"));
  record.decided_at = row.timestamp(at + 8);
  record.run = row.optional_id<JobRunId>(at + 9);
  return record;
}

Result<std::vector<FireRecord>> read_rows(const Rows& rows) {
  std::vector<FireRecord> records;
  records.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(auto record, read_row(row));
    records.push_back(std::move(record));
  }
  return records;
}

/// Whether `next` can share the row of `before`, which stands directly before it.
bool joins(const PlannedFire& before, const PlannedFire& next) {
  return before.outcome == FireOutcome::skipped && next.outcome == FireOutcome::skipped && before.cause == next.cause &&
         before.rule == next.rule && before.last < next.first;
}

void extend(FireRecord& row, const FireRecord& next) {
  row.fire.last = next.fire.last;
  row.fire.count += next.fire.count;
  row.decided_at = next.decided_at;
}

}  // namespace

Result<void> FiresTable::record(std::span<const FireRecord> fires) {
  for (const FireRecord& record : fires) TRY(check_texts(record));
  if (fires.empty()) return {};
  // The newest row of each schedule whose first fire here could join it.
  std::map<std::string_view, std::optional<FireRecord>> newest;  // `id` 0: of this call
  Array asked(Type::text);
  for (const FireRecord& record : fires) {
    if (newest.try_emplace(record.schedule, std::nullopt).second && record.fire.outcome == FireOutcome::skipped) {
      asked.add_text(record.schedule);
    }
  }
  if (asked.size() > 0) {
    TRY_ASSIGN(const Rows rows,
               connection_.run("SELECT " WFO_FIRE_COLUMNS
                               " FROM unnest($1::text[]) AS k (schedule) CROSS JOIN LATERAL (SELECT f.* FROM fires f "
                               "WHERE f.schedule = k.schedule ORDER BY f.schedule DESC, f.fire DESC LIMIT 1) AS f",
                               Params().add(asked)));
    for (const Row row : rows) {
      TRY_ASSIGN(auto record, read_row(row));
      newest.find(record.schedule)->second = std::move(record);
    }
  }

  std::vector<FireRecord> added;
  std::map<FireId, FireRecord> extended;               // rows that are there, as they become
  std::map<std::string_view, std::size_t> last_added;  // of each schedule, in `added`
  for (const FireRecord& record : fires) {
    if (const auto own = last_added.find(record.schedule); own != last_added.end()) {
      if (joins(added[own->second].fire, record.fire)) {
        extend(added[own->second], record);
        continue;
      }
    } else if (auto& known = newest.find(record.schedule)->second; known && joins(known->fire, record.fire)) {
      extend(*known, record);
      extended.insert_or_assign(known->id, *known);
      continue;
    }
    last_added[record.schedule] = added.size();
    added.push_back(record);
  }

  if (!extended.empty()) {
    Array ids(Type::bigint);
    Array lasts(Type::bigint);
    Array counts(Type::bigint);
    Array decided_ats(Type::bigint);
    for (const auto& [id, row] : extended) {
      ids.add(id);
      lasts.add(row.fire.last);
      counts.add(row.fire.count);
      decided_ats.add(row.decided_at);
    }
    TRY(
        connection_.run("UPDATE fires f SET last_at = g.last_at, count = g.count, decided_at = g.decided_at FROM "
                        "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS g (fire, last_at, count, "
                        "decided_at) WHERE f.fire = g.fire",
                        Params().add(ids).add(lasts).add(counts).add(decided_ats)));
  }
  if (added.empty()) return {};
  Array schedules(Type::text);
  Array firsts(Type::bigint);
  Array lasts(Type::bigint);
  Array counts(Type::bigint);
  Array outcomes(Type::bigint);
  Array causes(Type::bigint);
  Array rules(Type::bigint);
  Array decided_ats(Type::bigint);
  Array runs(Type::uuid);
  for (const FireRecord& record : added) {
    schedules.add_text(record.schedule);
    firsts.add(record.fire.first);
    lasts.add(record.fire.last);
    counts.add(record.fire.count);
    outcomes.add(column(record.fire.outcome));
    causes.add(column(record.fire.cause));
    rules.add(column(record.fire.rule));
    decided_ats.add(record.decided_at);
    runs.add(record.run);
  }
  Params params;
  params.add(schedules).add(firsts).add(lasts).add(counts).add(outcomes).add(causes).add(rules).add(decided_ats);
  params.add(runs);
  // The rows are given their numbers in the order in which the sorted rows come.
  TRY(
      connection_.run("INSERT INTO fires (schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run) "
                      "SELECT schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run FROM "
                      "unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
                      "$7::bigint[], $8::bigint[], $9::uuid[]) WITH ORDINALITY AS g (schedule, first_at, last_at, "
                      "count, outcome, cause, rule, decided_at, run, place) ORDER BY place",
                      params));
  return {};
}

Result<std::vector<BufferedFires>> FiresTable::buffered(std::span<const std::string> schedules) const {
  std::vector<BufferedFires> all(schedules.size());
  if (schedules.empty()) return all;
  Array keys(Type::text);
  for (const std::string& schedule : schedules) keys.add_text(as_text(schedule));
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT k.place, (SELECT count(*) FROM fires b WHERE b.schedule = k.schedule AND "
                             "b.outcome = 1), " WFO_FIRE_COLUMNS
                             " FROM unnest($1::text[]) WITH ORDINALITY AS k (schedule, place) CROSS JOIN LATERAL "
                             "(SELECT f.* FROM fires f WHERE f.schedule = k.schedule AND f.outcome = 1 ORDER BY "
                             "f.first_at, f.fire LIMIT 1) AS f",
                             Params().add(keys)));
  for (const Row row : rows) {
    BufferedFires& buffered = all[static_cast<std::size_t>(row.integer(0) - 1)];
    buffered.count = static_cast<std::size_t>(row.integer(1));
    TRY_ASSIGN(buffered.oldest, read_row(row, 2));
  }
  return all;
}

Result<void> FiresTable::release(FireId id, const JobRunId& run, Timestamp now) {
  TRY_ASSIGN(const Rows rows,
             connection_.run("UPDATE fires SET outcome = 0, cause = $1, run = $2, decided_at = $3 WHERE fire = $4 AND "
                             "outcome = 1",
                             Params().add(column(FireCause::released)).add(run).add(now).add(id)));
  if (rows.changed() == 1) return {};
  return fail(ErrorCode::not_found, "no fire with the id {} waits", id);
}

Result<std::size_t> FiresTable::give_up_buffered(std::string_view schedule, FireCause cause, Timestamp now) {
  if (!is_text(schedule)) return 0;
  TRY_ASSIGN(const Rows rows,
             connection_.run("UPDATE fires SET outcome = 2, cause = $1, decided_at = $2 WHERE schedule = $3 AND "
                             "outcome = 1",
                             Params().add(column(cause)).add(now).add_text(schedule)));
  return rows.changed();
}

Result<std::vector<FireRecord>> FiresTable::list(const FireQuery& query) const {
  if (!is_text(query.schedule)) return std::vector<FireRecord>();
  const FireId before = query.before.value_or(std::numeric_limits<FireId>::max());
  // One statement per shape, so that each goes along its index.
  if (query.schedule.empty()) {
    TRY_ASSIGN(const Rows rows, connection_.run("SELECT " WFO_FIRE_COLUMNS
                                                " FROM fires f WHERE f.fire < $1 ORDER BY f.fire DESC LIMIT $2",
                                                Params().add(before).add(query.limit)));
    return read_rows(rows);
  }
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT " WFO_FIRE_COLUMNS " FROM fires f WHERE f.schedule = $3 AND f.fire < $1 ORDER BY "
                             "f.schedule DESC, f.fire DESC LIMIT $2",
                             Params().add(before).add(query.limit).add_text(query.schedule)));
  return read_rows(rows);
}

Result<std::size_t> FiresTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(const Rows rows,
             connection_.run("DELETE FROM fires WHERE ctid = ANY (ARRAY(SELECT ctid FROM fires WHERE outcome <> 1 AND "
                             "decided_at < $1 ORDER BY decided_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                             Params().add(before).add(count_max)));
  return rows.changed();
}

}  // namespace wfo::store::postgres
