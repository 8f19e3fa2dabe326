#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {
namespace {

#define WFO_LETTER_COLUMNS \
  "id, tenant, queue, type, headers, bytes, reason, attempts, created_at, status, replayed_as, note"

DeadLetter read_row(const Statement& row) {
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

}  // namespace

Result<void> DeadLettersTable::insert(std::span<const DeadLetter> letters) {
  TRY_ASSIGN(Statement* const insert, connection_.statement("INSERT INTO dead_letters (" WFO_LETTER_COLUMNS
                                                            ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const DeadLetter& letter : letters) {
    const std::string queue = as_text(letter.queue);
    const std::string type = as_text(letter.type);
    const std::string headers = as_text(letter.headers);
    const std::string reason = as_text(letter.reason);
    const std::string note = as_text(letter.note);
    insert->bind(letter.id).bind(letter.tenant).bind_text(queue).bind_text(type).bind_text(headers);
    insert->bind_blob(letter.bytes).bind_text(reason).bind(std::int64_t{letter.attempts}).bind(letter.created_at);
    insert->bind(static_cast<std::int64_t>(letter.status)).bind(letter.replayed_as).bind_text(note);
    if (auto done = insert->run(); !done) {
      if (done.error().code != ErrorCode::conflict) return done;
      return fail(ErrorCode::conflict, "dead letter {} exists", letter.id.to_string());
    }
  }
  return {};
}

Result<std::optional<DeadLetter>> DeadLettersTable::find(const DeadLetterId& id) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_LETTER_COLUMNS " FROM dead_letters WHERE id = ?"));
  TRY_ASSIGN(const bool row, select->bind(id).step());
  if (!row) return std::nullopt;
  DeadLetter letter = read_row(*select);
  select->reset();
  return letter;
}

Result<std::vector<DeadLetter>> DeadLettersTable::list(const DeadLetterQuery& query) const {
  // One statement per shape, so that each goes along its index.
#define WFO_LIST(conditions)                                                                       \
  connection_.statement("SELECT " WFO_LETTER_COLUMNS " FROM dead_letters WHERE id < ?1" conditions \
                        " ORDER BY id DESC LIMIT ?2")
  Statement* select = nullptr;
  if (query.tenant && query.status) {
    TRY_ASSIGN(select, WFO_LIST(" AND tenant = ?3 AND status = ?4"));
  } else if (query.tenant) {
    TRY_ASSIGN(select, WFO_LIST(" AND tenant = ?3"));
  } else if (query.status) {
    TRY_ASSIGN(select, WFO_LIST(" AND status = ?3"));
  } else {
    TRY_ASSIGN(select, WFO_LIST(""));
  }
#undef WFO_LIST
  // No blob of 16 bytes comes behind this one.
  constexpr std::string_view kBehindAll("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17);
  if (query.before) {
    select->bind(*query.before);
  } else {
    select->bind_blob(kBehindAll);
  }
  select->bind(static_cast<std::int64_t>(query.limit));
  if (query.tenant) select->bind(*query.tenant);
  if (query.status) select->bind(static_cast<std::int64_t>(*query.status));
  std::vector<DeadLetter> letters;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return letters;
    letters.push_back(read_row(*select));
  }
}

Result<void> DeadLettersTable::settle(const DeadLetterId& id, DeadLetterStatus status,
                                      const std::optional<EventId>& replayed_as, std::string_view note) {
  TRY_ASSIGN(const auto letter, find(id));
  if (!letter) return fail(ErrorCode::not_found, "dead letter {} does not exist", id.to_string());
  if (letter->status != DeadLetterStatus::waiting) {
    return fail(ErrorCode::conflict, "dead letter {} is {} already", id.to_string(), name(letter->status));
  }
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE dead_letters SET status = ?, replayed_as = ?, note = ? WHERE id = ?"));
  const std::string text = as_text(note);
  return update->bind(static_cast<std::int64_t>(status)).bind(replayed_as).bind_text(text).bind(id).run();
}

Result<std::int64_t> DeadLettersTable::count_waiting() const {
  TRY_ASSIGN(Statement* const select, connection_.statement("SELECT count(*) FROM dead_letters WHERE status = 0"));
  TRY_ASSIGN(const bool row, select->step());
  INVARIANT(row);
  const auto count = select->integer(0);
  select->reset();
  return count;
}

Result<std::size_t> DeadLettersTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(Statement* const remove,
             connection_.statement("DELETE FROM dead_letters WHERE letter IN (SELECT letter FROM dead_letters "
                                   "WHERE status <> 0 AND created_at < ? ORDER BY created_at LIMIT ?)"));
  TRY(remove->bind(before).bind(static_cast<std::int64_t>(count_max)).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

}  // namespace wfo::store::sqlite
