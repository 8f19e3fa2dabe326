#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "jobs/job.h"
#include "schedule/job_spec.h"

namespace wfo::jobs {

/// The jobs of the installation, and those that this program does. Immutable.
class JobTable {
 public:
  JobTable(schedule::JobCatalog catalog, std::vector<std::unique_ptr<Job>> jobs);

  [[nodiscard]] const schedule::JobCatalog& catalog() const { return catalog_; }
  struct Entry {
    const schedule::JobSpec* spec = nullptr;  // null: the catalogue does not have it
    Job* job = nullptr;                       // null: this program does not do it
  };
  [[nodiscard]] Entry find(std::string_view name) const;
  /// `unknown job 'x'; known: …`
  [[nodiscard]] std::string unknown(std::string_view name) const;

 private:
  schedule::JobCatalog catalog_;
  std::vector<std::unique_ptr<Job>> jobs_;
};

}  // namespace wfo::jobs
