#include <algorithm>
#include <map>

#include "store/opportunity_codec.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

Result<Opportunity> read_row(const Row& row) {
  Opportunity opportunity;
  opportunity.tenant = row.id<TenantId>(0);
  opportunity.id = row.id<OpportunityId>(1);
  opportunity.state = static_cast<StageState>(row.integer(2));
  TRY(decode_opportunity(row.text_view(3), opportunity));
  return opportunity;
}

// Lateral and not pulled up, so that it is no join that could begin with the table. The keys are sorted, and so is the
// order in which rows are locked.
#define WFO_KEYS "unnest($1::uuid[], $2::uuid[]) AS k (tenant, id)"
#define WFO_LOAD(or_lock)                                                                                         \
  "SELECT o.tenant, o.id, o.state, o.fields FROM " WFO_KEYS                                                       \
  " CROSS JOIN LATERAL (SELECT o.tenant, o.id, o.state, o.fields FROM opportunities o WHERE o.tenant = k.tenant " \
  "AND o.id = k.id " or_lock ") AS o"
constexpr const char* kLoad = WFO_LOAD("LIMIT 1");
constexpr const char* kLoadLocked = WFO_LOAD("FOR NO KEY UPDATE");
// A row that is not there cannot be locked, so its place is: one of 64, so that no batch takes more locks than a server
// has. Whoever else is about to insert the row holds the same one.
constexpr const char* kLockPlaces =
    "SELECT pg_advisory_xact_lock(('opportunities'::regclass::oid::bigint << 8) | place) FROM "
    "(SELECT DISTINCT uuid_hash(k.id) & 63 AS place FROM " WFO_KEYS
    " WHERE (SELECT o.state FROM opportunities o WHERE o.tenant = k.tenant AND o.id = k.id) IS NULL ORDER BY place) AS "
    "places";

}  // namespace

Result<std::vector<std::optional<Opportunity>>> OpportunitiesTable::load(std::span<const OpportunityKey> keys) const {
  std::vector<std::optional<Opportunity>> found(keys.size());
  if (keys.empty()) return found;
  std::vector<OpportunityKey> sorted(keys.begin(), keys.end());
  std::ranges::sort(sorted);
  sorted.erase(std::ranges::unique(sorted).begin(), sorted.end());
  Array tenants(Type::uuid);
  Array ids(Type::uuid);
  for (const auto& [tenant, id] : sorted) {
    tenants.add(tenant);
    ids.add(id);
  }
  const Params params = Params().add(tenants).add(ids);
  // What a transaction loads it may be about to write anew, and must not lose what others write meanwhile.
  const bool locked = mode_ == Connection::Mode::write;
  TRY_ASSIGN(Rows rows, connection_.run(locked ? kLoadLocked : kLoad, params));
  if (locked && rows.size() < sorted.size()) {
    TRY(connection_.run(kLockPlaces, params));
    TRY_ASSIGN(rows, connection_.run(kLoadLocked, params));
  }
  std::map<OpportunityKey, Opportunity> loaded;
  for (const Row row : rows) {
    TRY_ASSIGN(auto opportunity, read_row(row));
    loaded.emplace_hint(loaded.end(), OpportunityKey{opportunity.tenant, opportunity.id}, std::move(opportunity));
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (const auto known = loaded.find(keys[i]); known != loaded.end()) found[i] = known->second;
  }
  return found;
}

Result<void> OpportunitiesTable::upsert(std::span<const Opportunity> batch) {
  for (const Opportunity& opportunity : batch) TRY(check_opportunity(opportunity));
  if (batch.empty()) return {};
  // Of several under one id the last counts; and no two batches wait for each other.
  std::vector<const Opportunity*> rows;
  rows.reserve(batch.size());
  for (const Opportunity& opportunity : batch) rows.push_back(&opportunity);
  const auto key = [](const Opportunity* row) { return std::pair(row->tenant, row->id); };
  std::ranges::stable_sort(rows, {}, key);
  Array tenants(Type::uuid);
  Array ids(Type::uuid);
  Array states(Type::bigint);
  Array fields(Type::text);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i + 1 < rows.size() && key(rows[i]) == key(rows[i + 1])) continue;
    tenants.add(rows[i]->tenant);
    ids.add(rows[i]->id);
    states.add(static_cast<std::int64_t>(rows[i]->state));
    fields.add_text(encode_opportunity(*rows[i]));
  }
  TRY(
      connection_.run("INSERT INTO opportunities (tenant, id, state, fields) "
                      "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[]) ON CONFLICT (tenant, id) "
                      "DO UPDATE SET state = excluded.state, fields = excluded.fields",
                      Params().add(tenants).add(ids).add(states).add(fields)));
  return {};
}

Result<std::vector<Opportunity>> OpportunitiesTable::closed(const TenantId& tenant) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT tenant, id, state, fields FROM opportunities WHERE tenant = $1 AND "
                             "state <> 0 ORDER BY id",
                             Params().add(tenant)));
  std::vector<Opportunity> found;
  found.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(auto opportunity, read_row(row));
    found.push_back(std::move(opportunity));
  }
  return found;
}

Result<std::vector<Opportunity>> OpportunitiesTable::closed_after(const std::optional<OpportunityKey>& after,
                                                                  std::size_t count_max) const {
  const OpportunityKey first = after.value_or(OpportunityKey{});  // the nil ids, before which there are none
  TRY_ASSIGN(
      const Rows rows,
      connection_.run(after ? "SELECT tenant, id, state, fields FROM opportunities WHERE (tenant, id) > ($1, $2) "
                              "AND state <> 0 ORDER BY tenant, id LIMIT $3"
                            : "SELECT tenant, id, state, fields FROM opportunities WHERE (tenant, id) >= ($1, "
                              "$2) AND state <> 0 ORDER BY tenant, id LIMIT $3",
                      Params().add(first.tenant).add(first.opportunity).add(count_max)));
  std::vector<Opportunity> found;
  found.reserve(rows.size());
  for (const Row row : rows) {
    TRY_ASSIGN(auto opportunity, read_row(row));
    found.push_back(std::move(opportunity));
  }
  return found;
}

Result<std::optional<std::string>> OpportunitiesTable::document(const TenantId& tenant, std::string_view name) const {
  if (!is_text(name)) return std::nullopt;  // there is none
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT json FROM documents WHERE tenant = $1 AND name = $2",
                                              Params().add(tenant).add_text(name)));
  return rows.empty() ? std::nullopt : std::optional(rows[0].text(0));
}

Result<void> OpportunitiesTable::put_document(const TenantId& tenant, std::string_view name, std::string_view json) {
  TRY(check_text("document", "name", name));
  TRY(check_text("document", name, json));
  TRY(
      connection_.run("INSERT INTO documents (tenant, name, json) VALUES ($1, $2, $3) "
                      "ON CONFLICT (tenant, name) DO UPDATE SET json = excluded.json",
                      Params().add(tenant).add_text(name).add_text(json)));
  return {};
}

}  // namespace wfo::store::postgres
