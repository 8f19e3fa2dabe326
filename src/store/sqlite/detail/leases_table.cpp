#include "store/checks.h"
#include "store/sqlite/detail/tables.h"
#include "store/text.h"

namespace wfo::store::sqlite {

Result<std::optional<Lease>> LeasesTable::acquire(std::string_view name, std::string_view holder, milliseconds length) {
  INVARIANT(!holder.empty() && length > milliseconds(0));
  TRY(check_text("lease", "name", name));
  TRY(check_text("lease", "holder", holder));
  TRY_ASSIGN(Statement* const upsert,
             connection_.statement(
                 "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?1, ?2, 1, ?3) ON CONFLICT (name) DO "
                 "UPDATE SET epoch = epoch + (holder <> ?2), holder = ?2, expires_at = ?3 WHERE holder IN ('', ?2) "
                 "OR expires_at <= ?4 RETURNING epoch"));
  const Timestamp now = clock_.now();
  upsert->bind_text(name).bind_text(holder).bind(now + length).bind(now);
  TRY_ASSIGN(const bool row, upsert->step());
  if (!row) return std::nullopt;
  Lease lease{std::string(name), std::string(holder), upsert->integer(0), now + length};
  upsert->reset();
  return lease;
}

Result<void> LeasesTable::check(std::string_view name, Epoch epoch) {
  TRY_ASSIGN(const auto lease, find(name));
  return check_held(name, epoch, lease);
}

Result<void> LeasesTable::release(std::string_view name, Epoch epoch) {
  TRY_ASSIGN(Statement* const update,
             connection_.statement("UPDATE leases SET holder = '' WHERE name = ? AND epoch = ?"));
  return update->bind_text(name).bind(epoch).run();
}

Result<std::optional<Lease>> LeasesTable::find(std::string_view name) const {
  TRY_ASSIGN(Statement* const select,
             connection_.statement("SELECT holder, epoch, expires_at FROM leases WHERE name = ?"));
  TRY_ASSIGN(const bool row, select->bind_text(name).step());
  if (!row) return std::nullopt;
  Lease lease{std::string(name), select->text(0), select->integer(1), select->timestamp(2)};
  select->reset();
  return lease;
}

}  // namespace wfo::store::sqlite
