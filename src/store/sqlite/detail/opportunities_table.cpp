#include "store/opportunity_codec.h"
#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {
namespace {

Result<Opportunity> read_row(const Statement& row, const TenantId& tenant) {
  Opportunity opportunity;
  opportunity.tenant = tenant;
  opportunity.id = row.id<OpportunityId>(0);
  opportunity.state = static_cast<StageState>(row.integer(1));
  TRY(decode_opportunity(row.text(2), opportunity));
  return opportunity;
}

}  // namespace

Result<std::vector<std::optional<Opportunity>>> OpportunitiesTable::load(std::span<const OpportunityKey> keys) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT id, state, fields FROM opportunities WHERE tenant = ? AND id = ?"));
  std::vector<std::optional<Opportunity>> found;
  found.reserve(keys.size());
  for (const auto& [tenant, id] : keys) {
    TRY_ASSIGN(const bool row, select->bind(tenant).bind(id).step());
    if (!row) {
      found.emplace_back();
      continue;
    }
    auto opportunity = read_row(*select, tenant);
    select->reset();
    if (!opportunity) return std::unexpected(std::move(opportunity).error());
    found.emplace_back(*std::move(opportunity));
  }
  return found;
}

Result<void> OpportunitiesTable::upsert(std::span<const Opportunity> batch) {
  for (const Opportunity& opportunity : batch) TRY(check_opportunity(opportunity));
  TRY_ASSIGN(
      Statement* const upsert,
      connection_.statement("INSERT INTO opportunities (tenant, id, state, fields) VALUES (?, ?, ?, ?) ON CONFLICT "
                            "(tenant, id) DO UPDATE SET state = excluded.state, fields = excluded.fields"));
  for (const Opportunity& opportunity : batch) {
    const std::string fields = encode_opportunity(opportunity);
    upsert->bind(opportunity.tenant).bind(opportunity.id).bind(static_cast<std::int64_t>(opportunity.state));
    TRY(upsert->bind_text(fields).run());
  }
  return {};
}

Result<std::vector<Opportunity>> OpportunitiesTable::closed(const TenantId& tenant) const {
  TRY_ASSIGN(
      Statement* const select,
      connection_.statement("SELECT id, state, fields FROM opportunities WHERE tenant = ? AND state <> 0 ORDER BY id"));
  select->bind(tenant);
  std::vector<Opportunity> found;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return found;
    auto opportunity = read_row(*select, tenant);
    if (!opportunity) {
      select->reset();
      return std::unexpected(std::move(opportunity).error());
    }
    found.push_back(*std::move(opportunity));
  }
}

Result<std::vector<Opportunity>> OpportunitiesTable::closed_after(const std::optional<OpportunityKey>& after,
                                                                  std::size_t count_max) const {
  // Left to itself SQLite may take the index of all of them, since that is unique.
#define WFO_CLOSED(conditions)                                                                              \
  connection_.statement(                                                                                    \
      "SELECT id, state, fields, tenant FROM opportunities INDEXED BY opportunities_closed WHERE state <> " \
      "0" conditions " ORDER BY tenant, id LIMIT ?1")
  Statement* select = nullptr;
  if (after) {
    TRY_ASSIGN(select, WFO_CLOSED(" AND (tenant, id) > (?2, ?3)"));
  } else {
    TRY_ASSIGN(select, WFO_CLOSED(""));
  }
#undef WFO_CLOSED
  select->bind(static_cast<std::int64_t>(count_max));
  if (after) select->bind(after->tenant).bind(after->opportunity);
  std::vector<Opportunity> found;
  for (;;) {
    TRY_ASSIGN(const bool more, select->step());
    if (!more) return found;
    auto opportunity = read_row(*select, select->id<TenantId>(3));
    if (!opportunity) {
      select->reset();
      return std::unexpected(std::move(opportunity).error());
    }
    found.push_back(*std::move(opportunity));
  }
}

Result<std::optional<std::string>> OpportunitiesTable::document(const TenantId& tenant, std::string_view name) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT json FROM documents WHERE tenant = ? AND name = ?"));
  TRY_ASSIGN(const bool row, select->bind(tenant).bind_text(name).step());
  if (!row) return std::nullopt;
  std::string json = select->text(0);
  select->reset();
  return json;
}

Result<void> OpportunitiesTable::put_document(const TenantId& tenant, std::string_view name, std::string_view json) {
  TRY(check_text("document", "name", name));
  TRY(check_text("document", name, json));
  TRY_ASSIGN(Statement* const upsert,
             connection_.statement("INSERT INTO documents (tenant, name, json) VALUES (?, ?, ?) "
                                   "ON CONFLICT (tenant, name) DO UPDATE SET json = excluded.json"));
  return upsert->bind(tenant).bind_text(name).bind_text(json).run();
}

}  // namespace wfo::store::sqlite
