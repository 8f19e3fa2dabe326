#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/time.h"
#include "events/contracts.h"
#include "store/sqlite/detail/connection.h"
#include "store/store.h"

namespace wfo::store::sqlite {

class LogTable final : public EventLog {
 public:
  /// `outbox`: entries await publication.
  LogTable(Connection& connection, const Clock& clock, bool outbox)
      : connection_(connection), clock_(clock), outbox_(outbox) {}

  Result<void> append(std::span<const events::EventPtr> batch) override;
  Result<std::size_t> trim(Sequence through, Timestamp before, std::size_t count_max) override;

  /// What stands in the file: what `Contracts::restore` needs to make the event again.
  struct Row {
    Sequence sequence;
    std::string bytes;
    std::optional<EventId> event_id;  // if the bytes do not say it
    Timestamp event_time;             // if the bytes do not say one
  };
  /// The wanted rows behind `after`; `read_through` becomes the last sequence that was looked at.
  [[nodiscard]] Result<std::vector<Row>> read(Sequence after, const TypeFilter& filter, std::size_t count_max,
                                              std::size_t bytes_max, Sequence& read_through);
  /// Everything up to here has been trimmed; 0 before the first time.
  [[nodiscard]] Result<Sequence> trimmed_through();
  /// The newest sequence that was ever given.
  [[nodiscard]] Result<Sequence> last_sequence();

  // The writer's part.

  /// Where the log stands inside a transaction.
  struct Mark {
    Sequence last = 0;     // given
    Sequence trimmed = 0;  // by this transaction
  };
  /// The sequence goes on from `last`.
  void start_at(Sequence last) { mark_ = {last, 0}; }
  [[nodiscard]] const Mark& mark() const { return mark_; }
  /// What came after `mark` was rolled back.
  void return_to(const Mark& mark);
  /// What was appended since the last call, all of it committed now.
  [[nodiscard]] std::vector<LogEntry> take_appended();

 private:
  Result<std::int64_t> type_id(const std::string& type);
  Result<std::string_view> type_name(std::int64_t id);
  Connection& connection_;
  const Clock& clock_;
  const bool outbox_;
  Mark mark_;
  std::vector<LogEntry> appended_;
  std::unordered_map<std::string, std::int64_t> types_;
  std::unordered_map<std::int64_t, std::string> type_names_;
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

/// Needs to make events of rows, so it knows the contracts.
class OutboxTable final : public Outbox {
 public:
  OutboxTable(Connection& connection, const events::Contracts& contracts)
      : connection_(connection), contracts_(contracts) {}
  Result<std::vector<OutboxEntry>> unpublished(Timestamp now, std::size_t count_max,
                                               std::size_t bytes_max) const override;
  Result<void> mark_published(std::span<const Sequence> sequences) override;
  Result<void> park(std::span<const Sequence> sequences, Timestamp until) override;
  Result<OutboxCounts> counts() const override;

 private:
  Connection& connection_;
  const events::Contracts& contracts_;
};

class LeasesTable final : public LeaseStore {
 public:
  LeasesTable(Connection& connection, const Clock& clock) : connection_(connection), clock_(clock) {}
  Result<std::optional<Lease>> acquire(std::string_view name, std::string_view holder, milliseconds length) override;
  Result<void> check(std::string_view name, Epoch epoch) override;
  Result<void> release(std::string_view name, Epoch epoch) override;
  Result<std::optional<Lease>> find(std::string_view name) const override;

 private:
  Connection& connection_;
  const Clock& clock_;
};

class RunsTable final : public RunStore {
 public:
  RunsTable(Connection& connection, const std::atomic<std::int64_t>& active)
      : connection_(connection), active_(active) {}
  Result<std::vector<std::optional<StoredRun>>> load(std::span<const WorkflowId> ids) const override;
  Result<std::vector<std::optional<WorkflowId>>> active_runs(
      std::span<const OpportunityKey> opportunities) const override;
  Result<std::vector<workflow::Run>> list(const RunQuery& query) const override;
  Result<std::vector<WorkflowId>> due(Timestamp now, std::size_t count_max) const override;
  Result<std::optional<Timestamp>> next_wake_up() const override;
  Result<std::vector<WorkflowId>> without_wake_up(std::size_t count_max) const override;
  Result<std::int64_t> count_active() const override;
  Result<std::vector<ActiveDefinition>> active_definitions() const override;
  using RunStore::insert;
  using RunStore::update;
  Result<std::vector<bool>> insert(std::span<const NewRun> runs) override;
  Result<std::vector<bool>> update(std::span<const RunUpdate> runs) override;
  Result<std::size_t> purge(Timestamp before, std::size_t count_max) override;

  /// Counts the active runs in the file: along an index, but all of them.
  [[nodiscard]] Result<std::int64_t> count_active_rows() const;
  // How many more (or less) runs are active than before the transaction that is open.
  [[nodiscard]] std::int64_t active_change() const { return active_change_; }
  void set_active_change(std::int64_t change) { active_change_ = change; }

 private:
  Result<bool> insert_one(const workflow::Run& run, bool exclusive, std::string_view steps);
  Result<bool> update_one(const StoredRun& before, const workflow::Run& after, std::string_view steps);
  Result<StoredRun> read_row(Statement& row) const;
  Result<void> read_results(std::int64_t key, workflow::Run& run) const;
  Result<void> write_results(std::int64_t row, const workflow::Run* before, const workflow::Run& after);
  Connection& connection_;
  const std::atomic<std::int64_t>& active_;  // as committed
  std::int64_t active_change_ = 0;
};

class TriggersTable final : public TriggerStore {
 public:
  explicit TriggersTable(Connection& connection) : connection_(connection) {}
  using TriggerStore::absorbed_by;
  using TriggerStore::find;
  using TriggerStore::insert;
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
  explicit OpportunitiesTable(Connection& connection) : connection_(connection) {}
  Result<std::vector<std::optional<Opportunity>>> load(std::span<const OpportunityKey> keys) const override;
  Result<void> upsert(std::span<const Opportunity> batch) override;
  Result<std::vector<Opportunity>> closed(const TenantId& tenant) const override;
  Result<std::vector<Opportunity>> closed_after(const std::optional<OpportunityKey>& after,
                                                std::size_t count_max) const override;
  Result<std::optional<std::string>> document(const TenantId& tenant, std::string_view name) const override;
  Result<void> put_document(const TenantId& tenant, std::string_view name, std::string_view json) override;

 private:
  Connection& connection_;
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
  explicit SchedulesTable(Connection& connection) : connection_(connection) {}
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
  Result<bool> join(const FireRecord& fire);
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

/// All tables of one connection: the writer's is a transaction, a reader's a snapshot.
class Tables final : public Transaction {
 public:
  Tables(Database database, const events::Contracts& contracts, const Clock& clock, bool outbox,
         const std::atomic<std::int64_t>& active_runs)
      : connection_(std::move(database)),
        log_(connection_, clock, outbox),
        outbox_(connection_, contracts),
        leases_(connection_, clock),
        positions_(connection_),
        runs_(connection_, active_runs),
        triggers_(connection_),
        inbox_(connection_),
        dead_letters_(connection_),
        opportunities_(connection_),
        definitions_(connection_),
        schedules_(connection_),
        fires_(connection_),
        job_runs_(connection_),
        risk_snapshots_(connection_),
        outcomes_(connection_) {}

  [[nodiscard]] Connection& connection() { return connection_; }
  [[nodiscard]] LogTable& log_table() { return log_; }
  [[nodiscard]] RunsTable& runs_table() { return runs_; }

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
  Connection connection_;
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

}  // namespace wfo::store::sqlite
