#include "schedule/job_spec.h"

#include <algorithm>
#include <utility>

#include "base/result.h"

namespace wfo::schedule {

std::string_view name(JobKind kind) {
  switch (kind) {
    case JobKind::builtin:
      return "builtin";
    case JobKind::external:
      return "external";
  }
  INVARIANT(false);
}

JobCatalog::JobCatalog(std::vector<JobSpec> jobs) {
  for (JobSpec& job : jobs) {
    const auto place = std::ranges::lower_bound(jobs_, job.name, {}, &JobSpec::name);
    if (place != jobs_.end() && place->name == job.name) {
      *place = std::move(job);
    } else {
      jobs_.insert(place, std::move(job));
    }
  }
}

const JobSpec* JobCatalog::find(std::string_view name) const {
  const auto place = std::ranges::lower_bound(jobs_, name, {}, &JobSpec::name);
  return place != jobs_.end() && place->name == name ? &*place : nullptr;
}

std::string JobCatalog::names() const {
  std::string out;
  for (const JobSpec& job : jobs_) {
    if (!out.empty()) out += ", ";
    out += job.name;
  }
  return out;
}

bool is_job_name(std::string_view text) {
  const auto is_letter_or_digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  const auto is_allowed = [&](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; };
  return !text.empty() && text.size() <= 100 && is_letter_or_digit(text.front()) &&
         std::ranges::all_of(text, is_allowed);
}

}  // namespace wfo::schedule
