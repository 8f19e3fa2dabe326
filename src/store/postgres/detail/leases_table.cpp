#include "store/checks.h"
#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {
namespace {

std::optional<Lease> read_lease(std::string_view name, const Rows& rows) {
  if (rows.empty()) return std::nullopt;
  return Lease{std::string(name), rows[0].text(0), rows[0].integer(1), rows[0].timestamp(2)};
}

}  // namespace

// Time as the database has it at that moment, however long a lock was waited for; or as a test's clock says.
#define WFO_NOW "coalesce($4, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)"

Result<std::optional<Lease>> LeasesTable::acquire(std::string_view name, std::string_view holder, milliseconds length) {
  INVARIANT(length.count() > 0 && !holder.empty());
  TRY(check_text("lease", "name", name));
  TRY(check_text("lease", "holder", holder));
  // Whoever finds that somebody else has it gets no further than NOT EXISTS, and so locks nothing: ON CONFLICT locks
  // the row also where its WHERE says no, and that until the transaction ends, which may be when a paused process
  // wakes.
  constexpr const char* kAcquire =
      "INSERT INTO leases AS l (name, holder, epoch, expires_at) SELECT $1, $2, 1, " WFO_NOW
      " + $3 "
      "WHERE NOT EXISTS (SELECT FROM leases h WHERE h.name = $1 AND h.holder NOT IN ($2, '') AND "
      "h.expires_at > " WFO_NOW
      ") ON CONFLICT (name) DO UPDATE SET holder = $2, "
      "epoch = l.epoch + CASE WHEN l.holder = $2 THEN 0 ELSE 1 END, expires_at = " WFO_NOW
      " + $3 "
      "WHERE l.holder IN ($2, '') OR l.expires_at <= " WFO_NOW " RETURNING epoch, expires_at";
  TRY_ASSIGN(const Rows rows,
             connection_.run(kAcquire, Params().add_text(name).add_text(holder).add(length.count()).add(now())));
  if (rows.empty()) return std::nullopt;
  return Lease{std::string(name), std::string(holder), rows[0].integer(0), rows[0].timestamp(1)};
}

Result<void> LeasesTable::check(std::string_view name, Epoch epoch) {
  // Whoever wants to take it over waits for this row until we have committed.
  TRY_ASSIGN(const Rows rows, connection_.run("SELECT holder, epoch, expires_at FROM leases WHERE name = $1 FOR SHARE",
                                              Params().add_text(name)));
  return check_held(name, epoch, read_lease(name, rows));
}

Result<void> LeasesTable::release(std::string_view name, Epoch epoch) {
  TRY(connection_.run("UPDATE leases SET holder = '' WHERE name = $1 AND epoch = $2",
                      Params().add_text(name).add(epoch)));
  return {};
}

Result<std::optional<Lease>> LeasesTable::find(std::string_view name) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT holder, epoch, expires_at FROM leases WHERE name = $1", Params().add_text(name)));
  return read_lease(name, rows);
}

}  // namespace wfo::store::postgres
