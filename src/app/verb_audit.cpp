#include <unistd.h>

#include "app/command.h"
#include "app/terminal.h"

namespace wfo::app {
namespace {

constexpr std::string_view kAudit = "/api/v1/audit";
constexpr int kExportPage = 1'000;

struct Filter {
  std::string type;
  std::string from;
  std::string to;
  std::string workflow;
  std::string opportunity;
  int limit = 100;
  std::string after;
};

std::string target_of(std::string_view resource, const Filter& filter, int limit, const std::string& after) {
  std::string target = fmt::format("{}/{}?limit={}", kAudit, resource, limit);
  for (const auto& [name, value] : {std::pair<std::string_view, const std::string&>{"type", filter.type},
                                    {"from", filter.from},
                                    {"to", filter.to},
                                    {"workflowId", filter.workflow},
                                    {"opportunityId", filter.opportunity},
                                    {"after", after}}) {
    if (!value.empty()) target += fmt::format("&{}={}", name, api::percent_encode(value));
  }
  return target;
}

void add_filter(CLI::App& verb, Filter& filter) {
  verb.add_option("--type", filter.type, "Only this event type")->type_name("TYPE");
  verb.add_option("--from", filter.from, "From this moment on: 2026-03-01T00:00:00Z")->type_name("TIME");
  verb.add_option("--to", filter.to, "Before this moment")->type_name("TIME");
  verb.add_option("--workflow", filter.workflow, "Only of this workflow")->type_name("ID");
  verb.add_option("--opportunity", filter.opportunity, "Only of this one: its id in the CRM, or its uuid")
      ->type_name("ID");
  verb.add_option("--after", filter.after, "Only entries behind this index")->type_name("INDEX");
}

void warn_if_behind(const api::Response& answer) {
  if (answer.headers.find("X-Ledger-Behind")) {
    print_error("the ledger has not yet taken all that happened; the newest entries may be missing");
  }
}

Result<int> search(Command& command, const Filter& filter) {
  TRY_ASSIGN(Gateway* const gateway, command.gateway());
  TRY_ASSIGN(const auto headers, command.tenant_headers());
  TRY_ASSIGN(const api::Response answer,
             gateway->ask(api::Method::get, target_of("events", filter, filter.limit, filter.after), "", headers));
  if (answer.status >= 400) return std::unexpected(api::error_of(answer));
  warn_if_behind(answer);
  TRY_ASSIGN(const json::Document page, json::Document::parse(answer.body));
  if (command.json()) {
    print(page.text() + "\n");
    return kExitDone;
  }
  Table table({"INDEX", "TIME", "TYPE", "WORKFLOW", "EVENT"});
  if (const auto entries = page.root().find("entries")) {
    for (const json::Value entry : entries->elements()) {
      const auto event = entry.find("event");
      const auto workflow = event ? event->find("data", "workflowId") : std::nullopt;
      table.add({text_at(entry, "index"), event ? text_at(*event, "timestamp") : "",
                 event ? text_at(*event, "type") : "", workflow ? workflow->string().value_or("") : "",
                 event ? text_at(*event, "id") : ""});
    }
  }
  print(table.to_text(output_width()));
  if (const auto next = text_at(page.root(), "after"); !next.empty()) {
    fmt::print(stderr, "there are more: --after {}\n", next);
  }
  return kExitDone;
}

/// Page by page, so that neither side holds more than one; nothing is left out silently.
Result<int> export_entries(Command& command, const Filter& filter) {
  TRY_ASSIGN(Gateway* const gateway, command.gateway());
  TRY_ASSIGN(const auto headers, command.tenant_headers());
  Progress progress("exporting", command.quiet() || is_terminal(STDOUT_FILENO));
  std::string after = filter.after;
  for (;;) {
    TRY_ASSIGN(const api::Response page,
               gateway->ask(api::Method::get, target_of("export", filter, kExportPage, after), "", headers));
    if (page.status >= 400) return std::unexpected(api::error_of(page));
    if (!print(page.body)) return fail(ErrorCode::unavailable, "standard output cannot be written");
    const auto next = page.headers.find("X-Next-After");
    if (!next) {
      warn_if_behind(page);
      return kExitDone;
    }
    after = *next;
    progress.show(static_cast<std::uint64_t>(std::strtoull(after.c_str(), nullptr, 10)), 0);
  }
}

Result<int> quarantine(Command& command, const std::string& after, int limit) {
  TRY_ASSIGN(const json::Document page, command.ask(api::Method::get, target_of("quarantine", {}, limit, after)));
  if (command.json()) {
    print(page.text() + "\n");
    return kExitDone;
  }
  Table table({"ID", "RECEIVED", "EVENT", "REASON"});
  if (const auto messages = page.root().find("messages")) {
    for (const json::Value message : messages->elements()) {
      table.add({text_at(message, "id"), text_at(message, "receivedAt"), text_at(message, "eventId"),
                 text_at(message, "reason")});
    }
  }
  print(table.to_text(output_width()));
  if (const auto next = text_at(page.root(), "after"); !next.empty()) {
    fmt::print(stderr, "there are more: --after {}\n", next);
  }
  return kExitDone;
}

}  // namespace

void add_audit(CLI::App& app, Command& command) {
  CLI::App* const audit = app.add_subcommand("audit", "The ledger: what happened, in order, without gaps");
  audit->require_subcommand(1);
  auto filter = std::make_shared<Filter>();

  CLI::App* const search_verb = audit->add_subcommand("search", "Find entries");
  add_filter(*search_verb, *filter);
  search_verb->add_option("--limit", filter->limit, "1..1000")->capture_default_str()->type_name("N");
  search_verb->callback(
      [&command, filter] { command.action = [&command, filter] { return search(command, *filter); }; });

  CLI::App* const export_verb =
      audit->add_subcommand("export", "All entries, one a line: {\"index\":…,\"receivedAt\":…,\"event\":…}");
  add_filter(*export_verb, *filter);
  export_verb->callback(
      [&command, filter] { command.action = [&command, filter] { return export_entries(command, *filter); }; });

  CLI::App* const quarantine_verb = audit->add_subcommand("quarantine", "What the ledger could not take, and why");
  auto after = std::make_shared<std::string>();
  quarantine_verb->add_option("--after", *after, "Only those behind this id")->type_name("ID");
  quarantine_verb->add_option("--limit", filter->limit, "1..1000")->capture_default_str()->type_name("N");
  quarantine_verb->callback([&command, after, filter] {
    command.action = [&command, after, filter] { return quarantine(command, *after, filter->limit); };
  });
}

}  // namespace wfo::app
