#include <algorithm>

#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

// The counter's row is locked from here to the commit, which comes in the same round trip (Connection::commit).
#define WFO_WRITE_LOG(also)                                                                                            \
  "WITH counter AS (UPDATE log_counter SET last = last + $1 RETURNING last - $1 AS base), "                            \
  "logged AS (INSERT INTO log (sequence, committed_at, event_id, event_time, type, event) "                            \
  "SELECT counter.base + e.n, $2, e.event_id, e.event_time, e.type, e.event FROM counter, "                            \
  "unnest($3::uuid[], $4::bigint[], $5::text[], $6::bytea[]) WITH ORDINALITY AS e(event_id, event_time, type, event, " \
  "n))" also " SELECT base + $1 FROM counter"
constexpr const char* kWrite = WFO_WRITE_LOG("");
constexpr const char* kWriteAndAwait = WFO_WRITE_LOG(
    ", awaiting AS (INSERT INTO outbox (sequence, run) SELECT counter.base + e.n, e.run FROM counter, "
    "unnest($7::uuid[]) WITH ORDINALITY AS e(run, n))");

}  // namespace

Result<void> LogTable::append(std::span<const events::EventPtr> batch) {
  appended_.insert(appended_.end(), batch.begin(), batch.end());
  return {};
}

std::optional<Call> LogTable::writing() const {
  if (appended_.empty()) return std::nullopt;
  Array ids(Type::uuid);
  Array times(Type::bigint);
  Array types(Type::text);
  Array bytes(Type::bytea);
  Array runs(Type::uuid);
  for (const events::EventPtr& event : appended_) {
    ids.add(event->bytes_say_id() ? std::nullopt : std::optional(event->id()));
    times.add(event->bytes_say_timestamp() ? std::nullopt : std::optional(event->timestamp()));
    types.add_text(event->type());
    bytes.add_bytes(event->bytes());
    if (outbox_) runs.add(run_of(*event));
  }
  Call call{outbox_ ? kWriteAndAwait : kWrite};
  call.params.add(appended_.size()).add(clock_.now()).add(ids).add(times).add(types).add(bytes);
  if (outbox_) call.params.add(runs);
  return call;
}

Result<std::size_t> LogTable::trim(Sequence through, Timestamp before, std::size_t count_max) {
  // Times ascend with the sequence but for steps of clocks, and those only make an entry live longer. The search
  // begins where the last one ended, since the index has dead entries before.
  TRY_ASSIGN(
      const Rows rows,
      connection_.run(
          "WITH oldest AS (SELECT sequence, committed_at FROM log WHERE sequence > (SELECT through FROM log_trimmed) "
          "AND sequence <= least($1, (SELECT min(sequence) - 1 FROM outbox)) ORDER BY sequence LIMIT $3), "
          "stop AS (SELECT min(sequence) AS first FROM oldest WHERE committed_at >= $2), "
          "gone AS (DELETE FROM log WHERE sequence = ANY (ARRAY(SELECT o.sequence FROM oldest o, stop WHERE stop.first "
          "IS NULL OR o.sequence < stop.first)) RETURNING sequence), "
          "noted AS (UPDATE log_trimmed SET through = greatest(through, (SELECT max(sequence) FROM gone)) WHERE EXISTS "
          "(SELECT FROM gone)) SELECT count(*) FROM gone",
          Params().add(through).add(before).add(count_max)));
  return static_cast<std::size_t>(rows[0].integer(0));
}

Result<std::vector<LogTable::Entry>> LogTable::read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                                    std::size_t bytes_max, Sequence& read_through) {
  // What is not wanted is looked at without its payload. The scan is bounded: who wants nothing of a long log must not
  // hold a snapshot for long.
  constexpr std::size_t kScanMax = 65'536;
  constexpr std::size_t kStepMin = 256;
  constexpr std::size_t kStepMax = 8'192;
  std::vector<Entry> entries;
  std::size_t bytes = 0;
  std::size_t step = kStepMin;
  for (std::size_t scanned = 0; scanned < kScanMax && entries.size() < count_max && bytes < bytes_max;) {
    TRY_ASSIGN(const Rows rows,
               connection_.run("SELECT sequence, type, octet_length(event) FROM log WHERE sequence > $1 ORDER BY "
                               "sequence LIMIT $2",
                               Params().add(read_through > after ? read_through : after).add(step)));
    Array wanted(Type::bigint);
    for (const Row row : rows) {
      if (entries.size() + wanted.size() >= count_max || bytes >= bytes_max) break;
      read_through = row.integer(0);
      if (!filter.wants(row.text_view(1))) continue;
      wanted.add(read_through);
      bytes += static_cast<std::size_t>(row.integer(2));
    }
    if (wanted.size() > 0) {
      TRY_ASSIGN(const Rows found, connection_.run("SELECT sequence, event, event_id, coalesce(event_time, "
                                                   "committed_at) FROM log WHERE sequence = ANY ($1) ORDER BY sequence",
                                                   Params().add(wanted)));
      for (const Row row : found) {
        entries.push_back({row.integer(0), row.text(1), row.optional_id<EventId>(2), row.timestamp(3)});
      }
    }
    scanned += rows.size();
    if (rows.size() < step) break;
    step = std::min(step * 2, kStepMax);
  }
  return entries;
}

Result<Sequence> PositionsTable::get(std::string_view consumer) const {
  if (!is_text(consumer)) return 0;
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT position FROM positions WHERE consumer = $1", Params().add_text(consumer)));
  return rows.empty() ? 0 : rows[0].integer(0);
}

Result<void> PositionsTable::set(std::string_view consumer, Sequence position) {
  TRY(check_text("position", "consumer", consumer));
  TRY(
      connection_.run("INSERT INTO positions (consumer, position) VALUES ($1, $2) ON CONFLICT (consumer) DO UPDATE SET "
                      "position = excluded.position",
                      Params().add_text(consumer).add(position)));
  return {};
}

Result<std::vector<std::pair<std::string, Sequence>>> PositionsTable::all() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT consumer, position FROM positions ORDER BY consumer"));
  std::vector<std::pair<std::string, Sequence>> positions;
  for (const Row row : rows) positions.emplace_back(row.text(0), row.integer(1));
  return positions;
}

}  // namespace wfo::store::postgres
