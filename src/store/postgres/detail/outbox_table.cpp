#include <algorithm>

#include "store/postgres/detail/tables.h"

namespace wfo::store::postgres {
namespace {

#define WFO_NOT_BEHIND_A_PARKED_ONE                                                                            \
  " AND NOT EXISTS (SELECT FROM outbox p WHERE p.parked_until IS NOT NULL AND p.run = w.run AND p.sequence < " \
  "w.sequence)"

Array array_of(std::span<const Sequence> sequences) {
  Array array(Type::bigint);
  for (const Sequence sequence : sequences) array.add(sequence);
  return array;
}

}  // namespace

// Entries leave the outbox at its low end, and until a vacuum the dead ones would be passed over again and again, as
// many as were published in a minute. But sequences are given in the order of commits, so what comes later than a
// snapshot lies behind all that is in it. That holds for the history of one server: a standby that takes over may have
// lost the last commits, and their sequences come again. So each connection finds out for itself.
Sequence& OutboxTable::floor() const {
  constexpr const char* kKey = "outbox floor";
  return connection_.memory(kKey);
}

Result<std::vector<OutboxEntry>> OutboxTable::unpublished(Timestamp now, std::size_t count_max,
                                                          std::size_t bytes_max) const {
  // While nothing is parked the index that NOT EXISTS looks into is empty. The lengths are known without reading what
  // lies outside of the rows.
  TRY_ASSIGN(
      const auto results,
      connection_.run_all(
          {{"SELECT sequence, returns, event, event_id, event_time FROM (SELECT o.sequence, o.returns, l.event, "
            "l.event_id, coalesce(l.event_time, l.committed_at) AS event_time, sum(octet_length(l.event)) OVER (ORDER "
            "BY o.sequence ROWS UNBOUNDED PRECEDING) - octet_length(l.event) AS bytes_before FROM (SELECT sequence, "
            "returns FROM ((SELECT w.sequence, w.returns FROM outbox w WHERE w.sequence >= $4 AND w.parked_until IS "
            "NULL" WFO_NOT_BEHIND_A_PARKED_ONE " ORDER BY w.sequence LIMIT $2) UNION ALL (SELECT w.sequence, w.returns "
            "FROM outbox w WHERE w.parked_until IS NOT NULL AND w.parked_until <= $1" WFO_NOT_BEHIND_A_PARKED_ONE
            " ORDER BY w.sequence LIMIT greatest($2 / 4, 1))) AS either ORDER BY sequence LIMIT $2) o JOIN log l ON "
            "l.sequence = o.sequence) e WHERE bytes_before < $3 ORDER BY sequence",
            Params().add(now).add(count_max).add(std::max<std::size_t>(bytes_max, 1)).add(floor())},
           {"SELECT coalesce((SELECT min(sequence) FROM outbox WHERE sequence >= $1), (SELECT last + 1 FROM "
            "log_counter))",
            Params().add(floor())}}));
  const Rows& rows = results[0];
  // Not from a transaction that writes: it does not see what it has deleted itself, and may roll that back.
  if (mode_ == Connection::Mode::snapshot) floor() = results[1][0].integer(0);
  std::vector<OutboxEntry> entries;
  entries.reserve(rows.size());
  for (const Row row : rows) {
    auto event = contracts_.restore(row.text(2), row.timestamp(4), row.optional_id<EventId>(3));
    if (!event) {
      return std::unexpected(
          with_context(std::move(event).error(), fmt::format("PostgreSQL: log entry {}", row.integer(0))));
    }
    entries.push_back({row.integer(0), *std::move(event), static_cast<int>(row.integer(1))});
  }
  return entries;
}

Result<void> OutboxTable::mark_published(std::span<const Sequence> sequences) {
  if (sequences.empty()) return {};
  TRY(connection_.run("DELETE FROM outbox WHERE sequence = ANY ($1)", Params().add(array_of(sequences))));
  return {};
}

Result<void> OutboxTable::park(std::span<const Sequence> sequences, Timestamp until) {
  if (sequences.empty()) return {};
  TRY(connection_.run("UPDATE outbox SET returns = returns + 1, parked_until = $2 WHERE sequence = ANY ($1)",
                      Params().add(array_of(sequences)).add(until)));
  return {};
}

Result<OutboxCounts> OutboxTable::counts() const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT count(*), count(parked_until), (SELECT committed_at FROM log WHERE sequence = "
                             "(SELECT min(sequence) FROM outbox WHERE sequence >= $1)) FROM outbox WHERE sequence >= "
                             "$1",
                             Params().add(floor())));
  return OutboxCounts{rows[0].integer(0), rows[0].integer(1), rows[0].optional_timestamp(2)};
}

}  // namespace wfo::store::postgres
