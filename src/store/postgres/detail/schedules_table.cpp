#include <algorithm>
#include <map>

#include "store/checks.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

#define WFO_SCHEDULE_COLUMNS                                                                                      \
  "s.name, s.origin, s.definition, s.paused, s.pause_note, s.next_at, s.wake_up_at, s.created_at, s.updated_at, " \
  "s.version"

// Lateral and not pulled up, so that it is no join that could begin with the table. The names are sorted, and so is the
// order in which rows are locked.
#define WFO_FIND(or_lock)                                                     \
  "SELECT " WFO_SCHEDULE_COLUMNS                                              \
  " FROM unnest($1::text[]) AS k (name) CROSS JOIN LATERAL (SELECT s.* FROM " \
  "schedules s WHERE s.name = k.name " or_lock ") AS s"
constexpr const char* kFind = WFO_FIND("LIMIT 1");
constexpr const char* kFindLocked = WFO_FIND("FOR NO KEY UPDATE");

#define WFO_DUE(or_lock)                                                     \
  "SELECT " WFO_SCHEDULE_COLUMNS                                             \
  " FROM schedules s WHERE s.wake_up_at IS NOT NULL AND s.wake_up_at <= $1 " \
  "ORDER BY s.wake_up_at LIMIT $2 " or_lock
constexpr const char* kDue = WFO_DUE("");
constexpr const char* kDueLocked = WFO_DUE("FOR NO KEY UPDATE SKIP LOCKED");

Result<StoredSchedule> read_row(const Row& row) {
  StoredSchedule schedule;
  schedule.name = row.text(0);
  TRY_ASSIGN(schedule.origin, decode_enumerator(row.integer(1), ScheduleOrigin::api,
                                                fmt::format("schedule {}", schedule.name), "origin"));
  schedule.definition = row.text(2);
  schedule.paused = row.boolean(3);
  schedule.pause_note = row.text(4);
  schedule.next_at = row.optional_timestamp(5);
  schedule.wake_up_at = row.optional_timestamp(6);
  schedule.created_at = row.timestamp(7);
  schedule.updated_at = row.timestamp(8);
  schedule.version = row.integer(9);
  return schedule;
}

Result<std::vector<StoredSchedule>> read_rows(const Rows& rows) {
  std::vector<StoredSchedule> schedules;
  schedules.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(auto schedule, read_row(row));
    schedules.push_back(std::move(schedule));
  }
  return schedules;
}

/// The columns of many, sorted by name, so that no two batches wait for each other.
class Columns {
 public:
  explicit Columns(std::span<const StoredSchedule> schedules) {
    std::vector<const StoredSchedule*> sorted;
    sorted.reserve(schedules.size());
    for (const StoredSchedule& schedule : schedules) sorted.push_back(&schedule);
    std::ranges::stable_sort(sorted, {}, [](const auto* schedule) -> const std::string& { return schedule->name; });
    for (const StoredSchedule* const schedule : sorted) {
      names_.add_text(schedule->name);
      origins_.add(static_cast<std::int64_t>(schedule->origin));
      definitions_.add_text(schedule->definition);
      paused_.add(schedule->paused);
      pause_notes_.add_text(schedule->pause_note);
      next_ats_.add(schedule->next_at);
      wake_up_ats_.add(schedule->wake_up_at);
      created_ats_.add(schedule->created_at);
      updated_ats_.add(schedule->updated_at);
      versions_.add(schedule->version);
    }
  }
  [[nodiscard]] Params params() const {
    Params params;
    params.add(names_).add(origins_).add(definitions_).add(paused_).add(pause_notes_).add(next_ats_);
    params.add(wake_up_ats_).add(created_ats_).add(updated_ats_).add(versions_);
    return params;
  }

 private:
  Array names_{Type::text};
  Array origins_{Type::bigint};
  Array definitions_{Type::text};
  Array paused_{Type::boolean};
  Array pause_notes_{Type::text};
  Array next_ats_{Type::bigint};
  Array wake_up_ats_{Type::bigint};
  Array created_ats_{Type::bigint};
  Array updated_ats_{Type::bigint};
  Array versions_{Type::bigint};
};

#define WFO_UNNESTED                                                                                                \
  "unnest($1::text[], $2::bigint[], $3::text[], $4::boolean[], $5::text[], $6::bigint[], $7::bigint[], "            \
  "$8::bigint[], $9::bigint[], $10::bigint[]) WITH ORDINALITY AS g (name, origin, definition, paused, pause_note, " \
  "next_at, wake_up_at, created_at, updated_at, version, place)"

/// Of `schedules` the first of each name that `rows` name.
std::vector<bool> written_of(std::span<const StoredSchedule> schedules, const Rows& rows) {
  std::map<std::string_view, std::size_t> first;
  for (std::size_t i = 0; i < schedules.size(); ++i) first.try_emplace(schedules[i].name, i);
  std::vector<bool> written(schedules.size(), false);
  for (const Row row : rows) written[first.at(row.text_view(0))] = true;
  return written;
}

}  // namespace

Result<std::vector<std::optional<StoredSchedule>>> SchedulesTable::find(std::span<const std::string> names) const {
  std::vector<std::optional<StoredSchedule>> found(names.size());
  std::vector<std::string_view> sorted;
  for (const std::string& name : names) {
    if (is_text(name)) sorted.push_back(name);  // else there is none
  }
  if (sorted.empty()) return found;
  std::ranges::sort(sorted);
  sorted.erase(std::ranges::unique(sorted).begin(), sorted.end());
  Array keys(Type::text);
  for (const std::string_view name : sorted) keys.add_text(name);
  TRY_ASSIGN(const Rows rows,
             connection_.run(mode_ == Connection::Mode::write ? kFindLocked : kFind, Params().add(keys)));
  TRY_ASSIGN(const auto loaded, read_rows(rows));
  std::map<std::string_view, const StoredSchedule*> by_name;
  for (const StoredSchedule& schedule : loaded) by_name.emplace(schedule.name, &schedule);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (const auto known = by_name.find(names[i]); known != by_name.end()) found[i] = *known->second;
  }
  return found;
}

Result<std::vector<StoredSchedule>> SchedulesTable::list(std::string_view after, std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT " WFO_SCHEDULE_COLUMNS
                                              " FROM schedules s WHERE s.name > $1 ORDER BY s.name LIMIT $2",
                                              Params().add_text(as_text(after)).add(count_max)));
  return read_rows(rows);
}

Result<std::vector<StoredSchedule>> SchedulesTable::due(Timestamp now, std::size_t count_max) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run(mode_ == Connection::Mode::write ? kDueLocked : kDue, Params().add(now).add(count_max)));
  return read_rows(rows);
}

Result<std::optional<Timestamp>> SchedulesTable::next_wake_up() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT wake_up_at FROM schedules WHERE wake_up_at IS NOT NULL ORDER BY "
                                              "wake_up_at LIMIT 1"));
  return rows.empty() ? std::nullopt : rows[0].optional_timestamp(0);
}

Result<std::vector<bool>> SchedulesTable::insert(std::span<const StoredSchedule> schedules) {
  for (const StoredSchedule& schedule : schedules) TRY(check_texts(schedule));
  if (schedules.empty()) return std::vector<bool>();
  TRY_ASSIGN(const Rows rows,
             connection_.run("INSERT INTO schedules (name, origin, definition, paused, pause_note, next_at, "
                             "wake_up_at, created_at, updated_at, version) SELECT name, origin, definition, paused, "
                             "pause_note, next_at, wake_up_at, created_at, updated_at, 1 FROM " WFO_UNNESTED
                             " ORDER BY place ON CONFLICT (name) DO NOTHING RETURNING name",
                             Columns(schedules).params()));
  return written_of(schedules, rows);
}

Result<std::vector<bool>> SchedulesTable::update(std::span<const StoredSchedule> schedules) {
  for (const StoredSchedule& schedule : schedules) TRY(check_texts(schedule));
  if (schedules.empty()) return std::vector<bool>();
  // The rows are locked in the order of names first: an UPDATE with a join takes them in whatever order it likes.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run("WITH g AS MATERIALIZED (SELECT g.*, (SELECT s.ctid FROM schedules s WHERE s.name = g.name "
                      "AND s.version = g.version FOR NO KEY UPDATE) AS row FROM " WFO_UNNESTED
                      ") UPDATE schedules s SET origin = g.origin, definition = g.definition, "
                      "paused = g.paused, pause_note = g.pause_note, next_at = g.next_at, "
                      "wake_up_at = g.wake_up_at, created_at = g.created_at, updated_at = g.updated_at, "
                      "version = g.version + 1 FROM g WHERE s.name = g.name AND s.version = g.version AND g.row "
                      "IS NOT NULL RETURNING s.name",
                      Columns(schedules).params()));
  return written_of(schedules, rows);
}

Result<bool> SchedulesTable::remove(std::string_view name) {
  if (!is_text(name)) return false;
  TRY_ASSIGN(const Rows rows, connection_.run("DELETE FROM schedules WHERE name = $1", Params().add_text(name)));
  return rows.changed() == 1;
}

}  // namespace wfo::store::postgres
