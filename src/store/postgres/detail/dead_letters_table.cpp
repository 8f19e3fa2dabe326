#include <unordered_set>

#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

#define WFO_LETTER_COLUMNS \
  "id, tenant, queue, type, headers, bytes, reason, attempts, created_at, status, replayed_as, note"

DeadLetter read_row(const Row& row) {
  DeadLetter letter;
  letter.id = row.id<DeadLetterId>(0);
  letter.tenant = row.id<TenantId>(1);
  letter.queue = row.text(2);
  letter.type = row.text(3);
  letter.headers = row.text(4);
  letter.bytes = row.text(5);
  letter.reason = row.text(6);
  letter.attempts = static_cast<int>(row.integer(7));
  letter.created_at = row.timestamp(8);
  letter.status = static_cast<DeadLetterStatus>(row.integer(9));
  letter.replayed_as = row.optional_id<EventId>(10);
  letter.note = row.text(11);
  return letter;
}

/// One statement per shape, so that each goes along its index.
const char* list_sql(bool of_tenant, bool with_status) {
#define WFO_LIST(conditions) \
  "SELECT " WFO_LETTER_COLUMNS " FROM dead_letters WHERE id < $1" conditions " ORDER BY id DESC LIMIT $2"
  if (of_tenant) return with_status ? WFO_LIST(" AND tenant = $3 AND status = $4") : WFO_LIST(" AND tenant = $3");
  return with_status ? WFO_LIST(" AND status = $3") : WFO_LIST("");
#undef WFO_LIST
}

}  // namespace

Result<void> DeadLettersTable::insert(std::span<const DeadLetter> letters) {
  if (letters.empty()) return {};
  Array ids(Type::uuid), tenants(Type::uuid), queues(Type::text), types(Type::text), headers(Type::text),
      bytes(Type::bytea), reasons(Type::text), attempts(Type::bigint), created_ats(Type::bigint),
      statuses(Type::bigint), replayed_ases(Type::uuid), notes(Type::text);
  for (const DeadLetter& letter : letters) {
    ids.add(letter.id);
    tenants.add(letter.tenant);
    queues.add_text(as_text(letter.queue));
    types.add_text(as_text(letter.type));
    headers.add_text(as_text(letter.headers));
    bytes.add_bytes(letter.bytes);
    reasons.add_text(as_text(letter.reason));
    attempts.add(letter.attempts);
    created_ats.add(letter.created_at);
    statuses.add(static_cast<std::int64_t>(letter.status));
    replayed_ases.add(letter.replayed_as);
    notes.add_text(as_text(letter.note));
  }
  Params params;
  params.add(ids).add(tenants).add(queues).add(types).add(headers).add(bytes).add(reasons).add(attempts);
  params.add(created_ats).add(statuses).add(replayed_ases).add(notes);
  TRY_ASSIGN(const Rows rows,
             connection_.run("INSERT INTO dead_letters (" WFO_LETTER_COLUMNS
                             ") SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], "
                             "$6::bytea[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::uuid[], "
                             "$12::text[]) ON CONFLICT DO NOTHING RETURNING id",
                             params));
  std::unordered_set<DeadLetterId> written;
  for (const Row row : rows) written.insert(row.id<DeadLetterId>(0));
  for (const DeadLetter& letter : letters) {
    if (written.erase(letter.id) == 0) {
      return fail(ErrorCode::conflict, "dead letter {} exists", letter.id.to_string());
    }
  }
  return {};
}

Result<std::optional<DeadLetter>> DeadLettersTable::find(const DeadLetterId& id) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT " WFO_LETTER_COLUMNS " FROM dead_letters WHERE id = $1", Params().add(id)));
  return rows.empty() ? std::nullopt : std::optional(read_row(rows[0]));
}

Result<std::vector<DeadLetter>> DeadLettersTable::list(const DeadLetterQuery& query) const {
  // Nobody's id: the versions of uuids end at 8.
  Uuid behind_all;
  behind_all.bytes.fill(0xff);
  Params params;
  params.add(query.before.value_or(DeadLetterId(behind_all))).add(query.limit);
  if (query.tenant) params.add(*query.tenant);
  if (query.status) params.add(static_cast<std::int64_t>(*query.status));
  TRY_ASSIGN(const Rows rows, connection_.run(list_sql(query.tenant.has_value(), query.status.has_value()), params));
  std::vector<DeadLetter> letters;
  letters.reserve(rows.size());
  for (const Row row : rows) letters.push_back(read_row(row));
  return letters;
}

Result<void> DeadLettersTable::settle(const DeadLetterId& id, DeadLetterStatus status,
                                      const std::optional<EventId>& replayed_as, std::string_view note) {
  Params params;
  params.add(id).add(static_cast<std::int64_t>(status)).add(replayed_as).add_text(as_text(note));
  TRY_ASSIGN(const Rows rows, connection_.run("UPDATE dead_letters SET status = $2, replayed_as = $3, note = $4 "
                                              "WHERE id = $1 AND status = 0",
                                              params));
  if (rows.changed() == 1) return {};
  TRY_ASSIGN(const auto letter, find(id));
  if (!letter) return fail(ErrorCode::not_found, "dead letter {} does not exist", id.to_string());
  return fail(ErrorCode::conflict, "dead letter {} is {} already", id.to_string(), name(letter->status));
}

Result<std::int64_t> DeadLettersTable::count_waiting() const {
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT count(*) FROM dead_letters WHERE status = 0"));
  return rows[0].integer(0);
}

Result<std::size_t> DeadLettersTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(const Rows rows,
             connection_.run("DELETE FROM dead_letters WHERE ctid = ANY (ARRAY(SELECT ctid FROM dead_letters WHERE "
                             "status <> 0 AND created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                             Params().add(before).add(count_max)));
  return rows.changed();
}

}  // namespace wfo::store::postgres
