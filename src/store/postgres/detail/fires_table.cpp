#include <limits>
#include <map>
#include <set>

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

/// What one call writes: a row for each, but where it joins the newest in the table.
struct Recording {
  std::vector<FireRecord> rows;
  std::vector<bool> may_join;  // the first of its schedule, and skipped
};

/// Whether `fire` goes on where `row` ended. The statement below asks the table the same.
bool joins(const PlannedFire& row, const PlannedFire& fire) {
  return row.outcome == FireOutcome::skipped && fire.outcome == FireOutcome::skipped && row.cause == fire.cause &&
         row.rule == fire.rule && row.last < fire.first;
}

Recording fold(std::span<const FireRecord> fires) {
  Recording recording;
  std::map<std::string_view, std::size_t> newest;  // of each schedule
  for (const FireRecord& record : fires) {
    const auto [known, first] = newest.try_emplace(record.schedule, recording.rows.size());
    if (!first) {
      FireRecord& before = recording.rows[known->second];
      if (joins(before.fire, record.fire)) {
        before.fire.last = record.fire.last;
        before.fire.count += record.fire.count;
        before.decided_at = record.decided_at;
        continue;
      }
      known->second = recording.rows.size();
    }
    recording.rows.push_back(record);
    recording.may_join.push_back(first && record.fire.outcome == FireOutcome::skipped);
  }
  return recording;
}

// Nobody else writes fires of these schedules: the caller holds them. A row that is purged meanwhile is joined by none.
// Ids are given when the rows are in order.
constexpr const char* kRecord =
    "WITH n AS MATERIALIZED (SELECT g.*, CASE WHEN g.may_join THEN (SELECT f.fire FROM fires f WHERE f.schedule = "
    "g.schedule ORDER BY f.fire DESC LIMIT 1) END AS newest FROM unnest($1::text[], $2::bigint[], $3::bigint[], "
    "$4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::uuid[], $10::boolean[]) WITH ORDINALITY "
    "AS g (schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run, may_join, place)), "
    "joined AS (UPDATE fires f SET last_at = n.last_at, count = f.count + n.count, decided_at = n.decided_at FROM n "
    "WHERE f.fire = ANY (ARRAY(SELECT newest FROM n)) AND f.fire = n.newest AND f.outcome = 2 AND f.cause = n.cause "
    "AND f.rule = n.rule AND f.last_at < n.first_at RETURNING n.place) "
    "INSERT INTO fires (schedule, first_at, last_at, count, outcome, cause, rule, decided_at, run) SELECT schedule, "
    "first_at, last_at, count, outcome, cause, rule, decided_at, run FROM n WHERE place NOT IN (SELECT place FROM "
    "joined) ORDER BY place";

}  // namespace

Result<void> FiresTable::record(std::span<const FireRecord> fires) {
  for (const FireRecord& record : fires) TRY(check_texts(record));
  if (fires.empty()) return {};
  const auto [rows, may_join] = fold(fires);
  Array schedules(Type::text), firsts(Type::bigint), lasts(Type::bigint), counts(Type::bigint), outcomes(Type::bigint);
  Array causes(Type::bigint), rules(Type::bigint), decided(Type::bigint), runs(Type::uuid), joining(Type::boolean);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const PlannedFire& fire = rows[i].fire;
    schedules.add_text(rows[i].schedule);
    firsts.add(fire.first);
    lasts.add(fire.last);
    counts.add(fire.count);
    outcomes.add(column(fire.outcome));
    causes.add(column(fire.cause));
    rules.add(column(fire.rule));
    decided.add(rows[i].decided_at);
    runs.add(rows[i].run);
    joining.add(static_cast<bool>(may_join[i]));
  }
  Params params;
  params.add(schedules).add(firsts).add(lasts).add(counts).add(outcomes).add(causes).add(rules).add(decided);
  TRY(connection_.run(kRecord, params.add(runs).add(joining)));
  return {};
}

Result<std::vector<BufferedFires>> FiresTable::buffered(std::span<const std::string> schedules) const {
  std::vector<BufferedFires> all(schedules.size());
  if (schedules.empty()) return all;
  Array keys(Type::text);
  for (const std::string& schedule : schedules) keys.add_text(as_text(schedule));
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT k.place, (SELECT count(*) FROM fires b WHERE b.schedule = k.schedule AND "
                             "b.outcome = 1), f.is_asked_for, " WFO_FIRE_COLUMNS
                             " FROM unnest($1::text[]) WITH ORDINALITY AS k (schedule, place) CROSS JOIN LATERAL "
                             "((SELECT f.*, false AS is_asked_for FROM fires f WHERE f.schedule = k.schedule AND "
                             "f.outcome = 1 ORDER BY f.first_at, f.fire LIMIT 1) UNION ALL (SELECT f.*, true FROM "
                             "fires f WHERE f.schedule = k.schedule AND f.outcome = 1 AND f.cause = $2 ORDER BY "
                             "f.first_at, f.fire LIMIT 1)) AS f",
                             Params().add(keys).add(column(FireCause::backfill))));
  for (const Row row : rows) {
    BufferedFires& buffered = all[static_cast<std::size_t>(row.integer(0) - 1)];
    buffered.count = static_cast<std::size_t>(row.integer(1));
    auto& oldest = row.boolean(2) ? buffered.oldest_asked_for : buffered.oldest;
    TRY_ASSIGN(oldest, read_row(row, 3));
  }
  return all;
}

Result<std::vector<bool>> FiresTable::turns_taken(std::span<const std::string> schedules) const {
  std::vector<bool> taken(schedules.size(), false);
  if (schedules.empty()) return taken;
  Array keys(Type::text);
  for (const std::string& schedule : schedules) keys.add_text(as_text(schedule));
  // From the open runs, which are few, to their fires. Limited, so that it is no join that could begin with the fires.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT k.place FROM unnest($1::text[]) WITH ORDINALITY AS k (schedule, place) CROSS JOIN "
                             "LATERAL (SELECT 1 FROM (SELECT r.id FROM job_runs r WHERE r.schedule = k.schedule AND "
                             "r.status <= 2 ORDER BY r.schedule, r.id OFFSET 0) AS r CROSS JOIN LATERAL (SELECT 1 FROM "
                             "fires f WHERE f.run = r.id AND f.outcome = 0 AND f.cause IN (2, 3) LIMIT 1) AS f LIMIT "
                             "1) AS t",
                             Params().add(keys)));
  for (const Row row : rows) taken[static_cast<std::size_t>(row.integer(0) - 1)] = true;
  return taken;
}

Result<void> FiresTable::release(std::span<const ReleasedFire> fires, Timestamp now) {
  if (fires.empty()) return {};
  Array ids(Type::bigint), runs(Type::uuid);
  for (const auto& [id, run] : fires) {
    ids.add(id);
    runs.add(run);
  }
  // `outcome + 0`: no index of those that wait, which would be gone through for each.
  TRY_ASSIGN(const Rows rows,
             connection_.run("UPDATE fires f SET outcome = 0, cause = $3, run = g.run, decided_at = $4 FROM "
                             "unnest($1::bigint[], $2::uuid[]) AS g (fire, run) WHERE f.fire = ANY ($1::bigint[]) AND "
                             "f.fire = g.fire AND f.outcome + 0 = 1 RETURNING f.fire",
                             Params().add(ids).add(runs).add(column(FireCause::released)).add(now)));
  if (rows.size() == fires.size()) return {};
  std::set<FireId> missing;
  for (const auto& [id, run] : fires) missing.insert(id);
  FireId named = fires.front().id;  // what is there twice, if none is missing
  for (const Row row : rows) missing.erase(row.integer(0));
  if (!missing.empty()) named = *missing.begin();
  return fail(ErrorCode::not_found, "no fire with the id {} waits", named);
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
