#include "api/detail/arguments.h"
#include "api/detail/job_json.h"
#include "api/detail/routes.h"

namespace wfo::api::detail {
namespace {

constexpr std::string_view kRuns = "/api/v1/jobs/runs";

// Triggering.

Answer trigger(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto body, read_object(request, {"metadata"}));
  scheduler::TriggerRequest wish{.job = request.path_parameter("job"), .traceparent = read_traceparent(request)};
  if (const auto metadata = body.root().find("metadata"); metadata && metadata->kind() != json::Kind::null) {
    if (!metadata->is_object() || metadata->raw().size() > schedule::kMetadataBytesMax) {
      return fail(ErrorCode::invalid_argument,
                  "member 'metadata' of the body is of kind {} with {} bytes; allowed: an object of up to {} bytes",
                  json::name(metadata->kind()), metadata->raw().size(), schedule::kMetadataBytesMax);
    }
    wish.metadata = metadata->raw();
  }
  TRY(services.store.admission());
  TRY_ASSIGN(const auto answer, services.scheduler.trigger(wish));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("runId").uuid(answer.run).key("triggerId").uuid(answer.trigger);
  out.key("job").string(wish.job).end_object();
  Response response = json_response(202, std::move(text));
  response.headers.add("Location", fmt::format("{}/{}", kRuns, answer.run.to_string()));
  return response;
}

// Looking.

/// One page, or as much of it as an answer may hold.
struct RunPage {
  std::string runs;  // JSON, with commas between
  std::optional<JobRunId> last;
  bool is_last = true;
};

void write_runs(RunPage& page, const std::vector<schedule::JobRun>& runs) {
  for (const auto& run : runs) {
    if (page.runs.size() > kPageBytesMax) {
      page.is_last = false;
      return;
    }
    if (!page.runs.empty()) page.runs += ',';
    json::Writer out(page.runs);
    write_job_run(out, run);
    page.last = run.id;
  }
}

Answer list_runs(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"job", "schedule", "status", "limit", "cursor"}));
  store::JobRunQuery query;
  TRY_ASSIGN(query.job, read_job_name(request, "job"));
  TRY_ASSIGN(query.schedule, read_job_name(request, "schedule"));
  TRY_ASSIGN(query.status, read_choice(request, "status", schedule::parse_job_run_status,
                                       "pending, queued, running, completed, failed, cancelled"));
  TRY_ASSIGN(query.limit, read_limit(request));
  TRY_ASSIGN(const auto place, read_cursor(request));
  if (place) query.before = JobRunId(*place);

  RunPage page;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    page = {};
    TRY_ASSIGN(const auto runs, transaction.job_runs().list(query));
    write_runs(page, runs);
    if (!page.is_last || runs.size() < query.limit) return {};
    auto behind = query;
    behind.limit = 1;
    behind.before = page.last;
    TRY_ASSIGN(const auto more, transaction.job_runs().list(behind));
    page.is_last = more.empty();
    return {};
  }));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("runs").raw("[" + page.runs + "]");
  if (!page.is_last) out.key("cursor").string(to_cursor(page.last->value()));
  out.end_object();
  return json_response(200, std::move(text));
}

Response show(const schedule::JobRun& run, std::string_view note = {}) {
  std::string text;
  json::Writer out(text);
  write_job_run(out, run, note);
  return json_response(200, std::move(text));
}

Answer show_run(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto id, read_path_id(request, "job run"));
  std::optional<store::StoredJobRun> found;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(found, transaction.job_runs().find(JobRunId(id)));
    return {};
  }));
  if (!found) return fail(ErrorCode::not_found, "there is no job run {}", id.to_string());
  return show(found->run);
}

// Steering.

Answer cancel_run(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto id, read_path_id(request, "job run"));
  TRY_ASSIGN(const auto body, read_object(request, {"reason"}));
  TRY_ASSIGN(const auto reason, need_text(body.root(), "reason", kNoteMax));
  TRY_ASSIGN(const auto run, services.scheduler.cancel(JobRunId(id), reason));
  const auto* const job = services.scheduler.catalog().find(run.job);
  const bool is_external = job == nullptr || job->kind == schedule::JobKind::external;
  return show(run,
              is_external ? "this closes the run here; its worker, which is elsewhere, is not told and may go on" : "");
}

}  // namespace

void add_job_routes(Router& router, const Services& services) {
  add_route(router, Method::post, "/api/v1/jobs/{job}/trigger", services, trigger);
  add_route(router, Method::get, kRuns, services, list_runs);
  add_route(router, Method::get, "/api/v1/jobs/runs/{id}", services, show_run);
  add_route(router, Method::post, "/api/v1/jobs/runs/{id}/cancel", services, cancel_run);
}

}  // namespace wfo::api::detail
