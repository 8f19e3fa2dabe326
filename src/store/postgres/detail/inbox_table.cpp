#include <unordered_map>

#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

struct Key {
  TenantId tenant;
  EventId event;
  friend bool operator==(const Key&, const Key&) = default;
};
struct HashOfKey {
  std::size_t operator()(const Key& key) const { return std::hash<EventId>{}(key.event); }
};
/// What stands in the table under a key.
struct Noted {
  std::int64_t digest = 0;
  bool fresh = false;  // by this call, for the first of its keys
};

}  // namespace

Result<std::vector<InboxVerdict>> InboxTable::record(std::string_view consumer, std::span<const InboxKey> keys,
                                                     Timestamp now) {
  TRY(check_text("inbox", "consumer", consumer));
  std::vector<InboxVerdict> verdicts;
  if (keys.empty()) return verdicts;

  // Of several under one key the first is noted.
  std::unordered_map<Key, Noted, HashOfKey> noted;
  Array tenants(Type::uuid);
  Array events(Type::uuid);
  Array digests(Type::bigint);
  for (const InboxKey& key : keys) {
    const auto digest = static_cast<std::int64_t>(key.digest);
    if (!noted.try_emplace({key.tenant, key.event}, Noted{digest, false}).second) continue;
    tenants.add(key.tenant);
    events.add(key.event);
    digests.add(digest);
  }
  // Where somebody else is about to note the same key, this waits for the end of that transaction. In the order of
  // keys, so that no two wait for each other.
  Params params;
  params.add_text(consumer).add(tenants).add(events).add(digests).add(now);
  TRY_ASSIGN(
      const Rows inserted,
      connection_.run(
          "INSERT INTO inbox (consumer, tenant, event, digest, received_at) "
          "SELECT $1::text, tenant, event, digest, $5::bigint "
          "FROM unnest($2::uuid[], $3::uuid[], $4::bigint[]) AS k (tenant, event, digest) ORDER BY event, tenant "
          "ON CONFLICT (event, tenant, consumer) DO NOTHING RETURNING tenant, event",
          params));
  for (const Row row : inserted) noted.at({row.id<TenantId>(0), row.id<EventId>(1)}).fresh = true;
  if (inserted.size() < noted.size()) {
    // A statement of its own, since the one above does not see what it waited for.
    TRY_ASSIGN(const Rows known,
               connection_.run("SELECT k.tenant, k.event, (SELECT i.digest FROM inbox i WHERE i.event = k.event AND "
                               "i.tenant = k.tenant AND i.consumer = $1) FROM unnest($2::uuid[], $3::uuid[]) "
                               "AS k (tenant, event)",
                               Params().add_text(consumer).add(tenants).add(events)));
    for (const Row row : known) {
      if (row.is_null(2)) {
        return fail(ErrorCode::unavailable, "inbox: event {} of tenant {} is being forgotten; try again",
                    row.uuid(1).to_string(), row.uuid(0).to_string());
      }
      noted.at({row.id<TenantId>(0), row.id<EventId>(1)}).digest = row.integer(2);
    }
  }

  verdicts.reserve(keys.size());
  for (const InboxKey& key : keys) {
    Noted& known = noted.at({key.tenant, key.event});
    if (std::exchange(known.fresh, false)) {
      verdicts.push_back(InboxVerdict::fresh);
    } else {
      const bool same = known.digest == static_cast<std::int64_t>(key.digest);
      verdicts.push_back(same ? InboxVerdict::repeated : InboxVerdict::forged);
    }
  }
  return verdicts;
}

Result<std::size_t> InboxTable::purge(Timestamp before, std::size_t count_max) {
  TRY_ASSIGN(const Rows rows,
             connection_.run("DELETE FROM inbox WHERE ctid = ANY (ARRAY(SELECT ctid FROM inbox WHERE received_at < $1 "
                             "ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
                             Params().add(before).add(count_max)));
  return rows.changed();
}

}  // namespace wfo::store::postgres
