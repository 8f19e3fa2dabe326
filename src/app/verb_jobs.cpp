#include <unistd.h>

#include <algorithm>
#include <map>

#include "app/command.h"
#include "app/files.h"
#include "app/terminal.h"
#include "app/yaml_json.h"
#include "base/time.h"
#include "schedule/job_spec.h"

namespace wfo::app {
namespace {

constexpr std::string_view kJobs = "/api/v1/jobs";
constexpr milliseconds kPollFirst{50};
constexpr milliseconds kPollMax{1'000};  // of a run that takes long

std::string schedule_target(const std::string& name, std::string_view act = "") {
  return fmt::format("{}/schedules/{}{}", kJobs, api::percent_encode(name), act);
}

std::string run_target(const std::string& id, std::string_view act = "") {
  return fmt::format("{}/runs/{}{}", kJobs, api::percent_encode(id), act);
}

/// What is given empty, most often by a variable of the shell that is not set, is not the same as what is not given.
const CLI::Validator& not_empty() {
  static const CLI::Validator kNotEmpty(
      [](std::string& text) { return text.empty() ? std::string("''; allowed: a text that is not empty") : ""; }, "");
  return kNotEmpty;
}

/// A query of a target, of what is not empty.
class Query {
 public:
  explicit Query(std::string target) : target_(std::move(target)) {}
  Query& add(std::string_view name, const std::string& value) {
    if (value.empty()) return *this;
    target_ += fmt::format("{}{}={}", is_first_ ? '?' : '&', name, api::percent_encode(value));
    is_first_ = false;
    return *this;
  }
  [[nodiscard]] const std::string& target() const { return target_; }

 private:
  std::string target_;
  bool is_first_ = true;
};

/// A moment as people type it, a day being its beginning in UTC, as the API wants it; "" stays.
Result<std::string> read_moment(std::string_view option, const std::string& text) {
  if (text.empty()) return text;
  if (const auto date = parse_date(text)) return format_timestamp(*date);
  if (const auto time = parse_timestamp(text)) return format_timestamp(*time);
  return fail(ErrorCode::invalid_argument,
              "{} is '{}'; allowed: a time like 2026-03-01T09:30:00Z, or a date like 2026-03-01 (its beginning in UTC)",
              option, text);
}

// Showing.

std::string joined(json::Value list) {
  std::string text;
  for (const json::Value element : list.elements()) {
    if (!text.empty()) text += " | ";
    text += element.string().value_or(std::string(element.raw()));
  }
  return text;
}

std::string progress_of(json::Value run) {
  const auto progress = run.find("progress");
  if (!progress) return "";
  const auto total = text_at(*progress, "total");
  return total.empty() ? text_at(*progress, "done") : fmt::format("{} of {}", text_at(*progress, "done"), total);
}

std::string state_of(json::Value schedule) {
  if (text_at(schedule, "paused") != "true") return "active";
  const auto note = text_at(schedule, "pauseNote");
  return note.empty() ? "paused" : fmt::format("paused: {}", note);
}

void print_line(std::string_view label, std::string_view text) {
  if (!text.empty()) print(fmt::format("{:<14}{}\n", label, printable(text)));
}

void print_rest(json::Value page) {
  if (const auto next = text_at(page, "cursor"); !next.empty()) {
    fmt::print(stderr, "there are more: --cursor {}\n", next);
  }
}

enum class Fires { of_a_schedule, of_all, planned };  // what is only planned has no run yet

void print_fires(json::Value fires, Fires kind) {
  std::vector<std::pair<std::string, std::string>> columns{{"FIRST", "first"}, {"LAST", "last"},
                                                           {"COUNT", "count"}, {"OUTCOME", "outcome"},
                                                           {"CAUSE", "cause"}, {"RULE", "rule"}};
  if (kind == Fires::of_all) columns.insert(columns.begin(), {"SCHEDULE", "schedule"});
  if (kind != Fires::planned) columns.emplace_back("RUN", "runId");
  const auto row_of = [&](const auto& cell) {
    std::vector<std::string> row;
    std::ranges::transform(columns, std::back_inserter(row), cell);
    return row;
  };
  Table table(row_of([](const auto& column) { return column.first; }));
  for (const json::Value fire : fires.elements()) {
    table.add(row_of([&](const auto& column) { return text_at(fire, column.second); }));
  }
  print(table.to_text(output_width()));
}

void print_schedule(json::Value schedule) {
  print_line("schedule", text_at(schedule, "name"));
  print_line("job", text_at(schedule, "job"));
  if (const auto cron = schedule.find("cron")) print_line("cron", joined(*cron));
  print_line("time zone", text_at(schedule, "timeZone"));
  print_line("overlap", text_at(schedule, "overlap"));
  if (const auto definition = schedule.find("definition")) {
    print_line("catch-up", text_at(*definition, "catchUpWindow"));
    print_line("jitter", text_at(*definition, "jitter"));
    print_line("on failure", text_at(*definition, "pauseOnFailure") == "true" ? "pauses" : "goes on");
    print_line("metadata", text_at(*definition, "metadata"));
  }
  print_line("state", state_of(schedule));
  const auto next = text_at(schedule, "nextFireAt");
  print_line("next fire", next.empty() ? "none" : next);
  print_line("origin", text_at(schedule, "origin"));
  print_line("changed", text_at(schedule, "updatedAt"));
  print_line("waiting", text_at(schedule, "waiting"));
  if (const auto runs = schedule.find("openRuns"); runs && runs->size() > 0) print_line("open runs", joined(*runs));
  if (const auto fires = schedule.find("lastFires"); fires && fires->size() > 0) {
    print("\n");
    print_fires(*fires, Fires::of_a_schedule);
  }
}

void print_run(json::Value run) {
  print_line("run", text_at(run, "runId"));
  print_line("job", text_at(run, "job"));
  print_line("status", text_at(run, "status"));
  print_line("triggered by", text_at(run, "triggeredBy"));
  print_line("schedule", text_at(run, "schedule"));
  print_line("fire", text_at(run, "scheduledFor"));
  print_line("metadata", text_at(run, "metadata"));
  const auto takeovers = text_at(run, "takeovers");
  print_line("attempt",
             text_at(run, "attempt") + (takeovers == "0" ? "" : fmt::format(", taken over {} times", takeovers)));
  print_line("worker", text_at(run, "holder"));
  print_line("progress", progress_of(run));
  if (const auto progress = run.find("progress")) print_line("", text_at(*progress, "note"));
  if (const auto counts = run.find("counts"); counts && counts->size() > 0) print_line("counts", counts->raw());
  for (const auto& [key, label] : {std::pair{"createdAt", "created"},
                                   {"startedAt", "started"},
                                   {"endedAt", "ended"},
                                   {"dueAt", "next look"},
                                   {"deadline", "deadline"},
                                   {"error", "error"},
                                   {"note", "note"}}) {
    print_line(label, text_at(run, key));
  }
}

/// The answer as it is for programs, else as `show` prints it.
int tell(const Command& command, const json::Document& answer, void (*show)(json::Value)) {
  if (command.json()) {
    print(answer.text() + "\n");
  } else {
    show(answer.root());
  }
  return kExitDone;
}

// Jobs and runs.

struct Page {
  int limit = 50;
  std::string cursor;
};

Query& add_page(Query& query, const Page& page) {
  return query.add("limit", std::to_string(page.limit)).add("cursor", page.cursor);
}

void print_jobs(json::Value answer) {
  if (const auto jobs = answer.find("jobs")) {
    Table table({"JOB", "KIND", "START TIMEOUT", "TIMEOUT", "ATTEMPTS"});
    for (const json::Value job : jobs->elements()) {
      table.add({text_at(job, "job"), text_at(job, "kind"), text_at(job, "startTimeout"), text_at(job, "timeout"),
                 text_at(job, "attemptsMax")});
    }
    print(table.to_text(output_width()) + "\n");
  }
  Table table({"SCHEDULE", "JOB", "CRON", "TIME ZONE", "OVERLAP", "NEXT FIRE", "ORIGIN", "STATE"});
  if (const auto schedules = answer.find("schedules")) {
    for (const json::Value schedule : schedules->elements()) {
      const auto cron = schedule.find("cron");
      table.add({text_at(schedule, "name"), text_at(schedule, "job"), cron ? joined(*cron) : "",
                 text_at(schedule, "timeZone"), text_at(schedule, "overlap"), text_at(schedule, "nextFireAt"),
                 text_at(schedule, "origin"), state_of(schedule)});
    }
  }
  print(table.to_text(output_width()));
  print_rest(answer);
}

Result<int> list(Command& command, const Page& page) {
  Query query{std::string(kJobs)};
  TRY_ASSIGN(const json::Document answer, command.ask(api::Method::get, add_page(query, page).target()));
  return tell(command, answer, print_jobs);
}

struct RunsArguments {
  std::string job;
  std::string schedule;
  std::string status;
  Page page;
};

void print_runs(json::Value answer) {
  Table table({"RUN", "JOB", "STATUS", "BY", "FIRE", "CREATED", "ENDED", "PROGRESS", "ERROR"});
  if (const auto runs = answer.find("runs")) {
    for (const json::Value run : runs->elements()) {
      const auto schedule = text_at(run, "schedule");
      table.add({text_at(run, "runId"), text_at(run, "job"), text_at(run, "status"),
                 schedule.empty() ? text_at(run, "triggeredBy") : schedule, text_at(run, "scheduledFor"),
                 text_at(run, "createdAt"), text_at(run, "endedAt"), progress_of(run), text_at(run, "error")});
    }
  }
  print(table.to_text(output_width()));
  print_rest(answer);
}

Result<int> runs(Command& command, const RunsArguments& arguments) {
  Query query{fmt::format("{}/runs", kJobs)};
  query.add("job", arguments.job).add("schedule", arguments.schedule).add("status", arguments.status);
  TRY_ASSIGN(const json::Document answer, command.ask(api::Method::get, add_page(query, arguments.page).target()));
  return tell(command, answer, print_runs);
}

struct TriggerArguments {
  std::string job;
  std::string metadata;
  bool wait = false;
  std::string wait_max = "24h";
};

/// JSON, or the content of a file: `@FILE`.
Result<std::string> read_metadata(const std::string& text) {
  std::string metadata = text;
  if (text.starts_with('@')) {
    TRY_ASSIGN(metadata, read_file(text.substr(1)));
  }
  const auto document = json::Document::parse(metadata);
  if (!document) return fail(ErrorCode::invalid_argument, "--metadata is no JSON: {}", document.error().message);
  if (!document->root().is_object()) {
    return fail(ErrorCode::invalid_argument, "--metadata is of kind {}; allowed: an object, or @FILE with one",
                json::name(document->root().kind()));
  }
  return metadata;
}

bool is_open(json::Value run) {
  const auto status = text_at(run, "status");
  return status == "pending" || status == "queued" || status == "running";
}

std::uint64_t number_at(json::Value object, std::string_view key) {
  const auto value = object.find(key);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, value ? value->integer().value_or(0) : 0));
}

/// Until the run has ended; it goes on when `limit` comes first.
Result<json::Document> wait_for_end(Command& command, const std::string& job, const std::string& id,
                                    milliseconds limit) {
  Progress bar(job, command.quiet());
  const auto until = std::chrono::steady_clock::now() + limit;
  for (milliseconds pause = kPollFirst;; pause = std::min(pause * 5 / 4, kPollMax)) {
    TRY_ASSIGN(json::Document run, command.ask(api::Method::get, run_target(id)));
    if (!is_open(run.root())) return run;
    if (std::chrono::steady_clock::now() >= until) {
      TRY_ASSIGN(const Gateway* const gateway, command.gateway());
      return fail(ErrorCode::unavailable, "run {} of {} is {} and has not ended within {}; {}see `wfo jobs run {}`", id,
                  job, text_at(run.root(), "status"), format_duration(limit),
                  gateway->does_the_work() ? "it waits for whoever serves this installation next; " : "", id);
    }
    if (const auto progress = run.root().find("progress")) {
      bar.show(number_at(*progress, "done"), number_at(*progress, "total"));
    }
    usleep(static_cast<useconds_t>(pause.count() * 1'000));
  }
}

Result<int> trigger(Command& command, const TriggerArguments& arguments) {
  const auto limit = parse_duration(arguments.wait_max);
  if (!limit) {
    return fail(ErrorCode::invalid_argument, "--wait-max is '{}'; allowed: a duration like 30s or 5m",
                arguments.wait_max);
  }
  command.gateway_options.works_batch_jobs = arguments.wait;  // else its end would be waited for in vain
  std::string body = "{}";
  if (!arguments.metadata.empty()) {
    TRY_ASSIGN(const std::string metadata, read_metadata(arguments.metadata));
    body.clear();
    json::Writer(body).begin_object().key("metadata").raw(metadata).end_object();
  }
  TRY_ASSIGN(
      const json::Document answer,
      command.ask(api::Method::post, fmt::format("{}/{}/trigger", kJobs, api::percent_encode(arguments.job)), body));
  const auto id = text_at(answer.root(), "runId");
  if (!arguments.wait) {
    return tell(command, answer, [](json::Value triggered) {
      print(fmt::format("triggered: run {} of {}\n", text_at(triggered, "runId"), text_at(triggered, "job")));
    });
  }
  TRY_ASSIGN(const json::Document run, wait_for_end(command, arguments.job, id, *limit));
  tell(command, run, print_run);
  return text_at(run.root(), "status") == "completed" ? kExitDone : kExitFailed;
}

Result<int> show_run(Command& command, const std::string& id) {
  TRY_ASSIGN(const json::Document run, command.ask(api::Method::get, run_target(id)));
  return tell(command, run, print_run);
}

Result<int> cancel(Command& command, const std::string& id, const std::string& reason) {
  std::string body;
  json::Writer(body).begin_object().key("reason").string(reason).end_object();
  TRY_ASSIGN(const json::Document run, command.ask(api::Method::post, run_target(id, "/cancel"), body));
  return tell(command, run, print_run);
}

// Schedules.

Result<int> show(Command& command, const std::string& name) {
  TRY_ASSIGN(const json::Document schedule, command.ask(api::Method::get, schedule_target(name)));
  return tell(command, schedule, print_schedule);
}

Result<int> fires(Command& command, const std::string& name, const Page& page) {
  Query query{name.empty() ? fmt::format("{}/fires", kJobs) : schedule_target(name, "/fires")};
  TRY_ASSIGN(const json::Document answer, command.ask(api::Method::get, add_page(query, page).target()));
  if (command.json()) {
    print(answer.text() + "\n");
    return kExitDone;
  }
  if (const auto rows = answer.root().find("fires")) {
    print_fires(*rows, name.empty() ? Fires::of_all : Fires::of_a_schedule);
  }
  print_rest(answer.root());
  return kExitDone;
}

Result<int> pause(Command& command, const std::string& name, const std::string& note) {
  std::string body;
  json::Writer(body).begin_object().key("note").string(note).end_object();
  TRY_ASSIGN(const json::Document schedule, command.ask(api::Method::post, schedule_target(name, "/pause"), body));
  return tell(command, schedule, print_schedule);
}

Result<int> resume(Command& command, const std::string& name) {
  TRY_ASSIGN(const json::Document schedule, command.ask(api::Method::post, schedule_target(name, "/resume"), "{}"));
  return tell(command, schedule, print_schedule);
}

/// A schedule of a file: JSON as it is, YAML as JSON.
struct ScheduleFile {
  json::Document schedule;
  std::string name;
  std::map<std::string, std::string> variables;  // JsonOfYaml::variables
};

Result<ScheduleFile> read_schedule(const std::string& file) {
  TRY_ASSIGN(std::string text, read_file(file));
  std::map<std::string, std::string> variables;
  auto document = json::Document::parse(text);
  if (!document) {
    if (file.ends_with(".json")) return std::unexpected(with_context(std::move(document).error(), file));
    TRY_ASSIGN(auto converted, yaml_to_json(text, file, process_environment()));
    document = json::Document::parse(std::move(converted.json));
    variables = std::move(converted.variables);
  }
  if (!document) return std::unexpected(with_context(std::move(document).error(), file));
  const auto member = document->root().find("name");
  const auto name = member ? member->string() : std::nullopt;
  if (!name || !schedule::is_job_name(*name)) {
    Error error{ErrorCode::invalid_argument,
                fmt::format("{}: name: {}; allowed: {}", file, member ? member->raw().substr(0, 200) : "missing",
                            schedule::kJobNameAllowed)};
    return std::unexpected(with_variables(std::move(error), file, variables));
  }
  return ScheduleFile{*std::move(document), *name, std::move(variables)};
}

/// The API knows no file; whoever wrote it does.
Error in_file(Error error, const std::string& file) {
  if (error.code != ErrorCode::invalid_argument) return error;
  constexpr std::string_view kBody = "the body: ";
  for (std::size_t line = 0; line != std::string::npos;) {
    if (error.message.compare(line, kBody.size(), kBody) == 0) error.message.replace(line, kBody.size(), file + ": ");
    line = error.message.find('\n', line);
    if (line != std::string::npos) ++line;
  }
  return error.message.starts_with(file) ? error : with_context(std::move(error), file);
}

Result<int> put(Command& command, const std::string& file) {
  TRY_ASSIGN(const ScheduleFile read, read_schedule(file));
  TRY(command.gateway());  // what is wrong with the configuration is not so with this file
  const auto answer = command.ask(api::Method::put, schedule_target(read.name), read.schedule.text());
  if (!answer) return std::unexpected(with_variables(in_file(answer.error(), file), file, read.variables));
  return tell(command, *answer, print_schedule);
}

Result<int> remove(Command& command, const std::string& name) {
  TRY_ASSIGN(Gateway* const gateway, command.gateway());
  TRY_ASSIGN(const api::Headers headers, command.tenant_headers());
  TRY(gateway->body(api::Method::delete_, schedule_target(name), "", headers));
  if (command.json()) {
    std::string text;
    json::Writer(text).begin_object().key("deleted").string(name).end_object();
    print(text + "\n");
  } else {
    print(fmt::format("deleted: schedule {}\n", printable(name)));
  }
  return kExitDone;
}

struct PreviewArguments {
  std::string name;
  std::vector<std::string> cron;
  std::string zone;
  int count = 10;
  std::string after;
};

void print_preview(json::Value answer) {
  const auto zone = text_at(answer, "timeZone");
  Table table({"UTC", zone.empty() ? "LOCAL" : zone, "RULE", "NOTE"});
  if (const auto rows = answer.find("rows")) {
    for (const json::Value row : rows->elements()) {
      table.add({text_at(row, "at"), text_at(row, "local"), text_at(row, "rule"), text_at(row, "note")});
    }
  }
  print(table.to_text(output_width()));
}

Result<int> preview(Command& command, const PreviewArguments& arguments) {
  if (arguments.name.empty() == arguments.cron.empty()) {
    return fail(ErrorCode::invalid_argument, "preview wants a schedule's NAME, or expressions: --cron '0 1 * * *'; {}",
                arguments.name.empty() ? "neither was given" : "both were given");
  }
  if (!arguments.name.empty() && !arguments.zone.empty()) {
    return fail(ErrorCode::invalid_argument, "--zone is '{}'; it goes with --cron: a schedule has its own",
                arguments.zone);
  }
  TRY_ASSIGN(const std::string after, read_moment("--after", arguments.after));
  Query query{arguments.name.empty() ? fmt::format("{}/preview", kJobs) : schedule_target(arguments.name, "/preview")};
  for (const auto& expression : arguments.cron) query.add("cron", expression);
  query.add("timeZone", arguments.zone).add("count", std::to_string(arguments.count)).add("after", after);
  TRY_ASSIGN(const json::Document answer, command.ask(api::Method::get, query.target()));
  return tell(command, answer, print_preview);
}

struct BackfillArguments {
  std::string name;
  std::string from;
  std::string to;
  std::string overlap;
};

Result<int> backfill(Command& command, const BackfillArguments& arguments) {
  TRY_ASSIGN(const std::string from, read_moment("--from", arguments.from));
  TRY_ASSIGN(const std::string to, read_moment("--to", arguments.to));
  std::string body;
  json::Writer out(body);
  out.begin_object().key("from").string(from).key("to").string(to);
  if (!arguments.overlap.empty()) out.key("overlap").string(arguments.overlap);
  out.end_object();
  TRY_ASSIGN(const json::Document answer,
             command.ask(api::Method::post, schedule_target(arguments.name, "/backfill"), body));
  return tell(command, answer, [](json::Value filled) {
    if (const auto rows = filled.find("fires")) print_fires(*rows, Fires::planned);
  });
}

// Declaring.

void add_page_options(CLI::App& verb, Page& page) {
  verb.add_option("--limit", page.limit, "1..1000")->capture_default_str()->type_name("N");
  verb.add_option("--cursor", page.cursor, "Where the page before ended")->type_name("CURSOR");
}

/// Runs `act` with the command and `arguments` when that verb is typed.
template <class Arguments>
void on(CLI::App* verb, Command& command, std::shared_ptr<Arguments> arguments,
        Result<int> (*act)(Command&, const Arguments&)) {
  verb->callback(
      [&command, arguments, act] { command.action = [&command, arguments, act] { return act(command, *arguments); }; });
}

void add_run_verbs(CLI::App& jobs, Command& command) {
  CLI::App* const list_verb = jobs.add_subcommand("list", "Jobs, and the schedules that trigger them");
  auto page = std::make_shared<Page>();
  add_page_options(*list_verb, *page);
  on<Page>(list_verb, command, page, list);

  CLI::App* const trigger_verb = jobs.add_subcommand("trigger",
                                                     "Trigger a job now; where nobody serves the installation, a "
                                                     "built-in one is done here if --wait is given, else by "
                                                     "whoever serves it next");
  auto triggering = std::make_shared<TriggerArguments>();
  trigger_verb->add_option("JOB", triggering->job, "Its name")->required();
  trigger_verb
      ->add_option("--metadata", triggering->metadata, "What it is to know: {\"from\":\"2026-02-01\"}, or @FILE")
      ->type_name("JSON");
  trigger_verb->add_flag("--wait", triggering->wait, "Until it has ended; exit code 1 if not well");
  trigger_verb->add_option("--wait-max", triggering->wait_max, "How long --wait waits; the run goes on")
      ->capture_default_str()
      ->type_name("TIME");
  on<TriggerArguments>(trigger_verb, command, triggering, trigger);

  CLI::App* const runs_verb = jobs.add_subcommand("runs", "Runs of jobs, the newest first");
  auto listing = std::make_shared<RunsArguments>();
  runs_verb->add_option("--job", listing->job, "Only of this job")->type_name("JOB");
  runs_verb->add_option("--schedule", listing->schedule, "Only what this schedule triggered")->type_name("NAME");
  runs_verb->add_option("--status", listing->status, "pending, queued, running, completed, failed or cancelled")
      ->type_name("STATUS");
  add_page_options(*runs_verb, listing->page);
  on<RunsArguments>(runs_verb, command, listing, runs);

  CLI::App* const run_verb = jobs.add_subcommand("run", "One run, with its progress");
  auto id = std::make_shared<std::string>();
  run_verb->add_option("RUN", *id, "Its id")->required();
  on<std::string>(run_verb, command, id, show_run);

  CLI::App* const cancel_verb = jobs.add_subcommand("cancel", "End an open run now");
  auto reason = std::make_shared<std::string>();
  cancel_verb->add_option("RUN", *id, "Its id")->required();
  cancel_verb->add_option("--reason", *reason, "Why; it stands in the event")->required()->type_name("TEXT");
  cancel_verb->callback(
      [&command, id, reason] { command.action = [&command, id, reason] { return cancel(command, *id, *reason); }; });
}

void add_schedule_verbs(CLI::App& jobs, Command& command) {
  auto name = std::make_shared<std::string>();
  CLI::App* const show_verb = jobs.add_subcommand("show", "A schedule, what waits for it, and its last fires");
  show_verb->add_option("NAME", *name, "The schedule's")->required();
  on<std::string>(show_verb, command, name, show);

  CLI::App* const fires_verb =
      jobs.add_subcommand("fires", "What became of every expected fire, the newest first; of one schedule, or of all");
  auto page = std::make_shared<Page>();
  fires_verb->add_option("NAME", *name, "The schedule's");
  add_page_options(*fires_verb, *page);
  fires_verb->callback(
      [&command, name, page] { command.action = [&command, name, page] { return fires(command, *name, *page); }; });

  CLI::App* const preview_verb = jobs.add_subcommand(
      "preview", "When a schedule, or an expression, will fire, and what daylight saving does to it");
  auto previewing = std::make_shared<PreviewArguments>();
  preview_verb->add_option("NAME", previewing->name, "The schedule's");
  preview_verb->add_option("--cron", previewing->cron, "An expression instead; may come several times")
      ->type_name("EXPRESSION")
      ->allow_extra_args(false);
  preview_verb->add_option("--zone", previewing->zone, "Time zone of --cron; default: UTC")->type_name("ZONE");
  preview_verb->add_option("--count", previewing->count, "1..1000")->capture_default_str()->type_name("N");
  preview_verb->add_option("--after", previewing->after, "From when on; default: now")->type_name("TIME");
  on<PreviewArguments>(preview_verb, command, previewing, preview);

  CLI::App* const put_verb = jobs.add_subcommand("put", "Make a schedule, or change it");
  auto file = std::make_shared<std::string>();
  put_verb->add_option("FILE", *file, "The schedule, YAML or JSON: name, job, cron, timeZone, overlap, …")->required();
  on<std::string>(put_verb, command, file, put);

  CLI::App* const delete_verb = jobs.add_subcommand("delete", "Remove a schedule; its fires and runs stay");
  delete_verb->add_option("NAME", *name, "The schedule's")->required();
  on<std::string>(delete_verb, command, name, remove);

  CLI::App* const pause_verb = jobs.add_subcommand("pause", "Skip a schedule's fires until somebody resumes it");
  auto note = std::make_shared<std::string>();
  pause_verb->add_option("NAME", *name, "The schedule's")->required();
  pause_verb->add_option("--note", *note, "Who says so, and why")->required()->type_name("TEXT");
  pause_verb->callback(
      [&command, name, note] { command.action = [&command, name, note] { return pause(command, *name, *note); }; });

  CLI::App* const resume_verb = jobs.add_subcommand("resume", "Trigger a paused schedule's fires again from now on");
  resume_verb->add_option("NAME", *name, "The schedule's")->required();
  on<std::string>(resume_verb, command, name, resume);

  CLI::App* const backfill_verb = jobs.add_subcommand(
      "backfill", "Trigger a schedule's fires of a time that is past, whatever became of them then");
  auto filling = std::make_shared<BackfillArguments>();
  backfill_verb->add_option("NAME", filling->name, "The schedule's")->required();
  backfill_verb->add_option("--from", filling->from, "The first moment, or day")->required()->type_name("TIME");
  backfill_verb->add_option("--to", filling->to, "Before this moment, or day")->required()->type_name("TIME");
  backfill_verb
      ->add_option("--overlap", filling->overlap,
                   "skip, buffer_one, buffer_all (default: one after the other), cancel_other or allow_all")
      ->type_name("POLICY");
  on<BackfillArguments>(backfill_verb, command, filling, backfill);
}

}  // namespace

void add_jobs(CLI::App& app, Command& command) {
  CLI::App* const jobs = app.add_subcommand("jobs", "Batch jobs, their schedules and runs");
  jobs->require_subcommand(1);
  add_run_verbs(*jobs, command);
  add_schedule_verbs(*jobs, command);
  for (CLI::App* const verb : jobs->get_subcommands({})) {
    for (CLI::Option* const option : verb->get_options()) {
      if (option->get_items_expected_max() > 0) option->check(not_empty());
    }
  }
  jobs->callback([&command] { command.gateway_options.needs_jobs = true; });
}

}  // namespace wfo::app
