#include <unistd.h>

#include "app/command.h"
#include "app/terminal.h"
#include "base/time.h"

namespace wfo::app {
namespace {

constexpr std::string_view kWorkflows = "/api/v1/workflows";
constexpr milliseconds kPollInterval{50};

void print_run(json::Value run) {
  print(fmt::format(
      "workflow      {}\nopportunity   {} {}\nstatus        {}, attempt {}\ncreated       {}\nupdated       {}\n",
      text_at(run, "workflowId"), text_at(run, "opportunityId"), printable(text_at(run, "externalId")),
      text_at(run, "status"), text_at(run, "attempt"), text_at(run, "createdAt"), text_at(run, "updatedAt")));
  if (const auto trigger = run.find("trigger")) {
    print(fmt::format("trigger       {} {}\n", text_at(*trigger, "type"), text_at(*trigger, "id")));
  }
  if (const auto error = text_at(run, "error"); !error.empty())
    print(fmt::format("error         {}\n", printable(error)));
  const auto steps = run.find("steps");
  if (!steps) return;
  Table table({"STEP", "STATE", "ATTEMPT", "RESULT"});
  for (const json::Value step : steps->elements()) {
    std::string result = text_at(step, "result");
    if (result.empty()) result = text_at(step, "error");
    table.add({text_at(step, "type"), text_at(step, "state"), text_at(step, "attempt"), result});
  }
  print("\n" + table.to_text(output_width()));
}

void show_answer(const Command& command, const json::Document& run) {
  if (command.json()) {
    print(run.text() + "\n");
  } else {
    print_run(run.root());
  }
}

Result<json::Document> fetch(Command& command, const std::string& id) {
  return command.ask(api::Method::get, fmt::format("{}/{}", kWorkflows, api::percent_encode(id)));
}

/// Until the run has ended; what started it stays as it is when `limit` comes first.
Result<json::Document> wait_for_end(Command& command, const std::string& id, milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  for (;;) {
    TRY_ASSIGN(json::Document run, fetch(command, id));
    if (text_at(run.root(), "status") != "running") return run;
    if (std::chrono::steady_clock::now() >= until) {
      return fail(ErrorCode::unavailable,
                  "workflow {} has not ended within {}; it goes on: see `wfo workflows show {}`", id,
                  format_duration(limit), id);
    }
    usleep(static_cast<useconds_t>(kPollInterval.count() * 1'000));
  }
}

int code_of(const json::Document& run) {
  return text_at(run.root(), "status") == "completed" ? kExitDone : kExitFailed;
}

struct StartArguments {
  std::string opportunity;
  std::string changes;
  std::string key;
  std::string wait = "10m";
  bool no_wait = false;
};

Result<int> start(Command& command, const StartArguments& arguments) {
  const auto limit = parse_duration(arguments.wait);
  if (!limit) {
    return fail(ErrorCode::invalid_argument, "--wait is '{}'; allowed: a duration like 30s or 5m", arguments.wait);
  }
  std::string body;
  json::Writer out(body);
  out.begin_object().key("opportunityId").string(arguments.opportunity);
  if (!arguments.changes.empty()) {
    const auto changes = json::Document::parse(arguments.changes);
    if (!changes) return fail(ErrorCode::invalid_argument, "--changes is no JSON: {}", changes.error().message);
    out.key("changes").raw(arguments.changes);
  }
  out.end_object();
  TRY_ASSIGN(Gateway* const gateway, command.gateway());
  TRY_ASSIGN(api::Headers headers, command.tenant_headers());
  if (!arguments.key.empty()) headers.add("Idempotency-Key", arguments.key);
  TRY_ASSIGN(const json::Document answer, gateway->document(api::Method::post, kWorkflows, body, headers));
  if (arguments.no_wait) {
    if (command.json()) {
      print(answer.text() + "\n");
    } else {
      print(fmt::format("{}: workflow {}\n", text_at(answer.root(), "outcome"), text_at(answer.root(), "workflowId")));
    }
    return kExitDone;
  }
  TRY_ASSIGN(const json::Document run, wait_for_end(command, text_at(answer.root(), "workflowId"), *limit));
  show_answer(command, run);
  return code_of(run);
}

struct ListArguments {
  std::string opportunity;
  std::string status;
  int limit = 50;
  std::string cursor;
};

Result<int> list(Command& command, const ListArguments& arguments) {
  std::string target = fmt::format("{}?limit={}", kWorkflows, arguments.limit);
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) target += fmt::format("&{}={}", name, api::percent_encode(value));
  };
  add("opportunityId", arguments.opportunity);
  add("status", arguments.status);
  add("cursor", arguments.cursor);
  TRY_ASSIGN(const json::Document page, command.ask(api::Method::get, target));
  if (command.json()) {
    print(page.text() + "\n");
    return kExitDone;
  }
  Table table({"WORKFLOW", "STATUS", "ATTEMPT", "CREATED", "OPPORTUNITY", "ERROR"});
  if (const auto runs = page.root().find("workflows")) {
    for (const json::Value run : runs->elements()) {
      const auto external = text_at(run, "externalId");
      table.add({text_at(run, "workflowId"), text_at(run, "status"), text_at(run, "attempt"), text_at(run, "createdAt"),
                 external.empty() ? text_at(run, "opportunityId") : external, text_at(run, "error")});
    }
  }
  print(table.to_text(output_width()));
  if (const auto next = text_at(page.root(), "cursor"); !next.empty() && next != "null") {
    fmt::print(stderr, "there are more: --cursor {}\n", next);
  }
  return kExitDone;
}

Result<int> show(Command& command, const std::string& id) {
  TRY_ASSIGN(const json::Document run, fetch(command, id));
  show_answer(command, run);
  return kExitDone;
}

Result<int> retry(Command& command, const std::string& id, bool no_wait) {
  TRY_ASSIGN(const json::Document answer,
             command.ask(api::Method::post, fmt::format("{}/{}/retry", kWorkflows, api::percent_encode(id)), "{}"));
  if (no_wait) {
    show_answer(command, answer);
    return kExitDone;
  }
  TRY_ASSIGN(const json::Document run, wait_for_end(command, id, milliseconds(std::chrono::minutes(10))));
  show_answer(command, run);
  return code_of(run);
}

Result<int> cancel(Command& command, const std::string& id, const std::string& reason) {
  std::string body;
  json::Writer(body).begin_object().key("reason").string(reason).end_object();
  TRY_ASSIGN(const json::Document answer,
             command.ask(api::Method::post, fmt::format("{}/{}/cancel", kWorkflows, api::percent_encode(id)), body));
  show_answer(command, answer);
  return kExitDone;
}

}  // namespace

void add_workflows(CLI::App& app, Command& command) {
  CLI::App* const workflows = app.add_subcommand("workflows", "Start, look at and steer the analysis of opportunities");
  workflows->require_subcommand(1);

  CLI::App* const start_verb =
      workflows->add_subcommand("start", "Analyse an opportunity that is known, and wait for the result");
  auto starting = std::make_shared<StartArguments>();
  start_verb->add_option("OPPORTUNITY", starting->opportunity, "Its id in the CRM, or its uuid")->required();
  start_verb->add_option("--changes", starting->changes, "What to change of it first: {\"amount\":1200}")
      ->type_name("JSON");
  start_verb->add_option("--idempotency-key", starting->key, "The same key again is the same workflow")
      ->type_name("KEY");
  start_verb->add_option("--wait", starting->wait, "How long to wait for the end")
      ->capture_default_str()
      ->type_name("TIME");
  start_verb->add_flag("--no-wait", starting->no_wait, "Return when it is started");
  start_verb->callback(
      [&command, starting] { command.action = [&command, starting] { return start(command, *starting); }; });

  CLI::App* const list_verb = workflows->add_subcommand("list", "The newest first");
  auto listing = std::make_shared<ListArguments>();
  list_verb->add_option("--opportunity", listing->opportunity, "Only of this one: its id in the CRM, or its uuid")
      ->type_name("ID");
  list_verb->add_option("--status", listing->status, "running, completed, failed or cancelled")->type_name("STATUS");
  list_verb->add_option("--limit", listing->limit, "1..1000")->capture_default_str()->type_name("N");
  list_verb->add_option("--cursor", listing->cursor, "Where the page before ended")->type_name("CURSOR");
  list_verb->callback(
      [&command, listing] { command.action = [&command, listing] { return list(command, *listing); }; });

  auto id = std::make_shared<std::string>();
  CLI::App* const show_verb = workflows->add_subcommand("show", "One workflow with its steps and results");
  show_verb->add_option("WORKFLOW", *id, "Its id")->required();
  show_verb->callback([&command, id] { command.action = [&command, id] { return show(command, *id); }; });

  CLI::App* const retry_verb =
      workflows->add_subcommand("retry", "Let a failed or cancelled workflow go on with what is not done");
  auto no_wait = std::make_shared<bool>(false);
  retry_verb->add_option("WORKFLOW", *id, "Its id")->required();
  retry_verb->add_flag("--no-wait", *no_wait, "Return when it is started");
  retry_verb->callback(
      [&command, id, no_wait] { command.action = [&command, id, no_wait] { return retry(command, *id, *no_wait); }; });

  CLI::App* const cancel_verb = workflows->add_subcommand("cancel", "End a running workflow");
  auto reason = std::make_shared<std::string>();
  cancel_verb->add_option("WORKFLOW", *id, "Its id")->required();
  cancel_verb->add_option("--reason", *reason, "Why; it stands in the event")->required()->type_name("TEXT");
  cancel_verb->callback(
      [&command, id, reason] { command.action = [&command, id, reason] { return cancel(command, *id, *reason); }; });
}

}  // namespace wfo::app
