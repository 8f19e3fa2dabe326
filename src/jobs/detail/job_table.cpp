#include "jobs/detail/job_table.h"

#include <algorithm>

namespace wfo::jobs {

using schedule::JobKind;

JobTable::JobTable(schedule::JobCatalog catalog, std::vector<std::unique_ptr<Job>> jobs)
    : catalog_(std::move(catalog)), jobs_(std::move(jobs)) {
  for (const schedule::JobSpec& spec : catalog_.all()) INVARIANT(spec.kind != JobKind::builtin || find(spec.name).job);
}

JobTable::Entry JobTable::find(std::string_view name) const {
  Entry entry{.spec = catalog_.find(name)};
  if (!entry.spec || entry.spec->kind != JobKind::builtin) return entry;
  const auto job = std::ranges::find(jobs_, name, [](const auto& one) { return one->name(); });
  if (job != jobs_.end()) entry.job = job->get();
  return entry;
}

std::string JobTable::unknown(std::string_view name) const {
  return fmt::format("unknown job '{}'; known: {}", name, catalog_.names());
}

}  // namespace wfo::jobs
