#include "api/detail/job_json.h"

namespace wfo::api::detail {
namespace {

void write_text(json::Writer& out, std::string_view key, std::string_view text) {
  if (!text.empty()) out.key(key).string(text);
}

void write_time(json::Writer& out, std::string_view key, const std::optional<Timestamp>& time) {
  if (time) out.key(key).timestamp(*time);
}

}  // namespace

void write_job(json::Writer& out, const schedule::JobSpec& job) {
  out.begin_object().key("job").string(job.name).key("kind").string(name(job.kind));
  out.key("startTimeout").string(format_duration(job.start_timeout));
  if (job.kind == schedule::JobKind::builtin) {
    out.key("timeout").string(format_duration(job.timeout));
    out.key("attemptsMax").number(static_cast<std::int64_t>(job.attempts_max));
    out.key("retryFirst").string(format_duration(job.retry_first));
    out.key("retryMax").string(format_duration(job.retry_max));
  }
  out.end_object();
}

void write_job_run(json::Writer& out, const schedule::JobRun& run, std::string_view note) {
  out.begin_object().key("runId").uuid(run.id).key("job").string(run.job);
  out.key("status").string(name(run.status)).key("triggeredBy").string(name(run.triggered_by));
  write_text(out, "schedule", run.schedule);
  write_time(out, "scheduledFor", run.scheduled_for);
  out.key("triggerId").uuid(run.trigger);
  write_text(out, "correlationId", run.correlation_id);
  out.key("metadata").raw(run.metadata);
  out.key("attempt").number(static_cast<std::int64_t>(run.attempt));
  out.key("takeovers").number(static_cast<std::int64_t>(run.takeovers));
  write_text(out, "holder", run.holder);
  out.key("createdAt").timestamp(run.created_at);
  write_time(out, "startedAt", run.started_at);
  write_time(out, "endedAt", run.ended_at);
  write_time(out, "dueAt", run.due_at);
  write_time(out, "deadline", run.deadline);
  out.key("progress").begin_object().key("done").number(run.progress.done);
  if (run.progress.total) out.key("total").number(*run.progress.total);
  write_text(out, "note", run.progress.note);
  out.end_object().key("counts").begin_object();
  for (const auto& [what, count] : run.counts) out.key(what).number(count);
  out.end_object();
  write_text(out, "error", run.error);
  write_text(out, "note", note);
  out.end_object();
}

Result<void> begin_schedule(json::Writer& out, const store::StoredSchedule& stored) {
  const auto definition = json::Document::parse(stored.definition);
  const auto member = [&](std::string_view key) {
    return definition ? definition->root().find(key) : std::optional<json::Value>();
  };
  const auto job = member("job");
  const auto cron = member("cron");
  const auto zone = member("timeZone");
  const auto overlap = member("overlap");
  if (!job || !cron || !zone || !overlap) {
    return fail(ErrorCode::corruption, "schedule '{}': what is stored is no definition", stored.name);
  }
  out.begin_object().key("name").string(stored.name).key("job").raw(job->raw()).key("cron").raw(cron->raw());
  out.key("timeZone").raw(zone->raw()).key("overlap").raw(overlap->raw());
  out.key("paused").boolean(stored.paused);
  write_text(out, "pauseNote", stored.pause_note);
  write_time(out, "nextFireAt", stored.next_at);
  out.key("origin").string(name(stored.origin));
  return {};
}

void write_planned_fire(json::Writer& out, const schedule::PlannedFire& fire) {
  out.key("first").timestamp(fire.first).key("last").timestamp(fire.last).key("count").number(fire.count);
  out.key("outcome").string(name(fire.outcome)).key("cause").string(name(fire.cause));
  out.key("rule").string(name(fire.rule));
}

void write_fire(json::Writer& out, const store::FireRecord& record) {
  out.begin_object().key("id").number(record.id).key("schedule").string(record.schedule);
  write_planned_fire(out, record.fire);
  out.key("decidedAt").timestamp(record.decided_at);
  if (record.run) out.key("runId").uuid(*record.run);
  out.end_object();
}

void write_preview_row(json::Writer& out, const schedule::PreviewRow& row) {
  out.begin_object().key("at").timestamp(row.fire.at).key("local").string(row.local);
  out.key("rule").string(name(row.fire.rule));
  write_text(out, "note", row.note);
  out.end_object();
}

}  // namespace wfo::api::detail
