#include <iostream>
#include <iterator>

#include "app/command.h"
#include "app/files.h"
#include "app/terminal.h"
#include "events/contracts.h"

namespace wfo::app {
namespace {

constexpr std::size_t kViolationsMax = 1'000;  // told at most, of all documents together; all are counted

struct Findings {
  std::size_t documents = 0;
  std::size_t invalid = 0;
  std::size_t told = 0;
  std::string json;  // the array's elements
};

void note(Findings& findings, bool as_json, std::size_t line, std::string_view type,
          const std::vector<events::Violation>& violations) {
  ++findings.documents;
  if (violations.empty()) return;
  ++findings.invalid;
  for (const auto& violation : violations) {
    if (findings.told++ >= kViolationsMax) return;
    if (!as_json) {
      print(fmt::format("line {}: {}: {}: {} ({})\n", line, type.empty() ? "?" : printable(type),
                        violation.pointer.empty() ? "/" : printable(violation.pointer), printable(violation.message),
                        violation.rule));
      continue;
    }
    if (!findings.json.empty()) findings.json += ',';
    json::Writer out(findings.json);
    out.begin_object().key("line").number(static_cast<std::int64_t>(line)).key("type").string(type);
    out.key("pointer").string(violation.pointer).key("rule").string(violation.rule);
    out.key("message").string(violation.message).end_object();
  }
}

void check_value(const events::Contracts& contracts, Findings& findings, bool as_json, std::size_t line,
                 json::Value value) {
  const auto type = value.find("type");
  note(findings, as_json, line, type ? type->string().value_or("") : "", contracts.validate(value));
}

void check_text(const events::Contracts& contracts, Findings& findings, bool as_json, std::size_t line,
                std::string text) {
  const auto document = json::Document::parse(std::move(text));
  if (!document) {
    note(findings, as_json, line, "", {{"", "json", document.error().message}});
    return;
  }
  const auto root = document->root();
  // A line of `wfo audit export` holds the event beside its place in the ledger.
  const auto exported = root.find("event");
  check_value(contracts, findings, as_json, line,
              exported && exported->is_object() && !root.find("type") ? *exported : root);
}

/// One document or an array of them, else a document per line.
Result<int> validate(Command& command, const std::string& file) {
  std::string text;
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    TRY_ASSIGN(text, read_file(file));
  }
  TRY_ASSIGN(const auto contracts, events::Contracts::load());
  Findings findings;
  const bool as_json = command.json();
  if (const auto whole = json::Document::parse(text)) {
    if (whole->root().is_array()) {
      std::size_t place = 0;
      for (const json::Value element : whole->root().elements()) {
        check_value(*contracts, findings, as_json, ++place, element);
      }
    } else {
      check_text(*contracts, findings, as_json, 1, text);
    }
  } else {
    std::size_t line = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const auto end = std::min(text.find('\n', begin), text.size());
      ++line;
      const std::string_view one(text.data() + begin, end - begin);
      if (one.find_first_not_of(" \t\r") != std::string_view::npos) {
        check_text(*contracts, findings, as_json, line, std::string(one));
      }
      begin = end + 1;
    }
  }
  if (findings.documents == 0) {
    return fail(ErrorCode::invalid_argument,
                "'{}' holds no event; allowed: an event, an array of events, or one a line", file);
  }
  if (as_json) {
    print(fmt::format("{{\"documents\":{},\"invalid\":{},\"violations\":[{}]}}\n", findings.documents, findings.invalid,
                      findings.json));
  } else {
    if (findings.told > kViolationsMax) {
      print(fmt::format("… and {} violations more\n", findings.told - kViolationsMax));
    }
    print(fmt::format("{} events, {} of them invalid\n", findings.documents, findings.invalid));
  }
  return findings.invalid == 0 ? kExitDone : kExitFailed;
}

Result<int> list_types(Command& command) {
  TRY_ASSIGN(const auto contracts, events::Contracts::load());
  std::string text;
  json::Writer out(text);
  out.begin_array();
  for (const auto& type : contracts->types()) {
    if (command.json()) {
      out.string(type);
    } else {
      print(type + "\n");
    }
  }
  out.end_array();
  if (command.json()) print(text + "\n");
  return kExitDone;
}

Result<int> show_schema(const std::string& type) {
  TRY_ASSIGN(const auto contracts, events::Contracts::load());
  const auto schema = contracts->schema_text(type);
  if (!schema) return fail(ErrorCode::not_found, "there is no contract for '{}'; see `wfo events types`", type);
  print(*schema);
  return kExitDone;
}

}  // namespace

void add_events(CLI::App& app, Command& command) {
  CLI::App* const events = app.add_subcommand("events", "Event contracts: check events against their schemas");
  events->require_subcommand(1);

  CLI::App* const check = events->add_subcommand(
      "validate", "Check a file: one event, an array of events, or one event a line (also `audit export`'s lines)");
  auto file = std::make_shared<std::string>();
  check->add_option("FILE", *file, "The file; - is standard input")->required();
  check->callback([&command, file] { command.action = [&command, file] { return validate(command, *file); }; });

  CLI::App* const types = events->add_subcommand("types", "All event types that have a contract");
  types->callback([&command] { command.action = [&command] { return list_types(command); }; });

  CLI::App* const schema = events->add_subcommand("schema", "The JSON Schema of an event type");
  auto type = std::make_shared<std::string>();
  schema->add_option("TYPE", *type, "The event type")->required();
  schema->callback([&command, type] { command.action = [type] { return show_schema(*type); }; });
}

}  // namespace wfo::app
