#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "events/contracts.h"
#include "store/postgres/postgres_ledger.h"
#include "store/postgres/postgres_store.h"
#include "store/transfer.h"

namespace wfo::store::postgres {

/// A queue that took events from the source's log, where that was the bus.
struct ImportQueue {
  std::string queue;                  // the consumer's name
  std::vector<std::string> bindings;  // topic patterns
  bool has_inbox = true;              // false: it knows by itself what it has taken, as the ledger does
};

struct ImportConfig {
  PostgresStoreConfig store;    // url and schema count, and the timeouts of connecting
  PostgresLedgerConfig ledger;  // the same database and role, or others
  std::vector<ImportQueue> queues;
};

struct ImportReport {
  struct Table {
    std::string name;
    std::int64_t rows = 0;
    std::string digest;  // `TransferDigest`, the same on both sides
  };
  std::vector<Table> tables;
  std::string target;                     // for people; no secrets
  bool was_there = false;                 // an earlier import had done it all
  std::int64_t awaiting_publication = 0;  // entries of the log that the broker is to get
  std::int64_t noted_in_inbox = 0;        // how often one of these had taken effect in a queue already
};

/// Called now and then: rows done so far of a table, and how many it has. `step` is `copy` or `verify`.
using ImportProgress =
    std::function<void(std::string_view step, std::string_view table, std::int64_t done, std::int64_t total)>;

/// Moves an installation into schemas of PostgreSQL that do not exist yet, or have no tables, and marks it as moved
/// (docs/adr/0011-moving.md).
///
/// Everything is written into schemas beside them, named `<schema>_moving`, which nobody serves; read back and compared
/// with the source, table by table; then a transaction gives the schemas their names, and the source is marked before
/// that commits. So there is never a moment in which both could be served, and after a failure at whatever point the
/// same call brings it to its end: it begins anew with what `_moving` holds, and knows what has its name already. Does
/// nothing if all is there. As long as there is a `_moving`, nobody can begin a new installation in its place.
///
/// A move has a random number, which is in the source's mark and in the target: so it is known again by whatever
/// address.
///
/// Where the source's log was the bus, positions are not carried over, since a broker's queues have none. What some of
/// `queues` wants and has not come to is published anew, and for each queue that had passed an entry its inbox knows
/// it, so that it takes effect exactly once. A source that used a broker keeps its outbox and its inbox.
///
/// Errors: `conflict` a target has tables already, another import is at work on it, the source was moved elsewhere, or
/// its ledger missed what is deleted from its log; `corruption` not all rows of the source can be read, or what was
/// read back is not what it has; `invalid_argument` the configuration or the role's rights; `unavailable` the server or
/// a disk, or `stop`. Those after the mark say that the source is marked. None holds a password.
[[nodiscard]] Result<ImportReport> import_installation(TransferSource& source, const ImportConfig& config,
                                                       const events::Contracts& contracts, const Clock& clock,
                                                       Logger& log, const ImportProgress& progress,
                                                       std::stop_token stop);

}  // namespace wfo::store::postgres
