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

/// What is wrong is looked for again, so that nobody pays for the name of what is right.
template <class Id>
Result<void> check_fields(std::string_view thing, const Id& id, std::initializer_list<Field> fields) {
  for (const auto& [field, text] : fields) {
    if (!is_text(text)) return check_text(fmt::format("{} {}", thing, id.to_string()), field, text);
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

Result<void> check_held(std::string_view name, Epoch epoch, const std::optional<Lease>& found) {
  if (found && found->epoch == epoch && !found->holder.empty()) return {};
  return fail(ErrorCode::conflict, "the lease '{}' is not held in epoch {} any more: {}", name, epoch,
              !found                  ? "nobody holds it"
              : found->holder.empty() ? "it was given back"
                                      : fmt::format("{} holds it in epoch {}", found->holder, found->epoch));
}

}  // namespace wfo::store
