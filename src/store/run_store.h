#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/opportunity_key.h"
#include "workflow/run.h"

namespace wfo::store {

/// A run as loaded, with the version that guards it against lost updates: 1 when it is inserted, one more with each
/// update.
struct StoredRun {
  workflow::Run run;
  std::int64_t version = 0;
};

struct RunQuery {
  TenantId tenant;
  std::optional<OpportunityId> opportunity = {};
  std::optional<workflow::RunStatus> status = {};
  std::size_t limit = 50;                 // 1..1000
  std::optional<WorkflowId> before = {};  // the page's cursor: only runs older than this one
};

/// A run to be inserted. Borrowed for the length of the call.
struct NewRun {
  const workflow::Run* run = nullptr;
  bool exclusive = true;  // takes the opportunity's place in the unique index of active runs
};

/// A run to be written. Borrowed for the length of the call.
struct RunUpdate {
  const StoredRun* before = nullptr;  // as it was loaded
  const workflow::Run* after = nullptr;
};

/// How many active runs are pinned to a version of a definition.
struct ActiveDefinition {
  std::string name;
  std::string version;
  std::int64_t count = 0;
  friend bool operator==(const ActiveDefinition&, const ActiveDefinition&) = default;
};

/// Runs and the results of their steps.
class RunStore {
 public:
  virtual ~RunStore() = default;

  /// One place per id, in order; nothing where there is no such run. In a transaction the rows stay locked until its
  /// end. Results of completed steps are filled in.
  [[nodiscard]] virtual Result<std::vector<std::optional<StoredRun>>> load(std::span<const WorkflowId> ids) const = 0;
  /// The active run of each opportunity that its unique index guards, if there is one, in order. (Runs started with
  /// `start_new` beside another stand outside of it.)
  [[nodiscard]] virtual Result<std::vector<std::optional<WorkflowId>>> active_runs(
      std::span<const OpportunityKey> opportunities) const = 0;
  [[nodiscard]] Result<std::optional<WorkflowId>> active_run(const TenantId& tenant,
                                                             const OpportunityId& opportunity) const {
    const OpportunityKey key{tenant, opportunity};
    TRY_ASSIGN(const auto found, active_runs({&key, 1}));
    return found.front();
  }
  /// The newest first, without the results of their steps ("" in their place): a page of those could be a gigabyte.
  [[nodiscard]] virtual Result<std::vector<workflow::Run>> list(const RunQuery& query) const = 0;
  /// Ids of active runs whose wake-up is due at `now`, the most overdue first.
  [[nodiscard]] virtual Result<std::vector<WorkflowId>> due(Timestamp now, std::size_t count_max) const = 0;
  /// The earliest wake-up of all active runs.
  [[nodiscard]] virtual Result<std::optional<Timestamp>> next_wake_up() const = 0;
  /// Active runs without a wake-up: there must be none (invariant 8).
  [[nodiscard]] virtual Result<std::vector<WorkflowId>> without_wake_up(std::size_t count_max) const = 0;
  /// How many runs are active, over all tenants. A read may be told of commits newer than its snapshot. SQLite knows
  /// the number; PostgreSQL counts along an index of active runs, which takes the longer the more there are.
  [[nodiscard]] virtual Result<std::int64_t> count_active() const = 0;
  /// The definitions that active runs are pinned to, by name and version. Looks at all active runs: for the self-check.
  [[nodiscard]] virtual Result<std::vector<ActiveDefinition>> active_definitions() const = 0;

  /// One place per run, in order: false, and it is not written, if the opportunity's place is taken, or the id; of two
  /// that want one place the first gets it. Errors: `invalid_argument` a text that `check_text` refuses; then nothing
  /// is written.
  [[nodiscard]] virtual Result<std::vector<bool>> insert(std::span<const NewRun> runs) = 0;
  /// Writes runs, each of them once, that were loaded before. `before` may be without what no update changes (whose run
  /// it is, definition, trigger, results). Results that were stored are never written again. A run that ended gives its
  /// place in the unique index back; one that is active again takes it. One place per run, in order: false, and it is
  /// not written, if somebody else wrote it since, or its place is taken. Errors: `invalid_argument` as for `insert`.
  [[nodiscard]] virtual Result<std::vector<bool>> update(std::span<const RunUpdate> runs) = 0;

  /// The same for one. Errors besides: `conflict` it was not written.
  [[nodiscard]] Result<void> insert(const workflow::Run& run, bool exclusive) {
    const NewRun one{&run, exclusive};
    TRY_ASSIGN(const auto written, insert({&one, 1}));
    if (written.front()) return {};
    return fail(ErrorCode::conflict, "workflow {}: its id is taken, or its opportunity {} has an active run",
                run.id.to_string(), run.opportunity.to_string());
  }
  [[nodiscard]] Result<void> update(const StoredRun& before, const workflow::Run& after) {
    const RunUpdate one{&before, &after};
    TRY_ASSIGN(const auto written, update({&one, 1}));
    if (written.front()) return {};
    return fail(ErrorCode::conflict,
                "workflow {}: somebody wrote it since version {}, or its opportunity has an active run",
                after.id.to_string(), before.version);
  }

  /// Deletes at most `count_max` runs that ended, and were last written, before `before`, with their results, the
  /// oldest first. Returns how many.
  [[nodiscard]] virtual Result<std::size_t> purge(Timestamp before, std::size_t count_max) = 0;
};

}  // namespace wfo::store
