#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "events/contracts.h"
#include "events/types.h"
#include "orchestrator/orchestrator.h"
#include "store/sqlite/sqlite_store.h"
#include "workflow/definition.h"

/// A whole installation for tests of the role: the real store in a folder of its own, a clock moved by hand, and the
/// messages that others would send.
namespace wfo::orchestrator::testing {

using namespace std::chrono_literals;

inline const Timestamp kStart{std::chrono::sys_days{std::chrono::March / 1 / 2026} + 9h};
inline const TenantId kAcme = *TenantId::parse("aaaaaaaa-0000-4000-8000-000000000001");
inline const TenantId kOther = *TenantId::parse("bbbbbbbb-0000-4000-8000-000000000002");

/// Ids that are the same in each run of a test.
class SeededIds final : public IdSource {
 public:
  explicit SeededIds(std::uint64_t seed) : random_(seed) {}
  Uuid next() override {
    const std::scoped_lock lock(mutex_);
    Uuid id;
    ++count_;
    for (std::size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(count_ >> (8 * (5 - i)));
    for (std::size_t i = 6; i < 16; ++i) id.bytes[i] = static_cast<std::uint8_t>(random_());
    id.bytes[6] = static_cast<std::uint8_t>(0x70 | (id.bytes[6] & 0x0f));
    id.bytes[8] = static_cast<std::uint8_t>(0x80 | (id.bytes[8] & 0x3f));
    return id;
  }
  std::uint64_t random() override {
    const std::scoped_lock lock(mutex_);
    return random_();
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::mt19937_64 random_;
  std::uint64_t count_ = 0;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "wfo-orchestrator-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder " + pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A store with its log, whichever it is.
class Backend final : public store::Store, public store::LogReader {
 public:
  template <class Both>
  explicit Backend(std::unique_ptr<Both> both) : store_(*both), log_(*both), owner_(std::move(both)) {}
  Result<void> transact(FunctionRef<Result<void>(store::Transaction&)> body) override { return store_.transact(body); }
  Result<void> admission() override { return store_.admission(); }
  Result<void> read(FunctionRef<Result<void>(const store::Transaction&)> body) override { return store_.read(body); }
  Result<store::LogPage> read(store::Sequence after, const store::TypeFilter& filter, std::size_t count_max,
                              std::size_t bytes_max) override {
    return log_.read(after, filter, count_max, bytes_max);
  }
  void wait_beyond(store::Sequence after, milliseconds wait, std::stop_token stop) override {
    log_.wait_beyond(after, wait, std::move(stop));
  }
  store::Sequence trimmed_through() override { return log_.trimmed_through(); }
  store::Sequence last() override { return log_.last(); }

 private:
  store::Store& store_;
  store::LogReader& log_;
  std::shared_ptr<void> owner_;
};

struct WorldOptions {
  OrchestratorConfig config = {};
  std::size_t event_bytes_max = events::kEventBytesMax;
  std::uint64_t seed = 1;
  std::uint64_t disk_free_min_bytes = 0;
  /// Empty: SQLite in a folder of its own.
  std::function<std::unique_ptr<Backend>(const events::Contracts&, const Clock&, Metrics&)> make_store = {};
};

class World {
 public:
  explicit World(WorldOptions with = {})
      : options(with), clock(kStart), ids(with.seed), contracts(must(events::Contracts::load(with.event_bytes_max))) {
    store = options.make_store ? options.make_store(*contracts, clock, metrics) : sqlite_store();
    definitions = {shipped()};
    restart();
  }

  /// The shipped workflow.
  [[nodiscard]] workflow::Definition shipped() const {
    std::ifstream file(WFO_SOURCE_DIR "/workflows/opportunity-analysis.yaml");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return must(workflow::parse_definition(text, "opportunity-analysis.yaml", contracts->types()));
  }
  /// A new process: nothing is remembered.
  void restart() {
    orchestrator.reset();
    orchestrator = another();
  }
  /// A replica.
  [[nodiscard]] std::unique_ptr<Orchestrator> another() {
    return std::make_unique<Orchestrator>(*store, *contracts, must(Definitions::load(*store, definitions)), ids, clock,
                                          Logger::silent(), metrics, options.config);
  }
  /// The same with another definition in the place of the shipped one.
  void use(std::vector<workflow::Definition> others) {
    definitions = std::move(others);
    restart();
  }

  template <class T>
  static T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().message);
    return *std::move(result);
  }
  static void must(Result<void> result) {
    if (!result) throw std::runtime_error(result.error().message);
  }

  // What others send.

  [[nodiscard]] events::EventPtr event(std::string_view type, const TenantId& tenant, std::string_view data,
                                       std::string_view metadata = "", std::optional<EventId> id = {}) {
    std::string text = fmt::format(
        R"({{"id":"{}","type":"{}","version":"1.0.0","timestamp":"{}","tenantId":"{}","source":"tests","data":{})",
        id ? id->to_string() : ids.next().to_string(), type, format_timestamp(clock.now()), tenant.to_string(), data);
    if (!metadata.empty()) text += fmt::format(R"(,"metadata":{})", metadata);
    return must(contracts->read(text + "}", clock.now()));
  }
  [[nodiscard]] events::EventPtr updated(std::string_view opportunity, const TenantId& tenant = kAcme) {
    return event(events::kOpportunityUpdated, tenant, fmt::format(R"({{"opportunityId":"{}"}})", opportunity));
  }
  /// The answer to a request: a completion.
  [[nodiscard]] events::EventPtr completed(const events::Event& request, std::string_view extra = "",
                                           std::optional<TenantId> tenant = {}) {
    const std::string& type = request.type();
    const auto ids_of_run = echo(request);
    const std::string more = extra.empty() ? "" : fmt::format(",{}", extra);
    const TenantId by = tenant.value_or(request.tenant());
    if (type == events::kRiskAnalysisRequested) {
      return event(events::kRiskEvaluationCompleted, by,
                   fmt::format(R"({{{},"opportunityId":"{}","evaluationId":"e1","riskScore":0.50{}}})", ids_of_run,
                               text(request, "opportunityId"), more));
    }
    if (type == events::kRiskScoringRequested) {
      return event(events::kRiskScoringCompleted, by,
                   fmt::format(R"({{"scoringId":"s1","mlRiskScore":0.25,{},"modelId":"m1","confidence":1e0{}}})",
                               ids_of_run, more));
    }
    if (type == events::kForecastRequested) {
      return event(
          events::kForecastCompleted, by,
          fmt::format(R"({{{},"forecastId":"f1","revenueForecast":1200.10,"confidence":0.9{}}})", ids_of_run, more));
    }
    return event(events::kRecommendationCompleted, by,
                 fmt::format(R"({{{},"recommendationId":"r1","recommendations":["call"]{}}})", ids_of_run, more));
  }
  /// The other answer.
  [[nodiscard]] events::EventPtr failed(const events::Event& request, std::string_view error = "no answer",
                                        bool retryable = true, std::optional<TenantId> tenant = {}) {
    static const std::map<std::string_view, std::string_view> kAnswers{
        {events::kRiskAnalysisRequested, events::kRiskEvaluationFailed},
        {events::kRiskScoringRequested, events::kRiskScoringFailed},
        {events::kForecastRequested, events::kForecastFailed},
        {events::kRecommendationRequested, events::kRecommendationFailed}};
    return event(kAnswers.at(request.type()), tenant.value_or(request.tenant()),
                 fmt::format(R"({{{},"error":"{}","retryable":{}}})", echo(request), error, retryable));
  }

  // What the loop does.

  /// One batch, one transaction.
  Result<void> deliver(const std::vector<events::EventPtr>& batch, Orchestrator* to = nullptr) {
    return hand(batch, to, false);
  }
  /// A batch whose transaction is given up after all was written, as if the disk were full.
  Result<void> deliver_in_vain(const std::vector<events::EventPtr>& batch, Orchestrator* to = nullptr) {
    return hand(batch, to, true);
  }

  // What an outsider sees.

  struct AllTypes final : store::TypeFilter {
    bool wants(std::string_view) const override { return true; }
  };
  [[nodiscard]] std::vector<events::EventPtr> log(store::Sequence after = 0) {
    std::vector<events::EventPtr> all;
    const AllTypes filter;
    for (;;) {
      const store::LogPage page = must(store->read(after, filter, 1'000, 64 << 20));
      for (const store::LogEntry& entry : page.entries) all.push_back(entry.event);
      if (page.read_through <= after || page.entries.empty()) return all;
      after = page.read_through;
    }
  }
  [[nodiscard]] std::vector<events::EventPtr> log_of(std::string_view type) {
    auto all = log();
    std::erase_if(all, [&](const events::EventPtr& one) { return one->type() != type; });
    return all;
  }
  [[nodiscard]] std::vector<std::string> types_in_log() {
    std::vector<std::string> types;
    for (const auto& one : log()) types.push_back(one->type());
    return types;
  }
  /// The newest request of each kind, in the order in which they were made.
  [[nodiscard]] std::vector<events::EventPtr> requests() {
    auto all = log();
    std::erase_if(all, [&](const events::EventPtr& one) { return !one->type().ends_with(".requested"); });
    return all;
  }
  [[nodiscard]] workflow::Run run(const WorkflowId& id) {
    workflow::Run out;
    must(store->read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(auto runs, transaction.runs().load({&id, 1}));
      if (!runs.front()) return fail(ErrorCode::not_found, "no run {}", id.to_string());
      out = std::move(runs.front()->run);
      return {};
    }));
    return out;
  }
  /// The newest first.
  [[nodiscard]] std::vector<workflow::Run> runs(const TenantId& tenant = kAcme) {
    std::vector<workflow::Run> out;
    must(store->read([&](const store::Transaction& transaction) -> Result<void> {
      store::RunQuery query;
      query.tenant = tenant;
      query.limit = 1'000;
      for (;;) {
        TRY_ASSIGN(auto page, transaction.runs().list(query));
        const bool last = page.size() < query.limit;
        if (!page.empty()) query.before = page.back().id;
        std::ranges::move(page, std::back_inserter(out));
        if (last) return {};
      }
    }));
    return out;
  }
  [[nodiscard]] std::optional<store::Trigger> trigger(const EventId& id, const TenantId& tenant = kAcme) {
    std::optional<store::Trigger> out;
    must(store->read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(out, transaction.triggers().find(tenant, id));
      return {};
    }));
    return out;
  }
  [[nodiscard]] std::optional<store::Opportunity> opportunity(const OpportunityId& id, const TenantId& tenant = kAcme) {
    std::optional<store::Opportunity> out;
    must(store->read([&](const store::Transaction& transaction) -> Result<void> {
      TRY_ASSIGN(auto rows, transaction.opportunities().load(tenant, {&id, 1}));
      out = std::move(rows.front());
      return {};
    }));
    return out;
  }
  [[nodiscard]] double ignored(std::string_view reason) {
    return metrics.counter("workflow_inputs_ignored_total", "", {{"reason", std::string(reason)}}).value();
  }
  [[nodiscard]] double counted(std::string_view name, const Labels& labels = {}) {
    return metrics.counter(name, "", labels).value();
  }
  [[nodiscard]] static std::string text(const events::Event& of, std::string_view key) {
    const auto value = of.data().find(key);
    return value ? value->string().value_or("") : "";
  }
  [[nodiscard]] static WorkflowId workflow_of(const events::Event& of) {
    return *WorkflowId::parse(text(of, "workflowId"));
  }
  [[nodiscard]] static std::string metadata(const events::Event& of, std::string_view key) {
    const auto value = of.root().find("metadata", key);
    return value ? value->string().value_or("") : "";
  }

  const WorldOptions options;
  TemporaryFolder folder;
  ManualClock clock;
  SeededIds ids;
  Metrics metrics;
  std::uint64_t disk_free = std::uint64_t{1} << 40;
  std::unique_ptr<const events::Contracts> contracts;
  std::unique_ptr<Backend> store;
  std::vector<workflow::Definition> definitions;
  std::unique_ptr<Orchestrator> orchestrator;

 private:
  std::unique_ptr<Backend> sqlite_store() {
    store::sqlite::SqliteStoreConfig config;
    config.directory = folder.path();
    config.disk_free_min_bytes = options.disk_free_min_bytes;
    config.disk_free = [this]() -> Result<std::uint64_t> { return disk_free; };
    return std::make_unique<Backend>(
        must(store::sqlite::SqliteStore::open(config, *contracts, clock, Logger::silent(), metrics)));
  }
  static std::string echo(const events::Event& request) {
    return fmt::format(R"("workflowId":"{}","stepId":"{}","attempt":{})", text(request, "workflowId"),
                       text(request, "stepId"), request.data().find("attempt")->raw());
  }
  Result<void> hand(const std::vector<events::EventPtr>& batch, Orchestrator* to, bool in_vain) {
    Orchestrator& handler = to != nullptr ? *to : *orchestrator;
    std::vector<bus::Delivery> deliveries;
    for (const auto& one : batch) deliveries.emplace_back().event = one;
    for (int tries = 0;; ++tries) {
      TRY_ASSIGN(auto apply, handler.prepare(deliveries));
      auto committed = store->transact([&](store::Transaction& transaction) -> Result<void> {
        TRY(apply(transaction));
        if (in_vain) return fail(ErrorCode::unavailable, "given up");
        return {};
      });
      if (!committed && committed.error().code == ErrorCode::conflict && tries < 100) continue;
      if (committed) handler.committed();
      return committed;
    }
  }
};

}  // namespace wfo::orchestrator::testing
