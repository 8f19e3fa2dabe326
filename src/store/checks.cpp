#include "store/checks.h"

#include <initializer_list>
#include <string>

#include "store/text.h"

namespace wfo::store {
namespace {

struct Field {
  std::string_view name;
  std::string_view text;
};

std::string print(std::string_view name) { return as_text(name); }
template <class Tag>
std::string print(const Id<Tag>& id) {
  return id.to_string();
}

/// What is wrong is looked for again, so that nobody pays for the name of what is right.
template <class Id>
Result<void> check_fields(std::string_view thing, const Id& id, std::initializer_list<Field> fields) {
  for (const auto& [field, text] : fields) {
    if (!is_text(text)) return check_text(fmt::format("{} {}", thing, print(id)), field, text);
  }
  return {};
}

}  // namespace

Result<void> check_texts(const workflow::Run& run, std::string_view steps) {
  return check_fields("run", run.id,
                      {{"externalId", run.external_id},
                       {"definition", run.definition_name},
                       {"definition version", run.definition_version},
                       {"correlationId", run.correlation_id},
                       {"trigger", run.trigger_type},
                       {"error", run.error},
                       {"failedStep", run.failed_step},
                       {"steps", steps}});
}

Result<void> check_texts(const Trigger& trigger) {
  return check_fields("trigger", trigger.id,
                      {{"type", trigger.type},
                       {"externalId", trigger.external_id},
                       {"definition", trigger.definition_name},
                       {"correlationId", trigger.correlation_id},
                       {"reason", trigger.reason}});
}

Result<void> check_texts(const StoredSchedule& schedule) {
  return check_fields(
      "schedule", std::string_view(schedule.name),
      {{"name", schedule.name}, {"definition", schedule.definition}, {"pauseNote", schedule.pause_note}});
}

Result<void> check_texts(const FireRecord& fire) {
  return check_fields("fire of schedule", std::string_view(fire.schedule), {{"schedule", fire.schedule}});
}

Result<void> check_texts(const schedule::JobRun& run) {
  TRY(check_fields("job run", run.id,
                   {{"job", run.job},
                    {"schedule", run.schedule},
                    {"correlationId", run.correlation_id},
                    {"metadata", run.metadata},
                    {"holder", run.holder},
                    {"progress note", run.progress.note},
                    {"checkpoint", run.checkpoint},
                    {"error", run.error}}));
  for (const auto& [name, count] : run.counts) TRY(check_fields("job run", run.id, {{"counts", name}}));
  return {};
}

Result<void> check_texts(const RiskSnapshot& snapshot) {
  return check_fields("risk snapshot of opportunity", snapshot.opportunity, {{"fields", snapshot.fields}});
}

Result<void> check_held(std::string_view name, Epoch epoch, const std::optional<Lease>& found) {
  if (found && found->epoch == epoch && !found->holder.empty()) return {};
  return fail(ErrorCode::conflict, "the lease '{}' is not held in epoch {} any more: {}", name, epoch,
              !found                  ? "nobody holds it"
              : found->holder.empty() ? "it was given back"
                                      : fmt::format("{} holds it in epoch {}", found->holder, found->epoch));
}

}  // namespace wfo::store
