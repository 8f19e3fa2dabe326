#include <unistd.h>

#include <deque>
#include <fstream>

#include "analysis/import.h"
#include "analysis/steps.h"
#include "analysis/summary.h"
#include "app/command.h"
#include "app/files.h"
#include "app/terminal.h"
#include "store/opportunity_codec.h"

namespace wfo::app {
namespace {

constexpr std::size_t kRowsOfRequest = 500;                // the API takes 1,000
constexpr std::size_t kBytesOfRequest = 512 * 1024;        // and a body of 1 MiB
constexpr std::size_t kRunsOnTheWay = 4 * kRowsOfRequest;  // bounds what is in memory
constexpr milliseconds kPollInterval{20};
constexpr milliseconds kStallNote{5'000};  // without a run that ends, before it is said where the work is done

struct AnalyzeArguments {
  std::string file;
  std::string mapping;
  std::string as_of;
  bool again = false;
};

struct RunCounts {
  std::int64_t started = 0;
  std::int64_t known = 0;  // work that was asked for before
  std::int64_t refused = 0;
  std::int64_t forgotten = 0;  // ended so long ago that their results are gone
};

/// The name of a built-in mapping, or a file.
Result<std::optional<analysis::Mapping>> read_mapping(const std::string& name) {
  if (name.empty()) return std::nullopt;
  std::string names;
  for (const auto& mapping : analysis::built_in_mappings()) {
    if (mapping.name == name) return mapping;
    names += (names.empty() ? "" : ", ") + mapping.name;
  }
  const auto text = read_file(name);
  if (!text) {
    return fail(text.error().code, "--mapping: {}; allowed: a file, or one of {}", text.error().message, names);
  }
  TRY_ASSIGN(auto mapping, analysis::parse_mapping(*text, name));
  return mapping;
}

/// Rows that cannot be used, in a file of the data directory; without any there is no file.
class RejectsFile {
 public:
  RejectsFile(const std::filesystem::path& input, const std::filesystem::path& data_dir)
      : path_(analysis::rejects_path(input, data_dir / "rejects")) {}
  Result<void> add(const analysis::Reject& reject) {
    if (!out_.is_open()) {
      std::error_code error;
      std::filesystem::create_directories(path_.parent_path(), error);
      out_.open(path_, std::ios::binary | std::ios::trunc);
      out_ << analysis::rejects_header();
    }
    out_ << analysis::to_csv(reject);
    return check();
  }
  Result<void> finish() {
    if (out_.is_open()) {
      out_.flush();
    } else {
      std::error_code ignored;  // the one of an earlier analysis; there may be none
      std::filesystem::remove(path_, ignored);
    }
    return check();
  }
  [[nodiscard]] std::string path() const { return out_.is_open() ? path_.string() : ""; }

 private:
  Result<void> check() const {
    if (out_) return {};
    return fail(ErrorCode::unavailable, "the rejects file '{}' cannot be written", path_.string());
  }
  std::filesystem::path path_;
  std::ofstream out_;
};

/// Hands all opportunities of the file to the installation, before any is analysed: what one means depends on all.
class Importer {
 public:
  explicit Importer(Command& command) : command_(command) {}

  Result<void> add(const store::Opportunity& opportunity) {
    const std::string fields = store::encode_opportunity(opportunity);
    body_ += body_.empty() ? "{\"opportunities\":[" : ",";
    body_ += fmt::format("{{\"state\":\"{}\"", name(opportunity.state));
    if (fields.size() > 2) body_ += "," + fields.substr(1, fields.size() - 2);
    body_ += '}';
    if (++rows_ < kRowsOfRequest && body_.size() < kBytesOfRequest) return {};
    return flush();
  }
  Result<void> flush() {
    if (rows_ == 0) return {};
    body_ += "]}";
    // Only now, so that a file that cannot be used makes no installation.
    TRY_ASSIGN(Gateway* const gateway, command_.gateway(true));
    TRY_ASSIGN(const auto headers, command_.tenant_headers());
    TRY(gateway->body(api::Method::post, "/api/v1/opportunities", body_, headers));
    body_.clear();
    rows_ = 0;
    return {};
  }

 private:
  Command& command_;
  std::string body_;
  std::size_t rows_ = 0;
};

/// `results` as in the completed event: of the steps of a run as the API shows it.
std::string results_of(json::Value run) {
  constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
      {analysis::kRiskAnalysisStep, "risk"},
      {analysis::kRiskScoringStep, "scoring"},
      {analysis::kForecastStep, "forecast"},
      {analysis::kRecommendationStep, "recommendations"}};
  std::string text;
  json::Writer out(text);
  out.begin_object();
  if (const auto steps = run.find("steps")) {
    for (const json::Value step : steps->elements()) {
      const auto type = step.find("type");
      const auto result = step.find("result");
      for (const auto& [step_type, key] : kKeys) {
        if (type && result && type->equals(step_type)) out.key(key).raw(result->raw());
      }
    }
  }
  out.end_object();
  return text;
}

/// Asks for the analysis of row after row, a bounded number at a time, and takes in the results.
class Analyses {
 public:
  /// `works_elsewhere`: other processes do what is asked for; then nothing may happen, for want of one.
  Analyses(Gateway& gateway, const api::Headers& headers, bool works_elsewhere)
      : gateway_(gateway), headers_(headers), works_elsewhere_(works_elsewhere) {}

  Result<void> add(store::Opportunity opportunity, const EventId& trigger) {
    pending_.push_back({std::move(opportunity), trigger});
    return pending_.size() < kRowsOfRequest ? Result<void>{} : start();
  }
  Result<void> finish(const std::function<void()>& show) {
    TRY(start());
    while (!waiting_.empty()) {
      TRY(collect());
      show();
    }
    return {};
  }

  [[nodiscard]] const RunCounts& counts() const { return counts_; }
  [[nodiscard]] const analysis::Summary& summary() const { return builder_.summary(); }
  [[nodiscard]] std::size_t ended() const { return ended_; }

 private:
  struct Row {
    store::Opportunity opportunity;
    EventId trigger;
  };

  Result<void> start() {
    if (pending_.empty()) return {};
    std::string body;
    json::Writer out(body);
    out.begin_object().key("analyses").begin_array();
    for (const Row& row : pending_) {
      out.begin_object().key("triggerId").uuid(row.trigger);
      out.key("externalId").string(row.opportunity.external_id).end_object();
    }
    out.end_array().end_object();
    TRY_ASSIGN(const auto answers, gateway_.document(api::Method::post, "/local/analyses", body, headers_));
    if (const auto list = answers.root().find("answers")) {
      for (const json::Value answer : list->elements()) {
        const auto repeated = answer.find("repeated");
        ++(repeated && repeated->boolean().value_or(false) ? counts_.known : counts_.started);
      }
    }
    std::move(pending_.begin(), pending_.end(), std::back_inserter(waiting_));
    pending_.clear();
    while (waiting_.size() >= kRunsOnTheWay) TRY(collect());
    return {};
  }

  /// Looks at the oldest of those on their way; waits a little if none of them has ended.
  Result<void> collect() {
    const std::size_t count = std::min(kRowsOfRequest, waiting_.size());
    std::string body;
    json::Writer out(body);
    out.begin_object().key("triggers").begin_array();
    for (std::size_t i = 0; i < count; ++i) out.uuid(waiting_[i].trigger);
    out.end_array().end_object();
    TRY_ASSIGN(const auto answer, gateway_.document(api::Method::post, "/local/analyses/states", body, headers_));
    const auto states = answer.root().find("states");
    INVARIANT(states && states->size() == count);
    std::vector<Row> still;
    for (const json::Value state : states->elements()) {
      Row row = std::move(waiting_.front());
      waiting_.pop_front();
      TRY_ASSIGN(const bool ended, take(row, state));
      if (!ended) still.push_back(std::move(row));
    }
    ended_ += count - still.size();
    note_stall(still.size() < count);
    if (still.size() == count) usleep(static_cast<useconds_t>(kPollInterval.count() * 1'000));
    for (auto row = still.rbegin(); row != still.rend(); ++row) waiting_.push_front(std::move(*row));
    return {};
  }

  void note_stall(bool moved) {
    const auto now = std::chrono::steady_clock::now();
    if (moved) moved_at_ = now;
    if (!works_elsewhere_ || stall_noted_ || now - moved_at_ < kStallNote) return;
    stall_noted_ = true;
    print_error(fmt::format(
        "no analysis has ended for {}; they are done by the processes of `wfo serve`: does one of them run, "
        "with each role?",
        format_duration(kStallNote)));
  }

  /// False while it is not known how it ends.
  Result<bool> take(const Row& row, json::Value state) {
    const auto status = state.find("status");
    if (!status || status->equals("running") || status->equals("waiting")) return false;
    const auto run = state.find("run");
    if (status->equals("completed") && run) {
      TRY_ASSIGN(const auto results, json::Document::parse(results_of(*run)));
      builder_.add_completed(row.opportunity, results.root());
    } else if (run) {
      const auto error = run->find("error");
      builder_.add_failed(error ? error->string().value_or("") : "");
    } else if (status->equals("refused")) {
      ++counts_.refused;
    } else {
      ++counts_.forgotten;
    }
    return true;
  }

  Gateway& gateway_;
  const api::Headers& headers_;
  bool works_elsewhere_;
  bool stall_noted_ = false;
  std::chrono::steady_clock::time_point moved_at_ = std::chrono::steady_clock::now();
  std::vector<Row> pending_;  // not asked for yet
  std::deque<Row> waiting_;   // asked for, oldest first
  std::size_t ended_ = 0;
  RunCounts counts_;
  analysis::SummaryBuilder builder_;
};

std::string to_json(const AnalyzeArguments& arguments, const analysis::ImportSummary& file, const std::string& rejects,
                    const RunCounts& counts, const analysis::Summary& summary) {
  const auto texts = [](json::Writer& out, const std::vector<std::string>& list) {
    out.begin_array();
    for (const auto& text : list) out.string(text);
    out.end_array();
  };
  std::string text;
  json::Writer out(text);
  out.begin_object().key("file").string(arguments.file).key("mapping").string(file.mapping);
  out.key("rows").begin_object();
  out.key("read").number(static_cast<std::int64_t>(file.rows + file.rejects + file.repeated));
  out.key("used").number(static_cast<std::int64_t>(file.rows));
  out.key("rejected").number(static_cast<std::int64_t>(file.rejects));
  out.key("repeated").number(static_cast<std::int64_t>(file.repeated)).end_object();
  if (!rejects.empty()) out.key("rejectsFile").string(rejects);
  out.key("columnsUsed");
  texts(out, file.headers_used);
  out.key("columnsUnused");
  texts(out, file.headers_unused);
  out.key("warnings");
  texts(out, file.warnings);
  out.key("runs").begin_object();
  out.key("started").number(counts.started).key("known").number(counts.known);
  out.key("completed").number(static_cast<std::int64_t>(summary.completed));
  out.key("failed").number(static_cast<std::int64_t>(summary.failed));
  out.key("refused").number(counts.refused).key("forgotten").number(counts.forgotten).end_object();
  out.key("summary").raw(analysis::to_json(summary)).end_object();
  return text;
}

std::string to_text(const AnalyzeArguments& arguments, const analysis::ImportSummary& file, const std::string& rejects,
                    const RunCounts& counts, const analysis::Summary& summary) {
  std::string text = fmt::format("{}: {} rows, read as {}", printable(arguments.file),
                                 file.rows + file.rejects + file.repeated, file.mapping);
  if (file.as_of) text += fmt::format(", as of {}", format_date(*file.as_of));
  text += '\n';
  if (file.rejects > 0) text += fmt::format("{} rows cannot be used; why: {}\n", file.rejects, rejects);
  if (file.repeated > 0) text += fmt::format("{} rows stand in the file twice\n", file.repeated);
  for (const auto& warning : file.warnings) text += fmt::format("note: {}\n", printable(warning));
  text += fmt::format("{} analyses started, {} were asked for before", counts.started, counts.known);
  if (counts.refused > 0) text += fmt::format(", {} refused", counts.refused);
  if (counts.forgotten > 0) text += fmt::format(", {} of them too old to have results left", counts.forgotten);
  text += '\n';
  if (counts.known > 0 && !arguments.as_of.empty()) {
    text += "note: what was asked for before stands as of the day of then; --again analyses it as of this one\n";
  }
  text += '\n';
  const bool terminal = is_terminal(STDOUT_FILENO);
  return text +
         analysis::to_text(summary, {.width = terminal ? terminal_width(STDOUT_FILENO) : 100, .color = terminal});
}

Result<int> analyze(Command& command, const AnalyzeArguments& arguments) {
  TRY_ASSIGN(const Config* const config, command.config());
  SystemClock clock;
  analysis::ImportOptions options;
  options.file = arguments.file;
  options.tenant = config->tenant;
  TRY_ASSIGN(options.mapping, read_mapping(arguments.mapping));
  options.today = std::chrono::floor<std::chrono::days>(clock.now());
  if (!arguments.as_of.empty()) {
    options.as_of = parse_date(arguments.as_of);
    if (!options.as_of) {
      return fail(ErrorCode::invalid_argument, "--as-of is '{}'; allowed: a date like 2026-03-01", arguments.as_of);
    }
  }

  analysis::ImportSummary file;
  RejectsFile rejects(arguments.file, config->data_dir);
  {
    Progress progress("reading", command.quiet());
    options.on_progress = [&progress](std::uint64_t done, std::uint64_t total) { progress.show(done, total); };
    Importer importer(command);
    TRY_ASSIGN(file, analysis::read_file(
                         options, [&](analysis::ImportedRow row) { return importer.add(row.opportunity); },
                         [&](const analysis::Reject& reject) { return rejects.add(reject); }));
    TRY(importer.flush());
    TRY(rejects.finish());
  }
  if (file.rows == 0) {
    return fail(ErrorCode::invalid_argument, "'{}' has no row that can be used: {} of {} were rejected{}{}",
                arguments.file, file.rejects, file.rejects + file.repeated, rejects.path().empty() ? "" : ", see ",
                rejects.path());
  }
  TRY_ASSIGN(Gateway* const gateway, command.gateway(true));
  TRY_ASSIGN(const api::Headers headers, command.tenant_headers());
  options.as_of = file.as_of;
  options.on_progress = nullptr;

  std::string body = "{}";
  if (file.as_of) body = fmt::format("{{\"asOf\":\"{}\"}}", format_date(*file.as_of));
  TRY(gateway->body(api::Method::post, "/api/v1/statistics", body, headers));

  Analyses analyses(*gateway, headers, store_kind(*config) == StoreKind::postgres);
  {
    Progress progress("analysing", command.quiet());
    const auto show = [&] { progress.show(analyses.ended(), file.rows); };
    const std::string again = arguments.again ? SystemIdSource(clock).next().to_string() : "";
    const auto ask_for = [&](analysis::ImportedRow row) -> Result<void> {
      const EventId trigger = again.empty()
                                  ? row.trigger_id
                                  : EventId(Uuid::v5(config->tenant.value(), row.trigger_id.to_string() + again));
      show();
      return analyses.add(std::move(row.opportunity), trigger);
    };
    TRY(analysis::read_file(options, ask_for, [](const analysis::Reject&) { return Result<void>{}; }));
    TRY(analyses.finish(show));
  }

  // Who reads the ledger's file next finds all of it there: an answer from the ledger waits for what has happened.
  const auto ledger = gateway->ask(api::Method::get, "/api/v1/audit/events?limit=1", "", headers);
  if (!ledger || ledger->status >= 400 || ledger->headers.find("X-Ledger-Behind")) {
    print_error("the ledger has not yet taken all that happened; it goes on when the installation is opened again");
  }

  const auto& summary = analyses.summary();
  print(command.json() ? to_json(arguments, file, rejects.path(), analyses.counts(), summary) + "\n"
                       : to_text(arguments, file, rejects.path(), analyses.counts(), summary));
  return summary.failed == 0 && analyses.counts().refused == 0 ? kExitDone : kExitFailed;
}

}  // namespace

void add_analyze(CLI::App& app, Command& command) {
  CLI::App* const verb = app.add_subcommand(
      "analyze",
      "Analyse every opportunity of a CRM's export (CSV or JSON Lines); the same file again is the same work");
  auto arguments = std::make_shared<AnalyzeArguments>();
  verb->add_option("FILE", arguments->file, "The export")->required();
  verb->add_option("--mapping", arguments->mapping,
                   "How to read it: a built-in mapping's name or a YAML file; default: by its columns")
      ->type_name("MAPPING");
  verb->add_option("--as-of", arguments->as_of, "The day at which the analysis stands; default: the latest in the file")
      ->type_name("DATE");
  verb->add_flag("--again", arguments->again, "A new analysis, also of what was analysed before");
  verb->callback(
      [&command, arguments] { command.action = [&command, arguments] { return analyze(command, *arguments); }; });
}

}  // namespace wfo::app
