#include <unistd.h>

#include "app/command.h"
#include "app/files.h"
#include "app/terminal.h"

namespace wfo::app {
namespace {

constexpr std::string_view kDeadLetters = "/api/v1/dead-letters";

std::string target_of(const std::string& id, std::string_view act = "") {
  return fmt::format("{}/{}{}", kDeadLetters, api::percent_encode(id), act);
}

void print_letter(json::Value letter) {
  for (const auto& [key, label] : {std::pair{"id", "dead letter"},
                                   {"status", "status"},
                                   {"queue", "queue"},
                                   {"type", "type"},
                                   {"createdAt", "since"},
                                   {"attempts", "attempts"},
                                   {"reason", "reason"},
                                   {"replayedAs", "replayed as"},
                                   {"note", "note"}}) {
    if (const auto text = text_at(letter, key); !text.empty())
      print(fmt::format("{:<13} {}\n", label, printable(text)));
  }
  if (const auto body = text_at(letter, "body"); !body.empty()) print(fmt::format("\n{}\n", printable(body)));
}

Result<int> list(Command& command, const std::string& status, int limit, const std::string& cursor) {
  std::string target = fmt::format("{}?limit={}", kDeadLetters, limit);
  if (!status.empty()) target += "&status=" + api::percent_encode(status);
  if (!cursor.empty()) target += "&cursor=" + api::percent_encode(cursor);
  TRY_ASSIGN(const json::Document page, command.ask(api::Method::get, target));
  if (command.json()) {
    print(page.text() + "\n");
    return kExitDone;
  }
  Table table({"DEAD LETTER", "STATUS", "QUEUE", "TYPE", "SINCE", "ATTEMPTS", "REASON"});
  if (const auto letters = page.root().find("deadLetters")) {
    for (const json::Value letter : letters->elements()) {
      table.add({text_at(letter, "id"), text_at(letter, "status"), text_at(letter, "queue"), text_at(letter, "type"),
                 text_at(letter, "createdAt"), text_at(letter, "attempts"), text_at(letter, "reason")});
    }
  }
  print(table.to_text(output_width()));
  if (const auto next = text_at(page.root(), "cursor"); !next.empty()) {
    fmt::print(stderr, "there are more: --cursor {}\n", next);
  }
  return kExitDone;
}

Result<int> act(Command& command, api::Method method, const std::string& target, const std::string& body = {}) {
  TRY_ASSIGN(const json::Document letter, command.ask(method, target, body));
  if (command.json()) {
    print(letter.text() + "\n");
  } else {
    print_letter(letter.root());
  }
  return kExitDone;
}

Result<int> replay(Command& command, const std::string& id, const std::string& file) {
  std::string body = "{}";
  if (!file.empty()) {
    TRY_ASSIGN(const std::string mended, read_file(file));
    body.clear();
    json::Writer(body).begin_object().key("body").string(mended).end_object();
  }
  return act(command, api::Method::post, target_of(id, "/replay"), body);
}

Result<int> discard(Command& command, const std::string& id, const std::string& note) {
  std::string body;
  json::Writer(body).begin_object().key("note").string(note).end_object();
  return act(command, api::Method::post, target_of(id, "/discard"), body);
}

}  // namespace

void add_dead_letters(CLI::App& app, Command& command) {
  CLI::App* const letters =
      app.add_subcommand("dead-letters", "Messages that were set aside because they could not be handled");
  letters->require_subcommand(1);

  CLI::App* const list_verb = letters->add_subcommand("list", "The newest first");
  auto status = std::make_shared<std::string>();
  auto limit = std::make_shared<int>(50);
  auto cursor = std::make_shared<std::string>();
  list_verb->add_option("--status", *status, "waiting, replayed or discarded")->type_name("STATUS");
  list_verb->add_option("--limit", *limit, "1..1000")->capture_default_str()->type_name("N");
  list_verb->add_option("--cursor", *cursor, "Where the page before ended")->type_name("CURSOR");
  list_verb->callback([&command, status, limit, cursor] {
    command.action = [&command, status, limit, cursor] { return list(command, *status, *limit, *cursor); };
  });

  auto id = std::make_shared<std::string>();
  CLI::App* const show_verb = letters->add_subcommand("show", "One of them, with its bytes and the reason");
  show_verb->add_option("ID", *id, "Its id")->required();
  show_verb->callback(
      [&command, id] { command.action = [&command, id] { return act(command, api::Method::get, target_of(*id)); }; });

  CLI::App* const replay_verb =
      letters->add_subcommand("replay", "Publish it again, mended if need be, under a new id");
  auto file = std::make_shared<std::string>();
  replay_verb->add_option("ID", *id, "Its id")->required();
  replay_verb->add_option("--body", *file, "The mended event")->type_name("FILE");
  replay_verb->callback(
      [&command, id, file] { command.action = [&command, id, file] { return replay(command, *id, *file); }; });

  CLI::App* const discard_verb = letters->add_subcommand("discard", "Say that it will not be handled");
  auto note = std::make_shared<std::string>();
  discard_verb->add_option("ID", *id, "Its id")->required();
  discard_verb->add_option("--note", *note, "Who says so, and why")->required()->type_name("TEXT");
  discard_verb->callback(
      [&command, id, note] { command.action = [&command, id, note] { return discard(command, *id, *note); }; });
}

}  // namespace wfo::app
