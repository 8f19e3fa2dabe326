#include "store/checks.h"
#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {
namespace {

#define WFO_SCHEDULE_COLUMNS \
  "name, origin, definition, paused, pause_note, next_at, wake_up_at, created_at, updated_at, version"

Result<StoredSchedule> read_row(const Statement& row) {
  StoredSchedule schedule;
  schedule.name = row.text(0);
  TRY_ASSIGN(schedule.origin, decode_enumerator(row.integer(1), ScheduleOrigin::api,
                                                fmt::format("schedule {}", schedule.name), "origin"));
  schedule.definition = row.text(2);
  schedule.paused = row.integer(3) != 0;
  schedule.pause_note = row.text(4);
  schedule.next_at = row.optional_timestamp(5);
  schedule.wake_up_at = row.optional_timestamp(6);
  schedule.created_at = row.timestamp(7);
  schedule.updated_at = row.timestamp(8);
  schedule.version = row.integer(9);
  return schedule;
}

Result<std::vector<StoredSchedule>> read_rows(Statement& select) {
  std::vector<StoredSchedule> schedules;
  for (;;) {
    TRY_ASSIGN(const bool more, select.step());
    if (!more) return schedules;
    auto schedule = read_row(select);
    if (!schedule) {
      select.reset();
      return std::unexpected(std::move(schedule).error());
    }
    schedules.push_back(*std::move(schedule));
  }
}

}  // namespace

Result<std::vector<std::optional<StoredSchedule>>> SchedulesTable::find(std::span<const std::string> names) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_SCHEDULE_COLUMNS " FROM schedules WHERE name = ?"));
  std::vector<std::optional<StoredSchedule>> found;
  found.reserve(names.size());
  for (const std::string& name : names) {
    TRY_ASSIGN(auto rows, read_rows(select->bind_text(name)));
    found.push_back(rows.empty() ? std::nullopt : std::optional(std::move(rows.front())));
  }
  return found;
}

Result<std::vector<StoredSchedule>> SchedulesTable::list(std::string_view after, std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT " WFO_SCHEDULE_COLUMNS
                                                            " FROM schedules WHERE name > ? ORDER BY name LIMIT ?"));
  return read_rows(select->bind_text(after).bind(static_cast<std::int64_t>(count_max)));
}

Result<std::vector<StoredSchedule>> SchedulesTable::due(Timestamp now, std::size_t count_max) const {
  // What is read here is written by nobody else before the transaction ends: there is one writer.
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_SCHEDULE_COLUMNS
                                   " FROM schedules WHERE wake_up_at <= ? ORDER BY wake_up_at LIMIT ?"));
  return read_rows(select->bind(now).bind(static_cast<std::int64_t>(count_max)));
}

Result<std::optional<Timestamp>> SchedulesTable::next_wake_up() const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement(
                 "SELECT wake_up_at FROM schedules WHERE wake_up_at IS NOT NULL ORDER BY wake_up_at LIMIT 1"));
  TRY_ASSIGN(const bool row, select->step());
  if (!row) return std::nullopt;
  const Timestamp time = select->timestamp(0);
  select->reset();
  return time;
}

Result<std::vector<bool>> SchedulesTable::insert(std::span<const StoredSchedule> schedules) {
  for (const StoredSchedule& schedule : schedules) TRY(check_texts(schedule));
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO schedules (" WFO_SCHEDULE_COLUMNS
                                   ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (name) DO NOTHING"));
  std::vector<bool> written;
  written.reserve(schedules.size());
  for (const StoredSchedule& schedule : schedules) {
    insert->bind_text(schedule.name).bind(static_cast<std::int64_t>(schedule.origin)).bind_text(schedule.definition);
    insert->bind(std::int64_t{schedule.paused}).bind_text(schedule.pause_note).bind(schedule.next_at);
    TRY(insert->bind(schedule.wake_up_at).bind(schedule.created_at).bind(schedule.updated_at).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

Result<std::vector<bool>> SchedulesTable::update(std::span<const StoredSchedule> schedules) {
  for (const StoredSchedule& schedule : schedules) TRY(check_texts(schedule));
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE schedules SET origin = ?, definition = ?, paused = ?, pause_note = ?, "
                                   "next_at = ?, wake_up_at = ?, created_at = ?, updated_at = ?, "
                                   "version = version + 1 WHERE name = ? AND version = ?"));
  std::vector<bool> written;
  written.reserve(schedules.size());
  for (const StoredSchedule& schedule : schedules) {
    update->bind(static_cast<std::int64_t>(schedule.origin)).bind_text(schedule.definition);
    update->bind(std::int64_t{schedule.paused}).bind_text(schedule.pause_note).bind(schedule.next_at);
    update->bind(schedule.wake_up_at).bind(schedule.created_at).bind(schedule.updated_at);
    TRY(update->bind_text(schedule.name).bind(schedule.version).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

Result<bool> SchedulesTable::remove(std::string_view name) {
  TRY_ASSIGN(Statement* const remove, connection_.statement("DELETE FROM schedules WHERE name = ?"));
  TRY(remove->bind_text(name).run());
  return connection_.database().changes() == 1;
}

}  // namespace wfo::store::sqlite
