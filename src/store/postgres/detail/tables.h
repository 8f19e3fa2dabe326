#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "events/contracts.h"
#include "store/postgres/detail/connection.h"
#include "store/store.h"

namespace wfo::store::postgres {

class LogTable final : public EventLog {
 public:
  LogTable(Connection& connection, const Clock& clock, bool outbox)
      : connection_(connection), clock_(clock), outbox_(outbox) {}

  /// Only notes them: they are written with the commit.
  Result<void> append(std::span<const events::EventPtr> batch) override;
  Result<std::size_t> trim(Sequence through, Timestamp before, std::size_t count_max) override;

  /// What stands in the table: what `Contracts::restore` needs to make the event again.
  struct Entry {
    Sequence sequence;
    std::string bytes;
    std::optional<EventId> event_id;  // if the bytes do not say it
    Timestamp event_time;             // if the bytes do not say one
  };
  /// The wanted entries behind `after`; `read_through` becomes the last sequence that was looked at.
  [[nodiscard]] Result<std::vector<Entry>> read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                                std::size_t bytes_max, Sequence& read_through);

  /// What writes all that was appended and gives the newest sequence; nothing if nothing was. To be run last.
  [[nodiscard]] std::optional<Call> writing() const;

 private:
  Connection& connection_;
  const Clock& clock_;
  const bool outbox_;
  std::vector<events::EventPtr> appended_;
};

class OutboxTable final : public Outbox {
 public:
  OutboxTable(Connection& connection, Connection::Mode mode, const events::Contracts& contracts)
      : connection_(connection), mode_(mode), contracts_(contracts) {}
  Result<std::vector<OutboxEntry>> unpublished(Timestamp now, std::size_t count_max,
                                               std::size_t bytes_max) const override;
  Result<void> mark_published(std::span<const Sequence> sequences) override;
  Result<void> park(std::span<const Sequence> sequences, Timestamp until) override;
  Result<OutboxCounts> counts() const override;

 private:
  /// No entry lies before it, nor ever will.
  [[nodiscard]] Sequence& floor() const;
  Connection& connection_;
  const Connection::Mode mode_;
  const events::Contracts& contracts_;
};

class LeasesTable final : public LeaseStore {
 public:
  /// `clock`: null stands for the database's.
  LeasesTable(Connection& connection, const Clock* clock) : connection_(connection), clock_(clock) {}
  Result<std::optional<Lease>> acquire(std::string_view name, std::string_view holder, milliseconds length) override;
  Result<void> check(std::string_view name, Epoch epoch) override;
  Result<void> release(std::string_view name, Epoch epoch) override;
  Result<std::optional<Lease>> find(std::string_view name) const override;

 private:
  [[nodiscard]] std::optional<Timestamp> now() const { return clock_ ? std::optional(clock_->now()) : std::nullopt; }
  Connection& connection_;
  const Clock* clock_;
};

class PositionsTable final : public Positions {
 public:
  explicit PositionsTable(Connection& connection) : connection_(connection) {}
  Result<Sequence> get(std::string_view consumer) const override;
  Result<void> set(std::string_view consumer, Sequence position) override;
  Result<std::vector<std::pair<std::string, Sequence>>> all() const override;

 private:
  Connection& connection_;
};

class RunsTable final : public RunStore {
 public:
  RunsTable(Connection& connection, Connection::Mode mode) : connection_(connection), mode_(mode) {}
  Result<std::vector<std::optional<StoredRun>>> load(std::span<const WorkflowId> ids) const override;
  Result<std::vector<std::optional<WorkflowId>>> active_runs(
      std::span<const OpportunityKey> opportunities) const override;
  Result<std::vector<workflow::Run>> list(const RunQuery& query) const override;
  Result<std::vector<WorkflowId>> due(Timestamp now, std::size_t count_max) const override;
  Result<std::optional<Timestamp>> next_wake_up() const override;
  Result<std::vector<WorkflowId>> without_wake_up(std::size_t count_max) const override;
  Result<std::int64_t> count_active() const override;
  Result<std::vector<ActiveDefinition>> active_definitions() const override;
  Result<std::vector<bool>> insert(std::span<const NewRun> runs) override;
  Result<std::vector<bool>> update(std::span<const RunUpdate> runs) override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
  const Connection::Mode mode_;
};

class TriggersTable final : public TriggerStore {
 public:
  explicit TriggersTable(Connection& connection) : connection_(connection) {}
  Result<std::vector<std::optional<Trigger>>> find(std::span<const TriggerKey> keys) const override;
  Result<std::vector<bool>> insert(std::span<const Trigger> triggers) override;
  Result<std::vector<Trigger>> absorbed_by(std::span<const WorkflowId> workflows) const override;
  Result<std::vector<WorkflowId>> without_follow_up(std::size_t count_max) const override;
  Result<void> set_follow_up(const WorkflowId& absorber, const WorkflowId& follow_up) override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
};

class InboxTable final : public Inbox {
 public:
  explicit InboxTable(Connection& connection) : connection_(connection) {}
  Result<std::vector<InboxVerdict>> record(std::string_view consumer, std::span<const InboxKey> keys,
                                           Timestamp now) override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
};

class DeadLettersTable final : public DeadLetterStore {
 public:
  explicit DeadLettersTable(Connection& connection) : connection_(connection) {}
  Result<void> insert(std::span<const DeadLetter> letters) override;
  Result<std::optional<DeadLetter>> find(const DeadLetterId& id) const override;
  Result<std::vector<DeadLetter>> list(const DeadLetterQuery& query) const override;
  Result<void> settle(const DeadLetterId& id, DeadLetterStatus status, const std::optional<EventId>& replayed_as,
                      std::string_view note) override;
  Result<std::int64_t> count_waiting() const override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
};

class OpportunitiesTable final : public OpportunityStore {
 public:
  OpportunitiesTable(Connection& connection, Connection::Mode mode) : connection_(connection), mode_(mode) {}
  Result<std::vector<std::optional<Opportunity>>> load(std::span<const OpportunityKey> keys) const override;
  Result<void> upsert(std::span<const Opportunity> batch) override;
  Result<std::vector<Opportunity>> closed(const TenantId& tenant) const override;
  Result<std::vector<Opportunity>> closed_after(const std::optional<OpportunityKey>& after,
                                                std::size_t count_max) const override;
  Result<std::optional<std::string>> document(const TenantId& tenant, std::string_view name) const override;
  Result<void> put_document(const TenantId& tenant, std::string_view name, std::string_view json) override;

 private:
  Connection& connection_;
  const Connection::Mode mode_;
};

class DefinitionsTable final : public DefinitionStore {
 public:
  explicit DefinitionsTable(Connection& connection) : connection_(connection) {}
  Result<void> put(std::string_view name, std::string_view version, std::string_view text) override;
  Result<std::vector<StoredDefinition>> all() const override;

 private:
  Connection& connection_;
};

class SchedulesTable final : public ScheduleStore {
 public:
  SchedulesTable(Connection& connection, Connection::Mode mode) : connection_(connection), mode_(mode) {}
  using ScheduleStore::find;
  Result<std::vector<std::optional<StoredSchedule>>> find(std::span<const std::string> names) const override;
  Result<std::vector<StoredSchedule>> list(std::string_view after, std::size_t count_max) const override;
  Result<std::vector<StoredSchedule>> due(Timestamp now, std::size_t count_max) const override;
  Result<std::optional<Timestamp>> next_wake_up() const override;
  Result<std::vector<bool>> insert(std::span<const StoredSchedule> schedules) override;
  Result<std::vector<bool>> update(std::span<const StoredSchedule> schedules) override;
  Result<bool> remove(std::string_view name) override;

 private:
  Connection& connection_;
  const Connection::Mode mode_;
};

class FiresTable final : public FireStore {
 public:
  explicit FiresTable(Connection& connection) : connection_(connection) {}
  Result<void> record(std::span<const FireRecord> fires) override;
  Result<std::vector<BufferedFires>> buffered(std::span<const std::string> schedules) const override;
  Result<std::vector<bool>> turns_taken(std::span<const std::string> schedules) const override;
  Result<void> release(std::span<const ReleasedFire> fires, Timestamp now) override;
  Result<std::size_t> give_up_buffered(std::string_view schedule, schedule::FireCause cause, Timestamp now) override;
  Result<std::vector<FireRecord>> list(const FireQuery& query) const override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
};

class JobRunsTable final : public JobRunStore {
 public:
  explicit JobRunsTable(Connection& connection) : connection_(connection) {}
  using JobRunStore::find;
  Result<std::vector<std::optional<StoredJobRun>>> find(std::span<const JobRunId> ids) const override;
  Result<std::vector<std::optional<JobRunId>>> find_by_trigger(std::span<const EventId> triggers) const override;
  Result<std::vector<JobRunId>> oldest_pending(std::string_view job, std::size_t count_max) const override;
  Result<std::vector<OpenRuns>> open_of(std::span<const std::string> schedules, std::size_t count_max) const override;
  Result<std::vector<JobRunId>> due(schedule::JobRunStatus status, Timestamp now, std::size_t count_max) const override;
  Result<std::vector<JobRunId>> past_deadline(Timestamp now, std::size_t count_max) const override;
  Result<std::vector<schedule::JobRun>> list(const JobRunQuery& query) const override;
  Result<std::optional<Timestamp>> last_completed_at(std::string_view job) const override;
  Result<std::optional<Timestamp>> oldest_running() const override;
  Result<std::vector<bool>> insert(std::span<const schedule::JobRun> runs) override;
  Result<std::vector<bool>> update(std::span<const StoredJobRun> runs) override;
  Result<std::vector<JobRunId>> heartbeat(std::span<const JobRunId> ids, std::string_view holder,
                                          Timestamp due_at) override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

 private:
  Connection& connection_;
};

class RiskSnapshotsTable final : public RiskSnapshotStore {
 public:
  explicit RiskSnapshotsTable(Connection& connection) : connection_(connection) {}
  Result<std::size_t> upsert(std::span<const RiskSnapshot> snapshots) override;
  Result<std::vector<RiskSnapshot>> list(const TenantId& tenant, const OpportunityId& opportunity, Date from, Date to,
                                         std::size_t count_max) const override;

 private:
  Connection& connection_;
};

class OutcomesTable final : public OutcomeStore {
 public:
  explicit OutcomesTable(Connection& connection) : connection_(connection) {}
  Result<std::vector<bool>> insert(std::span<const RecordedOutcome> outcomes) override;

 private:
  Connection& connection_;
};

/// All tables, as one transaction of a connection sees them. Lives as long as the transaction.
class Tables final : public Transaction {
 public:
  struct Context {
    const events::Contracts& contracts;
    const Clock& clock;
    const Clock* lease_clock;  // null: the database's
    bool outbox;               // entries of the log await publication
  };
  Tables(Connection& connection, Connection::Mode mode, const Context& context)
      : log_(connection, context.clock, context.outbox),
        outbox_(connection, mode, context.contracts),
        leases_(connection, context.lease_clock),
        positions_(connection),
        runs_(connection, mode),
        triggers_(connection),
        inbox_(connection),
        dead_letters_(connection),
        opportunities_(connection, mode),
        definitions_(connection),
        schedules_(connection, mode),
        fires_(connection),
        job_runs_(connection),
        risk_snapshots_(connection),
        outcomes_(connection) {}

  [[nodiscard]] LogTable& log_table() { return log_; }

  EventLog& log() override { return log_; }
  RunStore& runs() override { return runs_; }
  TriggerStore& triggers() override { return triggers_; }
  Inbox& inbox() override { return inbox_; }
  DeadLetterStore& dead_letters() override { return dead_letters_; }
  OpportunityStore& opportunities() override { return opportunities_; }
  DefinitionStore& definitions() override { return definitions_; }
  Positions& positions() override { return positions_; }
  Outbox& outbox() override { return outbox_; }
  LeaseStore& leases() override { return leases_; }
  ScheduleStore& schedules() override { return schedules_; }
  FireStore& fires() override { return fires_; }
  JobRunStore& job_runs() override { return job_runs_; }
  RiskSnapshotStore& risk_snapshots() override { return risk_snapshots_; }
  OutcomeStore& outcomes() override { return outcomes_; }
  const RunStore& runs() const override { return runs_; }
  const TriggerStore& triggers() const override { return triggers_; }
  const DeadLetterStore& dead_letters() const override { return dead_letters_; }
  const OpportunityStore& opportunities() const override { return opportunities_; }
  const DefinitionStore& definitions() const override { return definitions_; }
  const Positions& positions() const override { return positions_; }
  const Outbox& outbox() const override { return outbox_; }
  const LeaseStore& leases() const override { return leases_; }
  const ScheduleStore& schedules() const override { return schedules_; }
  const FireStore& fires() const override { return fires_; }
  const JobRunStore& job_runs() const override { return job_runs_; }
  const RiskSnapshotStore& risk_snapshots() const override { return risk_snapshots_; }

 private:
  LogTable log_;
  OutboxTable outbox_;
  LeasesTable leases_;
  PositionsTable positions_;
  RunsTable runs_;
  TriggersTable triggers_;
  InboxTable inbox_;
  DeadLettersTable dead_letters_;
  OpportunitiesTable opportunities_;
  DefinitionsTable definitions_;
  SchedulesTable schedules_;
  FiresTable fires_;
  JobRunsTable job_runs_;
  RiskSnapshotsTable risk_snapshots_;
  OutcomesTable outcomes_;
};

}  // namespace wfo::store::postgres
