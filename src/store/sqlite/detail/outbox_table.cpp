#include "store/sqlite/detail/tables.h"

namespace wfo::store::sqlite {

#define WFO_NOT_BEHIND_A_PARKED_ONE                                                                              \
  " AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.parked_until IS NOT NULL AND p.run = w.run AND p.sequence < " \
  "w.sequence)"

Result<std::vector<OutboxEntry>> OutboxTable::unpublished(Timestamp now, std::size_t count_max,
                                                          std::size_t bytes_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement(
                 "SELECT o.sequence, o.returns, l.committed_at, l.event, l.event_id, l.event_time FROM (SELECT * FROM "
                 "(SELECT sequence, returns FROM outbox w WHERE parked_until IS NULL" WFO_NOT_BEHIND_A_PARKED_ONE
                 " ORDER BY sequence LIMIT ?2) UNION ALL SELECT * FROM (SELECT sequence, returns FROM outbox w WHERE "
                 "parked_until IS NOT NULL AND parked_until <= ?1" WFO_NOT_BEHIND_A_PARKED_ONE
                 " ORDER BY sequence LIMIT max(?2 / 4, 1))) o JOIN log l ON l.sequence = o.sequence "
                 "ORDER BY o.sequence LIMIT ?2"));
  select->bind(now).bind(static_cast<std::int64_t>(count_max));
  std::vector<OutboxEntry> entries;
  std::size_t bytes = 0;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return entries;
    std::string text = select->text(3);
    bytes += text.size();
    const Sequence sequence = select->integer(0);
    const auto received = select->is_null(5) ? select->timestamp(2) : select->timestamp(5);
    auto event = contracts_.restore(std::move(text), received, select->optional_id<EventId>(4));
    if (!event) {
      select->reset();
      return std::unexpected(with_context(std::move(event).error(), fmt::format("log entry {}", sequence)));
    }
    entries.push_back({sequence, *std::move(event), static_cast<int>(select->integer(1))});
    if (bytes >= bytes_max) {
      select->reset();
      return entries;
    }
  }
}

Result<void> OutboxTable::mark_published(std::span<const Sequence> sequences) {
  TRY_ASSIGN(Statement* const remove, connection_.statement("DELETE FROM outbox WHERE sequence = ?"));
  for (const Sequence sequence : sequences) TRY(remove->bind(sequence).run());
  return {};
}

Result<void> OutboxTable::park(std::span<const Sequence> sequences, Timestamp until) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE outbox SET returns = returns + 1, parked_until = ? WHERE sequence = ?"));
  for (const Sequence sequence : sequences) TRY(update->bind(until).bind(sequence).run());
  return {};
}

Result<OutboxCounts> OutboxTable::counts() const {
  TRY_ASSIGN(Statement* const count,
             connection_.statement("SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox WHERE "
                                   "parked_until IS NOT NULL), (SELECT committed_at FROM log WHERE sequence = "
                                   "(SELECT min(sequence) FROM outbox))"));
  TRY_ASSIGN(const bool row, count->step());
  INVARIANT(row);
  OutboxCounts counts;
  counts.waiting = count->integer(0);
  counts.parked = count->integer(1);
  if (!count->is_null(2)) counts.oldest = count->timestamp(2);
  count->reset();
  return counts;
}

}  // namespace wfo::store::sqlite
