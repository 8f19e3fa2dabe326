#include "store/postgres/detail/tables.h"
#include "store/text.h"

namespace wfo::store::postgres {

// Time as the database has it when the row is locked, however long that took; or as a test's clock says.
#define WFO_NOW(parameter) "coalesce(" parameter ", floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)"

Result<std::optional<Lease>> LeasesTable::acquire(std::string_view name, std::string_view holder, milliseconds length) {
  INVARIANT(length.count() > 0 && !holder.empty());
  TRY(check_text("lease", "name", name));
  TRY(check_text("lease", "holder", holder));
  TRY_ASSIGN(const Rows rows,
             connection_.run(
                 "INSERT INTO leases AS l (name, holder, epoch, expires_at) VALUES ($1, $2, 1, " WFO_NOW(
                     "$4") " + $3) ON CONFLICT (name) DO UPDATE SET holder = $2, epoch = l.epoch + CASE "
                           "WHEN l.holder = $2 THEN 0 ELSE 1 END, expires_at = " WFO_NOW(
                               "$4") " + $3 "
                                     "WHERE l.holder IN ($2, '') OR l.expires_at <= " WFO_NOW("$4") " RETURNING "
                                                                                                    "epoch, expires_at",
                 Params().add_text(name).add_text(holder).add(length.count()).add(now())));
  if (rows.empty()) return std::nullopt;
  return Lease{std::string(name), std::string(holder), rows[0].integer(0), rows[0].timestamp(1)};
}

Result<void> LeasesTable::check(std::string_view name, Epoch epoch) {
  // Whoever wants to take it over waits for this row until we have committed.
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT epoch, holder FROM leases WHERE name = $1 FOR SHARE", Params().add_text(name)));
  const std::string holder = rows.empty() ? "" : rows[0].text(1);
  if (!holder.empty() && rows[0].integer(0) == epoch) return {};
  return fail(ErrorCode::conflict, "the lease '{}' is not held in epoch {} any more: {}", name, epoch,
              rows.empty()     ? "nobody holds it"
              : holder.empty() ? "it was given back"
                               : fmt::format("{} holds it in epoch {}", holder, rows[0].integer(0)));
}

Result<void> LeasesTable::release(std::string_view name, Epoch epoch) {
  TRY(connection_.run("UPDATE leases SET holder = '' WHERE name = $1 AND epoch = $2",
                      Params().add_text(name).add(epoch)));
  return {};
}

Result<std::optional<Lease>> LeasesTable::find(std::string_view name) const {
  TRY_ASSIGN(const Rows rows,
             connection_.run("SELECT holder, epoch, expires_at FROM leases WHERE name = $1", Params().add_text(name)));
  if (rows.empty()) return std::nullopt;
  return Lease{std::string(name), rows[0].text(0), rows[0].integer(1), rows[0].timestamp(2)};
}

}  // namespace wfo::store::postgres
