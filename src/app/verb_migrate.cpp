#include "analysis/step_worker.h"
#include "app/backends.h"
#include "app/command.h"
#include "app/runtime.h"
#include "app/secrets.h"
#include "app/terminal.h"
#include "ledger/ledger_sink.h"
#include "store/postgres/import.h"
#include "store/sqlite/export.h"

namespace wfo::app {
namespace {

using store::TransferCell;
using store::TransferTable;

constexpr std::size_t kDigestShown = 16;  // of its digits, in a table for people

/// The versions of workflow definitions that the source has used.
Result<std::vector<store::StoredDefinition>> stored_definitions(store::TransferSource& source) {
  std::vector<std::pair<std::int64_t, store::StoredDefinition>> rows;
  TRY(source.read(TransferTable::definitions, [&](const store::TransferRow& row) -> Result<void> {
    const auto text = [&](std::size_t column) { return std::get<std::string>(row[column]); };
    rows.emplace_back(std::get<std::int64_t>(row[0]),
                      store::StoredDefinition{.name = text(1), .version = text(2), .text = text(3)});
    return {};
  }));
  std::ranges::sort(rows, {}, [](const auto& row) { return row.first; });
  std::vector<store::StoredDefinition> definitions;
  for (auto& [number, definition] : rows) definitions.push_back(std::move(definition));
  return definitions;
}

/// Who took what from the source's log.
Result<std::vector<store::postgres::ImportQueue>> import_queues(const Config& config, store::TransferSource& source,
                                                                const events::Contracts& contracts) {
  TRY_ASSIGN(auto current, read_definitions(config, contracts));
  TRY_ASSIGN(const auto stored, stored_definitions(source));
  TRY_ASSIGN(const auto definitions, orchestrator::Definitions::of(std::move(current), stored));
  std::vector<store::postgres::ImportQueue> queues;
  queues.push_back(
      {.queue = std::string(orchestrator::Orchestrator::kQueue), .bindings = definitions.consumed_types()});
  for (const auto& role : analysis::step_roles()) {
    auto options = role.consumer_options();
    queues.push_back({.queue = std::move(options.queue), .bindings = std::move(options.bindings)});
  }
  queues.push_back({.queue = std::string(ledger::kQueue), .bindings = config.ledger_bindings, .has_inbox = false});
  return queues;
}

std::string to_json(const Config& config, const store::postgres::ImportReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object().key("from").string(config.data_dir.string()).key("to").string(report.target);
  out.key("alreadyMoved").boolean(report.was_there);
  out.key("awaitingPublication").number(report.awaiting_publication);
  out.key("notedInInbox").number(report.noted_in_inbox);
  out.key("tables").begin_array();
  for (const auto& table : report.tables) {
    out.begin_object().key("name").string(table.name).key("rows").number(table.rows);
    out.key("digest").string(table.digest).end_object();
  }
  out.end_array().end_object();
  return text;
}

std::string to_text(const Config& config, const store::postgres::ImportReport& report) {
  Table table({"TABLE", "ROWS", "DIGEST"});
  for (const auto& one : report.tables) {
    table.add({one.name, fmt::format("{}", one.rows), one.digest.substr(0, kDigestShown)});
  }
  std::string text = table.to_text(output_width());
  text += fmt::format("\n{} {} to {}\n", config.data_dir.string(),
                      report.was_there ? "was moved before, whole," : "is moved", report.target);
  if (report.awaiting_publication > 0) {
    text += fmt::format("{} events go to the broker when it is served\n", report.awaiting_publication);
  }
  return text;
}

Result<int> migrate(Command& command) {
  TRY_ASSIGN(const Config* const config, command.config());
  if (store_kind(*config) == StoreKind::sqlite) {
    return fail(ErrorCode::invalid_argument, "--to is '{}'; allowed: postgresql://… or a connection string",
                redacted(config->store_url));
  }
  if (!store::sqlite::SqliteExport::exists(config->data_dir)) {
    return fail(ErrorCode::not_found, "there is no installation in '{}'", config->data_dir.string());
  }
  TRY_ASSIGN(const auto contracts, events::Contracts::load(config->event_bytes_max));
  TRY_ASSIGN(const auto directory, store::sqlite::DataDirectory::open(config->data_dir));
  TRY_ASSIGN(const auto source, store::sqlite::SqliteExport::open(directory));
  store::postgres::ImportConfig import{
      .store = postgres_store_config(*config), .ledger = postgres_ledger_config(*config), .queues = {}};
  TRY(store::postgres::check(import.store));
  TRY(store::postgres::check(import.ledger));
  TRY_ASSIGN(import.queues, import_queues(*config, *source, *contracts));

  SystemClock clock;
  std::optional<Progress> progress;
  std::string shown;
  const auto show = [&](std::string_view step, std::string_view table, std::int64_t done, std::int64_t total) {
    std::string label = fmt::format("{} {}", step, table);
    if (label != shown) {
      shown = std::move(label);
      progress.reset();
      progress.emplace(shown, command.quiet());
    }
    progress->show(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
  };
  auto report = store::postgres::import_installation(*source, import, *contracts, clock, command.logger(), show, {});
  progress.reset();
  if (!report) return std::unexpected(server_error(std::move(report).error(), *config));
  print(command.json() ? to_json(*config, *report) + "\n" : to_text(*config, *report));
  return kExitDone;
}

}  // namespace

void add_migrate(CLI::App& app, Command& command) {
  CLI::App* const verb = app.add_subcommand(
      "migrate",
      "Move an installation from its data directory to PostgreSQL: stop it first, then serve the new one. Safe to "
      "repeat, whatever interrupted it");
  const auto set = [&command](std::string path) {
    return [&command, path = std::move(path)](const std::string& value) { command.assign(path, value); };
  };
  verb->add_option_function<std::string>("--from", set("data_dir"), "The data directory; default: --data-dir")
      ->type_name("DIR");
  verb->add_option_function<std::string>("--to", set("store.url"),
                                         "Where to: postgresql://…; default: --store or $WFO_STORE_URL")
      ->type_name("URL");
  verb->add_option_function<std::string>("--ledger-to", set("ledger.url"),
                                         "Another database or role for the ledger; default: ledger.url, else as --to")
      ->type_name("URL");
  verb->callback([&command] { command.action = [&command] { return migrate(command); }; });
}

}  // namespace wfo::app
