#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "schedule/job_run.h"
#include "schedule/schedule.h"
#include "store/fire_store.h"
#include "store/schedule_store.h"

/// Jobs, schedules, fires and runs as clients see them (contracts/openapi.yaml). What they do not have is left out.
namespace wfo::api::detail {

/// `Job`: its limits; what has no meaning for an external one is left out.
void write_job(json::Writer& out, const schedule::JobSpec& job);

/// `JobRun`; `note` is for whom the answer goes to.
void write_job_run(json::Writer& out, const schedule::JobRun& run, std::string_view note = {});

/// `ScheduleSummary`. The object stays open. Errors: `corruption` the definition is none.
[[nodiscard]] Result<void> begin_schedule(json::Writer& out, const store::StoredSchedule& stored);

/// `Fire`.
void write_fire(json::Writer& out, const store::FireRecord& record);
/// `first`, `last`, `count`, `outcome`, `cause`, `rule`: members of an object that is open.
void write_planned_fire(json::Writer& out, const schedule::PlannedFire& fire);

/// `PreviewRow`.
void write_preview_row(json::Writer& out, const schedule::PreviewRow& row);

}  // namespace wfo::api::detail
