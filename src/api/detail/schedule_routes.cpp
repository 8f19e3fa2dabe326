#include <charconv>

#include "api/detail/arguments.h"
#include "api/detail/job_json.h"
#include "api/detail/routes.h"
#include "api/detail/uri.h"

namespace wfo::api::detail {
namespace {

constexpr std::string_view kSchedule = "/api/v1/jobs/schedules/{name}";
constexpr std::size_t kShownFires = 10;  // of one schedule, beside its state
constexpr std::size_t kShownRuns = 100;
constexpr std::size_t kPreviewDefault = 10;
constexpr std::string_view kOverlaps = "skip, buffer_one, buffer_all, cancel_other, allow_all";

std::unexpected<Error> no_such_schedule(std::string_view name) {
  return fail(ErrorCode::not_found, "there is no schedule '{}'", shown(name));
}

/// All jobs, and a page of the schedules.
Answer list(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"limit", "cursor"}));
  TRY_ASSIGN(const auto limit, read_limit(request));
  const auto after = request.query_parameter("cursor").value_or("");  // the last name of the page before
  if (request.query_parameter("cursor") && !schedule::is_job_name(after)) return bad_cursor(request);
  std::vector<store::StoredSchedule> schedules;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(schedules, transaction.schedules().list(after, limit + 1));
    return {};
  }));
  const bool is_last = schedules.size() <= limit;
  if (!is_last) schedules.resize(limit);

  std::string text;
  json::Writer out(text);
  out.begin_object().key("jobs").begin_array();
  for (const auto& job : services.scheduler.catalog().all()) write_job(out, job);
  out.end_array().key("schedules").begin_array();
  for (const auto& stored : schedules) {
    TRY(begin_schedule(out, stored));
    out.end_object();
  }
  out.end_array();
  if (!is_last) out.key("cursor").string(schedules.back().name);
  out.end_object();
  return json_response(200, std::move(text));
}

/// The schedule with its state, what waits and works for it, and what became of its last fires.
Answer show_schedule(const Services& services, const std::string& name, int status = 200) {
  std::optional<store::StoredSchedule> stored;
  std::size_t waiting = 0;
  std::vector<JobRunId> open;
  std::vector<store::FireRecord> fires;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(stored, transaction.schedules().find(name));
    if (!stored) return {};
    TRY_ASSIGN(const auto buffered, transaction.fires().buffered({&name, 1}));
    waiting = buffered.front().count;
    TRY_ASSIGN(auto runs, transaction.job_runs().open_of({&name, 1}, kShownRuns));
    open = std::move(runs.front().ids);
    TRY_ASSIGN(fires, transaction.fires().list({.schedule = name, .limit = kShownFires}));
    return {};
  }));
  if (!stored) return no_such_schedule(name);
  std::string text;
  json::Writer out(text);
  TRY(begin_schedule(out, *stored));
  out.key("definition").raw(stored->definition);
  out.key("createdAt").timestamp(stored->created_at).key("updatedAt").timestamp(stored->updated_at);
  out.key("waiting").number(static_cast<std::int64_t>(waiting)).key("openRuns").begin_array();
  for (const auto& run : open) out.uuid(run);
  out.end_array().key("lastFires").begin_array();
  for (const auto& fire : fires) write_fire(out, fire);
  out.end_array().end_object();
  return json_response(status, std::move(text));
}

Answer show(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  return show_schedule(services, request.path_parameter("name"));
}

/// The body with the name of the path in it: it need not say it again, but must not say another.
Result<std::string> named(const Request& request) {
  const auto& name = request.path_parameter("name");
  if (!schedule::is_job_name(name)) {
    return fail(ErrorCode::invalid_argument, "the name '{}' of the path; allowed: {}", shown(name),
                schedule::kJobNameAllowed);
  }
  auto body = json::Document::parse(request.body.empty() ? "{}" : request.body);
  if (!body) return std::unexpected(with_context(std::move(body).error(), "the body"));
  const auto member = body->root().find("name");
  if (!body->root().is_object() || (member && member->equals(name))) return request.body;  // the parser judges it
  if (member) {
    return fail(ErrorCode::invalid_argument, "member 'name' of the body is {}, the path names '{}'; allowed: the same",
                shown(member->raw()), name);
  }
  std::string text;
  json::Writer out(text);
  out.begin_object().key("name").string(name);
  for (const json::Member given : body->root().members()) {
    out.key(given.key.string().value_or("")).raw(given.value.raw());
  }
  out.end_object();
  return text;
}

Answer put(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(std::string text, named(request));
  TRY_ASSIGN(const auto body, json::Document::parse(std::move(text)));
  TRY_ASSIGN(const auto schedule, schedule::parse_schedule(body.root(), "the body", services.scheduler.catalog()));
  TRY(services.store.admission());
  // Who makes it in between is told 201, too; nothing depends on it.
  bool is_known = false;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(const auto known, transaction.schedules().find(schedule.name));
    is_known = known.has_value();
    return {};
  }));
  TRY(services.scheduler.put(schedule));
  return show_schedule(services, schedule.name, is_known ? 200 : 201);
}

Answer remove(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY(read_object(request, {}));
  TRY(services.scheduler.remove(request.path_parameter("name")));
  return Response{.status = 204, .content_type = {}, .body = {}, .headers = {}};
}

// Steering.

Answer pause(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto body, read_object(request, {"note"}));
  TRY_ASSIGN(const auto note, need_text_of_bytes(body.root(), "note", schedule::kPauseNoteBytesMax));
  TRY_ASSIGN(const auto stored, services.scheduler.pause(request.path_parameter("name"), note));
  return show_schedule(services, stored.name);
}

Answer resume(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY(read_object(request, {}));
  TRY_ASSIGN(const auto stored, services.scheduler.resume(request.path_parameter("name")));
  return show_schedule(services, stored.name);
}

Result<schedule::OverlapPolicy> read_overlap(json::Value body) {
  const auto member = body.find("overlap");
  if (!member || member->kind() == json::Kind::null) return schedule::OverlapPolicy::buffer_all;
  const auto text = member->string();
  const auto policy = text ? schedule::parse_overlap_policy(*text) : std::nullopt;
  if (!policy) {
    return fail(ErrorCode::invalid_argument, "member 'overlap' of the body is {}; allowed: {}", shown(member->raw()),
                kOverlaps);
  }
  return *policy;
}

Answer backfill(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {}));
  TRY_ASSIGN(const auto body, read_object(request, {"from", "to", "overlap"}));
  TRY_ASSIGN(const auto from, need_time(body.root(), "from"));
  TRY_ASSIGN(const auto to, need_time(body.root(), "to"));
  TRY_ASSIGN(const auto overlap, read_overlap(body.root()));
  TRY(services.store.admission());
  TRY_ASSIGN(const auto fires, services.scheduler.backfill(request.path_parameter("name"), from, to, overlap));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("fires").begin_array();
  for (const auto& fire : fires) {
    out.begin_object();
    write_planned_fire(out, fire);
    out.end_object();
  }
  out.end_array().end_object();
  return json_response(200, std::move(text));
}

// What became of fires.

Result<std::optional<store::FireId>> read_fire_cursor(const Request& request) {
  const auto text = request.query_parameter("cursor");
  if (!text) return std::optional<store::FireId>();
  store::FireId id = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), id);
  if (error != std::errc() || end != text->data() + text->size() || id < 0) return bad_cursor(request);
  return std::optional(id);
}

/// Of one schedule, or of all: "".
Answer show_fires(const Services& services, const Request& request, const std::string& name) {
  TRY(allow_parameters(request, {"limit", "cursor"}));
  store::FireQuery query{.schedule = name};
  TRY_ASSIGN(query.limit, read_limit(request));
  TRY_ASSIGN(query.before, read_fire_cursor(request));
  std::vector<store::FireRecord> fires;
  bool is_last = true;
  bool is_known = true;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(fires, transaction.fires().list(query));
    is_last = fires.size() < query.limit;
    if (!is_last) {
      TRY_ASSIGN(const auto more, transaction.fires().list({.schedule = name, .limit = 1, .before = fires.back().id}));
      is_last = more.empty();
    }
    is_known = true;
    if (!fires.empty() || query.before || name.empty()) return {};  // the fires of a schedule outlive it
    TRY_ASSIGN(const auto stored, transaction.schedules().find(name));
    is_known = stored.has_value();
    return {};
  }));
  if (!is_known) return no_such_schedule(name);
  std::string text;
  json::Writer out(text);
  out.begin_object().key("fires").begin_array();
  for (const auto& fire : fires) write_fire(out, fire);
  out.end_array();
  if (!is_last) out.key("cursor").string(std::to_string(fires.back().id));
  out.end_object();
  return json_response(200, std::move(text));
}

Answer fires_of_one(const Services& services, const Request& request) {
  return show_fires(services, request, request.path_parameter("name"));
}

Answer fires_of_all(const Services& services, const Request& request) { return show_fires(services, request, ""); }

// What will fire.

Answer show_preview(const Services& services, const Request& request, const schedule::Schedule& schedule) {
  TRY_ASSIGN(const auto count, read_size(request, "count", kPreviewDefault));
  TRY_ASSIGN(const auto after, read_time(request, "after"));
  TRY_ASSIGN(const auto timetable, schedule::Timetable::make(schedule));
  std::string text;
  json::Writer out(text);
  out.begin_object().key("cron").begin_array();
  for (const auto& expression : schedule.cron) out.string(expression);
  out.end_array().key("timeZone").string(schedule.time_zone).key("rows").begin_array();
  for (const auto& row : schedule::preview(timetable, after.value_or(services.clock.now()), count)) {
    write_preview_row(out, row);
  }
  out.end_array().end_object();
  return json_response(200, std::move(text));
}

Answer preview_schedule(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"count", "after"}));
  const auto& name = request.path_parameter("name");
  std::optional<store::StoredSchedule> stored;
  TRY(services.store.read([&](const store::Transaction& transaction) -> Result<void> {
    TRY_ASSIGN(stored, transaction.schedules().find(name));
    return {};
  }));
  if (!stored) return no_such_schedule(name);
  TRY_ASSIGN(const auto definition, json::Document::parse(stored->definition));
  const auto cron = definition.root().find("cron");
  const auto zone = definition.root().find("timeZone");
  schedule::Schedule schedule;  // no more of it is needed: its job may have left the catalogue
  schedule.name = name;
  if (zone) schedule.time_zone = zone->string().value_or("");
  if (cron) {
    for (const json::Value expression : cron->elements()) schedule.cron.push_back(expression.string().value_or(""));
  }
  return show_preview(services, request, schedule);
}

/// Of expressions that no schedule has yet.
Answer preview_expressions(const Services& services, const Request& request) {
  TRY(allow_parameters(request, {"cron", "timeZone", "count", "after"}, "cron"));
  schedule::Schedule schedule;
  schedule.name = "preview";
  for (const auto& [parameter, value] : request.query) {
    if (parameter == "cron") schedule.cron.push_back(value);
  }
  if (schedule.cron.empty() || schedule.cron.size() > schedule::kExpressionsMax) {
    return fail(ErrorCode::invalid_argument, "parameter cron comes {} times; allowed: 1..{} times",
                schedule.cron.size(), schedule::kExpressionsMax);
  }
  if (const auto zone = request.query_parameter("timeZone")) schedule.time_zone = *zone;
  return show_preview(services, request, schedule);
}

}  // namespace

void add_schedule_routes(Router& router, const Services& services) {
  const auto under = [](std::string_view act) { return fmt::format("{}/{}", kSchedule, act); };
  add_route(router, Method::get, "/api/v1/jobs", services, list);
  add_route(router, Method::get, "/api/v1/jobs/fires", services, fires_of_all);
  add_route(router, Method::get, "/api/v1/jobs/preview", services, preview_expressions);
  add_route(router, Method::get, kSchedule, services, show);
  add_route(router, Method::put, kSchedule, services, put);
  add_route(router, Method::delete_, kSchedule, services, remove);
  add_route(router, Method::post, under("pause"), services, pause);
  add_route(router, Method::post, under("resume"), services, resume);
  add_route(router, Method::post, under("backfill"), services, backfill);
  add_route(router, Method::get, under("fires"), services, fires_of_one);
  add_route(router, Method::get, under("preview"), services, preview_schedule);
}

}  // namespace wfo::api::detail
