#include "store/checks.h"
#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {
namespace {

#define WFO_TRIGGER_COLUMNS                                                                                  \
  "tenant, id, outcome, workflow, follow_up, received_at, opportunity, type, external_id, definition_name, " \
  "correlation_id, reason"

Trigger read_row(const Statement& row) {
  Trigger trigger;
  trigger.tenant = row.id<TenantId>(0);
  trigger.id = row.id<EventId>(1);
  trigger.outcome = static_cast<TriggerOutcome>(row.integer(2));
  trigger.workflow = row.optional_id<WorkflowId>(3);
  trigger.follow_up = row.optional_id<WorkflowId>(4);
  trigger.received_at = row.timestamp(5);
  trigger.opportunity = row.id<OpportunityId>(6);
  trigger.type = row.text(7);
  trigger.external_id = row.text(8);
  trigger.definition_name = row.text(9);
  trigger.correlation_id = row.text(10);
  trigger.reason = row.text(11);
  return trigger;
}

}  // namespace

Result<std::vector<std::optional<Trigger>>> TriggersTable::find(std::span<const TriggerKey> keys) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_TRIGGER_COLUMNS " FROM triggers WHERE tenant = ? AND id = ?"));
  std::vector<std::optional<Trigger>> found;
  found.reserve(keys.size());
  for (const TriggerKey& key : keys) {
    TRY_ASSIGN(const bool row, select->bind(key.tenant).bind(key.id).step());
    found.push_back(row ? std::optional(read_row(*select)) : std::nullopt);
    if (row) select->reset();
  }
  return found;
}

Result<std::vector<bool>> TriggersTable::insert(std::span<const Trigger> triggers) {
  for (const Trigger& trigger : triggers) TRY(check_texts(trigger));
  TRY_ASSIGN(
      Statement* const insert,
      connection_.statement("INSERT INTO triggers (" WFO_TRIGGER_COLUMNS
                            ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, id) DO NOTHING"));
  std::vector<bool> written;
  written.reserve(triggers.size());
  for (const Trigger& trigger : triggers) {
    insert->bind(trigger.tenant).bind(trigger.id).bind(static_cast<std::int64_t>(trigger.outcome));
    insert->bind(trigger.workflow).bind(trigger.follow_up).bind(trigger.received_at).bind(trigger.opportunity);
    insert->bind_text(trigger.type).bind_text(trigger.external_id).bind_text(trigger.definition_name);
    TRY(insert->bind_text(trigger.correlation_id).bind_text(trigger.reason).run());
    written.push_back(connection_.database().changes() == 1);
  }
  return written;
}

Result<std::vector<Trigger>> TriggersTable::absorbed_by(std::span<const WorkflowId> workflows) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT " WFO_TRIGGER_COLUMNS " FROM triggers WHERE workflow = ? AND outcome = 1 "
                                   "AND follow_up IS NULL ORDER BY trigger"));
  std::vector<Trigger> triggers;
  for (const WorkflowId& workflow : workflows) {
    select->bind(workflow);
    for (;;) {
      TRY_ASSIGN(const bool more, select->step());
      if (!more) break;
      triggers.push_back(read_row(*select));
    }
  }
  return triggers;
}

Result<std::vector<WorkflowId>> TriggersTable::without_follow_up(std::size_t count_max) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT DISTINCT t.workflow FROM triggers t LEFT JOIN runs r ON r.id = t.workflow "
                                   "WHERE t.outcome = 1 AND t.follow_up IS NULL AND ifnull(r.status, 1) <> 0 LIMIT ?"));
  select->bind(static_cast<std::int64_t>(count_max));
  std::vector<WorkflowId> absorbers;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return absorbers;
    absorbers.push_back(select->id<WorkflowId>(0));
  }
}

Result<void> TriggersTable::set_follow_up(const WorkflowId& absorber, const WorkflowId& follow_up) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement(
                 "UPDATE triggers SET follow_up = ? WHERE workflow = ? AND outcome = 1 AND follow_up IS NULL"));
  return update->bind(follow_up).bind(absorber).run();
}

Result<std::size_t> TriggersTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(Statement* const remove,
             connection_.statement("DELETE FROM triggers WHERE trigger IN (SELECT trigger FROM triggers WHERE "
                                   "(outcome <> 1 OR follow_up IS NOT NULL) AND received_at < ? "
                                   "ORDER BY received_at LIMIT ?)"));
  TRY(remove->bind(before).bind(static_cast<std::int64_t>(count_max)).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

Result<std::vector<InboxVerdict>> InboxTable::record(std::string_view consumer, std::span<const InboxKey> keys,
                                                     Timestamp now) {
  TRY(check_text("inbox", "consumer", consumer));
  TRY_ASSIGN(Statement* const insert,
             connection_.statement("INSERT INTO inbox (consumer, tenant, event, digest, received_at) VALUES "
                                   "(?, ?, ?, ?, ?) ON CONFLICT (event, tenant, consumer) DO NOTHING"));
  TRY_ASSIGN(Statement* const find,
             connection_.statement("SELECT digest FROM inbox WHERE event = ? AND tenant = ? AND consumer = ?"));
  std::vector<InboxVerdict> verdicts;
  verdicts.reserve(keys.size());
  for (const InboxKey& key : keys) {
    const auto digest = static_cast<std::int64_t>(key.digest);
    TRY(insert->bind_text(consumer).bind(key.tenant).bind(key.event).bind(digest).bind(now).run());
    if (connection_.database().changes() == 1) {
      verdicts.push_back(InboxVerdict::fresh);
      continue;
    }
    TRY_ASSIGN(const bool row, find->bind(key.event).bind(key.tenant).bind_text(consumer).step());
    INVARIANT(row);
    verdicts.push_back(find->integer(0) == digest ? InboxVerdict::repeated : InboxVerdict::forged);
    find->reset();
  }
  return verdicts;
}

Result<std::size_t> InboxTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(Statement* const remove,
             connection_.statement("DELETE FROM inbox WHERE entry IN (SELECT entry FROM (SELECT entry, received_at "
                                   "FROM inbox ORDER BY entry LIMIT ?) WHERE received_at < ?)"));
  TRY(remove->bind(static_cast<std::int64_t>(count_max)).bind(before).run());
  return static_cast<std::size_t>(connection_.database().changes());
}

}  // namespace wfo::store::sqlite
