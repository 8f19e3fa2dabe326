#pragma once

#include "base/function_ref.h"
#include "base/result.h"
#include "store/dead_letter_store.h"
#include "store/definition_store.h"
#include "store/event_log.h"
#include "store/fire_store.h"
#include "store/inbox.h"
#include "store/job_run_store.h"
#include "store/lease_store.h"
#include "store/opportunity_store.h"
#include "store/outbox.h"
#include "store/outcome_store.h"
#include "store/risk_snapshot_store.h"
#include "store/run_store.h"
#include "store/schedule_store.h"
#include "store/trigger_store.h"

namespace wfo::store {

/// Everything that must commit together. Lives as long as the call it is handed to; one thread. The const accessors
/// are all that a read gets.
class Transaction {
 public:
  virtual ~Transaction() = default;
  [[nodiscard]] virtual EventLog& log() = 0;
  [[nodiscard]] virtual RunStore& runs() = 0;
  [[nodiscard]] virtual TriggerStore& triggers() = 0;
  [[nodiscard]] virtual Inbox& inbox() = 0;
  [[nodiscard]] virtual DeadLetterStore& dead_letters() = 0;
  [[nodiscard]] virtual OpportunityStore& opportunities() = 0;
  [[nodiscard]] virtual DefinitionStore& definitions() = 0;
  [[nodiscard]] virtual Positions& positions() = 0;
  [[nodiscard]] virtual Outbox& outbox() = 0;
  [[nodiscard]] virtual LeaseStore& leases() = 0;
  [[nodiscard]] virtual ScheduleStore& schedules() = 0;
  [[nodiscard]] virtual FireStore& fires() = 0;
  [[nodiscard]] virtual JobRunStore& job_runs() = 0;
  [[nodiscard]] virtual RiskSnapshotStore& risk_snapshots() = 0;
  [[nodiscard]] virtual OutcomeStore& outcomes() = 0;
  [[nodiscard]] virtual const RunStore& runs() const = 0;
  [[nodiscard]] virtual const TriggerStore& triggers() const = 0;
  [[nodiscard]] virtual const DeadLetterStore& dead_letters() const = 0;
  [[nodiscard]] virtual const OpportunityStore& opportunities() const = 0;
  [[nodiscard]] virtual const DefinitionStore& definitions() const = 0;
  [[nodiscard]] virtual const Positions& positions() const = 0;
  [[nodiscard]] virtual const Outbox& outbox() const = 0;
  [[nodiscard]] virtual const LeaseStore& leases() const = 0;
  [[nodiscard]] virtual const ScheduleStore& schedules() const = 0;
  [[nodiscard]] virtual const FireStore& fires() const = 0;
  [[nodiscard]] virtual const JobRunStore& job_runs() const = 0;
  [[nodiscard]] virtual const RiskSnapshotStore& risk_snapshots() const = 0;
};

/// The durable state of all roles but the ledger's. Any thread.
class Store {
 public:
  virtual ~Store() = default;

  /// Runs `body` in a transaction and returns when it is durable, or `body`'s error with nothing changed. `body` may
  /// be run again after a conflict, so it has no effect but through the transaction, and it must not call the store.
  /// Errors besides body's: `unavailable` the disk is full or the database cannot be reached, try later;
  /// `corruption` stop.
  [[nodiscard]] virtual Result<void> transact(FunctionRef<Result<void>(Transaction&)> body) = 0;

  /// `LeaseStore::acquire` and `release`, each in a transaction of its own. For the work of holders: across a network
  /// it is one round trip, so that nobody who stands still keeps the lease's row locked, on a connection that no other
  /// calls can use up.
  [[nodiscard]] virtual Result<std::optional<Lease>> acquire_lease(std::string_view name, std::string_view holder,
                                                                   milliseconds length);
  [[nodiscard]] virtual Result<void> release_lease(std::string_view name, Epoch epoch);

  /// Whether new work may be taken; asked before it is, since work that was taken must be finished. Cheap.
  /// Errors: `unavailable` the disk is nearly full: names the free space and the bound; or the database is away.
  [[nodiscard]] virtual Result<void> admission() = 0;

  /// Runs `body` on a snapshot of what is committed. Beside writers, at most as many at once as there are readers.
  [[nodiscard]] virtual Result<void> read(FunctionRef<Result<void>(const Transaction&)> body) = 0;
};

}  // namespace wfo::store
